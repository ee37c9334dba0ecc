"""Tells once of each visit that it is complete."""

from datetime import timedelta

import structlog

from pfs_ingestd.board.visits import Verdict, visits_of
from pfs_ingestd.journal import Journal
from pfs_ingestd.notices import Notice, Topic
from pfs_ingestd.ports import Clock, Inbox
from pfs_ingestd.records import State

__all__ = ["Completions"]

RECALLED = timedelta(days=1)
"""How old the live files may be whose visits are looked at again after a death, or an outage of the inbox."""

_log = structlog.get_logger()


class Completions:
    """Finds the visits of which all that is expected has come to be in the repository.

    The inbox remembers those that were told, so that none is told twice, whatever happens in between.

    Parameters
    ----------
    inbox : `Inbox`
        What is known of the files.
    journal : `Journal`
        Knows of which visits files were ingested.
    clock : `Clock`
        The time.
    """

    def __init__(self, inbox: Inbox, journal: Journal, clock: Clock) -> None:
        self._inbox = inbox
        self._journal = journal
        self._clock = clock

    def recall(self) -> None:
        """Look again at the visits of late: they may have been completed, and nobody was there to tell."""
        since = self._clock.now() - RECALLED
        live = self._inbox.in_state({State.INGESTED}, since=since, live=True)
        self._journal.visits.update(record.visit for record in live)

    def tell(self) -> None:
        """Tell of the visits that have become complete since the last time."""
        self._journal.heard(self._inbox.touched())
        visits = self._journal.visits
        if not visits:
            return
        now = self._clock.now()
        found = visits_of(self._inbox.whole_visits(visits), now)
        complete = {visit.number: visit for visit in found if visit.verdict is Verdict.COMPLETE}
        for number in sorted(self._inbox.complete(complete.keys(), now)):
            visit = complete[number]
            seconds = (now - min(record.steady_since for record in visit.files)).total_seconds()
            facts = {
                "visit": number,
                "night": visit.night.isoformat(),
                "files": len(visit.cells),
                "seconds": round(seconds, 3),
            }
            self._journal.figures.visits += 1
            _log.info("visit.completed", **facts)
            text = f"visit {number}: {len(visit.cells)} files, {seconds:.1f} s after the first of them came"
            self._journal.notices.add(Topic.VISITS, Notice("visit.completed", now, text, facts))
        visits.clear()
