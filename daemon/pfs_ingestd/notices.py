"""What others are told of at once: which notices make one notification, and when its turn is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self, cast

from pfs_ingestd.errors import IngestdError
from pfs_ingestd.records import FileRecord, path_text
from pfs_ingestd.redaction import redacted
from pfs_ingestd.text import short_line

__all__ = [
    "FEW",
    "Digest",
    "Notice",
    "Notices",
    "Outages",
    "Outbox",
    "Sender",
    "Topic",
    "notification",
    "rejection",
    "trial",
]

VERSION = 1
"""Raised when a key of a notification changes its meaning or goes away; new keys may come at any time."""

FEW = 10
"""How many notices of a notification are told one by one; the others are counted."""

LONGEST_PAUSE = timedelta(minutes=5)
"""How far the pauses grow while a receiver takes nothing, if `notify.interval` is shorter."""

_LONGEST_TEXT = 500


class Topic(StrEnum):
    """What a notification is about."""

    VISITS = "visits"
    REJECTIONS = "rejections"
    OUTAGES = "outages"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened and that others want to know at once.

    Parameters
    ----------
    event : `str`
        Its name, as in the log where there is one of this name.
    at : `~datetime.datetime`
        When it happened.
    text : `str`
        The same in words.
    facts : `~collections.abc.Mapping` [`str`, `object`]
        What there is to say of it, as values that JSON can hold.
    """

    event: str
    at: datetime
    text: str
    facts: Mapping[str, object]

    def as_json(self) -> dict[str, object]:
        """Write it as values that JSON can hold, without passwords and of bounded size."""
        return {
            "event": self.event,
            "at": _time(self.at),
            "text": _shown(self.text),
            **{key: _shown(value) if isinstance(value, str) else value for key, value in self.facts.items()},
        }


@dataclass(frozen=True, slots=True)
class Digest:
    """Notices of one topic, put together: how many, the first few, and the last.

    Parameters
    ----------
    count : `int`
        How many there are.
    first : `tuple` [`Notice`]
        The earliest of them, `FEW` at most.
    last : `Notice`
        The latest.
    """

    count: int
    first: tuple[Notice, ...]
    last: Notice

    @classmethod
    def of(cls, notice: Notice) -> Self:
        """Begin with one."""
        return cls(1, (notice,), notice)

    def plus(self, later: Self) -> Self:
        """Add what came later."""
        first = (*self.first, *later.first)[:FEW] if self.count < FEW else self.first
        return type(self)(self.count + later.count, first, later.last)


class Notices:
    """What has happened and was not told yet; of bounded size, whether or not anybody wants to know."""

    def __init__(self) -> None:
        self._digests: dict[Topic, Digest] = {}

    def add(self, topic: Topic, notice: Notice) -> None:
        """Take note of something."""
        digest = Digest.of(notice)
        known = self._digests.get(topic)
        self._digests[topic] = known.plus(digest) if known else digest

    def take(self) -> Mapping[Topic, Digest]:
        """Hand over what there is, and keep nothing of it."""
        taken, self._digests = self._digests, {}
        return taken


