"""Visits that have become complete are told of, once."""

from dataclasses import replace
from datetime import date

import pytest
from structlog.testing import capture_logs

from fakes import BEGIN, Content, config_header, config_path, raw_header, raw_path
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.records import State
from rig import Crash, Rig

CONFIG = replace(config_header(), cameras=frozenset({"b1", "r1"}))
NIGHT = date(2026, 11, 22)


@pytest.fixture
def rig():
    return Rig()


def write(rig, *arms, config=CONFIG):
    """Write raws of some arms, and the pfsConfig if there is one."""
    for arm in arms:
        header = replace(raw_header(arm=arm), night=NIGHT)
        rig.folder.write(raw_path(arm=arm), Content(answer=header))
    if config:
        rig.folder.write(config_path(), Content(answer=config))


def told(rig):
    """Let all be ingested; give what was said of complete visits."""
    with capture_logs() as logs:
        rig.settle()
    return [entry for entry in logs if entry["event"] == "visit.completed"]


def test_a_visit_is_told_of_when_its_last_file_is_stored(rig):
    """Not before the last camera that the pfsConfig names is in, and then with the facts."""
    write(rig, "b")
    assert told(rig) == []
    arrived = rig.clock.now()
    write(rig, "r", config=None)
    (entry,) = told(rig)
    assert arrived > BEGIN
    assert {key: entry[key] for key in ("visit", "night", "files", "log_level")} == {
        "visit": 1000,
        "night": "2026-11-22",
        "files": 3,
        "log_level": "info",
    }
    assert entry["seconds"] > (arrived - BEGIN).total_seconds()
    assert rig.daemon._journal.figures.visits == 1  # noqa: SLF001 (nobody else tells)


def test_a_visit_is_not_told_of_twice(rig):
    """Neither a restart nor a file that is ingested once more completes a visit again."""
    write(rig, "b", "r")
    assert len(told(rig)) == 1
    rig.restart()
    assert told(rig) == []
    old = rig.record(raw_path())
    rig.inbox.replace([(old, old.retried(rig.clock.now()))])
    assert told(rig) == []
    assert rig.record(raw_path()).state is State.INGESTED


@pytest.mark.parametrize("config", [config_header(), None], ids=["old", "none"])
def test_of_what_is_expected_nothing_is_guessed(rig, config):
    """A visit of which nobody knows what cameras it had is not called complete."""
    write(rig, "b", "r", config=config)
    assert told(rig) == []


def test_a_death_in_between_loses_nothing(rig):
    """What became complete in the instant in which the process died is told of by the next one."""
    write(rig, "b", "r")
    complete = rig.inbox.complete

    def die(_visits, _now):
        raise Crash

    rig.inbox.complete = die
    with pytest.raises(Crash):
        rig.settle()
    rig.inbox.complete = complete
    assert {record.state for record in rig.records()} == {State.INGESTED}
    rig.restart()
    assert len(told(rig)) == 1


def test_an_inbox_that_is_away_is_asked_again(rig):
    """Nothing is forgotten because the inbox did not answer just then."""
    write(rig, "b", "r")
    whole_visits, failures = rig.inbox.whole_visits, [1, 2]

    def fail(visits):
        if failures and failures.pop():
            raise Outage(Code.STATE_UNREACHABLE, "the server is gone")
        return whole_visits(visits)

    rig.inbox.whole_visits = fail
    for _ in range(2):
        with pytest.raises(Outage):
            rig.settle()
    assert len(told(rig)) == 1


def test_a_quiet_daemon_asks_nothing(rig):
    """A visit is looked at when one of its files is ingested, and not again in each turn of the loop."""
    write(rig, "b", "r")
    rig.settle()
    asked = []
    rig.inbox.whole_visits = lambda visits: asked.append(visits) or []
    for _ in range(3):
        rig.tick()
    assert asked == []
