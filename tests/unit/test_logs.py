"""The log: one renderer for everything, and lines that nothing can break."""

import io
import json
import logging
import os
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from in_process import logging_restored
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.logs.folding import Folding, on_timer
from pfs_ingestd.logs.rendering import json_line
from pfs_ingestd.records import State


@pytest.fixture(autouse=True)
def restored():
    """Leave logging as the other tests expect it."""
    with logging_restored():
        yield


class Bursts:
    """The timers of the folding, which a test lets run out."""

    def __init__(self):
        self.calls = []

    def later(self, seconds, call):
        assert 0 < seconds <= 60
        self.calls.append(call)

    def end(self):
        for call in self.calls:
            call()


@pytest.fixture
def folding(monkeypatch):
    """Let bursts end when the test wants them to."""
    bursts = Bursts()
    monkeypatch.setattr(Folding.__init__, "__defaults__", (bursts.later,))
    return bursts


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self):
        return True


def configured(*, level="info", format="json", file=None, stream=None):  # noqa: A002 (the name of the setting)
    stream = stream or io.StringIO()
    configure_logs(level=level, format=format, file=file, stream=stream)
    return stream


def events(stream):
    """Read the log without the times, which are checked once."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{key: value for key, value in line.items() if key != "timestamp"} for line in lines]


def fail(message):
    raise ValueError(message)


def test_a_line_is_an_object_with_time_level_and_event_first():
    """A reader of the raw file finds when, how bad and what at the left."""
    stream = configured()
    structlog.get_logger().bind(visit=12).info("file.ingested", path=Path("/d/a.fits"))
    line = json.loads(stream.getvalue())
    assert list(line) == ["timestamp", "level", "event", "visit", "path"]
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
    assert events(stream) == [
        {"level": "info", "event": "file.ingested", "visit": 12, "path": "/d/a.fits"},
    ]


def test_values_become_what_json_can_hold():
    """Times, enumerations, numbers that are none, errors and collections are written for readers."""
    stream = configured()
    structlog.get_logger().info(
        "all.told",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        wait=timedelta(minutes=1),
        state=State.SEEN,
        code=Code.BUG,
        none=None,
        nan=float("nan"),
        error=ValueError("no"),
        bytes_=b"\xffx",
        id=UUID(int=1),
        many=({"b": Path("/x")}, frozenset({1})),
        other=object,
    )
    assert events(stream) == [
        {
            "level": "info",
            "event": "all.told",
            "at": "2026-01-02T00:00:00+00:00",
            "wait": 60.0,
            "state": "seen",
            "code": "bug",
            "none": None,
            "nan": "nan",
            "error": "no",
            "bytes_": "\\xffx",
            "id": "00000000-0000-0000-0000-000000000001",
            "many": [{"b": "/x"}, [1]],
            "other": "<class 'object'>",
        }
    ]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.binary(max_size=30), text=st.text(st.characters(), max_size=30))
def test_any_file_name_gives_one_line(name, text):
    """Newlines, quotes, control characters and bytes that are not UTF-8 break no line."""
    stream = configured()
    structlog.get_logger().info("file.seen", path=Path(os.fsdecode(name.replace(b"\0", b""))), text=text)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (line.isascii(), event["event"]) == (True, "file.seen")
    assert (
        f"{event['path']}{event['text']}".encode()
    )  # no half of a surrogate pair, which strict readers refuse


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    facts=st.dictionaries(
        st.sampled_from(["path", "error", "visit", "exc_info"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters() | st.sampled_from(":/@\\ud"), max_size=20)
        | st.sampled_from(["x://me:s3cret@db", "\udc80", "\\ud800", "x" * 10_001]),
    )
)
def test_what_is_written_without_a_closer_look_needed_none(facts):
    """A line is the same whether its values were few and simple enough to be written as they are or not."""
    event = {"timestamp": "now", "level": "info", "event": "all.told"} | facts
    # An Enum beside them makes a closer look necessary.
    told = json.loads(json_line(event | {"state": State.SEEN}))
    assert told.pop("state") == "seen"
    assert json.loads(json_line(event)) == told


def test_a_value_that_contains_itself_is_written():
    """A line is written whatever it is asked to hold."""
    stream = configured()
    endless = {}
    endless["again"] = endless
    structlog.get_logger().info("all.told", endless=endless)
    assert len(events(stream)) == 1


def test_a_huge_text_is_shortened():
    """A value of megabytes leaves its beginning and its end."""
    stream = configured()
    structlog.get_logger().info("all.told", text=f"begin{'x' * 10**6}end")
    (event,) = events(stream)
    assert (event["text"][:5], event["text"][-3:], len(event["text"]) < 11_000) == ("begin", "end", True)


def test_libraries_go_through_the_same_renderer():
    """What lsst, watchdog or sqlalchemy say with the standard library is an object with their name."""
    stream = configured()
    logging.getLogger("lsst.daf.butler").warning("cannot %s", "find it")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    assert events(stream) == [
        {"level": "warning", "event": "cannot find it", "logger": "lsst.daf.butler"},
    ]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["ours", "ours", "ours", "theirs", "theirs"]),
        ("info", ["ours", "ours", "theirs"]),
        ("warning", ["ours", "theirs"]),
        ("error", []),
    ],
)
def test_the_level_is_that_of_our_own_events(level, expected):
    """Libraries are heard from warnings on, whatever is asked of us, and from info on while debugging."""
    stream = configured(level=level)
    log, library = structlog.get_logger(), logging.getLogger("library")
    for name in ("debug", "info", "warning"):
        getattr(log, name)("ours")
    for name in ("debug", "info", "warning"):
        getattr(library, name)("theirs")
    assert [event["event"] for event in events(stream)] == expected


@pytest.mark.parametrize("form", ["json", "console"])
def test_passwords_are_left_out(form):
    """A URL's password is in no line: not in a value, not in a library's message, not in a traceback."""
    stream = configured(format=form)
    url = "postgresql://me:s3cret@db/x"
    try:
        fail(f"no answer from {url}")
    except ValueError:
        structlog.get_logger().exception("tick.failed", url=url)
        logging.getLogger("sqlalchemy").exception("cannot connect to %s", url)
    text = stream.getvalue()
    assert ("s3cret" in text, text.count("me:***@db"), "Traceback" in text) == (False, 4, True)


def test_a_traceback_is_one_value():
    """The lines of a traceback are within their object."""
    stream = configured()
    try:
        fail("no")
    except ValueError:
        structlog.get_logger().exception("tick.failed")
    (event,) = events(stream)
    assert event["exception"].splitlines()[-1] == "ValueError: no"


def test_a_terminal_gets_columns():
    """With format auto a person sees columns, in colour."""
    stream = configured(format="auto", stream=Terminal())
    structlog.get_logger().info("file.ingested", visit=12)
    assert "file.ingested" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_a_pipe_gets_json():
    """With format auto a program reads objects."""
    stream = configured(format="auto")
    structlog.get_logger().info("file.ingested", visit=12)
    assert events(stream) == [{"level": "info", "event": "file.ingested", "visit": 12}]


def test_a_file_name_cannot_steer_a_terminal():
    """Escape sequences and line ends in values are written as text."""
    stream = configured(format="console")
    structlog.get_logger().info("file.seen\x1b[2J", path="a\x1b]0;owned\x07\nb\u202e")
    (line,) = stream.getvalue().splitlines()
    assert "file.seen\\x1b[2J" in line
    assert "a\\x1b]0;owned\\x07\\nb\\x202e" in line


def test_a_rotated_file_is_opened_anew(tmp_path):
    """After logrotate renamed the file, the next line goes into a new one."""
    path = tmp_path / "log"
    stream = configured(file=path)
    structlog.get_logger().info("file.one")
    path.rename(tmp_path / "log.1")
    structlog.get_logger().info("file.two")
    written = [json.loads(file.read_text())["event"] for file in (tmp_path / "log.1", path)]
    assert (written, stream.getvalue()) == (["file.one", "file.two"], "")


def test_a_file_that_cannot_be_opened_is_a_configuration_error(tmp_path):
    """A log that could not be written is told before anything runs."""
    with pytest.raises(Fatal) as caught:
        configured(file=tmp_path / "none" / "log")
    assert caught.value.code is Code.CONFIGURATION


def test_configured_again_the_log_goes_to_the_new_place_only():
    """The second configuration replaces the first."""
    first = configured()
    second = configured()
    structlog.get_logger().info("file.seen")
    assert (first.getvalue(), len(events(second))) == ("", 1)


def test_python_warnings_are_events():
    """A warning of a library is a line in the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = configured()
        warnings.warn_explicit("odd", UserWarning, "lib.py", 7)
        logging.captureWarnings(capture=False)
    assert events(stream) == [
        {"level": "warning", "event": "lib.py:7: UserWarning: odd", "logger": "py.warnings"},
    ]


