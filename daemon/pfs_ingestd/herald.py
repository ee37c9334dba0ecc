"""Has others told of what they want to know at once: visits, rejections, outages."""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from pfs_ingestd.errors import IngestdError, Interrupted
from pfs_ingestd.journal import Journal
from pfs_ingestd.notices import Outages, Outbox, Sender, Topic, notification
from pfs_ingestd.ports import Clock, Courier, Delivery
from pfs_ingestd.status import HookHealth

__all__ = ["Herald"]

FAREWELL = 2.0
"""Seconds that the last notifications may take at a stop: operators expect the daemon gone within ten, of
which a batch may take seven."""

_log = structlog.get_logger()


class Herald:
    """Decides what goes to whom and when, and hands it to couriers; it never waits for them but at the end.

    Parameters
    ----------
    couriers : `~collections.abc.Sequence` [`Courier`]
        The ways out, each with its own pace.
    topics : `~collections.abc.Collection` [`Topic`]
        What is to be told.
    journal : `Journal`
        Knows what happened to files and visits, and counts what was told.
    interval : `~datetime.timedelta`
        The shortest time between two notifications of a topic.
    sender : `Sender`
        Who tells.
    clock : `Clock`
        The time.
    """

    def __init__(
        self,
        *,
        couriers: Sequence[Courier],
        topics: Collection[Topic],
        journal: Journal,
        interval: timedelta,
        sender: Sender,
        clock: Clock,
    ) -> None:
        self._topics = frozenset(topics)
        self._journal = journal
        self._clock = clock
        self._outages = Outages()
        self._lines = [_Line(courier, Outbox(interval), sender, journal) for courier in couriers]

    def renew(self, troubles: Collection[IngestdError]) -> None:
        """Take note of what happened, and send what is due.

        Parameters
        ----------
        troubles : `~collections.abc.Collection` [`IngestdError`]
            What does not work at present.
        """
        now = self._clock.now()
        for notice in self._outages.changed(troubles, now):
            self._journal.notices.add(Topic.OUTAGES, notice)
        fresh = self._journal.notices.take()
        for line in self._lines:
            for topic, digest in fresh.items():
                if topic in self._topics:
                    line.outbox.add(topic, digest)
            line.turn(now)

    def close(self) -> None:
        """Send what is left, without regard to the pace but for a short time only."""
        fresh = self._journal.notices.take()
        end = self._clock.now() + timedelta(seconds=FAREWELL)
        for line in self._lines:
            for topic, digest in fresh.items():
                if topic in self._topics:
                    line.outbox.add(topic, digest)
        with suppress(Interrupted):
            for line in self._lines:
                line.turn(self._clock.now(), hurry=True)
            for line in self._lines:
                line.finish(self._clock, end)
        for line in self._lines:
            line.close()

    def health(self) -> Sequence[HookHealth]:
        """Tell how each way out is."""
        return [line.health for line in self._lines]


class _Line:
    """One way out, and what is still to go that way."""

    def __init__(self, courier: Courier, outbox: Outbox, sender: Sender, journal: Journal) -> None:
        self._courier = courier
        self._sender = sender
        self._journal = journal
        self._topic: Topic | None = None
        self._reason = ""
        self._delivered_at: datetime | None = None
        self.outbox = outbox

    @property
    def health(self) -> HookHealth:
        return HookHealth(
            hook=self._courier.hook,
            to=self._courier.to,
            failures=self.outbox.failures,
            reason=self._reason,
            waiting=sum(self.outbox.waiting.values()),
            last_delivered=self._delivered_at,
        )

    def turn(self, now: datetime, *, hurry: bool = False) -> None:
        """See what became of the last notification, and send the next one if its turn has come."""
        if delivery := self._courier.result():
            self._ended(delivery, now)
        if taken := self.outbox.take(now, hurry=hurry):
            self._topic, digest = taken
            content = notification(self._topic, digest, self._sender, now)
            self._courier.send(json.dumps(content, allow_nan=False))

    def finish(self, clock: Clock, end: datetime) -> None:
        """Send the rest and wait for it, until the receiver fails or the time is over."""
        while self.outbox.waiting:
            seconds = (end - clock.now()).total_seconds()
            delivery = self._courier.result(min(max(seconds, 0.0), FAREWELL))
            if delivery is None:
                return
            self._ended(delivery, clock.now())
            if delivery.error:
                return
            self.turn(clock.now(), hurry=True)

    def close(self) -> None:
        """Give up what is left, and say so."""
        self._courier.cancel()
        if waiting := self.outbox.waiting:
            counts = {str(topic): count for topic, count in sorted(waiting.items())}
            _log.warning("notification.lost", hook=self._courier.hook, to=self._courier.to, counts=counts)

    def _ended(self, delivery: Delivery, now: datetime) -> None:
        result = "failed" if delivery.error else "delivered"
        self._journal.figures.notifications[self._courier.hook, result] += 1
        facts = {"hook": self._courier.hook, "to": self._courier.to, "kind": self._topic and str(self._topic)}
        failures = self.outbox.failures
        self._reason = delivery.error
        if delivery.error:
            self.outbox.failed()
            if not failures:
                _log.warning("notification.failed", error=delivery.error, **facts)
            return
        self.outbox.delivered()
        self._delivered_at = now
        _log.debug("notification.delivered", **facts)
        if failures:
            _log.info("notification.resumed", failures=failures, **facts)
