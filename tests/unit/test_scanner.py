"""The scanner on fakes: scans in slices, and backlogs that the repository holds already."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain, repeat

import pytest
from structlog.testing import capture_logs

from fakes import (
    BEGIN,
    Content,
    FakeClock,
    FakeFolder,
    FakeHeaders,
    FakeInbox,
    FakeRepository,
    config_header,
    config_path,
    raw_header,
    raw_path,
)
from pfs_ingestd.errors import Code, Outage, Rejected, TryLater
from pfs_ingestd.journal import Journal
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import Dataset, Hint
from pfs_ingestd.records import Kind, State
from pfs_ingestd.scanner import BACKLOG, SLICE, Scanner
from rig import PATIENCE

LONG_AGO = BEGIN - timedelta(days=9)
NIGHT = raw_path().parent
AWAY = Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="see that it runs")


class Bench:
    """A scanner with all that it needs, and a daemon's inbox to look into."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.folder = FakeFolder(self.clock)
        self.headers = FakeHeaders(self.folder)
        self.repository = FakeRepository(self.folder)
        self.inbox = FakeInbox()
        self.journal = Journal(self.inbox)
        self.scanner = Scanner(
            folder=self.folder,
            headers=self.headers,
            inbox=self.inbox,
            journal=self.journal,
            repository=self.repository,
            clock=self.clock,
            patience=PATIENCE,
        )

    def put(self, paths, **content):
        """Write files that have been there for days."""
        for path in paths:
            self.folder.write(path, Content(answer=header_of(path), **content), mtime=LONG_AGO)

    def store(self, paths):
        """Have somebody else give files to the repository."""
        for path in paths:
            header = header_of(path)
            exposure = self.headers.exposure(raw_header(header.visit))
            self.repository.ingest([exposure], [Dataset(path, header)])

    def scan(self, files=1000):
        """Scan all; tell in how many slices."""
        self.scanner.begin()
        slices = 0
        while self.scanner.scanning:
            self.scanner.advance(files)
            slices += 1
        return slices

    def states(self):
        return {record.path: record.state for record in self.inbox.in_state(set(State))}

    def slowly(self, port, name, seconds):
        """Let each call of a port, or each thing that it yields, take some of a series of times."""
        method = getattr(port, name)
        times = iter(seconds)

        def call(*args):
            result = method(*args)
            if not isinstance(result, Iterator):
                self.clock.advance(timedelta(seconds=next(times)))
                return result
            return (self.clock.advance(timedelta(seconds=next(times))) or each for each in result)

        setattr(port, name, call)


@pytest.fixture
def bench():
    return Bench()


def header_of(path):
    name = parse(path.name)
    return raw_header(name.visit) if name.kind is Kind.RAW else config_header(name.visit)


def raws(number, first=1000, **where):
    """Name raws of one camera."""
    return [raw_path(visit, **where) for visit in range(first, first + number)]


def test_what_a_header_says_is_on_the_record(bench):
    """Once a file has been read, its record knows its night, or the cameras of its visit."""
    night, cameras = date(2026, 11, 13), frozenset({"b1", "n4"})
    raw, config = replace(raw_header(), night=night), replace(config_header(), cameras=cameras)
    for path, header in ((raw_path(), raw), (config_path(), config)):
        bench.folder.write(path, Content(answer=header), mtime=LONG_AGO)
    bench.scan()
    assert {record.night for record in bench.inbox.in_state(set(State))} == {LONG_AGO.date()}
    bench.scanner.settle(10)
    known = bench.inbox.find([raw_path(), config_path()])
    assert (known[raw_path()].night, known[raw_path()].cameras) == (night, None)
    assert (known[config_path()].night, known[config_path()].cameras) == (LONG_AGO.date(), cameras)


def test_a_backlog_that_the_repository_holds_is_not_read(bench):
    """Files that are artifacts already become ingested by one question, with a line of log each."""
    paths, config = raws(BACKLOG), config_path(1000)
    bench.put([*paths, config])
    bench.store([*paths, config])

    with capture_logs() as logs:
        bench.scan()

    records = bench.inbox.find([*paths, config])
    expected = dict.fromkeys((*paths, config), (State.INGESTED, Code.ALREADY_THERE, False))
    found = {path: (record.state, record.code, record.live) for path, record in records.items()}
    assert found == expected
    assert bench.headers.read_paths == []
    assert {log["event"] for log in logs} == {"file.ingested"}
    assert {log["path"]: log["dataset_id"] for log in logs} == {
        str(path): record.dataset_id for path, record in records.items()
    }


