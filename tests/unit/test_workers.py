"""What a worker does, and leaves to the daemon that watches."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from structlog.testing import capture_logs

from fakes import (
    Content,
    FakeClock,
    FakeCopier,
    FakeFolder,
    FakeHeaders,
    FakeInbox,
    FakeRepository,
    raw_header,
    raw_path,
)
from pfs_ingestd.adapters.folder import Presence
from pfs_ingestd.cli import main
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import Code, Fatal, Outage
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.intake import Intake, Share
from pfs_ingestd.journal import Journal
from pfs_ingestd.parts import worker_config
from pfs_ingestd.policy import noticed
from pfs_ingestd.ports import Rescue
from pfs_ingestd.records import State
from pfs_ingestd.status import WorkerState
from pfs_ingestd.worker import NoCompletions, NoScanner
from rig import PATIENCE

MINUTE = timedelta(minutes=1)
WORKER = Share(watches=False, rescue_every=MINUTE)


class SharedFake(FakeInbox):
    """An inbox of which others are told to have died, and that notes what is let go of."""

    def __init__(self):
        super().__init__()
        self.dead = Rescue([], 0)
        self.kept = []

    def rescue(self, now):
        super().rescue(now)
        return self.dead

    def release(self, keep=frozenset()):
        self.kept.append(set(keep))


class Bench:
    """An intake on fakes, and a file that the watching daemon has found."""

    def __init__(self, share=WORKER, require=None):
        self.clock = FakeClock()
        self.folder = FakeFolder(self.clock)
        self.inbox = SharedFake()
        journal = Journal(self.inbox)
        headers, repository = FakeHeaders(self.folder), FakeRepository(self.folder)
        ingester = Ingester(self.folder, headers, repository, self.clock, PATIENCE, defers=not share.watches)
        more = {"require": require} if require else {}
        self.intake = Intake(
            inbox=self.inbox,
            journal=journal,
            ingester=ingester,
            repository=repository,
            copier=FakeCopier(self.folder, repository),
            clock=self.clock,
            patience=PATIENCE,
            batch_files=10,
            batch_bytes=10**9,
            probe_interval=timedelta(seconds=5),
            share=share,
            **more,
        )
        self.path = raw_path()
        self.folder.write(self.path, Content(answer=raw_header()))
        seen = noticed(
            None, self.folder.look(self.path), closed=True, patience=PATIENCE, now=self.clock.now()
        )
        self.inbox.add([seen.ready(self.clock.now())])

    @property
    def record(self):
        return self.inbox.find([self.path])[self.path]


def test_a_worker_ingests_what_is_ready():
    """It takes what the daemon has found into the repository, and sleeps until the next beat then."""
    bench = Bench()
    assert (bench.intake.work({}), bench.record.state) == (True, State.INGESTED)
    assert (bench.intake.work({}), bench.intake.next_due()) == (False, None)


def test_a_worker_that_does_not_see_a_file_leaves_it_to_be_looked_at():
    """A file that is not there may only not be seen from this host: it is not called gone, nor charged."""
    bench = Bench()
    bench.folder.delete(bench.path)
    bench.intake.work({})
    assert (bench.record.state, bench.record.attempts, bench.record.error) == (State.SEEN, 0, None)


def test_the_daemon_that_watches_calls_the_same_file_gone():
    """Whoever looks after the folders knows that a file is not there."""
    bench = Bench(Share(rescue_every=MINUTE))
    bench.folder.delete(bench.path)
    bench.intake.work({})
    assert bench.record.state is State.GONE


def test_who_only_watches_takes_nothing():
    """With workers for it, the daemon leaves ready files alone, and does not wait for them either."""
    bench = Bench(Share(ingests=False, rescue_every=MINUTE))
    assert (bench.intake.work({}), bench.record.state) == (False, State.READY)
    assert bench.intake.next_due() is None


def test_a_missing_mount_is_an_outage_of_this_worker():
    """Where the files cannot be it gives back what it has reserved, and asks again until they can."""
    there = []

    def require(_paths):
        if not there:
            raise Outage(Code.ROOT_UNREACHABLE, "there is nothing in it on this host")

    bench = Bench(require=require)
    assert (bench.intake.work({}), bench.record.state, bench.record.attempts) == (False, State.READY, 0)
    assert (bench.intake.outage.error.code, bench.inbox.kept[-1]) == (Code.ROOT_UNREACHABLE, set())
    bench.clock.advance(timedelta(seconds=6))
    assert not bench.intake.reachable()
    there.append(True)
    bench.clock.advance(timedelta(seconds=6))
    assert bench.intake.reachable()
    bench.intake.work({})
    assert bench.record.state is State.INGESTED


def test_a_pause_lets_go_of_what_is_held():
    """While nothing is to be claimed, nothing is kept from others, either."""
    bench = Bench()
    bench.intake.claiming = False
    assert (bench.intake.work({}), bench.inbox.kept, bench.record.state) == (False, [set()], State.READY)


def test_the_dead_are_looked_for_now_and_then():
    """Each that is found is told of, and how many files were put back; not more often than agreed."""
    bench = Bench()
    now = bench.clock.now()
    dead = WorkerState(id=1, name="2", host="n", pid=7, started=now, heartbeat=now, visits=0, files=30)
    bench.inbox.dead = Rescue([dead], 12)
    with capture_logs() as logs:
        bench.intake.work({})
        bench.clock.advance(MINUTE / 2)
        bench.intake.work({})
    told = [each for each in logs if each["log_level"] == "warning"]
    assert told == [
        {
            "event": "worker.lost",
            "log_level": "warning",
            "worker": "2",
            "host": "n",
            "pid": 7,
            "files": 30,
        },
        {"event": "files.recovered", "log_level": "warning", "count": 12},
    ]


def test_a_worker_scans_nothing():
    """Its scans end at once, so that the loop goes on, and no file is read for them."""
    scanner = NoScanner(FakeClock())
    scanner.begin()
    assert scanner.scanning
    scanner.advance(100)
    assert (scanner.scanning, scanner.last_scan.folders, scanner.settle(10)) == (False, 0, {})


def test_a_worker_tells_of_no_complete_visit():
    """The daemon that watches does, by the inbox; what the worker remembers of them does not grow."""
    journal = Journal(FakeInbox())
    journal.visits.add(7)
    NoCompletions(journal).tell()
    assert journal.visits == set()


def test_a_root_is_here_if_there_is_something_in_it(tmp_path):
    """An empty or absent root of files is missed, until it is back; other roots do not matter."""
    here, empty, absent = (tmp_path / name for name in ("here", "empty", "absent"))
    (here / "night").mkdir(parents=True)
    empty.mkdir()
    presence = Presence([here, empty, absent])
    presence.check([here / "night" / "a.fits"])
    with pytest.raises(Outage, match="empty: there is nothing in it on this host") as caught:
        presence.check([empty / "b.fits"])
    assert caught.value.code is Code.ROOT_UNREACHABLE
    with pytest.raises(Outage, match="absent: No such file or directory"):
        presence.check([absent / "c.fits"])
    with pytest.raises(Outage, match=r"absent: .*empty: "):
        presence.check()
    absent.mkdir()
    for root in (empty, absent):
        (root / "night").mkdir()
    presence.check()


def test_a_worker_needs_a_server_for_the_inbox(tmp_path):
    """With an SQLite file it is refused as a mistake in the configuration, with what to do."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"repository": "repo", "watch": {"raw": "data"}}))
    with pytest.raises(Fatal, match="a worker needs an inbox in PostgreSQL") as caught:
        worker_config(load_config(file, {}), "1")
    assert (caught.value.code, "state.database" in caught.value.hint) == (Code.CONFIGURATION, True)
    ran = CliRunner().invoke(main, ["run", "--watch-only", "-c", str(file)])
    assert (ran.exit_code, "ingest.here: leaves ingestion to workers" in ran.output) == (78, True)


def test_a_worker_has_files_of_its_own(tmp_path):
    """Status, metrics, log and lock are beside those of the daemon, and it puts up no board."""
    file = tmp_path / "config.yaml"
    content = {
        "repository": "repo",
        "watch": {"raw": "/data"},
        "state": {"database": "postgresql://h/d"},
        "status": {"file": "s.json", "metrics": "m.prom", "board": "b.html"},
        "log": {"file": "l.json"},
    }
    file.write_text(yaml.safe_dump(content))
    config = worker_config(load_config(file, {}), "a")
    paths = (
        config.status.file,
        config.status.metrics,
        config.status.board,
        config.log.file,
        config.lock_file,
    )
    names = ("s.worker-a.json", "m.worker-a.prom", None, "l.worker-a.json", "s.worker-a.json.lock")
    assert paths == tuple(name and tmp_path / name for name in names)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 40])
def test_a_name_that_is_no_name_is_wrong_usage(name, tmp_path):
    """A worker's name becomes part of the names of files."""
    ran = CliRunner().invoke(main, ["worker", "-c", str(Path(tmp_path, "c")), "--name", name])
    assert ran.exit_code == 2
