"""The status: what it says, and when it says that something is wrong."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pfs_ingestd.figures import Amount, Throughput
from pfs_ingestd.orders import Order, Standing, What
from pfs_ingestd.ports import WatcherHealth
from pfs_ingestd.records import FileRecord, Kind, State
from pfs_ingestd.status import (
    LARGEST,
    Condition,
    DiskRoom,
    HookHealth,
    Phase,
    Process,
    ScanCost,
    Settings,
    WorkerState,
    status_text,
    summarise,
)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
PROCESS = Process(pid=7, host="gen3", program_version="0.1.0", repository="/data/butler", started=EARLIER)
RUNNING = Condition(phase=Phase.RUNNING, since=EARLIER)
IDLE = Throughput(
    today=Amount(),
    last_hour=Amount(),
    files_per_second=0.0,
    bytes_per_second=0.0,
    latency_median=None,
    latency_p99=None,
)
SEEING = WatcherHealth(root=Path("/data/raw"), mode="inotify", healthy=True)
BLIND = WatcherHealth(root=Path("/data/raw"), mode="inotify", healthy=False, reason="the folder was replaced")


def a_record(**changes):
    return replace(
        FileRecord(
            path=Path("/data/raw/PFSA00001211.fits"),
            kind=Kind.RAW,
            visit=12,
            arm="b",
            spectrograph=1,
            size=1,
            mtime_ns=1,
            inode=1,
            night=EARLIER.date(),
            steady_since=EARLIER,
            first_seen=EARLIER,
            updated=NOW,
        ),
        **changes,
    )


def told(before=RUNNING, **changes):
    facts = {
        "now": NOW,
        "process": PROCESS,
        "standing": Standing(),
        "settings": Settings(file="/etc/c.yaml", loaded=EARLIER),
        "troubles": (),
        "watchers": (SEEING,),
        "scan": None,
        "scanned": {},
        "counts": {},
        "oldest_pending": None,
        "throughput": IDLE,
        "disks": (),
        "hooks": (),
        "last_ingested": None,
        "last_rejected": None,
        "last_changed": None,
    }
    return summarise(before, **(facts | changes))


def test_the_status_says_all_there_is():
    """Who, what, since when, how each root is watched, how many files stand where, and the last ones."""
    bad = a_record(state=State.REJECTED, code="truncated", error="it ends early")
    status = told(
        scan=ScanCost(at=EARLIER, seconds=0.12345, folders=9, roots={SEEING.root: 0.0123}),
        scanned={SEEING.root: EARLIER},
        throughput=Throughput(
            today=Amount(100, 10**9),
            last_hour=Amount(10, 10**8),
            files_per_second=0.1234567,
            bytes_per_second=1.5e6,
            latency_median=0.03125,
            latency_p99=2.0,
        ),
        disks=(
            DiskRoom(what="repository", folder=Path("/data/butler"), free=10**9, size=10**12),
            DiskRoom(what="inbox", folder=Path("/var/lib"), reason="the disk does not answer"),
        ),
        workers=(
            WorkerState(
                id=3,
                name="1",
                host="node1",
                pid=8,
                started=EARLIER,
                heartbeat=NOW,
                visits=40,
                files=1000,
            ),
        ),
        hooks=(
            HookHealth(hook="command", to="/usr/bin/tell", last_delivered=EARLIER),
            HookHealth(
                hook="webhook", to="https://chat/***", failures=3, reason="it answered 500", waiting=9
            ),
        ),
        standing=Standing(
            number=12, paused=Order(what=What.PAUSE, by="alice@summit", at=EARLIER, reason="move")
        ),
        counts={State.SEEN: 1, State.READY: 2, State.INGESTED: 30},
        oldest_pending=EARLIER,
        last_ingested=a_record(state=State.INGESTED),
        last_rejected=bad,
        last_changed=a_record(state=State.INGESTED, changed="size 1 -> 2"),
    )
    assert status.as_json() == {
        "version": 1,
        "state": "running",
        "reason": "",
        "since": "2026-11-22T09:55:00.000+00:00",
        "heartbeat": "2026-11-22T10:00:00.000+00:00",
        "pid": 7,
        "host": "gen3",
        "program_version": "0.1.0",
        "repository": "/data/butler",
        "started": "2026-11-22T09:55:00.000+00:00",
        "paused": {"since": "2026-11-22T09:55:00.000+00:00", "by": "alice@summit", "reason": "move"},
        "heard": 12,
        "configuration": {
            "file": "/etc/c.yaml",
            "loaded": "2026-11-22T09:55:00.000+00:00",
            "answers": 0,
            "refused": "",
        },
        "watchers": [
            {
                "root": "/data/raw",
                "mode": "inotify",
                "healthy": True,
                "reason": "",
                "last_scan": "2026-11-22T09:55:00.000+00:00",
                "scan_seconds": 0.012,
            }
        ],
        "watchers_left_out": 0,
        "last_scan": {"at": "2026-11-22T09:55:00.000+00:00", "seconds": 0.123, "folders": 9},
        "counts": {
            "seen": 1,
            "ready": 2,
            "ingesting": 0,
            "waiting": 0,
            "ingested": 30,
            "orphaned": 0,
            "rejected": 0,
            "skipped": 0,
            "gone": 0,
        },
        "pending": {"files": 3, "oldest": "2026-11-22T09:55:00.000+00:00", "oldest_age_seconds": 300.0},
        "throughput": {
            "today": {"files": 100, "bytes": 10**9},
            "last_hour": {"files": 10, "bytes": 10**8},
            "files_per_second": 0.123,
            "megabytes_per_second": 1.5,
            "latency_median_seconds": 0.031,
            "latency_p99_seconds": 2.0,
        },
        "workers": [
            {
                "id": 3,
                "name": "1",
                "host": "node1",
                "pid": 8,
                "started": "2026-11-22T09:55:00.000+00:00",
                "heartbeat": "2026-11-22T10:00:00.000+00:00",
                "visits": 40,
                "files": 1000,
            }
        ],
        "workers_left_out": 0,
        "disks": {
            "repository": {
                "folder": "/data/butler",
                "free_bytes": 10**9,
                "size_bytes": 10**12,
                "reason": "",
            },
            "inbox": {
                "folder": "/var/lib",
                "free_bytes": None,
                "size_bytes": None,
                "reason": "the disk does not answer",
            },
        },
        "hooks": {
            "command": {
                "to": "/usr/bin/tell",
                "failures": 0,
                "reason": "",
                "waiting": 0,
                "last_delivered": "2026-11-22T09:55:00.000+00:00",
            },
            "webhook": {
                "to": "https://chat/***",
                "failures": 3,
                "reason": "it answered 500",
                "waiting": 9,
                "last_delivered": None,
            },
        },
        "last_ingested": {
            "path": "/data/raw/PFSA00001211.fits",
            "visit": 12,
            "at": "2026-11-22T10:00:00.000+00:00",
            "code": None,
            "error": None,
            "changed": None,
        },
        "last_rejected": {
            "path": "/data/raw/PFSA00001211.fits",
            "visit": 12,
            "at": "2026-11-22T10:00:00.000+00:00",
            "code": "truncated",
            "error": "it ends early",
            "changed": None,
        },
        "last_changed": {
            "path": "/data/raw/PFSA00001211.fits",
            "visit": 12,
            "at": "2026-11-22T10:00:00.000+00:00",
            "code": None,
            "error": None,
            "changed": "size 1 -> 2",
        },
    }


def test_a_status_of_nothing_is_whole():
    """Before the first scan everything that is not known yet is null, and nothing is missing."""
    before = Condition(phase=Phase.STARTING, since=NOW)
    content = told(before, watchers=()).as_json()
    assert {key: content[key] for key in ("state", "last_scan", "pending", "last_ingested")} == {
        "state": "starting",
        "last_scan": None,
        "pending": {"files": 0, "oldest": None, "oldest_age_seconds": None},
        "last_ingested": None,
    }


@pytest.mark.parametrize(
    ("before", "troubles", "watchers", "expected"),
    [
        (RUNNING, (), (SEEING,), RUNNING),
        (RUNNING, ("no answer",), (SEEING,), Condition(phase=Phase.DEGRADED, reason="no answer", since=NOW)),
        (
            RUNNING,
            ("no answer",),
            (SEEING, BLIND),
            Condition(
                phase=Phase.DEGRADED, reason="no answer; /data/raw: the folder was replaced", since=NOW
            ),
        ),
        (
            Condition(phase=Phase.DEGRADED, reason="disk full", since=EARLIER),
            ("no answer",),
            (),
            Condition(phase=Phase.DEGRADED, reason="no answer", since=EARLIER),
        ),
        (
            Condition(phase=Phase.DEGRADED, reason="disk full", since=EARLIER),
            (),
            (),
            Condition(phase=Phase.RUNNING, since=NOW),
        ),
        (
            Condition(phase=Phase.FAILED, reason="fail-fast", since=EARLIER),
            ("no answer",),
            (BLIND,),
            Condition(phase=Phase.FAILED, reason="fail-fast", since=EARLIER),
        ),
    ],
)
def test_troubles_and_blind_watchers_degrade_a_running_daemon(before, troubles, watchers, expected):
    """A running daemon is degraded while something is wrong, since it began; any other state stays."""
    assert told(before, troubles=troubles, watchers=watchers).condition == expected


def test_any_path_and_reason_can_be_written():
    """Names that are not UTF-8 and reasons of any length make a small JSON text."""
    bad = a_record(path=Path("/d/\udcff\n.fits"), error="x" * 10**6)
    text = json.dumps(told(troubles=["y" * 10**6], last_rejected=bad).as_json())
    assert (json.loads(text)["last_rejected"]["path"], len(text) < 4000) == ("/d/\\xff\\x0a.fits", True)


@pytest.mark.parametrize("letter", ["x", "星", "\U0001f52d", '"', "\\", "\x01", "\udcff"])
@pytest.mark.parametrize("roots", [20, 30])
def test_a_status_is_small_whatever_its_names_and_errors(letter, roots):
    """Twenty roots and files with the longest names there are, and endless errors, fit in 8 kB."""
    name = letter * 4095
    bad = a_record(path=Path(f"/{name}"), error=letter * 10**5, changed=letter * 10**5)
    status = told(
        process=replace(PROCESS, repository=f"/{name}", host=letter * 64),
        watchers=[replace(BLIND, root=Path(f"/{name}{n}"), reason=letter * 1000) for n in range(roots)],
        scanned={Path(f"/{name}{n}"): NOW for n in range(roots)},
        troubles=[letter * 10**5],
        counts=dict.fromkeys(State, 10**9),
        oldest_pending=EARLIER,
        disks=[
            DiskRoom(what=what, folder=Path(f"/{name}"), reason=letter * 1000)
            for what in ("repository", "inbox", "status")
        ],
        workers=[
            WorkerState(
                id=n, name="n" * 31, host=letter * 64, pid=7, started=NOW, heartbeat=NOW, visits=9, files=9
            )
            for n in range(roots)
        ],
        hooks=[
            HookHealth(hook=hook, to=f"/{name}", failures=10**6, reason=letter * 1000, last_delivered=NOW)
            for hook in ("command", "webhook")
        ],
        last_ingested=bad,
        last_rejected=bad,
        last_changed=bad,
    )
    text = status_text(status.as_json())
    content = json.loads(text)
    assert len(text.encode()) <= LARGEST
    assert (len(content["watchers"]), content["watchers_left_out"]) == (20, roots - 20)


def test_a_long_path_keeps_its_beginning_and_its_end():
    """Of a path that is too long one sees where it is and which file it is."""
    long = a_record(path=Path("/data/raw") / ("n" * 4000) / "PFSA00001211.fits")
    path = told(last_ingested=long).as_json()["last_ingested"]["path"]
    assert (len(path), path[:10], path[-18:]) == (500, "/data/raw/", "/PFSA00001211.fits")


def test_roots_in_trouble_are_told_first():
    """Where not all roots fit, none that needs a person is left out."""
    roots = [replace(SEEING, root=Path(f"/data/{n}")) for n in range(30)]
    content = told(watchers=[*roots, BLIND]).as_json()
    assert (content["watchers"][0]["root"], content["watchers_left_out"]) == ("/data/raw", 11)


def test_a_clock_that_was_set_back_makes_no_negative_age():
    """A file that seems to arrive in the future has waited for no time."""
    pending = told(oldest_pending=NOW + timedelta(hours=1)).as_json()["pending"]
    assert pending["oldest_age_seconds"] == 0.0
