"""Where many artifacts are, without a URI for each."""

import re
from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

from lsst.daf.butler import DatasetRef
from lsst.daf.butler.datastore.stored_file_info import StoredFileInfo

from pfs_ingestd.adapters.repository.session import Session

__all__ = ["paths_of"]

_PLAIN = re.compile(r"\w[\w.+=-]*(?:/\w[\w.+=-]*)*", re.ASCII)
"""A path below the root of a datastore that no rule of URIs reads in another way."""


def paths_of(session: Session, refs: Mapping[UUID, DatasetRef]) -> dict[UUID, str]:
    """Tell where the artifacts of some datasets are on the disks of this machine; they may be gone.

    Butler makes a dozen objects for each URI, which takes longer than to ask for all that the datastore has
    recorded. So it is asked only for those that are recorded in an unusual way.

    Parameters
    ----------
    session : `Session`
        The repository.
    refs : `~collections.abc.Mapping` [`~uuid.UUID`, `~lsst.daf.butler.DatasetRef`]
        The datasets, each by its UUID.

    Returns
    -------
    paths : `dict` [`~uuid.UUID`, `str`]
        Their paths, absolute.
    """
    plain = {each: path for each, path in _recorded(session, refs.values()) if _PLAIN.fullmatch(path)}
    unusual = [refs[each] for each in refs.keys() - plain.keys()]
    uris = session.butler.get_many_uris(unusual, allow_missing=True) if unusual else {}
    paths = {
        ref.id: each.primaryURI.ospath
        for ref, each in uris.items()
        if each.primaryURI is not None and each.primaryURI.isLocal
    }
    if session.datastore.isLocal:
        root = session.datastore.ospath
        paths |= {each: f"{root}{path}" for each, path in plain.items()}
    return paths


def _recorded(session: Session, refs: Iterable[DatasetRef]) -> Iterator[tuple[UUID, str]]:
    """Get the path that the datastore has recorded of each dataset that is one file."""
    # Butler has no public way to its datastore; the observatory's pipelines go this one as well.
    datastore = session.butler._datastore  # noqa: SLF001
    for data in datastore.export_records(refs).values():
        for dataset_id, tables in data.records.items():
            files = [each for records in tables.values() for each in records]
            if len(files) == 1 and isinstance(files[0], StoredFileInfo):
                yield dataset_id, files[0].path
