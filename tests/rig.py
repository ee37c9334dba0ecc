"""The whole daemon on fakes, with weather: calls that crash the process before or after they take effect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from fakes import (
    BEGIN,
    FakeClock,
    FakeCopier,
    FakeCourier,
    FakeDisks,
    FakeFolder,
    FakeHeaders,
    FakeInbox,
    FakeMetrics,
    FakeNotifier,
    FakeRepository,
    FakeStatus,
    FakeWatcher,
)
from pfs_ingestd.completions import Completions
from pfs_ingestd.control import Control
from pfs_ingestd.herald import Herald
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.intake import Intake
from pfs_ingestd.journal import Journal
from pfs_ingestd.loop import Daemon, Pace, Parts
from pfs_ingestd.notices import Sender, Topic
from pfs_ingestd.policy import Patience
from pfs_ingestd.ports import Message, Stop
from pfs_ingestd.records import FileRecord, State
from pfs_ingestd.reporter import Reporter
from pfs_ingestd.scanner import Scanner
from pfs_ingestd.status import Process

PATIENCE = Patience(
    settle=timedelta(seconds=2),
    incomplete_after=timedelta(minutes=5),
    orphan_after=timedelta(hours=36),
    first_delay=timedelta(seconds=1),
    max_delay=timedelta(minutes=5),
    max_attempts=8,
)


class Crash(BaseException):
    """The process died."""


@dataclass
class Doom:
    """Lets the process die at one of the calls to come."""

    calls: int = -1
    after: bool = False

    def wrap(self, port: Any) -> Any:
        """Make a port at each call of which the process may die."""
        return _Doomed(port, self)

    def around(self, call: Callable[[], Any]) -> Any:
        if self.calls == 0 and not self.after:
            self.calls = -1
            raise Crash
        result = call()
        if self.calls == 0:
            self.calls = -1
            raise Crash
        if self.calls > 0:
            self.calls -= 1
        return result


class _Doomed:
    def __init__(self, port: Any, doom: Doom) -> None:
        self._port = port
        self._doom = doom

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method
        return lambda *args, **kwargs: self._doom.around(lambda: method(*args, **kwargs))


class Rig:
    """A disk, a repository and an inbox that outlive the daemon, and the daemon of the moment."""

    def __init__(
        self, *, batch_files: int = 100, fail_fast: bool = False, patience: Patience = PATIENCE
    ) -> None:
        self.clock = FakeClock()
        self.folder = FakeFolder(self.clock)
        self.headers = FakeHeaders(self.folder)
        self.repository = FakeRepository(self.folder)
        self.copier = FakeCopier(self.folder, self.repository)
        self.inbox = FakeInbox()
        self.watcher = FakeWatcher()
        self.notifier = FakeNotifier()
        self.status = FakeStatus()
        self.metrics = FakeMetrics()
        self.couriers: list[FakeCourier] = []
        self.topics = set(Topic)
        self.doom = Doom()
        self.patience = patience
        self.pace = Pace(
            rescan=timedelta(seconds=10),
            settle=patience.settle,
            probe_interval=timedelta(seconds=5),
            batch_files=batch_files,
            fail_fast=fail_fast,
        )
        self.mailbox: SimpleQueue[Message] = SimpleQueue()
        self.daemon = self._build()

    def restart(self) -> None:
        """Start the daemon afresh after the process died."""
        self.mailbox = SimpleQueue()
        self.copier.cancel()
        self.daemon = self._build()

    def tick(self, *messages: Message, after: timedelta = timedelta(0)) -> None:
        """Let time pass, then let the daemon tick."""
        self.clock.advance(after)
        self.daemon.tick(messages)

    def settle(self, *, until: timedelta = timedelta(minutes=30)) -> None:
        """Tick, twice in each second of fake time, until nothing is pending, or the time is over."""
        end = self.clock.now() + until
        while self.clock.now() < end:
            self.tick(after=timedelta(seconds=0.5))
            quiet = not any(
                self.inbox.counts()[state] for state in (State.SEEN, State.READY, State.INGESTING)
            )
            if quiet and self.clock.now() - BEGIN > 2 * self.pace.rescan:
                self.tick(after=2 * self.pace.rescan)
                if not any(self.inbox.counts()[s] for s in (State.SEEN, State.READY, State.INGESTING)):
                    return

    def reload(self) -> Parts:
        """Read the configuration again; a test gives the answer."""
        raise NotImplementedError

    def states(self) -> dict[Path, State]:
        """Tell the state of every file that the inbox knows."""
        return {record.path: record.state for record in self.records()}

    def record(self, path: Path) -> FileRecord:
        """Get the record of one file."""
        return self.inbox.find([path])[path]

    def records(self) -> Sequence[FileRecord]:
        """Get all records."""
        return list(self.inbox.in_state(set(State)))

    def _build(self) -> Daemon:
        inbox, folder, headers, repository, copier = map(
            self.doom.wrap, (self.inbox, self.folder, self.headers, self.repository, self.copier)
        )
        journal = Journal(inbox)
        control = Control(inbox, self.clock)
        herald = Herald(
            couriers=self.couriers,
            topics=self.topics,
            journal=journal,
            interval=timedelta(minutes=5),
            sender=Sender(host="summit", repository="/repo"),
            clock=self.clock,
        )
        reporter = Reporter(
            inbox=inbox,
            journal=journal,
            control=control,
            sink=self.status,
            metrics=self.metrics,
            disks=FakeDisks(),
            notifier=self.notifier,
            noticeboard=None,
            herald=herald,
            process=Process(
                pid=1, host="summit", program_version="1", repository="/repo", started=self.clock.now()
            ),
            clock=self.clock,
        )

        def parts() -> Parts:
            return Parts(
                scanner=Scanner(
                    folder=folder,
                    headers=headers,
                    inbox=inbox,
                    journal=journal,
                    repository=repository,
                    clock=self.clock,
                    patience=self.patience,
                ),
                intake=Intake(
                    inbox=inbox,
                    journal=journal,
                    ingester=Ingester(folder, headers, repository, self.clock, self.patience),
                    repository=repository,
                    copier=copier,
                    clock=self.clock,
                    patience=self.patience,
                    batch_files=self.pace.batch_files,
                    batch_bytes=10**9,
                    probe_interval=self.pace.probe_interval,
                ),
                watcher=self.watcher,
                pace=self.pace,
            )

        self.parts = parts
        self.parts_in_use = parts()
        return Daemon(
            mailbox=self.mailbox,
            inbox=inbox,
            journal=journal,
            parts=self.parts_in_use,
            completions=Completions(inbox, journal, self.clock),
            control=control,
            reporter=reporter,
            clock=self.clock,
            reload=lambda: self.reload(),  # noqa: PLW0108 (a test sets it later)
        )


class Impatient(Rig):
    """A rig to `run`: waiting for a message lets fake time pass, not real time."""

    def _build(self) -> Daemon:
        self.mailbox = _EmptyMailbox(self.clock)
        return super()._build()


class _EmptyMailbox:
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.stop_when: Callable[[], object] = lambda: False
        self.waits = 0

    def put(self, item: Message) -> None:
        raise AssertionError(item)

    def get(self, *, block: bool = True, timeout: float | None = None) -> Message:
        if block and self.stop_when():
            return Stop.STOP
        if block:
            self.waits += 1
            self._clock.advance(timedelta(seconds=timeout or 0.01))
        raise Empty

    def qsize(self) -> int:
        return 0
