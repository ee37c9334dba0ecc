"""Repositories on servers: how they are made, what is refused, and what is different in a store."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import (
    CreateReport,
    RepositoryInventory,
    create_repository,
    open_repository,
    staging,
)
from pfs_ingestd.adapters.repository.comparing import holds
from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.objects import has_conditions, look_at, objects_below
from pfs_ingestd.errors import Code, Fatal, Outage, TryLater
from pfs_ingestd.ports import Stored
from postgres import asking
from repository_files import ARTIFACT, an_exposure, artifact_at, artifacts_of, ccd_file, raw_dataset, results

SECRET = "hunter2"  # noqa: S105 (one to be found where it should not be)


@pytest.mark.parametrize(
    "options",
    [
        {"registry": f"postgresql://ingest:{SECRET}@db.example/pfs"},
        {"registry": f"postgresql://db.example/pfs?user=ingest&password={SECRET}"},
        {"registry": f"postgresql://ingest:{SECRET}@:not a port/pfs"},
        {"registry": "postgresql://ingest@db.example/pfs", "datastore": f"s3://key:{SECRET}@bucket/store"},
    ],
    ids=["user", "parameter", "malformed", "store"],
)
def test_a_password_is_refused_and_told_nobody(tmp_path, options, monkeypatch):
    """Who writes a password into a URL is told where it belongs, and it is not written down or repeated."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.servers._prepare_database", lambda *_: None)
    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path / "repo"), **options)

    assert caught.value.code is Code.CONFIGURATION
    assert "with mode 0600" in caught.value.hint or "AWS_PROFILE" in caught.value.hint
    assert SECRET not in str(caught.value)
    assert list((tmp_path / "repo").iterdir()) == []


def test_a_password_in_somebody_elses_configuration_is_refused(tmp_path):
    """Butler would copy it from there into the repository's configuration."""
    seed = tmp_path / "seed.yaml"
    seed.write_text(f"registry: {{db: 'postgresql://db.example/pfs', password: {SECRET}}}")
    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path / "repo"), seed_config=seed)
    assert "~/.pgpass" in caught.value.hint
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"registry": "mysql://db.example/pfs"}, "not the URL of a database"),
        ({"registry": "the big one"}, "not the URL of a database"),
        ({"registry": "postgresql://db.example/pfs", "schema": "Pfs-1"}, "cannot use a schema of the name"),
        ({"schema": "pfs"}, "only a registry in PostgreSQL has schemas"),
    ],
)
def test_what_butler_could_not_use_is_refused(tmp_path, options, message):
    """An option that makes no sense is a matter of configuration, and nothing is made."""
    with pytest.raises(Fatal, match=message) as caught:
        create_repository(str(tmp_path / "repo"), **options)
    assert caught.value.code is Code.CONFIGURATION
    assert list((tmp_path / "repo").iterdir()) == []


@pytest.mark.parametrize("schema", [None, "pfs"])
def test_rights_that_are_missing_are_named_with_what_gives_them(tmp_path, postgres, schema):
    """An ordinary user who passes each statement on to the administrator gets his repository in the end."""
    url, user = postgres.new_database(), f"user_{uuid4().hex}"
    with asking(url) as administrator:
        administrator.execute(f"CREATE ROLE {user} LOGIN")
        administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    registry = url.replace("postgresql://tester@", f"postgresql+psycopg2://{user}@")
    asked = []
    for _ in range(2):
        with pytest.raises(Fatal) as caught:
            create_repository(str(tmp_path / "repo"), registry=registry, schema=schema)
        assert caught.value.code is Code.CONFIGURATION
        asked.append(caught.value.hint.partition("execute: ")[2])
        with asking(url) as administrator:
            administrator.execute(asked[-1])

    assert create_repository(str(tmp_path / "repo"), registry=registry, schema=schema).created
    place = f"GRANT CREATE ON SCHEMA public TO {user};"
    if schema:
        place = f"CREATE SCHEMA {schema} AUTHORIZATION {user};"
    assert asked == ["CREATE EXTENSION IF NOT EXISTS btree_gist;", place]
    assert not create_repository(str(tmp_path / "repo"), registry=registry, schema=schema).changed
    with asking(url) as cursor:
        cursor.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'exposure'")
        assert cursor.fetchall() == [(schema or "public",)]


def test_the_extension_is_made_by_who_may(tmp_path, postgres):
    """The owner of a database needs no administrator."""
    registry = postgres.new_database().replace("postgresql:", "postgresql+psycopg2:")
    assert create_repository(str(tmp_path / "repo"), registry=registry).created


