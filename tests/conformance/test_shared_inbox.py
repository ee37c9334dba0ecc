"""Several processes on one inbox: nobody takes what another holds, and nothing stays held by the dead."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from conformance.inbox_suite import NOW, SECOND, by_path, record
from pfs_ingestd.adapters.inbox import open_inbox, open_shared_inbox
from pfs_ingestd.adapters.inbox.engine import open_engine, transaction
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.ports import Rescue, WorkerName
from pfs_ingestd.records import Kind, State
from pfs_ingestd.status import WorkerState

LONG = timedelta(minutes=5)
NOBODY = Rescue([], 0)


@pytest.fixture
def url(postgres):
    return postgres.new_inbox()


@pytest.fixture
def joined(url, request):
    """Open the inbox as one more process."""

    def join(name="1", *, watches=False, lease=LONG):
        inbox = open_shared_inbox(url, name=WorkerName(name, "summit", 4711, watches), lease=lease)
        request.addfinalizer(inbox.close)
        inbox.recover(NOW)
        return inbox

    return join


@pytest.fixture
def altered(url):
    """Change the database behind everybody's back."""
    engine = open_engine(url, read_only=False)

    def alter(statement):
        with transaction(engine, writing=True) as connection:
            connection.execute(text(statement))

    yield alter
    engine.dispose()


def ready(visit, name=None, **changes):
    return record(name or f"{visit}.fits", visit=visit, state=State.READY, **changes)


def claimed(inbox, records):
    """Claim records, as the intake does."""
    successors = [each.claimed(NOW) for each in records]
    inbox.replace(list(zip(records, successors, strict=True)))
    return successors


def ingested(inbox, records):
    """Write down that claimed records are stored."""
    successors = [each.ingested("c0ffee", already=False, now=NOW) for each in records]
    inbox.replace(list(zip(records, successors, strict=True)))
    return successors


def test_what_one_holds_no_other_reserves(joined):
    """The files of a visit are one worker's, later ones included, until it lets go of the visit."""
    one, two = joined("1"), joined("2")
    files = [ready(2, "a.fits"), ready(2, "b.fits")]
    one.add(files)
    assert (one.reserve(NOW, 10), two.reserve(NOW, 10)) == (files, [])
    late = [ready(2, "c.fits", kind=Kind.PFS_CONFIG), ready(1)]
    one.add(late)
    assert two.reserve(NOW, 10) == late[1:]
    ingested(one, claimed(one, files))
    one.release()
    assert two.reserve(NOW, 10) == late


def test_reserving_anew_lets_go(joined):
    """What is not kept at the next question is free for others; what is kept goes on being held."""
    one, two = joined("1"), joined("2")
    one.add([ready(3), ready(2), ready(1)])
    assert len(one.reserve(NOW, 10)) == 3
    assert one.reserve(NOW, 1, largest=0, keep={2}) == []
    assert two.reserve(NOW, 10) == [ready(3), ready(1)]
    assert one.reserve(NOW, 10, keep={2}) == [ready(2)]


def test_visits_are_not_torn(joined):
    """A bound on the number of files cuts between visits; the next worker takes the next visits whole."""
    one, two = joined("1"), joined("2")
    files = [ready(visit, f"{visit}{n}.fits") for visit in (3, 2, 1) for n in range(4)]
    one.add(files)
    assert (one.reserve(NOW, 6), two.reserve(NOW, 6)) == (files[:4], files[4:8])


def test_a_visit_of_more_files_than_asked_for_comes_in_parts(joined):
    """However many files claim to be of one visit, a worker gets a bounded number, and in the end all."""
    one = joined()
    one.add([ready(1, f"{n:03}.fits") for n in range(50)])
    rounds = 0
    while files := one.reserve(NOW, 5):
        assert len(files) <= 10
        ingested(one, claimed(one, files))
        rounds += 1
    assert (rounds, one.counts()[State.INGESTED]) == (5, 50)


def test_many_at_once_share_the_work(joined):
    """Eight workers that ask at the same moment get different visits, and all get all."""
    workers = [joined(str(n)) for n in range(4)]
    workers[0].add([ready(visit, f"{visit}-{n}.fits") for visit in range(80) for n in range(3)])

    def work(inbox):
        done = []
        while files := inbox.reserve(NOW, 15):
            done += ingested(inbox, claimed(inbox, files))
        return done

    with ThreadPoolExecutor(len(workers)) as pool:
        shares = list(pool.map(work, workers))
    visits = [{each.visit for each in share} for share in shares]
    assert sum(map(len, visits)) == 80
    assert sum(map(len, shares)) == workers[0].counts()[State.INGESTED] == 240
    assert [each.files for each in workers[0].workers()] == [len(share) for share in shares]