def test_a_backlog_that_the_repository_lacks_goes_the_usual_way(bench):
    """What the repository says nothing of has to be read."""
    paths = raws(BACKLOG + 1)
    bench.put(paths)
    bench.scan()
    assert (list(map(sorted, bench.repository.asked)), bench.states()) == (
        [paths],
        dict.fromkeys(paths, State.SEEN),
    )


def test_another_file_of_a_stored_name_goes_the_usual_way(bench):
    """The question finds only the very file that was stored: any other has to be compared."""
    paths = raws(BACKLOG + 1)
    bench.put(paths)
    bench.store(paths)
    bench.folder.delete(paths[7])
    bench.put([paths[7]], version="other")
    bench.scan()
    assert bench.states() == dict.fromkeys(paths, State.INGESTED) | {paths[7]: State.SEEN}


def test_a_file_that_comes_back_may_be_stored(bench):
    """A file that was gone when the repository got it from somebody else needs not be read, either."""
    paths = raws(BACKLOG + 1)
    bench.put(paths)
    bench.scan()
    tree = dict(bench.folder.files)
    for path in paths:
        bench.folder.delete(path)
    bench.scan()
    assert set(bench.states().values()) == {State.GONE}
    bench.folder.files = tree
    bench.store(paths)
    bench.folder.make_folder(NIGHT / "touched")
    bench.scan()
    assert bench.states() == dict.fromkeys(paths, State.INGESTED)


def test_a_few_visits_are_not_asked_for(bench):
    """What polls find of a night under way goes in without another question to the repository."""
    for visit in (1000, 2000, 3000):
        bench.put(raws(BACKLOG, visit))
        bench.scan()
    assert (bench.repository.asked, len(bench.states())) == ([], 3 * BACKLOG)


def test_hints_are_not_asked_for(bench):
    """A burst that the watcher tells of is entered without a question, however large it is."""
    paths = raws(2 * BACKLOG)
    bench.put(paths)
    bench.scanner.hinted([Hint(path, closed=True) for path in paths])
    assert (bench.repository.asked, len(bench.states())) == ([], 2 * BACKLOG)


@pytest.mark.parametrize(
    "error",
    [AWAY, TryLater(Code.BUSY, "another process is writing"), Rejected(Code.BAD_CARD, "no such visit")],
    ids=lambda error: type(error).__name__,
)
def test_a_repository_that_does_not_answer_is_asked_once_in_a_scan(bench, error):
    """The backlog then goes the usual way, and the log says so."""
    bench.put(raws(3 * BACKLOG))
    asked = []

    def fail(sightings):
        asked.append(len(sightings))
        raise error

    bench.repository.stored = fail
    with capture_logs() as logs:
        bench.scan(files=BACKLOG)

    assert (asked, set(bench.states().values())) == ([BACKLOG], {State.SEEN})
    assert [log for log in logs if log["event"] != "file.seen"] == [
        {"event": "scan.slowed", "log_level": "warning", "code": error.code, "error": str(error)}
    ]


def test_slow_looks_end_a_slice(bench):
    """Where each look takes long, a scan goes on for a tenth of a second at a time."""
    bench.put(raws(12))
    bench.slowly(bench.folder, "look", repeat(0.4 * SLICE.total_seconds()))
    assert (bench.scan(), len(bench.states())) == (5, 12)


def test_slow_folders_end_a_slice(bench):
    """So it does where nothing changed, and each folder takes long."""
    for night in range(10, 20):
        bench.put(raws(1, night, night=f"2026-11-{night}"))
    bench.scan()
    bench.clock.advance(timedelta(minutes=1))
    bench.scan()
    bench.slowly(bench.folder, "scan", repeat(0.4 * SLICE.total_seconds()))
    assert bench.scan() == (1 + 10 + 10) // 3 + 1


def test_a_clock_that_is_set_back_ends_a_slice(bench):
    """What a slice may take is never the time by which a clock was set back."""
    bench.put(raws(4))
    bench.slowly(bench.folder, "look", chain([0, -3600], repeat(0)))
    assert (bench.scan(), len(bench.states())) == (2, 4)


