"""Clock, service manager, signals and lock of the real machine."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from pfs_ingestd.adapters.system import (
    Holder,
    InstanceLock,
    SystemClock,
    SystemdNotifier,
    post_on_signals,
    stop_posting,
)
from pfs_ingestd.errors import Code, Fatal, Outage
from pfs_ingestd.ports import Stop

HOLD = """
import sys
from pathlib import Path
from pfs_ingestd.adapters.system import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener():
    """Listen as systemd does, on a path or on an abstract name."""
    sockets = []

    def listen(address):
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.settimeout(200)
        heard.bind(address)
        sockets.append(heard)
        return heard

    yield listen
    for heard in sockets:
        heard.close()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path/lock."""
    process = subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", HOLD, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def handlers():
    """Put the signal handlers back, and the timer, which pytest's time-out uses, too."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.setitimer(signal.ITIMER_REAL, *timer)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_clock_is_aware_and_utc():
    """Times can be compared with those of any other clock."""
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_chance_is_a_number_from_zero_to_below_one():
    """What spreads retries is a fraction."""
    clock = SystemClock()
    assert all(0 <= clock.random() < 1 for _ in range(100))


def test_time_passes_while_sleeping():
    """After a sleep the clock has gone on by at least that much."""
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.01)
    assert clock.now() - before >= timedelta(seconds=0.01)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_the_whole_life(listener, tmp_path, abstract):
    """Up once, alive with what it is doing in one line, and going down; on both kinds of socket."""
    name = f"@pfs-ingestd-{os.getpid()}" if abstract else str(tmp_path / "notify")
    heard = listener(name.replace("@", "\0"))
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.ready()
    notifier.alive("12 files\nREADY=1 \udcff")
    notifier.stopping()
    assert [heard.recv(1000) for _ in range(3)] == [
        b"READY=1",
        b"WATCHDOG=1\nSTATUS=12 files READY=1 \\udcff",
        b"STOPPING=1",
    ]


def test_without_systemd_nothing_is_said():
    """On a terminal there is nobody to tell."""
    notifier = SystemdNotifier({})
    with capture_logs() as events:
        notifier.ready()
        notifier.alive("working")
        notifier.stopping()
    assert events == []


def test_a_deaf_service_manager_does_no_harm(tmp_path):
    """What cannot be sent is dropped, and that is said once."""
    address = str(tmp_path / "none")
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    with capture_logs() as events:
        notifier.alive("working")
        notifier.alive("working")
    assert events == [
        {
            "event": "notice.dropped",
            "log_level": "warning",
            "address": address,
            "error": "[Errno 2] No such file or directory",
        }
    ]


def test_a_service_manager_that_does_not_read_is_not_waited_for(listener, tmp_path):
    """When its queue is full, the loop goes on."""
    listener(str(tmp_path / "notify"))
    notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with capture_logs() as events:
        for _ in range(10_000):
            notifier.alive("working")
    assert [event["event"] for event in events] == ["notice.dropped"]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_posts_stop(number):
    """The wish to stop arrives in the mailbox, and nothing else happens."""
    mailbox = queue.SimpleQueue()
    post_on_signals(mailbox)
    os.kill(os.getpid(), number)
    assert mailbox.get(timeout=200) is Stop.STOP


def test_a_signal_that_is_not_heeded_interrupts():
    """What is still at work when the patience is over is interrupted, wherever it is."""
    script = """
import os, queue, signal, time
from pfs_ingestd.adapters.system import post_on_signals
from pfs_ingestd.errors import Interrupted
post_on_signals(queue.SimpleQueue(), patience=0.1)
os.kill(os.getpid(), signal.SIGTERM)
try:
    time.sleep(30)
except Interrupted:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603 (our own interpreter)
    assert done.stdout == "interrupted\n"


@pytest.mark.usefixtures("handlers")
def test_signals_are_left_to_the_system_again():
    """After the daemon is taken apart nothing interrupts any more."""
    post_on_signals(queue.SimpleQueue())
    stop_posting()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_second_process_is_refused_and_told_of_the_first(holder, tmp_path):
    """Who holds the lock is named by process and machine."""
    path = tmp_path / "lock"
    with pytest.raises(Fatal) as caught:
        InstanceLock(path).acquire()
    first = f"process {holder.pid} on {socket.gethostname()}"
    assert (caught.value.code, caught.value.message) == (
        Code.ALREADY_RUNNING,
        f"{first} is at work already, with the lock {path}",
    )


def test_others_can_see_who_holds_the_lock(holder, tmp_path):
    """To look does not take the lock."""
    lock = InstanceLock(tmp_path / "lock")
    seen = [lock.holder(), lock.holder()]
    assert seen == [Holder(pid=holder.pid, host=socket.gethostname())] * 2


def test_a_killed_process_holds_no_lock(holder, tmp_path):
    """After SIGKILL the next daemon starts at once, and is the holder."""
    holder.kill()
    holder.wait()
    lock = InstanceLock(tmp_path / "lock")
    assert lock.holder() is None
    lock.acquire()
    assert InstanceLock(tmp_path / "lock").holder() == Holder(pid=os.getpid(), host=socket.gethostname())
    lock.release()


def test_a_released_lock_is_free(tmp_path):
    """What is given back can be taken again, and nobody holds it meanwhile."""
    lock = InstanceLock(tmp_path / "lock")
    lock.acquire()
    lock.release()
    assert lock.holder() is None
    lock.acquire()
    lock.release()


def test_nobody_holds_a_lock_that_never_was(tmp_path):
    """Before the first daemon there is no file."""
    assert InstanceLock(tmp_path / "lock").holder() is None


def test_a_spoiled_lock_file_still_locks(tmp_path):
    """What the file says is for people; the lock is the kernel's."""
    lock = InstanceLock(tmp_path / "lock")
    lock.acquire()
    (tmp_path / "lock").write_text("\0\0")
    with pytest.raises(Fatal, match="process 0 on an unknown host is at work already"):
        InstanceLock(tmp_path / "lock").acquire()
    lock.release()


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path):
    """The content is that of the present holder alone."""
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "h" * 200}))
    lock = InstanceLock(tmp_path / "lock")
    lock.acquire()
    content = json.loads((tmp_path / "lock").read_text())
    lock.release()
    assert content == {"pid": os.getpid(), "host": socket.gethostname()}


def test_a_lock_that_cannot_be_signed_is_an_outage(tmp_path):
    """Where the file does not take the holder's name, the daemon is started again later."""
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(Outage, match="cannot be written") as caught:
        InstanceLock(tmp_path / "lock").acquire()
    assert caught.value.code is Code.STATE_UNREACHABLE


def test_a_lock_that_cannot_be_made_is_a_configuration_error(tmp_path):
    """A folder that is not there is named."""
    with pytest.raises(Fatal) as caught:
        InstanceLock(tmp_path / "none" / "lock").acquire()
    assert caught.value.code is Code.CONFIGURATION
