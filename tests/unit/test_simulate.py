"""A simulated night is what the instrument would have left on disk."""

import io
import re
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from pfs_ingestd.simulate import (
    ALL_CAMERAS,
    NightPlan,
    VisitKind,
    VisitPlan,
    expected_night,
    plan_night,
    write_ccd,
    write_night,
    write_pfs_config,
    write_ramp,
    write_visit,
)
from pfs_ingestd.simulate.blocks import sealed

PLAN = NightPlan(visits=20, small=True, seed=7)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Twenty visits with twelve cameras."""
    return write_night(tmp_path_factory.mktemp("night"), PLAN)


@pytest.fixture
def visit():
    return VisitPlan(visit=123, small=True)


def header_of(path):
    return fits.getheader(path, 0)


def by_camera(night, visit):
    return {camera: header_of(night.directory / visit.raw(camera)) for camera in visit.cameras}


def of_kind(night, kind):
    return [visit for visit in night.visits if visit.kind is kind]


def medium_visits(night):
    return [visit for visit in night.visits if any(camera[0] == "m" for camera in visit.cameras)]


def test_the_files_on_disk_are_the_planned_ones(night):
    """A night holds exactly the files that its plan announces, and no dot-file stays behind."""
    planned = {*night.raws, *night.configs, *night.convergence_configs}

    on_disk = {path for path in night.directory.rglob("*") if path.is_file()}

    assert planned == on_disk
    assert expected_night(night.directory, PLAN) == night


def test_a_night_of_twenty_visits_has_everything(night):
    """Twenty visits of twelve cameras: two biases lack four ramps each, one convergence comes on top."""
    counts = len(night.raws), len(night.configs), len(night.convergence_configs)

    assert counts == (20 * 12 - 2 * 4, 20, 1)
    assert {visit.kind for visit in night.visits} == set(VisitKind)


def test_the_data_ids_are_those_of_the_headers(night):
    """What a repository should hold can be told from the plan, and is what the headers say."""
    arms = dict(enumerate("brnm", start=1))
    headers = [header_of(path) for path in night.raws]

    said = {(header["W_VISIT"], arms[header["W_ARM"]], header["W_SPMOD"]) for header in headers}

    assert night.raw_data_ids == said
    assert len(headers) == len(said)
    assert night.config_data_ids == {header_of(path)["W_VISIT"] for path in night.configs}


def test_names_and_folders_follow_the_observatory(night):
    """CCD files are in sps, ramps in ramps, pfsConfigs in pfsConfig, each below a UTC date."""
    date = r"2026-03-2[12]"
    patterns = (
        rf"{date}/sps/PFSA\d{{6}}[1-4][124]\.fits",
        rf"{date}/ramps/PFSB\d{{6}}[1-4]3\.fits",
        rf"{date}/pfsConfig/pfsConfig-0x[0-9a-f]{{16}}-\d{{6}}\.fits",
    )

    paths = [path.relative_to(night.directory).as_posix() for path in night.directory.rglob("*.fits")]

    assert [path for path in paths if not re.fullmatch("|".join(patterns), path)] == []
    assert VisitPlan(visit=123).raw("r2") == Path("2026-03-21/sps/PFSA00012322.fits")
    assert VisitPlan(visit=123).raw("m4") == Path("2026-03-21/sps/PFSA00012344.fits")
    assert VisitPlan(visit=123).raw("n1") == Path("2026-03-21/ramps/PFSB00012313.fits")


def test_the_visit_over_midnight_is_split(night):
    """Ramps and pfsConfig go under the date of the begin, CCD files under the date of the end."""
    split = {
        visit.visit: {visit.config.parts[:2], *(raw.parts[:2] for raw in visit.raws)}
        for visit in night.visits
        if len({raw.parts[0] for raw in visit.raws}) > 1
    }

    assert split == {
        1007: {("2026-03-21", "pfsConfig"), ("2026-03-21", "ramps"), ("2026-03-22", "sps")},
    }


def test_every_file_is_valid_fits(night):
    """Every file passes astropy's strictest check, checksums included, and ends where its HDUs end."""
    for visit in (*night.visits[:3], night.visits[-1]):
        for name in (visit.config, *visit.raws):
            path = night.directory / name
            with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
                hdus.verify("exception")
                ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus]
            assert ends[-1] == path.stat().st_size


