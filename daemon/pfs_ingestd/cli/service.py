"""The service and its repository: init, run, worker."""

import os
import re
import sys
from pathlib import Path

import click

from pfs_ingestd.assembly import Source
from pfs_ingestd.cli.options import config_option, instrument_option
from pfs_ingestd.cli.output import exits
from pfs_ingestd.config import Config, load_config_here
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.parts import worker_config
from pfs_ingestd.wiring import create_repository, service

__all__ = ["init", "run", "worker"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")


def _worker_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} has other characters than letters, digits and _.-, or is too long"
        )
    return value


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
@click.option("--watch-only", is_flag=True, help="Leave ingestion to workers, as does ingest.here: false.")
@exits
def run(config_file: Path, once: bool, watch_only: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Watch the folders and ingest what arrives, until SIGTERM or SIGINT."""
    environ = os.environ | ({"PFS_INGESTD__INGEST__HERE": "false"} if watch_only else {})
    config = load_config_here(config_file, environ)
    return _serve(
        config, Source(config_file, lambda: load_config_here(config_file, environ), _log), once=once
    )


@click.command()
@config_option
@click.option(
    "--name",
    default="1",
    show_default=True,
    callback=_worker_name,
    help="Tells this worker from others on its host: in its own status, log and metrics files, too.",
)
@click.option("--once", is_flag=True, help="Stop when nothing is left to be ingested.")
@exits
def worker(config_file: Path, name: str, once: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Ingest what a daemon has found, beside it, until SIGTERM or SIGINT.

    Any number of workers, on any number of hosts, share the inbox of the daemon that `run` starts with the
    same configuration. The inbox has to be in PostgreSQL, and workers have to see the files under the same
    paths.
    """

    def read() -> Config:
        return worker_config(load_config_here(config_file, os.environ), name)

    return _serve(read(), Source(config_file, read, _log), once=once, worker=name)


def _serve(config: Config, source: Source, *, once: bool, worker: str | None = None) -> ExitCode:
    _log(config)
    with service(config, os.environ, once=once, worker=worker, source=source) as daemon:
        return daemon.run(once=once)


def _log(config: Config) -> None:
    configure_logs(level=config.log.level, format=config.log.format, file=config.log.file, stream=sys.stdout)
