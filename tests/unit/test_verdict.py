"""What `status` tells a person first."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pfs_ingestd.cli.verdict import Finding, Mark, size_text, span_text, verdict

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
START = "systemctl start pfs-ingestd"
DISK = {"folder": "/data/butler", "free_bytes": 50, "size_bytes": 100, "reason": ""}


def a_status(**changes):
    content = {
        "state": "running",
        "reason": "",
        "since": (NOW - timedelta(hours=3)).isoformat(),
        "heartbeat": (NOW - timedelta(seconds=2)).isoformat(),
        "pid": 7,
        "paused": None,
        "configuration": {"refused": ""},
        "counts": {"rejected": 0},
        "pending": {"files": 3, "oldest_age_seconds": 5.0},
        "disks": {"repository": DISK},
    }
    return json.loads(json.dumps(content | changes))


def told(status, *, alive=True):
    return verdict(status, alive=alive, now=NOW, config="c.yaml")


@pytest.mark.parametrize(
    ("status", "alive", "expected"),
    [
        (a_status(), True, Finding(Mark.OK, "running for 3 h: all is well")),
        (
            a_status(state="starting"),
            True,
            Finding(
                Mark.OK,
                "starting for 3 h: it looks at all folders for the first time",
                "wait; on a network file system this takes minutes",
            ),
        ),
        (
            a_status(state="stopping"),
            True,
            Finding(Mark.OK, "stopping for 3 h", "wait; it is gone within ten seconds"),
        ),
        (
            a_status(state="stopping", reason="draining, as ordered by alice"),
            True,
            Finding(
                Mark.OK,
                "stopping for 3 h: draining, as ordered by alice",
                "wait: it stops by itself, and is not restarted",
            ),
        ),
        (
            a_status(state="stopped"),
            False,
            Finding(Mark.LOOK, "stopped 3 h ago, as it was asked to", f"if it is needed, start it: {START}"),
        ),
        (
            a_status(state="degraded", reason="disk full"),
            True,
            Finding(
                Mark.ALARM,
                "degraded for 3 h: disk full",
                "cure that; it goes on by itself, do not restart it",
            ),
        ),
        (
            a_status(state="failed", reason="bad file"),
            False,
            Finding(Mark.ALARM, "failed 3 h ago: bad file", f"cure that, then start it: {START}"),
        ),
        (
            a_status(),
            False,
            Finding(
                Mark.ALARM,
                "not running: it ended without saying goodbye, 2 s ago",
                f"nothing is lost; start it: {START}",
            ),
        ),
        (
            a_status(heartbeat=(NOW - timedelta(minutes=7)).isoformat()),
            True,
            Finding(
                Mark.ALARM,
                "no sign of life for 7 min, though process 7 is there",
                "a batch takes long, or it hangs: systemd restarts it after 5 min; kill -9 does no harm",
            ),
        ),
    ],
)
def test_the_first_sentence_says_what_it_is_doing_and_what_to_do(status, alive, expected):
    """In each state, one sentence says how it is, whether that is all right, and what to do if not."""
    assert told(status, alive=alive) == [expected]


@pytest.mark.parametrize(
    ("changes", "alive"), [({"state": "failed"}, False), ({"state": "stopped"}, False), ({}, False)]
)
def test_files_that_need_a_person_are_told_of_a_daemon_that_is_no_more(changes, alive):
    """They do not go away with it."""
    (_, finding) = told(a_status(counts={"rejected": 2}, **changes), alive=alive)
    assert finding == Finding(
        Mark.LOOK, "2 files need a person", "pfs-ingestd list -c c.yaml --state rejected"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"counts": {"rejected": 1}},
            Finding(Mark.LOOK, "1 file needs a person", "pfs-ingestd list -c c.yaml --state rejected"),
        ),
        (
            {"counts": {"rejected": 1200}},
            Finding(Mark.LOOK, "1,200 files need a person", "pfs-ingestd list -c c.yaml --state rejected"),
        ),
        (
            {"pending": {"files": 9000, "oldest_age_seconds": 7200.0}},
            Finding(
                Mark.LOOK,
                "9,000 files pending, the oldest for 2 h",
                "nothing, as long as files go through: new ones come before a backlog",
            ),
        ),
        (
            {"disks": {"inbox": DISK | {"free_bytes": 4}}},
            Finding(
                Mark.LOOK, "the disk of the inbox is nearly full: 4 B left", "make room: df /data/butler"
            ),
        ),
        (
            {"disks": {"inbox": DISK | {"free_bytes": None, "size_bytes": None, "reason": "no answer"}}},
            Finding(Mark.LOOK, "the disk of the inbox: no answer", "df /data/butler"),
        ),
        (
            {"hooks": {"webhook": {"to": "https://chat/***", "failures": 2, "reason": "no", "waiting": 5}}},
            Finding(
                Mark.LOOK,
                "5 notices cannot be delivered to https://chat/***: no",
                "ingestion goes on; mend notify.webhook, then pfs-ingestd test-notify -c c.yaml",
            ),
        ),
        ({"hooks": {"command": {"to": "/bin/tell", "failures": 0, "reason": "", "waiting": 0}}}, None),
        ({"disks": {}}, None),
        ({"pending": {"files": 0, "oldest_age_seconds": None}}, None),
    ],
)
def test_what_is_worth_a_look_follows(changes, expected):
    """A daemon that runs may still have something to tell: rejected files, a full disk, a long wait."""
    assert told(a_status(**changes))[1:] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_a_span_of_time_is_written_as_people_say_it(seconds, expected):
    """Seconds up to two minutes, then minutes, hours, days."""
    assert span_text(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (11_500_000, "11.5 MB"),
        (2.5e12, "2.5 TB"),
        (3e15, "3 PB"),
    ],
)
def test_a_size_is_written_in_units_of_a_thousand(size, expected):
    """As disks are sold."""
    assert size_text(size) == expected


@pytest.mark.parametrize(("state", "alive"), [("running", True), ("stopped", False)])
def test_a_pause_is_told_with_who_and_how_to_end_it(state, alive):
    """Whether a daemon is at work or not, a person sees that nothing would be ingested, and why."""
    pause = {"since": (NOW - timedelta(hours=2)).isoformat(), "by": "alice@summit", "reason": "new disk"}
    _, finding = told(a_status(state=state, paused=pause), alive=alive)
    assert finding == Finding(
        Mark.LOOK,
        "paused by alice@summit for 2 h: new disk; 3 files pending",
        "once that is over: pfs-ingestd resume -c c.yaml",
    )


def test_a_refused_configuration_is_told():
    """A person sees that the daemon goes on with other settings than the file has."""
    _, finding = told(a_status(configuration={"refused": "watch.setle: unknown key"}))
    assert (finding.mark, "watch.setle: unknown key" in finding.text) == (Mark.LOOK, True)
    assert finding.advice == "mend it, then pfs-ingestd reload -c c.yaml"
