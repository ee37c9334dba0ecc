"""The service on its machine: what is installed, where it goes, and how it is taken away again."""

import sys
import sysconfig
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.adapters.repository import places_of
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.install.folders import device_of, folders_of
from pfs_ingestd.install.putting import Action, Done, Place
from pfs_ingestd.install.rendering import (
    SERVICE_PATHS,
    WORKER_PATH,
    Installation,
    service_files,
    shared_files,
    worker_file,
)

__all__ = ["SERVICE_PATHS", "Action", "Done", "Place", "Program", "install", "remove", "this_program"]

_WANTED = Path("/etc/systemd/system/multi-user.target.wants")
"""Where the services are that are enabled."""


class Program(NamedTuple):
    """An installed program.

    Parameters
    ----------
    command : `~pathlib.Path`
        The file that is run.
    folders : `~collections.abc.Collection` [`~pathlib.Path`]
        Where its Python is.
    """

    command: Path
    folders: Collection[Path]


def install(
    place: Place,
    config: Config,
    *,
    config_file: Path,
    program: Program,
    user: str,
    group: str,
    prefix: Path,
    workers: bool = False,
) -> Sequence[Done]:
    """Put everything in its place that the service and those who operate it need of a machine.

    It may be done again at any time; nothing that somebody edited is overwritten.

    Parameters
    ----------
    place : `Place`
        Where it goes.
    config : `~pfs_ingestd.config.Config`
        What the service is to do; it says which folders it may write to.
    config_file : `~pathlib.Path`
        The file that this was read from.
    program : `Program`
        What the service runs.
    user, group : `str`
        Whom the service is to run as.
    prefix : `~pathlib.Path`
        Where command, manual page and completion go.
    workers : `bool`, optional
        Whether workers are to run on this machine, too: then there is a unit for them.

    Raises
    ------
    Fatal
        If the configuration is not one for a service, or something cannot be written.
    """
    hooks = [Path(word) for word in config.notify.command[:1]]
    needed = {config_file, program.command, *program.folders, *hooks}
    installation = Installation(
        program=program.command,
        config_file=config_file,
        user=user,
        group=group,
        folders=folders_of(config, places_of(config.repository), needed, device_of),
        log_file=config.log.file,
    )
    files = [*service_files(installation), *([worker_file(installation)] if workers else [])]
    done = [place.put(file) for file in (*files, *shared_files(prefix))]
    if (command := _command(prefix)) != program.command:
        done.append(place.link(command, program.command))
    return done


def remove(place: Place, *, program: Program, prefix: Path) -> Sequence[Done]:
    """Take away what `install` has put there, but not what somebody edited.

    The configuration, the inbox, the log, the user and the repository stay.

    Raises
    ------
    Fatal
        If the service or a worker is still enabled, or something cannot be removed.
    """
    workers = WORKER_PATH.name.replace("@", "@*")
    if enabled := [*place.names(_WANTED, SERVICE_PATHS["service"].name), *place.names(_WANTED, workers)]:
        units = " ".join(name.removesuffix(".service") for name in enabled)
        raise Fatal(
            Code.CONFIGURATION,
            f"still enabled, in {_WANTED}: {', '.join(enabled)}",
            hint=f"`systemctl disable --now {units}` first",
        )
    shared = [file.path for file in shared_files(prefix)]
    done = [place.remove(path) for path in (*SERVICE_PATHS.values(), *shared)]
    done += [each for each in [place.remove(WORKER_PATH)] if each.action is not Action.ABSENT]
    if (command := _command(prefix)) != program.command:
        done.append(place.unlink(command, program.command))
    return done


def this_program() -> Program:
    """Find the program that is running, as it was installed.

    Raises
    ------
    Fatal
        If there is none.
    """
    command = Path(sysconfig.get_path("scripts"), "pfs-ingestd")
    if not command.exists():
        raise Fatal(
            Code.CONFIGURATION,
            f"there is no command at {command}",
            hint="install the package with pip, and run the command that this makes",
        )
    return Program(command, {Path(sys.prefix), Path(sys.base_prefix)})


def _command(prefix: Path) -> Path:
    return prefix / "bin" / "pfs-ingestd"
