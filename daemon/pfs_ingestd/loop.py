"""The daemon: one mailbox, one loop, one bounded batch a tick."""

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from pfs_ingestd.completions import Completions
from pfs_ingestd.control import Control
from pfs_ingestd.endings import Ending, after_draining, after_once, said_by
from pfs_ingestd.errors import Code, ExitCode, Fatal, IngestdError, Interrupted, Outage, TryLater
from pfs_ingestd.intake import Intake, Trouble
from pfs_ingestd.journal import Journal
from pfs_ingestd.orders import What
from pfs_ingestd.ports import (
    Blind,
    Clock,
    Hint,
    Inbox,
    Mailbox,
    Message,
    Reload,
    Stop,
    Watcher,
    WatcherHealth,
)
from pfs_ingestd.records import FileRecord, State, path_text
from pfs_ingestd.reporter import Reporter
from pfs_ingestd.scanner import Scanner
from pfs_ingestd.worker import NoCompletions, NoScanner

__all__ = ["Daemon", "Pace", "Parts"]

HEARTBEAT = timedelta(seconds=1)
"""The longest wait between two ticks: what another process writes to the inbox is noticed by then."""

BLIND_GAP = timedelta(seconds=5)
"""The shortest time between the beginnings of two scans, so that overflows cannot make a loop of scans."""

SCAN_FILES = 2000
"""How many new files a scan may bring in one tick."""

RECHECK_FILES = 100
"""How many ingested files are looked at again in one tick."""

