"""What every inbox promises, whatever it is kept in."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from pfs_ingestd.errors import Code, Incomplete, StaleRecord, TryLater
from pfs_ingestd.figures import Amount
from pfs_ingestd.history import KEPT, Entry, Event
from pfs_ingestd.orders import KEPT_ORDERS, Order, Standing, What
from pfs_ingestd.ports import FolderMark
from pfs_ingestd.records import FileRecord, Kind, State

NOW = datetime(2026, 11, 22, 5, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
LATER = NOW + SECOND
BUSY = TryLater(Code.BUSY, "is busy; 'quoted' schräg", hint="wait")
NIGHT = Path("/data/raw/2026-11-22/sps")
PLAIN = FileRecord(
    path=NIGHT / "PFSA00100011.fits",
    kind=Kind.RAW,
    visit=1000,
    arm="b",
    spectrograph=1,
    size=11_500_000,
    mtime_ns=1_795_323_600_123_456_789,
    inode=4711,
    night=date(2026, 11, 22),
    steady_since=NOW,
    first_seen=NOW,
    updated=NOW,
)
FULL = FileRecord(
    path=Path("/data/raw/2026-11-22/pfsConfig/pfsConfig-0x7fffffffffffffff-001001.fits"),
    kind=Kind.PFS_CONFIG,
    visit=1001,
    arm=None,
    spectrograph=None,
    size=0,
    mtime_ns=-1,
    inode=2**64 - 1,
    night=date(9999, 12, 31),
    steady_since=NOW - 3 * SECOND,
    first_seen=NOW - 2 * SECOND,
    updated=NOW - SECOND,
    live=True,
    state=State.REJECTED,
    attempts=7,
    not_before=NOW + SECOND,
    code="conflict",
    error="schräg; 'quoted' \"twice\"\nand a second line",
    dataset_id="c0ffee00-0000-5000-8000-000000000000",
    changed="size 1 -> 2",
    cameras=frozenset({"b1", "m4"}),
)
AWKWARD = [
    "PFSA00100011.fits",
    "new\nline.fits",
    "tab\t'quote'\"double\".fits",
    "back\\slash\\x41.fits",
    "percent %s %(name)s :name ?.fits",
    "byte-\udcff\udc80.fits",
    "schräg-星.fits",
    " blank ",
    "*_[a].fits",
    "n" * 255,
]


def record(name: str = PLAIN.path.name, **changes: object) -> FileRecord:
    return replace(PLAIN, **({"path": NIGHT / name} | changes))


def by_path(*records: FileRecord) -> dict[Path, FileRecord]:
    return {each.path: each for each in records}


def rough(inbox, seen: FileRecord) -> FileRecord:
    """Take a file that was seen through a first attempt that fails."""
    ready = seen.ready(NOW)
    claimed = ready.claimed(NOW)
    postponed = claimed.postponed(until=LATER, error=BUSY, now=NOW)
    for change in pairwise([seen, ready, claimed, postponed]):
        inbox.replace([change])
    return postponed


class InboxSuite:
    """Runs on the fixture ``inbox``: an empty one."""

    def test_what_was_added_is_found_as_it_was(self, inbox):
        """A record comes back whole, to the microsecond, the nanosecond and the last bit of the inode."""
        inbox.add([PLAIN, FULL])
        assert inbox.find([PLAIN.path, FULL.path, NIGHT / "other.fits"]) == by_path(PLAIN, FULL)

    @pytest.mark.parametrize("mtime_ns", [0, -(2**70), 2**63, 2**70])
    def test_any_time_of_a_file_comes_back(self, inbox, mtime_ns):
        """A file whose time lies centuries off is remembered like any other."""
        odd = record(mtime_ns=mtime_ns)
        inbox.add([odd])
        assert inbox.find([odd.path]) == by_path(odd)

    def test_any_name_comes_back(self, inbox):
        """A path survives whatever bytes it is made of, as folder and as file, and is not another's."""
        odd = [record(path=Path("/data") / folder / name) for folder in AWKWARD for name in AWKWARD]
        inbox.add(odd)
        assert inbox.find([each.path for each in odd]) == by_path(*odd)
        assert inbox.names(Path("/data") / AWKWARD[-2]) == dict.fromkeys(AWKWARD, State.SEEN)

    def test_each_write_makes_another_edition(self, inbox):
        """Who remembers an answer learns of all that can make it wrong."""
        mark = FolderMark(NIGHT, 1, settled=True)
        pause = Order(what=What.PAUSE, by="alice", at=NOW, reason="", paths=())
        editions = [inbox.edition()]
        for write in (
            lambda: inbox.add([PLAIN]),
            lambda: inbox.replace([(PLAIN, PLAIN.ready(NOW))]),
            lambda: inbox.replace([(PLAIN.ready(NOW), PLAIN.ready(NOW).claimed(NOW))]),
            lambda: inbox.recover(NOW),
            lambda: inbox.complete([1000], NOW),
            lambda: inbox.mark([mark]),
            lambda: inbox.forget([NIGHT]),
            lambda: inbox.give_order(pause),
        ):
            write()
            editions.append(inbox.edition())
        assert not [each for each in combinations(editions, 2) if each[0] == each[1]]

    def test_a_time_of_another_zone_is_the_same_time(self, inbox):
        """Times are moments, wherever they were read off."""
        hawaii = record(first_seen=NOW.astimezone(timezone(timedelta(hours=-10))))
        inbox.add([hawaii])
        assert inbox.find([hawaii.path]) == by_path(hawaii)

    @pytest.mark.parametrize("field", ["steady_since", "first_seen", "updated", "not_before"])
    def test_a_naive_time_is_refused(self, inbox, field):
        """A time without time zone is a mistake, and nothing is stored."""
        naive = record(**{field: NOW.replace(tzinfo=None)})
        with pytest.raises(TypeError):
            inbox.add([PLAIN, naive])
        assert inbox.find([PLAIN.path]) == {}
        inbox.add([PLAIN])
        with pytest.raises(TypeError):
            inbox.replace([(PLAIN, naive)])
        assert inbox.find([PLAIN.path]) == by_path(PLAIN)

    def test_a_naive_now_is_refused(self, inbox):
        """To ask what is due without a time zone is a mistake."""
        with pytest.raises(TypeError):
            inbox.due(State.SEEN, NOW.replace(tzinfo=None), 1)

    def test_numbers_of_numpy_are_numbers(self, inbox):
        """A number that a FITS reader made is stored as the number that it is."""
        numpy = record(visit=np.int64(1000), size=np.uint32(11_500_000), live=np.bool_(1))
        inbox.add([numpy])
        assert inbox.find([PLAIN.path]) == by_path(record(live=True))
        assert inbox.due(State.SEEN, NOW, 1) == [record(live=True)]

    def test_adding_a_known_path_adds_nothing(self, inbox):
        """A path has one record; where one is known already, none of the others is added."""
        inbox.add([PLAIN])
        with pytest.raises(StaleRecord):
            inbox.add([record("new.fits"), replace(PLAIN, size=1)])
        assert (inbox.find([PLAIN.path, NIGHT / "new.fits"]), inbox.counts()[State.SEEN]) == (
            by_path(PLAIN),
            1,
        )

    def test_adding_nothing_is_allowed(self, inbox):
        """Nothing to add, find, replace or forget is no mistake."""
        inbox.add([])
        inbox.replace([])
        inbox.mark([])
        inbox.forget([])
        assert (inbox.find([]), inbox.of_visits([], []), inbox.next_due([])) == ({}, [], None)

    def test_what_was_ingested_is_summed_up_in_slots(self, inbox):
        """Only what was stored in the given span counts: neither what was there before nor what changed."""
        done = replace(PLAIN, state=State.INGESTED, updated=NOW, size=3)
        inbox.add(
            [
                replace(done, path=NIGHT / "a.fits"),
                replace(done, path=NIGHT / "b.fits", updated=NOW + SECOND),
                replace(done, path=NIGHT / "c.fits", updated=NOW + 10 * SECOND),
                replace(done, path=NIGHT / "too old.fits", updated=NOW - timedelta(microseconds=1)),
                replace(done, path=NIGHT / "too young.fits", updated=NOW + 20 * SECOND),
                replace(done, path=NIGHT / "known.fits", code="already_there"),
                replace(done, path=NIGHT / "changed.fits", changed="size 3 -> 4"),
                replace(done, path=NIGHT / "bad.fits", state=State.REJECTED),
            ]
        )
        slot = NOW.replace(microsecond=0)
        assert inbox.ingested(NOW, NOW + 20 * SECOND, 10 * SECOND) == {
            slot: Amount(2, 6),
            slot + 10 * SECOND: Amount(1, 3),
        }

    def test_a_record_is_replaced_whole(self, inbox):
        """The new record takes the place of the old one in everything."""
        new = replace(FULL, path=PLAIN.path)
        inbox.add([PLAIN])
        inbox.replace([(PLAIN, new)])
        assert inbox.find([PLAIN.path]) == by_path(new)

    @pytest.mark.parametrize(
        "change", [{"state": State.READY}, {"attempts": 1}, {"path": NIGHT / "other.fits"}]
    )
    def test_a_stale_record_replaces_nothing(self, inbox, change):
        """Where one record is no longer the old one, all stay as they are."""
        other = record("z.fits")
        inbox.add([PLAIN, other])
        stale = replace(PLAIN, **change)
        with pytest.raises(StaleRecord):
            inbox.replace([(other, other.ready(NOW)), (stale, replace(stale, size=1))])
        assert inbox.find([PLAIN.path, other.path]) == by_path(PLAIN, other)
        assert inbox.counts()[State.SEEN] == 2

    def test_other_news_do_not_make_a_record_stale(self, inbox):
        """Only state and attempts say whether someone else was at work."""
        inbox.add([PLAIN])
        inbox.replace([(replace(PLAIN, error="other", updated=NOW + SECOND), PLAIN.ready(NOW))])
        assert inbox.find([PLAIN.path]) == by_path(PLAIN.ready(NOW))

    def test_a_path_is_replaced_once_by_itself(self, inbox):
        """Two successors of one record, and a record of another path, are mistakes."""
        inbox.add([PLAIN])
        ready = PLAIN.ready(NOW)
        for changes in [
            [(PLAIN, ready), (ready, ready.claimed(NOW))],
            [(PLAIN, record("other.fits", state=State.READY))],
        ]:
            with pytest.raises(ValueError, match="replaced once"):
                inbox.replace(changes)
        assert inbox.find([PLAIN.path]) == by_path(PLAIN)

    def test_thousands_go_through_in_one_call(self, inbox):
        """No call has a bound on how many records it takes."""
        many = [record(path=NIGHT / f"{n % 7}" / f"{n}.fits", visit=n) for n in range(2345)]
        inbox.add(many)
        inbox.replace([(old, old.ready(NOW)) for old in many])
        ready = [old.ready(NOW) for old in many]
        assert inbox.find([each.path for each in many]) == by_path(*ready)
        assert sorted(inbox.in_state([State.READY]), key=lambda each: each.visit) == ready
        assert inbox.due(State.READY, NOW, 2000) == ready[:-2001:-1]

    def test_names_are_those_directly_in_the_folder(self, inbox):
        """A folder's names come with their states, without those of folders below or beside it."""
        inbox.add(
            [
                record("a.fits"),
                record("b.fits", state=State.GONE),
                record(path=NIGHT / "below" / "c.fits"),
                record(path=NIGHT.parent / "d.fits"),
            ]
        )
        assert inbox.names(NIGHT) == {"a.fits": State.SEEN, "b.fits": State.GONE}
        assert inbox.names(NIGHT / "none") == {}

    def test_due_takes_live_files_then_new_visits_then_names(self, inbox):
        """What arrives tonight goes first, and files of a visit stay together."""
        ordered = [
            record("e.fits", live=True, visit=5),
            record("d.fits", visit=9),
            record("a.fits", visit=8),
            record(path=Path("/z/b.fits"), visit=8),
            record(path=Path("/a/b.fits"), visit=8),
            record("Z.fits", visit=7),
            record("a-.fits", visit=7),
            record("ab.fits", visit=7),
            record("aé.fits", visit=7),
        ]
        inbox.add([ordered[3], *reversed(ordered[4:]), *ordered[:3]])
        assert inbox.due(State.SEEN, NOW, 100) == ordered
        assert inbox.due(State.SEEN, NOW, 3) == ordered[:3]

    def test_due_waits_for_its_time_and_state(self, inbox):
        """A record is due from its `not_before` on, in the state asked for."""
        now = record("now.fits", not_before=NOW)
        inbox.add(
            [
                now,
                record("later.fits", not_before=NOW + timedelta(microseconds=1)),
                record("other.fits", state=State.READY),
            ]
        )
        assert inbox.due(State.SEEN, NOW, 100) == [now]

    def test_due_leaves_out_what_is_too_large(self, inbox):
        """With a bound, larger files do not even count among the many that are asked for."""
        small = [record(f"s{number}.fits", size=10) for number in range(3)]
        inbox.add([*small, *(record(f"l{number}.fits", size=11) for number in range(3))])
        assert inbox.due(State.SEEN, NOW, 2, largest=10) == small[:2]
        assert inbox.due(State.SEEN, NOW, 100, largest=10) == small
        assert len(inbox.due(State.SEEN, NOW, 100, largest=11)) == 6
        assert inbox.due(State.SEEN, NOW, 100, largest=0) == []

    def test_what_is_reserved_is_what_is_due(self, inbox):
        """Whoever works alone reserves what is due of the ready files, in its order, as often as he likes."""
        ready = [record(f"{visit}.fits", visit=visit, state=State.READY) for visit in (3, 2, 1)]
        late = record("late.fits", state=State.READY, not_before=NOW + SECOND)
        large = record("large.fits", state=State.READY, size=10**12, visit=9)
        inbox.add([PLAIN, late, large, *reversed(ready)])
        for keep in ((), (3,), (1, 2, 3)):
            assert inbox.reserve(NOW, 10, largest=10**11, keep=keep) == ready
        assert inbox.reserve(NOW, 10) == [large, *ready]
        inbox.release({2})
        inbox.release()
        assert inbox.reserve(NOW, 2, largest=10**11) in (ready[:1], ready[:2])

    def test_nobody_else_has_done_anything(self, inbox):
        """Where nobody shares an inbox, nobody is rescued, and no visit was touched."""
        inbox.add([record(state=State.READY)])
        assert (list(inbox.rescue(NOW).workers), inbox.rescue(NOW).files, list(inbox.touched())) == (
            [],
            0,
            [],
        )

    def test_a_clock_set_back_delays_nothing(self, inbox):
        """Without a `not_before` a record is due, whatever the clock says."""
        inbox.add([PLAIN])
        assert inbox.due(State.SEEN, NOW - timedelta(days=1), 100) == [PLAIN]

    def test_next_due_is_the_earliest_time(self, inbox):
        """The loop may sleep until the earliest `not_before`, or change where there is none."""
        assert inbox.next_due(State) is None
        inbox.add(
            [
                record("a.fits", state=State.SEEN, not_before=NOW + 3 * SECOND),
                record("b.fits", state=State.READY, not_before=NOW + 2 * SECOND),
                record("c.fits", state=State.READY, updated=NOW + SECOND),
                record("d.fits", state=State.WAITING, updated=NOW - SECOND),
            ]
        )
        assert [inbox.next_due(states) for states in ({State.SEEN}, {State.SEEN, State.READY}, State)] == [
            NOW + 3 * SECOND,
            NOW + SECOND,
            NOW - SECOND,
        ]
        assert inbox.next_due({State.GONE}) is None

    def test_of_visits_finds_the_configs(self, inbox):
        """Of a visit's files only the pfsConfigs are found, in the states asked for."""
        config = {"kind": Kind.PFS_CONFIG, "arm": None, "spectrograph": None, "state": State.WAITING}
        wanted = [record("a.fits", visit=1, **config), record("b.fits", visit=2, **config)]
        inbox.add(
            [
                *wanted,
                record("c.fits", visit=3, **config),
                record("d.fits", visit=1, **(config | {"state": State.INGESTED})),
                record("e.fits", visit=1, state=State.WAITING),
            ]
        )
        assert by_path(*inbox.of_visits({1, 2, 99}, {State.WAITING, State.ORPHANED})) == by_path(*wanted)

    def test_in_state_goes_in_order_of_arrival(self, inbox):
        """State by state, the file that arrived first comes first."""
        first = record("b.fits", steady_since=NOW - SECOND)
        then = [record("c.fits"), record("a.fits")]
        seen = record("d.fits", state=State.READY, steady_since=NOW - 2 * SECOND)
        inbox.add([then[0], first, then[1], seen, record("e.fits", state=State.GONE)])
        assert list(inbox.in_state({State.SEEN, State.READY})) == [seen, first, *then]

    def test_in_state_can_begin_at_a_time(self, inbox):
        """Only the files that arrived since then are gone through, the one of that very moment included."""
        old = record("a.fits", steady_since=NOW - SECOND)
        then = record("b.fits", steady_since=NOW)
        late = record("c.fits", steady_since=NOW + SECOND)
        inbox.add([late, old, then])
        assert list(inbox.in_state({State.SEEN}, since=NOW)) == [then, late]

    def test_in_state_can_leave_out_an_archive(self, inbox):
        """Only the files that arrived under our eyes are gone through, if only those are wanted."""
        live = [record("b.fits", live=True), record("d.fits", live=True, steady_since=NOW + SECOND)]
        inbox.add([record("a.fits"), *live, record("c.fits", live=True, state=State.READY)])
        assert list(inbox.in_state({State.SEEN}, live=True)) == live
        assert list(inbox.in_state({State.SEEN}, since=NOW + SECOND, live=True)) == live[1:]

    def test_in_state_allows_changes_meanwhile(self, inbox):
        """While one goes through the records they can be moved on, and none is met twice."""
        many = [record(f"{n:04}.fits") for n in range(1500)]
        inbox.add(many)
        met = []
        for each in inbox.in_state({State.SEEN}):
            met.append(each)
            if len(met) % 500 == 1:
                inbox.replace([(each, each.ready(NOW + SECOND))])
        assert met == many

    def test_counts_follow_every_change(self, inbox):
        """Every state has a count, and each file is in one of them."""
        nothing = dict.fromkeys(State, 0)
        assert inbox.counts() == nothing
        many = [record(f"{n}.fits") for n in range(4)]
        inbox.add(many)
        ready = [each.ready(NOW) for each in many]
        inbox.replace(list(zip(many[:3], ready, strict=False)))
        claimed = [each.claimed(NOW) for each in ready]
        inbox.replace(list(zip(ready[:2], claimed, strict=False)))
        assert inbox.counts() == nothing | {State.SEEN: 1, State.READY: 1, State.INGESTING: 2}
        inbox.recover(NOW)
        assert inbox.counts() == nothing | {State.SEEN: 1, State.READY: 3}

    def test_oldest_is_the_earliest_arrival(self, inbox):
        """The earliest `steady_since` tells how far behind the daemon is."""
        inbox.add(
            [record("a.fits", steady_since=NOW - SECOND), record("b.fits", state=State.READY)],
        )
        assert [
            inbox.oldest(states) for states in ({State.READY}, {State.SEEN, State.READY}, {State.GONE})
        ] == [
            NOW,
            NOW - SECOND,
            None,
        ]

    def test_recover_puts_back_what_was_being_ingested(self, inbox):
        """After a crash claimed files are ready again, their attempts counted, all else as it was."""
        states = [record(f"{state}.fits", state=state, attempts=2, error="why") for state in State]
        inbox.add(states)
        later = NOW + SECOND
        expected = [each.to(State.READY, later) if each.state is State.INGESTING else each for each in states]
        assert inbox.recover(later) == 1
        assert inbox.find([each.path for each in states]) == by_path(*expected)
        assert inbox.recover(later) == 0

    def test_marks_are_remembered_until_forgotten(self, inbox):
        """The newest mark of a folder stands, and a forgotten one is gone; the files stay."""
        inbox.add([PLAIN])
        paths = [NIGHT, NIGHT.parent, Path("/byte-\udcff")]
        old, new, awkward = (
            FolderMark(paths[0], 1, settled=False),
            FolderMark(paths[0], 2**64, settled=True),
            FolderMark(paths[2], -5, settled=False),
        )
        other = FolderMark(paths[1], 3, settled=True)
        inbox.mark([old, other])
        inbox.mark([new, awkward])
        assert inbox.marks() == {paths[0]: new, paths[1]: other, paths[2]: awkward}
        inbox.forget([paths[0], paths[2], Path("/unknown")])
        assert inbox.marks() == {paths[1]: other}
        assert inbox.names(NIGHT) == {PLAIN.path.name: State.SEEN}
        inbox.mark([old])
        assert inbox.marks() == {paths[0]: old, paths[1]: other}

    def test_states_are_kept_apart(self, inbox):
        """Whatever pair of states is asked for, just their records are found."""
        states = {state: record(f"{state}.fits", state=state) for state in State}
        inbox.add(list(states.values()))
        for pair in combinations(State, 2):
            assert by_path(*inbox.in_state(pair)) == by_path(*(states[state] for state in pair))

    def test_the_newest_night_is_that_of_a_raw(self, inbox):
        """Of nights up to one the last that has raws is told; a pfsConfig alone makes none."""
        today = NOW.date()
        assert inbox.newest_night(today) is None
        inbox.add([record("a.fits", night=today - DAY), record("b.fits", night=today + DAY), FULL])
        assert inbox.newest_night(today) == today - DAY
        assert inbox.newest_night(today + DAY) == today + DAY
        assert inbox.newest_night(today - 2 * DAY) is None

    def test_a_night_has_whole_visits(self, inbox):
        """All files of a visit come with the one that is of the night, and the newest visits come first."""
        today = NOW.date()
        files = [
            record("a.fits", visit=1),
            record("b.fits", visit=2),
            record("c.fits", visit=2, night=today - DAY, state=State.REJECTED),
            record("d.fits", visit=3, night=today - DAY),
        ]
        inbox.add(files)
        assert by_path(*inbox.of_night(today, 10)) == by_path(*files[:3])
        assert by_path(*inbox.of_night(today, 1)) == by_path(*files[1:3])
        assert inbox.of_night(today + DAY, 10) == []

    def test_a_visit_is_complete_once(self, inbox):
        """Which visits were complete before is remembered for ever, and of no other is it said."""
        assert sorted(inbox.complete({3, 1}, NOW)) == [1, 3]
        assert sorted(inbox.complete({1, 2, 3, 2**40}, NOW + SECOND)) == [2, 2**40]
        assert not list(inbox.complete({1, 2, 3}, NOW))
        assert not list(inbox.complete(set(), NOW))

    def test_a_visit_has_all_its_files(self, inbox):
        """All files of a visit are found, whatever their state and kind, and none of another's."""
        files = [record("a.fits", visit=1001), record("b.fits", visit=1001, state=State.GONE), FULL]
        inbox.add([PLAIN, *files])
        assert by_path(*inbox.whole_visits({1001, 7})) == by_path(*files)

    def test_a_smooth_way_leaves_no_history(self, inbox):
        """Of files that were ingested at their first attempt, and of unknown ones, nothing is remembered."""
        inbox.add([PLAIN, record("found.fits", state=State.INGESTED, code="already_there")])
        ready = PLAIN.ready(NOW)
        claimed = ready.claimed(NOW)
        for change in pairwise([PLAIN, ready, claimed, claimed.ingested("id", already=False, now=NOW)]):
            inbox.replace([change])
        assert inbox.history([PLAIN.path, NIGHT / "found.fits", NIGHT / "unknown.fits"]) == {}
        assert inbox.history([]) == {}

    def test_history_tells_each_attempt_and_reason(self, inbox):
        """What did not go smoothly with a file is told in its order, whole, and of no other file."""
        awkward = NIGHT / AWKWARD[5]
        for path in (PLAIN.path, awkward):
            inbox.add([replace(PLAIN, path=path)])
        postponed = rough(inbox, PLAIN)
        other = rough(inbox, replace(PLAIN, path=awkward))
        rejected = postponed.claimed(LATER).rejected(BUSY, LATER)
        inbox.replace([(postponed, postponed.claimed(LATER)), (other, other.skipped(LATER))])
        inbox.replace([(postponed.claimed(LATER), rejected)])
        common = {"at": NOW, "last": NOW, "size": PLAIN.size}
        late = {"at": LATER, "last": LATER, "size": PLAIN.size}
        busy = {"code": "busy", "reason": "is busy; 'quoted' schräg (wait)"}
        first = Entry(event=Event.POSTPONED, attempt=1, **common, **busy)
        assert inbox.history([PLAIN.path, awkward]) == {
            PLAIN.path: [first, Entry(event=Event.REJECTED, attempt=2, **late, **busy)],
            awkward: [first, Entry(event=Event.SKIPPED, attempt=1, reason="it was ready", **late)],
        }

    def test_history_has_what_came_to_no_end(self, inbox):
        """An attempt in which the daemon died is remembered of each file that was claimed then."""
        claimed = [record(f"{n}.fits", state=State.INGESTING, attempts=n) for n in (1, 2)]
        inbox.add([PLAIN, *claimed])
        inbox.recover(LATER)
        inbox.recover(LATER + SECOND)
        told = inbox.history([PLAIN.path, *(each.path for each in claimed)])
        assert {
            path: [(entry.event, entry.attempt, entry.at, entry.code) for entry in entries]
            for path, entries in told.items()
        } == {each.path: [(Event.RECOVERED, each.attempts, LATER, None)] for each in claimed}

    def test_a_file_that_was_replaced_before_it_was_seen_has_a_history(self, inbox):
        """What an operator did is remembered of files, too, that are added as ingested."""
        inbox.add([PLAIN, record("replaced.fits", state=State.INGESTED)])
        told = inbox.history([PLAIN.path, NIGHT / "replaced.fits"])
        assert {path: [entry.event for entry in entries] for path, entries in told.items()} == {
            NIGHT / "replaced.fits": [Event.REPLACED]
        }

    def test_history_is_written_with_the_record_or_not_at_all(self, inbox):
        """Where one record of several is stale, nothing is remembered of any."""
        other = record("z.fits", state=State.REJECTED)
        inbox.add([PLAIN, other])
        stale = replace(PLAIN, attempts=1)
        with pytest.raises(StaleRecord):
            inbox.replace([(other, other.retried(NOW)), (stale, stale.skipped(NOW))])
        assert inbox.history([PLAIN.path, other.path]) == {}

    def test_what_happens_again_is_one_entry_of_the_history(self, inbox):
        """A file that is looked at again and again while it grows does not fill the inbox."""
        inbox.add([PLAIN])
        old = PLAIN
        for n in range(1, 4):
            half = Incomplete(Code.INCOMPLETE, f"ends at {n}")
            new = old.looked_at(again=NOW, error=half, now=NOW + n * SECOND)
            grown = replace(new, size=n, code=None, error=None)
            inbox.replace([(old, new)])
            inbox.replace([(new, grown)])
            old = grown
        assert inbox.history([PLAIN.path]) == {
            PLAIN.path: [
                Entry(
                    event=Event.UNFINISHED,
                    at=NOW + SECOND,
                    last=NOW + 3 * SECOND,
                    times=3,
                    attempt=0,
                    size=2,
                    code="incomplete",
                    reason="ends at 3",
                )
            ]
        }

    def test_history_is_bounded(self, inbox):
        """A file that is retried for ever has its newest entries, and those of others stay."""
        beside = record("beside.fits", state=State.REJECTED)
        inbox.add([PLAIN, beside])
        inbox.replace([(beside, beside.retried(NOW))])
        old = PLAIN
        times = [NOW + n * SECOND for n in range(KEPT // 2 + 2)]
        for time in times:
            skipped = old.skipped(time)
            retried = skipped.retried(time)
            inbox.replace([(old, skipped)])
            inbox.replace([(skipped, retried)])
            old = retried
        told = inbox.history([PLAIN.path, beside.path])
        assert [(entry.event, entry.at) for entry in told[PLAIN.path]] == [
            (event, time) for time in times[2:] for event in (Event.SKIPPED, Event.RETRIED)
        ]
        assert len(told[beside.path]) == 1

    def test_thousands_of_histories_go_through_in_one_call(self, inbox):
        """No call has a bound on of how many files something is remembered."""
        many = [record(f"{n}.fits", state=State.REJECTED) for n in range(1100)]
        inbox.add(many)
        inbox.replace([(old, old.retried(NOW)) for old in many])
        told = inbox.history([each.path for each in many])
        assert [path for path, [entry] in told.items() if entry.event is not Event.RETRIED] == []
        assert told.keys() == {each.path for each in many}

    def test_orders_come_back_whole_and_numbered(self, inbox):
        """What operators ordered is read after any number, in its order, with every word and path."""
        said = [
            Order(what=What.PAUSE, by="alice@summit", at=NOW, reason="schräg;\n'quoted'"),
            Order(what=What.RESCAN, by="bob", at=LATER, paths=tuple(NIGHT / name for name in AWKWARD)),
            Order(what=What.DRAIN, by="bob", at=LATER),
        ]
        assert inbox.orders(0) == []
        given = [inbox.give_order(order) for order in said]
        assert [replace(order, number=0) for order in given] == said
        assert [order.number for order in given] == sorted({order.number for order in given})
        assert inbox.orders(0) == given
        assert inbox.orders(given[0].number) == given[1:]
        assert inbox.orders(given[-1].number) == []

    @pytest.mark.parametrize("newest", [What.PAUSE, What.RESUME])
    def test_old_orders_are_forgotten_but_not_whether_there_is_a_pause(self, inbox, newest):
        """The list of orders is bounded, and a pause of long ago holds all the same."""
        other = What.RESUME if newest is What.PAUSE else What.PAUSE
        inbox.give_order(Order(what=other, by="alice", at=NOW))
        standing = inbox.give_order(Order(what=newest, by="alice", at=NOW))
        for n in range(KEPT_ORDERS + 3):
            last = inbox.give_order(Order(what=What.RESCAN, by="bob", at=NOW + n * SECOND))
        kept = inbox.orders(0)
        assert (kept[0], kept[-1], len(kept)) == (standing, last, KEPT_ORDERS + 1)
        assert Standing().after(kept).paused == (standing if newest is What.PAUSE else None)

    def test_an_order_without_a_time_zone_is_refused(self, inbox):
        """A naive time is a mistake, and nothing is ordered."""
        with pytest.raises(TypeError):
            inbox.give_order(Order(what=What.PAUSE, by="alice", at=NOW.replace(tzinfo=None)))
        assert inbox.orders(0) == []
