"""What nobody needs in a datastore, removed: only what is still what it was found to be."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pfs_ingestd.adapters.repository.comparing import holds, uri_of
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.session import Session, open_session
from pfs_ingestd.adapters.repository.staging import abandoned
from pfs_ingestd.adapters.repository.strays import places_of, stamp
from pfs_ingestd.adapters.repository.visits import datasets_of, lock_exposures, runs_with
from pfs_ingestd.audit.findings import Stray
from pfs_ingestd.errors import Code, IngestdError, TryLater
from pfs_ingestd.records import path_text

__all__ = ["RepositoryBroom"]


class RepositoryBroom:
    """Removes strays from the datastore of a repository, which is opened when there is one.

    Parameters
    ----------
    root, runs, instrument
        See `~pfs_ingestd.adapters.repository.ingest.open_repository`.
    """

    def __init__(self, root: str, *, runs: Mapping[str, str], instrument: str) -> None:
        self._root = root
        self._runs = runs
        self._instrument = instrument
        self._session: Session | None = None

    def close(self) -> None:
        """Let go of the repository."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def remove(self, stray: Stray, source: Path) -> None:
        """Remove a stray that has the bytes of a file; see `~pfs_ingestd.audit.mender.Shelves.remove`.

        Whoever stores a dataset makes its artifact and registers it in one transaction. Within one of ours,
        therefore, what is not registered is not about to be.
        """
        with self._at_work() as session:
            session.check_mounted()
            if not holds(uri_of(stray.path), source):
                raise _other(stray)
            with session.butler.transaction():
                visits = set() if stray.visit is None else {stray.visit}
                lock_exposures(session, visits)
                if stamp(os.lstat(stray.path)) != stray.stamp or not source.exists():
                    raise _other(stray)
                for dataset_type in (session.layout.raw, session.layout.config):
                    refs = datasets_of(session, dataset_type, runs_with(session, dataset_type), visits)
                    if stray.path in places_of(session, refs):
                        raise _other(stray)
                stray.path.unlink()

    def sweep(self, folder: Path) -> None:
        """Remove the copies of a process that died; see `~pfs_ingestd.audit.mender.Shelves.sweep`."""
        with self._at_work() as session:
            # Opening the repository has removed them already, or this process is not dead at all.
            if folder in abandoned(session.datastore):
                shutil.rmtree(folder)

    @contextmanager
    def _at_work(self) -> Iterator[Session]:
        try:
            if self._session is None:
                self._session = open_session(self._root, runs=self._runs, instrument=self._instrument)
            yield self._session
        except Exception as error:
            self.close()
            if isinstance(error, IngestdError):
                raise
            raise classify(error) from error


def _other(stray: Stray) -> TryLater:
    return TryLater(Code.RACE, f"{path_text(stray.path)} is not what it was a moment ago")
