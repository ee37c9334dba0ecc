"""How a daemon that is to stop by itself comes to its end."""

from collections.abc import Mapping
from dataclasses import dataclass

from pfs_ingestd.errors import ExitCode
from pfs_ingestd.orders import Order
from pfs_ingestd.records import PENDING, State
from pfs_ingestd.text import files_are

__all__ = ["Ending", "after_draining", "after_once", "said_by"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ends, and why.

    Parameters
    ----------
    code : `ExitCode`
        For who started it.
    reason : `str`, optional
        For people; empty where there is nothing to say.
    """

    code: ExitCode
    reason: str = ""


def after_once(counts: Mapping[State, int], paused: Order | None) -> Ending | None:
    """Tell how a daemon ends that is to take in what is there; `None` while files are still on their way.

    Parameters
    ----------
    counts : `~collections.abc.Mapping`
        How many files are in each state, after a scan.
    paused : `Order` or `None`
        The pause that holds: ready files do not wait for this daemon then.
    """
    on_their_way = PENDING - {State.READY} if paused else PENDING
    if any(counts[state] for state in on_their_way):
        return None
    if paused and (ready := counts[State.READY]):
        reason = f"paused {said_by(paused)}: {files_are(ready)} not ingested; resume, then start again"
        return Ending(ExitCode.TRY_AGAIN, reason)
    return Ending(ExitCode.SOME_REJECTED if counts[State.REJECTED] else ExitCode.DONE)


def after_draining(drain: Order, counts: Mapping[State, int], paused: Order | None) -> Ending:
    """Tell how a daemon ends that has done what can be done now.

    Parameters
    ----------
    drain : `Order`
        The order to do so.
    counts : `~collections.abc.Mapping`
        How many files are in each state.
    paused : `Order` or `None`
        The pause that holds.
    """
    reason = f"drained {said_by(drain)}"
    if left := sum(counts[state] for state in PENDING):
        why = f", since it is paused {said_by(paused)}" if paused else ""
        reason += f"; {files_are(left)} left for the next start{why}"
    return Ending(ExitCode.DONE, reason)


def said_by(order: Order) -> str:
    """Say who gave an order and why, to go on with a sentence."""
    return f"by {order.by}" + (f" ({order.reason})" if order.reason else "")
