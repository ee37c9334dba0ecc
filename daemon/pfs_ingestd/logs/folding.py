"""Bursts of the same warning as a few lines and a number."""

import atexit
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import structlog

__all__ = ["FIRST", "SPAN", "Folding", "Kind", "kind_of_event", "kind_of_record", "on_timer"]

FIRST = 3
"""How many lines of a kind pass before the others are only counted."""

SPAN = 60.0
"""For how many seconds, from the first of them."""

_MOST_KINDS = 500
_LONGEST_NAME = 200
_NEVER_FOLDED = frozenset({"debug", "info"})

Kind: TypeAlias = tuple[str, str | None]
_Later: TypeAlias = Callable[[float, Callable[[], None]], None]

_log = structlog.get_logger()


@dataclass
class _Burst:
    """Lines of one kind: when they began, and how many passed and were held back."""

    begun: float
    passed: int = 0
    held: int = 0


def on_timer(seconds: float, call: Callable[[], None]) -> None:
    """Call something later, from a thread that keeps no process alive."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


class Folding:
    """Holds warnings and errors back that say what was said a moment ago, and tells how many they were.

    Of our own events those are the same that have the same name and code, of libraries those that come from
    the same place. What becomes of files passes always: one line for each change of state is a promise. So
    does what is only information.

    Parameters
    ----------
    later : `~collections.abc.Callable`, optional
        Calls something after a number of seconds.
    """

    def __init__(self, later: _Later = on_timer) -> None:
        self._later = later
        self._lock = threading.Lock()  # lines come from the pools of threads, too
        self._bursts: dict[Kind, _Burst] = {}
        atexit.register(self.close)

    def passes(self, kind: Kind, now: float) -> bool:
        """Say whether another line of a kind passes at a time, in seconds since 1970."""
        with self._lock:
            burst = self._burst(kind, now)
            if burst.passed < FIRST:
                burst.passed += 1
                return True
            burst.held += 1
            if burst.held == 1:
                self._later(max(burst.begun + SPAN - now, 0.0), partial(self._end, kind))
            return False

    def close(self) -> None:
        """Tell of what is held back, and hold nothing more."""
        atexit.unregister(self.close)
        for kind in list(self._bursts):
            self._end(kind)

    def _burst(self, kind: Kind, now: float) -> _Burst:
        if len(self._bursts) > _MOST_KINDS:
            self._bursts = {key: each for key, each in self._bursts.items() if not _is_over(each, now)}
        burst = self._bursts.get(kind)
        if burst is None or _is_over(burst, now):
            burst = self._bursts[kind] = _Burst(now)
        return burst

    def _end(self, kind: Kind) -> None:
        with self._lock:
            burst = self._bursts.pop(kind, None)
        if burst and burst.held:
            name, code = kind
            _log.warning("lines.folded", of=name, code=code, count=burst.held)


def _is_over(burst: _Burst, now: float) -> bool:
    """Say whether a burst has come to its end; one that holds lines back is ended by its timer."""
    return not burst.held and not 0 <= now - burst.begun < SPAN


def kind_of_event(event: Mapping[str, object]) -> Kind | None:
    """Tell what an event of ours is the same as; `None` if it has to pass."""
    if event["level"] in _NEVER_FOLDED:
        return None
    name, code = str(event["event"]), event.get("code")
    if name.startswith(("file.", "lines.", "log.")):
        return None
    return name, None if code is None else str(code)


def kind_of_record(record: logging.LogRecord) -> Kind | None:
    """Tell what a line of a library is the same as; `None` if it has to pass."""
    if record.levelno < logging.WARNING:
        return None
    if record.name.startswith("py."):  # Python's own warnings
        # File, line and category: watchdog 7.1 puts its whole table of watches into the text whenever a
        # folder appears while it is being listed, megabytes in a minute.
        return ":".join(record.getMessage().split(":", 3)[:3]), None
    return f"{record.name}: {record.msg}"[:_LONGEST_NAME], None