def test_a_whole_repository_may_be_in_a_store(postgres, bucket, incoming, at_s3, monkeypatch):
    """With its configuration in S3, too, it is made once, completed when that was interrupted, and read."""
    root, registry = f"{bucket}/pfs/repo", postgres.new_registry()
    assert create_repository(root, registry=registry).created
    assert CreateReport(root, created=False, added=()) == create_repository(root)
    keys = at_s3.objects(bucket.removeprefix("s3://"))
    assert list(keys) == ["pfs/repo/butler.yaml"]

    # Killed between the registry, which is made at once, and the configuration.
    ResourcePath(f"{root}/butler.yaml").remove()
    with pytest.raises(Fatal, match="holds another repository already"):
        create_repository(root, registry=registry)
    assert at_s3.objects(bucket.removeprefix("s3://")) == {}

    other = postgres.new_registry()
    make = Butler.makeRepo

    class Killed(BaseException):
        pass

    def make_and_die(*args, **kwargs):
        make(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(Butler, "makeRepo", make_and_die)
        with pytest.raises(Killed):
            create_repository(root, registry=other)
    assert create_repository(root, registry=other).created
    repository = open_repository(root, transfer="copy", runs={}, instrument="PFS")
    source = ccd_file(incoming / "a.fits")
    (outcome,) = repository.ingest([an_exposure(12)], [raw_dataset(source)])
    repository.close()
    assert outcome.where.startswith(f"{root}/PFS/raw/all/")
    assert ResourcePath(outcome.where).read() == source.read_bytes()


def test_an_option_that_contradicts_the_repository_is_refused(on_servers):
    """A repository is not moved to other servers by naming them."""
    with pytest.raises(Fatal, match=r"and its registry\.db is"):
        create_repository(on_servers, registry="postgresql://db.example/other")
    with pytest.raises(Fatal, match=r"and its datastore\.root is"):
        create_repository(on_servers, datastore="s3://other/store")


@pytest.mark.usefixtures("at_s3")
def test_a_bucket_that_is_not_there_is_told_before_anything_is_made(tmp_path, postgres):
    """The store is written to before the registry is made."""
    registry = postgres.new_registry()
    with pytest.raises(Outage, match="the datastore's bucket is not there"):
        create_repository(str(tmp_path / "repo"), registry=registry, datastore="s3://nobodys-bucket/store")
    with asking(registry) as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchone() == (0,)


def test_a_package_that_is_missing_is_named_with_how_to_install_it():
    """Neither driver comes with the daemon alone."""
    meaning = classify(ModuleNotFoundError("No module named 'botocore'"))
    assert isinstance(meaning, Fatal)
    assert "'botocore'" in meaning.message
    assert "pip install 'pfs-ingestd[s3]'" in meaning.hint


def test_a_link_to_a_store_is_refused_at_the_start(on_servers):
    """A transfer that the datastore cannot do is a matter of configuration, not of each file."""
    with pytest.raises(Fatal, match="the transfer mode hardlink needs a datastore on this machine") as caught:
        open_repository(on_servers, transfer="hardlink", runs={}, instrument="PFS")
    assert caught.value.code is Code.CONFIGURATION
    assert "copy or move" in caught.value.hint


@pytest.mark.parametrize("size", [1_000, 20_000_000], ids=["whole", "in parts"])
def test_an_object_is_known_by_its_tag(bucket, tmp_path, monkeypatch, size):
    """Of an object whose tag is that of the file nothing is read; one that differs is not the same."""
    source, other = tmp_path / "a", tmp_path / "b"
    source.write_bytes(bytes(range(250)) * (size // 250))
    other.write_bytes(source.read_bytes()[:-1] + b"x")
    uri = ResourcePath(f"{bucket}/object")
    uri.transfer_from(ResourcePath(str(source)), transfer="copy")
    assert holds(uri, other) is False
    assert holds(ResourcePath(f"{bucket}/nothing"), source) is None

    monkeypatch.setattr(type(uri), "open", None)
    assert holds(uri, source) is True
    other.write_bytes(b"shorter")
    assert holds(uri, other) is False
    assert ("-" in look_at(uri).tag) is (size > 8_000_000)


@pytest.mark.parametrize("kind", ["bucket", "plain"])
def test_conditional_copies_are_tried(at_s3, kind):
    """A store either does as it is told, or is known not to; nothing is left there."""
    bucket = at_s3.new_bucket(kind)
    assert has_conditions(ResourcePath(f"s3://{bucket}/store/")) is (kind == "bucket")
    assert at_s3.objects(bucket) == {}


@pytest.mark.parametrize("status", [None, 501, 403])
def test_a_store_that_refuses_conditions_has_none(at_s3, monkeypatch, status):
    """So has a library that does not know them; what is refused for another reason is told."""
    uri = ResourcePath(f"s3://{at_s3.new_bucket()}/store/")

    def refuse(**_):
        if status is None:
            raise ParamValidationError(report="Unknown parameter in input: IfNoneMatch")
        raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "CopyObject")

    monkeypatch.setattr(uri.client, "copy_object", refuse)
    if status == 403:
        with pytest.raises(ClientError):
            has_conditions(uri)
        return
    assert not has_conditions(uri)


@pytest.mark.parametrize("root", ["on_servers"], indirect=True)
def test_what_a_dead_process_sent_to_the_store_is_swept(root, opened, at_s3, monkeypatch):
    """Objects and uploads that nobody took for a day are removed when the repository is opened."""
    with Butler.from_config(root) as butler:
        (store,) = butler.get_datastore_roots().values()
    left = store.join(".pfs-ingestd-0123/0.fits")
    left.write(b"left")
    bucket = store.netloc
    at_s3.client.create_multipart_upload(Bucket=bucket, Key="store/.pfs-ingestd-0123/1.fits")
    opened()
    assert left.exists()

    class Later(datetime):
        @classmethod
        def now(cls, _):
            return datetime.now(UTC) + staging.ABANDONED + timedelta(minutes=1)

    monkeypatch.setattr(staging, "datetime", Later)
    opened()
    assert artifacts_of(root) == []
    assert "Uploads" not in at_s3.client.list_multipart_uploads(Bucket=bucket)


def test_a_copy_that_was_swept_is_made_again(on_servers, incoming):
    """Whoever finds that his upload is gone stores nothing, and tries again."""
    repository = open_repository(on_servers, transfer="copy", runs={}, instrument="PFS")
    source = ccd_file(incoming / "a.fits")
    with pytest.MonkeyPatch.context() as swept:
        fill = staging._InStore.fill  # noqa: SLF001 (what lies between upload and transaction)

        def fill_and_lose(self, **options):
            fill(self, **options)
            self.uri.remove()

        swept.setattr(staging._InStore, "fill", fill_and_lose)  # noqa: SLF001 (likewise)
        with pytest.raises(TryLater, match=r"does not exist") as caught:
            repository.ingest([an_exposure(12)], [raw_dataset(source)])
    assert caught.value.code is Code.STORE_FAILED
    assert results(repository.ingest([an_exposure(12)], [raw_dataset(source)])) == [Stored.STORED]
    repository.close()


def strays_of(root):
    """Find what is to be found when it is old enough."""
    later = datetime.now(UTC) + 2 * staging.ABANDONED
    with closing(RepositoryInventory(root, runs={}, instrument="PFS", now=later)) as inventory:
        for visit in inventory.visits(0, 10):
            assert len(inventory.datasets([visit])) == 1
        return [ResourcePath(stray.where) for stray in inventory.strays(lambda _: None)]


def test_a_datastore_may_be_a_whole_bucket(tmp_path, bucket, incoming, monkeypatch):
    """At the root of a bucket files are stored, found by an audit, and swept as below a prefix."""
    root = str(tmp_path / "repo")
    create_repository(root, datastore=bucket)
    with closing(open_repository(root, transfer="move", runs={}, instrument="PFS")) as repository:
        stored = repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])
    assert results(stored) == [Stored.STORED]
    assert [artifact.geturl() for artifact in artifacts_of(root)] == [f"{bucket}/{ARTIFACT}"]

    whole = ResourcePath(bucket, forceDirectory=True)
    stray = whole.join(f"{ARTIFACT}.fits")
    for left in (stray, whole.join(".pfs-ingestd-0123/0.fits")):
        left.write(b"left")
    assert strays_of(root) == [stray]
    monkeypatch.setattr(staging, "ABANDONED", timedelta(0))
    open_repository(root, transfer="copy", runs={}, instrument="PFS").close()
    assert artifacts_of(root) == [artifact_at(root), stray]


