"""How the daemon is, in one value that anybody can read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from pfs_ingestd.figures import Amount, Throughput
from pfs_ingestd.orders import Order, Standing
from pfs_ingestd.records import PENDING, FileRecord, State, path_text
from pfs_ingestd.text import one_line, short_line

__all__ = [
    "LARGEST",
    "Condition",
    "DiskRoom",
    "HookHealth",
    "Phase",
    "Process",
    "ScanCost",
    "Settings",
    "Status",
    "WatchedRoot",
    "WorkerState",
    "paused_as_json",
    "status_text",
    "summarise",
]

VERSION = 1
"""Raised when a key of the status changes its meaning or goes away; new keys may come at any time."""

LARGEST = 8000
"""Bytes that the text of a status never exceeds, however long the names and errors in it are."""

_LENGTHS = (500, 200, 100, 60, 40, 24, 12)
"""Characters left of each text: the first length with which the whole is small enough."""

_MOST_WATCHERS = 20
_MOST_WORKERS = 20


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which configuration holds, and what came of the last wish to read it again.

    Parameters
    ----------
    file : `str`
        The configuration file.
    loaded : `~datetime.datetime`
        When what holds now was read.
    answers : `int`, optional
        How often it was read again, whatever came of it.
    refused : `str`, optional
        Why the last such time what is in the file was refused; empty if it was not.
    """

    file: str
    loaded: datetime
    answers: int = 0
    refused: str = ""

    def answered(self, now: datetime, refused: str = "") -> Self:
        """Have read the file again; what is in it holds now, unless it was refused."""
        loaded = self.loaded if refused else now
        return replace(self, loaded=loaded, answers=self.answers + 1, refused=refused)


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
    unread : `frozenset` [`~pathlib.Path`], optional
        Folders that could not be read.
    roots : `~collections.abc.Mapping` [`~pathlib.Path`, `float`], optional
        For how many seconds each root was walked through; what was found there is not counted in.
    """

    at: datetime
    seconds: float
    folders: int
    unread: frozenset[Path] = frozenset()
    roots: Mapping[Path, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRoom:
    """How much room there is on the disk that something of ours lies on.

    Parameters
    ----------
    what : `str`
        What lies there: ``repository``, ``inbox`` or ``status``.
    folder : `~pathlib.Path`
        Where it lies.
    free, size : `int` or `None`
        Bytes that we may still write, and that the disk has in all; `None` if they cannot be found out.
    reason : `str`
        Why they cannot.
    """

    what: str
    folder: Path
    free: int | None = None
    size: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One of the processes that share an inbox.

    Parameters
    ----------
    id : `int`
        Its number in the inbox; a new one with each lease.
    name : `str`
        What its operator calls it.
    host, pid
        See `Process`.
    started, heartbeat : `~datetime.datetime`
        When its lease began, and when it was last renewed, by the clock of the inbox's server.
    visits : `int`
        How many visits it holds.
    files : `int`
        How many files it has ingested under this lease.
    """

    id: int
    name: str
    host: str
    pid: int
    started: datetime
    heartbeat: datetime
    visits: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookHealth:
    """How a way is on which others are told.

    Parameters
    ----------
    hook : `str`
        Which setting asks for it: ``command`` or ``webhook``.
    to : `str`
        Where it goes, without secrets.
    failures : `int`
        How many attempts have failed in a row.
    reason : `str`
        Why the last of them did.
    waiting : `int`
        How many notices have not been delivered.
    last_delivered : `~datetime.datetime` or `None`
        When this process last delivered something.
    """

    hook: str
    to: str
    failures: int = 0
    reason: str = ""
    waiting: int = 0
    last_delivered: datetime | None = None


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
    standing : `Standing`
        What operators have ordered.
    settings : `Settings`
        Which configuration holds.
    watchers : `tuple` [`WatchedRoot`]
        How each root is watched.
    scan : `ScanCost` or `None`
        The last scan.
    scanned : `~collections.abc.Mapping`
        When the last scan ended that could read a root, for each.
    counts : `~collections.abc.Mapping`
        Number of files in each state.
    oldest_pending : `~datetime.datetime` or `None`
        When the file arrived that has been waiting longest for the daemon.
    throughput : `Throughput`
        How much has gone through of late.
    workers : `tuple` [`WorkerState`]
        The processes that share the inbox, this one included; none where it cannot be shared.
    disks : `tuple` [`DiskRoom`]
        How much room is left where the daemon writes.
    hooks : `tuple` [`HookHealth`]
        How those are whom it tells of what happens.
    last_ingested, last_rejected, last_changed : `FileRecord` or `None`
        The files of which this was said last.
    """

    heartbeat: datetime
    condition: Condition
    process: Process
    standing: Standing
    settings: Settings
    watchers: tuple[WatchedRoot, ...]
    scan: ScanCost | None
    scanned: Mapping[Path, datetime]
    counts: Mapping[State, int]
    oldest_pending: datetime | None
    throughput: Throughput
    disks: tuple[DiskRoom, ...]
    workers: tuple[WorkerState, ...]
    hooks: tuple[HookHealth, ...]
    last_ingested: FileRecord | None
    last_rejected: FileRecord | None
    last_changed: FileRecord | None

    @property
    def pending(self) -> int:
        """How many files the daemon itself still owes something."""
        return sum(self.counts.get(state, 0) for state in PENDING)

    @property
    def oldest_age(self) -> float | None:
        """For how many seconds the oldest of them has been waiting."""
        if self.oldest_pending is None:
            return None
        return max(0.0, round((self.heartbeat - self.oldest_pending).total_seconds(), 3))

    def as_json(self) -> Mapping[str, object]:
        """Write it as values that JSON can hold, times as ISO 8601 in UTC.

        Texts are shortened as far as `LARGEST` demands. ``status.schema.json`` describes the result.
        """
        for longest in _LENGTHS:
            content = self._content(longest)
            if len(status_text(content).encode()) <= LARGEST:
                break
        return content

    def _content(self, longest: int) -> dict[str, object]:
        # Those that are in trouble first: what does not fit is what there is least to say of.
        watchers = sorted(self.watchers, key=lambda watcher: watcher.healthy)[:_MOST_WATCHERS]
        # Many hosts with long names are not worth more than the files.
        workers = self.workers[: min(_MOST_WORKERS, longest // 6)]
        return {
            "version": VERSION,
            "state": str(self.condition.phase),
            "reason": short_line(self.condition.reason, longest),
            "since": _time(self.condition.since),
            "heartbeat": _time(self.heartbeat),
            "pid": self.process.pid,
            "host": short_line(self.process.host, longest),
            "program_version": short_line(self.process.program_version, longest),
            "repository": _short_path(self.process.repository, longest),
            "started": _time(self.process.started),
            "paused": paused_as_json(self.standing.paused, longest),
            "heard": self.standing.number,
            "configuration": {
                "file": _short_path(self.settings.file, longest),
                "loaded": _time(self.settings.loaded),
                "answers": self.settings.answers,
                "refused": short_line(self.settings.refused, longest),
            },
            "watchers": [self._watcher(watcher, longest) for watcher in watchers],
            "watchers_left_out": len(self.watchers) - len(watchers),
            "last_scan": self.scan and _scan(self.scan),
            "counts": {str(state): self.counts.get(state, 0) for state in State},
            "pending": {
                "files": self.pending,
                "oldest": self.oldest_pending and _time(self.oldest_pending),
                "oldest_age_seconds": self.oldest_age,
            },
            "throughput": _throughput(self.throughput),
            "workers": [_worker(worker, longest) for worker in workers],
            "workers_left_out": len(self.workers) - len(workers),
            "disks": {disk.what: _disk(disk, longest) for disk in self.disks},
            "hooks": {hook.hook: _hook(hook, longest) for hook in self.hooks},
            "last_ingested": self.last_ingested and _file(self.last_ingested, longest),
            "last_rejected": self.last_rejected and _file(self.last_rejected, longest),
            "last_changed": self.last_changed and _file(self.last_changed, longest),
        }

    def _watcher(self, watcher: WatchedRoot, longest: int) -> dict[str, object]:
        scanned = self.scanned.get(watcher.root)
        seconds = self.scan.roots.get(watcher.root) if self.scan else None
        return {
            "root": _short_path(path_text(watcher.root), longest),
            "mode": watcher.mode,
            "healthy": watcher.healthy,
            "reason": short_line(watcher.reason, longest),
            "last_scan": scanned and _time(scanned),
            "scan_seconds": _rounded(seconds),
        }


def status_text(content: Mapping[str, object]) -> str:
    """Write a status as JSON, a key a line: short, and still to be read without a program."""
    lines = (f"  {json.dumps(key)}: {_json(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def summarise(
    before: Condition,
    *,
    now: datetime,
    process: Process,
    standing: Standing,
    settings: Settings,
    troubles: Sequence[str],
    watchers: Sequence[WatchedRoot],
    scan: ScanCost | None,
    scanned: Mapping[Path, datetime],
    counts: Mapping[State, int],
    oldest_pending: datetime | None,
    throughput: Throughput,
    disks: Sequence[DiskRoom],
    workers: Sequence[WorkerState] = (),
    hooks: Sequence[HookHealth],
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
    process, standing, settings, watchers, scan, scanned, counts, oldest_pending, throughput, disks, workers,
    hooks
        See `Status`; the counts come from the inbox.
    last_ingested, last_rejected, last_changed
        See `Status`.
    """
    reasons = [
        *troubles,
        *(f"{path_text(watcher.root)}: {watcher.reason}" for watcher in watchers if not watcher.healthy),
    ]
    return Status(
        heartbeat=now,
        condition=_condition(before, "; ".join(reasons), now),
        process=process,
        standing=standing,
        settings=settings,
        watchers=tuple(watchers),
        scan=scan,
        scanned=dict(scanned),
        counts=dict(counts),
        oldest_pending=oldest_pending,
        throughput=throughput,
        disks=tuple(disks),
        workers=tuple(workers),
        hooks=tuple(hooks),
        last_ingested=last_ingested,
        last_rejected=last_rejected,
        last_changed=last_changed,
    )


