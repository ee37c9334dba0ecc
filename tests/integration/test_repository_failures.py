"""`ButlerRepository` against a real repository: what goes wrong, and what is made of it."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
)
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import create_repository, objects, open_repository
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.objects import be_brief
from pfs_ingestd.errors import Code, Fatal, Outage, Rejected, TryLater
from pfs_ingestd.ports import Stored
from repository_files import (
    an_exposure,
    ccd_file,
    count,
    raw_dataset,
    results,
)


def test_a_vanished_file_is_named_and_stores_nothing(root, incoming, opened):
    """One file of a batch that is gone lets none be stored, and is named."""
    good, gone = ccd_file(incoming / "a.fits"), incoming / "gone.fits"
    repository = opened()

    with pytest.raises(TryLater, match=r"gone\.fits vanished") as caught:
        repository.ingest([an_exposure(12)], [raw_dataset(good), raw_dataset(gone, 12, "b", 1)])

    assert caught.value.code is Code.VANISHED
    assert count(root) == ((0, 0, 0), 0)
    assert results(repository.ingest([an_exposure(12)], [raw_dataset(good)])) == [Stored.STORED]


def test_a_butler_that_failed_is_not_used_again(incoming, opened, monkeypatch):
    """After a failed transaction the next call opens the repository anew; otherwise it stays open."""
    opens = []
    from_config = Butler.from_config

    def note(*args, **kwargs):
        opens.append(args)
        return from_config(*args, **kwargs)

    monkeypatch.setattr(Butler, "from_config", note)
    repository = opened()
    good = ccd_file(incoming / "a.fits")

    for _ in range(2):
        with pytest.raises(TryLater):
            repository.ingest([an_exposure(12)], [raw_dataset(incoming / "gone.fits")])
    repository.ingest([an_exposure(12)], [raw_dataset(good)])
    repository.ingest([], [raw_dataset(good)])

    assert len(opens) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instrument": "PFS-F"}, "the file is of PFS-F"),
        ({"spectrograph": 5, "detector": 12}, "knows no arm PFS 5 r"),
        ({"detector": 13}, "the file is of detector 13, but in the repository arm PFS 1 r is of detector 1"),
        ({"detector": 4}, "the file is of detector 4"),
    ],
)
def test_an_unknown_camera_is_rejected(root, incoming, opened, changes, reason):
    """A file of a camera that the repository does not have is rejected, with both sides named."""
    source = ccd_file(incoming / "a.fits")

    with pytest.raises(Rejected, match=reason) as caught:
        opened().ingest([an_exposure(12)], [raw_dataset(source, 12, **changes)])

    assert caught.value.code is Code.WRONG_INSTRUMENT
    assert count(root) == ((0, 0, 0), 0)


def test_a_name_that_is_not_text_is_rejected(incoming, opened):
    """Bytes that are not UTF-8 have no place in a registry."""
    source = ccd_file(incoming / os.fsdecode(b"\xff\xfe.fits"))

    with pytest.raises(Rejected) as caught:
        opened().ingest([an_exposure(12)], [raw_dataset(source)])

    assert caught.value.code is Code.UNNAMEABLE


def test_a_locked_registry_is_an_outage(root, incoming, opened, monkeypatch):
    """A registry that somebody else keeps locked pauses the queue, and is back when the lock is gone."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.session.LONGEST_WAIT_MS", 50)
    repository = opened()
    source = ccd_file(incoming / "a.fits")
    with closing(sqlite3.connect(f"{root}/gen3.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        for call in (
            lambda: repository.designs([12]),
            lambda: repository.ingest([an_exposure(12)], [raw_dataset(source)]),
            repository.probe,
        ):
            with pytest.raises(Outage) as caught:
                call()
            assert caught.value.code is Code.REPOSITORY_UNREACHABLE
        other.execute("ROLLBACK")

    repository.probe()
    assert results(repository.ingest([an_exposure(12)], [raw_dataset(source)])) == [Stored.STORED]


def test_a_datastore_that_was_replaced_is_an_outage(root, incoming, opened):
    """A folder that appears where the repository was mounted is not written into."""
    repository = opened()
    Path(root).rename(f"{root}.away")
    Path(root).mkdir()

    for call in (
        lambda: repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))]),
        repository.probe,
    ):
        with pytest.raises(Outage) as caught:
            call()
        assert caught.value.code is Code.REPOSITORY_UNREACHABLE
    assert list(Path(root).iterdir()) == []

    Path(root).rmdir()
    Path(f"{root}.away").rename(root)
    repository.probe()
    outcomes = repository.ingest([an_exposure(12)], [raw_dataset(incoming / "a.fits")])
    assert results(outcomes) == [Stored.STORED]


