"""The whole daemon, on fake time, while something that it needs is away."""

import errno
import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from lsst.daf.butler.direct_butler import DirectButler
from structlog.testing import capture_logs

from pfs_ingestd.adapters.repository import ButlerRepository, create_repository
from pfs_ingestd.adapters.repository.artifacts import Durability
from pfs_ingestd.adapters.repository.lanes import Lane
from pfs_ingestd.config import problems
from pfs_ingestd.desk import select_files
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.records import State
from pfs_ingestd.wiring import service
from postgres import asking
from repository_files import a_repository
from system.service import Site, counted, stored, wanted, write

pytestmark = pytest.mark.usefixtures("clock")

PROBE = timedelta(seconds=5)
"""The default of ``ingest.probe_interval``."""

LASTING = 2.4 * PROBE.total_seconds()
"""Seconds that an outage lasts: two probes fail."""


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path, Path(a_repository(tmp_path / "template")))
    yield site
    site.close()


def replace_repository(site, **options):
    """Have a repository with another registry or datastore instead."""
    site.repository.rename(site.folder / "unused")
    create_repository(str(site.repository), **options)


@contextmanager
def mounted(place, options="size=64m"):
    """Mount a small disk; skip the test where that is not allowed."""
    place.mkdir(exist_ok=True)
    mount(place, options)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)  # noqa: S603, S607 (the system's own)


def mount(place, options):
    done = subprocess.run(  # noqa: S603 (the system's own)
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],  # noqa: S607 (wherever it is)
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")


def umount(place):
    subprocess.run(["umount", place], check=True)  # noqa: S603, S607 (the system's own)


def remount(place, option):
    subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)  # noqa: S603, S607 (the system's own)


def preserved(place, copy):
    """Copy a tree with all its times, as a disk keeps them while it is not mounted."""
    subprocess.run(["cp", "-a", f"{place}/.", copy], check=True)  # noqa: S603, S607 (the system's own)


class Watch:
    """Ticks of a daemon, and what is seen between them."""

    def __init__(self, site, daemon, clock):
        self._site = site
        self._daemon = daemon
        self._clock = clock

    def ticks(self, seconds):
        """Let the daemon tick twice a second."""
        for _ in range(round(seconds * 2)):
            self._clock.advance(timedelta(seconds=0.5))
            self._daemon.tick([])

    def charged(self):
        """Tell how often the files were tried that are wanted."""
        records = select_files(self._site.config, states=(), visits=())
        return {record.attempts for record in records if record.state is not State.WAITING}

    def told(self):
        """Tell what the status says, and since when."""
        status = self._site.status()
        return status["state"], status["reason"], datetime.fromisoformat(status["since"])


@contextmanager
def watch(site, clock):
    with service(site.config, {}, once=False) as daemon:
        watch = Watch(site, daemon, clock)
        watch.ticks(3)
        yield watch


@contextmanager
def locked_registry(site, _):
    """Hold the registry's lock for longer than anybody waits for it."""
    with closing(sqlite3.connect(site.repository / "gen3.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def repository_away(site, _):
    away = site.folder / "away"
    site.repository.rename(away)
    site.repository.mkdir()
    yield
    site.repository.rmdir()
    away.rename(site.repository)


@contextmanager
def stopped_server(site, _):
    site.server.stop()
    yield
    site.server.start()


@contextmanager
def stopped_store(site, _):
    site.server.stop()
    yield
    site.server.start()


@contextmanager
def full_disk(site, _):
    """Fill the datastore's disk but for what an empty file takes."""
    filler = site.store / "filler"
    free = os.statvfs(site.store)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 128 * 1024))
    yield
    filler.unlink()


@contextmanager
def read_only_disk(site, _):
    remount(site.store, "ro")
    yield
    remount(site.store, "rw")


@contextmanager
def unmounted_disk(site, _):
    copy = site.folder / "copy"
    preserved(site.store, copy)
    umount(site.store)
    yield
    assert list(site.store.iterdir()) == []
    mount(site.store, "size=64m")
    preserved(copy, site.store)