def test_a_ccd_file_has_two_hdus(night):
    """A CCD file is a primary header of about 390 cards and one RICE-compressed unsigned image."""
    visit = of_kind(night, VisitKind.OBJECT)[0]

    with fits.open(night.directory / visit.raw("b1")) as hdus:
        primary, image = hdus
        found = (len(primary.header), primary.data, image.name, image.compression_type)
        pixels = image.data

    assert found == (390, None, "image", "RICE_1")
    assert (pixels.dtype, pixels.shape) == (np.dtype("uint16"), (32, 32))


def test_a_ramp_has_its_reads(tmp_path):
    """A ramp has a reset frame, then image and reference of each read, brighter from read to read."""
    visit = VisitPlan(visit=5, reads=3, small=True)
    write_ramp(tmp_path / "ramp.fits", visit, "n2")

    with fits.open(tmp_path / "ramp.fits") as hdus:
        cards = len(hdus[0].header)
        names = [hdu.name for hdu in hdus[1:]]
        reads = [hdu.header.get("W_H4READ") for hdu in hdus[1:]]
        pixels = {hdu.name: hdu.data.astype(int) for hdu in hdus[1:]}

    assert 380 <= cards <= 400
    assert names == [
        "RESET_IMAGE_1", "RESET_REF_1", "IMAGE_1", "REF_1", "IMAGE_2", "REF_2", "IMAGE_3", "REF_3",
    ]  # fmt: skip
    assert reads == [1, None, 1, None, 2, None, 3, None]
    rise = pixels["IMAGE_3"] - pixels["IMAGE_1"]
    assert (rise.min(), rise.max()) == (80, 80)
    assert np.array_equal(pixels["REF_1"], pixels["REF_3"])


def test_a_ramps_primary_header_has_no_checksum(tmp_path, visit):
    """The primary header of a ramp is patched in place: it has no checksum, its image HDUs have."""
    write_ramp(tmp_path / "ramp.fits", visit, "n1")

    with fits.open(tmp_path / "ramp.fits", disable_image_compression=True) as hdus:
        sealed_hdus = ["CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus]

    assert sealed_hdus == [False, *[True] * 6]


def test_a_pfs_config_has_its_tables(night):
    """A pfsConfig has 2604 fibres, their photometry and guide stars, and is read-only."""
    visit = of_kind(night, VisitKind.OBJECT)[0]
    path = night.directory / visit.config

    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus]
        config = hdus["CONFIG"].data
        columns = set(config.names)
        catalogues = set(config["catId"].tolist())
        rows = len(config)
        objects = config["objId"][config["catId"] > 0]

    assert names == ["PRIMARY", "CONFIG", "PHOTOMETRY", "GUIDESTARS"]
    assert rows == 2604
    assert columns >= {
        "fiberId", "tract", "patch", "ra", "dec", "catId", "objId", "targetType", "fiberStatus", "pfiNominal",
        "pfiCenter",
    }  # fmt: skip
    assert catalogues == {-1, 1001, 3001, 50001, 50002, 50007}
    assert len(objects) == len(np.unique(objects))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert 180_000 < path.stat().st_size < 850_000


def test_a_calibration_has_no_targets(night):
    """In a calibration no fibre has a target."""
    (bias, *_) = of_kind(night, VisitKind.BIAS)

    catalogues = set(fits.getdata(night.directory / bias.config, "CONFIG")["catId"].tolist())

    assert catalogues == {-1}


