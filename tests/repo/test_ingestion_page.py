"""Each row of the tables in docs/data-access.md that go through the PFS data-ingestion page."""

import re
from pathlib import Path

import numpy as np
from astropy.nddata import CCDData
from astropy.time import Time
from lsst.daf.butler import Butler, Timespan

from pfs_ingestd.pfs.raw import PfsRaw

PAGE = Path(__file__).parents[2] / "docs" / "data-access.md"
ROW = re.compile(r"^\| (P\d\d) \| .* \| `(.+)` \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))
COMMANDS = dict(ROWS)

SPS = "night/2026-03-21/sps"
RAMPS = "night/2026-03-21/ramps"
CONFIGS = "night/2026-03-21/pfsConfig"
RAWS = [
    *((1000, arm, 1) for arm in "bnr"),
    *((1001, arm, 1) for arm in "br"),
    *((1002, arm, 1) for arm in "bmn"),
]
COLUMNS = {
    "type",
    "run",
    "id",
    "instrument",
    "arm",
    "dither",
    "pfs_design_id",
    "spectrograph",
    "detector",
    "exposure",
}


def said(folder, row):
    """Evaluate the Python of a row."""
    return eval(COMMANDS[row], {"Butler": Butler, "butler": folder.butler()})  # noqa: S307 (our own page)


def place(folder):
    """Tell where the first raw is stored."""
    return Path(folder.butler().getURI("raw", exposure=1000, arm="b", spectrograph=1).ospath)


def configs():
    """List the pfsConfigs in the order of their visits; the last visit has no raws."""
    return sorted(Path(CONFIGS).iterdir(), key=lambda path: path.stem[-6:])


def ingested(count):
    return f"{count} ingested, 0 already there, 0 rejected\n"


def test_every_row_of_the_page_has_one_test():
    """The rows are numbered without a gap, and each has one test that is named after it."""
    numbers = [row for row, _ in ROWS]
    named = [name[5:8].upper() for name in globals() if re.match(r"test_p\d\d_", name)]
    assert numbers == [f"P{number:02}" for number in range(1, len(numbers) + 1)]
    assert numbers == sorted(named)


def test_p01_a_repository_is_made_from_configurations(new_folder):
    """`init` makes a repository from the two configurations that it brings."""
    new_folder.do(COMMANDS["P01"])
    with Butler.from_config("another") as butler:
        assert butler.dimensions.namespace == "pfs_ingestd"


def test_p02_the_registry_is_sqlite_by_default(new_folder):
    """A new repository has its registry in a SQLite file in its folder."""
    assert "sqlite:///<butlerRoot>/gen3.sqlite3" in new_folder.do(COMMANDS["P02"])


def test_p03_raws_have_the_dimensions_of_the_page(new_folder):
    """A raw has the dimensions that the page names, and no others."""
    printed = new_folder.do(COMMANDS["P03"])
    assert set(re.findall(r"'(\w+)'", printed)) == COLUMNS - {"type", "run", "id"}


def test_p04_the_catalogues_of_a_pfs_config_are_registered(raws_folder):
    """Each catalogue in a pfsConfig is there once the file is ingested; there is no dimension of objects."""
    assert "No results" in raws_folder.do(COMMANDS["P04"])
    raws_folder.do(f"pfs-ingestd ingest-pfs-config repository PFS PFS/raw/pfsConfig {configs()[0]}")
    head, *catalogues = raws_folder.table(COMMANDS["P04"])
    butler = raws_folder.butler()
    expected = np.unique(butler.get("pfsConfig", exposure=1000).tables["CONFIG"]["catId"])
    assert (head, [int(number) for _, number in catalogues]) == (["instrument", "id"], list(expected))
    assert "obj_id" not in butler.dimensions.dimensions.names


def test_p05_the_instrument_is_registered(new_folder):
    """A new repository knows the instrument."""
    _, instrument = new_folder.table(COMMANDS["P05"])
    assert instrument == ["PFS", "21474800", "20", "lsst.obs.pfs.PrimeFocusSpectrograph"]


def test_p06_the_cameras_are_described(new_folder):
    """A new repository knows the detectors of all cameras, and the guiders."""
    _, *detectors = new_folder.table(COMMANDS["P06"])
    cameras = {f"{arm}{spectrograph}" for arm in "brnm" for spectrograph in range(1, 5)}
    assert {row[2] for row in detectors} == cameras | {f"AG{number}" for number in range(1, 7)}


def test_p07_there_is_a_place_for_calibrations(new_folder):
    """A new repository has the collection that calibrations go into."""
    assert new_folder.table(COMMANDS["P07"])[1:] == [["PFS/calib", "CALIBRATION"]]


def test_p08_folders_need_no_particular_shape(new_folder):
    """Raws are found in any folders, among any files."""
    odd = Path("S2Query", "zadmin", "a b")
    odd.mkdir(parents=True)
    for number, file in enumerate(path for path in Path("night").rglob("*") if path.is_file()):
        (odd / str(number % 2)).mkdir(exist_ok=True)
        file.rename(odd / str(number % 2) / file.name)
    (odd / "unpack.py").write_text("print()")
    assert new_folder.do(COMMANDS["P08"]) == ingested(8)
    assert new_folder.held() == RAWS


def test_p09_pfs_configs_are_taken_from_any_folder(raws_folder):
    """The pfsConfigs of a programme are ingested from where they were copied to."""
    Path("customPfsConfig").mkdir()
    for config in configs()[:3]:
        config.rename(Path("customPfsConfig", config.name))
    assert raws_folder.do(COMMANDS["P09"]) == ingested(3)
    assert raws_folder.held("pfsConfig") == [(1000,), (1001,), (1002,)]


def test_p10_raws_are_ingested_by_one_command(new_folder):
    """One command ingests all raws, CCD exposures and ramps."""
    assert new_folder.do(COMMANDS["P10"]) == ingested(8)
    assert new_folder.held() == RAWS


def test_p11_pfs_configs_are_ingested_by_another(raws_folder):
    """Another command ingests the pfsConfigs, and tells of those whose visits have no raws."""
    ran = raws_folder.type(COMMANDS["P11"])
    assert ran.exit_code == 1
    assert ran.output.startswith(f"rejected [no_exposure] {configs()[3].absolute()}: ")
    assert ran.output.endswith("\n3 ingested, 0 already there, 1 rejected\n")
    assert raws_folder.held("pfsConfig") == [(1000,), (1001,), (1002,)]


def test_p12_the_daemon_does_both(new_folder):
    """The daemon ingests raws and pfsConfigs, and lets a pfsConfig without raws wait."""
    new_folder.do(COMMANDS["P12"])
    assert new_folder.held() == RAWS
    assert new_folder.held("pfsConfig") == [(1000,), (1001,), (1002,)]
    assert str(configs()[3]) in new_folder.do("pfs-ingestd list -c ingestd.yaml --state waiting")


def test_p13_pfsf_files_are_pfs_configs(raws_folder):
    """Files named PFSF are ingested as the pfsConfigs of their visits."""
    for number, config in enumerate(configs()):
        config.rename(config.with_name(f"PFSF00{1000 + number}00.fits"))
    assert "3 ingested, 0 already there, 1 rejected" in raws_folder.type(COMMANDS["P13"]).output
    assert raws_folder.held("pfsConfig") == [(1000,), (1001,), (1002,)]


def test_p14_a_second_pfsf_of_a_visit_is_a_conflict(raws_folder):
    """Of two PFSF files of a visit with different content the first is stored, the other is told of."""
    content = configs()[0].read_bytes()
    Path("PFSF00100000.fits").write_bytes(content)
    Path("PFSF00100001.fits").write_bytes(content[:-1] + b"1")
    ran = raws_folder.type(COMMANDS["P14"])
    assert ran.exit_code == 1
    assert f"rejected [conflict] {Path('PFSF00100001.fits').absolute()}: " in ran.output
    assert raws_folder.held("pfsConfig") == [(1000,)]


def test_p15_a_pfsa_is_a_ccd_exposure(new_folder):
    """The name of a CCD exposure says visit, spectrograph and arm, and so does its data ID."""
    assert new_folder.do(COMMANDS["P15"]) == ingested(1)
    assert new_folder.held() == [(1000, "r", 1)]


def test_p16_a_pfsb_is_a_ramp(new_folder):
    """The name of a ramp does likewise."""
    assert new_folder.do(COMMANDS["P16"]) == ingested(1)
    assert new_folder.held() == [(1000, "n", 1)]


def test_p17_link_links(new_folder):
    """The stored file is the source."""
    new_folder.do(COMMANDS["P17"])
    source, stored = Path(SPS, "PFSA00100011.fits"), place(new_folder)
    assert source.samefile(stored)


def test_p18_copy_copies(new_folder):
    """The stored file has the bytes of the source, and is another one."""
    new_folder.do(COMMANDS["P18"])
    source, stored = Path(SPS, "PFSA00100011.fits"), place(new_folder)
    assert source.read_bytes() == stored.read_bytes()
    assert not source.samefile(stored)


def test_p19_move_moves(new_folder):
    """The stored file has the bytes of the source, which is gone."""
    source = Path(SPS, "PFSA00100011.fits")
    content = source.read_bytes()
    new_folder.do(COMMANDS["P19"])
    assert (source.exists(), place(new_folder).read_bytes()) == (False, content)


def test_p20_fail_fast_stops_at_the_first_error(new_folder):
    """With --fail-fast no file is tried after a bad one, which is told."""
    ran = new_folder.type(COMMANDS["P20"])
    assert (ran.exit_code, ran.output.splitlines()[1:]) == (
        1,
        ["0 ingested, 0 already there, 1 rejected, 8 not tried"],
    )
    assert new_folder.held() == []


def test_p21_without_it_the_others_are_ingested(new_folder):
    """Without --fail-fast a bad file keeps no other out."""
    ran = new_folder.type(COMMANDS["P21"])
    assert (ran.exit_code, ran.output.splitlines()) == (
        1,
        [
            f"rejected [vanished] {Path('missing.fits').absolute()}: there is no such file",
            "8 ingested, 0 already there, 1 rejected",
        ],
    )
    assert new_folder.held() == RAWS


def test_p22_the_collection_of_raws_can_be_named(new_folder):
    """--output-run puts raws into another RUN than the usual."""
    new_folder.do(COMMANDS["P22"])
    assert (new_folder.held(), new_folder.held(collections="PFS/raw/sps")) == ([], RAWS)


def test_p23_the_collection_of_pfs_configs_is_named(raws_folder):
    """pfsConfigs go into the RUN that the command names."""
    configs()[3].unlink()
    raws_folder.do(COMMANDS["P23"])
    assert raws_folder.held("pfsConfig", "PFS/raw/mine") == [(1000,), (1001,), (1002,)]


def test_p24_a_visit_may_come_in_several_commands(new_folder):
    """The cameras of a visit are ingested one by one, whichever comes first."""
    first = [f"{RAMPS}/PFSB00100013.fits", f"{SPS}/PFSA00100012.fits"]
    for file in first:
        assert new_folder.do(f"pfs-ingestd ingest-raws repository {file}") == ingested(1)
    assert new_folder.do(COMMANDS["P24"]) == ingested(1)
    assert new_folder.held() == RAWS[:3]


def test_p25_a_wildcard_takes_a_visit(new_folder):
    """A glob over the number of the visit ingests all its raws."""
    assert new_folder.do(COMMANDS["P25"]) == ingested(3)
    assert new_folder.held() == RAWS[:3]


def test_p26_files_are_placed_and_recorded(full_folder):
    """Each raw is in the registry, with a place where there is a file."""
    head, *datasets = full_folder.table(COMMANDS["P26"])
    places = [Path(row[head.index("URI")].removeprefix("file://")) for row in datasets]
    assert [path.exists() for path in places] == [True] * 8


def test_p27_a_collection_is_a_folder(full_folder):
    """The file of a raw lies in the folder of its collection."""
    assert Path("repository/PFS/raw/all").absolute() in Path(said(full_folder, "P27").ospath).parents


def test_p28_raws_and_pfs_configs_are_apart(full_folder):
    """Each of the two RUN collections has one dataset type."""
    assert full_folder.table(COMMANDS["P28"])[1:] == [
        ["PFS/raw/all", "RUN", "raw"],
        ["PFS/raw/pfsConfig", "RUN", "pfsConfig"],
    ]


def test_p29_the_name_of_a_pfs_config_is_its_data_id(full_folder):
    """Design and visit in the name of a pfsConfig are those of its dataset."""
    head, *datasets = full_folder.table(COMMANDS["P29"])
    design, visit = head.index("pfs_design_id"), head.index("exposure")
    names = [f"pfsConfig-0x{int(row[design]):016x}-{int(row[visit]):06}.fits" for row in datasets]
    assert names == [path.name for path in configs()[:3]]


def test_p30_runs_hold_datasets(full_folder):
    """The datasets are in the RUN collections, each in one of them."""
    runs = [name for name, _ in full_folder.table(COMMANDS["P30"])[1:]]
    assert runs == ["PFS/raw/all", "PFS/raw/pfsConfig"]
    assert sum(len(full_folder.held(name, run)) for run in runs for name in ("raw", "pfsConfig")) == 11


def test_p31_calibrations_are_valid_for_a_time(full_folder):
    """A certified calibration is found for the time that was given, and for no other."""
    full_folder.do("butler register-dataset-type repository bias NumpyArray instrument arm --is-calibration")
    full_folder.butler(run="u/alice/bias").put(np.zeros(1), "bias", instrument="PFS", arm="r", spectrograph=1)
    full_folder.do(COMMANDS["P31"])
    (association,) = full_folder.butler().registry.queryDatasetAssociations("bias", "PFS/calib")
    begin, end = association.timespan.begin, association.timespan.end
    assert (begin, end) == (Time("2026-03-01", scale="tai"), Time("2026-04-01", scale="tai"))
    butler, moments = full_folder.butler(), [Timespan.fromInstant(time) for time in (begin, end)]
    found = [butler.find_dataset("bias", arm="r", spectrograph=1, timespan=moment) for moment in moments]
    assert found == [association.ref, None]


def test_p32_chains_are_search_paths(full_folder):
    """A chain finds what is in its members."""
    assert len(full_folder.table(COMMANDS["P32"])[1:]) == len(RAWS)


def test_p33_a_raw_has_exposure_arm_and_spectrograph(full_folder):
    """A dictionary of them, and the instrument, is a complete data ID."""
    raw = said(full_folder, "P33")
    assert (raw.metadata["W_VISIT"], raw.metadata["W_ARM"], raw.metadata["W_SPMOD"]) == (1000, 2, 1)


def test_p34_a_pfs_config_has_an_exposure(full_folder):
    """A dictionary with the exposure is a complete data ID."""
    assert said(full_folder, "P34").metadata["W_VISIT"] == 1000


def test_p35_files_can_be_retrieved(full_folder):
    """Butler hands out the files, with their bytes."""
    full_folder.do(COMMANDS["P35"])
    retrieved = {path.read_bytes() for path in Path("files").rglob("*.fits")}
    assert retrieved == {path.read_bytes() for folder in (SPS, RAMPS) for path in Path(folder).iterdir()}


def test_p36_a_place_is_a_uri(full_folder):
    """The place of a dataset is a URI, of a file in this repository."""
    assert said(full_folder, "P36").startswith("file:///")


def test_p37_a_deleted_file_is_found_and_comes_back(full_folder):
    """A file that was deleted behind the registry's back is told of, and stored again if that is wanted."""
    full_folder.do("pfs-ingestd run -c ingestd.yaml --once")
    place(full_folder).unlink()
    assert full_folder.type(COMMANDS["P37"].removesuffix(" --repair")).exit_code == 1
    assert (1000, "b", 1) not in full_folder.held()
    full_folder.do(COMMANDS["P37"])
    assert full_folder.held() == RAWS


def test_p38_a_pruned_visit_is_ingested_again(full_folder):
    """What was pruned is stored by repeating the command that ingested it, under the same ids."""
    before = full_folder.do("butler query-datasets repository raw --collections PFS/raw/all --show-uri")
    full_folder.do(COMMANDS["P38"])
    assert full_folder.held() == RAWS[3:]
    assert full_folder.do("pfs-ingestd ingest-raws repository night") == (
        "3 ingested, 5 already there, 0 rejected\n"
    )
    after = full_folder.do("butler query-datasets repository raw --collections PFS/raw/all --show-uri")
    assert before == after


def test_p39_more_dimensions_narrow_it_down(full_folder):
    """Only what the whole expression holds for is pruned."""
    full_folder.do(COMMANDS["P39"])
    assert full_folder.held() == [raw for raw in RAWS if raw[1] != "n"]


def test_p40_the_raws_can_be_listed(full_folder):
    """`query-datasets` prints a line for each raw."""
    head, *datasets = full_folder.table(COMMANDS["P40"])
    found = [tuple(row[head.index(key)] for key in ("exposure", "arm", "spectrograph")) for row in datasets]
    assert sorted(found) == [tuple(map(str, raw)) for raw in RAWS]


def test_p41_the_columns_are_those_of_the_page(full_folder):
    """`query-datasets` prints the columns that the page shows, type, run and id first."""
    head, *_ = full_folder.table(COMMANDS["P41"])
    assert (head[:3], set(head), len(head)) == (["type", "run", "id"], COLUMNS, len(COLUMNS))


def test_p42_a_butler_is_opened_on_collections(full_folder):
    """The older and the newer way to open a Butler give the same."""
    older = full_folder.enter_context(said(full_folder, "P42"))
    newer = full_folder.butler(collections="PFS/raw/all")
    assert [butler.collections.defaults for butler in (older, newer)] == [("PFS/raw/all",)] * 2
    assert sorted(older.query_datasets("raw")) == sorted(newer.query_datasets("raw"))


def test_p43_get_gives_the_raw(full_folder):
    """`get` by instrument, exposure, arm and spectrograph gives a `PfsRaw`."""
    assert isinstance(said(full_folder, "P43"), PfsRaw)


def test_p44_get_image_gives_an_array(full_folder):
    """`getImage` gives the pixels of a CCD."""
    image = said(full_folder, "P44")
    assert (type(image), image.shape) == (np.ndarray, (32, 32))


def test_p45_ramps_have_the_same_interface(full_folder):
    """`getImage` gives the pixels of a ramp."""
    image = said(full_folder, "P45")
    assert (type(image), image.shape) == (np.ndarray, (32, 32))


def test_p46_the_exposure_can_be_had_directly(full_folder):
    """The component `exposure` has the pixels, with header and unit."""
    exposure = said(full_folder, "P46")
    assert (type(exposure), exposure.header["W_VISIT"]) == (CCDData, 1000)


def test_p47_a_query_finds_a_raw_without_its_detector(full_folder):
    """A query by exposure, arm and spectrograph finds the one raw, and knows its detector."""
    (ref,) = said(full_folder, "P47")
    assert ref.dataId["detector"] == 1


def test_p48_the_default_chain_can_be_made_anew(full_folder):
    """`collection-chain` changes the order in which `PFS/defaults` is searched."""
    assert full_folder.do(COMMANDS["P48"]) == "[PFS/raw/pfsConfig, PFS/raw/all, PFS/calib]\n"
    assert full_folder.butler().collections.get_info("PFS/defaults").children == (
        "PFS/raw/pfsConfig",
        "PFS/raw/all",
        "PFS/calib",
    )


def test_p49_the_default_chain_finds_everything(full_folder):
    """Through `PFS/defaults` one gets raws and pfsConfigs."""
    assert said(full_folder, "P49").metadata["W_VISIT"] == 1002
    assert full_folder.held() == RAWS