class Outages:
    """Tells from what does not work now, and what did not a moment ago, when outages began and ended."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def changed(self, troubles: Collection[IngestdError], now: datetime) -> Sequence[Notice]:
        """Tell what has begun and what has ended; of several reasons with the same code the first counts."""
        reasons = {str(error.code): str(error) for error in reversed(list(troubles))}
        begun = [code for code in reasons if code not in self._since]
        ended = {code: since for code, since in self._since.items() if code not in reasons}
        self._since = {code: self._since.get(code, now) for code in reasons}
        ongoing = sorted(self._since)
        return [
            *(
                Notice(
                    "outage.ended",
                    now,
                    f"{code} is over after {(now - since).total_seconds():.0f} s",
                    {
                        "code": code,
                        "reason": None,
                        "seconds": round((now - since).total_seconds(), 3),
                        "ongoing": ongoing,
                    },
                )
                for code, since in sorted(ended.items())
            ),
            *(
                Notice(
                    "outage.began",
                    now,
                    f"{code}: {reasons[code]}",
                    {"code": code, "reason": reasons[code], "seconds": None, "ongoing": ongoing},
                )
                for code in sorted(begun)
            ),
        ]


def rejection(record: FileRecord) -> Notice:
    """Tell of a file that was rejected."""
    camera = f"{record.arm}{record.spectrograph}" if record.arm else None
    path = path_text(record.path)
    return Notice(
        "file.rejected",
        record.updated,
        f"{camera or record.kind} of visit {record.visit}: [{record.code}] {record.error}: {path}",
        {
            "path": path,
            "kind": str(record.kind),
            "visit": record.visit,
            "camera": camera,
            "code": record.code,
            "reason": record.error or "",
        },
    )


class Outbox:
    """What one receiver is still to be told, a topic at a time, and when the turn of each is.

    The first notice of a topic goes at once. What follows within the interval goes together at its end. What
    could not be delivered is added to what follows, so that nothing is lost and nothing grows.

    Parameters
    ----------
    interval : `~datetime.timedelta`
        The shortest time between two notifications of a topic.

    Attributes
    ----------
    failures : `int`
        How many attempts have failed in a row.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._waiting: dict[Topic, Digest] = {}
        self._begun: dict[Topic, datetime] = {}
        self._sent: tuple[Topic, Digest] | None = None
        self.failures = 0

    @property
    def waiting(self) -> Mapping[Topic, int]:
        """How many notices of each topic have not been delivered."""
        counts = {topic: digest.count for topic, digest in self._waiting.items()}
        if self._sent:
            topic, digest = self._sent
            counts[topic] = counts.get(topic, 0) + digest.count
        return counts

    def add(self, topic: Topic, digest: Digest) -> None:
        """Take note of what the receiver is to be told."""
        known = self._waiting.get(topic)
        self._waiting[topic] = known.plus(digest) if known else digest

    def take(self, now: datetime, *, hurry: bool = False) -> tuple[Topic, Digest] | None:
        """Take what is to be sent now, the longest waiting first, once the last has come to its end.

        Parameters
        ----------
        now : `~datetime.datetime`
            The time.
        hurry : `bool`, optional
            Whether there is no later time for it.
        """
        due = [topic for topic in self._waiting if hurry or self._is_due(topic, now)]
        if self._sent or not due:
            return None
        topic = min(due, key=lambda each: self._waiting[each].first[0].at)
        self._begun[topic] = now
        self._sent = topic, self._waiting.pop(topic)
        return self._sent

    def delivered(self) -> None:
        """Forget what was sent: the receiver has it."""
        self._sent = None
        self.failures = 0

    def failed(self) -> None:
        """Keep what was sent: the receiver does not have it, or nobody knows."""
        if self._sent:
            topic, digest = self._sent
            later = self._waiting.get(topic)
            self._waiting[topic] = digest.plus(later) if later else digest
        self._sent = None
        self.failures += 1

    def _is_due(self, topic: Topic, now: datetime) -> bool:
        begun = self._begun.get(topic)
        pause = min(timedelta(seconds=2 ** min(self.failures, 10)), LONGEST_PAUSE)
        # A clock that was set back ends a pause, too.
        return begun is None or not timedelta(0) <= now - begun < max(
            self._interval, pause if self.failures else timedelta(0)
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells.

    Parameters
    ----------
    host : `str`
        The machine.
    repository : `str`
        Where it ingests to.
    """

    host: str
    repository: str


def notification(topic: Topic, digest: Digest, sender: Sender, now: datetime) -> Mapping[str, object]:
    """Write a notification as values that JSON can hold.

    Its size is bounded, and it holds no passwords. ``notification.schema.json`` describes the result.
    """
    left_out = digest.count - len(digest.first)
    lines = [_headline(topic, digest), *(f"- {notice.text}" for notice in digest.first)]
    if left_out:
        lines.append(f"- and {left_out} more, the last: {digest.last.text}")
    return _about(sender, now, str(topic), lines) | {
        "count": digest.count,
        "events": [notice.as_json() for notice in digest.first],
        "left_out": left_out,
        "last": digest.last.as_json(),
    }


def trial(sender: Sender, now: datetime) -> Mapping[str, object]:
    """Write a notification that nothing has happened, for an operator who wants to see one arrive."""
    lines = ["this is a test, nothing has happened"]
    return _about(sender, now, "test", lines) | {"count": 0, "events": [], "left_out": 0, "last": None}


def _about(sender: Sender, now: datetime, kind: str, lines: Sequence[str]) -> dict[str, object]:
    first, *more = lines
    return {
        "version": VERSION,
        "kind": kind,
        "at": _time(now),
        "host": _shown(sender.host),
        "repository": _shown(sender.repository),
        "text": "\n".join(map(_shown, (f"pfs-ingestd on {sender.host}: {first}", *more))),
    }


def _headline(topic: Topic, digest: Digest) -> str:
    one = digest.count == 1
    match topic:
        case Topic.VISITS:
            return "1 visit is complete" if one else f"{digest.count} visits are complete"
        case Topic.REJECTIONS:
            return "1 file was rejected" if one else f"{digest.count} files were rejected"
        case Topic.OUTAGES:
            ongoing = ", ".join(cast("Sequence[str]", digest.last.facts["ongoing"]))
            return f"OUTAGE: {ongoing}" if ongoing else "no outage any more"


def _shown(text: str) -> str:
    return short_line(redacted(text), _LONGEST_TEXT)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
