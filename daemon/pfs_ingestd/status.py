"""How the daemon is, in one value that anybody can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from pfs_ingestd.records import PENDING, FileRecord, State, path_text

__all__ = ["Condition", "Phase", "Process", "ScanCost", "Status", "WatchedRoot", "summarise"]

VERSION = 1
"""Raised when a key of the status changes its meaning or goes away; new keys may come at any time."""

_LONGEST_REASON = 500


class Phase(StrEnum):
    """What the daemon is doing as a whole."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the daemon is doing, why, and since when.

    Parameters
    ----------
    phase : `Phase`
        The word for it.
    reason : `str`
        Why it is not simply running; empty if there is nothing to say.
    since : `~datetime.datetime`
        When it began to be so.
    """

    phase: Phase
    reason: str = ""
    since: datetime

    def become(self, phase: Phase, reason: str, now: datetime) -> Self:
        """Go over into a phase; to stay in the same one keeps its begin."""
        since = self.since if phase is self.phase else now
        return replace(self, phase=phase, reason=reason, since=since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Who speaks.

    Parameters
    ----------
    pid : `int`
        Number of the process.
    host : `str`
        The machine it runs on.
    program_version : `str`
        Version of this package.
    repository : `str`
        Where it ingests to.
    started : `~datetime.datetime`
        When it was started.
    """

    pid: int
    host: str
    program_version: str
    repository: str
    started: datetime


class WatchedRoot(Protocol):
    """A watched root and whether it is really watched; `WatcherHealth` is one."""

    @property
    def root(self) -> Path:
        """The folder."""

    @property
    def mode(self) -> str:
        """How it is watched."""

    @property
    def healthy(self) -> bool:
        """Whether what happens there is noticed at once."""

    @property
    def reason(self) -> str:
        """Why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanCost:
    """When the watched folders were last scanned, and what it took.

    Parameters
    ----------
    at : `~datetime.datetime`
        When the scan ended.
    seconds : `float`
        How long it took.
    folders : `int`
        How many folders had to be listed.
    """

    at: datetime
    seconds: float
    folders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the daemon is at one moment.

    Parameters
    ----------
    heartbeat : `~datetime.datetime`
        That moment; the daemon is not at work if it lies long ago.
    condition : `Condition`
        What it is doing.
    process : `Process`
        Who speaks.
    watchers : `tuple` [`WatchedRoot`]
        How each root is watched.
    scan : `ScanCost` or `None`
        The last scan.
    counts : `~collections.abc.Mapping`
        Number of files in each state.
    oldest_pending : `~datetime.datetime` or `None`
        When the file arrived that has been waiting longest for the daemon.
    last_ingested, last_rejected, last_changed : `FileRecord` or `None`
        The files of which this was said last.
    """

    heartbeat: datetime
    condition: Condition
    process: Process
    watchers: tuple[WatchedRoot, ...]
    scan: ScanCost | None
    counts: Mapping[State, int]
    oldest_pending: datetime | None
    last_ingested: FileRecord | None
    last_rejected: FileRecord | None
    last_changed: FileRecord | None

    def as_json(self) -> dict[str, object]:
        """Write it as values that JSON can hold, times as ISO 8601 in UTC."""
        return {
            "version": VERSION,
            "state": str(self.condition.phase),
            "reason": _short(self.condition.reason),
            "since": _time(self.condition.since),
            "heartbeat": _time(self.heartbeat),
            "pid": self.process.pid,
            "host": self.process.host,
            "program_version": self.process.program_version,
            "repository": self.process.repository,
            "started": _time(self.process.started),
            "watchers": [_watcher(watcher) for watcher in self.watchers],
            "last_scan": self.scan and _scan(self.scan),
            "counts": {str(state): self.counts.get(state, 0) for state in State},
            "pending": self._pending(),
            "last_ingested": self.last_ingested and _file(self.last_ingested),
            "last_rejected": self.last_rejected and _file(self.last_rejected),
            "last_changed": self.last_changed and _file(self.last_changed),
        }

    def _pending(self) -> dict[str, object]:
        oldest = self.oldest_pending
        return {
            "files": sum(self.counts.get(state, 0) for state in PENDING),
            "oldest": oldest and _time(oldest),
            "oldest_age_seconds": oldest and max(0.0, round((self.heartbeat - oldest).total_seconds(), 3)),
        }


def summarise(
    before: Condition,
    *,
    now: datetime,
    process: Process,
    troubles: Sequence[str],
    watchers: Sequence[WatchedRoot],
    scan: ScanCost | None,
    counts: Mapping[State, int],
    oldest_pending: datetime | None,
    last_ingested: FileRecord | None,
    last_rejected: FileRecord | None,
    last_changed: FileRecord | None,
) -> Status:
    """Put together how the daemon is.

    A daemon that is running is degraded as long as there are troubles or a root is not really watched.

    Parameters
    ----------
    before : `Condition`
        The condition that was told last, or that the daemon has gone over into since.
    now : `~datetime.datetime`
        The time.
    troubles : `~collections.abc.Sequence` [`str`]
        What does not work, for a person: an outage, an unreadable folder.
    process, watchers, scan, counts, oldest_pending, last_ingested, last_rejected, last_changed
        See `Status`; the counts come from the inbox.
    """
    reasons = [
        *troubles,
        *(f"{watcher.root}: {watcher.reason}" for watcher in watchers if not watcher.healthy),
    ]
    return Status(
        heartbeat=now,
        condition=_condition(before, "; ".join(reasons), now),
        process=process,
        watchers=tuple(watchers),
        scan=scan,
        counts=dict(counts),
        oldest_pending=oldest_pending,
        last_ingested=last_ingested,
        last_rejected=last_rejected,
        last_changed=last_changed,
    )


def _condition(before: Condition, reason: str, now: datetime) -> Condition:
    if before.phase not in {Phase.RUNNING, Phase.DEGRADED}:
        return before
    return before.become(Phase.DEGRADED if reason else Phase.RUNNING, reason, now)


def _watcher(watcher: WatchedRoot) -> dict[str, object]:
    return {
        "root": path_text(watcher.root),
        "mode": watcher.mode,
        "healthy": watcher.healthy,
        "reason": _short(watcher.reason),
    }


def _scan(scan: ScanCost) -> dict[str, object]:
    return {"at": _time(scan.at), "seconds": round(scan.seconds, 3), "folders": scan.folders}


def _file(record: FileRecord) -> dict[str, object]:
    return {
        "path": path_text(record.path),
        "visit": record.visit,
        "at": _time(record.updated),
        "code": record.code,
        "error": record.error and _short(record.error),
        "changed": record.changed and _short(record.changed),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
