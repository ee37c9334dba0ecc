"""A registry that asks for a password, which no configuration has."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from pfs_ingestd.adapters.repository import (
    RepositoryInventory,
    RepositoryTrial,
    create_repository,
    open_repository,
    places_of,
    postgres_hints,
)
from pfs_ingestd.adapters.repository import session as sessions
from pfs_ingestd.errors import Code, Contended, Outage
from pfs_ingestd.ports import Stored
from postgres import asking
from relay import Relay
from repository_files import an_exposure, ccd_file, raw_dataset, results

SECRET = "hunter2"  # noqa: S105 (one to be found where it should not be)

OURS = {"runs": {}, "instrument": "PFS"}


@pytest.fixture
def guarded(postgres, tmp_path, monkeypatch):
    """Have an empty database by TCP; give its URL without a user, that for tests, and the user's name."""
    for name in ("PGPASSWORD", "PGPASSFILE", "PGUSER", "LSST_DB_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    url = postgres.new_database()
    user = postgres.new_guarded_user(url, SECRET)
    with closing(Relay(postgres.socket)) as relay:
        database = url.partition("@/")[2].partition("?")[0]
        yield f"postgresql://127.0.0.1:{relay.port}/{database}", url, user


def db_auth(url, user, folder):
    """Write down a password where Butler looks for it."""
    folder.mkdir()
    file = folder / "db-auth.yaml"
    file.touch(mode=0o600)
    file.write_text(f"- {{url: '{url}', username: {user}, password: {SECRET}}}\n")


def test_the_password_is_found_where_butler_and_postgresql_look(guarded, tmp_path, monkeypatch):
    """Whatever we do of a registry, we do as the user of db-auth.yaml, or with the password of ~/.pgpass."""
    url, direct, user = guarded
    root = str(tmp_path / "repo")
    with pytest.raises(Outage, match="password"):
        create_repository(root, registry=url.replace("//", f"//{user}@"))
    db_auth(url, user, tmp_path / ".lsst")
    assert create_repository(root, registry=url).created
    with closing(open_repository(root, transfer="copy", **OURS)) as host:
        raw = raw_dataset(ccd_file(tmp_path / "a.fits"))
        assert results(host.ingest([an_exposure(12)], [raw])) == [Stored.STORED]
    with closing(RepositoryTrial(root, writeable=True, **OURS)) as trial:
        trial.check_writeable()
    with closing(RepositoryInventory(root, now=datetime.now(UTC), **OURS)) as inventory:
        assert len(inventory.datasets([12])) == 1
    assert places_of(root).registry is None
    configuration = Path(root, "butler.yaml")
    assert user not in configuration.read_text()
    assert SECRET not in configuration.read_text()

    # What is not in the URL may stand beside it; how long we wait for locks there holds all the same.
    (tmp_path / ".lsst/db-auth.yaml").unlink()
    config = yaml.safe_load(configuration.read_text())
    parts = urlsplit(url)
    config["registry"] |= {
        "db": "postgresql://",
        "host": parts.hostname,
        "port": parts.port,
        "database": parts.path.strip("/"),
        "username": user,
    }
    configuration.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(postgres_hints, "_limits", {})
    monkeypatch.setattr(sessions, "LONGEST_WAIT_MS", 50)
    passwords = tmp_path / ".pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(f"127.0.0.1:*:*:{user}:{SECRET}\n")
    with closing(open_repository(root, transfer="copy", **OURS)) as host:
        assert results(host.ingest([], [raw])) == [Stored.ALREADY_THERE]
        with asking(direct) as other:
            other.execute("BEGIN; SELECT 1 FROM exposure FOR UPDATE")
            with pytest.raises(Contended) as caught:
                host.ingest([], [raw_dataset(ccd_file(tmp_path / "b.fits", 12, "b"), 12, "b")])
            assert caught.value.code is Code.BUSY