def test_names_and_headers_agree(night):
    """Visit and design are the same in the name of a pfsConfig, in its header and in all raws."""
    for visit in night.visits:
        config = header_of(night.directory / visit.config)
        raws = by_camera(night, visit).values()
        designs = {header["W_PFDSGN"] for header in (config, *raws)}
        visits = {header["W_VISIT"] for header in (config, *raws)}
        assert visit.config.name == f"pfsConfig-0x{designs.pop():016x}-{visits.pop():06d}.fits"
        assert (designs, visits) == (set(), set())


def test_designs_use_all_63_bits(night):
    """Designs fill a signed 64-bit integer; each object has its own, calibrations share one."""
    designs = [visit.pfs_design_id for visit in night.visits]

    assert all(2**62 <= design < 2**63 for design in designs)
    assert len(set(designs)) == len(of_kind(night, VisitKind.OBJECT)) + 2


def test_w_cammsk_has_the_cameras(night):
    """W_CAMMSK of a pfsConfig has a bit for every camera that the visit exposes."""
    masks = {
        visit.kind: header_of(night.directory / visit.config)["W_CAMMSK"]
        for visit in night.visits
        if visit not in medium_visits(night)
    }
    (medium, _) = medium_visits(night)

    assert masks[VisitKind.OBJECT] == masks[VisitKind.ARC] == 0x7777
    assert masks[VisitKind.BIAS] == 0x3333
    assert masks[VisitKind.CONVERGENCE] == 0
    assert header_of(night.directory / medium.config)["W_CAMMSK"] == 0xDDD7
    assert header_of(night.directory / medium.config)["ARMS"] == "brnm"


def test_biases_have_no_ramps(night):
    """A bias leaves CCD files only."""
    cameras = {visit.cameras for visit in of_kind(night, VisitKind.BIAS)}

    assert cameras == {("b1", "r1", "b2", "r2", "b3", "r3", "b4", "r4")}


def test_medium_resolution_mixes_r_and_m(night):
    """In the visits of arm m the first spectrograph stays in r; an m file has the DET-ID of its r."""
    (visit, _) = medium_visits(night)
    headers = by_camera(night, visit)

    assert [camera for camera in visit.cameras if camera[0] in "rm"] == ["r1", "m2", "m3", "m4"]
    assert (headers["m2"]["W_ARM"], headers["m2"]["W_SPMOD"], headers["m2"]["DET-ID"]) == (4, 2, 4)


def test_the_convergence_never_gets_raws(night):
    """The night ends with a pfsConfig whose visit number no raw has."""
    last = night.visits[-1]

    assert (last.kind, last.visit, last.raws) == (VisitKind.CONVERGENCE, 1020, ())
    assert (night.directory / last.config).exists()
    assert not list(night.directory.rglob("PFS?001020*"))


def test_visits_follow_each_other(night):
    """Visit numbers have no gap, and a visit begins after the one before it has ended."""
    numbers = [visit.visit for visit in night.visits]
    pauses = [after.begin - before.end for before, after in zip(night.visits, night.visits[1:], strict=False)]

    assert numbers == list(range(1000, 1021))
    assert set(pauses) == {timedelta(seconds=55)}


def test_cameras_of_a_visit_disagree_as_real_ones_do(night):
    """Begin, dark time, slit offsets and reference ratio differ; visit, design, dither, target do not."""
    headers = by_camera(night, night.visits[0])
    begins = {camera: header["MJD-STR"] * 86_400 for camera, header in headers.items()}
    ccds = [begin for camera, begin in begins.items() if camera[0] != "n"]
    ramps = [begin for camera, begin in begins.items() if camera[0] == "n"]

    def spread(keyword):
        return {header.get(keyword) for header in headers.values()}

    assert len(set(begins.values())) == 12
    assert 0.002 < max(ccds) - min(ccds) < 0.5
    assert min(ccds) - max(ramps) > 1.0
    assert len(spread("DARKTIME")) == 12
    assert len(spread("W_ENFCAX")) == len(spread("W_ENFCAY")) == 4
    assert headers["b3"]["W_ENFCAX"] == headers["n3"]["W_ENFCAX"]
    assert {camera: header.get("W_H4IRPN") for camera, header in headers.items()} == {
        camera: 4 if camera[0] == "n" else None for camera in ALL_CAMERAS
    }
    shared = ("W_VISIT", "W_PFDSGN", "W_ENFCAZ", "EXPTIME", "DATA-TYP", "OBJECT", "RA2000", "PROP-ID")
    assert {keyword: len(spread(keyword)) for keyword in shared} == dict.fromkeys(shared, 1)


