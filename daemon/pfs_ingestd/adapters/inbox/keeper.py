"""The inbox as the daemon keeps it: a damaged SQLite file is set aside, and a new one takes its place."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from pfs_ingestd.adapters.inbox.damage import DamagedInbox, set_aside
from pfs_ingestd.adapters.inbox.engine import file_of
from pfs_ingestd.adapters.inbox.inbox import SqlInbox, open_inbox
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.ports import Clock

__all__ = ["keep_inbox"]

_log = structlog.get_logger()


@contextmanager
def keep_inbox(url: str, *, owner: str, clock: Clock) -> Iterator[SqlInbox]:
    """Have the inbox open, as the one daemon that works on it.

    Damage that is found at the start costs the contents of the inbox, which the folders and the repository
    give again. Damage that shows later costs the process, too, because what it knows may be wrong as well;
    the file is set aside before this ends, so that the next start begins with a new one.

    Parameters
    ----------
    url : `str`
        See `open_inbox`.
    owner : `str`
        See `open_inbox`. The caller makes sure that no other daemon works on an SQLite file.
    clock : `Clock`
        The time, by which a file that is set aside is named.

    Raises
    ------
    Outage
        If the server of the inbox does not answer, or it turned out to be damaged while it was in use.
    Fatal
        If it cannot be used.
    """
    try:
        inbox = open_inbox(url, owner=owner)
    except DamagedInbox as error:
        _replace(url, error, clock.now())
        inbox = open_inbox(url, owner=owner)
    try:
        with closing(inbox):
            yield inbox
    except DamagedInbox as error:
        aside = _replace(url, error, clock.now())
        raise Outage(
            Code.STATE_UNREACHABLE,
            f"the inbox was found to be damaged, and is kept as {aside}",
            hint="start again: a new one is made from the folders and the repository",
        ) from error


def _replace(url: str, error: DamagedInbox, now: datetime) -> Path:
    database = file_of(url)
    aside = set_aside(database, now)
    _log.error("inbox.set_aside", inbox=str(database), kept_as=str(aside), error=error.message)
    return aside
