"""What commands do beside a daemon that may be running: read its status, its inbox, and write to it."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pfs_ingestd.adapters.inbox import SqlInbox, open_inbox
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import Holder, InstanceLock, SystemClock
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, StaleRecord, Vanished
from pfs_ingestd.records import FileRecord, IllegalMove, State

__all__ = ["count_files", "read_status", "retry_files", "select_files", "skip_files"]


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
    with _inbox(config, read_only=True) as inbox:
        return list(inbox.select(states=states or None, visits=visits or None))


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
        Paths that are not in the inbox, or are being ingested at this moment.
    """
    if not paths and not states:
        states = {State.REJECTED}
    return _change(config, FileRecord.retried, paths=paths, states=states, visits=visits)


def skip_files(config: Config, paths: Collection[Path]) -> tuple[Sequence[FileRecord], Sequence[Path]]:
    """Leave files out until they change or are retried, beside a daemon that may be running.

    Returns
    -------
    skipped : `~collections.abc.Sequence` [`FileRecord`]
        Their new records.
    others : `~collections.abc.Sequence` [`~pathlib.Path`]
        Paths that are not in the inbox, are being ingested at this moment, or are in the repository.
    """
    return _change(config, FileRecord.skipped, paths=paths)


def _change(
    config: Config,
    move: Callable[[FileRecord, datetime], FileRecord],
    *,
    paths: Collection[Path] = (),
    states: Collection[State] = (),
    visits: Collection[int] = (),
) -> tuple[Sequence[FileRecord], Sequence[Path]]:
    """Move the records that an operator means; tell which moved, and which of the paths did not."""
    now = SystemClock().now()
    moved = []
    with _inbox(config, read_only=False) as inbox:
        records = inbox.select(states=states or None, visits=visits or None, paths=paths or None)
        for record in list(records):
            try:
                successor = move(record, now)
                inbox.replace([(record, successor)])
            except (IllegalMove, StaleRecord):
                continue
            moved.append(successor)
    done = {record.path for record in moved}
    return moved, [path for path in paths if path not in done]


def count_files(config: Config) -> Mapping[State, int]:
    """Count the files in each state, beside a daemon that may be running."""
    with _inbox(config, read_only=True) as inbox:
        return inbox.counts()


@contextmanager
def _inbox(config: Config, *, read_only: bool) -> Iterator[SqlInbox]:
    file = config.state.database.file
    if file and not file.exists():
        raise Vanished(Code.VANISHED, f"there is no inbox at {file}", hint="no daemon has run here yet")
    inbox = open_inbox(config.state.database.url, read_only=read_only)
    try:
        yield inbox
    finally:
        inbox.close()
