"""How the daemon speaks to systemd and to whoever reads its output."""

import contextlib
import socket
import tempfile
from pathlib import Path

import pytest

from pfs_ingestd.records import State
from system.service import PATIENCE, stored, wanted, write

FACTS = {"path", "kind", "visit", "camera", "attempt", "ms"}


@pytest.fixture
def manager():
    """Listen as systemd does; a socket's path must be short."""
    with (
        tempfile.TemporaryDirectory(prefix="notify-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        heard.bind(str(Path(folder, "socket")))
        heard.settimeout(PATIENCE)
        yield heard


def _next(manager):
    """Take the next message as a dictionary."""
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


def test_ready_is_said_after_the_first_scan(site, manager):
    """READY comes when every file that was there is in the inbox, WATCHDOG while it runs, then STOPPING."""
    for number in range(1500):
        (site.data / f"PFSA{number:06d}11.fits").touch()
    service = site.start(NOTIFY_SOCKET=manager.getsockname())
    said = []
    while "READY" not in (message := _next(manager)):
        said.append(message)
    assert sum(site.counts().values()) == 1500
    assert not any("STOPPING" in message for message in said)

    message = _next(manager)
    while not message.get("STATUS", "").startswith("running"):
        message = _next(manager)
    assert message["WATCHDOG"] == "1"
    assert service.stop() == 0
    while "STOPPING" not in message:
        message = _next(manager)
        assert "READY" not in message
    assert message == {"STOPPING": "1"}


def test_the_watchdog_is_served_while_nothing_happens(site, manager):
    """An idle daemon says again and again that its loop turns, with a sentence for `systemctl status`."""
    service = site.start(NOTIFY_SOCKET=manager.getsockname()).running()
    idle = {"WATCHDOG": "1", "STATUS": "running (no files yet)"}
    while _next(manager) != idle:
        pass
    assert idle == _next(manager)
    assert service.stop() == 0


def test_the_output_is_one_json_object_a_line(site):
    """Off a terminal everything that is printed is JSON, one object a line, one line per ingested file."""
    night = write(site.data)
    service = site.start()
    service.wait_for_counts(ingested=4, waiting=1)
    assert service.stop() == 0

    events = service.events
    assert all(event.keys() >= {"timestamp", "level", "event"} for event in events)
    assert (events[0]["event"], events[-1]["event"]) == ("daemon.started", "daemon.stopped")
    ingested = [event for event in events if event["event"] == "file.ingested"]
    assert sorted(map(str, (*night.raws, *night.configs))) == sorted(event["path"] for event in ingested)
    assert all(event.keys() >= FACTS for event in ingested)
    assert {("info", 1000)} == {(event["level"], event["visit"]) for event in ingested}


_HALTED_COPIES = """
import os, time
from pathlib import Path
from pfs_ingestd import assembly

here = Path(__file__).parent

def halted(copy):
    def wait_and_copy(*arguments):
        (here / "begun").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
        return copy(*arguments)
    return wait_and_copy

assembly.INLINE_BYTES = 0
os.copy_file_range, os.sendfile = halted(os.copy_file_range), halted(os.sendfile)
"""


def test_a_long_copy_does_not_alarm_the_watchdog(site, manager, tmp_path):
    """While a copy takes its time, the loop goes on saying that it turns; the file is stored in the end."""
    site.configure(ingest={"transfer": "copy"})
    (tmp_path / "halting").mkdir()
    (tmp_path / "halting" / "sitecustomize.py").write_text(_HALTED_COPIES)
    night = write(site.data, cameras=("b1",))
    service = site.start_interpreter(
        NOTIFY_SOCKET=manager.getsockname(), PYTHONPATH=str(tmp_path / "halting")
    )
    service.wait_for((tmp_path / "halting" / "begun").exists, "the copy")
    manager.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            manager.recv(4096)
    manager.settimeout(PATIENCE)

    said = [_next(manager)["WATCHDOG"] for _ in range(3)]

    assert (said, site.counts()[State.INGESTED]) == (["1"] * 3, 0)
    (tmp_path / "halting" / "go").touch()
    service.wait_for_counts(ingested=2, waiting=1)
    assert stored(site.repository) == wanted(night)
    assert service.stop() == 0
