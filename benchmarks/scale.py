"""What workers that share an inbox take in, what each costs, and how many a registry is enough for."""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, NamedTuple, Protocol

from benchmarks.figures import Figure, main
from benchmarks.queueing import Costs, saturation, simulate
from benchmarks.site import PATIENCE, Site, all_ended, ended, night_at_rest
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.desk import count_files
from pfs_ingestd.records import State

TITLE = "Workers that share an inbox in PostgreSQL, and one registry"

WORKERS = (1, 2, 4)
SIMULATED = (1, 2, 4, 8, 16, 32, 64)
CORES = (2, 4, 8, 16)
LEASE = 4
TALLIES = 2
"""How often a batch changes the tally: when it is claimed, and when it is done."""

SAMPLES = 0.01
"""Seconds between two looks at who waits for a lock."""

_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
_TICKS = os.sysconf("SC_CLK_TCK")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--visits", type=int, default=1000, help="Visits of the backlog (default: 1000).")
    parser.add_argument("--batch", type=int, default=500, help="ingest.batch_files (default: 500).")


class Server(Protocol):
    """A PostgreSQL server, as the tests start one."""

    def new_registry(self) -> str:
        """Create an empty database for a registry."""

    def new_database(self) -> str:
        """Create an empty database."""

    def processes(self) -> Sequence[int]:
        """Find the processes of the server, its postmaster first."""


