"""What is due is claimed and stored, as far as the repository can be reached; what is large is waited for."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pfs_ingestd.errors import IngestdError, Interrupted, Outage
from pfs_ingestd.ingester import Ingester, OutOfHand, ReadFile
from pfs_ingestd.journal import Journal
from pfs_ingestd.policy import Patience, batch, spent
from pfs_ingestd.ports import Clock, Comparison, Copier, Copy, Inbox, Repository, Stored
from pfs_ingestd.records import FileRecord, Kind, State

__all__ = ["ALONE", "Intake", "Share", "Trouble", "nothing_required"]

QUESTIONS = timedelta(seconds=10)
"""The shortest time between two questions for visits of others. A convergence's pfsConfig waits for a day and
a half, and scans may come every second."""

ORPHANS = timedelta(hours=1)
"""The shortest time between two questions for the visits of pfsConfigs that nobody expects to be followed any
more: most are of convergences, thousands in a year, but another host may have been away for days."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something does not work, and since when."""

    error: IngestdError
    since: datetime

    def is_known(self, error: IngestdError) -> bool:
        """Say whether an error tells nothing new."""
        return self.error.code == error.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of the work is ours.

    Parameters
    ----------
    watches : `bool`
        Whether we look after the pfsConfigs that wait: some process does.
    ingests : `bool`
        Whether we take anything into the repository.
    rescue_every : `~datetime.timedelta` or `None`
        How often to look whether others who share the inbox have died; `None` if nobody can.
    """

    watches: bool = True
    ingests: bool = True
    rescue_every: timedelta | None = None


ALONE = Share()
"""All of it."""


def nothing_required(_: Iterable[Path]) -> None:
    """Require nothing of any file's file system."""


