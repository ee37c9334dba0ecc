"""An open Butler and what was learned of its repository, good until the first failure."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy
from lsst.daf.butler import (  # type: ignore[attr-defined]  # CollectionType is not in an __all__
    Butler,
    ButlerConfig,
    CollectionType,
    MissingCollectionError,
)
from lsst.daf.butler.registry import RegistryConfig
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import postgres_hints, sqlite_hints, statements
from pfs_ingestd.adapters.repository.artifacts import Durability
from pfs_ingestd.adapters.repository.data_ids import DataIds
from pfs_ingestd.adapters.repository.failures import classify, full, is_rivalry, of_os, unsuitable
from pfs_ingestd.adapters.repository.layout import discover
from pfs_ingestd.adapters.repository.objects import STORE_TROUBLE, be_brief, try_store
from pfs_ingestd.adapters.repository.staging import sweep
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage

__all__ = ["Session", "configuration_of", "let_go", "missing", "open_session"]

LONGEST_WAIT_MS = 10_000
INGESTS_PER_CONNECTION = 100
TRIAL = 1 << 16


def configuration_of(root: str) -> ResourcePath:
    """Name the configuration file of a repository, given by folder, URI or alias."""
    uri = Butler.get_repo_uri(root, return_label=True)
    if uri.getExtension() == ".yaml":
        return uri
    return ResourcePath(uri, forceDirectory=True).join("butler.yaml")


def missing(root: str) -> Fatal:
    """Say that there is no repository."""
    return Fatal(
        Code.CONFIGURATION,
        f"there is no Butler repository at {root}",
        hint=f"create it with `pfs-ingestd init {root}`",
    )


def let_go(butler: Butler) -> None:
    """Close the connections of a Butler; older releases have no other way to close one."""
    butler.registry.resetConnectionPool()


class Session:
    """An open Butler.

    Parameters
    ----------
    root : `str`
        Folder, URI or alias of the repository.
    runs : `~collections.abc.Mapping` [`str`, `str`]
        See `discover`.
    instrument : `str`
        Name of the instrument.
    writeable : `bool`, optional
        Whether it is to be written to. If not, opening it changes nothing, either.
    trial : `bool`, optional
        Whether it is only to be seen that it could be written to. Opening it then changes nothing, either.

    Raises
    ------
    Fatal
        If the repository lacks what is needed.
    Outage
        If its datastore is not there.
    """

    def __init__(
        self,
        root: str,
        *,
        runs: Mapping[str, str],
        instrument: str,
        writeable: bool = True,
        trial: bool = False,
    ) -> None:
        postgres_hints.install()
        sqlite_hints.install()
        statements.install()
        config = ButlerConfig(configuration_of(root))
        self.instrument = instrument
        registry = _registry_url(config)
        self._database = (registry.database or "") if registry.drivername.startswith("sqlite") else None
        self.is_sqlite = self._database is not None
        if self._database is not None:
            sqlite_hints.limit_waiting(self._database, LONGEST_WAIT_MS)
        else:
            postgres_hints.limit_waiting(registry, LONGEST_WAIT_MS)
        self.butler = Butler.from_config(config, writeable=writeable)
        try:
            self.datastore = _datastore_root(self.butler)
            be_brief(self.datastore)
            self._mounted = _identity(self.datastore)
            if writeable and not trial:
                sweep(self.datastore)
            self.layout = discover(self.butler, config, instrument=instrument, runs=runs)
            if writeable and not trial:
                self._register_runs()
            self.data_ids = DataIds(self.butler, self.layout, instrument)
            self._check_filled()
        except BaseException:
            let_go(self.butler)
            raise
        self.durability = Durability(self.datastore)
        self._ingests = 0

    def close(self) -> None:
        """Let go of the repository."""
        let_go(self.butler)

    def check_mounted(self) -> None:
        """See that the datastore is the one that was opened: another folder may appear beneath it.

        Raises
        ------
        Outage
            If it is not.
        """
        try:
            mounted = _identity(self.datastore)
        except OSError as error:
            raise of_os(error) or _dismounted(self.datastore, error) from error
        if mounted != self._mounted:
            raise _dismounted(self.datastore, "another folder has taken its place")

    def check_room(self, needed: int) -> None:
        """See that the datastore can be written to.

        Parameters
        ----------
        needed : `int`
            How much is to be written, bytes.

        Raises
        ------
        OSError
            If it cannot.
        Outage
            If it has no room, or does not answer.
        """
        if not self.datastore.isLocal:
            try:
                try_store(self.datastore)
            except STORE_TROUBLE as error:
                raise classify(error) from error
            return
        root = self.datastore.ospath
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(bytes(TRIAL))
            file.flush()
            os.fsync(file.fileno())
        disk = os.statvfs(root)
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise full(f"{free} bytes are free, {needed} are needed")

    def check_registry(self) -> None:
        """See that the registry can be written to, by writing a record as it is."""
        with self.butler.transaction():
            records = self.butler.query_dimension_records("instrument", instrument=self.instrument)
            self.butler.registry.insertDimensionData("instrument", *records, replace=True)

    def ingested(self) -> None:
        """Take note of a completed ingest."""
        self._ingests += 1
        # Each ingest leaves a temporary table behind in the connection to SQLite. The next connection has
        # none, and plans by the new statistics.
        if self._database is not None and self._ingests % INGESTS_PER_CONNECTION == 0:
            sqlite_hints.update_statistics(self._database)
            self.butler.registry.resetConnectionPool()

    def _check_filled(self) -> None:
        """See that the datastore is not the empty folder that one is to be mounted on."""
        if not self.datastore.isLocal:
            return
        try:
            known = self.butler.query_datasets(
                self.layout.raw, collections=self.layout.raw_run, find_first=False, limit=1, explain=False
            )
        except MissingCollectionError:
            # It was not opened to be written to, and nobody else has.
            return
        for uris in self.butler.get_many_uris(known, allow_missing=True).values():
            within = uris.primaryURI and uris.primaryURI.relative_to(self.datastore)
            if within and not self.datastore.join(within.split("/")[0]).exists():
                raise _dismounted(self.datastore, f"it lacks {within}")

    def _register_runs(self) -> None:
        for run in (self.layout.raw_run, self.layout.config_run):
            self.butler.collections.register(run)
            found = self.butler.collections.get_info(run).type
            if found is not CollectionType.RUN:
                raise Fatal(
                    Code.CONFIGURATION,
                    f"the collection {run!r} is of type {found.name}: nothing can be ingested into it",
                    hint="choose another name in ingest.runs",
                )


def open_session(
    root: str,
    *,
    runs: Mapping[str, str],
    instrument: str,
    writeable: bool = True,
    trial: bool = False,
) -> Session:
    """Open a repository, and tell in our words why it cannot be opened.

    Parameters
    ----------
    root, runs, instrument, writeable, trial
        See `Session`.

    Raises
    ------
    Fatal
        If it lacks what is needed, or cannot be opened at all.
    Outage
        If it is not there, or does not answer.
    """
    try:
        return Session(root, runs=runs, instrument=instrument, writeable=writeable, trial=trial)
    except IngestdError:
        raise
    except FileNotFoundError as error:
        if not configuration_of(root).isLocal:
            # The server that would have it did answer.
            raise missing(root) from error
        raise Outage(
            Code.REPOSITORY_UNREACHABLE,
            f"the repository {root} is not there: {error}",
            hint="mount it; ingestion resumes by itself",
        ) from error
    except Exception as error:
        meaning = classify(error)
        if isinstance(meaning, Outage | Fatal):
            raise meaning from error
        if is_rivalry(meaning):
            # Another process opens it for the first time, too, or is changing what it consists of.
            raise Outage(Code.REPOSITORY_UNREACHABLE, meaning.message, hint=meaning.hint) from error
        raise Fatal(
            Code.REPOSITORY_UNSUITABLE,
            f"the repository {root} cannot be opened: {type(error).__name__}: {error}",
        ) from error


def _registry_url(config: ButlerConfig) -> sqlalchemy.URL:
    """Tell where the registry is, as Butler will: keys beside the URL, and db-auth.yaml, may say more."""
    registry = RegistryConfig(config)
    if config.configDir is not None:
        registry.replaceRoot(config.configDir)
    return registry.connectionString


def _datastore_root(butler: Butler) -> ResourcePath:
    roots = list(butler.get_datastore_roots().values())
    if len(roots) != 1 or roots[0] is None:
        raise unsuitable("it has no datastore, or more than one")
    return roots[0]


def _identity(root: ResourcePath) -> tuple[int, int] | None:
    if not root.isLocal:
        return None
    found = Path(root.ospath).stat()
    return found.st_dev, found.st_ino


def _dismounted(root: ResourcePath, reason: object) -> Outage:
    return Outage(
        Code.REPOSITORY_UNREACHABLE,
        f"the datastore {root} is not what it was: {reason}",
        hint="mount it again; ingestion resumes by itself",
    )
