"""Whether a daemon is really at work, and what it says of itself."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import Holder, InstanceLock, SystemClock
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Rejected, Vanished

__all__ = ["HANGS", "Presence", "look_for_daemon", "wait_for_daemon"]

HANGS = timedelta(minutes=5)
"""A process at work whose heartbeat is older than this hangs: the longest batch is shorter."""

_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Presence:
    """What can be seen of a daemon from outside.

    Parameters
    ----------
    status : `~collections.abc.Mapping`
        What the status file says; empty if there is none that can be read.
    holder : `Holder` or `None`
        The process that holds the lock of the inbox: it is there, whatever the status says.
    now : `~datetime.datetime`
        When it was seen.
    """

    status: Mapping[str, Any]
    holder: Holder | None
    now: datetime

    @property
    def speaks(self) -> bool:
        """Whether the status is that of the process that is there."""
        return self.holder is not None and self.status.get("pid") == self.holder.pid

    @property
    def heartbeat_age(self) -> float | None:
        """How many seconds ago the status was written; `None` if it does not say."""
        with suppress(KeyError, TypeError, ValueError):
            written = datetime.fromisoformat(self.status["heartbeat"])
            return max(round((self.now - written).total_seconds(), 3), 0.0)
        return None

    @property
    def alive(self) -> bool:
        """Whether a process is at work, and does not hang. One that has just started need not have spoken."""
        hangs = self.speaks and (self.heartbeat_age or 0.0) > HANGS.total_seconds()
        return self.holder is not None and not hangs


def look_for_daemon(config: Config) -> Presence:
    """See whether a daemon is at work with a configuration.

    Raises
    ------
    Fatal
        If this user may not know.
    """
    holder = InstanceLock(config.lock_file).holder()
    status: Mapping[str, object] = {}
    with suppress(Vanished, Rejected):
        status = StatusFile(config.status.file).read()
    return Presence(status, holder, SystemClock().now())


def wait_for_daemon(
    config: Config, reached: Callable[[Presence], bool], patience: timedelta
) -> tuple[Presence, bool]:
    """Look for a daemon until something is so, or the time is over.

    Returns
    -------
    presence : `Presence`
        What was seen last.
    reached : `bool`
        Whether it was so then.
    """
    clock = SystemClock()
    end = time.monotonic() + patience.total_seconds()
    while True:
        presence = look_for_daemon(config)
        if reached(presence):
            return presence, True
        if time.monotonic() >= end:
            return presence, False
        clock.sleep(_EVERY)
