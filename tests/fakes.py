"""The ports in memory: simple, and true to what the ports promise."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pfs_ingestd.errors import (
    Code,
    Incomplete,
    IngestdError,
    Outage,
    Rejected,
    StaleRecord,
    TryLater,
    Vanished,
)
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.figures import Amount, Figures
from pfs_ingestd.history import KEPT, Entry, continued, entry_of, recovered
from pfs_ingestd.orders import KEPT_ORDERS, STANDING, Order
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import (
    Blind,
    Clock,
    Comparison,
    Copier,
    Copy,
    Courier,
    Dataset,
    Delivery,
    DiskRooms,
    Folder,
    FolderMark,
    Header,
    Headers,
    Hint,
    Inbox,
    Listing,
    Message,
    MetricsSink,
    Notifier,
    Outcome,
    Repository,
    Rescue,
    StatusSink,
    Stored,
    Watcher,
    WatcherHealth,
)
from pfs_ingestd.records import FileRecord, Kind, Sighting, State, path_text
from pfs_ingestd.status import DiskRoom, Status, WorkerState

__all__ = [
    "BEGIN",
    "ROOT",
    "Artifact",
    "Content",
    "FakeClock",
    "FakeCopier",
    "FakeCourier",
    "FakeDisks",
    "FakeFile",
    "FakeFolder",
    "FakeHeaders",
    "FakeInbox",
    "FakeMetrics",
    "FakeNotifier",
    "FakeRepository",
    "FakeStatus",
    "FakeWatcher",
    "config_header",
    "config_path",
    "raw_header",
    "raw_path",
]

BEGIN = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
"""When fake time begins."""

ROOT = Path("/data/raw")
"""The folder that is watched where a test names no other."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FakeClock:
    """Time that passes when it is told to, and chance without surprises.

    Parameters
    ----------
    now : `~datetime.datetime`, optional
        The time to begin with.
    chance : `float`, optional
        What `random` always draws.
    """

    def __init__(self, now: datetime = BEGIN, *, chance: float = 0.0) -> None:
        self._now = now
        self.chance = chance

    def now(self) -> datetime:
        """Tell the time."""
        return self._now

    def random(self) -> float:
        """Draw the number set."""
        return self.chance

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by


