"""What makes one notification, and when its turn is."""

import json
from datetime import timedelta
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fakes import BEGIN
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.notices import (
    FEW,
    LONGEST_PAUSE,
    Digest,
    Notice,
    Notices,
    Outages,
    Outbox,
    Sender,
    Topic,
    notification,
    trial,
)

SCHEMA = json.loads(files("pfs_ingestd").joinpath("notification.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
SENDER = Sender("summit", "/data/butler")
INTERVAL = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


def notice(number, text="bad"):
    which = {"path": f"/d/{number}", "kind": "raw", "visit": number, "camera": "b1"}
    facts = which | {"code": "x", "reason": text}
    return Notice("file.rejected", BEGIN + number * SECOND, f"{number}: {text}", facts)


def digest(*numbers):
    first, *more = (Digest.of(notice(number)) for number in numbers)
    for each in more:
        first = first.plus(each)
    return first


def told(topic, content, now=BEGIN):
    message = notification(topic, content, SENDER, now)
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(json.dumps(message)))] == []
    return message


@given(st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_however_notices_are_put_together_none_goes_uncounted(sizes):
    """The count is of all, the first are the first, the last is the last, in whatever portions they come."""
    numbers = iter(range(sum(sizes)))
    whole, *more = (digest(*(next(numbers) for _ in range(size))) for size in sizes)
    for part in more:
        whole = whole.plus(part)
    everything = [notice(number) for number in range(sum(sizes))]
    assert (whole.count, list(whole.first), whole.last) == (sum(sizes), everything[:FEW], everything[-1])


def test_what_happened_is_handed_over_once():
    """Whoever takes note of the notices has them; nobody else gets them again."""
    notices = Notices()
    for number in range(3):
        notices.add(Topic.REJECTIONS, notice(number))
    assert (notices.take(), notices.take()) == ({Topic.REJECTIONS: digest(0, 1, 2)}, {})


def test_the_first_goes_at_once_and_a_burst_together_at_the_end_of_the_interval():
    """One at the beginning, one that says how many more there were, and never two within the interval."""
    outbox = Outbox(INTERVAL)
    sent = []
    for second in range(900):
        if second < 400:
            outbox.add(Topic.REJECTIONS, digest(second))
        if taken := outbox.take(BEGIN + second * SECOND):
            sent.append((second, taken[1].count))
            outbox.delivered()
    assert sent == [(0, 1), (300, 300), (600, 99)]
    assert outbox.waiting == {}


def test_topics_do_not_wait_for_each_other():
    """An outage is told at once, though a rejection was told a moment ago."""
    outbox = Outbox(INTERVAL)
    outbox.add(Topic.REJECTIONS, digest(0))
    outbox.add(Topic.OUTAGES, digest(1))
    topics = []
    while taken := outbox.take(BEGIN):
        topics.append(taken[0])
        outbox.delivered()
    assert topics == [Topic.REJECTIONS, Topic.OUTAGES]


def test_one_notification_is_under_way_at_a_time():
    """Before it is known what became of the one before, nothing is sent."""
    outbox = Outbox(INTERVAL)
    outbox.add(Topic.REJECTIONS, digest(0))
    outbox.add(Topic.OUTAGES, digest(1))
    assert outbox.take(BEGIN)
    assert outbox.take(BEGIN + 10 * INTERVAL, hurry=True) is None
    assert outbox.waiting == {Topic.REJECTIONS: 1, Topic.OUTAGES: 1}


def test_what_was_not_delivered_goes_with_what_follows():
    """Nothing is lost by a failure: the next attempt has it all, in order."""
    outbox = Outbox(INTERVAL)
    outbox.add(Topic.VISITS, digest(0, 1))
    outbox.take(BEGIN)
    outbox.add(Topic.VISITS, digest(2))
    outbox.failed()
    assert (outbox.failures, outbox.waiting) == (1, {Topic.VISITS: 3})
    assert outbox.take(BEGIN + INTERVAL) == (Topic.VISITS, digest(0, 1, 2))
    outbox.delivered()
    assert (outbox.failures, outbox.waiting) == (0, {})


def test_a_receiver_that_takes_nothing_is_tried_less_and_less_often():
    """With a short interval the pauses double, up to five minutes."""
    outbox = Outbox(SECOND)
    attempts = []
    for second in range(2000):
        outbox.add(Topic.OUTAGES, digest(second))
        if outbox.take(BEGIN + second * SECOND):
            attempts.append(second)
            outbox.failed()
    pauses = [after - before for before, after in pairwise(attempts)]
    assert pauses[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert set(pauses[8:]) == {LONGEST_PAUSE.total_seconds()}
    assert outbox.waiting[Topic.OUTAGES] == 2000


def test_a_clock_that_was_set_back_ends_a_pause():
    """Nobody waits for a time that was an error."""
    outbox = Outbox(INTERVAL)
    outbox.add(Topic.VISITS, digest(0))
    outbox.take(BEGIN)
    outbox.delivered()
    outbox.add(Topic.VISITS, digest(1))
    assert outbox.take(BEGIN - timedelta(days=1))


def test_at_the_end_nothing_waits_for_its_turn():
    """A daemon that stops sends what there is."""
    outbox = Outbox(INTERVAL)
    outbox.add(Topic.VISITS, digest(0))
    outbox.take(BEGIN)
    outbox.delivered()
    outbox.add(Topic.VISITS, digest(1))
    assert outbox.take(BEGIN) is None
    assert outbox.take(BEGIN, hurry=True) == (Topic.VISITS, digest(1))


def test_outages_are_told_when_they_begin_and_when_they_end():
    """Each by its code, with what else does not work; what lasts is not told again."""
    outages = Outages()
    full = Outage(Code.DISK_FULL, "no room")
    away = Outage(Code.ROOT_UNREACHABLE, "/d is away", hint="mount it")
    steps = [(), (full,), (full,), (full, away, away), (away,), ()]
    told = [
        (number, each.event, *(each.facts[key] for key in ("code", "reason", "seconds", "ongoing")))
        for number, troubles in enumerate(steps)
        for each in outages.changed(troubles, BEGIN + number * SECOND)
    ]
    both = ["disk_full", "root_unreachable"]
    assert told == [
        (1, "outage.began", "disk_full", "no room", None, ["disk_full"]),
        (3, "outage.began", "root_unreachable", "/d is away (mount it)", None, both),
        (4, "outage.ended", "disk_full", None, 3.0, ["root_unreachable"]),
        (5, "outage.ended", "root_unreachable", None, 2.0, []),
    ]


def test_a_notification_says_how_many_shows_the_first_and_the_last():
    """The words hold what the keys hold."""
    message = told(Topic.REJECTIONS, digest(*range(14)))
    assert (message["count"], len(message["events"]), message["left_out"]) == (14, FEW, 4)
    lines = message["text"].splitlines()
    assert lines[0] == "pfs-ingestd on summit: 14 files were rejected"
    assert (lines[1], lines[-1]) == ("- 0: bad", "- and 4 more, the last: 13: bad")
    assert message["last"]["visit"] == 13


def test_a_notification_of_outages_says_how_things_stand_now():
    """A server that came and went thirty times is one message, whose head says what holds in the end."""
    outages, notices = Outages(), Notices()
    for number in range(61):
        troubles = (Outage(Code.DISK_FULL, "no room"),) if number % 2 else ()
        for each in outages.changed(troubles, BEGIN + number * SECOND):
            notices.add(Topic.OUTAGES, each)
    message = told(Topic.OUTAGES, notices.take()[Topic.OUTAGES])
    assert message["text"].splitlines()[0] == "pfs-ingestd on summit: no outage any more"
    assert (message["count"], message["last"]["ongoing"]) == (60, [])


@pytest.mark.parametrize("letter", ["x", "星", "\x00", "\udcff", "\n"])
def test_a_notification_is_bounded_and_one_that_json_can_hold(letter):
    """Whatever files are called and however long reasons are."""
    bad = Digest.of(notice(0, letter * 10**5))
    for _ in range(20):
        bad = bad.plus(Digest.of(notice(1, letter * 10**5)))
    message = told(Topic.REJECTIONS, bad)
    assert len(json.dumps(message)) < 130_000
    assert len(message["text"].splitlines()) == 1 + FEW + 1


def test_a_notification_holds_no_password():
    """What a library says of a URL may have one in it."""
    text = "cannot connect to postgresql://ingest:sesame@db/inbox?password=sesame"
    outage = Outages().changed([Outage(Code.STATE_UNREACHABLE, text)], BEGIN)[0]
    assert "sesame" not in json.dumps(told(Topic.OUTAGES, Digest.of(outage)))


def test_a_trial_is_a_notification_of_nothing():
    """It follows the schema, too."""
    message = json.loads(json.dumps(trial(SENDER, BEGIN)))
    VALIDATOR.validate(message)
    assert (message["kind"], message["count"]) == ("test", 0)