@pytest.mark.parametrize("prefix", ["", "/in a store"])
def test_a_stray_is_named_so_that_it_is_found(tmp_path, bucket, prefix):
    """Whatever is in the key of an object: its URI is that of the object, and no other."""
    root = str(tmp_path / "repo")
    create_repository(root, datastore=f"{bucket}{prefix}")
    store = ResourcePath(f"{bucket}{prefix}", forceDirectory=True)
    names = ("a#1.fits", "#/b?.fits", "c%231.fits", "d e;+é.fits", "./..//f")
    keys = {f"PFS/raw/all/{name}" for name in names}
    for key in keys:
        store.client.put_object(Bucket=store.netloc, Key=f"{prefix}/{key}"[1:], Body=key.encode())
    assert {uri.read().decode() for uri in strays_of(root)} == keys


def test_marks_of_folders_are_no_artifacts(bucket):
    """What other releases of Butler, and consoles, put into a bucket for its folders is not listed."""
    root = ResourcePath(f"{bucket}/store/", forceDirectory=True)
    for key in ("store/PFS/", "store/PFS/raw/", "store/PFS/raw/file"):
        root.client.put_object(Bucket=root.netloc, Key=key, Body=b"")
    assert [found.uri.relativeToPathRoot for found in objects_below(root)] == ["store/PFS/raw/file"]
