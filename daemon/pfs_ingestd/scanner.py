"""Hints and scans in, records of what is new, changed or complete out."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from pfs_ingestd.errors import IngestdError, Outage, TryLater
from pfs_ingestd.ingester import ReadFile, blamed
from pfs_ingestd.journal import Change, Journal
from pfs_ingestd.policy import Patience, judged, noticed
from pfs_ingestd.ports import Clock, Folder, Headers, Hint, Inbox, Listing
from pfs_ingestd.records import FileRecord, Sighting, State, path_text
from pfs_ingestd.status import ScanCost

__all__ = ["Scanner"]


class Round(NamedTuple):
    """Which files are looked at again, and how often.

    Parameters
    ----------
    states : `frozenset` [`State`]
        Those in one of these states
    age : `~datetime.timedelta` or `None`
        that arrived no longer ago than this.
    every : `~datetime.timedelta`
        From the beginning of one round to that of the next.
    """

    states: frozenset[State]
    age: timedelta | None
    every: timedelta


# Writers have been seen to come back to a file minutes after it was closed, repair tools a day later. All of
# it must stay far below the few hundred files a second that a file server can tell of.
ROUNDS = (
    Round(frozenset({State.REJECTED, State.SKIPPED}), None, timedelta(seconds=10)),
    Round(frozenset({State.INGESTED}), timedelta(minutes=15), timedelta(seconds=10)),
    Round(frozenset({State.INGESTED}), timedelta(days=2), timedelta(hours=1)),
)

_log = structlog.get_logger()


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
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._folder = folder
        self._headers = headers
        self._inbox = inbox
        self._journal = journal
        self._clock = clock
        self._patience = patience
        self._listings: Iterator[Listing] | None = None
        self._begun = clock.now()
        self._folders = 0
        self._outage: Outage | None = None
        self._rounds: list[Iterator[FileRecord] | None] = [None] * len(ROUNDS)
        self._round_due = [clock.now() + each.every for each in ROUNDS]
        self.last_scan: ScanCost | None = None

    @property
    def scanning(self) -> bool:
        """Whether a scan has begun that has not come to its end."""
        return self._listings is not None

    @property
    def obstructed(self) -> bool:
        """Whether the last scan could not read a watched root."""
        return self._outage is not None

    @property
    def troubles(self) -> Sequence[IngestdError]:
        """What the last scan could not read."""
        roots = [self._outage] if self._outage else []
        return [*roots, *self._folder.problems().values()]

    def begin(self) -> None:
        """Begin a scan of all watched folders; one that is under way is begun anew."""
        self._listings = self._folder.scan(self._inbox.marks())
        self._begun = self._clock.now()
        self._folders = 0

    def advance(self, files: int) -> None:
        """Go on with the scan, for about so many new files."""
        found = 0
        while self._listings is not None and found < files:
            try:
                listing = next(self._listings, None)
            except Outage as error:
                self._end(error)
                return
            if listing is None:
                self._end(None)
            else:
                self._folders += 1
                found += self._compare(listing)

    def hinted(self, hints: Sequence[Hint]) -> None:
        """Look at the paths that something happened to."""
        closed: dict[Path, bool] = {}
        for hint in hints:
            for path in self._folder.beneath(hint.path):
                closed[path] = closed.get(path, False) or hint.closed
        self._look(closed)

    def recheck(self, limit: int) -> None:
        """Look again at files that nothing tells of when they are rewritten in place.

        What was ingested may be written again by those whose file it is, what was rejected is mended by
        somebody. `ROUNDS` says which files are looked at how often; what was ingested longer ago is left to
        an audit.

        Parameters
        ----------
        limit : `int`
            How many files to look at.
        """
        paths = itertools.chain.from_iterable(self._round(number) for number in range(len(ROUNDS)))
        self._look(dict.fromkeys(itertools.islice(paths, limit), False))

    def _round(self, number: int) -> Iterator[Path]:
        """Go on with a round where it was left, or begin it anew once it is over and the time has come."""
        states, age, every = ROUNDS[number]
        now = self._clock.now()
        if self._rounds[number] is None and now >= self._round_due[number]:
            self._round_due[number] = now + every
            self._rounds[number] = self._inbox.in_state(states, since=now - age if age else None)
        for record in self._rounds[number] or ():
            # An archive does not change, and is too large to look at.
            if record.live or record.state is not State.INGESTED:
                yield record.path
        self._rounds[number] = None

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
                changes.append((record, self._judged(record, None)))
                complete[record.path] = ReadFile(sighting, answer)
        self._journal.move(changes)
        return complete

    def _end(self, outage: Outage | None) -> None:
        """End the scan, which could not read every root if there was an outage; tell of that once."""
        self._listings = None
        now = self._clock.now()
        seconds = (now - self._begun).total_seconds()
        self.last_scan = ScanCost(at=now, seconds=seconds, folders=self._folders)
        if outage and str(outage) != str(self._outage):
            _log.error("scan.failed", code=outage.code, error=str(outage))
        elif self._outage and not outage:
            _log.info("scan.recovered")
        self._outage = outage

    def _compare(self, listing: Listing) -> int:
        """Look at the names that are new in a folder, and at those that are missing; count the new files."""
        folder = listing.mark.folder
        known = self._inbox.names(folder)
        absent = {State.GONE, State.INGESTED, State.INGESTING}
        new = {name for name in listing.names if known.get(name, State.GONE) is State.GONE}
        missing = {name for name in known.keys() - listing.names if known[name] not in absent}
        if self._look({folder / name: False for name in sorted(new | missing)}):
            self._inbox.mark(listing.mark)
        return len(new)

    def _look(self, paths: Mapping[Path, bool]) -> bool:
        """Look at paths, each with whether its writer is done; say whether every look was answered."""
        if not paths:
            return True
        records = self._inbox.find(paths.keys())
        found: list[FileRecord] = []
        changes: list[Change] = []
        unanswered = 0
        for path, closed in paths.items():
            try:
                sighting = self._folder.look(path)
            except Outage:
                unanswered += 1  # the scan tells of folders, once for all that is in them
                continue
            except TryLater as error:
                unanswered += 1
                _log.warning("look.failed", path=path_text(path), code=error.code, error=str(error))
                continue
            old = records.get(path)
            new = self._noticed(old, sighting, closed=closed)
            if old and new:
                changes.append((old, new))
            elif new:
                found.append(new)
        self._journal.enter(found)
        self._journal.move(changes)
        return not unanswered

    def _noticed(
        self, record: FileRecord | None, sighting: Sighting | None, *, closed: bool
    ) -> FileRecord | None:
        return noticed(record, sighting, closed=closed, patience=self._patience, now=self._clock.now())

    def _judged(self, record: FileRecord, answer: IngestdError | None) -> FileRecord:
        return judged(record, answer, patience=self._patience, now=self._clock.now())
