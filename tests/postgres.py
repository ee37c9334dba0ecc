"""Throw-away PostgreSQL servers, reached through a socket file only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

__all__ = ["Databases", "PostgresServer", "asking", "postgres_server", "require_postgres", "serving"]

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "deadlock_timeout": "100ms",
}


GUARDED = "guarded"
"""The role of those who are asked for a password; all others are trusted."""


@contextmanager
def asking(url: str) -> Iterator[Any]:
    """Connect to a database, whatever driver its URL is for; lend a cursor."""
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


class Databases:
    """The databases of a running server.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where its socket is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder of its socket."""
        return str(self._folder)

    def new_database(self) -> str:
        """Create an empty database and give its URL."""
        name = f"test_{uuid4().hex}"
        with asking(self._dsn("postgres")) as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return self._dsn(name)

    def new_registry(self) -> str:
        """Create a database for a registry; give a URL that all releases of SQLAlchemy take for the same."""
        url = self.new_database()
        with asking(url) as cursor:
            cursor.execute("CREATE EXTENSION btree_gist")
        return url.replace("postgresql:", "postgresql+psycopg2:")

    def new_inbox(self) -> str:
        """Give the URL of a place for an inbox: a schema, which costs a hundredth of a database."""
        name = f"inbox_{uuid4().hex}"
        with asking(self._dsn("postgres")) as cursor:
            cursor.execute(f"CREATE SCHEMA {name}")
        return f"{self._dsn('postgres')}&options=-csearch_path={name}"

    def copied(self, url: str) -> str:
        """Copy a database that nobody uses any more; give the URL of the copy, of the same kind."""
        origin = _name_in(url)
        name = f"test_{uuid4().hex}"
        with asking(self._dsn("postgres")) as cursor:
            # A connection that was closed is a session of the server for a moment more: it is waited for.
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE datname = %s",
                (origin,),
            )
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {origin}")
        return url.replace(origin, name)

    def new_guarded_user(self, url: str, password: str) -> str:
        """Make a user who owns a database and is asked for a password; give the name."""
        name = f"user_{uuid4().hex}"
        with asking(self._dsn("postgres")) as cursor:
            cursor.execute("SELECT pg_advisory_lock(1)")
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (GUARDED,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE ROLE {GUARDED}")
            cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD %s IN ROLE {GUARDED}", (password,))
            cursor.execute(f"ALTER DATABASE {_name_in(url)} OWNER TO {name}")
        return name

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = _name_in(url)
        with asking(self._dsn("postgres")) as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def socket(self) -> str:
        """The socket that it listens on."""
        return f"{self._folder}/.s.PGSQL.5432"

    def _dsn(self, database: str) -> str:
        return f"postgresql://tester@/{database}?host={self._folder}"


class PostgresServer(Databases):
    """A server that a test has for itself: it can be stopped, and started again.

    Parameters
    ----------
    programs : `~pathlib.Path`
        The folder with ``initdb`` and ``pg_ctl``.
    folder : `~pathlib.Path`
        Where data and socket are.
    account : `int` or `None`
        The user id that the server runs under where that is another than ours: it refuses to run as root.
    """

    def __init__(self, programs: Path, folder: Path, account: int | None) -> None:
        super().__init__(folder)
        self._programs = programs
        self._account = account
        self._run("initdb", "--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C", "--no-sync")
        # Whoever is of this role has to give his password.
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all +{GUARDED} scram-sha-256\n{rules.read_text()}")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        options = f"-k {self._folder} {settings}"
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder}/log", f"--options={options}")

    def stop(self) -> None:
        """Stop it, cutting every connection."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def kill(self) -> None:
        """End it as a power cut would, with all its processes; it can be started again."""
        # As long as one of them has the shared memory, there is no starting again.
        while processes := self.processes():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
        # Where nobody buries the dead, the next server would take this number for one that lives.
        for lock in (self._folder / "data/postmaster.pid", Path(f"{self.socket}.lock")):
            lock.unlink()

    def processes(self) -> Sequence[int]:
        """Find those that are at work in the folder of the data: the postmaster, and what it has started."""
        data = str(self._folder / "data")
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _works_in(path) == data]

    def _run(self, program: str, *arguments: str) -> None:
        account: dict[str, Any] = {}
        if self._account is not None:
            account = {"user": self._account, "extra_groups": []}
        command = [str(self._programs / program), f"--pgdata={self._folder}/data", *arguments]
        with (self._folder / f"{program}.out").open("ab") as out:
            subprocess.run(command, check=True, cwd=self._folder, stdout=out, stderr=out, **account)  # noqa: S603 (PostgreSQL's own programs, no shell)


def require_postgres() -> Path:
    """Find PostgreSQL's programs; skip the test where it is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return programs


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test where PostgreSQL is not installed."""
    with _running(require_postgres()) as (server, _):
        yield server


@contextmanager
def serving() -> Iterator[str]:
    """Run a server; give the folder of its socket."""
    with _running(require_postgres()) as (_, folder):
        yield str(folder)


@contextmanager
def _running(programs: Path) -> Iterator[tuple[PostgresServer, Path]]:
    account = _account()
    # Not below pytest's own folder, which no other user may enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pfs-pg-"))
    try:
        if account is not None:
            os.chown(folder, account, -1)
        server = PostgresServer(programs, folder, account)
        try:
            yield server, folder
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _name_in(url: str) -> str:
    """Get the name of the database that a URL of ours is of."""
    return url.partition("@/")[2].partition("?")[0]


def _programs() -> Path | None:
    """Find the newest installed release; Debian keeps each in a folder of its own, off the search path."""
    releases = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if releases:
        return releases[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _works_in(process: Path) -> str:
    try:
        return str((process / "cwd").readlink())
    except OSError:  # it has ended, or is another's
        return ""


def _account() -> int | None:
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account.pw_uid for account in pwd.getpwall()}
    return accounts.get("postgres", accounts["nobody"])
