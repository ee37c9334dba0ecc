"""The night board: what is expected of a visit, what is said of a night, and when it is written."""

import json
import random
import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakes import FakeClock, FakeInbox
from nights import ALL, NIGHT, NOW, record, visit
from pfs_ingestd.adapters.board_file import BoardFile
from pfs_ingestd.board.markup import Html, html
from pfs_ingestd.board.night import MOST_VISITS, Concern, Slot, night_of
from pfs_ingestd.board.page import page
from pfs_ingestd.board.slots import LETTERS, MEANINGS, SLOTS
from pfs_ingestd.board.style import STYLE
from pfs_ingestd.board.visits import CONFIG, MISSING_AFTER, Mark, Verdict, visits_of
from pfs_ingestd.control import Control
from pfs_ingestd.errors import Code, Fatal, Outage, TryLater
from pfs_ingestd.journal import Journal
from pfs_ingestd.noticeboard import LONGEST, SHORTEST, Noticeboard, read_night
from pfs_ingestd.records import State


def only(records, now=NOW, **how):
    (found,) = visits_of(records, now, **how)
    return found


def marks(found):
    return {name: cell.mark for name, cell in found.cells.items()}


def test_a_visit_with_all_that_its_pfs_config_names_is_complete():
    """All expected cameras and the pfsConfig are in the repository: nothing else is needed."""
    found = only(visit(7))
    assert (found.verdict, found.expected, marks(found)) == (
        Verdict.COMPLETE,
        ALL,
        dict.fromkeys([*ALL, CONFIG], Mark.INGESTED),
    )


@pytest.mark.parametrize(
    ("age", "mark", "verdict"),
    [
        (MISSING_AFTER - timedelta(seconds=1), Mark.EXPECTED, Verdict.UNDER_WAY),
        (MISSING_AFTER, Mark.MISSING, Verdict.INCOMPLETE),
    ],
)
def test_what_does_not_come_is_expected_and_then_missing(age, mark, verdict):
    """A camera that the pfsConfig names is waited for as long as it may take, and then missed."""
    came = NOW - age
    records = [replace(each, steady_since=came) for each in visit(7, ALL - {"n4"})]
    found = only(records)
    assert (found.cells["n4"].mark, found.verdict) == (mark, verdict)


def test_of_an_old_visit_nothing_is_missing():
    """Where no pfsConfig names the cameras, all one can say is that what came is stored."""
    found = only(visit(7, {"b1", "r1"}, cameras=None), NOW + MISSING_AFTER)
    assert (found.verdict, found.expected, marks(found)) == (
        Verdict.STORED,
        None,
        dict.fromkeys(["b1", "r1", CONFIG], Mark.INGESTED),
    )


def test_a_pfs_config_that_does_not_come_is_missed():
    """Each visit has a pfsConfig, unless their folder is not watched."""
    raws = [record(7, "b1")]
    late = NOW + MISSING_AFTER
    assert only(raws, late).cells[CONFIG].mark is Mark.MISSING
    assert only(raws, late, configs_expected=False).verdict is Verdict.STORED


@pytest.mark.parametrize("state", [State.READY, State.WAITING, State.ORPHANED])
def test_a_pfs_config_without_raws_misses_nothing(state):
    """A convergence has a pfsConfig and never any raw: no camera is missed for it."""
    found = only([record(7, None, state=state)], NOW + MISSING_AFTER)
    assert (found.verdict, set(found.cells)) == (Verdict.NO_EXPOSURE, {CONFIG})


@pytest.mark.parametrize(
    ("state", "mark", "verdict"),
    [
        (State.SEEN, Mark.PENDING, Verdict.UNDER_WAY),
        (State.READY, Mark.PENDING, Verdict.UNDER_WAY),
        (State.INGESTING, Mark.PENDING, Verdict.UNDER_WAY),
        (State.WAITING, Mark.WAITING, Verdict.UNDER_WAY),
        (State.INGESTED, Mark.INGESTED, Verdict.COMPLETE),
        (State.ORPHANED, Mark.ORPHANED, Verdict.INCOMPLETE),
        (State.REJECTED, Mark.REJECTED, Verdict.INCOMPLETE),
        (State.SKIPPED, Mark.SKIPPED, Verdict.INCOMPLETE),
        (State.GONE, Mark.GONE, Verdict.INCOMPLETE),
    ],
)
def test_every_state_has_its_mark(state, mark, verdict):
    """One file of a visit decides how the visit stands, when all others are stored."""
    found = only(visit(7, state=state))
    assert (found.cells[CONFIG].mark, found.verdict) == (mark, verdict)


