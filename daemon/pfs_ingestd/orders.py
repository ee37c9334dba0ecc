"""What operators want of the daemon as a whole: to pause, to resume, to drain, to look again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

__all__ = ["KEPT_ORDERS", "STANDING", "Order", "Standing", "What"]

KEPT_ORDERS = 100
"""How many orders the inbox keeps; the newest of `STANDING` is kept besides, however old."""


class What(StrEnum):
    """What is ordered."""

    PAUSE = "pause"  # claim nothing, until somebody resumes
    RESUME = "resume"  # claim again
    DRAIN = "drain"  # finish what can be done now, then stop; meant for who is at work when it is ordered
    RESCAN = "rescan"  # list folders again, whatever is remembered of them


STANDING = frozenset({What.PAUSE, What.RESUME})
"""The orders of which the newest holds, also for processes that are started later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order.

    Parameters
    ----------
    what : `What`
        What is ordered.
    by : `str`
        Who ordered it, such as ``alice@summit``.
    at : `~datetime.datetime`
        When.
    reason : `str`, optional
        Why, for others.
    paths : `tuple` [`~pathlib.Path`], optional
        Which files and folders are meant; empty means all.
    number : `int`, optional
        Its place among the orders, which the inbox gives: later ones have higher numbers.
    """

    what: What
    by: str
    at: datetime
    reason: str = ""
    paths: tuple[Path, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What all orders amount to, up to one.

    Parameters
    ----------
    number : `int`
        The number of the last order that was heard; 0 if none was.
    paused : `Order` or `None`
        The pause that holds.
    draining : `Order` or `None`
        The drain that is wanted.
    """

    number: int = 0
    paused: Order | None = None
    draining: Order | None = None

    def after(self, orders: Iterable[Order]) -> Self:
        """Hear further orders. To pause again while a pause holds, or to drain again, changes nothing."""
        standing = self
        for order in orders:
            standing = replace(standing, number=order.number)
            if order.what is What.PAUSE:
                standing = replace(standing, paused=standing.paused or order)
            elif order.what is What.RESUME:
                standing = replace(standing, paused=None)
            elif order.what is What.DRAIN:
                standing = replace(standing, draining=standing.draining or order)
        return standing

    def at_start(self) -> Self:
        """Forget what was ordered of those who were at work before: a start is a newer wish than a drain."""
        return replace(self, draining=None)
