"""The tables of the inbox, and how an inbox of an older version becomes one of ours."""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
    true,
    update,
)

from pfs_ingestd.adapters.inbox.damage import damaged
from pfs_ingestd.adapters.inbox.upgrades import UPGRADES, Upgrade
from pfs_ingestd.errors import Code, Fatal, Vanished
from pfs_ingestd.records import State

__all__ = [
    "DUE",
    "FILE",
    "FOLDER",
    "HISTORY",
    "HOLD",
    "ORDER",
    "TALLY",
    "TOUCHED",
    "VISIT",
    "WORKER",
    "check",
    "examine",
    "prepare",
]

_METADATA = MetaData()

# SQLite counts rows in 64 bits only under the name INTEGER.
_ID = BigInteger().with_variant(Integer(), "sqlite")
# Names sort by their bytes everywhere; PostgreSQL would sort them as its database's language does.
_NAME = Text().with_variant(Text(collation="C"), "postgresql")
# Times are whole microseconds since 1970 UTC: exact, and the same in every database.
_MICROSECONDS = BigInteger
# An inode may use all of 64 bits, a file's time in nanoseconds more; nothing is computed with them.
_DIGITS = Text
# As ISO 8601 writes dates, they sort as text.
_DATE = _NAME

FOLDER = Table(
    "folder",
    _METADATA,
    Column("id", _ID, primary_key=True),
    Column("path", _NAME, nullable=False, unique=True),
    # Both null: not remembered.
    Column("mtime_ns", _DIGITS),
    Column("settled", Boolean),
)

