"""What becomes of a file: decisions over values, without disk, clock or chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pfs_ingestd.errors import (
    Code,
    Contended,
    Fatal,
    Incomplete,
    IngestdError,
    Outage,
    Rejected,
    TryLater,
    Vanished,
)
from pfs_ingestd.exposure import ConfigHeader, RawHeader
from pfs_ingestd.records import FileRecord, Sighting, State

__all__ = [
    "LIVE_AGE",
    "REST_AGE",
    "Patience",
    "batch",
    "described",
    "elsewhere",
    "failed",
    "judged",
    "noticed",
    "replaced",
    "spent",
]

REST_AGE = timedelta(minutes=1)
"""A file that was last changed longer ago than this is at rest at first sight; the margin is for clocks of
file servers that differ from ours."""

LIVE_AGE = timedelta(minutes=15)
"""A file whose inode changed more recently than this when it was first seen has just arrived: it is live."""

ALONE_AFTER = 2
"""Attempts after which a file is no longer put in a batch with others."""

MAX_LOOK_INTERVAL = timedelta(minutes=1)

AWAY_INTERVAL = timedelta(seconds=2)
"""How soon a file is looked at again that is away together with its folder."""

CONTENDED_INTERVAL = timedelta(seconds=30)
"""How soon a file is tried again whose visit another process holds locked. To find that out takes ten
seconds, in which nothing else is stored."""

_ELSEWHERE = {"copy": "copy", "move": "move", "auto": "copy", "direct": "direct"}


def elsewhere(transfer: str, store: str) -> str:
    """Tell what a transfer mode means where artifacts are not files of this machine.

    Parameters
    ----------
    transfer : `str`
        A transfer mode of Butler.
    store : `str`
        The datastore, to be named.

    Raises
    ------
    Fatal
        If it cannot be done.
    """
    if transfer not in _ELSEWHERE:
        raise Fatal(
            Code.CONFIGURATION,
            f"the transfer mode {transfer} needs a datastore on this machine: there are no links to {store}",
            hint="set ingest.transfer (or --transfer) to copy or move",
        )
    return _ELSEWHERE[transfer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the daemon waits for what.

    Parameters
    ----------
    settle : `~datetime.timedelta`
        How long size and time of a file must not change before it is read, unless its writer was seen to
        close it.
    incomplete_after : `~datetime.timedelta`
        How long a file may stay unchanged and incomplete before it is rejected.
    orphan_after : `~datetime.timedelta`
        How long a pfsConfig is expected to be followed by a raw of its visit.
    first_delay, max_delay : `~datetime.timedelta`
        Delay before the second attempt, and the bound of its doubling.
    max_attempts : `int`
        Attempts before a file is rejected.
    """

    settle: timedelta
    incomplete_after: timedelta
    orphan_after: timedelta
    first_delay: timedelta
    max_delay: timedelta
    max_attempts: int


def noticed(
    record: FileRecord | None, sighting: Sighting | None, *, closed: bool, patience: Patience, now: datetime
) -> FileRecord | None:
    """Decide what a look at a path means for its record.

    Parameters
    ----------
    record : `FileRecord` or `None`
        What the inbox knows of the path.
    sighting : `Sighting` or `None`
        What the look found; `None` if the file is not there.
    closed : `bool`
        Whether the writer of the file is known to be done with it.
    patience : `Patience`
        How long to wait for what.
    now : `~datetime.datetime`
        The time.

    Returns
    -------
    record : `FileRecord` or `None`
        The new record of the path, or the old one where nothing follows from the look.
    """
    if sighting is None:
        return _missed(record, now)
    at_rest = closed or _age(sighting.mtime_ns, now) > REST_AGE
    again = None if at_rest else now + patience.settle
    if record is None:
        return _discovered(sighting, again, now)
    if record.state in {State.INGESTING, State.INGESTED}:
        return _compared(record, sighting, now)
    if record.state is State.GONE or not record.resembles(sighting):
        return record.changed_into(sighting, again=again, now=now)
    if record.state is State.SEEN and closed:
        return record.looked_at(again=now, error=None, now=now)
    return record


def judged(
    record: FileRecord, answer: IngestdError | None, *, patience: Patience, now: datetime
) -> FileRecord:
    """Decide whether a seen file, unchanged and read, is ready.

    Parameters
    ----------
    record : `FileRecord`
        A record in state seen.
    answer : `IngestdError` or `None`
        Why the file could not be read; `None` if it is complete.
    patience : `Patience`
        How long to wait for what.
    now : `~datetime.datetime`
        The time.
    """
    if answer is None:
        return record.ready(now)
    if isinstance(answer, Vanished):
        return record.vanished(now)
    if isinstance(answer, Rejected):
        return record.rejected(answer, now)
    if isinstance(answer, Outage):
        return record.looked_at(again=now + AWAY_INTERVAL, error=None, now=now)
    age = now - record.steady_since
    if age >= patience.incomplete_after:
        hint = "the file is looked at again if it changes; to try it as it is, retry it"
        code = Code.UNREADABLE
        if isinstance(answer, Incomplete):
            code, hint = Code.TRUNCATED, answer.hint or hint
        return record.rejected(
            Rejected(code, f"still so after {_spell(age)}: {answer.message}", hint=hint), now
        )
    again = now + min(max(patience.settle, age / 2), MAX_LOOK_INTERVAL)
    return record.looked_at(again=again, error=answer, now=now)


