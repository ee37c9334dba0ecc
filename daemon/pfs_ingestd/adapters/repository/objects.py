"""What there is to know of S3 that lsst.resources has no word for; nothing here needs boto3 to be there."""

import hashlib
import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import always, check_wanted

try:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectTimeoutError,
        CredentialRetrievalError,
        EndpointConnectionError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
        ReadTimeoutError,
    )
except ImportError:
    STORE_ERRORS: tuple[type[Exception], ...] = ()
    NO_CREDENTIALS: tuple[type[Exception], ...] = ()
else:
    STORE_ERRORS = (BotoCoreError, ClientError, Boto3Error)
    NO_CREDENTIALS = (
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )
__all__ = [
    "NO_CREDENTIALS",
    "OURS",
    "STORE_ERRORS",
    "STORE_TROUBLE",
    "Object",
    "be_brief",
    "copy_object",
    "has_conditions",
    "look_at",
    "objects_below",
    "same_digest",
    "try_store",
    "uploads_below",
]

STORE_TROUBLE: tuple[type[Exception], ...] = (OSError, *STORE_ERRORS)
"""What may be thrown where a store or a disk is written to or read."""

OURS = ".pfs-ingestd-"
"""What the names of objects and folders in a datastore begin with that are no artifacts."""

ATTEMPTS = 3
"""How often a request is made before its failure counts. With the pauses in between that takes up to 4 s;
lsst.resources would go on for half a minute: the loop does nothing meanwhile, and a transaction may wait."""

SILENT_S, KNOCK_S = 10.0, 3.0
"""After so many seconds without an answer a store is asked for a connection first, and has so many for it."""

CHUNK = 1 << 20

_UNKNOWN = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.BAD_REQUEST})


class Object(NamedTuple):
    """An object of a bucket.

    Parameters
    ----------
    uri : `~lsst.resources.ResourcePath`
        Where it is.
    size : `int`
        Its size, bytes.
    tag : `str`
        Its entity tag: the MD5 of its content, in some stores and for some ways to write it.
    changed : `~datetime.datetime`
        When it was written.
    """

    uri: ResourcePath
    size: int
    tag: str
    changed: datetime


def try_store(root: ResourcePath) -> None:
    """Write an object to a store and remove it; how much room there is nobody can ask."""
    trial = root.join(f"{OURS}trial-{uuid4().hex}", forceDirectory=False)
    trial.write(b"")
    trial.remove()


class _Patience:
    """Ends requests to a store for good, through the hooks that botocore has for its users.

    Parameters
    ----------
    events
        Those of a client; what somebody else has made cannot be given other settings.
    """

    def __init__(self, events: Any) -> None:
        self._answered = -math.inf
        events.register_first("before-send.s3", self._knock, unique_id=f"{OURS}knock")
        events.register_first("needs-retry.s3", self._give_up, unique_id=f"{OURS}give-up")

    def _knock(self, *, request: Any, **_: object) -> None:
        """See that a store that has been silent can be reached: the client would try for a minute."""
        url = urlsplit(request.url)
        behind_proxy = url.scheme in getproxies() and not proxy_bypass(url.hostname or "")
        if behind_proxy or time.monotonic() - self._answered < SILENT_S:
            return
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            socket.create_connection((url.hostname or "", port), timeout=KNOCK_S).close()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=request.url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=request.url, error=error) from error

    def _give_up(
        self, *, attempts: int, response: Any, caught_exception: Exception | None, operation: Any, **_: object
    ) -> None:
        """Raise what a request has failed with for the last time that it may."""
        if response is not None:
            self._answered = time.monotonic()
        # To wait once more for somebody who does not answer at all takes longest.
        if attempts < ATTEMPTS and not isinstance(caught_exception, ConnectTimeoutError | ReadTimeoutError):
            return
        if caught_exception is not None:
            raise caught_exception
        http, parsed = response
        if http.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or (
            http.status_code == HTTPStatus.TOO_MANY_REQUESTS
        ):
            raise ClientError(parsed, operation.name)


def be_brief(root: ResourcePath) -> None:
    """Let requests to a store fail soon, instead of trying for as long as its libraries would."""
    if root.scheme == "s3":
        _Patience(_client(root).meta.events)


