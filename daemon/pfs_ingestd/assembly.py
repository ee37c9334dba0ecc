"""The parts of a daemon that a configuration makes, and those that it makes when it is read again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from pfs_ingestd.adapters.filesystems import only_written_here
from pfs_ingestd.adapters.folder import Presence, WatchedFolder
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import SqlInbox
from pfs_ingestd.adapters.repository import ButlerRepository, DatastoreCopier
from pfs_ingestd.adapters.watcher import InotifyWatcher, PollWatcher, Watchers
from pfs_ingestd.config import Config, problems
from pfs_ingestd.errors import Code, Fatal, Outage
from pfs_ingestd.ingester import Ingester
from pfs_ingestd.intake import ALONE, Intake, Share, nothing_required
from pfs_ingestd.journal import Journal
from pfs_ingestd.loop import Pace, Parts
from pfs_ingestd.parts import configured_runs, patience_of, roots_of, watched_folder
from pfs_ingestd.pfs.corrections import search_path
from pfs_ingestd.ports import Clock, Message, Watcher
from pfs_ingestd.scanner import Scanner
from pfs_ingestd.worker import NoScanner

__all__ = ["Assembly", "Source", "changed_for_good"]

INLINE_BYTES = 16_000_000
"""How much of a batch is copied in the loop: a few hundredths of a second of a disk, so that files of a few
kilobytes do not take the long way. What is larger is copied beside the loop."""

_RELOADED = ("watch.", "ingest.", "log.")
"""The keys that can be changed in a process that runs, but for those in `_KEPT`."""

# How long others wait for a sign of life was agreed with them when the inbox was opened.
_KEPT = ("ingest.lease",)


class Source(NamedTuple):
    """Where a configuration comes from.

    Parameters
    ----------
    file : `~pathlib.Path`
        The file.
    read : `~collections.abc.Callable`
        Reads it again; raises `Fatal` if anything in it is wrong.
    apply_log : `~collections.abc.Callable`
        Has the log written as a configuration says; raises `Fatal`, and leaves it as it is, if it cannot be.
    """

    file: Path
    read: Callable[[], Config]
    apply_log: Callable[[Config], None]


class Assembly:
    """Puts together what depends on the configuration, around what outlives it.

    Parameters
    ----------
    inbox : `SqlInbox`
        The durable list of files.
    journal : `Journal`
        The way to write to it.
    mailbox : `~queue.SimpleQueue`
        Where copiers and watchers post.
    clock : `Clock`
        The time.
    environ : `~collections.abc.Mapping`
        The environment.
    once : `bool`
        Whether the daemon ends when nothing is left to be done.
    worker : `str` or `None`
        The name of a worker, which watches nothing.
    source : `Source` or `None`
        Where the configuration comes from, if it can be read again.
    """

    def __init__(
        self,
        *,
        inbox: SqlInbox,
        journal: Journal,
        mailbox: SimpleQueue[Message],
        clock: Clock,
        environ: Mapping[str, str],
        once: bool,
        worker: str | None,
        source: Source | None,
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._mailbox = mailbox
        self._clock = clock
        self._environ = environ
        self._once = once
        self._worker = worker
        self._source = source
        self._config: Config | None = None
        self._stacks: list[ExitStack] = []

    def configs_expected(self) -> bool:
        """Say whether pfsConfigs are watched for, by the configuration that is in force."""
        return self._config is not None and bool(self._config.watch.pfs_config)

    def close(self) -> None:
        """Let go of all that was put together."""
        while self._stacks:
            self._stacks.pop().close()

    def again(self) -> Parts:
        """Read the configuration again, and put together what it makes.

        Raises
        ------
        Fatal
            If it is wrong, does not fit the disk or the repository, or changes what only a start can change.
        """
        if self._source is None or self._config is None:
            raise Fatal(Code.CONFIGURATION, "this process was not started from a configuration file")
        config = self._source.read()
        found = [each for each in problems(config) if not (self._worker and each.key.startswith("watch."))]
        if wrong := [str(each) for each in found if each.key != "repository"]:
            raise Fatal(Code.CONFIGURATION, "; ".join(wrong))
        if kept := changed_for_good(self._config, config):
            raise Fatal(
                Code.CONFIGURATION,
                f"{', '.join(kept)} cannot be changed while it runs",
                hint="restart the daemon for that, or take it back; nothing of the file holds yet",
            )
        parts, stack, repository = self._put_together(config)
        try:
            # One that cannot be reached may be used when it is back.
            with suppress(Outage):
                repository.probe()
            self._source.apply_log(config)
        except BaseException:
            stack.close()
            raise
        self._stacks.append(stack)
        self._config = config
        return parts

    def parts(self, config: Config) -> Parts:
        """Put together what the configuration makes at the start.

        The repository is opened by the first probe: one that files went into may be away, and is waited for.
        """
        parts, stack, _ = self._put_together(config)
        self._stacks.append(stack)
        self._config = config
        return parts

    def _put_together(self, config: Config) -> tuple[Parts, ExitStack, ButlerRepository]:
        stack = ExitStack()
        inbox, journal, clock = self._inbox, self._journal, self._clock
        repository = ButlerRepository(
            config.repository,
            transfer=config.ingest.transfer,
            instrument=config.instrument,
            runs=configured_runs(config),
            inline_bytes=INLINE_BYTES,
        )
        stack.callback(repository.close)
        copier = DatastoreCopier(
            explain=repository.explain, post=self._mailbox.put, move=config.ingest.transfer == "move"
        )
        stack.callback(copier.cancel)
        patience = patience_of(config)
        roots = list(roots_of(config))
        folder = watched_folder(config)
        headers = FitsHeaders(corrections=search_path(self._environ), workers=config.watch.workers)
        stack.callback(headers.close)
        ingester = Ingester(folder, headers, repository, clock, patience, defers=bool(self._worker))
        parts = Parts(
            scanner=NoScanner(clock)
            if self._worker
            else Scanner(
                folder=folder,
                headers=headers,
                inbox=inbox,
                journal=journal,
                repository=repository,
                clock=clock,
                patience=patience,
            ),
            intake=Intake(
                inbox=inbox,
                journal=journal,
                ingester=ingester,
                repository=repository,
                copier=copier,
                clock=clock,
                patience=patience,
                batch_files=config.ingest.batch_files,
                batch_bytes=config.ingest.byte_bound,
                probe_interval=config.ingest.probe_interval,
                share=_share(config, self._worker),
                require=Presence(roots).check if self._worker else nothing_required,
            ),
            watcher=_watcher(
                "poll" if self._once else config.watch.mode,
                [] if self._worker else roots,
                folder,
                self._mailbox,
            ),
            pace=Pace(
                rescan=config.watch.rescan,
                settle=config.watch.settle,
                probe_interval=config.ingest.probe_interval,
                batch_files=config.ingest.batch_files,
                fail_fast=config.ingest.policy == "fail-fast",
            ),
            close=stack.close,
        )
        return parts, stack, repository


def changed_for_good(old: Config, new: Config) -> Sequence[str]:
    """Name the keys in which two configurations differ, and that a process that runs cannot take over."""
    # Written out, a URL does not show its password.
    before, after = (
        dict(_flat(config.model_dump(by_alias=True))) | {"state.database": config.state.database}
        for config in (old, new)
    )
    return [key for key in after if before[key] != after[key] and not _can_be_reloaded(key)]


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _can_be_reloaded(key: str) -> bool:
    return key.startswith(_RELOADED) and key not in _KEPT


def _share(config: Config, worker: str | None) -> Share:
    if config.state.database.file:
        return ALONE
    return Share(
        watches=worker is None,
        ingests=worker is not None or config.ingest.here,
        rescue_every=config.ingest.lease / 2,
    )


def _watcher(
    mode: str, roots: Sequence[Path], folder: WatchedFolder, mailbox: SimpleQueue[Message]
) -> Watcher:
    """Watch what the kernel can see all of, unless the operator decided otherwise; poll the rest."""
    watched = [root for root in roots if mode == "inotify" or (mode == "auto" and only_written_here(root))]
    polled = [root for root in roots if root not in watched]
    watchers: list[Watcher] = []
    if watched:
        watchers.append(InotifyWatcher(watched, subfolders=folder.subfolders, pending=mailbox.qsize))
    if polled:
        watchers.append(PollWatcher(polled))
    return Watchers(*watchers)
