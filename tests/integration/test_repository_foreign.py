"""Repositories that others made: what they are like is learned from them, and what they lack is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, CollectionType

from fuzz import sight
from observatory import TYPES, an_observatory
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.repository import create_repository, open_repository
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.ports import Dataset, Stored
from pfs_ingestd.simulate import NightPlan, write_night
from repository_files import (
    DESIGN,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    opener_of,
    raw_dataset,
    results,
    rows,
)

RAW = "PFS/raw/sps/raw/20261122/12/raw_12_r1_PFS_raw_sps.fits"
CONFIG = "PFS/raw/pfsConfig/pfsConfig/20261122/12/pfsConfig_PFS_12_PFS_raw_pfsConfig.fits"
READ_RAW = "observatory.formatters.RawFormatter"
READ_TABLE = "observatory.formatters.TableFormatter"


@pytest.fixture
def observatory(tmp_path):
    """Have a repository as it is in tests/foreign."""
    return an_observatory(tmp_path / "repo")


@pytest.fixture
def datasets(incoming):
    """Have a raw and a pfsConfig of one visit."""
    return [raw_dataset(ccd_file(incoming / "a.fits")), config_dataset(config_file(incoming / "c.fits"))]


def stored(root):
    """Tell where each artifact is, and what is to read it."""
    return sorted(row[1:3] for row in rows(root, "file_datastore_records"))


def held(root):
    """Tell what is in each artifact, and what is to read it."""
    return {path: (Path(root, path).read_bytes(), reader) for path, reader in stored(root)}


def ingest(root, datasets, **changes):
    """Store a new visit, and tell what became of its files."""
    with opener_of(root) as opened:
        return results(opened().ingest([an_exposure(12, **changes)], datasets))


def test_all_is_as_the_observatory_has_it(observatory, datasets):
    """Dimensions, columns, joins, runs, names and formatters are those of the repository."""
    assert ingest(observatory, datasets, irp_ratio=4) == [Stored.STORED, Stored.STORED]

    assert stored(observatory) == [(CONFIG, READ_TABLE), (RAW, READ_RAW)]
    assert [row[:-2] for row in rows(observatory, "visit")] == [
        (
            "PFS",
            12,
            -122,
            DESIGN,
            "12",
            30.0,
            "science",
            20261122,
            12,
            None,
            359.99999,
            None,
            "Argon,Neon",
            4,
            None,
        )
    ]
    assert rows(observatory, "cat_id") == [("PFS", 3), ("PFS", 1001)]
    assert rows(observatory, "pfsConfig") == [("PFS", 3, 12), ("PFS", 1001, 12)]
    assert rows(observatory, "alerts") == []


def test_the_same_and_other_bytes_are_told_apart(observatory, datasets, incoming):
    """What is known is already there, other bytes are a conflict, and `replace` puts them in its place."""
    ingest(observatory, datasets)
    other = raw_dataset(ccd_file(incoming / "b.fits", seed=1))

    with opener_of(observatory) as opened:
        repository = opened()
        assert repository.designs([12, 13]) == {12: DESIGN}
        again = repository.ingest([], [*datasets, other])
        replaced = repository.replace(other)

    assert results(again) == [Stored.ALREADY_THERE, Stored.ALREADY_THERE, Stored.CONFLICT]
    assert (replaced.result, replaced.dataset_id) == (Stored.STORED, again[0].dataset_id)
    assert Path(observatory, RAW).read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize(("lamps", "held"), [("Argon,Krypton,Neon", "Argon,Krypton,Ne"), ("", None)])
def test_a_text_is_made_to_fit_its_column(observatory, datasets, lamps, held):
    """More lamps than the column holds, or none where it takes no empty text, keep no file out."""
    assert ingest(observatory, datasets, lamps=lamps) == [Stored.STORED, Stored.STORED]

    assert [row[12] for row in rows(observatory, "visit")] == [held]


def test_what_reaches_the_database_are_plain_values(observatory, tmp_path):
    """Whatever NumPy makes of a file, the registry is given Python's own types."""
    night = write_night(tmp_path / "night", NightPlan(visits=1, cameras=("r1", "n1"), small=True))
    headers = FitsHeaders()
    read = [Dataset(path, headers.read([sight(path)])[0]) for path in (*night.raws, *night.configs)]
    exposure = headers.exposure(read[0].header)
    kinds = set()

    def note(_connection, _cursor, _statement, parameters, _context, executemany):
        for row in parameters if executemany else [parameters]:
            kinds.update(map(type, row.values() if isinstance(row, dict) else row))

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
    try:
        with opener_of(observatory) as opened:
            outcomes = opened().ingest([exposure], read)
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", note)

    assert set(results(outcomes)) == {Stored.STORED}
    assert kinds <= {int, float, str, bytes, type(None)}


