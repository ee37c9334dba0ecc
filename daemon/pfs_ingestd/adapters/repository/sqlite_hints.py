"""What SQLite must be told so that ingesting takes the same time however large the repository is."""

import re
from pathlib import Path
from typing import Any

import sqlalchemy

__all__ = ["install", "limit_waiting"]

_FILLED = re.compile(r"INSERT INTO (tmp_[0-9a-f]{32}) ")
_waiting: dict[str, int] = {}


def install() -> None:
    """Listen to the engines of this process, daf_butler's among them; again has no effect."""
    for name, listener in (("after_cursor_execute", _analyze), ("engine_connect", _limit)):
        if not sqlalchemy.event.contains(sqlalchemy.engine.Engine, name, listener):
            sqlalchemy.event.listen(sqlalchemy.engine.Engine, name, listener)


def limit_waiting(database: str, milliseconds: int) -> None:
    """Wait no longer than this for another process to release the lock on a database.

    daf_butler asks for five minutes, in which the daemon would do nothing else, not even tell that it waits.

    Parameters
    ----------
    database : `str`
        The file.
    milliseconds : `int`
        The limit.
    """
    _waiting[_key(database)] = milliseconds


def _key(database: str) -> str:
    return str(Path(database).absolute())


def _analyze(
    connection: sqlalchemy.Connection, cursor: Any, statement: str, *_parameters_context_executemany: object
) -> None:
    # daf_butler joins a temporary table of a few rows with tables of all datasets. Without statistics SQLite
    # goes through the latter: 1 s for each ingest at a million raws, 0.07 s with.
    if connection.dialect.name == "sqlite" and (filled := _FILLED.match(statement)):
        cursor.connection.execute(f"ANALYZE temp.{filled[1]}")


def _limit(connection: sqlalchemy.Connection) -> None:
    database = connection.engine.url.database
    if connection.dialect.name == "sqlite" and database and (limit := _waiting.get(_key(database))):
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout = {limit}")
