"""What the repository throws, told in our words."""

import errno
import sqlite3
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeAlias

import sqlalchemy
from lsst.daf.butler import DataIdValueError, DimensionNameError, InconsistentDataIdError
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.daf.butler.registry.interfaces import ReadOnlyDatabaseError

from pfs_ingestd import logins
from pfs_ingestd.adapters.repository.objects import NO_CREDENTIALS, STORE_ERRORS
from pfs_ingestd.errors import Code, Contended, Fatal, IngestdError, Outage, Rejected, TryLater

__all__ = ["classify", "full", "is_rivalry", "locked", "of_os", "unsuitable"]

Meaning: TypeAlias = Callable[[object], IngestdError]


def classify(error: Exception) -> IngestdError:
    """Tell, by its type, what an exception of daf_butler or below means.

    Parameters
    ----------
    error : `Exception`
        What was raised.

    Returns
    -------
    meaning : `~pfs_ingestd.errors.IngestdError`
        To be raised from it. What is not known to mean anything else may be the fault of one file, and is a
        `~pfs_ingestd.errors.TryLater`.
    """
    if isinstance(error, IngestdError):
        return error
    if cause := _of_store(error):
        return _by_store(cause)
    if isinstance(error, OSError) and (outage := of_os(error)):
        return outage
    if isinstance(error, sqlalchemy.exc.DBAPIError) and (meaning := _of_database(error)):
        return meaning
    for types, tell in _BY_TYPE:
        if isinstance(error, types):
            return tell(error)
    return TryLater(Code.STORE_FAILED, f"storing failed: {type(error).__name__}: {error}")


def _of_store(error: BaseException | None) -> Exception | None:
    """Find what a store's libraries have thrown: lsst.resources makes some of it exceptions of Python."""
    while error is not None:
        # boto3 throws its own for what came of a request, too.
        if isinstance(error, STORE_ERRORS) and not (error.__context__ and _of_store(error.__context__)):
            return error
        error = error.__cause__ or error.__context__
    return None