def element(name, **changes):
    """Change an element of the dimensions; keys and columns are added, all else replaced."""

    def change(dimensions):
        config = dimensions["elements"].setdefault(name, {"doc": ""})
        for what, value in changes.items():
            config[what] = config.get(what, []) + value if what in {"keys", "metadata", "implies"} else value

    return change


def filters(dimensions):
    """Let each detector have a filter."""
    dimensions["elements"]["detector"]["implies"].append("physical_filter")


def bands_of_filters(dimensions):
    """Let bands be no more than what the filters say they are."""
    dimensions["elements"]["band"]["storage"] = {
        "cls": "lsst.daf.butler.registry.dimensions.caching.CachingDimensionRecordStorage",
        "nested": {
            "cls": "lsst.daf.butler.registry.dimensions.query.QueryDimensionRecordStorage",
            "view_of": "physical_filter",
        },
    }


def nights(dimensions):
    """Make nights a dimension, with begin and end."""
    element("day_obs", requires=["instrument"], keys=[{"name": "id", "type": "int"}])(dimensions)
    dimensions["elements"]["visit"]["implies"].append("day_obs")
    dimensions["elements"]["visit"]["metadata"].remove({"name": "day_obs", "type": "int"})
    dimensions["topology"]["temporal"]["observation_timespans"].append("day_obs")


def neither_catalogues_nor_ratios(dimensions):
    """Take away what not every repository has."""
    for name in ("cat_id", "obj_group", "pfsConfig", "alerts"):
        del dimensions["elements"][name]
    dimensions["elements"]["visit"]["metadata"].remove({"name": "irp_ratio", "type": "int"})


DATA_ID = {
    "instrument": "PFS",
    "visit": 12,
    "arm": "r",
    "spectrograph": 1,
    "detector": 1,
    "physical_filter": "r",
    "band": "r",
    "day_obs": 20261122,
    "dither": -122,
    "pfs_design_id": DESIGN,
}
BY_DETECTOR = TYPES | {"raw": ("visit", "detector")}


@pytest.mark.parametrize(
    ("options", "raw"),
    [
        (
            {"dimensions": filters, "types": BY_DETECTOR},
            "PFS/raw/sps/raw/20261122/12/raw_PFS_12_r1_1_PFS_raw_sps.fits",
        ),
        (
            {"types": TYPES | {"raw": ("visit", "arm", "spectrograph", "detector")}},
            "PFS/raw/sps/raw/20261122/12/raw_PFS_12_r1_1_PFS_raw_sps.fits",
        ),
        ({"dimensions": nights}, "PFS/raw/sps/raw/20261122/12/raw_12_r1_PFS_raw_sps.fits"),
        ({"dimensions": neither_catalogues_nor_ratios}, RAW),
    ],
    ids=["by detector, with filters", "by detector and arm", "nights", "no catalogues"],
)
def test_other_dimensions_are_filled_as_well(tmp_path, datasets, options, raw):
    """More dimensions than ours, fewer, and others that imply them, need no setting."""
    root = an_observatory(tmp_path / "repo", **options)

    assert ingest(root, datasets) == [Stored.STORED, Stored.STORED]

    assert stored(root) == [(CONFIG, READ_TABLE), (raw, READ_RAW)]
    with Butler.from_config(root) as butler:
        (ref,) = butler.query_datasets("raw", collections="PFS/raw/sps")
        assert {name: DATA_ID[name] for name in ref.dimensions.names} == dict(ref.dataId.mapping)


