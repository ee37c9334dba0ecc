"""The facts of a machine: rights, file systems, clocks, the kernel's limits, the installed unit."""

import os
import pwd
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pfs_ingestd.adapters.filesystems import file_system_of
from pfs_ingestd.doctor.facts import Clock, Disk, Inotify, Right, Unit

__all__ = ["Account", "account_of", "clock_of", "disk_of", "inotify_of", "right_to", "unit_at"]

_TEST = "/usr/bin/test"
_WANTS = Path("/etc/systemd/system/multi-user.target.wants")
_SETTING = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
_LIMITS = Path("/proc/sys/fs/inotify")


class Account:
    """An account whose rights are looked at.

    Parameters
    ----------
    name : `str`
        Its name.
    uid, gid : `int`
        Its numbers.
    home : `~pathlib.Path`
        Where its own files are.
    """

    def __init__(self, name: str, uid: int, gid: int, home: Path) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home

    @property
    def is_mine(self) -> bool:
        """Whether this process has its rights."""
        return self.uid == os.geteuid()

    def denied(self, path: Path, wanted: str) -> str | None:
        """Tell which of the wanted rights it does not have; `None` if that cannot be found out."""
        if self.is_mine:
            modes = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
            return "".join(each for each in wanted if not os.access(path, modes[each]))
        if os.geteuid() != 0:
            return None
        # The kernel is asked with the account's rights: only it knows of access lists and file servers.
        return "".join(each for each in wanted if not self._test(each, path))

    def _test(self, right: str, path: Path) -> bool:
        groups = os.getgrouplist(self.name, self.gid)
        done = subprocess.run(  # noqa: S603 (the system's own test, no shell)
            [_TEST, f"-{right}", path], user=self.uid, group=self.gid, extra_groups=groups, check=False
        )
        return done.returncode == 0


def account_of(name: str | None) -> Account | None:
    """Find an account, by default that of this process; `None` if there is none of that name."""
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except KeyError:
        return None if name else Account(str(os.geteuid()), os.geteuid(), os.getegid(), Path("/"))
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def right_to(what: str, path: Path, wanted: str, account: Account, *, folder: bool = True) -> Right:
    """Find out whether an account may do with a path what is wanted.

    Parameters
    ----------
    what : `str`
        What the path is to the daemon.
    path : `~pathlib.Path`
        The path.
    wanted : `str`
        What is wanted of ``r``, ``w`` and ``x``.
    account : `Account`
        The account.
    folder : `bool`, optional
        Whether it has to be a folder; else a file.
    """
    right = Right(what=what, path=path, account=account.name, wanted=wanted)
    try:
        is_folder = path.is_dir() if path.stat() else False
    except OSError as error:
        return replace(right, trouble=error.strerror or str(error))
    if is_folder is not folder:
        return replace(right, trouble=f"it is {'a' if is_folder else 'no'} folder")
    denied = account.denied(path, wanted)
    empty = folder and not denied and what == "watched folder" and _is_empty(path)
    return replace(right, denied=denied, empty=empty)


def _is_empty(path: Path) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is None


def disk_of(what: str, path: Path) -> Disk:
    """Find out which file system something is, or will be, on."""
    try:
        there = next(each for each in (path, *path.parents) if each.exists())
        room = os.statvfs(there)
        system = file_system_of(there)
        return Disk(
            what=what,
            path=path,
            kind=system.kind,
            shared=system.shared,
            device=there.stat().st_dev,
            free=room.f_bavail * room.f_frsize,
            size=room.f_blocks * room.f_frsize,
        )
    except OSError as error:
        return Disk(what=what, path=path, trouble=error.strerror or str(error))


def inotify_of(
    roots: Sequence[Path], subfolders: Callable[[Path], Sequence[Path]], seconds: float
) -> Inotify:
    """Count the folders below some roots for a while, and read the kernel's limits."""
    end = time.monotonic() + seconds
    folders, pending = 0, list(roots)
    while pending and time.monotonic() < end:
        folders += 1
        pending.extend(subfolders(pending.pop()))
    return Inotify(
        folders=folders,
        counted_all=not pending,
        watches=_limit("max_user_watches"),
        instances=_limit("max_user_instances"),
    )


def _limit(name: str) -> int | None:
    try:
        return int((_LIMITS / name).read_text())
    except (OSError, ValueError):
        return None


def clock_of(what: str, folder: Path) -> Clock:
    """Compare the clock of the one who serves a folder with ours, by a file without a name.

    Raises
    ------
    OSError
        If none can be written there.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        before = time.time()
        file.write(b"\0")
        file.flush()
        os.fsync(file.fileno())
        after = time.time()
        written = os.fstat(file.fileno()).st_mtime
    nearest = min(max(written, before), after)
    return Clock(what=what, ahead=timedelta(seconds=written - nearest), exact=True)


def unit_at(path: Path) -> Unit:
    """Read the unit of the service, and what was changed in it by `systemctl edit`."""
    if not path.exists():
        return Unit(path=path, exists=False)
    settings: dict[str, list[str]] = {}
    for file in (path, *sorted(Path(f"{path}.d").glob("*.conf"))):
        for key, value in _SETTING.findall(file.read_text(encoding="utf-8", errors="replace")):
            # An empty value takes back what was said before.
            settings[key] = [*settings.get(key, []), value] if value else []
    command = _words(settings.get("ExecStart", [])[-1:])
    user = (settings.get("User") or ["root"])[-1]
    writable = _words(settings.get("ReadWritePaths", []))
    state = settings.get("StateDirectory", [])
    logs = settings.get("LogsDirectory", [])
    own = [f"/var/lib/{each}" for each in _words(state)] + [f"/var/log/{each}" for each in _words(logs)]
    return Unit(
        path=path,
        exists=True,
        enabled=os.path.lexists(_WANTS / path.name),
        user=user,
        user_exists=account_of(user) is not None,
        program=command[0] if command else "",
        config_file=_after("-c", command) or _after("--config", command),
        program_exists=bool(command) and os.access(command[0], os.X_OK),
        writable=[Path(each.lstrip("-+")) for each in (*writable, *own)],
    )


def environment_of(unit: Unit, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Get the environment that the service has, as far as its file can be read here; else this one."""
    if not unit.exists:
        return environ
    file = Path("/etc/pfs-ingestd/environment")
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return environ
    return {**environ, **{key: value.strip("\"'") for key, value in _SETTING.findall(text)}}


def _words(values: Sequence[str]) -> list[str]:
    values = [value.replace("%%", "%") for value in values]
    try:
        return [word for value in values for word in shlex.split(value)]
    except ValueError:
        return [word for value in values for word in value.split()]


def _after(option: str, words: Sequence[str]) -> str:
    return words[words.index(option) + 1] if option in words[:-1] else ""
