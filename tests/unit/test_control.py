"""What the daemon makes of the orders of operators, tick by tick."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from fakes import ROOT, Content, config_header, config_path, raw_header, raw_path
from pfs_ingestd.control import Control
from pfs_ingestd.errors import Code, ExitCode, Fatal, Outage, Rejected, TryLater
from pfs_ingestd.orders import Order, What
from pfs_ingestd.ports import Hint, Reload
from pfs_ingestd.records import State
from rig import PATIENCE, Impatient, Rig

B1, R1, CONFIG = raw_path(), raw_path(arm="r"), config_path()
RAW_B1, RAW_R1 = Content(answer=raw_header()), Content(answer=raw_header(arm="r"))
LARGE = Content(answer=raw_header(), size=2000)
A_CONFIG = Content(answer=config_header())
SECOND = timedelta(seconds=1)
ALICE = "alice@summit"


def order(rig, what, *paths, reason=""):
    return rig.inbox.give_order(
        Order(what=what, by=ALICE, at=rig.clock.now(), reason=reason, paths=tuple(paths))
    )


def arrive(rig, path, content):
    rig.folder.write(path, content)
    rig.tick(Hint(path, closed=True), after=SECOND)


def with_copies(rig):
    """Have a repository that copies files of more than 1000 bytes, and a copier whose copies last."""
    rig.repository.inline_bytes = 1000
    rig.copier.held = True


def events(log, *names):
    return [event["event"] for event in log if event["event"] in names]


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.tick()
    return rig


def test_a_pause_keeps_files_from_being_claimed_and_nothing_else(rig):
    """Files are noticed, read and made ready; they are taken in within a second after somebody resumes."""
    order(rig, What.PAUSE)
    arrive(rig, B1, RAW_B1)
    rig.folder.write(R1, RAW_R1)
    rig.tick(after=rig.pace.rescan)
    rig.tick(after=rig.patience.settle)
    assert rig.states() == {B1: State.READY, R1: State.READY}
    assert rig.repository.artifacts == {}
    order(rig, What.RESUME)
    rig.tick(after=SECOND)
    assert rig.states() == {B1: State.INGESTED, R1: State.INGESTED}


def test_a_pause_outlives_the_process(rig):
    """Whatever ends the daemon, the next one finds the queue paused, and says so once, too."""
    order(rig, What.PAUSE, reason="moving the disk")
    rig.restart()
    with capture_logs() as log:
        arrive(rig, B1, RAW_B1)
        rig.tick(after=rig.pace.rescan)
    assert rig.states() == {B1: State.READY}
    [told] = [event for event in log if event["event"] == "queue.paused"]
    assert (told["by"], told["reason"], told["log_level"]) == (ALICE, "moving the disk", "warning")


def test_what_is_being_copied_is_finished_in_a_pause(rig):
    """A copy that is under way is stored; the pfsConfig that waited for it waits on till the end."""
    arrive(rig, CONFIG, A_CONFIG)
    with_copies(rig)
    arrive(rig, B1, LARGE)
    assert rig.states() == {CONFIG: State.WAITING, B1: State.INGESTING}
    order(rig, What.PAUSE)
    rig.copier.held = False
    rig.tick(after=SECOND)
    assert rig.states() == {CONFIG: State.READY, B1: State.INGESTED}
    order(rig, What.RESUME)
    rig.tick(after=SECOND)
    assert rig.states() == {CONFIG: State.INGESTED, B1: State.INGESTED}


def test_a_pause_asks_nothing_of_the_repository_for_those_who_wait(rig):
    """Whether others have registered a visit is asked after the pause."""
    arrive(rig, CONFIG, A_CONFIG)
    order(rig, What.PAUSE)
    rig.tick(after=SECOND)
    rig.repository.exposures[1000] = raw_header()
    rig.tick(after=2 * rig.pace.rescan)
    assert rig.record(CONFIG).state is State.WAITING
    order(rig, What.RESUME)
    rig.tick(after=2 * rig.pace.rescan)
    rig.tick(after=SECOND)
    assert rig.record(CONFIG).state is State.INGESTED


def test_a_pause_is_told_at_once_and_once(rig):
    """Status, metrics, the sentence for systemd and the log say who paused and why; its end is told, too."""
    rig.tick(after=10 * SECOND)
    with capture_logs() as log:
        given = order(rig, What.PAUSE, reason="moving the disk")
        rig.tick(after=SECOND)
        told = rig.status.written[-1]
        assert (told["state"], told["heard"]) == ("running", given.number)
        assert (told["paused"]["by"], told["paused"]["reason"]) == (ALICE, "moving the disk")
        assert rig.metrics.written[-1].standing.paused == given
        rig.tick(after=SECOND)
        assert "running, paused by alice@summit (moving the disk)" in rig.notifier.said[-1]
        order(rig, What.PAUSE)
        rig.tick(after=SECOND)
        order(rig, What.RESUME)
        rig.tick(after=SECOND)
    assert rig.status.written[-1]["paused"] is None
    assert events(log, "queue.paused", "queue.resumed") == ["queue.paused", "queue.resumed"]


def test_orders_are_asked_for_once_a_second(rig, monkeypatch):
    """A burst of files costs no more questions, an idle second none; a clock set back makes nobody deaf."""
    asked = []
    answer = rig.inbox.orders
    monkeypatch.setattr(rig.inbox, "orders", lambda after: asked.append(after) or answer(after))
    order(rig, What.PAUSE)
    rig.tick(after=SECOND)
    for _ in range(9):
        rig.folder.write(B1, RAW_B1)
        rig.tick(Hint(B1, closed=True), after=SECOND / 10)
    assert len(asked) == 1
    rig.tick(after=SECOND / 10)
    assert len(asked) == 2
    rig.tick(after=SECOND)
    assert len(asked) == 2
    order(rig, What.RESUME)
    rig.tick(after=timedelta(hours=-1))
    assert len(asked) == 3


def test_a_resumption_that_is_heard_later_than_it_was_written_is_heeded(rig):
    """What was ready meanwhile is taken in, though the inbox is as it was when it was asked before that."""
    order(rig, What.PAUSE)
    arrive(rig, B1, RAW_B1)
    order(rig, What.RESUME)
    rig.tick(after=SECOND / 10)
    assert rig.states() == {B1: State.READY}
    rig.tick(after=SECOND)
    assert rig.states() == {B1: State.INGESTED}


def test_an_order_that_meets_an_outage_of_the_inbox_is_heard_after_it(rig, monkeypatch):
    """Nothing that was ordered is lost because the inbox did not answer once."""
    control = Control(rig.inbox, rig.clock)
    control.listen()
    order(rig, What.PAUSE)
    rig.clock.advance(SECOND)
    with monkeypatch.context() as away:
        away.setattr(rig.inbox, "orders", fail)
        with pytest.raises(TryLater):
            control.listen()
    assert not control.paused
    control.listen()
    assert control.paused


def fail(*_):
    raise TryLater(Code.BUSY, "locked")


def test_run_once_does_not_wait_for_the_end_of_a_pause():
    """It reads what is there, and ends with 75 and the reason while files are kept from the repository."""
    rig = Impatient()
    order(rig, What.PAUSE)
    rig.folder.write(B1, RAW_B1)
    assert rig.daemon.run(once=True) is ExitCode.TRY_AGAIN
    assert rig.states() == {B1: State.READY}
    reason = rig.status.written[-1]["reason"]
    assert reason == "paused by alice@summit: 1 file is not ingested; resume, then start again"
    order(rig, What.RESUME)
    rig.restart()
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {B1: State.INGESTED}


def test_run_once_that_a_pause_keeps_from_nothing_is_done():
    """Where every file is in the repository already, a pause makes no difference."""
    rig = Impatient()
    order(rig, What.PAUSE)
    assert rig.daemon.run(once=True) is ExitCode.DONE


class Draining:
    """A daemon that is ordered to drain after some waits, and what happens meanwhile."""

    def __init__(self, **options):
        self.rig = Impatient(**options)
        self.script = {}
        self.rig.mailbox.stop_when = self._wait

    def at(self, wait, deed):
        self.script[wait] = deed

    def run(self):
        code = self.rig.daemon.run()
        assert self.rig.mailbox.waits < 500, "it never ended"
        return code

    def _wait(self):
        self.script.pop(self.rig.mailbox.waits, lambda: None)()
        return self.rig.mailbox.waits >= 500


@pytest.fixture
def draining():
    return Draining()


def test_a_drain_takes_in_what_is_there_and_stops(draining):
    """What no scan has met yet is found, waited for as long as it has to be at rest, stored; then it ends."""
    rig = draining.rig

    def begin():
        rig.folder.write(B1, RAW_B1)
        order(rig, What.DRAIN, reason="upgrade")

    draining.at(5, begin)
    with capture_logs() as log:
        assert draining.run() is ExitCode.DONE
    assert rig.states() == {B1: State.INGESTED}
    last = rig.status.written[-1]
    assert (last["state"], last["reason"]) == ("stopped", "drained by alice@summit (upgrade)")
    assert events(log, "daemon.draining", "daemon.stopped") == ["daemon.draining", "daemon.stopped"]


def test_a_drain_ends_however_often_scans_are_made():
    """Where scans follow one another sooner than files are at rest, the first after the order counts."""
    draining = Draining(patience=replace(PATIENCE, settle=3 * SECOND))
    rig = draining.rig
    rig.pace = replace(rig.pace, rescan=SECOND / 3)
    rig.restart()
    rig.mailbox.stop_when = draining._wait  # noqa: SLF001 (the test's own)
    draining.at(5, lambda: order(rig, What.DRAIN))
    assert draining.run() is ExitCode.DONE


def test_a_drain_is_seen_while_it_lasts(draining):
    """The state is stopping, with the reason; systemd is told when it really ends, or it would kill it."""
    rig = draining.rig
    draining.at(5, lambda: order(rig, What.DRAIN))
    draining.run()
    told = [(status["state"], status["reason"]) for status in rig.status.written]
    assert ("stopping", "draining, as ordered by alice@summit") in told
    said = rig.notifier.said
    assert said.count("stopping") == 1
    assert "alive: stopping: draining, as ordered by alice@summit" in said[said.index("stopping") - 1]


def test_a_drain_waits_neither_for_what_is_being_written_nor_for_another_attempt(draining):
    """A torso and a file that failed are left for the next start, which is said; nothing is lost."""
    rig = draining.rig

    def begin():
        rig.folder.write(R1, RAW_R1, size=500)
        rig.folder.write(B1, RAW_B1)
        rig.repository.refused = {B1: TryLater(Code.STORE_FAILED, "no")}
        order(rig, What.DRAIN)

    draining.at(5, begin)
    begun = rig.clock.now()
    assert draining.run() is ExitCode.DONE
    assert set(rig.states().values()) == {State.SEEN, State.READY}
    assert rig.clock.now() - begun < rig.patience.incomplete_after
    assert rig.status.written[-1]["reason"] == (
        "drained by alice@summit; 2 files are left for the next start"
    )


def test_a_drain_waits_for_copies(draining):
    """A large file that is under way is stored before the end, however long its copy takes."""
    rig = draining.rig
    with_copies(rig)
    rig.folder.write(B1, LARGE)
    draining.at(10, lambda: order(rig, What.DRAIN))
    draining.at(60, lambda: setattr(rig.copier, "held", False))
    assert draining.run() is ExitCode.DONE
    assert rig.mailbox.waits >= 60
    assert rig.states() == {B1: State.INGESTED}


def test_a_drain_ends_in_an_outage_and_in_a_pause(draining):
    """What cannot be done now is not waited for: the files are in the inbox."""
    rig = draining.rig

    def begin():
        rig.repository.outage = Outage(Code.REPOSITORY_UNREACHABLE, "no answer")
        rig.folder.write(B1, RAW_B1)
        order(rig, What.DRAIN)

    draining.at(5, begin)
    assert draining.run() is ExitCode.DONE
    assert "1 file is left" in rig.status.written[-1]["reason"]

    paused = Draining()
    order(paused.rig, What.PAUSE)
    paused.rig.folder.write(B1, RAW_B1)
    paused.at(5, lambda: order(paused.rig, What.DRAIN))
    assert paused.run() is ExitCode.DONE
    assert paused.rig.states() == {B1: State.READY}
    assert paused.rig.status.written[-1]["reason"] == (
        "drained by alice@summit; 1 file is left for the next start, since it is paused by alice@summit"
    )


def test_a_drain_is_over_with_the_process(draining):
    """Who is started after the order serves on: a start is a newer wish."""
    rig = draining.rig
    order(rig, What.DRAIN)
    rig.mailbox.stop_when = lambda: rig.mailbox.waits > 50
    assert rig.daemon.run() is ExitCode.DONE
    assert rig.status.written[-1]["reason"] == ""


def test_a_drain_with_fail_fast_fails_fast():
    """A rejected file ends it with its own code also while it is drained."""
    draining = Draining(fail_fast=True)
    rig = draining.rig

    def begin():
        rig.repository.refused = {B1: Rejected(Code.CONFLICT, "no")}
        rig.folder.write(B1, RAW_B1)
        order(rig, What.DRAIN)

    draining.at(5, begin)
    assert draining.run() is ExitCode.FAILED_FAST


def test_a_rescan_lists_every_folder_again(rig):
    """A file that appeared without a trace in its folder's time is found within a second after the order."""
    arrive(rig, B1, RAW_B1)
    rig.tick(after=2 * rig.pace.rescan)
    rig.tick(after=2 * rig.pace.rescan)
    hidden = rig.folder.folders[B1.parent]
    rig.folder.write(R1, RAW_R1)
    rig.folder.folders[B1.parent] = hidden
    rig.tick(after=rig.pace.rescan)
    assert R1 not in rig.states()
    with capture_logs() as log:
        order(rig, What.RESCAN)
        rig.tick(after=SECOND)
    assert rig.states()[R1] is State.SEEN
    assert events(log, "scan.ordered") == ["scan.ordered"]


