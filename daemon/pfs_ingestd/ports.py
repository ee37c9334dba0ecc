"""What the loop needs of the outside world, in its own words; `adapters` provide it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Protocol, TypeAlias

from pfs_ingestd.errors import IngestdError
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.records import FileRecord, Sighting, State

__all__ = [
    "Blind",
    "Clock",
    "Dataset",
    "Folder",
    "FolderMark",
    "Header",
    "Headers",
    "Hint",
    "Inbox",
    "Listing",
    "Mailbox",
    "Message",
    "Notifier",
    "Outcome",
    "Repository",
    "StatusSink",
    "Stop",
    "Stored",
    "Watcher",
    "WatcherHealth",
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


Message: TypeAlias = Hint | Stop | Blind


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

    def scan(self, marks: Mapping[Path, FolderMark]) -> Iterator[Listing]:
        """List the folders whose contents may have changed since they were marked, newest night first.

        Raises
        ------
        Outage
            If a watched root cannot be read.
        """

    def look(self, path: Path) -> Sighting | None:
        """Look at one file; `None` if it is not there or not ours.

        Raises
        ------
        TryLater
            If the file system does not answer.
        Outage
            If it does not answer for the file's whole folder.
        """

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
    """

    path: Path
    header: Header
    seen: Sighting | None = None


class Stored(StrEnum):
    """What became of a dataset."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    CONFLICT = "conflict"
    NO_EXPOSURE = "no exposure"


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
        URI of the stored artifact.
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
            exposure record is ``NO_EXPOSURE``. They do not keep the others from being stored.

        Raises
        ------
        Rejected
            If one of the datasets cannot be stored, ever.
        TryLater
            If it may go better next time.
        Outage
            If nothing can be stored now.
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


class Inbox(Protocol):
    """The durable list of files. Each call is one transaction."""

    def recover(self, now: datetime) -> int:
        """Put what was being ingested when the last process died back to ready; say how many."""

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

    def due(self, state: State, now: datetime, limit: int) -> Sequence[FileRecord]:
        """Get records in a state that are due: live ones first, then the newest visit first."""

    def next_due(self, states: Collection[State]) -> datetime | None:
        """Tell when the next record in one of these states falls due: its `not_before`, or `updated`."""

    def of_visits(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        """Get the pfsConfig records of some visits in some states."""

    def in_state(self, states: Collection[State], *, since: datetime | None = None) -> Iterator[FileRecord]:
        """Go through all records in some states, those only that arrived since a time if one is given."""

    def counts(self) -> Mapping[State, int]:
        """Count the records in each state; every state has an entry."""

    def oldest(self, states: Collection[State]) -> datetime | None:
        """Tell the earliest `steady_since` among the records in some states."""

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders."""

    def mark(self, mark: FolderMark) -> None:
        """Remember a folder."""

    def forget(self, folders: Collection[Path]) -> None:
        """Forget remembered folders, so that the next scan lists them again."""


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


class StatusSink(Protocol):
    """Where operators look."""

    def write(self, status: Mapping[str, object]) -> None:
        """Replace the status as a whole; a reader never sees half of one.

        Raises
        ------
        TryLater
            If it cannot be written.
        """