@pytest.mark.parametrize(
    ("runs", "used"),
    [
        ({}, "PFS/raw/sps"),
        ({"PFS/raw/all": CollectionType.RUN}, "PFS/raw/all"),
        ({"PFS/raw/all": CollectionType.RUN, "PFS/raw/sps": CollectionType.RUN}, "PFS/raw/sps"),
        ({"PFS/raw/all": CollectionType.CHAINED}, "PFS/raw/sps"),
    ],
)
def test_raws_go_to_where_the_others_are(observatory, datasets, runs, used):
    """Where there is a run of raws already it is used, under either of the names that there have been."""
    with Butler.from_config(observatory, writeable=True) as butler:
        for name, kind in runs.items():
            butler.collections.register(name, kind)

    ingest(observatory, datasets)

    with Butler.from_config(observatory) as butler:
        assert [
            ref.run for ref in butler.query_datasets("raw", collections="PFS/raw/*", find_first=False)
        ] == [used]


@pytest.mark.parametrize(
    ("formatters", "recorded"),
    [
        ({"raw": "theirs.Raw"}, "theirs.Raw"),
        ({"visit+arm+spectrograph": "theirs.Raw"}, "theirs.Raw"),
        ({"instrument<PFS>": {"ObservatoryRaw": "theirs.Raw"}}, "theirs.Raw"),
        ({"instrument<PFS-F>": {"ObservatoryRaw": "others.Raw"}}, READ_RAW),
        ({"visit+arm": "theirs.Other"}, READ_RAW),
    ],
)
def test_the_formatter_is_the_one_that_butler_would_choose(tmp_path, datasets, formatters, recorded):
    """A formatter is named for an instrument, a dataset type, its dimensions or its storage class."""
    root = an_observatory(
        tmp_path / "repo", config=lambda seed: seed["datastore"]["formatters"].update(formatters)
    )

    ingest(root, datasets)

    assert stored(root) == [(CONFIG, READ_TABLE), (RAW, recorded)]


def column(name, kind="int", *, nullable=True):
    """Add a column to the visits, or put one in place of another."""

    def change(dimensions):
        columns = dimensions["elements"]["visit"]["metadata"]
        columns[:] = [column for column in columns if column["name"] != name]
        columns.append({"name": name, "type": kind, "nullable": nullable, "length": 8})

    return change


