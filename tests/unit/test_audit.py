"""What an audit makes of files, records and datasets: tables, no disk and no repository."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fakes import BEGIN
from pfs_ingestd.audit.findings import Artifact, Fault, File, Move, Restore, StoredDataset
from pfs_ingestd.audit.judgement import (
    BACKLOG,
    LATE,
    Scene,
    comparisons,
    differing_datasets,
    differing_files,
)
from pfs_ingestd.errors import Code, Rejected
from pfs_ingestd.policy import noticed
from pfs_ingestd.records import FileName, Kind, Sighting, State
from rig import PATIENCE

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

PATH = Path("/data/raw/2026-11-22/sps/PFSA00100012.fits")
NAME = FileName(kind=Kind.RAW, visit=1000, arm="r", spectrograph=1)
DATA_ID = (1000, Kind.RAW, "r", 1)
ARRIVED = int((BEGIN - timedelta(hours=3)).timestamp()) * 10**9
SEEN = Sighting(path=PATH, name=NAME, size=100, mtime_ns=ARRIVED, ctime_ns=ARRIVED, inode=7)
CHANGED = replace(SEEN, mtime_ns=ARRIVED + 10**9)
SCENE = Scene(now=BEGIN, daemon=False, grace=timedelta(minutes=10), patience=PATIENCE)
HOUR = timedelta(hours=1)

BEFORE = BEGIN - 2 * HOUR
NEW = noticed(None, SEEN, closed=True, patience=PATIENCE, now=BEFORE)
READY = NEW.ready(BEFORE)
CLAIMED = READY.claimed(BEFORE)
INGESTED = CLAIMED.ingested("id", already=False, now=BEFORE)
FLAGGED = INGESTED.flagged("its dataset was replaced by /other", BEFORE)
LINKED = Artifact(where="file:///repo/r1.fits", elsewhere=None, size=100, mtime_ns=ARRIVED, inode=7)
COPIED = replace(LINKED, mtime_ns=ARRIVED + 5, inode=8)
GONE = replace(LINKED, size=None, mtime_ns=None, inode=None)
DANGLING = replace(GONE, elsewhere=PATH)


def stored(artifact=LINKED, **changes):
    values = {"id": "id", "kind": Kind.RAW, "visit": 1000, "arm": "r", "spectrograph": 1}
    return StoredDataset(**(values | {"run": "PFS/raw/all", "usual": True, "artifact": artifact} | changes))


def a_file(record=INGESTED, sighting=SEEN, trouble=""):
    return File(path=PATH, data_id=DATA_ID, record=record, sighting=sighting, trouble=trouble)


def judge(file, *datasets, same=None, exposures=(), scene=SCENE):
    """Tell fault and remedy of each finding about one file and the datasets of its visit."""
    same = {} if same is None else {("id", PATH): same}
    found = [
        *differing_files([file], datasets, same, exposures=exposures, scene=scene),
        *differing_datasets([file], datasets, same, scene=scene),
    ]
    return [(finding.fault, finding.remedy) for finding in found]


def moved(file, *datasets, **kwargs):
    """Tell fault and next state of the one finding, whose remedy is a move."""
    [(fault, remedy)] = judge(file, *datasets, **kwargs)
    assert isinstance(remedy, Move)
    assert remedy.old == file.record
    return fault, remedy.new.state


@pytest.mark.parametrize("record", [None, NEW.vanished(BEFORE)])
def test_a_file_that_is_nowhere_is_queued(record):
    """What is on disk and neither in the inbox nor stored is entered as seen."""
    assert moved(a_file(record)) == (Fault.UNKNOWN, State.SEEN)
    assert moved(a_file(record), stored(COPIED), same=False) == (Fault.UNKNOWN, State.SEEN)


@pytest.mark.parametrize(
    ("file", "datasets", "same"),
    [
        (a_file(None, replace(SEEN, ctime_ns=int(BEGIN.timestamp()) * 10**9)), [], None),
        (a_file(None), [stored()], None),
        (a_file(None), [stored(COPIED)], True),
        (a_file(NEW.vanished(BEFORE), None), [], None),
    ],
    ids=["just arrived", "stored by link", "stored by copy", "gone"],
)
def test_a_file_that_need_not_be_known_is_no_difference(file, datasets, same):
    """A file that just arrived is the daemon's, and one that was stored by command is stored."""
    assert judge(file, *datasets, same=same) == []


