"""Inboxes that older versions wrote, brought up to date: nothing of them is lost, and nothing is missing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import inspect

from conformance.inbox_suite import FULL, NIGHT, NOW, PLAIN, SECOND, by_path, record
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.inbox.engine import open_engine, transaction
from pfs_ingestd.adapters.inbox.upgrades import UPGRADES
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.history import Entry, Event
from pfs_ingestd.ports import FolderMark
from pfs_ingestd.records import State

WRITTEN = Path(__file__).parents[1] / "inboxes"
VERSIONS = [1, 2, 3]
POSTPONED = Entry(
    event=Event.POSTPONED,
    at=NOW,
    last=NOW + SECOND,
    times=2,
    attempt=1,
    size=PLAIN.size,
    code="busy",
    reason="is busy; 'quoted' schräg (wait)",
)
REMEMBERED = {1: {}, 2: {PLAIN.path: [POSTPONED]}, 3: {PLAIN.path: [POSTPONED]}}
"""What each version wrote of the way of its files."""

CLAIMED = record("claimed.fits", state=State.INGESTING, attempts=2)


def an_empty_one(kind, request, folder):
    if kind == "sqlite":
        return f"sqlite:///{folder}/{len(list(folder.iterdir()))}.sqlite3"
    return request.getfixturevalue("postgres").new_database()


def written_by(version, kind, url):
    """Load what the program of a version wrote."""
    written = (WRITTEN / f"version_{version}.{kind}.sql").read_text(encoding="utf-8")
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(written)
        return
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(written)


def tables(url):
    """Tell of each table its columns, keys and indexes, as the database has them."""
    engine = open_engine(url, read_only=True)
    with transaction(engine, writing=False) as connection:
        found = inspect(connection)
        told = {
            name: (
                [
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in found.get_columns(name)
                ],
                found.get_pk_constraint(name)["constrained_columns"],
                found.get_foreign_keys(name),
                sorted((index["name"], index["column_names"]) for index in found.get_indexes(name)),
            )
            for name in found.get_table_names()
        }
    engine.dispose()
    return told


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("version", VERSIONS)
def test_an_inbox_of_an_older_version_is_used_on(request, tmp_path, version, kind):
    """All that the older program wrote is there, can be worked with, and the tables are like new ones."""
    older, new = (an_empty_one(kind, request, tmp_path) for _ in range(2))
    written_by(version, kind, older)
    with pytest.raises(Fatal, match=f"of version {version}, this program reads") as caught:
        open_inbox(older, read_only=True)
    assert (caught.value.code, "restart the daemon" in caught.value.hint) == (Code.STATE_UNUSABLE, True)
    open_inbox(new).close()
    with closing(open_inbox(older)) as inbox:
        assert by_path(*inbox.in_state(State)) == by_path(PLAIN, FULL, CLAIMED)
        assert inbox.marks() == {NIGHT: FolderMark(NIGHT, 1, settled=True)}
        assert not inbox.complete([999], NOW)
        assert inbox.history([PLAIN.path, FULL.path, CLAIMED.path]) == REMEMBERED[version]
        assert inbox.orders(0) == []
        inbox.recover(NOW)
        inbox.replace([(FULL, FULL.retried(NOW))])
        told = inbox.history([FULL.path, CLAIMED.path])
        assert {path: [entry.event for entry in entries] for path, entries in told.items()} == {
            CLAIMED.path: [Event.RECOVERED],
            FULL.path: [Event.RETRIED],
        }
    assert tables(older) == tables(new)


def test_there_is_an_inbox_of_every_older_version():
    """Each step of an upgrade is tried on what the program before it wrote."""
    assert list(range(1, 1 + len(UPGRADES))) == VERSIONS
