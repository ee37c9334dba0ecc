"""The night board in a terminal: board."""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pfs_ingestd.board.night import Concern, Night
from pfs_ingestd.board.slots import LETTERS, MEANINGS, SLOTS, slot_mark
from pfs_ingestd.board.visits import CONFIG, Mark
from pfs_ingestd.cli.options import config_option, json_option
from pfs_ingestd.cli.output import exits, print_json
from pfs_ingestd.config import load_config
from pfs_ingestd.desk import look_at_night
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.text import one_line

__all__ = ["board"]

WATCH_SECONDS = 2
"""How often `--watch` looks again."""

# What is shown above and below the visits, where they have to fit on a screen.
_AROUND = 12

_STYLES: Mapping[Mark, str] = {
    Mark.INGESTED: "green",
    Mark.PENDING: "cyan",
    Mark.WAITING: "magenta",
    Mark.EXPECTED: "dim",
    Mark.MISSING: "bold red",
    Mark.REJECTED: "bold white on red",
    Mark.CHANGED: "bold yellow",
    Mark.GONE: "yellow",
    Mark.SKIPPED: "dim",
    Mark.ORPHANED: "dim",
}


@click.command()
@config_option
@click.option(
    "--night",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d", "%Y%m%d"]),
    help="The UTC date of the night; by default the newest that has visits.",
)
@click.option("--watch", is_flag=True, help="Keep the newest visits on the screen until Ctrl-C.")
@json_option
@exits
def board(
    config_file: Path,
    night: datetime | None,
    watch: bool,  # noqa: FBT001 (click passes a flag by name)
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Show what became of each visit of a night, camera by camera, and whether it is complete."""
    if watch and as_json:
        raise click.UsageError("--watch and --json do not go together")
    config = load_config(config_file, os.environ)
    chosen = night.date() if night else None
    console = Console(highlight=False, soft_wrap=not watch)
    if not watch:
        shown = look_at_night(config, chosen)
        if as_json:
            print_json(shown.as_json())
        else:
            console.print(_board(shown, None))
        return ExitCode.DONE
    try:
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                live.update(_board(look_at_night(config, chosen), console.height - _AROUND), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return ExitCode.DONE


def _board(night: Night, rows: int | None) -> Group:
    """Lay a night out: all its visits, oldest first, or as many of the newest as there is room for."""
    visits = night.visits if rows is None else night.visits[-max(rows, 1) :]
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("visit", justify="right")
    for label, _ in SLOTS:
        table.add_column("cfg" if label == CONFIG else label, justify="center")
    table.add_column("arms")
    table.add_column("state")
    for visit in visits:
        marks = [slot_mark(visit, names) for _, names in SLOTS]
        letters = (Text(LETTERS[mark], _STYLES[mark]) if mark else Text() for mark in marks)
        table.add_row(str(visit.number), *letters, visit.arms, visit.verdict)
    used = {mark for mark, count in night.marks.items() if count}
    key = Text("  ").join(
        Text.assemble((letter, _STYLES[mark]), f" {MEANINGS[mark]}")
        for mark, letter in LETTERS.items()
        if mark in used
    )
    older = len(night.visits) - len(visits)
    return Group(
        Text(night.sentence, style="bold"),
        *([Text(one_line(night.warning), style="bold yellow")] if night.warning else []),
        Text(f"{older} older visits are not shown" if older else ""),
        table,
        Text(),
        key,
        *islice(map(_line, reversed(night.concerns)), None if rows is None else 5),
    )


def _line(concern: Concern) -> Text:
    code = f"[{concern.code}] " if concern.code else ""
    return Text.assemble(
        (LETTERS[concern.mark], _STYLES[concern.mark]),
        f" {concern.visit} {concern.name}: {one_line(f'{code}{concern.reason} {concern.path}')}",
    )