def test_sometimes_ramps_name_another_target(night):
    """Every tenth visit has ramps that still name the previous object, and only those differ in OBJECT."""
    differing = {}
    for visit in night.visits:
        targets = {(camera[0] == "n", header["OBJECT"]) for camera, header in by_camera(night, visit).items()}
        if len({target for _, target in targets}) > 1:
            differing[visit.visit] = targets

    assert differing == {
        1007: {(False, "field_008"), (True, "field_005")},
        1017: {(False, "field_018"), (True, "field_015")},
    }


def test_a_raw_header_has_every_card_of_the_exposure_record(night):
    """Every card that an exposure record is made of is there, with the type that real headers have."""
    types = {
        "W_SITE": str, "W_VISIT": int, "W_ARM": int, "W_SPMOD": int, "DET-ID": int, "W_PFDSGN": int,
        "W_ENFCAX": float, "W_ENFCAY": float, "W_ENFCAZ": float, "MJD-STR": float, "TIMESYS": str,
        "EXPTIME": float, "DARKTIME": float, "DATA-TYP": str, "IMAGETYP": str, "OBJECT": str,
        "W_PFDSNM": str, "PROP-ID": str, "RA2000": str, "DEC2000": str, "ALTITUDE": float, "AZIMUTH": float,
        "W_AITNEO": bool, "W_AITQTH": bool, "W_ENIQTH": bool,
    }  # fmt: skip

    headers = [header_of(night.directory / night.visits[0].raw(camera)) for camera in ("b1", "n4")]

    assert [{key: type(header[key]) for key in types} for header in headers] == [types, types]


def test_the_data_types_are_those_of_the_control_system(night):
    """DATA-TYP, IMAGETYP and the lamps that are on belong together."""
    lamps = ("W_AITNEO", "W_AITARG", "W_AITKRY", "W_AITXEN", "W_AITHGC", "W_AITQTH")
    headers = [header_of(night.directory / visit.raws[0]) for visit in night.visits if visit.raws]

    said = {
        (header["DATA-TYP"], header["IMAGETYP"], *(lamp for lamp in lamps if header[lamp]))
        for header in headers
    }

    assert said == {
        ("BIAS", "bias"),
        ("DARK", "dark"),
        ("FLAT", "flat", "W_AITQTH"),
        ("COMPARISON", "arc", "W_AITNEO", "W_AITARG"),
        ("DOMEFLAT", "domeflat", "W_AITQTH"),
        ("OBJECT", "object"),
    }


def test_a_ccd_file_grows_in_place(tmp_path, visit):
    """A CCD file has its name from the first byte, and grows in several writes, header first."""
    sizes = []
    path = tmp_path / "PFSA00012311.fits"

    write_ccd(path, visit, "b1", on_write=lambda written: sizes.append((written, path.stat().st_size)))

    assert len(sizes) >= 3
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)
    assert sizes[0] == (path, 31_680)
    assert sizes[-1] == (path, path.stat().st_size)


def test_a_ramp_grows_under_a_dot_name(tmp_path, visit):
    """A ramp grows HDU by HDU under a dot-name and is renamed when its header is final."""
    path = tmp_path / "PFSB00012313.fits"
    seen = []

    def look(growing):
        header = fits.Header.fromfile(io.BytesIO(growing.read_bytes()))
        seen.append((growing.name, path.exists(), growing.stat().st_size, header["W_H4PTCH"]))

    write_ramp(path, visit, "n1", on_write=look)

    sizes = [size for _, _, size, _ in seen]
    assert {name for name, _, _, _ in seen} == {".PFSB00012313.fits"}
    assert not any(there for _, there, _, _ in seen)
    assert len(set(sizes[:-1])) == 7
    assert sizes == sorted(sizes)
    assert [final for _, _, _, final in seen] == [*[False] * 7, True]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert header_of(path)["W_H4PTCH"] is True


