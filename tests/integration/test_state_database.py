"""The inbox's database damaged, newer, foreign or shared: what the daemon makes of it."""

import os
import random
import shutil
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from conformance.inbox_suite import FULL, NIGHT, NOW, PLAIN, by_path, record
from fakes import FakeClock
from pfs_ingestd.adapters.inbox import keep_inbox, open_inbox
from pfs_ingestd.adapters.inbox.damage import is_foreign, set_aside
from pfs_ingestd.adapters.inbox.engine import open_engine, transaction
from pfs_ingestd.adapters.inbox.upgrades import UPGRADES
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage
from pfs_ingestd.ports import FolderMark
from pfs_ingestd.records import State
from state_damage import DAMAGE, beside, execute, mutilate, set_aside_files

CLOCK = FakeClock(datetime(2026, 11, 22, 5, 30, 59, tzinfo=UTC))
STAMP = "20261122T053059Z"
UNNOTICED = {"the last byte missing", "last page noise", "a stale index"}
"""What commands may not see, which do not read the whole database before they begin."""
MANY = [record(f"{n:04}.fits", visit=n) for n in range(300)]


@pytest.fixture
def database(tmp_path):
    return tmp_path / "inbox.db"


@pytest.fixture
def url(database):
    return f"sqlite:///{database}"


@pytest.fixture
def used(database, url):
    """Have an inbox with three hundred files, closed."""
    with keep(url) as inbox:
        inbox.add([*MANY, FULL])
        inbox.mark([FolderMark(NIGHT, 1, settled=True)])
    return database


def keep(url, owner="pfs-ingestd process 1 on here"):
    return keep_inbox(url, owner=owner, clock=CLOCK)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def exercise(inbox):
    """Do with an inbox what a daemon does, and then see that it keeps what it is told."""
    inbox.recover(NOW)
    inbox.names(NIGHT)
    inbox.marks()
    for state in State:
        inbox.due(state, NOW, 1000)
    inbox.of_visits(range(1200), State)
    inbox.next_due(State)
    inbox.oldest(State)
    known = list(inbox.in_state(State))
    inbox.replace([(each, replace(each, state=State.SEEN)) for each in known])
    inbox.mark([FolderMark(NIGHT, 2, settled=False)])
    new = record("new.fits")
    inbox.add([new])
    assert inbox.find([new.path]) == by_path(new)
    assert sum(inbox.counts().values()) == len(known) + 1
    return known


@pytest.mark.parametrize("kind", DAMAGE)
def test_f25_a_damaged_inbox_is_set_aside_for_a_new_one(used, url, kind):
    """A damaged database is kept as it is under another name, the log says so, and a new one takes over."""
    DAMAGE[kind](used)
    damaged = used.read_bytes()
    with capture_logs() as events, keep(url) as inbox:
        assert exercise(inbox) == []
    aside = used.with_name(f"inbox.db.corrupt-{STAMP}")
    assert [(event.pop("error") != "", event) for event in events] == [
        (
            True,
            {
                "event": "inbox.set_aside",
                "log_level": "error",
                "inbox": str(used),
                "kept_as": str(aside),
            },
        )
    ]
    assert (set_aside_files(used), aside.read_bytes()) == ([aside], damaged)


@pytest.mark.parametrize("kind", sorted(DAMAGE.keys() - UNNOTICED))
@pytest.mark.parametrize("read_only", [True, False])
def test_f25_commands_name_the_damage_and_move_nothing(used, url, kind, read_only):
    """What an operator types beside the daemon ends with one sentence, and leaves the file to the daemon."""
    DAMAGE[kind](used)
    damaged = used.read_bytes()

    def command():
        with closing(open_inbox(url, read_only=read_only)) as inbox:
            list(inbox.in_state(State))

    with pytest.raises(Fatal, match=str(used)) as caught:
        command()
    assert (caught.value.code, "start the daemon" in caught.value.hint) == (Code.STATE_UNUSABLE, True)
    assert (used.read_bytes(), set_aside_files(used)) == (damaged, [])


@pytest.mark.parametrize("rest", [b"", b"\0"])
def test_f25_an_empty_inbox_is_a_new_one(used, url, rest):
    """A database that was emptied is filled again, and there is nothing to keep."""
    used.write_bytes(rest)
    with capture_logs() as events, keep(url) as inbox:
        assert exercise(inbox) == []
    assert (events, set_aside_files(used)) == ([], [])