def test_what_cannot_be_looked_at_is_told():
    """A file that its disk does not tell of is a finding, not the end of the audit."""
    assert judge(a_file(sighting=None, trouble="Input/output error"), stored()) == [(Fault.UNREADABLE, None)]


@pytest.mark.parametrize("artifact", [LINKED, COPIED])
@pytest.mark.parametrize("sighting", [SEEN, None])
def test_what_is_ingested_and_stored_is_no_difference(artifact, sighting):
    """Link or copy, and whether the file is still there: the dataset is what matters."""
    assert judge(a_file(INGESTED, sighting), stored(artifact)) == []


def test_a_dataset_that_is_not_registered_is_queued_while_there_is_its_file():
    """A record that says ingested of what the registry does not have starts again, if it can."""
    assert moved(a_file(), stored(id="other", run="u/me")) == (Fault.UNREGISTERED, State.SEEN)
    assert judge(a_file(sighting=None)) == [(Fault.UNREGISTERED, None)]


def test_a_changed_file_is_flagged_or_compared_again():
    """Other bytes are for a person; the same bytes with another time are found to be there already."""
    assert moved(a_file(sighting=CHANGED), stored(COPIED), same=False) == (Fault.CHANGED, State.INGESTED)
    in_place = replace(LINKED, mtime_ns=CHANGED.mtime_ns)
    assert moved(a_file(sighting=CHANGED), stored(in_place)) == (Fault.CHANGED, State.INGESTED)
    assert moved(a_file(sighting=CHANGED), stored(COPIED), same=True) == (Fault.CHANGED, State.SEEN)


def test_a_flag_is_taken_away_only_when_it_is_not_true_any_more():
    """What was flagged stays so until file and dataset have the same bytes again."""
    assert judge(a_file(FLAGGED), stored(COPIED), same=False) == [(Fault.CHANGED, None)]
    assert moved(a_file(FLAGGED), stored(COPIED), same=True) == (Fault.CHANGED, State.SEEN)
    assert moved(a_file(FLAGGED), stored(LINKED)) == (Fault.CHANGED, State.SEEN)


@pytest.mark.parametrize(
    ("artifact", "fault"), [(None, Fault.MISSING), (GONE, Fault.MISSING), (DANGLING, Fault.DANGLING)]
)
def test_a_lost_artifact_is_made_again_from_its_file_alone(artifact, fault):
    """The file that was stored, unchanged, and in the run that files go into: else a person decides."""
    restored = [(fault, Restore(INGESTED, "id"))]
    assert judge(a_file(), stored(artifact)) == restored
    assert judge(a_file(sighting=None), stored(artifact)) == [(fault, None)]
    assert judge(a_file(), stored(artifact, usual=False)) == [(fault, None)]
    assert judge(a_file(FLAGGED), stored(artifact))[1:] == [(fault, None)]
    assert judge(a_file(sighting=CHANGED), stored(artifact))[1:] == [(fault, None)]


def test_a_lost_artifact_whose_file_is_queued_is_left_to_the_daemon():
    """A file that is to be ingested anyway brings its artifact back."""
    assert judge(a_file(replace(READY, updated=BEGIN)), stored(GONE)) == []


def test_an_artifact_of_another_size_is_altered():
    """A copy is known by its size; its bytes are compared on request."""
    assert judge(a_file(), stored(replace(COPIED, size=99))) == [(Fault.ALTERED, None)]
    assert judge(a_file(), stored(COPIED), same=False) == [(Fault.ALTERED, None)]
    assert judge(a_file(FLAGGED, None), stored(replace(COPIED, size=99))) == []