class StartUp(NamedTuple):
    """Processor time, in seconds, for a worker that finds nothing to do: its own, and the server's."""

    worker: float
    server: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What some workers took for a backlog.

    Parameters
    ----------
    files : `int`
        How many files it was.
    seconds : `float`
        From the start of the first to the end of the last.
    workers, server : `float`
        Processor time of all workers, and of the server, less that for their start-up.
    waiting : `float`
        How many sessions waited for a lock of the inbox, on the average.
    shares : `~collections.abc.Sequence` [`int`]
        How many files each took.
    watching : `float`
        Processor time of the daemon that found the files.
    lock : `float`
        Seconds from a change of the tally to the end of its transaction, as others have to wait for it.
    registry, inbox : `int`
        Bytes of the databases for these files.
    """

    files: int
    seconds: float
    workers: float
    server: float
    waiting: float
    shares: Sequence[int]
    watching: float
    lock: float
    registry: int
    inbox: int


@dataclass
class _Waits:
    """Looks now and then who waits for a lock."""

    url: str
    counts: list[int] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def mean(self) -> float:
        return sum(self.counts) / max(len(self.counts), 1)

    def _watch(self, ended: threading.Event) -> None:
        with _asking(self.url) as cursor:
            while not ended.wait(SAMPLES):
                cursor.execute(_WAITING)
                self.counts.append(cursor.fetchone()[0])


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Take in the same backlog with one, two and four workers; kill one; simulate many."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from postgres import postgres_server  # noqa: PLC0415 (as the tests start one)

    night = night_at_rest(chosen.work / f"night-{chosen.visits}", chosen.visits)
    with TemporaryDirectory(dir=chosen.work) as folder, postgres_server() as server:
        work = Path(folder)
        start = _start_up(work, server)
        yield Figure(
            name="start-up of a worker",
            value=start.worker,
            unit="s",
            note=f"processor time; of the server {start.server:.2f} s",
        )
        runs = {number: _run(work, server, night, number, start, chosen.batch) for number in WORKERS}
        yield from _measured(runs)
        yield Figure(
            name="after a worker's death, until its files are ready",
            value=_recovery(work, server, night),
            unit="s",
            at_most=1.5 * LEASE + 2,
            note=f"ingest.lease: {LEASE}s; it is looked for every half of that",
        )
    yield from _simulated(runs[1], chosen.batch)


def _measured(runs: Mapping[int, Run]) -> Iterator[Figure]:
    one = runs[1]
    for number, run in runs.items():
        shares = ", ".join(f"{share:,}" for share in run.shares)
        yield Figure(
            name=f"{number} worker{'s' if number > 1 else ''}",
            value=run.files / run.seconds,
            unit="files/s",
            note=f"start-up included; shares {shares}",
        )
        yield Figure(
            name="processor time for a file",
            value=1e3 * run.workers / run.files,
            unit="ms",
            note=f"of the workers; of the server {1e3 * run.server / run.files:.2f} ms",
        )
        yield Figure(name="sessions that wait for a lock of the inbox", value=run.waiting, unit="")
    most = runs[max(runs)]
    yield Figure(
        name="processor time for a file, most workers by one",
        value=most.workers / one.workers,
        unit="x",
        at_most=1.3,
        note=f"with the server's {(most.workers + most.server) / (one.workers + one.server):.2f} x",
    )
    yield Figure(
        name="watching, for a file",
        value=1e3 * one.watching / one.files,
        unit="ms",
        note="processor time of the daemon that only watches, start-up included",
    )
    yield Figure(
        name="lock of the tally, for a transaction", value=1e3 * one.lock, unit="ms", note="twice for a batch"
    )
    yield Figure(name="registry, for a file", value=one.registry / one.files, unit="bytes")
    yield Figure(name="inbox, for a file", value=one.inbox / one.files, unit="bytes")


def _simulated(one: Run, batch: int) -> Iterator[Figure]:
    """Say from the costs of one worker what many would reach, by the cores of the server."""
    costs = Costs(worker=one.workers / one.files, server=one.server / one.files, lock=TALLIES * one.lock)
    alone = simulate(costs, workers=1, cores=CORES[0], batch=batch).files_per_second
    if not 0.9 < alone * (costs.worker + costs.server + costs.lock / batch) < 1.1:
        raise RuntimeError(f"the simulation of one worker does not give what was measured, but {alone:.0f}/s")
    for cores in CORES:
        outcomes = {n: simulate(costs, workers=n, cores=cores, batch=batch) for n in SIMULATED}
        rates = [(n, outcome.files_per_second) for n, outcome in outcomes.items()]
        thirty_two = outcomes[32]
        yield Figure(
            name=f"32 workers, simulated, a server of {cores} cores",
            value=thirty_two.files_per_second,
            unit="files/s",
            note=f"server {thirty_two.server_busy:.0%} busy; saturated from {saturation(rates)} workers on; "
            + ", ".join(f"{n}: {rate:,.0f}" for n, rate in rates),
        )


def _start_up(work: Path, server: Server) -> StartUp:
    """Tell the processor time of a worker that finds nothing to do, and of the server for it."""
    empty = work / "empty"
    empty.mkdir()
    site = _site(work, server, empty, 500)
    open_inbox(site.config.state.database.url).close()
    before = _server_seconds(server)
    cost = ended(_worker(site, 1, "--once"))
    return StartUp(cost.cpu_seconds, _server_seconds(server) - before)


def _run(work: Path, server: Server, night: Path, number: int, start: StartUp, batch: int) -> Run:
    """Have everything found, by a daemon that only watches; then let the workers have it."""
    site = _site(work, server, night, batch)
    url = site.config.state.database.url
    files = len(list(night.rglob("*.fits")))
    empty = _size(site.registry), _size(url)
    watching = _found(site, files)
    before, waits, begun = _server_seconds(server), _Waits(url), time.monotonic()
    with waits.watched():
        costs = all_ended([_worker(site, n, "--once") for n in range(number)])
    seconds, after = time.monotonic() - begun, _server_seconds(server)
    # All but the pfsConfig of the convergence at the end, which has no raws.
    if (stored := site.stored("raw") + site.stored("pfsConfig")) != files - 1:
        raise RuntimeError(f"{stored} datasets are stored instead of {files - 1}")
    return Run(
        files=files,
        seconds=seconds,
        workers=sum(cost.cpu_seconds for cost in costs) - number * start.worker,
        server=after - before - number * start.server,
        waiting=waits.mean,
        shares=[_ingested(site, n) for n in range(number)],
        watching=watching,
        lock=_lock_seconds(url),
        registry=_size(site.registry) - empty[0],
        inbox=_size(url) - empty[1],
    )


def _recovery(work: Path, server: Server, night: Path) -> float:
    """Kill one of two workers, and tell how long the other leaves to it what it holds."""
    site = _site(work, server, night, 100)
    _found(site, len(list(night.rglob("*.fits"))))
    log = site.config_file.with_name("log.worker-1.json")
    with _staying(site, 0) as doomed, _staying(site, 1):
        _wait(lambda: _holders(site) >= {"0", "1"}, "both to be at work")
        doomed.kill()
        doomed.wait()
        died = time.monotonic()
        _wait(lambda: "worker.lost" in log.read_text(), "the other to notice")
        return time.monotonic() - died


def _holders(site: Site) -> set[str]:
    """Tell which workers hold anything."""
    with closing(open_inbox(site.config.state.database.url, read_only=True)) as inbox:
        return {worker.name for worker in inbox.workers() if worker.visits}


class SharedSite(Site):
    """A site whose inbox and registry are on a server."""

    registry = ""


def _site(work: Path, server: Server, data: Path, batch: int) -> SharedSite:
    registry = server.new_registry()
    ingest = {"lease": f"{LEASE}s", "batch_files": batch, "here": False}
    site = SharedSite(
        Path(mkdtemp(dir=work)) / "site", data, ingest=ingest, registry=registry, inbox=server.new_database()
    )
    site.registry = registry
    return site


def _worker(site: Site, number: int, *more: str) -> list[str]:
    return ["worker", "-c", str(site.config_file), "--name", str(number), *more]


def _found(site: Site, files: int) -> float:
    """Let a daemon find all files and no more; tell its processor time."""
    with site.serving() as process:
        _wait(lambda: count_files(site.config)[State.READY] == files, "all files to be found")
        return _seconds_of(process.pid)


@contextmanager
def _staying(site: Site, number: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-m", "pfs_ingestd", *_worker(site, number)])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _ingested(site: Site, number: int) -> int:
    log = site.config_file.with_name(f"log.worker-{number}.json")
    return log.read_text().count('"file.ingested"')


def _wait(reached: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.02)


def _lock_seconds(url: str) -> float:
    """Tell the median time for which a transaction of the inbox keeps the tally from others."""
    times = []
    with _asking(url) as cursor:
        for _ in range(200):
            cursor.execute("BEGIN; SET LOCAL synchronous_commit = off")
            begun = time.perf_counter()
            cursor.execute("UPDATE tally SET files = files + 0 WHERE state IN ('ready', 'ingesting'); COMMIT")
            times.append(time.perf_counter() - begun)
    return median(times)


def _size(url: str) -> int:
    with _asking(url) as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


@contextmanager
def _asking(url: str) -> Iterator[Any]:
    from postgres import asking  # noqa: PLC0415 (as the tests do)

    with asking(url) as cursor:
        yield cursor


def _server_seconds(server: Server) -> float:
    """Tell the processor time of a server, the processes that have ended included."""
    return sum(_seconds_of(process, ended=True) for process in server.processes())


def _seconds_of(process: int, *, ended: bool = False) -> float:
    """Tell the processor time of a process, and of those that it started and that have ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if ended else 13])) / _TICKS


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