LACKING = {
    "no raws": (
        {"types": {"pfsConfig": ("visit",)}},
        "it has no dataset type 'raw'",
        "`pfs-ingestd init REPO` adds what is missing",
    ),
    "no pfsConfigs": (
        {"types": {"raw": ("visit", "arm", "spectrograph")}},
        "it has no dataset type 'pfsConfig'",
        "`pfs-ingestd init REPO` adds what is missing",
    ),
    "no instrument": (
        {"without": ("instrument", "spectrograph", "arm", "detector", "physical_filter")},
        "it does not know the instrument 'PFS'",
        "`pfs-ingestd init REPO --instrument PFS` registers it",
    ),
    "no arms": (
        {"without": ("arm", "detector")},
        "it knows no arm of PFS",
        "`pfs-ingestd init REPO` adds what is missing",
    ),
    "no spectrographs": (
        {"without": ("spectrograph", "detector")},
        "it knows no spectrograph of PFS",
        "`pfs-ingestd init REPO` adds what is missing",
    ),
    "no detectors": (
        {"without": ("detector",), "types": BY_DETECTOR},
        "it knows no detector of PFS",
        "`pfs-ingestd init REPO` adds what is missing",
    ),
    "raws of a part of the sky": (
        {"types": TYPES | {"raw": ("visit", "arm", "spectrograph", "tract")}},
        "its datasets 'raw' are identified by arm, instrument, skymap, spectrograph, tract, visit, and its",
        "remove the dataset type",
    ),
    "one raw for all spectrographs": (
        {"types": TYPES | {"raw": ("visit", "arm")}},
        "its datasets 'raw' are identified by arm, instrument, visit, and its files by instrument, visit, a",
        "remove the dataset type",
    ),
    "a pfsConfig for each arm": (
        {"types": TYPES | {"pfsConfig": ("visit", "arm")}},
        "datasets 'pfsConfig' are identified by arm, instrument, visit, and its files by instrument, visit",
        "remove the dataset type",
    ),
    "another telescope": (
        {"dimensions": lambda dimensions: dimensions["elements"]["visit"]["implies"].remove("pfs_design_id")},
        "it has no dimension exposure (or visit) that implies pfs_design_id",
        "dimensions cannot be changed; `pfs-ingestd init` makes a repository that has them",
    ),
    "a column that is unknown": (
        {"dimensions": column("weather", nullable=False)},
        "visit.weather needs a value, and a file does not say which",
        "",
    ),
    "a column that is not always known": (
        {"dimensions": column("irp_ratio", nullable=False)},
        "visit.irp_ratio needs a value, and not every file says which",
        "",
    ),
    "a column of another type": (
        {"dimensions": column("day_obs", "string")},
        "visit.day_obs is of type str, and what a file says is int",
        "",
    ),
    "a table of arms and visits": (
        {"dimensions": element("exposed", requires=["visit", "arm"], always_join=True)},
        "no dataset 'raw' is found without exposed",
        "",
    ),
    "a dimension that is unknown": (
        {
            "dimensions": lambda dimensions: dimensions["elements"]["visit"]["implies"].append(
                "physical_filter"
            )
        },
        "visit.physical_filter needs a value, and a file does not say which",
        "",
    ),
    "catalogues with a name": (
        {
            "dimensions": element(
                "cat_id", metadata=[{"name": "title", "type": "string", "length": 8, "nullable": False}]
            )
        },
        "cat_id.title needs a value, and a file does not say which",
        "",
    ),
    "one name for all arms": (
        {
            "config": lambda seed: seed["datastore"]["templates"].update(
                raw="{run:/}/{visit}/{datasetType}_{visit}_{spectrograph}"
            )
        },
        "two datasets 'raw' would get the same file name: arm is not in the template",
        "put it into the template",
    ),
    "no formatter": (
        {"config": lambda seed: seed["datastore"]["formatters"].pop("ObservatoryRaw")},
        "its configuration names no formatter for the storage class ObservatoryRaw",
        "name it in the repository's butler.yaml, under datastore, formatters, ObservatoryRaw",
    ),
}


@pytest.mark.parametrize(
    ("bands", "added"),
    [(lambda _: None, {"4 records of band"}), (bands_of_filters, set())],
    ids=["table", "view"],
)
def test_what_is_lacking_can_be_added(tmp_path, datasets, bands, added):
    """After `init` a repository in which nothing was registered takes our files."""
    everything = ("instrument", "band", "physical_filter", "spectrograph", "arm", "detector")
    root = an_observatory(tmp_path / "repo", dimensions=bands, without=everything)

    report = create_repository(root)

    assert set(report.added) == added | {
        "1 record of instrument",
        "4 records of physical_filter",
        "5 records of spectrograph",
        "5 records of arm",
        "22 records of detector",
        "RUN collection PFS/raw/sps",
        "RUN collection PFS/raw/pfsConfig",
        "CALIBRATION collection PFS/calib",
        "CHAINED collection PFS/defaults",
        "members of PFS/defaults",
    }
    assert not create_repository(root).changed
    assert ingest(root, datasets) == [Stored.STORED, Stored.STORED]


@pytest.mark.parametrize("lacking", LACKING)
def test_what_is_lacking_is_said(tmp_path, lacking):
    """A repository that cannot take our files is refused, with what it lacks and what to do."""
    options, reason, hint = LACKING[lacking]
    root = an_observatory(tmp_path / "repo", **options)

    with pytest.raises(Fatal) as caught:
        open_repository(root, transfer="copy", runs={}, instrument="PFS")

    assert caught.value.code is Code.REPOSITORY_UNSUITABLE
    assert reason in caught.value.message
    assert hint in caught.value.hint
    assert bool(hint) is bool(caught.value.hint)