def test_a_burst_of_the_same_warning_is_folded(folding):
    """Three lines of a name and code pass, the others are counted, and the count is told when it is over."""
    stream = configured()
    log = structlog.get_logger()
    for number in range(10):
        log.warning("look.failed", code="busy", path=f"/d/{number}")
    log.warning("look.failed", code="unreadable", path="/d/x")
    assert [event.get("path") for event in events(stream)] == ["/d/0", "/d/1", "/d/2", "/d/x"]
    folding.end()
    assert events(stream)[4:] == [
        {"level": "warning", "event": "lines.folded", "of": "look.failed", "code": "busy", "count": 7}
    ]
    log.warning("look.failed", code="busy", path="/d/10")
    assert events(stream)[-1]["path"] == "/d/10"


def test_lines_that_are_spread_over_time_pass(folding, monkeypatch):
    """A warning that comes once in a while is told each time."""
    stream = configured()
    heard = logging.getLogger("lsst.resources")
    for minute in range(10):
        record = heard.makeRecord(heard.name, logging.WARNING, "", 0, "slow", (), None)
        monkeypatch.setattr(record, "created", 30.0 * minute)
        heard.handle(record)
    assert (len(events(stream)), folding.calls) == (10, [])


def test_what_becomes_of_files_is_never_folded(folding):
    """A thousand rejected files are a thousand lines, and so is what is only information."""
    stream = configured()
    log = structlog.get_logger()
    for number in range(1000):
        log.error("file.rejected", code="truncated", path=f"/d/{number}")
        log.info("visit.completed", visit=number)
    assert (len(events(stream)), folding.calls) == (2000, [])


