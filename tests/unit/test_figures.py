"""The figures: what is counted of what happens to files, and of the time that passes."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pfs_ingestd.errors import Code, Incomplete, Outage, Rejected, TryLater, Vanished
from pfs_ingestd.figures import SLOT, Amount, Figures, Histogram, memory
from pfs_ingestd.policy import Patience, failed
from pfs_ingestd.records import FileRecord, Kind, State

NOW = datetime(2026, 11, 22, 10, 0, 3, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SEEN = FileRecord(
    path=Path("/data/raw/PFSA00001211.fits"),
    kind=Kind.RAW,
    visit=12,
    arm="b",
    spectrograph=1,
    size=100,
    mtime_ns=1,
    inode=1,
    night=NOW.date(),
    steady_since=NOW - 2 * SECOND,
    first_seen=NOW - 2 * SECOND,
    updated=NOW - 2 * SECOND,
    live=True,
)
CLAIMED = SEEN.ready(NOW).claimed(NOW)
PATIENCE = Patience(
    settle=2 * SECOND,
    incomplete_after=timedelta(minutes=5),
    orphan_after=timedelta(hours=36),
    first_delay=SECOND,
    max_delay=timedelta(minutes=5),
    max_attempts=8,
)


def ingested(now=NOW, **changes):
    return replace(CLAIMED, **changes).ingested("c0ffee", already=False, now=now)


def test_each_end_of_an_attempt_is_counted_by_its_code():
    """Success, refusal and delay are attempts; what is put back, or is away with its folder, is none."""
    figures = Figures()
    for error in (
        Rejected(Code.CONFLICT, "other bytes"),
        TryLater(Code.BUSY, "locked"),
        TryLater(Code.BUSY, "locked"),
        Incomplete(Code.INCOMPLETE, "it grew"),
        Vanished(Code.VANISHED, "gone"),
        Outage(Code.ROOT_UNREACHABLE, "away"),
    ):
        figures.moved(CLAIMED, failed(CLAIMED, error, chance=0.0, patience=PATIENCE, now=NOW))
    figures.moved(CLAIMED, ingested())
    figures.moved(CLAIMED, CLAIMED.ingested("c0ffee", already=True, now=NOW))
    figures.moved(CLAIMED, CLAIMED.put_back(NOW))
    assert (dict(figures.attempts), dict(figures.rejections)) == (
        {"none": 1, "already_there": 1, "conflict": 1, "busy": 2, "incomplete": 1, "vanished": 1},
        {"conflict": 1},
    )


def test_a_file_that_is_refused_before_it_is_claimed_is_a_rejection_only():
    """What is wrong with a header shows before an attempt is made."""
    figures = Figures()
    figures.moved(SEEN, SEEN.rejected(Rejected(Code.BAD_CARD, "no"), NOW))
    assert (dict(figures.attempts), dict(figures.rejections)) == ({}, {"bad_card": 1})


def test_only_what_is_stored_counts_as_ingested():
    """A file that the repository had already, or that is flagged later, adds nothing."""
    figures = Figures()
    figures.moved(CLAIMED, ingested())
    figures.moved(CLAIMED, CLAIMED.ingested("c0ffee", already=True, now=NOW))
    figures.moved(None, SEEN.ingested("c0ffee", already=True, now=NOW))
    figures.moved(ingested(), ingested().flagged("size 1 -> 2", NOW))
    assert figures.ingested == {Kind.RAW: Amount(1, 100), Kind.PFS_CONFIG: Amount()}


def test_latency_is_that_of_raws_that_arrived_under_our_eyes():
    """Neither the age of a backlog nor a pfsConfig's wait for its raws is the daemon's latency."""
    figures = Figures()
    figures.moved(CLAIMED, ingested())
    figures.moved(CLAIMED, ingested(live=False))
    figures.moved(CLAIMED, ingested(kind=Kind.PFS_CONFIG))
    assert (figures.latency.total, figures.latency.cumulative()[-1]) == (2.0, (math.inf, 1))


def test_a_histogram_counts_what_does_not_exceed_a_bound():
    """A value on a bound belongs to it, as Prometheus wants it."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.add(value)
    assert (histogram.cumulative(), histogram.total) == ([(1.0, 2), (2.0, 3), (math.inf, 4)], 6.0)


def test_throughput_is_that_of_day_hour_and_minute():
    """Each span has what was ingested within it, to ten seconds."""
    figures = Figures()
    for age in (timedelta(0), timedelta(seconds=50), timedelta(minutes=59), timedelta(hours=9)):
        figures.moved(CLAIMED, ingested(now=NOW - age))
    figures.moved(CLAIMED, ingested(now=NOW - timedelta(hours=11)))
    throughput = figures.throughput(NOW)
    assert (throughput.today, throughput.last_hour) == (Amount(4, 400), Amount(3, 300))
    assert (throughput.files_per_second, throughput.bytes_per_second) == (2 / 63, 200 / 63)


def test_percentiles_are_of_the_last_hour():
    """Half of the files are not slower than the median, 99 of 100 not slower than the other figure."""
    figures = Figures()
    for seconds in range(1, 101):
        figures.moved(CLAIMED, ingested(steady_since=NOW - seconds * SECOND))
    told = figures.throughput(NOW)
    assert (told.latency_median, told.latency_p99) == (50.0, 99.0)
    later = figures.throughput(NOW + timedelta(hours=1))
    assert (later.latency_median, later.latency_p99) == (None, None)


def test_what_an_earlier_process_ingested_counts():
    """The numbers of the day survive a restart."""
    figures = Figures()
    figures.moved(CLAIMED, ingested())
    figures.remember({NOW.replace(second=0): Amount(5, 50), NOW.replace(hour=1): Amount(7, 70)})
    told = figures.throughput(NOW)
    assert (told.today, told.last_hour) == (Amount(13, 220), Amount(6, 150))


def test_an_hour_after_midnight_reaches_back_to_yesterday():
    """The last hour matters for longer than the day, shortly after midnight UTC, and only then."""
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    assert [memory(midnight + timedelta(minutes=30)), memory(NOW)] == [
        midnight - timedelta(minutes=30),
        midnight,
    ]


def test_figures_do_not_grow():
    """However many files go through, and for however many days, what is kept stays small."""
    figures = Figures()
    for number in range(20_000):
        figures.moved(CLAIMED, ingested(now=NOW + number * timedelta(minutes=1)))
    figures.throughput(NOW + timedelta(days=14))
    kept = len(figures._slots) + len(figures._latencies)  # noqa: SLF001 (size is the promise)
    assert kept <= timedelta(days=1) / SLOT + 4000


def test_the_time_of_an_outage_adds_up_by_code():
    """Two things that do not work at once are counted each; a clock that is set back counts nothing."""
    figures = Figures()
    figures.troubled(["disk_full", "root_unreachable", "root_unreachable"], 2 * SECOND)
    figures.troubled(["disk_full"], SECOND)
    figures.troubled(["disk_full"], -SECOND)
    figures.troubled([], SECOND)
    assert figures.outages == {"disk_full": 3.0, "root_unreachable": 2.0}


def test_a_record_that_stays_where_it_is_counts_nothing():
    """To be looked at again is no event."""
    figures = Figures()
    rejected = replace(SEEN, state=State.REJECTED, code="bad_card")
    figures.moved(rejected, replace(rejected, updated=NOW))
    assert dict(figures.rejections) == {}
