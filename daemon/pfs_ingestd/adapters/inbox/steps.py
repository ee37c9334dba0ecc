"""Steps of a transaction, in statements of bounded size."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Insert, Update, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite

from pfs_ingestd.adapters.inbox.rows import microseconds
from pfs_ingestd.adapters.inbox.schema import FILE, FOLDER, TALLY, VISIT
from pfs_ingestd.records import State, path_text

__all__ = [
    "AMONG",
    "CHUNK",
    "among",
    "by_folder",
    "chunks",
    "completed",
    "count",
    "folder_ids",
    "insert_files",
    "locked",
    "update_files",
]

CHUNK = 1000
"""How many values or rows go through one statement."""

# What is asked for each file that arrives is a statement that is made once: to make it takes SQLAlchemy as
# long as to execute it.
AMONG = (FOLDER.c.path == bindparam("folder"), FILE.c.name.in_(bindparam("names", expanding=True)))
"""The files that `among` means."""

_LOCKED = (
    select(FILE.c.name, FILE.c.id, FILE.c.state, FILE.c.attempts)
    .join(FOLDER)
    .where(*AMONG)
    .order_by(FILE.c.id)
    .with_for_update(of=FILE)
)

_FOLDER_IDS = select(FOLDER.c.path, FOLDER.c.id).where(FOLDER.c.path.in_(bindparam("paths", expanding=True)))

_T = TypeVar("_T")


class _ForMany:
    """A statement that is executed for many rows.

    For SQLite it goes past SQLAlchemy, which prepares each value of each row: that takes longer than SQLite
    does to store it, and none needs it.
    """

    def __init__(self, statement: Insert | Update, names: Sequence[str]) -> None:
        self._statement = statement
        compiled = statement.compile(dialect=sqlite.dialect(), column_keys=names)
        self._sqlite = str(compiled)
        self._in_order = itemgetter(*compiled.positiontup or ())

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute it for some rows, each with a value for each name."""
        for chunk in chunks(rows):
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(self._sqlite, list(map(self._in_order, chunk)))
            else:
                connection.execute(self._statement, chunk)


_COLUMNS = [column.name for column in FILE.c if column.name not in {"id", "folder_id"}]
_INSERT = _ForMany(insert(FILE), ["folder_id", *_COLUMNS])
_UPDATE = _ForMany(
    update(FILE).where(FILE.c.id == bindparam("row_id")).values({name: bindparam(name) for name in _COLUMNS}),
    ["row_id", *_COLUMNS],
)
_COUNT = update(TALLY).where(TALLY.c.state == bindparam("of")).values(files=TALLY.c.files + bindparam("more"))


def locked(connection: Connection, paths: Iterable[Path]) -> dict[Path, tuple[int, str, int]]:
    """Get id, state and attempts of some paths, and keep other writers from them (SQLite already does)."""
    stored = {}
    # Always in the same order, as `count` does.
    for parent, named in sorted(by_folder(paths).items()):
        for chunk in chunks(sorted(named)):
            for name, *rest in connection.execute(_LOCKED, among(parent, chunk)):
                stored[named[name]] = tuple(rest)
    return stored


def insert_files(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows of files, each with all columns but the id."""
    _INSERT.execute(connection, rows)


def update_files(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Update rows of files, each with all columns but the folder; the id is named ``row_id``."""
    _UPDATE.execute(connection, rows)


def folder_ids(connection: Connection, paths: Sequence[str]) -> dict[str, int]:
    """Get the ids of folders; those that have none get one, in the order given."""
    ids = _known_ids(connection, paths)
    new = [{"path": path} for path in dict.fromkeys(paths) if path not in ids]
    if not new:
        return ids
    connection.execute(insert(FOLDER), new)
    return ids | _known_ids(connection, [row["path"] for row in new])


def _known_ids(connection: Connection, paths: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for chunk in chunks(paths):
        ids.update(connection.execute(_FOLDER_IDS, {"paths": chunk}).all())
    return ids


def by_folder(paths: Iterable[Path]) -> dict[Path, dict[str, Path]]:
    """Sort paths by folder, and give those in each by their names as they are stored."""
    folders: dict[Path, dict[str, Path]] = defaultdict(dict)
    for path in paths:
        folders[path.parent][path_text(path.name)] = path
    return folders


def among(parent: Path, names: Collection[str]) -> Mapping[str, object]:
    """Mean, in a statement with `AMONG`, the files of some stored names in a folder."""
    return {"folder": path_text(parent), "names": names}


def chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Split a sequence into portions for one statement each."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def completed(connection: Connection, numbers: Sequence[int], now: datetime) -> Sequence[int]:
    """Enter visits as complete, and say which of them were not entered before."""
    known: set[int] = set()
    for chunk in chunks(numbers):
        known.update(connection.execute(select(VISIT.c.number).where(VISIT.c.number.in_(chunk))).scalars())
    new = [number for number in numbers if number not in known]
    for chunk in chunks(new):
        rows = [{"number": number, "completed": microseconds(now)} for number in chunk]
        connection.execute(insert(VISIT), rows)
    return new


def count(connection: Connection, difference: Counter[State]) -> None:
    """Keep the tally true; always in the same order, so that two writers cannot block each other for ever."""
    changed = [{"of": state.value, "more": more} for state, more in sorted(difference.items()) if more]
    if changed:
        connection.execute(_COUNT, changed)
