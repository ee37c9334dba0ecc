"""What commands print, and how they end when something goes wrong."""

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ParamSpec

import click
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pfs_ingestd.errors import Code, ExitCode, Fatal, IngestdError, Outage, TryLater
from pfs_ingestd.records import FileRecord, path_text
from pfs_ingestd.text import one_line

__all__ = ["exits", "facts_of", "print_error", "print_json", "print_rows", "print_table", "progress_bars"]

P = ParamSpec("P")

_REPORT = "this is a bug: report it with the traceback above; nothing that was stored is lost"

_EXITS: Mapping[Code, ExitCode] = {
    Code.BUG: ExitCode.BUG,
    Code.ALREADY_RUNNING: ExitCode.TRY_AGAIN,
    Code.CREDENTIALS_REFUSED: ExitCode.CONFIGURATION,
    Code.USAGE: ExitCode.USAGE,
}


def progress_bars() -> Progress:
    """Make progress bars on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def exits(command: Callable[P, ExitCode]) -> Callable[P, None]:
    """Make a command end with the exit code that it returns, or that its error stands for.

    What nobody foresaw is told like any other error, below the traceback that has to be reported.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except IngestdError as error:
            print_error(error)
            code = _exit_code(error)
        except BrokenPipeError:
            raise  # the reader of a pipe has gone: click ends then
        except Exception as error:
            if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
                raise
            traceback.print_exc()
            print_error(Fatal(Code.BUG, f"{type(error).__name__}: {error}", hint=_REPORT))
            code = ExitCode.BUG
        raise SystemExit(int(code))

    return run


def print_error(error: IngestdError) -> None:
    """Say on standard error what happened, and what to do."""
    first, *rest = error.message.splitlines() or [""]
    click.echo(f"error [{error.code}]: {one_line(first)}", err=True)
    for line in (*rest, error.hint or f"see {error.code} among the reasons in docs/operations.md"):
        click.echo(f"  {one_line(line.strip())}", err=True)


def print_json(value: object) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people, as wide as it needs to be: a path that is folded cannot be copied."""
    head, *lines = _aligned([columns, *rows])
    click.echo(click.style(head, bold=True))
    for line in lines:
        click.echo(line)


def print_rows(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people, in columns without a head."""
    for line in _aligned(list(rows)):
        click.echo(line)


def _aligned(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    lines = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    """Write a value as one line that does not steer the terminal."""
    return "" if value is None else one_line(str(value))


def _exit_code(error: IngestdError) -> ExitCode:
    if error.code in _EXITS:
        return _EXITS[error.code]
    if isinstance(error, Outage | TryLater):
        return ExitCode.TRY_AGAIN
    return ExitCode.CONFIGURATION if isinstance(error, Fatal) else ExitCode.SOME_REJECTED


def facts_of(record: FileRecord) -> dict[str, object]:
    """Write a file's record for scripts."""
    return {
        "path": path_text(record.path),
        "kind": record.kind,
        "state": record.state,
        "visit": record.visit,
        "arm": record.arm,
        "spectrograph": record.spectrograph,
        "size": record.size,
        "attempts": record.attempts,
        "not_before": record.not_before and record.not_before.isoformat(),
        "code": record.code,
        "error": record.error,
        "changed": record.changed,
        "first_seen": record.first_seen.isoformat(),
        "updated": record.updated.isoformat(),
        "dataset_id": record.dataset_id,
    }
