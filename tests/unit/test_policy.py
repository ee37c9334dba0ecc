"""Decisions about files: tables and properties."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import config_header, raw_header
from pfs_ingestd.errors import Code, Contended, Incomplete, Outage, Rejected, TryLater, Vanished
from pfs_ingestd.policy import CONTENDED_INTERVAL, Patience, batch, described, failed, judged, noticed, spent
from pfs_ingestd.records import FileName, FileRecord, Kind, Sighting, State

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
PATIENCE = Patience(
    settle=timedelta(seconds=2),
    incomplete_after=timedelta(minutes=30),
    orphan_after=timedelta(hours=36),
    first_delay=timedelta(seconds=1),
    max_delay=timedelta(minutes=10),
    max_attempts=4,
)
PATH = Path("/data/2026-11-22/sps/PFSA00100012.fits")


def ns(time: datetime) -> int:
    return int(time.timestamp() * 1e9)


def sighting(*, size: int = 100, changed: datetime = NOW, inode: int = 7) -> Sighting:
    name = FileName(kind=Kind.RAW, visit=1000, arm="r", spectrograph=1)
    return Sighting(path=PATH, name=name, size=size, mtime_ns=ns(changed), ctime_ns=ns(changed), inode=inode)


def record(state: State = State.SEEN, **changes: object) -> FileRecord:
    seen = noticed(None, sighting(), closed=True, patience=PATIENCE, now=NOW)
    assert seen is not None
    return replace(seen, state=state, **changes)


def look(old: FileRecord | None, seen: Sighting | None, *, closed: bool = False, now: datetime = NOW):
    return noticed(old, seen, closed=closed, patience=PATIENCE, now=now)


def test_a_new_file_waits_until_it_is_at_rest():
    """A file whose writer may not be done is not read before it has settled."""
    assert look(None, sighting()) == replace(record(), not_before=NOW + PATIENCE.settle)


@pytest.mark.parametrize("changed", [NOW + timedelta(hours=1), NOW - timedelta(seconds=50)])
def test_times_near_or_ahead_of_ours_are_not_trusted(changed):
    """A file server whose clock differs from ours does not make a file look settled."""
    assert look(None, sighting(changed=changed)).not_before == NOW + PATIENCE.settle


def test_a_closed_file_is_read_at_once():
    """A file that was seen to be closed needs no rest."""
    assert look(None, sighting(), closed=True).not_before is None


def test_an_old_file_is_read_at_once_and_is_not_live():
    """A backlog is read without delay, after what arrives now."""
    seen = look(None, sighting(changed=NOW - timedelta(days=1)))
    assert (seen.not_before, seen.live) == (None, False)


@pytest.mark.parametrize(
    "state", [State.SEEN, State.READY, State.WAITING, State.ORPHANED, State.REJECTED, State.SKIPPED]
)
def test_a_changed_file_starts_again(state):
    """Other content under the same name is another file, with all its attempts."""
    old = record(state, attempts=3, code="x", error="y")
    new = look(old, sighting(size=200), now=NOW + timedelta(seconds=1))
    assert (new.state, new.size, new.attempts, new.error, new.not_before) == (
        State.SEEN,
        200,
        0,
        None,
        NOW + timedelta(seconds=1) + PATIENCE.settle,
    )


@pytest.mark.parametrize("state", [s for s in State if s not in {State.GONE, State.INGESTED}])
def test_an_unchanged_file_stays_as_it_is(state):
    """Looking at a file that did not change changes nothing."""
    assert look(record(state), sighting()) == record(state)


def test_a_replaced_file_is_noticed_by_its_inode():
    """Same size, same time, other inode: another file."""
    assert look(record(State.REJECTED), sighting(inode=8)).state is State.SEEN


def test_a_missing_file_is_gone_unless_it_is_ingested():
    """What is or may be ingested stays so when its source is away; anything else is gone."""
    states = {state: look(record(state), None).state for state in State}
    kept = {State.READY, State.INGESTED, State.INGESTING, State.GONE}
    assert states == {state: state if state in kept else State.GONE for state in State}


def test_a_path_that_never_was_is_no_record():
    """A hint at a file that is not there leaves no trace."""
    assert look(None, None) is None


def test_a_file_that_comes_back_is_seen_again():
    """Gone is not for ever."""
    assert look(record(State.GONE), sighting(), closed=True).state is State.SEEN


def test_a_change_after_ingestion_is_flagged_once():
    """The dataset stays; the record says what changed in the file, and says it once."""
    ingested = record(State.INGESTED, dataset_id="id")
    flagged = look(ingested, sighting(size=200))
    assert flagged.state is State.INGESTED
    assert flagged.changed == (
        "size 100 -> 200, mtime 2026-11-22T05:00:00.000+00:00 -> 2026-11-22T05:00:00.000+00:00"
    )
    assert look(flagged, sighting(size=200)) == flagged


def test_a_close_ends_the_wait_of_a_seen_file():
    """A close that is reported after the file was first seen makes it due at once."""
    waiting = record(not_before=NOW + PATIENCE.settle)
    assert look(waiting, sighting(), closed=True).not_before == NOW


INCOMPLETE = Incomplete(Code.INCOMPLETE, "ends 100 bytes early")


def test_a_complete_file_is_ready():
    """Reading a file to its end makes it ready."""
    assert judged(record(), None, patience=PATIENCE, now=NOW).state is State.READY


def test_what_the_header_says_of_a_visit_is_kept():
    """The night of a raw and the cameras that a pfsConfig names can be told later without a look."""
    seen = record()
    assert described(seen, raw_header()) == seen
    assert described(seen, replace(raw_header(), night=date(2026, 11, 21))).night == date(2026, 11, 21)
    config = replace(config_header(), cameras=frozenset({"b1"}))
    assert described(seen, config) == replace(seen, cameras=frozenset({"b1"}))


def test_an_incomplete_file_is_looked_at_again():
    """A file that ends too early stays seen, with the reason, and not in a busy loop."""
    new = judged(record(), INCOMPLETE, patience=PATIENCE, now=NOW)
    assert (new.state, new.error, new.not_before) == (
        State.SEEN,
        "ends 100 bytes early",
        NOW + PATIENCE.settle,
    )


@given(age=st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=29)))
def test_an_incomplete_file_never_gets_in(age):
    """However long it stays incomplete, it is not ready, and it is looked at again within a minute or so."""
    now = NOW + age
    new = judged(record(), INCOMPLETE, patience=PATIENCE, now=now)
    assert new.state is State.SEEN
    assert PATIENCE.settle <= new.not_before - now <= timedelta(minutes=1)


def test_a_file_that_stays_incomplete_is_rejected():
    """After `incomplete_after` without a change a person has to look."""
    new = judged(record(), INCOMPLETE, patience=PATIENCE, now=NOW + timedelta(minutes=30))
    assert (new.state, new.code) == (State.REJECTED, Code.TRUNCATED)
    assert "still so after 0:30:00: ends 100 bytes early" in new.error


def test_what_would_help_an_incomplete_file_is_told():
    """Where something else than waiting or trying again may help, the rejection says that."""
    error = Incomplete(Code.INCOMPLETE, "2 of 6 reads", hint="correct the card")
    new = judged(record(), error, patience=PATIENCE, now=NOW + timedelta(minutes=30))
    assert new.error == "still so after 0:30:00: 2 of 6 reads (correct the card)"


def test_a_file_that_stays_unreadable_is_rejected_as_such():
    """A file system that never answers for one file is not taken for a truncated file."""
    error = TryLater(Code.BUSY, "Permission denied")
    new = judged(record(), error, patience=PATIENCE, now=NOW + timedelta(minutes=30))
    assert (new.state, new.code) == (State.REJECTED, Code.UNREADABLE)


AWAY = Outage(Code.ROOT_UNREACHABLE, "/data cannot be read")


@given(age=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9)))
def test_a_file_whose_folder_is_away_is_waited_for(age):
    """However long a folder cannot be read, its files are neither rejected nor blamed, but asked for soon."""
    now = NOW + age
    new = judged(record(), AWAY, patience=PATIENCE, now=now)
    assert (new.state, new.error) == (State.SEEN, None)
    assert timedelta(0) < new.not_before - now <= timedelta(seconds=5)


def test_a_claimed_file_whose_folder_is_away_is_not_charged():
    """A folder that goes away under a claimed file costs no attempt, not even the last one."""
    claimed = record(State.INGESTING, attempts=PATIENCE.max_attempts)
    new = failed(claimed, AWAY, chance=0.0, patience=PATIENCE, now=NOW)
    assert (new.state, new.attempts, new.error) == (State.SEEN, PATIENCE.max_attempts - 1, None)
    assert new.not_before > NOW


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Rejected(Code.BAD_CARD, "W_VISIT is 'x'"), State.REJECTED),
        (Vanished(Code.VANISHED, "gone"), State.GONE),
        (Incomplete(Code.INCOMPLETE, "changed"), State.SEEN),
        (TryLater(Code.STORE_FAILED, "hiccup"), State.READY),
    ],
)
def test_a_failure_has_its_consequence(error, state):
    """Each kind of failure moves a claimed file its own way."""
    new = failed(record(State.INGESTING, attempts=1), error, chance=0.0, patience=PATIENCE, now=NOW)
    assert new.state is state


@given(attempts=st.integers(1, 3), chance=st.floats(0, 1, exclude_max=True))
def test_the_delay_doubles_with_jitter_and_a_bound(attempts, chance):
    """The n-th delay lies between half of first_delay * 2**(n-1) and all of it."""
    claimed = record(State.INGESTING, attempts=attempts)
    error = TryLater(Code.STORE_FAILED, "hiccup")
    delay = failed(claimed, error, chance=chance, patience=PATIENCE, now=NOW).not_before - NOW
    full = PATIENCE.first_delay * 2 ** (attempts - 1)
    assert full / 2 <= delay <= full


def test_the_delay_is_bounded():
    """However many attempts there were, the next one is not further away than `max_delay`."""
    claimed = record(State.INGESTING, attempts=5000)
    patience = replace(PATIENCE, max_attempts=10_000)
    new = failed(claimed, TryLater(Code.BUSY, "hiccup"), chance=0.0, patience=patience, now=NOW)
    assert new.not_before - NOW == PATIENCE.max_delay


def test_a_lock_of_others_is_never_the_files_fault():
    """However often it comes back, a file that another process keeps waiting is not charged for it."""
    claimed = record(State.INGESTING, attempts=PATIENCE.max_attempts)
    new = failed(claimed, Contended(Code.BUSY, "locked"), chance=0.0, patience=PATIENCE, now=NOW)
    assert (new.state, new.attempts, new.code) == (State.READY, claimed.attempts - 1, Code.BUSY)
    assert new.not_before == NOW + CONTENDED_INTERVAL


def test_the_last_attempt_rejects():
    """A file that fails `max_attempts` times is a person's."""
    claimed = record(State.INGESTING, attempts=4)
    new = failed(claimed, TryLater(Code.STORE_FAILED, "hiccup"), chance=0.0, patience=PATIENCE, now=NOW)
    assert (new.state, new.code) == (State.REJECTED, Code.EXHAUSTED)
    assert new.error.startswith("gave up after 4 attempts: hiccup")