def look_at(uri: ResourcePath) -> Object | None:
    """Ask a store for what it knows of an object; `None` if there is none."""
    try:
        found = _client(uri).head_object(Bucket=_bucket(uri), Key=_key(uri))
    except ClientError as error:
        if _status(error) == HTTPStatus.NOT_FOUND:
            return None
        raise
    return Object(uri, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"])


def same_digest(found: Object, source: Path, wanted: Callable[[], bool] = always) -> bool:
    """Say whether the entity tag of an object proves that it has the content of a file.

    If not, it may have that content nevertheless: stores that encrypt have other tags.

    Raises
    ------
    Unwanted
        If it was not to go on.
    """
    digest, dash, parts = found.tag.partition("-")
    if not dash:
        return _md5(source, wanted) == digest
    first = _client(found.uri).head_object(Bucket=_bucket(found.uri), Key=_key(found.uri), PartNumber=1)
    length = int(first["ContentLength"])
    if not length or -(-found.size // length) != int(parts):
        return False
    return _md5_of_parts(source, length, wanted) == digest


@lru_cache
def has_conditions(root: ResourcePath) -> bool:
    """Find out, once, whether a store copies an object only if there is none of that name yet.

    Raises
    ------
    OSError, or what a store throws
        If it does not answer.
    """
    trials = root.join(f"{OURS}trial-{uuid4().hex}/", forceDirectory=True)
    source, place = (trials.join(name, forceDirectory=False) for name in ("a", "b"))
    source.write(b"")
    try:
        return copy_object(source, place, over=None) and not copy_object(source, place, over=None)
    except (ParamValidationError, ClientError) as error:
        # The library is older than such copies; or the store is, and says so.
        if isinstance(error, ParamValidationError) or _status(error) in _UNKNOWN:
            return False
        raise
    finally:
        ResourcePath.mremove([source, place], do_raise=False)


def copy_object(source: ResourcePath, place: ResourcePath, *, over: Object | None) -> bool:
    """Copy an object within a store, which sees to it that nothing else is overwritten.

    Parameters
    ----------
    source, place : `~lsst.resources.ResourcePath`
        From where to where.
    over : `Object` or `None`
        What is in that place, and may be overwritten; `None` if there is nothing.

    Returns
    -------
    copied : `bool`
        Whether it was so.

    Raises
    ------
    FileNotFoundError
        If there is nothing to be copied.
    """
    condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": f'"{over.tag}"'}
    try:
        _client(place).copy_object(
            CopySource={"Bucket": _bucket(source), "Key": _key(source)},
            Bucket=_bucket(place),
            Key=_key(place),
            **condition,
        )
    except ClientError as error:
        if _status(error) in {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT}:
            return False
        if _status(error) == HTTPStatus.NOT_FOUND:
            if over is not None and look_at(source):
                return False
            raise FileNotFoundError(f"the copy {source} is gone") from error
        raise
    return True


def objects_below(prefix: ResourcePath, beginning: str = "") -> Iterator[Object]:
    """List the objects below a URI whose further keys have some beginning, ascending by key."""
    for page in _pages(prefix, "list_objects_v2", beginning):
        for entry in page.get("Contents", ()):
            # Up to release 29 Butler marks each folder by an object of its name, as consoles do.
            if entry["Key"].endswith("/"):
                continue
            uri = _at(prefix, entry["Key"])
            yield Object(uri, entry["Size"], entry["ETag"].strip('"'), entry["LastModified"])


def uploads_below(prefix: ResourcePath, beginning: str) -> Iterator[tuple[datetime, Callable[[], object]]]:
    """List the uploads in parts that are not finished: when each was begun, and how to abort it."""
    client, bucket = _client(prefix), _bucket(prefix)
    for page in _pages(prefix, "list_multipart_uploads", beginning):
        for entry in page.get("Uploads", ()):
            key, number = entry["Key"], entry["UploadId"]
            abort = partial(client.abort_multipart_upload, Bucket=bucket, Key=key, UploadId=number)
            yield entry["Initiated"], abort


def _pages(prefix: ResourcePath, operation: str, beginning: str) -> Iterator[Mapping[str, Any]]:
    paginator = _client(prefix).get_paginator(operation)
    yield from paginator.paginate(Bucket=_bucket(prefix), Prefix=f"{_key(prefix)}{beginning}")


def _at(prefix: ResourcePath, key: str) -> ResourcePath:
    # As `join` does, for which what follows a hash in a name is a fragment, and which takes dots for steps.
    return prefix.replace(path=f"{prefix.path}{quote(key.removeprefix(_key(prefix)))}", forceDirectory=False)


def _client(uri: ResourcePath) -> Any:
    return uri.client  # type: ignore[attr-defined]  # of S3ResourcePath


def _key(uri: ResourcePath) -> str:
    # What lsst.resources gives for the root of a bucket is no key.
    return uri.relativeToPathRoot.removeprefix("./")


def _bucket(uri: ResourcePath) -> str:
    # A profile may stand before it, and what looks like a port may be part of it.
    return uri.netloc.rpartition("@")[2]


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _md5(source: Path, wanted: Callable[[], bool]) -> str:
    whole = _hash()
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            check_wanted(wanted)
            whole.update(chunk)
    return str(whole.hexdigest())


def _md5_of_parts(source: Path, length: int, wanted: Callable[[], bool]) -> str:
    whole = _hash()
    with source.open("rb") as file:
        for _ in count():
            part, left = _hash(), length
            while left and (chunk := file.read(min(left, CHUNK))):
                check_wanted(wanted)
                part.update(chunk)
                left -= len(chunk)
            if left == length:
                return str(whole.hexdigest())
            whole.update(part.digest())
    raise AssertionError


def _hash() -> Any:
    return hashlib.md5(usedforsecurity=False)
