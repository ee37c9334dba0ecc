"""Files held against artifacts: by what a look can tell, and by their bytes where nothing else can."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import always, check_unchanged, check_wanted, same_bytes
from pfs_ingestd.adapters.repository.objects import Object, look_at, same_digest
from pfs_ingestd.ports import Comparison
from pfs_ingestd.records import Sighting

__all__ = ["Found", "Proof", "compared", "found_at", "holds", "same_content", "told_by_look", "uri_of"]

CHUNK = 1 << 20


class Found(NamedTuple):
    """An artifact as a look found it.

    Parameters
    ----------
    uri : `~lsst.resources.ResourcePath`
        Where it is.
    size : `int`
        Its size, bytes.
    mark : `str`
        Changes when another one takes its place, or it is written to; a new name does not change it.
    on_disk : `os.stat_result` or `None`
        What the file system of this machine says of it.
    in_store : `~pfs_ingestd.adapters.repository.objects.Object` or `None`
        What a store says of it.
    """

    uri: ResourcePath
    size: int
    mark: str
    on_disk: os.stat_result | None = None
    in_store: Object | None = None


class Proof(NamedTuple):
    """That an artifact has the bytes of a file: the mark of the one, and the other, as they were compared."""

    mark: str
    seen: Sighting


def uri_of(path: Path) -> ResourcePath:
    """Name a file so that nothing in its name is taken for the syntax of a URI."""
    return ResourcePath(path.absolute().as_uri(), forceDirectory=False)


def found_at(artifact: ResourcePath) -> Found | None:
    """Look at an artifact; `None` if there is none.

    Raises
    ------
    OSError, or what a store throws
        If it cannot be looked at.
    """
    if artifact.scheme == "s3":
        found = look_at(artifact)
        # The tag follows from the content, or from the request that wrote it.
        return found and Found(artifact, found.size, f"{found.tag} {found.size}", in_store=found)
    try:
        if not artifact.isLocal:
            return Found(artifact, size := artifact.size(), str(size))
        status = Path(artifact.ospath).stat()
    except FileNotFoundError:
        return None
    mark = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    return Found(artifact, status.st_size, mark, on_disk=status)


def told_by_look(found: Found, of_source: os.stat_result) -> bool | None:
    """Tell whether an artifact is, or has the same bytes as, a file; `None` if they have to be read."""
    if found.on_disk and os.path.samestat(found.on_disk, of_source):
        return True
    return None if found.size == of_source.st_size else False


def same_content(found: Found, source: Path, wanted: Callable[[], bool] = always) -> bool:
    """Read an artifact and a file of the same size, and say whether they have the same bytes.

    Of an object whose tag says enough nothing is read; others are, up to the first byte that differs.

    Raises
    ------
    Unwanted
        If it was not to go on.
    OSError, or what a store throws
        If one of them cannot be read, or is not there.
    """
    if found.on_disk:
        return same_bytes(source, Path(found.uri.ospath), wanted=wanted)
    if found.in_store and same_digest(found.in_store, source, wanted):
        return True
    return _same_stream(found.uri, source, wanted)


def holds(artifact: ResourcePath, source: Path, wanted: Callable[[], bool] = always) -> bool | None:
    """Tell whether an artifact is, or has the same bytes as, a file; `None` if there is no artifact.

    Raises
    ------
    Unwanted, OSError, or what a store throws
        See `same_content`.
    """
    of_source = source.stat()
    found = found_at(artifact)
    if found is None:
        return None
    same = told_by_look(found, of_source)
    return same_content(found, source, wanted) if same is None else same


def compared(artifact: ResourcePath, seen: Sighting, wanted: Callable[[], bool]) -> Comparison:
    """Compare a file with an artifact, either of which others may change or remove meanwhile.

    Raises
    ------
    TryLater
        If the file is not, or no longer, what was seen.
    Unwanted, OSError, or what a store throws
        See `same_content`.
    """
    check_unchanged(seen.path, seen)
    found = found_at(artifact)
    try:
        same = found is not None and same_content(found, seen.path, wanted)
    except FileNotFoundError:
        if found_at(artifact) is not None:
            raise
        found, same = None, False
    check_unchanged(seen.path, seen)
    return Comparison(seen=seen, artifact=artifact.geturl(), mark=found.mark if found else "", same=same)


def _same_stream(artifact: ResourcePath, source: Path, wanted: Callable[[], bool]) -> bool:
    with artifact.open("rb") as stored, source.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if stored.read(len(chunk) or 1) != chunk:
                return False
            if not chunk:
                return True
            check_wanted(wanted)