def test_what_the_dead_held_is_put_back_with_its_attempt_counted(joined, altered):
    """Whoever finds a lease over makes ready what was held under it, and tells whose it was."""
    dead, alive = joined("dead"), joined("alive")
    dead.add([ready(2), ready(1)])
    [first, _] = dead.reserve(NOW, 10)
    lost = claimed(dead, [first])
    assert alive.rescue(NOW) == NOBODY
    altered("UPDATE worker SET lease_until = 0 WHERE name = 'dead'")
    workers, files = alive.rescue(NOW + SECOND)
    assert ([worker.name for worker in workers], files) == (["dead"], 1)
    back = replace(lost[0], state=State.READY, updated=NOW + SECOND)
    assert alive.reserve(NOW, 10) == [back, ready(1)]
    assert (back.attempts, alive.counts()[State.READY], alive.counts()[State.INGESTING]) == (1, 2, 0)
    assert alive.rescue(NOW) == NOBODY


@pytest.mark.parametrize("retried", [False, True])
def test_a_late_finisher_changes_nothing(joined, altered, retried):
    """A worker that stood still while others took over learns of it, whatever has become of the file."""
    late, other = joined("late"), joined("other")
    late.add([ready(1)])
    [mine] = claimed(late, late.reserve(NOW, 10))
    altered("UPDATE worker SET lease_until = 0 WHERE name = 'late'")
    other.rescue(NOW)
    if retried:
        [back] = other.find([mine.path]).values()
        other.replace([(back, back.retried(NOW).ready(NOW))])
    [theirs] = claimed(other, other.reserve(NOW, 10))
    # After a retry by a person, state and attempts alone would be the same again.
    assert (theirs.attempts == mine.attempts) is retried
    for _ in range(2):
        with pytest.raises(Outage) as caught:
            ingested(late, [mine])
        assert caught.value.code is Code.LEASE_LOST
    with pytest.raises(Outage):
        late.reserve(NOW, 10)
    assert other.find([mine.path]) == by_path(theirs)
    ingested(other, [theirs])
    assert late.recover(NOW) == 0
    assert [worker.name for worker in other.workers()] == ["other", "late"]


def test_a_lease_is_renewed_while_a_batch_runs(joined, altered):
    """A worker that asks nothing of the inbox for many times its lease keeps what it holds."""
    busy, other = joined("busy", lease=timedelta(seconds=0.2)), joined("other")
    busy.add([ready(1)])
    files = claimed(busy, busy.reserve(NOW, 10))
    altered("UPDATE worker SET heartbeat = 0 WHERE name = 'busy'")
    while not other.workers()[0].heartbeat.timestamp():
        assert other.rescue(NOW) == NOBODY
    assert len(ingested(busy, files)) == 1


def test_recovery_leaves_the_living_alone(joined, altered):
    """A watching process that starts anew takes what it held before, and no more."""
    living, before = joined("living"), joined("run", watches=True)
    before.add([ready(3), ready(2), ready(1)])
    for inbox in (living, before):
        claimed(inbox, inbox.reserve(NOW, 1))
    altered("UPDATE tally SET files = 7")
    after = joined("run", watches=True)
    assert [worker.name for worker in after.workers()] == ["run", "living"]
    assert [worker.visits for worker in after.workers()] == [0, 1]
    assert (after.counts()[State.READY], after.counts()[State.INGESTING], after.counts()[State.SEEN]) == (
        2,
        1,
        0,
    )


def test_what_nobody_holds_is_put_back(joined, url):
    """Files that a program from before there were holds was ingesting when it died are ready again."""
    with closing(open_inbox(url)) as old:
        old.add([ready(1)])
        claimed(old, [ready(1)])
    assert joined().counts()[State.READY] == 1


def test_a_worker_that_ends_gives_back_at_once(joined, url):
    """After an orderly end nobody waits for a lease to run out."""
    with closing(open_shared_inbox(url, name=WorkerName("1", "a", 1, watches=False), lease=LONG)) as leaving:
        leaving.recover(NOW)
        leaving.add([ready(1)])
        leaving.reserve(NOW, 10)
    assert joined().reserve(NOW, 10) == [ready(1)]


def test_everybody_is_told_of(joined):
    """The workers are listed with what they hold and have done, the one that watches first."""
    worker, watching = joined("w1"), joined("run", watches=True)
    worker.add([ready(2), ready(1)])
    ingested(worker, claimed(worker, worker.reserve(NOW, 10)[:1]))
    told = [replace(each, id=0, started=NOW, heartbeat=NOW) for each in watching.workers()]
    everyone = {"id": 0, "host": "summit", "pid": 4711, "started": NOW, "heartbeat": NOW}
    assert told == [
        WorkerState(name="run", visits=0, files=0, **everyone),
        WorkerState(name="w1", visits=2, files=1, **everyone),
    ]


def test_the_watching_process_hears_once_of_touched_visits(joined):
    """Of which visits others ingested files is told to the one that watches, once, and to no other."""
    worker, watching = joined("1"), joined("run", watches=True)
    worker.add([ready(2), ready(1), ready(3)])
    ingested(worker, claimed(worker, worker.reserve(NOW, 10)[:2]))
    worker.release()
    ingested(watching, claimed(watching, watching.reserve(NOW, 10)))
    assert list(worker.touched()) == []
    assert (sorted(watching.touched()), list(watching.touched())) == ([2, 3], [])
