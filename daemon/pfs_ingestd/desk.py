"""What commands do beside a daemon that may be running: read its status, its inbox, and write to it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pfs_ingestd.adapters.inbox import SqlInbox, open_inbox
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import Holder, InstanceLock, SystemClock
from pfs_ingestd.config import Config
from pfs_ingestd.errors import StaleRecord
from pfs_ingestd.records import FileRecord, State

__all__ = ["count_files", "read_status", "retry_files", "select_files"]


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
    """Get the records that an operator asks for, beside a daemon that may be running; empty means all."""
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
    unknown : `~collections.abc.Sequence` [`~pathlib.Path`]
        Paths that are not in the inbox.
    """
    if not paths and not states:
        states = {State.REJECTED}
    now = SystemClock().now()
    retried = []
    with _inbox(config, read_only=False) as inbox:
        records = list(inbox.select(states=states or None, visits=visits or None, paths=paths or None))
        for record in records:
            if record.state is State.INGESTING:
                continue
            try:
                inbox.replace([(record, record.retried(now))])
            except StaleRecord:
                continue
            retried.append(record)
        known = inbox.find(paths)
    return retried, [path for path in paths if path not in known]


def count_files(config: Config) -> Mapping[State, int]:
    """Count the files in each state, beside a daemon that may be running."""
    with _inbox(config, read_only=True) as inbox:
        return inbox.counts()


@contextmanager
def _inbox(config: Config, *, read_only: bool) -> Iterator[SqlInbox]:
    inbox = open_inbox(config.state.database.url, read_only=read_only)
    try:
        yield inbox
    finally:
        inbox.close()
