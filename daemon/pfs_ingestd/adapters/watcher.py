"""What makes the daemon prompt: the kernel's events, turned into hints."""

import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from pfs_ingestd.ports import Blind, Hint, Message, Watcher, WatcherHealth

__all__ = ["MAX_HINTS", "InotifyWatcher", "PollWatcher", "Watchers"]

MAX_HINTS = 10_000
"""Hints that may wait at one time: with more of them a scan is cheaper than looking at each."""

_Identity: TypeAlias = tuple[int, int]

# What an observer of watchdog listens to besides (a file renamed away, deleted, written, opened, read) would
# only fill the kernel's queue of 16,384 events sooner.
_EVENTS = Mask(InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CLOSE_WRITE)

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class InotifyWatcher:
    """Watches trees on this host's own disks.

    It stands on watchdog's reader of inotify and not on its observers: those tell nobody of an overflow or of
    a folder that could not be watched, hold a rename back for half a second and do not say that it was one,
    and walk a loop of links forty times over.

    Parameters
    ----------
    roots : `~collections.abc.Collection` [`~pathlib.Path`]
        The watched roots.
    subfolders : `~collections.abc.Callable`
        Lists the folders directly in a folder that a scan would go on to, the most urgent one last; called
        from two threads.
    pending : `~collections.abc.Callable`
        Counts the messages posted and not yet taken, approximately.
    max_hints : `int`, optional
        How many may be pending before hints are dropped, and a scan asked for instead.
    """

    def __init__(
        self,
        roots: Collection[Path],
        *,
        subfolders: Callable[[Path], Sequence[Path]],
        pending: Callable[[], int],
        max_hints: int = MAX_HINTS,
    ) -> None:
        self._roots = tuple(roots)
        self._subfolders = subfolders
        self._pending = pending
        self._max_hints = max_hints
        self._post: Callable[[Message], None] = _discard
        self._flooded = False
        self._instance: _Instance | None = None
        self._refusal = ""

    def start(self, post: Callable[[Message], None]) -> None:
        """Begin to post hints. A root that cannot be watched is tried again by each `check`."""
        self._post = post
        self._open()

    def check(self) -> Sequence[WatcherHealth]:
        """See that every root is still watched; revive what died, and post `Blind.BLIND` when any was.

        Returns
        -------
        health : `~collections.abc.Sequence` [`WatcherHealth`]
            As it was found, so that a root that was blind is reported once even if it sees again by now.
        """
        # Asked first, so that nothing is revived that is not reported: what dies in between is, twice.
        mendable = self._instance is not None and self._instance.can_mend()
        found = self._troubles()
        if self._mend() if mendable else self._renew():
            self._post(Blind.BLIND)
        return [WatcherHealth(root, "inotify", not reason, reason) for root, reason in found.items()]

    def stop(self) -> None:
        """Post no more."""
        self._close()
        self._post = _discard

    def _open(self) -> None:
        """Watch all roots with a new inotify instance, if the kernel gives one."""
        try:
            self._instance = _Instance(
                self._roots, self._subfolders, hint=self._hint, overflowed=self._overflowed
            )
        except OSError as error:
            self._refusal = f"inotify is not to be had: {error.strerror}"

    def _close(self) -> None:
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    def _troubles(self) -> dict[Path, str]:
        """Tell for each root why its events do not, or not all, arrive; empty if they do."""
        if self._instance is None:
            return dict.fromkeys(self._roots, self._refusal)
        return self._instance.troubles()

    def _mend(self) -> bool:
        """Watch what could not be watched before; say whether there was any."""
        return self._instance is not None and self._instance.mend()

    def _renew(self) -> bool:
        """Start over with a new instance; say whether there is one."""
        self._close()
        self._open()
        return self._instance is not None

    def _overflowed(self) -> None:
        # Wakes the loop, whose next check finds the instance in trouble.
        self._post(Blind.BLIND)

    def _hint(self, path: Path, *, closed: bool) -> None:
        if self._pending() < self._max_hints:
            self._flooded = False
            self._post(Hint(path, closed=closed))
        elif not self._flooded:
            self._flooded = True
            self._post(Blind.BLIND)


