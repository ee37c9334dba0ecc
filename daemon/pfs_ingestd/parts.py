"""What the settings mean for the parts that the daemon and the commands share."""

import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pfs_ingestd.adapters.filesystems import mount_of
from pfs_ingestd.adapters.folder import WatchedFolder
from pfs_ingestd.adapters.inbox import SqlInbox, open_inbox
from pfs_ingestd.adapters.notifications import by_command, by_webhook
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, Fatal, Vanished
from pfs_ingestd.notices import Sender
from pfs_ingestd.pfs import names
from pfs_ingestd.policy import Patience
from pfs_ingestd.ports import Courier
from pfs_ingestd.records import Kind

__all__ = [
    "configured_runs",
    "couriers_of",
    "inbox_beside",
    "patience_of",
    "roots_of",
    "runs_of",
    "sender_of",
    "watched_folder",
    "worker_config",
]


def roots_of(config: Config) -> Mapping[Path, Collection[Kind]]:
    """Get the watched folders, each with the kinds of file wanted below it."""
    roots: dict[Path, set[Kind]] = {}
    for kind, folders in ((Kind.RAW, config.watch.raw), (Kind.PFS_CONFIG, config.watch.pfs_config)):
        for root in folders:
            roots.setdefault(root, set()).add(kind)
    return roots


def watched_folder(config: Config) -> WatchedFolder:
    """Make the adapter that looks at the watched folders."""
    return WatchedFolder(
        roots_of(config),
        parse=names.parse,
        monotonic=time.monotonic,
        now=time.time,
        follow_links=config.watch.follow_links == "files",
        mount_of=mount_of,
    )


def patience_of(config: Config) -> Patience:
    """Get how long to wait for what."""
    return Patience(
        settle=config.watch.settle,
        incomplete_after=config.ingest.incomplete_after,
        orphan_after=config.ingest.orphan_after,
        first_delay=config.ingest.first_delay,
        max_delay=config.ingest.max_delay,
        max_attempts=config.ingest.max_attempts,
    )


def runs_of(wanted: Mapping[Kind, str | None]) -> Mapping[str, str]:
    """Name the RUN collections that are wanted instead of those of the repository's layout."""
    return {str(kind): run for kind, run in wanted.items() if run}


def configured_runs(config: Config) -> Mapping[str, str]:
    """Name the RUN collections of the configuration, as `runs_of` does."""
    return runs_of({Kind.RAW: config.ingest.runs.raw, Kind.PFS_CONFIG: config.ingest.runs.pfs_config})


def couriers_of(config: Config, environ: Mapping[str, str]) -> Sequence[Courier]:
    """Make the adapters that take notifications to whom the configuration names."""
    notify = config.notify
    couriers: list[Courier] = []
    if notify.command:
        couriers.append(by_command(notify.command, notify.timeout, environ))
    if notify.webhook:
        couriers.append(by_webhook(notify.webhook.url, notify.timeout, environ))
    return couriers


def sender_of(config: Config) -> Sender:
    """Say who tells, in a notification."""
    return Sender(host=socket.gethostname(), repository=config.repository)


def worker_config(config: Config, name: str) -> Config:
    """Get the configuration of a worker: it tells of itself in files of its own, and puts up no board.

    Raises
    ------
    Fatal
        If there can be no workers.
    """
    if config.state.database.file:
        raise Fatal(
            Code.CONFIGURATION,
            f"a worker needs an inbox in PostgreSQL; state.database is SQLite, {config.state.database.file}",
            hint="name a database in state.database, like postgresql://user@host/database",
        )

    def own(file: Path | None) -> Path | None:
        return file and file.with_name(f"{file.stem}.worker-{name}{file.suffix}")

    status = {"file": own(config.status.file), "metrics": own(config.status.metrics), "board": None}
    return config.model_copy(
        update={
            "status": config.status.model_copy(update=status),
            "log": config.log.model_copy(update={"file": own(config.log.file)}),
        }
    )


@contextmanager
def inbox_beside(config: Config, *, read_only: bool) -> Iterator[SqlInbox]:
    """Open the inbox beside a daemon that may be running.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    file = config.state.database.file
    if file and not file.exists():
        raise Vanished(Code.VANISHED, f"there is no inbox at {file}", hint="no daemon has run here yet")
    inbox = open_inbox(config.state.database.url, read_only=read_only)
    try:
        yield inbox
    finally:
        inbox.close()
