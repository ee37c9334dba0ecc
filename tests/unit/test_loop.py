"""The daemon on fakes: what becomes of files, tick by tick."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from fakes import BEGIN, ROOT, Content, config_header, config_path, raw_header, raw_path
from pfs_ingestd.errors import (
    Code,
    Contended,
    ExitCode,
    Fatal,
    Incomplete,
    Interrupted,
    Outage,
    Rejected,
    TryLater,
)
from pfs_ingestd.intake import ORPHANS
from pfs_ingestd.policy import CONTENDED_INTERVAL
from pfs_ingestd.ports import Blind, Hint, Stop
from pfs_ingestd.records import State
from rig import Crash, Impatient, Rig

B1, R1, CONFIG = raw_path(), raw_path(arm="r"), config_path()
RAW_B1, RAW_R1 = Content(answer=raw_header()), Content(answer=raw_header(arm="r"))
A_CONFIG = Content(answer=config_header())
REFUSED = Outage(Code.CREDENTIALS_REFUSED, "no", hint="correct them")
OUTAGE = Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="see that it runs")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.tick()
    return rig


def test_a_closed_file_is_ingested_in_the_tick_of_its_hint(rig):
    """From the close of a file to the repository it takes one tick."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    assert rig.states() == {B1: State.INGESTED}
    assert rig.repository.artifacts.keys() == {("raw", 1000, "b", 1)}


def test_a_created_file_has_to_settle(rig):
    """A file that may still be written is read only after it was at rest."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=False))
    assert (rig.states(), rig.headers.read_paths) == ({B1: State.SEEN}, [])
    rig.tick(after=rig.patience.settle)
    assert rig.states() == {B1: State.INGESTED}


def test_a_file_without_a_hint_is_found_by_the_next_scan(rig):
    """Nothing depends on the watcher."""
    rig.folder.write(B1, RAW_B1)
    rig.tick()
    assert rig.states() == {}
    rig.tick(after=rig.pace.rescan)
    assert rig.states() == {B1: State.SEEN}


def test_a_blind_watcher_causes_a_scan_but_no_loop_of_scans(rig):
    """After an overflow the folders are scanned, at most every five seconds."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Blind.BLIND)
    assert rig.states() == {}
    rig.tick(after=timedelta(seconds=5))
    assert rig.states() == {B1: State.SEEN}


def test_a_growing_file_is_not_claimed(rig):
    """A file that pauses for longer than it has to settle is still not let in before it is complete."""
    rig.folder.write(B1, RAW_B1, size=500)
    rig.tick(Hint(B1, closed=True))
    rig.tick(after=timedelta(minutes=4))
    record = rig.record(B1)
    assert (record.state, record.code) == (State.SEEN, Code.INCOMPLETE)
    rig.folder.grow(B1, 1000)
    rig.settle()
    assert rig.states() == {B1: State.INGESTED}


def test_a_truncated_file_is_rejected_and_let_in_when_it_grows(rig):
    """Rejected is not for ever: a change of the file wakes it."""
    rig.folder.write(B1, RAW_B1, size=500)
    rig.tick(Hint(B1, closed=True))
    rig.tick(after=rig.patience.incomplete_after)
    assert (rig.record(B1).state, rig.record(B1).code) == (State.REJECTED, Code.TRUNCATED)
    rig.folder.grow(B1, 1000)
    rig.tick(Hint(B1, closed=True))
    assert rig.states() == {B1: State.INGESTED}


def test_a_config_follows_in_the_tick_of_its_visits_first_raw(rig):
    """A pfsConfig before its raws waits, and is woken by the first of them."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    assert rig.record(CONFIG).state is State.WAITING
    rig.folder.write(R1, RAW_R1)
    rig.tick(Hint(R1, closed=True))
    assert rig.states() == {CONFIG: State.INGESTED, R1: State.INGESTED}
    assert rig.record(CONFIG).attempts == 1


def test_a_config_whose_raws_never_come_is_orphaned_and_still_woken(rig):
    """A convergence's pfsConfig stays visible without alarm, and a late raw wakes it."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    rig.tick(after=rig.patience.orphan_after)
    assert rig.record(CONFIG).state is State.ORPHANED
    rig.folder.write(R1, RAW_R1)
    rig.tick(Hint(R1, closed=True))
    assert rig.record(CONFIG).state is State.INGESTED