def test_what_was_set_aside_is_never_overwritten(database, url):
    """Damage that comes again within the same second has a name of its own."""
    contents = [b"first", b"second", b"third"]
    for each in contents:
        database.write_bytes(each)
        with keep(url):
            pass
    names = [f"inbox.db.corrupt-{STAMP}", f"inbox.db.corrupt-{STAMP}.2", f"inbox.db.corrupt-{STAMP}.3"]
    assert [path.name for path in set_aside_files(database)] == names
    assert [path.read_bytes() for path in set_aside_files(database)] == contents


def test_what_lies_beside_a_damaged_inbox_goes_with_it(database):
    """The new inbox does not meet the write-ahead log of the old one, which may hold what is worth saving."""
    parts = ["", "-wal", "-shm", "-journal"]
    for path in beside(database, *parts):
        path.write_text(path.name)
    aside = set_aside(database, CLOCK.now())
    assert aside == database.with_name(f"inbox.db.corrupt-{STAMP}")
    kept = zip(beside(aside, *parts), beside(database, *parts), strict=True)
    assert content(database.parent) == {new.name: old.name.encode() for new, old in kept}


def test_an_inbox_that_is_a_link_is_set_aside_where_it_lies(used, tmp_path):
    """The link stays, and leads to the new inbox."""
    link = tmp_path / "link.db"
    link.symlink_to(used)
    used.write_bytes(b"damaged")
    with keep(f"sqlite:///{link}"):
        pass
    assert (link.readlink(), used.with_name(f"inbox.db.corrupt-{STAMP}").read_bytes()) == (used, b"damaged")
    assert used.read_bytes().startswith(b"SQLite format 3\0")


def test_an_inbox_that_cannot_be_renamed_is_for_a_person(tmp_path):
    """Where the file cannot be set aside, the daemon says what to do instead, and leaves it."""
    database = tmp_path / ("n" * 240)
    database.write_bytes(b"damaged")
    with pytest.raises(Fatal, match="cannot be renamed") as caught, keep(f"sqlite:///{database}"):
        pass
    assert (caught.value.code, content(tmp_path)) == (Code.STATE_UNUSABLE, {database.name: b"damaged"})


@pytest.mark.parametrize("part", ["-wal", "-shm"])
@pytest.mark.parametrize("rest", [b"", b"\0" * 40_000, b"noise" * 9000, b"short"])
def test_a_leftover_beside_the_inbox_does_no_harm(used, url, part, rest):
    """Remains of a write-ahead log that are not one are passed over, and nothing is set aside."""
    beside(used, part)[0].write_bytes(rest)
    with keep(url) as inbox:
        assert len(exercise(inbox)) == len(MANY) + 1
    assert set_aside_files(used) == []


def test_a_leftover_without_its_inbox_does_no_harm(used, url):
    """The write-ahead log of an inbox that was deleted is not taken for that of the new one."""
    with keep(url) as inbox:
        inbox.add([PLAIN])
        rests = {path: path.read_bytes() for path in beside(used)}
    used.unlink()
    for path, rest in rests.items():
        path.write_bytes(rest)
    with keep(url) as inbox:
        assert exercise(inbox) == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content,
        lambda content: content[:5000],
        lambda content: content[:4096] + bytes(4096),
    ],
    ids=["whole", "cut", "zeros"],
)
def test_the_database_of_another_program_is_never_touched(database, url, harm):
    """The repository's registry, named by mistake, is refused, and not even switched to WAL."""
    with closing(sqlite3.connect(database)) as registry, registry:
        registry.execute("CREATE TABLE dataset (id INTEGER)")
        registry.executemany("INSERT INTO dataset VALUES (?)", [(n,) for n in range(5000)])
    database.write_bytes(harm(database.read_bytes()))
    before = content(database.parent)
    for read_only in (False, True):
        with pytest.raises(Fatal, match="something else"):
            open_inbox(url, read_only=read_only)
    with pytest.raises(Fatal, match="something else") as caught, keep(url):
        pass
    assert (caught.value.code, content(database.parent)) == (Code.STATE_UNUSABLE, before)


def test_a_newer_inbox_is_never_set_aside(used, url):
    """A program that is too old says so, and leaves the inbox to the newer one."""
    execute(used, "UPDATE inbox_version SET version = 99", "ALTER TABLE file DROP COLUMN attempts")
    before = used.read_bytes()
    with pytest.raises(Fatal, match="newer") as caught, keep(url):
        pass
    assert (caught.value.code, used.read_bytes(), set_aside_files(used)) == (
        Code.STATE_UNUSABLE,
        before,
        [],
    )


