"""A throw-away PostgreSQL server, reached through a socket file only."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

__all__ = ["PostgresServer", "postgres_server"]

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
}


class PostgresServer:
    """A running server, and databases in it.

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
        self._programs = programs
        self._folder = folder
        self._account = account
        self._numbers = count(1)
        self._run("initdb", "--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        options = f"-k {self._folder} {settings}"
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder}/log", f"--options={options}")

    def stop(self) -> None:
        """Stop it, cutting every connection."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def new_database(self) -> str:
        """Create an empty database and give its URL."""
        name = f"test_{next(self._numbers)}"
        connection = psycopg2.connect(self._dsn("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return self._dsn(name)

    def _dsn(self, database: str) -> str:
        return f"postgresql://tester@/{database}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        account: dict[str, Any] = {}
        if self._account is not None:
            account = {"user": self._account, "extra_groups": []}
        command = [str(self._programs / program), f"--pgdata={self._folder}/data", *arguments]
        with (self._folder / f"{program}.out").open("ab") as out:
            subprocess.run(command, check=True, cwd=self._folder, stdout=out, stderr=out, **account)  # noqa: S603 (PostgreSQL's own programs, no shell)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    account = _account()
    # Not below pytest's own folder, which no other user may enter; and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pfs-pg-"))
    try:
        if account is not None:
            os.chown(folder, account, -1)
        server = PostgresServer(programs, folder, account)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """Find the newest installed release; Debian keeps each in a folder of its own, off the search path."""
    releases = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if releases:
        return releases[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _account() -> int | None:
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account.pw_uid for account in pwd.getpwall()}
    return accounts.get("postgres", accounts["nobody"])
