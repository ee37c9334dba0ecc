"""Where files lie until they are whole and Butler takes them, and how those are found whose maker died."""

import fcntl
import os
import re
import shutil
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from uuid import uuid4

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import holds, uri_of
from pfs_ingestd.adapters.repository.copying import (
    Unwanted,
    always,
    check_unchanged,
    copy_file,
    flush,
    link_file,
    same_bytes,
)
from pfs_ingestd.adapters.repository.objects import OURS, STORE_TROUBLE, objects_below, uploads_below
from pfs_ingestd.records import Sighting

__all__ = ["Staged", "Staging", "abandoned", "staging_at", "sweep"]

LOCK = "lock"
UNLOCKED = "unlocked"

YOUNG_S, OLD_S = 60, 86_400
"""For how long, in seconds, a folder without a lock may still be about to get one; and for how long nothing
may have changed in one of another host before it is abandoned: not every file server passes locks on."""

ABANDONED = timedelta(days=1)
"""How long an object has to lie in a store before it is nobody's: what is not taken after seconds belongs to
a process that died. Were it alive, it would find the object gone, store nothing, and try again."""


_left_behind: set[ResourcePath] = set()
"""What this process could not remove because the store was away; it tries again at the next chance."""


class Staged(Protocol):
    """A copy of a file, or another name for it, on its way into the datastore."""

    @property
    def uri(self) -> ResourcePath:
        """Where it is."""

    def fill(self, *, seen: Sighting | None, wanted: Callable[[], bool] = ...) -> None:
        """Give it the file's content, or see that it has it; may be called on another thread.

        Raises
        ------
        TryLater
            If the file is not, or no longer, what was seen.
        Unwanted
            If it was not to go on.
        OSError, or what a store throws
            If the file cannot be read, or the datastore does not take it.
        """

    def settle(self) -> None:
        """Let it survive a power cut."""

    def is_whole(self, wanted: Callable[[], bool]) -> bool:
        """Say whether it has the file's content, as it is stored."""

    def remove(self) -> None:
        """Remove it, if it is still there; what cannot be removed now is swept later."""


