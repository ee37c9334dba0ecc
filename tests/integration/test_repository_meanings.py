"""What exceptions of daf_butler, databases and the operating system mean to the daemon."""

import errno
import sqlite3
from types import SimpleNamespace

import pytest
import sqlalchemy
from lsst.daf.butler import DataIdValueError
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.daf.butler.registry.interfaces import ReadOnlyDatabaseError

from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.errors import Code, Contended, Fatal, Outage, Rejected, TryLater

exc = sqlalchemy.exc


def of_sqlite(kind, code):
    cause = sqlite3.OperationalError("as SQLite words it")
    cause.sqlite_errorcode = code
    return kind("statement", {}, cause)


def of_postgresql(kind, state):
    cause = SimpleNamespace(pgcode=state)
    return kind("statement", {}, cause)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OSError(errno.ENOSPC, ""), Outage, Code.DISK_FULL),
        (OSError(errno.EDQUOT, ""), Outage, Code.DISK_FULL),
        (OSError(errno.EROFS, ""), Outage, Code.READ_ONLY),
        (OSError(errno.EIO, ""), Outage, Code.REPOSITORY_UNREACHABLE),
        (OSError(errno.ESTALE, ""), Outage, Code.REPOSITORY_UNREACHABLE),
        (OSError(errno.EACCES, ""), TryLater, Code.STORE_FAILED),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_BUSY), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_FULL), Outage, Code.DISK_FULL),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_READONLY), Outage, Code.READ_ONLY),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_READONLY_DBMOVED), Outage, Code.READ_ONLY),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_IOERR), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_sqlite(exc.OperationalError, sqlite3.SQLITE_CANTOPEN), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_sqlite(exc.DatabaseError, sqlite3.SQLITE_NOTADB), Fatal, Code.REPOSITORY_UNSUITABLE),
        (of_sqlite(exc.DatabaseError, sqlite3.SQLITE_CORRUPT), Fatal, Code.REPOSITORY_UNSUITABLE),
        (of_sqlite(exc.IntegrityError, sqlite3.SQLITE_CONSTRAINT_UNIQUE), TryLater, Code.RACE),
        (of_sqlite(exc.IntegrityError, sqlite3.SQLITE_CONSTRAINT_CHECK), Rejected, Code.BAD_CARD),
        (of_postgresql(exc.OperationalError, None), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_postgresql(exc.OperationalError, "57P01"), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_postgresql(exc.OperationalError, "28P01"), Outage, Code.CREDENTIALS_REFUSED),
        (of_postgresql(exc.OperationalError, "40P01"), Contended, Code.RACE),
        (of_postgresql(exc.OperationalError, "40001"), Contended, Code.RACE),
        (of_postgresql(exc.OperationalError, "55P03"), Contended, Code.BUSY),
        (of_postgresql(exc.OperationalError, "53100"), Outage, Code.DISK_FULL),
        (of_postgresql(exc.InternalError, "25006"), Outage, Code.READ_ONLY),
        (of_postgresql(exc.InternalError, "25P03"), Outage, Code.REPOSITORY_UNREACHABLE),
        (of_postgresql(exc.IntegrityError, "23505"), TryLater, Code.RACE),
        (of_postgresql(exc.DataError, "22001"), Rejected, Code.BAD_CARD),
        (exc.DBAPIError("", {}, SimpleNamespace(sqlstate="40P01")), Contended, Code.RACE),
        (of_postgresql(exc.InterfaceError, None), Outage, Code.REPOSITORY_UNREACHABLE),
        (exc.TimeoutError(), Outage, Code.REPOSITORY_UNREACHABLE),
        (ReadOnlyDatabaseError(""), Outage, Code.READ_ONLY),
        (ConflictingDefinitionError(""), TryLater, Code.RACE),
        (DataIdValueError(""), Rejected, Code.WRONG_INSTRUMENT),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, ""), Rejected, Code.UNNAMEABLE),
        (RuntimeError("something new"), TryLater, Code.STORE_FAILED),
    ],
)
def test_an_exception_is_sorted_by_its_type(error, kind, code):
    """Type, errno and database codes decide what an exception means, never its wording."""
    meaning = classify(error)

    assert (kind, code) == (type(meaning), meaning.code)


def test_what_is_ours_stays_as_it_is():
    """An error that is already in our words is not told again."""
    error = Outage(Code.DISK_FULL, "full")

    assert classify(error) is error