def _condition(before: Condition, reason: str, now: datetime) -> Condition:
    if before.phase not in {Phase.RUNNING, Phase.DEGRADED}:
        return before
    return before.become(Phase.DEGRADED if reason else Phase.RUNNING, reason, now)


def paused_as_json(pause: Order | None, longest: int = _LENGTHS[0]) -> dict[str, object] | None:
    """Write a pause as values that JSON can hold; `None` where there is none."""
    if pause is None:
        return None
    return {
        "since": _time(pause.at),
        "by": short_line(pause.by, longest),
        "reason": short_line(pause.reason, longest),
    }


def _scan(scan: ScanCost) -> dict[str, object]:
    return {"at": _time(scan.at), "seconds": round(scan.seconds, 3), "folders": scan.folders}


def _throughput(of: Throughput) -> dict[str, object]:
    return {
        "today": _amount(of.today),
        "last_hour": _amount(of.last_hour),
        "files_per_second": round(of.files_per_second, 3),
        "megabytes_per_second": round(of.bytes_per_second / 1e6, 3),
        "latency_median_seconds": _rounded(of.latency_median),
        "latency_p99_seconds": _rounded(of.latency_p99),
    }


def _amount(of: Amount) -> dict[str, int]:
    return {"files": of.files, "bytes": of.bytes}


