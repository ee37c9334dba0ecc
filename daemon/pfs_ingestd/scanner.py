"""Hints and scans in, records of what is new, changed or complete out."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import structlog

from pfs_ingestd.errors import IngestdError, Outage, Rejected, TryLater
from pfs_ingestd.ingester import ReadFile, blamed
from pfs_ingestd.journal import Change, Journal
from pfs_ingestd.policy import Patience, described, judged, noticed
from pfs_ingestd.ports import Clock, Folder, FolderMark, Headers, Hint, Inbox, Listing, Repository
from pfs_ingestd.records import FileRecord, Sighting, State, path_text
from pfs_ingestd.rounds import Rounds
from pfs_ingestd.status import ScanCost

__all__ = ["Scanner"]

SLICE = timedelta(seconds=0.1)
"""How long a scan may go on in one tick: hints and batches have their turn in between."""

BACKLOG = 100
"""After so many new files in one scan the repository is asked which of them it has: before that, reading them
takes less time than the question."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A path to be looked at, a mark to be remembered after that, or neither.

    Parameters
    ----------
    path : `~pathlib.Path` or `None`
        The path.
    fresh : `bool`
        Whether the inbox had no record of it a moment ago.
    mark : `FolderMark` or `None`
        The mark.
    """

    path: Path | None = None
    fresh: bool = False
    mark: FolderMark | None = None


_NOTHING = _Step()

# Stands among the paths that are to be listed again for all of them; each of those is absolute.
_EVERYWHERE = Path()

_log = structlog.get_logger()


@dataclass
class _Scan:
    """A scan that is under way.

    Parameters
    ----------
    begun : `~datetime.datetime`
        When it began.
    steps : `~collections.abc.Iterator`
        What is still to be done.
    folders, new : `int`
        How many folders were listed, and how many new files found.
    unanswered : `set` [`~pathlib.Path`]
        Folders in which a file could not be looked at: they are listed again.
    again : `set` [`~pathlib.Path`]
        Files and folders whose known files are looked at, too.
    asks : `bool`
        Whether the repository is worth asking.
    outage : `Outage` or `None`
        Why a root could not be read.
    """

    begun: datetime
    steps: Iterator[_Step] = field(default_factory=lambda: iter(()))
    folders: int = 0
    new: int = 0
    unanswered: set[Path] = field(default_factory=set)
    again: set[Path] = field(default_factory=set)
    asks: bool = True
    outage: Outage | None = None


class Scanner:
    """Keeps the inbox true to the watched folders.

    Parameters
    ----------
    folder : `Folder`
        The watched folders.
    headers : `Headers`
        Reads the files.
    inbox : `Inbox`
        What is known of them.
    journal : `Journal`
        Where what is found is written.
    repository : `Repository`
        Asked which files of a backlog it has already.
    clock : `Clock`
        The time.
    patience : `Patience`
        How long a file has to be at rest, and may stay incomplete.

    Attributes
    ----------
    last_scan : `ScanCost` or `None`
        When the last scan ended, and what it took.
    """

    def __init__(
        self,
        *,
        folder: Folder,
        headers: Headers,
        inbox: Inbox,
        journal: Journal,
        repository: Repository,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._folder = folder
        self._headers = headers
        self._inbox = inbox
        self._journal = journal
        self._repository = repository
        self._clock = clock
        self._patience = patience
        self._rounds = Rounds(inbox, clock)
        self._scan: _Scan | None = None
        self._again: set[Path] = set()
        self._outage: Outage | None = None
        self.last_scan: ScanCost | None = None

    @property
    def scanning(self) -> bool:
        """Whether a scan has begun that has not come to its end."""
        return self._scan is not None

    @property
    def obstructed(self) -> bool:
        """Whether the last scan could not read a watched root."""
        return self._outage is not None

    @property
    def troubles(self) -> Sequence[IngestdError]:
        """What the last scan could not read."""
        roots = [self._outage] if self._outage else []
        return [*roots, *self._folder.problems().values()]

    def again(self, paths: Collection[Path]) -> None:
        """Forget of folders that they were listed, for the scan that begins next.

        Parameters
        ----------
        paths : `~collections.abc.Collection` [`~pathlib.Path`]
            Files and folders, with all that is below them; the scan looks at the files there that are known,
            too. Empty means all folders, and no more files than in any scan: there may be half a million.
        """
        self._again |= set(paths) or {_EVERYWHERE}

    def begin(self) -> None:
        """Begin a scan of all watched folders; one that is under way is begun anew."""
        if self._again:
            self._journal.forget({folder for folder in self._journal.marks() if self._forgotten(folder)})
        self._scan = scan = _Scan(self._clock.now(), again=self._again - {_EVERYWHERE})
        self._again = set()
        scan.steps = self._steps(scan)

    def advance(self, files: int) -> None:
        """Go on with the scan for a while, or for so many files that are new or missing."""
        scan = self._scan
        if scan is None:
            return
        try:
            self._advance(scan, files)
        except BaseException:
            # What was seen in this slice may not be written down: only another scan comes to it again.
            self._again |= scan.again
            self._scan = None
            raise

    def hinted(self, hints: Sequence[Hint]) -> None:
        """Look at the paths that something happened to."""
        closed: dict[Path, bool] = {}
        for hint in hints:
            for path in self._folder.beneath(hint.path):
                closed[path] = closed.get(path, False) or hint.closed
        self._look(closed)

    def recheck(self, limit: int) -> None:
        """Look again at files that nothing tells of when they are rewritten in place; see `Rounds`.

        Parameters
        ----------
        limit : `int`
            How many files to look at.
        """
        self._look(dict.fromkeys(self._rounds.paths(limit), False))

    def settle(self, limit: int) -> Mapping[Path, ReadFile]:
        """Read the seen files that are at rest; those that are complete become ready.

        Parameters
        ----------
        limit : `int`
            How many files to look at.

        Returns
        -------
        files : `~collections.abc.Mapping` [`~pathlib.Path`, `ReadFile`]
            What was read of the complete ones.
        """
        unread = []
        changes: list[Change] = []
        for record in self._inbox.due(State.SEEN, self._clock.now(), limit):
            try:
                sighting = self._folder.look(record.path)
            except (Outage, TryLater) as error:
                changes.append((record, self._judged(record, error)))
                continue
            if sighting is not None and record.resembles(sighting):
                unread.append((record, sighting))
            else:
                changes.append((record, self._noticed(record, sighting, closed=False) or record))
        complete = {}
        answers = self._headers.read([sighting for _, sighting in unread])
        for (record, sighting), answer in zip(unread, answers, strict=True):
            if isinstance(answer, IngestdError):
                changes.append((record, self._judged(record, blamed(self._folder, record.path, answer))))
            else:
                changes.append((record, described(self._judged(record, None), answer)))
                complete[record.path] = ReadFile(sighting, answer)
        self._journal.move(changes)
        return complete

    def _advance(self, scan: _Scan, files: int) -> None:
        seen: dict[Path, Sighting | None] = {}
        fresh: set[Path] = set()
        marks: list[FolderMark] = []
        ended = False
        begun = self._clock.now()
        end = begun + SLICE
        for step in scan.steps:
            if step.mark:
                marks.append(step.mark)
            elif step.path and not self._sight(step.path, seen):
                scan.unanswered.add(step.path.parent)
            if step.path and step.fresh:
                fresh.add(step.path)
            # A clock that is set back ends the slice, too.
            if len(seen) >= files or not begun <= self._clock.now() < end:
                break
        else:
            ended = True
        self._notice(seen, fresh=fresh, stored=self._stored(scan, seen))
        self._journal.mark([mark for mark in marks if mark.folder not in scan.unanswered])
        scan.folders += len(marks)
        if ended:
            self._end(scan)

    def _listings(self, scan: _Scan) -> Iterator[Listing | None]:
        try:
            yield from self._folder.scan(self._journal.marks())
        except Outage as error:
            scan.outage = error

    def _steps(self, scan: _Scan) -> Iterator[_Step]:
        """Go through the paths of each listing that are new or missing, and then give its mark."""
        for listing in self._listings(scan):
            if listing is None:
                yield _NOTHING
                continue
            folder = listing.mark.folder
            known = self._inbox.names(folder)
            absent = {State.GONE, State.INGESTED, State.INGESTING}
            new = {name for name in listing.names if known.get(name, State.GONE) is State.GONE}
            missing = {name for name in known.keys() - listing.names if known[name] not in absent}
            asked = {name for name in known if _is_below(folder / name, scan.again)}
            for name in sorted(new | missing | asked):
                yield _Step(folder / name, fresh=name not in known)
            yield _Step(mark=listing.mark)

    def _forgotten(self, folder: Path) -> bool:
        """Say whether somebody asked for what is in a folder."""
        if _EVERYWHERE in self._again:
            return True
        return _is_below(folder, self._again) or any(path.parent == folder for path in self._again)

    def _stored(self, scan: _Scan, seen: Mapping[Path, Sighting | None]) -> Mapping[Path, str]:
        """Ask the repository which files of a backlog it has, as long as it answers; the others are read."""
        sightings = [sighting for sighting in seen.values() if sighting]
        scan.new += len(sightings)
        if not sightings or not scan.asks or scan.new <= BACKLOG:
            return {}
        try:
            return self._repository.stored(sightings)
        except (Outage, TryLater, Rejected) as error:
            scan.asks = False
            _log.warning("scan.slowed", code=error.code, error=str(error))
            return {}

    def _end(self, scan: _Scan) -> None:
        """End the scan; tell once of roots that it could not read."""
        self._scan = None
        self._journal.forget(self._folder.missing())
        now = self._clock.now()
        seconds = (now - scan.begun).total_seconds()
        unread = frozenset(self._folder.problems())
        self.last_scan = ScanCost(
            at=now, seconds=seconds, folders=scan.folders, unread=unread, roots=self._folder.costs()
        )
        if scan.outage and str(scan.outage) != str(self._outage):
            _log.error("scan.failed", code=scan.outage.code, error=str(scan.outage))
        elif self._outage and not scan.outage:
            _log.info("scan.recovered")
        self._outage = scan.outage

    def _look(self, paths: Mapping[Path, bool]) -> None:
        """Look at paths, each with whether its writer is done."""
        seen: dict[Path, Sighting | None] = {}
        for path in paths:
            self._sight(path, seen)
        self._notice(seen, closed={path for path, closed in paths.items() if closed})

    def _sight(self, path: Path, seen: dict[Path, Sighting | None]) -> bool:
        """Look at a path, and note what was seen there; say whether there was an answer."""
        try:
            seen[path] = self._folder.look(path)
        except Outage:
            return False  # the scan tells of folders, once for all that is in them
        except TryLater as error:
            _log.warning("look.failed", path=path_text(path), code=error.code, error=str(error))
            return False
        return True

    def _notice(
        self,
        seen: Mapping[Path, Sighting | None],
        *,
        closed: Collection[Path] = frozenset(),
        fresh: Collection[Path] = frozenset(),
        stored: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        """Write down what follows from what was seen."""
        known = seen.keys() - fresh
        records = self._inbox.find(known) if known else {}
        found: list[FileRecord] = []
        changes: list[Change] = []
        for path, sighting in seen.items():
            old, dataset_id = records.get(path), stored.get(path)
            if sighting and dataset_id and not old:
                found.append(FileRecord.of_artifact(sighting, dataset_id, self._clock.now()))
                continue
            new = self._noticed(old, sighting, closed=path in closed)
            if new and new.state is State.SEEN and dataset_id:
                new = new.found(dataset_id, self._clock.now())
            if old and new:
                changes.append((old, new))
            elif new:
                found.append(new)
        self._journal.enter(found)
        self._journal.move(changes)

    def _noticed(
        self, record: FileRecord | None, sighting: Sighting | None, *, closed: bool
    ) -> FileRecord | None:
        return noticed(record, sighting, closed=closed, patience=self._patience, now=self._clock.now())

    def _judged(self, record: FileRecord, answer: IngestdError | None) -> FileRecord:
        return judged(record, answer, patience=self._patience, now=self._clock.now())


def _is_below(path: Path, places: AbstractSet[Path]) -> bool:
    """Say whether a path is one of some files and folders, or below one."""
    return bool(places) and not places.isdisjoint({path, *path.parents})
