"""Files and links in their places, unless somebody has made them his own."""

import fnmatch
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.install.rendering import InstalledFile

__all__ = ["Action", "Done", "Place", "signed"]

ASIDE = ".dpkg-dist"
"""What the name of a new file ends with beside one that somebody edited: as Debian's packages call it, and as
logrotate, systemd and run-parts know to leave it alone."""

_SIGNATURE = re.compile(
    rb'(?P<body>.*\n)(?:#|\.\\") pfs-ingestd install-service wrote (?P<digest>[0-9a-f]{64})\n', re.DOTALL
)


class Action(StrEnum):
    """What became of a file."""

    WROTE = "wrote"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    REMOVED = "removed"
    ABSENT = "absent"


class Done(NamedTuple):
    """What became of a file, or would.

    Parameters
    ----------
    action : `Action`
        What was done.
    path : `~pathlib.Path`
        To which file.
    why : `str`
        What there is to say about it.
    """

    action: Action
    path: Path
    why: str = ""


def signed(file: InstalledFile) -> bytes:
    """Write a file with a last line that tells whether somebody changed it."""
    mark = '.\\"' if file.path.suffix == ".1" else "#"
    body = file.text.encode()
    return body + f"{mark} pfs-ingestd install-service wrote {sha256(body).hexdigest()}\n".encode()


class Place:
    """Where an installation goes, and comes from again.

    Parameters
    ----------
    root : `~pathlib.Path`
        What stands for ``/``.
    dry_run : `bool`
        Whether to say only what would be done.
    """

    def __init__(self, root: Path, *, dry_run: bool) -> None:
        self._root = root
        self._dry_run = dry_run

    def put(self, file: InstalledFile) -> Done:
        """Write a file, but beside one that somebody edited or made himself.

        Raises
        ------
        Fatal
            If that cannot be done.
        """
        path, content = self._at(file.path), signed(file)
        with _told(path):
            there, aside = _content(path), _beside(path)
            if there == content:
                done = Done(Action.UNCHANGED, path)
            elif there is None or _is_ours(there):
                self._do(lambda: _write(path, content))
                done = Done(Action.WROTE, path)
            else:
                self._do(lambda: _write(aside, content))
                return Done(Action.KEPT, path, f"it was edited; the new one is {aside.name}")
            self._forget(aside)
            return done

    def link(self, path: Path, program: Path) -> Done:
        """Make a command that everybody finds, unless there is another one of this name.

        Raises
        ------
        Fatal
            If that cannot be done.
        """
        path = self._at(path)
        with _told(path):
            target = path.readlink() if path.is_symlink() else None
            if target == program:
                return Done(Action.UNCHANGED, path)
            if target is None and path.exists():
                return Done(Action.KEPT, path, "it is another program of this name")
            self._do(lambda: _relink(path, program))
            return Done(Action.WROTE, path)

    def remove(self, path: Path) -> Done:
        """Remove a file that was put there, unless somebody edited it or made it himself.

        Raises
        ------
        Fatal
            If that cannot be done.
        """
        path = self._at(path)
        with _told(path):
            self._forget(_beside(path))
            there = _content(path)
            if there is None:
                return Done(Action.ABSENT, path)
            if not _is_ours(there):
                return Done(Action.KEPT, path, "it was edited")
            self._do(path.unlink)
            return Done(Action.REMOVED, path)

    def unlink(self, path: Path, program: Path) -> Done:
        """Remove a link to the program.

        Raises
        ------
        Fatal
            If that cannot be done.
        """
        path = self._at(path)
        with _told(path):
            if not os.path.lexists(path):
                return Done(Action.ABSENT, path)
            if not path.is_symlink() or path.readlink() != program:
                return Done(Action.KEPT, path, "it is another program of this name")
            self._do(path.unlink)
            return Done(Action.REMOVED, path)

    def names(self, folder: Path, pattern: str) -> Sequence[str]:
        """Name what is in a folder by a pattern, also links that lead nowhere; nothing if it is not there."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(fnmatch.filter((path.name for path in self._at(folder).iterdir()), pattern))
        return []

    def _at(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def _do(self, deed: Callable[[], object]) -> None:
        if not self._dry_run:
            deed()

    def _forget(self, aside: Path) -> None:
        """Remove what was once put beside a file that somebody had edited."""
        if (content := _content(aside)) is not None and _is_ours(content):
            self._do(aside.unlink)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Fatal(
            Code.CONFIGURATION,
            f"{path} cannot be installed or removed: {error.strerror}",
            hint="run this as root, or with --root on a folder of yours",
        ) from error


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_ours(content: bytes) -> bool:
    match = _SIGNATURE.fullmatch(content)
    return match is not None and sha256(match["body"]).hexdigest() == match["digest"].decode()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}{ASIDE}")


def _write(path: Path, content: bytes) -> None:
    _make_folders(path.parent)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".pfs-ingestd-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _relink(path: Path, target: Path) -> None:
    _make_folders(path.parent)
    if path.is_symlink():
        path.unlink()
    path.symlink_to(target)


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, for everybody to read, whatever the umask."""
    missing: Sequence[Path] = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        each.chmod(0o755)