def test_the_file_that_got_furthest_stands_for_its_camera():
    """A second file of a camera that is stored takes nothing away, and is told of."""
    bad = record(7, "b1", path=Path("/data/other.fits"), state=State.REJECTED, code="conflict", error="why")
    night = night_of(NIGHT, [bad, *visit(7)], NOW)
    assert (night.visits[0].verdict, night.concerns) == (
        Verdict.COMPLETE,
        [Concern(7, "b1", Mark.REJECTED, "conflict", "why", "/data/other.fits")],
    )


def test_a_camera_that_does_not_exist_is_told_of():
    """A raw whose name speaks of no camera has no cell, but it is not forgotten."""
    odd = record(7, "b1", arm=None, spectrograph=None, state=State.REJECTED, code="unnameable", error="why")
    night = night_of(NIGHT, [odd], NOW)
    assert [(concern.name, concern.code) for concern in night.concerns] == [("", "unnameable")]


def test_the_night_of_a_visit_is_that_of_its_raws():
    """Neither its pfsConfig nor a raw that was never read puts a visit into another night."""
    records = visit(7, night=date(2026, 11, 20))
    records[0] = replace(records[0], night=date(2026, 11, 23))
    assert [len(night_of(date(2026, 11, day), records, NOW).visits) for day in (20, 22, 23)] == [0, 1, 0]
    assert len(night_of(date(2026, 11, 20), records[-1:], NOW).visits) == 1


@pytest.mark.parametrize(
    ("records", "complete", "words"),
    [
        ([], None, "has no exposure so far."),
        (visit(7) + visit(8), True, "is complete: all 26 files of 2 visits are in the repository."),
        (visit(7, {"b1"}, cameras=None), None, "all that came is in the repository, 2 files of 1 visit;"),
        (visit(7) + visit(8, state=State.READY), False, "is under way: 1 of 2 visits stored, 25 files."),
        (
            visit(7) + visit(8, state=State.REJECTED),
            False,
            "is not complete: something is wrong with 1 of 2 visits (1 rejected).",
        ),
        (
            [*visit(7), record(8, None, state=State.ORPHANED)],
            True,
            "; 1 pfsConfig without raws, as after a convergence.",
        ),
    ],
)
def test_a_sentence_says_whether_the_night_is_complete(records, complete, words):
    """The first thing to read is the answer to the question that everybody asks."""
    night = night_of(NIGHT, records, NOW)
    assert night.complete is complete
    assert words in night.sentence
    assert night.sentence.startswith("The night of 2026-11-22")


def test_a_night_that_is_too_long_is_said_to_be_cut():
    """Of visits that were left out nothing is claimed."""
    records = [record(number, None) for number in range(MOST_VISITS + 1)]
    records += [record(number, "b1") for number in range(MOST_VISITS + 1)]
    records = [replace(each, cameras=each.cameras and frozenset({"b1"})) for each in records]
    night = night_of(NIGHT, records, NOW)
    assert (len(night.visits), night.visits[0].number, night.cut, night.complete) == (
        MOST_VISITS,
        1,
        True,
        None,
    )
    assert "its newest 2000 visits" in night.sentence


def test_pace_counts_what_was_ingested_when():
    """Slots follow one another without a gap; the latency is that of raws that came under our eyes."""
    later = timedelta(minutes=25)
    records = [
        record(7, "b1"),
        record(7, "r1", updated=NOW - timedelta(minutes=5) + timedelta(seconds=1.5)),
        record(7, "n1", live=False),
        record(8, "b1", steady_since=NOW, updated=NOW + later),
        record(8, "r1", state=State.READY),
    ]
    night = night_of(NIGHT, records, NOW + later)
    ten = timedelta(minutes=10)
    assert night.slots == [
        Slot(NOW - ten, ten, 3, 1.0),
        Slot(NOW, ten, 0, None),
        Slot(NOW + ten, ten, 0, None),
        Slot(NOW + 2 * ten, ten, 1, later.total_seconds()),
    ]


def test_a_backlog_of_days_has_not_more_slots():
    """However long it took, the plot of it is as wide as any."""
    records = [record(7, "b1"), record(8, "b1", updated=NOW + timedelta(days=40))]
    assert len(night_of(NIGHT, records, NOW).slots) <= 144


def test_the_board_is_a_value_for_machines():
    """As JSON it says what was expected, how each cell stands, and what is wrong."""
    records = visit(7, {"b1"}, cameras=frozenset({"b1", "r1"}))
    told = json.loads(json.dumps(night_of(NIGHT, records, NOW + MISSING_AFTER).as_json()))
    assert told["visits"] == [
        {
            "visit": 7,
            "verdict": "incomplete",
            "expected": ["b1", "r1"],
            "cells": {"b1": "ingested", "r1": "missing", "pfsConfig": "ingested"},
        }
    ]
    assert {key: told[key] for key in ("version", "night", "complete", "cut")} == {
        "version": 1,
        "night": "2026-11-22",
        "complete": False,
        "cut": False,
    }
    assert [concern["name"] for concern in told["concerns"]] == ["r1"]