@pytest.mark.parametrize("path", [ROOT, B1.parent, B1])
def test_a_rescan_of_a_path_looks_at_what_is_known_there(rig, path):
    """An ingested file of long ago, rewritten in place, is flagged, which no ordinary scan would do."""
    arrive(rig, B1, RAW_B1)
    rig.tick(after=timedelta(days=9))
    rig.tick(after=rig.pace.rescan)
    rig.folder.write(B1, LARGE)
    rig.tick(after=rig.pace.rescan)
    assert rig.record(B1).changed is None
    order(rig, What.RESCAN)
    rig.tick(after=SECOND)
    assert rig.record(B1).changed is None
    order(rig, What.RESCAN, path)
    rig.tick(after=SECOND)
    assert "size" in rig.record(B1).changed


def test_a_rescan_that_fails_is_made_again(rig, monkeypatch):
    """What was ordered is not forgotten because the inbox failed in the middle of it."""
    arrive(rig, B1, RAW_B1)
    rig.tick(after=timedelta(days=9))
    rig.folder.write(B1, LARGE)
    order(rig, What.RESCAN, ROOT)
    with monkeypatch.context() as away:
        away.setattr(rig.inbox, "mark", fail)
        with pytest.raises(TryLater):
            rig.tick(after=SECOND)
    rig.daemon._recovery_due = True  # noqa: SLF001 (as the guarded tick does)
    rig.tick(after=SECOND)
    assert "size" in rig.record(B1).changed


