"""Every change of a file's record: into the inbox, and one line of log for each change of state."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from pfs_ingestd.bursts import burst
from pfs_ingestd.errors import StaleRecord
from pfs_ingestd.figures import Figures
from pfs_ingestd.notices import Notices, Topic, rejection
from pfs_ingestd.ports import FolderMark, Inbox
from pfs_ingestd.records import FileRecord, State, path_text

__all__ = ["Change", "Journal"]

Change = tuple[FileRecord, FileRecord]

_MILLISECOND = timedelta(milliseconds=1)

_EVENTS: Mapping[State, tuple[int, str]] = {
    State.SEEN: (logging.DEBUG, "file.seen"),
    State.READY: (logging.DEBUG, "file.completed"),
    State.INGESTING: (logging.DEBUG, "file.claimed"),
    State.WAITING: (logging.INFO, "file.deferred"),
    State.INGESTED: (logging.INFO, "file.ingested"),
    State.ORPHANED: (logging.INFO, "file.orphaned"),
    State.REJECTED: (logging.ERROR, "file.rejected"),
    State.SKIPPED: (logging.INFO, "file.skipped"),
    State.GONE: (logging.INFO, "file.vanished"),
}

_log = structlog.get_logger()


class Journal:
    """The one way in which the daemon writes to the inbox.

    Parameters
    ----------
    inbox : `Inbox`
        The durable list of files.

    Attributes
    ----------
    last_ingested, last_rejected, last_changed : `FileRecord` or `None`
        The last file that this process ingested, the last that it rejected, and the last that it found
        changed after it was ingested.
    changes : `int`
        How many changes this process has made.
    figures : `Figures`
        What they amount to.
    notices : `Notices`
        What others may want to know at once, until somebody takes note of it.
    visits : `set` [`int`]
        Those of which files were ingested, until somebody takes note of them.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._marks: dict[Path, FolderMark] | None = None
        self.last_ingested: FileRecord | None = None
        self.last_rejected: FileRecord | None = None
        self.last_changed: FileRecord | None = None
        self.changes = 0
        self.figures = Figures()
        self.notices = Notices()
        self.visits: set[int] = set()

    def enter(self, records: Sequence[FileRecord]) -> None:
        """Insert records of newly seen files.

        A file that someone else has made a record of meanwhile keeps that.
        """
        if not records:
            return
        try:
            self._inbox.add(records)
        except StaleRecord:
            records = [record for record in records if self._entered(record)]
        self.changes += len(records)
        for record in records:
            self._remember(None, record)
        _tell((None, record) for record in records)

    def move(self, changes: Iterable[Change]) -> Sequence[FileRecord]:
        """Replace records by their successors, and return those successors that took effect.

        A record that someone else changed meanwhile keeps what they made of it.
        """
        effective = [(old, new) for old, new in changes if new != old]
        if not effective:
            return []
        # Should such a file come back with its folder's time as it was (a file system mounted again), then
        # only a folder that is not remembered is listed again.
        self.forget({new.path.parent for _, new in effective if new.state is State.GONE})
        try:
            self._inbox.replace(effective)
        except StaleRecord:
            effective = [change for change in effective if self._moved(change)]
        self.changes += len(effective)
        for old, new in effective:
            self._remember(old, new)
        _tell(effective)
        return [new for _, new in effective]

    def recover(self, now: datetime) -> int:
        """Put what was being ingested when the last process died back to ready; say how many.

        What was remembered of the inbox may no longer be true of it, and is read again.
        """
        self._marks = None
        return self._inbox.recover(now)

    def heard(self, visits: Collection[int]) -> None:
        """Take note of visits of which other processes have ingested files."""
        self.visits.update(visits)
        self.changes += len(visits)

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders. They are read only once: there are thousands, and no other writer."""
        if self._marks is None:
            self._marks = dict(self._inbox.marks())
        return self._marks

    def mark(self, marks: Collection[FolderMark]) -> None:
        """Remember folders."""
        if marks:
            self._inbox.mark(marks)
        if self._marks is not None:
            self._marks.update((mark.folder, mark) for mark in marks)

    def forget(self, folders: Collection[Path]) -> None:
        """Forget remembered folders, so that the next scan lists them again."""
        if not folders:
            return
        if self._marks is not None:
            for folder in folders:
                self._marks.pop(folder, None)
        self._inbox.forget(folders)

    def _remember(self, old: FileRecord | None, new: FileRecord) -> None:
        self.figures.moved(old, new)
        if old and (old.state, new.state) == (State.INGESTING, State.INGESTED):
            self.visits.add(new.visit)
        if new.changed:
            self.last_changed = new
        elif new.state is State.INGESTED:
            self.last_ingested = new
        elif new.state is State.REJECTED:
            self.last_rejected = new
            self.notices.add(Topic.REJECTIONS, rejection(new))

    def _entered(self, record: FileRecord) -> bool:
        try:
            self._inbox.add([record])
        except StaleRecord:
            _log.info("record.stale", **_facts(record))
            return False
        return True

    def _moved(self, change: Change) -> bool:
        try:
            self._inbox.replace([change])
        except StaleRecord:
            _log.info("record.stale", **_facts(change[0]))
            return False
        return True


def _tell(changes: Iterable[tuple[FileRecord | None, FileRecord]]) -> None:
    """Write a line for each change; `None` stands for a file that was not known."""
    log = _log.bind()  # once: there are thousands of lines
    with burst():
        for old, new in changes:
            level, event = _event(old, new)
            if level >= logging.INFO or log.is_enabled_for(level):
                since = old.updated if old and new.state is not State.INGESTED else new.steady_since
                ms = round((new.updated - since) / _MILLISECOND)
                log.log(level, event, ms=ms, **_reason(new), **_facts(new))


def _event(old: FileRecord | None, new: FileRecord) -> tuple[int, str]:
    if old is None:
        return _EVENTS[new.state]
    if (old.state, new.state) == (State.INGESTING, State.READY):
        return (logging.WARNING, "file.postponed") if new.error else (logging.INFO, "file.returned")
    if (old.state, new.state) == (State.INGESTED, State.INGESTED):
        return logging.ERROR, "file.changed"
    if new.state is State.SEEN and new.error:
        return (logging.WARNING if new.code != old.code else logging.DEBUG), "file.unfinished"
    return _EVENTS[new.state]


def _reason(record: FileRecord) -> dict[str, object]:
    reason: dict[str, object] = {}
    if record.error:
        reason |= {"code": None if record.code is None else str(record.code), "error": record.error}
    if record.dataset_id:
        reason["dataset_id"] = record.dataset_id
    if record.changed:
        reason["changed"] = record.changed
    if record.not_before and record.state in {State.READY, State.WAITING}:
        reason["until"] = record.not_before.isoformat()
    return reason


def _facts(record: FileRecord) -> dict[str, object]:
    camera = f"{record.arm}{record.spectrograph}" if record.arm else None
    return {
        "path": path_text(record.path),
        "kind": str(record.kind),
        "visit": record.visit,
        "camera": camera,
        "attempt": record.attempts,
    }