MAX_FAILURES = 10
"""How many ticks may fail in a row before the daemon gives up and lets systemd start it afresh."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the loop goes.

    Parameters
    ----------
    rescan : `~datetime.timedelta`
        From the end of one scan to the beginning of the next.
    probe_interval : `~datetime.timedelta`
        How often an unreachable root is looked for, and an inbox that does not answer asked again.
    batch_files : `int`
        How many files are read in one tick.
    fail_fast : `bool`
        Whether the first rejected file stops the daemon.
    settle : `~datetime.timedelta`
        How long a file has to be at rest: one that a drain meets may still have to be so for that long.
    """

    rescan: timedelta
    settle: timedelta
    probe_interval: timedelta
    batch_files: int
    fail_fast: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration makes of the daemon; another one makes others.

    Parameters
    ----------
    scanner : `Scanner`
        Keeps the inbox true to the watched folders.
    intake : `Intake`
        Takes what is due into the repository.
    watcher : `Watcher`
        Makes the daemon prompt.
    pace : `Pace`
        How the loop goes.
    close : `~collections.abc.Callable`, optional
        Lets go of what they hold.
    """

    scanner: Scanner | NoScanner
    intake: Intake
    watcher: Watcher
    pace: Pace
    close: Callable[[], None] = lambda: None


def _no_reload() -> Parts:
    raise Fatal(Code.CONFIGURATION, "this process was not started from a configuration file")


class Daemon:
    """Looks, decides, ingests and tells, on one thread; others only post to its mailbox.

    Parameters
    ----------
    mailbox : `Mailbox`
        Where hints and the wish to stop arrive.
    inbox : `Inbox`
        The durable list of files.
    journal : `Journal`
        The way to write to it.
    parts : `Parts`
        What the configuration makes of it.
    completions : `Completions`
        Tells of visits that are complete.
    control : `Control`
        Hears what operators order.
    reporter : `Reporter`
        Tells operators and the service manager how it goes.
    clock : `Clock`
        The time.
    reload : `~collections.abc.Callable`, optional
        Reads the configuration again, and gives the parts that it makes; raises an `IngestdError` if it is
        wrong, and changes nothing then.
    """

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        inbox: Inbox,
        journal: Journal,
        parts: Parts,
        completions: Completions | NoCompletions,
        control: Control,
        reporter: Reporter,
        clock: Clock,
        reload: Callable[[], Parts] = _no_reload,
    ) -> None:
        self._mailbox = mailbox
        self._inbox = inbox
        self._journal = journal
        self._asked: tuple[object, bool] | None = None
        self._use(parts)
        self._reload = reload
        self._completions = completions
        self._control = control
        self._reporter = reporter
        self._clock = clock
        self._next_scan = self._last_scan = self._next_check = clock.now()
        self._health: Sequence[WatcherHealth] = ()
        self._scanned = False
        self._busy = True
        self._inbox_trouble: Trouble | None = None
        self._recovery_due = True
        self._scan_ordered = False
        self._swept: datetime | None = None
        self._next_due: datetime | None = None
        self._once = False
        self._ending: Ending | None = None
        self._failures = 0

    def run(self, *, once: bool = False) -> ExitCode:
        """Serve until asked to stop or, with ``once``, until nothing is left that can be done now.

        A repository that cannot be reached at the start is waited for, unless the daemon is to fail fast.

        Raises
        ------
        Fatal
            If the repository or the inbox cannot be used as they are, or the loop fails again and again.
        """
        self._once = once
        _log.info("daemon.started", once=once)
        if not once:
            self._watcher.start(self._mailbox.put)
        try:
            self._reporter.starting()
            ending = self._serve()
            self._give_back()
        except Fatal as error:
            bug = error.code is Code.BUG
            self._end(ExitCode.BUG if bug else ExitCode.CONFIGURATION, str(error))
            raise
        self._end(ending.code, ending.reason)
        return ending.code

    def tick(self, messages: Sequence[Message]) -> None:
        """Look where hints point, go on with the scan, and ingest one batch.

        Raises
        ------
        Outage, TryLater
            If the inbox does not answer. What was claimed then is put back to ready by the next tick.
        """
        if self._recovery_due:
            self._recover()
        self._obey()
        self._scanner.hinted([message for message in messages if isinstance(message, Hint)])
        if Blind.BLIND in messages:
            self._next_scan = min(self._next_scan, self._last_scan + BLIND_GAP)
        self._scan()
        self._busy = self._scanner.scanning
        if not self._busy:
            self._scanner.recheck(RECHECK_FILES)
        question = (self._inbox.edition(), self._intake.claiming)
        if question != self._asked or self._may_be_due():
            self._work()
            # What was written meanwhile makes it another question, which the next tick asks.
            self._asked = question
        self._ending = self._find_ending()
        self._report()

    def _may_be_due(self) -> bool:
        """Say whether there may be something to do though the inbox would be asked the same again."""
        waits = self._intake.outage or self._intake.waits
        return bool(waits) or (self._next_due is not None and self._next_due <= self._clock.now())

    def _work(self) -> None:
        """Read what is at rest, ingest one batch, and learn when the next file falls due."""
        if self._intake.reachable():
            read = self._scanner.settle(self._pace.batch_files)
            self._busy |= self._intake.work(read) or bool(read)
        self._intake.give_up_waiting()
        self._completions.tell()
        self._next_due = self._intake.next_due()

    def _use(self, parts: Parts) -> None:
        self._scanner = parts.scanner
        self._intake = parts.intake
        self._watcher = parts.watcher
        self._pace = parts.pace
        self._close_parts = parts.close
        self._asked = None

    def _renew(self) -> None:
        """Go on with the parts that the configuration makes now, or with those there are if it is wrong.

        What is being copied or compared is put back; the next scan finds what nobody watched in between.
        """
        try:
            parts = self._reload()
        except IngestdError as error:
            _log.error("reload.refused", code=error.code, error=str(error))
            self._reporter.reloaded(refused=str(error))
            return
        self._give_back()
        self._watcher.stop()
        self._close_parts()
        self._use(parts)
        if not self._once:
            self._watcher.start(self._mailbox.put)
        self._scan_ordered = True
        self._next_check = self._clock.now()
        _log.info("daemon.reloaded")
        self._reporter.reloaded()

    def _obey(self) -> None:
        """Do what operators have ordered."""
        for order in self._control.listen():
            if order.what is What.RESCAN:
                self._scanner.again(order.paths)
            if order.what in {What.RESCAN, What.DRAIN}:
                self._scan_ordered = True
        self._intake.claiming = not self._control.paused
        if drain := self._control.standing.draining:
            self._reporter.draining(f"draining, as ordered {said_by(drain)}")

    def _end(self, code: ExitCode, reason: str) -> None:
        self._reporter.stopping()
        self._watcher.stop()
        self._reporter.stopped(code, reason)
        _log.info("daemon.stopped", exit_code=int(code), reason=reason)

    def _serve(self) -> Ending:
        try:
            return self._turn()
        except Interrupted:
            _log.warning("daemon.interrupted")
            return Ending(ExitCode.DONE)

    def _turn(self) -> Ending:
        if self._pace.fail_fast and (rejected := next(self._inbox.in_state({State.REJECTED}), None)):
            return _failed_fast(rejected)
        # Before anything is claimed for it.
        self._intake.probe()
        if self._intake.outage:
            self._check_credentials(self._intake.outage.error)
            if self._pace.fail_fast:
                return self._given_up()
        while True:
            messages = self._messages()
            if Stop.STOP in messages:
                return Ending(ExitCode.DONE)
            if Reload.RELOAD in messages:
                self._renew()
            self._guarded_tick(messages)
            if self._pace.fail_fast and self._journal.last_rejected:
                return _failed_fast(self._journal.last_rejected)
            if self._once and self._troubles():
                return self._given_up()
            if self._ending:
                return self._ending

    def _check_credentials(self, error: IngestdError) -> None:
        """See that credentials are not wrong from the beginning; those that were right may be just replaced.

        Raises
        ------
        Fatal
            If they are refused, and nothing was ever ingested.
        """
        if error.code is Code.CREDENTIALS_REFUSED and not self._inbox.counts()[State.INGESTED]:
            raise Fatal(error.code, error.message, hint=error.hint) from error

    def _given_up(self) -> Ending:
        return Ending(ExitCode.TRY_AGAIN, "; ".join(str(trouble.error) for trouble in self._troubles()))

    def _messages(self) -> Sequence[Message]:
        """Take all messages there are, after waiting for one until something falls due."""
        messages: list[Message] = []
        try:
            messages.append(self._mailbox.get(timeout=self._idle_seconds()))
            while True:
                messages.append(self._mailbox.get(block=False))
        except queue.Empty:
            return messages

    def _idle_seconds(self) -> float:
        if self._failures:
            return float(min(2**self._failures, 60))
        if self._inbox_trouble:
            return self._pace.probe_interval.total_seconds()
        if self._busy:
            return 0.0
        now = self._clock.now()
        due = [now + HEARTBEAT, self._next_scan]
        if self._intake.outage:
            due.append(self._intake.next_probe)
        elif self._next_due:
            due.append(self._next_due)
        return max((min(due) - now).total_seconds(), 0.0)

    def _guarded_tick(self, messages: Sequence[Message]) -> None:
        """Tick, and survive an inbox that does not answer, and what nobody foresaw.

        A tick that ends early may leave files behind as being ingested, and hints that nobody followed; the
        next one begins with picking them up.
        """
        try:
            self.tick(messages)
        except Fatal:
            raise
        except (Outage, TryLater) as error:
            self._recovery_due = True
            self._lose_inbox(error)
            self._report()
        except Exception as error:
            self._recovery_due = True
            self._failures += 1
            _log.exception("tick.failed", failures=self._failures)
            if self._failures >= MAX_FAILURES:
                message = f"the loop failed {self._failures} times in a row: {error}"
                raise Fatal(Code.BUG, message, hint="the log has the tracebacks") from error
        else:
            self._failures = 0

    def _recover(self) -> None:
        """Pick up what a process that died, or a tick that failed, has left behind."""
        recovered = self._intake.recover()
        self._completions.recall()
        now = self._clock.now()
        self._recovery_due = False
        self._next_scan = min(self._next_scan, now)
        if self._inbox_trouble:
            _log.info("inbox.regained", seconds=(now - self._inbox_trouble.since).total_seconds())
            self._inbox_trouble = None
        if recovered:
            _log.warning("files.recovered", count=recovered)

    def _scan(self) -> None:
        now = self._clock.now()
        if not self._scanner.scanning and (self._scan_ordered or now >= self._next_scan):
            self._last_scan = now
            self._scan_ordered = False
            self._scanner.begin()
        if not self._scanner.scanning:
            return
        self._scanner.advance(SCAN_FILES)
        if self._scanner.scanning:
            return
        # A root that is away is asked for as often as a repository would be.
        pause = min(self._pace.rescan, self._pace.probe_interval)
        self._next_scan = self._clock.now() + (pause if self._scanner.obstructed else self._pace.rescan)
        if self._control.draining and not self._scan_ordered:
            self._swept = self._swept or self._clock.now()
        if not self._scanned:
            self._scanned = True
            self._reporter.running()
        self._intake.wake_known()

    def _give_back(self) -> None:
        """Put back what is in the lanes; where the inbox does not answer, the next start does so."""
        try:
            self._intake.put_back()
        except (Outage, TryLater) as error:
            self._lose_inbox(error)

    def _lose_inbox(self, error: Outage | TryLater) -> None:
        known = self._inbox_trouble
        if known is None or not known.is_known(error):
            _log.error("inbox.lost", code=error.code, error=str(error))
            self._inbox_trouble = Trouble(error, known.since if known else self._clock.now())

    def _troubles(self) -> Sequence[Trouble]:
        return [trouble for trouble in (self._inbox_trouble, self._intake.outage) if trouble]

    def _report(self) -> None:
        troubles = [*(trouble.error for trouble in self._troubles()), *self._scanner.troubles]
        now = self._clock.now()
        if now >= self._next_check:
            self._next_check = now + HEARTBEAT
            self._health = self._watcher.check()
        self._reporter.report(troubles, self._health, self._scanner.last_scan)

    def _find_ending(self) -> Ending | None:
        """Tell how it ends by itself, once a scan was made and nothing is left that can be done now."""
        if not self._scanned or self._scanner.scanning:
            return None
        drain, paused = self._control.standing.draining, self._control.standing.paused
        if drain and self._is_drained():
            return after_draining(drain, self._inbox.counts(), paused)
        return after_once(self._inbox.counts(), paused) if self._once else None

    def _is_drained(self) -> bool:
        """Say whether all was done that could be when a scan ended that began after the order."""
        if self._busy or self._intake.waits or self._swept is None:
            return False
        return self._clock.now() - self._swept >= self._pace.settle


def _failed_fast(record: FileRecord) -> Ending:
    reason = f"{path_text(record.path)}: {record.error}; retry or skip it, then start again"
    return Ending(ExitCode.FAILED_FAST, reason)
