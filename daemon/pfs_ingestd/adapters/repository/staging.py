"""Where copies lie until they are whole, and how those are found whose maker died."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from lsst.resources import ResourcePath

__all__ = ["Stage", "staging", "sweep"]

PREFIX = ".pfs-ingestd-"
LOCK = "lock"

Stage: TypeAlias = Callable[[Path, UUID], Path]


@contextmanager
def staging(root: ResourcePath) -> Iterator[Stage]:
    """Have a folder for copies, on the file system of the datastore, as long as this lasts.

    Butler copies to a random name beside the final one, and what a process that dies leaves of that is there
    for ever. A file that is copied here and then moved by Butler gets its final name in one step, too. The
    folder is locked for as long as its maker lives, on whatever host, so that `sweep` can tell.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of a local datastore.

    Yields
    ------
    stage : `~collections.abc.Callable`
        Copies a file, to be stored under some dataset ID, and returns where the copy is.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root.ospath))

    def stage(source: Path, dataset_id: UUID) -> Path:
        # Butler tells what a file is by how its name ends.
        copy = folder / f"{dataset_id}{ResourcePath(source.as_uri()).getExtension()}"
        shutil.copy(source, copy)
        return copy

    try:
        with (folder / LOCK).open("wb") as lock:
            # Where nothing can be locked nothing is swept, either.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: ResourcePath) -> None:
    """Remove the folders of those who died while they copied.

    A folder whose maker has not come to locking it yet may be taken for one of those. He fails then, with
    nothing stored, and tries again.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of a datastore. In a remote one nobody leaves anything.
    """
    if not root.isLocal:
        return
    for folder in Path(root.ospath).glob(f"{PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
