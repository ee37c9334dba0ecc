"""The status file on a real disk."""

import json
import os
import threading

import pytest

from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.errors import Code, Rejected, TryLater, Vanished


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "status"
    path.mkdir()
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(folder):
    """The content comes back whole, and nothing else is in the folder."""
    file = StatusFile(folder / "status.json")
    file.write({"state": "starting", "counts": {"seen": 1}})
    file.write({"state": "running"})
    assert (file.read(), names(folder)) == ({"state": "running"}, ["status.json"])


def test_everybody_may_read_it_and_only_the_daemon_write(folder):
    """The mode does not depend on the umask of who starts the daemon."""
    before = os.umask(0o077)
    try:
        StatusFile(folder / "status.json").write({})
    finally:
        os.umask(before)
    assert (folder / "status.json").stat().st_mode & 0o777 == 0o644


def test_a_reader_never_sees_half(folder):
    """While it is being written, every look finds a whole status."""
    path = folder / "status.json"
    file = StatusFile(path)
    file.write({"text": ""})
    done = threading.Event()
    seen = set()

    def look():
        while not done.is_set():
            content = json.loads(path.read_bytes())
            seen.add(content["text"] == content["text"][:1] * len(content["text"]))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        file.write({"text": "ab"[number % 2] * 20_000})
    done.set()
    reader.join()
    assert seen == {True}


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_failing_disk_leaves_the_old_content_and_nothing_else(folder, monkeypatch, call):
    """If it cannot be written, the caller is told, and no temporary file stays."""
    file = StatusFile(folder / "status.json")
    file.write({"state": "running"})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(TryLater) as caught:
        file.write({"state": "stopping"})
    assert (caught.value.code, file.read(), names(folder)) == (
        Code.STORE_FAILED,
        {"state": "running"},
        ["status.json"],
    )


def test_a_name_that_cannot_be_taken_leaves_nothing(folder):
    """Where a folder has the file's name, the caller is told, and no temporary file stays."""
    (folder / "status.json" / "x").mkdir(parents=True)
    with pytest.raises(TryLater):
        StatusFile(folder / "status.json").write({})
    assert names(folder) == ["status.json"]


def test_a_missing_folder_is_told(tmp_path):
    """The folder is not made: a typing mistake would hide the status."""
    with pytest.raises(TryLater, match="No such file or directory"):
        StatusFile(tmp_path / "none" / "status.json").write({})


def test_what_a_killed_writer_left_is_gone_after_the_next(folder):
    """The temporary file of a process that died has the name that its successor uses."""
    (folder / ".status.json.tmp").write_text('{"state": "runn')
    StatusFile(folder / "status.json").write({})
    assert names(folder) == ["status.json"]


def test_what_json_cannot_hold_is_a_bug_and_leaves_nothing(folder):
    """A value that cannot be written is not half written."""
    with pytest.raises(TypeError):
        StatusFile(folder / "status.json").write({"state": object()})
    assert names(folder) == []


def test_no_status_is_told_as_such(folder):
    """Before the first daemon there is none."""
    with pytest.raises(Vanished):
        StatusFile(folder / "status.json").read()


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b'{"a": ', b"[1]", b"\xff"])
def test_what_is_no_status_is_told_as_such(folder, content):
    """A file that something else has spoiled is no traceback."""
    (folder / "status.json").write_bytes(content)
    with pytest.raises(Rejected):
        StatusFile(folder / "status.json").read()
