"""The room on disks, of which one may never answer."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

from pfs_ingestd.adapters.disks import GRACE, INTERVAL, SILENCE, Disks
from pfs_ingestd.status import DiskRoom


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def answer(free):
    return SimpleNamespace(f_bavail=free, f_blocks=10, f_frsize=1000)


def test_a_real_disk_answers_at_once(tmp_path):
    """The first question already has its answer, with what an unprivileged user may write."""
    found = os.statvfs(tmp_path)
    (room,) = Disks({"status": tmp_path}, monotonic=Time()).room()
    assert (room.what, room.folder, room.size, room.reason) == (
        "status",
        tmp_path,
        found.f_blocks * found.f_frsize,
        "",
    )
    assert 0 < room.free <= room.size


def test_a_folder_that_is_not_there_is_told(tmp_path):
    """The reason stands where the numbers would be."""
    folder = tmp_path / "none"
    assert Disks({"inbox": folder}, monotonic=Time()).room() == [
        DiskRoom(what="inbox", folder=folder, reason="No such file or directory")
    ]


def test_a_disk_is_asked_every_ten_seconds():
    """In between, the last answer is repeated."""
    answers = iter(range(9, 0, -1))
    time = Time()
    disks = Disks({"inbox": Path("/d")}, monotonic=time, statvfs=lambda _: answer(next(answers)))
    free = []
    for _ in range(4):
        free.append(disks.room()[0].free)
        time.seconds += INTERVAL / 2
    assert free == [9000, 9000, 8000, 8000]


def test_a_disk_that_hangs_holds_nobody_up():
    """One question at a time is asked; after a while it is said that there is no answer, until there is."""
    hangs, asked = threading.Event(), []

    def statvfs(folder):
        asked.append(folder)
        if folder == Path("/nfs"):
            assert hangs.wait(200)
        return answer(5)

    time = Time()
    disks = Disks({"repository": Path("/nfs"), "inbox": Path("/d")}, monotonic=time, statvfs=statvfs)
    first = disks.room()
    time.seconds += max(SILENCE, INTERVAL)
    second = disks.room()
    hangs.set()
    for thread in threading.enumerate():
        if thread.name == "disk of repository":
            thread.join(200)
    third = disks.room()
    well = DiskRoom(what="inbox", folder=Path("/d"), free=5000, size=10000)
    assert first == [DiskRoom(what="repository", folder=Path("/nfs")), well]
    assert second == [
        DiskRoom(what="repository", folder=Path("/nfs"), reason="the disk does not answer"),
        well,
    ]
    assert third == [DiskRoom(what="repository", folder=Path("/nfs"), free=5000, size=10000), well]
    assert asked.count(Path("/nfs")) == 2
    assert GRACE < 1
