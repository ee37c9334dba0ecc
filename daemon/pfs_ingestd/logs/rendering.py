"""Events as text: JSON for machines, columns for a terminal."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, timedelta
from enum import Enum
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

import structlog

from pfs_ingestd.redaction import redacted

__all__ = ["Renderer", "console_renderer", "json_line"]

_LONGEST_TEXT = 10_000
"""Characters kept of one value; a library has been seen to log megabytes at once."""

_DEEPEST = 5

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that steer a terminal; tab and line feed are left to tracebacks."""


Renderer: TypeAlias = Callable[[Mapping[str, object]], str]
"""Makes a line of an event."""

_SIMPLE = frozenset({str, int, float, bool, NoneType})
_encoded = json.JSONEncoder(allow_nan=False).encode
_with_traceback = structlog.processors.ExceptionRenderer()


def json_line(event: Mapping[str, object]) -> str:
    """Write an event as a JSON object on one line, in ASCII, keys in the order of the event."""
    # Nearly all are a few short texts and numbers, and written as they are. The others give themselves away:
    # by the colon of a URL, which may have a password, and by the escape of half a character, which stands
    # for what is no text in the name of a file.
    if _SIMPLE.issuperset(map(type, event.values())) and "exc_info" not in event:
        with suppress(ValueError):  # a number that is none
            line = _encoded(event)
            if len(line) <= _LONGEST_TEXT and ":/" not in line and "\\ud" not in line:
                return line
    return _encoded(_in_plain_values(event))


def console_renderer(*, colors: bool) -> Renderer:
    """Make what writes an event in columns, for people."""
    columns = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    return lambda event: columns(None, "", _without_control_characters(_in_plain_values(event)))


def _in_plain_values(event: Mapping[str, object]) -> dict[str, Any]:
    told = _with_traceback(None, "", dict(event))
    return {str(key): _plain(value, _DEEPEST) for key, value in told.items()}


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


def _without_control_characters(event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _harmless(value, in_line=key != "exception") for key, value in event.items()}


def _harmless(value: Any, *, in_line: bool) -> Any:
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", value)
    return text.replace("\n", "\\n") if in_line else text
