"""The service on its machine: install-service."""

import os
import re
import stat
from pathlib import Path

import click

from pfs_ingestd.cli.options import absolute
from pfs_ingestd.cli.output import exits
from pfs_ingestd.config import Config, load_config
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.install import SERVICE_PATHS, Action, Place, install, remove, this_program

__all__ = ["install_service"]

_FOLDER = click.Path(path_type=Path, file_okay=False)

_AFTER_REMOVAL = """\
Next, as root:
  systemctl daemon-reload
Configuration, inbox, log, user and repository are as they were."""


def _account(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,30}", value):
        raise click.BadParameter(f"{value!r} is no name that systemd takes")
    return value


@click.command("install-service")
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default="/etc/pfs-ingestd/config.yaml",
    show_default=True,
    help="The configuration file (YAML) that the service is to read.",
)
@click.option(
    "--user", default="pfs-ingestd", show_default=True, callback=_account, help="User that it runs as."
)
@click.option("--group", callback=_account, help="Group that it runs as; by default named as the user.")
@click.option(
    "--prefix",
    type=_FOLDER,
    default="/usr/local",
    show_default=True,
    help="Where command, manual page and completion go.",
)
@click.option(
    "--root", type=_FOLDER, default="/", show_default=True, help="Write below this folder instead, to look."
)
@click.option(
    "--worker", "workers", is_flag=True, help="Install the unit of workers, too: pfs-ingestd-worker@."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--remove", "removing", is_flag=True, help="Take away what was installed.")
@exits
def install_service(
    config_file: Path,
    user: str,
    group: str | None,
    prefix: Path,
    root: Path,
    workers: bool,  # noqa: FBT001 (click passes a flag by name)
    dry_run: bool,  # noqa: FBT001 (click passes a flag by name)
    removing: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Install the service: unit, user, folders, log rotation, manual page and completion.

    Paths, user and folders are those of this installation and of its configuration. It may be run again,
    after an upgrade or a change of the configuration. A file that somebody edited is never overwritten: the
    new one is put beside it, and the exit code is 1.
    """
    # What is installed is for everybody to read, and for nobody but root to write.
    os.umask(stat.S_IWGRP | stat.S_IWOTH)
    root, prefix, config_file = absolute([root, prefix, config_file])
    place = Place(root, dry_run=dry_run)
    program = this_program()
    if removing:
        done = remove(place, program=program, prefix=prefix)
        remarks = _AFTER_REMOVAL
    else:
        config = load_config(config_file, os.environ)
        group = group or user
        done = install(
            place,
            config,
            config_file=config_file,
            program=program,
            user=user,
            group=group,
            prefix=prefix,
            workers=workers,
        )
        remarks = _after_installation(config, config_file, program.command, user, group, workers=workers)
    for action, path, why in done:
        click.echo(f"{action:<9}  {path}{why and f': {why}'}")
    if dry_run:
        click.echo("\nThis is what would be done; nothing was changed.")
    else:
        click.echo(f"\n{remarks}")
    return ExitCode.SOME_REJECTED if any(each.action is Action.KEPT for each in done) else ExitCode.DONE


def _after_installation(
    config: Config, config_file: Path, program: Path, user: str, group: str, *, workers: bool
) -> str:
    """Say what else there is to do, in the order in which it works."""
    repository = config.repository
    owned = f"  install -d -o {user} -g {group} {repository}\n" if config.repository_path else ""
    more = " # where folders are watched; on hosts of workers pfs-ingestd-worker@1" if workers else ""
    sysusers, tmpfiles = SERVICE_PATHS["sysusers"], SERVICE_PATHS["tmpfiles"]
    return f"""\
Next, as root; the first time:
  systemd-sysusers {sysusers}
  systemd-tmpfiles --create {tmpfiles}
{owned}  sudo -u {user} {program} init {repository}
  {program} doctor -c {config_file}
  systemctl daemon-reload
  systemctl enable --now pfs-ingestd{more}
After an upgrade or a change of the configuration:
  systemctl daemon-reload
  systemctl restart pfs-ingestd"""
