"""How much room the disks have, asked so that one that does not answer holds nobody up."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pfs_ingestd.status import DiskRoom

__all__ = ["Disks"]

INTERVAL = 10.0
"""Seconds between two questions to a disk."""

GRACE = 0.05
"""Seconds that an answer is waited for: a disk that is well answers in microseconds."""

SILENCE = 5.0
"""Seconds after which the last answer is no longer repeated."""


class Disks:
    """Asks each disk in a thread of its own, because a call to a file server that is gone never returns.

    Parameters
    ----------
    folders : `~collections.abc.Mapping` [`str`, `~pathlib.Path`]
        What is written where, by the words of `DiskRoom`.
    monotonic : `~collections.abc.Callable`
        Tells the seconds passed since some moment, as `time.monotonic` does.
    statvfs : `~collections.abc.Callable`, optional
        Asks the disk, as `os.statvfs` does.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        monotonic: Callable[[], float],
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._probes = [_Probe(what, folder, statvfs) for what, folder in folders.items()]
        self._monotonic = monotonic

    def room(self) -> Sequence[DiskRoom]:
        """Tell how much room there is, as far as the disks have answered."""
        return [probe.room(self._monotonic()) for probe in self._probes]


class _Probe:
    def __init__(self, what: str, folder: Path, statvfs: Callable[[Path], os.statvfs_result]) -> None:
        self._what = what
        self._folder = folder
        self._statvfs = statvfs
        self._asked = -INTERVAL
        self._question: threading.Thread | None = None
        self._answer = DiskRoom(what=what, folder=folder)

    def room(self, now: float) -> DiskRoom:
        """Repeat the last answer, or ask again when it is old."""
        asking = self._question is not None and self._question.is_alive()
        if not asking and now - self._asked >= INTERVAL:
            self._asked = now
            self._question = threading.Thread(target=self._ask, name=f"disk of {self._what}", daemon=True)
            self._question.start()
            self._question.join(GRACE)
        elif asking and now - self._asked >= SILENCE:
            return DiskRoom(what=self._what, folder=self._folder, reason="the disk does not answer")
        return self._answer

    def _ask(self) -> None:
        try:
            found = self._statvfs(self._folder)
        except OSError as error:
            reason = error.strerror or str(error)
            self._answer = DiskRoom(what=self._what, folder=self._folder, reason=reason)
            return
        self._answer = DiskRoom(
            what=self._what,
            folder=self._folder,
            free=found.f_bavail * found.f_frsize,
            size=found.f_blocks * found.f_frsize,
        )
