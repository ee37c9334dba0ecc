"""Every inbox keeps the promises of the suite; those on a database keep some more."""

import os
import re
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import event, inspect, text

from conformance.inbox_suite import FULL, NIGHT, NOW, PLAIN, SECOND, InboxSuite, by_path, record
from fakes import FakeInbox
from pfs_ingestd.adapters.inbox import SqlInbox, open_inbox, open_shared_inbox
from pfs_ingestd.adapters.inbox.engine import open_engine, transaction
from pfs_ingestd.adapters.inbox.schema import check, prepare
from pfs_ingestd.adapters.inbox.upgrades import UPGRADES
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage, TryLater, Vanished
from pfs_ingestd.ports import FolderMark, WorkerName
from pfs_ingestd.records import State

OURS = 1 + len(UPGRADES)


@pytest.fixture
def sqlite_file(tmp_path):
    return tmp_path / "in box#%41.sqlite3"


@pytest.fixture
def sqlite_url(sqlite_file):
    return f"sqlite:///{sqlite_file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Give the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("postgres").new_database()


class TestFakeInbox(InboxSuite):
    @pytest.fixture
    def inbox(self):
        return FakeInbox()


class TestSqlInbox(InboxSuite):
    @pytest.fixture
    def inbox(self, url):
        with closing(open_inbox(url)) as inbox:
            yield inbox


class TestSharedInbox(InboxSuite):
    @pytest.fixture
    def inbox(self, postgres):
        url = postgres.new_inbox()
        name = WorkerName("run", "summit", 1, watches=True)
        with closing(open_shared_inbox(url, name=name, lease=timedelta(minutes=1))) as inbox:
            inbox.recover(NOW)
            yield inbox


def test_an_inbox_outlives_its_process(url):
    """What was written is there when the inbox is opened again."""
    mark = FolderMark(NIGHT, 1, settled=True)
    with closing(open_inbox(url)) as inbox:
        inbox.add([PLAIN, FULL])
        inbox.mark([mark])
    with closing(open_inbox(url)) as inbox:
        assert by_path(*inbox.in_state(State)) == by_path(PLAIN, FULL)
        assert (inbox.marks(), inbox.counts()[State.REJECTED]) == ({NIGHT: mark}, 1)


def test_a_reader_sees_what_is_written_meanwhile(url):
    """A reading command works beside the daemon, and neither waits for the other."""
    with closing(open_inbox(url)) as inbox, closing(open_inbox(url, read_only=True)) as reader:
        many = [record(f"{n:04}.fits") for n in range(1001)]
        inbox.add(many)
        reading = reader.in_state({State.SEEN})
        assert next(reading) == many[0]
        inbox.replace([(many[-1], many[-1].ready(NOW))])
        assert list(reading) == many[1:-1]


def test_an_edition_lasts_until_somebody_writes(sqlite_url):
    """Reading changes nothing; what another process writes is another edition, and one to each of them."""
    with closing(open_inbox(sqlite_url)) as inbox, closing(open_inbox(sqlite_url)) as other:
        inbox.add([PLAIN])
        first = inbox.edition()
        assert (inbox.counts()[State.SEEN], other.find([PLAIN.path])) == (1, by_path(PLAIN))
        assert inbox.edition() == first
        other.replace([(PLAIN, PLAIN.ready(NOW))])
        second = inbox.edition()
        assert second != first
        assert list(inbox.in_state({State.READY})) == [PLAIN.ready(NOW)]
        assert inbox.edition() == second


def test_no_reader_waits_for_a_writer(url):
    """While a change is under way, daemon and commands read what was there before."""
    with closing(open_inbox(url)) as inbox, closing(open_inbox(url, read_only=True)) as reader:
        inbox.add([PLAIN])
        engine = open_engine(url, read_only=False)
        with transaction(engine, writing=True) as connection:
            connection.execute(text("UPDATE file SET size = 1"))
            assert [each.find([PLAIN.path]) for each in (inbox, reader)] == [by_path(PLAIN)] * 2
        engine.dispose()


def test_no_writer_waits_for_a_reader(url):
    """A command that takes its time does not keep the daemon from its work."""
    with closing(open_inbox(url)) as inbox:
        engine = open_engine(url, read_only=True)
        with transaction(engine, writing=False) as connection:
            before = connection.execute(text("SELECT name FROM file")).all()
            inbox.add([PLAIN])
        engine.dispose()
        assert (before, inbox.find([PLAIN.path])) == ([], by_path(PLAIN))


