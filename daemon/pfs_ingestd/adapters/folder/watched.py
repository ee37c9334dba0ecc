"""The watched folders: what is in them, and which of them changed since they were last listed."""

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pfs_ingestd.adapters.folder.roots import NO_KINDS, Roots, is_hidden, is_link
from pfs_ingestd.errors import Code, IngestdError, Outage, TryLater
from pfs_ingestd.ports import FolderMark, Listing
from pfs_ingestd.records import FileName, Kind, Sighting, path_text

__all__ = ["LONG_AGO", "PAUSE", "SETTLING", "WatchedFolder"]

SETTLING = 90.0
"""Seconds for which a folder's time must have stood still before an unchanged time means unchanged names.

An NFS client may answer from memory for 60 s (acdirmax in nfs(5)), and the coarsest clock in use ticks every
2 s (FAT); half as much again.
"""

LONG_AGO = 900.0
"""A folder that was last changed so many seconds ago, by our clock, has stood still long enough.

Half a million files of an archive are then listed once, and not again and again until `SETTLING` is over. The
margin is for clocks of file servers that differ from ours.
"""

PAUSE = 0.001
"""After so many seconds a scan can be left although there is nothing to say of the folders it came to."""

_Identity: TypeAlias = tuple[int, int]

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def _beginning() -> float:
    """Take all that is there for just made."""
    return 0.0


def _root_of_all(_: Path) -> Path:
    """Take everything for one file system."""
    return Path("/")


