"""The file of the log, which may be rotated, full or gone without harm to those who write to it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import structlog

__all__ = ["LogFile"]

_CLOSED = -1

_log = structlog.get_logger()


class LogFile:
    """Appends lines at once, and opens the file anew when it was renamed or removed.

    A line that cannot be written is dropped and counted; standard error is told once, and the log when it
    works again. A file that is truncated (``copytruncate``) goes on from its new end.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; its folder is there.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._file = _CLOSED
        self._take(self._opened())
        self._complained = False
        self._lost = 0
        self._unwritten = 0

    def write(self, lines: str) -> None:
        """Write one line or several, or count as lost those that cannot be written."""
        data = f"{lines}\n".encode("utf-8", "backslashreplace")
        # Where no new file can be had, the one that was renamed is better than nothing.
        followed = self._tried(self._follow)
        written = self._tried(self._append, data)
        self._lost += self._unwritten
        if followed and written and self._complained:
            self._recover()

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, _CLOSED
        if file != _CLOSED:
            os.close(file)

    def _opened(self) -> int:
        # The umask decides who may read it.
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _follow(self) -> None:
        """Open the file that has the name now, if it is another than ours."""
        try:
            # As long as ours is open, no other has its number.
            if _identity(os.stat(self._path)) == self._ours:  # noqa: PTH116 (Path's takes twice as long)
                return
        except FileNotFoundError:
            pass  # it was renamed, and there is no other yet
        file = self._opened()
        os.close(self._file)
        self._take(file)

    def _take(self, file: int) -> None:
        self._file = file
        self._ours = _identity(os.fstat(file))
        self._in_line = False

    def _append(self, lines: bytes) -> None:
        self._unwritten = lines.count(b"\n")
        if self._in_line:
            lines = b"\n" + lines  # what a full disk cut short stays alone on its line
        while lines:
            written = os.write(self._file, lines)
            self._in_line = lines[written - 1 : written] != b"\n"
            lines = lines[written:]
            self._unwritten = min(self._unwritten, lines.count(b"\n"))

    def _tried(self, step: Callable[..., None], *arguments: bytes) -> bool:
        """Do something, say whether it went well, and where it does not, say once why."""
        try:
            step(*arguments)
        except OSError as error:
            if not self._complained:
                self._complained = True
                _tell_stderr(f"the log cannot be written to {self._path}: {error.strerror}")
            return False
        return True

    def _recover(self) -> None:
        lost, self._lost = self._lost, 0
        self._complained = False
        _log.warning("log.resumed", lost=lost)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _tell_stderr(text: str) -> None:
    if logging.lastResort:
        logging.lastResort.handle(logging.makeLogRecord({"msg": text, "levelno": logging.ERROR}))
