"""What SQLite is told, and what it makes of it, seen from within."""

import re
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from lsst.daf.butler import Butler
from structlog.testing import capture_logs

from pfs_ingestd.adapters.repository import sqlite_hints, statements
from pfs_ingestd.ports import Stored
from repository_files import (
    a_repository,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    opener_of,
    raw_dataset,
    results,
)

CAMERAS = [(arm, spectrograph) for spectrograph in (1, 2, 3, 4) for arm in "brn"]
VISITS = range(1, 51)
GROWING = re.compile(
    r"SCAN (dataset|dataset_tags_\d+|dataset_location|file_datastore_records|exposure|raw_tags)\b"
)
"""What a query plan says that goes through all exposures or all datasets, be it by an index."""


@contextmanager
def listening(event, listener):
    """Listen to every SQLite connection of this process."""
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, event, listener)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, event, listener)


@pytest.fixture
def plans():
    """Note how SQLite goes about each statement: the statement, and the steps of its plan."""
    noted = []

    def note(_connection, cursor, statement, parameters, _context, executemany):
        if re.match(r"(SELECT|WITH|INSERT|UPDATE|DELETE)\b", statement):
            first = parameters[0] if executemany else parameters
            steps = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", first).fetchall()
            noted.append((statement, [step for *_, step in steps]))

    with listening("before_cursor_execute", note):
        yield noted


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Have a repository of fifty visits, all of whose raws are one file; not to be changed."""
    folder = tmp_path_factory.mktemp("many")
    root, source = a_repository(folder / "repo"), folder / "any.fits"
    source.touch()
    with opener_of(root) as opened:
        datasets = [raw_dataset(source, visit, *camera) for visit in VISITS for camera in CAMERAS]
        opened("direct").ingest([an_exposure(visit) for visit in VISITS], datasets)
    return root


@pytest.fixture
def database(many, tmp_path):
    """Have a copy of its registry."""
    path = tmp_path / "copy.sqlite3"
    path.write_bytes(Path(many, "gen3.sqlite3").read_bytes())
    return path


def test_no_statement_goes_through_all_datasets(incoming, opened, plans):
    """An ingest, what precedes it and what follows a failure cost the same however much there is."""
    repository = opened("copy")
    source = ccd_file(incoming / "a.fits")
    config = config_dataset(config_file(incoming / "c.fits"))
    for known in (False, True):
        repository.designs([12, 13])
        repository.ingest([] if known else [an_exposure(12)], [raw_dataset(source), config])
    repository.probe()
    repository.close()
    repository.open()

    assert [plan for plan in plans if any(GROWING.match(step) for step in plan[1])] == []
    assert any(re.search(r"JOIN tmp_", statement) for statement, _ in plans)


def test_temporary_tables_do_not_pile_up(incoming, opened, monkeypatch):
    """Each ingest may leave one in its connection, and a connection is renewed after so many."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.session.INGESTS_PER_CONNECTION", 3)
    left = []

    def note(_connection, cursor, statement, *_):
        if statement.startswith("INSERT INTO tmp_"):
            tables = "SELECT count(*) FROM sqlite_temp_master WHERE type = 'table' AND name GLOB 'tmp_*'"
            left.append(cursor.connection.execute(tables).fetchone()[0])

    repository = opened("direct")
    with listening("after_cursor_execute", note):
        for visit in range(1, 8):
            source = ccd_file(incoming / f"{visit}.fits", visit)
            repository.ingest([an_exposure(visit)], [raw_dataset(source, visit)])

    # Not with every release of Butler.
    assert left in ([1, 2, 3, 1, 2, 3, 1], [1] * 7)


def test_compiled_statements_do_not_pile_up(many):
    """Most statements of an ingest are never seen again, and only the latest are kept."""
    engines, source = set(), Path(many).with_name("any.fits")
    with (
        listening("engine_connect", lambda connection: engines.add(connection.engine)),
        opener_of(a_repository(Path(many).parent / "other")) as opened,
    ):
        repository = opened("direct")
        for visit in range(1, 21):
            repository.ingest([an_exposure(visit)], [raw_dataset(source, visit)])
        kept = {len(engine.get_execution_options()["compiled_cache"]) for engine in engines}

    assert max(kept) <= statements.REMEMBERED * 3 / 2


def test_statistics_lead_readers_to_one_visit(many, database, plans):
    """Who asks for the datasets of one visit has SQLite look at those, and not at all of that instrument."""
    sqlite_hints.update_statistics(str(database))
    config = Path(many, "butler.yaml").read_text().replace("<butlerRoot>/gen3.sqlite3", str(database))
    (database.parent / "butler.yaml").write_text(config)

    with Butler.from_config(str(database.parent), collections="PFS/raw/all") as reader:
        found = reader.query_datasets("raw", instrument="PFS", exposure=25)

    steps = [step for statement, plan in plans if "AS raw_tags" in statement for step in plan]
    assert len(found) == len(CAMERAS)
    assert [step for step in steps if re.match(r"SEARCH raw_tags .* exposure=\?", step)] != []


def test_statistics_are_renewed_now_and_then(root, incoming, opened, monkeypatch):
    """After so many ingests SQLite knows how many datasets there are, and goes on knowing it."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.session.INGESTS_PER_CONNECTION", 2)
    repository = opened("direct")
    known = []
    for visit in range(1, 5):
        source = ccd_file(incoming / f"{visit}.fits", visit)
        assert results(repository.ingest([an_exposure(visit)], [raw_dataset(source, visit)])) == [
            Stored.STORED
        ]
        known.append(_rows_known(f"{root}/gen3.sqlite3", "exposure"))

    assert known == [None, 2, 2, 4]


def test_statistics_wait_for_nobody(database):
    """Where somebody else uses the registry they stay as they are, and the log says so."""
    sqlite_hints.update_statistics(str(database))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("DELETE FROM exposure")
        other.execute("BEGIN IMMEDIATE")
        with capture_logs() as logs:
            sqlite_hints.update_statistics(str(database))

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("statistics.postponed", "info")]
    assert _rows_known(database, "exposure") == len(VISITS)


def test_no_registry_is_made_for_its_statistics(tmp_path):
    """A file that is not there is not made."""
    with capture_logs() as logs:
        sqlite_hints.update_statistics(str(tmp_path / "away.sqlite3"))

    assert [entry["event"] for entry in logs] == ["statistics.postponed"]
    assert list(tmp_path.iterdir()) == []


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


def _rows_known(database, table):
    """Tell how many rows SQLite believes a table to have; None if it has no idea."""
    with closing(sqlite3.connect(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchall():
            return None
        found = connection.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = ?", (table,)).fetchall()
    return max(int(stat.split()[0]) for (stat,) in found)
