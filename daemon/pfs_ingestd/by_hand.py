"""Records that a person moves, beside a daemon and other persons that move them, too."""

import os
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.errors import Code, IngestdError, Rejected, StaleRecord, TryLater, Vanished
from pfs_ingestd.ports import Inbox
from pfs_ingestd.records import FileRecord, State, path_text

__all__ = ["ATTEMPTS", "Left", "Moved", "Step", "move", "retried", "skipped"]

ATTEMPTS = 5
"""How often a record is looked at that others change between the look and the move."""

_AGAIN = "try again in a moment"

Step = Callable[[FileRecord, datetime], FileRecord]
"""What a person wants done to a record; raises an `IngestdError` that says why it cannot be done."""


class Left(NamedTuple):
    """A file that was not moved.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    error : `~pfs_ingestd.errors.IngestdError`
        Why not, and what to do.
    """

    path: Path
    error: IngestdError


class Moved(NamedTuple):
    """What became of the files that a person meant.

    Parameters
    ----------
    records : `list` [`~pfs_ingestd.records.FileRecord`]
        The new records of those that are now as they should be.
    left : `list` [`Left`]
        The others.
    """

    records: list[FileRecord]
    left: list[Left]


def retried(record: FileRecord, now: datetime) -> FileRecord:
    """Start a file again, unless there is nothing left to ingest: it would be called gone, whatever we have.

    Raises
    ------
    Vanished
        If there is not.
    TryLater
        If it is being ingested at this moment.
    """
    if record.state in {State.INGESTED, State.GONE} and not os.path.lexists(record.path):
        where = "it was ingested" if record.state is State.INGESTED else "it was removed before"
        raise Vanished(
            Code.VANISHED,
            f"nothing is left on disk of {path_text(record.path)}: {where}",
            hint="bring the file back, then retry it",
        )
    _see_that_it_rests(record)
    return record.retried(now)


def skipped(record: FileRecord, now: datetime) -> FileRecord:
    """Leave a file out until it changes or is retried.

    Raises
    ------
    Rejected
        If it is in the repository.
    TryLater
        If it is being ingested at this moment.
    """
    _see_that_it_rests(record)
    if record.state is State.INGESTED:
        raise Rejected(
            Code.IN_REPOSITORY,
            f"{path_text(record.path)} is in the repository: it cannot be left out any more",
            hint="`butler prune-datasets` removes a dataset",
        )
    return record.skipped(now)


def move(
    inbox: Inbox,
    meant: Iterable[FileRecord],
    step: Step,
    *,
    named: Collection[Path] = (),
    states: Collection[State] = (),
    now: datetime,
) -> Moved:
    """Move the records that a person means, each in a transaction of its own.

    A record that somebody else changed between the look and the move is looked at again. If it is in none of
    the states any more in which it was meant, there is nothing left to be done with it.

    Parameters
    ----------
    inbox : `Inbox`
        Where the records are.
    meant : `~collections.abc.Iterable` [`FileRecord`]
        The records, as they were a moment ago.
    step : `Step`
        What is to be done to each.
    named : `~collections.abc.Collection` [`~pathlib.Path`], optional
        Files that were asked for by name: one without a record is left, and told of.
    states : `~collections.abc.Collection` [`State`], optional
        The states in which records are meant; empty means all.
    now : `~datetime.datetime`
        The time.
    """
    known = inbox.find(named) if named else {}
    moved = Moved([], [Left(path, _unknown(path)) for path in dict.fromkeys(named) if path not in known])
    for record in meant:
        match _move(inbox, record, step, states, now):
            case FileRecord() as successor:
                moved.records.append(successor)
            case Left() as left:
                moved.left.append(left)
    return moved


def _move(
    inbox: Inbox, record: FileRecord, step: Step, states: Collection[State], now: datetime
) -> FileRecord | Left | None:
    """Move one record; `None` if it is not meant any more."""
    path = record.path
    for _ in range(ATTEMPTS):
        if states and record.state not in states:
            return None
        try:
            successor = step(record, now)
        except (Rejected, TryLater, Vanished) as error:
            return Left(path, error)
        try:
            inbox.replace([(record, successor)])
        except StaleRecord:
            record = inbox.find([path])[path]
        else:
            return successor
    return Left(
        path,
        TryLater(Code.BUSY, f"somebody else keeps changing the record of {path_text(path)}", hint=_AGAIN),
    )


def _see_that_it_rests(record: FileRecord) -> None:
    """Leave to the daemon what it is at: it would find that its record was taken away."""
    if record.state is State.INGESTING:
        raise TryLater(
            Code.BEING_INGESTED,
            f"{path_text(record.path)} is being ingested at this moment",
            hint=f"{_AGAIN}; if no daemon runs, the next start takes it up",
        )


def _unknown(path: Path) -> IngestdError:
    return Rejected(
        Code.NOT_IN_INBOX,
        f"{path_text(path)} is not in the inbox",
        hint="see that the path is right, and below a folder that is watched",
    )