FILE = Table(
    "file",
    _METADATA,
    Column("id", _ID, primary_key=True),
    Column("folder_id", _ID, ForeignKey(FOLDER.c.id), nullable=False),
    Column("name", _NAME, nullable=False),
    Column("kind", Text, nullable=False),
    Column("visit", BigInteger, nullable=False),
    Column("arm", Text),
    Column("spectrograph", Integer),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", _DIGITS, nullable=False),
    Column("inode", _DIGITS, nullable=False),
    Column("night", _DATE, nullable=False),
    Column("steady_since", _MICROSECONDS, nullable=False),
    Column("first_seen", _MICROSECONDS, nullable=False),
    Column("updated", _MICROSECONDS, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", _MICROSECONDS),
    Column("code", Text),
    Column("error", Text),
    Column("dataset_id", Text),
    Column("changed", Text),
    # Joined by commas. Null: not told, which is not the same as none.
    Column("cameras", Text),
    UniqueConstraint("folder_id", "name"),
)

TALLY = Table(
    "tally",
    _METADATA,
    Column("state", Text, primary_key=True),
    Column("files", BigInteger, nullable=False),
)
"""How many files are in each state: counting half a million rows once a second would cost too much."""

VISIT = Table(
    "visit",
    _METADATA,
    Column("number", _ID, primary_key=True, autoincrement=False),
    Column("completed", _MICROSECONDS, nullable=False),
)
"""The visits that are complete, and when they were found to be."""

HISTORY = Table(
    "history",
    _METADATA,
    Column("id", _ID, primary_key=True),
    Column("file_id", _ID, ForeignKey(FILE.c.id), nullable=False),
    Column("event", Text, nullable=False),
    Column("at", _MICROSECONDS, nullable=False),
    Column("last", _MICROSECONDS, nullable=False),
    Column("times", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("code", Text),
    Column("reason", Text),
)
"""What did not go smoothly; see `pfs_ingestd.history`."""

Index("history_file", HISTORY.c.file_id, HISTORY.c.id)

ORDER = Table(
    "operator_order",
    _METADATA,
    Column("number", _ID, primary_key=True),
    Column("what", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", _MICROSECONDS, nullable=False),
    Column("reason", Text, nullable=False),
    # A list in JSON.
    Column("paths", Text, nullable=False),
)
"""What operators want of the daemon; see `pfs_ingestd.orders`."""

WORKER = Table(
    "worker",
    _METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    # Whether it is the one that looks after the watched folders.
    Column("watches", Boolean, nullable=False),
    # These three by the clock of the server, whatever those of the workers say.
    Column("started", _MICROSECONDS, nullable=False),
    Column("heartbeat", _MICROSECONDS, nullable=False),
    Column("lease_until", _MICROSECONDS, nullable=False),
    Column("files", BigInteger, nullable=False),
)
"""The processes that share an inbox, how long each is trusted to be alive, and how many files it ingested."""

HOLD = Table(
    "hold",
    _METADATA,
    Column("visit", BigInteger, primary_key=True, autoincrement=False),
    Column("worker_id", _ID, ForeignKey(WORKER.c.id, ondelete="CASCADE"), nullable=False),
)
"""The visits of which a worker ingests files: nobody else touches those."""

Index("hold_worker", HOLD.c.worker_id)

TOUCHED = Table(
    "touched",
    _METADATA,
    Column("visit", BigInteger, primary_key=True, autoincrement=False),
)
"""The visits of which workers ingested files, until the watching daemon has taken note of them."""

_VERSION = Table("inbox_version", _METADATA, Column("version", Integer, nullable=False))

DUE = func.coalesce(FILE.c.not_before, FILE.c.updated)
"""When a file falls due."""

# `not_before` and size come last, so that rows that are not due or too large are passed over in the index.
Index(
    "file_due",
    FILE.c.state,
    FILE.c.live.desc(),
    FILE.c.visit.desc(),
    FILE.c.name,
    FILE.c.folder_id,
    FILE.c.not_before,
    FILE.c.size,
)
Index("file_next_due", FILE.c.state, DUE)
Index("file_oldest", FILE.c.state, FILE.c.steady_since, FILE.c.id)
# Few among the many of an archive. That they are live is a column, too, and makes SQLite prefer this index.
Index(
    "file_live",
    FILE.c.state,
    FILE.c.live,
    FILE.c.steady_since,
    FILE.c.id,
    sqlite_where=FILE.c.live.is_(true()),
    postgresql_where=FILE.c.live.is_(true()),
)
Index("file_night", FILE.c.night, FILE.c.visit, FILE.c.kind)
Index("file_visit", FILE.c.visit, FILE.c.kind, FILE.c.state)

_LOCK = 0x1_1B0C
"""The number of the advisory lock under which the tables are made."""


def prepare(connection: Connection, upgrades: Sequence[Upgrade] = UPGRADES) -> None:
    """Create the tables where there are none, or bring them up to our version.

    Parameters
    ----------
    connection : `~sqlalchemy.Connection`
        In a transaction that is rolled back if this raises.
    upgrades : `~collections.abc.Sequence`
        The steps between the versions.

    Raises
    ------
    DamagedInbox
        If something of them is missing in an SQLite file.
    Fatal
        If they are of a newer version than ours.
    """
    if connection.dialect.name == "postgresql":
        # Two that start at once create once.
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    version = _version(connection)
    if version is None:
        _create(connection, 1 + len(upgrades))
        return
    _refuse_newer(connection, version, 1 + len(upgrades))
    for upgrade in upgrades[version - 1 :]:
        upgrade(connection)
    connection.execute(update(_VERSION).values(version=1 + len(upgrades)))
    _check_whole(connection)


def examine(connection: Connection) -> None:
    """Read through a whole SQLite database, tables and indexes, and compare them.

    The answers of a damaged one may be wrong without anything failing: a file that is missing in an index
    would never fall due.

    Raises
    ------
    DamagedInbox
        If anything is wrong.
    """
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
        if found != "ok":
            raise damaged(connection.engine.url, found)


def check(connection: Connection, upgrades: Sequence[Upgrade] = UPGRADES) -> None:
    """See that the tables are there and of our version.

    Raises
    ------
    Vanished
        If there are none.
    DamagedInbox
        If something of them is missing in an SQLite file.
    Fatal
        If they are of another version.
    """
    version = _version(connection)
    ours = 1 + len(upgrades)
    if version is None and connection.dialect.name == "sqlite":
        # Its file says that it is ours, or it would not have come to this.
        raise damaged(connection.engine.url, f"it has no table {_VERSION.name}")
    if version is None:
        raise Vanished(
            Code.VANISHED,
            f"there is no inbox in {connection.engine.url!r}",
            hint="no daemon has run here yet, or state.database names another place",
        )
    _refuse_newer(connection, version, ours)
    if version < ours:
        raise Fatal(
            Code.STATE_UNUSABLE,
            f"the inbox {connection.engine.url!r} is of version {version}, this program reads version {ours}",
            hint="restart the daemon with this program, which brings it up to date",
        )
    _check_whole(connection)


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    match connection.execute(select(_VERSION.c.version)).scalars().all():
        case [int() as version] if version > 0:
            return version
        case other:
            raise damaged(connection.engine.url, f"its versions are {other}")


def _create(connection: Connection, version: int) -> None:
    # In SQLite, the other tables can only be ours; a PostgreSQL database is often shared on purpose.
    if connection.dialect.name == "sqlite" and inspect(connection).get_table_names():
        raise damaged(connection.engine.url, f"it has no table {_VERSION.name}")
    _METADATA.create_all(connection, checkfirst=False)
    connection.execute(insert(TALLY), [{"state": state.value, "files": 0} for state in State])
    connection.execute(insert(_VERSION).values(version=version))


def _check_whole(connection: Connection) -> None:
    """See that nothing of the tables is missing."""
    found = inspect(connection)
    for table in _METADATA.sorted_tables:
        there = found.get_columns(table.name) if found.has_table(table.name) else []
        if missing := sorted({column.name for column in table.c} - {column["name"] for column in there}):
            raise damaged(connection.engine.url, f"its table {table.name} has no {', '.join(missing)}")
    counted = set(connection.execute(select(TALLY.c.state)).scalars())
    if missing := sorted({state.value for state in State} - counted):
        raise damaged(connection.engine.url, f"its table {TALLY.name} has no {', '.join(missing)}")


def _refuse_newer(connection: Connection, version: int, ours: int) -> None:
    if version > ours:
        raise Fatal(
            Code.STATE_UNUSABLE,
            f"the inbox {connection.engine.url!r} is of version {version}, newer than our version {ours}",
            hint="run the newer pfs-ingestd that wrote it",
        )