def test_a_file_that_killed_the_daemon_each_time_is_rejected():
    """A file whose every attempt ended with the process is not tried for ever."""
    new = spent(record(State.READY, attempts=4), NOW)
    assert (new.state, new.code, new.attempts) == (State.REJECTED, Code.EXHAUSTED, 4)


def due(*visits: int, size: int = 10) -> list[FileRecord]:
    return [
        record(State.READY, visit=visit, size=size, path=PATH.with_name(f"{n}.fits"))
        for n, visit in enumerate(visits)
    ]


def test_a_batch_keeps_visits_whole():
    """Where the bound of bytes falls into a visit, the visit goes into the next batch."""
    records = due(3, 3, 2, 2, 2, 1)
    assert batch(records, 45) == records[:2]


def test_a_visit_larger_than_a_batch_is_cut():
    """A bound smaller than a visit does not stop it."""
    records = due(3, 3, 3)
    assert batch(records, 25) == records[:2]


def test_a_file_larger_than_a_batch_goes_alone():
    """A bound smaller than a file does not stop it."""
    records = due(3, 3)
    assert batch(records, 5) == records[:1]


def test_a_file_that_came_back_twice_goes_alone():
    """It may be the one that took the others with it; they go together without it."""
    records = due(3, 3, 3)
    suspect = replace(records[0], attempts=2)
    assert batch([suspect, *records[1:]], 1000) == [suspect]
    assert batch([records[1], suspect, records[2]], 1000) == records[1:]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 50)), min_size=1), st.integers(1, 100))
def test_a_batch_is_never_empty_and_within_its_bound(files, bound):
    """Every batch makes progress and, unless it is one file, keeps to its bound."""
    files.sort(key=lambda file: -file[0])
    records = [
        record(State.READY, visit=visit, size=size, path=PATH.with_name(f"{n}.fits"))
        for n, (visit, size) in enumerate(files)
    ]
    taken = batch(records, bound)
    assert taken
    assert len(taken) == 1 or sum(r.size for r in taken) <= bound
    assert list(taken) == records[: len(taken)]
