"""Records: every move between states, and paths as text."""

import os
import re
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfs_ingestd.errors import Code, Incomplete, Rejected, TryLater
from pfs_ingestd.records import (
    MOVES,
    PENDING,
    FileName,
    FileRecord,
    Kind,
    Sighting,
    State,
    path_text,
    text_path,
)

THEN = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
NOW = THEN + timedelta(seconds=10)
LATER = NOW + timedelta(seconds=10)
PATH = Path("/data/2026-11-22/sps/PFSA00100012.fits")
BASE = FileRecord(
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
    attempts=2,
    not_before=THEN,
    code="busy",
    error="was busy",
    changed="size 1 -> 2",
    cameras=frozenset({"b1"}),
)
SIGHTING = Sighting(
    path=PATH,
    name=FileName(kind=Kind.RAW, visit=1000, arm="r", spectrograph=1),
    size=100,
    mtime_ns=5,
    ctime_ns=6,
    inode=7,
)
LATE = TryLater(Code.BUSY, "is busy", hint="wait")
BAD = Rejected(Code.BAD_CARD, "is bad")
CLEAN = {"not_before": None, "code": None, "error": None}

NAMED_MOVES = [
    # the state before, the move, the state after, and what else changes
    (
        State.SEEN,
        lambda r: r.looked_at(again=LATER, error=Incomplete(Code.INCOMPLETE, "is half"), now=NOW),
        State.SEEN,
        {"not_before": LATER, "code": "incomplete", "error": "is half"},
    ),
    (
        State.SEEN,
        lambda r: r.looked_at(again=LATER, error=None, now=NOW),
        State.SEEN,
        CLEAN | {"not_before": LATER},
    ),
    (State.SEEN, lambda r: r.ready(NOW), State.READY, CLEAN),
    (State.WAITING, lambda r: r.ready(NOW), State.READY, CLEAN),
    (State.ORPHANED, lambda r: r.ready(NOW), State.READY, CLEAN),
    (State.READY, lambda r: r.claimed(NOW), State.INGESTING, {"attempts": 3}),
    (State.INGESTING, lambda r: r.put_back(NOW), State.READY, {"attempts": 1}),
    (
        State.INGESTING,
        lambda r: r.postponed(until=LATER, error=LATE, now=NOW),
        State.READY,
        {"not_before": LATER, "code": "busy", "error": "is busy (wait)"},
    ),
    (
        State.INGESTING,
        lambda r: r.waiting(until=LATER, error=LATE, now=NOW),
        State.WAITING,
        {"attempts": 1, "not_before": LATER, "code": "busy", "error": "is busy (wait)"},
    ),
    (
        State.INGESTING,
        lambda r: r.ingested("some-uuid", already=False, now=NOW),
        State.INGESTED,
        CLEAN | {"dataset_id": "some-uuid", "changed": None},
    ),
    (
        State.INGESTING,
        lambda r: r.ingested("some-uuid", already=True, now=NOW),
        State.INGESTED,
        {
            "dataset_id": "some-uuid",
            "not_before": None,
            "code": "already_there",
            "error": "the repository had these bytes already",
            "changed": None,
        },
    ),
    (State.WAITING, lambda r: r.orphaned(NOW), State.ORPHANED, {"not_before": None}),
    (
        State.INGESTING,
        lambda r: r.rejected(BAD, NOW),
        State.REJECTED,
        {"not_before": None, "code": "bad_card", "error": "is bad"},
    ),
    (
        State.READY,
        lambda r: r.vanished(NOW),
        State.GONE,
        {"not_before": None, "code": "vanished", "error": None},
    ),
    (
        State.REJECTED,
        lambda r: r.retried(NOW),
        State.SEEN,
        CLEAN | {"attempts": 0, "changed": None},
    ),
    (
        State.GONE,
        lambda r: r.changed_into(replace(SIGHTING, size=9, mtime_ns=8, inode=1), again=LATER, now=NOW),
        State.SEEN,
        CLEAN
        | {
            "size": 9,
            "mtime_ns": 8,
            "inode": 1,
            "night": date(1970, 1, 1),
            "steady_since": NOW,
            "attempts": 0,
            "not_before": LATER,
            "cameras": None,
        },
    ),
    (State.INGESTED, lambda r: r.flagged("it grew", NOW), State.INGESTED, {"changed": "it grew"}),
]


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_the_table_of_moves_is_the_law(old, new):
    """A record goes from one state to another if the table says so, and otherwise never."""
    record = replace(BASE, state=old)
    if new in MOVES[old]:
        assert record.to(new, NOW) == replace(BASE, state=new, updated=NOW)
    else:
        with pytest.raises(ValueError, match=f"from {old} to {new}"):
            record.to(new, NOW)