def test_a_full_disk_is_an_outage_until_there_is_room(incoming, opened, monkeypatch):
    """ENOSPC pauses the queue; the probe asks for the room that the batch needs."""
    repository = opened("copy")
    source = ccd_file(incoming / "a.fits")
    with monkeypatch.context() as patch:

        def refuse(*_args, **_kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "copy_file_range", refuse)
        with pytest.raises(Outage) as caught:
            repository.ingest([an_exposure(12)], [raw_dataset(source)])
        assert caught.value.code is Code.DISK_FULL
    with monkeypatch.context() as patch:
        disk = list(os.statvfs(source))
        disk[4] = 0
        patch.setattr(os, "statvfs", lambda _: os.statvfs_result(disk))
        with pytest.raises(Outage) as caught:
            repository.probe()
        assert caught.value.code is Code.DISK_FULL

    repository.probe()
    assert results(repository.ingest([an_exposure(12)], [raw_dataset(source)])) == [Stored.STORED]


def test_a_read_error_of_one_file_is_no_outage(incoming, opened, monkeypatch):
    """EIO while the datastore is well is one file's trouble: the queue goes on."""

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    repository = opened("copy")
    monkeypatch.setattr(os, "copy_file_range", refuse)
    with pytest.raises(TryLater) as caught:
        repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])

    assert caught.value.code is Code.STORE_FAILED


def test_a_missing_repository_names_the_command(tmp_path):
    """Whoever forgot to make the repository is told how."""
    with pytest.raises(Fatal) as caught:
        open_repository(str(tmp_path / "repo"), transfer="link", runs={}, instrument="PFS")

    assert caught.value.code is Code.CONFIGURATION
    assert f"pfs-ingestd init {tmp_path}/repo" in caught.value.hint


def test_an_unknown_transfer_is_a_configuration_error(root):
    """A transfer mode that does not exist is found before anything is ingested."""
    with pytest.raises(Fatal) as caught:
        open_repository(root, transfer="teleport", runs={}, instrument="PFS")

    assert caught.value.code is Code.CONFIGURATION


def test_an_unknown_instrument_is_unsuitable(root):
    """A repository of another instrument cannot take our files."""
    with pytest.raises(Fatal) as caught:
        open_repository(root, transfer="link", runs={}, instrument="PFS-L")

    assert caught.value.code is Code.REPOSITORY_UNSUITABLE


def test_a_repository_without_dataset_types_is_unsuitable(root):
    """A repository without `raw` says what is missing, and how to add it."""
    with Butler.from_config(root, writeable=True) as butler:
        butler.registry.removeDatasetType("raw")

    with pytest.raises(Fatal, match="no dataset type 'raw'") as caught:
        open_repository(root, transfer="link", runs={}, instrument="PFS")

    assert caught.value.code is Code.REPOSITORY_UNSUITABLE
    create_repository(root)
    open_repository(root, transfer="link", runs={}, instrument="PFS").close()


def test_a_run_of_another_kind_is_a_configuration_error(root):
    """Nothing can be ingested into a chain."""
    with pytest.raises(Fatal) as caught:
        open_repository(root, transfer="link", runs={"raw": "PFS/defaults"}, instrument="PFS")

    assert caught.value.code is Code.CONFIGURATION