class PollWatcher:
    """Watches nothing: the scans alone find what is new, as on a file system that other hosts write to.

    Parameters
    ----------
    roots : `~collections.abc.Collection` [`~pathlib.Path`]
        The roots left to the scans.
    """

    def __init__(self, roots: Collection[Path]) -> None:
        self._roots = tuple(roots)

    def start(self, post: Callable[[Message], None]) -> None:
        """Begin to post hints: there are none."""

    def check(self) -> Sequence[WatcherHealth]:
        """Say that every root is polled."""
        return [WatcherHealth(root, "poll", healthy=True) for root in self._roots]

    def stop(self) -> None:
        """Post no more."""


class Watchers:
    """Several watchers as one, for roots that are watched in different ways.

    Parameters
    ----------
    watchers : `Watcher`
        The watchers.
    """

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def start(self, post: Callable[[Message], None]) -> None:
        """Begin to post hints."""
        for watcher in self._watchers:
            watcher.start(post)

    def check(self) -> Sequence[WatcherHealth]:
        """See that every root is still watched; revive what died, and post `Blind.BLIND` when any was."""
        return [health for watcher in self._watchers for health in watcher.check()]

    def stop(self) -> None:
        """Post no more."""
        for watcher in self._watchers:
            watcher.stop()


@dataclass(frozen=True, slots=True)
class _Watch:
    """The folder that a watch stands for, and the name under which watchdog calls for it."""

    folder: Path
    callback: CallbackId


@dataclass(frozen=True, slots=True)
class _Root:
    """The watch of a root, and the folder that was there when it was made."""

    descriptor: WatchDescriptor
    identity: _Identity


