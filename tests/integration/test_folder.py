"""The watched folders, on a real file system."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from pfs_ingestd.adapters.folder import LONG_AGO, PAUSE, SETTLING, WatchedFolder
from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import FolderMark
from pfs_ingestd.records import FileName, Kind, Sighting

RAW = "PFSA12345611.fits"
RAMP = "PFSB12345613.fits"
CONFIG = "pfsConfig-0x00000000deadbeef-123456.fits"
BOTH = (Kind.RAW, Kind.PFS_CONFIG)


class Stopwatch:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Watch:
    """A watched folder, and marks that are remembered as the inbox would."""

    def __init__(self, roots: Mapping[Path, tuple[Kind, ...]], **options: object) -> None:
        self.stopwatch = Stopwatch()
        self.folder = WatchedFolder(roots, parse=parse, monotonic=self.stopwatch, **options)
        self.marks: dict[Path, FolderMark] = {}

    def scan(self) -> dict[Path, set[str]]:
        found = {}
        for listing in filter(None, self.folder.scan(self.marks)):
            assert listing.mark.folder not in found
            self.marks[listing.mark.folder] = listing.mark
            found[listing.mark.folder] = set(listing.names)
        self.forget_missing()
        return found

    def forget_missing(self) -> None:
        for folder in self.folder.missing():
            del self.marks[folder]

    def settle(self) -> None:
        self.scan()
        self.stopwatch.seconds += SETTLING
        self.scan()
        assert self.scan() == {}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    return root


@pytest.fixture
def watch(root):
    return Watch({root: BOTH})


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def failing(function, where: Path, code: int):
    """Make a function of `os` fail at one path."""

    def fail(path, *args, **options):
        if not isinstance(path, int) and Path(path) == where:
            raise OSError(code, os.strerror(code), os.fspath(path))
        return function(path, *args, **options)

    return fail


def test_first_scan_lists_every_folder(root, watch):
    """The first scan lists every folder that is not hidden, with the names in it that are ours."""
    for name in (RAW, ".PFSB12345623.fits", "agcc_1.fits", "notes.txt"):
        put(root / "2025-01-02" / "sps" / name)
    put(root / "2025-01-02" / "pfsConfig" / CONFIG)
    put(root / ".trash" / RAW)
    put(root / "lost+found" / RAW)
    (root / "2025-01-02" / RAMP).mkdir()

    assert watch.scan() == {
        root: set(),
        root / "2025-01-02": set(),
        root / "2025-01-02" / RAMP: set(),
        root / "2025-01-02" / "sps": {RAW},
        root / "2025-01-02" / "pfsConfig": {CONFIG},
    }


def test_newest_night_is_listed_first(tmp_path):
    """All that is in a night is listed before any earlier night, over all roots together."""
    for folder in ("raw/2025-01-01/sps", "raw/2025-01-03/sps", "config/2025-01-02", "config/2025-01-04"):
        (tmp_path / folder).mkdir(parents=True)
    watch = Watch({tmp_path / "raw": (Kind.RAW,), tmp_path / "config": (Kind.PFS_CONFIG,)})

    listed = [str(path.relative_to(tmp_path)) for path in watch.scan()]

    assert listed == [
        "raw",
        "config",
        "config/2025-01-04",
        "raw/2025-01-03",
        "raw/2025-01-03/sps",
        "config/2025-01-02",
        "raw/2025-01-01",
        "raw/2025-01-01/sps",
    ]


def test_what_a_scan_takes_is_told_for_each_root(tmp_path, monkeypatch):
    """Of two roots whose nights are visited in turns, one sees which is slow; pauses are neither's."""
    quick, slow = tmp_path / "quick", tmp_path / "slow"
    for root in (quick, slow):
        put(root / "2026-03-21" / RAW)
    watch = Watch({quick: BOTH, slow: BOTH})
    scandir = os.scandir

    def listed(folder):
        watch.stopwatch.seconds += 10 if folder.is_relative_to(slow) else 1
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", listed)
    for _ in watch.folder.scan({}):
        watch.stopwatch.seconds += 100
    assert watch.folder.costs() == {quick: 2, slow: 20}