class FakeInbox:
    """The inbox port in memory."""

    def __init__(self) -> None:
        self._records: dict[Path, FileRecord] = {}
        self._folders: dict[Path, int] = {}
        self._marks: dict[Path, FolderMark] = {}
        self._complete: set[int] = set()
        self._orders: list[Order] = []
        self._numbers = count(1)
        self._history: dict[Path, list[Entry]] = {}
        self._edition = 0

    def recover(self, now: datetime) -> int:
        """Put what was being ingested back to ready."""
        self._edition += 1
        dead = [record for record in self._records.values() if record.state is State.INGESTING]
        self._records |= {record.path: record.to(State.READY, now) for record in dead}
        for record in dead:
            self._remember(record.path, recovered(record.attempts, record.size, now))
        return len(dead)

    def find(self, paths: Collection[Path]) -> Mapping[Path, FileRecord]:
        """Get the records of some paths."""
        return {path: self._records[path] for path in paths if path in self._records}

    def names(self, folder: Path) -> Mapping[str, State]:
        """Get the names known in a folder, and their states."""
        return {path.name: record.state for path, record in self._records.items() if path.parent == folder}

    def add(self, records: Sequence[FileRecord]) -> None:
        """Insert records of paths that have none."""
        self._edition += 1
        new = {record.path: _checked(record) for record in records}
        if len(new) < len(records) or new.keys() & self._records.keys():
            raise StaleRecord(Code.STALE, "one of the paths has a record")
        for path in new:
            self._folders.setdefault(path.parent, len(self._folders))
        self._records |= new
        for record in records:
            self._remember(record.path, entry_of(None, record))

    def replace(self, changes: Sequence[tuple[FileRecord, FileRecord]]) -> None:
        """Replace old records by new ones: all, or none."""
        self._edition += 1
        successors = {old.path: _checked(new) for old, new in changes}
        if len(successors) < len(changes) or any(path != new.path for path, new in successors.items()):
            raise ValueError("each path is replaced once, by a record of the same path")
        for old, _ in changes:
            now = self._records.get(old.path)
            if now is None or (now.state, now.attempts) != (old.state, old.attempts):
                raise StaleRecord(Code.STALE, f"the record has been changed meanwhile: {old.path}")
        self._records |= successors
        for old, new in changes:
            self._remember(old.path, entry_of(old, new))

    def due(
        self, state: State, now: datetime, limit: int, *, largest: int | None = None
    ) -> Sequence[FileRecord]:
        """Get records that are due: live ones first, then the newest visit first, then by name."""
        _aware(now)
        due = [
            record
            for record in self._records.values()
            if record.state is state
            and (record.not_before is None or record.not_before <= now)
            and (largest is None or record.size <= largest)
        ]
        return sorted(due, key=self._turn)[:limit]

    def reserve(
        self,
        now: datetime,
        limit: int,
        *,
        largest: int | None = None,
        keep: Collection[int] = frozenset(),  # noqa: ARG002 (of the port)
    ) -> Sequence[FileRecord]:
        """Get ready records that are due: nobody else would take them."""
        return self.due(State.READY, now, limit, largest=largest)

    def release(self, keep: Collection[int] = frozenset()) -> None:
        """Let go of what nobody is kept from."""

    def rescue(self, now: datetime) -> Rescue:
        """Find that nobody else has died."""
        _aware(now)
        return Rescue((), 0)

    def edition(self) -> object:
        """Tell what changes with each call that writes."""
        return self._edition

    def touched(self) -> Collection[int]:
        """Find that nobody else has ingested anything."""
        return ()

    def workers(self) -> Sequence[WorkerState]:
        """Find that nobody shares this inbox."""
        return ()

    def next_due(self, states: Collection[State]) -> datetime | None:
        """Tell when the next record in one of these states falls due."""
        return min((record.not_before or record.updated for record in self._in(states)), default=None)

    def of_visits(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        """Get the pfsConfig records of some visits in some states."""
        return [
            record for record in self._in(states) if record.kind is Kind.PFS_CONFIG and record.visit in visits
        ]

    def in_state(
        self, states: Collection[State], *, since: datetime | None = None, live: bool = False
    ) -> Iterator[FileRecord]:
        """Go through records in some states, state by state, in the order of their arrival."""
        for state in sorted(states):
            for record in sorted(self._in({state}), key=lambda record: record.steady_since):
                if (since is None or record.steady_since >= since) and (record.live or not live):
                    yield record

    def counts(self) -> Mapping[State, int]:
        """Count the records in each state."""
        counted = Counter(record.state for record in self._records.values())
        return {state: counted[state] for state in State}

    def oldest(self, states: Collection[State]) -> datetime | None:
        """Tell the earliest `steady_since` among the records in some states."""
        return min((record.steady_since for record in self._in(states)), default=None)

    def ingested(self, since: datetime, before: datetime, slot: timedelta) -> Mapping[datetime, Amount]:
        """Sum up what was ingested, by the begin of each slot."""
        sums: dict[datetime, Amount] = {}
        for record in self._in({State.INGESTED}):
            if since <= record.updated < before and not (record.code or record.changed):
                begin = record.updated - (record.updated - _EPOCH) % slot
                sums[begin] = sums.get(begin, Amount()).plus(Amount(1, record.size))
        return sums

    def whole_visits(self, visits: Collection[int]) -> Sequence[FileRecord]:
        """Get all records of some visits."""
        return [record for record in self._records.values() if record.visit in visits]

    def history(self, paths: Collection[Path]) -> Mapping[Path, Sequence[Entry]]:
        """Get what did not go smoothly with some files."""
        return {path: list(self._history[path]) for path in paths if path in self._history}

    def complete(self, visits: Collection[int], now: datetime) -> Collection[int]:
        """Remember that some visits are complete; say of which that is new."""
        self._edition += 1
        _aware(now)
        new = set(visits) - self._complete
        self._complete |= new
        return new

    def newest_night(self, until: date) -> date | None:
        """Tell the last night, up to one, of which there are raws."""
        raws = (record for record in self._records.values() if record.kind is Kind.RAW)
        return max((raw.night for raw in raws if raw.night <= until), default=None)

    def of_night(self, night: date, visits: int) -> Sequence[FileRecord]:
        """Get all records of the newest visits of which any file is of a night."""
        numbers = {record.visit for record in self._records.values() if record.night == night}
        newest = sorted(numbers, reverse=True)[:visits]
        return [record for record in self._records.values() if record.visit in newest]

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders."""
        return dict(self._marks)

    def mark(self, marks: Collection[FolderMark]) -> None:
        """Remember folders."""
        self._edition += 1
        for mark in marks:
            self._folders.setdefault(mark.folder, len(self._folders))
            self._marks[mark.folder] = mark

    def forget(self, folders: Collection[Path]) -> None:
        """Forget remembered folders."""
        self._edition += 1
        for folder in folders:
            self._marks.pop(folder, None)

    def _remember(self, path: Path, entry: Entry | None) -> None:
        if entry is None:
            return
        entries = self._history.setdefault(path, [])
        if again := continued(entry, entries[-1] if entries else None):
            entries[-1] = again
        else:
            self._history[path] = [*entries, entry][-KEPT:]

    def give_order(self, order: Order) -> Order:
        """Write down what an operator wants, and give it its number."""
        self._edition += 1
        _aware(order.at)
        numbered = replace(order, number=next(self._numbers))
        standing = [each for each in [*self._orders, numbered] if each.what in STANDING][-1:]
        young = [each for each in self._orders if each.number > numbered.number - KEPT_ORDERS]
        kept = {each.number: each for each in [*standing, *young, numbered]}
        self._orders = [kept[number] for number in sorted(kept)]
        return numbered

    def orders(self, after: int) -> Sequence[Order]:
        """Get the orders that were given after one, oldest first."""
        return [order for order in self._orders if order.number > after]

    def _in(self, states: Collection[State]) -> list[FileRecord]:
        return [record for record in self._records.values() if record.state in states]

    def _turn(self, record: FileRecord) -> tuple[bool, int, str, int]:
        name = path_text(Path(record.path.name))
        return not record.live, -record.visit, name, self._folders[record.path.parent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is in a file; equal contents are the same bytes.

    Parameters
    ----------
    answer : `Header` or `IngestdError`
        What reading the whole file gives.
    size : `int`, optional
        Bytes of the whole file.
    version : `str`, optional
        Tells apart contents of the same header.
    """

    answer: Header | IngestdError
    size: int = 1000
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeFile:
    """A file on the fake disk; several names may lead to it."""

    content: Content
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def complete(self) -> bool:
        """Whether it has come to the end that its headers announce."""
        return self.size == self.content.size


class FakeFolder:
    """The folder port on a tree in memory, and what others do in that tree.

    Parameters
    ----------
    clock : `FakeClock`
        The clock of the file server.
    roots : `~collections.abc.Sequence` [`~pathlib.Path`], optional
        The watched folders; they are there from the beginning.
    tick : `~datetime.timedelta`, optional
        How coarse the times of folders are: a name added within the tick of a listing does not change them.
    """

    def __init__(
        self, clock: FakeClock, roots: Sequence[Path] = (ROOT,), *, tick: timedelta = timedelta(seconds=1)
    ) -> None:
        self.files: dict[Path, FakeFile] = {}
        self.folders: dict[Path, int] = {}
        self.unreadable: set[Path] = set()
        self._clock = clock
        self._roots = roots
        self._tick_ns = _nanoseconds_of(tick)
        self._inodes = count(1)
        self._problems: dict[Path, IngestdError] = {}
        self._missing: Sequence[Path] = ()
        for root in roots:
            self.make_folder(root)

    def make_folder(self, path: Path) -> None:
        """Make a folder, and those above it."""
        for folder in (*reversed(path.parents), path):
            if folder not in self.folders:
                self.folders[folder] = self._coarse_now()
                self._touch_folder(folder.parent)

    def write(
        self, path: Path, content: Content, *, size: int | None = None, mtime: datetime | None = None
    ) -> None:
        """Write a file, or the first bytes of it; one that is there is written over in place.

        Parameters
        ----------
        path : `~pathlib.Path`
            The file; its folder is made if need be.
        content : `Content`
            What is in it, once it is complete.
        size : `int`, optional
            Bytes written so far; by default all.
        mtime : `~datetime.datetime`, optional
            Time of change to give it, as a copying program does; by default now.
        """
        now = _nanoseconds(self._clock.now())
        old = self.files.get(path)
        written = FakeFile(
            content=content,
            size=content.size if size is None else size,
            mtime_ns=now if mtime is None else _nanoseconds(mtime),
            ctime_ns=now,
            inode=old.inode if old else next(self._inodes),
        )
        if old is None:
            self._enter(path, written)
        else:
            self._change(old, written)

    def grow(self, path: Path, size: int) -> None:
        """Go on writing, up to so many bytes."""
        self.write(path, self.files[path].content, size=size)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file or a folder; a file of the new name is replaced."""
        moved = [path for path in self.files if _below(path, old)]
        for path in moved:
            file = self.files.pop(path)
            self._enter(new / path.relative_to(old), file)
        if moved == [old]:
            self._touch_inode(new)
        for folder in [folder for folder in self.folders if _below(folder, old)]:
            self.folders[new / folder.relative_to(old)] = self.folders.pop(folder)
        self._touch_folder(old.parent)
        self._touch_folder(new.parent)

    def link(self, old: Path, new: Path) -> None:
        """Give a file another name beside the one it has."""
        self._enter(new, self.files[old])
        self._touch_inode(new)

    def delete(self, path: Path) -> None:
        """Delete a file, or a folder with all that is below it."""
        self.files = {each: file for each, file in self.files.items() if not _below(each, path)}
        self.folders = {each: time for each, time in self.folders.items() if not _below(each, path)}
        self._touch_folder(path.parent)

    def readable(self, path: Path) -> bool:
        """Say whether neither the path nor a folder above it is unreadable."""
        return self.unreadable.isdisjoint((path, *path.parents))

    def scan(self, marks: Mapping[Path, FolderMark]) -> Iterator[Listing | None]:
        """List the folders that changed since they were marked; at the end fail for unreadable roots."""
        self._problems = {}
        visited = set()
        watched = {folder for folder in self.folders if self._watched(folder)}
        for folder in sorted(watched, reverse=True):
            mtime_ns = self.folders.get(folder)
            if mtime_ns is None:
                continue
            if not self.readable(folder):
                self._problems[folder] = TryLater(Code.BUSY, f"{folder} cannot be read")
                continue
            visited.add(folder)
            if marks.get(folder) == FolderMark(folder, mtime_ns, settled=True):
                yield None
                continue
            mark = FolderMark(folder, mtime_ns, settled=self._coarse_now() > mtime_ns)
            names = frozenset(
                path.name for path in self.files if path.parent == folder and parse(path.name) is not None
            )
            yield Listing(mark, names)
        self._missing = [folder for folder in marks if folder not in visited]
        for root in self._roots:
            if root not in self.folders or not self.readable(root):
                raise Outage(Code.ROOT_UNREACHABLE, f"{root} cannot be read", hint="see that it is mounted")

    def costs(self) -> Mapping[Path, float]:
        """Take no time."""
        return dict.fromkeys(self._roots, 0.0)

    def missing(self) -> Collection[Path]:
        """Tell which marked folders the last scan did not come to."""
        return self._missing

    def problems(self) -> Mapping[Path, IngestdError]:
        """Tell which folders the last scan could not read."""
        return dict(self._problems)

    def look(self, path: Path) -> Sighting | None:
        """Look at one file."""
        name = parse(path.name)
        if name is None or not self._watched(path.parent):
            return None
        if not self.readable(path.parent):
            raise TryLater(Code.BUSY, f"{path.parent} cannot be read")
        file = self.files.get(path)
        if file is None:
            return None
        return Sighting(
            path=path,
            name=name,
            size=file.size,
            mtime_ns=file.mtime_ns,
            ctime_ns=file.ctime_ns,
            inode=file.inode,
        )

    def beneath(self, path: Path) -> Sequence[Path]:
        """Expand a hint."""
        if path in self.files:
            return [path]
        return [
            each
            for each in sorted(self.files)
            if _below(each, path) and self._watched(each.parent) and parse(each.name) is not None
        ]

    def _watched(self, folder: Path) -> bool:
        return any(
            _below(folder, root) and not any(part.startswith(".") for part in folder.relative_to(root).parts)
            for root in self._roots
        )

    def _enter(self, path: Path, file: FakeFile) -> None:
        self.make_folder(path.parent)
        self.files[path] = file
        self._touch_folder(path.parent)

    def _change(self, old: FakeFile, new: FakeFile) -> None:
        """Change a file under all its names."""
        self.files |= {path: new for path, file in self.files.items() if file.inode == old.inode}

    def _touch_inode(self, path: Path) -> None:
        file = self.files[path]
        self._change(file, replace(file, ctime_ns=_nanoseconds(self._clock.now())))

    def _touch_folder(self, folder: Path) -> None:
        if folder in self.folders:
            self.folders[folder] = self._coarse_now()

    def _coarse_now(self) -> int:
        now = _nanoseconds(self._clock.now())
        return now - now % self._tick_ns


class FakeHeaders:
    """The headers port: what reading a file gives is written in its `Content`.

    Parameters
    ----------
    folder : `FakeFolder`
        Where the files are.
    """

    def __init__(self, folder: FakeFolder) -> None:
        self.read_paths: list[Path] = []
        self._folder = folder

    def read(self, sightings: Sequence[Sighting]) -> Sequence[Header | IngestdError]:
        """Read files."""
        self.read_paths += [sighting.path for sighting in sightings]
        return [self._read(sighting) for sighting in sightings]

    def exposure(self, header: RawHeader) -> Exposure:
        """Make an exposure record in which all that matters is what the header says."""
        return Exposure(
            instrument=header.instrument,
            id=header.visit,
            obs_id=str(header.visit),
            group_id=header.visit,
            seq_num=header.visit,
            pfs_design_id=header.pfs_design_id,
            dither=header.dither,
            shift=None,
            focus=None,
            begin_ns=header.visit * 1_000_000_000,
            end_ns=header.visit * 1_000_000_000,
            day_obs=20261122,
            exposure_time=0.0,
            dark_time=None,
            observation_type="bias",
            observation_reason="calibration",
            science_program="unknown",
            group_name="",
            target_name=None,
            tracking_ra=None,
            tracking_dec=None,
            zenith_angle=None,
            lamps="",
            irp_ratio=None,
        )

    def _read(self, sighting: Sighting) -> Header | IngestdError:
        path = sighting.path
        file = self._folder.files.get(path)
        if file is None:
            return Vanished(Code.VANISHED, f"{path} is not there")
        if not self._folder.readable(path):
            return TryLater(Code.BUSY, f"{path} cannot be read")
        if not _shows(sighting, file):
            return Incomplete(Code.INCOMPLETE, f"{path} changed while it was looked at")
        if not file.complete:
            return Incomplete(Code.INCOMPLETE, f"{path} has {file.size} of {file.content.size} bytes")
        return file.content.answer


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored dataset: the bytes as they were, and the file that they came from."""

    dataset_id: str
    where: str
    source: Path
    content: Content
    size: int
    inode: int

    @property
    def mark(self) -> str:
        """Which artifact it is."""
        return f"{self.inode} {self.size}"


class FakeRepository:
    """The repository port in memory; it copies what it stores.

    Parameters
    ----------
    folder : `FakeFolder`
        Where the files are.

    Attributes
    ----------
    exposures : `dict`
        The exposure records by visit.
    artifacts : `dict`
        The stored datasets by data ID: of a raw its visit, arm and spectrograph, of a pfsConfig its visit.
    outage : `Outage` or `None`
        What each call raises, while it is set.
    refused : `dict`
        Which files make `ingest` fail, and how.
    batches : `list`
        The paths of each call of `ingest`, whatever came of it.
    asked : `list`
        The paths of each call of `stored`.
    moves : `bool`
        Whether files that are missing are taken to have been moved; set by a test that removes them.
    inline_bytes : `int` or `None`
        The size of the largest file that need not be copied or compared before; `None` for no bound.
    """

    def __init__(self, folder: FakeFolder) -> None:
        self.exposures: dict[int, Exposure] = {}
        self.artifacts: dict[tuple[object, ...], Artifact] = {}
        self.outage: Outage | None = None
        self.refused: dict[Path, Rejected | TryLater] = {}
        self.batches: list[Sequence[Path]] = []
        self.asked: list[Sequence[Path]] = []
        self.moves = False
        self.inline_bytes: int | None = None
        self._folder = folder

    def designs(self, visits: Collection[int]) -> Mapping[int, int]:
        """Look up the exposure records of some visits."""
        self.probe()
        return {visit: self.exposures[visit].pfs_design_id for visit in visits if visit in self.exposures}

    def ingest(self, exposures: Sequence[Exposure], datasets: Sequence[Dataset]) -> Sequence[Outcome]:
        """Register exposure records and store datasets: all, or none."""
        self.batches.append([dataset.path for dataset in datasets])
        self.probe()
        to_copy = {dataset.path for dataset in datasets if self._has_to_be_copied(dataset)}
        raws = {each.header.visit for each in datasets if isinstance(each.header, RawHeader)}
        raws_now = {
            each.header.visit
            for each in datasets
            if isinstance(each.header, RawHeader) and each.path not in to_copy
        }
        registered = dict(self.exposures)
        for exposure in exposures:
            if exposure.id in raws - raws_now:
                continue
            if registered.setdefault(exposure.id, exposure) != exposure:
                raise TryLater(Code.RACE, f"exposure {exposure.id} has just been registered by someone else")
        stored = dict(self.artifacts)
        outcomes = [
            Outcome(Stored.TO_BE_COPIED, where="fake:///")
            if dataset.path in to_copy
            else self._judge(dataset, stored) or self._store(dataset, registered, stored)
            for dataset in datasets
        ]
        self.exposures, self.artifacts = registered, stored
        return outcomes

    def stored(self, sightings: Sequence[Sighting]) -> Mapping[Path, str]:
        """Find out which files are those that were stored."""
        self.asked.append([sighting.path for sighting in sightings])
        self.probe()
        stored = {artifact.inode: artifact for artifact in self.artifacts.values()}
        return {
            each.path: stored[each.inode].dataset_id
            for each in sightings
            if each.inode in stored and self._folder.files[each.path].content == stored[each.inode].content
        }

    def moved(self, record: FileRecord) -> str | None:
        """Find the dataset that a file was moved into, which only happens if `moves` is set."""
        self.probe()
        raw = record.kind is Kind.RAW
        data_id = (
            ("raw", record.visit, record.arm, record.spectrograph) if raw else ("pfsConfig", record.visit)
        )
        stored = self.artifacts.get(data_id) if self.moves else None
        return stored.dataset_id if stored and stored.size == record.size else None

    def probe(self) -> None:
        """Ask whether the repository can be written to."""
        if self.outage:
            raise self.outage

    def _has_to_be_copied(self, dataset: Dataset) -> bool:
        if self.inline_bytes is None or dataset.copy or _data_id(dataset.header) in self.artifacts:
            return False
        file = self._folder.files.get(dataset.path)
        return file is not None and file.size > self.inline_bytes

    def _judge(self, dataset: Dataset, stored: Mapping[tuple[object, ...], Artifact]) -> Outcome | None:
        """Say what is to be compared before, or that it has been, and is the same."""
        known, file = stored.get(_data_id(dataset.header)), self._folder.files.get(dataset.path)
        if self.inline_bytes is None or known is None or file is None or known.inode == file.inode:
            return None
        if file.size <= self.inline_bytes or file.size != known.size:
            return None
        before = dataset.comparison
        if before and (before.artifact, before.mark) == (known.where, known.mark):
            result = Stored.ALREADY_THERE if before.same else Stored.CONFLICT
        else:
            result = Stored.TO_BE_COMPARED
        return Outcome(result, known.dataset_id, known.where)

    def _store(
        self,
        dataset: Dataset,
        registered: Mapping[int, Exposure],
        stored: dict[tuple[object, ...], Artifact],
    ) -> Outcome:
        path, header = dataset.path, dataset.header
        if path in self.refused:
            raise self.refused[path]
        if header.visit not in registered:
            if isinstance(header, ConfigHeader):
                return Outcome(Stored.NO_EXPOSURE)
            raise TryLater(Code.RACE, f"exposure {header.visit} is not registered")
        file = self._folder.files.get(path)
        if file is None or not self._folder.readable(path):
            raise TryLater(Code.STORE_FAILED, f"{path} cannot be read")
        if dataset.seen and not _shows(dataset.seen, file):
            raise TryLater(Code.RACE, f"{path} changed while it was being stored")
        if dataset.copy:
            file = self._folder.files.get(Path(dataset.copy))
        if file is None:
            raise TryLater(Code.STORE_FAILED, f"the copy {dataset.copy} is gone")
        data_id = _data_id(header)
        dataset_id = str(uuid5(NAMESPACE_URL, repr(data_id)))
        new = Artifact(dataset_id, f"fake:///{dataset_id}", path, file.content, file.size, file.inode)
        known = stored.setdefault(data_id, new)
        if known is new:
            result = Stored.STORED
        elif (known.content, known.size) == (new.content, new.size):
            result = Stored.ALREADY_THERE
        else:
            result = Stored.CONFLICT
        return Outcome(result, dataset_id, known.where)


class FakeCopier:
    """The copier port: its copies are files beside the watched folders, as long as they are lent.

    Parameters
    ----------
    folder : `FakeFolder`
        Where the files are.
    repository : `FakeRepository`
        Where the artifacts are.

    Attributes
    ----------
    under_way : `dict`
        The files being copied as they were seen, and whether they arrived just now.
    comparing : `dict`
        The files being compared as they were seen, and what with.
    held : `bool`
        Whether copies and comparisons come to no end; else each is there as soon as it is asked for.
    failing : `dict`
        Which files cannot be copied or compared, and why.
    largest : `int` or `None`
        What `room` says.
    small_left : `int`
        What `left` says.
    """

    def __init__(self, folder: FakeFolder, repository: FakeRepository) -> None:
        self.under_way: dict[Sighting, bool] = {}
        self.comparing: dict[Sighting, str] = {}
        self.held = False
        self.failing: dict[Path, IngestdError] = {}
        self.largest: int | None = None
        self.small_left = 10**9
        self._folder = folder
        self._repository = repository
        self._numbers = count()
        self._lent: list[Path] = []

    def room(self) -> int | None:
        """Tell up to what size files need not wait."""
        return self.largest

    def left(self) -> int:
        """Tell how much more is taken."""
        return self.small_left

    def copy(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Take note of a file to be copied."""
        assert where == "fake:///"
        self.under_way[sighting] = live

    def compare(self, sighting: Sighting, where: str, *, live: bool) -> None:  # noqa: ARG002 (of the port)
        """Take note of a file to be compared."""
        self.comparing[sighting] = where

    @contextmanager
    def finished(self) -> Iterator[Sequence[Copy | Comparison]]:
        """Lend the copies of the files as they are now, and say which are the same as what is stored now."""
        copies = [] if self.held else [self._copy(sighting) for sighting in self.under_way]
        comparisons = [] if self.held else [self._compared(*each) for each in self.comparing.items()]
        if not self.held:
            self.under_way.clear()
            self.comparing.clear()
        self._lent = [Path(copy.where) for copy in copies if copy.where]
        try:
            yield [*copies, *comparisons]
        finally:
            self._remove()

    def cancel(self) -> None:
        """Forget what was to be copied or compared."""
        self.under_way.clear()
        self.comparing.clear()
        self._remove()

    def _remove(self) -> None:
        for path in self._lent:
            del self._folder.files[path]
        self._lent.clear()

    def _copy(self, sighting: Sighting) -> Copy:
        source = sighting.path
        if error := self.failing.get(source):
            return Copy(source, error=error)
        file = self._folder.files.get(source)
        if file is None or not _shows(sighting, file):
            return Copy(source, error=TryLater(Code.RACE, f"{source} changed while it was being stored"))
        copy = Path(f"/staging/{next(self._numbers)}")
        self._folder.files[copy] = file
        return Copy(source, str(copy))

    def _compared(self, sighting: Sighting, where: str) -> Comparison:
        told = Comparison(seen=sighting, artifact=where)
        if error := self.failing.get(sighting.path):
            return replace(told, error=error)
        file = self._folder.files.get(sighting.path)
        if file is None or not _shows(sighting, file):
            return replace(told, error=TryLater(Code.RACE, f"{sighting.path} changed"))
        known = next((each for each in self._repository.artifacts.values() if each.where == where), None)
        if known is None:
            return told
        return replace(told, mark=known.mark, same=known.content == file.content)


class FakeWatcher:
    """The watcher port: it sees what a test tells it.

    Parameters
    ----------
    roots : `~collections.abc.Sequence` [`~pathlib.Path`], optional
        The watched folders.
    """

    def __init__(self, roots: Sequence[Path] = (ROOT,)) -> None:
        self.health = {root: WatcherHealth(root, "inotify", healthy=True) for root in roots}
        self.running = False
        self._post: Callable[[Message], None] | None = None

    def start(self, post: Callable[[Message], None]) -> None:
        """Begin to post hints."""
        self._post = post
        self.running = True

    def check(self) -> Sequence[WatcherHealth]:
        """Tell the health of each root; revive what died, and say that something may have been missed."""
        health = list(self.health.values())
        if self._post and not all(each.healthy for each in health):
            self.health = {root: replace(each, healthy=True, reason="") for root, each in self.health.items()}
            self._post(Blind.BLIND)
        return health

    def stop(self) -> None:
        """Post no more."""
        self._post = None
        self.running = False

    def hint(self, path: Path, *, closed: bool = False) -> None:
        """See that something happened to a path."""
        if self._post:
            self._post(Hint(path, closed))

    def die(self, reason: str = "its thread died") -> None:
        """See nothing more, in any root, until the next check."""
        self.health = {
            root: replace(each, healthy=False, reason=reason) for root, each in self.health.items()
        }


class FakeNotifier:
    """The notifier port: what was said is in ``said``."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def ready(self) -> None:
        """Say that the service is up."""
        self.said.append("ready")

    def alive(self, status: str) -> None:
        """Say that the loop turns."""
        self.said.append(f"alive: {status}")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self.said.append("stopping")


class FakeCourier:
    """The courier port: what was sent is in ``sent``, and comes to its end unless it is ``held``.

    Parameters
    ----------
    hook : `str`, optional
        Which setting asks for it.
    """

    def __init__(self, hook: str = "command") -> None:
        self.hook = hook
        self.to = f"fake {hook}"
        self.sent: list[dict[str, Any]] = []
        self.error = ""
        self.held = False
        self.cancelled = False
        self._busy = False

    def send(self, text: str) -> None:
        """Begin to deliver a notification."""
        assert not self._busy, "one at a time"
        self._busy = True
        self.sent.append(json.loads(text))

    def result(self, seconds: float = 0.0) -> Delivery | None:
        """Tell what became of it."""
        assert seconds >= 0
        if self.held or not self._busy:
            return None
        self._busy = False
        return Delivery(self.error)

    def cancel(self) -> None:
        """End what is under way."""
        self.cancelled = True
        self._busy = False


class FakeStatus:
    """The status sink: what was written is in ``written``, the newest last."""

    def __init__(self) -> None:
        self.written: list[Mapping[str, object]] = []

    def write(self, status: Mapping[str, object]) -> None:
        """Replace the status."""
        self.written.append(status)


class FakeMetrics:
    """The metrics sink: the statuses that were written are in ``written``, the newest last."""

    def __init__(self) -> None:
        self.written: list[Status] = []

    def write(self, status: Status, figures: Figures) -> None:  # noqa: ARG002 (of the port)
        """Replace the metrics."""
        self.written.append(status)


class FakeDisks:
    """The disks port: one disk with a gigabyte left."""

    def room(self) -> Sequence[DiskRoom]:
        """Tell how much room there is."""
        return [DiskRoom(what="repository", folder=Path("/repo"), free=10**9, size=10**12)]


def raw_header(visit: int = 1000, arm: str = "b", spectrograph: int = 1, *, design: int = 0xABC) -> RawHeader:
    """Make what a raw says of itself."""
    return RawHeader(
        instrument="PFS",
        visit=visit,
        arm=arm,
        spectrograph=spectrograph,
        detector=3 * (spectrograph - 1) + "brn".index(arm) if arm in "brn" else 3 * (1 - spectrograph) - 1,
        pfs_design_id=design,
        dither=0,
        cards={},
    )


def config_header(visit: int = 1000, *, design: int = 0xABC) -> ConfigHeader:
    """Make what a pfsConfig says of itself."""
    return ConfigHeader(visit=visit, pfs_design_id=design, cat_ids=(1, 2))


def raw_path(visit: int = 1000, arm: str = "b", spectrograph: int = 1, *, night: str = "2026-11-22") -> Path:
    """Make the path of a raw as the instrument names it."""
    ramp = arm == "n"
    name = f"PFS{'B' if ramp else 'A'}{visit:06d}{spectrograph}{'brnm'.index(arm) + 1}.fits"
    return ROOT / night / ("ramps" if ramp else "sps") / name


def config_path(visit: int = 1000, *, design: int = 0xABC, night: str = "2026-11-22") -> Path:
    """Make the path of a pfsConfig as the instrument names it."""
    return ROOT / night / "pfsConfig" / f"pfsConfig-0x{design:016x}-{visit:06d}.fits"


def _checked(record: FileRecord) -> FileRecord:
    for time in (record.steady_since, record.first_seen, record.updated, record.not_before):
        if time is not None:
            _aware(time)
    return record


def _aware(time: datetime) -> None:
    if time.tzinfo is None:
        raise TypeError(f"a time without time zone: {time}")


def _shows(sighting: Sighting, file: FakeFile) -> bool:
    return (sighting.size, sighting.mtime_ns, sighting.inode) == (file.size, file.mtime_ns, file.inode)


def _below(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def _nanoseconds(time: datetime) -> int:
    return _nanoseconds_of(time - _EPOCH)


def _nanoseconds_of(span: timedelta) -> int:
    return span // _MICROSECOND * 1000


def _data_id(header: Header) -> tuple[object, ...]:
    if isinstance(header, RawHeader):
        return ("raw", header.visit, header.arm, header.spectrograph)
    return ("pfsConfig", header.visit)


# mypy sees here that each fake is what it stands for.
_: tuple[
    type[Clock],
    type[Inbox],
    type[Folder],
    type[Headers],
    type[Repository],
    type[Copier],
    type[Courier],
    type[Watcher],
    type[Notifier],
    type[StatusSink],
    type[MetricsSink],
    type[DiskRooms],
] = (
    FakeClock,
    FakeInbox,
    FakeFolder,
    FakeHeaders,
    FakeRepository,
    FakeCopier,
    FakeCourier,
    FakeWatcher,
    FakeNotifier,
    FakeStatus,
    FakeMetrics,
    FakeDisks,
)
