"""What disks, power cuts and people do to the database of the inbox."""

import random
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

__all__ = ["DAMAGE", "beside", "execute", "mutilate", "set_aside_files"]

PAGE = 4096


def beside(database: Path, *parts: str) -> list[Path]:
    """Name the files that SQLite keeps beside a database."""
    return [Path(f"{database}{part}") for part in parts or ("-wal", "-shm")]


def set_aside_files(database: Path) -> list[Path]:
    """Find the databases that were set aside, without what lies beside them."""
    found = database.parent.glob(f"{database.name}.corrupt-*")
    return sorted(path for path in found if not path.name.endswith(("-wal", "-shm", "-journal")))


def execute(database: Path, *statements: str) -> None:
    """Do something to the tables behind the back of the inbox."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def mutilate(file: Path, chance: random.Random) -> None:
    """Cut a file short, or overwrite some of it with zeros or noise."""
    content = bytearray(file.read_bytes())
    begin = chance.randrange(len(content) + 1)
    length = chance.choice([1, 16, 512, PAGE, len(content)])
    end = min(begin + length, len(content))
    match chance.choice(["cut", "zeros", "noise"]):
        case "cut":
            del content[begin:]
        case "zeros":
            content[begin:end] = bytes(end - begin)
        case "noise":
            content[begin:end] = chance.randbytes(end - begin)
    file.write_bytes(content)


def _content(make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Replace the content of a database that nobody has open, and lose what lay beside it."""

    def damage(database: Path) -> None:
        execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
        for path in beside(database):
            path.unlink(missing_ok=True)
        database.write_bytes(make(database.read_bytes()))

    return damage


def _tables(*statements: str) -> Callable[[Path], None]:
    return lambda database: execute(database, "PRAGMA foreign_keys = OFF", *statements)


def _stale_index(database: Path) -> None:
    """Let an index miss what was written to its table."""
    where = "FROM sqlite_schema WHERE name = 'file_due'"
    with closing(sqlite3.connect(database)) as connection:
        (entry,) = connection.execute(f"SELECT * {where}").fetchall()
    execute(database, "PRAGMA writable_schema = ON", f"DELETE {where}")
    execute(database, "UPDATE file SET visit = visit + 1")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", entry)


def _noise(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))  # noqa: S311 (nothing secret)


DAMAGE: Mapping[str, Callable[[Path], None]] = {
    "cut in the first page": _content(lambda content: content[:2000]),
    "cut in the header": _content(lambda content: content[:50]),
    "cut to one page": _content(lambda content: content[:PAGE]),
    "the last byte missing": _content(lambda content: content[:-1]),
    "all NUL": _content(lambda content: bytes(len(content))),
    "first page NUL": _content(lambda content: bytes(PAGE) + content[PAGE:]),
    "second page NUL": _content(lambda content: content[:PAGE] + bytes(PAGE) + content[2 * PAGE :]),
    "noise": _content(_noise),
    "noise behind the first page": _content(lambda content: content[:PAGE] + _noise(content[PAGE:])),
    "last page noise": _content(lambda content: content[:-PAGE] + _noise(content[-PAGE:])),
    "another kind of file": _content(lambda _: b"repository: /data/repo\n" * 1000),
    "no table of files": _tables("DROP TABLE file"),
    "no table of versions": _tables("DROP TABLE inbox_version"),
    "no version": _tables("DELETE FROM inbox_version"),
    "two versions": _tables("INSERT INTO inbox_version VALUES (1)"),
    "no number of a version": _tables("UPDATE inbox_version SET version = 'one'"),
    "a column missing": _tables("ALTER TABLE file DROP COLUMN attempts"),
    "a state not counted": _tables("DELETE FROM tally WHERE state = 'ready'"),
    "a stale index": _stale_index,
}
"""Damage that the daemon finds at its start; each is done to a database that nobody has open."""