class Staging(ABC):
    """Where a datastore can take files from in one step.

    Butler copies to a random name beside the final one, and what a process that dies leaves of that is there
    for ever. What is copied here, and then moved by Butler, gets its final name in one step.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def begin(self, source: Path, *, link: bool) -> Staged:
        """Make a place for a file; or a second name for it, if it is to be removed, and that can be.

        Raises
        ------
        OSError
            If it cannot be made.
        """

    @abstractmethod
    def tidy(self) -> None:
        """See that what was removed takes no room any more."""

    @abstractmethod
    def close(self) -> None:
        """Remove all that is still there."""


def staging_at(root: ResourcePath) -> Staging:
    """Have a place for files beside the artifacts of a datastore."""
    return _Folder(Path(root.ospath)) if root.isLocal else _Store(root)


class _Folder(Staging):
    """A folder on the file system of a datastore, which is there while it is needed.

    It is locked for as long as its maker lives, and named after his host, so that `sweep` can tell.

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

    def begin(self, source: Path, *, link: bool) -> Staged:
        path = self._name(source)
        linked = link and link_file(source, path)
        if not linked:
            path.touch(mode=0o600, exist_ok=False)
        return _InFolder(source, path, linked=linked)

    def _name(self, source: Path) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=self._root))
            unlocked = self._folder / UNLOCKED
            self._lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Where nothing can be locked nothing is swept, either.
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Nobody sees it under this name before it is locked.
            unlocked.rename(self._folder / LOCK)
        # Butler tells what a file is by how its name ends.
        return self._folder / f"{next(self._numbers)}{uri_of(source).getExtension()}"

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        """Remove the folder with all that is still in it; the next name makes it anew."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        # Unlocked only now: nobody sweeps what is being removed.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _InFolder:
    """A file in a folder."""

    def __init__(self, source: Path, path: Path, *, linked: bool) -> None:
        self._source = source
        self._path = path
        self._linked = linked

    @property
    def uri(self) -> ResourcePath:
        return uri_of(self._path)

    def fill(self, *, seen: Sighting | None, wanted: Callable[[], bool] = always) -> None:
        if self._linked:
            check_unchanged(self._path, seen)
        else:
            copy_file(self._source, self._path, seen=seen, wanted=wanted)

    def settle(self) -> None:
        flush(self._path)

    def is_whole(self, wanted: Callable[[], bool]) -> bool:
        return self._linked or same_bytes(self._source, self._path, wanted=wanted, fresh=True)

    def remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()


class _Store(Staging):
    """Keys of a remote datastore that nobody else uses.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of the datastore.
    """

    def __init__(self, root: ResourcePath) -> None:
        self._within = root.join(f"{OURS}{uuid4().hex}/", forceDirectory=True)
        self._numbers = count()
        self._present: set[ResourcePath] = set()
        self._unwanted: set[ResourcePath] = set()

    def begin(self, source: Path, *, link: bool) -> Staged:
        del link
        name = f"{next(self._numbers)}{uri_of(source).getExtension()}"
        uri = self._within.join(name, forceDirectory=False)
        self._present.add(uri)
        return _InStore(source, uri, remove=lambda: self._unwanted.add(uri))

    def tidy(self) -> None:
        """Remove in one request what is not wanted any more; while the store is away, what it had is kept."""
        if self._unwanted:
            with suppress(*STORE_TROUBLE):
                ResourcePath.mremove(self._unwanted, do_raise=False)
                self._present -= self._unwanted
                self._unwanted.clear()

    def close(self) -> None:
        self._unwanted |= self._present | _left_behind
        self.tidy()
        _left_behind.clear()
        _left_behind.update(self._unwanted)


class _InStore:
    """An object of a store."""

    def __init__(self, source: Path, uri: ResourcePath, *, remove: Callable[[], None]) -> None:
        self._source = source
        self.uri = uri
        self.remove = remove

    def fill(self, *, seen: Sighting | None, wanted: Callable[[], bool] = always) -> None:
        check_unchanged(self._source, seen)
        # By threads of its own it would be faster, and the process would not end before they do.
        self.uri.transfer_from(uri_of(self._source), transfer="copy", overwrite=True, multithreaded=False)
        check_unchanged(self._source, seen)
        if not wanted():
            with suppress(*STORE_TROUBLE):
                self.uri.remove()
            raise Unwanted

    def settle(self) -> None:
        pass

    def is_whole(self, wanted: Callable[[], bool]) -> bool:
        return bool(holds(self.uri, self._source, wanted))


def sweep(root: ResourcePath) -> None:
    """Remove what those have left who died while they copied.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of a datastore.
    """
    for folder in abandoned(root):
        shutil.rmtree(folder, ignore_errors=True)
    if root.scheme == "s3":
        _sweep_store(root, datetime.now(UTC) - ABANDONED)


def _sweep_store(root: ResourcePath, before: datetime) -> None:
    for found in objects_below(root, OURS):
        if found.changed < before:
            found.uri.remove()
    for begun, abort in uploads_below(root, OURS):
        if begun < before:
            abort()


def abandoned(root: ResourcePath) -> list[Path]:
    """Find the folders of those who died while they copied; see `sweep`. A store has none."""
    if not root.isLocal:
        return []
    return [folder for folder in sorted(Path(root.ospath).glob(f"{OURS}*")) if _is_abandoned(folder)]


def _prefix() -> str:
    """Begin the name of a folder of this host; what follows the last hyphen is chance."""
    return f"{OURS}{re.sub(r'[^A-Za-z0-9.-]', '_', socket.gethostname())}-"


def _is_abandoned(folder: Path) -> bool:
    ours = f"{folder.name.rpartition('-')[0]}-" == _prefix()
    try:
        if not ours and _age(folder) < OLD_S:
            return False
        return _is_unlocked(folder / LOCK)
    except FileNotFoundError:
        # Its maker has not come to locking it, or is removing it, or died at that.
        return _age(folder) > YOUNG_S
    except OSError:
        return False


def _age(folder: Path) -> float:
    """Tell how many seconds ago anything changed in a folder; none if it is gone."""
    try:
        return time.time() - max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return 0.0


def _is_unlocked(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
