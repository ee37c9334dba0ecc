"""Where files lie until they are whole and Butler takes them, and how those are found whose maker died."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from lsst.resources import ResourcePath

__all__ = ["Staging", "abandoned", "sweep"]

PREFIX = ".pfs-ingestd-"
LOCK = "lock"


class Staging:
    """A folder on the file system of a datastore, which is there while it is needed.

    Butler copies to a random name beside the final one, and what a process that dies leaves of that is there
    for ever. A file that is copied here and then moved by Butler gets its final name in one step, too. The
    folder is locked for as long as its maker lives, on whatever host, so that `sweep` can tell.

    Parameters
    ----------
    root : `~pathlib.Path`
        Root of a local datastore.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = count()
        self._folder: Path | None = None
        self._lock: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def name(self, source: Path) -> Path:
        """Find a free name for a copy or link of a file.

        Raises
        ------
        OSError
            If the folder cannot be made.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._root))
            self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Where nothing can be locked nothing is swept, either.
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Butler tells what a file is by how its name ends.
        return self._folder / f"{next(self._numbers)}{ResourcePath(source.as_uri()).getExtension()}"

    def close(self) -> None:
        """Remove the folder with all that is still in it; the next name makes it anew."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        # Unlocked only now: nobody sweeps what is being removed.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(root: ResourcePath) -> None:
    """Remove the folders of those who died while they copied.

    A folder whose maker has not come to locking it yet may be taken for one of those. He fails then, with
    nothing stored, and tries again.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of a datastore. In a remote one nobody leaves anything.
    """
    for folder in abandoned(root):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(root: ResourcePath) -> list[Path]:
    """Find the folders of those who died while they copied; see `sweep`."""
    if not root.isLocal:
        return []
    return [folder for folder in sorted(Path(root.ospath).glob(f"{PREFIX}*")) if _is_abandoned(folder)]


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
