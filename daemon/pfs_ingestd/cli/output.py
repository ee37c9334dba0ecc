"""What commands print, and how they end when something goes wrong."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pfs_ingestd.errors import Code, ExitCode, Fatal, IngestdError, Outage, TryLater

__all__ = ["console", "exits", "print_error", "print_json", "print_table", "progress_bars"]

P = ParamSpec("P")

_EXITS: Mapping[Code, ExitCode] = {
    Code.BUG: ExitCode.BUG,
    Code.ALREADY_RUNNING: ExitCode.TRY_AGAIN,
}


def console(*, stderr: bool = False) -> Console:
    """Make a console that writes text as it is: file names are not markup, and are not wrapped in a pipe."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def progress_bars() -> Progress:
    """Make progress bars on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def exits(command: Callable[P, ExitCode]) -> Callable[P, None]:
    """Make a command end with the exit code that it returns, or that its error stands for."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except IngestdError as error:
            print_error(error)
            code = _exit_code(error)
        raise SystemExit(int(code))

    return run


def print_error(error: IngestdError) -> None:
    """Say on standard error what happened, and what to do."""
    click.echo(f"error [{error.code}]: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def print_json(value: object) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table for people; on a pipe it is as wide as it needs to be."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    output = console()
    if not output.is_terminal:
        output.width = max(output.measure(table).maximum, 1)
    output.print(table)


def _exit_code(error: IngestdError) -> ExitCode:
    if isinstance(error, Outage | TryLater):
        return ExitCode.TRY_AGAIN
    if isinstance(error, Fatal):
        return _EXITS.get(error.code, ExitCode.CONFIGURATION)
    return ExitCode.SOME_REJECTED
