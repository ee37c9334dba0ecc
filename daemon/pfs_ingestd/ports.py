"""What the loop needs of the outside world, in its own words; `adapters` provide it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from pfs_ingestd.errors import IngestdError
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.figures import Amount, Figures
from pfs_ingestd.history import Entry
from pfs_ingestd.orders import Order
from pfs_ingestd.records import FileRecord, Sighting, State
from pfs_ingestd.status import DiskRoom, Status, WorkerState

__all__ = [
    "Blind",
    "BoardSink",
    "Clock",
    "Comparison",
    "Copied",
    "Copier",
    "Copy",
    "Courier",
    "Dataset",
    "Delivery",
    "DiskRooms",
    "Folder",
    "FolderMark",
    "Header",
    "Headers",
    "Hint",
    "Inbox",
    "Listing",
    "Mailbox",
    "Message",
    "MetricsSink",
    "Notifier",
    "Outcome",
    "Reload",
    "Repository",
    "Rescue",
    "StatusSink",
    "Stop",
    "Stored",
    "Watcher",
    "WatcherHealth",
    "WorkerName",
]

Header: TypeAlias = RawHeader | ConfigHeader


@dataclass(frozen=True, slots=True)
class Hint:
    """Something happened to a path.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file or folder.
    closed : `bool`
        Whether its writer is known to be done with it: it was closed, or renamed to this name.
    """

    path: Path
    closed: bool


class Stop(Enum):
    """The daemon is asked to stop."""

    STOP = auto()


class Blind(Enum):
    """The watcher may have missed something: only a scan can tell."""

    BLIND = auto()


class Reload(Enum):
    """The configuration is to be read again."""

    RELOAD = auto()


class Copied(Enum):
    """A copy or a comparison has come to its end: the copier has it."""

    COPIED = auto()


Message: TypeAlias = Hint | Stop | Blind | Copied | Reload


class Mailbox(Protocol):
    """The one way into the loop; `queue.SimpleQueue` is one."""

    def put(self, item: Message) -> None:
        """Post a message; never waits, and is safe in a signal handler."""

    def get(self, *, block: bool = True, timeout: float | None = None) -> Message:
        """Take the next message; raise `queue.Empty` when there is none in time."""

    def qsize(self) -> int:
        """Count the messages, approximately."""


class Clock(Protocol):
    """Time and chance."""

    def now(self) -> datetime:
        """Tell the time, aware, UTC."""

    def random(self) -> float:
        """Draw a number in [0, 1)."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


@dataclass(frozen=True, slots=True)
class FolderMark:
    """What is remembered of a folder between two scans.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Absolute path.
    mtime_ns : `int`
        Its time of change when it was last listed.
    settled : `bool`
        Whether that time lay so far back that nothing can have been added within the same tick of the file
        server's clock: an unchanged time then means unchanged names.
    """

    folder: Path
    mtime_ns: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder of a watched tree, as a scan found it.

    Parameters
    ----------
    mark : `FolderMark`
        To be remembered once the files are in the inbox.
    names : `frozenset` [`str`]
        The names in it that are ours.
    """

    mark: FolderMark
    names: frozenset[str]


class Folder(Protocol):
    """The watched folders, looked at."""

    def scan(self, marks: Mapping[Path, FolderMark]) -> Iterator[Listing | None]:
        """List the folders whose contents may have changed since they were marked, newest night first.

        Yields
        ------
        listing : `Listing` or `None`
            `None` now and then while there is nothing to say, so that a scan can be left between two folders.

        Raises
        ------
        Outage
            If a watched root cannot be read.
        """

    def missing(self) -> Collection[Path]:
        """Tell which marked folders the last scan did not come to."""

    def look(self, path: Path) -> Sighting | None:
        """Look at one file; `None` if it is not there or not ours.

        Raises
        ------
        TryLater
            If the file system does not answer.
        Outage
            If it does not answer for the file's whole folder.
        """

    def costs(self) -> Mapping[Path, float]:
        """Tell for how many seconds the last scan was at each root."""

    def problems(self) -> Mapping[Path, IngestdError]:
        """Tell which folders the last scan could not read, and why."""

    def beneath(self, path: Path) -> Sequence[Path]:
        """Expand a hint: the path itself if it is a file, our files below it if it is a folder."""


class Headers(Protocol):
    """The files themselves, read."""

    def read(self, sightings: Sequence[Sighting]) -> Sequence[Header | IngestdError]:
        """Walk over each file's structure and read what its header says.

        Returns
        -------
        answers : `~collections.abc.Sequence`
            One for each file: its header, or `Incomplete`, `Vanished`, `Rejected`, `TryLater` or, where its
            whole folder cannot be read, `Outage`.
        """

    def exposure(self, header: RawHeader) -> Exposure:
        """Make the exposure record that this header describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of comparing a file with what is stored under its data ID.

    Parameters
    ----------
    seen : `~pfs_ingestd.records.Sighting`
        The file, as it was compared.
    artifact : `str`
        URI of what is stored.
    mark : `str`, optional
        Of which artifact it is true, in words of the repository; empty if there was none any more.
    same : `bool`, optional
        Whether they have the same bytes.
    error : `~pfs_ingestd.errors.IngestdError` or `None`
        Why they could not be compared; the reasons are those of `Repository.ingest`.
    """

    seen: Sighting
    artifact: str
    mark: str = ""
    same: bool = False
    error: IngestdError | None = None

    @property
    def source(self) -> Path:
        """The file."""
        return self.seen.path


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file and what it says of itself, ready to be stored.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    header : `Header`
        What it says.
    seen : `~pfs_ingestd.records.Sighting` or `None`
        The file as it was when it said so; no other in its place is stored. `None` takes what is there.
    copy : `str` or `None`
        URI of a copy of it, or of another name for it, that a `Copier` made for the repository to take.
    comparison : `Comparison` or `None`
        What a `Copier` found that compared it with what is stored; true as long as both are what they were.
    """

    path: Path
    header: Header
    seen: Sighting | None = None
    copy: str | None = None
    comparison: Comparison | None = None