def test_names_sort_by_their_bytes_on_any_server(postgres):
    """A server whose language sorts names otherwise does not change which file is due first."""
    url = postgres.new_database()
    open_inbox(url).close()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT collation_name FROM information_schema.columns"
            " WHERE table_name = 'file' AND column_name = 'name'"
        )
        assert cursor.fetchall() == [("C",)]


def test_a_reader_cannot_write(url):
    """An inbox that was opened for reading stays as it is."""
    with closing(open_inbox(url)) as inbox, closing(open_inbox(url, read_only=True)) as reader:
        with pytest.raises(Outage) as caught:
            reader.add([PLAIN])
        assert (caught.value.code, inbox.find([PLAIN.path])) == (Code.READ_ONLY, {})


def test_a_reader_creates_nothing(sqlite_file, sqlite_url):
    """Looking for an inbox that is not there says so, and does not make one."""
    with pytest.raises(Fatal) as caught:
        open_inbox(sqlite_url, read_only=True)
    assert (caught.value.code, bool(caught.value.hint)) == (Code.STATE_UNUSABLE, True)
    assert list(sqlite_file.parent.iterdir()) == []


def test_a_reader_finds_no_tables(postgres):
    """A server's database without an inbox is not made into one by a reader."""
    url = postgres.new_database()
    with pytest.raises(Vanished, match="there is no inbox") as caught:
        open_inbox(url, read_only=True)
    assert (caught.value.code, "no daemon has run here yet" in caught.value.hint) == (Code.VANISHED, True)
    engine = open_engine(url, read_only=True)
    with transaction(engine, writing=False) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


@pytest.fixture
def unprivileged():
    """Do without the right of root to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def public_folder():
    """Have a folder that everybody can come to: nobody else comes to pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_anyone_may_read_after_the_daemon_stopped(public_folder, request):
    """A reader who may not write beside the database reads it nevertheless."""
    url = f"sqlite:///{public_folder}/inbox.sqlite3"
    with closing(open_inbox(url)) as inbox:
        inbox.add([PLAIN])
    public_folder.chmod(0o555)
    request.getfixturevalue("unprivileged")
    with closing(open_inbox(url, read_only=True)) as reader:
        assert reader.find([PLAIN.path]) == by_path(PLAIN)


def test_a_locked_inbox_is_tried_later(url):
    """While someone else writes, a change waits a little and then gives up for now."""
    impatient = f"{url}?timeout=0.05" if url.startswith("sqlite") else f"{url}&options=-c lock_timeout=50ms"
    with closing(open_inbox(impatient)) as inbox:
        inbox.add([PLAIN])
        engine = open_engine(url, read_only=False)
        with transaction(engine, writing=True) as connection:
            connection.execute(text("UPDATE file SET size = 1"))
            with pytest.raises(TryLater) as caught:
                inbox.replace([(PLAIN, PLAIN.ready(NOW))])
            connection.rollback()
        engine.dispose()
        assert (caught.value.code, inbox.find([PLAIN.path])) == (Code.BUSY, by_path(PLAIN))


def test_a_server_that_stops_is_an_outage_until_it_is_back(own_postgres):
    """An inbox survives the restart of its server without being opened again."""
    with closing(open_inbox(own_postgres.new_database())) as inbox:
        inbox.add([PLAIN])
        own_postgres.stop()
        try:
            for _ in range(2):
                with pytest.raises(Outage):
                    inbox.counts()
        finally:
            own_postgres.start()
        assert inbox.find([PLAIN.path]) == by_path(PLAIN)


def test_a_server_that_is_not_there_is_an_outage(tmp_path):
    """An inbox whose server does not answer may come back."""
    with pytest.raises(Outage):
        open_inbox(f"postgresql://user:secret@/database?host={tmp_path}")


def version_of(url):
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=False) as connection:
        versions = connection.execute(text("SELECT version FROM inbox_version")).scalars().all()
    engine.dispose()
    return versions


def test_creating_is_all_or_nothing(url):
    """An inbox whose creation was cut short is created anew."""
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=True) as connection:
        prepare(connection)
        connection.rollback()
    with transaction(engine, writing=False) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    open_inbox(url).close()
    assert version_of(url) == [OURS]


def test_two_that_start_at_once_create_it_once(url):
    """Daemon and command started together both find the inbox."""
    with ThreadPoolExecutor(4) as pool:
        for inbox in pool.map(lambda _: open_inbox(url), range(4)):
            inbox.close()
    assert version_of(url) == [OURS]


