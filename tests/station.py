"""The daemon on real folders and real headers, with fake time, and a repository that keeps bytes."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fakes import FakeClock, FakeDisks, FakeInbox, FakeNotifier, FakeStatus, FakeWatcher
from pfs_ingestd.adapters.folder import WatchedFolder
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.repository.copying import copy_file
from pfs_ingestd.completions import Completions
from pfs_ingestd.control import Control
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.exposure import Exposure, RawHeader
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.intake import Intake
from pfs_ingestd.journal import Journal
from pfs_ingestd.loop import Daemon, Pace, Parts
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.policy import Patience
from pfs_ingestd.ports import Copy, Dataset, Header, Hint, Message, Outcome, Stored
from pfs_ingestd.records import FileRecord, Kind, Sighting, State
from pfs_ingestd.reporter import Reporter
from pfs_ingestd.scanner import Scanner
from pfs_ingestd.status import Process
from rig import PATIENCE

__all__ = ["KeepingRepository", "Station"]

_UNDONE = {State.SEEN, State.READY, State.INGESTING}


class KeepingRepository:
    """The repository port: it keeps the bytes of each dataset, under its data ID.

    Parameters
    ----------
    copies : `bool`, optional
        Whether it wants a copy of each file, instead of reading the file itself.
    """

    def __init__(self, *, copies: bool = False) -> None:
        self._copies = copies
        self.exposures: dict[int, Exposure] = {}
        self.kept: dict[tuple[object, ...], bytes] = {}

    def designs(self, visits: Collection[int]) -> Mapping[int, int]:
        """Look up exposures."""
        return {visit: self.exposures[visit].pfs_design_id for visit in visits if visit in self.exposures}

    def ingest(self, exposures: Sequence[Exposure], datasets: Sequence[Dataset]) -> Sequence[Outcome]:
        """Keep the bytes that are at the paths now: all, or none."""
        if self._copies and not all(dataset.copy for dataset in datasets):
            return [Outcome(Stored.TO_BE_COPIED, where="kept:///") for _ in datasets]
        try:
            contents = [_content(dataset) for dataset in datasets]
        except OSError as error:
            raise TryLater(Code.STORE_FAILED, f"it cannot be read: {error.strerror}") from error
        self.exposures |= {exposure.id: exposure for exposure in exposures}
        return [
            self._keep(_data_id(dataset.header), content)
            for dataset, content in zip(datasets, contents, strict=True)
        ]

    def probe(self) -> None:
        """Be there."""

    def stored(self, _sightings: Sequence[Sighting]) -> Mapping[Path, str]:
        """Keep no file itself."""
        return {}

    def moved(self, _record: FileRecord) -> str | None:
        """Take no file away."""
        return None

    def _keep(self, data_id: tuple[object, ...], content: bytes) -> Outcome:
        kept = self.kept.setdefault(data_id, content)
        if kept is content:
            result = Stored.STORED
        else:
            result = Stored.ALREADY_THERE if kept == content else Stored.CONFLICT
        return Outcome(result, f"id of {data_id}", f"kept:///{data_id}")


class Station:
    """A watched folder and a daemon whose watcher is blind.

    Parameters
    ----------
    root : `~pathlib.Path`
        The watched folder.
    around : `~collections.abc.Callable`, optional
        Wraps the folder, the headers and the repository, each as they are given to the daemon.
    follow_links : `bool`, optional
        Whether links to files outside of the root are followed.
    copies : `~pathlib.Path` or `None`, optional
        A folder for copies, if the repository asks for them.
    """

    def __init__(
        self,
        root: Path,
        *,
        around: Callable[[Any], Any] = lambda port: port,
        follow_links: bool = False,
        copies: Path | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.root = root
        self.clock = FakeClock(datetime.now(UTC))
        self.inbox = FakeInbox()
        self.repository = KeepingRepository(copies=copies is not None)
        self.copier = StationCopier(copies)
        self.status = FakeStatus()
        self.patience = patience
        self.reads = 0
        self._around = around
        self._follow_links = follow_links
        self.restart()

    def restart(self) -> None:
        """Start the daemon afresh."""
        folder = self._around(
            WatchedFolder(
                {self.root: tuple(Kind)},
                parse=parse,
                monotonic=lambda: self.clock.now().timestamp(),
                follow_links=self._follow_links,
            )
        )
        headers, repository = self._around(_Counting(self)), self._around(self.repository)
        copier = self._around(self.copier)
        journal = Journal(self.inbox)
        control = Control(self.inbox, self.clock)
        self.daemon = Daemon(
            mailbox=SimpleQueue(),
            inbox=self.inbox,
            journal=journal,
            parts=Parts(
                scanner=Scanner(
                    folder=folder,
                    headers=headers,
                    inbox=self.inbox,
                    journal=journal,
                    repository=repository,
                    clock=self.clock,
                    patience=self.patience,
                ),
                intake=Intake(
                    inbox=self.inbox,
                    journal=journal,
                    ingester=Ingester(folder, headers, repository, self.clock, self.patience),
                    repository=repository,
                    copier=copier,
                    clock=self.clock,
                    patience=self.patience,
                    batch_files=100,
                    batch_bytes=10**9,
                    probe_interval=timedelta(seconds=5),
                ),
                watcher=FakeWatcher((self.root,)),
                pace=Pace(
                    rescan=timedelta(seconds=10),
                    settle=self.patience.settle,
                    probe_interval=timedelta(seconds=5),
                    batch_files=100,
                    fail_fast=False,
                ),
            ),
            completions=Completions(self.inbox, journal, self.clock),
            control=control,
            reporter=Reporter(
                noticeboard=None,
                herald=None,
                inbox=self.inbox,
                journal=journal,
                control=control,
                sink=self.status,
                metrics=None,
                disks=FakeDisks(),
                notifier=FakeNotifier(),
                process=Process(
                    pid=1, host="summit", program_version="1", repository="/repo", started=self.clock.now()
                ),
                clock=self.clock,
            ),
            clock=self.clock,
        )

    def tick(self, *messages: Message, after: timedelta = timedelta(0)) -> None:
        """Let time pass, then let the daemon tick."""
        self.clock.advance(after)
        self.daemon.tick(messages)

    def closed(self, path: Path) -> None:
        """Tell the daemon that a file was closed."""
        self.tick(Hint(path, closed=True))

    def settle(self, *, until: timedelta = timedelta(minutes=30)) -> None:
        """Tick every two seconds until a scan has found nothing new and nothing is undone."""
        end = self.clock.now() + until
        self.tick(after=timedelta(seconds=11))
        while self.clock.now() < end and any(self.inbox.counts()[state] for state in _UNDONE):
            self.tick(after=timedelta(seconds=2))

    def record(self, path: Path) -> FileRecord:
        """Get the record of one file."""
        return self.inbox.find([path])[path]

    def states(self) -> dict[str, State]:
        """Tell the state of every file, by its name."""
        return {record.path.name: record.state for record in self.inbox.in_state(set(State))}


class StationCopier:
    """The copier port, without threads: a file is copied when its copy is asked for.

    Parameters
    ----------
    folder : `~pathlib.Path` or `None`
        Where copies go; `None` if none is ever wanted.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._wanted: list[Sighting] = []

    def room(self) -> int | None:
        """Have room for any."""
        return None

    def left(self) -> int:
        """Have room for many."""
        return 10**9

    def copy(self, sighting: Sighting, _where: str, *, live: bool) -> None:  # noqa: ARG002 (of the port)
        """Take note of a file to be copied."""
        self._wanted.append(sighting)

    def compare(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Never be asked to."""
        raise NotImplementedError

    @contextmanager
    def finished(self) -> Iterator[Sequence[Copy]]:
        """Copy what is wanted, and lend the copies."""
        wanted, self._wanted = self._wanted, []
        copies = [self._copy(sighting) for sighting in wanted]
        try:
            yield copies
        finally:
            for copy in copies:
                if copy.where:
                    Path(copy.where).unlink()

    def cancel(self) -> None:
        """Forget what was to be copied."""
        self._wanted.clear()

    def _copy(self, sighting: Sighting) -> Copy:
        assert self._folder is not None
        path = self._folder / sighting.path.name
        path.touch()
        try:
            copy_file(sighting.path, path, seen=sighting)
        except OSError as error:
            return Copy(sighting.path, error=TryLater(Code.STORE_FAILED, str(error.strerror)))
        except TryLater as error:
            return Copy(sighting.path, error=error)
        return Copy(sighting.path, str(path))


class _Counting:
    """The headers port, reads counted."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._headers = FitsHeaders()

    def read(self, sightings: Sequence[Any]) -> Sequence[Any]:
        self._station.reads += len(sightings)
        return self._headers.read(sightings)

    def exposure(self, header: RawHeader) -> Exposure:
        return self._headers.exposure(header)


def _content(dataset: Dataset) -> bytes:
    content, now = Path(dataset.copy or dataset.path).read_bytes(), dataset.path.stat()
    seen = dataset.seen
    if seen and (now.st_size, now.st_mtime_ns, now.st_ino) != (seen.size, seen.mtime_ns, seen.inode):
        raise TryLater(Code.RACE, "it changed while it was being stored")
    return content


def _data_id(header: Header) -> tuple[object, ...]:
    if isinstance(header, RawHeader):
        return header.visit, header.arm, header.spectrograph
    return (header.visit,)
