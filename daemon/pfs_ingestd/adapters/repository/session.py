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
)
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import sqlite_hints
from pfs_ingestd.adapters.repository.artifacts import Durability
from pfs_ingestd.adapters.repository.data_ids import DataIds
from pfs_ingestd.adapters.repository.failures import full, of_os
from pfs_ingestd.adapters.repository.layout import discover, unsuitable
from pfs_ingestd.adapters.repository.staging import sweep
from pfs_ingestd.errors import Code, Fatal, Outage

__all__ = ["Session", "configuration_of"]

LONGEST_WAIT_MS = 10_000
INGESTS_PER_CONNECTION = 100
TRIAL = 1 << 16


def configuration_of(root: str) -> ResourcePath:
    """Name the configuration file of a repository, given by folder, URI or alias."""
    uri = Butler.get_repo_uri(root, return_label=True)
    if uri.getExtension() == ".yaml":
        return uri
    return ResourcePath(uri, forceDirectory=True).join("butler.yaml")


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

    Raises
    ------
    Fatal
        If the repository lacks what is needed.
    Outage
        If its datastore is not there.
    """

    def __init__(self, root: str, *, runs: Mapping[str, str], instrument: str) -> None:
        sqlite_hints.install()
        config = ButlerConfig(configuration_of(root))
        self.instrument = instrument
        self.is_sqlite = str(config["registry", "db"]).startswith("sqlite")
        self._limit_waiting(config)
        self.butler = Butler.from_config(config, writeable=True)
        try:
            self.datastore = _datastore_root(self.butler)
            self._mounted = _identity(self.datastore)
            sweep(self.datastore)
            self.layout = discover(self.butler, config, instrument=instrument, runs=runs)
            self._register_runs()
            self.data_ids = DataIds(self.butler, self.layout, instrument)
            self._check_filled()
        except BaseException:
            self.butler.close()
            raise
        self.durability = Durability(self.datastore)
        self._ingests = 0

    def close(self) -> None:
        """Let go of the repository."""
        self.butler.close()

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
            If it has no room.
        """
        if not self.datastore.isLocal:
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
        # Each ingest leaves a temporary table behind in the connection to SQLite.
        if self.is_sqlite and self._ingests % INGESTS_PER_CONNECTION == 0:
            self.butler.registry.resetConnectionPool()

    def _limit_waiting(self, config: ButlerConfig) -> None:
        if self.is_sqlite:
            root = str(config.configDir.ospath) if config.configDir else ""
            url = sqlalchemy.make_url(str(config["registry", "db"]).replace("<butlerRoot>", root))
            sqlite_hints.limit_waiting(url.database or "", LONGEST_WAIT_MS)

    def _check_filled(self) -> None:
        """See that the datastore is not the empty folder that one is to be mounted on."""
        if not self.datastore.isLocal:
            return
        known = self.butler.query_datasets(
            self.layout.raw, collections=self.layout.raw_run, find_first=False, limit=1, explain=False
        )
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
