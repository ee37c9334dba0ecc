"""Large files copied into the repository, beside `cp`, and small visits that arrive meanwhile."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, main, percentile
from benchmarks.latency import Arrival, Wait, arrivals, arrive
from benchmarks.reader import Reader, reading
from benchmarks.site import Site, night_at_rest
from pfs_ingestd.desk import count_files
from pfs_ingestd.records import State
from pfs_ingestd.simulate import VisitPlan
from pfs_ingestd.simulate.files import write_ramp

TITLE = "Large ramps by the transfer `copy`, beside cp of the same files on the same disk"
FIRST_RAMP = 100_000
READ_BYTES = 29_500_000
"""About what one read adds to a ramp."""

CAMERA, SUFFIX = "n1", "13"
WARM_UP = 5
PAUSE = 0.1
"""Seconds between two small visits."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--ramps", type=int, default=3, help="Ramps in a round (default: 3).")
    parser.add_argument("--size", type=float, default=2.0, help="GB in a ramp (default: 2).")
    parser.add_argument("--rounds", type=int, default=3, help="How often all is copied (default: 3).")
    parser.add_argument("--visits", type=int, default=30, help="Small visits beside them (default: 30).")


class Ramps:
    """Large ramps in a folder of their own, which take the numbers of new visits in each round."""

    def __init__(self, folder: Path, count: int, size: float) -> None:
        self._next = FIRST_RAMP
        self.visits: Sequence[int] = ()
        self.paths: Sequence[Path] = ()
        model = folder / f"ramp-{size:g}GB-{CAMERA}.fits"
        if not model.exists():
            draft = model.with_suffix(".draft")
            write_ramp(draft, VisitPlan(visit=FIRST_RAMP, reads=round(size * 1e9 / READ_BYTES)), CAMERA)
            draft.rename(model)
        self._folder = folder / "ramps"
        self._folder.mkdir(exist_ok=True)
        for number in range(count):
            shutil.copy(model, self._folder / f"{number}.fits")
        self.bytes = count * model.stat().st_size
        self._drafts = sorted(self._folder.iterdir())

    def renumber(self) -> None:
        """Make them ramps of visits that nobody has seen yet."""
        self.visits = range(self._next, self._next + len(self._drafts))
        self._next += len(self._drafts)
        for path, visit in zip(self._drafts, self.visits, strict=True):
            with path.open("r+b") as file:
                header = file.read(1 << 16)
                at = header.index(b"W_VISIT =")
                file.seek(at)
                file.write(f"W_VISIT = {visit:>20}".encode())
        # What is written while it is being measured is to be what is measured.
        os.sync()

    def arrive(self, folder: Path) -> float:
        """Rename them into a watched folder; tell when that began, by the monotonic clock."""
        self.paths = [folder / f"PFSB{visit:06d}{SUFFIX}.fits" for visit in self.visits]
        begun = time.monotonic()
        for draft, path in zip(self._drafts, self.paths, strict=True):
            draft.rename(path)
        return begun

    def leave(self) -> None:
        """Take them out of it again."""
        for draft, path in zip(self._drafts, self.paths, strict=True):
            path.rename(draft)

    def copied(self, folder: Path, *, durable: bool) -> float:
        """Copy them with `cp`, and have them on the disk if asked to; tell how many seconds it took."""
        folder.mkdir()
        begun = time.monotonic()
        subprocess.run(["cp", *self._drafts, folder], check=True)  # noqa: S607 (the system's own)
        if durable:
            subprocess.run(["sync", *folder.iterdir()], check=True)  # noqa: S607 (the system's own)
        seconds = time.monotonic() - begun
        shutil.rmtree(folder)
        os.sync()
        return seconds


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Copy the ramps by `cp` and by the daemon in turns; then once more while small visits arrive."""
    night = night_at_rest(chosen.work / "night-300", 300)
    ramps = Ramps(chosen.work, chosen.ramps, chosen.size)
    with TemporaryDirectory(dir=chosen.work) as folder:
        site = Site(Path(folder) / "site", watch={"mode": "inotify"}, ingest={"transfer": "copy"})
        for path in {path.parent for path in night.rglob("*.fits")}:
            (site.data / path.relative_to(night)).mkdir(parents=True, exist_ok=True)
        with site.serving(), reading(site.repository) as reader:
            plain, durable, ours = [], [], []
            for _ in range(chosen.rounds):
                ramps.renumber()
                plain.append(ramps.copied(site.data.with_name("cp"), durable=False))
                durable.append(ramps.copied(site.data.with_name("cp"), durable=True))
                ours.append(_ingested(site, ramps, reader))
            yield from _throughput(ramps.bytes, plain, durable, ours)
            small = iter(arrivals(night))
            alone = [_arrive(next(small), night, site, reader) for _ in range(WARM_UP + chosen.visits)]
            yield from _latency("nothing else", alone[WARM_UP:], None, None)
            beside: list[Wait] = []
            while len(beside) < chosen.visits:
                beside += _arrive_beside(ramps, small, night, site, reader)
            yield from _latency("beside ramps", beside, 160, 500)


def _ingested(site: Site, ramps: Ramps, reader: Reader) -> float:
    """Let the daemon take in all ramps; tell how many seconds it took until the last was visible."""
    begun = ramps.arrive(site.data)
    ended = max(reader.wait_for(visit, 1).at for visit in ramps.visits)
    ramps.leave()
    _forget(site)
    return ended - begun


def _arrive_beside(
    ramps: Ramps, small: Iterator[Arrival], night: Path, site: Site, reader: Reader
) -> list[Wait]:
    """Let small visits arrive as long as ramps are being copied."""
    ramps.renumber()
    waits: list[Wait] = []
    ramps.arrive(site.data)
    # Not before the daemon has seen them all.
    time.sleep(PAUSE)
    for arrival in small:
        if not count_files(site.config)[State.INGESTING]:
            break
        waits.append(_arrive(arrival, night, site, reader))
    else:
        raise RuntimeError("no visit of the night is left: ask for fewer --visits")
    for visit in ramps.visits:
        reader.wait_for(visit, 1)
    ramps.leave()
    _forget(site)
    # During the last one the copies may have come to their end.
    return waits[:-1]


def _arrive(arrival: Arrival, night: Path, site: Site, reader: Reader) -> Wait:
    wait = arrive(arrival, night, site, reader)
    time.sleep(PAUSE)
    return wait


def _forget(site: Site) -> None:
    """Make room for the next round: the bytes of the artifacts, not the datasets."""
    # Not in the folder of copies, which the daemon may just be removing.
    for artifact in Path(site.repository, "PFS").rglob(f"*_{CAMERA}_*.fits"):
        if artifact.stat().st_size > READ_BYTES:
            os.truncate(artifact, 0)
    os.sync()


def _throughput(
    size: int, plain: Sequence[float], durable: Sequence[float], ours: Sequence[float]
) -> Iterator[Figure]:
    yield _rate("cp, left in memory", size, plain)
    yield _rate("cp, then sync", size, durable)
    yield _rate("copy", size, ours)
    ratios = [100 * cp / us for cp, us in zip(durable, ours, strict=True)]
    yield Figure(
        name="copy, of what cp and sync reach in the same round",
        value=percentile(ratios, 50),
        unit="%",
        at_least=90,
        note=f"of each round: {', '.join(f'{ratio:.0f}' for ratio in ratios)}",
    )


def _rate(name: str, size: int, seconds: Sequence[float]) -> Figure:
    rates = [size / each / 1e6 for each in seconds]
    note = f"of each round: {', '.join(f'{rate:.0f}' for rate in rates)}"
    return Figure(name=name, value=percentile(rates, 50), unit="MB/s", note=note)


def _latency(beside: str, waits: Sequence[Wait], median: float | None, p99: float | None) -> Iterator[Figure]:
    times = [wait.ms for wait in waits]
    for name, percent, most in (("median", 50, median), ("p99", 99, p99)):
        yield Figure(
            name=f"close of a small visit -> visible, {beside}, {name}",
            value=percentile(times, percent),
            unit="ms",
            at_most=most,
            note=f"{len(times)} visits, longest {max(times):.0f} ms",
        )


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
