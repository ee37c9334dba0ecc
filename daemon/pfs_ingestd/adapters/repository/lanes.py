"""Work on large files beside the loop, in lanes, so that a small file never waits for a large one."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import PriorityQueue

import structlog
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import compared
from pfs_ingestd.adapters.repository.copying import Unwanted
from pfs_ingestd.adapters.repository.staging import Staged
from pfs_ingestd.errors import Code, IngestdError, TryLater
from pfs_ingestd.ports import Comparison, Copy
from pfs_ingestd.records import Sighting, path_text

__all__ = ["Comparing", "Copying", "Lane", "Task"]

_log = structlog.get_logger()


@dataclass(eq=False, kw_only=True)
class Task(ABC):
    """A file that something is to be done with; after that, what came of it.

    Parameters
    ----------
    sighting : `~pfs_ingestd.records.Sighting`
        The file as it has to be.
    wanted : `bool`
        Whether anybody waits for it still.
    error : `Exception` or `None`
        What went wrong.
    seconds : `float`
        How long it took.
    """

    sighting: Sighting
    wanted: bool = True
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def path(self) -> Path:
        """The file."""
        return self.sighting.path

    def is_wanted(self) -> bool:
        """Say whether to go on; asked on a thread of a lane."""
        return self.wanted

    def run(self, tell: Callable[["Task"], None]) -> None:
        """Do it, on a thread of a lane, and say so, unless nobody waits for it any more."""
        begun = time.monotonic()
        try:
            if not self.wanted:
                return
            self._do()
        except Unwanted:
            return
        except Exception as error:  # noqa: BLE001 (it is raised again, or told, by the loop)
            self.error = error
        self.seconds = time.monotonic() - begun
        tell(self)

    @abstractmethod
    def log_beginning(self) -> None:
        """Tell the log that it begins."""

    @abstractmethod
    def log_end(self) -> None:
        """Tell the log that it has come to its end."""

    @abstractmethod
    def _do(self) -> None:
        """Do it."""

    @abstractmethod
    def told(self, error: IngestdError | None) -> Copy | Comparison:
        """Say what came of it, in words of the loop."""

    @abstractmethod
    def remove(self) -> None:
        """Leave nothing of it behind that nobody has taken."""


@dataclass(eq=False, kw_only=True)
class Copying(Task):
    """A file to be copied.

    Parameters
    ----------
    verify : `bool`
        Whether the copy is compared with the file.
    target : `~pfs_ingestd.adapters.repository.staging.Staged` or `None`
        Where to; `None` if there is no such place.
    """

    verify: bool
    target: Staged | None = None

    def log_beginning(self) -> None:
        """Tell the log that the copy begins."""
        _log.debug("copy.began", path=path_text(self.path), bytes=self.sighting.size)

    def log_end(self) -> None:
        """Tell the log that the copy has come to its end."""
        _log.debug("copy.ended", path=path_text(self.path), bytes=self.sighting.size, seconds=self.seconds)

    def _do(self) -> None:
        if self.target is None:
            raise Unwanted
        self.target.fill(seen=self.sighting, wanted=self.is_wanted)
        self.target.settle()
        if self.verify and not self.target.is_whole(self.is_wanted):
            raise TryLater(Code.STORE_FAILED, f"the copy of {path_text(self.path)} has other content")

    def told(self, error: IngestdError | None) -> Copy:
        """Tell where the copy is, or why there is none."""
        there = error is None and self.target
        return Copy(self.path, there.uri.geturl() if there else None, error)

    def remove(self) -> None:
        """Remove the copy, if the repository has not taken it."""
        if self.target:
            self.target.remove()


@dataclass(eq=False, kw_only=True)
class Comparing(Task):
    """A file to be compared.

    Parameters
    ----------
    artifact : `str`
        URI of what with.
    """

    artifact: str
    _comparison: Comparison | None = None

    def log_beginning(self) -> None:
        """Tell the log that the comparison begins."""
        _log.debug("comparison.began", path=path_text(self.path), bytes=self.sighting.size)

    def log_end(self) -> None:
        """Tell the log that the comparison has come to its end."""
        _log.debug(
            "comparison.ended", path=path_text(self.path), bytes=self.sighting.size, seconds=self.seconds
        )

    def _do(self) -> None:
        artifact = ResourcePath(self.artifact, forceDirectory=False)
        self._comparison = compared(artifact, self.sighting, self.is_wanted)

    def told(self, error: IngestdError | None) -> Comparison:
        """Tell whether they are the same, or why nobody knows."""
        if error is None and self._comparison:
            return self._comparison
        return Comparison(seen=self.sighting, artifact=self.artifact, error=error)

    def remove(self) -> None:
        """Remove nothing: it has left nothing."""


class Lane:
    """A thread that does one task after the other, with files that arrived just now before all others.

    It touches the files and the queues, and nothing else, and nobody waits for it: should a file server
    not answer, neither the loop nor the end of the process hangs with it.

    Parameters
    ----------
    ahead : `int`
        With so many bytes of files it is full.
    tell : `~collections.abc.Callable`
        Told, on the thread, of each task that has come to its end.
    """

    def __init__(self, ahead: int, tell: Callable[[Task], None]) -> None:
        self.ahead = ahead
        self._tell = tell
        self._numbers = count()
        self._queue: PriorityQueue[tuple[bool, int, Task]] = PriorityQueue()
        self._thread: threading.Thread | None = None

    def put(self, task: Task, *, live: bool) -> None:
        """Do a task when its turn has come."""
        self._queue.put((not live, next(self._numbers), task))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
            self._thread.start()

    def run(self, task: Task) -> None:
        """Do a task now."""
        task.run(self._tell)

    def _work(self) -> None:
        while True:
            _, _, task = self._queue.get()
            self.run(task)
