"""What is due is claimed and stored; what is large is copied beside the loop meanwhile."""

from datetime import timedelta
from pathlib import Path

import pytest

from fakes import Content, config_header, config_path, raw_header, raw_path
from pfs_ingestd.errors import Code, ExitCode, Interrupted, Outage, Rejected, TryLater
from pfs_ingestd.ports import Copied, Hint
from pfs_ingestd.records import State
from rig import Crash, Impatient, Rig

CCD, RAMP, CONFIG = raw_path(), raw_path(arm="n"), config_path()
A_CCD = Content(answer=raw_header(), size=1000)
A_RAMP = Content(answer=raw_header(arm="n"), size=2000)
A_CONFIG = Content(answer=config_header(), size=100)
OUTAGE = Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="see that it runs")
FULL = Outage(Code.DISK_FULL, "no room", hint="make room")


def with_copies(rig):
    """Have a repository that copies files of more than 1000 bytes, and a copier whose copies last."""
    rig.repository.inline_bytes = 1000
    rig.copier.held = True
    return rig


@pytest.fixture
def rig() -> Rig:
    rig = with_copies(Rig())
    rig.tick()
    return rig


def arrive(rig, *paths):
    """Let files come to their end, all at once."""
    contents = {CCD: A_CCD, RAMP: A_RAMP, CONFIG: A_CONFIG}
    for path in paths:
        rig.folder.write(path, contents[path])
    rig.tick(*(Hint(path, closed=True) for path in paths))


def land(rig):
    """Let the copies come to their end."""
    rig.copier.held = False
    rig.tick(Copied.COPIED)


def test_a_large_file_is_stored_when_it_has_been_copied(rig):
    """A file that has to be copied stays claimed meanwhile, and is charged with one attempt."""
    arrive(rig, RAMP)
    assert (rig.states(), rig.repository.artifacts) == ({RAMP: State.INGESTING}, {})

    land(rig)
    record = rig.record(RAMP)
    assert (record.state, record.attempts) == (State.INGESTED, 1)
    assert rig.repository.artifacts["raw", 1000, "n", 1].content == A_RAMP
    assert list(rig.folder.files) == [RAMP]


def test_small_files_do_not_wait_for_a_large_one(rig):
    """The others of a visit are stored at once, and what arrives during the copy is, too."""
    later = raw_path(1001)
    arrive(rig, RAMP, CCD, CONFIG)
    rig.folder.write(later, Content(answer=raw_header(1001)))
    rig.tick(Hint(later, closed=True))
    stored = State.INGESTED
    assert rig.states() == {RAMP: State.INGESTING, CCD: stored, CONFIG: stored, later: stored}

    land(rig)
    assert set(rig.states().values()) == {State.INGESTED}


def test_a_config_follows_the_first_raw_of_its_visit_that_is_stored(rig):
    """While all raws of a visit are being copied its exposure is not registered, and its pfsConfig waits."""
    arrive(rig, RAMP, CONFIG)
    assert rig.states() == {RAMP: State.INGESTING, CONFIG: State.WAITING}
    assert rig.repository.exposures == {}

    land(rig)
    assert rig.states() == {RAMP: State.INGESTED, CONFIG: State.INGESTED}


def test_what_is_there_already_is_not_copied(rig):
    """Same bytes and other bytes under a data ID that is taken are found out before anything is copied."""
    arrive(rig, RAMP)
    land(rig)
    rig.copier.held = True
    same, other = (raw_path(arm="n", night=night) for night in ("2026-11-23", "2026-11-24"))
    rig.folder.write(same, A_RAMP)
    rig.folder.write(other, Content(answer=A_RAMP.answer, size=3000))
    rig.tick(Hint(same, closed=True), Hint(other, closed=True))
    assert rig.copier.under_way == {}
    assert [each.path for each in rig.copier.comparing] == [same]
    land(rig)
    assert (rig.record(same).code, rig.record(other).code) == (Code.ALREADY_THERE, Code.CONFLICT)


def test_what_arrived_just_now_is_copied_before_a_backlog(rig):
    """The copier is told which files are live."""
    old = raw_path(1001, arm="n")
    rig.folder.write(RAMP, A_RAMP)
    rig.clock.advance(timedelta(hours=1))
    rig.folder.write(old, Content(answer=raw_header(1001, arm="n"), size=2000))
    rig.tick(Hint(old, closed=True))
    live = {sighting.path: live for sighting, live in rig.copier.under_way.items()}
    assert live == {RAMP: False, old: True}


def test_a_full_lane_lets_smaller_files_pass(rig):
    """What has to wait for others to be copied is not claimed, and keeps nobody from being claimed."""
    rig.copier.largest = 1000
    arrive(rig, RAMP, CCD)
    assert rig.states() == {RAMP: State.READY, CCD: State.INGESTED}
    assert rig.record(RAMP).attempts == 0

    rig.copier.largest = None
    rig.tick(Copied.COPIED)
    assert rig.states()[RAMP] is State.INGESTING