def _by_store(error: Exception) -> IngestdError:
    """Tell what it means by its type, or by what the store has answered."""
    response = getattr(error, "response", None)
    if response is None:
        return _forbidden(error) if isinstance(error, NO_CREDENTIALS) else _unreachable(error)
    answer, status = (
        response.get("Error", {}).get("Code"),
        response["ResponseMetadata"].get("HTTPStatusCode", 0),
    )
    if answer in _STORE_FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        return full(error)
    if answer in _STALE_KEYS or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return _forbidden(error)
    if answer == "NoSuchBucket":
        return Outage(
            Code.REPOSITORY_UNREACHABLE,
            f"the datastore's bucket is not there: {error}",
            hint="create it, or give the right endpoint (S3_ENDPOINT_URL); ingestion resumes by itself",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unreachable(error)
    return TryLater(Code.STORE_FAILED, f"storing failed: {type(error).__name__}: {error}")


def of_os(error: OSError) -> Outage | None:
    """Tell whether an error of the operating system means that nothing can be stored now.

    Parameters
    ----------
    error : `OSError`
        What was raised, where the fault is not with the file to be stored.
    """
    if error.errno in _FULL:
        return full(error)
    if error.errno == errno.EROFS:
        return _read_only(error)
    return _unreachable(error) if error.errno in _UNREACHABLE else None


def is_rivalry(error: IngestdError) -> bool:
    """Say whether what failed did so because of what another process was doing just then."""
    return isinstance(error, Contended) or error.code is Code.RACE


def unsuitable(reason: object, *, hint: str = "") -> Fatal:
    """Say that a repository cannot take raws and pfsConfigs, and why."""
    return Fatal(Code.REPOSITORY_UNSUITABLE, f"the repository cannot be used: {reason}", hint=hint)


def full(reason: object) -> Outage:
    """Say that there is no room for another dataset."""
    return Outage(
        Code.DISK_FULL,
        f"the repository has no room: {reason}",
        hint="make room; ingestion resumes by itself",
    )


def locked(reason: object) -> Outage:
    """Say that another process keeps the registry to itself."""
    return Outage(
        Code.REPOSITORY_UNREACHABLE,
        f"the registry stays locked: {reason}",
        hint="find the process that holds the lock; ingestion resumes by itself when it lets go",
    )


def _read_only(reason: object) -> Outage:
    return Outage(
        Code.READ_ONLY,
        f"the repository is read-only: {reason}",
        hint="make it writeable; ingestion resumes by itself",
    )


def _unreachable(reason: object) -> Outage:
    return Outage(
        Code.REPOSITORY_UNREACHABLE,
        f"the repository does not answer: {reason}",
        hint="ingestion resumes by itself when it does",
    )


def _forbidden(reason: object) -> Outage:
    return Outage(
        Code.CREDENTIALS_REFUSED, f"the datastore's server refuses this user: {reason}", hint=logins.FOR_S3
    )


def _refused(reason: object) -> Outage:
    return Outage(
        Code.CREDENTIALS_REFUSED,
        f"the registry's server refuses this user: {str(reason).strip()}",
        hint=logins.FOR_POSTGRESQL,
    )


def _lacking(reason: object) -> Fatal:
    return Fatal(
        Code.CONFIGURATION,
        f"a package is missing: {reason}",
        hint="install what the repository needs: `pip install 'pfs-ingestd[s3]'` for a datastore in S3,"
        " `pip install 'pfs-ingestd[postgresql]'` for a registry in PostgreSQL",
    )


def _damaged(reason: object) -> Fatal:
    return Fatal(
        Code.REPOSITORY_UNSUITABLE,
        f"the registry is damaged: {reason}",
        hint="restore it from a backup; `sqlite3 FILE 'PRAGMA integrity_check'` says more",
    )


def _busy(reason: object) -> Contended:
    return Contended(
        Code.BUSY,
        f"another process keeps rows of the registry locked: {reason}",
        hint="it is tried again by itself; pg_stat_activity and pg_locks show who holds the lock",
    )


def _collided(reason: object) -> Contended:
    return Contended(Code.RACE, f"another process was at the same rows: {reason}")


def _race(reason: object) -> TryLater:
    return TryLater(Code.RACE, f"another process stored something in between: {reason}")


def _bad_value(reason: object) -> Rejected:
    return Rejected(
        Code.BAD_CARD,
        f"a value does not fit its column in the repository: {reason}",
        hint="correct the card, or widen the column",
    )


def _bad_name(reason: object) -> Rejected:
    return Rejected(
        Code.UNNAMEABLE, f"a name cannot be stored: {reason}", hint="rename the file in plain text"
    )


def _unknown(reason: object) -> Rejected:
    return Rejected(
        Code.WRONG_INSTRUMENT,
        f"the repository does not know what the file says it is: {reason}",
        hint="register the camera in the repository, or correct the header",
    )


def _of_database(error: sqlalchemy.exc.DBAPIError) -> IngestdError | None:
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)
        tell = _BY_SQLITE.get(code) or _BY_SQLITE.get(code & 0xFF)
    else:
        # psycopg2 calls it one name, psycopg 3 the other; neither gives one for a lost connection.
        state = str(getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None) or "")
        tell = _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2])
        if not state and logins.is_refusal(str(cause)):
            tell = _refused
    return tell(cause) if tell else None


_STORE_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})

_STALE_KEYS = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
"""Answers that do not come with the status of a refusal."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_UNREACHABLE = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENODEV,
        errno.ENXIO,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
    }
)

# Extended codes before primary ones, https://www.sqlite.org/rescode.html.
_BY_SQLITE: Mapping[int, Meaning] = {
    sqlite3.SQLITE_CONSTRAINT_CHECK: _bad_value,
    sqlite3.SQLITE_CONSTRAINT: _race,
    sqlite3.SQLITE_BUSY: locked,
    sqlite3.SQLITE_LOCKED: locked,
    sqlite3.SQLITE_FULL: full,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_CORRUPT: _damaged,
    sqlite3.SQLITE_NOTADB: _damaged,
}

# Codes before their classes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
_BY_SQLSTATE: Mapping[str, Meaning] = {
    "53100": full,
    "25006": _read_only,
    "25P03": _unreachable,
    "55P03": _busy,
    "28": _refused,
    "40": _collided,
    "23": _race,
    "22": _bad_value,
}

_BY_TYPE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Meaning], ...] = (
    (
        (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError),
        _unreachable,
    ),
    (sqlalchemy.exc.IntegrityError, _race),
    (ConflictingDefinitionError, _race),
    (ReadOnlyDatabaseError, _read_only),
    (UnicodeEncodeError, _bad_name),
    (ImportError, _lacking),
    ((DataIdValueError, DimensionNameError, InconsistentDataIdError), _unknown),
)
