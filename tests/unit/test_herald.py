"""Whom the daemon tells of what, and that nobody who is told can hold it up."""

import json
from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from fakes import Content, FakeCourier, config_header, config_path, raw_header, raw_path
from pfs_ingestd.errors import Code, ExitCode, Interrupted, Outage, Rejected
from pfs_ingestd.notices import Topic
from pfs_ingestd.ports import Hint
from pfs_ingestd.records import State
from rig import Impatient, Rig

SCHEMA = json.loads(files("pfs_ingestd").joinpath("notification.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
BAD = Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing"))
SECOND = timedelta(seconds=1)
INTERVAL = timedelta(minutes=5)


class Station(Rig):
    """A rig with somebody who is told."""

    def __init__(self, *hooks, topics=frozenset(Topic)):
        self._hooks = hooks or ("command",)
        self._wanted = topics
        super().__init__()
        self.tick()

    def _build(self):
        self.couriers = [FakeCourier(hook) for hook in self._hooks]
        self.topics = self._wanted
        return super()._build()

    @property
    def courier(self):
        return self.couriers[0]

    def reject(self, *visits):
        for visit in visits:
            self.folder.write(raw_path(visit), BAD)
        self.tick(*(Hint(raw_path(visit), closed=True) for visit in visits))

    def sent(self):
        """Tell what was sent, all of which has to follow the schema."""
        for message in self.courier.sent:
            VALIDATOR.validate(message)
        return [(message["kind"], message["count"]) for message in self.courier.sent]


@pytest.fixture
def station():
    return Station()


def test_a_visit_a_rejection_and_an_outage_are_told_at_once(station):
    """Each with the facts that the log has."""
    header = replace(raw_header(), night=date(2026, 11, 22))
    station.folder.write(raw_path(), Content(answer=header))
    station.folder.write(config_path(), Content(answer=replace(config_header(), cameras=frozenset({"b1"}))))
    station.tick(Hint(raw_path(), closed=True), Hint(config_path(), closed=True))
    station.reject(1007)
    station.repository.outage = Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="look")
    station.folder.write(raw_path(1008), Content(answer=raw_header(1008)))
    station.tick(Hint(raw_path(1008), closed=True), after=SECOND)
    assert station.sent() == [("visits", 1), ("rejections", 1), ("outages", 1)]
    visit, rejection, outage = (message["last"] for message in station.courier.sent)
    assert {key: visit[key] for key in ("event", "visit", "night", "files")} == {
        "event": "visit.completed",
        "visit": 1000,
        "night": "2026-11-22",
        "files": 2,
    }
    assert {key: rejection[key] for key in ("path", "visit", "camera", "code", "reason")} == {
        "path": str(raw_path(1007)),
        "visit": 1007,
        "camera": "b1",
        "code": "missing_card",
        "reason": "W_VISIT is missing",
    }
    assert (outage["event"], outage["code"], outage["reason"], outage["ongoing"]) == (
        "outage.began",
        "repository_unreachable",
        "no answer (look)",
        ["repository_unreachable"],
    )
    station.repository.outage = None
    station.tick(after=INTERVAL)
    assert (station.courier.sent[-1]["last"]["event"], station.courier.sent[-1]["last"]["ongoing"]) == (
        "outage.ended",
        [],
    )


def test_only_what_is_wanted_is_told():
    """`notify.kinds` chooses."""
    station = Station(topics={Topic.OUTAGES})
    station.reject(1000)
    station.tick(after=INTERVAL)
    assert station.sent() == []


def test_a_burst_is_two_notifications_and_nothing_is_left_out(station):
    """The first file at once, the others with their number at the end of the interval."""
    station.reject(1000)
    for visit in range(1001, 1061):
        station.reject(visit)
        station.tick(after=SECOND)
    station.tick(after=INTERVAL)
    station.tick(after=INTERVAL)
    assert station.sent() == [("rejections", 1), ("rejections", 60)]


def test_a_file_that_stays_rejected_is_told_once(station):
    """One that is tried anew and is still bad is told again."""
    station.reject(1000)
    station.tick(after=INTERVAL)
    assert station.sent() == [("rejections", 1)]
    old = station.record(raw_path())
    station.inbox.replace([(old, old.retried(station.clock.now()))])
    station.settle()
    assert station.sent() == [("rejections", 1), ("rejections", 1)]


def test_an_inbox_that_is_away_is_an_outage_that_is_told(station, monkeypatch):
    """Whoever is told does not depend on the inbox."""

    def away(*_args, **_options):
        raise Outage(Code.STATE_UNREACHABLE, "no answer")

    monkeypatch.setattr(station.inbox, "edition", away)
    station.daemon._guarded_tick(())  # noqa: SLF001 (as the loop does)
    assert station.courier.sent[-1]["last"]["code"] == "state_unreachable"


def test_a_receiver_that_never_answers_holds_up_neither_files_nor_others():
    """Ingestion goes on at its pace, the other receiver is told, and nothing piles up."""
    station = Station("command", "webhook")
    hanging, well = station.couriers
    hanging.held = True
    for visit in range(1000, 1100):
        station.reject(visit)
        station.folder.write(raw_path(visit, arm="r"), Content(answer=raw_header(visit, arm="r")))
        station.tick(Hint(raw_path(visit, arm="r"), closed=True), after=4 * SECOND)
    counts = station.inbox.counts()
    assert (counts[State.INGESTED], counts[State.REJECTED]) == (100, 100)
    assert len(hanging.sent) == 1
    assert sum(message["count"] for message in well.sent) == 75
    station.tick(after=10 * SECOND)
    hooks = station.status.written[-1]["hooks"]
    assert (hooks["command"]["waiting"], hooks["webhook"]["waiting"]) == (100, 25)


def test_a_failure_is_logged_once_counted_shown_and_made_up_for(station):
    """Status and metrics say that nobody can be told, and why; when it goes again, all is told."""
    station.courier.error = "it answered 500"
    with capture_logs() as logs:
        station.reject(1000)
        for _ in range(10):
            station.tick(after=INTERVAL)
        station.reject(1001)
        station.tick(after=10 * SECOND)
        hook = station.status.written[-1]["hooks"]["command"]
        station.courier.error = ""
        station.tick(after=INTERVAL)
        station.tick(after=SECOND)
    assert hook | {"failures": 0} == {
        "to": "fake command",
        "failures": 0,
        "reason": "it answered 500",
        "waiting": 2,
        "last_delivered": None,
    }
    told = [
        entry
        for entry in logs
        if entry["event"].startswith("notification.") and entry["log_level"] != "debug"
    ]
    failures = hook["failures"]
    assert failures >= 10
    assert told == [
        {
            "event": "notification.failed",
            "log_level": "warning",
            "error": "it answered 500",
            "hook": "command",
            "to": "fake command",
            "kind": "rejections",
        },
        {
            "event": "notification.resumed",
            "log_level": "info",
            "failures": told[1]["failures"],
            "hook": "command",
            "to": "fake command",
            "kind": "rejections",
        },
    ]
    assert station.sent()[-1] == ("rejections", 2)
    station.tick(after=10 * SECOND)
    assert station.status.written[-1]["hooks"]["command"]["last_delivered"] is not None
    figures = station.daemon._journal.figures.notifications  # noqa: SLF001 (metrics show them)
    assert figures == {("command", "failed"): told[1]["failures"], ("command", "delivered"): 1}


def test_a_failure_is_shown_at_once(station):
    """The status does not wait for its turn when those who are told cannot be reached any more."""
    station.courier.error = "it answered 500"
    station.reject(1000)
    station.tick(after=SECOND / 10)
    assert station.status.written[-1]["hooks"]["command"]["failures"] == 1


class Ending(Impatient, Station):
    """A rig whose daemon runs to its end."""

    def __init__(self, *hooks):
        Station.__init__(self, *hooks)


def run(station):
    """Let a daemon go on to its end; tell what it ended with, and what of its notices it gave up."""
    with capture_logs() as logs:
        code = station.daemon.run(once=True)
    return code, [entry["counts"] for entry in logs if entry["event"] == "notification.lost"]


def test_what_waits_for_its_turn_goes_out_at_a_stop():
    """Nobody waits for the next start to hear of the last files of this one."""
    station = Ending()
    station.reject(1000, 1001)
    station.reject(1002)
    assert run(station) == (ExitCode.SOME_REJECTED, [])
    assert [count for _, count in station.sent()] == [2, 1]
    assert station.courier.cancelled


def test_a_receiver_that_hangs_at_a_stop_is_given_up():
    """The daemon ends, and says how many notices nobody got."""
    station = Ending()
    station.courier.held = True
    station.reject(1000)
    assert run(station) == (ExitCode.SOME_REJECTED, [{"rejections": 1}])
    assert station.courier.cancelled
    assert station.status.written[-1]["state"] == "stopped"


def test_a_receiver_that_fails_at_a_stop_is_not_tried_again_and_again():
    """One attempt more, and that is told."""
    station = Ending()
    station.courier.error = "it answered 500"
    station.reject(1000)
    assert run(station) == (ExitCode.SOME_REJECTED, [{"rejections": 1}])
    assert len(station.courier.sent) == 2


def test_impatience_at_a_stop_ends_the_waiting(monkeypatch):
    """The alarm that ends a batch may ring while the last notifications go out: the daemon ends in order."""
    station = Ending()
    station.courier.held = True
    station.reject(1000)

    def ring(seconds=0.0):
        if seconds:
            raise Interrupted

    monkeypatch.setattr(station.courier, "result", ring)
    assert run(station) == (ExitCode.SOME_REJECTED, [{"rejections": 1}])
    assert station.status.written[-1]["state"] == "stopped"