def test_a_config_is_woken_by_an_exposure_that_someone_else_registered(rig):
    """Raws ingested by another program bring the exposure record, too."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    exposure = rig.headers.exposure(raw_header())
    rig.repository.exposures[1000] = exposure
    rig.tick(after=rig.pace.rescan)
    assert rig.record(CONFIG).state is State.INGESTED


def test_frequent_scans_do_not_ask_for_a_waiting_config_each_time(rig):
    """However often folders are looked at, the repository is asked for the same visits every ten seconds."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    asked = []
    designs = rig.repository.designs
    rig.repository.designs = lambda visits: (asked.append(visits), designs(visits))[1]
    for _ in range(60):
        rig.tick(Blind.BLIND, after=timedelta(seconds=1))
    assert len(asked) == 6


def test_a_design_that_differs_rejects_only_the_config(rig):
    """The file with the wrong design is rejected with both values; the raws are in."""
    other = config_path(design=0xDEF)
    rig.folder.write(other, Content(answer=config_header(design=0xDEF)))
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(other, closed=True), Hint(B1, closed=True))
    record = rig.record(other)
    assert (record.state, record.code) == (State.REJECTED, Code.DESIGN_CONFLICT)
    assert "0x0000000000000def" in record.error
    assert "0x0000000000000abc" in record.error
    assert rig.record(B1).state is State.INGESTED


def test_one_bad_file_of_many_costs_only_itself(rig):
    """A refused batch is split until only the guilty file is left out, in logarithmically many steps."""
    paths = [raw_path(visit) for visit in range(1000, 1064)]
    for visit, path in enumerate(paths, start=1000):
        rig.folder.write(path, Content(answer=raw_header(visit)))
    guilty = paths[17]
    rig.repository.refused[guilty] = Rejected(Code.BAD_CARD, "no such detector")
    rig.tick(*(Hint(path, closed=True) for path in paths))
    states = rig.states()
    assert states.pop(guilty) is State.REJECTED
    assert set(states.values()) == {State.INGESTED}
    assert len(rig.repository.batches) == 1 + 2 * 6


class Rival:
    """Stands in a repository's way as often as told, and does something meanwhile."""

    def __init__(self, rig, error, *, times, deed=lambda: None):
        self.ingest, self.error, self.times, self.deed = rig.repository.ingest, error, times, deed
        rig.repository.ingest = self

    def __call__(self, exposures, datasets):
        if self.times:
            self.times -= 1
            self.deed()
            raise self.error
        return self.ingest(exposures, datasets)


def test_a_file_is_stored_at_once_though_another_host_registered_its_visit_first(rig):
    """Its exposure is as the other host made it, and the file is charged with the one attempt."""
    theirs = rig.headers.exposure(raw_header(arm="m"))
    theirs = replace(theirs, exposure_time=theirs.exposure_time + 1)
    Rival(
        rig,
        TryLater(Code.RACE, "exposure 1000 differs"),
        times=1,
        deed=lambda: rig.repository.exposures.update({1000: theirs}),
    )
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    record = rig.record(B1)
    assert (record.state, record.attempts) == (State.INGESTED, 1)
    assert rig.repository.exposures == {1000: theirs}


@pytest.mark.parametrize("error", [TryLater(Code.RACE, "unique"), Contended(Code.RACE, "deadlock")])
def test_what_collides_with_others_is_stored_again_at_once(rig, error):
    """Files of several visits together, three times, before anything else is made of it."""
    rig.folder.write(B1, RAW_B1)
    rig.folder.write(raw_path(1001), Content(answer=raw_header(1001)))
    Rival(rig, error, times=3)
    rig.tick(Hint(B1, closed=True), Hint(raw_path(1001), closed=True))
    assert {(record.state, record.attempts) for record in rig.records()} == {(State.INGESTED, 1)}
    assert len(rig.repository.batches) == 1


