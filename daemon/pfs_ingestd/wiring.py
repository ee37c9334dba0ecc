"""From settings to running parts: the only place that chooses adapters."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

from pfs_ingestd.adapters.board_file import BoardFile
from pfs_ingestd.adapters.disks import Disks
from pfs_ingestd.adapters.folder import WatchedFolder
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import SqlInbox, keep_inbox, open_inbox, open_shared_inbox
from pfs_ingestd.adapters.metrics import MetricsFile
from pfs_ingestd.adapters.repository import (
    create_repository,
    open_repository,
)
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import (
    Holder,
    InstanceLock,
    SystemClock,
    SystemdNotifier,
    post_on_signals,
    stop_posting,
)
from pfs_ingestd.assembly import Assembly, Source
from pfs_ingestd.completions import Completions
from pfs_ingestd.config import Config, Problem, problems
from pfs_ingestd.control import Control
from pfs_ingestd.errors import Code, Fatal, IngestdError, Rejected
from pfs_ingestd.herald import Herald
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.journal import Journal
from pfs_ingestd.loop import Daemon
from pfs_ingestd.noticeboard import Noticeboard
from pfs_ingestd.notices import Topic
from pfs_ingestd.oneshot import OneShot, Result
from pfs_ingestd.parts import (
    configured_runs,
    couriers_of,
    runs_of,
    sender_of,
    watched_folder,
)
from pfs_ingestd.pfs import names
from pfs_ingestd.pfs.corrections import search_path
from pfs_ingestd.policy import Patience, described, replaced
from pfs_ingestd.ports import Courier, Dataset, Header, Message, Outcome, Stored, WorkerName
from pfs_ingestd.records import FileRecord, Kind, Sighting, State, path_text
from pfs_ingestd.reporter import Reporter
from pfs_ingestd.status import Process, Settings
from pfs_ingestd.worker import NoCompletions

__all__ = [
    "OneShotOptions",
    "create_repository",
    "one_shot",
    "replace_file",
    "service",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShotOptions:
    """What an ingestion by command is asked to do.

    Parameters
    ----------
    repository : `str`
        Path or URI.
    instrument : `str`
        Its name in the repository.
    transfer : `str`
        How files get into the datastore.
    kind : `Kind`
        What is to be ingested.
    run : `str` or `None`
        The RUN collection; `None` for that of the repository's layout.
    workers : `int`
        How many files are read at a time.
    fail_fast : `bool`
        Whether the first rejected file ends it.
    """

    repository: str
    instrument: str
    transfer: str
    kind: Kind
    run: str | None
    workers: int
    fail_fast: bool


@contextmanager
def service(
    config: Config,
    environ: Mapping[str, str],
    *,
    once: bool,
    worker: str | None = None,
    source: Source | None = None,
) -> Iterator[Daemon]:
    """Put the daemon, or a worker beside it, together, and take it apart again.

    Parameters
    ----------
    config : `Config`
        The configuration; for a worker, that of `~pfs_ingestd.parts.worker_config`.
    environ : `~collections.abc.Mapping`
        The environment.
    once : `bool`
        Whether it is to end when nothing is left to be done.
    worker : `str`, optional
        The name of a worker, which watches nothing.
    source : `Source`, optional
        Where the configuration comes from, if it can be read again.

    Raises
    ------
    Fatal
        If the configuration does not fit the disk, the repository or the inbox is unusable, or another
        daemon is at work on the inbox.
    Outage
        If the server of the inbox does not answer, or the inbox turned out to be damaged.
    """
    found = [problem for problem in problems(config) if not (worker and problem.key.startswith("watch."))]
    if any(problem.key != "repository" for problem in found):
        raise _unusable(found)
    with ExitStack() as stack:
        lock = InstanceLock(config.lock_file)
        lock.acquire()
        stack.callback(lock.release)
        clock = SystemClock()
        me = Holder(pid=os.getpid(), host=socket.gethostname())
        inbox = stack.enter_context(_inbox(config, me, worker, clock))
        if found and not inbox.counts()[State.INGESTED]:
            raise _unusable(found)
        mailbox: SimpleQueue[Message] = SimpleQueue()
        post_on_signals(mailbox)
        stack.callback(stop_posting)
        journal = Journal(inbox)
        control = Control(inbox, clock)
        assembly = Assembly(
            inbox=inbox,
            journal=journal,
            mailbox=mailbox,
            clock=clock,
            environ=environ,
            once=once,
            worker=worker,
            source=source,
        )
        stack.callback(assembly.close)
        couriers = couriers_of(config, environ)
        for courier in couriers:
            stack.callback(courier.cancel)
        reporter = Reporter(
            inbox=inbox,
            journal=journal,
            control=control,
            sink=StatusFile(config.status.file),
            metrics=MetricsFile(config.status.metrics) if config.status.metrics else None,
            disks=Disks(_written_to(config), monotonic=time.monotonic),
            notifier=SystemdNotifier(environ),
            noticeboard=_noticeboard(config, inbox, journal, control, clock, assembly.configs_expected),
            herald=_herald(config, couriers, journal, clock),
            process=Process(
                pid=me.pid,
                host=me.host,
                program_version=version("pfs-ingestd"),
                repository=config.repository,
                started=clock.now(),
            ),
            settings=Settings(file=str(source.file.absolute()) if source else "", loaded=clock.now()),
            clock=clock,
        )
        yield Daemon(
            mailbox=mailbox,
            inbox=inbox,
            journal=journal,
            parts=assembly.parts(config),
            completions=NoCompletions(journal) if worker else Completions(inbox, journal, clock),
            control=control,
            reporter=reporter,
            clock=clock,
            reload=assembly.again,
        )


@contextmanager
def one_shot(
    options: OneShotOptions, paths: Sequence[Path], environ: Mapping[str, str]
) -> Iterator[tuple[int, Iterator[Result]]]:
    """Prepare an ingestion by command.

    Yields
    ------
    count : `int`
        How many files there are.
    results : `~collections.abc.Iterator` [`~pfs_ingestd.oneshot.Result`]
        What becomes of them; taking from it does the work.

    Raises
    ------
    Fatal
        If the repository is missing or unusable.
    """
    clock = SystemClock()
    roots = {path if path.is_dir() else path.parent: {options.kind} for path in paths}
    folder = WatchedFolder(roots, parse=names.parse, monotonic=time.monotonic, follow_links=True)
    files = list(dict.fromkeys(file for path in paths for file in _files(folder, path)))
    patience = Patience(
        settle=timedelta(0),
        incomplete_after=timedelta(0),
        orphan_after=timedelta(0),
        first_delay=timedelta(seconds=1),
        max_delay=timedelta(seconds=8),
        max_attempts=4,
    )
    with ExitStack() as stack:
        repository = open_repository(
            options.repository,
            transfer=options.transfer,
            instrument=options.instrument,
            runs=runs_of({options.kind: options.run}),
        )
        stack.callback(repository.close)
        headers = FitsHeaders(corrections=search_path(environ), workers=options.workers)
        stack.callback(headers.close)
        ingester = Ingester(folder, headers, repository, clock, patience)
        command = OneShot(
            folder=folder,
            ingester=ingester,
            clock=clock,
            patience=patience,
            batch_files=500,
            fail_fast=options.fail_fast,
        )
        yield len(files), command.ingest(files)


def replace_file(config: Config, path: Path, environ: Mapping[str, str]) -> FileRecord:
    """Store a file in the place of what the repository has under its data ID.

    Safe beside a daemon that is running: the repository first, the inbox second, and both can be repeated.

    Returns
    -------
    record : `FileRecord`
        Its new record.

    Raises
    ------
    Rejected
        If the file cannot be ingested, or is not below a watched folder.
    Fatal, Outage
        If the repository or the inbox is unusable, or does not answer.
    """
    clock = SystemClock()
    folder = watched_folder(config)
    if (sighting := folder.look(path)) is None:
        raise Rejected(
            Code.BAD_NAME,
            f"{path_text(path)} is not there, or not a file of a watched folder",
            hint="pfs-ingestd show says why; only files of the watched folders can replace others",
        )
    with ExitStack() as stack:
        inbox = open_inbox(config.state.database.url)
        stack.callback(inbox.close)
        repository = open_repository(
            config.repository,
            transfer=config.ingest.transfer,
            instrument=config.instrument,
            runs=configured_runs(config),
        )
        stack.callback(repository.close)
        headers = FitsHeaders(corrections=search_path(environ))
        stack.callback(headers.close)
        [header] = headers.read([sighting])
        if isinstance(header, IngestdError):
            raise header
        outcome = repository.replace(Dataset(path, header, sighting))
        if outcome.result is Stored.NO_EXPOSURE:
            raise Rejected(
                Code.NO_EXPOSURE,
                f"exposure {header.visit} is not in the repository: there is nothing to replace",
                hint="retry the file instead",
            )
        return _replaced(inbox, sighting, header, outcome, clock.now())


def _replaced(
    inbox: SqlInbox, sighting: Sighting, header: Header, outcome: Outcome, now: datetime
) -> FileRecord:
    """Write down that a file was stored, and flag the one whose dataset it was before."""
    path = sighting.path
    known = inbox.find([path]).get(path)
    new = described(replaced(known, sighting, outcome.dataset_id, now), header)
    if known is None:
        inbox.add([new])
    else:
        inbox.replace([(known, new)])
    others = inbox.select(visits=[sighting.name.visit], states=[State.INGESTED])
    inbox.replace(
        [
            (other, other.flagged(f"its dataset was replaced by {path_text(path)}", now))
            for other in others
            if other.dataset_id == outcome.dataset_id and other.path != path
        ]
    )
    return new


def _inbox(
    config: Config, me: Holder, worker: str | None, clock: SystemClock
) -> AbstractContextManager[SqlInbox]:
    """Have the inbox open: as the one that works on it, or as one of those that share it."""
    url, owner = config.state.database.url, f"pfs-ingestd {me}"
    if config.state.database.file:
        return keep_inbox(url, owner=owner, clock=clock)
    name = WorkerName(worker or "run", me.host, me.pid, watches=worker is None)
    return closing(
        open_shared_inbox(url, name=name, lease=config.ingest.lease, owner=None if worker else owner)
    )


def _written_to(config: Config) -> Mapping[str, Path]:
    """Collect the folders on this machine that the daemon writes to."""
    inbox = config.state.database.file
    folders = {
        "repository": config.repository_path,
        "inbox": inbox and inbox.parent,
        "status": config.status.file.parent,
    }
    return {what: folder for what, folder in folders.items() if folder}


def _noticeboard(
    config: Config,
    inbox: SqlInbox,
    journal: Journal,
    control: Control,
    clock: SystemClock,
    configs_expected: Callable[[], bool],
) -> Noticeboard | None:
    if config.status.board is None:
        return None
    return Noticeboard(
        inbox=inbox,
        journal=journal,
        control=control,
        sink=BoardFile(config.status.board),
        clock=clock,
        configs_expected=configs_expected,
    )


def _herald(
    config: Config, couriers: Sequence[Courier], journal: Journal, clock: SystemClock
) -> Herald | None:
    if not couriers:
        return None
    return Herald(
        couriers=couriers,
        topics={Topic(kind) for kind in config.notify.kinds},
        journal=journal,
        interval=config.notify.interval,
        sender=sender_of(config),
        clock=clock,
    )


def _unusable(found: Sequence[Problem]) -> Fatal:
    listed = "".join(f"\n  {problem}" for problem in found)
    hint = "make what is missing, or correct the keys; pfs-ingestd doctor looks at all of it"
    return Fatal(Code.CONFIGURATION, f"the configuration cannot be used here:{listed}", hint=hint)


def _files(folder: WatchedFolder, path: Path) -> Sequence[Path]:
    return folder.beneath(path) if path.is_dir() else [path]
