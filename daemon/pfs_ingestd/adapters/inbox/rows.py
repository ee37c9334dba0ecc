"""A file's record as a row of the inbox, and back."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import index
from typing import Any

from pfs_ingestd.adapters.inbox.schema import FILE, FOLDER
from pfs_ingestd.records import FileRecord, Kind, State, path_text, text_path
from pfs_ingestd.status import WorkerState

__all__ = ["COLUMNS", "file_name", "microseconds", "moment", "record", "storable", "values", "worker_state"]

COLUMNS = (FILE.c.id, FOLDER.c.path, *(column for column in FILE.c if column.name not in {"id", "folder_id"}))
"""What `record` reads, in this order, of a file and its folder."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}


def microseconds(time: datetime) -> int:
    """Write a time as microseconds since 1970 UTC.

    Raises
    ------
    TypeError
        If the time is naive.
    """
    return (time - _EPOCH) // _MICROSECOND


def moment(time: int) -> datetime:
    """Read back what `microseconds` wrote."""
    return _EPOCH + timedelta(microseconds=time)


def values(of: FileRecord) -> dict[str, object]:
    """Write a record as the values of its row, all but the folder.

    Raises
    ------
    TypeError
        If a number is no whole number, or a time is naive.
    """
    # index() makes a plain int of a NumPy integer, which the database drivers would misunderstand, and
    # refuses what is no integer at all.
    return {
        "name": path_text(of.path.name),
        "kind": of.kind.value,
        "visit": index(of.visit),
        "arm": of.arm,
        "spectrograph": None if of.spectrograph is None else index(of.spectrograph),
        "size": index(of.size),
        "mtime_ns": str(index(of.mtime_ns)),
        "inode": str(index(of.inode)),
        "night": of.night.isoformat(),
        "steady_since": microseconds(of.steady_since),
        "first_seen": microseconds(of.first_seen),
        "updated": microseconds(of.updated),
        "live": bool(of.live),
        "state": of.state.value,
        "attempts": index(of.attempts),
        "not_before": None if of.not_before is None else microseconds(of.not_before),
        "code": None if of.code is None else str(of.code),
        "error": storable(of.error),
        "dataset_id": of.dataset_id,
        "changed": storable(of.changed),
        "cameras": None if of.cameras is None else ",".join(sorted(of.cameras)),
    }


def record(row: Sequence[Any]) -> FileRecord:
    """Make the record of one row of `COLUMNS`."""
    (
        _,
        folder_path,
        name,
        kind,
        visit,
        arm,
        spectrograph,
        size,
        mtime_ns,
        inode,
        night,
        steady_since,
        first_seen,
        updated,
        live,
        state,
        attempts,
        not_before,
        code,
        error,
        dataset_id,
        changed,
        cameras,
    ) = row
    return FileRecord(
        path=_folder(folder_path) / file_name(name),
        kind=_KINDS[kind],
        visit=visit,
        arm=arm,
        spectrograph=spectrograph,
        size=size,
        mtime_ns=int(mtime_ns),
        inode=int(inode),
        night=_date(night),
        steady_since=moment(steady_since),
        first_seen=moment(first_seen),
        updated=moment(updated),
        live=live,
        state=_STATES[state],
        attempts=attempts,
        not_before=None if not_before is None else moment(not_before),
        code=code,
        error=error,
        dataset_id=dataset_id,
        changed=changed,
        cameras=None if cameras is None else _cameras(cameras),
    )


def file_name(text: str) -> str:
    """Read back the name of a file; nearly all are written as they are."""
    return str(text_path(text)) if "\\" in text else text


def storable(text: str | None) -> str | None:
    """Spell out the few characters that a database cannot hold."""
    if text is None:
        return None
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


# There are thousands of files in each of a few folders.
_folder = lru_cache(maxsize=1024)(text_path)
_date = lru_cache(maxsize=1024)(date.fromisoformat)


@lru_cache
def _cameras(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()


def worker_state(row: Any, visits: int) -> WorkerState:
    """Make what is told of a worker from its row, and the number of visits that it holds."""
    return WorkerState(
        id=row.id,
        name=row.name,
        host=row.host,
        pid=row.pid,
        started=moment(row.started),
        heartbeat=moment(row.heartbeat),
        visits=visits,
        files=row.files,
    )
