"""The whole story of a file or a visit: show."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pfs_ingestd.cli.options import config_option, json_option
from pfs_ingestd.cli.output import exits, print_json, print_rows
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.showing import subject_of, tell_story
from pfs_ingestd.story.as_json import as_json as story_as_json
from pfs_ingestd.story.telling import sections
from pfs_ingestd.text import one_line

__all__ = ["show"]


@click.command()
@config_option
@click.argument("subject", metavar="PATH|DATASET_ID|VISIT")
@click.option("--checksum", is_flag=True, help="Also compare the bytes of the artifact with the file.")
@json_option
@exits
def show(
    config_file: Path,
    subject: str,
    checksum: bool,  # noqa: FBT001 (click passes a flag by name)
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Tell all that is known of a file, a dataset or a visit, and what to do next.

    When it was seen, each attempt that failed and why, how it stands and what it waits for, where it is
    stored; of a visit all expected cameras. Nothing is changed, and a daemon may be running. The exit code
    is 1 if nobody knows it.
    """
    config = load_config(config_file, os.environ)
    configure_logs(level="warning", format="auto", file=None, stream=sys.stderr)
    story = tell_story(config, subject_of(subject), os.environ, checksum=checksum)
    if as_json:
        print_json(story_as_json(story))
        return ExitCode.DONE
    for number, (title, rows) in enumerate(sections(story)):
        if number:
            click.echo()
        click.echo(click.style(one_line(title), bold=True))
        print_rows([("  " + first, *rest) for first, *rest in _even(rows)])
    return ExitCode.DONE


def _even(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Fill up short rows, so that columns can be aligned."""
    longest = max(map(len, rows), default=1)
    return [(*row, *[""] * (longest - len(row))) for row in rows]