def zeros_behind_the_first_page(database):
    execute(database, "UPDATE file SET size = size + 1", "PRAGMA user_version = 1")
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(database.stat().st_size - 4096))


LATE = {
    "pages": zeros_behind_the_first_page,
    "text": lambda database: execute(database, "UPDATE file SET error = CAST(x'ff41' AS TEXT)"),
    "state": lambda database: execute(database, "UPDATE file SET state = 'sedn'"),
    "number": lambda database: execute(database, "UPDATE file SET inode = 'x'"),
    "time": lambda database: execute(database, "UPDATE file SET updated = 1e18"),
    "count": lambda database: execute(database, "DELETE FROM tally"),
}


@pytest.mark.parametrize("kind", LATE)
def test_damage_that_shows_in_the_night_is_set_aside_for_the_next_start(used, url, kind):
    """The daemon that meets damage ends so that it is started again, and then finds a new inbox."""

    def night():
        with keep(url) as inbox:
            LATE[kind](used)
            inbox.names(NIGHT)
            inbox.counts()
            inbox.find([each.path for each in MANY])

    with capture_logs() as events, pytest.raises(Outage, match=f"kept as .*corrupt-{STAMP}") as caught:
        night()
    assert (caught.value.code, [event["event"] for event in events]) == (
        Code.STATE_UNREACHABLE,
        ["inbox.set_aside"],
    )
    with keep(url) as inbox:
        assert exercise(inbox) == []
    assert len(set_aside_files(used)) == 1


def test_other_failures_set_nothing_aside(used, url):
    """An error that is not about the database passes through, and the inbox stays."""
    with pytest.raises(ValueError, match="once"), keep(url) as inbox:
        inbox.replace([(PLAIN, PLAIN)] * 2)
    with keep(url) as inbox:
        assert len(exercise(inbox)) == len(MANY) + 1
    assert set_aside_files(used) == []


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
@pytest.mark.parametrize("seed", range(25))
def test_f25_whatever_happens_to_the_bytes_the_daemon_gets_an_inbox(database, url, part, seed):
    """After any damage there is an inbox, the old or a new one, at the latest at the second start."""
    chance = random.Random(f"{part}{seed}")  # noqa: S311 (nothing secret)
    with keep(url) as inbox:
        inbox.add(MANY[:200])
        saved = {path: path.read_bytes() for path in beside(database, "", "-wal", "-shm")}
        inbox.add(MANY[200:])
    for path, old in saved.items():
        path.write_bytes(old)
    mutilate(beside(database, part)[0], chance)
    if is_foreign(database):
        # Just the owner's name in the header was hit: a person has to look.
        with pytest.raises(Fatal, match="something else"), keep(url):
            pass
        return
    try:
        with keep(url) as inbox:
            exercise(inbox)
    except Outage:
        with keep(url) as inbox:
            assert exercise(inbox) == []


def test_f25_a_power_cut_leaves_a_whole_inbox_or_one_that_is_set_aside(tmp_path, url, database):
    """Copies that are made while the daemon writes, as torn as they may be, open or are set aside."""
    stop = Event()
    with ExitStack() as stack:
        inbox = stack.enter_context(keep(url))
        before = [record(f"old-{n}.fits") for n in range(50)]
        inbox.add(before)

        def write():
            n = 0
            while not stop.is_set():
                new = record(f"file-{n}.fits", visit=n)
                inbox.add([new])
                inbox.replace([(new, new.ready(NOW))])
                n += 1

        writer = Thread(target=write)
        writer.start()
        stack.callback(writer.join)
        stack.callback(stop.set)
        for n in range(40):
            copy = tmp_path / f"cut-{n}" / database.name
            copy.parent.mkdir()
            # The file is whole on the disk before its log begins anew: copied in the other order, they could
            # be of two times between which that happened, which no power cut brings about.
            for path in beside(database, "-wal", ""):
                shutil.copy(path, copy.parent)
    for n in range(40):
        copy = tmp_path / f"cut-{n}" / database.name
        try:
            with keep(f"sqlite:///{copy}") as inbox:
                known = exercise(inbox)
        except Outage:
            with keep(f"sqlite:///{copy}") as inbox:
                known = exercise(inbox)
        old = {each.path for each in before} - {each.path for each in known}
        assert not old or set_aside_files(copy)


