"""Puts the board of the newest night up where people look."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import structlog

from pfs_ingestd.board.night import MOST_VISITS, Night, night_of
from pfs_ingestd.board.page import page
from pfs_ingestd.control import Control
from pfs_ingestd.errors import Fatal, Outage, TryLater
from pfs_ingestd.journal import Journal
from pfs_ingestd.orders import Standing
from pfs_ingestd.ports import BoardSink, Clock, Inbox

__all__ = ["Noticeboard", "read_night"]

SHORTEST = timedelta(seconds=10)
"""The board is not written more often than this, whatever happens."""

LONGEST = timedelta(minutes=5)
"""It is written at least this often, so that its time tells that somebody is at work, and because what is
expected becomes missing as time goes by."""

SHARE = 50
"""At least so many times as long as it took to write the board passes until it is written again."""

_log = structlog.get_logger()


def read_night(inbox: Inbox, night: date | None, now: datetime, *, configs_expected: bool) -> Night:
    """Put together what became of the visits of a night.

    Parameters
    ----------
    inbox : `Inbox`
        What is known of the files.
    night : `~datetime.date` or `None`
        UTC date; `None` for the newest night that has visits, which is today where there is none.
    now : `~datetime.datetime`
        The time.
    configs_expected : `bool`
        Whether each visit has a pfsConfig.
    """
    paused = Standing().after(inbox.orders(0)).paused
    chosen = night or inbox.newest_night(now.date()) or now.date()
    while True:
        records = inbox.of_night(chosen, MOST_VISITS + 1)
        board = night_of(chosen, records, now, configs_expected=configs_expected, paused=paused)
        # A raw that cannot be read has the date of its file, which need not be that of its visit.
        earlier = inbox.newest_night(chosen - timedelta(days=1))
        if night or board.visits or earlier is None:
            return board
        chosen = earlier


class Noticeboard:
    """Writes the board of the newest night when something changed.

    Parameters
    ----------
    inbox : `Inbox`
        What is known of the night.
    journal : `Journal`
        Knows whether anything has changed.
    control : `Control`
        Knows whether an operator has ordered anything.
    sink : `BoardSink`
        Where the board goes.
    clock : `Clock`
        The time.
    configs_expected : `~collections.abc.Callable`
        Says whether each visit has a pfsConfig, as the configuration has it that is in force.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        journal: Journal,
        control: Control,
        sink: BoardSink,
        clock: Clock,
        configs_expected: Callable[[], bool],
    ) -> None:
        self._inbox = inbox
        self._journal = journal
        self._control = control
        self._sink = sink
        self._clock = clock
        self._configs_expected = configs_expected
        self._known: object = None
        self._begun = clock.now() - LONGEST
        self._pause = SHORTEST
        self._unwritable = False

    def renew(self, *, last: bool = False) -> None:
        """Write the board, unless that was done just now or nothing has changed.

        Parameters
        ----------
        last : `bool`, optional
            Whether there is no later time for it.

        Raises
        ------
        Fatal
            If the inbox is unusable, unless it is the last time.
        """
        begun = self._clock.now()
        age = begun - self._begun
        changed = self._known != self._shown()
        # A clock that was set back ends a pause, too.
        if last or not timedelta(0) <= age < LONGEST or (changed and age >= self._pause):
            self._begun = begun
            self._write(last=last)
            self._pause = min(max(SHORTEST, SHARE * (self._clock.now() - begun)), LONGEST)

    def _shown(self) -> object:
        """Tell apart what makes one board another."""
        return self._journal.changes, self._control.standing, self._configs_expected()

    def _write(self, *, last: bool) -> None:
        """Write the board; what keeps it from being written is told once, and keeps nothing else."""
        now = self._clock.now()
        self._known = self._shown()
        try:
            night = read_night(self._inbox, None, now, configs_expected=self._configs_expected())
            self._sink.write(page(night))
        except (Fatal, Outage, TryLater) as error:
            if isinstance(error, Fatal) and not last:
                raise
            if not self._unwritable:
                _log.warning("board.unwritable", code=error.code, error=str(error))
            self._unwritable = True
        else:
            self._unwritable = False