def test_a_locked_visit_keeps_no_other_waiting_and_is_not_charged(rig):
    """The visits of a batch are stored apart; the locked one is tried again for as long as it takes."""
    rig.folder.write(B1, RAW_B1)
    rig.folder.write(R1, RAW_R1)
    other = raw_path(1001)
    rig.folder.write(other, Content(answer=raw_header(1001)))
    for path in (B1, R1):
        rig.repository.refused[path] = Contended(Code.BUSY, "locked")
    rig.tick(*(Hint(path, closed=True) for path in (B1, R1, other)))
    assert rig.states() == {B1: State.READY, R1: State.READY, other: State.INGESTED}
    assert sorted(map(sorted, rig.repository.batches)) == sorted(
        map(sorted, [[B1, R1, other], [B1, R1], [other]])
    )

    rig.settle(until=timedelta(hours=1))
    assert {(rig.record(path).state, rig.record(path).attempts) for path in (B1, R1)} == {(State.READY, 0)}
    rig.repository.refused.clear()
    rig.tick(after=CONTENDED_INTERVAL)
    assert {(rig.record(path).state, rig.record(path).attempts) for path in (B1, R1)} == {(State.INGESTED, 1)}


def test_an_orphan_is_woken_by_a_raw_that_another_host_brings(rig):
    """Though nobody expects it any more, and no raw of its visit ever comes here."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    rig.tick(after=rig.patience.orphan_after)
    assert rig.record(CONFIG).state is State.ORPHANED
    rig.repository.exposures[1000] = rig.headers.exposure(raw_header())
    rig.tick(after=ORPHANS)
    rig.tick()
    assert rig.record(CONFIG).state is State.INGESTED


def test_a_file_that_cannot_be_read_costs_only_itself(rig):
    """A header that is refused keeps nothing else out."""
    rig.folder.write(B1, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    rig.folder.write(R1, RAW_R1)
    rig.tick(Hint(B1, closed=True), Hint(R1, closed=True))
    assert rig.states() == {B1: State.REJECTED, R1: State.INGESTED}


def test_the_same_bytes_under_another_name_are_already_there(rig):
    """A file that is sent twice is no error and is stored once."""
    copy = raw_path(night="2026-11-23")
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    rig.folder.write(copy, RAW_B1)
    rig.tick(Hint(copy, closed=True))
    assert rig.record(copy).state is State.INGESTED
    assert rig.record(copy).code is Code.ALREADY_THERE
    assert rig.record(copy).dataset_id == rig.record(B1).dataset_id


def test_other_bytes_of_the_same_data_id_are_a_conflict(rig):
    """The stored dataset stays; the other file is rejected with the place of the stored one."""
    copy = raw_path(night="2026-11-23")
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    rig.folder.write(copy, replace(RAW_B1, size=999))
    rig.tick(Hint(copy, closed=True))
    record = rig.record(copy)
    assert (record.state, record.code) == (State.REJECTED, Code.CONFLICT)
    assert rig.record(B1).dataset_id in record.error
    assert rig.repository.artifacts["raw", 1000, "b", 1].content == RAW_B1


def test_a_passing_fault_postpones_with_growing_delay(rig):
    """A file that fails for now is tried again, and not before its delay is over."""
    rig.folder.write(B1, RAW_B1)
    rig.repository.refused[B1] = TryLater(Code.STORE_FAILED, "hiccup")
    rig.tick(Hint(B1, closed=True))
    record = rig.record(B1)
    assert (record.state, record.attempts, record.not_before) == (
        State.READY,
        1,
        rig.clock.now() + timedelta(seconds=1),
    )
    rig.tick()
    assert rig.record(B1).attempts == 1
    rig.tick(after=timedelta(seconds=1))
    assert rig.record(B1).attempts == 2
    rig.repository.refused.clear()
    rig.tick(after=timedelta(seconds=2))
    assert rig.record(B1).state is State.INGESTED


def test_a_fault_that_does_not_pass_ends_as_rejected(rig):
    """After `max_attempts` a person has to look, and `retry` gives all attempts back."""
    rig.folder.write(B1, RAW_B1)
    rig.repository.refused[B1] = TryLater(Code.STORE_FAILED, "hiccup")
    rig.tick(Hint(B1, closed=True))
    rig.settle(until=timedelta(hours=2))
    record = rig.record(B1)
    assert (record.state, record.code, record.attempts) == (State.REJECTED, Code.EXHAUSTED, 8)
    rig.repository.refused.clear()
    rig.inbox.replace([(record, record.retried(rig.clock.now()))])
    rig.tick()
    assert rig.record(B1).state is State.INGESTED


def test_an_outage_charges_no_file_and_ends_by_itself(rig):
    """While the repository is away the queue waits, the status says why, and all goes on afterwards."""
    rig.folder.write(B1, RAW_B1)
    rig.repository.outage = OUTAGE
    rig.tick(Hint(B1, closed=True))
    assert (rig.record(B1).state, rig.record(B1).attempts) == (State.READY, 0)
    rig.tick(after=timedelta(minutes=10))
    assert rig.status.written[-1]["state"] == "degraded"
    assert "no answer" in str(rig.status.written[-1]["reason"])
    assert rig.record(B1).attempts == 0
    rig.repository.outage = None
    rig.tick(after=rig.pace.probe_interval)
    assert rig.record(B1).state is State.INGESTED
    rig.tick(after=timedelta(seconds=1))
    assert rig.status.written[-1]["state"] == "running"


def test_an_outage_is_probed_once_an_interval(rig):
    """An unreachable repository is not hammered."""
    rig.folder.write(B1, RAW_B1)
    rig.repository.outage = OUTAGE
    rig.tick(Hint(B1, closed=True))
    with capture_logs() as logs:
        for _ in range(20):
            rig.tick(after=timedelta(seconds=1))
    assert len(rig.repository.batches) == 0
    assert [log["event"] for log in logs] == []


def test_an_unreadable_root_degrades_and_recovers(rig):
    """A root that is away is told, does not stop anything else, and is scanned again when it is back."""
    rig.folder.unreadable.add(ROOT)
    rig.tick(after=rig.pace.rescan)
    rig.tick(after=timedelta(seconds=1))
    assert rig.status.written[-1]["state"] == "degraded"
    rig.folder.unreadable.clear()
    rig.folder.write(B1, RAW_B1)
    rig.settle()
    assert rig.states() == {B1: State.INGESTED}
    assert rig.status.written[-1]["state"] == "running"


def test_live_files_go_before_a_backlog():
    """What arrives now is in the repository while a backlog is still being worked on."""
    rig = Rig(batch_files=10)
    long_ago = rig.clock.now() - timedelta(days=100)
    for visit in range(1, 101):
        rig.folder.write(
            raw_path(visit, night="2026-08-01"), Content(answer=raw_header(visit)), mtime=long_ago
        )
        path = raw_path(visit, night="2026-08-01")
        rig.folder.files[path] = replace(rig.folder.files[path], ctime_ns=rig.folder.files[path].mtime_ns)
    rig.tick()
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    assert rig.record(B1).state is State.INGESTED
    assert 0 < len(rig.repository.artifacts) < 100
    rig.settle()
    assert set(rig.states().values()) == {State.INGESTED}


def test_a_change_after_ingestion_is_flagged_and_leaves_the_dataset(rig):
    """The dataset stays as it was ingested; the record says what changed."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    rig.clock.advance(timedelta(minutes=1))
    rig.folder.write(B1, replace(RAW_B1, size=999))
    with capture_logs() as logs:
        rig.tick(Hint(B1, closed=True))
    assert rig.record(B1).state is State.INGESTED
    assert "size 1000 -> 999" in rig.record(B1).changed
    assert rig.repository.artifacts["raw", 1000, "b", 1].content == RAW_B1
    assert [log["event"] for log in logs] == ["file.changed"]
    rig.tick(after=timedelta(seconds=1))
    assert "size 1000 -> 999" in str(rig.status.written[-1]["last_changed"])
    assert rig.status.written[-1]["last_ingested"] != rig.status.written[-1]["last_changed"]


