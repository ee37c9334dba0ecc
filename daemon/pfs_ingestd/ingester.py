"""A claimed batch in, every record's next state out."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.errors import (
    Code,
    Contended,
    Incomplete,
    IngestdError,
    Outage,
    Rejected,
    TryLater,
    Vanished,
)
from pfs_ingestd.exposure import Exposure, RawHeader, agreed_design, design_conflict, spokesman
from pfs_ingestd.policy import Patience, failed
from pfs_ingestd.ports import Clock, Comparison, Dataset, Folder, Header, Headers, Outcome, Repository, Stored
from pfs_ingestd.records import FileRecord, Sighting

__all__ = ["Answer", "Ingester", "OutOfHand", "ReadFile", "blamed"]

REPEATS = 3
"""How often a batch is stored again at once that another process got in the way of. Once is enough to see
what that one has stored."""


class ReadFile(NamedTuple):
    """A file as it was when its header was read; since then it may have been copied or compared."""

    sighting: Sighting
    header: Header
    copy: str | None = None
    comparison: Comparison | None = None


class OutOfHand(NamedTuple):
    """A file that something has to be done with beside the loop, which takes long, and what that is."""

    record: FileRecord
    file: ReadFile
    outcome: Outcome


class Answer(NamedTuple):
    """What becomes of claimed records.

    Parameters
    ----------
    successors : `~collections.abc.Sequence` [`FileRecord`]
        One for each record, in the same order; one that is out of hand stays claimed as it is.
    out_of_hand : `~collections.abc.Sequence` [`OutOfHand`]
        Those that have to be copied, or compared with what is stored.
    """

    successors: Sequence[FileRecord]
    out_of_hand: Sequence[OutOfHand]


class _File(NamedTuple):
    record: FileRecord
    read: ReadFile

    @property
    def header(self) -> Header:
        return self.read.header


class Ingester:
    """Takes batches of claimed files into the repository.

    Parameters
    ----------
    folder : `Folder`
        Looks at the files.
    headers : `Headers`
        Reads them.
    repository : `Repository`
        Where they go.
    clock : `Clock`
        Time and chance.
    patience : `Patience`
        How often and after what delay a file is tried again.
    defers : `bool`, optional
        Whether another process decides what is gone: it may only not be seen from here.
    """

    def __init__(
        self,
        folder: Folder,
        headers: Headers,
        repository: Repository,
        clock: Clock,
        patience: Patience,
        *,
        defers: bool = False,
    ) -> None:
        self._defers = defers
        self._folder = folder
        self._headers = headers
        self._repository = repository
        self._clock = clock
        self._patience = patience

    def ingest(self, claimed: Sequence[FileRecord], known: Mapping[Path, ReadFile | IngestdError]) -> Answer:
        """Store what can be stored, and decide what follows for each file.

        Parameters
        ----------
        claimed : `~collections.abc.Sequence` [`FileRecord`]
            Records in state ingesting.
        known : `~collections.abc.Mapping` [`~pathlib.Path`, `ReadFile` or `IngestdError`]
            Files that have just been read, and need not be read again unless they are others by now; and why
            some could not be copied or compared.

        Raises
        ------
        Outage
            If the repository cannot be reached. What was stored until then is found to be there already when
            its record is claimed again.
        """
        successors: dict[Path, FileRecord] = {}
        files = []
        for record, answer in self._read(claimed, known):
            if isinstance(answer, IngestdError):
                successors[record.path] = self._failed(record, answer)
            else:
                files.append(_File(record, answer))
        # Raws first: should the batch have to be split, a pfsConfig then finds its exposure.
        files.sort(key=lambda file: not isinstance(file.header, RawHeader))
        out_of_hand = []
        for each in self._store(files):
            if isinstance(each, OutOfHand):
                out_of_hand.append(each)
                successors[each.record.path] = each.record
            else:
                successors[each.path] = each
        return Answer([successors[record.path] for record in claimed], out_of_hand)

    def _read(
        self, claimed: Sequence[FileRecord], known: Mapping[Path, ReadFile | IngestdError]
    ) -> Iterator[tuple[FileRecord, ReadFile | IngestdError]]:
        """Give each record its file's header, from what is known where that is still the same file."""
        unread: list[tuple[FileRecord, Sighting]] = []
        for record in claimed:
            read = known.get(record.path)
            if isinstance(read, ReadFile) and record.resembles(read.sighting):
                yield record, read
                continue
            sighting = self._look(record)
            if isinstance(sighting, IngestdError):
                yield record, sighting
            elif isinstance(read, Outage):
                raise read
            elif isinstance(read, IngestdError):
                yield record, read
            else:
                unread.append((record, sighting))
        answers = self._headers.read([sighting for _, sighting in unread])
        for (record, sighting), answer in zip(unread, answers, strict=True):
            yield record, answer if isinstance(answer, IngestdError) else ReadFile(sighting, answer)

    def _look(self, record: FileRecord) -> Sighting | IngestdError:
        """Look whether a file is still the one that its record speaks of."""
        try:
            sighting = self._folder.look(record.path)
        except (Outage, TryLater) as error:
            return error
        if sighting is None:
            return Vanished(Code.VANISHED, "the file is no longer there")
        if not record.resembles(sighting):
            return Incomplete(Code.INCOMPLETE, "the file changed after it was found complete")
        return sighting

    def _store(self, files: Sequence[_File], *, repeats: int = REPEATS) -> Sequence[FileRecord | OutOfHand]:
        """Store files together; if they are refused, in parts, so that only the guilty one pays."""
        if not files:
            return []
        designs = self._repository.designs({file.header.visit for file in files})
        unchanged, changed = self._sorted(files)
        exposures, storable, others = self._plan(unchanged, designs)
        successors = [*changed, *others]
        if not storable:
            return successors
        datasets = [
            Dataset(file.record.path, file.header, file.read.sighting, file.read.copy, file.read.comparison)
            for file in storable
        ]
        try:
            outcomes = self._repository.ingest(exposures, datasets)
        except (Rejected, TryLater) as error:
            if error.code is Code.RACE and repeats:
                # Which exposures are there has to be asked again: what is registered stays as it is.
                return [*successors, *self._store(storable, repeats=repeats - 1)]
            parts = _visits(storable) if isinstance(error, Contended) else _halves(storable)
            if len(parts) == 1:
                return [*successors, *(self._failed(file.record, error) for file in storable)]
            return [*successors, *(each for part in parts for each in self._store(part))]
        stored = [self._succeeded(file, outcome) for file, outcome in zip(storable, outcomes, strict=True)]
        return [*successors, *stored]

    def _sorted(self, files: Sequence[_File]) -> tuple[list[_File], list[FileRecord]]:
        """Tell the files that are still what was read from those that are not, and what becomes of these.

        The reading of a large batch takes a while, and the repository takes what it finds.
        """
        unchanged: list[_File] = []
        changed: list[FileRecord] = []
        for file in files:
            sighting = self._look(file.record)
            if isinstance(sighting, IngestdError):
                changed.append(self._failed(file.record, sighting))
            else:
                unchanged.append(file._replace(read=file.read._replace(sighting=sighting)))
        return unchanged, changed

    def _plan(
        self, files: Sequence[_File], registered: Mapping[int, int]
    ) -> tuple[list[Exposure], list[_File], list[FileRecord]]:
        """Find the exposure records to be made, the files that fit them, and what becomes of the others."""
        designs = dict(registered)
        speakers = defaultdict(list)
        for file in files:
            if isinstance(file.header, RawHeader) and file.header.visit not in designs:
                speakers[file.header.visit].append(file.header)
        exposures = []
        for visit, headers in sorted(speakers.items()):
            designs[visit] = agreed_design(headers)
            speaker = spokesman(header for header in headers if header.pfs_design_id == designs[visit])
            exposures.append(self._headers.exposure(speaker))
        storable: list[_File] = []
        others: list[FileRecord] = []
        for file in files:
            visit = file.header.visit
            if visit not in designs:
                others.append(self._waiting(file.record))
            elif conflict := design_conflict(visit, claimed=file.header.pfs_design_id, stored=designs[visit]):
                others.append(self._failed(file.record, conflict))
            else:
                storable.append(file)
        return exposures, storable, others

    def _succeeded(self, file: _File, outcome: Outcome) -> FileRecord | OutOfHand:
        match outcome.result:
            case Stored.STORED | Stored.ALREADY_THERE as result:
                already = result is Stored.ALREADY_THERE
                return file.record.ingested(outcome.dataset_id, already=already, now=self._clock.now())
            case Stored.CONFLICT:
                return self._failed(
                    file.record,
                    Rejected(
                        Code.CONFLICT,
                        f"other content is already stored under the same data ID: {outcome.where}",
                        hint="compare the two; the stored one has not been touched",
                    ),
                )
            case Stored.NO_EXPOSURE:
                return self._waiting(file.record)
            case Stored.TO_BE_COMPARED if file.read.comparison:
                changed = f"what is stored changed while it was compared: {outcome.where}"
                return self._failed(file.record, TryLater(Code.RACE, changed))
            case Stored.TO_BE_COPIED | Stored.TO_BE_COMPARED:
                # What came of it before has found no use, and is no longer there.
                read = ReadFile(file.read.sighting, file.read.header)
                return OutOfHand(file.record, read, outcome)

    def _waiting(self, record: FileRecord) -> FileRecord:
        now = self._clock.now()
        missing = Rejected(
            Code.NO_EXPOSURE,
            f"exposure {record.visit} is not in the repository yet",
            hint="a raw of the visit brings it",
        )
        return record.waiting(until=now + self._patience.orphan_after, error=missing, now=now)

    def _failed(self, record: FileRecord, error: IngestdError) -> FileRecord:
        error = blamed(self._folder, record.path, error)
        # The process may have died after it moved the file, and before it could write that down.
        if isinstance(error, Vanished) and (dataset_id := self._repository.moved(record)):
            return record.ingested(dataset_id, already=True, now=self._clock.now())
        if isinstance(error, Vanished) and self._defers:
            error = Outage(Code.ROOT_UNREACHABLE, "the file is not seen from this host")
        return failed(
            record, error, chance=self._clock.random(), patience=self._patience, now=self._clock.now()
        )


def _halves(files: Sequence[_File]) -> Sequence[Sequence[_File]]:
    half = len(files) // 2
    return [files[:half], files[half:]] if half else [files]


def _visits(files: Sequence[_File]) -> Sequence[Sequence[_File]]:
    """Sort files by what others lock: a visit at a time."""
    visits = defaultdict(list)
    for file in files:
        visits[file.header.visit].append(file)
    return list(visits.values())


def blamed(folder: Folder, path: Path, error: IngestdError) -> IngestdError:
    """Find out whether a file that cannot be read, or its folder, is to blame.

    Parameters
    ----------
    folder : `Folder`
        Looks at the file once more.
    path : `~pathlib.Path`
        The file.
    error : `IngestdError`
        What was said of the file.

    Returns
    -------
    error : `IngestdError`
        An `Outage` where nothing can be said of any file of that folder, else the same error.
    """
    if isinstance(error, TryLater | Vanished):
        try:
            folder.look(path)
        except Outage as outage:
            return outage
        except TryLater:
            return error
    return error