def test_a_folder_of_any_size_comes_in_portions(bench):
    """A slice takes so many files, even of one folder, which is remembered once all of them are entered."""
    bench.put(raws(25))
    bench.scanner.begin()
    entered = []
    while bench.scanner.scanning:
        bench.scanner.advance(10)
        entered.append((len(bench.states()), NIGHT in bench.inbox.marks()))
    assert entered == [(10, False), (20, False), (25, True)]


def test_a_file_that_comes_during_a_scan_is_found_by_the_next(bench):
    """A folder is marked as it was when it was listed, not when the last of its files was looked at."""
    bench.put(raws(15))
    bench.scanner.begin()
    bench.scanner.advance(10)
    bench.clock.advance(timedelta(seconds=3))
    bench.put(raws(1, 2000))
    bench.scanner.advance(10)
    bench.scan()
    assert len(bench.states()) == 16


def test_a_file_that_could_not_be_looked_at_keeps_its_folder_unmarked(bench):
    """If one look in an earlier slice had no answer, the folder is listed again."""
    bench.put(raws(15))
    look, failures = bench.folder.look, [TryLater(Code.UNREADABLE, "no answer")]

    def fail_once(path):
        if failures:
            raise failures.pop()
        return look(path)

    bench.folder.look = fail_once
    bench.scan(files=10)
    assert (len(bench.states()), NIGHT in bench.inbox.marks()) == (14, False)
    bench.scan()
    assert (len(bench.states()), NIGHT in bench.inbox.marks()) == (15, True)


def test_a_slice_that_cannot_be_written_down_ends_the_scan(bench):
    """If the inbox fails in the middle of a folder, the next scan begins with all of it."""
    bench.put(raws(15))
    add = bench.inbox.add

    def fail(_records):
        raise Outage(Code.STATE_UNREACHABLE, "the server is gone")

    bench.inbox.add = fail
    bench.scanner.begin()
    with pytest.raises(Outage):
        bench.scanner.advance(10)
    assert not bench.scanner.scanning
    bench.inbox.add = add
    bench.scan(files=10)
    assert len(bench.states()) == 15


def test_a_file_that_somebody_enters_meanwhile_keeps_that_record(bench):
    """A command that makes a record of a file which a scan has just met keeps the others from nothing."""
    paths = raws(3)
    bench.put(paths)
    names = bench.inbox.names

    def then_enter(folder):
        known = names(folder)
        if folder == NIGHT:
            bench.scanner.hinted([Hint(paths[1], closed=True)])
            seen = bench.inbox.find([paths[1]])[paths[1]]
            bench.journal.move([(seen, seen.skipped(BEGIN))])
        return known

    bench.inbox.names = then_enter
    bench.scan()
    assert bench.states() == dict.fromkeys(paths, State.SEEN) | {paths[1]: State.SKIPPED}


def test_an_inbox_that_fails_is_not_taken_for_a_root(bench):
    """Only what the folders say obstructs a scan."""
    bench.put(raws(1))

    def fail(_folder):
        raise Outage(Code.STATE_UNREACHABLE, "the server is gone")

    bench.inbox.names = fail
    with pytest.raises(Outage, match="server"):
        bench.scan()
    assert not bench.scanner.obstructed


def test_folders_are_read_from_the_inbox_once(bench):
    """A scan does not load thousands of folders that only this process writes; after a recovery it does."""
    loads = []
    marks = bench.inbox.marks
    bench.inbox.marks = lambda: (loads.append(1), marks())[1]
    for _ in range(3):
        bench.scan()
    assert len(loads) == 1
    bench.journal.recover(bench.clock.now())
    bench.scan()
    assert len(loads) == 2


def test_a_folder_that_is_away_is_forgotten(bench):
    """What a scan does not come to is listed when it is back, even by the next process."""
    bench.put(raws(1))
    bench.scan()
    assert NIGHT in bench.inbox.marks()
    bench.folder.delete(NIGHT)
    bench.scan()
    assert (NIGHT in bench.inbox.marks(), NIGHT in bench.journal.marks()) == (False, False)


def test_rounds_pass_an_archive_over(bench):
    """Half a million files that were just found in the repository are not gone through every ten seconds."""
    asked = []
    in_state = bench.inbox.in_state
    bench.inbox.in_state = lambda states, **how: (
        asked.append((states, how["live"])),
        in_state(states, **how),
    )[1]
    bench.clock.advance(timedelta(hours=2))
    bench.scanner.recheck(100)
    assert asked == [
        ({State.REJECTED, State.SKIPPED}, False),
        ({State.INGESTED}, True),
        ({State.INGESTED}, True),
    ]