@pytest.mark.parametrize(
    ("file", "artifact", "scene", "asked"),
    [
        (a_file(), COPIED, SCENE, False),
        (a_file(), COPIED, replace(SCENE, checksum=True), True),
        (a_file(), LINKED, replace(SCENE, checksum=True), False),
        (a_file(sighting=CHANGED), COPIED, SCENE, True),
        (a_file(sighting=replace(CHANGED, size=1)), COPIED, SCENE, False),
        (a_file(FLAGGED), COPIED, SCENE, True),
        (a_file(None), COPIED, SCENE, True),
        (a_file(None), LINKED, SCENE, False),
        (a_file(), replace(COPIED, elsewhere=Path("/elsewhere.fits")), SCENE, True),
        (a_file(READY), COPIED, SCENE, False),
        (a_file(sighting=None), COPIED, replace(SCENE, checksum=True), False),
    ],
)
def test_bytes_are_compared_only_where_they_decide(file, artifact, scene, asked):
    """To read an archive takes days: only what is in doubt is read, or what was asked for."""
    assert list(comparisons([file], [stored(artifact)], scene)) == [("id", PATH)] * asked


WAITING = CLAIMED.waiting(until=BEGIN + 24 * HOUR, error=Rejected(Code.NO_EXPOSURE, ""), now=BEFORE)


@pytest.mark.parametrize(
    ("record", "exposures", "state"),
    [
        (CLAIMED, [], State.READY),
        (WAITING, [1000], State.READY),
        (WAITING.orphaned(BEFORE), [1000], State.READY),
        (replace(WAITING, not_before=BEGIN - 2 * LATE), [], State.ORPHANED),
    ],
    ids=["claimed by nobody", "exposure came", "exposure came late", "waited too long"],
)
def test_a_record_that_is_stuck_moves_on(record, exposures, state):
    """What the daemon would have done by now is done."""
    assert moved(a_file(record), exposures=exposures) == (Fault.STUCK, state)


@pytest.mark.parametrize("record", [NEW, READY, replace(READY, not_before=BEGIN - 2 * LATE)])
def test_what_is_long_overdue_is_told(record):
    """Without a daemon nothing gets done; a daemon may have a backlog, but not for ever."""
    at_work = replace(SCENE, daemon=True)
    assert judge(a_file(record)) == [(Fault.STUCK, None)]
    assert judge(a_file(record), scene=at_work) == []
    assert judge(a_file(record), scene=replace(at_work, now=BEGIN + BACKLOG)) == [(Fault.STUCK, None)]


@pytest.mark.parametrize(
    "record",
    [
        replace(READY, updated=BEGIN),
        replace(NEW, not_before=BEGIN + HOUR),
        replace(CLAIMED, updated=BEGIN),
        WAITING,
        replace(WAITING, not_before=BEGIN - LATE),
        WAITING.orphaned(BEFORE),
        NEW.rejected(Rejected(Code.NOT_FITS, ""), BEFORE),
        NEW.skipped(BEFORE),
    ],
)
def test_what_may_stay_where_it_is_is_no_difference(record):
    """Files on their way, files that wait, and files that a person knows of are as they should be."""
    assert judge(a_file(record)) == []


def test_several_files_of_one_dataset_agree():
    """A second file with the same bytes is stored, too, wherever the artifact leads."""
    second = replace(SEEN, path=Path("/data/raw/again.fits"), inode=9)
    files = [a_file(), File(path=second.path, data_id=DATA_ID, record=INGESTED, sighting=second)]
    datasets = [stored(replace(LINKED, elsewhere=PATH))]
    assert list(comparisons(files, datasets, SCENE)) == []
    assert list(differing_datasets(files, datasets, {}, scene=SCENE)) == []


def test_every_fault_is_explained():
    """docs/operations.md explains each fault once, and no others."""
    _, _, section = OPERATIONS.read_text(encoding="utf-8").partition("\n## Audit\n")
    table = section.partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(Fault)
