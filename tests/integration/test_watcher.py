"""The watchers, on a real file system and a real inotify."""

import ctypes
import errno
import os
import queue
import threading
import time
from pathlib import Path

import pytest
from watchdog.observers import inotify_c
from watchdog.observers.inotify_c import InotifyFD

from pfs_ingestd.adapters.filesystems import mount_of, only_written_here
from pfs_ingestd.adapters.folder import WatchedFolder
from pfs_ingestd.adapters.watcher import InotifyWatcher, PollWatcher, Watchers
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import Blind, Hint, WatcherHealth
from pfs_ingestd.records import Kind

RAW = "PFSA12345611.fits"
NIGHT = "2025-01-01"
PATIENCE = 100.0
MAX_QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Post:
    """A mailbox, and what it takes to look into it."""

    def __init__(self) -> None:
        self.mailbox = queue.SimpleQueue()
        self.taken = []

    def until(self, *expected) -> None:
        """Take messages until all that is expected has come."""
        end = time.monotonic() + PATIENCE
        missing = set(expected).difference(self.taken)
        while missing:
            self.taken.append(self.mailbox.get(timeout=max(0.0, end - time.monotonic())))
            missing.discard(self.taken[-1])

    def rest(self, watcher) -> list:
        """Stop the watcher and take what is left."""
        watcher.stop()
        while not self.mailbox.empty():
            self.taken.append(self.mailbox.get())
        return self.taken


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    (root / NIGHT / "sps").mkdir(parents=True)
    return root


@pytest.fixture
def folder(root):
    return WatchedFolder({root: tuple(Kind)}, parse=parse, monotonic=time.monotonic)


@pytest.fixture
def post():
    return Post()


@pytest.fixture
def unstarted(root, folder, post):
    watcher = InotifyWatcher([root], subfolders=folder.subfolders, pending=post.mailbox.qsize)
    yield watcher
    watcher.stop()


@pytest.fixture
def watcher(unstarted, post):
    unstarted.start(post.mailbox.put)
    return unstarted


def blind(root: Path, reason: str) -> list[WatcherHealth]:
    return [WatcherHealth(root, "inotify", healthy=False, reason=reason)]


def seeing(root: Path) -> list[WatcherHealth]:
    return [WatcherHealth(root, "inotify", healthy=True)]


def check_until(watcher, expected) -> None:
    """Check until the health is as expected: the kernel tells of a folder's end a moment later."""
    end = time.monotonic() + PATIENCE
    while (health := watcher.check()) != expected and time.monotonic() < end:
        pass
    assert health == expected


def write(path: Path) -> None:
    path.write_bytes(b"x")


def rename_from_dot_name(path: Path) -> None:
    hidden = path.with_name(f".{path.name}")
    hidden.write_bytes(b"x")
    hidden.rename(path)


