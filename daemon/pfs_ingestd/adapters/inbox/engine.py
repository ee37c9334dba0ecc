"""The database of the inbox: how it is opened, and what its failures mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError

from pfs_ingestd import logins
from pfs_ingestd.adapters.inbox.claim import claim
from pfs_ingestd.adapters.inbox.damage import APPLICATION_ID, damaged, is_foreign
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage, StaleRecord, TryLater

__all__ = ["edition", "file_of", "open_engine", "transaction"]

LOCK_SECONDS = 5
"""How long to wait for another writer, such as a `retry` on the command line."""

CONNECT_SECONDS = 10
"""How long to wait for a PostgreSQL server."""

IDLE_SECONDS = 20
"""How long a process may stand still in the middle of a transaction before the server takes its locks away:
steps of ours follow each other within milliseconds, and others wait for the tally."""

# What the URL says comes after these, and so overrides them. That a server or the network is gone is noticed
# within half a minute, on this side by these. A commit does not wait for the disk, as in SQLite.
_SETTINGS = {
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_OPTIONS = (
    f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
    " -c synchronous_commit=off"
)

_URLS = "like sqlite:////var/lib/pfs-ingestd/inbox.sqlite3 or postgresql://user@host/database"

_SQLITE = {
    sqlite3.SQLITE_BUSY: (TryLater, Code.BUSY, "another process is writing to it"),
    sqlite3.SQLITE_LOCKED: (TryLater, Code.BUSY, "another process is writing to it"),
    sqlite3.SQLITE_CONSTRAINT: (StaleRecord, Code.STALE, ""),
    sqlite3.SQLITE_FULL: (Outage, Code.DISK_FULL, "make room on its disk"),
    sqlite3.SQLITE_READONLY: (Outage, Code.READ_ONLY, "make it writable for this user"),
    sqlite3.SQLITE_IOERR: (Outage, Code.STATE_UNREACHABLE, "look at its disk"),
    sqlite3.SQLITE_CANTOPEN: (Fatal, Code.STATE_UNUSABLE, "create its folder, readable for this user"),
}

# By SQLSTATE class, https://www.postgresql.org/docs/current/errcodes-appendix.html; single codes come first.
_POSTGRESQL = {
    "25006": (Outage, Code.READ_ONLY, "the server is read-only"),
    "25P03": (Outage, Code.STATE_UNREACHABLE, "this process stood still in the middle of a transaction"),
    "53100": (Outage, Code.DISK_FULL, "make room on the server's disk"),
    "55P03": (TryLater, Code.BUSY, "another process is writing to it"),
    "28": (Outage, Code.CREDENTIALS_REFUSED, logins.FOR_POSTGRESQL),
    "08": (Outage, Code.STATE_UNREACHABLE, "see that the server runs"),
    "23": (StaleRecord, Code.STALE, ""),
    "40": (TryLater, Code.BUSY, "another process is writing to it"),
    "53": (Outage, Code.STATE_UNREACHABLE, "the server has too much to do"),
    "57": (Outage, Code.STATE_UNREACHABLE, "see that the server runs"),
    "58": (Outage, Code.STATE_UNREACHABLE, "look at the server's disk"),
}


def file_of(url: str) -> Path:
    """Get the path from an SQLite URL as it stands there."""
    # SQLAlchemy takes percent signs for an encoding from 2.1 on, and not before.
    return Path(url.partition(":///")[2].partition("?")[0])


def open_engine(url: str, *, read_only: bool, owner: str | None = None) -> Engine:
    """Make ready to connect to the database at a URL.

    Parameters
    ----------
    url : `str`
        ``sqlite:///<path>`` or any ``postgresql://`` URL.
    read_only : `bool`
        Whether to refuse to write, and to create the database.
    owner : `str`, optional
        Who claims a PostgreSQL database for himself: each connection then holds the claim, or is not made.

    Raises
    ------
    Fatal
        If the URL cannot be used, or an SQLite file belongs to another program.
    """
    try:
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite" if parsed.database and parsed.database != ":memory:":
                return _sqlite(parsed, file_of(url), read_only=read_only)
            case "postgresql":
                return _postgresql(parsed, read_only=read_only, owner=owner)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password, so it is not repeated.
        raise Fatal(Code.CONFIGURATION, "state.database is not a database URL", hint=_URLS) from error
    raise Fatal(Code.CONFIGURATION, f"no inbox can be kept in {parsed!r}", hint=_URLS)


@contextmanager
def transaction(engine: Engine, *, writing: bool) -> Iterator[Connection]:
    """Do something in one transaction; one that writes keeps other writers out from its begin (SQLite).

    Raises
    ------
    StaleRecord
        If a row is there that should not be.
    TryLater
        If another process holds a lock.
    Outage
        If the server does not answer, or nothing can be written.
    DamagedInbox
        If the SQLite file turns out to be damaged.
    Fatal
        If the database cannot be used.
    """
    try:
        with engine.connect().execution_options(writing=writing) as connection, connection.begin():
            yield connection
    except DBAPIError as error:
        raise _ours(error.orig, engine.url) from error


def edition(engine: Engine) -> object:
    """Tell what stays equal as long as nothing is written to a database; raises what `transaction` does.

    SQLite knows what others committed, and each connection what it changed itself. It is asked past
    SQLAlchemy, in a ninth of the time: an idle daemon asks for it all the time. PostgreSQL knows no such
    thing, and its answers are never equal.
    """
    if engine.dialect.name != "sqlite":
        return object()
    try:
        with closing(engine.raw_connection()) as borrowed:
            connection = borrowed.driver_connection
            if not isinstance(connection, sqlite3.Connection):
                raise TypeError(f"no connection of the sqlite3 module: {connection!r}")
            [by_others] = connection.execute("PRAGMA data_version").fetchone()
            return connection, by_others, connection.total_changes
    except DBAPIError as error:
        raise _ours(error.orig, engine.url) from error
    except sqlite3.Error as error:
        raise _ours(error, engine.url) from error


def _sqlite(url: URL, path: Path, *, read_only: bool) -> Engine:
    timeout = float(str(url.query.get("timeout", LOCK_SECONDS)))
    if is_foreign(path):
        raise Fatal(
            Code.STATE_UNUSABLE,
            f"{url!r} is the database of something else",
            hint="give state.database a file of its own",
        )
    connect = _reader if read_only else _writer
    engine = create_engine(url, creator=lambda: connect(path, timeout), pool_size=1, max_overflow=0)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # To take the lock only at the first write would fail, without waiting, after a read that got old.
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _writer(path: Path, timeout: float) -> sqlite3.Connection:
    connection = _connect(path, "mode=rwc", timeout)
    try:
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            # With the first byte that is written, so that there is no inbox that does not look like ours.
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA foreign_keys = ON")
        # Readers do not wait for the writer nor the writer for them.
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit does not wait for the disk. After a power cut the last ones may be missing, never half
        # there: those files are seen again, and the repository knows them.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _reader(path: Path, timeout: float) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro", timeout)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.DatabaseError as error:
        connection.close()
        # A reader who may not write to the folder cannot make the files beside the database that SQLite
        # wants. Where there are none, no other process has it open, and it can be read as it lies there.
        unmakeable = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
        if unmakeable and path.exists() and not Path(f"{path}-wal").exists():
            return _connect(path, "immutable=1", timeout)
        raise
    return connection


def _connect(path: Path, options: str, timeout: float) -> sqlite3.Connection:
    # isolation_level None: transactions begin where we say so, and include CREATE TABLE.
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{options}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def _postgresql(url: URL, *, read_only: bool, owner: str | None) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg2")
    options = f"{_OPTIONS} {url.query.get('options', '')}".strip()
    url = url.update_query_dict({**_SETTINGS, **url.query, "options": options})
    try:
        engine = create_engine(
            url,
            pool_size=1,
            max_overflow=0,
            executemany_mode="values_plus_batch",
            execution_options={"postgresql_readonly": read_only},
        )
    except ModuleNotFoundError as error:
        raise Fatal(
            Code.CONFIGURATION,
            f"{url!r} needs the Python package {error.name}",
            hint="pip install 'pfs-ingestd[postgresql]'",
        ) from error
    if owner is not None:

        @event.listens_for(engine, "connect")
        def _claim(connection: DBAPIConnection, _record: object) -> None:
            claim(connection, owner, _told(url))

    return engine


def _told(url: URL) -> str:
    """Write the URL of an engine as it was given, without what we add to it, and without a password."""
    query = {name: value for name, value in url.query.items() if _SETTINGS.get(name) != value}
    if options := str(query.pop("options", "")).removeprefix(_OPTIONS).strip():
        query["options"] = options
    return repr(url.set(query=query))


def _ours(foreign: BaseException | None, url: URL) -> IngestdError:
    """Find the class of a failure: by SQLite's code, else by PostgreSQL's SQLSTATE."""
    message = f"the inbox {_told(url)} failed: {str(foreign).strip()}"
    if isinstance(foreign, sqlite3.Error):
        if _is_damage(foreign):
            return damaged(url, foreign)
        ours, code, hint = _SQLITE.get(getattr(foreign, "sqlite_errorcode", 0) & 0xFF, _UNKNOWN)
        return ours(code, message, hint=hint)
    # psycopg2 gives no SQLSTATE where the connection could not be made or was cut.
    state = getattr(foreign, "pgcode", None) or ("28" if logins.is_refusal(str(foreign)) else "08")
    ours, code, hint = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2], _UNKNOWN)
    if code is Code.CREDENTIALS_REFUSED:
        message = f"the server of the inbox {_told(url)} refuses this user: {str(foreign).strip()}"
    return ours(code, message, hint=hint)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Text that is not UTF-8: Python finds that out, and has no code for it.
        return isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


_UNKNOWN = (Fatal, Code.STATE_UNUSABLE, "this is a bug, or a database that is not ours; see the log")
