"""The service and its repository: init, run."""

import os
import sys
from pathlib import Path

import click

from pfs_ingestd.cli.options import config_option, instrument_option
from pfs_ingestd.cli.output import exits
from pfs_ingestd.config import load_config_here
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.wiring import create_repository, service

__all__ = ["init", "run"]


@click.command()
@click.argument("repo")
@click.option(
    "--registry",
    metavar="URL",
    help="Database of the registry, like postgresql://USER@HOST/DATABASE; by default an SQLite file in REPO.",
)
@click.option(
    "--datastore",
    metavar="URI",
    help="Root of the datastore, a folder or like s3://BUCKET/PREFIX; by default REPO itself.",
)
@click.option(
    "--schema", metavar="NAME", help="Schema of the registry's tables in PostgreSQL; by default this user's."
)
@instrument_option
@click.option(
    "--seed-config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Butler configuration to use instead of ours.",
)
@click.option(
    "--dimension-config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Dimension configuration to use instead of ours.",
)
@exits
def init(
    repo: str,
    registry: str | None,
    datastore: str | None,
    schema: str | None,
    instrument: str,
    seed_config: Path | None,
    dimension_config: Path | None,
) -> ExitCode:
    """Create a Butler repository for PFS at REPO, or complete one that is there."""
    report = create_repository(
        repo,
        registry=registry,
        datastore=datastore,
        schema=schema,
        instrument=instrument,
        seed_config=seed_config,
        dimension_config=dimension_config,
    )
    click.echo(str(report))
    return ExitCode.DONE


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Ingest what is there, then stop.")
@exits
def run(config_file: Path, once: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Watch the folders and ingest what arrives, until SIGTERM or SIGINT."""
    config = load_config_here(config_file, os.environ)
    configure_logs(level=config.log.level, format=config.log.format, file=config.log.file, stream=sys.stdout)
    with service(config, os.environ, once=once) as daemon:
        return daemon.run(once=once)
