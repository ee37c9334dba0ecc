"""Files whose change nothing tells of, and when each is looked at again."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from pfs_ingestd.ports import Clock, Inbox
from pfs_ingestd.records import FileRecord, State

__all__ = ["ROUNDS", "Round", "Rounds"]


class Round(NamedTuple):
    """Which files are looked at again, and how often.

    Parameters
    ----------
    states : `frozenset` [`State`]
        Those in one of these states
    live : `bool`
        that arrived under our eyes, if only those are meant,
    age : `~datetime.timedelta` or `None`
        no longer ago than this.
    every : `~datetime.timedelta`
        From the beginning of one round to that of the next.
    """

    states: frozenset[State]
    live: bool
    age: timedelta | None
    every: timedelta


# Writers have been seen to come back to a file minutes after it was closed, repair tools a day later. All of
# it must stay far below the few hundred files a second that a file server can tell of: an archive does not
# change, and is too large to look at.
ROUNDS = (
    Round(frozenset({State.REJECTED, State.SKIPPED}), live=False, age=None, every=timedelta(seconds=10)),
    Round(frozenset({State.INGESTED}), live=True, age=timedelta(minutes=15), every=timedelta(seconds=10)),
    Round(frozenset({State.INGESTED}), live=True, age=timedelta(days=2), every=timedelta(hours=1)),
)


class Rounds:
    """Goes round the files that nothing tells of when they are rewritten in place.

    What was ingested may be written again by those whose file it is, what was rejected is mended by somebody.
    `ROUNDS` says which files are looked at how often; what was ingested longer ago is left to an audit.

    Parameters
    ----------
    inbox : `Inbox`
        What is known of the files.
    clock : `Clock`
        The time.
    """

    def __init__(self, inbox: Inbox, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._under_way: list[Iterator[FileRecord] | None] = [None] * len(ROUNDS)
        self._due = [clock.now() + each.every for each in ROUNDS]

    def paths(self, limit: int) -> Iterator[Path]:
        """Go on where the last call left off, for so many files; an over round begins anew when it is due."""
        rounds = (self._round(number) for number in range(len(ROUNDS)))
        return itertools.islice(itertools.chain.from_iterable(rounds), limit)

    def _round(self, number: int) -> Iterator[Path]:
        states, live, age, every = ROUNDS[number]
        now = self._clock.now()
        if self._under_way[number] is None and now >= self._due[number]:
            self._due[number] = now + every
            since = now - age if age else None
            self._under_way[number] = self._inbox.in_state(states, since=since, live=live)
        for record in self._under_way[number] or ():
            yield record.path
        self._under_way[number] = None