def test_steady_scan_costs_one_stat_per_folder(root, watch, monkeypatch):
    """When nothing changed, a scan stats each folder once, lists none and touches no file."""
    for night in range(5):
        for kind in ("sps", "ramps", "pfsConfig"):
            put(root / f"2025-01-0{night}" / kind / RAW)
    watch.settle()
    calls = []
    for name in ("stat", "lstat", "scandir"):
        function = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda path, *args, f=function, n=name, **kw: (calls.append(n), f(path, *args, **kw))[1]
        )

    found = watch.scan()

    monkeypatch.undo()
    assert (found, calls) == ({}, ["stat"] * (1 + 5 + 15))


def test_change_below_an_unchanged_folder_is_found(root, watch):
    """A file that comes to an old night is found, though nothing changed in the folders above it."""
    put(root / "2025-01-01" / "sps" / RAW)
    put(root / "2025-01-02" / "sps" / RAW)
    watch.settle()

    put(root / "2025-01-01" / "sps" / RAMP)

    assert watch.scan() == {root / "2025-01-01" / "sps": {RAW, RAMP}}


def test_folder_is_listed_until_its_time_has_stood_still(watch):
    """A folder is listed by every scan until its time stood still so long that no tick can hide a file."""
    times = (0, 1, SETTLING - 1, SETTLING, SETTLING + 60)
    start = watch.stopwatch.seconds

    listings = []
    for time in times:
        watch.stopwatch.seconds = start + time
        found = watch.folder.scan(watch.marks)
        listings.append([listing.mark.settled for listing in filter(None, found)])
        watch.scan()

    assert listings == [[False], [False], [False], [True], []]


@pytest.mark.parametrize("age", [LONG_AGO - 1, LONG_AGO])
def test_a_folder_of_an_archive_is_listed_once(root, age):
    """What was last changed long ago has stood still at first sight, though its time may be set back."""
    put(root / RAW)
    os.utime(root, (0, 0))
    watch = Watch({root: BOTH}, now=lambda: root.stat().st_ctime + age)
    assert [watch.scan(), watch.scan()] == [{root: {RAW}}, {} if age >= LONG_AGO else {root: {RAW}}]


def test_change_makes_a_folder_unsettled(root, watch):
    """A folder that changed must stand still from the start before it is settled again."""
    watch.settle()
    put(root / RAW)

    first = watch.scan()
    watch.stopwatch.seconds += SETTLING - 1
    put(root / RAMP)
    second = watch.scan()
    watch.stopwatch.seconds += SETTLING - 1

    assert (first, second, watch.scan()) == ({root: {RAW}}, {root: {RAW, RAMP}}, {root: {RAW, RAMP}})
    assert watch.marks[root].settled is False


def test_marks_outlive_a_restart(root, watch):
    """After a restart a folder that was settled is not reported again, and one that was not is."""
    put(root / "2025-01-01" / RAW)
    watch.settle()
    put(root / "2025-01-02" / RAW)
    watch.scan()
    put(root / "2025-01-01" / RAMP)
    later = Watch({root: BOTH})
    later.marks = watch.marks

    assert later.scan() == {
        root: set(),
        root / "2025-01-02": {RAW},
        root / "2025-01-01": {RAW, RAMP},
    }


def test_time_set_back_hides_nothing(root, watch):
    """A file is found even if the folder's time was set back to what it was, as rsync does."""
    watch.settle()
    before = root.stat()
    put(root / RAW)
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert watch.scan() == {root: {RAW}}


def test_folder_out_of_sight_is_listed_again(root, watch, tmp_path):
    """A folder that was away and came back unchanged is listed, for its files may have been given up."""
    put(root / "2025-01-01" / RAW)
    watch.settle()
    (root / "2025-01-01").rename(tmp_path / "away")
    watch.settle()
    (tmp_path / "away").rename(root / "2025-01-01")

    assert watch.scan()[root / "2025-01-01"] == {RAW}
    watch.settle()


def test_scan_broken_off_forgets_nothing(root, watch):
    """What a scan that was not finished did not come to is listed by the next."""
    for night in ("2025-01-01", "2025-01-02"):
        put(root / night / RAW)

    next(watch.folder.scan(watch.marks))

    assert watch.scan() == {root: set(), root / "2025-01-02": {RAW}, root / "2025-01-01": {RAW}}


