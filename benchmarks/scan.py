"""What it takes to look over an archive: at the first start, at each scan after that, and in between."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.archive import POLLING, archive
from benchmarks.figures import Figure, main
from benchmarks.process import held
from benchmarks.site import Site, ended, profiled
from pfs_ingestd.desk import count_files, read_status
from pfs_ingestd.records import State

TITLE = "Scans of an archive that the repository holds already"
WATCHING = {"mode": "inotify"}

STEADY_PATIENCE = 300.0
"""Seconds within which the folders have come to rest: those that were made just now are listed for 90 s."""

TRACED = 5.0
"""Seconds for which system calls are counted."""

_PATH = re.compile(r'"(/[^"]*)"')


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--files", type=int, default=500_000, help="Files of the archive (default: 500000).")
    parser.add_argument("--seconds", type=int, default=30, help="Length of an idle time (default: 30).")
    parser.add_argument("--profile", action="store_true", help="Print where the time of a first start goes.")


def measure(chosen: argparse.Namespace) -> Iterator[Figure]:
    """Start on an archive for the first time, then let the daemon be idle, polling and watching."""
    site = archive(chosen.work / "site", chosen.files)
    yield from _first_start(site, profile=chosen.work / "profile" if chosen.profile else None)
    with site.serving() as process:
        _wait_until_steady(site)
        yield from _traced(site, process.pid)
        yield _idle(process.pid, chosen.seconds, "poll", at_most=3)
        scan = _last_scan(site)
        yield Figure(name="steady scan", value=scan["seconds"], unit="s", at_most=0.5)
        yield Figure(name="resident memory, poll", value=held(process.pid).resident / 1e6, unit="MB")
    site = Site(chosen.work / "site", watch=WATCHING)
    with site.serving() as process:
        _wait_until_steady(site)
        yield _idle(process.pid, chosen.seconds, "watch", at_most=1)
    # As it was found, for those that use it, too.
    Site(chosen.work / "site", watch=POLLING)


def _first_start(site: Site, *, profile: Path | None) -> Iterator[Figure]:
    """Start with an empty inbox, and come to the end of all that there is to do."""
    if profile:
        _forget(site)
        ended([*site.run_command, "--once"], profile=profile)
        profiled(profile)
    _forget(site)
    cost = ended([*site.run_command, "--once"])
    counts = count_files(site.config)
    if set(site_counts := +Counter({state: counts[state] for state in State})) != {State.INGESTED}:
        raise RuntimeError(f"not all files were found in the repository: {dict(site_counts)}")
    files = counts[State.INGESTED]
    note = f"{files:,} files, from the start of the process to its end"
    yield Figure(name="first start", value=cost.seconds, unit="s", at_most=60, note=note)
    yield Figure(name="processor time for a file", value=1e6 * cost.cpu_seconds / files, unit="us")
    yield Figure(name="resident memory, first start", value=cost.peak_bytes / 1e6, unit="MB")


def _forget(site: Site) -> None:
    for file in site.config_file.parent.glob("inbox.sqlite3*"):
        file.unlink()


def _wait_until_steady(site: Site) -> None:
    """Wait for a scan that lists no folder."""
    give_up = time.monotonic() + STEADY_PATIENCE
    while _last_scan(site)["folders"]:
        if time.monotonic() > give_up:
            raise RuntimeError(f"folders are still being listed; see {site.config.log.file}")
        time.sleep(1)


def _last_scan(site: Site) -> dict[str, Any]:
    scan = read_status(site.config).status["last_scan"]
    if not isinstance(scan, dict):
        raise TypeError(f"there was no scan: {scan}")
    return scan


def _traced(site: Site, pid: int) -> Iterator[Figure]:
    """Count what is asked of the file system in a steady scan."""
    strace = shutil.which("strace")
    if strace is None:
        print("strace is not installed: no system calls are counted", file=sys.stderr)
        return
    trace = site.config_file.with_name("strace")
    command = [strace, "-f", "-qq", "-e", "trace=%file", "-o", str(trace), "-p", str(pid)]
    tracer = subprocess.Popen(command)
    time.sleep(TRACED)
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    paths = Counter(path for path in _PATH.findall(trace.read_text()) if path.startswith(f"{site.data}/"))
    trace.unlink()
    files = sum(times for path, times in paths.items() if path.endswith(".fits"))
    folders = Counter({path: times for path, times in paths.items() if not path.endswith(".fits")})
    scans = max(folders.values(), default=1)
    note = f"{scans} scans of {len(folders):,} folders"
    yield Figure(name="system calls on files", value=files, unit="calls", at_most=0, note=note)
    calls = folders.total() / scans / len(folders)
    yield Figure(name="system calls on a folder", value=calls, unit="calls a scan")


def _idle(pid: int, seconds: int, mode: str, *, at_most: float) -> Figure:
    """Tell what part of a core the daemon takes when nothing happens."""
    before = _cpu_seconds(pid)
    begun = time.monotonic()
    time.sleep(seconds)
    part = (_cpu_seconds(pid) - before) / (time.monotonic() - begun)
    return Figure(name=f"idle, {mode}", value=100 * part, unit="% of a core", at_most=at_most)


def _cpu_seconds(pid: int) -> float:
    # After the name of the program, which may hold anything, user and system time are fields 12 and 13.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(TITLE, measure, options))
