"""Events as text: JSON for machines, columns for a terminal."""

import logging
import math
import os
import re
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pfs_ingestd.redaction import redacted

__all__ = ["console_renderer", "json_renderer"]

_LONGEST_TEXT = 10_000
"""Characters kept of one value; a library has been seen to log megabytes at once."""

_DEEPEST = 5
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that steer a terminal; tab and line feed are left to tracebacks."""


def json_renderer() -> logging.Formatter:
    """Make what writes an event as a JSON object on one line, in ASCII."""
    return _formatter([_in_reading_order, structlog.processors.JSONRenderer(allow_nan=False)])


def console_renderer(*, colors: bool) -> logging.Formatter:
    """Make what writes an event in columns, for people."""
    return _formatter(
        [
            _without_control_characters,
            structlog.dev.ConsoleRenderer(
                colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )


def _formatter(renderers: Collection[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trimmed,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _in_plain_values,
            *renderers,
        ],
    )


def _trimmed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Python's own warnings end with a line feed.
    return {**event, "event": event["event"].strip()}


def _in_plain_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # Nearly all are plain text: to find that out by the patterns of _plain takes several times as long.
    return {
        str(key): _clean(value) if type(value) is str else _plain(value, _DEEPEST)
        for key, value in event.items()
    }


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
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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
