"""What one more visit takes, the more raws the repository holds already."""

import argparse
import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, main, percentile
from benchmarks.filled import fill, filled
from benchmarks.one_visit import Times, measured
from pfs_ingestd.adapters.repository import sqlite_hints
from pfs_ingestd.wiring import create_repository

TITLE = "What one more visit of twelve raws takes, the more the repository holds"

SIZES = {"sqlite": [10_000, 100_000, 300_000], "postgresql": [20_000]}
REGISTRY = "gen3.sqlite3"


@dataclass(frozen=True, slots=True)
class Case:
    """A repository to be measured.

    Parameters
    ----------
    raws : `int`
        How many it holds.
    cured : `bool`
        Whether SQLite is told what it must be told: of the sizes of temporary tables, and statistics.
    """

    raws: int
    cured: bool = True


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--sizes", type=int, nargs="+", metavar="RAWS", help="Sizes beside the empty repository."
    )
    parser.add_argument("--visits", type=int, default=40, help="Visits of a run (default: 40).")
    parser.add_argument("--runs", type=int, default=3, help="Runs of each size, in turns (default: 3).")
    parser.add_argument(
        "--registry", choices=sorted(SIZES), default="sqlite", help="Its database (default: sqlite)."
    )


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Measure every size in turns, so that a busy minute of the machine falls upon all of them."""
    sizes = sorted({0, *(chosen.sizes or SIZES[chosen.registry])})
    cases = [Case(raws) for raws in sizes]
    with TemporaryDirectory(dir=chosen.work) as folder:
        if chosen.registry == "sqlite":
            cases += [Case(raws, cured=False) for raws in (sizes[0], sizes[-1])]
            prepared = _in_sqlite(chosen.work, Path(folder), cases)
        else:
            prepared = _in_postgresql(Path(folder), cases)
        with prepared as repositories:
            runs: dict[Case, list[Times]] = {case: [] for case in cases}
            for number in range(chosen.runs):
                for case in cases:
                    runs[case].append(
                        measured(repositories[case], chosen.visits, run=number, cured=case.cured)
                    )
    yield from _figures(runs, max(sizes))


@contextmanager
def _in_sqlite(work: Path, folder: Path, cases: Sequence[Case]) -> Iterator[Mapping[Case, Path]]:
    """Have a copy of a repository for each case; what they are copied from is kept to be used again."""
    kept = {0: filled(work / "raws-0", 0)}
    for smaller, raws in pairwise(sorted({0, *(case.raws for case in cases)})):
        kept[raws] = filled(work / f"raws-{raws}", raws, smaller=kept[smaller])
    repositories = {}
    for case in cases:
        repository = folder / f"{case.raws}-{case.cured}"
        shutil.copytree(kept[case.raws], repository)
        if case.cured:
            sqlite_hints.update_statistics(str(repository / REGISTRY))
        else:
            _forget_statistics(repository / REGISTRY)
        repositories[case] = repository
    yield repositories


def _forget_statistics(registry: Path) -> None:
    with closing(sqlite3.connect(registry, isolation_level=None)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
            connection.execute("DROP TABLE sqlite_stat1")


@contextmanager
def _in_postgresql(folder: Path, cases: Sequence[Case]) -> Iterator[Mapping[Case, Path]]:
    """Have a repository for each case, its registry in a server that lasts as long as this."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import psycopg2  # noqa: PLC0415 (only this registry needs it)

    from postgres import postgres_server  # noqa: PLC0415 (as the tests start one)

    repositories = {}
    with postgres_server() as server:
        for case in cases:
            url = server.new_database()
            with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION btree_gist")
            repositories[case] = folder / str(case.raws)
            create_repository(str(repositories[case]), registry=url)
            fill(str(repositories[case]), case.raws, any_file=folder / "any.fits")
        yield repositories


def _figures(runs: Mapping[Case, Sequence[Times]], largest: int) -> Iterator[Figure]:
    medians = {}
    for case, times in runs.items():
        ingests = [ms for each in times for ms in each.ingest]
        medians[case] = percentile(ingests, 50)
        yield Figure(
            name=f"ingest of a visit, {_named(case)}",
            value=medians[case],
            unit="ms",
            note=f"p99 {percentile(ingests, 99):.0f}, processor {_median(times, 'processor'):.1f}",
        )
    empty, full = Case(0), Case(largest)
    yield Figure(
        name="the largest by the empty",
        value=medians[full] / medians[empty],
        unit="x",
        at_most=2,
        note=f"{largest:,} raws",
    )
    yield from _others(runs, empty, full)
    yield Figure(
        name="resident memory, the largest less the empty",
        value=(_peak(runs[full]) - _peak(runs[empty])) / 1e6,
        unit="MB",
        at_most=20,
        note=f"peak of the largest {_peak(runs[full]) / 1e6:.0f} MB",
    )


def _others(runs: Mapping[Case, Sequence[Times]], empty: Case, full: Case) -> Iterator[Figure]:
    for name, what in (
        ("opened", "opening the repository"),
        ("first", "the first visit after opening"),
        ("designs", "asking for a known exposure"),
        ("again", "a visit that is there already"),
        ("query", "a reader's query for a visit"),
    ):
        beside = [case for case in (empty, replace(full, cured=False)) if case in runs]
        yield Figure(
            name=f"{what}, {_named(full)}",
            value=_median(runs[full], name),
            unit="ms",
            note="; ".join(f"{_named(case)}: {_median(runs[case], name):.1f}" for case in beside),
        )


def _median(times: Sequence[Times], name: str) -> float:
    found = [getattr(each, name) for each in times]
    return percentile([ms for each in found for ms in (each if isinstance(each, list) else [each])], 50)


def _peak(times: Sequence[Times]) -> int:
    return max(each.peak_bytes for each in times)


def _named(case: Case) -> str:
    return f"{case.raws:,} raws" + ("" if case.cured else ", SQLite told nothing")


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
