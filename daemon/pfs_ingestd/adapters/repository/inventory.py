"""What a repository has, looked at and not changed: its datasets, and what the datastore has of them."""

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

from lsst.daf.butler import DatasetRef
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import holds, uri_of
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.memory import query_exposures
from pfs_ingestd.adapters.repository.objects import STORE_ERRORS
from pfs_ingestd.adapters.repository.session import Session, open_session
from pfs_ingestd.adapters.repository.staging import abandoned
from pfs_ingestd.adapters.repository.strays import OLD, StrayObjects, Strays
from pfs_ingestd.adapters.repository.visits import datasets_of, runs_with
from pfs_ingestd.audit.findings import Artifact, StoredDataset, Stray, StrayObject
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage
from pfs_ingestd.records import Kind

__all__ = ["RepositoryInventory"]


class RepositoryInventory:
    """Goes through the raws and pfsConfigs of an instrument, in whatever RUN collections they are.

    Whatever the repository does not answer is an `~pfs_ingestd.errors.Outage`.

    Parameters
    ----------
    root, runs, instrument
        See `~pfs_ingestd.adapters.repository.ingest.open_repository`.
    now : `~datetime.datetime`
        The time.
    """

    def __init__(self, root: str, *, runs: Mapping[str, str], instrument: str, now: datetime) -> None:
        self._session = open_session(root, runs=runs, instrument=instrument, writeable=False)
        try:
            with self._asking() as session:
                layout = session.layout
                self._runs = {each.name: runs_with(session, each) for each in (layout.raw, layout.config)}
        except BaseException:
            self._session.close()
            raise
        datastore = self._session.datastore
        self._within = f"{Path(datastore.ospath)}/" if datastore.isLocal else ""
        self._old = (now - OLD).timestamp()
        self._strays: Strays | StrayObjects | None = None
        if datastore.isLocal:
            self._strays = Strays(self._session, self._old)
        elif datastore.scheme == "s3":
            self._strays = StrayObjects(self._session, now - OLD)

    def close(self) -> None:
        """Let go of the repository."""
        self._session.close()

    def check(self) -> None:
        """See that the datastore is there; see `~pfs_ingestd.audit.auditor.Inventory.check`."""
        with self._asking() as session:
            session.check_mounted()

    def first_visit(self, night: int) -> int:
        """Tell the lowest visit of a night, or of those after it.

        Parameters
        ----------
        night : `int`
            Its date, as ``day_obs`` has it: yyyymmdd.

        Returns
        -------
        visit : `int`
            Where there is none yet, one more than the last visit.

        Raises
        ------
        Fatal
            If the exposures of the repository have no ``day_obs``.
        """
        with self._asking() as session:
            name = session.layout.observation.name
            if "day_obs" not in session.layout.observation.RecordClass.fields.names:
                raise Fatal(
                    Code.CONFIGURATION,
                    f"the repository does not say of which night a {name} is",
                    hint="leave --since out",
                )
            for where, order in ((f"{name}.day_obs >= night", name), ("", f"-{name}")):
                found = session.butler.query_dimension_records(
                    name,
                    instrument=session.instrument,
                    where=where,
                    bind={"night": night} if where else None,
                    order_by=order,
                    limit=1,
                    explain=False,
                )
                if found:
                    return int(found[0].id) + (not where)
        return 0

    def visits(self, after: int, limit: int) -> Sequence[int]:
        """Get the lowest visits above one that are registered, ascending."""
        with self._asking() as session:
            name = session.layout.observation.name
            found = session.butler.query_data_ids(
                name,
                instrument=session.instrument,
                where=f"{name} > last",
                bind={"last": after},
                order_by=name,
                limit=limit,
                explain=False,
            )
            return [int(data_id[name]) for data_id in found]

    def exposures(self, visits: Collection[int]) -> Collection[int]:
        """Tell which of some visits are registered."""
        with self._asking() as session:
            return {int(record.id) for record in query_exposures(session, visits)}

    def exposure(self, visit: int) -> Mapping[str, object] | None:
        """Get the record of a visit's exposure, by its columns; `None` if it is not registered."""
        with self._asking() as session:
            found = query_exposures(session, [visit])
            return dict(found[0].toDict()) if found else None

    def visit_of(self, dataset_id: str) -> int | None:
        """Tell of which visit a raw or pfsConfig is; `None` if the registry does not have it."""
        with self._asking() as session:
            ref = session.butler.get_dataset(UUID(dataset_id))
            layout = session.layout
            if ref is None or ref.datasetType.name not in {layout.raw.name, layout.config.name}:
                return None
            return int(ref.dataId.mapping[layout.observation.name])

    def datasets(self, visits: Collection[int]) -> Sequence[StoredDataset]:
        """Get all raws and pfsConfigs of some visits, and look at their artifacts."""
        found = []
        with self._asking() as session:
            layout = session.layout
            usual = {layout.raw.name: layout.raw_run, layout.config.name: layout.config_run}
            for dataset_type in (layout.raw, layout.config):
                refs = datasets_of(session, dataset_type, self._runs[dataset_type.name], visits)
                uris = session.butler.get_many_uris(refs, allow_missing=True)
                for ref in refs:
                    uri = uris[ref].primaryURI if ref in uris else None
                    found.append(self._described(ref, uri, usual=usual[dataset_type.name] == ref.run))
        return found

    def _described(self, ref: DatasetRef, uri: ResourcePath | None, *, usual: bool) -> StoredDataset:
        values = ref.dataId.mapping
        within = uri is not None and uri.isLocal and uri.ospath.startswith(self._within)
        artifact = _look(uri, within=within) if uri is not None else None
        if self._strays is not None and uri is not None and (within or not uri.isLocal):
            self._strays.tell(ref.run, uri.ospath if within else uri.geturl())
        return StoredDataset(
            id=str(ref.id),
            kind=Kind(ref.datasetType.name),
            visit=int(values[self._session.layout.observation.name]),
            arm=str(values["arm"]) if "arm" in values else None,
            spectrograph=int(values["spectrograph"]) if "spectrograph" in values else None,
            run=ref.run,
            usual=usual,
            artifact=artifact,
        )

    def holds(self, dataset: StoredDataset, path: Path) -> bool | None:
        """Compare the bytes of a dataset with those of a file; `None` if one of them cannot be read."""
        if dataset.artifact is None:
            return None
        try:
            return holds(ResourcePath(dataset.artifact.where), path)
        except STORE_ERRORS as error:
            raise classify(error) from error
        except OSError:
            return None

    def strays(self, tell: Callable[[int], None]) -> Iterator[Stray | StrayObject]:
        """Find what belongs to no dataset, in a folder or in S3."""
        if self._strays is not None:
            with self._asking():
                yield from self._strays.find(tell)

    def is_copy(self, stray: Stray, path: Path) -> bool:
        """Say whether a stray is, leads to, or has the same bytes as a file."""
        try:
            return bool(holds(uri_of(stray.path), path))
        except OSError:
            return False

    def abandoned(self) -> Sequence[Path]:
        """Find the folders of those who died while they copied, those alone that nobody is just making."""
        with self._asking() as session:
            return [folder for folder in abandoned(session.datastore) if folder.stat().st_mtime < self._old]

    @contextmanager
    def _asking(self) -> Iterator[Session]:
        """Lend the open Butler; tell what it throws in our words."""
        try:
            yield self._session
        except IngestdError:
            raise
        except OSError as error:
            raise Outage(
                Code.REPOSITORY_UNREACHABLE,
                f"the datastore cannot be read: {error}",
                hint="see that it is mounted and that this user may read it",
            ) from error
        except Exception as error:
            raise classify(error) from error


def _look(uri: ResourcePath, *, within: bool) -> Artifact:
    if not uri.isLocal:
        return Artifact(where=uri.geturl(), elsewhere=None, size=_remote_size(uri))
    path = Path(uri.ospath)
    elsewhere = None if within else path
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            elsewhere = path.parent / path.readlink()
            status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Artifact(where=uri.geturl(), elsewhere=elsewhere, size=None)
    return Artifact(
        where=uri.geturl(),
        elsewhere=elsewhere,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
    )


def _remote_size(uri: ResourcePath) -> int | None:
    try:
        return uri.size()
    except FileNotFoundError:
        return None