@pytest.mark.parametrize(("before", "move", "after", "changes"), NAMED_MOVES)
def test_a_move_changes_what_it_says(before, move, after, changes):
    """Each move sets state, time and reasons, and leaves all else as it was."""
    assert move(replace(BASE, state=before)) == replace(BASE, state=after, updated=NOW, **changes)


@pytest.mark.parametrize(("move", "after"), [(move, after) for _, move, after, _ in NAMED_MOVES])
@pytest.mark.parametrize("state", State)
def test_a_move_is_bound_to_the_table(state, move, after):
    """No move leads where the table of moves does not."""
    if after not in MOVES[state]:
        with pytest.raises(ValueError, match=f"from {state}"):
            move(replace(BASE, state=state))


def test_the_documentation_has_every_move():
    """The table that operators read is the table that the program obeys."""
    text = (Path(__file__).parents[2] / "docs" / "states.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    assert documented == [(old, new) for old in State for new in State if new in MOVES[old]]


def test_every_state_can_be_left():
    """No file is stuck: each state has a way to be seen again."""
    assert {state for state, moves in MOVES.items() if State.SEEN not in moves} == set()


def test_every_state_can_be_reached():
    """The table has no state that no file ever comes to."""
    assert set().union(*MOVES.values()) == set(State)


def test_pending_files_can_settle():
    """From each state in which the daemon owes the file something, a move leads to where it does not."""
    settled = {state for state in PENDING if MOVES[state] - PENDING}
    assert settled == PENDING


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"size": 1}, False),
        ({"mtime_ns": 1}, False),
        ({"inode": 1}, False),
        ({"ctime_ns": 1}, True),
    ],
)
def test_a_sighting_shows_the_same_file_or_another(change, expected):
    """Size, time of change or inode make another file, a change of the inode's status alone does not."""
    assert BASE.resembles(replace(SIGHTING, **change)) is expected


def test_a_record_cannot_be_changed():
    """Records are replaced, so that what was read stays what was read."""
    for field in fields(BASE):
        with pytest.raises(AttributeError):
            setattr(BASE, field.name, None)


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_any_path_has_a_text_of_its_own(name):
    """Text of any path is one line that UTF-8 can hold, and leads back to the path."""
    path = Path("/data") / os.fsdecode(name).lstrip("/")
    written = path_text(path)
    assert text_path(written) == path
    assert written.encode().decode() == written
    assert not any(ord(character) < 0x20 or character == "\x7f" for character in written)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\"), max_size=40))
def test_an_ordinary_path_is_its_own_text(name):
    """People see the names that they know."""
    path = Path("/data") / name.lstrip("/")
    assert path_text(path) == str(path)


@given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda n: not set(n) & set(b"\0/")), unique=True))
def test_different_paths_have_different_texts(names):
    """Two files are never taken for one."""
    paths = {Path("/data") / os.fsdecode(name) for name in names}
    assert len({path_text(path) for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("mtime_ns", "night"),
    [
        (0, date(1970, 1, 1)),
        (86_400 * 10**9 - 1, date(1970, 1, 1)),
        (1_795_323_600_123_456_789, date(2026, 11, 22)),
        (-(2**70), date(1970, 1, 1)),
        (2**70, date(9999, 12, 31)),
    ],
)
def test_a_file_has_a_night_before_it_is_read(mtime_ns, night):
    """The night of a file whose header was not read is the UTC date of its last change, however odd."""
    assert replace(SIGHTING, mtime_ns=mtime_ns).night == night