class _Instance:
    """One inotify instance of the kernel, the thread that reads it, and what it watches.

    Its `on_...` methods are watchdog's `WatchCallback` and run on that thread.
    """

    def __init__(
        self,
        roots: Collection[Path],
        subfolders: Callable[[Path], Sequence[Path]],
        *,
        hint: Callable[..., None],
        overflowed: Callable[[], None],
    ) -> None:
        self._subfolders = subfolders
        self._hint = hint
        self._overflowed = overflowed
        self._has_overflowed = False
        # A watch and what it stands for are made together, before its first event is asked for.
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._watches: dict[WatchDescriptor, _Watch] = {}
        self._failures: dict[Path, int] = {}
        self._roots: dict[Path, _Root | None] = dict.fromkeys(roots)
        self._inotify = InotifyFD()
        self._inotify.start()
        for root in roots:
            self._watch_root(root)

    def close(self) -> None:
        """Give the instance back and wait for its thread to end."""
        self._inotify.stop()
        self._inotify.join()

    def troubles(self) -> dict[Path, str]:
        """Tell for each root why its events do not, or not all, arrive; empty if they do."""
        return {root: self._blindness() or self._trouble(root) for root in self._roots}

    def can_mend(self) -> bool:
        """Say whether this instance can see all again; else only a new one can."""
        return not self._blindness() and not any(self._is_lost(root) for root in self._roots)

    def mend(self) -> bool:
        """Try the folders again that could not be watched; say whether one of them now is."""
        mended = False
        for folder in self._failures.copy():
            watched = self._watch_root(folder) if folder in self._roots else self._watch(folder)
            mended |= watched is not None
            if self._failures.get(folder) == errno.ENOSPC:
                break  # no watch is left for the others either
        return mended

    def on_event(self, event: InotifyEvent) -> None:
        """Turn an event into a hint, and watch a folder that came."""
        with self._lock:
            watch = self._watches.get(event.wd)
        if watch is None or not event.name or event.name.startswith(b"."):
            return
        path = watch.folder / os.fsdecode(event.name)
        came = event.is_create or event.is_moved_to
        if came and (event.is_directory or self._is_folder_link(path)):
            self._watch(path)
            # Only now, for what came into it before it was watched is found by looking.
            self._hint(path, closed=False)
        else:
            self._hint(path, closed=not event.is_create)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Forget a folder that is no more."""
        with self._lock:
            self._watches.pop(wd, None)

    def on_queue_overflow(self) -> None:
        """Be blind: folders may have come that are not watched."""
        self._has_overflowed = True
        self._overflowed()

    def _blindness(self) -> str:
        if not self._inotify.is_alive():
            return "the thread that reads the events died"
        return "the kernel's queue of events overflowed" if self._has_overflowed else ""

    def _trouble(self, root: Path) -> str:
        if _identity(root) is None:
            return "the folder is missing"
        if self._is_lost(root):
            return "the folder was replaced by another"
        if root in self._failures:
            return f"the folder cannot be watched: {os.strerror(self._failures[root])}"
        # Where the daemon may not go it misses nothing, and the scan reports the folder.
        unseen = [
            code
            for folder, code in self._failures.copy().items()
            if folder.is_relative_to(root) and code != errno.EACCES
        ]
        return f"{len(unseen)} of its folders cannot be watched: {os.strerror(unseen[0])}" if unseen else ""

    def _is_lost(self, root: Path) -> bool:
        """Say whether the folder that is there is not the one that is, or cannot be, watched."""
        if root in self._failures:
            return False
        identity = _identity(root)
        watched = self._roots[root]
        sees = watched and watched.descriptor in self._watches and watched.identity == identity
        return identity is not None and not sees

    def _is_folder_link(self, path: Path) -> bool:
        # Path.is_symlink raises where a folder may not be searched, and this thread must not die.
        return os.path.islink(path) and path in self._subfolders(path.parent)  # noqa: PTH114 (see above)

    def _watch_root(self, root: Path) -> WatchDescriptor | None:
        """Watch a root and all that is below it, and remember which folder it is."""
        identity = _identity(root)
        descriptor = self._watch(root)
        if identity is not None and descriptor is not None:
            self._roots[root] = _Root(descriptor, identity)
        return descriptor

    def _watch(self, top: Path) -> WatchDescriptor | None:
        """Watch a folder and all that is below it; what cannot be watched is remembered."""
        seen: set[WatchDescriptor] = set()
        first = self._add(top, seen)
        pending = [] if first is None else list(self._subfolders(top))
        while pending:
            folder = pending.pop()
            if self._add(folder, seen) is not None:
                # Watched first, then listed: a folder that comes in between is an event.
                pending.extend(self._subfolders(folder))
        return first

    def _add(self, folder: Path, seen: set[WatchDescriptor]) -> WatchDescriptor | None:
        """Watch one folder, under its latest path if it was moved, but only once among those seen."""
        self._failures.pop(folder, None)
        callback = CallbackId(next(self._ids))
        former = None
        try:
            with self._lock:
                descriptor = self._inotify.add_callback(os.fsencode(folder), _EVENTS, self, callback)
                if descriptor >= 0 and descriptor not in seen:
                    former = self._watches.get(descriptor)
                    self._watches[descriptor] = _Watch(folder, callback)
        except OSError as error:
            if error.errno not in _GONE:
                self._failures[folder] = error.errno or errno.EIO
            return None
        if descriptor < 0:
            # The one error that watchdog passes over, and then books a watch that does not exist.
            self._failures[folder] = errno.EACCES
        if descriptor < 0 or descriptor in seen:
            self._inotify.remove_callbacks([(descriptor, callback)])
            return None
        if former is not None:
            self._inotify.remove_callbacks([(descriptor, former.callback)])
        seen.add(descriptor)
        return descriptor


def _identity(folder: Path) -> _Identity | None:
    """Tell which folder is at a path, if any."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _discard(_: Message) -> None:
    """Take a message when nobody listens."""