@dataclass(frozen=True, slots=True)
class _Contents:
    """What listing a folder gives; `loose` if one of its links leads nowhere, as yet."""

    names: frozenset[str]
    folders: tuple[Path, ...]
    loose: bool


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is known of a folder as long as its stamp stays the same, and since when it does."""

    stamp: tuple[int, int, int, int]
    since: float
    kinds: frozenset[Kind]
    is_root: bool
    folders: tuple[Path, ...]


class WatchedFolder:
    """The watched roots and everything below them that is not hidden.

    A folder is visited once in each scan, however many roots, nested roots and links lead to it. A link to a
    folder is followed unless it leads to what is visited under its own path anyway, or above a root.

    Parameters
    ----------
    roots : `~collections.abc.Mapping` [`~pathlib.Path`, `~collections.abc.Collection` [`Kind`]]
        The watched roots, and the kinds of file wanted below each.
    parse : `~collections.abc.Callable`
        Reads a file's name; `None` if it is not one of ours.
    monotonic : `~collections.abc.Callable`
        Tells the seconds passed since some moment, as `time.monotonic` does.
    follow_links : `bool`, optional
        Whether a link to a file outside the roots is one of our files, too.
    now : `~collections.abc.Callable`, optional
        Tells the seconds since 1970, as `time.time` does. Without it no folder was changed long ago.
    settling : `float`, optional
        See `SETTLING`.
    mount_of : `~collections.abc.Callable`, optional
        Tells where the file system that a folder is on is mounted. A root whose file system is gone must not
        be taken for the empty folder that is left.
    """

    def __init__(
        self,
        roots: Mapping[Path, Collection[Kind]],
        *,
        parse: Callable[[str], FileName | None],
        monotonic: Callable[[], float],
        follow_links: bool = False,
        now: Callable[[], float] = _beginning,
        settling: float = SETTLING,
        mount_of: Callable[[Path], Path] = _root_of_all,
    ) -> None:
        self._roots = Roots(roots, follow_links=follow_links)
        self._parse = parse
        self._monotonic = monotonic
        self._now = now
        self._settling = settling
        self._mount_of = mount_of
        self._mounts: dict[Path, Path] = {}
        self._memories: dict[Path, _Memory] = {}
        self._missing: Collection[Path] = ()
        self._costs: Mapping[Path, float] = {}
        self._problems: dict[Path, OSError] = {}
        self._unseen: dict[Path, OSError] = {}

    def scan(self, marks: Mapping[Path, FolderMark]) -> Iterator[Listing | None]:
        """List the folders whose contents may have changed since they were marked, newest night first.

        An unchanged folder costs one stat, its files none. What cannot be read does not end the scan; see
        `problems`.

        Yields
        ------
        listing : `Listing` or `None`
            `None` now and then where folders have not changed, are away or are served elsewhere.

        Raises
        ------
        Outage
            At the end, if a watched root could not be read.
        """
        self._problems = {}
        self._unseen = {}
        visited: dict[Path, _Memory] = {}
        served: dict[_Identity, frozenset[Kind]] = {}
        pending: list[tuple[int, Path]] = []
        roots = list(self._roots)
        seconds = [0.0 for _ in roots]

        def visit(root: int, folder: Path) -> Listing | None:
            begun = self._monotonic()
            listing, below = self._visit(folder, marks, visited, served)
            if below:
                pending.extend([(root, each) for each in below])
            seconds[root] += self._monotonic() - begun
            return listing

        for number, root in enumerate(roots):
            yield visit(number, root)
        # The nights of all roots together: the last is visited first, with all that is below it.
        pending.sort(key=lambda each: each[1].name)
        resumed = self._monotonic()
        while pending:
            listing = visit(*pending.pop())
            if listing or self._monotonic() - resumed >= PAUSE:
                yield listing
                resumed = self._monotonic()
        self._costs = dict(zip(roots, seconds, strict=True))
        self._missing = set(marks).difference(visited)
        self._memories = visited
        self._raise_for_roots()

    def missing(self) -> Collection[Path]:
        """Tell which marked folders the last scan did not come to.

        One of them may come back with the time that it had, and with other names: it must not keep its mark.
        """
        return self._missing

    def costs(self) -> Mapping[Path, float]:
        """Tell for how many seconds the last scan was at each root."""
        return self._costs

    def problems(self) -> Mapping[Path, IngestdError]:
        """Tell which folders the last scan could not read, and why; one of their files is enough."""
        return {path: _unreadable(path, error) for path, error in (self._unseen | self._problems).items()}

    def look(self, path: Path) -> Sighting | None:
        """Look at one file; `None` if it is not there or not ours.

        Raises
        ------
        Outage
            If a folder that leads to it is away, or does not answer.
        TryLater
            If the file alone does not answer.
        """
        name = self._name(path)
        if name is None:
            return None
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not self._roots.admits(path):
                    return None
                status = path.stat()
        except OSError as error:
            away = self._away(path)
            if error.errno in _NOT_THERE:
                if away is None:
                    return None
                raise away from error
            # A folder that may be listed but not searched tells the names of files that nobody can look at.
            self._unseen.setdefault(path.parent, error)
            raise (away or _unreadable(path, error)) from error
        if not stat.S_ISREG(status.st_mode):
            return None
        return Sighting(
            path=path,
            name=name,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
        )

    def beneath(self, path: Path) -> Sequence[Path]:
        """Expand a hint: the path itself if it is a file, our files below it if it is a folder."""
        if self._name(path) is not None:
            return [path]
        if not self._roots.kinds(path) or (is_link(path) and self._roots.is_detour(path)):
            return []
        found: list[Path] = []
        visited: set[_Identity] = set()
        pending = [path]
        while pending:
            folder = pending.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in visited:
                    continue
                contents = self._list(folder, self._roots.kinds(folder))
            except OSError:
                continue  # a hint is no more than a hint: the next scan comes here, too, and reports it
            visited.add((status.st_dev, status.st_ino))
            found.extend(folder / name for name in sorted(contents.names))
            pending.extend(contents.folders)
        return found

    def subfolders(self, folder: Path) -> Sequence[Path]:
        """List the folders directly in a folder that a scan would go on to, the newest night last.

        May be called from any thread. A folder that cannot be read has none: the scan reports it.
        """
        try:
            return self._list(folder, NO_KINDS).folders if self._roots.kinds(folder) else ()
        except OSError:
            return ()

    def _visit(
        self,
        folder: Path,
        marks: Mapping[Path, FolderMark],
        visited: dict[Path, _Memory],
        served: dict[_Identity, frozenset[Kind]],
    ) -> tuple[Listing | None, Sequence[Path]]:
        """Look at one folder, and list it if it may have changed; tell its sub-folders, too."""
        memory = self._memories.get(folder)
        try:
            # The time is read before the names: what is added in between shows as another time next time.
            status = os.stat(folder)  # noqa: PTH116 (thousands of times a second)
            is_root = memory.is_root if memory else folder in self._roots
            if is_root:
                self._check_mounted(folder)
            identity = (status.st_dev, status.st_ino)
            stamp = (*identity, status.st_mtime_ns, status.st_ctime_ns)
            kinds = memory.kinds if memory else self._roots.kinds(folder)
            already = served.get(identity)
            if already is not None and kinds <= already:
                return None, ()
            mark = marks.get(folder)
            known = mark is not None and mark.settled and mark.mtime_ns == status.st_mtime_ns
            known &= memory is None or memory.stamp == stamp
            listing = None
            if memory is None or not known:
                now = self._monotonic()
                contents = self._list(folder, NO_KINDS if known else kinds - (already or NO_KINDS))
                since = memory.since if memory and memory.stamp == stamp else now
                memory = _Memory(stamp, since, kinds, is_root, contents.folders)
                still = now - since >= self._settling or self._changed_long_ago(status)
                settled = still and not contents.loose
                mark = FolderMark(folder, status.st_mtime_ns, settled)
                listing = None if known else Listing(mark, contents.names)
        except OSError as error:
            if error.errno not in _NOT_THERE or folder in self._roots:
                self._problems[folder] = error
            return None, ()
        visited[folder] = memory
        served[identity] = already | kinds if already else kinds
        return listing, memory.folders

    def _changed_long_ago(self, status: os.stat_result) -> bool:
        # Programs that copy trees set a folder's mtime back; nobody can set its ctime.
        return self._now() - max(status.st_mtime, status.st_ctime) >= LONG_AGO

    def _list(self, folder: Path, kinds: frozenset[Kind]) -> _Contents:
        """List the names of some kinds and the sub-folders, ascending, without a stat of any file."""
        names: set[str] = set()
        folders: list[Path] = []
        loose = False
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_symlink():
                    loose |= not self._sort_link(folder / entry.name, kinds, names, folders)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(folder / entry.name)
                elif kinds and self._is_ours(entry.name, kinds) and entry.is_file(follow_symlinks=False):
                    names.add(entry.name)
        folders.sort(key=lambda path: path.name)
        return _Contents(frozenset(names), tuple(folders), loose)

    def _sort_link(self, link: Path, kinds: frozenset[Kind], names: set[str], folders: list[Path]) -> bool:
        """Put a link where it belongs, or say that nobody can tell: what it leads to may come later."""
        try:
            mode = link.stat().st_mode
        except OSError as error:
            if error.errno not in _NOT_THERE:
                folders.append(link)  # whoever goes there will report it
            return False
        if stat.S_ISDIR(mode) and not self._roots.is_detour(link):
            folders.append(link)
        elif stat.S_ISREG(mode) and self._is_ours(link.name, kinds) and self._roots.admits(link):
            names.add(link.name)
        return True

    def _check_mounted(self, root: Path) -> None:
        """See that the file system that a root was on is still there."""
        # Asked for after the root was looked at, which makes an automounter mount it.
        mount = self._mount_of(root)
        known = self._mounts.setdefault(root, mount)
        if known != mount and known.is_relative_to(mount):
            raise OSError(errno.ENODEV, f"nothing is mounted at {known} any more")
        self._mounts[root] = mount

    def _away(self, path: Path) -> Outage | None:
        """Say what is wrong with the folders that lead to a path, if anything is."""
        for root in self._roots:
            if not path.is_relative_to(root):
                continue
            for below in reversed(path.relative_to(root).parents):
                folder = root / below
                try:
                    os.scandir(folder).close()
                    os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 (pathlib drops the dot)
                    if folder == root:
                        self._check_mounted(root)
                except OSError as error:
                    if folder == root or error.errno not in _NOT_THERE:
                        return _unreachable({folder: error})
                    break
        return None

    def _name(self, path: Path) -> FileName | None:
        """Read a path's name, if a file there would be ours."""
        name = self._parse(path.name)
        return name if name is not None and name.kind in self._roots.kinds(path.parent) else None

    def _is_ours(self, name: str, kinds: frozenset[Kind]) -> bool:
        parsed = self._parse(name)
        return parsed is not None and parsed.kind in kinds

    def _raise_for_roots(self) -> None:
        missing = {root: self._problems[root] for root in self._roots if root in self._problems}
        if missing:
            raise _unreachable(missing) from next(iter(missing.values()))


def _unreachable(folders: Mapping[Path, OSError]) -> Outage:
    return Outage(
        Code.ROOT_UNREACHABLE,
        "; ".join(_unreadable(folder, error).message for folder, error in folders.items()),
        hint="see that it is mounted and that the daemon's user may read it",
    )


def _unreadable(path: Path, error: OSError) -> TryLater:
    return TryLater(
        Code.UNREADABLE,
        f"{path_text(path)} cannot be read: {error.strerror}",
        hint="see that it is mounted and that the daemon's user may read it",
    )
