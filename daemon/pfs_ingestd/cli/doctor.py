"""What a first start can trip over, looked at beforehand: doctor."""

import os
import sys
from collections import Counter
from pathlib import Path

import click

from pfs_ingestd.cli.options import config_option, json_option
from pfs_ingestd.cli.output import exits, print_json
from pfs_ingestd.doctor.examination import examine
from pfs_ingestd.doctor.findings import Finding, Level
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.redaction import redacted
from pfs_ingestd.text import one_line

__all__ = ["doctor"]

VERSION = 1

_COLORS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


@click.command()
@config_option
@click.option(
    "--user",
    help="The account that the service runs as; by default that of the installed unit, else this one.",
)
@json_option
@exits
def doctor(config_file: Path, user: str | None, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Check everything that a first start can trip over, and say of each thing that is wrong how to cure it.

    Configuration, folders and rights, file systems, limits of the kernel, the installed service, inbox,
    repository, header corrections, clocks; and the newest file is tried without being stored. Nothing is
    changed. Run it as root, or as the service's user. The exit code is 1 if there is an error.
    """
    configure_logs(level="error", format="auto", file=None, stream=sys.stderr)
    shows = sys.stderr.isatty() and not as_json
    found: list[tuple[str, Finding]] = []
    for name, finding in examine(
        config_file, os.environ, user=user, begin=lambda name: _begin(name) if shows else None
    ):
        found.append((name, finding))
        if not as_json:
            _print(name, finding, clear=shows)
    levels = Counter(finding.level for _, finding in found)
    if as_json:
        print_json({"version": VERSION, "findings": [_facts(name, finding) for name, finding in found]})
    else:
        if shows:
            click.echo("\r\033[K", nl=False, err=True)
        numbers = (levels[level] for level in (Level.ERROR, Level.WARNING, Level.OK))
        click.echo("\nerrors: {}, warnings: {}, in order: {}".format(*numbers))
    return ExitCode.SOME_REJECTED if levels[Level.ERROR] else ExitCode.DONE


def _begin(name: str) -> None:
    click.echo(f"\r\033[K{name} ...", nl=False, err=True)


def _print(name: str, finding: Finding, *, clear: bool) -> None:
    if clear:
        click.echo("\r\033[K", nl=False, err=True)
    level = click.style(f"{finding.level:7}", fg=_COLORS[finding.level], bold=True)
    first, *rest = (one_line(line) for line in redacted(finding.text).splitlines() or [""])
    click.echo(f"{level}  {name}: {first}")
    for line in rest:
        click.echo(f"         {line}")
    if finding.cure:
        click.echo(f"         -> {one_line(redacted(finding.cure))}")


def _facts(name: str, finding: Finding) -> dict[str, str]:
    return {
        "check": name,
        "level": str(finding.level),
        "text": redacted(finding.text),
        "cure": redacted(finding.cure),
    }