class Stored(StrEnum):
    """What became of a dataset."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    CONFLICT = "conflict"
    NO_EXPOSURE = "no exposure"
    TO_BE_COPIED = "to be copied"
    TO_BE_COMPARED = "to be compared"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dataset.

    Parameters
    ----------
    result : `Stored`
        The fact.
    dataset_id : `str`
        UUID of the dataset under this data ID.
    where : `str`
        URI of the stored artifact; of one that is to be copied, the folder on whose disk, or in whose store,
        the copy has to be.
    """

    result: Stored
    dataset_id: str = ""
    where: str = ""


class Repository(Protocol):
    """The Butler repository."""

    def designs(self, visits: Collection[int]) -> Mapping[int, int]:
        """Look up the exposure records of some visits: visit -> pfs_design_id, absent where there is none.

        Raises
        ------
        Outage
            If the repository does not answer.
        """

    def ingest(self, exposures: Sequence[Exposure], datasets: Sequence[Dataset]) -> Sequence[Outcome]:
        """Register the exposure records that are new and store the datasets: all, or it raises and none is.

        Parameters
        ----------
        exposures : `~collections.abc.Sequence` [`Exposure`]
            Records for the visits that have none yet.
        datasets : `~collections.abc.Sequence` [`Dataset`]
            Raws and pfsConfigs, of any number of visits.

        Returns
        -------
        outcomes : `~collections.abc.Sequence` [`Outcome`]
            One for each dataset. A file whose data ID is taken by the same bytes is ``ALREADY_THERE``, by
            other bytes a ``CONFLICT``, and the stored one is not touched; a pfsConfig whose visit has no
            exposure record is ``NO_EXPOSURE``; one of which a copy has to be made, and that would take long,
            is ``TO_BE_COPIED``; one of the size of what is stored under its data ID, if it takes long to
            read both, is ``TO_BE_COMPARED``. They do not keep the others from being stored. A visit of which
            all raws are to be copied is not registered yet.

        Raises
        ------
        Rejected
            If one of the datasets cannot be stored, ever.
        TryLater
            If it may go better next time.
        Outage
            If nothing can be stored now.
        """

    def stored(self, sightings: Sequence[Sighting]) -> Mapping[Path, str]:
        """Find out which files of a backlog the repository has already, each as that very file.

        Parameters
        ----------
        sightings : `~collections.abc.Sequence` [`~pfs_ingestd.records.Sighting`]
            The files; their names say what they are.

        Returns
        -------
        stored : `~collections.abc.Mapping` [`~pathlib.Path`, `str`]
            UUID of the dataset, for each file that is its artifact: under another name (a hard link), through
            a link that leads to the file, or as it is. Of other files nothing is said: they may be stored.

        Raises
        ------
        Outage, TryLater, Rejected
            If the repository does not answer, or not to this question.
        """

    def moved(self, record: FileRecord) -> str | None:
        """Find the dataset that a file went into which is no longer where it was claimed.

        Returns
        -------
        dataset_id : `str` or `None`
            UUID of the dataset, if the repository removes the files that it stores, and has one of this name
            and size; else `None`.

        Raises
        ------
        Outage
            If the repository does not answer.
        """

    def probe(self) -> None:
        """Ask whether the repository can be written to.

        Raises
        ------
        Outage
            If it cannot.
        Fatal
            If it is not a repository that can be used.
        """


