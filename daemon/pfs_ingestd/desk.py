"""What commands do beside a daemon that may be running: read its status, its inbox, and write to it."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import Holder, InstanceLock, SystemClock
from pfs_ingestd.board.night import Night
from pfs_ingestd.config import Config
from pfs_ingestd.errors import StaleRecord
from pfs_ingestd.noticeboard import read_night
from pfs_ingestd.parts import inbox_beside
from pfs_ingestd.records import FileRecord, IllegalMove, State

__all__ = ["count_files", "look_at_night", "read_status", "retry_files", "select_files", "skip_files"]


def read_status(config: Config) -> tuple[Mapping[str, object], Holder | None]:
    """Read the status file, and find out which process is at work, if any.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    Rejected
        If the file is not a status.
    """
    return StatusFile(config.status.file).read(), InstanceLock(config.lock_file).holder()


def select_files(
    config: Config, *, states: Collection[State], visits: Collection[int]
) -> Sequence[FileRecord]:
    """Get the records that an operator asks for, beside a daemon that may be running; empty means all.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    with inbox_beside(config, read_only=True) as inbox:
        return list(inbox.select(states=states or None, visits=visits or None))


def look_at_night(config: Config, night: date | None) -> Night:
    """Tell what became of the visits of a night, beside a daemon that may be running.

    Parameters
    ----------
    config : `Config`
        The configuration.
    night : `~datetime.date` or `None`
        UTC date; `None` for the newest night that has visits.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    with inbox_beside(config, read_only=True) as inbox:
        now = SystemClock().now()
        return read_night(inbox, night, now, configs_expected=bool(config.watch.pfs_config))


def retry_files(
    config: Config, *, paths: Collection[Path], states: Collection[State], visits: Collection[int]
) -> tuple[Sequence[FileRecord], Sequence[Path]]:
    """Start files again from the beginning, beside a daemon that may be running.

    Parameters
    ----------
    config : `Config`
        The configuration.
    paths, states, visits : `~collections.abc.Collection`
        Which files; empty means all, but where neither paths nor states are given, those rejected.

    Returns
    -------
    retried : `~collections.abc.Sequence` [`FileRecord`]
        Their new records.
    others : `~collections.abc.Sequence` [`~pathlib.Path`]
        Files that are not in the inbox, are being ingested at this moment, or are ingested and no longer on
        disk: those would be called gone, whatever the repository has of them.
    """
    if not paths and not states:
        states = {State.REJECTED}
    return _change(config, _retried, paths=paths, states=states, visits=visits)


def skip_files(config: Config, paths: Collection[Path]) -> tuple[Sequence[FileRecord], Sequence[Path]]:
    """Leave files out until they change or are retried, beside a daemon that may be running.

    Returns
    -------
    skipped : `~collections.abc.Sequence` [`FileRecord`]
        Their new records.
    others : `~collections.abc.Sequence` [`~pathlib.Path`]
        Files that are not in the inbox, are being ingested at this moment, or are in the repository.
    """
    return _change(config, FileRecord.skipped, paths=paths)


def _retried(record: FileRecord, now: datetime) -> FileRecord:
    """Start a file again, unless it was ingested and there is nothing left to ingest."""
    if record.state is State.INGESTED and not os.path.lexists(record.path):
        raise IllegalMove(f"there is nothing left to ingest: {record.path}")
    return record.retried(now)


def _change(
    config: Config,
    move: Callable[[FileRecord, datetime], FileRecord],
    *,
    paths: Collection[Path] = (),
    states: Collection[State] = (),
    visits: Collection[int] = (),
) -> tuple[Sequence[FileRecord], Sequence[Path]]:
    """Move the records that an operator means; tell which moved, and which files did not."""
    now = SystemClock().now()
    moved = []
    with inbox_beside(config, read_only=False) as inbox:
        records = list(inbox.select(states=states or None, visits=visits or None, paths=paths or None))
        for record in records:
            try:
                successor = move(record, now)
                inbox.replace([(record, successor)])
            except (IllegalMove, StaleRecord):
                continue
            moved.append(successor)
    done = {record.path for record in moved}
    return moved, [path for path in paths or (record.path for record in records) if path not in done]


def count_files(config: Config) -> Mapping[State, int]:
    """Count the files in each state, beside a daemon that may be running."""
    with inbox_beside(config, read_only=True) as inbox:
        return inbox.counts()