def rename_from_elsewhere(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    elsewhere.write_bytes(b"x")
    elsewhere.rename(path)


def replace(path: Path) -> None:
    path.write_bytes(b"x")
    rename_from_dot_name(path)


def hard_link(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    elsewhere.write_bytes(b"x")
    path.hardlink_to(elsewhere)


def symbolic_link(path: Path) -> None:
    elsewhere = path.parents[2] / ".elsewhere"
    elsewhere.write_bytes(b"x")
    path.symlink_to(elsewhere)


def append(path: Path) -> None:
    path.write_bytes(b"x")
    with path.open("ab") as file:
        file.write(b"y")


@pytest.mark.parametrize(
    ("arrive", "closed"),
    [
        (write, True),
        (append, True),
        (rename_from_dot_name, True),
        (rename_from_elsewhere, True),
        (replace, True),
        (hard_link, False),
        (symbolic_link, False),
    ],
)
def test_arrival_of_a_file_is_hinted_at(root, watcher, post, arrive, closed):
    """However a file arrives there is a hint, which says that its writer is done only where that is known."""
    path = root / NIGHT / "sps" / RAW

    arrive(path)

    post.until(Hint(path, closed=closed))
    hints = [message for message in post.rest(watcher) if message.path.name == RAW]
    assert any(hint.closed for hint in hints) is closed


def test_file_being_written_is_hinted_at(root, watcher, post):
    """A file whose writer is not done is hinted at when it comes, and again when it is closed."""
    path = root / NIGHT / "sps" / RAW

    with path.open("wb"):
        post.until(Hint(path, closed=False))
    post.until(Hint(path, closed=True))

    assert post.rest(watcher) == [Hint(path, closed=False), Hint(path, closed=True)]


def make_at_once(night: Path) -> None:
    (night / "sps").mkdir(parents=True)
    (night / "sps" / RAW).write_bytes(b"x")


def move_in(night: Path) -> None:
    make_at_once(night.parents[1] / "elsewhere")
    (night.parents[1] / "elsewhere").rename(night)


def move_within(night: Path) -> None:
    make_at_once(night.with_name("2025-01-02-incoming"))
    night.with_name("2025-01-02-incoming").rename(night)


def show(night: Path) -> None:
    make_at_once(night.with_name(".incoming"))
    night.with_name(".incoming").rename(night)


def link_in(night: Path) -> None:
    make_at_once(night.parents[1] / "elsewhere")
    night.symlink_to(night.parents[1] / "elsewhere")


def link_moved_in(night: Path) -> None:
    make_at_once(night.parents[1] / "elsewhere")
    night.with_name(".link").symlink_to(night.parents[1] / "elsewhere")
    night.with_name(".link").rename(night)


def linked_below(night: Path) -> None:
    make_at_once(night.parents[1] / "elsewhere")
    night.mkdir()
    (night / "sps").symlink_to(night.parents[1] / "elsewhere" / "sps")


@pytest.mark.parametrize(
    "arrive", [make_at_once, move_in, move_within, show, link_in, link_moved_in, linked_below]
)
def test_arrival_of_a_folder_is_hinted_at(root, watcher, folder, post, arrive):
    """However a folder arrives, the hints lead to the files in it, and to those that come into it later."""
    night = root / "2025-01-02"
    early, late = night / "sps" / RAW, night / "sps" / "PFSA12345711.fits"

    arrive(night)
    end = time.monotonic() + PATIENCE
    found = set()
    while early not in found:
        message = post.mailbox.get(timeout=max(0.0, end - time.monotonic()))
        found.update(folder.beneath(message.path))
    # The hint of a folder may be followed while the folders in it are still being watched, each in its turn.
    barrier = root / "barrier"
    barrier.mkdir()
    post.until(Hint(barrier, closed=False))
    late.write_bytes(b"x")

    post.until(Hint(late, closed=True))
    assert watcher.check() == seeing(root)
    assert [hint for hint in post.rest(watcher) if hint.path == late] == [
        Hint(late, closed=False),
        Hint(late, closed=True),
    ]


def test_new_folder_is_watched_before_it_is_hinted_at(root, unstarted, post):
    """What comes into a new folder while its hint is being followed is hinted at, too."""
    night = root / "2025-01-02"

    def put(message):
        post.mailbox.put(message)
        if message.path == night:
            (night / RAW).write_bytes(b"x")

    unstarted.start(put)
    night.mkdir()

    post.until(Hint(night / RAW, closed=True))


@pytest.mark.usefixtures("watcher")
def test_many_folders_filled_at_once_are_all_found(root, folder, post):
    """Of files written at once into new folders none is missed, whether or not its folder was watched yet."""
    paths = {root / f"2025-02-{night:02}" / "sps" / RAW for night in range(1, 29)}

    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")

    end = time.monotonic() + PATIENCE
    found = set()
    while not paths <= found:
        message = post.mailbox.get(timeout=max(0.0, end - time.monotonic()))
        found.update(folder.beneath(message.path))
    assert paths == found


def test_loops_of_links_change_no_path(root, unstarted, post, tmp_path):
    """A loop of links is not walked, and files are hinted at under the paths that a scan finds them at."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "round").symlink_to(store)
    (root / NIGHT / "ramps").symlink_to(store)
    (root / NIGHT / "again").symlink_to(root)
    unstarted.start(post.mailbox.put)
    paths = (root / NIGHT / "sps" / RAW, root / NIGHT / "ramps" / RAW)
    for path in paths:
        path.write_bytes(b"x")

    post.until(*(Hint(path, closed=True) for path in paths))

    assert post.rest(unstarted) == [Hint(path, closed=closed) for path in paths for closed in (False, True)]


def test_hidden_names_are_not_hinted_at(root, watcher, post):
    """Of hidden files and of what is in hidden folders nothing is said."""
    (root / ".trash").mkdir()
    (root / ".trash" / RAW).write_bytes(b"x")
    (root / f".{RAW}").write_bytes(b"x")
    (root / RAW).write_bytes(b"x")

    post.until(Hint(root / RAW, closed=True))

    assert post.rest(watcher) == [Hint(root / RAW, closed=False), Hint(root / RAW, closed=True)]


def test_names_of_any_bytes_are_hinted_at(root, watcher, post):
    """A name that is not UTF-8 arrives in a hint unharmed."""
    path = root / os.fsdecode(b"2025\xff\n")
    path.write_bytes(b"x")

    post.until(Hint(path, closed=True))
    assert path in {hint.path for hint in post.rest(watcher)}


def test_too_many_hints_become_one_blindness(root, folder, post):
    """Hints beyond the limit are dropped; one call for a scan stands for all, until there is room again."""
    sizes = [0, 1, 2, 3, 3, 3, 0, 3]
    pending = iter(sizes)
    watcher = InotifyWatcher([root], subfolders=folder.subfolders, pending=lambda: next(pending), max_hints=3)
    watcher.start(post.mailbox.put)

    for number in range(len(sizes)):
        os.mkfifo(root / str(number))
    taken = [post.mailbox.get(timeout=PATIENCE) for _ in range(6)]

    hints = [Hint(root / str(number), closed=False) for number in range(len(sizes))]
    assert taken == [*hints[:3], Blind.BLIND, hints[6], Blind.BLIND]
    assert post.rest(watcher) == []


def test_overflow_of_the_kernels_queue_is_noticed(root, folder, post):
    """When the kernel drops events a scan is asked for, and from the next check on all is seen again."""
    if MAX_QUEUED > 100_000:
        pytest.skip("the kernel's queue is too long to be filled in a test")
    gate = threading.Event()

    def put(message):
        post.mailbox.put(message)
        gate.wait(PATIENCE)

    watcher = InotifyWatcher([root], subfolders=folder.subfolders, pending=lambda: 0)
    watcher.start(put)
    # By turns, for the kernel merges an event with one just like it.
    for number in range(MAX_QUEUED + 4000):
        os.close(os.open(root / str(number % 2), os.O_CREAT | os.O_WRONLY))
    (root / "2025-01-02").mkdir()
    gate.set()
    post.until(Blind.BLIND)

    first = watcher.check()
    second = watcher.check()
    (root / "2025-01-02" / RAW).write_bytes(b"x")

    post.until(Hint(root / "2025-01-02" / RAW, closed=True))
    assert (first, second) == (blind(root, "the kernel's queue of events overflowed"), seeing(root))
    assert post.rest(watcher).count(Blind.BLIND) == 2


def recreate(root: Path) -> None:
    for folder in (root / NIGHT / "sps", root / NIGHT, root):
        folder.rmdir()
    (root / NIGHT / "sps").mkdir(parents=True)


def rename_away_and_replace(root: Path) -> None:
    root.rename(root.with_name("old"))
    (root / NIGHT / "sps").mkdir(parents=True)


def exchange(root: Path) -> None:
    (root.with_name("new") / NIGHT / "sps").mkdir(parents=True)
    root.rename(root.with_name("old"))
    root.with_name("new").rename(root)


@pytest.mark.parametrize("change", [recreate, rename_away_and_replace, exchange])
def test_replaced_root_is_watched_again(root, watcher, post, change):
    """A root that is another folder than it was is found blind once, watched again, and a scan asked for."""
    change(root)

    check_until(watcher, blind(root, "the folder was replaced by another"))
    check_until(watcher, seeing(root))
    (root / NIGHT / "sps" / RAW).write_bytes(b"x")
    post.until(Blind.BLIND, Hint(root / NIGHT / "sps" / RAW, closed=True))
    assert post.rest(watcher).count(Blind.BLIND) == 1


def test_missing_root_is_watched_when_it_comes_back(root, watcher, post):
    """A root that is missing is reported until it is back; only then a scan is asked for."""
    root.rename(root.with_name("away"))
    missing = [watcher.check(), watcher.check()]
    silence = post.mailbox.qsize()
    root.with_name("away").rename(root)
    returned = [watcher.check(), watcher.check()]
    (root / NIGHT / "sps" / RAW).write_bytes(b"x")

    post.until(Hint(root / NIGHT / "sps" / RAW, closed=True))
    assert missing == [blind(root, "the folder is missing")] * 2
    assert (silence, returned[-1]) == (0, seeing(root))


def test_root_that_is_no_folder_is_missing(root, watcher, post):
    """A file in the place of a root is reported as a root that is missing."""
    root.rename(root.with_name("away"))
    root.write_bytes(b"x")

    assert [watcher.check(), watcher.check()] == [blind(root, "the folder is missing")] * 2
    assert post.rest(watcher) == []


def test_root_missing_at_the_start_is_watched_when_it_comes(tmp_path, post):
    """A root that is not there at the start keeps no other from being watched, and is when it comes."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    folder = WatchedFolder({here: tuple(Kind), there: tuple(Kind)}, parse=parse, monotonic=time.monotonic)
    watcher = InotifyWatcher([there, here], subfolders=folder.subfolders, pending=post.mailbox.qsize)
    watcher.start(post.mailbox.put)
    (here / RAW).write_bytes(b"x")
    post.until(Hint(here / RAW, closed=True))
    first = watcher.check()
    there.mkdir()
    watcher.check()
    (there / RAW).write_bytes(b"x")

    post.until(Blind.BLIND, Hint(there / RAW, closed=True))
    assert first == [*blind(there, "the folder is missing"), *seeing(here)]
    assert watcher.check() == [*seeing(there), *seeing(here)]
    watcher.stop()


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if isinstance(thread, InotifyFD)}


def test_dead_thread_is_replaced(root, unstarted, post):
    """When the thread that reads the events dies, it is noticed, replaced, and a scan asked for."""
    before = readers()
    unstarted.start(post.mailbox.put)
    (victim,) = readers() - before
    victim.stop()
    victim.join()

    found = blind(root, "the thread that reads the events died")
    assert (unstarted.check(), unstarted.check()) == (found, seeing(root))
    (root / RAW).write_bytes(b"x")
    post.until(Blind.BLIND, Hint(root / RAW, closed=True))
    unstarted.stop()
    assert readers() - before == set()


def test_no_inotify_instance_is_no_end(root, unstarted, post, monkeypatch):
    """Where the kernel has no instance left the watcher starts blind, and sees as soon as there is one."""

    def refuse():
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr("pfs_ingestd.adapters.watcher.InotifyFD", refuse)
        unstarted.start(post.mailbox.put)
        refused = [unstarted.check(), unstarted.check()]
        silence = post.mailbox.qsize()
    found = blind(root, "inotify is not to be had: Too many open files")

    assert (refused, silence) == ([found, found], 0)
    assert (unstarted.check(), unstarted.check()) == (found, seeing(root))
    (root / RAW).write_bytes(b"x")
    post.until(Blind.BLIND, Hint(root / RAW, closed=True))


@pytest.mark.parametrize(
    "refusal",
    [
        (errno.ENOSPC, "", "the folder cannot be watched: No space left on device"),
        (errno.ENOSPC, NIGHT, "1 of its folders cannot be watched: No space left on device"),
        (errno.EACCES, "", "the folder cannot be watched: Permission denied"),
        (errno.EACCES, NIGHT, ""),
    ],
)
def test_folder_that_cannot_be_watched_is_tried_again(root, unstarted, post, monkeypatch, refusal):
    """A folder that cannot be watched makes its root blind, unless it is closed to us, and is made up for."""
    code, below, reason = refusal
    add = inotify_c.inotify_add_watch

    def refuse(descriptor, path, mask):
        if Path(os.fsdecode(path)) != root / below:
            return add(descriptor, path, mask)
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    unstarted.start(post.mailbox.put)
    refused = [unstarted.check(), unstarted.check()]
    silence = post.mailbox.qsize()
    monkeypatch.undo()
    found = [WatcherHealth(root, "inotify", healthy=not reason, reason=reason)]

    assert (refused, silence) == ([found, found], 0)
    assert (unstarted.check(), unstarted.check()) == (found, seeing(root))
    path = root / NIGHT / "sps" / RAW
    path.write_bytes(b"x")
    post.until(Blind.BLIND, Hint(path, closed=True))
    assert post.rest(unstarted).count(Blind.BLIND) == 1


def test_folder_gone_before_it_was_watched_is_no_blindness(root, post):
    """A folder that goes between being listed and being watched is not missed."""
    watcher = InotifyWatcher([root], subfolders=lambda path: [path / "gone"], pending=post.mailbox.qsize)
    watcher.start(post.mailbox.put)

    assert watcher.check() == seeing(root)
    assert post.rest(watcher) == []


def test_watch_limit_is_probed_once_in_a_check(root, unstarted, post, monkeypatch):
    """While the kernel has no watch left, a check asks it once and not for every folder."""
    for number in range(5):
        (root / str(number)).mkdir()
    unstarted.start(post.mailbox.put)
    asked = []

    def refuse(*args):
        asked.append(args)
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    for number in range(5, 9):
        (root / str(number)).mkdir()
        post.until(Hint(root / str(number), closed=False))
    asked.clear()

    assert unstarted.check() == blind(root, "4 of its folders cannot be watched: No space left on device")
    assert len(asked) == 1


def test_stopped_watcher_posts_nothing(root, watcher, post):
    """After a stop nothing is posted, and no thread is left."""
    before = readers()
    watcher.stop()
    (root / RAW).write_bytes(b"x")

    assert (post.mailbox.qsize(), len(before - readers())) == (0, 1)


def test_polled_roots_are_always_healthy(tmp_path, post):
    """A polled root is healthy, and nothing is posted for it."""
    watcher = PollWatcher([tmp_path])
    watcher.start(post.mailbox.put)
    (tmp_path / RAW).write_bytes(b"x")

    assert watcher.check() == [WatcherHealth(tmp_path, "poll", healthy=True)]
    assert post.rest(watcher) == []


def test_roots_may_be_watched_in_different_ways(root, folder, post, tmp_path):
    """Several watchers work as one."""
    local = InotifyWatcher([root], subfolders=folder.subfolders, pending=post.mailbox.qsize)
    watcher = Watchers(local, PollWatcher([tmp_path]))
    watcher.start(post.mailbox.put)
    (root / RAW).write_bytes(b"x")

    post.until(Hint(root / RAW, closed=True))
    assert watcher.check() == [*seeing(root), WatcherHealth(tmp_path, "poll", healthy=True)]
    assert Blind.BLIND not in post.rest(watcher)


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
24 22 0:40 / /net rw - autofs auto rw
25 24 0:41 / /net/data\\040root rw shared:7 - nfs4 server:/data rw
26 22 8:2 / /local rw - xfs /dev/sda2 rw
27 26 0:42 / /local/mixed/2025-01-01 rw - fuse.sshfs host:/ rw
28 22 8:3 / /covered rw - nfs server:/old rw
29 22 8:4 / /covered rw - ext4 /dev/sda3 rw
30 22 8:5 / /disk rw - fuseblk /dev/sda5 rw
"""


@pytest.mark.parametrize(
    ("folder", "local"),
    [
        ("/", False),
        ("/home/pfs", True),
        ("/local/pfs", True),
        ("/local/mixed", False),
        ("/local/mixed/2025-01-01/sps", False),
        ("/local/mixed/2025-01-01-more", True),
        ("/net/data root/raw", False),
        ("/net/data", True),
        ("/covered/raw", True),
        ("/disk/raw", True),
    ],
)
def test_only_local_file_systems_are_watched(tmp_path, folder, local):
    """A tree is watched only if neither it nor anything mounted below it is written to by other hosts."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)

    assert only_written_here(Path(folder), mounts) is local


@pytest.mark.parametrize(
    ("folder", "mount"),
    [
        ("/home/pfs", "/"),
        ("/local/mixed/2025-01-01/sps", "/local/mixed/2025-01-01"),
        ("/local/mixed/2025-01-01-more", "/local"),
        ("/net/data root", "/net/data root"),
    ],
)
def test_mount_of_a_folder_is_the_nearest_above_it(tmp_path, folder, mount):
    """A folder's file system is the one that is mounted deepest on the way to it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)

    assert mount_of(Path(folder), mounts) == Path(mount)


def test_file_system_is_looked_up_behind_links(tmp_path):
    """A link is judged by where it leads to, and without the kernel's list nothing is watched."""
    mounts = tmp_path / "mountinfo"
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    mounts.write_text(f"{MOUNTS}31 22 0:43 / {tmp_path}/data rw - nfs4 server:/data rw\n")

    assert only_written_here(tmp_path / "link", mounts) is False
    assert only_written_here(tmp_path / "data", tmp_path / "missing") is False
