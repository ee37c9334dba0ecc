"""What an audit of an archive takes, all of it or the newest night."""

import argparse
import sys
from collections.abc import Iterator

from benchmarks.archive import archive
from benchmarks.figures import Figure, main
from benchmarks.site import Site, ended, profiled
from pfs_ingestd.desk import count_files
from pfs_ingestd.records import State

TITLE = "An audit of an archive in which nothing differs"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--files", type=int, default=100_000, help="Files of the archive (default: 100000).")
    parser.add_argument("--profile", action="store_true", help="Print where the time of an audit goes.")


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Audit an archive that a daemon has looked at, in processes of their own."""
    site = archive(chosen.work / "site", chosen.files)
    files = _known(site)
    command = ["audit", "-c", str(site.config_file)]
    if chosen.profile:
        ended(command, profile=chosen.work / "profile")
        profiled(chosen.work / "profile")
    cost = ended(command)
    note = f"{files:,} files and as many datasets"
    yield Figure(name="audit", value=cost.seconds, unit="s", note=note)
    yield Figure(
        name="processor time for a file", value=1e6 * cost.cpu_seconds / files, unit="us", at_most=250
    )
    yield Figure(name="peak memory", value=cost.peak_bytes / 1e6, unit="MB", at_most=300)
    cost = ended([*command, "--since", "2026-06-01"])
    yield Figure(name="audit of the last nights", value=cost.seconds, unit="s", note="--since")
    yield Figure(name="processor time of that", value=cost.cpu_seconds, unit="s")


def _known(site: Site) -> int:
    """Let a daemon look at everything, unless one has; tell how many files it knows."""
    if not site.config_file.with_name("inbox.sqlite3").exists():
        ended([*site.run_command, "--once"])
    return count_files(site.config)[State.INGESTED]


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