def test_linked_folder_is_followed(root, watch, tmp_path):
    """A folder that is a link to a folder elsewhere is visited like any other, under the link's path."""
    put(tmp_path / "store" / RAMP)
    (root / "2025-01-01").mkdir()
    (root / "2025-01-01" / "ramps").symlink_to(tmp_path / "store")
    first = watch.scan()
    watch.settle()
    put(tmp_path / "store" / RAW)

    assert first == {root: set(), root / "2025-01-01": set(), root / "2025-01-01" / "ramps": {RAMP}}
    assert watch.scan() == {root / "2025-01-01" / "ramps": {RAMP, RAW}}


def test_loops_and_second_ways_are_cut(root, watch, tmp_path):
    """Each folder is visited once, however many links lead to it or round in a circle."""
    put(root / "2025-01-01" / "sps" / RAW)
    (root / "2025-01-01" / "again").symlink_to(root)
    (root / "2025-01-01" / "ramps").symlink_to("sps")
    put(tmp_path / "store" / RAMP)
    (tmp_path / "store" / "round").symlink_to(tmp_path / "store")
    (root / "2025-01-01" / "x").symlink_to(tmp_path / "store")
    (root / "2025-01-01" / "y").symlink_to(tmp_path / "store")
    (root / "2025-01-01" / "self").symlink_to("self")

    assert watch.scan() == {
        root: set(),
        root / "2025-01-01": set(),
        root / "2025-01-01" / "y": {RAMP},
        root / "2025-01-01" / "sps": {RAW},
    }


def test_link_that_leads_nowhere_is_watched_for(root, watch, tmp_path):
    """What a link leads to is found when it comes, though the folder that holds the link does not change."""
    (root / "ramps").symlink_to(tmp_path / "store")
    watch.scan()
    watch.stopwatch.seconds += SETTLING
    watch.scan()
    put(tmp_path / "store" / RAMP)

    assert watch.scan() == {root: set(), root / "ramps": {RAMP}}


@pytest.mark.parametrize(("follow_links", "names"), [(False, {RAW}), (True, {RAW, RAMP})])
def test_linked_files_are_ours_inside_the_roots(root, tmp_path, follow_links, names):
    """A link to a file outside of the watched roots is ours only if links are to be followed."""
    put(root / ".hidden" / "inside")
    put(tmp_path / "outside")
    (root / RAW).symlink_to(root / ".hidden" / "inside")
    (root / RAMP).symlink_to(tmp_path / "outside")
    watch = Watch({root: BOTH}, follow_links=follow_links)

    assert watch.scan() == {root: names}
    assert {path.name for path in (root / RAW, root / RAMP) if watch.folder.look(path)} == names


def test_nested_and_repeated_roots_are_visited_once(root):
    """Below nested roots all kinds are wanted that any of them wants, and each folder is visited once."""
    night = root / "2025-01-01"
    for folder in (root, night):
        put(folder / RAW)
        put(folder / CONFIG)
    (root.parent / "alias").symlink_to(root)
    watch = Watch({root: (Kind.RAW,), night: (Kind.PFS_CONFIG,), root.parent / "alias": (Kind.RAW,)})

    assert watch.scan() == {root: {RAW}, night: {RAW, CONFIG}}


def test_one_folder_under_two_roots_is_told_apart_by_kind(root):
    """Of a folder that two roots lead to, each file is listed once, below a root that wants it."""
    alias = root.parent / "alias"
    alias.symlink_to(root)
    put(root / RAW)
    put(root / CONFIG)
    watch = Watch({alias: (Kind.RAW,), root: BOTH})

    assert watch.scan() == {alias: {RAW}, root: {CONFIG}}


def test_names_are_not_read_where_nothing_changed(root, watch):
    """The first scan after a start reads no file's name in a folder that was settled before."""
    put(root / RAW)
    watch.settle()
    folder = WatchedFolder({root: BOTH}, parse=pytest.fail, monotonic=watch.stopwatch)

    assert list(folder.scan(watch.marks)) == [None]


