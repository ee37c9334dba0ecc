"""What operators order of this process, heard from the inbox."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from pfs_ingestd.orders import Order, Standing, What
from pfs_ingestd.ports import Clock, Inbox
from pfs_ingestd.records import path_text

__all__ = ["Control"]

INTERVAL = timedelta(seconds=1)
"""How often the inbox is asked for new orders."""

_log = structlog.get_logger()


class Control:
    """Hears the orders of operators, and tells of each in the log, once.

    Parameters
    ----------
    inbox : `Inbox`
        Where orders are given.
    clock : `Clock`
        The time.

    Attributes
    ----------
    standing : `Standing`
        What the orders that were heard amount to.
    """

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._heard: Standing | None = None
        self._next = clock.now()
        self._edition: object = None

    @property
    def standing(self) -> Standing:
        """What the orders that were heard amount to."""
        return self._heard or Standing()

    @property
    def paused(self) -> bool:
        """Whether nothing is to be claimed."""
        return self.standing.paused is not None

    @property
    def draining(self) -> bool:
        """Whether this process is to stop as soon as it has done what can be done now."""
        return self.standing.draining is not None

    def listen(self) -> Sequence[Order]:
        """Hear what was ordered since the last time, at most once a second.

        The first time only the pause that holds is heard: all else was meant for those who were at work then.

        Returns
        -------
        orders : `~collections.abc.Sequence` [`Order`]
            The new orders.

        Raises
        ------
        Outage, TryLater
            If the inbox does not answer; the orders are heard the next time.
        """
        now = self._clock.now()
        # A clock that was set back does not make deaf.
        if self._heard and timedelta(0) < self._next - now <= INTERVAL:
            return ()
        edition = self._inbox.edition()
        if self._heard and edition == self._edition:
            self._next = now + INTERVAL
            return ()
        before = self.standing
        orders = self._inbox.orders(before.number)
        self._next = now + INTERVAL
        self._edition = edition
        if self._heard is None:
            self._heard, orders = before.after(orders).at_start(), ()
        else:
            self._heard = before.after(orders)
        self._tell(before, orders)
        return orders

    def _tell(self, before: Standing, orders: Sequence[Order]) -> None:
        after = self.standing
        if after.paused and after.paused != before.paused:
            _log.warning("queue.paused", **_facts(after.paused))
        if before.paused and not after.paused:
            resumed = next((order for order in reversed(orders) if order.what is What.RESUME), before.paused)
            _log.info("queue.resumed", **_facts(resumed))
        if after.draining and not before.draining:
            _log.info("daemon.draining", **_facts(after.draining))
        for order in orders:
            if order.what is What.RESCAN:
                _log.info("scan.ordered", paths=[path_text(path) for path in order.paths], **_facts(order))


def _facts(order: Order) -> dict[str, str]:
    return {"by": order.by, "ordered": order.at.isoformat(timespec="seconds"), "reason": order.reason}
