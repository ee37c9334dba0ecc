"""History: what is remembered of a file beside its record, and what is not."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pfs_ingestd.errors import Code, Incomplete, Outage, Rejected, TryLater
from pfs_ingestd.history import Entry, Event, continued, entry_of
from pfs_ingestd.policy import Patience, failed, noticed, replaced, spent
from pfs_ingestd.records import MOVES, FileName, FileRecord, Kind, Sighting, State

THEN = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
NOW = THEN + timedelta(seconds=10)
LATER = NOW + timedelta(seconds=10)
PATH = Path("/data/2026-11-22/sps/PFSA00100012.fits")
NAME = FileName(kind=Kind.RAW, visit=1000, arm="r", spectrograph=1)
SEEN = FileRecord(
    path=PATH,
    kind=Kind.RAW,
    visit=1000,
    arm="r",
    spectrograph=1,
    size=100,
    mtime_ns=5,
    inode=7,
    night=date(2026, 11, 22),
    steady_since=THEN,
    first_seen=THEN,
    updated=THEN,
)
READY = SEEN.ready(THEN)
CLAIMED = replace(READY, attempts=2).claimed(THEN)
INGESTED = CLAIMED.ingested("some-uuid", already=False, now=THEN)
LATE = TryLater(Code.BUSY, "is busy", hint="wait")
BAD = Rejected(Code.BAD_CARD, "is bad")
HALF = Incomplete(Code.INCOMPLETE, "is half")
REJECTED = CLAIMED.rejected(BAD, THEN)
WAITING = CLAIMED.waiting(until=LATER, error=LATE, now=THEN)
GONE = REJECTED.vanished(THEN)
LARGER = Sighting(path=PATH, name=NAME, size=200, mtime_ns=6, ctime_ns=6, inode=7)
SAME = replace(LARGER, size=100, mtime_ns=5)
PATIENCE = Patience(
    settle=timedelta(seconds=2),
    incomplete_after=timedelta(minutes=5),
    orphan_after=timedelta(hours=1),
    first_delay=timedelta(seconds=2),
    max_delay=timedelta(minutes=5),
    max_attempts=5,
)


def again(record):
    return record.changed_into(LARGER, again=None, now=NOW)


SMOOTH = {
    "found": (None, SEEN),
    "looked at": (SEEN, SEEN.looked_at(again=NOW, error=None, now=NOW)),
    "written on": (SEEN, again(SEEN)),
    "incomplete for the same reason": (
        SEEN.looked_at(again=NOW, error=HALF, now=THEN),
        SEEN.looked_at(again=NOW, error=Incomplete(Code.INCOMPLETE, "is three quarters"), now=NOW),
    ),
    "complete": (SEEN, SEEN.ready(NOW)),
    "claimed": (READY, READY.claimed(NOW)),
    "ingested": (CLAIMED, CLAIMED.ingested("some-uuid", already=False, now=NOW)),
    "ingested before": (CLAIMED, CLAIMED.ingested("some-uuid", already=True, now=NOW)),
    "known to the repository": (SEEN, SEEN.found("some-uuid", NOW)),
    "known when it was first seen": (None, SEEN.found("some-uuid", NOW)),
    "put back": (CLAIMED, CLAIMED.put_back(NOW)),
    "put back after an attempt that failed": (
        replace(CLAIMED, error="was busy"),
        replace(CLAIMED, error="was busy").put_back(NOW),
    ),
    "away with its folder": (
        CLAIMED,
        failed(CLAIMED, Outage(Code.ROOT_UNREACHABLE, "gone"), chance=0, patience=PATIENCE, now=NOW),
    ),
    "woken": (WAITING, WAITING.ready(NOW)),
}


@pytest.mark.parametrize("what", SMOOTH)
def test_what_goes_smoothly_leaves_no_entry(what):
    """Half a million files that are ingested at once leave as many records, and nothing beside them."""
    assert entry_of(*SMOOTH[what]) is None


ROUGH = {
    "incomplete": (
        SEEN,
        SEEN.looked_at(again=LATER, error=HALF, now=NOW),
        {"event": Event.UNFINISHED, "attempt": 0, "code": "incomplete", "reason": "is half"},
    ),
    "incomplete for another reason": (
        SEEN.looked_at(again=LATER, error=LATE, now=THEN),
        SEEN.looked_at(again=LATER, error=HALF, now=NOW),
        {"event": Event.UNFINISHED, "attempt": 0, "code": "incomplete", "reason": "is half"},
    ),
    "changed in the middle of an attempt": (
        CLAIMED,
        CLAIMED.looked_at(again=NOW, error=HALF, now=NOW),
        {"event": Event.UNFINISHED, "attempt": 3, "code": "incomplete", "reason": "is half"},
    ),
    "postponed": (
        CLAIMED,
        CLAIMED.postponed(until=LATER, error=LATE, now=NOW),
        {"event": Event.POSTPONED, "attempt": 3, "code": "busy", "reason": "is busy (wait)"},
    ),
    "waiting": (
        CLAIMED,
        CLAIMED.waiting(until=LATER, error=LATE, now=NOW),
        {"event": Event.WAITING, "attempt": 3, "code": "busy", "reason": "is busy (wait)"},
    ),
    "orphaned": (
        WAITING,
        WAITING.orphaned(NOW),
        {"event": Event.ORPHANED, "attempt": 2, "code": "busy", "reason": "is busy (wait)"},
    ),
    "rejected": (
        CLAIMED,
        CLAIMED.rejected(BAD, NOW),
        {"event": Event.REJECTED, "attempt": 3, "code": "bad_card", "reason": "is bad"},
    ),
    "rejected because each attempt kills": (
        replace(READY, attempts=5),
        spent(replace(READY, attempts=5), NOW),
        {
            "event": Event.REJECTED,
            "attempt": 5,
            "code": "exhausted",
            "reason": "the daemon died 5 times while it ingested this file"
            " (look at the log of those times, then retry it)",
        },
    ),
    "changed after it was complete": (
        READY,
        noticed(READY, LARGER, closed=True, patience=PATIENCE, now=NOW),
        {"event": Event.CHANGED, "attempt": 0, "size": 200, "reason": "size 100 -> 200; it was ready"},
    ),
    "changed after it was rejected": (
        REJECTED,
        noticed(REJECTED, LARGER, closed=True, patience=PATIENCE, now=NOW),
        {"event": Event.CHANGED, "attempt": 3, "size": 200, "reason": "size 100 -> 200; it was rejected"},
    ),
    "changed after it was ingested": (
        INGESTED,
        INGESTED.flagged("size 100 -> 200", NOW),
        {"event": Event.FLAGGED, "attempt": 3, "reason": "size 100 -> 200"},
    ),
    "removed": (
        REJECTED,
        REJECTED.vanished(NOW),
        {"event": Event.VANISHED, "attempt": 3, "code": "vanished"},
    ),
    "back": (
        GONE,
        noticed(GONE, SAME, closed=True, patience=PATIENCE, now=NOW),
        {"event": Event.REAPPEARED, "attempt": 3, "reason": "it was gone"},
    ),
    "retried": (
        REJECTED,
        REJECTED.retried(NOW),
        {"event": Event.RETRIED, "attempt": 3, "reason": "it was rejected"},
    ),
    "retried though it was ingested": (
        INGESTED,
        INGESTED.retried(NOW),
        {"event": Event.RETRIED, "attempt": 3, "reason": "it was ingested, as dataset some-uuid"},
    ),
    "skipped": (
        REJECTED,
        REJECTED.skipped(NOW),
        {"event": Event.SKIPPED, "attempt": 3, "reason": "it was rejected"},
    ),
    "replaced": (
        REJECTED,
        replaced(REJECTED, SAME, "some-uuid", NOW),
        {"event": Event.REPLACED, "attempt": 1},
    ),
    "replaced before it was seen": (
        None,
        replaced(None, SAME, "some-uuid", NOW),
        {"event": Event.REPLACED, "attempt": 1},
    ),
}


@pytest.mark.parametrize("what", ROUGH)
def test_what_does_not_go_smoothly_is_remembered(what):
    """Each thing out of the ordinary has an entry: what, when, in which attempt, and why."""
    old, new, expected = ROUGH[what]
    assert entry_of(old, new) == Entry(**({"at": NOW, "last": NOW, "size": 100} | expected))


def test_every_event_but_recovery_is_told_by_a_move():
    """The table above has all there are; recovery is a move without records."""
    assert {expected["event"] for *_, expected in ROUGH.values()} == set(Event) - {Event.RECOVERED}


@pytest.mark.parametrize(("old", "new"), [(old, new) for old in State for new in sorted(MOVES[old])])
def test_every_legal_move_can_be_told(old, new):
    """No move of a record, whatever it holds, is too much for its history."""
    before = replace(SEEN, state=old)
    for changes in ({}, {"error": "why", "code": "busy"}, {"changed": "size 1 -> 2"}, {"size": 3}):
        entry = entry_of(before, before.to(new, NOW, **changes))
        assert entry is None or entry.at == NOW


def test_what_happens_again_is_one_entry():
    """A file that is looked at a hundred times while it is written has one entry, of the last of them."""
    first = Entry(
        event=Event.UNFINISHED, at=THEN, last=THEN, attempt=0, size=1, code="incomplete", reason="a"
    )
    then = replace(first, at=NOW, last=NOW, size=2, reason="b")
    both = replace(then, at=THEN, times=2)
    assert continued(then, first) == both
    assert continued(replace(then, last=LATER), both) == replace(both, last=LATER, times=3)


@pytest.mark.parametrize("other", [{"event": Event.REJECTED}, {"attempt": 1}, {"code": "unreadable"}])
def test_another_thing_is_another_entry(other):
    """What differs in event, attempt or code is not the same again."""
    first = Entry(event=Event.UNFINISHED, at=THEN, last=THEN, attempt=0, size=1, code="incomplete")
    assert continued(replace(first, **other), first) is None
    assert continued(first, None) is None
