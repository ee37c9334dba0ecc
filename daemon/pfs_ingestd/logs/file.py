"""The file of the log, which may be rotated, full or gone without harm to those who write to it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import structlog

__all__ = ["LogFile"]

_CLOSED = -1

_log = structlog.get_logger()


class LogFile(logging.Handler):
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
        super().__init__()
        self._path = path
        self._file = self._opened()
        self._in_line = False
        self._complained = False
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or count it as lost."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 (a line that cannot be made costs nothing but itself)
            self.handleError(record)
            return
        # Where no new file can be had, the one that was renamed is better than nothing.
        followed = self._tried(self._follow)
        written = self._tried(lambda: self._append(line))
        self._lost += not written
        if followed and written and self._complained:
            self._recover()

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, _CLOSED
        if file != _CLOSED:
            os.close(file)
        super().close()

    def _opened(self) -> int:
        # The umask decides who may read it.
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _follow(self) -> None:
        """Open the file that has the name now, if it is another than ours."""
        ours = os.fstat(self._file)
        try:
            if os.path.samestat(ours, self._path.stat()):
                return
        except FileNotFoundError:
            pass  # it was renamed, and there is no other yet
        file = self._opened()
        os.close(self._file)
        self._file = file
        self._in_line = False

    def _append(self, line: bytes) -> None:
        if self._in_line:
            line = b"\n" + line  # what a full disk cut short stays alone on its line
        while line:
            line = line[os.write(self._file, line) :]
            self._in_line = bool(line)

    def _tried(self, step: Callable[[], None]) -> bool:
        """Do something, say whether it went well, and where it does not, say once why."""
        try:
            step()
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


def _tell_stderr(text: str) -> None:
    if logging.lastResort:
        logging.lastResort.handle(logging.makeLogRecord({"msg": text, "levelno": logging.ERROR}))
