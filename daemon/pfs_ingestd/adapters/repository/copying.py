"""One file copied or linked: to the last byte, of the file that was meant, and through to the disk."""

import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.records import Sighting, path_text

__all__ = [
    "Unwanted",
    "always",
    "check_unchanged",
    "check_wanted",
    "copy_file",
    "flush",
    "link_file",
    "same_bytes",
]

CHUNK = 1 << 23
"""So many bytes the kernel copies before it is asked whether the copy is still wanted."""

BUFFER = 1 << 20
"""So many are read at once where the kernel does not copy: memory for more is not reused, which takes longer
than to copy it."""

# The two files are on different disks, of kinds that the kernel does not copy between, or it is forbidden to.
_NO_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})


class Unwanted(Exception):
    """Nobody waits for it any more."""


def always() -> bool:
    """Want to go on."""
    return True


def check_wanted(wanted: Callable[[], bool]) -> None:
    """Go on only if that is wanted.

    Raises
    ------
    Unwanted
        If it is not.
    """
    if not wanted():
        raise Unwanted


def copy_file(
    source: Path, target: Path, *, seen: Sighting | None = None, wanted: Callable[[], bool] = always
) -> None:
    """Copy content and mode of a file.

    What is written is handed to the disk as it goes, and not left to pile up in memory for `flush`: to write
    all of it at the end would keep others waiting who write little, such as the registry's commits.

    Parameters
    ----------
    source : `~pathlib.Path`
        The file.
    target : `~pathlib.Path`
        An empty file.
    seen : `~pfs_ingestd.records.Sighting` or `None`, optional
        The file as it has to be, before and after; `None` if any will do.
    wanted : `~collections.abc.Callable`, optional
        Says whether to go on.

    Raises
    ------
    TryLater
        If the file is not, or no longer, what was seen.
    Unwanted
        If it was not to go on.
    OSError
        If the file cannot be read, or the disk does not take it.
    """
    # Not to wait for a writer, should the path be a pipe by now.
    file = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        copy = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            _check(source, status, seen)
            offset = 0
            while offset < status.st_size and (sent := _send(file, copy, offset)):
                os.posix_fadvise(copy, offset, sent, os.POSIX_FADV_DONTNEED)
                offset += sent
                check_wanted(wanted)
            os.fchmod(copy, stat.S_IMODE(status.st_mode))
            _check(source, os.fstat(file), seen)
            if offset != status.st_size:
                raise _changed(source)
        finally:
            os.close(copy)
    finally:
        os.close(file)


def link_file(source: Path, target: Path) -> bool:
    """Give a file a second name, if that can be; one that is a symbolic link is followed.

    Raises
    ------
    OSError
        If the file is not there, or the folder does not take it.
    """
    try:
        # To go through its whole path takes as long as the link; of its folders the kernel follows any.
        os.link(source.resolve() if source.is_symlink() else source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def flush(path: Path) -> None:
    """Write a file or folder through to the disk.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def same_bytes(source: Path, copy: Path, *, wanted: Callable[[], bool], fresh: bool = False) -> bool:
    """Say whether two files have the same content.

    Parameters
    ----------
    source, copy : `~pathlib.Path`
        The files.
    wanted : `~collections.abc.Callable`
        Says whether to go on.
    fresh : `bool`, optional
        Whether the copy was written just now: what has to be read is what the disk has of it.

    Raises
    ------
    Unwanted
        If it was not to go on.
    OSError
        If one of them cannot be read.
    """
    with source.open("rb", buffering=0) as file, copy.open("rb", buffering=0) as other:
        if fresh:
            # What lies in memory has been read already, so to say: by us, who wrote it.
            os.posix_fadvise(other.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := _read(file, source, BUFFER):
            if _read(other, copy, len(chunk)) != chunk:
                return False
            check_wanted(wanted)
        return not _read(other, copy, 1)


def check_unchanged(path: Path, seen: Sighting | None) -> None:
    """See that a file is still what was seen; `None` if any will do.

    Raises
    ------
    TryLater
        If it is another one, or was written to.
    OSError
        If it is not there.
    """
    if seen is not None:
        _check(path, path.stat(), seen)


def _read(file: io.FileIO, path: Path, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        # Of two files one has to be told which of them cannot be read.
        error.filename = str(path)
        raise


def _send(file: int, copy: int, offset: int) -> int:
    """Copy a chunk, within the kernel where it can; tell how many bytes it was."""
    try:
        sent = os.copy_file_range(file, copy, CHUNK, offset, offset)
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
        sent = 0
    return sent or os.pwrite(copy, os.pread(file, BUFFER, offset), offset)


def _check(path: Path, now: os.stat_result, seen: Sighting | None) -> None:
    if seen and (now.st_size, now.st_mtime_ns, now.st_ino) != (seen.size, seen.mtime_ns, seen.inode):
        raise _changed(path)


def _changed(path: Path) -> TryLater:
    return TryLater(Code.RACE, f"{path_text(path)} changed while it was being stored")