# What the observatory calls PfsRaw is no PfsRaw of ours, and a process knows only one: this one knows theirs.
THE_DAEMON = """
import json, sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

sys.path.append(sys.argv[2])
from observatory import an_observatory
from pfs_ingestd.cli import main
from pfs_ingestd.simulate import NightPlan, write_ccd, write_night

def run(*arguments):
    with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as complaints:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return [arguments[0], code, complaints.getvalue().partition("\\n")[0] or output.getvalue()]

def say(*words):
    print(json.dumps(words))

folder = Path(sys.argv[1])
data, config = folder / "data", folder / "config.yaml"
unlike = an_observatory(folder / "unlike", types={})
say(*run("init", unlike))

bare = {"types": {}, "without": ("spectrograph", "arm", "detector")}
repository = an_observatory(folder / "repo", prefix="Pfs", **bare)
by_command = an_observatory(folder / "by-command", prefix="Pfs")
night = write_night(data, NightPlan(visits=1, cameras=("b1", "r1", "n1"), small=True))
config.write_text(json.dumps({
    "repository": repository,
    "watch": {"raw": str(data), "pfsConfig": str(data), "settle": "1ms"},
    "ingest": {"transfer": "copy"},
    "state": {"database": str(folder / "inbox.db")},
}))

def daemon():
    _, code, _ = run("run", "--once", "-c", config)
    files = json.loads(run("list", "--json", "-c", config)[2])
    say("run", code, Counter(" ".join(filter(None, (file["state"], file["code"]))) for file in files))

say(*run("run", "--once", "-c", config))
say(*run("init", repository)[:2])
daemon()
daemon()
(folder / "inbox.db").unlink()
other = data / "again" / night.raws[0].name
other.parent.mkdir()
write_ccd(other, night.visits[0], "b1", cards={"OBJECT": "another"})
daemon()
say(*run("replace", "-c", config, other)[:2])
say(*run("audit", "-c", config)[:2])
say(*run("retry", "-c", config, "--state", "ingested"))
daemon()
say(*run("ingest-raws", by_command, night.raws[0].parents[1]))
say(*run("ingest-pfs-config", by_command, "PFS", "PFS/raw/pfsConfig", *night.configs))
"""


def test_the_daemon_works_as_on_our_own(tmp_path):
    """A night, a restart, an inbox lost, a conflict and its end, and the same by command."""
    command = [sys.executable, "-c", THE_DAEMON, str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own script)

    assert (done.stderr, done.returncode) == ("", 0)
    lacking = "error [repository_unsuitable]: the repository cannot be used: it has no dataset type 'raw'"
    conflict = {"ingested already_there": 4, "rejected conflict": 1, "waiting no_exposure": 1}
    unlike = "the repository cannot be used: its configuration has no storage class PfsRaw for datasets 'raw'"
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["init", 78, f"error [repository_unsuitable]: {unlike}"],
        ["run", 78, lacking],
        ["init", 0],
        ["run", 0, {"ingested": 4, "waiting no_exposure": 1}],
        ["run", 0, {"ingested": 4, "waiting no_exposure": 1}],
        ["run", 1, conflict],
        ["replace", 0],
        ["audit", 1],
        ["retry", 0, "5 files to be tried again\n"],
        ["run", 1, conflict],
        ["ingest-raws", 0, "3 ingested, 0 already there, 0 rejected\n"],
        ["ingest-pfs-config", 0, "1 ingested, 0 already there, 0 rejected\n"],
    ]
    data, raws = (
        tmp_path / "data" / "2026-03-21",
        "PFS/raw/sps/raw/20260321/1000/raw_1000_{}_PFS_raw_sps.fits",
    )
    (config,) = data.glob("pfsConfig/*001000.fits")
    table = "PFS/raw/pfsConfig/pfsConfig/20260321/1000/pfsConfig_PFS_1000_PFS_raw_pfsConfig.fits"
    night = {
        raws.format("b1"): ((data / "sps" / "PFSA00100011.fits").read_bytes(), READ_RAW),
        raws.format("r1"): ((data / "sps" / "PFSA00100012.fits").read_bytes(), READ_RAW),
        raws.format("n1"): ((data / "ramps" / "PFSB00100013.fits").read_bytes(), READ_RAW),
        table: (config.read_bytes(), READ_TABLE),
    }
    replaced = (data.with_name("again") / "PFSA00100011.fits").read_bytes()
    assert night == held(tmp_path / "by-command")
    assert night | {raws.format("b1"): (replaced, READ_RAW)} == held(tmp_path / "repo")
