"""What has been done so far, counted as it happens."""

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

from pfs_ingestd.records import FileRecord, Kind, State

__all__ = ["NO_ERROR", "SLOT", "Amount", "Figures", "Histogram", "Throughput", "lately", "memory"]

SLOT = timedelta(seconds=10)
"""How finely the work of a day is remembered."""

NO_ERROR = "none"
"""What stands for the code of an attempt that succeeded."""

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

_MOST_LATENCIES = 4000
"""More than a night has files in an hour: twelve cameras, every 40 s, are a thousand."""


class Amount(NamedTuple):
    """A number of files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def plus(self, other: "Amount") -> "Amount":
        """Add two amounts."""
        return Amount(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """How much has gone through of late.

    Parameters
    ----------
    today, last_hour : `Amount`
        What was ingested since midnight UTC, and within the last hour.
    files_per_second, bytes_per_second : `float`
        What it came to over the last minute.
    latency_median, latency_p99 : `float` or `None`
        Seconds from arrival to visibility, of the raws that arrived and were ingested within the last hour;
        `None` if there were none.
    """

    today: Amount
    last_hour: Amount
    files_per_second: float
    bytes_per_second: float
    latency_median: float | None
    latency_p99: float | None


class Histogram:
    """Counts values by how large they are.

    Parameters
    ----------
    bounds : `~collections.abc.Sequence` [`float`]
        Upper bounds of all classes but the last, ascending.

    Attributes
    ----------
    total : `float`
        Sum of the values.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Sequence[tuple[float, int]]:
        """Tell for each bound, the last of which is infinity, how many values do not exceed it."""
        return list(zip((*self._bounds, math.inf), accumulate(self._counts), strict=True))


class Figures:
    """What this process has done since it started, and what was done of late.

    Attributes
    ----------
    ingested : `dict` [`Kind`, `Amount`]
        What it stored; files that the repository had already are not counted.
    latency : `Histogram`
        Seconds from arrival to visibility, of raws that arrived under its eyes. A pfsConfig waits for its
        raws by design, and the age of a backlog says nothing of the daemon.
    attempts : `~collections.Counter` [`str`]
        Attempts that came to an end, by the code of their error.
    rejections : `~collections.Counter` [`str`]
        Files that were rejected, by code.
    outages : `dict` [`str`, `float`]
        For how many seconds something did not work, by code.
    visits : `int`
        How many visits have become complete.
    notifications : `~collections.Counter` [`tuple` [`str`, `str`]]
        Attempts to deliver a notification, by hook and result: ``delivered`` or ``failed``.
    scans, scanned_folders : `int`
        How often the watched folders were scanned, and how many folders were listed in all.
    scan_seconds : `float`
        How long that took in all.
    """

    def __init__(self) -> None:
        self.ingested = dict.fromkeys(Kind, Amount())
        self.latency = Histogram(_LATENCY_BOUNDS)
        self.attempts: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.outages: dict[str, float] = {}
        self.visits = 0
        self.notifications: Counter[tuple[str, str]] = Counter()
        self.scans = 0
        self.scanned_folders = 0
        self.scan_seconds = 0.0
        # By number: there are thousands, and to compare times takes ten times as long.
        self._slots: dict[int, Amount] = {}
        self._latencies: deque[tuple[datetime, float]] = deque(maxlen=_MOST_LATENCIES)

    def moved(self, old: FileRecord | None, new: FileRecord) -> None:
        """Count what a change of a file's record amounts to; `None` stands for a file that was not known."""
        before = old.state if old else None
        # What is put back is not charged for its attempt: it was none.
        if old and before is State.INGESTING and new.attempts == old.attempts:
            self.attempts[new.code or NO_ERROR] += 1
        if new.state is before:
            return
        if new.state is State.REJECTED:
            self.rejections[new.code or NO_ERROR] += 1
        elif new.state is State.INGESTED and new.code is None:
            self._stored(new)

    def scanned(self, seconds: float, folders: int) -> None:
        """Count a scan."""
        self.scans += 1
        self.scan_seconds += max(seconds, 0.0)
        self.scanned_folders += folders

    def troubled(self, codes: Collection[str], span: timedelta) -> None:
        """Count a while in which some things did not work; a clock that was set back counts nothing."""
        seconds = max(span.total_seconds(), 0.0)
        for code in set(codes):
            self.outages[code] = self.outages.get(code, 0.0) + seconds

    def remember(self, earlier: Mapping[datetime, Amount]) -> None:
        """Add what an earlier process ingested, by the beginning of each `SLOT`."""
        for slot, amount in earlier.items():
            self._fill(_slot(slot), amount)

    def retell(self, amounts: Mapping[datetime, Amount]) -> None:
        """Set right what was ingested in some slots, by this process and by others."""
        self._slots.update((_slot(slot), amount) for slot, amount in amounts.items())

    def throughput(self, now: datetime) -> Throughput:
        """Sum up what has gone through of late, and forget what is too old for that."""
        hour_ago, oldest = now - _HOUR, _slot(memory(now))
        self._slots = {slot: each for slot, each in self._slots.items() if slot >= oldest}
        while self._latencies and self._latencies[0][0] <= hour_ago:
            self._latencies.popleft()
        latencies = sorted(latency for _, latency in self._latencies)
        # Whole slots and the one that has just begun.
        minute = self._since(now - _MINUTE)
        seconds = (_MINUTE + (now - _EPOCH) % SLOT).total_seconds()
        return Throughput(
            today=self._since(_midnight(now)),
            last_hour=self._since(hour_ago),
            files_per_second=minute.files / seconds,
            bytes_per_second=minute.bytes / seconds,
            latency_median=_quantile(latencies, 0.5),
            latency_p99=_quantile(latencies, 0.99),
        )

    def _stored(self, record: FileRecord) -> None:
        amount = Amount(1, record.size)
        self.ingested[record.kind] = self.ingested[record.kind].plus(amount)
        self._fill(_slot(record.updated), amount)
        if record.live and record.kind is Kind.RAW:
            seconds = max((record.updated - record.steady_since).total_seconds(), 0.0)
            self.latency.add(seconds)
            self._latencies.append((record.updated, seconds))

    def _fill(self, slot: int, amount: Amount) -> None:
        self._slots[slot] = self._slots.get(slot, Amount()).plus(amount)

    def _since(self, begin: datetime) -> Amount:
        first = _slot(begin)
        amounts = [amount for slot, amount in self._slots.items() if slot >= first]
        return Amount(sum(each.files for each in amounts), sum(each.bytes for each in amounts))


def memory(now: datetime) -> datetime:
    """Tell since when what was ingested matters for a `Throughput`."""
    return min(_midnight(now), now - _HOUR)


def lately(now: datetime) -> datetime:
    """Tell since when what others ingest may still change; a slot begins then."""
    return _EPOCH + _slot(now - _MINUTE) * SLOT


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _slot(time: datetime) -> int:
    return (time - _EPOCH) // SLOT


def _quantile(ascending: Sequence[float], share: float) -> float | None:
    """Get the smallest value that so large a share of the values does not exceed."""
    return ascending[math.ceil(share * len(ascending)) - 1] if ascending else None