def test_a_rescan_does_not_wait_for_the_next_scan(rig):
    """It begins at once, or when the scan that is under way has ended, however rarely scans are made."""
    arrive(rig, B1, RAW_B1)
    scanned = rig.status.written[-1]["last_scan"]
    order(rig, What.RESCAN)
    rig.tick(after=SECOND)
    assert rig.status.written[-1]["last_scan"] != scanned


class Reloading(Draining):
    """A daemon that is asked to read its configuration again after a wait; at the thirtieth it is stopped."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.rig.reload = self._reload
        self.rig.restart()
        get = self.rig.mailbox.get
        self.rig.mailbox.stop_when = lambda: self._wait() or self.rig.mailbox.waits > 30
        self.rig.mailbox.get = lambda **how: (
            Reload.RELOAD
            if how.get("block", True) and self.rig.mailbox.waits == 5 and self._once()
            else get(**how)
        )
        self._asked = False

    def _once(self):
        asked, self._asked = self._asked, True
        return not asked

    def _reload(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(self.rig)


def test_a_wrong_configuration_changes_nothing():
    """The daemon goes on as it was, and says so in log and status."""
    reloading = Reloading(Fatal(Code.CONFIGURATION, "watch.setle: unknown key"))
    rig = reloading.rig
    reloading.at(10, lambda: rig.folder.write(B1, RAW_B1))
    with capture_logs() as log:
        assert reloading.run() is ExitCode.DONE
    told = rig.status.written[-1]["configuration"]
    assert (told["answers"], told["refused"]) == (1, "watch.setle: unknown key")
    assert events(log, "reload.refused", "daemon.reloaded") == ["reload.refused"]
    assert rig.states() == {B1: State.INGESTED}


def test_a_right_configuration_takes_the_place_of_the_old_one():
    """What is being copied is put back, the old parts are let go, the new ones begin with a scan."""
    closed = []

    def other(rig):
        parts = rig.parts()
        return replace(parts, pace=replace(parts.pace, rescan=timedelta(hours=1)))

    reloading = Reloading(other)
    rig = reloading.rig
    with_copies(rig)
    rig.folder.write(B1, LARGE)
    first = rig.parts_in_use
    rig.daemon._close_parts = lambda: closed.append(first)  # noqa: SLF001 (what the old parts hold)
    reloading.at(4, lambda: rig.folder.write(R1, RAW_R1))
    reloading.at(8, lambda: setattr(rig.copier, "held", False))
    with capture_logs() as log:
        assert reloading.run() is ExitCode.DONE
    assert events(log, "reload.refused", "daemon.reloaded") == ["daemon.reloaded"]
    assert rig.states() == {B1: State.INGESTED, R1: State.INGESTED}
    assert closed == [first]
    assert rig.status.written[-1]["configuration"]["answers"] == 1
