"""What a story says: tables, without disk, inbox and repository."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nights import NOW, record
from pfs_ingestd.advice import ADVICE, WAITS
from pfs_ingestd.audit.findings import Artifact, StoredDataset
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.records import FileName, Kind, Sighting, State
from pfs_ingestd.story.facts import DaemonFacts, FileStory, Look, Stored, Story
from pfs_ingestd.story.prospects import to_do, waits_for
from pfs_ingestd.story.strangers import Surroundings, why_unknown

RAW = record(1000, "r1", dataset_id="id")
SEEN = Sighting(
    path=RAW.path,
    name=FileName(kind=Kind.RAW, visit=1000, arm="r", spectrograph=1),
    size=RAW.size,
    mtime_ns=RAW.mtime_ns,
    ctime_ns=0,
    inode=RAW.inode,
)
ARTIFACT = Artifact(where="file:///repo/r1.fits", elsewhere=None, size=RAW.size, mtime_ns=0, inode=RAW.inode)
COPY = replace(ARTIFACT, inode=5)
GONE = replace(ARTIFACT, size=None, mtime_ns=None, inode=None)
RUNNING = DaemonFacts(alive=True, state="running")


def a_dataset(artifact=ARTIFACT):
    return StoredDataset(
        id="id",
        kind=Kind.RAW,
        visit=1000,
        arm="r",
        spectrograph=1,
        run="PFS/raw/all",
        usual=True,
        artifact=artifact,
    )


def a_story(*stored, daemon=RUNNING, trouble=None, paused="", **changes):
    file = FileStory(path=str(RAW.path), record=replace(RAW, **changes), stored=stored)
    return file, Story(
        files=[file],
        visit=None,
        daemon=daemon,
        repository="/repo",
        repository_trouble=trouble,
        paused=paused,
    )


@pytest.mark.parametrize(
    ("artifact", "equal", "seen", "expected"),
    [
        (ARTIFACT, None, SEEN, "there, and is this very file"),
        (ARTIFACT, None, None, "there, 1,000 bytes"),
        (COPY, None, SEEN, "there, a copy of the same size (--checksum compares the bytes)"),
        (COPY, True, SEEN, "there, with the same bytes as this file"),
        (COPY, False, SEEN, "there, with OTHER bytes as this file"),
        (replace(COPY, size=9), None, SEEN, "there, with OTHER content: 9 bytes, this file has 1,000"),
        (GONE, None, SEEN, "the artifact is missing"),
        (replace(GONE, elsewhere=Path("/x")), None, SEEN, "the artifact is missing, it leads to /x"),
        (None, None, SEEN, "the datastore knows of no artifact"),
    ],
)
def test_an_artifact_is_held_against_the_file(artifact, equal, seen, expected):
    """Whether the artifact is there, and is this file, is said as surely as it is known."""
    assert Stored(dataset=a_dataset(artifact), bytes_equal=equal).held_against(seen) == expected


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (a_story(Stored(dataset=a_dataset())), "nothing"),
        (a_story(), "the repository has no such dataset: pfs-ingestd audit, then retry it"),
        (
            a_story(Stored(dataset=a_dataset(GONE))),
            "the artifact is missing: pfs-ingestd audit --repair stores it again, if that can be",
        ),
        (
            a_story(trouble=Outage(Code.REPOSITORY_UNREACHABLE, "is away")),
            "nothing, as far as the inbox knows",
        ),
        (
            a_story(changed="size 1 -> 2"),
            "retry it to have it compared again, or replace what is stored by it",
        ),
        (a_story(state=State.READY), "nothing: the daemon is at it"),
        (a_story(state=State.READY, code="busy", error="is busy"), ADVICE[Code.BUSY]),
        (
            a_story(state=State.READY, daemon=DaemonFacts(alive=False, state="stopped")),
            "start the daemon: systemctl start pfs-ingestd",
        ),
        (
            a_story(state=State.READY, daemon=DaemonFacts(alive=True, state="degraded", reason="no disk")),
            "cure what the daemon complains of: no disk",
        ),
        (
            a_story(state=State.READY, paused="somebody ordered a pause"),
            "it is not claimed, because somebody ordered a pause; pfs-ingestd resume -c CONFIG",
        ),
        (a_story(state=State.SEEN, paused="somebody ordered a pause"), "nothing: the daemon is at it"),
        (a_story(state=State.REJECTED, code="bad_card", error="is bad"), ADVICE[Code.BAD_CARD]),
        (a_story(state=State.REJECTED, code="of a newer program", error="is new"), "nothing"),
        (a_story(state=State.SKIPPED, code="bad_card"), "nothing; if it is wanted after all, retry it"),
        (a_story(state=State.GONE, code="vanished"), ADVICE[Code.VANISHED]),
    ],
)
def test_what_to_do_follows_from_how_it_stands(story, expected):
    """Each state and reason leads to one sentence that a person can act on."""
    assert to_do(*story) == expected


def test_every_state_has_its_sentence():
    """No file stands anywhere without a word of what it waits for."""
    assert WAITS.keys() == set(State)


def test_what_a_file_waits_for_has_its_time():
    """A time is told where there is one, and what it is the time of."""
    later = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    ready = replace(RAW, state=State.READY)
    assert waits_for(ready) == WAITS[State.READY]
    assert waits_for(replace(ready, not_before=later)).endswith("; not before 2026-11-22 05:00:00 UTC")
    waiting = replace(RAW, state=State.WAITING, not_before=later)
    assert waits_for(waiting).endswith("; it is given up at 2026-11-22 05:00:00 UTC")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"size": 1001}, "1,001 bytes now"),
        ({"inode": 1}, "changed since: same size, another time or inode"),
    ],
)
def test_a_file_that_is_another_one_by_now_is_told(changes, expected):
    """The record speaks of one content, and the disk may have another."""
    look = Look(sighting=replace(SEEN, **changes))
    assert FileStory(path="", record=RAW, look=look).differs == expected


ROOTS = {Path("/data/raw"): [Kind.RAW], Path("/data/configs"): [Kind.PFS_CONFIG]}
THERE = Surroundings(roots=ROOTS, exists=True, is_file=True, alive=True, folder_listed=True)
NAME = "PFSA00100012.fits"
CONFIG = "pfsConfig-0x1-001000.fits"


@pytest.mark.parametrize(
    ("path", "changes", "expected"),
    [
        (f"/data/raw/{NAME}", {}, ["it came after the last scan of its folder"]),
        (f"/data/raw/{NAME}", {"folder_listed": False}, ["its folder has not been scanned yet"]),
        (
            f"/data/raw/{NAME}",
            {"alive": False, "last_scan": NOW - timedelta(hours=1)},
            ["no daemon is at work", "the last scan ended at 2026-11-22 11:00:00 UTC"],
        ),
        (f"/data/raw/{NAME}", {"exists": None}, ["its folder cannot be read", "it came after"]),
        (f"/data/raw/{NAME}", {"exists": False}, ["there is nothing"]),
        (f"/data/raw/{NAME}", {"is_file": False}, ["it is not a regular file"]),
        (f"/data/raw/{NAME}", {"is_link": True}, ["it is a link"]),
        (f"/data/raw/{NAME}", {"is_link": True, "follows_links": True}, ["it came after"]),
        (f"/data/raw/{CONFIG}", {}, ["it is a pfsConfig, and below this watched folder only raw files"]),
        (f"/data/configs/{NAME}", {}, ["it is a raw, and below this watched folder only pfsConfig files"]),
        (f"/data/raw/.tmp/{NAME}", {}, ["it lies in .tmp"]),
        (f"/data/raw/lost+found/{NAME}", {}, ["it lies in lost+found"]),
        (f"/other/{NAME}", {}, ["it lies in none of the watched folders (/data/raw, /data/configs)"]),
        ("/data/raw/a.txt", {}, ["its name is not one of PFS"]),
        (f"/other/.{NAME}", {}, ["its name begins with a dot", "it lies in none"]),
    ],
)
def test_why_a_file_may_be_unknown(path, changes, expected):
    """All that keeps a file out is told at once; what passes by itself only where nothing else does."""
    found = why_unknown(Path(path), parse(Path(path).name), replace(THERE, **changes))
    assert [reason[: len(start)] for reason, start in zip(found, expected, strict=True)] == expected
