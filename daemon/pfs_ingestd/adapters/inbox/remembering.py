"""A file's history in the inbox: rows for what did not go smoothly, a bounded number for each file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from pfs_ingestd.adapters.inbox.rows import microseconds, moment, storable
from pfs_ingestd.adapters.inbox.schema import HISTORY
from pfs_ingestd.adapters.inbox.steps import chunks
from pfs_ingestd.history import KEPT, Entry, Event, continued

__all__ = ["histories", "remember"]

_INSERT = insert(HISTORY)
_UPDATE = (
    update(HISTORY)
    .where(HISTORY.c.id == bindparam("row_id"))
    .values({name: bindparam(name) for name in ("last", "times", "size", "reason")})
)
_SURPLUS = (
    select(HISTORY.c.id)
    .where(HISTORY.c.file_id == bindparam("of"))
    .order_by(HISTORY.c.id.desc())
    .limit(1)
    .offset(KEPT)
    .scalar_subquery()
)
_FORGET = delete(HISTORY).where(HISTORY.c.file_id == bindparam("of"), HISTORY.c.id <= _SURPLUS)


def remember(connection: Connection, entries: Mapping[int, Entry]) -> None:
    """Write down one entry for each of some files, by their ids; what happened again is written once."""
    if not entries:
        return
    known = {row.file_id: row for row in _newest(connection, list(entries))}
    new, again, full = [], [], []
    for file_id, entry in entries.items():
        row = known.get(file_id)
        if row and (merged := continued(entry, _entry(row))):
            again.append({"row_id": row.id, **_values(merged)})
            continue
        new.append({"file_id": file_id, **_values(entry)})
        if row and row.entries >= KEPT:
            full.append({"of": file_id})
    if again:
        connection.execute(_UPDATE, again)
    for chunk in chunks(new):
        connection.execute(_INSERT, chunk)
    if full:
        connection.execute(_FORGET, full)


def histories(connection: Connection, file_ids: Collection[int]) -> Mapping[int, Sequence[Entry]]:
    """Get what is remembered of some files, each from its oldest entry on."""
    found: dict[int, list[Entry]] = {}
    for chunk in chunks(list(file_ids)):
        rows = select(HISTORY).where(HISTORY.c.file_id.in_(chunk)).order_by(HISTORY.c.file_id, HISTORY.c.id)
        for row in connection.execute(rows):
            found.setdefault(row.file_id, []).append(_entry(row))
    return found


def _newest(connection: Connection, file_ids: Sequence[int]) -> Iterator[Row[Any]]:
    """Get the newest row of each file, and how many there are."""
    for chunk in chunks(file_ids):
        of_file = (
            select(func.max(HISTORY.c.id).label("id"), func.count().label("entries"))
            .where(HISTORY.c.file_id.in_(chunk))
            .group_by(HISTORY.c.file_id)
            .subquery()
        )
        yield from connection.execute(
            select(HISTORY, of_file.c.entries).join(of_file, HISTORY.c.id == of_file.c.id)
        )


def _values(of: Entry) -> dict[str, object]:
    return {
        "event": of.event.value,
        "at": microseconds(of.at),
        "last": microseconds(of.last),
        "times": of.times,
        "attempt": of.attempt,
        "size": of.size,
        "code": None if of.code is None else str(of.code),
        "reason": storable(of.reason),
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        event=Event(row.event),
        at=moment(row.at),
        last=moment(row.last),
        times=row.times,
        attempt=row.attempt,
        size=row.size,
        code=row.code,
        reason=row.reason,
    )
