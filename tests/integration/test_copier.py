"""Copies beside the loop: their lanes, their ends, and what is left of them."""

import errno
import io
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import DatastoreCopier, comparing, copier, copying, staging
from pfs_ingestd.adapters.repository.comparing import found_at
from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.ports import Comparison, Copied, Copy
from pfs_ingestd.records import FileName, Kind, Sighting

LONG = 30
"""Seconds after which what takes a hundredth has failed."""

FULL = Outage(Code.DISK_FULL, "no room", hint="make room")


def sighting_of(path):
    """Look at a file."""
    status = path.stat()
    return Sighting(
        path=path,
        name=FileName(kind=Kind.RAW, visit=12),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


class Bench:
    """A datastore, a copier, and the mailbox that it posts to."""

    def __init__(self, folder):
        self.store = folder / "store"
        self.store.mkdir()
        self.mailbox = SimpleQueue()
        self.explained = []
        self.blamed = []
        self.copier = self.new()
        self._folder = folder
        self._names = count()

    def new(self, *, move=False):
        return DatastoreCopier(explain=self._explain, post=self.mailbox.put, move=move)

    def file(self, content=b"SIMPLE  =", suffix=".fits"):
        """Write a file, and look at it."""
        path = self._folder / f"{next(self._names)}{suffix}"
        path.write_bytes(content)
        return sighting_of(path)

    def begin(self, *sightings, live=False):
        """Have files copied."""
        for sighting in sightings:
            self.copier.copy(sighting, self.store.as_uri(), live=live)

    def artifact(self, content):
        """Have something stored; tell its URI."""
        path = self.store / "artifact.fits"
        path.write_bytes(content)
        return path.as_uri()

    def compare(self, sighting, artifact):
        """Have a file compared."""
        self.copier.compare(sighting, artifact, live=False)

    def wait(self):
        """Wait until a copy has come to its end."""
        assert self.mailbox.get(timeout=LONG) is Copied.COPIED

    def _explain(self, error, path):
        self.explained.append((error.errno, path))
        self.blamed.append(error.filename)
        return FULL


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.copier.cancel()


def place_of(copy):
    return copy.where and Path(ResourcePath(copy.where).ospath)


@contextmanager
def stopped(monkeypatch, sighting):
    """Let the copying of one file stop before its first byte, as long as this lasts."""
    reached, go_on = threading.Event(), threading.Event()
    copy_file = copying.copy_file

    def wait(source, target, **options):
        if source == sighting.path:
            reached.set()
            assert go_on.wait(LONG)
        copy_file(source, target, **options)

    monkeypatch.setattr(staging, "copy_file", wait)
    yield reached
    go_on.set()


def test_a_copy_has_the_content_and_the_mode_of_its_file(bench):
    """A copy is whole when it is lent, ends as the file's name does, and is gone afterwards."""
    sighting = bench.file(os.urandom(100_000), ".fits.gz")
    sighting.path.chmod(0o440)
    bench.begin(sighting := sighting_of(sighting.path))
    bench.wait()
    with bench.copier.finished() as copies:
        (copy,) = copies
        assert copy == Copy(sighting.path, copy.where)
        assert place_of(copy).read_bytes() == sighting.path.read_bytes()
        assert place_of(copy).stat().st_mode == sighting.path.stat().st_mode
        assert place_of(copy).name.endswith(".fits.gz")
        assert place_of(copy).parent.parent == bench.store

    assert list(bench.store.iterdir()) == []
    with bench.copier.finished() as copies:
        assert copies == []


def test_a_copy_is_durable_before_it_is_told_of(bench, monkeypatch):
    """The disk has all of a copy when its end is posted."""
    flushed = []
    fsync = os.fsync

    def note(descriptor):
        fsync(descriptor)
        flushed.append((os.fstat(descriptor).st_ino, bench.mailbox.empty()))

    monkeypatch.setattr(os, "fsync", note)
    bench.begin(bench.file())
    bench.wait()
    with bench.copier.finished() as (copy,):
        assert flushed == [(place_of(copy).stat().st_ino, True)]


def test_what_was_moved_away_is_not_missed(bench):
    """A copy that the repository took is its own."""
    bench.begin(bench.file())
    bench.wait()
    with bench.copier.finished() as (copy,):
        place_of(copy).rename(bench.store / "artifact.fits")

    assert [path.name for path in bench.store.iterdir()] == ["artifact.fits"]


def test_a_small_file_does_not_wait_for_a_large_one(bench, monkeypatch):
    """However long a ramp takes, a CCD file is copied meanwhile, and its copy removed once it is stored."""
    monkeypatch.setattr(copier, "SMALL", 100)
    large, small = bench.file(bytes(101)), bench.file(bytes(100))
    with stopped(monkeypatch, large) as reached:
        bench.begin(large)
        assert reached.wait(LONG)
        bench.begin(small)
        bench.wait()
        with bench.copier.finished() as copies:
            assert [copy.source for copy in copies] == [small.path]
        (folder,) = bench.store.iterdir()
        assert len({path.name for path in folder.iterdir()} - {"lock"}) == 1
    bench.wait()
    with bench.copier.finished() as copies:
        assert [copy.source for copy in copies] == [large.path]


def test_what_arrived_just_now_goes_first(bench, monkeypatch):
    """A live file overtakes a backlog that was given to the copier before."""
    first, old, older, live = (bench.file(bytes(n)) for n in range(1, 5))
    with stopped(monkeypatch, first) as reached:
        bench.begin(first)
        assert reached.wait(LONG)
        bench.begin(old, older)
        bench.begin(live, live=True)
    for _ in range(4):
        bench.wait()
    with bench.copier.finished() as copies:
        assert [copy.source for copy in copies] == [each.path for each in (first, live, old, older)]


def test_a_full_lane_has_no_room(bench, monkeypatch):
    """With enough to copy in the large lane there is room for small files alone, in both for none."""
    monkeypatch.setattr(copier.Lane, "put", lambda *_, **__: None)
    ramp = replace(bench.file(), size=2_200_000_000)
    ccd = replace(bench.file(), size=36_000_000)
    rooms = [bench.copier.room()]
    for sighting, times in ((ramp, 1), (ramp, 1), (ccd, 14), (ccd, 1)):
        bench.begin(*[sighting] * times)
        rooms.append(bench.copier.room())
    bench.copier.cancel()

    assert [*rooms, bench.copier.room()] == [None, None, copier.SMALL, copier.SMALL, 0, None]


def test_a_cancelled_copy_ends_within_a_chunk(bench, monkeypatch):
    """Nothing of a cancelled copy is told or left, though its thread is still at it; others can follow."""
    monkeypatch.setattr(copying, "CHUNK", 10)
    sighting, waiting = bench.file(bytes(1000)), bench.file(bytes(1000))
    chunks, reached, go_on = [], threading.Event(), threading.Event()
    send = os.copy_file_range

    def wait(*arguments):
        chunks.append(arguments)
        reached.set()
        assert go_on.wait(LONG)
        return send(*arguments)

    monkeypatch.setattr(os, "copy_file_range", wait)
    bench.begin(sighting, waiting)
    assert reached.wait(LONG)
    bench.copier.cancel()
    assert list(bench.store.iterdir()) == []
    go_on.set()
    monkeypatch.setattr(os, "copy_file_range", send)
    bench.begin(last := bench.file())
    bench.wait()
    with bench.copier.finished() as copies:
        assert [copy.source for copy in copies] == [last.path]
    assert len(chunks) == 1
    with pytest.raises(Empty):
        bench.mailbox.get(block=False)


def test_copies_that_end_are_forgotten_when_cancelled(bench):
    """A copy that was there and not taken yet is not told of later."""
    bench.begin(bench.file())
    bench.wait()
    bench.copier.cancel()
    with bench.copier.finished() as copies:
        assert copies == []
    assert list(bench.store.iterdir()) == []


def test_cancelling_while_copies_are_lent_removes_all(bench):
    """An outage that is found out with a copy in hand leaves nothing behind."""
    bench.begin(bench.file(), bench.file())
    bench.wait()
    bench.wait()
    with bench.copier.finished():
        bench.begin(bench.file())
        bench.copier.cancel()
    assert list(bench.store.iterdir()) == []


def rewrite(path):
    path.write_bytes(bytes(range(200)))


def truncate(path):
    os.truncate(path, 50)


def exchange(path):
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("meddle", [rewrite, truncate, exchange, os.unlink])
@pytest.mark.parametrize("chunk", [0, 3])
def test_of_a_file_that_is_meddled_with_there_is_no_copy(bench, monkeypatch, meddle, chunk):
    """A file that is another one before its copy begins, or is changed during it, is not copied."""
    monkeypatch.setattr(copying, "CHUNK", 20)
    sighting = bench.file(bytes(100))
    chunks, send = count(1), os.copy_file_range

    def meddled(*arguments):
        if next(chunks) == chunk:
            meddle(sighting.path)
        return send(*arguments)

    monkeypatch.setattr(os, "copy_file_range", meddled)
    if not chunk:
        meddle(sighting.path)
    bench.begin(sighting)
    bench.wait()
    with bench.copier.finished() as (copy,):
        # What was opened is copied, whatever becomes of its name: the repository compares that.
        whole = bool(chunk) and meddle in {exchange, os.unlink}
        assert (copy.source, copy.where is not None) == (sighting.path, whole)
        if meddle in {rewrite, truncate} or (meddle is exchange and not chunk):
            assert (copy.error.code, type(copy.error)) == (Code.RACE, TryLater)
    assert list(bench.store.iterdir()) == []
    assert chunk or next(chunks) == 1


def test_a_disk_that_fills_up_is_told_in_our_words(bench, monkeypatch):
    """ENOSPC in the middle of a copy is sorted by the repository, and the half copy removed."""
    monkeypatch.setattr(copying, "CHUNK", 20)
    calls, send = count(), os.copy_file_range

    def fill(*arguments):
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return send(*arguments)

    monkeypatch.setattr(os, "copy_file_range", fill)
    bench.begin(sighting := bench.file(bytes(100)))
    bench.wait()
    with bench.copier.finished() as copies:
        assert copies == [Copy(sighting.path, error=FULL)]
    assert bench.explained == [(errno.ENOSPC, sighting.path)]
    assert list(bench.store.iterdir()) == []


def test_a_datastore_that_is_gone_is_told_in_our_words(bench):
    """Where not even an empty file can be made, the copy has come to its end, too."""
    bench.store.rmdir()
    bench.begin(sighting := bench.file())
    bench.wait()
    with bench.copier.finished() as copies:
        assert copies == [Copy(sighting.path, error=FULL)]
    assert bench.explained == [(errno.ENOENT, sighting.path)]


def test_an_error_that_nobody_foresaw_reaches_the_loop(bench, monkeypatch):
    """A fault in the copier itself is not lost on its thread."""

    def fail(*_args, **_kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(staging, "copy_file", fail)
    bench.begin(bench.file())
    bench.wait()
    with pytest.raises(RuntimeError, match="a bug"), bench.copier.finished():
        pass
    assert list(bench.store.iterdir()) == []


@pytest.mark.parametrize("content", [b"SIMPLE  =" * 10, b"SIMPLE  =" * 9 + b"another =", b"SIMPLE  =" * 11])
def test_a_copy_is_compared_where_its_file_will_be_removed(bench, monkeypatch, content):
    """Bytes that the disk has garbled cost no source: a copy that differs is none."""
    bench.copier = bench.new(move=True)
    monkeypatch.setattr(staging, "link_file", lambda *_: False)
    fsync = os.fsync

    def garble(descriptor):
        fsync(descriptor)
        Path(f"/proc/self/fd/{descriptor}").write_bytes(content)

    monkeypatch.setattr(os, "fsync", garble)
    bench.begin(sighting := bench.file(b"SIMPLE  =" * 10))
    bench.wait()
    with bench.copier.finished() as (copy,):
        same = content == sighting.path.read_bytes()
        assert (copy.where is not None, copy.error is None) == (same, same)


@pytest.mark.parametrize(
    "code", [None, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM]
)
def test_files_that_the_kernel_does_not_copy_are_copied_all_the_same(tmp_path, monkeypatch, code):
    """Between disks of different kinds, and where the kernel copies nothing without a word, we do."""

    def refuse(*_):
        if code:
            raise OSError(code, os.strerror(code))
        return 0

    monkeypatch.setattr(os, "copy_file_range", refuse)
    monkeypatch.setattr(copying, "BUFFER", 1000)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(content := os.urandom(12_345))
    target.touch()
    copying.copy_file(source, target)
    assert target.read_bytes() == content


def test_what_can_be_linked_is_not_copied_where_its_file_will_be_removed(bench, monkeypatch):
    """A second name is as good as a copy then; the contents have to be on the disk all the same."""
    flushed = []
    monkeypatch.setattr(staging, "flush", lambda path: flushed.append(path.stat().st_ino))
    bench.copier = bench.new(move=True)
    bench.begin(sighting := bench.file())
    bench.wait()
    with bench.copier.finished() as (copy,):
        assert place_of(copy).samefile(sighting.path)
        assert flushed == [sighting.inode]
    assert sighting.path.exists()


def test_another_file_that_was_linked_is_no_copy(bench):
    """What took the name of the file before the link was made is found out."""
    bench.copier = bench.new(move=True)
    sighting = bench.file()
    exchange(sighting.path)
    bench.begin(sighting)
    bench.wait()
    with bench.copier.finished() as (copy,):
        assert (place_of(copy), copy.error.code) == (None, Code.RACE)


def test_a_file_that_ends_too_early_is_no_copy(bench, monkeypatch):
    """A file server that gives less than the file has, and no error, costs an attempt, and no byte."""
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    bench.begin(bench.file())
    bench.wait()
    with bench.copier.finished() as (copy,):
        assert (place_of(copy), copy.error.code) == (None, Code.RACE)


@pytest.mark.parametrize("content", [b"SIMPLE  =" * 10, b"SIMPLE  =" * 9 + b"another ="])
def test_a_file_is_compared_with_an_artifact(bench, content):
    """Whether they are the same is told, and of which artifact; nothing is left in the store."""
    sighting, artifact = bench.file(b"SIMPLE  =" * 10), bench.artifact(content)
    bench.compare(sighting, artifact)
    bench.wait()
    with bench.copier.finished() as (comparison,):
        same = content == sighting.path.read_bytes()
        found = found_at(ResourcePath(artifact))
        assert comparison == Comparison(seen=sighting, artifact=artifact, mark=found.mark, same=same)
    assert [path.name for path in bench.store.iterdir()] == ["artifact.fits"]


def test_a_small_file_does_not_wait_for_a_large_comparison(bench, monkeypatch):
    """However long it takes to compare a ramp, a CCD file is copied, or compared, meanwhile."""
    monkeypatch.setattr(copier, "SMALL", 100)
    large, small, other = bench.file(bytes(101)), bench.file(bytes(100)), bench.file(bytes(100))
    reached, go_on = threading.Event(), threading.Event()
    compare = comparing.same_bytes

    def wait(source, *args, **options):
        if source == large.path:
            reached.set()
            assert go_on.wait(LONG)
        return compare(source, *args, **options)

    monkeypatch.setattr(comparing, "same_bytes", wait)
    artifact = bench.artifact(bytes(101))
    bench.compare(large, artifact)
    assert reached.wait(LONG)
    bench.begin(small)
    bench.compare(other, artifact)
    bench.wait()
    bench.wait()
    with bench.copier.finished() as ended:
        assert [each.source for each in ended] == [small.path, other.path]
    assert [path.name for path in bench.store.iterdir()] == ["artifact.fits"]
    go_on.set()
    bench.wait()
    with bench.copier.finished() as (comparison,):
        assert (comparison.source, comparison.same) == (large.path, True)


def test_what_is_compared_takes_room(bench, monkeypatch):
    """A lane that is full of comparisons is full."""
    monkeypatch.setattr(copier.Lane, "put", lambda *_, **__: None)
    bench.compare(replace(bench.file(), size=256_000_000), "file:///artifact")
    assert (bench.copier.room(), bench.copier.left()) == (None, 256_000_000)
    bench.compare(replace(bench.file(), size=256_000_000), "file:///artifact")
    assert (bench.copier.room(), bench.copier.left()) == (0, 0)


def test_a_cancelled_comparison_ends_within_a_chunk(bench, monkeypatch):
    """Nobody is told of it, and the lane goes on."""
    monkeypatch.setattr(copying, "BUFFER", 10)
    reached, go_on, chunks = threading.Event(), threading.Event(), []
    read = copying._read  # noqa: SLF001 (the moment that is meant)

    def wait(*arguments):
        chunks.append(arguments)
        reached.set()
        assert go_on.wait(LONG)
        return read(*arguments)

    monkeypatch.setattr(copying, "_read", wait)
    artifact = bench.artifact(bytes(1000))
    bench.compare(bench.file(bytes(1000)), artifact)
    assert reached.wait(LONG)
    bench.copier.cancel()
    go_on.set()
    monkeypatch.setattr(copying, "_read", read)
    bench.compare(last := bench.file(bytes(1000)), artifact)
    bench.wait()
    with bench.copier.finished() as ended:
        assert [each.source for each in ended] == [last.path]
    assert len(chunks) <= 2
    with pytest.raises(Empty):
        bench.mailbox.get(block=False)


@pytest.mark.parametrize("meddle", [rewrite, truncate, exchange, os.unlink])
@pytest.mark.parametrize("late", [False, True])
def test_of_a_file_that_is_meddled_with_nothing_is_found_out(bench, monkeypatch, meddle, late):
    """A file that is another one before it is compared, or at the end of it, is another one."""
    sighting, artifact = bench.file(bytes(100)), bench.artifact(bytes(100))
    compare, read = comparing.same_bytes, []

    def meddled(*args, **options):
        read.append(args)
        same = compare(*args, **options)
        meddle(sighting.path)
        return same

    monkeypatch.setattr(comparing, "same_bytes", meddled)
    if not late:
        meddle(sighting.path)
    bench.compare(sighting, artifact)
    bench.wait()
    with bench.copier.finished() as (comparison,):
        error = FULL if meddle is os.unlink else comparison.error
        assert (comparison.same, comparison.error, bool(read)) == (False, error, late)
        assert error is FULL or error.code is Code.RACE


@pytest.mark.parametrize("opened", [False, True])
def test_an_artifact_that_vanishes_is_no_fault_of_the_file(bench, monkeypatch, opened):
    """That it is gone is told, whether it was before or in the middle of it."""
    sighting, artifact = bench.file(bytes(100)), bench.artifact(bytes(100))
    path = bench.store / "artifact.fits"
    if opened:
        looks = iter([comparing.found_at(ResourcePath(artifact)), None])
        monkeypatch.setattr(comparing, "found_at", lambda _: next(looks))
    path.unlink()
    bench.compare(sighting, artifact)
    bench.wait()
    with bench.copier.finished() as (comparison,):
        assert comparison == Comparison(seen=sighting, artifact=artifact)


def test_of_two_files_it_is_told_which_cannot_be_read(bench, monkeypatch):
    """An input/output error says whether it is the file's disk or the repository's that has to be seen to."""
    sighting, artifact = bench.file(bytes(100)), bench.artifact(bytes(100))

    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.name == str(bench.store / "artifact.fits"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    monkeypatch.setattr(Path, "open", lambda path, *_args, **_options: Failing(str(path)))
    bench.compare(sighting, artifact)
    bench.wait()
    monkeypatch.undo()
    with bench.copier.finished() as (comparison,):
        assert comparison.error is FULL
    assert bench.explained == [(errno.EIO, sighting.path)]
    assert bench.blamed == [str(bench.store / "artifact.fits")]


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(bench):
    """Whatever takes the file's name, the lane goes on."""
    sighting = bench.file()
    sighting.path.unlink()
    os.mkfifo(sighting.path)
    bench.begin(sighting)
    bench.wait()
    with bench.copier.finished() as (copy,):
        assert copy.error.code is Code.RACE