@pytest.mark.parametrize("after", [timedelta(seconds=20), timedelta(hours=30)])
def test_a_file_rewritten_in_place_is_noticed_without_a_hint(rig, after):
    """No folder tells of a rewritten file; it is found by looking again at what arrived not long ago."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    rig.tick(after=after)
    assert rig.record(B1).changed is None
    rig.folder.write(B1, replace(RAW_B1, size=999))
    rig.tick(after=timedelta(seconds=10))
    rig.tick(after=timedelta(hours=1))
    assert "size 1000 -> 999" in rig.record(B1).changed


def test_a_rejected_file_that_is_mended_in_place_is_let_in_without_a_hint(rig):
    """A person who mends a file needs to tell nobody."""
    rig.folder.write(B1, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    rig.tick(Hint(B1, closed=True))
    rig.tick(after=timedelta(days=7))
    assert rig.states() == {B1: State.REJECTED}
    rig.folder.write(B1, RAW_B1)
    rig.settle(until=timedelta(minutes=1))
    assert rig.states() == {B1: State.INGESTED}


def test_settled_files_are_left_alone(rig):
    """An archive costs no looks: only what arrived under our eyes, and not long ago, is looked at again."""
    rig.folder.write(B1, RAW_B1)
    rig.tick(Hint(B1, closed=True))
    rig.tick(after=timedelta(days=3))
    looks = []
    look = rig.folder.look
    rig.folder.look = lambda path: (looks.append(path), look(path))[1]
    rig.tick(after=timedelta(hours=2))
    rig.tick(after=timedelta(hours=2))
    assert looks == []


def test_an_idle_tick_asks_the_inbox_nothing(rig, monkeypatch):
    """Who is idle for most of a day does not ask again as long as nobody writes and nothing falls due."""
    rig.folder.write(CONFIG, A_CONFIG)
    rig.tick(Hint(CONFIG, closed=True))
    rig.settle(until=timedelta(minutes=1))
    asked = []
    for question in ("orders", "due", "reserve", "next_due"):
        answer = getattr(rig.inbox, question)
        monkeypatch.setattr(
            rig.inbox, question, lambda *a, _q=question, _f=answer, **k: asked.append(_q) or _f(*a, **k)
        )
    for _ in range(20):
        rig.tick(after=timedelta(seconds=1))
    assert asked == []
    rig.tick(after=rig.patience.orphan_after)
    waiting = rig.record(CONFIG)
    assert waiting.state is State.ORPHANED
    asked.clear()
    rig.inbox.replace([(waiting, waiting.ready(rig.clock.now()))])
    rig.tick(after=timedelta(seconds=1))
    assert set(asked) == {"orders", "due", "reserve", "next_due"}


def test_a_deleted_file_is_gone_and_comes_back(rig):
    """A file that is deleted before it was ingested leaves a trace, and may come back."""
    rig.folder.write(B1, RAW_B1, size=500)
    rig.tick(Hint(B1, closed=True))
    rig.folder.delete(B1)
    rig.tick(after=timedelta(minutes=1))
    assert rig.states() == {B1: State.GONE}
    rig.folder.write(B1, RAW_B1)
    rig.settle()
    assert rig.states() == {B1: State.INGESTED}


def test_a_file_comes_back_with_its_mount(rig):
    """A file system that is mounted again shows files again whose folders look unchanged."""
    rig.folder.write(B1, RAW_B1, size=500)
    rig.settle(until=timedelta(minutes=1))
    tree = dict(rig.folder.files), dict(rig.folder.folders)
    rig.folder.delete(B1.parent)
    rig.tick(after=timedelta(minutes=1))
    assert rig.states() == {B1: State.GONE}
    rig.folder.files, rig.folder.folders = tree
    rig.tick(after=rig.pace.rescan)
    assert rig.states() == {B1: State.SEEN}


@pytest.mark.parametrize("moves", [True, False])
def test_a_claimed_file_that_is_missing_is_looked_for_in_the_repository(rig, moves):
    """A process that died between moving a file and writing it down has not lost sight of it."""
    rig.repository.moves = moves
    rig.folder.write(B1, RAW_B1)
    ingest = rig.repository.ingest

    def deadly(exposures, datasets):
        ingest(exposures, datasets)
        rig.folder.delete(B1)
        raise Crash

    rig.repository.ingest = deadly
    with pytest.raises(Crash):
        rig.tick(Hint(B1, closed=True))
    rig.restart()
    rig.tick()
    assert rig.states() == {B1: State.INGESTED if moves else State.GONE}


def test_each_change_of_state_is_one_line_of_log(rig):
    """The log tells the whole life of a file, in order, once."""
    rig.folder.write(B1, RAW_B1)
    with capture_logs() as logs:
        rig.tick(Hint(B1, closed=True))
    assert [log["event"] for log in logs] == [
        "file.seen",
        "file.completed",
        "file.claimed",
        "file.ingested",
    ]
    assert logs[-1] == {
        "event": "file.ingested",
        "log_level": "info",
        "path": str(B1),
        "kind": "raw",
        "visit": 1000,
        "camera": "b1",
        "attempt": 1,
        "ms": 0,
        "dataset_id": rig.record(B1).dataset_id,
    }


def test_a_file_that_kills_the_daemon_is_isolated_and_given_up():
    """The process dies with one file each time: the others get in, the guilty one is rejected in the end."""
    rig = Rig()
    rig.folder.write(B1, RAW_B1)
    rig.folder.write(R1, RAW_R1)
    ingest = rig.repository.ingest

    def deadly(exposures, datasets):
        if any(dataset.path == B1 for dataset in datasets):
            raise Crash
        return ingest(exposures, datasets)

    rig.repository.ingest = deadly
    messages = (Hint(B1, closed=True), Hint(R1, closed=True))
    for _ in range(100):
        try:
            rig.tick(*messages, after=timedelta(seconds=5))
        except Crash:
            rig.restart()
    assert rig.states() == {B1: State.REJECTED, R1: State.INGESTED}
    assert rig.record(B1).code is Code.EXHAUSTED


def test_run_stops_when_asked(rig):
    """A stop ends the service with exit code 0, and everybody is told."""
    rig.mailbox.put(Stop.STOP)
    assert rig.daemon.run() is ExitCode.DONE
    assert rig.notifier.said[-1] == "stopping"
    assert [status["state"] for status in rig.status.written[-2:]] == ["stopping", "stopped"]
    assert not rig.watcher.running


def test_a_batch_that_takes_too_long_to_stop_is_put_back():
    """Interrupted in the middle of a batch, the daemon puts it back uncharged and ends as asked."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)

    def endless(*_):
        raise Interrupted

    rig.repository.ingest = endless
    assert rig.daemon.run() is ExitCode.DONE
    assert (rig.record(B1).state, rig.record(B1).attempts) == (State.READY, 0)


