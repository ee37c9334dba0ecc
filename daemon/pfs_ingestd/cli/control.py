"""What an operator orders of the daemon as a whole: pause, resume, drain, rescan, reload."""

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from pfs_ingestd.adapters.system import user_name
from pfs_ingestd.cli.options import absolute, config_option, json_option
from pfs_ingestd.cli.output import exits, print_json
from pfs_ingestd.config import check_config, load_config, load_config_here
from pfs_ingestd.config.units import PositiveDuration
from pfs_ingestd.desk import count_files
from pfs_ingestd.endings import said_by
from pfs_ingestd.errors import Code, ExitCode, Fatal, Vanished
from pfs_ingestd.orderbook import Drained, Given
from pfs_ingestd.orderbook import drain as order_drain
from pfs_ingestd.orderbook import pause as order_pause
from pfs_ingestd.orderbook import reload as order_reload
from pfs_ingestd.orderbook import rescan as order_rescan
from pfs_ingestd.orderbook import resume as order_resume
from pfs_ingestd.records import PENDING, path_text
from pfs_ingestd.status import paused_as_json
from pfs_ingestd.text import files_are, one_line

__all__ = ["drain", "pause", "reload", "rescan", "resume"]

_reason_option = click.option("--reason", default="", help="Why, for the others; it is shown and logged.")


def _duration(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    try:
        return None if value is None else TypeAdapter(PositiveDuration).validate_python(value)
    except ValidationError as error:
        raise click.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


@click.command()
@config_option
@_reason_option
@json_option
@exits
def pause(config_file: Path, reason: str, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Let nothing be ingested until somebody resumes; files are noticed and read all the same.

    What is in hand is finished. It holds over a restart, and for a daemon that is started later.
    """
    given = order_pause(load_config(config_file, os.environ), by=_person(), reason=reason)
    return _tell_pause(given, as_json=as_json)


@click.command()
@config_option
@_reason_option
@json_option
@exits
def resume(config_file: Path, reason: str, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """End a pause."""
    given = order_resume(load_config(config_file, os.environ), by=_person(), reason=reason)
    return _tell_pause(given, as_json=as_json)


@click.command()
@config_option
@_reason_option
@click.option(
    "--wait",
    "patience",
    metavar="DURATION",
    callback=_duration,
    help="Wait so long for its end, such as 10min; by default only until it has heard.",
)
@json_option
@exits
def drain(
    config_file: Path,
    reason: str,
    patience: timedelta | None,
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Let the daemon ingest what is there and can be ingested now, and stop.

    It ends with exit code 0, and systemd does not start it again. Files that are still being written, or wait
    for another attempt, are left for its next start.
    """
    config = load_config(config_file, os.environ)
    drained: Drained | None = None
    try:
        drained = order_drain(config, by=_person(), reason=reason, patience=patience or timedelta(0))
    except Vanished as error:
        if error.code is not Code.NOT_RUNNING:
            raise
    counts = count_files(config)
    pending = sum(counts[state] for state in PENDING)
    if as_json:
        print_json(
            {
                "running": drained is not None,
                "heard": drained is not None and drained.heard,
                "stopped": drained is None or drained.ended,
                "failure": (drained and drained.failure) or None,
                "pending": pending,
                "code": None if drained else Code.NOT_RUNNING,
            }
        )
    else:
        click.echo(_told_of(drained, files_are(pending)))
    if drained is None:
        return ExitCode.DONE
    if drained.ended:
        return ExitCode.SOME_REJECTED if drained.failure or pending else ExitCode.DONE
    return ExitCode.DONE if drained.heard and not patience else ExitCode.TRY_AGAIN


def _told_of(drained: Drained | None, files: str) -> str:
    if drained is None:
        return f"no daemon is at work [{Code.NOT_RUNNING}]; {files} pending"
    if drained.failure:
        return f"not drained: the daemon has ended: {one_line(drained.failure)}; {files} pending"
    if drained.ended:
        return f"drained: the daemon has stopped; {files} pending"
    if drained.heard:
        return f"draining: it stops by itself; {files} pending; `pfs-ingestd status` tells"
    return _UNHEARD


@click.command()
@config_option
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@json_option
@exits
def rescan(config_file: Path, paths: Sequence[Path], as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Let the daemon list folders again at once, whatever it remembers of them.

    With PATHS, those files and what is below those folders; the files there that are known are looked at
    again, too, whatever their state. Without: all watched folders, and only what is new or missing in them.
    """
    config = load_config(config_file, os.environ)
    given = order_rescan(config, absolute(paths), by=_person())
    if as_json:
        meant = [path_text(path) for path in given.order.paths] if given.order else []
        print_json({"paths": meant, "heard": given.heard})
    elif given.heard:
        click.echo("scanning: `pfs-ingestd status` tells when it has ended")
    else:
        click.echo(_UNHEARD)
    return ExitCode.DONE if given.heard else ExitCode.TRY_AGAIN


@click.command()
@config_option
@json_option
@exits
def reload(config_file: Path, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Let the daemon read its configuration again, if it is right; else it goes on with the old one.

    What is below watch, ingest and log can be changed so, but for ingest.lease; the rest takes a restart.
    """
    config = load_config_here(config_file, os.environ)
    if problems := check_config(config_file, os.environ):
        raise Fatal(Code.CONFIGURATION, f"{config_file}: nothing was changed\n  " + "\n  ".join(problems))
    answered = order_reload(config, config_file)
    if as_json:
        print_json({"reloaded": answered})
    else:
        waits = "not reloaded yet: the daemon is at a long batch, or has just ended"
        click.echo("reloaded" if answered else waits)
    return ExitCode.DONE if answered else ExitCode.TRY_AGAIN


_UNHEARD = "ordered, and not heard yet: the daemon is at a long batch; it hears the order after that"


def _tell_pause(given: Given, *, as_json: bool) -> ExitCode:
    """Tell whether the queue is paused now; that is so in any case, however late a daemon hears of it."""
    if as_json:
        print_json(
            {
                "changed": given.order is not None,
                "paused": paused_as_json(given.paused),
                "running": given.holder is not None,
                "heard": given.heard,
            }
        )
        return ExitCode.DONE
    state = f"paused {said_by(given.paused)}" if given.paused else "not paused"
    if given.order is None:
        state += f", since {given.paused.at:%Y-%m-%d %H:%M} UTC already" if given.paused else " anyway"
    if given.holder is None:
        click.echo(f"{state}; no daemon is at work: it holds from its next start on")
    else:
        click.echo(state if given.heard else f"{state}; {_UNHEARD}")
    return ExitCode.DONE


def _person() -> str:
    """Say who gives the order: the person behind sudo, if there is one."""
    return f"{os.environ.get('SUDO_USER') or user_name()}@{socket.gethostname()}"
