"""A registry that asks for a password, which no configuration has."""

from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
import yaml

from in_process import typed
from pfs_ingestd.adapters.inbox import open_inbox
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
from s3 import S3Server

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
    with pytest.raises(Outage, match="password") as caught:
        create_repository(root, registry=url.replace("//", f"//{user}@"))
    assert caught.value.code is Code.CREDENTIALS_REFUSED
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
    pgpass(tmp_path / ".pgpass", user)
    with closing(open_repository(root, transfer="copy", **OURS)) as host:
        assert results(host.ingest([], [raw])) == [Stored.ALREADY_THERE]
        with asking(direct) as other:
            other.execute("BEGIN; SELECT 1 FROM exposure FOR UPDATE")
            with pytest.raises(Contended) as caught:
                host.ingest([], [raw_dataset(ccd_file(tmp_path / "b.fits", 12, "b"), 12, "b")])
            assert caught.value.code is Code.BUSY


def pgpass(file, user, password=SECRET):
    """Write a password file."""
    file.touch(mode=0o600)
    file.write_text(f"127.0.0.1:*:*:{user}:{password}\n")
    return str(file)


def test_every_command_finds_the_file_that_is_named(guarded, tmp_path, monkeypatch):
    """`PGPASSFILE` is heeded for registry and inbox; without it all say that the server refuses the user."""
    url, _, user = guarded
    url = url.replace("//", f"//{user}@")
    (tmp_path / "data").mkdir()
    settings = {
        "repository": "repo",
        "watch": {"raw": "data", "pfsConfig": "data"},
        "state": {"database": url},
        "status": {"file": "status.json"},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    commands = [
        ("init", tmp_path / "repo", "--registry", url),
        ("doctor", "-c", config),
        ("run", "--once", "-c", config),
        ("worker", "--once", "-c", config),
    ]
    named = pgpass(tmp_path / "named", user)
    for number, command in enumerate(commands):
        monkeypatch.delenv("PGPASSFILE", raising=False)
        done = typed(*command)
        assert done.exit_code == (1 if command[0] == "doctor" else 78), command
        assert "[credentials_refused]" in done.output + done.stderr
        assert "~/.pgpass" in done.output + done.stderr
        monkeypatch.setenv("PGPASSFILE", named)
        assert (number, typed(*command).exit_code) == (number, 0)


def test_a_password_that_is_replaced_is_waited_for(guarded, tmp_path, monkeypatch):
    """A server that refuses a daemon at work is an outage, told as such, until the password is right."""
    url, direct, user = guarded
    root, named = str(tmp_path / "repo"), tmp_path / "named"
    monkeypatch.setenv("PGPASSFILE", pgpass(named, user))
    create_repository(root, registry=url.replace("//", f"//{user}@"))
    inbox = open_inbox(url.replace("//", f"//{user}@"))
    with closing(inbox), closing(open_repository(root, transfer="copy", **OURS)) as host:
        pgpass(named, user, "yesterday")
        with asking(direct) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (user,)
            )
        for ask in (inbox.counts, host.probe):
            # The first question finds the connection cut.
            with pytest.raises(Outage):
                ask()
            with pytest.raises(Outage, match=r"refuses this user: .*authentication failed") as caught:
                ask()
            assert caught.value.code is Code.CREDENTIALS_REFUSED
        pgpass(named, user)
        inbox.counts()
        host.probe()


@pytest.fixture
def refusing(monkeypatch, tmp_path):
    """Have a store that knows nobody's keys."""

    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b"<Error><Code>InvalidAccessKeyId</Code><Message>Who are you?</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Keep silent."""

    for name, value in S3Server("http://127.0.0.1").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("unset", "told"),
    [
        ((), "InvalidAccessKeyId"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "Unable to locate credentials"),
    ],
)
def test_a_store_that_refuses_is_told_from_one_that_is_away(tmp_path, monkeypatch, unset, told):
    """`init` says that the keys are wrong, or that there are none, and where they come from."""
    for name in unset:
        monkeypatch.delenv(name)
    done = typed("init", tmp_path / "repo", "--datastore", "s3://bucket/store")
    assert done.exit_code == 78
    assert "error [credentials_refused]: the datastore's server refuses this user" in done.stderr
    assert told in done.stderr
    assert "~/.aws/credentials" in done.stderr
