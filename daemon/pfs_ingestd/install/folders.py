"""Which folders the service works in, and what that means for what it is kept away from."""

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.adapters.repository import Places
from pfs_ingestd.config import Config, written_files
from pfs_ingestd.errors import Code, Fatal

__all__ = ["Folders", "device_of", "folders_of"]

_LINKING = frozenset({"auto", "hardlink", "link", "move"})
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_PRIVATE = (Path("/tmp"), Path("/var/tmp"), Path("/dev"))  # noqa: S108 (where nothing may lie)


class Folders(NamedTuple):
    """The folders of a service.

    Parameters
    ----------
    writable : `~collections.abc.Sequence` [`~pathlib.Path`]
        Those that it writes to; none lies in another.
    in_home : `bool`
        Whether anything that it needs lies in somebody's home.
    """

    writable: Sequence[Path]
    in_home: bool


def folders_of(
    config: Config, places: Places, needed: Collection[Path], device: Callable[[Path], int]
) -> Folders:
    """Find out which folders a service has to write to.

    Parameters
    ----------
    config : `Config`
        The configuration.
    places : `Places`
        Where its repository is.
    needed : `~collections.abc.Collection` [`~pathlib.Path`]
        What else it needs to read: the program, the configuration.
    device : `~collections.abc.Callable`
        Tells the number of the file system that a path is, or will be, on.

    Raises
    ------
    Fatal
        If something lies where no service can see it, or nothing but ``/`` holds all that has to be writable.
    """
    roots = {*config.watch.raw, *config.watch.pfs_config}
    written = {file.parent for file in written_files(config).values()} | {config.lock_file.parent}
    written |= {place for place in places if place}
    if config.ingest.transfer == "move":
        written |= roots
    real = {_real(path) for path in written}
    everything = real | {_real(path) for path in (*needed, *roots)}
    for path in sorted(everything):
        if any(path.is_relative_to(private) for private in _PRIVATE):
            raise Fatal(
                Code.CONFIGURATION,
                f"{path} lies where a service has a folder of its own",
                hint="put it elsewhere: not below /tmp, /var/tmp or /dev",
            )
    if places.datastore and config.ingest.transfer in _LINKING:
        real |= _spanning({_real(root) for root in roots}, _real(places.datastore), device)
    return Folders(
        writable=sorted(path for path in real if not any(parent in real for parent in path.parents)),
        in_home=any(path.is_relative_to(home) for path in everything for home in _HOMES),
    )


def device_of(path: Path) -> int:
    """Tell the number of the file system that a path is on, or would be if it were made.

    Raises
    ------
    Fatal
        If it cannot be looked at.
    """
    while True:
        try:
            return path.stat().st_dev
        except FileNotFoundError:
            path = path.parent
        except OSError as error:
            raise Fatal(Code.CONFIGURATION, f"{path} cannot be looked at: {error.strerror}") from error


def _spanning(roots: Collection[Path], datastore: Path, device: Callable[[Path], int]) -> set[Path]:
    """Find the folders within which hard links can be made, wherever the file systems allow for them."""
    there = device(datastore)
    found = {Path(os.path.commonpath([root, datastore])) for root in roots if device(root) == there}
    if Path("/") in found:
        raise Fatal(
            Code.CONFIGURATION,
            f"watched folders and the datastore {datastore} have only / in common, which a service may not"
            " write to; without that there are no hard links between them",
            hint="put both below one folder, or choose copy or symlink as ingest.transfer",
        )
    return found


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