def _worker(worker: WorkerState, longest: int) -> dict[str, object]:
    return {
        "id": worker.id,
        "name": worker.name,
        "host": short_line(worker.host, longest),
        "pid": worker.pid,
        "started": _time(worker.started),
        "heartbeat": _time(worker.heartbeat),
        "visits": worker.visits,
        "files": worker.files,
    }


def _disk(disk: DiskRoom, longest: int) -> dict[str, object]:
    return {
        "folder": _short_path(path_text(disk.folder), longest),
        "free_bytes": disk.free,
        "size_bytes": disk.size,
        "reason": short_line(disk.reason, longest),
    }


def _hook(hook: HookHealth, longest: int) -> dict[str, object]:
    return {
        "to": _short_path(hook.to, longest),
        "failures": hook.failures,
        "reason": short_line(hook.reason, longest),
        "waiting": hook.waiting,
        "last_delivered": hook.last_delivered and _time(hook.last_delivered),
    }


def _file(record: FileRecord, longest: int) -> dict[str, object]:
    return {
        "path": _short_path(path_text(record.path), longest),
        "visit": record.visit,
        "at": _time(record.updated),
        "code": record.code,
        "error": record.error and short_line(record.error, longest),
        "changed": record.changed and short_line(record.changed, longest),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _short_path(path: str, longest: int) -> str:
    """Leave out the middle of a path: its end says which one it is, its beginning where to look."""
    line = one_line(path)
    if len(line) <= longest:
        return line
    begin = longest // 3
    return f"{line[:begin]}…{line[begin + 1 - longest :]}"
