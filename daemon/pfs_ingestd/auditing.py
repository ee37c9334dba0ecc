"""From settings to an audit, which may run beside a daemon."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import SqlInbox
from pfs_ingestd.adapters.repository import ButlerRepository, RepositoryBroom, RepositoryInventory
from pfs_ingestd.adapters.system import InstanceLock
from pfs_ingestd.audit.auditor import Auditor
from pfs_ingestd.audit.judgement import Scene
from pfs_ingestd.audit.mender import Mender
from pfs_ingestd.config import Config
from pfs_ingestd.parts import (
    configured_runs,
    inbox_beside,
    patience_of,
    roots_of,
    watched_folder,
)
from pfs_ingestd.pfs import names
from pfs_ingestd.pfs.corrections import search_path
from pfs_ingestd.ports import Clock

__all__ = ["Audit", "AuditOptions", "audit"]

GRACE = timedelta(minutes=10)
"""How long a daemon is given at least to notice something: until then it is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What an audit is asked to do.

    Parameters
    ----------
    since : `int` or `None`
        The night to begin with, as ``day_obs`` has it; `None` for all.
    checksum : `bool`
        Whether the bytes of all copies are compared with their files.
    repair : `bool`
        Whether what differs is mended where that is safe.
    """

    since: int | None = None
    checksum: bool = False
    repair: bool = False


class Audit(NamedTuple):
    """An audit, ready to begin; the inbox that it reads; and what mends its findings, if they are to be."""

    auditor: Auditor
    inbox: SqlInbox
    mender: Mender | None


@contextmanager
def audit(config: Config, options: AuditOptions, environ: Mapping[str, str], clock: Clock) -> Iterator[Audit]:
    """Prepare an audit.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    Fatal
        If the repository or the inbox is missing or unusable.
    Outage
        If one of them does not answer.
    """
    runs, patience, folder = configured_runs(config), patience_of(config), watched_folder(config)
    with ExitStack() as stack:
        inbox = stack.enter_context(inbox_beside(config, read_only=not options.repair))
        now = clock.now()
        inventory = RepositoryInventory(config.repository, runs=runs, instrument=config.instrument, now=now)
        stack.callback(inventory.close)
        auditor = Auditor(
            roots=list(roots_of(config)),
            folder=folder,
            parse=names.parse,
            inbox=inbox,
            inventory=inventory,
            scene=Scene(
                now=now,
                daemon=InstanceLock(config.lock_file).holder() is not None,
                grace=max(GRACE, 2 * config.watch.rescan),
                patience=patience,
                checksum=options.checksum,
            ),
            first=None if options.since is None else inventory.first_visit(options.since),
        )
        mender = None
        if options.repair:
            repository = ButlerRepository(
                config.repository,
                transfer=config.ingest.transfer,
                runs=runs,
                instrument=config.instrument,
            )
            stack.callback(repository.close)
            broom = RepositoryBroom(config.repository, runs=runs, instrument=config.instrument)
            stack.callback(broom.close)
            headers = FitsHeaders(corrections=search_path(environ))
            stack.callback(headers.close)
            mender = Mender(inbox=inbox, shelves=broom, folder=folder, headers=headers, repository=repository)
        yield Audit(auditor, inbox, mender)
