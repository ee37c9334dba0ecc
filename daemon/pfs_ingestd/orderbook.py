"""Orders that a person gives to a daemon, and whether it has heard them."""

import os
import signal
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pfs_ingestd.adapters.system import Holder, SystemClock
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, Fatal, Rejected, Vanished
from pfs_ingestd.orders import Order, Standing, What
from pfs_ingestd.parts import inbox_beside, roots_of
from pfs_ingestd.presence import Presence, look_for_daemon, wait_for_daemon
from pfs_ingestd.records import path_text
from pfs_ingestd.status import Phase

__all__ = ["HEARING", "Drained", "Given", "drain", "pause", "reload", "rescan", "resume"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What came of the order to drain.

    Parameters
    ----------
    heard : `bool`
        Whether the process that is to drain has heard it.
    ended : `bool`
        Whether it has come to its end.
    failure : `str`
        How it has ended instead, if it has not drained; else empty.
    """

    heard: bool
    ended: bool
    failure: str


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


def drain(config: Config, *, by: str, reason: str, patience: timedelta) -> Drained:
    """Let the daemon that is at work finish what can be done now, and stop then.

    Parameters
    ----------
    config : `Config`
        The configuration.
    by, reason : `str`
        Who wants it, and why.
    patience : `~datetime.timedelta`
        How long to wait for its end, once it was heard.

    Raises
    ------
    Vanished
        If no daemon is at work.
    """
    holder = _find_daemon(config, "nothing is to be stopped").holder
    given = _give(config, What.DRAIN, by=by, reason=reason)
    # Another may have taken its place.
    presence, ended = wait_for_daemon(config, lambda presence: presence.holder != holder, patience)
    failure = _failure_of(holder, presence.status) if holder and ended else ""
    return Drained(heard=given.heard, ended=ended, failure=failure)


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


def reload(config: Config, file: Path) -> bool:
    """Let the daemon that is at work read its configuration again.

    Parameters
    ----------
    config : `Config`
        What the file says, which was found to be right.
    file : `~pathlib.Path`
        The file.

    Returns
    -------
    answered : `bool`
        Whether the daemon goes on with it; if not, it has not come to that yet.

    Raises
    ------
    Vanished
        If no daemon is at work.
    Rejected
        If it runs on another host, or this user may not send it a signal.
    Fatal
        If it reads another file, or has refused what is in this one.
    """
    _find_daemon(config, "its start reads the configuration anyway")
    presence, speaks = wait_for_daemon(config, lambda seen: seen.speaks, HEARING)
    if not speaks or presence.holder is None:
        return False
    holder, known = presence.holder, presence.status["configuration"]
    if holder.host != socket.gethostname():
        raise Rejected(Code.NOT_HERE, f"the daemon is {holder}: no signal gets there", hint="reload it there")
    if known["file"] and os.path.realpath(known["file"]) != os.path.realpath(file):
        raise Fatal(Code.CONFIGURATION, f"the daemon reads {known['file']}, not {file}")
    try:
        os.kill(holder.pid, signal.SIGHUP)
    except PermissionError as error:
        raise Rejected(
            Code.NOT_PERMITTED,
            f"this user may not send a signal to {holder}",
            hint="do it as the user of the service, or with `systemctl reload`",
        ) from error
    except ProcessLookupError:
        return False

    def answered(seen: Presence) -> bool:
        return seen.holder != holder or seen.status["configuration"]["answers"] > known["answers"]

    presence, answer = wait_for_daemon(config, answered, HEARING)
    if answer and presence.holder == holder and (refused := presence.status["configuration"]["refused"]):
        raise Fatal(Code.CONFIGURATION, f"the daemon goes on as before: {refused}")
    return answer and presence.holder == holder


def _failure_of(holder: Holder, status: Mapping[str, Any]) -> str:
    """Tell how a process that is no longer at work has ended if not in peace, by the last status there is."""
    if status.get("pid") != holder.pid:
        return "another has taken its place, so that it is not known how it ended; its log tells"
    if status["state"] == Phase.STOPPED:
        return ""
    if status["state"] == Phase.FAILED:
        return str(status["reason"])
    return "it was killed, or could not write its last status"


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
