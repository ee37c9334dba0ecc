"""What a process does with one visit after the other in a repository, and how long each step takes."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar
from unittest import mock

from lsst.daf.butler import Butler

from benchmarks.process import held
from benchmarks.visits import Visits
from pfs_ingestd.adapters.repository import ButlerRepository, open_repository, sqlite_hints

__all__ = ["Times", "measured"]

P = ParamSpec("P")
Result = TypeVar("Result")

FIRST = 900_000
"""Number of the first new visit."""

VISITS_PER_RUN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What was measured, in ms where it is a time, for each visit where it is a list.

    Parameters
    ----------
    opened : `float`
        Opening the repository.
    first : `float`
        Taking in a visit right after that.
    ingest, processor : `list` [`float`]
        Taking in a visit; the processor time of that.
    designs : `list` [`float`]
        Asking whether the repository has a visit that it has.
    again : `list` [`float`]
        Finding the raws of a visit to be there already.
    query : `list` [`float`]
        A reader's query for the raws of a visit.
    peak_bytes : `int`
        The largest resident memory.
    """

    opened: float
    first: float
    ingest: list[float]
    processor: list[float]
    designs: list[float]
    again: list[float]
    query: list[float]
    peak_bytes: int


def measured(repository: Path, visits: int, *, run: int, cured: bool) -> Times:
    """Measure in a process of its own.

    Parameters
    ----------
    repository : `~pathlib.Path`
        The repository; the visits are added to it.
    visits : `int`
        How many.
    run : `int`
        How often that was done before: each time with other visits.
    cured : `bool`
        Whether SQLite is told what it must be told.
    """
    first = FIRST + VISITS_PER_RUN * run
    command = [sys.executable, "-m", "benchmarks.one_visit", str(repository), str(first), str(visits)]
    done = subprocess.run([*command, *([] if cured else ["--uncured"])], stdout=subprocess.PIPE, check=True)
    return Times(**json.loads(done.stdout))


def main() -> None:
    """Measure, and print the times as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_visit", description=__doc__)
    parser.add_argument("repository", type=Path, help="An existing repository, which is added to.")
    parser.add_argument("first", type=int, help="Number of the first visit.")
    parser.add_argument("visits", type=int, help="How many visits.")
    parser.add_argument("--uncured", action="store_true", help="Tell SQLite nothing.")
    chosen = parser.parse_args()
    with TemporaryDirectory(dir=chosen.repository.parent) as folder, ExitStack() as stack:
        if chosen.uncured:
            stack.enter_context(mock.patch.object(sqlite_hints, "install"))
        # One more, for the first after opening counts by itself.
        numbers = range(chosen.first, chosen.first + 1 + chosen.visits)
        times = _times(chosen.repository, Path(folder), numbers)
    print(json.dumps(asdict(times)))


def _times(repository: Path, data: Path, numbers: range) -> Times:
    visits = Visits()
    paths = {visit: visits.write(data, visit) for visit in numbers}
    opened, seconds = _timed(_opened, repository)
    ingest, processor = [], []
    for visit in numbers:
        begun = time.process_time()
        ingest.append(_timed(_take_in, opened, visits, visit, paths[visit])[1])
        processor.append(1e3 * (time.process_time() - begun))
    opened.close()
    # It remembers the visits, another one does not.
    opened = _opened(repository)
    designs, again = [], []
    for visit in numbers[1:]:
        designs.append(_timed(opened.designs, [visit])[1])
        datasets = visits.datasets(visit, paths[visit])
        again.append(_timed(opened.ingest, [], datasets)[1])
    opened.close()
    return Times(
        opened=seconds,
        first=ingest[0],
        ingest=ingest[1:],
        processor=processor[1:],
        designs=designs,
        again=again,
        query=_queried(repository, numbers, visits.cameras),
        peak_bytes=held(os.getpid()).peak,
    )


def _opened(repository: Path) -> ButlerRepository:
    return open_repository(str(repository), transfer="link", runs={}, instrument="PFS")


def _take_in(repository: ButlerRepository, visits: Visits, visit: int, paths: Sequence[Path]) -> None:
    """Do with a visit what the daemon does with one whose headers it has read."""
    if repository.designs([visit]):
        raise RuntimeError(f"visit {visit} is there already")
    repository.ingest([visits.exposure(visit)], visits.datasets(visit, paths))


def _queried(repository: Path, numbers: Sequence[int], raws: int) -> list[float]:
    first, *others = numbers
    times = []
    with Butler.from_config(str(repository), collections="PFS/raw/all") as reader:
        reader.query_datasets("raw", instrument="PFS", exposure=first)
        for visit in others:
            found, ms = _timed(reader.query_datasets, "raw", instrument="PFS", exposure=visit)
            if len(found) != raws:
                raise RuntimeError(f"visit {visit} has {len(found)} raws")
            times.append(ms)
    return times


def _timed(deed: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> tuple[Result, float]:
    begun = time.perf_counter()
    result = deed(*args, **kwargs)
    return result, 1e3 * (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
