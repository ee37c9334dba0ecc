"""What is remembered of a file beside its record: whatever did not go smoothly, and why."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pfs_ingestd.errors import Code
from pfs_ingestd.records import FileRecord, State

__all__ = ["KEPT", "Entry", "Event", "continued", "entry_of", "recovered"]

KEPT = 50
"""How many entries a file has at most: the newest ones."""


class Event(StrEnum):
    """What happened to a file out of the ordinary. Each comment: the move that it is told by."""

    UNFINISHED = "unfinished"  # to seen, with a reason: it is not complete, or changed while it was stored
    POSTPONED = "postponed"  # from ingesting to ready, with a reason: the attempt failed
    RECOVERED = "recovered"  # from ingesting to ready, by Inbox.recover: the attempt came to no end
    WAITING = "waiting"  # to waiting
    ORPHANED = "orphaned"  # to orphaned
    REJECTED = "rejected"  # to rejected
    CHANGED = "changed"  # to seen, from where it was known to be complete: it has other content
    FLAGGED = "flagged"  # from ingested to ingested: it has other content than the dataset
    VANISHED = "vanished"  # to gone
    REAPPEARED = "reappeared"  # from gone to seen
    RETRIED = "retried"  # to seen with the same content, by an operator
    SKIPPED = "skipped"  # to skipped, by an operator
    REPLACED = "replaced"  # to ingested without having been claimed, by an operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened to a file out of the ordinary.

    Parameters
    ----------
    event : `Event`
        What happened.
    at, last : `~datetime.datetime`
        When it happened, first and last; the other fields are of the last time.
    times : `int`
        How often, with nothing else out of the ordinary in between.
    attempt : `int`
        The attempt in which it happened; 0 before the first one.
    size : `int`
        Bytes of the file then.
    code, reason : `str` or `None`
        Why: the stable code, and the sentence for a person.
    """

    event: Event
    at: datetime
    last: datetime
    times: int = 1
    attempt: int
    size: int
    code: str | None = None
    reason: str | None = None


def entry_of(old: FileRecord | None, new: FileRecord) -> Entry | None:
    """Tell what is to be remembered of a change; `None` for all that the records themselves tell.

    Parameters
    ----------
    old : `FileRecord` or `None`
        The record before; `None` where the file was not known.
    new : `FileRecord`
        Its successor.
    """
    event = _event(old, new)
    if event is None:
        return None
    # Those begin anew, or are not charged for the attempt.
    before = event in {Event.WAITING, Event.CHANGED, Event.RETRIED, Event.REAPPEARED}
    code, reason = _why(event, old, new)
    return Entry(
        event=event,
        at=new.updated,
        last=new.updated,
        attempt=old.attempts if old and before else new.attempts,
        size=new.size,
        code=code,
        reason=reason,
    )


def recovered(attempt: int, size: int, now: datetime) -> Entry:
    """Tell of an attempt that came to no end, because the process died in it, or lost the inbox."""
    reason = "the daemon died, or lost the inbox, before the attempt came to an end"
    return Entry(event=Event.RECOVERED, at=now, last=now, attempt=attempt, size=size, reason=reason)


def continued(entry: Entry, after: Entry | None) -> Entry | None:
    """Make one entry of two where the same happened again; `None` where it is another thing.

    Parameters
    ----------
    entry : `Entry`
        What happened now.
    after : `Entry` or `None`
        The newest of those before, if there is one.
    """
    if after is None or (entry.event, entry.attempt, entry.code) != (after.event, after.attempt, after.code):
        return None
    return replace(entry, at=after.at, times=after.times + 1)


_BY_STATE = {
    State.WAITING: Event.WAITING,
    State.ORPHANED: Event.ORPHANED,
    State.REJECTED: Event.REJECTED,
    State.SKIPPED: Event.SKIPPED,
    State.GONE: Event.VANISHED,
}


def _event(old: FileRecord | None, new: FileRecord) -> Event | None:
    if old is None:
        stored = new.state is State.INGESTED and new.code != Code.ALREADY_THERE
        return Event.REPLACED if stored else None
    match new.state:
        case State.SEEN:
            return _event_of_seen(old, new)
        case State.READY:
            failed = old.state is State.INGESTING and new.attempts == old.attempts
            return Event.POSTPONED if failed and new.error else None
        case State.INGESTED:
            if new.changed:
                return Event.FLAGGED
            told = old.state is State.INGESTING or new.code == Code.ALREADY_THERE
            return None if told else Event.REPLACED
    return _BY_STATE.get(new.state)


def _event_of_seen(old: FileRecord, new: FileRecord) -> Event | None:
    """Tell what brought a file back to its beginning; one that is still being written is nothing special."""
    if new.error:
        return Event.UNFINISHED if (old.state, old.code) != (State.SEEN, new.code) else None
    if old.state in {State.SEEN, State.INGESTING}:
        return None
    if old.state is State.GONE:
        return Event.REAPPEARED
    same = (old.size, old.mtime_ns, old.inode) == (new.size, new.mtime_ns, new.inode)
    return Event.RETRIED if same else Event.CHANGED


def _why(event: Event, old: FileRecord | None, new: FileRecord) -> tuple[str | None, str | None]:
    if event is Event.FLAGGED:
        return None, new.changed
    if old and event is Event.CHANGED:
        return None, f"size {old.size} -> {new.size}; {_was(old)}"
    if old and event in {Event.RETRIED, Event.REAPPEARED, Event.SKIPPED}:
        return None, _was(old)
    return new.code, new.error


def _was(old: FileRecord) -> str:
    """Say how a file stood before it was given another beginning, and what is lost with that."""
    if old.dataset_id:
        return f"it was {old.state}, as dataset {old.dataset_id}"
    return f"it was {old.state}"
