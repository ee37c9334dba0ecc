"""Files that are not all there yet, or no longer what they were: never taken in, always accounted for."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import BLOCK, CARD, fuzz, joined, sight, specimens
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.errors import Code, Incomplete, Rejected
from pfs_ingestd.exposure import ConfigHeader, RawHeader
from pfs_ingestd.ports import Blind, Hint
from pfs_ingestd.records import State
from pfs_ingestd.simulate import VisitPlan, write_ccd, write_pfs_config, write_ramp
from rig import PATIENCE, Rig
from station import Station

VISIT = VisitPlan(visit=123456, cameras=("r1", "n1"), small=True)
CCD, RAMP, CONFIG = VISIT.raw("r1").name, VISIT.raw("n1").name, VISIT.config.name
LONGER_THAN_SETTLE = 10 * PATIENCE.settle
LONGER_THAN_PATIENCE = PATIENCE.incomplete_after + timedelta(minutes=1)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return {specimen.name: specimen for specimen in specimens(tmp_path_factory.mktemp("originals"))}


@pytest.fixture
def station(tmp_path):
    root = tmp_path / "night"
    root.mkdir()
    station = Station(root)
    station.tick()
    return station


def answer_to(path):
    [answer] = FitsHeaders().read([sight(path)])
    return answer


class TestTruncation:
    """A file cut at any byte."""

    @pytest.mark.parametrize("name", [CCD, RAMP, CONFIG])
    def test_f19_a_file_cut_at_the_edge_of_any_hdu_or_block_is_incomplete(self, tmp_path, originals, name):
        """Cut at any block, at any HDU, or a byte or a card beside them, no file is taken for whole."""
        specimen = originals[name]
        size = len(specimen.content)
        edges = {*range(0, size, BLOCK), *specimen.ends}
        cuts = {edge + by for edge in edges for by in (-CARD, -1, 0, 1, CARD)}
        path = tmp_path / name
        path.write_bytes(specimen.content)
        assert isinstance(answer_to(path), (RawHeader, ConfigHeader))

        accepted = []
        for cut in sorted(cuts & set(range(size)), reverse=True):
            os.truncate(path, cut)
            answer = answer_to(path)
            if not isinstance(answer, Incomplete):
                accepted.append((cut, answer))

        assert accepted == []

    @settings(
        max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    )
    @given(name=st.sampled_from([CCD, RAMP, CONFIG]), data=st.data())
    def test_f19_a_file_cut_anywhere_is_incomplete(self, tmp_path, originals, name, data):
        """At whatever byte a file is cut, it is not taken for whole, and may still become so."""
        content = originals[name].content
        path = tmp_path / name
        path.unlink(missing_ok=True)
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])

        assert isinstance(answer_to(path), Incomplete)

    @pytest.mark.parametrize("reads", [1, 2, 3, 5])
    def test_f19_a_ramp_cut_after_any_of_its_reads_is_incomplete(self, tmp_path, reads):
        """Where a ramp is cut after a whole read, its header tells that there were more."""
        visit = VisitPlan(visit=7, cameras=("n1",), small=True, reads=reads)
        path = tmp_path / visit.raw("n1").name
        write_ramp(path, visit, "n1")
        content = path.read_bytes()
        starts = [at for at in range(0, len(content), BLOCK) if content.startswith(b"XTENSION", at)]
        assert isinstance(answer_to(path), RawHeader)

        answers = []
        for start in starts:
            path.write_bytes(content[:start])
            answers.append(answer_to(path))

        assert {Incomplete} == {type(answer) for answer in answers}
        assert {f"the ramp has {read} of the {reads} reads" for read in range(1, reads)} == {
            answer.message[: answer.message.index("reads") + 5]
            for answer in answers
            if answer.message.startswith("the ramp has")
        }

    def test_a_ramp_that_was_stopped_early_gets_in(self, tmp_path):
        """Where the header was amended to the reads that there are, a stopped ramp is whole."""
        visit = VisitPlan(visit=7, cameras=("n1",), small=True, reads=4)
        path = tmp_path / visit.raw("n1").name
        write_ramp(path, visit, "n1", cards={"W_H4NRED": 3})
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"'IMAGE_4 '") // BLOCK * BLOCK])
        assert "'REF_3   '" in path.read_bytes().decode("latin-1")

        answer = answer_to(path)

        assert isinstance(answer, RawHeader), answer


WRITERS = {
    CCD: lambda path, on_write: write_ccd(path, VISIT, "r1", on_write=on_write),
    RAMP: lambda path, on_write: write_ramp(path, VISIT, "n1", on_write=on_write),
    CONFIG: lambda path, on_write: write_pfs_config(path, VISIT, on_write=on_write),
}


class TestSlowWriters:
    """Files that come into being before our eyes."""

    @pytest.mark.parametrize("name", WRITERS)
    @pytest.mark.parametrize("pause", [timedelta(seconds=1), LONGER_THAN_SETTLE, LONGER_THAN_PATIENCE])
    @pytest.mark.parametrize("hinted", [True, False])
    def test_f13_a_file_is_not_taken_in_while_it_is_written(self, station, name, pause, hinted):
        """However long its writer pauses, and whatever events come, a file gets in when it is whole."""
        path = station.root / name
        early = []

        def pausing(growing: Path) -> None:
            if growing.stat().st_size < whole:
                if hinted:
                    station.tick(Hint(growing, closed=False), Hint(growing, closed=True))
                station.settle(until=pause)
                early.append(dict(station.repository.kept))

        draft = station.root.parent / name
        WRITERS[name](draft, None)
        whole = draft.stat().st_size
        WRITERS[name](path, pausing)
        station.closed(path)
        station.settle()

        assert all(kept == {} for kept in early)
        assert early
        if name == CONFIG:
            assert station.states() == {CONFIG: State.WAITING}
        else:
            assert station.states() == {name: State.INGESTED}
            assert list(station.repository.kept.values()) == [path.read_bytes()]

    @pytest.mark.parametrize("age", [timedelta(days=-400), timedelta(hours=-1), timedelta(days=4000)])
    def test_f16_times_of_files_are_not_trusted(self, station, originals, age):
        """A file that is copied slowly with its old time, or one in the future, is not taken in by halves."""
        path = station.root / CCD
        content = originals[CCD].content
        time = (station.clock.now() - age).timestamp()
        for length in range(0, len(content), BLOCK):
            path.write_bytes(content[:length])
            os.utime(path, (time, time))
            station.tick(after=timedelta(seconds=3))
            assert station.repository.kept == {}

        path.write_bytes(content)
        os.utime(path, (time, time))
        station.settle()

        assert station.states() == {CCD: State.INGESTED}
        assert list(station.repository.kept.values()) == [content]

    def test_f11_a_file_that_keeps_its_size_and_time_is_looked_at_until_it_is_whole(self, station, originals):
        """A file that had its full size from the start, and one time throughout, gets in when it is whole."""
        path = station.root / RAMP
        content = originals[RAMP].content
        written = originals[RAMP].ends[2]
        path.write_bytes(bytes(len(content)))
        for end in (0, 1000, written):
            with path.open("r+b") as file:
                file.write(content[:end])
            os.utime(path, (1e9, 1e9))
            station.settle(until=timedelta(minutes=1))
            assert (station.record(path).state, station.repository.kept) == (State.SEEN, {})

        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, (1e9, 1e9))
        station.settle()

        assert list(station.repository.kept.values()) == [content]

    def test_f14_a_file_that_is_too_new_is_looked_at_again(self, station, originals):
        """A file that was found before it had settled needs no event to be found again."""
        path = station.root / CCD
        path.write_bytes(originals[CCD].content)
        station.tick(Hint(path, closed=False))
        assert (station.record(path).state, station.reads) == (State.SEEN, 0)

        station.tick(after=PATIENCE.settle)

        assert station.states() == {CCD: State.INGESTED}

    def test_f15_a_restart_does_not_let_a_torso_in(self, station, originals):
        """A file that was being written when the daemon went down is as incomplete when it comes up."""
        path = station.root / CCD
        content = originals[CCD].content
        path.write_bytes(content[:-BLOCK])
        station.closed(path)
        for _ in range(3):
            station.restart()
            station.settle(until=timedelta(seconds=30))
        assert (station.states(), station.repository.kept) == ({CCD: State.SEEN}, {})

        path.write_bytes(content)
        station.restart()
        station.settle()

        assert station.states() == {CCD: State.INGESTED}

    def test_f18_what_is_incomplete_never_gets_in(self, station, originals):
        """However often and long it is looked at, retried or touched, a torso stays out, and is told of."""
        path = station.root / CCD
        path.write_bytes(originals[CCD].content[:-BLOCK])
        for _ in range(5):
            station.settle(until=timedelta(hours=1))
            record = station.record(path)
            assert (record.state, record.code) == (State.REJECTED, Code.TRUNCATED)
            station.inbox.replace([(record, record.retried(station.clock.now()))])
            os.utime(path)

        assert station.repository.kept == {}
        assert record.error.startswith("still so after 0:0")
        assert "the file ends 2" in record.error
        assert station.reads < 200

    def test_f49_a_bad_file_does_not_hold_up_the_others(self, station, originals):
        """Of a batch with one file that can never be read the others get in at once."""
        (station.root / VISIT.raw("n1").name).write_bytes(b"\x1f\x8b from the future")
        path = station.root / CCD
        path.write_bytes(originals[CCD].content)
        station.tick(Hint(station.root / RAMP, closed=True), Hint(path, closed=True))

        assert station.states() == {CCD: State.INGESTED, RAMP: State.REJECTED}


TORSOS = [
    (b"", "the file is empty"),
    (b"SIMPLE  =                    T".ljust(BLOCK), "the file ends inside the header of HDU 0"),
    (bytes(20_000), "the file begins with zero bytes: not all of it is written"),
    (
        b"SIMPLE  =                    T".ljust(2_000_000),
        "the header of HDU 0 has no END in its first 1048320 bytes",
    ),
]
STRANGERS = [
    (b"<html>404</html>", "the file does not begin as a FITS file does"),
    (b"\x89PNG\r\n\x1a\n" + bytes(5000), "the file does not begin as a FITS file does"),
    (
        b"".join(
            card.ljust(CARD)
            for card in (
                b"SIMPLE  =                    T",
                b"BITPIX  =                    8",
                b"NAXIS   =              1000000",
                b"END",
            )
        ).ljust(BLOCK),
        "HDU 0 has BITPIX = 8 and NAXIS = 1000000, which cannot be",
    ),
]


class TestStrangers:
    """What has our name and is nothing of ours."""

    @pytest.mark.parametrize(("content", "reason"), TORSOS)
    def test_what_may_still_become_a_file_is_waited_for_with_patience(self, station, content, reason):
        """A beginning of a file is looked at less and less often, then rejected with the reason."""
        path = station.root / CCD
        path.write_bytes(content)
        station.settle(until=timedelta(hours=2))

        record = station.record(path)
        assert (record.state, record.code, station.repository.kept) == (State.REJECTED, Code.TRUNCATED, {})
        assert record.error.startswith("still so after 0:05:")
        assert reason in record.error
        assert station.reads < 20

    @pytest.mark.parametrize(("content", "reason"), STRANGERS)
    def test_what_can_never_be_ours_is_rejected_at_once(self, station, content, reason):
        """Content that no writing on makes a FITS file is rejected when it is first read."""
        path = station.root / CCD
        path.write_bytes(content)
        station.closed(path)

        record = station.record(path)
        assert (record.state, record.code, station.reads) == (State.REJECTED, Code.NOT_FITS, 1)
        assert record.error.startswith(reason)

    @pytest.mark.parametrize("content", [content for content, _ in (*TORSOS, *STRANGERS)])
    def test_a_rejected_file_is_looked_at_as_soon_as_it_changes(self, station, originals, content):
        """Whatever a file was rejected for, the whole file in its place gets in without a person."""
        path = station.root / CCD
        path.write_bytes(content)
        station.settle(until=timedelta(hours=1))
        assert station.states() == {CCD: State.REJECTED}

        path.write_bytes(originals[CCD].content)
        station.closed(path)

        assert station.states() == {CCD: State.INGESTED}

    @pytest.mark.parametrize("kept", [0, 1, 3])
    def test_a_sparse_giant_costs_nothing(self, tmp_path, originals, kept):
        """A file of a tebibyte of nothing is answered from the little that there is."""
        path = tmp_path / CONFIG
        path.write_bytes(originals[CONFIG].content[: kept * BLOCK])
        os.truncate(path, 1 << 40)

        assert isinstance(answer_to(path), Incomplete)

    def test_a_giant_table_is_refused(self, tmp_path, originals):
        """A whole pfsConfig of ten thousand million fibres is not gone through."""
        (primary, _), (header, data), *others = originals[CONFIG].hdus
        width = int(header[header.index(b"NAXIS1  =") + 10 :][:20])
        giant = header.replace(b"=                 2604 /", b"=          10000000000 /")
        assert giant != header
        path = tmp_path / CONFIG
        path.write_bytes(primary + giant + data)
        with path.open("r+b") as file:
            file.seek(len(primary) + len(giant) + -(-width * 10**10 // BLOCK) * BLOCK)
            file.write(joined(others))
        answer = answer_to(path)

        assert (type(answer), answer.code) == (Rejected, Code.BAD_TABLE)
        assert "10000000000 rows" in answer.message


@pytest.mark.parametrize("seed", range(2))
def test_thousands_of_mutants_are_answered(tmp_path, seed):
    """Whatever is done to a file, the answer comes soon: a header that can be stored, or a good reason."""
    tally = fuzz(tmp_path, seed=seed, count=2000)

    assert sum(tally.answers.values()) == 2000
    assert min(tally.answers[kind] for kind in ("accepted", "incomplete", "not_fits", "bad_card")) > 25


def remove(path):
    path.unlink()


def rename(path):
    path.rename(path.with_name("PFSA99999912.fits.old"))


def replace_by_torso(path):
    """Put a file of zeros of the same size and time in its place."""
    status = path.stat()
    draft = path.with_name(".draft")
    draft.write_bytes(bytes(status.st_size))
    os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))
    draft.rename(path)


def replace_by_other_visit(path):
    """Put a whole file of another visit in its place."""
    draft = path.with_name(".draft")
    other = VisitPlan(visit=99, cameras=VISIT.cameras, small=True)
    write_ccd(draft, other, "r1")
    draft.rename(path)


def truncate(path):
    os.truncate(path, path.stat().st_size - BLOCK)


def make_a_folder(path):
    path.unlink()
    path.mkdir()


def link_elsewhere(path):
    """Put a link to something outside in its place."""
    path.unlink()
    path.symlink_to("/etc/passwd")


DAMAGE = [remove, rename, replace_by_torso, replace_by_other_visit, truncate, make_a_folder, link_elsewhere]
ENDS = {
    remove: State.GONE,
    rename: State.GONE,
    replace_by_torso: State.REJECTED,
    replace_by_other_visit: State.REJECTED,
    truncate: State.REJECTED,
    make_a_folder: State.GONE,
    link_elsewhere: State.GONE,
}


class Meddler:
    """Does something before one of the calls of the ports that are still to come."""

    def __init__(self, deed):
        self.calls = 0
        self.deed = deed
        self.last = ""

    def around(self, port):
        return _Meddled(port, self)


class _Meddled:
    def __init__(self, port, meddler):
        self._port = port
        self._meddler = meddler

    def __getattr__(self, name):
        method = getattr(self._port, name)

        def call(*args, **kwargs):
            meddler = self._meddler
            meddler.calls -= 1
            if meddler.calls == 0:
                meddler.last = name
                meddler.deed()
            return method(*args, **kwargs)

        return call


class TestMeddling:
    """A file that is not what it was, at any moment between being seen and being stored."""

    @pytest.mark.parametrize("copied", [False, True])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_f20_a_file_that_is_meddled_with_is_not_ingested_wrong(self, tmp_path, originals, damage, copied):
        """Before whatever step a file goes away or becomes another, it ends as what it is by then."""
        copies = tmp_path / "copies"
        copies.mkdir()
        steps = []
        while steps.count("ingest") < (2 if copied else 1):
            path = tmp_path / str(len(steps)) / CCD
            path.parent.mkdir()
            path.write_bytes(originals[CCD].content)
            meddler = Meddler(lambda path=path: damage(path))
            station = Station(path.parent, around=meddler.around, copies=copies if copied else None)
            station.tick(Hint(path, closed=False))
            meddler.calls = len(steps) + 1
            station.tick(after=PATIENCE.settle)
            if copied:
                station.tick()
            steps.append(meddler.last)
            station.settle()
            record = station.record(path)
            assert (record.state, station.repository.kept) == (ENDS[damage], {}), (damage, steps)

        ingest = ["read", "designs", "look", "exposure", "ingest"]
        copy = ["copy", "room", "problems", "read", "finished", *ingest]
        assert steps == ["look", "read", "finished", "room", *ingest, *(copy if copied else [])]
        assert list(copies.iterdir()) == []

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
    @pytest.mark.parametrize("function", ["lstat", "open"])
    @pytest.mark.parametrize("times", [1, 3, 10_000])
    def test_f07_a_file_that_cannot_be_read_is_not_forgotten(
        self, station, originals, monkeypatch, code, function, times
    ):
        """A file that cannot be read gets in when it can be, or ends where a person sees it."""
        path = station.root / CCD
        path.write_bytes(originals[CCD].content)
        real = getattr(os, function)
        left = [times]

        def refuse(where, *args, **kwargs):
            if left[0] and Path(where) == path:
                left[0] -= 1
                raise OSError(code, os.strerror(code), str(where))
            return real(where, *args, **kwargs)

        monkeypatch.setattr(os, function, refuse)
        for _ in range(6):
            station.settle(until=timedelta(minutes=10))
        last = station.status.written[-1]
        if times < 10_000:
            assert (station.states(), last["state"]) == ({CCD: State.INGESTED}, "running")
        elif function == "lstat":
            assert (station.states(), last["state"]) == ({}, "degraded")
            assert f"{station.root} cannot be read: {os.strerror(code)}" in last["reason"]
        else:
            record = station.record(path)
            assert (record.state, record.code) == (State.REJECTED, Code.UNREADABLE)
            assert os.strerror(code) in record.error
            station.inbox.replace([(record, record.retried(station.clock.now()))])
        left[0] = 0
        station.settle()

        assert list(station.repository.kept.values()) == [originals[CCD].content]

    def test_f20_files_deleted_while_they_settle_leave_the_others_alone(self, station, originals):
        """Of files that were seen and are deleted before they are read nothing is left but their records."""
        paths = [station.root / f"PFSA{visit:06d}12.fits" for visit in range(20)]
        for path in paths:
            path.write_bytes(originals[CCD].content)
        station.tick(*(Hint(path, closed=False) for path in paths))
        for path in paths:
            path.unlink()
        (station.root / CCD).write_bytes(originals[CCD].content)
        station.settle()

        assert station.states() == {**{path.name: State.GONE for path in paths}, CCD: State.INGESTED}

    def test_f17_a_file_that_is_rewritten_after_it_was_stored_is_told_of(self, station, originals):
        """What is stored stays as it was, and the record says what changed in the file."""
        path = station.root / CCD
        path.write_bytes(originals[CCD].content)
        station.closed(path)
        truncate(path)
        station.closed(path)

        record = station.record(path)
        size = len(originals[CCD].content)
        assert record.state is State.INGESTED
        assert record.changed.startswith(f"size {size} -> {size - BLOCK}, ")
        assert list(station.repository.kept.values()) == [originals[CCD].content]


def test_f12_overflows_do_not_make_a_loop_of_scans():
    """However often the watcher is blind, scans are seconds apart."""
    rig = Rig()
    scans = []
    scan = rig.folder.scan
    rig.folder.scan = lambda marks: scans.append(rig.clock.now()) or scan(marks)
    for _ in range(300):
        rig.tick(Blind.BLIND, after=timedelta(seconds=0.1))

    assert 5 <= len(scans) <= 7


def test_f11_two_changes_within_a_second_are_two(station, originals):
    """A file that is replaced by another of its size within the same second is read again."""
    path = station.root / CCD
    other = bytearray(originals[CCD].content)
    other[-BLOCK] ^= 1
    path.write_bytes(originals[CCD].content)
    second = int(station.clock.now().timestamp()) * 10**9
    os.utime(path, ns=(second, second))
    station.tick(Hint(path, closed=False))
    path.write_bytes(other)
    os.utime(path, ns=(second, second + 1))
    station.settle()

    assert list(station.repository.kept.values()) == [bytes(other)]
    assert station.record(path).mtime_ns == second + 1
