"""The whole daemon, on fake time, while a file that came twice is compared with what is stored."""

import errno
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from queue import Empty

import pytest
from structlog.testing import capture_logs

from pfs_ingestd.adapters.repository import comparing
from pfs_ingestd.desk import select_files
from pfs_ingestd.errors import Code
from pfs_ingestd.records import State
from pfs_ingestd.wiring import service
from repository_files import a_repository
from system.service import Site, stored, wanted, write

pytestmark = pytest.mark.usefixtures("clock")

LONG = 30
"""Seconds after which what takes a hundredth has failed."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    # Ramps and pfsConfigs are larger, CCD files are not.
    for bound in ("assembly.INLINE_BYTES", "adapters.repository.copier.SMALL"):
        monkeypatch.setattr(f"pfs_ingestd.{bound}", 50_000)
    site = Site(tmp_path, Path(a_repository(tmp_path / "template")))
    yield site
    site.close()


@contextmanager
def held(monkeypatch):
    """Let no comparison come to its end as long as this lasts."""
    reached, go_on = threading.Event(), threading.Event()
    compare = comparing.same_bytes

    def wait(*args, **options):
        reached.set()
        assert go_on.wait(LONG)
        return compare(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(comparing, "same_bytes", wait)
        try:
            yield reached
        finally:
            go_on.set()


def ticks(daemon, clock, number):
    """Let the daemon tick twice a second."""
    for _ in range(number):
        clock.advance(timedelta(seconds=0.5))
        daemon.tick([])


def records(site):
    return select_files(site.config, states=(), visits=())


def record_of(site, path):
    (record,) = [each for each in records(site) if each.path == path]
    return record


def ingested(site):
    return site.counts()[State.INGESTED]


def until(daemon, clock, true):
    """Tick whenever something has come to its end, and now and then, until something is true."""
    mailbox = daemon._mailbox  # noqa: SLF001 (what wakes the loop)
    for _ in range(10 * LONG):
        if true():
            return
        with suppress(Empty):
            mailbox.get(timeout=0.1)
        ticks(daemon, clock, 1)
    raise AssertionError("it never came to be")


def brought_again(site, night):
    """Bring the ramp of a night once more, under another path."""
    (ramp,) = [path for path in night.raws if "PFSB" in path.name]
    again = site.data / "again" / ramp.name
    again.parent.mkdir()
    shutil.copy(ramp, again)
    return again


@pytest.mark.parametrize("transfer", ["link", "move"])
def test_a_visit_that_arrives_during_a_comparison_is_stored_before_it_ends(
    site, clock, monkeypatch, transfer
):
    """The loop goes on, whatever has to be compared; what it was is known and told when that has ended."""
    site.configure(ingest={"transfer": transfer}, watch={"settle": "0s"})
    kept = write(site.folder / "kept", visits=1, cameras=("b1", "n1"))
    later = write(site.folder / "later", visits=1, cameras=("b1", "r1"), first_visit=2000)
    expected = [each for each in wanted(kept, later) if each[:2] != ("pfsConfig", 2000)]
    shutil.copytree(kept.directory, site.data / "first")
    with service(site.config, {}, once=False) as daemon, capture_logs() as logs:
        until(daemon, clock, lambda: ingested(site) == 3)
        again = brought_again(site, kept)
        with held(monkeypatch) as reached:
            until(daemon, clock, reached.is_set)
            shutil.copytree(later.raws[0].parent, site.data / "later")
            until(daemon, clock, lambda: ingested(site) == 5)
            during = stored(site.repository)
            assert record_of(site, again).state is State.INGESTING
        until(daemon, clock, lambda: ingested(site) == 6)

    assert during == expected
    assert (record_of(site, again).code, again.exists()) == (Code.ALREADY_THERE, transfer != "move")
    assert stored(site.repository) == expected
    compared = [log["event"] for log in logs if log["event"].startswith("comparison.")]
    assert set(compared) == {"comparison.began", "comparison.ended"}


def test_an_artifact_that_cannot_be_read_is_told_with_the_file(site, clock, monkeypatch):
    """The file stays in the queue, with what cannot be read, and is known when it can be read again."""
    site.configure(watch={"settle": "0s"})
    night = write(site.data / "first", visits=1, cameras=("b1", "n1"))

    def fail(_, artifact, **_options):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(artifact))

    with service(site.config, {}, once=False) as daemon:
        until(daemon, clock, lambda: ingested(site) == 3)
        again = brought_again(site, night)
        with monkeypatch.context() as patch:
            patch.setattr(comparing, "same_bytes", fail)
            until(daemon, clock, lambda: any(each.error for each in records(site) if each.path == again))
            failed = record_of(site, again)
        until(daemon, clock, lambda: ingested(site) == 4)

    assert (failed.state, failed.code) == (State.READY, Code.STORE_FAILED)
    assert str(site.repository) in failed.error
    assert (record_of(site, again).state, record_of(site, again).code) == (State.INGESTED, Code.ALREADY_THERE)