@dataclass(frozen=True, slots=True)
class Copy:
    """What became of a file that was to be copied.

    Parameters
    ----------
    source : `~pathlib.Path`
        The file.
    where : `str` or `None`
        URI of the copy: durable, and of the very file that was to be copied.
    error : `~pfs_ingestd.errors.IngestdError` or `None`
        Why there is none; the reasons are those of `Repository.ingest`.
    """

    source: Path
    where: str | None = None
    error: IngestdError | None = None


class Copier(Protocol):
    """Copies and compares large files beside the loop, and posts `Copied.COPIED` at the end of each."""

    def room(self) -> int | None:
        """Tell up to what size, in bytes, a file would not have to wait for many others; `None`: any."""

    def left(self) -> int:
        """Tell how many bytes of small files may be given to it before `room` has none for them."""

    def copy(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Copy a file to a disk or store, one that arrived just now before all others.

        Parameters
        ----------
        sighting : `~pfs_ingestd.records.Sighting`
            The file as it has to be.
        where : `str`
            What the repository said; see `Outcome`.
        live : `bool`
            Whether it arrived just now.
        """

    def compare(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Compare a file with what is stored, one that arrived just now before all others.

        Parameters
        ----------
        sighting, live
            See `copy`.
        where : `str`
            URI of the artifact.
        """

    def finished(self) -> AbstractContextManager[Sequence[Copy | Comparison]]:
        """Lend what has come to its end; a copy that the repository has not taken is removed then."""

    def cancel(self) -> None:
        """End all copies and comparisons, and forget them, those too that are lent."""


@dataclass(frozen=True, slots=True)
class WorkerName:
    """Who works on an inbox that several processes share.

    Parameters
    ----------
    name : `str`
        What its operator calls it.
    host : `str`
        The machine it runs on.
    pid : `int`
        Number of the process.
    watches : `bool`
        Whether it looks after the watched folders; one process does.
    """

    name: str
    host: str
    pid: int
    watches: bool


class Rescue(NamedTuple):
    """What was found of workers that gave no sign of life.

    Parameters
    ----------
    workers : `~collections.abc.Sequence` [`~pfs_ingestd.status.WorkerState`]
        Who they were.
    files : `int`
        How many files were put back to ready.
    """

    workers: Sequence[WorkerState]
    files: int


class Inbox(Protocol):
    """The durable list of files. Each call is one transaction."""

    def recover(self, now: datetime) -> int:
        """Put what was being ingested when the last process died back to ready; say how many.

        What other living processes are at work on is left to them.
        """

    def edition(self) -> object:
        """Tell what compares equal as long as nobody, this process included, has written to the inbox.

        As long as it does, the same question has the same answer. It may differ without a cause.
        """

    def find(self, paths: Collection[Path]) -> Mapping[Path, FileRecord]:
        """Get the records of some paths, where there are any."""

    def names(self, folder: Path) -> Mapping[str, State]:
        """Get the names known directly in a folder, and their states."""

    def add(self, records: Sequence[FileRecord]) -> None:
        """Insert records of paths that have none."""

    def replace(self, changes: Sequence[tuple[FileRecord, FileRecord]]) -> None:
        """Replace old records by new ones, each only where path, state and attempts are still the old ones.

        Raises
        ------
        StaleRecord
            If one is not; then none is replaced.
        """

    def due(
        self, state: State, now: datetime, limit: int, *, largest: int | None = None
    ) -> Sequence[FileRecord]:
        """Get records in a state that are due: live ones first, then the newest visit first.

        If a size is given, files that are larger are left out.
        """

    def reserve(
        self, now: datetime, limit: int, *, largest: int | None = None, keep: Collection[int] = frozenset()
    ) -> Sequence[FileRecord]:
        """Get ready records that are due, in the order of `due`, and keep others from their visits.

        Parameters
        ----------
        now, limit, largest
            As of `due`; where others share the inbox, visits are whole, which may be a few files more.
        keep : `~collections.abc.Collection` [`int`]
            Visits that stay reserved; all others that were are let go.

        Raises
        ------
        Outage
            If others have taken over what this process held.
        """

    def release(self, keep: Collection[int] = frozenset()) -> None:
        """Let go of the visits that are reserved, but for some."""

    def rescue(self, now: datetime) -> Rescue:
        """Put back to ready what others held who have given no sign of life for too long."""

    def touched(self) -> Collection[int]:
        """Take note, once, of the visits of which other processes have ingested files."""

    def workers(self) -> Sequence[WorkerState]:
        """Tell which processes share the inbox, if it can be shared."""

    def next_due(self, states: Collection[State]) -> datetime | None:
        """Tell when the next record in one of these states falls due: its `not_before`, or `updated`."""

    def of_visits(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        """Get the pfsConfig records of some visits in some states."""

    def in_state(
        self, states: Collection[State], *, since: datetime | None = None, live: bool = False
    ) -> Iterator[FileRecord]:
        """Go through all records in some states, or only those that arrived since a time, or live."""

    def counts(self) -> Mapping[State, int]:
        """Count the records in each state; every state has an entry."""

    def oldest(self, states: Collection[State]) -> datetime | None:
        """Tell the earliest `steady_since` among the records in some states."""

    def ingested(self, since: datetime, before: datetime, slot: timedelta) -> Mapping[datetime, Amount]:
        """Sum up what was ingested from one time to another, by the begin of each slot since 1970.

        What the repository had already is left out, and what was changed since.
        """

    def whole_visits(self, visits: Collection[int]) -> Sequence[FileRecord]:
        """Get all records of some visits."""

    def history(self, paths: Collection[Path]) -> Mapping[Path, Sequence[Entry]]:
        """Get what did not go smoothly with some files, oldest first; nothing of those of which all did.

        It is written with the records, in the same transaction, and the newest `~pfs_ingestd.history.KEPT`
        entries of each file are kept; see `~pfs_ingestd.history.entry_of`.
        """

    def complete(self, visits: Collection[int], now: datetime) -> Collection[int]:
        """Remember for ever that some visits are complete; say of which of them that is new."""

    def newest_night(self, until: date) -> date | None:
        """Tell the last night, up to one, of which there are raws."""

    def of_night(self, night: date, visits: int) -> Sequence[FileRecord]:
        """Get all records of so many visits, the newest of those of which any file is of a night."""

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders."""

    def mark(self, marks: Collection[FolderMark]) -> None:
        """Remember folders."""

    def forget(self, folders: Collection[Path]) -> None:
        """Forget remembered folders, so that the next scan lists them again."""

    def give_order(self, order: Order) -> Order:
        """Write down what an operator wants of the daemon, and give it its number.

        The newest `~pfs_ingestd.orders.KEPT_ORDERS` are kept, and the newest pause or resume, however old.
        """

    def orders(self, after: int) -> Sequence[Order]:
        """Get the orders that were given after the one of this number, oldest first; after 0: all.

        Each process that is at work asks once a second, with the number of the last order that it heard; see
        `~pfs_ingestd.orders.Standing`. No order comes to light later than one with a higher number.
        """


@dataclass(frozen=True, slots=True)
class WatcherHealth:
    """How a root is being watched.

    Parameters
    ----------
    root : `~pathlib.Path`
        The watched root.
    mode : `str`
        ``inotify`` or ``poll``.
    healthy : `bool`
        Whether events arrive; a polled root is always healthy.
    reason : `str`
        Why not.
    """

    root: Path
    mode: str
    healthy: bool
    reason: str = ""


class Watcher(Protocol):
    """What makes the daemon prompt."""

    def start(self, post: Callable[[Message], None]) -> None:
        """Begin to post hints."""

    def check(self) -> Sequence[WatcherHealth]:
        """See that every root is still watched; revive what died, and post `Blind.BLIND` when any was."""

    def stop(self) -> None:
        """Post no more."""


class Notifier(Protocol):
    """The service manager."""

    def ready(self) -> None:
        """Say that the service is up."""

    def alive(self, status: str) -> None:
        """Say that the loop turns, and what it is doing."""

    def stopping(self) -> None:
        """Say that the service is going down."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notification.

    Parameters
    ----------
    error : `str`, optional
        Why it was not delivered, without secrets; empty if it was.
    """

    error: str = ""


class Courier(Protocol):
    """Takes notifications to a program or a server, one at a time and beside the loop."""

    @property
    def hook(self) -> str:
        """Which setting asks for it: ``command`` or ``webhook``."""

    @property
    def to(self) -> str:
        """Where it goes, without secrets."""

    def send(self, text: str) -> None:
        """Begin to deliver a notification; never waits. The one before must have come to its end."""

    def result(self, seconds: float = 0.0) -> Delivery | None:
        """Tell what became of it; `None` if there is none, or not after having waited so long."""

    def cancel(self) -> None:
        """End what is under way."""


class DiskRooms(Protocol):
    """The disks that the daemon writes to."""

    def room(self) -> Sequence[DiskRoom]:
        """Tell how much room there is on each, without waiting for one that does not answer."""


class BoardSink(Protocol):
    """Where people look in the morning."""

    def write(self, page: str) -> None:
        """Replace the night board as a whole.

        Raises
        ------
        TryLater
            If it cannot be written.
        """


class MetricsSink(Protocol):
    """Where programs look."""

    def write(self, status: Status, figures: Figures) -> None:
        """Replace the metrics as a whole.

        Raises
        ------
        TryLater
            If they cannot be written.
        """


class StatusSink(Protocol):
    """Where operators look."""

    def write(self, status: Mapping[str, object]) -> None:
        """Replace the status as a whole; a reader never sees half of one.

        Raises
        ------
        TryLater
            If it cannot be written.
        """