def described(record: FileRecord, header: RawHeader | ConfigHeader) -> FileRecord:
    """Note on the record of a file what its header says that is of use later."""
    if isinstance(header, ConfigHeader):
        return replace(record, cameras=header.cameras)
    return replace(record, night=header.night or record.night)


def failed(
    record: FileRecord, error: IngestdError, *, chance: float, patience: Patience, now: datetime
) -> FileRecord:
    """Decide what follows for a claimed file from its failure.

    Parameters
    ----------
    record : `FileRecord`
        A record in state ingesting.
    error : `IngestdError`
        Why it was not stored.
    chance : `float`
        A random number in [0, 1), for the jitter of the delay.
    patience : `Patience`
        How long to wait for what.
    now : `~datetime.datetime`
        The time.
    """
    if isinstance(error, Vanished):
        return record.vanished(now)
    if isinstance(error, Incomplete):
        return record.looked_at(again=now, error=error, now=now)
    if isinstance(error, Outage):
        away = record.looked_at(again=now + AWAY_INTERVAL, error=None, now=now)
        return replace(away, attempts=record.attempts - 1)
    if isinstance(error, TryLater):
        return _tried(record, error, chance=chance, patience=patience, now=now)
    return record.rejected(error, now)


def replaced(record: FileRecord | None, sighting: Sighting, dataset_id: str, now: datetime) -> FileRecord:
    """Say that a file has been stored because a person wanted it, whatever stood in its record."""
    if record is None or record.state is State.INGESTING:
        seen = _discovered(sighting, None, now)
    else:
        seen = record.changed_into(sighting, again=None, now=now)
    return seen.ready(now).claimed(now).ingested(dataset_id, already=False, now=now)


def batch(due: Sequence[FileRecord], max_bytes: int) -> Sequence[FileRecord]:
    """Take from the due records as many as fit in a batch, whole visits where more than one fits.

    A file that was claimed twice and came back goes alone: it may be the one that took the others with it.
    """
    if due and due[0].attempts >= ALONE_AFTER:
        return due[:1]
    due = [record for record in due if record.attempts < ALONE_AFTER]
    taken = 0
    for count, record in enumerate(due):
        taken += record.size
        if count and taken > max_bytes:
            whole = count
            while whole and due[whole - 1].visit == record.visit:
                whole -= 1
            return due[: whole or count]
    return due


def spent(record: FileRecord, now: datetime) -> FileRecord:
    """Reject a ready file that was claimed as often as allowed, though no attempt came to an end.

    Such a file took the process down with it each time.
    """
    message = f"the daemon died {record.attempts} times while it ingested this file"
    error = Rejected(Code.EXHAUSTED, message, hint="look at the log of those times, then retry it")
    return replace(record.claimed(now).rejected(error, now), attempts=record.attempts)


def _discovered(sighting: Sighting, again: datetime | None, now: datetime) -> FileRecord:
    live = _age(sighting.ctime_ns, now) < LIVE_AGE
    return FileRecord.of(sighting, now, live=live, not_before=again)


def _missed(record: FileRecord | None, now: datetime) -> FileRecord | None:
    # A ready file may have been moved into the repository by a process that died: its next claim tells.
    kept = {State.READY, State.INGESTING, State.INGESTED, State.GONE}
    if record is None or record.state in kept:
        return record
    return record.vanished(now)


def _compared(record: FileRecord, sighting: Sighting, now: datetime) -> FileRecord:
    same = (record.size, record.mtime_ns) == (sighting.size, sighting.mtime_ns)
    if same or record.state is State.INGESTING:
        return record
    what = (
        f"size {record.size} -> {sighting.size}, mtime {_time(record.mtime_ns)} -> {_time(sighting.mtime_ns)}"
    )
    return record if record.changed == what else record.flagged(what, now)


def _delay(attempts: int, chance: float, patience: Patience) -> timedelta:
    """Double the delay with each attempt, up to the bound; take away up to half of it at random."""
    doublings = min(attempts - 1, 30)
    full = min(patience.first_delay * (1 << doublings), patience.max_delay)
    return full * (1 - chance / 2)


def _age(time_ns: int, now: datetime) -> timedelta:
    """Tell how long ago a file's time was; negative if it lies in the future."""
    return timedelta(seconds=now.timestamp() - time_ns / 1e9)


def _tried(
    record: FileRecord, error: TryLater, *, chance: float, patience: Patience, now: datetime
) -> FileRecord:
    if isinstance(error, Contended):
        postponed = record.postponed(until=now + CONTENDED_INTERVAL, error=error, now=now)
        return replace(postponed, attempts=record.attempts - 1)
    if record.attempts < patience.max_attempts:
        until = now + _delay(record.attempts, chance, patience)
        return record.postponed(until=until, error=error, now=now)
    message = f"gave up after {record.attempts} attempts: {error.message}"
    return record.rejected(Rejected(Code.EXHAUSTED, message, hint="cure the cause, then retry it"), now)


def _time(time_ns: int) -> str:
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError):
        return f"{time_ns} ns"


def _spell(age: timedelta) -> str:
    return str(timedelta(seconds=round(age.total_seconds())))
