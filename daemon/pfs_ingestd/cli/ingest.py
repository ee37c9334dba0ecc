"""Ingestion by command: ingest-raws, ingest-pfs-config, replace."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from pfs_ingestd.cli.options import absolute, config_option, instrument_option, json_option, transfer_option
from pfs_ingestd.cli.output import exits, facts_of, print_json, progress_bars
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import Code, ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.oneshot import Result
from pfs_ingestd.records import Kind, path_text
from pfs_ingestd.wiring import OneShotOptions, one_shot, replace_file

__all__ = ["ingest_pfs_config", "ingest_raws", "replace"]

_fail_fast_option = click.option("--fail-fast", is_flag=True, help="Stop at the first file that is rejected.")
_paths_argument = click.argument("paths", nargs=-1, required=True)


@click.command("ingest-raws")
@click.argument("repo")
@_paths_argument
@transfer_option
@_fail_fast_option
@click.option(
    "--output-run", metavar="RUN", help="RUN collection; by default that of the repository's layout."
)
@click.option(
    "-j",
    "--processes",
    "workers",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="How many files are read at a time.",
)
@instrument_option
@exits
def ingest_raws(
    repo: str,
    paths: Sequence[str],
    transfer: str,
    fail_fast: bool,  # noqa: FBT001 (click passes a flag by name)
    output_run: str | None,
    workers: int,
    instrument: str,
) -> ExitCode:
    """Ingest raw exposures at PATHS (files, folders, globs) into REPO."""
    options = OneShotOptions(
        repository=repo,
        instrument=instrument,
        transfer=transfer,
        kind=Kind.RAW,
        run=output_run,
        workers=workers,
        fail_fast=fail_fast,
    )
    return _ingest(options, paths)


@click.command("ingest-pfs-config")
@click.argument("repo")
@click.argument("instrument")
@click.argument("run")
@_paths_argument
@transfer_option
@_fail_fast_option
@exits
def ingest_pfs_config(
    repo: str,
    instrument: str,
    run: str,
    paths: Sequence[str],
    transfer: str,
    fail_fast: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Ingest pfsConfig files at PATHS (files, folders, globs) into the RUN collection of REPO.

    The raws of their visits have to be there first.
    """
    options = OneShotOptions(
        repository=repo,
        instrument=instrument,
        transfer=transfer,
        kind=Kind.PFS_CONFIG,
        run=run,
        workers=4,
        fail_fast=fail_fast,
    )
    return _ingest(options, paths)


@click.command()
@config_option
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@exits
def replace(config_file: Path, path: Path, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Store the file at PATH in the place of what the repository has under its data ID.

    For a file that was changed after it was ingested, or that conflicts with one that was. The dataset keeps
    its id; should the new file not go in, the old one stays.
    """
    config = load_config(config_file, os.environ)
    configure_logs(level="warning", format="auto", file=None, stream=sys.stderr)
    [whole] = absolute([path])
    record = replace_file(config, whole, os.environ)
    if as_json:
        print_json(facts_of(record))
    else:
        click.echo(f"{path_text(record.path)} is stored as dataset {record.dataset_id}")
    return ExitCode.DONE


def _ingest(options: OneShotOptions, arguments: Sequence[str]) -> ExitCode:
    configure_logs(level="warning", format="auto", file=None, stream=sys.stderr)
    rejected = []
    counts: Counter[str] = Counter()
    with progress_bars() as bars, one_shot(options, _expand(arguments), os.environ) as (total, results):
        task = bars.add_task("ingesting", total=total)
        for result in results:
            bars.advance(task)
            counts[_verdict(result)] += 1
            if not result.ingested:
                rejected.append(result)
    for result in rejected:
        click.echo(f"rejected [{result.code}] {path_text(result.path)}: {result.error}", err=True)
    click.echo(
        f"{counts['ingested']} ingested, {counts['already there']} already there,"
        f" {counts['rejected']} rejected"
        + (f", {total - counts.total()} not tried" if counts.total() < total else "")
    )
    return ExitCode.SOME_REJECTED if rejected else ExitCode.DONE


def _verdict(result: Result) -> str:
    if not result.ingested:
        return "rejected"
    return "already there" if result.code == Code.ALREADY_THERE else "ingested"


def _expand(arguments: Sequence[str]) -> Sequence[Path]:
    """Take each argument as a path or, where there is none, as a glob."""
    paths: list[Path] = []
    for argument in arguments:
        matches = [argument] if os.path.lexists(argument) else sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (an absolute pattern)
        paths += absolute([Path(match) for match in matches or [argument]])
    return list(dict.fromkeys(paths))
