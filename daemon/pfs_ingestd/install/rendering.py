"""The files of an installation: those that come with the program, with what this installation is put in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.install.folders import Folders

__all__ = [
    "SERVICE_PATHS",
    "WORKER_PATH",
    "Installation",
    "InstalledFile",
    "service_files",
    "shared_files",
    "worker_file",
]

SERVICE_PATHS: Mapping[str, Path] = {
    "service": Path("/etc/systemd/system/pfs-ingestd.service"),
    "sysusers": Path("/etc/sysusers.d/pfs-ingestd.conf"),
    "tmpfiles": Path("/etc/tmpfiles.d/pfs-ingestd.conf"),
    "logrotate": Path("/etc/logrotate.d/pfs-ingestd"),
}
"""Where the files for systemd and logrotate go, by their kinds."""

WORKER_PATH = Path("/etc/systemd/system/pfs-ingestd-worker@.service")
"""Where the unit of workers goes, of which each instance is one."""

_SHARED: Mapping[str, str] = {
    "pfs-ingestd.1": "share/man/man1/pfs-ingestd.1",
    "pfs-ingestd.bash": "share/bash-completion/completions/pfs-ingestd",
    "pfs-ingestd.fish": "share/fish/vendor_completions.d/pfs-ingestd.fish",
    "pfs-ingestd.zsh": "share/zsh/site-functions/_pfs-ingestd",
}

_UNSPEAKABLE = re.compile(r"""[\x00-\x1f\x7f"'\\$*?\[\]{}]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What one installation is.

    Parameters
    ----------
    program : `~pathlib.Path`
        The command.
    config_file : `~pathlib.Path`
        The configuration that the service reads.
    user, group : `str`
        Whom it runs as.
    folders : `Folders`
        Where it works.
    log_file : `~pathlib.Path` or `None`
        Its log, if that is a file.
    """

    program: Path
    config_file: Path
    user: str
    group: str
    folders: Folders
    log_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFile:
    """A file of an installation.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it goes.
    text : `str`
        What is in it.
    """

    path: Path
    text: str


def service_files(installation: Installation) -> Sequence[InstalledFile]:
    """Make what systemd and logrotate need.

    Raises
    ------
    Fatal
        If a path has characters that mean something to them.
    """
    owner = f"{installation.user} {installation.group}"
    values = {
        "service": _unit(installation, "run"),
        "sysusers": {r"(?<=^u )\S+": installation.user},
        "tmpfiles": {r"pfs-ingestd pfs-ingestd$": owner},
        "logrotate": {r"(?<=    su )\S+ \S+$": owner},
    }
    if installation.log_file:
        values["logrotate"][r"^/\S+(?= {$)"] = f'"{_spoken(installation.log_file)}"'
    return [
        InstalledFile(path=path, text=_put(_shipped("systemd", f"pfs-ingestd.{kind}"), values[kind]))
        for kind, path in SERVICE_PATHS.items()
    ]


def worker_file(installation: Installation) -> InstalledFile:
    """Make the unit of workers: that of the service, and so as closed, but for what it runs and is called.

    Raises
    ------
    Fatal
        If a path has characters that mean something to systemd.
    """
    values = _unit(installation, "worker", " --name %i") | {
        r"(?<=systemctl edit pfs-ingestd)(?=`)": "-worker@",
        r"(?<=^Description=).*$": "Worker %i of the ingestion of PFS exposures into their Butler repository",
        r"^# It is up after .*\n": "",
        r"(?<=^TimeoutStartSec=).*$": "5min",
        # It has a status of its own, in which the command does not look for an answer.
        r"^# Fails, and changes nothing, .*\n": "",
        r"(?<=^ExecReload=).*$": "/bin/kill -HUP $MAINPID",
    }
    return InstalledFile(path=WORKER_PATH, text=_put(_shipped("systemd", "pfs-ingestd.service"), values))


def shared_files(prefix: Path) -> Sequence[InstalledFile]:
    """Get what people at a terminal need: the manual page, and the completion of three shells."""
    return [InstalledFile(path=prefix / path, text=_shipped("share", name)) for name, path in _SHARED.items()]


def _unit(installation: Installation, command: str, more: str = "") -> dict[str, str]:
    """Say what is to stand in a unit that runs one of our commands."""
    unit = {
        "User": installation.user,
        "Group": installation.group,
        "ExecStart": f"{_word(installation.program)} {command} -c {_word(installation.config_file)}{more}",
        "ExecReload": f"{_word(installation.program)} reload -c {_word(installation.config_file)}",
        "ReadWritePaths": " ".join(map(_word, installation.folders.writable)),
        "ProtectHome": "read-only" if installation.folders.in_home else "yes",
    }
    return {rf"(?<=^{key}=).*$": value for key, value in unit.items()}


def _put(text: str, values: Mapping[str, str]) -> str:
    """Put values, which hold no backslash, in the places of what matches."""
    for pattern, value in values.items():
        text = re.sub(pattern, value, text, flags=re.MULTILINE)
    return text


def _shipped(folder: str, name: str) -> str:
    return files("pfs_ingestd.install").joinpath(folder, name).read_text(encoding="utf-8")


def _word(path: Path) -> str:
    """Write a word for a unit, in which a per cent sign begins a specifier."""
    text = _spoken(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _spoken(path: Path) -> str:
    if _UNSPEAKABLE.search(str(path)):
        raise Fatal(
            Code.CONFIGURATION,
            f"{str(path)!r} has characters with a meaning of their own to systemd or logrotate",
            hint="give it a plain name, or a link with one",
        )
    return str(path)