def test_once_waits_for_what_settles_and_leaves_what_waits():
    """One pass takes in all that can come in now, and ends."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)
    rig.folder.write(config_path(2000), Content(answer=config_header(2000)))
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {B1: State.INGESTED, config_path(2000): State.WAITING}


def test_once_tells_of_rejected_files():
    """Exit code 1 says that a person has to look."""
    rig = Impatient()
    rig.folder.write(B1, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    assert rig.daemon.run(once=True) is ExitCode.SOME_REJECTED


def test_once_waits_for_retries_and_for_truncated_files():
    """A pass is bounded by the patience that is configured, and takes as long as that needs."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1, size=500)
    begun = rig.clock.now()
    assert rig.daemon.run(once=True) is ExitCode.SOME_REJECTED
    assert rig.patience.incomplete_after <= rig.clock.now() - begun < 2 * rig.patience.incomplete_after


def test_once_gives_up_on_an_outage():
    """A single pass does not wait for a repository: 75 says try again."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)
    rig.repository.outage = OUTAGE
    assert rig.daemon.run(once=True) is ExitCode.TRY_AGAIN
    assert rig.status.written[-1]["state"] == "failed"


def test_an_outage_at_the_start_is_waited_for():
    """A repository that is away at the start is told of before any file comes, and waited for."""
    rig = Impatient()
    rig.repository.outage = OUTAGE
    rig.mailbox.stop_when = lambda: rig.clock.now() - BEGIN > timedelta(minutes=1)
    with capture_logs() as logs:
        assert rig.daemon.run() is ExitCode.DONE
    degraded = [status["state"] for status in rig.status.written if status["state"] == "degraded"]
    assert degraded
    assert [log["event"] for log in logs if log["event"].startswith("outage.")] == ["outage.began"]


def test_credentials_that_never_worked_end_it_at_the_start():
    """Where nothing was ever ingested a refusal is a mistake in the setup, which a person has to mend."""
    rig = Impatient()
    rig.repository.outage = REFUSED
    with pytest.raises(Fatal) as caught:
        rig.daemon.run()
    assert (caught.value.code, caught.value.hint) == (REFUSED.code, REFUSED.hint)
    assert rig.status.written[-1]["state"] == "failed"


def test_credentials_that_worked_before_are_waited_for_at_the_start():
    """Where files were ingested a password may be just being replaced: it is an outage like others."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)
    assert rig.daemon.run(once=True) is ExitCode.DONE
    rig.restart()
    rig.repository.outage = REFUSED
    rig.mailbox.stop_when = lambda: rig.mailbox.waits > 10
    assert rig.daemon.run() is ExitCode.DONE


