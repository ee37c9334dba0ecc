"""What commands do beside a daemon that may be running: read its status, its inbox, and write to it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from pfs_ingestd import by_hand
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import InstanceLock, SystemClock
from pfs_ingestd.board.night import Night
from pfs_ingestd.by_hand import Moved, Step
from pfs_ingestd.config import Config
from pfs_ingestd.errors import IngestdError
from pfs_ingestd.noticeboard import read_night
from pfs_ingestd.orders import Standing
from pfs_ingestd.parts import inbox_beside
from pfs_ingestd.presence import Presence
from pfs_ingestd.records import FileRecord, State
from pfs_ingestd.status import paused_as_json

__all__ = ["count_files", "look_at_night", "read_status", "retry_files", "select_files", "skip_files"]


def read_status(config: Config) -> Presence:
    """Read the status file, and find out which process is at work, if any.

    A daemon that is not there does not hear of a pause, or of its end: that is told as the inbox has it.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    Rejected
        If the file is not a status.
    """
    content = dict(StatusFile(config.status.file).read())
    holder = InstanceLock(config.lock_file).holder()
    if holder is None:
        with suppress(IngestdError), inbox_beside(config, read_only=True) as inbox:
            content["paused"] = paused_as_json(Standing().after(inbox.orders(0)).paused)
    return Presence(content, holder, SystemClock().now())


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
) -> Moved:
    """Start files again from the beginning, beside a daemon that may be running.

    Parameters
    ----------
    config : `Config`
        The configuration.
    paths, states, visits : `~collections.abc.Collection`
        Which files; empty means all, but where neither paths nor states are given, those rejected.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    if not paths and not states:
        states = {State.REJECTED}
    return _move(config, by_hand.retried, paths=paths, states=states, visits=visits)


def skip_files(config: Config, paths: Collection[Path]) -> Moved:
    """Leave files out until they change or are retried, beside a daemon that may be running.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    return _move(config, by_hand.skipped, paths=paths)


def _move(
    config: Config,
    step: Step,
    *,
    paths: Collection[Path],
    states: Collection[State] = (),
    visits: Collection[int] = (),
) -> Moved:
    """Move the records that an operator means."""
    with inbox_beside(config, read_only=False) as inbox:
        meant = list(inbox.select(states=states or None, visits=visits or None, paths=paths or None))
        return by_hand.move(inbox, meant, step, named=paths, states=states, now=SystemClock().now())


def count_files(config: Config) -> Mapping[State, int]:
    """Count the files in each state, beside a daemon that may be running."""
    with inbox_beside(config, read_only=True) as inbox:
        return inbox.counts()