@pytest.mark.parametrize(("seconds", "pauses"), [(0.0, 1), (2 * PAUSE, 4)], ids=["quick", "slow"])
def test_a_scan_can_be_left_now_and_then(root, watch, monkeypatch, seconds, pauses):
    """Where nothing changed it goes on for a moment, and is left after each folder that takes longer."""
    for number in (1, 2, 3):
        (root / f"2025-01-0{number}").mkdir()
    watch.settle()
    stat = os.stat

    def slow(*arguments, **options):
        watch.stopwatch.seconds += seconds
        return stat(*arguments, **options)

    monkeypatch.setattr(os, "stat", slow)

    assert list(watch.folder.scan(watch.marks)) == [None] * pauses


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("function", ["stat", "scandir"])
def test_unreadable_folder_does_not_end_the_scan(root, watch, monkeypatch, code, function):
    """A folder that cannot be read is reported, the rest is scanned, and it is listed once it can be."""
    bad = root / "2025-01-02"
    put(bad / RAW)
    put(root / "2025-01-01" / RAW)
    with monkeypatch.context() as broken:
        broken.setattr(os, function, failing(getattr(os, function), bad, code))
        found = watch.scan()
    problems = watch.folder.problems()
    watch.marks = {path: FolderMark(path, mark.mtime_ns, settled=True) for path, mark in watch.marks.items()}

    assert found == {root: set(), root / "2025-01-01": {RAW}}
    assert {path: (type(error), error.code) for path, error in problems.items()} == {
        bad: (TryLater, Code.UNREADABLE)
    }
    assert (watch.scan(), watch.folder.problems()) == ({bad: {RAW}}, {})


def test_missing_root_is_an_outage_after_the_others(root, tmp_path):
    """A root that is not there is an outage, told after the others were scanned, and over when it is back."""
    put(root / RAW)
    other = tmp_path / "other"
    put(other / "2025-01-01" / RAMP)
    watch = Watch({other: BOTH, root: BOTH})
    watch.settle()
    other.rename(tmp_path / "away")
    put(root / RAMP)
    found = []

    with pytest.raises(Outage, match="other cannot be read: No such file or directory"):
        found.extend(listing.mark.folder for listing in filter(None, watch.folder.scan(watch.marks)))
    watch.forget_missing()
    (tmp_path / "away").rename(other)

    assert found == [root]
    assert watch.scan() == {root: {RAW, RAMP}, other: set(), other / "2025-01-01": {RAMP}}


def test_folder_gone_while_scanning_is_no_problem(root, watch, monkeypatch):
    """A folder that goes between its parent's listing and its own is passed over."""
    (root / "2025-01-01").mkdir()
    monkeypatch.setattr(os, "scandir", failing(os.scandir, root / "2025-01-01", errno.ENOENT))

    assert (watch.scan(), watch.folder.problems()) == ({root: set()}, {})


def test_names_of_any_bytes_are_kept(root, watch):
    """A folder whose name is not UTF-8, or has a newline in it, is scanned and its files looked at."""
    night = root / os.fsdecode(b"2025\xff\n")
    put(night / RAW)

    assert watch.scan() == {root: set(), night: {RAW}}
    assert watch.folder.look(night / RAW).path == night / RAW


