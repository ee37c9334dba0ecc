"""The Butler repository as the daemon sees it."""

import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lsst.daf.butler import DimensionRecord
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.artifacts import kept, release
from pfs_ingestd.adapters.repository.batch import Batch, Item, compare, stored_artifacts
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.memory import Memory
from pfs_ingestd.adapters.repository.session import Session, configuration_of
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage, Rejected, TryLater
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader, design_conflict
from pfs_ingestd.pfs.instrument import detector_number
from pfs_ingestd.ports import Dataset, Header, Outcome, Stored
from pfs_ingestd.records import FileRecord

__all__ = ["TRANSFERS", "ButlerRepository", "open_repository"]

TRANSFERS = ("link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto")
"""The transfer modes, with the meaning that they have in `~lsst.daf.butler.Butler.ingest`."""

NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})


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
        raise _missing(root)
    repository = ButlerRepository(root, transfer=transfer, runs=runs, instrument=instrument)
    repository.open()
    return repository


class ButlerRepository:
    """Takes raws and pfsConfigs into a Butler repository, one transaction for each batch.

    Parameters
    ----------
    root, transfer, runs, instrument
        See `open_repository`.

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

    def __init__(self, root: str, *, transfer: str, runs: Mapping[str, str], instrument: str) -> None:
        self._root = root
        self._transfer = transfer
        self._runs = dict(runs)
        self._instrument = instrument
        self._session: Session | None = None
        self._memory = Memory()
        self._unlinkable: set[int] = set()
        self._room_needed = 0

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
        with self._at_work() as session:
            records = self._memory.exposures(session, visits)
        return {visit: record.pfs_design_id for visit, record in records.items()}

    def ingest(self, exposures: Sequence[Exposure], datasets: Sequence[Dataset]) -> Sequence[Outcome]:
        """Register exposures and store datasets; see `~pfs_ingestd.ports.Repository.ingest`."""
        for dataset in datasets:
            _check_name(dataset.path)
        with self._at_work() as session:
            session.check_mounted()
            given = {exposure.id: session.data_ids.observation(exposure) for exposure in exposures}
            visits = {dataset.header.visit for dataset in datasets}
            there = self._memory.exposures(session, visits - given.keys())
        items = _items(session, datasets, given | there)
        outcomes = dict.fromkeys(range(len(datasets)), Outcome(Stored.NO_EXPOSURE))
        paths = [item.path for item in items]
        with self._at_work(paths) as session:
            # Outside of the transaction, which keeps others waiting: comparing may take a while.
            old = [item for item in items if item.visit in there]
            compared, _ = compare(stored_artifacts(session, old), old)
            rest = [item for item in items if item.index not in compared]
        outcomes |= compared | self._store(given, rest)
        self._room_needed = 0
        if self._transfer == "move":
            self._release(items, outcomes)
        return [outcome for _, outcome in sorted(outcomes.items())]

    def moved(self, record: FileRecord) -> str | None:
        """Find the dataset that a file was moved into; see `~pfs_ingestd.ports.Repository.moved`."""
        if self._transfer != "move":
            return None
        with self._at_work() as session:
            there = self._memory.exposures(session, {record.visit})
            items = _items(session, [_described(record, self._instrument)], there)
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
        _check_name(dataset.path)
        with self._at_work([dataset.path]) as session:
            session.check_mounted()
            there = self._memory.exposures(session, {dataset.header.visit})
            items = _items(session, [dataset], there)
            if not items:
                return Outcome(Stored.NO_EXPOSURE)
            [exposure] = there.values()
            design = dataset.header.pfs_design_id
            if conflict := design_conflict(exposure.id, claimed=design, stored=exposure.pfs_design_id):
                raise conflict
            artifacts = stored_artifacts(session, items)
            outcomes, _ = compare(artifacts, items)
            datastore = session.datastore
        if [outcome.result for outcome in outcomes.values()] != [Stored.ALREADY_THERE]:
            with ExitStack() as stack:
                for artifact in artifacts.values():
                    stack.enter_context(kept(artifact, datastore))
                outcomes = self._store({}, items, replacing=True)
        if self._transfer == "move":
            self._release(items, outcomes)
        return outcomes[0]

    def probe(self) -> None:
        """Ask whether the repository can be written to; see `~pfs_ingestd.ports.Repository.probe`."""
        try:
            with self._at_work() as session:
                session.check_mounted()
                session.check_room(self._room_needed)
                session.check_registry()
        except TryLater as error:
            raise Outage(Code.REPOSITORY_UNREACHABLE, error.message, hint=error.hint) from error

    @contextmanager
    def _at_work(self, paths: Sequence[Path] = ()) -> Iterator[Session]:
        """Lend the open Butler; tell what it throws in our words, and let go of it then.

        The files that are being read may be to blame for an error of the operating system.
        """
        try:
            if self._session is None:
                self._session = self._new_session()
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
            raise classify(error) from error
        except BaseException:
            self._forget()
            raise

    def _new_session(self) -> Session:
        try:
            return Session(self._root, runs=self._runs, instrument=self._instrument)
        except IngestdError:
            raise
        except FileNotFoundError as error:
            if not configuration_of(self._root).isLocal:
                # The server that would have it did answer.
                raise _missing(self._root) from error
            raise Outage(
                Code.REPOSITORY_UNREACHABLE,
                f"the repository {self._root} is not there: {error}",
                hint="mount it; ingestion resumes by itself",
            ) from error
        except Exception as error:
            meaning = classify(error)
            if isinstance(meaning, Outage | Fatal):
                raise meaning from error
            raise Fatal(
                Code.REPOSITORY_UNSUITABLE,
                f"the repository {self._root} cannot be opened: {type(error).__name__}: {error}",
            ) from error

    def _forget(self) -> None:
        self.close()
        self._memory.clear()

    def _explain(self, error: OSError, paths: Sequence[Path]) -> IngestdError:
        """Find out whether a source or the datastore is to blame."""
        meaning = classify(error)
        if meaning.code is Code.DISK_FULL:
            self._room_needed = sum(_size(path) for path in paths) if self._owned else 0
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

    @property
    def _owned(self) -> bool:
        return self._transfer in {"copy", "move"}

    def _store(
        self, given: Mapping[int, DimensionRecord], items: Sequence[Item], *, replacing: bool = False
    ) -> dict[int, Outcome]:
        """Store in one transaction; for `move`, with links where they can be made."""
        if self._transfer != "move":
            return self._store_by(self._transfer, given, items, replacing=replacing)
        devices = {_device(item.path) for item in items}
        if devices & self._unlinkable:
            return self._store_by("copy", given, items, replacing=replacing)
        try:
            return self._store_by("hardlink", given, items, replacing=replacing)
        except TryLater as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in NO_LINK:
                raise
            self._unlinkable |= devices
        return self._store_by("copy", given, items, replacing=replacing)

    def _store_by(
        self, transfer: str, given: Mapping[int, DimensionRecord], items: Sequence[Item], *, replacing: bool
    ) -> dict[int, Outcome]:
        with self._at_work([item.path for item in items]) as session:
            batch = Batch(
                session=session,
                memory=self._memory,
                transfer=transfer,
                owned=self._owned,
                new=given,
                items=items,
                replacing=replacing,
            )
            return batch.store()

    def _release(self, items: Sequence[Item], outcomes: Mapping[int, Outcome]) -> None:
        """Remove the files that the datastore now has; all that can be, before complaining of one.

        Raises
        ------
        TryLater
            If one cannot be removed. It is found to be already there at the next attempt.
        """
        failures = []
        for item in items:
            outcome = outcomes[item.index]
            if outcome.result is Stored.CONFLICT:
                continue
            try:
                if not release(ResourcePath(outcome.where), item.path):
                    failures.append(f"{item.path} is stored, but {outcome.where} has other content")
            except OSError as error:
                failures.append(f"{item.path} is stored, but cannot be removed: {error}")
        if failures:
            raise TryLater(
                Code.STORE_FAILED, "; ".join(failures), hint="the transfer mode move removes what it stored"
            )


def _described(record: FileRecord, instrument: str) -> Dataset:
    """Describe a dataset by what the name of its file says."""
    header: Header
    if record.arm and record.spectrograph:
        header = RawHeader(
            instrument=instrument,
            visit=record.visit,
            arm=record.arm,
            spectrograph=record.spectrograph,
            detector=detector_number(record.arm, record.spectrograph),
            pfs_design_id=0,
            dither=0,
            cards={},
        )
    else:
        header = ConfigHeader(visit=record.visit, pfs_design_id=0, cat_ids=())
    return Dataset(record.path, header)


def _missing(root: str) -> Fatal:
    return Fatal(
        Code.CONFIGURATION,
        f"there is no Butler repository at {root}",
        hint=f"create it with `pfs-ingestd init {root}`",
    )


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise Rejected(
            Code.UNNAMEABLE,
            f"the name {os.fsencode(path)!r} is not UTF-8 and cannot be stored",
            hint="rename the file or its folder",
        ) from error


def _items(
    session: Session, datasets: Sequence[Dataset], exposures: Mapping[int, DimensionRecord]
) -> list[Item]:
    """Make the refs of the datasets whose exposures are known."""
    items = []
    for index, dataset in enumerate(datasets):
        header = dataset.header
        if (exposure := exposures.get(header.visit)) is None:
            continue
        cat_ids: tuple[int, ...] = ()
        if isinstance(header, RawHeader):
            ref = session.data_ids.raw(header, exposure)
        else:
            ref, cat_ids = session.data_ids.config(exposure), header.cat_ids
        items.append(
            Item(
                index=index,
                path=dataset.path,
                visit=header.visit,
                ref=ref,
                seen=dataset.seen,
                cat_ids=cat_ids,
            )
        )
    return items


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


def _device(path: Path) -> int:
    """Tell which file system a file is on; -1 if it is not there, which storing it will find out."""
    try:
        return path.stat().st_dev
    except OSError:
        return -1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
