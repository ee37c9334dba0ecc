"""The daemon: one mailbox, one loop, one bounded batch a tick."""

import queue
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pfs_ingestd.errors import Code, ExitCode, Fatal, IngestdError, Interrupted, Outage, TryLater
from pfs_ingestd.ingester import Ingester, ReadFile
from pfs_ingestd.journal import Journal
from pfs_ingestd.policy import Patience, batch, spent
from pfs_ingestd.ports import (
    Blind,
    Clock,
    Hint,
    Inbox,
    Mailbox,
    Message,
    Repository,
    Stop,
    Watcher,
    WatcherHealth,
)
from pfs_ingestd.records import PENDING, FileRecord, Kind, State, path_text
from pfs_ingestd.reporter import Reporter
from pfs_ingestd.scanner import Scanner

__all__ = ["Daemon", "Pace"]

HEARTBEAT = timedelta(seconds=1)
"""The longest wait between two ticks: what another process writes to the inbox is noticed by then."""

BLIND_GAP = timedelta(seconds=5)
"""The shortest time between the beginnings of two scans, so that overflows cannot make a loop of scans."""

SCAN_FILES = 1000
"""About how many new files a scan may bring in one tick."""

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
        How often an unreachable repository is probed, and an unreachable root looked for.
    batch_files, batch_bytes : `int`
        Bounds of a batch.
    fail_fast : `bool`
        Whether the first rejected file stops the daemon.
    """

    rescan: timedelta
    probe_interval: timedelta
    batch_files: int
    batch_bytes: int
    fail_fast: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something does not work, and since when."""

    error: IngestdError
    since: datetime


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
    scanner : `Scanner`
        Keeps it true to the watched folders.
    ingester : `Ingester`
        Takes batches into the repository.
    repository : `Repository`
        Asked whether it is back after an outage, and which visits it knows.
    watcher : `Watcher`
        Makes the daemon prompt.
    reporter : `Reporter`
        Tells operators and the service manager how it goes.
    clock : `Clock`
        Time and chance.
    patience : `Patience`
        How long to wait for what.
    pace : `Pace`
        How the loop goes.
    """

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        inbox: Inbox,
        journal: Journal,
        scanner: Scanner,
        ingester: Ingester,
        repository: Repository,
        watcher: Watcher,
        reporter: Reporter,
        clock: Clock,
        patience: Patience,
        pace: Pace,
    ) -> None:
        self._mailbox = mailbox
        self._inbox = inbox
        self._journal = journal
        self._scanner = scanner
        self._ingester = ingester
        self._repository = repository
        self._watcher = watcher
        self._reporter = reporter
        self._clock = clock
        self._patience = patience
        self._pace = pace
        self._next_scan = self._last_scan = self._next_probe = self._next_check = clock.now()
        self._health: Sequence[WatcherHealth] = ()
        self._scanned = False
        self._busy = True
        self._outage: Trouble | None = None
        self._inbox_trouble: Trouble | None = None
        self._recovery_due = True
        self._next_due: datetime | None = None
        self._finished: ExitCode | None = None
        self._failed_fast: FileRecord | None = None
        self._failures = 0

    def run(self, *, once: bool = False) -> ExitCode:
        """Serve until asked to stop or, with ``once``, until nothing is left that can be done now.

        A repository that cannot be reached at the start is waited for, unless the daemon is to fail fast.

        Raises
        ------
        Fatal
            If the repository or the inbox cannot be used as they are, or the loop fails again and again.
        """
        _log.info("daemon.started", once=once)
        if not once:
            self._watcher.start(self._mailbox.put)
        try:
            code = self._serve(once=once)
        except Interrupted:
            _log.warning("daemon.interrupted")
            code = ExitCode.DONE
        except Fatal as error:
            bug = error.code is Code.BUG
            self._end(ExitCode.BUG if bug else ExitCode.CONFIGURATION, str(error))
            raise
        reason = ""
        if self._failed_fast:
            path = path_text(self._failed_fast.path)
            reason = f"{path}: {self._failed_fast.error}; retry or skip it, then start again"
        elif code is ExitCode.TRY_AGAIN:
            reason = "; ".join(str(t.error) for t in (self._inbox_trouble, self._outage) if t)
        self._end(code, reason)
        return code

    def tick(self, messages: Sequence[Message]) -> None:
        """Look where hints point, go on with the scan, and ingest one batch.

        Raises
        ------
        Outage, TryLater
            If the inbox does not answer. What was claimed then is put back to ready by the next tick.
        """
        if self._recovery_due:
            self._recover()
        self._scanner.hinted([message for message in messages if isinstance(message, Hint)])
        if Blind.BLIND in messages:
            self._next_scan = min(self._next_scan, self._last_scan + BLIND_GAP)
        self._scan()
        self._busy = self._scanner.scanning
        if not self._busy:
            self._scanner.recheck(RECHECK_FILES)
        if self._reachable():
            self._work()
        self._give_up_waiting()
        self._next_due = None if self._outage else self._inbox.next_due({State.SEEN, State.READY})
        self._finished = self._is_finished()
        self._report()

    def _end(self, code: ExitCode, reason: str) -> None:
        self._reporter.stopping()
        self._watcher.stop()
        self._reporter.stopped(code, reason)
        _log.info("daemon.stopped", exit_code=int(code), reason=reason)

    def _serve(self, *, once: bool) -> ExitCode:
        if self._pace.fail_fast and (rejected := next(self._inbox.in_state({State.REJECTED}), None)):
            self._failed_fast = rejected
            return ExitCode.FAILED_FAST
        self._begin()
        if self._pace.fail_fast and self._outage:
            return ExitCode.TRY_AGAIN
        while True:
            messages = self._messages()
            if Stop.STOP in messages:
                return ExitCode.DONE
            self._guarded_tick(messages)
            if self._pace.fail_fast and self._journal.last_rejected:
                self._failed_fast = self._journal.last_rejected
                return ExitCode.FAILED_FAST
            if once and (self._outage or self._inbox_trouble):
                return ExitCode.TRY_AGAIN
            if once and self._finished is not None:
                return self._finished

    def _begin(self) -> None:
        """Learn whether the repository can be used, before anything is claimed for it."""
        try:
            self._repository.probe()
        except Outage as error:
            self._pause(error)

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
        if self._outage:
            due.append(self._next_probe)
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
            self._inbox_trouble = self._troubled(self._inbox_trouble, error, "inbox.lost")
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
        now = self._clock.now()
        recovered = self._inbox.recover(now)
        self._recovery_due = False
        self._next_scan = min(self._next_scan, now)
        if self._inbox_trouble:
            _log.info("inbox.regained", seconds=(now - self._inbox_trouble.since).total_seconds())
            self._inbox_trouble = None
        if recovered:
            _log.warning("files.recovered", count=recovered)

    def _scan(self) -> None:
        now = self._clock.now()
        if not self._scanner.scanning and now >= self._next_scan:
            self._last_scan = now
            self._scanner.begin()
        if not self._scanner.scanning:
            return
        self._scanner.advance(SCAN_FILES)
        if self._scanner.scanning:
            return
        # A root that is away is asked for as often as a repository would be.
        pause = min(self._pace.rescan, self._pace.probe_interval)
        self._next_scan = self._clock.now() + (pause if self._scanner.obstructed else self._pace.rescan)
        if not self._scanned:
            self._scanned = True
            self._reporter.running()
        self._wake_known()

    def _reachable(self) -> bool:
        """Say whether the repository may be used, after probing it if it was not and the time has come."""
        if self._outage is None:
            return True
        now = self._clock.now()
        if now < self._next_probe:
            return False
        try:
            self._repository.probe()
        except Outage as error:
            self._pause(error)
            return False
        _log.info(
            "outage.ended", code=self._outage.error.code, seconds=(now - self._outage.since).total_seconds()
        )
        self._outage = None
        return True

    def _pause(self, error: Outage) -> None:
        self._outage = self._troubled(self._outage, error, "outage.began")
        self._next_probe = self._clock.now() + self._pace.probe_interval

    def _troubled(self, known: Trouble | None, error: Outage | TryLater, event: str) -> Trouble:
        """Remember a trouble with the time of its beginning, and tell of it once."""
        if known and known.error.code == error.code:
            return known
        _log.error(event, code=error.code, error=str(error))
        return Trouble(error, known.since if known else self._clock.now())

    def _work(self) -> None:
        """Read what is at rest, then ingest one batch of what is ready."""
        read = self._scanner.settle(self._pace.batch_files)
        due = self._inbox.due(State.READY, self._clock.now(), self._pace.batch_files)
        now = self._clock.now()
        exhausted = [record for record in due if record.attempts >= self._patience.max_attempts]
        self._journal.move((record, spent(record, now)) for record in exhausted)
        ready = batch([record for record in due if record not in exhausted], self._pace.batch_bytes)
        self._busy = self._busy or bool(read or due)
        self._ingest(ready, read)

    def _ingest(self, ready: Sequence[FileRecord], read: Mapping[Path, ReadFile]) -> None:
        """Claim and ingest records, then the pfsConfigs that waited for the visits among them."""
        now = self._clock.now()
        claimed = self._journal.move((record, record.claimed(now)) for record in ready)
        if not claimed:
            return
        try:
            successors = self._ingester.ingest(claimed, read)
        except (Outage, Interrupted) as error:
            now = self._clock.now()
            self._journal.move((record, record.put_back(now)) for record in claimed)
            if isinstance(error, Interrupted):
                raise
            self._pause(error)
            return
        moved = self._journal.move(zip(claimed, successors, strict=True))
        raws = {r.visit for r in moved if r.kind is Kind.RAW and r.state is State.INGESTED}
        self._ingest(self._woken(raws, {State.WAITING, State.ORPHANED}), {})

    def _wake_known(self) -> None:
        """Wake the pfsConfigs whose visits someone else has brought into the repository."""
        if self._outage:
            return
        visits = {record.visit for record in self._inbox.in_state({State.WAITING})}
        try:
            known = self._repository.designs(visits) if visits else {}
        except Outage as error:
            self._pause(error)
        else:
            self._woken(known.keys(), {State.WAITING})

    def _woken(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        waiting = self._inbox.of_visits(visits, states) if visits else ()
        now = self._clock.now()
        return self._journal.move((record, record.ready(now)) for record in waiting)

    def _give_up_waiting(self) -> None:
        now = self._clock.now()
        overdue = self._inbox.due(State.WAITING, now, self._pace.batch_files)
        self._journal.move((record, record.orphaned(now)) for record in overdue)

    def _report(self) -> None:
        lost = [trouble.error for trouble in (self._inbox_trouble, self._outage) if trouble]
        troubles = [*lost, *self._scanner.troubles]
        now = self._clock.now()
        if now >= self._next_check:
            self._next_check = now + HEARTBEAT
            self._health = self._watcher.check()
        self._reporter.report(troubles, self._health, self._scanner.last_scan)

    def _is_finished(self) -> ExitCode | None:
        """Tell how it ended, once a scan was made and every file has come to a state in which it can stay."""
        if not self._scanned or self._scanner.scanning:
            return None
        counts = self._inbox.counts()
        if any(counts[state] for state in PENDING):
            return None
        return ExitCode.SOME_REJECTED if counts[State.REJECTED] else ExitCode.DONE
