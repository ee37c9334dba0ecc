"""What takes long to compare with what is stored is compared beside the loop, and taken up again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fakes import Content, raw_header, raw_path
from pfs_ingestd.errors import Code, ExitCode, Outage, TryLater
from pfs_ingestd.ports import Copied, Hint
from pfs_ingestd.records import State
from rig import Crash, Impatient, Rig

RAMP, AGAIN, CCD = raw_path(arm="n"), raw_path(arm="n", night="2026-11-23"), raw_path(1001)
A_RAMP = Content(answer=raw_header(arm="n"), size=2000)
OTHER = Content(answer=replace(raw_header(arm="n"), cards={"OTHER": 1}), size=2000)
OUTAGE = Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="see that it runs")
HICCUP = TryLater(Code.STORE_FAILED, "[Errno 5] Input/output error: '/repo/ramp.fits'")
DATA_ID = ("raw", 1000, "n", 1)


def stored(rig):
    """Have a ramp stored; what is larger than 1000 bytes is compared beside the loop, and that lasts."""
    rig.folder.write(RAMP, A_RAMP)
    rig.settle()
    rig.repository.inline_bytes = 1000
    rig.copier.held = True
    return rig


@pytest.fixture
def rig() -> Rig:
    return stored(Rig())


def arrive(rig, path, content):
    rig.folder.write(path, content)
    rig.tick(Hint(path, closed=True))


def land(rig):
    """Let the comparisons come to their end."""
    rig.copier.held = False
    rig.tick(Copied.COPIED)


def told(rig):
    record = rig.record(AGAIN)
    return record.state, record.code, record.attempts


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (A_RAMP, (State.INGESTED, Code.ALREADY_THERE, 1)),
        (OTHER, (State.REJECTED, Code.CONFLICT, 1)),
    ],
    ids=["same", "other"],
)
def test_what_takes_long_to_compare_is_compared_beside_the_loop(rig, content, end):
    """The file stays claimed while it is compared, others go on, and what it is is known in the end."""
    arrive(rig, AGAIN, content)
    assert told(rig) == (State.INGESTING, None, 1)
    arrive(rig, CCD, Content(answer=raw_header(1001), size=2000))
    assert rig.record(CCD).state is State.INGESTING
    assert [each.path for each in rig.copier.under_way] == [CCD]
    assert [each.path for each in rig.copier.comparing] == [AGAIN]

    land(rig)
    assert told(rig) == end
    assert rig.record(CCD).state is State.INGESTED
    assert rig.repository.artifacts[DATA_ID].source == RAMP


def test_small_files_do_not_wait_for_a_comparison(rig):
    """While the comparison lasts a small file is stored in the tick in which it is met."""
    arrive(rig, AGAIN, A_RAMP)
    arrive(rig, CCD, Content(answer=raw_header(1001), size=1000))
    assert (rig.record(CCD).state, told(rig)[0]) == (State.INGESTED, State.INGESTING)


def test_an_artifact_that_changes_while_it_is_compared_is_compared_again(rig):
    """What is true of another artifact says nothing: the file is tried again later."""
    arrive(rig, AGAIN, A_RAMP)
    rig.copier.held = False
    ingest = rig.repository.ingest

    def changed_before(exposures, datasets):
        rig.repository.artifacts[DATA_ID] = replace(rig.repository.artifacts[DATA_ID], inode=99)
        rig.repository.ingest = ingest
        return ingest(exposures, datasets)

    rig.repository.ingest = changed_before
    rig.tick(Copied.COPIED)
    assert told(rig) == (State.READY, Code.RACE, 1)
    assert "changed while it was compared" in rig.record(AGAIN).error

    rig.settle()
    assert told(rig) == (State.INGESTED, Code.ALREADY_THERE, 2)


@pytest.mark.parametrize("moment", ["during", "after"])
def test_in_the_place_of_an_artifact_that_vanishes_the_file_is_stored(rig, moment):
    """A dataset that lost its artifact while it was compared gets another: this one."""
    arrive(rig, AGAIN, A_RAMP)
    ingest = rig.repository.ingest

    def gone_before(exposures, datasets):
        rig.repository.artifacts.clear()
        rig.repository.ingest = ingest
        return ingest(exposures, datasets)

    if moment == "during":
        rig.repository.artifacts.clear()
    else:
        rig.repository.ingest = gone_before
    land(rig)
    rig.settle()
    assert told(rig)[::2] == (State.INGESTED, 1)
    assert rig.repository.artifacts[DATA_ID].source == AGAIN


@pytest.mark.parametrize(
    ("meddle", "end"),
    [
        (lambda rig: rig.folder.delete(AGAIN), State.GONE),
        (lambda rig: rig.folder.write(AGAIN, OTHER), State.SEEN),
    ],
    ids=["deleted", "rewritten"],
)
def test_a_file_that_is_meddled_with_while_it_is_compared_is_what_it_is_by_then(rig, meddle, end):
    """Nothing that was found out about a file is held against what took its place."""
    arrive(rig, AGAIN, A_RAMP)
    rig.clock.advance(timedelta(seconds=1))
    meddle(rig)
    land(rig)
    assert told(rig)[0] is end


def test_an_outage_ends_comparisons(rig):
    """What is being compared when the repository goes away is put back uncharged, and compared anew later."""
    arrive(rig, AGAIN, A_RAMP)
    rig.repository.outage = OUTAGE
    arrive(rig, CCD, Content(answer=raw_header(1001), size=1000))
    assert (told(rig), rig.copier.comparing) == ((State.READY, None, 0), {})

    rig.repository.outage = None
    rig.copier.held = False
    rig.settle()
    assert told(rig) == (State.INGESTED, Code.ALREADY_THERE, 1)


@pytest.mark.parametrize(
    ("error", "end", "state"),
    [
        (OUTAGE, (State.READY, None, 0), "degraded"),
        (HICCUP, (State.READY, Code.STORE_FAILED, 1), "running"),
    ],
    ids=["outage", "unreadable"],
)
def test_an_artifact_that_cannot_be_read_keeps_the_file_pending(rig, error, end, state):
    """Why is said in the status if nothing can be read, else with the file; later it is compared."""
    rig.copier.failing[AGAIN] = error
    arrive(rig, AGAIN, A_RAMP)
    land(rig)
    assert (told(rig), rig.status.written[-1]["state"]) == (end, state)
    assert error is OUTAGE or "/repo/ramp.fits" in rig.record(AGAIN).error

    rig.copier.failing.clear()
    rig.settle()
    assert told(rig) == (State.INGESTED, Code.ALREADY_THERE, end[2] + 1)


def test_stopping_puts_back_what_is_being_compared():
    """Asked to stop, the daemon does not wait for comparisons; their files are ready again, not charged."""
    rig = stored(Impatient())
    rig.folder.write(AGAIN, A_RAMP)
    rig.mailbox.stop_when = lambda: rig.copier.comparing
    assert rig.daemon.run() is ExitCode.DONE
    assert (told(rig), rig.copier.comparing) == ((State.READY, None, 0), {})


def test_once_waits_for_comparisons():
    """A single pass ends when it is known what the last file is."""
    rig = stored(Impatient())
    rig.folder.write(AGAIN, A_RAMP)
    rig.clock.advance(rig.pace.rescan)
    begun = rig.clock.now()

    def release():
        rig.copier.held = rig.clock.now() - begun < timedelta(minutes=5)

    rig.mailbox.stop_when = release
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert told(rig) == (State.INGESTED, Code.ALREADY_THERE, 1)
    assert rig.clock.now() - begun >= timedelta(minutes=5)


def test_others_are_kept_from_a_visit_while_a_file_of_it_is_compared(rig):
    """A worker lets go of a visit when it is known what its file is, and no sooner."""
    kept, reserve = [], rig.inbox.reserve

    def note(*args, keep, **options):
        kept.append(set(keep))
        return reserve(*args, keep=keep, **options)

    rig.inbox.reserve = note
    arrive(rig, AGAIN, A_RAMP)
    rig.tick()
    land(rig)
    assert kept == [set(), {1000}, set()]


def test_a_death_during_a_comparison_has_it_done_again(rig):
    """Nothing of a comparison outlives the process; the next one makes it anew."""
    compare = rig.copier.compare

    def deadly(*arguments, **options):
        compare(*arguments, **options)
        raise Crash

    rig.copier.compare = deadly
    with pytest.raises(Crash):
        arrive(rig, AGAIN, A_RAMP)
    rig.copier.compare = compare
    rig.restart()
    rig.copier.held = False
    rig.settle()
    assert told(rig) == (State.INGESTED, Code.ALREADY_THERE, 2)


def test_what_there_is_no_room_for_stays_in_the_queue(rig):
    """A backlog that came twice is compared as there is room; smaller files pass, and none is charged."""
    arrive(rig, AGAIN, A_RAMP)
    land(rig)
    rig.copier.held, rig.copier.largest = True, None
    compare = rig.copier.compare
    compared = []

    def fill(sighting, where, **options):
        compared.append(sighting.path)
        compare(sighting, where, **options)
        rig.copier.largest = 1000

    rig.copier.compare = fill
    nights = [raw_path(arm="n", night=f"2026-11-{day}") for day in (24, 25, 26)]
    for night in nights:
        rig.folder.write(night, A_RAMP)
    rig.folder.write(CCD, Content(answer=raw_header(1001), size=1000))
    rig.tick(*(Hint(path, closed=True) for path in (*nights, CCD)))
    rig.tick(after=timedelta(seconds=1))
    states = [rig.record(night).state for night in nights]
    assert sorted(states) == [State.INGESTING, State.READY, State.READY]
    assert sorted(rig.record(night).attempts for night in nights) == [0, 0, 1]
    assert rig.record(CCD).state is State.INGESTED

    rig.copier.held = False
    for _ in nights:
        rig.copier.largest = None
        rig.tick(Copied.COPIED)
    rig.tick(Copied.COPIED)
    assert {rig.record(night).code for night in nights} == {Code.ALREADY_THERE}
    assert sorted(compared) == nights


def test_no_more_is_claimed_than_there_is_room_for_while_files_are_compared(rig):
    """Of a backlog that came twice what would only be put back is not read; other times a batch is as large
    as it may be.
    """
    arrive(rig, AGAIN, A_RAMP)
    visits = [raw_path(visit) for visit in range(1001, 1005)]
    for visit, path in enumerate(visits, start=1001):
        rig.folder.write(path, Content(answer=raw_header(visit), size=900))
    rig.copier.small_left = 1900
    rig.tick(*(Hint(path, closed=True) for path in visits))
    assert [len(batch) for batch in rig.repository.batches[-1:]] == [2]

    land(rig)
    assert [len(batch) for batch in rig.repository.batches[-2:]] == [1, 2]
