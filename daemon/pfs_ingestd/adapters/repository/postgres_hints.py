"""How long PostgreSQL and this process wait for each other, and for other processes.

Without limits a host that is cut off in the middle of a transaction keeps its locks for two hours, and all
who need them wait for as long, without a word.
"""

from typing import Any, TypeAlias

import sqlalchemy

__all__ = ["install", "limit_waiting"]

CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""After 25 s without a sign of life the connection is lost to us, and we take our files back."""

SERVER = {
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "5min",
}
"""After 60 s it is lost to the server, which lets go of our locks: later than we of the files under them.
A process that is stopped but not cut off, or waits for a file server, has five minutes."""

_Key: TypeAlias = tuple[object, ...]
_limits: dict[_Key, str] = {}


def install() -> None:
    """Listen to the engines of this process, daf_butler's among them; again has no effect."""
    for name, listener in (("do_connect", _connect), ("begin", _limit)):
        if not sqlalchemy.event.contains(sqlalchemy.engine.Engine, name, listener):
            sqlalchemy.event.listen(sqlalchemy.engine.Engine, name, listener)


def limit_waiting(database: sqlalchemy.URL, milliseconds: int) -> None:
    """Wait no longer than this for another process to release a lock in a database.

    Parameters
    ----------
    database : `~sqlalchemy.URL`
        Where it is.
    milliseconds : `int`
        The limit.
    """
    settings = SERVER | {"lock_timeout": f"{milliseconds}ms"}
    chosen = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    _limits[_key(database)] = f"SELECT {chosen}"


def _key(url: sqlalchemy.URL) -> _Key:
    return url.host, url.port, url.database, url.query.get("host")


def _connect(
    dialect: sqlalchemy.Dialect, _record: object, _arguments: object, parameters: dict[str, Any]
) -> None:
    if dialect.name == "postgresql":
        for name, value in CLIENT.items():
            parameters.setdefault(name, value)


def _limit(connection: sqlalchemy.Connection) -> None:
    # For this transaction only: behind a connection pooler the next one may be somebody else's.
    if connection.dialect.name == "postgresql" and (chosen := _limits.get(_key(connection.engine.url))):
        connection.exec_driver_sql(chosen)