class Intake:
    """Takes what is due from the inbox to the repository, a bounded batch at a time.

    Large files that the repository has to copy, or to compare with what it has, are copied and compared
    beside the loop. Their records stay claimed meanwhile, and are taken up in a later batch.

    Parameters
    ----------
    inbox : `Inbox`
        The durable list of files.
    journal : `Journal`
        The way to write to it.
    ingester : `Ingester`
        Takes batches into the repository.
    repository : `Repository`
        Asked whether it is back after an outage, and which visits it knows.
    copier : `Copier`
        Copies and compares what is large.
    clock : `Clock`
        The time.
    patience : `Patience`
        How often a file is tried.
    batch_files, batch_bytes : `int`
        Bounds of a batch.
    probe_interval : `~datetime.timedelta`
        How often an unreachable repository is probed.
    share : `Share`, optional
        Which part of the work is ours.
    require : `~collections.abc.Callable`, optional
        Raises `Outage` unless the file systems of some files, and those that were missing before, are here.

    Attributes
    ----------
    claiming : `bool`
        Whether anything may be claimed; what is in hand is finished in any case.
    outage : `Trouble` or `None`
        Why the repository cannot be used at present.
    next_probe : `~datetime.datetime`
        When it is asked next.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        journal: Journal,
        ingester: Ingester,
        repository: Repository,
        copier: Copier,
        clock: Clock,
        patience: Patience,
        batch_files: int,
        batch_bytes: int,
        probe_interval: timedelta,
        share: Share = ALONE,
        require: Callable[[Iterable[Path]], None] = nothing_required,
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._ingester = ingester
        self._repository = repository
        self._copier = copier
        self._clock = clock
        self._patience = patience
        self._batch_files = batch_files
        self._batch_bytes = batch_bytes
        self._probe_interval = probe_interval
        self._share = share
        self._require = require
        self._beside: dict[Path, OutOfHand] = {}
        self.claiming = True
        self.outage: Trouble | None = None
        self.next_probe = self._next_question = self._next_rescue = self._next_orphans = clock.now()

    def reachable(self) -> bool:
        """Say whether the repository may be used, after probing it if it was not and the time has come."""
        if self.outage is None:
            return True
        if self._clock.now() >= self.next_probe:
            self.probe()
        return self.outage is None

    def probe(self) -> None:
        """Learn whether the repository can be used."""
        try:
            self._repository.probe()
            self._require(())
        except Outage as error:
            self._pause(error)
            return
        if self.outage:
            seconds = (self._clock.now() - self.outage.since).total_seconds()
            _log.info("outage.ended", code=self.outage.error.code, seconds=seconds)
            self.outage = None

    @property
    def waits(self) -> bool:
        """Whether files are being copied or compared."""
        return bool(self._beside)

    def work(self, read: Mapping[Path, ReadFile]) -> bool:
        """Take up what has been copied or compared, then one batch of what is ready.

        Parameters
        ----------
        read : `~collections.abc.Mapping` [`~pathlib.Path`, `ReadFile`]
            Files that have just been read.

        Returns
        -------
        more : `bool`
            Whether there may be more to be claimed at once.
        """
        self._take_up()
        self._rescue()
        if not self.claiming:
            self._inbox.release(self._visits_beside())
        if self.outage or not self.claiming or not self._share.ingests:
            return False
        now = self._clock.now()
        # What would have to wait for others to be copied stays ready, and lets what is smaller pass.
        due = self._inbox.reserve(
            now, self._batch_files, largest=self._copier.room(), keep=self._visits_beside()
        )
        try:
            self._require(record.path for record in due)
        except Outage as error:
            self._pause(error)
            return False
        exhausted = [record for record in due if record.attempts >= self._patience.max_attempts]
        self._journal.move((record, spent(record, now)) for record in exhausted)
        self._claim(batch([record for record in due if record not in exhausted], self._bound()), read)
        return bool(due)

    def next_due(self) -> datetime | None:
        """Tell when the next file falls due, or is given up; `None` if something else has to happen before.

        What is ready and waits for room with the copier is not due: the end of a copy wakes the loop. Nor is
        it while nothing is to be claimed.
        """
        if self.outage or not self._share.watches:
            return None
        # What others hold may be due for long; it is asked for with each beat of the loop's heart.
        held = not self.claiming or self._share.rescue_every is not None or self._copier.room() is not None
        return self._inbox.next_due({State.SEEN, State.WAITING} | (set() if held else {State.READY}))

    def wake_known(self) -> None:
        """Wake the pfsConfigs whose visits someone else has brought into the repository."""
        now = self._clock.now()
        watching = self._share.watches and self.claiming
        if self.outage or not watching or now < self._next_question:
            return
        self._next_question = now + QUESTIONS
        states = {State.WAITING}
        if now >= self._next_orphans:
            self._next_orphans = now + ORPHANS
            states.add(State.ORPHANED)
        visits = {record.visit for record in self._inbox.in_state(states)}
        try:
            known = self._repository.designs(visits) if visits else {}
        except Outage as error:
            self._pause(error)
        else:
            self._woken(known.keys(), states)

    def give_up_waiting(self) -> None:
        """Expect no more what a pfsConfig has waited for too long."""
        if not self._share.watches:
            return
        now = self._clock.now()
        overdue = self._inbox.due(State.WAITING, now, self._batch_files)
        self._journal.move((record, record.orphaned(now)) for record in overdue)

    def put_back(self) -> None:
        """End copies and comparisons; the files are ready again, not charged. Nothing is kept from others."""
        self._put_back(self._abandoned())
        self._inbox.release()

    def recover(self) -> int:
        """Make all files ready again that were claimed, by this process or one that died; count them."""
        self._abandoned()
        return self._journal.recover(self._clock.now())

    def _rescue(self) -> None:
        """Look now and then whether others have died, and make ready again what they were ingesting."""
        now = self._clock.now()
        if self._share.rescue_every is None or now < self._next_rescue:
            return
        self._next_rescue = now + self._share.rescue_every
        found = self._inbox.rescue(now)
        for worker in found.workers:
            _log.warning(
                "worker.lost", worker=worker.name, host=worker.host, pid=worker.pid, files=worker.files
            )
        if found.files:
            _log.warning("files.recovered", count=found.files)

    def _visits_beside(self) -> Collection[int]:
        return {each.record.visit for each in self._beside.values()}

    def _bound(self) -> int:
        """Tell how many bytes to claim.

        Which files have to be compared is only known when they are claimed. Where some are, most that follow
        may have to be, and what there is no room for would have been read in vain.
        """
        comparing = any(each.outcome.result is Stored.TO_BE_COMPARED for each in self._beside.values())
        return min(self._batch_bytes, self._copier.left()) if comparing else self._batch_bytes

    def _take_up(self) -> None:
        """Store the files whose copies or comparisons have come to their end.

        Those go first of which that went well: a disk without room for one file has it for others.
        """
        with self._copier.finished() as results:
            ended = [(self._beside.pop(result.source), result) for result in results]
            for failed in (False, True):
                some = [each for each in ended if isinstance(each[1].error, Outage) is failed]
                self._store(
                    [each.record for each, _ in some],
                    {result.source: result.error or _with(each.file, result) for each, result in some},
                )

    def _claim(self, ready: Sequence[FileRecord], read: Mapping[Path, ReadFile]) -> None:
        now = self._clock.now()
        self._store(self._journal.move((record, record.claimed(now)) for record in ready), read)

    def _store(self, claimed: Sequence[FileRecord], known: Mapping[Path, ReadFile | IngestdError]) -> None:
        """Ingest claimed records, then the pfsConfigs that waited for the visits among them."""
        if not claimed:
            return
        try:
            answer = self._ingester.ingest(claimed, known)
        except Outage as error:
            self._put_back(claimed)
            self._pause(error)
            return
        except Interrupted:
            self._put_back(claimed)
            raise
        moved = self._journal.move(zip(claimed, answer.successors, strict=True))
        self._begin(answer.out_of_hand)
        raws = {r.visit for r in moved if r.kind is Kind.RAW and r.state is State.INGESTED}
        woken = self._woken(raws, {State.WAITING, State.ORPHANED})
        if self.claiming:
            self._claim(woken, {})

    def _begin(self, files: Sequence[OutOfHand]) -> None:
        """Give files to the copier; those to be compared that it has no room for stay in the queue.

        How many have to be copied is bounded by the batch.
        """
        returned = []
        for each in files:
            sighting, where = each.file.sighting, each.outcome.where
            if each.outcome.result is Stored.TO_BE_COPIED:
                self._copier.copy(sighting, where, live=each.record.live)
            elif (largest := self._copier.room()) is not None and sighting.size > largest:
                returned.append(each.record)
                continue
            else:
                self._copier.compare(sighting, where, live=each.record.live)
            self._beside[each.record.path] = each
        self._put_back(returned)

    def _woken(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        waiting = self._inbox.of_visits(visits, states) if visits else ()
        now = self._clock.now()
        return self._journal.move((record, record.ready(now)) for record in waiting)

    def _pause(self, error: Outage) -> None:
        """Ask nothing of the repository until the next probe; what the copier has is put back."""
        now = self._clock.now()
        self.next_probe = now + self._probe_interval
        if not (self.outage and self.outage.is_known(error)):
            _log.error("outage.began", code=error.code, error=str(error))
            self.outage = Trouble(error, self.outage.since if self.outage else now)
        self.put_back()

    def _put_back(self, claimed: Sequence[FileRecord]) -> None:
        now = self._clock.now()
        self._journal.move((record, record.put_back(now)) for record in claimed)

    def _abandoned(self) -> Sequence[FileRecord]:
        self._copier.cancel()
        records = [each.record for each in self._beside.values()]
        self._beside.clear()
        return records


def _with(file: ReadFile, result: Copy | Comparison) -> ReadFile:
    if isinstance(result, Copy):
        return file._replace(copy=result.where)
    return file._replace(comparison=result)
