"""What an operator sees and does beside the daemon: list, retry, skip, check-config."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from pfs_ingestd.by_hand import Moved
from pfs_ingestd.cli.options import absolute, config_option, json_option
from pfs_ingestd.cli.output import exits, facts_of, print_error, print_json, print_table
from pfs_ingestd.config import check_config, load_config
from pfs_ingestd.desk import retry_files, select_files, skip_files
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.records import State, path_text

__all__ = ["check_config_file", "list_files", "retry", "skip"]

_state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in State]),
    help="Only files in this state; may be given several times.",
)
_visit_option = click.option(
    "--visit", "visits", type=int, multiple=True, help="Only files of this visit; may be given several times."
)


@click.command("list")
@config_option
@_state_option
@_visit_option
@json_option
@exits
def list_files(
    config_file: Path,
    states: Sequence[str],
    visits: Sequence[int],
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """List the files that the daemon knows, with their states and reasons."""
    config = load_config(config_file, os.environ)
    found = select_files(config, states=[State(state) for state in states], visits=visits)
    records = sorted(found, key=lambda record: (record.visit, record.path))
    if as_json:
        print_json([facts_of(record) for record in records])
        return ExitCode.DONE
    rows = [
        (
            record.state,
            record.visit,
            f"{record.arm}{record.spectrograph}" if record.arm else record.kind,
            record.attempts,
            record.updated.isoformat(timespec="seconds"),
            path_text(record.path),
            record.changed or (f"[{record.code}] {record.error}" if record.error else None),
        )
        for record in records
    ]
    print_table(["state", "visit", "file", "attempts", "updated", "path", "reason"], rows)
    return ExitCode.DONE


@click.command()
@config_option
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@_state_option
@_visit_option
@json_option
@exits
def retry(
    config_file: Path,
    paths: Sequence[Path],
    states: Sequence[str],
    visits: Sequence[int],
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Start files again from the beginning, with all their attempts.

    Without PATHS and --state: those that were rejected.
    """
    config = load_config(config_file, os.environ)
    moved = retry_files(
        config, paths=absolute(paths), states=[State(state) for state in states], visits=visits
    )
    return _summary(moved, "to be tried again", as_json=as_json)


@click.command()
@config_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
@exits
def skip(config_file: Path, paths: Sequence[Path], as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Leave files out: they are neither tried nor counted as rejected until they change or are retried."""
    config = load_config(config_file, os.environ)
    return _summary(skip_files(config, absolute(paths)), "skipped", as_json=as_json)


@click.command("check-config")
@config_option
@exits
def check_config_file(config_file: Path) -> ExitCode:
    """Tell everything that is wrong with a configuration, in itself and on the disk."""
    problems = check_config(config_file, os.environ)
    for problem in problems:
        click.echo(problem)
    if problems:
        return ExitCode.CONFIGURATION
    click.echo(f"{config_file}: no problems")
    return ExitCode.DONE


def _summary(moved: Moved, what: str, *, as_json: bool) -> ExitCode:
    """Tell which files were moved, and of each other why not."""
    if as_json:
        left = [
            {"path": path_text(path), "code": error.code, "error": error.message, "hint": error.hint}
            for path, error in moved.left
        ]
        print_json({"moved": [facts_of(record) for record in moved.records], "left": left})
    else:
        for _, error in moved.left:
            print_error(error)
        number = len(moved.records)
        click.echo(f"{number} file{'' if number == 1 else 's'} {what}")
    return ExitCode.SOME_REJECTED if moved.left else ExitCode.DONE
