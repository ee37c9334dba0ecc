"""One log for everything that runs in the process: JSON for machines, columns for a terminal."""

import logging
import math
import os
import re
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from enum import Enum
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.redaction import redacted

__all__ = ["configure_logs"]

_NAME = "pfs_ingestd"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_LONGEST_TEXT = 10_000
"""Characters kept of one value; a library has been seen to log megabytes at once."""

_DEEPEST = 5
_FOLDING_SECONDS = 60.0
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that steer a terminal; tab and line feed are left to tracebacks."""


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
    handler = _handler(file, stream)
    handler.set_name(_NAME)
    handler.setFormatter(_formatter(_console(colors=on_terminal) if as_console else _json()))
    _install(handler)
    ours = _LEVELS[level]
    logging.getLogger(_NAME).setLevel(ours)
    logging.getLogger().setLevel(logging.INFO if ours == logging.DEBUG else max(ours, logging.WARNING))
    logging.captureWarnings(capture=True)
    _fold(logging.getLogger("py.warnings"))
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=lambda *_: logging.getLogger(_NAME),
        wrapper_class=structlog.make_filtering_bound_logger(ours),
        cache_logger_on_first_use=False,
    )


def _handler(file: Path | None, stream: TextIO) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(stream)
    try:
        return WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise Fatal(
            Code.CONFIGURATION,
            f"the log cannot be written to {file}: {error.strerror}",
            hint="log.file must lie in an existing folder that this user may write to",
        ) from error


def _install(handler: logging.Handler) -> None:
    """Put our handler in the place of the one that an earlier call has put there."""
    root = logging.getLogger()
    for earlier in [one for one in root.handlers if one.get_name() == _NAME and one is not handler]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)


def _formatter(renderers: Collection[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _in_plain_values,
            *renderers,
        ],
    )


def _json() -> Collection[Processor]:
    return [_in_reading_order, structlog.processors.JSONRenderer(allow_nan=False)]


def _console(*, colors: bool) -> Collection[Processor]:
    return [
        _without_control_characters,
        structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _in_plain_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {str(key): _plain(value, _DEEPEST) for key, value in event.items()}


def _plain(value: Any, depth: int) -> Any:
    """Turn a value into what JSON can hold, without passwords and of bounded size."""
    match value:
        case Mapping() if depth:
            return {_clean(str(key)): _plain(below, depth - 1) for key, below in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [_plain(below, depth - 1) for below in value]
        case Enum():
            return _plain(value.value, depth)
        case timedelta():
            return value.total_seconds()
        case None | int() | float() if not isinstance(value, float) or math.isfinite(value):
            return value
        case _:
            return _clean(_text(value))


def _text(value: object) -> str:
    match value:
        case str() | float() | UUID() | BaseException():
            return str(value)
        case os.PathLike():
            return os.fsdecode(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case date():
            return value.isoformat()
        case _:
            return repr(value)


def _clean(text: str) -> str:
    return _bounded(redacted(_encodable(text)))


def _encodable(text: str) -> str:
    """Write lone surrogates, which stand for bytes of a file name that are not UTF-8, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    half = _LONGEST_TEXT // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


def _in_reading_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _without_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _harmless(value, in_line=key != "exception") for key, value in event.items()}


def _harmless(value: Any, *, in_line: bool) -> Any:
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return text.replace("\n", "\\n") if in_line else text


def _fold(logger: logging.Logger) -> None:
    for earlier in [one for one in logger.filters if isinstance(one, _Folding)]:
        logger.removeFilter(earlier)
    logger.addFilter(_Folding())


class _Folding(logging.Filter):
    """Let pass one warning a minute from each place in the code, with the number of those held back.

    Python shows a warning once for each text, and watchdog 7.1 puts its whole table of watches into the text
    whenever a folder appears while it is being listed: megabytes in a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        place = ":".join(message.split(":", 3)[:3])
        if record.created - self._passed.get(place, -math.inf) < _FOLDING_SECONDS:
            self._held[place] = self._held.get(place, 0) + 1
            return False
        self._passed[place] = record.created
        held = self._held.pop(place, 0)
        record.msg = f"{message.strip()} ({held} more since the last one)" if held else message.strip()
        record.args = ()
        return True
