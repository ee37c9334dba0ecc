"""Whatever the kernel does not tell, the scan finds, and the status says that the watcher was blind."""

import errno
import os
import shutil
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyFD

from pfs_ingestd.wiring import service
from system.service import burst, counted, stored, wait_for, wanted, write

MAX_QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
BURST_FILES = MAX_QUEUED + 4000

NEVER = "1h"
"""A rescan that no test lives to see: what is found without a hint is found because the watcher was blind."""


def blindness(site):
    """Tell why the first root is not watched at present; empty if it is."""
    return "".join(watcher["reason"] for watcher in site.status().get("watchers", ()))


@pytest.mark.skipif(MAX_QUEUED > 100_000, reason="the kernel's queue does not overflow in a test")
def test_f01_an_overflow_is_told_and_made_up_for(site):
    """Files whose events the kernel dropped are found by a scan, and the next ones are seen as they come."""
    site.configure(watch={"mode": "inotify", "rescan": NEVER})
    (site.data / "noise").mkdir()
    running = site.start().running()
    running.process.send_signal(signal.SIGSTOP)
    burst(site.data / "noise", BURST_FILES)
    first = write(site.data / "first", visits=2)
    running.process.send_signal(signal.SIGCONT)

    running.wait_for(lambda: "overflowed" in blindness(site), "the blindness")
    degraded = site.status()["state"]
    running.wait_for_counts(ingested=7, waiting=1)
    running.wait_for(lambda: site.status()["state"] == "running", "sight")
    second = write(site.data / "second", first_visit=2000)
    running.wait_for_counts(ingested=11, waiting=2)

    assert running.stop() == 0
    assert (degraded, blindness(site)) == ("degraded", "")
    assert wanted(first, second) == stored(site.repository)


def filled_at_once(site):
    """Make a night folder with everything in it."""
    write(site.data / "a", first_visit=1000)


def moved_in(site):
    """Move a folder into the tree."""
    write(site.folder / "elsewhere", first_visit=2000)
    (site.folder / "elsewhere").rename(site.data / "b")


def filled_later(site):
    """Write to the folder that was moved in."""
    write(site.data / "b", first_visit=3000)


def recreated(site):
    """Delete the root and make it again."""
    shutil.rmtree(site.data)
    write(site.data / "c", first_visit=4000)


def replaced(site):
    """Rename the root away and put another in its place."""
    write(site.folder / "new" / "d", first_visit=5000)
    site.data.rename(site.folder / "old")
    (site.folder / "new").rename(site.data)


ARRIVALS = (filled_at_once, moved_in, filled_later, recreated, replaced)


@pytest.mark.parametrize(("mode", "rescan"), [("inotify", NEVER), ("poll", "300ms"), ("off", "300ms")])
def test_f06_no_way_to_arrive_is_overlooked(site, mode, rescan):
    """A night filled at once, moved in, or in a root that was made anew or replaced is ingested at once."""
    site.configure(watch={"mode": mode, "rescan": rescan}, ingest={"transfer": "copy"})
    running = site.start().running()
    for number, arrive in enumerate(ARRIVALS, start=1):
        arrive(site)
        running.wait_for(lambda ingested=4 * number: site.counts()["ingested"] == ingested, arrive.__name__)
    running.wait_for(lambda: site.status()["state"] == "running", "sight")

    assert running.stop() == 0
    ingested = Counter(event["visit"] for event in running.events if event["event"] == "file.ingested")
    assert dict.fromkeys((1000, 2000, 3000, 4000, 5000), 4) == ingested
    assert len(stored(site.repository)) == 20


@pytest.fixture
def beside(site):
    """Let the daemon run in this process while a play goes on beside it."""

    def run(play):
        failures = []

        def act():
            try:
                wait_for(lambda: site.status().get("state") in {"running", "degraded"}, "the first scan")
                play()
            except BaseException as error:  # noqa: BLE001 (raised again where pytest sees it)
                failures.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        with service(site.config, {}, once=False) as daemon:
            actor = threading.Thread(target=act)
            actor.start()
            code = daemon.run()
            actor.join()
        if failures:
            raise failures[0]
        return code

    return run


def test_f04_a_dead_reader_is_told_and_replaced(site, beside):
    """When the thread that reads events dies, what comes meanwhile is found, and the thread replaced."""
    site.configure(watch={"mode": "inotify", "rescan": NEVER})
    nights = []

    def play():
        (victim,) = (thread for thread in threading.enumerate() if isinstance(thread, InotifyFD))
        victim.stop()
        victim.join()
        nights.append(write(site.data / "first"))
        wait_for(lambda: "died" in blindness(site), "the blindness")
        wait_for(lambda: site.counts() == counted(ingested=4, waiting=1), "the first visit")
        wait_for(lambda: site.status()["state"] == "running", "sight")
        nights.append(write(site.data / "second", first_visit=2000))
        wait_for(lambda: site.counts() == counted(ingested=8, waiting=2), "the second visit")

    assert beside(play) == 0
    assert wanted(*nights) == stored(site.repository)


def test_f08_watches_that_are_used_up_are_told_and_made_up_for(site, beside, monkeypatch):
    """While the kernel has no watch left the scan finds everything, and events come as soon as it has."""
    site.configure(watch={"mode": "inotify", "rescan": "500ms"})
    nights = []

    def refuse(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def play():
        with monkeypatch.context() as limited:
            limited.setattr(InotifyFD, "add_callback", refuse)
            nights.append(write(site.data / "first"))
            wait_for(lambda: "cannot be watched: No space left" in blindness(site), "the blindness")
            assert site.status()["state"] == "degraded"
            wait_for(lambda: site.counts() == counted(ingested=4, waiting=1), "the first visit")
        wait_for(lambda: site.status()["state"] == "running", "sight")
        nights.append(write(site.data / "second", first_visit=2000))
        wait_for(lambda: site.counts() == counted(ingested=8, waiting=2), "the second visit")

    assert beside(play) == 0
    assert wanted(*nights) == stored(site.repository)
