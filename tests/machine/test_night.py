"""A night of everything that can happen, on fakes, found and shrunk by Hypothesis."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes import Content, config_header, config_path, raw_header, raw_path
from pfs_ingestd.control import INTERVAL
from pfs_ingestd.errors import Code, Outage, Rejected, TryLater
from pfs_ingestd.orders import Order, What
from pfs_ingestd.ports import Blind, Hint
from pfs_ingestd.records import Kind, State
from rig import PATIENCE, Crash, Rig

VISITS = st.integers(1000, 1003)
ARMS = st.sampled_from("brn")
SPECTROGRAPHS = st.integers(1, 2)
SPANS = st.sampled_from([timedelta(milliseconds=100), timedelta(seconds=3), timedelta(minutes=2)])

OUTAGE = Outage(Code.REPOSITORY_UNREACHABLE, "no answer")
BAD = Rejected(Code.MISSING_CARD, "W_VISIT is missing")
HICCUP = TryLater(Code.STORE_FAILED, "hiccup")


class Night(RuleBasedStateMachine):
    """Files arrive, grow, are bad, go away; events get lost; the repository goes away; the process dies.

    Files are copied and compared beside the loop or not, and that lasts. Operators pause and resume.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rewritten: set[Path] = set()
        self.claimed_before: set[Path] | None = None
        self.rig = Rig(batch_files=3, patience=replace(PATIENCE, max_attempts=1000))

    def _arrive(self, path: Path, content: Content, *, partly: bool, hinted: bool) -> None:
        if path in self.rig.folder.files:
            return
        if self.rig.states().get(path) is State.INGESTED:
            self.rewritten.add(path)
        self.rig.folder.write(path, content, size=content.size // 2 if partly else None)
        self._say(path, closed=not partly, hinted=hinted)

    def _say(self, path: Path, *, closed: bool, hinted: bool) -> None:
        if hinted:
            self._tick(Hint(path, closed))

    def _tick(self, *messages: Hint | Blind, after: timedelta = timedelta(0)) -> None:
        try:
            self.rig.tick(*messages, after=after)
        except Crash:
            self.rig.restart()

    @rule(visit=VISITS, arm=ARMS, spectrograph=SPECTROGRAPHS, partly=st.booleans(), hinted=st.booleans())
    def raw(self, visit, arm, spectrograph, partly, hinted):
        content = Content(answer=raw_header(visit, arm, spectrograph))
        self._arrive(raw_path(visit, arm, spectrograph), content, partly=partly, hinted=hinted)

    @rule(visit=VISITS, hinted=st.booleans())
    def config(self, visit, hinted):
        self._arrive(config_path(visit), Content(answer=config_header(visit)), partly=False, hinted=hinted)

    @rule(visit=VISITS, hinted=st.booleans())
    def bad_raw(self, visit, hinted):
        self._arrive(raw_path(visit, "b", 4), Content(answer=BAD), partly=False, hinted=hinted)

    @rule(visit=VISITS, same=st.booleans(), hinted=st.booleans())
    def sent_again(self, visit, same, hinted):
        original = raw_path(visit, "b", 1)
        if original not in self.rig.folder.files:
            return
        content = Content(answer=raw_header(visit, "b", 1), version="" if same else "other")
        self._arrive(raw_path(visit, "b", 1, night="2026-11-23"), content, partly=False, hinted=hinted)

    @rule(hinted=st.booleans(), data=st.data())
    @precondition(lambda self: any(not file.complete for file in self.rig.folder.files.values()))
    def finish(self, hinted, data):
        growing = sorted(path for path, file in self.rig.folder.files.items() if not file.complete)
        path = data.draw(st.sampled_from(growing))
        self.rig.folder.grow(path, self.rig.folder.files[path].content.size)
        self._say(path, closed=True, hinted=hinted)

    @rule(data=st.data())
    @precondition(lambda self: self.rig.folder.files)
    def delete(self, data):
        self.rig.folder.delete(data.draw(st.sampled_from(sorted(self.rig.folder.files))))

    @rule(after=SPANS)
    def time_passes(self, after):
        self._tick(after=after)

    @rule()
    def overflow(self):
        self._tick(Blind.BLIND)

    @rule(away=st.booleans())
    def outage(self, away):
        self.rig.repository.outage = OUTAGE if away else None

    @rule(data=st.data(), error=st.sampled_from([HICCUP, None]))
    @precondition(lambda self: self.rig.folder.files)
    def hiccup(self, data, error):
        path = data.draw(st.sampled_from(sorted(self.rig.folder.files)))
        self.rig.repository.refused.pop(path, None)
        if error:
            self.rig.repository.refused[path] = error

    @rule(copying=st.booleans())
    def copies_are_needed(self, copying):
        self.rig.repository.inline_bytes = 0 if copying else None

    @rule(held=st.booleans())
    def copies_last(self, held):
        self.rig.copier.held = held

    @rule(full=st.booleans())
    def lanes_fill(self, full):
        self.rig.copier.largest = 0 if full else None

    @rule(data=st.data(), error=st.sampled_from([OUTAGE, HICCUP, None]))
    @precondition(lambda self: self.rig.folder.files)
    def copy_fails(self, data, error):
        path = data.draw(st.sampled_from(sorted(self.rig.folder.files)))
        self.rig.copier.failing.pop(path, None)
        if error:
            self.rig.copier.failing[path] = error

    @rule(calls=st.integers(0, 40), after=st.booleans())
    def doom(self, calls, after):
        self.rig.doom.calls, self.rig.doom.after = calls, after

    @rule()
    def restart(self):
        self.rig.restart()

    @rule()
    def pause(self):
        if self.claimed_before is None:
            self.claimed_before = self._claimed()
        self._order(What.PAUSE)

    @rule()
    def resume(self):
        self.claimed_before = None
        self._order(What.RESUME)

    def _order(self, what: What) -> None:
        self.rig.inbox.give_order(Order(what=what, by="alice", at=self.rig.clock.now()))
        self._tick(after=INTERVAL)

    def _claimed(self) -> set[Path]:
        return {record.path for record in self.rig.records() if record.state is State.INGESTING}

    @invariant()
    def nothing_is_claimed_in_a_pause(self):
        assert self.claimed_before is None or self._claimed() <= self.claimed_before

    @invariant()
    def nothing_is_stored_in_a_pause_but_what_was_in_hand(self):
        if self.claimed_before is None:
            self.stored_before = {r.path for r in self.rig.records() if r.state is State.INGESTED}
        else:
            stored = {r.path for r in self.rig.records() if r.state is State.INGESTED}
            assert stored <= self.stored_before | self.claimed_before

    @invariant()
    def ingested_means_stored(self):
        stored = {artifact.dataset_id for artifact in self.rig.repository.artifacts.values()}
        assert {r.dataset_id for r in self.rig.records() if r.state is State.INGESTED} <= stored

    @invariant()
    def what_is_being_copied_is_claimed(self):
        copier = self.rig.copier
        assert {sighting.path for sighting in (*copier.under_way, *copier.comparing)} <= self._claimed()

    @invariant()
    def only_whole_and_good_files_are_stored(self):
        for artifact in self.rig.repository.artifacts.values():
            assert artifact.size == artifact.content.size
            assert not isinstance(artifact.content.answer, Exception)

    def teardown(self):
        """Once the weather clears, every good file is ingested, and every bad one rejected."""
        self.rig.doom.calls = -1
        self.rig.repository.outage = None
        self.rig.repository.refused.clear()
        self.rig.copier.failing.clear()
        self.rig.copier.held, self.rig.copier.largest = False, None
        self.resume()
        self.rig.settle(until=timedelta(hours=1))
        artifacts = self.rig.repository.artifacts
        on_disk = {path: self.rig.states()[path] for path in self.rig.folder.files}
        assert on_disk == {path: self._end(path) for path in on_disk}
        for path, state in on_disk.items():
            if state is State.INGESTED and path not in self.rewritten:
                record = self.rig.record(path)
                key = ("raw", record.visit, record.arm, record.spectrograph)
                artifact = artifacts[key if record.kind is Kind.RAW else ("pfsConfig", record.visit)]
                assert artifact.dataset_id == record.dataset_id
                assert artifact.content == self.rig.folder.files[path].content

    def _end(self, path: Path) -> State:
        file, record = self.rig.folder.files[path], self.rig.record(path)
        if path in self.rewritten:
            return State.INGESTED
        if not file.complete or isinstance(file.content.answer, Rejected):
            return State.REJECTED
        if record.kind is Kind.PFS_CONFIG:
            return State.INGESTED if record.visit in self.rig.repository.exposures else State.WAITING
        stored = self.rig.repository.artifacts["raw", record.visit, record.arm, record.spectrograph]
        return State.INGESTED if stored.content == file.content else State.REJECTED


TestNight = Night.TestCase
TestNight.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
