"""What SQLite is told, seen from within an ingest."""

import re

import pytest
import sqlalchemy

from pfs_ingestd.adapters.repository import sqlite_hints
from repository_files import a_repository, an_exposure, ccd_file, opener_of, raw_dataset


@pytest.fixture
def statistics():
    """Note, whenever daf_butler has filled a temporary table, whether SQLite knows its size."""
    known = []

    def note(_connection, cursor, statement, *_):
        if filled := re.match(r"INSERT INTO (tmp_\w+)", statement):
            tables = "SELECT tbl FROM temp.sqlite_stat1 WHERE tbl = ?"
            has_any = "SELECT 1 FROM sqlite_temp_master WHERE name = 'sqlite_stat1'"
            driver = cursor.connection
            known.append(
                bool(
                    driver.execute(has_any).fetchall() and driver.execute(tables, filled.groups()).fetchall()
                )
            )

    sqlite_hints.install()
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "after_cursor_execute", note)
    yield known
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "after_cursor_execute", note)


def test_temporary_tables_have_statistics(tmp_path, statistics):
    """SQLite knows how few rows an ingest has, and need not walk over all datasets of the repository."""
    with opener_of(a_repository(tmp_path / "repo")) as opened:
        opened().ingest([an_exposure(12)], [raw_dataset(ccd_file(tmp_path / "a.fits"))])

    assert statistics
    assert all(statistics)


def test_other_databases_wait_as_they_were_told(tmp_path):
    """The limit is for the database that was named, and for no other of the process."""
    sqlite_hints.install()
    sqlite_hints.limit_waiting(str(tmp_path / "registry.sqlite3"), 1234)
    waits = []
    for name in ("registry", "inbox"):
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{name}.sqlite3", connect_args={"timeout": 7})
        with engine.connect() as connection:
            waits.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
        engine.dispose()

    assert waits == [1234, 7000]
