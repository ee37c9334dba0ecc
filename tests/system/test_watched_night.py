"""A night in a watched folder becomes datasets in a Butler repository."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from pfs_ingestd.simulate import NightPlan, VisitPlan, expected_night, write_visit
from system.service import butler, counted, pfs_ingestd, stored, wanted, write

GET = """
import json, sys
from lsst.daf.butler import Butler
butler = Butler(sys.argv[1], collections="PFS/raw/all")
raw = butler.get("raw", instrument="PFS", exposure=1000, arm="r", spectrograph=1)
image = raw.getImage()
ramp = butler.get("raw", instrument="PFS", exposure=1000, arm="n", spectrograph=1)
config = Butler(sys.argv[1], collections="PFS/defaults").get("pfsConfig", instrument="PFS", exposure=1000)
ours = [name for name in sys.modules if name.startswith("pfs_ingestd.")]
daemon = [name for name in ours if not name.startswith("pfs_ingestd.pfs")]
print(json.dumps({
    "visit": raw.metadata["W_VISIT"],
    "image": [list(image.shape), bool(image.any())],
    "reads": ramp.getNumReads(),
    "fibres": len(config.tables["CONFIG"]),
    "daemon": sorted(daemon),
}))
"""


def _rows(table):
    """Read the table that Butler printed, as dictionaries."""
    lines = [line for line in table.splitlines() if line.strip()]
    spans = [match.span() for match in re.finditer("-+", lines[1])]
    names, _, *rows = [[line[begin:end].strip() for begin, end in spans] for line in lines]
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize("mode", ["inotify", "poll"])
def test_a_whole_night_arrives(site, mode):
    """Twenty visits of twelve cameras are ingested as they are written; only the convergence waits."""
    site.configure(watch={"mode": mode})
    plan = NightPlan(visits=20, small=True)
    night = expected_night(site.data, plan)
    service = site.start_interpreter().running()

    written = pfs_ingestd("simulate", site.data, "--visits", 20, "--small", "--interval", 0.1)
    service.wait_for_counts(ingested=252, waiting=1)
    code = service.stop()

    assert (written.returncode, code) == (0, 0)
    assert wanted(night) == stored(site.repository)
    raws = _rows(butler("query-datasets", site.repository, "--collections", "PFS/raw/all"))
    assert (232, {"raw"}, {"PFS/raw/all"}) == (
        len(raws),
        {row["type"] for row in raws},
        {row["run"] for row in raws},
    )
    columns = {"instrument", "arm", "dither", "pfs_design_id", "spectrograph", "detector", "exposure"}
    assert {"type", "run", "id"} | columns == raws[0].keys()
    assert {"5"} == {row["id"].split("-")[2][0] for row in raws}
    waiting = {path: str(state) for path, state in site.states().items() if state != "ingested"}
    assert dict.fromkeys(site.below(night.convergence_configs), "waiting") == waiting


def test_butler_reads_what_was_ingested_by_itself(site):
    """Butler's own commands and Python work on the repository, and of the daemon import only plain values."""
    write(site.data)
    assert site.run("run", "--once").returncode == 0

    collections = _rows(butler("query-collections", site.repository))
    records = _rows(butler("query-dimension-records", site.repository, "exposure"))
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", GET, site.repository], capture_output=True, text=True, check=False
    )

    assert {
        "PFS/raw/all": "RUN",
        "PFS/raw/pfsConfig": "RUN",
        "PFS/calib": "CALIBRATION",
        "PFS/defaults": "CHAINED",
    }.items() <= {row["Name"]: row["Type"] for row in collections}.items()
    assert [row["id"] for row in records] == ["1000"]
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "visit": 1000,
        "image": [[32, 32], True],
        "reads": 2,
        "fibres": 2604,
        "daemon": ["pfs_ingestd.errors", "pfs_ingestd.exposure", "pfs_ingestd.records"],
    }


def test_the_same_files_again_change_nothing(site):
    """After a restart, and under other names, what is in the repository is not stored again."""
    night = write(site.data / "here", visits=2)
    site.start().wait_for_counts(ingested=7, waiting=1)
    site.close()
    expected = stored(site.repository)

    again = site.start().running()
    shutil.copytree(site.data / "here", site.data / "there")
    again.wait_for_counts(ingested=14, waiting=2)
    code = again.stop()

    assert code == 0
    assert wanted(night) == expected == stored(site.repository)
    ingested = [event for event in again.events if event["event"] == "file.ingested"]
    assert {"already_there"} == {event["code"] for event in ingested}
    assert [event["path"].removeprefix(f"{site.data}/").split("/")[0] for event in ingested] == ["there"] * 7
    assert not [event for event in again.events if event["level"] in {"warning", "error"}]


def test_a_pfs_config_without_raws_is_orphaned_until_a_raw_comes(site):
    """A pfsConfig is given up in time, without alarm; the first raw of its visit still wakes it."""
    site.configure(ingest={"orphan_after": "500ms"})
    write(site.data, visits=0)
    service = site.start()
    service.wait_for_counts(orphaned=1)
    (path,) = site.states()

    design = int(path.name.split("-")[1], 16)
    visit = VisitPlan(visit=1000, cameras=("r1",), pfs_design_id=design, small=True)
    write_visit(site.folder / "late", visit)
    shutil.copytree(site.folder / "late" / visit.raw("r1").parent, site.data / "late")

    service.wait_for_counts(ingested=2)
    assert service.stop() == 0
    assert not [event for event in service.events if event["level"] in {"warning", "error"}]


def test_run_once_takes_in_what_is_there_and_ends(site):
    """`run --once` waits for what is settling, and leaves a pfsConfig without raws waiting."""
    night = write(site.data, visits=2)
    done = site.run("run", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert wanted(night) == stored(site.repository)
    assert counted(ingested=7, waiting=1) == site.counts()
    assert site.status()["state"] == "stopped"
    assert "all 7 files of 2 visits" in (site.folder / "board.html").read_text(encoding="utf-8")
