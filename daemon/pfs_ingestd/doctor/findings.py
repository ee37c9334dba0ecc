"""What an examination has to say."""

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Finding", "Level", "error", "ok", "warning"]


class Level(StrEnum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"  # it works, or nobody can tell; worth a look
    ERROR = "error"  # the daemon will not start, or not do its work


class Finding(NamedTuple):
    """Something that an examination found.

    Parameters
    ----------
    level : `Level`
        How bad it is.
    text : `str`
        What was found, and where.
    cure : `str`, optional
        What to do about it; empty if nothing is.
    """

    level: Level
    text: str
    cure: str = ""


def ok(text: str) -> Finding:
    """Find something in order."""
    return Finding(Level.OK, text)


def warning(text: str, cure: str) -> Finding:
    """Find something that is worth a look."""
    return Finding(Level.WARNING, text, cure)


def error(text: str, cure: str) -> Finding:
    """Find something that keeps the daemon from its work."""
    return Finding(Level.ERROR, text, cure)