def test_a_pfs_config_is_writable_until_it_is_closed(tmp_path, visit):
    """A pfsConfig is written in place in several writes, and made read-only at the end."""
    path = tmp_path / "config.fits"
    modes = []

    write_pfs_config(path, visit, on_write=lambda written: modes.append(stat.S_IMODE(written.stat().st_mode)))

    assert len(modes) >= 3
    assert all(mode & stat.S_IWUSR for mode in modes)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_the_pfs_config_comes_first(tmp_path, visit):
    """A visit's pfsConfig is complete before its first raw, and every complete file is announced once."""
    announced = []

    write_visit(tmp_path, visit, on_file=lambda path: announced.append((path, path.exists())))

    assert announced == [(tmp_path / path, True) for path in (visit.config, *visit.raws)]


def test_cards_can_be_set_and_left_out(tmp_path, visit):
    """A test can set any primary card of any file, add one, or leave one out."""
    cards = {"W_VISIT": 77, "RA2000": "no available value", "W_PFDSGN": None, "EXTRA": -9998.0}
    paths = [tmp_path / name for name in ("ccd.fits", "ramp.fits", "config.fits")]

    write_ccd(paths[0], visit, "b1", cards=cards)
    write_ramp(paths[1], visit, "n1", cards=cards)
    write_pfs_config(paths[2], visit, cards=cards)

    found = [{key: header_of(path).get(key) for key in cards} for path in paths]
    assert found == [cards, cards, cards]


def test_a_ramp_can_stay_unfinished(tmp_path, visit):
    """A ramp whose W_H4PTCH is overridden keeps that value."""
    write_ramp(tmp_path / "open.fits", visit, "n1", cards={"W_H4PTCH": False})
    write_ramp(tmp_path / "old.fits", visit, "n1", cards={"W_H4PTCH": None})

    assert header_of(tmp_path / "open.fits")["W_H4PTCH"] is False
    assert "W_H4PTCH" not in header_of(tmp_path / "old.fits")