def test_a_full_lane_does_not_keep_the_loop_busy():
    """While files wait for room among the copies the loop wakes once a second, and not all the time."""
    rig = with_copies(Impatient())
    rig.copier.largest = 1000
    rig.folder.write(RAMP, A_RAMP)
    begun = rig.clock.now()
    rig.mailbox.stop_when = lambda: rig.clock.now() - begun > timedelta(minutes=1)
    assert rig.daemon.run() is ExitCode.DONE
    assert rig.states() == {RAMP: State.READY}
    assert 60 <= rig.mailbox.waits < 90


def test_a_long_copy_does_not_keep_the_loop_busy_or_silent():
    """While a file is being copied the status is written and systemd told, once a second at most."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    begun = rig.clock.now()
    rig.mailbox.stop_when = lambda: rig.clock.now() - begun > timedelta(minutes=1)
    rig.daemon.run()
    assert 60 <= rig.mailbox.waits < 90
    assert rig.notifier.said.count("alive: running (1 ingesting)") > 50
    counts = [status["counts"]["ingesting"] for status in rig.status.written if status["state"] == "running"]
    assert counts[1:] == [1] * (len(counts) - 1)
    assert len(counts) > 5


def test_stopping_puts_back_what_is_being_copied():
    """Asked to stop, the daemon does not wait for copies; their files are ready again, and not charged."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    rig.mailbox.stop_when = lambda: rig.copier.under_way
    assert rig.daemon.run() is ExitCode.DONE
    assert (rig.record(RAMP).state, rig.record(RAMP).attempts) == (State.READY, 0)
    assert rig.copier.under_way == {}


def test_interrupted_it_puts_back_what_is_being_copied_too():
    """A batch that does not end takes the copies with it, uncharged."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    ingest = rig.repository.ingest

    def endless(exposures, datasets):
        if any(dataset.path == CCD for dataset in datasets):
            raise Interrupted
        rig.folder.write(CCD, A_CCD)
        return ingest(exposures, datasets)

    rig.repository.ingest = endless
    assert rig.daemon.run() is ExitCode.DONE
    assert {(record.state, record.attempts) for record in rig.records()} == {(State.READY, 0)}
    assert len(rig.records()) == 2


def test_a_stop_without_the_inbox_ends_all_the_same():
    """Where the inbox does not answer at the end, the next start puts back what was being copied."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    replace = rig.inbox.replace

    def away(_):
        raise Outage(Code.STATE_UNREACHABLE, "the inbox does not answer")

    def stop():
        if rig.copier.under_way:
            rig.inbox.replace = away
        return rig.copier.under_way

    rig.mailbox.stop_when = stop
    assert rig.daemon.run() is ExitCode.DONE
    assert (rig.states(), rig.copier.under_way) == ({RAMP: State.INGESTING}, {})

    rig.inbox.replace = replace
    rig.restart()
    rig.copier.held = False
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {RAMP: State.INGESTED}


