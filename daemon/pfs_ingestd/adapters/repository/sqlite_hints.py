"""What SQLite must be told so that nothing takes longer in a large repository than in an empty one."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy
import structlog

__all__ = ["install", "limit_waiting", "update_statistics"]

BRIEFLY_S = 0.1
ANALYZED_ROWS = 400

_FILLED = re.compile(r"INSERT INTO (tmp_[0-9a-f]{32}) ")
_waiting: dict[str, int] = {}
_log = structlog.get_logger()


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


def update_statistics(database: str) -> None:
    """Let SQLite see how many rows the tables of a database have, and how they differ.

    Without that it finds the datasets of one visit by going through those of all. PostgreSQL does it by
    itself. Where somebody else is using the database it is left for the next time.

    Parameters
    ----------
    database : `str`
        The file.
    """
    uri = f"{Path(database).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=BRIEFLY_S, isolation_level=None)) as connection:
            # So few rows of each index take 2 ms whatever its size, and make better plans than all of them:
            # docs/decisions/registry-statistics.md.
            connection.execute(f"PRAGMA analysis_limit = {ANALYZED_ROWS}")
            connection.execute("ANALYZE main")
    except sqlite3.Error as error:
        _log.info("statistics.postponed", database=database, error=str(error))


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
