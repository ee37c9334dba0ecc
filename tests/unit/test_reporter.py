"""What the daemon tells, and when."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from fakes import ROOT, Content, raw_header, raw_path
from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.ports import Hint
from pfs_ingestd.records import State
from rig import Impatient, Rig

B1 = raw_path()
RAW_B1 = Content(answer=raw_header())
SECOND = timedelta(seconds=1)


def fail(*_):
    raise TryLater(Code.STORE_FAILED, "no room")


@pytest.fixture
def station() -> Rig:
    station = Rig()
    station.tick()
    return station


def test_an_idle_night_is_quiet(station):
    """In hours without a file nothing is logged above debug, and nothing is written but the heartbeat."""
    station.folder.write(B1, RAW_B1)
    station.tick(Hint(B1, closed=True))
    written = len(station.status.written)
    with capture_logs() as logs:
        for _ in range(4 * 360):
            station.tick(after=10 * SECOND)
    assert [line for line in logs if line["log_level"] != "debug"] == []
    assert len(station.status.written) - written == 4 * 360


def test_an_outage_that_lasts_is_told_once(station):
    """A night without a repository is two lines: when it went, and when it came back."""
    station.repository.outage = Outage(Code.REPOSITORY_UNREACHABLE, "no answer")
    station.folder.write(B1, RAW_B1)
    with capture_logs() as logs:
        station.tick(Hint(B1, closed=True))
        for _ in range(1000):
            station.tick(after=10 * SECOND)
        station.repository.outage = None
        station.tick(after=10 * SECOND)
    told = [line["event"] for line in logs if line["log_level"] != "debug"]
    assert told == ["file.returned", "outage.began", "outage.ended", "file.ingested"]


def test_a_daemon_that_starts_is_seen_before_it_has_done_anything():
    """The status of a start that takes long says `starting`, not how the last process ended."""
    station = Impatient()
    station.daemon.run(once=True)
    states = [written["state"] for written in station.status.written]
    assert (states[0], states[-2:]) == ("starting", ["stopping", "stopped"])


def test_numbers_alone_are_told_once_a_second_and_a_change_of_state_at_once(station):
    """A burst of files does not make a burst of writing; an outage does not wait for its turn."""
    station.tick(after=10 * SECOND)
    written = len(station.status.written)
    for visit in range(1000, 1020):
        station.folder.write(raw_path(visit), Content(answer=raw_header(visit)))
        station.tick(Hint(raw_path(visit), closed=True), after=SECOND / 10)
    assert len(station.status.written) - written == 2
    station.repository.outage = Outage(Code.REPOSITORY_UNREACHABLE, "no answer")
    station.folder.write(raw_path(1020), Content(answer=raw_header(1020)))
    station.tick(Hint(raw_path(1020), closed=True))
    assert station.status.written[-1]["state"] == "degraded"


def test_the_work_of_a_day_survives_a_restart(station):
    """Files and bytes of day and hour come from the inbox, and are not counted twice by who ingested them."""
    for visit in range(1000, 1005):
        station.folder.write(raw_path(visit), Content(answer=raw_header(visit)))
        station.tick(Hint(raw_path(visit), closed=True), after=SECOND)
    station.clock.advance(timedelta(hours=2))
    station.restart()
    station.folder.write(raw_path(1005), Content(answer=raw_header(1005)))
    station.tick()
    station.tick(Hint(raw_path(1005), closed=True))
    station.tick(after=10 * SECOND)
    told = station.status.written[-1]["throughput"]
    assert (told["today"], told["last_hour"]) == (
        {"files": 6, "bytes": 6000},
        {"files": 1, "bytes": 1000},
    )


def test_an_inbox_that_answers_late_makes_no_file_count_twice(station, monkeypatch):
    """What was ingested before the inbox could tell of the day is counted once."""
    station.restart()
    station.folder.write(B1, RAW_B1)
    with monkeypatch.context() as away:
        away.setattr(station.inbox, "ingested", fail)
        station.tick(Hint(B1, closed=True), after=SECOND)
    station.tick(after=10 * SECOND)
    assert station.status.written[-1]["throughput"]["today"] == {"files": 1, "bytes": 1000}


def test_a_root_that_cannot_be_read_keeps_the_time_of_its_last_scan(station):
    """One sees since when nothing has been looked for in a folder."""
    first = station.status.written[-1]["last_scan"]["at"]
    station.folder.unreadable.add(ROOT)
    station.tick(after=station.pace.rescan)
    station.tick(after=SECOND)
    told = station.status.written[-1]
    assert [watcher["last_scan"] for watcher in told["watchers"]] == [first]
    assert told["last_scan"]["at"] > first


def test_metrics_are_written_with_the_status(station):
    """Both say the same, at the same pace."""
    station.tick(after=10 * SECOND)
    assert [each.as_json() for each in station.metrics.written] == station.status.written


@pytest.mark.parametrize(
    ("sink", "event"), [("status", "status.unwritable"), ("metrics", "metrics.unwritable")]
)
def test_what_cannot_be_written_is_told_once_and_stops_nothing(station, sink, event):
    """A full disk where the status lies keeps no file from being ingested, and no log from being read."""
    write = getattr(station, sink).write
    getattr(station, sink).write = fail
    with capture_logs() as logs:
        for _ in range(5):
            station.tick(after=10 * SECOND)
        station.folder.write(B1, RAW_B1)
        station.tick(Hint(B1, closed=True), after=10 * SECOND)
        getattr(station, sink).write = write
        station.tick(after=10 * SECOND)
        getattr(station, sink).write = fail
        station.tick(after=10 * SECOND)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [event, event]
    assert station.record(B1).state is State.INGESTED
