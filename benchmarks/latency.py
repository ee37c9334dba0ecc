"""How soon a visit is visible to another process after its last file was closed."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np

from benchmarks.figures import Figure, main, percentile
from benchmarks.reader import Reader, Seen, reading
from benchmarks.site import Site, night_at_rest, profiled

TITLE = "From the close of a visit's last file until another process sees its raws"
RAWS = 12
WARM_UP = 5
"""Visits that come first and are not counted: a night has hundreds."""

WATCHING = {"mode": "inotify"}
POLLING = {"mode": "poll", "rescan": "1s", "settle": "100ms"}
"""Nobody tells of a close where files are polled, so that each waits for `settle`, too."""
POLLED = 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """A visit that is to arrive: its pfsConfig, then its raws, in a folder beside the watched one."""

    visit: int
    paths: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Wait:
    """When the last file of a visit was closed, by the monotonic clock, and when its raws were seen."""

    closed: float
    seen: Seen

    @property
    def ms(self) -> float:
        """How long it took, in milliseconds."""
        return 1e3 * (self.seen.at - self.closed)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--visits", type=int, default=100, help="Visits in a run (default: 100).")
    parser.add_argument("--runs", type=int, default=3, help="Runs with a watcher (default: 3).")
    parser.add_argument(
        "--tree", type=Path, help="Poll this site, made by `python -m benchmarks.scan`, not an empty folder."
    )
    parser.add_argument("--profile", action="store_true", help="Print where the daemon's time goes.")


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Let visits arrive one by one; in a run all come to the same daemon."""
    night = night_at_rest(chosen.work / f"night-{chosen.visits}", chosen.visits)
    with TemporaryDirectory(dir=chosen.work) as folder:
        work = Path(folder)
        if chosen.profile:
            profile = work / "profile"
            _run(_site(work, WATCHING), night, profile=profile)
            profiled(profile)
        yield from _figures(
            "watcher", [_run(_site(work, WATCHING), night) for _ in range(chosen.runs)], 80, 250
        )
        polled = Site(chosen.tree, watch=POLLING) if chosen.tree else _site(work, POLLING)
        # Visits that the tree does not have yet.
        later = night_at_rest(work / "later", POLLED + WARM_UP, first_visit=polled.newest_visit() + 1)
        yield from _figures("poll", [_run(polled, later)], 1200, 1200)


def _site(work: Path, watch: Mapping[str, object]) -> Site:
    return Site(Path(mkdtemp(dir=work)) / "site", watch=watch)


def _run(site: Site, night: Path, *, profile: Path | None = None) -> list[Wait]:
    """Let the visits of a night arrive, and tell how each went."""
    coming = arrivals(night)
    # So small a file is written into a new folder sooner than that is watched, and waits for `settle` then.
    for folder in {path.parent for arrival in coming for path in arrival.paths}:
        (site.data / folder.relative_to(night)).mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    waits = []
    with site.serving(profile=profile), reading(site.repository) as reader:
        for arrival in coming:
            # At any moment of the daemon's second, in which it writes its status and rests.
            time.sleep(chance.uniform(0.1, 0.6))
            waits.append(arrive(arrival, night, site, reader))
    return waits[WARM_UP:]


def arrive(arrival: Arrival, night: Path, site: Site, reader: Reader) -> Wait:
    """Write a visit into the watched folder, and wait until its raws are visible."""
    closed = 0.0
    for path in arrival.paths:
        closed = _write(path.read_bytes(), site.data / path.relative_to(night))
    return Wait(closed, reader.wait_for(arrival.visit, RAWS))


def _write(content: bytes, path: Path) -> float:
    """Write a file by the protocol of its kind, and tell when it was closed or given its name."""
    is_ramp = path.name.startswith("PFSB")
    growing = path.with_name(f".{path.name}") if is_ramp else path
    with growing.open("wb", buffering=0) as file:
        file.write(content)
        closed = time.monotonic()
    if is_ramp:
        closed = time.monotonic()
        growing.rename(path)
    return closed


def arrivals(night: Path) -> list[Arrival]:
    """Get the visits that have raws of all cameras, in their order; a bias has no ramps."""
    raws: dict[int, list[Path]] = {}
    for path in sorted(night.rglob("PFS[AB]*.fits"), key=lambda path: path.name[4:]):
        raws.setdefault(int(path.stem[4:10]), []).append(path)
    configs = {int(path.stem[-6:]): path for path in night.rglob("pfsConfig-*.fits")}
    return [Arrival(visit, [configs[visit], *paths]) for visit, paths in raws.items() if len(paths) == RAWS]


def _figures(mode: str, runs: Sequence[Sequence[Wait]], median: float, p99: float) -> Iterator[Figure]:
    waits = [wait.ms for run in runs for wait in run]
    of_runs = ", ".join(f"{percentile([wait.ms for wait in run], 50):.0f}" for run in runs)
    yield Figure(
        name=f"{mode}: median",
        value=percentile(waits, 50),
        unit="ms",
        at_most=median,
        note=f"{len(waits)} visits; of each run: {of_runs}",
    )
    yield Figure(
        name=f"{mode}: p99",
        value=percentile(waits, 99),
        unit="ms",
        at_most=p99,
        note=f"p90 {percentile(waits, 90):.0f}, longest {max(waits):.0f} ms",
    )
    yield Figure(
        name=f"{mode}: a question of the reader",
        value=percentile([1e3 * wait.seen.poll_seconds for run in runs for wait in run], 50),
        unit="ms",
        note="included in the above; the next one is asked after 5 ms",
    )


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