def test_an_older_inbox_is_brought_up_to_date(url):
    """An upgrade keeps the files, and is made once."""

    def upgrade(connection):
        connection.execute(text("ALTER TABLE file ADD COLUMN extra INTEGER DEFAULT 5"))

    with closing(open_inbox(url)) as inbox:
        inbox.add([PLAIN])
    engine = open_engine(url, read_only=False)
    for _ in range(2):
        with transaction(engine, writing=True) as connection:
            prepare(connection, upgrades=[*UPGRADES, upgrade])
    with transaction(engine, writing=False) as connection:
        assert connection.execute(text("SELECT name, extra FROM file")).all() == [(PLAIN.path.name, 5)]
    engine.dispose()
    assert version_of(url) == [OURS + 1]


def test_an_upgrade_that_fails_changes_nothing(url):
    """An inbox is of one version or the next, never in between."""

    def upgrade(connection):
        connection.execute(text("ALTER TABLE file ADD COLUMN extra INTEGER"))

    def broken(_):
        raise RuntimeError

    open_inbox(url).close()
    engine = open_engine(url, read_only=False)
    with pytest.raises(RuntimeError), transaction(engine, writing=True) as connection:
        prepare(connection, upgrades=[*UPGRADES, upgrade, broken])
    with transaction(engine, writing=False) as connection:
        assert "extra" not in [column["name"] for column in inspect(connection).get_columns("file")]
    engine.dispose()
    assert version_of(url) == [OURS]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_inbox_is_left_alone(url, read_only):
    """A program that is too old for the inbox says so, and changes nothing."""
    open_inbox(url).close()
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=True) as connection:
        connection.execute(text("UPDATE inbox_version SET version = 99"))
    engine.dispose()
    with pytest.raises(Fatal, match="newer") as caught:
        open_inbox(url, read_only=read_only)
    assert (caught.value.code, version_of(url)) == (Code.STATE_UNUSABLE, [99])


def test_a_reader_does_not_upgrade(url):
    """A reading command asks for the daemon to bring an older inbox up to date."""
    open_inbox(url).close()
    engine = open_engine(url, read_only=True)
    with (
        pytest.raises(Fatal, match=f"version {OURS}") as caught,
        transaction(engine, writing=False) as connection,
    ):
        check(connection, upgrades=[*UPGRADES, lambda _: None])
    engine.dispose()
    assert (caught.value.code, version_of(url)) == (Code.STATE_UNUSABLE, [OURS])


def test_a_database_of_something_else_is_left_alone(sqlite_file, sqlite_url):
    """The repository's registry, named by mistake, does not become an inbox."""
    with closing(sqlite3.connect(sqlite_file)) as registry, registry:
        registry.execute("CREATE TABLE dataset (id INTEGER)")
    with pytest.raises(Fatal, match="something else"):
        open_inbox(sqlite_url)
    with closing(sqlite3.connect(sqlite_file)) as registry:
        assert registry.execute("SELECT name FROM sqlite_schema").fetchall() == [("dataset",)]


@pytest.mark.parametrize("content", [b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 5000, b"hello" * 2000])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_damaged_inbox_is_named(sqlite_file, sqlite_url, content, read_only):
    """A file that is no database is an error that says which, and it is kept."""
    sqlite_file.write_bytes(content)
    with pytest.raises(Fatal, match=re.escape(sqlite_file.name[:6])) as caught:
        open_inbox(sqlite_url, read_only=read_only)
    assert (caught.value.code, sqlite_file.read_bytes()) == (Code.STATE_UNUSABLE, content)


def test_an_empty_file_becomes_an_inbox(sqlite_file, sqlite_url):
    """A file that was created and never written to is no damage."""
    sqlite_file.touch()
    with closing(open_inbox(sqlite_url)) as inbox:
        inbox.add([PLAIN])
        assert inbox.find([PLAIN.path]) == by_path(PLAIN)


def test_a_missing_folder_is_named(tmp_path):
    """An inbox that cannot be created says where and what to do."""
    with pytest.raises(Fatal, match="missing") as caught:
        open_inbox(f"sqlite:///{tmp_path}/missing/inbox.sqlite3")
    assert (caught.value.code, "folder" in caught.value.hint) == (Code.STATE_UNUSABLE, True)


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense secret",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret@h/d",
        "postgresql+none://u:secret@h/d",
        "postgresql://u:secret@h:port/d",
        "sqlite:////inbox.sqlite3?timeout=secret",
    ],
)
def test_a_useless_url_is_refused(bad):
    """What cannot be an inbox is a mistake of configuration, and no password is told."""
    with pytest.raises(Fatal) as caught:
        open_inbox(bad)
    assert (caught.value.code, "secret" in str(caught.value)) == (Code.CONFIGURATION, False)