def test_failing_fast_puts_back_what_is_being_copied():
    """The first rejected file ends the daemon; the copies are given up, and their files resume later."""
    rig = with_copies(Impatient(fail_fast=True))
    rig.folder.write(RAMP, A_RAMP)
    rig.folder.write(CCD, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    assert rig.daemon.run() is ExitCode.FAILED_FAST
    assert (rig.record(RAMP).state, rig.record(RAMP).attempts) == (State.READY, 0)


def test_once_waits_for_copies():
    """A single pass ends when the last copy is stored."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    begun = rig.clock.now()

    def release():
        rig.copier.held = rig.clock.now() - begun < timedelta(minutes=5)

    rig.mailbox.stop_when = release
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {RAMP: State.INGESTED}
    assert rig.clock.now() - begun >= timedelta(minutes=5)


def test_an_outage_ends_the_copies(rig):
    """What is being copied when the repository goes away is put back uncharged, and copied anew later."""
    arrive(rig, RAMP)
    rig.repository.outage = OUTAGE
    arrive(rig, CCD)
    assert rig.states() == {RAMP: State.READY, CCD: State.READY}
    assert rig.copier.under_way == {}
    assert {record.attempts for record in rig.records()} == {0}

    rig.repository.outage = None
    rig.copier.held = False
    rig.tick(after=rig.pace.probe_interval)
    rig.tick()
    assert set(rig.states().values()) == {State.INGESTED}
    assert {record.attempts for record in rig.records()} == {1}


def test_a_disk_that_is_full_is_an_outage(rig):
    """A copy that the disk has no room for pauses all work, and its file is not charged."""
    rig.copier.failing[RAMP] = FULL
    arrive(rig, RAMP)
    land(rig)
    assert (rig.record(RAMP).state, rig.record(RAMP).attempts) == (State.READY, 0)
    assert rig.status.written[-1]["state"] == "degraded"

    rig.copier.failing.clear()
    rig.settle()
    assert rig.states() == {RAMP: State.INGESTED}


def test_what_there_was_room_for_is_stored(rig):
    """A disk without room for one file has it for others: their copies are not thrown away."""
    other = raw_path(1001, arm="n")
    rig.copier.failing[RAMP] = FULL
    rig.folder.write(other, Content(answer=raw_header(1001, arm="n"), size=2000))
    arrive(rig, RAMP)
    rig.tick(Hint(other, closed=True))
    land(rig)
    assert rig.states() == {RAMP: State.READY, other: State.INGESTED}


def test_a_copy_that_fails_is_tried_again(rig):
    """A fault that may pass costs an attempt, and no more than the file that it befell."""
    rig.copier.failing[RAMP] = TryLater(Code.STORE_FAILED, "hiccup")
    arrive(rig, RAMP)
    land(rig)
    record = rig.record(RAMP)
    assert (record.state, record.attempts, record.code) == (State.READY, 1, Code.STORE_FAILED)

    rig.copier.failing.clear()
    rig.tick(after=rig.patience.first_delay)
    rig.tick()
    assert (rig.states(), rig.record(RAMP).attempts) == ({RAMP: State.INGESTED}, 2)


def test_copies_that_fail_for_ever_end_as_rejected(rig):
    """However often a copy fails, its file comes to a state in which a person sees it."""
    rig.copier.failing[RAMP] = TryLater(Code.STORE_FAILED, "hiccup")
    rig.copier.held = False
    arrive(rig, RAMP)
    rig.settle(until=timedelta(hours=1))
    assert (rig.record(RAMP).state, rig.record(RAMP).code) == (State.REJECTED, Code.EXHAUSTED)


@pytest.mark.parametrize(
    ("meddle", "end"),
    [
        (lambda rig: rig.folder.delete(RAMP), State.GONE),
        (lambda rig: rig.folder.write(RAMP, A_RAMP), State.SEEN),
        (lambda rig: rig.folder.write(RAMP, A_RAMP, size=10), State.SEEN),
    ],
    ids=["deleted", "rewritten", "truncated"],
)
def test_a_file_that_is_meddled_with_while_it_is_copied_is_not_stored(rig, meddle, end):
    """A file that goes away or changes during its copy ends as what it is by then."""
    arrive(rig, RAMP)
    rig.clock.advance(timedelta(seconds=1))
    meddle(rig)
    land(rig)
    assert (rig.record(RAMP).state, rig.repository.artifacts) == (end, {})


def test_a_tick_that_fails_gives_up_the_copies():
    """After an error that nobody foresaw a file is copied anew: it is not stored twice, and is not stuck."""
    rig = with_copies(Impatient())
    rig.folder.write(RAMP, A_RAMP)
    counts, begin, begun = rig.inbox.counts, rig.copier.copy, []

    def fail_once():
        rig.inbox.counts = counts
        raise RuntimeError

    def begin_again(sighting, where, **options):
        assert rig.copier.under_way == {}
        begun.append(sighting.path)
        begin(sighting, where, **options)
        if len(begun) == 1:
            rig.inbox.counts = fail_once
        rig.copier.held = len(begun) == 1

    rig.copier.copy = begin_again
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert begun == [RAMP, RAMP]
    assert (rig.states(), rig.record(RAMP).attempts) == ({RAMP: State.INGESTED}, 2)


def test_a_crash_while_a_file_is_copied_costs_an_attempt(rig):
    """A copy that takes the process with it again and again is given up like any other attempt."""
    rig.folder.write(RAMP, A_RAMP)
    begin = rig.copier.copy

    def deadly(*arguments, **options):
        begin(*arguments, **options)
        raise Crash

    rig.copier.copy = deadly
    for _ in range(50):
        try:
            rig.tick(Hint(RAMP, closed=True), after=timedelta(seconds=5))
        except Crash:
            rig.restart()
    assert (rig.record(RAMP).state, rig.record(RAMP).code) == (State.REJECTED, Code.EXHAUSTED)


def test_copies_leave_nothing_behind(rig):
    """A copy is removed whatever comes of it: stored, refused, or of a file that is another one by now."""
    rig.copier.held = False
    rig.repository.refused[RAMP] = TryLater(Code.STORE_FAILED, "hiccup")
    arrive(rig, RAMP)
    rig.settle(until=timedelta(minutes=1))
    assert [path for path in rig.folder.files if path.parent == Path("/staging")] == []
