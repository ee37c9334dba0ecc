"""The file of the log on a real disk."""

import json
import logging
import os

import pytest
import structlog

from in_process import logging_restored
from pfs_ingestd.bursts import burst
from pfs_ingestd.logs import configure_logs


@pytest.fixture
def path(tmp_path):
    """Have a log that goes to a file, and leave logging as it was."""
    path = tmp_path / "log"
    with logging_restored():
        configure_logs(level="info", format="json", file=path, stream=None)
        yield path


@pytest.fixture
def full_disk(monkeypatch):
    """Have a disk with room for so many bytes; `None` for as many as are wanted."""
    room = {"bytes": None}
    write = os.write

    def write_some(file, data):
        if room["bytes"] is None:
            return write(file, data)
        if room["bytes"] == 0:
            raise OSError(28, "No space left on device")
        written = write(file, data[: room["bytes"]])
        room["bytes"] -= written
        return written

    monkeypatch.setattr(os, "write", write_some)
    return room


def say(event):
    structlog.get_logger().info(event)


def told(path):
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_logrotate_may_rename_the_file(path):
    """After a rename the next line goes into a new file of the name, and none is lost."""
    say("file.one")
    path.rename(path.with_suffix(".1"))
    say("file.two")
    assert (told(path.with_suffix(".1")), told(path)) == (["file.one"], ["file.two"])


def test_logrotate_may_create_the_new_file_itself(path):
    """A file that is there already after the rename is taken up."""
    say("file.one")
    path.rename(path.with_suffix(".1"))
    path.touch()
    say("file.two")
    assert (told(path.with_suffix(".1")), told(path)) == (["file.one"], ["file.two"])


def test_logrotate_may_truncate_the_file(path):
    """After copytruncate the file begins anew, without a hole of zeros."""
    say("file.one")
    os.truncate(path, 0)
    say("file.two")
    assert told(path) == ["file.two"]


def test_a_full_disk_stops_nothing_and_is_told(path, full_disk, capfd):
    """Lines that find no room are counted; those before and after are whole, each on its line."""
    say("file.one")
    full_disk["bytes"] = 10
    say("file.two")
    say("file.three")
    full_disk["bytes"] = None
    say("file.four")
    first, torso, *rest = path.read_text().splitlines()
    assert json.loads(first)["event"] == "file.one"
    assert len(torso) == 10
    assert [(json.loads(line)["event"], json.loads(line).get("lost")) for line in rest] == [
        ("file.four", None),
        ("log.resumed", 2),
    ]
    assert capfd.readouterr().err == f"the log cannot be written to {path}: No space left on device\n"


def test_where_no_new_file_can_be_had_the_old_one_is_written_on(path, capfd):
    """A rotated log whose folder refuses a new file goes on in the renamed one, and stderr says so."""
    say("file.one")
    path.rename(path.with_suffix(".1"))
    path.symlink_to(path.parent / "none" / "log")
    say("file.two")
    path.unlink()
    say("file.three")
    assert told(path.with_suffix(".1")) == ["file.one", "file.two"]
    assert told(path) == ["file.three", "log.resumed"]
    assert capfd.readouterr().err == f"the log cannot be written to {path}: No such file or directory\n"


def test_a_line_that_cannot_be_made_costs_only_itself(path, monkeypatch):
    """A bug in the making of a line does not reach the one who logs."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("library").warning("%d", "no number")
    say("file.two")
    assert told(path) == ["file.two"]


def test_what_is_told_in_a_burst_is_written_together(path, monkeypatch):
    """A burst is one write of whole lines, in order; after it each line is written at once again."""
    sizes = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: sizes.append(data.count(b"\n")) or write(file, data))
    with burst():
        say("file.one")
        say("file.two")
        assert told(path) == []
    say("file.three")
    assert (told(path), sizes) == (["file.one", "file.two", "file.three"], [2, 1])


def test_a_burst_comes_to_its_end_whatever_happens(path):
    """What was told before something went wrong is in the log."""

    def fail():
        with burst():
            say("file.one")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert told(path) == ["file.one"]


@pytest.mark.parametrize("beyond", [0, 10])
def test_of_a_burst_on_a_full_disk_the_missing_lines_are_counted(path, full_disk, beyond):
    """Those that found room are whole; the others are counted, and no line is left empty."""
    say("file.one")
    full_disk["bytes"] = path.stat().st_size + beyond
    with burst():
        for number in ("two", "six", "ten"):
            say(f"file.{number}")
    full_disk["bytes"] = None
    say("file.last")
    lines = path.read_text().splitlines()
    torsos = [line for line in lines if not line.endswith("}")]
    assert [len(line) for line in torsos] == ([beyond] if beyond else [])
    events = [json.loads(line) for line in lines if line not in torsos]
    assert [(event["event"], event.get("lost")) for event in events] == [
        ("file.one", None),
        ("file.two", None),
        ("file.last", None),
        ("log.resumed", 2),
    ]