def test_no_password_is_told(tmp_path):
    """An error about a server does not hold its password."""
    with pytest.raises(IngestdError) as caught:
        open_inbox(f"postgresql://user:secret@/database?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_any_reason_can_be_stored(url):
    """A sentence with characters that no database holds is stored with them spelled out."""
    with closing(open_inbox(url)) as inbox:
        inbox.add([replace(PLAIN, error="NUL \0 byte \udcff half \ud800", changed="\0")])
        spelled = replace(PLAIN, error="NUL \\x00 byte \\udcff half \\ud800", changed="\\x00")
        assert inbox.find([PLAIN.path]) == by_path(spelled)


@pytest.mark.parametrize("field", ["visit", "spectrograph", "size", "mtime_ns", "inode", "attempts"])
def test_a_fraction_is_no_count(url, field):
    """A number that is not whole is refused, and nothing is stored."""
    with closing(open_inbox(url)) as inbox:
        with pytest.raises(TypeError):
            inbox.add([replace(PLAIN, **{field: 1.0})])
        assert inbox.counts() == dict.fromkeys(State, 0)


def test_select_finds_what_a_person_asks_for(url):
    """Every combination of states, visits and paths finds the records that fit all of them."""
    records = [
        record(f"{state}-{visit}.fits", state=state, visit=visit)
        for state in (State.SEEN, State.READY, State.REJECTED)
        for visit in (1, 2)
    ]
    records.append(replace(FULL, visit=2, state=State.WAITING))
    paths = [records[0].path, records[3].path, NIGHT / "other.fits"]
    with closing(open_inbox(url)) as inbox:
        inbox.add(records)
        for states in (None, {State.SEEN, State.WAITING}, set()):
            for visits in (None, {2, 3}, set()):
                for some in (None, paths, ()):
                    expected = [
                        each
                        for each in records
                        if (states is None or each.state in states)
                        and (visits is None or each.visit in visits)
                        and (some is None or each.path in some)
                    ]
                    found = list(inbox.select(states=states, visits=visits, paths=some))
                    assert by_path(*found) == by_path(*expected)
                    assert len(found) == len(expected)
        assert len(list(inbox.select(limit=2))) == 2


def test_visits_are_gone_through_in_pages(url):
    """The next visits of which there are records come ascending, each once, whatever the files' order."""
    visits = (3, 1, 2**40, 3, 2)
    with closing(open_inbox(url)) as inbox:
        inbox.add([record(f"{number}.fits", visit=visit) for number, visit in enumerate(visits)])
        assert [inbox.visits(-1, 2), inbox.visits(2, 2), inbox.visits(2**40, 2)] == [[1, 2], [3, 2**40], []]


def test_recover_counts_anew(url):
    """Counts are right again after someone worked on the tables by hand."""
    with closing(open_inbox(url)) as inbox:
        inbox.add([PLAIN, FULL])
        engine = open_engine(url, read_only=False)
        with transaction(engine, writing=True) as connection:
            connection.execute(text("DELETE FROM file WHERE state = 'seen'"))
        engine.dispose()
        inbox.recover(NOW)
        assert inbox.counts() == dict.fromkeys(State, 0) | {State.REJECTED: 1}


QUESTIONS = {
    "due": lambda inbox: inbox.due(State.READY, NOW, 100),
    "due, small": lambda inbox: inbox.due(State.READY, NOW, 100, largest=10),
    "next_due": lambda inbox: inbox.next_due([State.READY]),
    "oldest": lambda inbox: inbox.oldest([State.READY]),
    "ingested": lambda inbox: inbox.ingested(NOW, NOW + SECOND, SECOND),
    "of_visits": lambda inbox: inbox.of_visits([1, 2], [State.WAITING]),
    "in_state": lambda inbox: list(inbox.in_state([State.SEEN])),
    "in_state, late": lambda inbox: list(inbox.in_state([State.SEEN], since=NOW + SECOND)),
    "in_state, live": lambda inbox: list(inbox.in_state([State.INGESTED], since=NOW, live=True)),
    "newest_night": lambda inbox: inbox.newest_night(NOW.date()),
    "of_night": lambda inbox: inbox.of_night(NOW.date(), 10),
    "whole_visits": lambda inbox: inbox.whole_visits([1, 2]),
    "history": lambda inbox: inbox.history([NIGHT / "0.fits"]),
    "orders": lambda inbox: inbox.orders(7),
    "complete": lambda inbox: inbox.complete([1, 2], NOW),
    "names": lambda inbox: inbox.names(NIGHT),
    "find": lambda inbox: inbox.find([PLAIN.path]),
    "counts": lambda inbox: inbox.counts(),
}
"""What the daemon asks while it runs."""


@contextmanager
def filled(url):
    """Have an inbox of a few files, and its engine."""
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=True) as connection:
        prepare(connection)
    with closing(SqlInbox(engine)) as inbox:
        inbox.add([record(f"{n}.fits") for n in range(1001)])
        yield inbox, engine