def test_every_mark_has_a_letter_of_its_own():
    """No two marks look the same without colours, and each camera has one place in a row."""
    assert (set(LETTERS), set(MEANINGS), len(set(LETTERS.values()))) == (set(Mark), set(Mark), len(Mark))
    places = [name for _, names in SLOTS for name in names]
    assert sorted(places) == sorted([CONFIG, *(f"{arm}{s}" for arm in "brnm" for s in (1, 2, 3, 4))])


class Tree(HTMLParser):
    """What a page consists of: its tags, its attributes and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.values += attrs

    def handle_data(self, data):
        self.text += data


HOSTILE = "</td><script>alert(1)</script>\"' onmouseover='x' &amp; \n\x00\x1b[31m\udcff é"


def test_no_value_becomes_markup():
    """Whatever a path or an error holds, it is shown, and neither ends a tag nor begins one."""
    bad = record(7, "b1", state=State.REJECTED, code="bad_card", error=HOSTILE, path=Path(f"/data/{HOSTILE}"))
    text = page(night_of(NIGHT, [*visit(7, ALL - {"b1"}), bad], NOW))
    tree = Tree(text)
    assert "script" not in tree.tags
    assert not [name for name, _ in tree.values if name.startswith("on")]
    shown = "</td><script>alert(1)</script>\"' onmouseover='x' &amp; \\n\\x00\\x1b[31m\\udcff é"
    assert shown in tree.text
    assert ("title", f"rejected: {shown}") in tree.values
    text.encode()


def test_only_markup_is_taken_for_markup():
    """A text is escaped wherever it is filled in, and what was made so is not escaped twice."""
    assert (
        html('<a title="{}">{}</a>', '"<', html("<b>{}</b>", "&")) == '<a title="&quot;&lt;"><b>&amp;</b></a>'
    )
    assert isinstance(html("{}", Html("<br>")), Html)


def test_a_page_needs_nothing_from_anywhere():
    """It holds no address, no script, and forbids the browser to load anything."""
    tree = Tree(page(night_of(NIGHT, visit(7), NOW)))
    assert tree.tags.isdisjoint({"script", "link", "img", "iframe", "form", "a"})
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in tree.values
    assert not [value for name, value in tree.values if name in {"src", "href"}]


def busy_night(state_of):
    """Make the records of the busiest day that there was."""
    error = HOSTILE * 20
    return [
        replace(each, state=state, code="bad_card", error=error if state is State.REJECTED else None)
        for number in range(1176)
        for each in visit(100_000 + number)
        for state in [state_of()]
    ]


@pytest.mark.parametrize(
    "states", [[State.INGESTED], [State.READY], [State.REJECTED], list(State)], ids=lambda states: states[-1]
)
def test_the_busiest_day_is_a_small_page(states):
    """The board of 1,176 visits stays below 200 kB, whatever became of them."""
    chance = random.Random(1)  # noqa: S311 (the same mixture each time)
    text = page(night_of(NIGHT, busy_night(lambda: chance.choice(states)), NOW))
    assert len(text.encode()) < 200_000
    complete = len(states) == 1 and states[0] is not State.REJECTED
    assert ("left out" in text) is not complete


def luminance(colour):
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_letter_can_be_read(scheme):
    """In both schemes each text has the contrast of 4.5 that WCAG 2 asks for."""
    rules = STYLE.split("@media(prefers-color-scheme:dark)")[scheme]
    colours = dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", rules))
    pairs = [(name, colours[f"{name}-ink"]) for name in colours if f"{name}-ink" in colours]
    pairs += [("ground", colours["ink"]), ("ground", colours["soft"]), ("ground", colours["accent"])]
    assert len(pairs) == 12
    for ground, ink in pairs:
        dark, light = sorted((luminance(colours[ground]), luminance(ink)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, ground


class Sink:
    """Takes pages, or refuses them."""

    def __init__(self):
        self.pages = []
        self.error = None

    def write(self, text):
        if self.error:
            raise self.error
        self.pages.append(text)


class Desk:
    """A noticeboard with all that it needs."""

    def __init__(self):
        self.clock = FakeClock(NOW)
        self.inbox = FakeInbox()
        self.journal = Journal(self.inbox)
        self.control = Control(self.inbox, self.clock)
        self.sink = Sink()
        self.configs_expected = True
        self.board = Noticeboard(
            inbox=self.inbox,
            journal=self.journal,
            control=self.control,
            sink=self.sink,
            clock=self.clock,
            configs_expected=lambda: self.configs_expected,
        )

    def renew(self, after=timedelta(0), **how):
        self.clock.advance(after)
        self.board.renew(**how)
        return len(self.sink.pages)


@pytest.fixture
def desk():
    return Desk()


def test_the_board_expects_what_the_configuration_says_that_is_in_force(desk):
    """A reload by which pfsConfigs are not watched for any more shows on the next board."""
    desk.journal.enter([record(7, "b1")])
    assert desk.renew(MISSING_AFTER) == 1
    desk.configs_expected = False
    assert desk.renew(SHORTEST) == 2
    assert ["1 missing" in page for page in desk.sink.pages] == [True, False]


def test_the_board_is_written_when_something_changed(desk):
    """At once in the beginning, then only after a change, and not too often."""
    assert desk.renew() == 1
    assert desk.renew(SHORTEST) == 1
    desk.journal.enter(visit(7))
    assert desk.renew(timedelta(0)) == 2
    desk.journal.enter(visit(8))
    assert desk.renew(SHORTEST - timedelta(seconds=1)) == 2
    assert desk.renew(timedelta(seconds=1)) == 3
    assert "2 visits" in desk.sink.pages[-1]


def test_the_time_of_the_board_tells_that_somebody_is_at_work(desk):
    """Without any change it is written every few minutes, and once more at the end."""
    desk.renew()
    assert desk.renew(LONGEST - timedelta(seconds=1)) == 1
    assert desk.renew(timedelta(seconds=1)) == 2
    assert desk.renew(last=True) == 3


def test_a_clock_that_is_set_back_does_not_stop_the_board(desk):
    """An hour that comes twice is not waited for."""
    desk.renew()
    assert desk.renew(-timedelta(hours=1)) == 2


def test_a_board_that_takes_long_is_written_less_often(desk):
    """Writing the board takes a fiftieth of the time at most."""
    write = desk.sink.write
    desk.sink.write = lambda text: (write(text), desk.clock.advance(timedelta(seconds=2)))
    desk.renew()
    desk.journal.enter(visit(7))
    assert desk.renew(timedelta(seconds=97)) == 1
    assert desk.renew(timedelta(seconds=1)) == 2


@pytest.mark.parametrize(
    "error", [TryLater(Code.STORE_FAILED, "no room"), Outage(Code.STATE_UNREACHABLE, "no inbox")]
)
def test_a_board_that_cannot_be_written_is_told_of_once(desk, error):
    """Ingestion goes on, and the log says once why nobody sees the board."""
    desk.sink.error = error
    with capture_logs() as logs:
        for _ in range(3):
            desk.renew(LONGEST)
    assert [(entry["event"], entry["code"]) for entry in logs] == [("board.unwritable", error.code)]
    desk.sink.error = None
    assert desk.renew(LONGEST) == 1


def test_an_unusable_inbox_ends_the_daemon_but_not_its_end(desk):
    """Damage that the board comes upon is damage; when the daemon ends anyway it is only told."""
    desk.sink.error = Fatal(Code.STATE_UNUSABLE, "damaged")
    with pytest.raises(Fatal):
        desk.renew()
    with capture_logs() as logs:
        desk.renew(last=True)
    assert [entry["event"] for entry in logs] == ["board.unwritable"]


def test_the_newest_night_is_one_that_has_visits():
    """Neither a torso with the date of today nor a file from the future hides the last night."""
    inbox = FakeInbox()
    inbox.add([replace(each, night=date(2026, 11, 21)) for each in visit(7)])
    today, future = (
        record(7, "m1", night=date(2026, 11, 22)),
        record(9, "b1", night=date(2099, 1, 1)),
    )
    inbox.add([today, future])
    assert read_night(inbox, None, NOW, configs_expected=True).date == date(2026, 11, 21)
    assert read_night(FakeInbox(), None, NOW, configs_expected=True).date == NIGHT
    assert read_night(inbox, date(2026, 1, 1), NOW, configs_expected=True).date == date(2026, 1, 1)


def test_a_board_is_replaced_as_a_whole(tmp_path):
    """A reader finds the old page or the new one, and a disk that refuses is told of."""
    file = tmp_path / "board.html"
    BoardFile(file).write("old")
    BoardFile(file).write("new é")
    assert (file.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == ("new é", [file])
    with pytest.raises(TryLater, match="cannot be written"):
        BoardFile(tmp_path / "nowhere" / "board.html").write("x")
