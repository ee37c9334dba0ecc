"""The daemon at work on a simulated night: demo."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from lsst.daf.butler import Butler

from pfs_ingestd.cli.options import config_option
from pfs_ingestd.cli.output import exits, progress_bars
from pfs_ingestd.config import Config, load_config
from pfs_ingestd.desk import count_files, read_status
from pfs_ingestd.errors import Code, ExitCode, Fatal, Vanished
from pfs_ingestd.records import State
from pfs_ingestd.simulate import Night, NightPlan, expected_night, write_night
from pfs_ingestd.wiring import create_repository

__all__ = ["demo"]

VISITS = 6

PATIENCE = 60.0
"""Seconds within which the daemon has to start, to finish, and to stop; each takes it one or two."""


@click.command()
@config_option
@exits
def demo(config_file: Path) -> ExitCode:
    """Show the daemon at work: a new repository, a simulated night, and what becomes of it."""
    config = load_config(config_file, os.environ)
    data = config.watch.raw[0]
    data.mkdir(parents=True, exist_ok=True)
    if any(data.iterdir()):
        raise Fatal(
            Code.CONFIGURATION, f"{data} is not empty", hint="the demo starts from nothing: remove it"
        )
    log = config.status.file.with_name("daemon.log")
    night = expected_night(data, NightPlan(visits=VISITS, small=True, interval=0.5))

    click.echo(f"\n1. A Butler repository in {config.repository}")
    click.echo(create_repository(config.repository, instrument=config.instrument))

    click.echo(f"\n2. The daemon, watching {data}; its log goes to {log}")
    with _daemon(config_file, log) as process:
        _wait(lambda: _phase(config) == "running", process)
        click.echo(f"\n3. A night of {VISITS} visits, written as the instrument writes it")
        _play(config, data, night, process)

    query = (
        "butler",
        "query-datasets",
        config.repository,
        "raw",
        "--collections",
        f"{config.instrument}/raw/all",
    )
    click.echo(f"\n4. {' '.join(query)}")
    _print_output(*query)

    for number, look in enumerate(("board", "status"), start=5):
        click.echo(f"\n{number}. pfs-ingestd {look} -c {config_file}")
        _print_output("pfs-ingestd", look, "-c", str(config_file))

    missing = _missing(config, night)
    for what in missing:
        click.echo(f"not in the repository: {what}", err=True)
    ours, butlers = _typed("pfs-ingestd"), _typed("butler")
    held = len(night.raws) + len(night.configs) - len(missing)
    click.echo(
        f"\n{held} of {len(night.raws) + len(night.configs)} files are in the repository:"
        f" {len(night.raws)} raws and {len(night.configs)} pfsConfigs were written;"
        f" {len(night.convergence_configs)} pfsConfig waits for raws that never come, as after a convergence."
        f"\n\nWhere to look next"
        f"\n  every file and its state:  {ours} list -c {config_file}"
        f"\n  the story of a visit:      {ours} show -c {config_file} {night.visits[0].visit}"
        f"\n  the night in a browser:    {config.status.board or 'name a file in status.board'}"
        f"\n  the collections:           {butlers} query-collections {config.repository}"
        f"\n  the exposure records:      {butlers} query-dimension-records {config.repository} exposure"
        f"\n  the log:                   {log}"
    )
    return ExitCode.SOME_REJECTED if missing else ExitCode.DONE


@contextmanager
def _daemon(config_file: Path, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the daemon, and ask it to stop in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            [_program("pfs-ingestd"), "run", "-c", config_file], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _play(config: Config, data: Path, night: Night, process: "subprocess.Popen[bytes]") -> None:
    """Write the night, and follow the daemon until it has taken everything in."""
    files = len(night.raws) + len(night.configs)
    with progress_bars() as bars:
        written = bars.add_task("written ", total=files + len(night.convergence_configs))
        ingested = bars.add_task("ingested", total=files)

        def look() -> int:
            count = count_files(config)[State.INGESTED]
            bars.update(ingested, completed=count)
            return count

        def on_file(path: Path) -> None:
            bars.advance(written)
            count = look()
            # Where nobody sees the bars, a line for each visit tells how it goes.
            if bars.disable and path.parent.name == "pfsConfig":
                click.echo(f"   {path.name} is written; {count} files ingested so far")

        write_night(data, NightPlan(visits=VISITS, small=True, interval=0.5), on_file=on_file)
        _wait(lambda: look() >= files, process)


def _wait(reached: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until something is so, the daemon has died, or it takes unreasonably long."""
    give_up = time.monotonic() + PATIENCE
    while not reached() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.05)


def _phase(config: Config) -> object:
    try:
        seen = read_status(config)
    except Vanished:
        return None
    return seen.status["state"] if seen.holder else None


def _missing(config: Config, night: Night) -> Sequence[str]:
    """Ask Butler itself which files of the night it does not hold."""
    butler = Butler.from_config(config.repository, collections=f"{config.instrument}/defaults")
    found = {
        (ref.dataId["exposure"], ref.dataId["arm"], ref.dataId["spectrograph"])
        for ref in butler.query_datasets("raw", limit=None)
        if butler.stored(ref)
    }
    configs = {
        ref.dataId["exposure"] for ref in butler.query_datasets("pfsConfig", limit=None) if butler.stored(ref)
    }
    return [
        *(
            f"raw of exposure {visit}, {arm}{spectrograph}"
            for visit, arm, spectrograph in sorted(night.raw_data_ids - found)
        ),
        *(f"pfsConfig of exposure {visit}" for visit in sorted(night.config_data_ids - configs)),
    ]


def _print_output(program: str, *arguments: str) -> None:
    command = [_program(program), *arguments]
    click.echo(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)  # noqa: S603 (our own commands)


def _program(name: str) -> str:
    """Find a command of the environment that this one runs in."""
    return str(Path(sys.executable).with_name(name))


def _typed(name: str) -> str:
    """Tell what somebody has to type for a command of this environment, who may not have activated it."""
    program = _program(name)
    if shutil.which(name) == program:
        return name
    return os.path.relpath(program) if Path(program).is_relative_to(Path.cwd()) else program