def plans_of(engine, explain, ask):
    """Tell how a database answers a question: the lines of its plan for each statement."""
    plans = []

    def note(_, cursor, statement, parameters, *__):
        if statement.startswith("SELECT"):
            other = cursor.connection.cursor()
            other.execute(f"{explain} {statement}", parameters)
            plans.extend(line[-1] for line in other.fetchall())

    event.listen(engine, "after_cursor_execute", note)
    ask()
    event.remove(engine, "after_cursor_execute", note)
    return plans


def test_every_question_is_answered_by_an_index(sqlite_url):
    """With half a million files nothing is sorted, and no table of files is gone through from end to end."""
    with filled(sqlite_url) as (inbox, engine):
        plans = {
            name: plans_of(engine, "EXPLAIN QUERY PLAN", partial(ask, inbox))
            for name, ask in QUESTIONS.items()
        }
    assert {name: [step for step in plan if " folder " not in step] for name, plan in plans.items()} == {
        "due": ["SEARCH file USING INDEX file_due (state=?)"],
        "due, small": ["SEARCH file USING INDEX file_due (state=?)"],
        "next_due": ["SEARCH file USING INDEX file_next_due (state=?)"],
        "oldest": ["SEARCH file USING COVERING INDEX file_oldest (state=?)"],
        "ingested": [
            "SEARCH file USING INDEX file_next_due (state=? AND <expr>>? AND <expr><?)",
            "USE TEMP B-TREE FOR GROUP BY",
        ],
        "of_visits": ["SEARCH file USING INDEX file_visit (visit=? AND kind=? AND state=?)"],
        "in_state": [
            "SEARCH file USING INDEX file_oldest (state=?)",
            *["SEARCH file USING INDEX file_oldest (state=? AND steady_since>?)"] * 2,
        ],
        "in_state, late": ["SEARCH file USING INDEX file_oldest (state=? AND steady_since>?)"],
        "in_state, live": ["SEARCH file USING INDEX file_live (state=? AND live=? AND steady_since>?)"],
        "newest_night": ["SEARCH file USING COVERING INDEX file_night (night<?)"],
        "of_night": [
            "SEARCH file USING COVERING INDEX file_night (night=?)",
            "SEARCH file USING INDEX file_visit (visit=?)",
        ],
        "whole_visits": ["SEARCH file USING INDEX file_visit (visit=?)"],
        "history": [
            "SEARCH file USING COVERING INDEX sqlite_autoindex_file_1 (folder_id=? AND name=?)",
            "SEARCH history USING INDEX history_file (file_id=?)",
        ],
        "orders": ["SEARCH operator_order USING INTEGER PRIMARY KEY (rowid>?)"],
        "complete": ["SEARCH visit USING INTEGER PRIMARY KEY (rowid=?)"],
        "names": ["SEARCH file USING INDEX sqlite_autoindex_file_1 (folder_id=?)"],
        "find": ["SEARCH file USING INDEX sqlite_autoindex_file_1 (folder_id=? AND name=?)"],
        "counts": ["SCAN tally"],
    }


def test_every_question_can_be_answered_by_an_index_of_a_server(postgres):
    """A server that is told to avoid it never goes through the table of files, either."""
    url = f"{postgres.new_database()}&options=-c%20enable_seqscan%3Doff"
    with filled(url) as (inbox, engine):
        plans = {name: plans_of(engine, "EXPLAIN", partial(ask, inbox)) for name, ask in QUESTIONS.items()}
    assert all(plans.values())
    assert [name for name, plan in plans.items() if any("Seq Scan on file" in line for line in plan)] == []
    assert any("file_live" in line for line in plans["in_state, live"])


def test_a_server_knows_what_it_holds(postgres):
    """A backlog is gone through by its index as soon as it was entered, with statistics made for that."""
    with filled(postgres.new_database()) as (_, engine), transaction(engine, writing=False) as connection:
        known = connection.execute(text("SELECT DISTINCT tablename FROM pg_stats WHERE tablename = 'file'"))
        assert known.scalars().all() == ["file"]
