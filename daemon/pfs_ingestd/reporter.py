"""Tells operators, programs and the service manager how it goes, as often as is good."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pfs_ingestd.control import Control
from pfs_ingestd.endings import said_by
from pfs_ingestd.errors import ExitCode, Fatal, IngestdError, Outage, TryLater
from pfs_ingestd.figures import SLOT, lately, memory
from pfs_ingestd.herald import Herald
from pfs_ingestd.journal import Journal
from pfs_ingestd.noticeboard import Noticeboard
from pfs_ingestd.ports import Clock, DiskRooms, Inbox, MetricsSink, Notifier, StatusSink, WatcherHealth
from pfs_ingestd.records import PENDING, State
from pfs_ingestd.status import (
    Condition,
    HookHealth,
    Phase,
    Process,
    ScanCost,
    Settings,
    Status,
    WorkerState,
    summarise,
)

__all__ = ["Reporter"]

SHORTEST = timedelta(seconds=1)
"""The status is not written more often than this while only numbers change."""

LONGEST = timedelta(seconds=10)
"""The status is written at least this often: an older heartbeat means that nobody is at work."""

_AT_WORK = frozenset({Phase.STARTING, Phase.RUNNING, Phase.DEGRADED})

_log = structlog.get_logger()


class Reporter:
    """Writes status and metrics when something changed, and keeps the service manager informed.

    Parameters
    ----------
    inbox : `Inbox`
        Where the counts come from.
    journal : `Journal`
        Knows the last files, and what was done with all of them.
    control : `Control`
        Knows what operators have ordered.
    sink : `StatusSink`
        Where the status goes.
    metrics : `MetricsSink` or `None`
        Where the metrics go, if anybody wants them.
    disks : `DiskRooms`
        The disks that the daemon writes to.
    notifier : `Notifier`
        The service manager.
    noticeboard : `Noticeboard` or `None`
        Puts the night board up, if anybody wants it.
    herald : `Herald` or `None`
        Has others told of what happens, if anybody wants to know.
    process : `Process`
        Who speaks.
    settings : `Settings`, optional
        Which configuration holds; by default one that was read from no file.
    clock : `Clock`
        The time.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        journal: Journal,
        control: Control,
        sink: StatusSink,
        metrics: MetricsSink | None,
        disks: DiskRooms,
        notifier: Notifier,
        noticeboard: Noticeboard | None,
        herald: Herald | None,
        process: Process,
        settings: Settings | None = None,
        clock: Clock,
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._control = control
        self._sink = sink
        self._metrics = metrics
        self._disks = disks
        self._notifier = notifier
        self._noticeboard = noticeboard
        self._herald = herald
        self._process = process
        self._settings = settings or Settings(file="", loaded=process.started)
        self._clock = clock
        self._condition = Condition(phase=Phase.STARTING, since=clock.now())
        self._health: Sequence[WatcherHealth] = ()
        self._scan: ScanCost | None = None
        self._scanned: dict[Path, datetime] = {}
        self._reported_at = clock.now()
        self._told_at = clock.now() - LONGEST
        self._told: object = None
        self._alive_at = self._told_at
        self._changes = 0
        self._counts: Mapping[State, int] = {}
        self._oldest_pending: datetime | None = None
        self._workers: Sequence[WorkerState] = ()
        self._remembered = False
        self._sentence = str(Phase.STARTING)
        self._unwritable: set[str] = set()

    def starting(self) -> None:
        """Say that there is a daemon, which may have to wait before it can do anything."""
        self._write(())

    def running(self) -> None:
        """Say that the first scan is done."""
        if self._condition.phase is not Phase.STOPPING:
            self._become(Phase.RUNNING)
        self._notifier.ready()

    def reloaded(self, refused: str = "") -> None:
        """Say that the configuration was read again, and why what is in it was refused, if it was."""
        self._settings = self._settings.answered(self._clock.now(), refused)

    def draining(self, reason: str) -> None:
        """Say that the daemon stops as soon as it can; the service manager is told when it does."""
        self._become(Phase.STOPPING, reason)

    def report(
        self, troubles: Sequence[IngestdError], health: Sequence[WatcherHealth], scan: ScanCost | None
    ) -> None:
        """Tell how it goes, unless that was told just now.

        Parameters
        ----------
        troubles : `~collections.abc.Sequence` [`IngestdError`]
            What does not work at present.
        health : `~collections.abc.Sequence` [`WatcherHealth`]
            How each root is watched.
        scan : `ScanCost` or `None`
            The last scan.
        """
        self._count_up(troubles, health, scan)
        if self._herald:
            self._herald.renew(troubles)
        age = self._clock.now() - self._told_at
        failing = [(hook.hook, hook.reason) for hook in self._hooks() if hook.failures]
        codes = [error.code for error in troubles]
        worth_telling = (
            self._condition.phase,
            codes,
            health,
            failing,
            self._control.standing,
            self._settings,
        )
        changed = worth_telling != self._told
        if changed or age >= LONGEST or (age >= SHORTEST and self._journal.changes != self._changes):
            self._told = worth_telling
            self._write([str(error) for error in troubles])
        if self._clock.now() - self._alive_at >= SHORTEST:
            self._alive_at = self._clock.now()
            self._notifier.alive(self._sentence)
        if self._noticeboard:
            self._noticeboard.renew()

    def stopping(self) -> None:
        """Say that the daemon is going down."""
        self._become(Phase.STOPPING)
        self._notifier.stopping()
        self._write(())

    def stopped(self, code: ExitCode, reason: str = "") -> None:
        """Say that the daemon has come to its end, and how."""
        if self._herald:
            self._herald.close()
        failed = code not in {ExitCode.DONE, ExitCode.SOME_REJECTED}
        self._become(Phase.FAILED if failed else Phase.STOPPED, reason)
        self._write(())
        if self._noticeboard:
            self._noticeboard.renew(last=True)

    def _count_up(
        self, troubles: Sequence[IngestdError], health: Sequence[WatcherHealth], scan: ScanCost | None
    ) -> None:
        """Take note of how it goes, and of the time that has passed."""
        now = self._clock.now()
        figures = self._journal.figures
        figures.troubled([error.code for error in troubles], now - self._reported_at)
        self._reported_at = now
        self._health = health
        if scan and scan is not self._scan:
            figures.scanned(scan.seconds, scan.folders)
            self._scanned |= {each.root: scan.at for each in health if each.root not in scan.unread}
        self._scan = scan

    def _count(self) -> None:
        """Ask the inbox for its numbers; while it does not answer, the last ones stand.

        An inbox that is unusable stops the daemon, but does not keep it from saying that it stops.
        """
        try:
            if not self._remembered:
                started = self._process.started
                earlier = self._inbox.ingested(memory(self._clock.now()), started, SLOT)
                self._journal.figures.remember(earlier)
                self._remembered = True
            self._counts, self._oldest_pending = self._inbox.counts(), self._inbox.oldest(PENDING)
            self._workers = self._inbox.workers()
            if len(self._workers) > 1:
                now = self._clock.now()
                self._journal.figures.retell(self._inbox.ingested(lately(now), now, SLOT))
        except (Fatal, Outage, TryLater) as error:
            if isinstance(error, Fatal) and self._condition.phase in _AT_WORK:
                raise
            _log.debug("status.outdated", code=error.code, error=str(error))

    def _hooks(self) -> Sequence[HookHealth]:
        return self._herald.health() if self._herald else ()

    def _become(self, phase: Phase, reason: str = "") -> None:
        self._condition = self._condition.become(phase, reason, self._clock.now())

    def _write(self, troubles: Sequence[str]) -> None:
        """Write status and metrics; a full disk is no reason to stop ingesting, but is told once."""
        self._count()
        figures = self._journal.figures
        status = summarise(
            self._condition,
            now=self._clock.now(),
            process=self._process,
            standing=self._control.standing,
            settings=self._settings,
            troubles=troubles,
            watchers=self._health,
            scan=self._scan,
            scanned=self._scanned,
            counts=self._counts,
            oldest_pending=self._oldest_pending,
            throughput=figures.throughput(self._clock.now()),
            disks=self._disks.room(),
            workers=self._workers,
            hooks=self._hooks(),
            last_ingested=self._journal.last_ingested,
            last_rejected=self._journal.last_rejected,
            last_changed=self._journal.last_changed,
        )
        self._condition = status.condition
        self._sentence = _sentence(status)
        self._told_at = status.heartbeat
        self._changes = self._journal.changes
        self._try("status.unwritable", lambda: self._sink.write(status.as_json()))
        if metrics := self._metrics:
            self._try("metrics.unwritable", lambda: metrics.write(status, figures))

    def _try(self, event: str, write: Callable[[], None]) -> None:
        try:
            write()
        except TryLater as error:
            if event not in self._unwritable:
                _log.warning(event, code=error.code, error=str(error))
            self._unwritable.add(event)
        else:
            self._unwritable.discard(event)


def _sentence(status: Status) -> str:
    """Sum the status up in one line, for `systemctl status`."""
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    reason = f": {status.condition.reason}" if status.condition.reason else ""
    pause = f", paused {said_by(status.standing.paused)}" if status.standing.paused else ""
    return f"{status.condition.phase}{pause}{reason} ({counts or 'no files yet'})"