@contextmanager
def failing_disk(_, monkeypatch):
    """Let the datastore answer every attempt to write with an input/output error."""

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("os.copy_file_range", refuse)
        broken.setattr("tempfile.TemporaryFile", refuse)
        yield


WEATHER = {
    locked_registry: Code.REPOSITORY_UNREACHABLE,
    repository_away: Code.REPOSITORY_UNREACHABLE,
    stopped_server: Code.REPOSITORY_UNREACHABLE,
    stopped_store: Code.REPOSITORY_UNREACHABLE,
    full_disk: Code.DISK_FULL,
    read_only_disk: Code.READ_ONLY,
    unmounted_disk: Code.REPOSITORY_UNREACHABLE,
    failing_disk: Code.REPOSITORY_UNREACHABLE,
}


@pytest.fixture(params=WEATHER, ids=lambda weather: weather.__name__)
def weather(request, site, monkeypatch):
    """Have a repository that the weather can touch."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.session.LONGEST_WAIT_MS", 20)
    if request.param is stopped_server:
        site.server = request.getfixturevalue("own_postgres")
        url = site.server.new_registry()
        replace_repository(site, registry=url)
    if request.param is stopped_store:
        monkeypatch.setattr("pfs_ingestd.adapters.repository.objects.ATTEMPTS", 1)
        on_servers(site, request, monkeypatch)
    if request.param in {full_disk, read_only_disk, unmounted_disk}:
        site.store = site.folder / "store"
        with mounted(site.store):
            replace_repository(site, datastore=str(site.store))
            yield request.param
    else:
        yield request.param


def on_servers(site, request, monkeypatch):
    """Have a repository on servers instead, the store of which may be stopped."""
    site.server = request.getfixturevalue("own_s3")
    for name, value in site.server.environment.items():
        monkeypatch.setenv(name, value)
    replace_repository(
        site,
        registry=request.getfixturevalue("postgres").new_registry(),
        datastore=f"s3://{site.server.new_bucket()}/store",
    )


def test_f44_an_outage_of_the_repository_is_waited_for(site, clock, weather, monkeypatch):
    """However the repository goes away, no file is charged, and all arrive within a probe of its return."""
    site.configure(ingest={"transfer": "copy"})
    before = write(site.data / "before", visits=1, cameras=("r1",))
    with watch(site, clock) as watching, capture_logs() as logs:
        first = counted(ingested=2, waiting=1) == site.counts()
        with weather(site, monkeypatch):
            night = write(site.data / "night", visits=2, first_visit=2000)
            began = clock.now()
            watching.ticks(LASTING)
            state, reason, since = watching.told()
            during = watching.charged(), site.counts()[State.INGESTED]
        watching.ticks(PROBE.total_seconds() + 1)
        after = watching.charged(), site.counts()

    assert first
    assert (state, bool(reason), since - began < timedelta(seconds=5)) == ("degraded", True, True)
    assert during == ({0, 1}, 2)
    assert after == ({1}, counted(ingested=9, waiting=2))
    assert watching.told()[:2] == ("running", "")
    assert wanted(before, night) == stored(site.repository)
    outages = [(log["event"], log["code"]) for log in logs if log["event"].startswith("outage.")]
    assert outages == [("outage.began", WEATHER[weather]), ("outage.ended", WEATHER[weather])]


@pytest.mark.parametrize("weather", [full_disk, failing_disk, stopped_store], indirect=True)
def test_f44_an_outage_ends_the_copies_beside_the_loop(site, clock, weather, monkeypatch):
    """When copies fail because the disk does, no file is charged, and all arrive when it is well again."""
    monkeypatch.setattr("pfs_ingestd.assembly.INLINE_BYTES", 0)
    monkeypatch.setattr(Lane, "put", lambda lane, task, **_: lane.run(task))
    site.configure(ingest={"transfer": "copy"})
    with watch(site, clock) as watching, capture_logs() as logs:
        with weather(site, monkeypatch):
            night = write(site.data, visits=2)
            watching.ticks(LASTING)
            state, during = watching.told()[0], watching.charged()
            left = list(site.repository.glob(".pfs-ingestd-*"))
        watching.ticks(2 * PROBE.total_seconds())
        after = watching.charged(), site.counts()

    assert (state, during <= {0, 1}, left) == ("degraded", True, [])
    assert after == ({1}, counted(ingested=7, waiting=1))
    assert wanted(night) == stored(site.repository)
    outages = [(log["event"], log["code"]) for log in logs if log["event"].startswith("outage.")]
    assert outages == [("outage.began", WEATHER[weather]), ("outage.ended", WEATHER[weather])]


@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_files_copied_beside_the_loop_are_stored(site, monkeypatch, transfer):
    """With copies on threads of their own a night is stored as it is without, and nothing is left of them."""
    link = os.link

    def refuse_raws(source, *args, **kwargs):
        if "PFS" in Path(source).name:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, *args, **kwargs)

    monkeypatch.setattr("pfs_ingestd.assembly.INLINE_BYTES", 0)
    monkeypatch.setattr(os, "link", refuse_raws)
    site.configure(ingest={"transfer": transfer}, watch={"settle": "0s"})
    night, same = write(site.data, visits=2), write(site.folder / "same", visits=2)
    with service(site.config, {}, once=True) as daemon, capture_logs() as logs:
        code = daemon.run(once=True)

    assert (code, site.counts()) == (0, counted(ingested=7, waiting=1))
    assert wanted(same) == stored(site.repository)
    copies = [log["path"] for log in logs if log["event"] == "copy.ended"]
    assert {str(path) for path in night.raws} <= set(copies)
    assert list(site.repository.glob(".pfs-ingestd-*")) == []


def test_f45_a_backend_that_is_killed_in_mid_ingest_costs_nothing(site, clock, own_postgres, monkeypatch):
    """When the server drops the connection between the insert and the commit, the batch is stored again."""
    url = own_postgres.new_registry()
    replace_repository(site, registry=url)
    site.configure(ingest={"transfer": "copy"})
    settle, kills = Durability.settle, []

    def drop_connections(self, artifacts, **options):
        settle(self, artifacts, **options)
        if not kills:
            with asking(url) as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                kills.extend(cursor.fetchall())

    monkeypatch.setattr(Durability, "settle", drop_connections)
    night = write(site.data, visits=2)
    with watch(site, clock) as watching:
        watching.ticks(PROBE.total_seconds() + 1)
        charged = watching.charged()

    assert kills
    assert charged == {1}
    assert counted(ingested=7, waiting=1) == site.counts()
    assert wanted(night) == stored(site.repository)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_a_store_that_goes_away_in_mid_transaction_costs_nothing(
    site, clock, request, monkeypatch, transfer, moment
):
    """Whether the store vanishes just before or after it has made the artifacts, each is stored once."""
    monkeypatch.setattr("pfs_ingestd.adapters.repository.objects.ATTEMPTS", 1)
    on_servers(site, request, monkeypatch)
    site.configure(ingest={"transfer": transfer})
    ingest, stops = DirectButler.ingest, []

    def vanish(*args, **kwargs):
        if moment == "after":
            ingest(*args, **kwargs)
        stops.append(site.server.stop())
        if moment == "before":
            ingest(*args, **kwargs)

    monkeypatch.setattr(DirectButler, "ingest", vanish)
    night, same = write(site.data, visits=1), write(site.folder / "same", visits=1)
    with watch(site, clock) as watching:
        state = watching.told()[0]
        monkeypatch.setattr(DirectButler, "ingest", ingest)
        site.server.start()
        watching.ticks(2 * PROBE.total_seconds())
        late, same_late = (
            write(folder, visits=1, first_visit=2000) for folder in (site.data / "late", site.folder / "late")
        )
        watching.ticks(3)
        charged = watching.charged()

    # What was committed without the store needs it no more, unless a source is to be compared and removed.
    assert (stops, state) == ([None], "running" if (transfer, moment) == ("copy", "after") else "degraded")
    assert charged == {1}
    assert counted(ingested=8, waiting=2) == site.counts()
    assert wanted(same, same_late) == stored(site.repository)
    assert {path.exists() for path in (*night.raws, *late.raws)} == {transfer == "copy"}


@contextmanager
def renamed_root(site, _):
    site.data.rename(site.folder / "elsewhere")
    yield
    (site.folder / "elsewhere").rename(site.data)


@contextmanager
def unmounted_root(site, _):
    copy = site.folder / "copy"
    copy.mkdir()
    preserved(site.data, copy)
    umount(site.data)
    yield
    mount(site.data, "size=64m")
    preserved(copy, site.data)


def failing_calls(code, *names):
    """Let some calls fail for all that is in the watched folder."""

    @contextmanager
    def fail(site, monkeypatch):
        def failing(call):
            def perhaps(path, *args, **kwargs):
                if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(site.data):
                    raise OSError(code, os.strerror(code))
                return call(path, *args, **kwargs)

            return perhaps

        with monkeypatch.context() as broken:
            for name in names:
                broken.setattr(os, name, failing(getattr(os, name)))
            yield

    fail.__name__ = f"{errno.errorcode[code]} from {', '.join(names)}"
    return fail


ROOT_WEATHER = [
    renamed_root,
    unmounted_root,
    failing_calls(errno.EIO, "scandir", "lstat", "stat", "open"),
    failing_calls(errno.ESTALE, "scandir", "stat", "open"),
    failing_calls(errno.ESTALE, "scandir", "lstat", "stat"),
    failing_calls(errno.EACCES, "scandir", "open"),
    failing_calls(errno.EIO, "scandir", "open"),
]


@pytest.mark.parametrize("weather", ROOT_WEATHER, ids=lambda weather: weather.__name__)
def test_f05_a_watched_folder_that_is_away_is_waited_for(site, clock, weather, monkeypatch):
    """Half an hour without the watched folder costs no file an attempt, and each arrives when it is back."""
    site.configure(watch={"settle": "2s", "rescan": "10s"})
    with mounted(site.data) if weather is unmounted_root else closing(site):
        with watch(site, clock) as watching, capture_logs() as logs:
            # Seen, and not yet read.
            night = write(site.data, visits=2)
            watching.ticks(7.5)
            seen = set(site.states().values())
            late = write(site.data / "late", visits=1, first_visit=3000)
            with weather(site, monkeypatch):
                began = clock.now()
                watching.ticks(LASTING)
                clock.advance(timedelta(minutes=30))
                watching.ticks(LASTING)
                state, reason, since = watching.told()
                during = dict(site.counts())
            watching.ticks(2 * PROBE.total_seconds())
            after = watching.charged(), site.counts()
        told = watching.told()[:2]
        assert wanted(night, late) == stored(site.repository)

    assert seen == {State.SEEN}
    assert (state, str(site.data) in reason) == ("degraded", True)
    assert since - began < timedelta(seconds=11)
    assert {during[State.REJECTED], during[State.GONE]} == {0}
    assert after == ({1}, counted(ingested=11, waiting=2))
    assert told == ("running", "")
    scans = [log["event"] for log in logs if log["event"].startswith(("scan.", "look."))]
    assert scans == ["scan.failed", "scan.recovered"]


def test_a_silent_disk_is_no_matter_of_configuration(site, monkeypatch):
    """A repository whose file system does not answer at the start may answer later, and is not missing."""
    with failing_calls(errno.ESTALE, "stat")(SimpleNamespace(data=site.repository), monkeypatch):
        found = problems(site.config)
    assert found == []


def test_a_remote_repository_that_is_missing_is_a_configuration_error():
    """Where a server says that there is no repository, waiting for one would not help."""
    repository = ButlerRepository(
        "resource://pfs_ingestd/nowhere", transfer="copy", runs={}, instrument="PFS"
    )
    with pytest.raises(Fatal, match="there is no Butler repository") as caught:
        repository.probe()
    assert caught.value.code is Code.CONFIGURATION
