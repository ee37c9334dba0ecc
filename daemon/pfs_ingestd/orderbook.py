"""Orders that a person gives to a daemon, and whether it has heard them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pfs_ingestd.adapters.system import Holder, SystemClock
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, Rejected, Vanished
from pfs_ingestd.orders import Order, Standing, What
from pfs_ingestd.parts import inbox_beside, roots_of
from pfs_ingestd.presence import Presence, look_for_daemon, wait_for_daemon
from pfs_ingestd.records import path_text

__all__ = ["HEARING", "Given", "drain", "pause", "rescan", "resume", "wait_for_end"]

HEARING = timedelta(seconds=10)
"""How long a command waits for an order to be heard: the daemon listens every second, between batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What came of an order.

    Parameters
    ----------
    order : `Order` or `None`
        The order that was given; `None` if it was so already.
    paused : `Order` or `None`
        The pause that holds now.
    holder : `Holder` or `None`
        The process that is at work.
    heard : `bool`
        Whether that process has heard it.
    status : `dict`
        What that process says of itself, then.
    """

    order: Order | None
    paused: Order | None
    holder: Holder | None
    heard: bool
    status: dict[str, object]


def pause(config: Config, *, by: str, reason: str) -> Given:
    """Let nothing be claimed any more, by whatever daemon there is or will be, until somebody resumes.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    return _give(config, What.PAUSE, by=by, reason=reason, already=lambda standing: bool(standing.paused))


def resume(config: Config, *, by: str, reason: str) -> Given:
    """Let files be claimed again.

    Raises
    ------
    Vanished
        If no daemon has run yet.
    """
    return _give(config, What.RESUME, by=by, reason=reason, already=lambda standing: not standing.paused)


def drain(config: Config, *, by: str, reason: str) -> Given:
    """Let the daemon that is at work finish what can be done now, and stop then.

    Raises
    ------
    Vanished
        If no daemon is at work.
    """
    _find_daemon(config, "nothing is to be stopped")
    return _give(config, What.DRAIN, by=by, reason=reason)


def rescan(config: Config, paths: Collection[Path], *, by: str) -> Given:
    """Let the daemon that is at work list folders again, whatever it remembers of them.

    Parameters
    ----------
    config : `Config`
        The configuration.
    paths : `~collections.abc.Collection` [`~pathlib.Path`]
        Files and folders; empty means all watched folders.
    by : `str`
        Who wants it.

    Raises
    ------
    Rejected
        If a path is not watched; then nothing is ordered.
    Vanished
        If no daemon is at work.
    """
    roots = roots_of(config)
    strange = [
        path
        for path in paths
        if not any(path.is_relative_to(root) or root.is_relative_to(path) for root in roots)
    ]
    if strange:
        raise Rejected(
            Code.NOT_WATCHED,
            f"no watched folder holds {', '.join(map(path_text, strange))}",
            hint=f"watched are {', '.join(map(path_text, roots))}",
        )
    _find_daemon(config, "its start looks at all folders anyway")
    return _give(config, What.RESCAN, by=by, paths=tuple(paths))


def wait_for_end(config: Config, holder: Holder, patience: timedelta) -> tuple[Presence, bool]:
    """Wait until a process has come to its end, or another has taken its place."""
    return wait_for_daemon(config, lambda presence: presence.holder != holder, patience)


def _find_daemon(config: Config, otherwise: str) -> Presence:
    presence = look_for_daemon(config)
    if presence.holder is None:
        raise Vanished(
            Code.NOT_RUNNING, f"no daemon is at work: {otherwise}", hint="see `pfs-ingestd status`"
        )
    return presence


def _give(
    config: Config,
    what: What,
    *,
    by: str,
    reason: str = "",
    paths: Sequence[Path] = (),
    already: Callable[[Standing], bool] = lambda _: False,
) -> Given:
    """Give an order, unless it is so already, and wait for the daemon to hear it, if there is one."""
    with inbox_beside(config, read_only=False) as inbox:
        standing = Standing().after(inbox.orders(0))
        order = None
        if not already(standing):
            order = inbox.give_order(
                Order(what=what, by=by, at=SystemClock().now(), reason=reason, paths=tuple(paths))
            )
            standing = standing.after([order])
    number = standing.number

    def heard(presence: Presence) -> bool:
        return presence.holder is None or (presence.speaks and presence.status["heard"] >= number)

    presence, answered = wait_for_daemon(config, heard, HEARING)
    return Given(
        order=order,
        paused=standing.paused,
        holder=presence.holder,
        heard=answered and presence.holder is not None,
        status=dict(presence.status),
    )