def test_fail_fast_does_not_wait_for_an_outage_at_the_start():
    """Who wants to hear of the first trouble hears of a repository that is away: 75 says try again."""
    rig = Impatient(fail_fast=True)
    rig.repository.outage = OUTAGE
    assert rig.daemon.run() is ExitCode.TRY_AGAIN
    assert rig.status.written[-1]["state"] == "failed"
    assert OUTAGE.message in str(rig.status.written[-1]["reason"])


def test_a_repository_that_cannot_be_used_is_no_bug():
    """What a person must change ends the daemon with the exit code that keeps systemd from trying again."""
    rig = Impatient()

    def unsuitable():
        raise Fatal(Code.REPOSITORY_UNSUITABLE, "it has no dataset type 'raw'")

    rig.repository.probe = unsuitable
    with capture_logs() as logs, pytest.raises(Fatal):
        rig.daemon.run()
    assert (logs[-1]["event"], logs[-1]["exit_code"]) == ("daemon.stopped", ExitCode.CONFIGURATION)
    assert rig.status.written[-1]["state"] == "failed"


def test_fail_fast_stops_at_the_first_rejection_and_resumes():
    """The batch is put away, exit code 3, the status names the file; it goes on when a person has decided."""
    rig = Impatient(fail_fast=True)
    rig.folder.write(B1, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    rig.folder.write(R1, RAW_R1)
    assert rig.daemon.run() is ExitCode.FAILED_FAST
    last = rig.status.written[-1]
    assert last["state"] == "failed"
    assert str(B1) in str(last["reason"])
    assert "W_VISIT is missing" in str(last["reason"])
    rig.restart()
    assert rig.daemon.run(once=True) is ExitCode.FAILED_FAST
    record = rig.record(B1)
    rig.inbox.replace([(record, record.skipped(rig.clock.now()))])
    rig.restart()
    assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {B1: State.SKIPPED, R1: State.INGESTED}


def test_an_unforeseen_error_is_survived():
    """A bug in one tick is logged and counted, and the files go on where they were."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)
    ingest, failures = rig.repository.ingest, iter([ZeroDivisionError("bug")])

    def buggy(exposures, datasets):
        for failure in failures:
            raise failure
        return ingest(exposures, datasets)

    rig.repository.ingest = buggy
    with capture_logs() as logs:
        assert rig.daemon.run(once=True) is ExitCode.DONE
    assert rig.states() == {B1: State.INGESTED}
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["tick.failed"]


def test_an_inbox_that_does_not_answer_stops_nothing_for_ever():
    """The daemon says that its inbox is away, comes back by itself, and leaves no file behind as claimed."""
    rig = Impatient()
    rig.folder.write(B1, RAW_B1)
    replace_, answers = rig.inbox.replace, iter([True, True, False, False])

    def failing(changes):
        if not next(answers, True):
            raise Outage(Code.STATE_UNREACHABLE, "the server is down")
        replace_(changes)

    rig.inbox.replace = failing
    rig.mailbox.stop_when = lambda: rig.states() == {B1: State.INGESTED}
    with capture_logs() as logs:
        assert rig.daemon.run() is ExitCode.DONE
    events = [log["event"] for log in logs if log["event"].startswith("inbox.")]
    assert events == ["inbox.lost", "inbox.regained"] * (len(events) // 2)
    assert "the server is down" in str([status["reason"] for status in rig.status.written])
    assert rig.states() == {B1: State.INGESTED}


def test_a_loop_that_fails_again_and_again_gives_up():
    """A daemon that cannot do its work says so and ends, for systemd to start it afresh."""
    rig = Impatient()

    def broken(_):
        raise ZeroDivisionError("bug")

    rig.folder.scan = broken
    with capture_logs() as log, pytest.raises(Fatal, match="failed 10 times in a row: bug") as caught:
        rig.daemon.run()
    assert [event["failures"] for event in log if event["event"] == "tick.failed"] == list(range(1, 11))
    assert caught.value.code is Code.BUG
    assert rig.status.written[-1]["state"] == "failed"


def test_an_incomplete_claim_goes_back_to_seen(rig):
    """A file that changes between being found complete and being claimed is looked at from the beginning."""
    rig.folder.write(B1, RAW_B1)
    rig.repository.outage = OUTAGE
    rig.tick(Hint(B1, closed=True))
    rig.folder.grow(B1, 400)
    rig.repository.outage = None
    rig.tick(after=rig.pace.probe_interval)
    assert rig.record(B1).state is State.SEEN
    assert rig.record(B1).code in {None, Code.INCOMPLETE}
    assert rig.repository.artifacts == {}
    assert isinstance(rig.headers.read([rig.folder.look(B1)])[0], Incomplete)