def test_look_tells_all_that_one_stat_gives(root, watch):
    """A look at a file gives its name, size, times and inode."""
    path = put(root / "2025-01-01" / RAW, b"abc")
    status = path.stat()

    assert watch.folder.look(path) == Sighting(
        path=path,
        name=FileName(kind=Kind.RAW, visit=123456, arm="b", spectrograph=1),
        size=3,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


@pytest.mark.parametrize(
    "path",
    [
        f"data/missing/{RAW}",
        f"data/plain/{RAW}",
        "data/plain",
        f"data/.hidden/{RAW}",
        f"data/.hidden/night/{RAW}",
        f"data/night/{CONFIG}",
        f"data/night/{RAMP}",
        "data/night/PFSA00000111.fits",
        "data/night/PFSA00000211.fits",
        f"outside/{RAW}",
        f"data/../outside/{RAW}",
        f"data/{'n' * 300}/{RAW}",
    ],
)
def test_look_passes_over_what_is_not_ours(tmp_path, path):
    """A look at what is not there, no file, hidden, outside or of an unwanted kind finds nothing."""
    data = tmp_path / "data"
    for there in (data / ".hidden" / RAW, data / ".hidden" / "night" / RAW, data / "night" / CONFIG):
        put(there)
    put(data / "plain")
    put(tmp_path / "outside" / RAW)
    (data / "night" / RAMP).mkdir()
    os.mkfifo(data / "night" / "PFSA00000111.fits")
    (data / "night" / "PFSA00000211.fits").symlink_to("PFSA00000211.fits")
    watch = Watch({data: (Kind.RAW,)})

    assert watch.folder.look(tmp_path / path) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_look_without_an_answer_is_tried_later(root, watch, monkeypatch, code):
    """A file system that does not answer is not a file that went away."""
    path = put(root / RAW)
    monkeypatch.setattr(os, "lstat", failing(os.lstat, path, code))

    with pytest.raises(TryLater) as caught:
        watch.folder.look(path)

    assert caught.value.code is Code.UNREADABLE


def test_look_tells_a_file_from_its_folder(root, watch, monkeypatch):
    """A file that is gone is gone; one whose folder or root cannot be read, or is gone, is away with it."""
    path = put(root / "night" / RAW)
    with monkeypatch.context() as failing_disk:
        failing_disk.setattr(os, "lstat", failing(os.lstat, path, errno.EIO))
        failing_disk.setattr(os, "scandir", failing(os.scandir, path.parent, errno.EIO))
        with pytest.raises(Outage, match="night cannot be read") as caught:
            watch.folder.look(path)
    path.unlink()
    gone = watch.folder.look(path)
    path.parent.rmdir()
    gone_with_its_folder = watch.folder.look(path)
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(Outage, match=f"{root} cannot be read"):
        watch.folder.look(path)

    assert caught.value.code is Code.ROOT_UNREACHABLE
    assert (gone, gone_with_its_folder) == (None, None)


def test_root_whose_disk_is_gone_is_not_an_empty_folder(tmp_path):
    """Where nothing is mounted any more the root is away, until it is mounted again; a disk may be added."""
    data = tmp_path / "data"
    put(data / RAW)
    mounts = [data, data, tmp_path, data, data / "deeper"]
    folder = WatchedFolder(
        {data: (Kind.RAW,)}, parse=parse, monotonic=lambda: 0.0, mount_of=lambda _: mounts.pop(0)
    )
    answers = []
    while mounts:
        try:
            answers.append(len(list(folder.scan({}))))
        except Outage as error:
            answers.append(error.message)

    assert answers == [1, 1, f"{data} cannot be read: nothing is mounted at {data} any more", 1, 1]


@pytest.mark.parametrize(
    ("hint", "found"),
    [
        (f"data/night/sps/{RAW}", [f"data/night/sps/{RAW}"]),
        (f"data/night/{RAW}", [f"data/night/{RAW}"]),
        ("data/night", [f"data/night/sps/{RAW}", f"data/night/ramps/{RAMP}"]),
        ("data", [f"data/night/sps/{RAW}", f"data/night/ramps/{RAMP}"]),
        ("data/night/ramps", [f"data/night/ramps/{RAMP}"]),
        ("data/night/again", []),
        ("data/night/notes", []),
        ("data/missing", []),
        ("data/.hidden", []),
        ("store", []),
        ("", []),
    ],
)
def test_hint_is_expanded_to_our_files(tmp_path, hint, found):
    """A hint of a file is that file, a hint of a folder all our files below it, any other hint nothing."""
    data = tmp_path / "data"
    put(data / "night" / "sps" / RAW)
    put(data / "night" / "notes")
    put(data / ".hidden" / RAW)
    put(tmp_path / "store" / RAMP)
    (tmp_path / "store" / "round").symlink_to(tmp_path / "store")
    (data / "night" / "ramps").symlink_to(tmp_path / "store")
    (data / "night" / "again").symlink_to(data)
    watch = Watch({data: BOTH})

    assert watch.folder.beneath(tmp_path / hint) == [tmp_path / path for path in found]


def test_subfolders_are_those_that_a_scan_goes_on_to(root, watch, tmp_path):
    """The sub-folders of a folder are neither hidden nor detours, and a folder that is not there has none."""
    for folder in ("2025-01-02", "2025-01-01", ".hidden"):
        (root / folder).mkdir()
    (tmp_path / "store").mkdir()
    (root / "2024-linked").symlink_to(tmp_path / "store")
    (root / "detour").symlink_to("2025-01-01")

    assert watch.folder.subfolders(root) == (root / "2024-linked", root / "2025-01-01", root / "2025-01-02")
    assert watch.folder.subfolders(root / "missing") == ()
    assert watch.folder.subfolders(tmp_path) == ()
