"""The Butler repository as the daemon sees it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lsst.daf.butler import DimensionRecord
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.artifacts import kept, release
from pfs_ingestd.adapters.repository.batch import Batch, stored_artifacts
from pfs_ingestd.adapters.repository.comparing import Proof, found_at
from pfs_ingestd.adapters.repository.failures import classify, locked
from pfs_ingestd.adapters.repository.items import Item, check_name, described, items_of
from pfs_ingestd.adapters.repository.known import artifacts_among
from pfs_ingestd.adapters.repository.memory import Memory
from pfs_ingestd.adapters.repository.objects import STORE_ERRORS
from pfs_ingestd.adapters.repository.session import Session, configuration_of, missing, open_session
from pfs_ingestd.adapters.repository.transfers import OWNED, TRANSFERS, bound, effective, prepared
from pfs_ingestd.adapters.repository.verdicts import Inline, compare
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage, TryLater
from pfs_ingestd.exposure import Exposure, design_conflict
from pfs_ingestd.ports import Dataset, Outcome, Stored
from pfs_ingestd.records import FileRecord, Sighting

__all__ = ["ButlerRepository", "open_repository"]

HELD = 3
"""So many locks in a row that others do not let go of are no matter of one visit any more."""


def open_repository(
    root: str, *, transfer: str, runs: Mapping[str, str], instrument: str
) -> "ButlerRepository":
    """Open an existing repository to ingest into.

    Parameters
    ----------
    root : `str`
        Folder, URI or alias of the repository.
    transfer : `str`
        One of `TRANSFERS`. ``move`` links or copies the file, and removes it when what is stored is seen to
        have all its bytes.
    runs : `~collections.abc.Mapping` [`str`, `str`]
        Dataset type -> RUN collection, where another one is wanted than the repository's usual.
    instrument : `str`
        Name of the instrument.

    Raises
    ------
    Fatal
        If there is no such repository, it lacks what is needed, or it cannot do the transfer.
    Outage
        If it does not answer.
    """
    if transfer not in TRANSFERS:
        raise Fatal(
            Code.CONFIGURATION,
            f"there is no transfer mode {transfer!r}",
            hint=f"choose one of {', '.join(TRANSFERS)}",
        )
    try:
        exists = configuration_of(root).exists()
    except OSError as error:
        raise classify(error) from error
    if not exists:
        raise missing(root)
    repository = ButlerRepository(root, transfer=transfer, runs=runs, instrument=instrument)
    repository.open()
    return repository


class ButlerRepository:
    """Takes raws and pfsConfigs into a Butler repository, one transaction for each batch.

    Parameters
    ----------
    root, transfer, runs, instrument
        See `open_repository`.
    inline_bytes : `int` or `None`, optional
        How many bytes of a batch it copies itself, before the transaction begins, and how many it compares
        with what is stored; what goes beyond is ``TO_BE_COPIED`` and ``TO_BE_COMPARED``. `None` does all.

    Notes
    -----
    What a batch needs to know is made in memory from its headers and from what is remembered of earlier ones.
    The registry is asked for exposures that are not remembered, and for the datasets of exposures that were
    there before. The latter is asked within the transaction that stores: on SQLite that holds the only lock
    there is, on PostgreSQL it locks the rows of those exposures first. Otherwise, of two processes that store
    the same dataset, the slower one would remove the file of the faster one when it rolls back.

    A Butler that has failed is not used again: its datastore would go on taking notes for an undo that never
    comes.
    """

    def __init__(
        self,
        root: str,
        *,
        transfer: str,
        runs: Mapping[str, str],
        instrument: str,
        inline_bytes: int | None = None,
    ) -> None:
        self._root = root
        self._transfer = transfer
        self._inline_bytes = inline_bytes
        self._runs = dict(runs)
        self._instrument = instrument
        self._session: Session | None = None
        self._memory = Memory()
        self._room_needed = 0
        self._held = 0

    def open(self) -> None:
        """Open the repository now, not at the first call."""
        with self._at_work():
            pass

    def close(self) -> None:
        """Let go of the repository; the next call opens it again."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def designs(self, visits: Collection[int]) -> Mapping[int, int]:
        """Look up the exposure records of some visits; see `~pfs_ingestd.ports.Repository.designs`."""
        with self._answering(), self._at_work() as session:
            records = self._memory.exposures(session, visits)
        return {visit: record.pfs_design_id for visit, record in records.items()}

    def ingest(self, exposures: Sequence[Exposure], datasets: Sequence[Dataset]) -> Sequence[Outcome]:
        """Register exposures and store datasets; see `~pfs_ingestd.ports.Repository.ingest`."""
        for dataset in datasets:
            check_name(dataset.path)
        with self._at_work() as session:
            session.check_mounted()
            given = {exposure.id: session.data_ids.observation(exposure) for exposure in exposures}
            visits = {dataset.header.visit for dataset in datasets}
            there = self._memory.exposures(session, visits - given.keys())
        items = items_of(session, datasets, given | there)
        outcomes = dict.fromkeys(range(len(datasets)), Outcome(Stored.NO_EXPOSURE))
        paths = [item.path for item in items]
        with self._at_work(paths) as session:
            # Outside of the transaction, which keeps others waiting: comparing may take a while.
            old = [item for item in items if item.visit in there]
            inline = Inline(bound(self._inline_bytes, session.datastore))
            compared, _, proofs = compare(stored_artifacts(session, old), old, inline)
            rest = [item for item in items if item.index not in compared]
            if self._transfer == "move":
                proofs |= _proofs_of_copies(rest)
        outcomes |= compared | self._store(given, rest, inline_bytes=self._inline_bytes)
        if self._transfer == "move":
            self._release(items, outcomes, proofs)
        return [outcome for _, outcome in sorted(outcomes.items())]

    def stored(self, sightings: Sequence[Sighting]) -> Mapping[Path, str]:
        """Find out which files it has already; see `~pfs_ingestd.ports.Repository.stored`."""
        if self._transfer == "move":
            return {}  # the usual way also removes them
        with self._at_work() as session:
            session.check_mounted()
            return artifacts_among(session, sightings)

    def moved(self, record: FileRecord) -> str | None:
        """Find the dataset that a file was moved into; see `~pfs_ingestd.ports.Repository.moved`.

        Nothing is removed on the strength of this, so nothing can be lost by it. What can be mistaken is a
        file of other content and the same size, under a data ID that was taken, which somebody else took away
        before it was claimed: it counts as ingested, not as gone. Nothing can tell that from a file that was
        moved. The record has no checksum to compare with, and an artifact that was copied, or was there
        already, has times and an inode of its own.
        """
        if self._transfer != "move":
            return None
        with self._answering(), self._at_work() as session:
            there = self._memory.exposures(session, {record.visit})
            items = items_of(session, [described(record, self._instrument)], there)
            artifacts = stored_artifacts(session, items)
            for dataset_id, artifact in artifacts.items():
                if artifact.exists() and artifact.size() == record.size:
                    return str(dataset_id)
        return None

    def replace(self, dataset: Dataset) -> Outcome:
        """Store a file in the place of what is stored under its data ID: wholly, or it raises and nothing is.

        The dataset keeps its id, and with it its places in TAGGED and CALIBRATION collections.

        Returns
        -------
        outcome : `~pfs_ingestd.ports.Outcome`
            ``STORED``, ``ALREADY_THERE`` if what is stored are these bytes, or ``NO_EXPOSURE``.

        Raises
        ------
        Rejected
            If its design is not that of the exposure.
        TryLater, Outage
            If it may go better later.
        """
        check_name(dataset.path)
        with self._at_work([dataset.path]) as session:
            session.check_mounted()
            there = self._memory.exposures(session, {dataset.header.visit})
            items = items_of(session, [dataset], there)
            if not items:
                return Outcome(Stored.NO_EXPOSURE)
            [exposure] = there.values()
            design = dataset.header.pfs_design_id
            if conflict := design_conflict(exposure.id, claimed=design, stored=exposure.pfs_design_id):
                raise conflict
            artifacts = stored_artifacts(session, items)
            outcomes, _, proofs = compare(artifacts, items, Inline(None))
            datastore = session.datastore
        if [outcome.result for outcome in outcomes.values()] != [Stored.ALREADY_THERE]:
            with ExitStack() as stack:
                for artifact in artifacts.values():
                    stack.enter_context(kept(artifact, datastore))
                outcomes = self._store({}, items, inline_bytes=None, replacing=True)
        if self._transfer == "move":
            self._release(items, outcomes, proofs)
        return outcomes[0]

    def probe(self) -> None:
        """Ask whether the repository can be written to; see `~pfs_ingestd.ports.Repository.probe`."""
        with self._answering(), self._at_work() as session:
            session.check_mounted()
            session.check_room(self._room_needed)
            session.check_registry()
        self._room_needed = self._held = 0

    def explain(self, error: Exception, path: Path) -> IngestdError:
        """Tell what it means that a file could not be copied to the datastore.

        After a full disk, `probe` also asks for the room that the file needs.
        """
        return self._explain(error, [path]) if isinstance(error, OSError) else classify(error)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Take a question that fails for an outage: no file is asked of."""
        try:
            yield
        except TryLater as error:
            raise Outage(Code.REPOSITORY_UNREACHABLE, error.message, hint=error.hint) from error

    @contextmanager
    def _at_work(self, paths: Sequence[Path] = ()) -> Iterator[Session]:
        """Lend the open Butler; tell what it throws in our words, and let go of it then.

        The files that are being read may be to blame for an error of the operating system.
        """
        try:
            if self._session is None:
                self._session = open_session(self._root, runs=self._runs, instrument=self._instrument)
                effective(self._transfer, self._session.datastore)
            yield self._session
        except IngestdError:
            self._forget()
            raise
        except OSError as error:
            meaning = self._explain(error, paths)
            self._forget()
            raise meaning from error
        except Exception as error:
            self._forget()
            raise self._weighed(classify(error)) from error
        except BaseException:
            self._forget()
            raise

    def _weighed(self, meaning: IngestdError) -> IngestdError:
        """Tell a lock on one visit, which others need not wait for, from one on all."""
        if meaning.code is not Code.BUSY:
            return meaning
        self._held += 1
        return meaning if self._held < HELD else locked(meaning.message)

    def _forget(self) -> None:
        self.close()
        self._memory.clear()

    def _explain(self, error: OSError, paths: Sequence[Path]) -> IngestdError:
        """Find out whether a source or the datastore is to blame."""
        meaning = classify(error)
        if meaning.code is Code.DISK_FULL:
            # There has to be room for all that there was none for, or one file would keep out the other.
            self._room_needed += sum(_size(path) for path in paths) if self._transfer in OWNED else 0
        if meaning.code in {Code.DISK_FULL, Code.READ_ONLY}:
            return meaning
        for path in paths:
            if fault := _fault(path):
                return fault
        if isinstance(meaning, Outage) and paths and self._session is not None:
            try:
                self._session.check_mounted()
                self._session.check_room(0)
            except (IngestdError, OSError):
                return meaning
            return TryLater(Code.STORE_FAILED, meaning.message)
        return meaning

    def _store(
        self,
        given: Mapping[int, DimensionRecord],
        items: Sequence[Item],
        *,
        inline_bytes: int | None,
        replacing: bool = False,
    ) -> dict[int, Outcome]:
        """Store in one transaction; copy what has to be copied, and is not too large, before it begins."""
        with ExitStack() as stack:
            session = stack.enter_context(self._at_work([item.path for item in items]))
            transfer = effective(self._transfer, session.datastore)
            inline = bound(inline_bytes, session.datastore)
            files = stack.enter_context(
                prepared(items, transfer=transfer, root=session.datastore, inline_bytes=inline)
            )
            # Of an exposure none of whose raws is stored now, nothing is: they may all come to nothing.
            raws = {item.visit for item in files.ready if item.ref.datasetType == session.layout.raw}
            later = {item.visit for item in files.to_copy} & given.keys() - raws
            batch = Batch(
                session=session,
                memory=self._memory,
                transfer=transfer,
                owned=transfer in OWNED,
                new={visit: record for visit, record in given.items() if visit not in later},
                items=[item for item in files.ready if item.visit not in later],
                inline_bytes=inline,
                replacing=replacing,
            )
            where = session.datastore.geturl()
            to_copy = {
                item.index: Outcome(Stored.TO_BE_COPIED, str(item.ref.id), where) for item in files.to_copy
            }
            outcomes = batch.store()
        self._held = 0
        return outcomes | to_copy

    def _release(
        self, items: Sequence[Item], outcomes: Mapping[int, Outcome], proofs: Mapping[int, Proof]
    ) -> None:
        """Remove the files that the datastore now has; all that can be, before complaining of one.

        Raises
        ------
        TryLater, Outage
            If one cannot be removed. It is found to be already there at the next attempt.
        """
        failures = []
        for item in items:
            outcome = outcomes[item.index]
            if outcome.result not in {Stored.STORED, Stored.ALREADY_THERE}:
                continue
            try:
                if not release(ResourcePath(outcome.where), item.path, proofs.get(item.index)):
                    failures.append(f"{item.path} is stored, but {outcome.where} has other content")
            except STORE_ERRORS as error:
                raise classify(error) from error
            except OSError as error:
                failures.append(f"{item.path} is stored, but cannot be removed: {error}")
        if failures:
            raise TryLater(
                Code.STORE_FAILED, "; ".join(failures), hint="the transfer mode move removes what it stored"
            )


def _proofs_of_copies(items: Sequence[Item]) -> dict[int, Proof]:
    """Tell which copies were compared with their files: what they are renamed to need not be, any more."""
    return {
        item.index: Proof(found.mark, item.seen)
        for item in items
        if item.staged and item.seen and (found := found_at(item.staged))
    }


def _fault(path: Path) -> IngestdError | None:
    """Say what is wrong with a source, if anything is."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return TryLater(Code.VANISHED, f"{path} vanished while it was being stored")
    except OSError as error:
        return TryLater(Code.STORE_FAILED, f"{path} cannot be read: {error}")
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
