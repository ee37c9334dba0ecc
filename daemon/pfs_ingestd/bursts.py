"""Lines of log that are told in one go, and written in one go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

__all__ = ["burst", "deliver"]

Write: TypeAlias = Callable[[str], None]

_held: ContextVar[dict[Write, list[str]] | None] = ContextVar("held", default=None)


@contextmanager
def burst() -> Iterator[None]:
    """Hold the lines back that are delivered meanwhile, and write them together at the end.

    What it takes to write does not grow with the number of lines, and half a million files of an archive have
    one each. Lines of other threads pass.
    """
    held: dict[Write, list[str]] = {}
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        for write, lines in held.items():
            write("\n".join(lines))


def deliver(write: Write, line: str) -> None:
    """Have a line written: at once, or with the others of a `burst`."""
    held = _held.get()
    if held is None:
        write(line)
    else:
        held.setdefault(write, []).append(line)