def test_same_seed_same_bytes(tmp_path):
    """The same plan gives the same bytes, another seed other designs and other headers."""
    plan = NightPlan(visits=2, small=True, cameras=("b1", "n1"))

    nights = [
        write_night(tmp_path / name, replace(plan, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]

    first, again, other = (
        {path.relative_to(night.directory): path.read_bytes() for path in night.directory.rglob("*.fits")}
        for night in nights
    )
    assert first == again
    assert [path for path in first if first[path] == other.get(path)] == []


@pytest.mark.parametrize(
    ("visits", "kinds"),
    [
        (0, ["convergence"]),
        (1, ["object", "convergence"]),
        (2, ["object", "bias", "convergence"]),
        (3, ["object", "bias", "object", "convergence"]),
    ],
)
def test_tiny_nights_are_sensible(visits, kinds):
    """One visit is an object, the second a bias, the third in medium resolution; a convergence ends it."""
    planned = list(plan_night(NightPlan(visits=visits)))

    assert [visit.kind for visit in planned] == kinds
    assert [visit.visit for visit in planned if "m2" in visit.cameras] == [1002] * (visits >= 3)


@pytest.mark.parametrize(
    ("cameras", "of_bias", "of_medium"),
    [
        (("r3",), ("r3",), ("m3",)),
        (("b1", "r1", "n1"), ("b1", "r1"), ("b1", "m1", "n1")),
        (("r2", "r1"), ("r2", "r1"), ("r2", "m1")),
        (("n1", "n4"), ("n1", "n4"), ("n1", "n4")),
        (("m1", "b1"), ("m1", "b1"), ("m1", "b1")),
    ],
)
def test_any_subset_of_cameras_makes_a_night(cameras, of_bias, of_medium):
    """Whatever cameras are in use, every visit exposes some; NIR cameras alone take a dark for a bias."""
    _, second, third, _ = plan_night(NightPlan(visits=3, cameras=cameras))

    assert (second.cameras, third.cameras) == (of_bias, of_medium)
    assert second.kind is (VisitKind.DARK if of_bias == ("n1", "n4") else VisitKind.BIAS)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"cameras": ()}, "at least one camera"),
        ({"cameras": ("x1",)}, "not a camera of PFS: 'x1'"),
        ({"cameras": ("b5",)}, "not a camera of PFS: 'b5'"),
        ({"cameras": ("b1", "b1")}, "are the same: b1, b1"),
        ({"cameras": ("r1", "m1")}, "share a detector"),
        ({"reads": 0}, "at least one read"),
        ({"visits": -1}, "negative"),
        ({"interval": -0.5}, "negative"),
        ({"start": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001 (what is refused)
    ],
)
def test_an_impossible_night_is_refused(wrong, reason):
    """A plan that no night could follow is refused with the reason."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        NightPlan(**{"visits": 1, **wrong})


def test_a_night_starts_when_it_is_told(tmp_path):
    """Folders and headers follow the start of the night, whatever its time zone."""
    start = datetime(2024, 2, 29, 20, 30, tzinfo=UTC).astimezone()
    (visit, _) = plan_night(NightPlan(visits=1, start=start, small=True, cameras=("b1",)))

    write_visit(tmp_path, visit)

    header = header_of(tmp_path / visit.raws[0])
    assert visit.raws == (Path("2024-02-29/sps/PFSA00100011.fits"),)
    assert (header["DATE-OBS"], round(header["MJD-STR"], 4)) == ("2024-02-29", round(60369 + 20.5 / 24, 4))


def test_the_interval_is_waited_between_visits(tmp_path):
    """The night waits its interval between visits, and only there."""
    waits = []

    write_night(tmp_path, NightPlan(visits=2, cameras=("b1",), interval=2.5, small=True), sleep=waits.append)

    assert waits == [2.5, 2.5]


def test_a_full_size_ccd_file_has_the_size_of_a_real_one(tmp_path):
    """At full size a CCD image has 4416 x 4300 pixels and takes 11 to 12 MB."""
    path = tmp_path / "full.fits"

    write_ccd(path, VisitPlan(visit=1), "b1")

    header = fits.getheader(path, 1)
    assert (header["NAXIS1"], header["NAXIS2"], header["BITPIX"], header["BZERO"]) == (4416, 4300, 16, 32768)
    assert 11e6 < path.stat().st_size < 12.5e6


def test_small_files_cost_milliseconds(tmp_path):
    """A thousand small files cost seconds: twenty of them take no more than a fraction of one."""
    plan = NightPlan(visits=3, small=True)
    write_night(tmp_path / "warm", plan)
    begin = time.process_time()

    night = write_night(tmp_path / "timed", replace(plan, first_visit=2000))

    spent = time.process_time() - begin
    assert spent / (len(night.raws) + len(night.configs)) < 0.02


@given(
    value=st.integers(min_value=-(2**63), max_value=2**63 - 1),
    data=st.integers(min_value=0, max_value=2**64 - 1),
)
def test_checksums_are_those_of_astropy(value, data):
    """Whatever is in header and data, astropy finds the checksums right: it would warn otherwise."""
    filler = data.to_bytes(8, "big") * 360
    cards = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 1, "NAXIS1": 2880, "VALUE": value}
    images = [fits.Card(keyword, content).image for keyword, content in cards.items()]

    with fits.open(io.BytesIO(sealed(images, filler)), checksum=True) as hdus:
        hdus.verify("exception")
        found = (hdus[0].header["VALUE"], hdus[0].data.tobytes())

    assert found == (value, filler)
