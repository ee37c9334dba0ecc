"""How fast files that are there already get into the repository: by daemon, by command, by a plain loop."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

from benchmarks.figures import Figure, main
from benchmarks.reference import plain_loop
from benchmarks.site import Cost, Site, ended, night_at_rest, profiled

TITLE = "Files that are there already: a backlog, and ingestion by command"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--visits", type=int, default=100, help="Visits of the backlog (default: 100).")
    parser.add_argument(
        "--archive", type=int, default=1000, metavar="VISITS", help="Visits of the archive (default: 1000)."
    )
    parser.add_argument("--runs", type=int, default=5, help="Runs of which the median counts (default: 5).")
    parser.add_argument("--reference", type=int, default=240, help="Files for the plain loop (default: 240).")
    parser.add_argument("--profile", action="store_true", help="Print where the time of a backlog goes.")


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Take in a night and an archive in every way there is, each time with a new repository."""
    night = night_at_rest(chosen.work / f"night-{chosen.visits}", chosen.visits)
    archive = night_at_rest(chosen.work / f"night-{chosen.archive}", chosen.archive)
    with TemporaryDirectory(dir=chosen.work) as folder:
        work = Path(folder)
        if chosen.profile:
            _profile(work, night)
        loop = _plain_loop(work, _raws(night)[: chosen.reference])
        yield Figure(name="plain loop", value=loop, unit="files/s", note=f"{1e3 / loop:.1f} ms a file")
        yield from _by_daemon(work, night, archive, chosen.runs, loop)
        yield from _by_command(work, night, archive, chosen.runs)


def _by_daemon(work: Path, night: Path, archive: Path, runs: int, loop: float) -> Iterator[Figure]:
    """The daemon, from the start of its process to the end, which comes when everything is visible."""
    start = _median(_nothing(work) for _ in range(runs))
    yield Figure(
        name="start-up", value=start.seconds, unit="s", at_most=2, note="run --once on an empty folder"
    )
    backlog = _median(_backlog(work, night) for _ in range(runs))
    files = len(_ingestible(night))
    rate = files / (backlog.seconds - start.seconds)
    yield Figure(
        name=f"backlog of {files:,} files",
        value=rate,
        unit="files/s",
        at_least=500,
        note=f"after start-up; {backlog.seconds:.2f} s in all",
    )
    yield Figure(name="the same, plain loops", value=rate / loop, unit="x", note="times as fast as the loop")
    large = _backlog(work, archive)
    files, raws = len(_ingestible(archive)), len(_raws(archive))
    yield Figure(
        name=f"backlog of {files:,} files",
        value=files / (large.seconds - start.seconds),
        unit="files/s",
        at_least=500,
        note=f"after start-up; {large.seconds:.1f} s in all",
    )
    yield Figure(
        name="processor time for a raw",
        value=1e3 * large.cpu_seconds / raws,
        unit="ms",
        at_most=2,
        note="of that backlog: user and system, start-up and pfsConfigs included",
    )
    yield Figure(
        name="resident memory", value=large.peak_bytes / 1e6, unit="MB", at_most=300, note="its peak"
    )


def _by_command(work: Path, night: Path, archive: Path, runs: int) -> Iterator[Figure]:
    """The commands, from the start of the process to its end."""
    first, *others = _by_visit(_raws(night))
    cold = _median(_ingest_raws(work, first) for _ in range(runs))
    yield Figure(
        name="ingest-raws, one visit, cold",
        value=cold.seconds,
        unit="s",
        at_most=2.8,
        note=f"{len(first)} files, import and opening included",
    )
    rest = [path for visit in others for path in visit]
    whole = _median(_ingest_raws(work, [*first, *rest]) for _ in range(runs))
    yield Figure(
        name=f"ingest-raws of {len(first) + len(rest):,} files",
        value=len(rest) / (whole.seconds - cold.seconds),
        unit="files/s",
        at_least=600,
        note=f"after the first visit; {whole.seconds:.2f} s in all",
    )
    configs = _configs(archive)
    took = _ingest_configs(work, archive, configs)
    yield Figure(
        name=f"ingest-pfs-config of {len(configs):,} files",
        value=len(configs) / took.seconds,
        unit="files/s",
        at_least=60,
        note=f"start-up included; {took.seconds:.2f} s in all",
    )


def _plain_loop(work: Path, raws: Sequence[Path]) -> float:
    """Tell how many files a second the plain loop takes in."""
    site = _site(work)
    seconds = plain_loop(site.repository, raws)
    _check(site, raws=len(raws))
    return len(raws) / seconds


def _nothing(work: Path) -> Cost:
    return ended([*_site(work).run_command, "--once"])


def _backlog(work: Path, data: Path) -> Cost:
    site = _site(work, data)
    cost = ended([*site.run_command, "--once"])
    _check(site, raws=len(_raws(data)), configs=len(_configs(data)))
    return cost


def _ingest_raws(work: Path, raws: Sequence[Path]) -> Cost:
    site = _site(work)
    cost = ended(["ingest-raws", site.repository, *map(str, raws)])
    _check(site, raws=len(raws))
    return cost


def _ingest_configs(work: Path, data: Path, configs: Sequence[Path]) -> Cost:
    site = _site(work)
    ended(["ingest-raws", site.repository, str(data)])
    cost = ended(["ingest-pfs-config", site.repository, "PFS", "PFS/raw/pfsConfig", *map(str, configs)])
    _check(site, raws=len(_raws(data)), configs=len(configs))
    return cost


def _profile(work: Path, night: Path) -> None:
    profile = work / "profile"
    ended([*_site(work, night).run_command, "--once"], profile=profile)
    profiled(profile)


def _site(work: Path, data: Path | None = None) -> Site:
    return Site(Path(mkdtemp(dir=work)) / "site", data)


def _check(site: Site, *, raws: int, configs: int = 0) -> None:
    """See that what was measured is what was to be done.

    Raises
    ------
    RuntimeError
        If a dataset is missing.
    """
    stored = site.stored("raw"), site.stored("pfsConfig")
    if stored != (raws, configs):
        raise RuntimeError(f"{stored} raws and pfsConfigs are stored instead of {(raws, configs)}")


def _raws(data: Path) -> list[Path]:
    """Get the raws of a night, by visit and camera."""
    return sorted(data.rglob("PFS[AB]*.fits"), key=lambda path: path.name[4:])


def _configs(data: Path) -> list[Path]:
    """Get the pfsConfigs of a night, but for that of the convergence at its end, which has no raws."""
    return sorted(data.rglob("pfsConfig-*.fits"), key=lambda path: path.stem[-6:])[:-1]


def _ingestible(data: Path) -> list[Path]:
    return [*_raws(data), *_configs(data)]


def _by_visit(raws: Iterable[Path]) -> list[list[Path]]:
    visits: dict[str, list[Path]] = {}
    for path in raws:
        visits.setdefault(path.stem[4:10], []).append(path)
    return list(visits.values())


def _median(costs: Iterable[Cost]) -> Cost:
    """Take the median of each cost, or the largest of the peaks."""
    found = list(costs)
    return Cost(
        seconds=median(cost.seconds for cost in found),
        cpu_seconds=median(cost.cpu_seconds for cost in found),
        peak_bytes=max(cost.peak_bytes for cost in found),
    )


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