def test_warnings_of_libraries_are_folded_by_their_place(folding):
    """What a library says again and again with other values is folded as well."""
    stream = configured()
    for number in range(10):
        logging.getLogger("lsst.resources").warning("no answer from %s", number)
        logging.getLogger("py.warnings").warning("%s", f"inotify.py:450: RuntimeWarning: Callback {number}\n")
    folding.end()
    told = [(event["event"], event.get("of"), event.get("count")) for event in events(stream)]
    assert told[-2:] == [
        ("lines.folded", "lsst.resources: no answer from %s", 7),
        ("lines.folded", "inotify.py:450: RuntimeWarning", 7),
    ]
    assert len(told) == 8


def test_what_is_held_back_is_told_before_the_log_goes_elsewhere(folding):
    """A count is not lost when the process ends or the log is configured anew."""
    stream = configured()
    for _ in range(5):
        structlog.get_logger().warning("notice.dropped")
    configured()
    assert (events(stream)[-1]["count"], len(folding.calls)) == (2, 1)


def test_a_timer_ends_a_burst():
    """The real timer calls, from a thread that keeps no process alive."""
    done = threading.Event()
    on_timer(0.0, done.set)
    assert done.wait(10)


def test_the_standard_streams_are_not_touched():
    """Only the given stream is written to."""
    before = (sys.stdout, sys.stderr)
    configured()
    assert (sys.stdout, sys.stderr) == before
