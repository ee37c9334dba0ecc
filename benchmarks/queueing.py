"""Many workers against one registry, simulated: what measured costs of one worker mean for thirty-two.

A discrete-event simulation: each worker by turns computes for a batch, on a core of its own, and has the
server work for it. The server has some cores, and serves who came first; to write down a batch in the inbox
takes a lock that only one holds at a time (the tally of files in each state).
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Costs", "Outcome", "saturation", "simulate"]

JITTER = 0.25
"""How much the work for a batch varies, as the sigma of its logarithm."""

ROUNDS = 60
"""Batches of each worker; the first fifth is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was measured of one worker.

    Parameters
    ----------
    worker : `float`
        Seconds of its own processor for a file.
    server : `float`
        Seconds of the server's processors for a file: registry and inbox.
    lock : `float`
        Seconds for which the tally is locked, for a batch.
    """

    worker: float
    server: float
    lock: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went.

    Parameters
    ----------
    files_per_second : `float`
        Of all workers together.
    server_busy, lock_busy : `float`
        The share of the time in which the server's cores, or the lock, were in use.
    """

    files_per_second: float
    server_busy: float
    lock_busy: float


class _Desk:
    """So many equal clerks, and those who queue for one."""

    def __init__(self, clerks: int) -> None:
        self.free = clerks
        self.queue: deque[tuple[int, float]] = deque()
        self.busy = 0.0


def simulate(costs: Costs, *, workers: int, cores: int, batch: int, seed: int = 1) -> Outcome:
    """Let so many workers take in batches of so many files, with a server of so many cores.

    The same seed gives the same outcome.
    """
    chance = np.random.default_rng(seed)
    stages = [
        (None, costs.worker * batch),
        (_Desk(cores), costs.server * batch),
        (_Desk(1), costs.lock),
    ]
    events: list[tuple[float, int, int]] = []
    done: list[float] = []
    rounds = [0] * workers
    for worker in range(workers):
        # They do not all begin at once.
        heapq.heappush(events, (float(chance.random()) * costs.worker * batch, worker, 0))
    while events:
        now, worker, stage = heapq.heappop(events)
        desk, _ = stages[stage]
        if desk is not None:
            desk.free += 1
            if desk.queue:
                _begin(events, desk, stage, now, *desk.queue.popleft())
        if stage + 1 == len(stages):
            done.append(now)
            rounds[worker] += 1
            if rounds[worker] == ROUNDS:
                continue
        following = (stage + 1) % len(stages)
        desk, mean = stages[following]
        seconds = mean * float(chance.lognormal(-(JITTER**2) / 2, JITTER))
        if desk is None:
            heapq.heappush(events, (now + seconds, worker, following))
        elif desk.free:
            _begin(events, desk, following, now, worker, seconds)
        else:
            desk.queue.append((worker, seconds))
    # While some begin and others have come to their end, fewer than all are at work.
    counted = done[len(done) // 5 : -len(done) // 5]
    files = (len(counted) - 1) * batch
    (_, server, lock) = (desk for desk, _ in stages)
    whole = done[-1]
    return Outcome(
        files_per_second=files / (counted[-1] - counted[0]),
        server_busy=_share(server, whole, cores),
        lock_busy=_share(lock, whole, 1),
    )


def saturation(rates: Sequence[tuple[int, float]]) -> int:
    """Tell from how many workers on twice as many bring less than half as much again."""
    for (workers, rate), (_, more) in pairwise(rates):
        if more < 1.5 * rate:
            return workers
    return rates[-1][0]


def _begin(
    events: list[tuple[float, int, int]], desk: _Desk, stage: int, now: float, worker: int, seconds: float
) -> None:
    desk.free -= 1
    desk.busy += seconds
    heapq.heappush(events, (now + seconds, worker, stage))


def _share(desk: _Desk | None, seconds: float, clerks: int) -> float:
    return desk.busy / seconds / clerks if desk else 0.0