def test_an_older_inbox_with_files_becomes_ours_at_the_start(used, url, monkeypatch):
    """The daemon brings an inbox of an older program up to date, keeps its files, and sets nothing aside."""
    step = text("ALTER TABLE file ADD COLUMN extra INTEGER")
    steps = [*UPGRADES, lambda connection: connection.execute(step)]
    monkeypatch.setattr("pfs_ingestd.adapters.inbox.schema.prepare.__defaults__", (steps,))
    for _ in range(2):
        with keep(url) as inbox:
            assert len(list(inbox.in_state(State))) == len(MANY) + 1
    assert set_aside_files(used) == []
    with closing(sqlite3.connect(used)) as database:
        assert database.execute("SELECT DISTINCT extra FROM file").fetchall() == [(None,)]


def test_a_second_daemon_is_refused_by_the_server(postgres):
    """Of two daemons on one inbox in PostgreSQL, on whatever hosts, the second is told who the first is."""
    url = postgres.new_database()
    with keep(url, "pfs-ingestd process 1 on first"):
        with (
            pytest.raises(Fatal, match="pfs-ingestd process 1 on first is at work already") as caught,
            keep(url, "pfs-ingestd process 2 on second"),
        ):
            pass
        assert caught.value.code is Code.ALREADY_RUNNING
        with closing(open_inbox(url)) as command, closing(open_inbox(url, read_only=True)) as reader:
            command.add([PLAIN])
            assert reader.find([PLAIN.path]) == by_path(PLAIN)
    with keep(url, "pfs-ingestd process 2 on second") as inbox:
        assert inbox.find([PLAIN.path]) == by_path(PLAIN)


def test_two_inboxes_in_one_database_have_a_daemon_each(postgres):
    """A schema of its own makes an inbox of its own."""
    url = postgres.new_database()
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=True) as connection:
        connection.execute(text("CREATE SCHEMA other"))
    engine.dispose()
    with keep(url) as inbox, keep(f"{url}&options=-csearch_path=other") as other:
        inbox.add([PLAIN])
        assert other.find([PLAIN.path]) == {}


def test_a_daemon_claims_its_inbox_again_after_the_server_was_away(own_postgres):
    """The claim ends with the connection and is made again with the next one, unless another was faster."""
    url = own_postgres.new_database()
    with keep(url, "first") as first:
        own_postgres.stop()
        own_postgres.start()
        with pytest.raises(Outage):
            first.counts()
        assert first.counts() == dict.fromkeys(State, 0)
        with pytest.raises(Fatal, match="first is at work already"), keep(url, "second"):
            pass
        own_postgres.stop()
        own_postgres.start()
        with keep(url, "second"):
            with pytest.raises(Outage):
                first.counts()
            with pytest.raises(Fatal, match="second is at work already") as caught:
                first.counts()
    assert caught.value.code is Code.ALREADY_RUNNING


def test_a_connection_that_the_server_still_believes_in_is_waited_for(postgres):
    """A daemon that was cut off is not taken for another one: its claim comes free within a minute."""
    url = postgres.new_database()
    with keep(url, "n" * 100):
        with pytest.raises(Outage, match="has not noticed yet") as caught, keep(url, "n" * 100):
            pass
        assert caught.value.code is Code.STATE_UNREACHABLE


def test_damage_on_a_server_is_for_its_administrator(postgres):
    """Tables that are missing in PostgreSQL are named, and nothing is made anew."""
    url = postgres.new_database()
    open_inbox(url).close()
    engine = open_engine(url, read_only=False)
    with transaction(engine, writing=True) as connection:
        connection.execute(text("DROP TABLE tally"))
    engine.dispose()
    with pytest.raises(Fatal, match="its table tally has no") as caught, keep(url):
        pass
    assert (caught.value.code, "restore it" in caught.value.hint) == (Code.STATE_UNUSABLE, True)


def test_an_inbox_is_not_for_everyone_to_write_to(database, url):
    """Whatever the umask, only owner and group may write to what the inbox consists of."""
    before = os.umask(0)
    try:
        with keep(url) as inbox:
            inbox.add([PLAIN])
            modes = [path.stat().st_mode & 0o002 for path in database.parent.iterdir()]
    finally:
        os.umask(before)
    assert modes == [0, 0, 0]


def test_no_password_is_told_by_the_keeper(tmp_path):
    """Neither the error nor the log of a server that does not answer holds its password."""
    with (
        capture_logs() as events,
        pytest.raises(IngestdError) as caught,
        keep(f"postgresql://user:secret@/database?host={tmp_path}"),
    ):
        pass
    assert ("secret" in str(caught.value), events) == (False, [])
