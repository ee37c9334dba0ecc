"""One log for everything that runs in the process."""

import logging
from pathlib import Path
from typing import Literal, TextIO

import structlog

from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.logs.file import LogFile
from pfs_ingestd.logs.output import Output, Voice, in_reading_order
from pfs_ingestd.logs.rendering import console_renderer, json_line

__all__ = ["configure_logs"]

_NAME = "pfs_ingestd"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(
    *,
    level: Literal["debug", "info", "warning", "error"],
    format: Literal["auto", "json", "console"],  # noqa: A002 (the name of the setting)
    file: Path | None,
    stream: TextIO,
) -> None:
    """Send the log of this program, of the libraries and of Python's warnings to one place in one form.

    Parameters
    ----------
    level : `str`
        The least severe level of our own events that is written. Libraries are heard from ``warning`` on,
        and from ``info`` on if this is ``debug``.
    format : `str`
        ``json``: one object a line, in ASCII; ``console``: columns for people; ``auto``: columns on a
        terminal, else JSON.
    file : `~pathlib.Path` or `None`
        Where to write instead of the stream; opened anew when it was rotated away.
    stream : `~typing.TextIO`
        Standard output, as a rule.

    Raises
    ------
    Fatal
        If the file cannot be opened.
    """
    on_terminal = file is None and stream.isatty()
    as_console = format == "console" or (format == "auto" and on_terminal)
    render = console_renderer(colors=on_terminal) if as_console else json_line
    output = Output(_Stream(stream) if file is None else _log_file(file), render)
    output.set_name(_NAME)
    _install(output)
    ours = _LEVELS[level]
    logging.getLogger().setLevel(logging.INFO if ours == logging.DEBUG else max(ours, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[in_reading_order],
        logger_factory=lambda *_: Voice(output),
        wrapper_class=structlog.make_filtering_bound_logger(ours),
        cache_logger_on_first_use=False,
    )


class _Stream:
    """Somebody else's stream, which is left open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: str) -> None:
        self._stream.write(f"{lines}\n")
        self._stream.flush()

    def close(self) -> None:
        pass


def _log_file(file: Path) -> LogFile:
    try:
        return LogFile(file)
    except OSError as error:
        raise Fatal(
            Code.CONFIGURATION,
            f"the log cannot be written to {file}: {error.strerror}",
            hint="log.file must lie in an existing folder that this user may write to",
        ) from error


def _install(output: Output) -> None:
    """Put our output in the place of the one that an earlier call has put there."""
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if one.get_name() == _NAME and one is not output]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(output)