def test_a_damaged_registry_is_unsuitable(root):
    """A file that is no database is not taken for an outage that will pass."""
    Path(root, "gen3.sqlite3").write_bytes(b"\0" * 4096)

    with pytest.raises(Fatal) as caught:
        open_repository(root, transfer="link", runs={}, instrument="PFS")

    assert caught.value.code is Code.REPOSITORY_UNSUITABLE


def test_a_connection_is_renewed_now_and_then(root, incoming, opened, monkeypatch):
    """Temporary tables of SQLite do not pile up however many batches are ingested."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.session.INGESTS_PER_CONNECTION", 2)
    repository = opened()
    for visit in range(1, 6):
        source = ccd_file(incoming / f"{visit}.fits", visit)
        assert results(repository.ingest([an_exposure(visit)], [raw_dataset(source, visit)])) == [
            Stored.STORED
        ]

    assert count(root) == ((5, 5, 5), 5)


def answer(status, code):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")


def wrapped(error, cause):
    """Raise an error while another one is handled, as libraries do."""
    try:
        try:
            raise cause
        except type(cause):
            raise error  # noqa: B904 (as boto3 does it)
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (EndpointConnectionError(endpoint_url="http://s3"), Outage, Code.REPOSITORY_UNREACHABLE),
        (NoCredentialsError(), Outage, Code.CREDENTIALS_REFUSED),
        (ProfileNotFound(profile="pfs"), Outage, Code.CREDENTIALS_REFUSED),
        (answer(403, "InvalidAccessKeyId"), Outage, Code.CREDENTIALS_REFUSED),
        (answer(403, "SignatureDoesNotMatch"), Outage, Code.CREDENTIALS_REFUSED),
        (answer(400, "ExpiredToken"), Outage, Code.CREDENTIALS_REFUSED),
        (answer(503, "SlowDown"), Outage, Code.REPOSITORY_UNREACHABLE),
        (answer(429, "TooManyRequests"), Outage, Code.REPOSITORY_UNREACHABLE),
        (answer(403, "AccessDenied"), Outage, Code.CREDENTIALS_REFUSED),
        (answer(404, "NoSuchBucket"), Outage, Code.REPOSITORY_UNREACHABLE),
        (answer(403, "QuotaExceeded"), Outage, Code.DISK_FULL),
        (answer(507, ""), Outage, Code.DISK_FULL),
        (answer(404, "NoSuchKey"), TryLater, Code.STORE_FAILED),
        (answer(400, "EntityTooLarge"), TryLater, Code.STORE_FAILED),
        (
            wrapped(S3UploadFailedError("no"), answer(500, "InternalError")),
            Outage,
            Code.REPOSITORY_UNREACHABLE,
        ),
        (wrapped(PermissionError("no"), answer(403, "")), Outage, Code.CREDENTIALS_REFUSED),
        (wrapped(FileNotFoundError("no"), answer(404, "NoSuchKey")), TryLater, Code.STORE_FAILED),
    ],
    ids=repr,
)
def test_what_a_store_throws_is_sorted_by_type_and_status(error, kind, code):
    """An outage of the store is told from a request that it refuses, whatever others made of it."""
    meaning = classify(error)
    assert (type(meaning), meaning.code) == (kind, code)


def test_a_host_that_does_not_answer_is_given_up_within_seconds(monkeypatch, at_s3):
    """A store that has been silent is knocked at, once, and what that says ends the request."""
    knocks = []

    def no_answer(address, timeout):
        knocks.append((address, timeout))
        raise TimeoutError("timed out")

    root = ResourcePath("s3://bucket/", forceDirectory=True)
    monkeypatch.setattr(objects, "SILENT_S", 0)
    be_brief(root)
    monkeypatch.setattr("socket.create_connection", no_answer)
    with pytest.raises(ConnectTimeoutError):
        root.join("key").exists()
    port = int(at_s3.url.rpartition(":")[2])
    assert knocks == [(("127.0.0.1", port), 3.0)]
