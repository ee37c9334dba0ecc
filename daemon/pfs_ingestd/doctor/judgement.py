"""What the facts of a machine mean for a daemon: pure, from values to findings."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from pfs_ingestd.doctor.facts import Clock, Credentials, Disk, Inotify, Reading, Right, Unit
from pfs_ingestd.doctor.findings import Finding, error, ok, warning
from pfs_ingestd.errors import ExitCode, Fatal, IngestdError, TryLater

__all__ = [
    "of_clock",
    "of_credentials",
    "of_disks",
    "of_error",
    "of_inotify",
    "of_program",
    "of_reading",
    "of_right",
    "of_secret",
    "of_unit",
]

LITTLE_ROOM = 0.05
"""The share of a disk below which its room is worth a look."""

NEARLY_NONE = 100_000_000
"""Bytes below which nothing works: one raw does not fit any more."""

CLOSE_CLOCKS = timedelta(seconds=2)
MARGIN_OF_CLOCKS = timedelta(minutes=1)
"""How far clocks may differ without harm; up to the margin that the daemon leaves, it does a little."""

_LINKING = frozenset({"hardlink", "link", "auto", "move"})


def of_error(failure: IngestdError) -> Finding:
    """Judge an error that came up while something was looked at."""
    text = f"[{failure.code}] {failure.message}"
    if isinstance(failure, TryLater):
        return warning(text, failure.hint or "run doctor again in a moment")
    if isinstance(failure, Fatal):
        return error(text, failure.hint or f"the daemon would end with exit code {ExitCode.CONFIGURATION:d}")
    return error(text, failure.hint or "cure that, then run doctor again")


def of_right(right: Right) -> Finding:
    """Judge whether a path can be used."""
    what = f"{right.what} {right.path}"
    if right.trouble:
        return error(
            f"{what}: {right.trouble}", f"make it, or correct the configuration; then: ls -ld {right.path}"
        )
    if right.denied is None:
        cure = f"run doctor as root or as {right.account}"
        return warning(f"{what} is there; whether {right.account} may use it cannot be found out", cure)
    if right.denied:
        verbs = {"r": "read", "w": "write to", "x": "search"}
        denied = " and ".join(verbs[each] for each in right.denied)
        cure = f"chown or chmod it, or add {right.account} to its group; each folder above it needs x as well"
        return error(f"{right.account} may not {denied} the {what}", cure)
    if right.empty:
        return warning(f"{what} is empty", "if files should be there: is its file system mounted?")
    return ok(f"{what}: {right.account} may {_spelled(right.wanted)}")


def of_program(right: Right) -> Finding:
    """Judge whether a program that is to tell others can be run; without it the daemon does its work, too."""
    text = f"{right.what} {right.path}"
    if right.trouble:
        return warning(f"{text}: {right.trouble}", "put it there, or correct the configuration")
    if right.denied is None:
        cure = f"run doctor as root or as {right.account}"
        return warning(f"{text} is there; whether {right.account} may run it cannot be found out", cure)
    if right.denied:
        return warning(f"{right.account} may not run {text}", f"chmod a+rx {right.path}")
    return ok(f"{text}: {right.account} may run it; `pfs-ingestd test-notify` tries it")


def of_secret(what: str, file: Path, *, public: bool) -> Finding:
    """Judge whether a secret is where everybody may read it."""
    if not public:
        return ok(f"{what}; `pfs-ingestd test-notify` tries it")
    return warning(
        f"{what}: everybody may read the rest of it in {file}",
        "set PFS_INGESTD__NOTIFY__WEBHOOK in /etc/pfs-ingestd/environment instead, mode 0600",
    )


def _spelled(wanted: str) -> str:
    return "read and write" if "w" in wanted and "r" in wanted else "write" if "w" in wanted else "read"


def of_disks(disks: Sequence[Disk], *, transfer: str, mode: str) -> Iterator[Finding]:
    """Judge the file systems, each for itself and against each other."""
    for disk in disks:
        where = f"{disk.what} {disk.path}"
        if disk.trouble:
            yield error(f"{where}: {disk.trouble}", f"df {disk.path}; is it mounted?")
            continue
        yield _of_kind(disk, where, mode)
        if disk.free is not None and disk.size and disk.what != "watched":
            yield from _of_room(disk, where)
    yield from _of_links(disks, transfer)


def _of_kind(disk: Disk, where: str, mode: str) -> Finding:
    kind = f"{where} is on {disk.kind or 'an unknown file system'}"
    if disk.shared and disk.what in {"inbox", "registry"}:
        cure = "put it on a local disk, or use PostgreSQL: SQLite's locks cannot be trusted over a network"
        return error(f"{kind}: a network file system under an SQLite file", cure)
    if disk.shared and disk.what == "watched" and mode == "inotify":
        cure = "set watch.mode to auto or poll"
        return error(f"{kind}, of which inotify tells only what this host writes", cure)
    if disk.shared and disk.what == "watched":
        return ok(f"{kind}, a network file system: looked at every watch.rescan")
    return ok(f"{kind}{', a network file system' if disk.shared else ''}")


def _of_room(disk: Disk, where: str) -> Iterator[Finding]:
    if disk.free is None or disk.size is None:
        return
    text = f"{where} has {disk.free / 1e9:.3g} GB of {disk.size / 1e9:.3g} GB left"
    if disk.free < NEARLY_NONE:
        yield error(text, "make room; never inside the repository with rm")
    elif disk.free < LITTLE_ROOM * disk.size:
        yield warning(text, "make room before it is an outage")


def _of_links(disks: Sequence[Disk], transfer: str) -> Iterator[Finding]:
    store = next((disk for disk in disks if disk.what == "datastore" and disk.device is not None), None)
    if store is None or transfer not in _LINKING:
        return
    for disk in disks:
        if disk.what != "watched" or disk.device is None:
            continue
        between = f"{disk.path} and the datastore {store.path}"
        if disk.device == store.device:
            yield ok(f"{between} are on one file system: hard links can be made")
        elif transfer == "hardlink":
            yield error(
                f"{between} are on two file systems: no hard link can be made (ingest.transfer)",
                "set ingest.transfer to link, copy or symlink, or move one of them",
            )
        else:
            instead = "copied" if transfer in {"auto", "move"} else "linked symbolically"
            cure = "this is all right if it is meant; see How to choose in docs/configuration.md"
            yield warning(f"{between} are on two file systems: files are {instead}", cure)


def of_inotify(facts: Inotify) -> Finding:
    """Judge whether the kernel can watch all folders."""
    count = f"{'' if facts.counted_all else 'at least '}{facts.folders:,} folders are to be watched"
    if facts.folders == 0:
        return ok("no folder is watched by inotify")
    if facts.watches is None:
        return warning(f"{count}, and the kernel does not tell its limit", "sysctl fs.inotify")
    if facts.instances == 0 or facts.folders > facts.watches:
        wanted = max(2 * facts.folders, 8192)
        cure = f"sysctl fs.inotify.max_user_watches={wanted}, and write it to /etc/sysctl.d"
        return error(f"{count}, the limit of the kernel is {facts.watches:,}", cure)
    if 2 * facts.folders > facts.watches or not facts.counted_all:
        cure = "raise fs.inotify.max_user_watches; other programs of the account need some, too"
        return warning(f"{count}, the limit of the kernel is {facts.watches:,}", cure)
    return ok(f"{count}, the limit of the kernel is {facts.watches:,}")


def of_clock(clock: Clock) -> Finding:
    """Judge the clock of a file server."""
    seconds = abs(clock.ahead.total_seconds())
    if clock.ahead <= timedelta(0) and not clock.exact:
        return ok(f"no file of the {clock.what} is from the future")
    if seconds <= CLOSE_CLOCKS.total_seconds():
        return ok(f"the clock of the {clock.what} is ours, within {CLOSE_CLOCKS.total_seconds():.0f} s")
    side = "ahead of" if clock.ahead > timedelta(0) else "behind"
    text = f"the clock of the {clock.what} is {seconds:.0f} s {side} ours"
    cure = "have both set by NTP: chronyc tracking, timedatectl"
    if seconds <= MARGIN_OF_CLOCKS.total_seconds():
        return warning(text, cure)
    return error(f"{text}: files would be taken for old or for unfinished", cure)


def of_unit(unit: Unit, *, config_file: Path, needed: Sequence[Path]) -> Iterator[Finding]:
    """Judge the installed service: its account, its command, and what it may write to.

    Parameters
    ----------
    unit : `Unit`
        The service.
    config_file : `~pathlib.Path`
        The configuration that is examined.
    needed : `~collections.abc.Sequence` [`~pathlib.Path`]
        The folders that the daemon writes to.
    """
    if not unit.exists:
        yield warning(
            f"no service is installed: there is no {unit.path}", "pfs-ingestd install-service, as root"
        )
        return
    if not unit.user_exists:
        cure = "systemd-sysusers /etc/sysusers.d/pfs-ingestd.conf, or name another account in the unit"
        yield error(f"the unit runs as {unit.user}, and there is no such account", cure)
    else:
        yield ok(f"{unit.path} runs as {unit.user}")
    if not unit.program_exists:
        cure = "install the package there, or run install-service again from where it is"
        yield error(f"the unit runs {unit.program}, which is not there", cure)
    if unit.config_file != str(config_file):
        cure = "examine that one, or run install-service again with this one"
        yield warning(f"the unit reads {unit.config_file or 'no configuration'}, and not {config_file}", cure)
    for folder in needed:
        if not any(folder.is_relative_to(writable) for writable in unit.writable):
            cure = "run install-service again, then systemctl daemon-reload (ReadWritePaths of the unit)"
            yield error(f"the unit may not write to {folder}: to the service it is read-only", cure)
    if not unit.enabled:
        yield warning("the unit is not started with the machine", "systemctl enable --now pfs-ingestd")


def of_credentials(credentials: Credentials) -> Iterator[Finding]:
    """Judge what can be seen of credentials."""
    what = f"the {credentials.what} is on {credentials.server}"
    if credentials.missing_package:
        cure = f"pip install {credentials.missing_package}"
        yield error(f"{what}, and the Python package {credentials.missing_package} is not installed", cure)
    for file in credentials.exposed:
        yield error(f"{file} can be read by others, and is passed over for that reason", f"chmod 0600 {file}")
    if credentials.sources:
        yield ok(f"{what}; credentials may come from {', '.join(credentials.sources)}")
    else:
        cure = "none are needed where the server trusts this host; else see docs/install.md, Databases"
        yield warning(f"{what}, and no credentials are to be seen", cure)


def of_reading(reading: Reading) -> Finding:
    """Judge whether what is stored can be read here."""
    text = f"{reading.dataset_type} is read by {reading.formatter}"
    if reading.trouble:
        cure = "the daemon does not need it; whoever reads the datasets does: install that package there"
        return warning(f"{text}, which cannot be imported here: {reading.trouble}", cure)
    return ok(text)
