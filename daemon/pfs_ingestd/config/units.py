"""Durations and sizes as people write them."""

import math
import re
from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator

__all__ = ["Duration", "PositiveDuration", "Size", "seconds_text"]

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}

_LONGEST = timedelta(days=3650)


def seconds_text(duration: timedelta) -> str:
    """Write a duration as the configuration file would have it, in seconds."""
    return f"{duration.total_seconds():g}s"


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    number, unit = _quantity(value)
    if number is None or unit not in _SECONDS:
        raise ValueError(f"should be a duration such as 500ms, 2s, 10min, 36h or 1d, not {value!r}")
    seconds = number * _SECONDS[unit]
    if not seconds <= _LONGEST.total_seconds():
        raise ValueError(f"should be at most {_LONGEST.days}d, not {value!r}")
    return timedelta(seconds=seconds)


def _size(value: object) -> int:
    number, unit = _quantity(value)
    if number is None or unit.lower() not in _BYTES:
        raise ValueError(f"should be a size such as 500MB, 4GB or 2GiB, not {value!r}")
    size = number * _BYTES[unit.lower()]
    if not 1 <= size < 2**63:
        raise ValueError(f"should be between one byte and 8 EiB, not {value!r}")
    return int(size)


def _quantity(value: object) -> tuple[float | None, str]:
    """Split into number and unit; the number is `None` where there is no finite, non-negative one."""
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)):
        return float(match[1]), match[2]
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and math.isfinite(value):
        return float(value), ""
    return None, ""


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("should be longer than 0s")
    return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]
"""``500ms``, ``2s``, ``10min``, ``36h``, ``1d``, or a number of seconds; not negative."""

PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
"""A duration that is longer than nothing."""

Size: TypeAlias = Annotated[int, BeforeValidator(_size)]
"""``500MB`` (powers of 1000), ``2GiB`` (powers of 1024), or a number of bytes; not zero."""
