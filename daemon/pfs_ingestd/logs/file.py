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
    """Appends each line at once, and opens the file anew when it was renamed or removed.

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

    def write(self, line: str) -> None:
        """Write one line, or count it as lost."""
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        # Where no new file can be had, the one that was renamed is better than nothing.
        followed = self._tried(self._follow)
        written = self._tried(self._append, data)
        self._lost += not written
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

    def _append(self, line: bytes) -> None:
        if self._in_line:
            line = b"\n" + line  # what a full disk cut short stays alone on its line
        while line:
            line = line[os.write(self._file, line) :]
            self._in_line = bool(line)

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
