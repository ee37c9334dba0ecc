"""What the kernel says of file systems: which are written to by this host only, and what is mounted where."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["FileSystem", "file_system_of", "mount_of", "only_written_here"]

_MOUNTS = Path("/proc/self/mountinfo")

_SHARED = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "prl_fs",
        "pvfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)
"""Types of file systems that others write to behind this kernel's back: inotify tells nothing of it."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


def only_written_here(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Say whether all that is written to a tree passes through this host's kernel, which can then watch it.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Root of the tree; what is mounted below it counts, too.
    mounts : `~pathlib.Path`, optional
        The kernel's list of mounts, as proc_pid_mountinfo(5) describes it.

    Returns
    -------
    local : `bool`
        `False` for network, cluster and FUSE file systems, and where the kernel gives no list of mounts.
    """
    try:
        lines = os.fsdecode(mounts.read_bytes()).splitlines()
    except OSError:
        return False
    real = Path(os.path.realpath(folder))
    table = [_parse(line) for line in lines]
    if any(mount != real and mount.is_relative_to(real) and _is_shared(kind) for mount, kind in table):
        return False
    _, kind = _holder(real, table)
    return bool(kind) and not _is_shared(kind)


def mount_of(folder: Path, mounts: Path = _MOUNTS) -> Path:
    """Tell where the file system that a folder is on is mounted.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder; it need not be there.
    mounts : `~pathlib.Path`, optional
        The kernel's list of mounts, as proc_pid_mountinfo(5) describes it.

    Raises
    ------
    OSError
        If the kernel gives no list of mounts.
    """
    return file_system_of(folder, mounts).mount


class FileSystem(NamedTuple):
    """The file system that a path is on.

    Parameters
    ----------
    mount : `~pathlib.Path`
        Where it is mounted.
    kind : `str`
        Its type, such as ``ext4`` or ``nfs4``.
    shared : `bool`
        Whether others can write to it behind this kernel's back.
    """

    mount: Path
    kind: str
    shared: bool


def file_system_of(path: Path, mounts: Path = _MOUNTS) -> FileSystem:
    """Tell which file system a path is on, as `mount_of` does.

    Raises
    ------
    OSError
        If the kernel gives no list of mounts.
    """
    lines = os.fsdecode(mounts.read_bytes()).splitlines()
    mount, kind = _holder(Path(os.path.realpath(path)), [_parse(line) for line in lines])
    return FileSystem(mount, kind, _is_shared(kind))


def _holder(real: Path, table: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
    """Find the mount that a path lies in, and the type of its file system."""
    holder, kind = Path("/"), ""
    for mount, mounted in table:
        # Of two mounts at one place the later covers the earlier.
        if real.is_relative_to(mount) and len(mount.parts) >= len(holder.parts):
            holder, kind = mount, mounted
    return holder, kind


def _parse(line: str) -> tuple[Path, str]:
    """Read where a line says that something is mounted, and the type of file system."""
    before, _, after = line.partition(" - ")
    return Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])), after.split(" ")[0]


def _is_shared(kind: str) -> bool:
    # A fuseblk is a local disk; any other FUSE file system can have anything behind it.
    return kind in _SHARED or kind == "fuse" or kind.startswith("fuse.")
