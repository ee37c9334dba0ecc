"""What is gathered of a machine before it is judged: values, and nothing of where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

__all__ = ["Clock", "Credentials", "Disk", "Inotify", "Reading", "Right", "Unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Whether an account may do with a path what the daemon has to do.

    Parameters
    ----------
    what : `str`
        What the path is to the daemon, such as ``watched folder``.
    path : `~pathlib.Path`
        The path.
    account : `str`
        Whose rights were looked at.
    wanted : `str`
        What is wanted of ``r``, ``w`` and ``x``.
    denied : `str` or `None`
        What of it is not allowed; `None` if that cannot be found out.
    trouble : `str`
        Why the path cannot be used at all.
    empty : `bool`
        Whether it is a folder with nothing in it.
    """

    what: str
    path: Path
    account: str
    wanted: str
    denied: str | None = ""
    trouble: str = ""
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The file system that something is on.

    Parameters
    ----------
    what : `str`
        What is on it: ``watched``, ``datastore``, ``registry``, ``inbox``, ``status`` or ``log``.
    path : `~pathlib.Path`
        Where.
    kind : `str`
        Type of the file system.
    shared : `bool`
        Whether it is a network or cluster file system.
    device : `int` or `None`
        Its number; `None` if it is not known.
    free, size : `int` or `None`
        Bytes for this user, and in all.
    trouble : `str`
        Why nothing is known.
    """

    what: str
    path: Path
    kind: str = ""
    shared: bool = False
    device: int | None = None
    free: int | None = None
    size: int | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inotify:
    """How much the kernel can watch, and how much there is to be watched.

    Parameters
    ----------
    folders : `int`
        Folders below the roots that are to be watched by inotify.
    counted_all : `bool`
        Whether there was time to count them all.
    watches, instances : `int` or `None`
        The limits of the kernel for one account; `None` if it does not tell.
    """

    folders: int
    counted_all: bool
    watches: int | None
    instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The clock of a file server against ours.

    Parameters
    ----------
    what : `str`
        Whose clock.
    ahead : `~datetime.timedelta`
        How far it is ahead of ours; negative if it is behind.
    exact : `bool`
        Whether that was measured by writing a file; else it is the time of a file that is there, which can
        only show that the clock is ahead.
    """

    what: str
    ahead: timedelta
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The service as systemd knows it.

    Parameters
    ----------
    path : `~pathlib.Path`
        Its file.
    exists : `bool`
        Whether that is there.
    enabled : `bool`
        Whether it is started with the machine.
    user : `str`
        The account that it runs as.
    user_exists : `bool`
        Whether there is such an account.
    program, config_file : `str`
        What it runs, with which configuration.
    program_exists : `bool`
        Whether that is there, and can be run.
    writable : `~collections.abc.Sequence` [`~pathlib.Path`]
        The folders that it may write to.
    """

    path: Path
    exists: bool
    enabled: bool = False
    user: str = ""
    user_exists: bool = False
    program: str = ""
    config_file: str = ""
    program_exists: bool = False
    writable: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What can be seen of the credentials for a server; none of them is read.

    Parameters
    ----------
    what : `str`
        What they are for: ``inbox``, ``registry`` or ``datastore``.
    server : `str`
        The server, without password.
    sources : `~collections.abc.Sequence` [`str`]
        Where they may come from: names of variables and files.
    exposed : `~collections.abc.Sequence` [`str`]
        Files among these that others may read, which libraries then pass over.
    missing_package : `str`
        A Python package that is needed and not there.
    """

    what: str
    server: str
    sources: Sequence[str] = ()
    exposed: Sequence[str] = ()
    missing_package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a formatter's name leads to.

    Parameters
    ----------
    dataset_type : `str`
        What is read by it.
    formatter : `str`
        Its full name.
    trouble : `str`
        Why it cannot be imported here.
    """

    dataset_type: str
    formatter: str
    trouble: str = ""
