"""Copies and comparisons of large files, beside the loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.lanes import Comparing, Copying, Lane, Task
from pfs_ingestd.adapters.repository.objects import STORE_TROUBLE
from pfs_ingestd.adapters.repository.staging import Staging, staging_at
from pfs_ingestd.errors import IngestdError
from pfs_ingestd.ports import Comparison, Copied, Copy, Message
from pfs_ingestd.records import Sighting

__all__ = ["DatastoreCopier"]

SMALL = 256_000_000
"""Files up to this size, a second's work for a slow disk, have a lane of their own, in bytes."""

SMALL_AHEAD, LARGE_AHEAD = 512_000_000, 4_000_000_000
"""A lane with so many bytes of files is full: enough for it not to run dry before the loop fills it again,
and few enough for a file that arrives now not to wait for many of a backlog."""


class DatastoreCopier:
    """Copies files to the disk of a datastore, for the repository to move them; compares them with artifacts.

    Parameters
    ----------
    explain : `~collections.abc.Callable`
        Tells what an error of disk or store means for a file; see `ButlerRepository.explain`.
    post : `~collections.abc.Callable`
        Told, on a thread of the copier, when a copy or a comparison has come to its end.
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
        self._tasks: set[Task] = set()
        self._done: SimpleQueue[Task] = SimpleQueue()
        self._small = Lane(SMALL_AHEAD, self._end)
        self._large = Lane(LARGE_AHEAD, self._end)

    def room(self) -> int | None:
        """Tell what may be given to it now; see `~pfs_ingestd.ports.Copier.room`."""
        if self.left() <= 0:
            return 0
        return None if self._left(self._large) > 0 else SMALL

    def left(self) -> int:
        """Tell how much more it takes of small files; see `~pfs_ingestd.ports.Copier.left`."""
        return self._left(self._small)

    def copy(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Copy a file to the disk of a datastore; see `~pfs_ingestd.ports.Copier.copy`."""
        task = Copying(sighting=sighting, verify=self._move)
        self._begin(task)
        if self._staging is None:
            self._staging = staging_at(ResourcePath(where, forceDirectory=True))
        try:
            # Made here, and not on the other thread: so that nothing appears in a folder that is removed.
            task.target = self._staging.begin(sighting.path, link=self._move)
        except OSError as error:
            task.error = error
            self._end(task)
        else:
            self._lane(task).put(task, live=live)

    def compare(self, sighting: Sighting, where: str, *, live: bool) -> None:
        """Compare a file with an artifact; see `~pfs_ingestd.ports.Copier.compare`."""
        task = Comparing(sighting=sighting, artifact=where)
        self._begin(task)
        self._lane(task).put(task, live=live)

    @contextmanager
    def finished(self) -> Iterator[Sequence[Copy | Comparison]]:
        """Lend what has come to its end; see `~pfs_ingestd.ports.Copier.finished`."""
        tasks = list(self._ended())
        self._tasks.difference_update(tasks)
        try:
            yield [self._told(task) for task in tasks]
        finally:
            for task in tasks:
                task.remove()
            self._tidy()

    def cancel(self) -> None:
        """End all copies and comparisons, and forget them; see `~pfs_ingestd.ports.Copier.cancel`."""
        for task in self._tasks:
            task.wanted = False
        self._tasks.clear()
        self._tidy()

    def _begin(self, task: Task) -> None:
        task.log_beginning()
        self._tasks.add(task)

    def _lane(self, task: Task) -> Lane:
        return self._small if task.sighting.size <= SMALL else self._large

    def _left(self, lane: Lane) -> int:
        return lane.ahead - sum(task.sighting.size for task in self._tasks if self._lane(task) is lane)

    def _end(self, task: Task) -> None:
        self._done.put(task)
        self._post(Copied.COPIED)

    def _ended(self) -> Iterator[Task]:
        with suppress(Empty):
            while True:
                task = self._done.get(block=False)
                if task in self._tasks:
                    yield task

    def _told(self, task: Task) -> Copy | Comparison:
        error = task.error
        task.log_end()
        if isinstance(error, STORE_TROUBLE):
            return task.told(self._explain(error, task.path))
        if error is None or isinstance(error, IngestdError):
            return task.told(error)
        raise error

    def _tidy(self) -> None:
        """Leave nothing in the datastore, not even an open file that keeps its disk mounted."""
        if self._staging is None:
            return
        if any(isinstance(task, Copying) for task in self._tasks):
            self._staging.tidy()
        else:
            self._staging.close()
            self._staging = None
