"""A place to measure in: a repository, a watched folder, and the real commands at work on them."""

import os
import pstats
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from lsst.daf.butler import Butler

from pfs_ingestd.config import Config, load_config
from pfs_ingestd.desk import read_status
from pfs_ingestd.errors import Vanished
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import create_repository

__all__ = ["Cost", "Site", "all_ended", "ended", "night_at_rest", "profiled"]

AT_REST = 7200.0
"""Seconds for which the files of a backlog have not been touched: hours, as in an archive."""

PATIENCE = 120.0
"""Seconds within which a daemon has to start, and to stop."""

_PROGRAM = (sys.executable, "-m", "pfs_ingestd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process took, from its start to its end.

    Parameters
    ----------
    seconds : `float`
        Time passed.
    cpu_seconds : `float`
        Processor time, of the program and of the system for it.
    peak_bytes : `int`
        The largest resident memory, or that of the process which started it if that is larger.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Site:
    """A repository and a configuration, made where they are not there already.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where they are.
    data : `~pathlib.Path`, optional
        The watched folder; by default one beside the repository.
    watch, ingest : `~collections.abc.Mapping`, optional
        Settings that are not the defaults.
    registry, inbox : `str`, optional
        URLs of databases; by default they are in SQLite.
    """

    def __init__(
        self,
        folder: Path,
        data: Path | None = None,
        *,
        watch: Mapping[str, object] | None = None,
        ingest: Mapping[str, object] | None = None,
        registry: str | None = None,
        inbox: str = "inbox.sqlite3",
    ) -> None:
        self.repository = str(folder / "repository")
        self.config_file = folder / "config.yaml"
        self.data = data or folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        create_repository(self.repository, registry=registry)
        content = {
            "repository": self.repository,
            "watch": {"raw": str(self.data), "pfsConfig": str(self.data), **(watch or {})},
            "ingest": dict(ingest or {}),
            "state": {"database": inbox},
            "status": {"file": "status.json"},
            "log": {"file": "log.json"},
        }
        self.config_file.write_text(yaml.safe_dump(content))
        self.config: Config = load_config(self.config_file, {})

    @property
    def run_command(self) -> Sequence[str]:
        """What starts the daemon on this configuration."""
        return ("run", "-c", str(self.config_file))

    def stored(self, dataset_type: str) -> int:
        """Count the datasets of a type, as Butler tells."""
        with Butler.from_config(self.repository) as butler:
            found = butler.query_datasets(
                dataset_type, collections="PFS/raw/*", find_first=False, limit=None, explain=False
            )
        return len(found)

    def newest_visit(self) -> int:
        """Tell the highest visit that the repository knows, 0 if it knows none."""
        with Butler.from_config(self.repository) as butler:
            newest = butler.query_dimension_records("exposure", order_by="-exposure", limit=1, explain=False)
        return int(newest[0].id) if newest else 0

    @contextmanager
    def serving(self, *, profile: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """Have the daemon at work, its first scan behind it.

        Parameters
        ----------
        profile : `~pathlib.Path`, optional
            Where to write a profile of it.
        """
        process = subprocess.Popen(_command(self.run_command, profile))
        try:
            self._wait_until_running(process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def _wait_until_running(self, process: "subprocess.Popen[bytes]") -> None:
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up and process.poll() is None:
            try:
                content = read_status(self.config).status
            except Vanished:
                content = {}
            if content.get("pid") == process.pid and content.get("state") == "running":
                return
            time.sleep(0.05)
        raise RuntimeError(f"the daemon did not start; see {self.config.log.file}")


def ended(arguments: Sequence[str], *, profile: Path | None = None) -> Cost:
    """Run one of our commands to its end, and tell what it took.

    Parameters
    ----------
    arguments : `~collections.abc.Sequence` [`str`]
        What follows ``pfs-ingestd`` on the command line.
    profile : `~pathlib.Path`, optional
        Where to write a profile of it.

    Raises
    ------
    RuntimeError
        If it fails: then its figures mean nothing.
    """
    [cost] = all_ended([arguments], profile=profile)
    return cost


def all_ended(several: Sequence[Sequence[str]], *, profile: Path | None = None) -> Sequence[Cost]:
    """Run some of our commands at the same time, each to its end; see `ended`."""
    silenced = [(os.POSIX_SPAWN_OPEN, sys.stdout.fileno(), os.devnull, os.O_WRONLY, 0)]
    commands = [_command(arguments, profile) for arguments in several]
    begun = time.monotonic()
    processes = [os.posix_spawn(each[0], each, os.environ, file_actions=silenced) for each in commands]
    costs = []
    for command, process in zip(commands, processes, strict=True):
        _, status, usage = os.wait4(process, 0)
        if code := os.waitstatus_to_exitcode(status):
            raise RuntimeError(f"{' '.join(command)} ended with exit code {code}")
        cost = Cost(
            seconds=time.monotonic() - begun,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
        )
        costs.append(cost)
    return costs


def profiled(file: Path, functions: int = 40) -> None:
    """Print where the time of a profile went, on standard error."""
    stats = pstats.Stats(str(file), stream=sys.stderr)
    stats.strip_dirs().sort_stats("tottime").print_stats(functions)
    stats.sort_stats("cumulative").print_stats(functions)


def night_at_rest(folder: Path, visits: int, *, first_visit: int = 1000) -> Path:
    """Get a simulated night of small files that nobody has touched for hours; written once.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where it is, or is to be.
    visits : `int`
        Number of visits.
    first_visit : `int`, optional
        Number of the first.
    """
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        write_night(draft, NightPlan(visits=visits, first_visit=first_visit, small=True))
        then = time.time() - AT_REST
        for path in draft.rglob("*.fits"):
            os.utime(path, (then, then))
        draft.rename(folder)
    return folder


def _command(arguments: Sequence[str], profile: Path | None) -> list[str]:
    if profile is None:
        return [*_PROGRAM, *arguments]
    python, *module = _PROGRAM
    return [python, "-m", "cProfile", "-o", str(profile), *module, *arguments]
