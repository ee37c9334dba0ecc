"""What a daemon holds on to while a hundred thousand files go through it."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, main
from benchmarks.process import Held, held
from benchmarks.site import Site
from benchmarks.visits import Visits
from pfs_ingestd.desk import count_files
from pfs_ingestd.records import State

TITLE = "What a daemon holds on to while files go through it"

VISITS_AT_ONCE = 100
PATIENCE = 300.0
"""Seconds within which the daemon has to take in what was written at once."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--files", type=int, default=100_000, help="How many files (default: 100,000).")
    parser.add_argument(
        "--warm-up", type=int, default=6_000, metavar="FILES", help="Files before those (default: 6,000)."
    )
    parser.add_argument("--samples", action="store_true", help="Print what was seen after every 1,200 files.")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon held at a moment when it had nothing to do.

    Parameters
    ----------
    files : `int`
        How many files it had ingested.
    held : `Held`
        What it held.
    """

    files: int
    held: Held


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Let a daemon ingest visit after visit, and look at it in between."""
    with TemporaryDirectory(dir=chosen.work) as folder:
        begun = time.monotonic()
        samples = list(_samples(Path(folder), chosen.warm_up + chosen.files))
        seconds = time.monotonic() - begun
    if chosen.samples:
        for sample in samples:
            print(sample, file=sys.stderr)
    yield from _figures([sample for sample in samples if sample.files >= chosen.warm_up])
    yield Figure(
        name="pace",
        value=samples[-1].files / seconds,
        unit="files/s",
        note="writing them and waiting for each hundred visits included",
    )


def _samples(folder: Path, files: int) -> Iterator[Sample]:
    site, visits = Site(folder / "site"), Visits()
    with site.serving() as daemon:
        written = 0
        while written < files:
            first = 1 + written // visits.cameras
            for visit in range(first, first + VISITS_AT_ONCE):
                written += len(visits.write(site.data, visit))
            _wait_for(site, written)
            yield Sample(written, held(daemon.pid))


def _wait_for(site: Site, files: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while (counts := count_files(site.config))[State.INGESTED] < files:
        if time.monotonic() > give_up or counts[State.REJECTED]:
            raise RuntimeError(f"the daemon did not ingest {files} files: {counts}")
        time.sleep(0.1)


def _figures(samples: Sequence[Sample]) -> Iterator[Figure]:
    first, last = samples[0], samples[-1]
    middle = samples[len(samples) // 2]
    yield Figure(
        name="resident memory grown by",
        value=(last.held.resident - first.held.resident) / 1e6,
        unit="MB",
        at_most=20,
        note=f"over {last.files - first.files:,} files, after the first {first.files:,}:"
        f" {first.held.resident / 1e6:.0f} -> {last.held.resident / 1e6:.0f} MB",
    )
    yield Figure(
        name="of that in the second half",
        value=(last.held.resident - middle.held.resident) / 1e6,
        unit="MB",
        note="a leak would show here",
    )
    yield Figure(name="resident memory, peak", value=last.held.peak / 1e6, unit="MB", at_most=300)
    yield Figure(
        name="open files grown by",
        value=last.held.descriptors - first.held.descriptors,
        unit="files",
        at_most=2,
        note=f"{first.held.descriptors} -> {last.held.descriptors}; SQLite has one now and then",
    )
    yield Figure(
        name="hidden temporary files",
        value=max(sample.held.hidden for sample in samples) / 1e6,
        unit="MB",
        at_most=10,
        note="what SQLite keeps of its temporary tables, at most",
    )


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
