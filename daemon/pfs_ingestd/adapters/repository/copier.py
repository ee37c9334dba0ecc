"""Copies beside the loop, in lanes, so that a small file never waits for a large one."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import Empty, PriorityQueue, SimpleQueue

import structlog
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import Unwanted
from pfs_ingestd.adapters.repository.objects import STORE_TROUBLE
from pfs_ingestd.adapters.repository.staging import Staged, Staging, staging_at
from pfs_ingestd.errors import Code, IngestdError, TryLater
from pfs_ingestd.ports import Copied, Copy, Message
from pfs_ingestd.records import Sighting, path_text

__all__ = ["DatastoreCopier", "Lane"]

SMALL = 256_000_000
"""Files up to this size, a second's work for a slow disk, have a lane of their own, in bytes."""

SMALL_AHEAD, LARGE_AHEAD = 512_000_000, 4_000_000_000
"""A lane with so many bytes to copy is full: enough for it not to run dry before the loop fills it again, and
few enough for a file that arrives now not to wait for many of a backlog."""

_log = structlog.get_logger()


@dataclass(eq=False, kw_only=True)
class _Task:
    """A file to be copied; after that, what came of it."""

    sighting: Sighting
    target: Staged | None = None
    wanted: bool = True
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def is_small(self) -> bool:
        return self.sighting.size <= SMALL

    def is_wanted(self) -> bool:
        return self.wanted


class Lane:
    """A thread that makes one copy after the other, of files that arrived just now before all others.

    It touches the two files and the queues, and nothing else, and nobody waits for it: should a file server
    not answer, neither the loop nor the end of the process hangs with it.

    Parameters
    ----------
    ahead : `int`
        With so many bytes to copy it is full.
    run : `~collections.abc.Callable`
        Makes one copy.
    """

    def __init__(self, ahead: int, run: Callable[[_Task], None]) -> None:
        self.ahead = ahead
        self.run = run
        self._numbers = count()
        self._queue: PriorityQueue[tuple[bool, int, _Task]] = PriorityQueue()
        self._thread: threading.Thread | None = None

    def put(self, task: _Task, *, live: bool) -> None:
        """Make a copy when its turn has come."""
        self._queue.put((not live, next(self._numbers), task))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            _, _, task = self._queue.get()
            self.run(task)


class DatastoreCopier:
    """Copies files to the disk of a datastore, for the repository to move them to their places.

    Parameters
    ----------
    explain : `~collections.abc.Callable`
        Tells what an error of disk or store means for a file; see `ButlerRepository.explain`.
    post : `~collections.abc.Callable`
        Told, on a thread of the copier, when a copy has come to its end.
    move : `bool`
        Whether the files are to be removed: then a hard link, where that can be, is as good as a copy, and a
        copy is read again and compared with its file.
    """

    def __init__(
        self,
        *,
        explain: Callable[[Exception, Path], IngestdError],
        post: Callable[[Message], None],
        move: bool,
    ) -> None:
        self._explain = explain
        self._post = post
        self._move = move
        self._staging: Staging | None = None
        self._tasks: set[_Task] = set()
        self._done: SimpleQueue[_Task] = SimpleQueue()
        self._small = Lane(SMALL_AHEAD, self._run)
        self._large = Lane(LARGE_AHEAD, self._run)

    def room(self) -> int | None:
        """Tell what may be given to it now; see `~pfs_ingestd.ports.Copier.room`."""
        if sum(task.sighting.size for task in self._tasks if task.is_small) >= self._small.ahead:
            return 0
        if sum(task.sighting.size for task in self._tasks if not task.is_small) >= self._large.ahead:
            return SMALL
        return None

    def begin(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Copy a file to the disk of a datastore; see `~pfs_ingestd.ports.Copier.begin`."""
        _log.debug("copy.began", path=path_text(sighting.path), bytes=sighting.size)
        task = _Task(sighting=sighting)
        self._tasks.add(task)
        if self._staging is None:
            self._staging = staging_at(ResourcePath(where, forceDirectory=True))
        try:
            # Made here, and not on the other thread: so that nothing appears in a folder that is removed.
            task.target = self._staging.begin(sighting.path, link=self._move)
        except OSError as error:
            task.error = error
            self._end(task)
        else:
            (self._small if task.is_small else self._large).put(task, live=live)

    @contextmanager
    def finished(self) -> Iterator[Sequence[Copy]]:
        """Lend the copies that have come to their end; see `~pfs_ingestd.ports.Copier.finished`."""
        tasks = list(self._ended())
        self._tasks.difference_update(tasks)
        try:
            yield [self._told(task) for task in tasks]
        finally:
            for task in tasks:
                if task.target:
                    task.target.remove()
            self._tidy()

    def cancel(self) -> None:
        """End all copies, and forget them; see `~pfs_ingestd.ports.Copier.cancel`."""
        for task in self._tasks:
            task.wanted = False
        self._tasks.clear()
        self._tidy()

    def _run(self, task: _Task) -> None:
        """Make one copy, on a thread of a lane."""
        begun = time.monotonic()
        try:
            self._copy(task)
        except Unwanted:
            return
        except Exception as error:  # noqa: BLE001 (it is raised again, or told, by the loop)
            task.error = error
        task.seconds = time.monotonic() - begun
        self._end(task)

    def _copy(self, task: _Task) -> None:
        target = task.target
        if target is None or not task.wanted:
            raise Unwanted
        target.fill(seen=task.sighting, wanted=task.is_wanted)
        target.settle()
        if self._move and not target.is_whole(task.is_wanted):
            raise TryLater(
                Code.STORE_FAILED, f"the copy of {path_text(task.sighting.path)} has other content"
            )

    def _end(self, task: _Task) -> None:
        self._done.put(task)
        self._post(Copied.COPIED)

    def _ended(self) -> Iterator[_Task]:
        with suppress(Empty):
            while True:
                task = self._done.get(block=False)
                if task in self._tasks:
                    yield task

    def _told(self, task: _Task) -> Copy:
        source, error = task.sighting.path, task.error
        _log.debug("copy.ended", path=path_text(source), bytes=task.sighting.size, seconds=task.seconds)
        if error is None:
            return Copy(source, task.target.uri.geturl() if task.target else None)
        if isinstance(error, STORE_TROUBLE):
            return Copy(source, error=self._explain(error, source))
        if isinstance(error, IngestdError):
            return Copy(source, error=error)
        raise error

    def _tidy(self) -> None:
        """Leave nothing in the datastore, not even an open file that keeps its disk mounted."""
        if self._staging is None:
            return
        if self._tasks:
            self._staging.tidy()
        else:
            self._staging.close()
            self._staging = None
