"""A night: its visits, the sentence that sums them up, what needs a person, and how fast it went."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from pfs_ingestd.board.visits import CONFIG, MISSING_AFTER, Mark, Verdict, Visit, mark_of, visits_of
from pfs_ingestd.orders import Order
from pfs_ingestd.records import FileRecord, Kind, State, path_text
from pfs_ingestd.text import counted

__all__ = ["MOST_VISITS", "Concern", "Night", "Slot", "night_of"]

VERSION = 1
"""Raised when a key of the board as JSON changes its meaning or goes away; new keys may come at any time."""

MOST_VISITS = 2000
"""The most visits of which a board is made: nearly twice those of the busiest day so far."""

_SHORTEST_SLOT = timedelta(minutes=10)
_MOST_SLOTS = 144

_SETTLED = frozenset({Mark.INGESTED, Mark.PENDING, Mark.WAITING, Mark.EXPECTED, Mark.ORPHANED})
_GOOD = _SETTLED | {Mark.CHANGED}

_REASONS: Mapping[Mark, str] = {
    Mark.MISSING: (
        f"expected, and not there {MISSING_AFTER // timedelta(minutes=1)} min after the visit's last file"
    ),
    Mark.GONE: "went away before it was ingested",
    Mark.SKIPPED: "left out by a person",
}


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that will not come right by itself.

    Parameters
    ----------
    visit : `int`
        Number of the visit.
    name : `str`
        The camera, or ``pfsConfig``; empty for a file whose name has no camera that exists.
    mark : `Mark`
        How it stands.
    code : `str`
        The stable name of the reason, where there is one.
    reason : `str`
        What is wrong, for a person.
    path : `str`
        The file; empty if none came.
    """

    visit: int
    name: str
    mark: Mark
    code: str
    reason: str
    path: str


@dataclass(frozen=True, slots=True)
class Slot:
    """What was ingested in one part of the night.

    Parameters
    ----------
    begin : `~datetime.datetime`
        When it began.
    length : `~datetime.timedelta`
        How long it lasted.
    files : `int`
        How many files were ingested.
    latency : `float` or `None`
        Median of the seconds from a raw's arrival to its visibility, of those that arrived under our eyes.
    """

    begin: datetime
    length: timedelta
    files: int
    latency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What became of the visits of one night.

    Parameters
    ----------
    date : `~datetime.date`
        UTC date.
    at : `~datetime.datetime`
        When it was so.
    visits : `~collections.abc.Sequence` [`Visit`]
        In the order of their numbers.
    concerns : `~collections.abc.Sequence` [`Concern`]
        What needs a person, or was decided by one.
    slots : `~collections.abc.Sequence` [`Slot`]
        How much was ingested when, without a gap.
    cut : `bool`
        Whether there are older visits that were left out.
    paused : `Order` or `None`
        The pause that held at that time.
    """

    date: date
    at: datetime
    visits: Sequence[Visit]
    concerns: Sequence[Concern]
    slots: Sequence[Slot]
    cut: bool = False
    paused: Order | None = None

    @property
    def marks(self) -> Mapping[Mark, int]:
        """How many cells there are of each mark; every mark has an entry."""
        counted = Counter(cell.mark for visit in self.visits for cell in visit.cells.values())
        return {mark: counted[mark] for mark in Mark}

    @property
    def verdicts(self) -> Mapping[Verdict, int]:
        """How many visits there are of each verdict; every verdict has an entry."""
        counted = Counter(visit.verdict for visit in self.visits)
        return {verdict: counted[verdict] for verdict in Verdict}

    @property
    def complete(self) -> bool | None:
        """Whether nothing is missing; `None` if that cannot be known."""
        verdicts = self.verdicts
        if verdicts[Verdict.INCOMPLETE] or verdicts[Verdict.UNDER_WAY]:
            return False
        if self.cut or verdicts[Verdict.STORED] or not verdicts[Verdict.COMPLETE]:
            return None
        return True

    @property
    def sentence(self) -> str:
        """Whether the night is complete, in words."""
        verdicts, marks = self.verdicts, self.marks
        night = f"The night of {self.date}" + (f", its newest {len(self.visits)} visits," * self.cut)
        exposures = len(self.visits) - verdicts[Verdict.NO_EXPOSURE]
        files = marks[Mark.INGESTED] + marks[Mark.CHANGED]
        stored = f"{counted(files, 'file')} of {counted(exposures, 'visit')}"
        if not exposures:
            text = f"{night} has no exposure so far"
        elif verdicts[Verdict.INCOMPLETE]:
            lacking = [f"{marks[mark]} {mark}" for mark in Mark if mark not in _GOOD and marks[mark]]
            wrong = f"{verdicts[Verdict.INCOMPLETE]} of {counted(exposures, 'visit')}"
            text = f"{night} is not complete: something is wrong with {wrong} ({', '.join(lacking)})"
        elif verdicts[Verdict.UNDER_WAY]:
            done = verdicts[Verdict.COMPLETE] + verdicts[Verdict.STORED]
            text = f"{night} is under way: {done} of {counted(exposures, 'visit')} stored, {files} files"
        elif verdicts[Verdict.STORED]:
            untold = counted(verdicts[Verdict.STORED], "visit")
            text = (
                f"{night}: all that came is in the repository, {stored};"
                f" of {untold} it is not known what was expected"
            )
        else:
            text = f"{night} is complete: all {stored} are in the repository"
        if alone := verdicts[Verdict.NO_EXPOSURE]:
            text += f"; {counted(alone, 'pfsConfig')} without raws, as after a convergence"
        return f"{text}."

    @property
    def warning(self) -> str:
        """What keeps the night from going on, in words; empty if nothing does."""
        if not self.paused:
            return ""
        why = f": {self.paused.reason}" if self.paused.reason else ""
        since = self.paused.at.astimezone(UTC)
        by = f"PAUSED by {self.paused.by} since {since:%Y-%m-%d %H:%M} UTC"
        return f"{by}{why}. Files wait until somebody resumes."

    def as_json(self) -> Mapping[str, object]:
        """Write it as values that JSON can hold, times as ISO 8601 in UTC."""
        return {
            "version": VERSION,
            "night": self.date.isoformat(),
            "at": _time(self.at),
            "complete": self.complete,
            "sentence": self.sentence,
            "cut": self.cut,
            "paused": self.paused
            and {"since": _time(self.paused.at), "by": self.paused.by, "reason": self.paused.reason},
            "visits": [
                {
                    "visit": visit.number,
                    "verdict": visit.verdict,
                    "expected": None if visit.expected is None else sorted(visit.expected),
                    "cells": {name: cell.mark for name, cell in sorted(visit.cells.items())},
                }
                for visit in self.visits
            ],
            "concerns": [
                {
                    "visit": concern.visit,
                    "name": concern.name,
                    "mark": concern.mark,
                    "code": concern.code,
                    "reason": concern.reason,
                    "path": concern.path,
                }
                for concern in self.concerns
            ],
            "slots": [
                {"begin": _time(slot.begin), "files": slot.files, "latency_seconds": slot.latency}
                for slot in self.slots
            ],
        }


def night_of(
    night: date,
    records: Iterable[FileRecord],
    now: datetime,
    *,
    configs_expected: bool = True,
    paused: Order | None = None,
) -> Night:
    """Put together what became of the visits of a night.

    Parameters
    ----------
    night : `~datetime.date`
        UTC date.
    records : `~collections.abc.Iterable` [`~pfs_ingestd.records.FileRecord`]
        All files of the visits of which any file is of that night; visits of another night are left out.
    now : `~datetime.datetime`
        The time.
    configs_expected : `bool`, optional
        Whether each visit has a pfsConfig.
    paused : `Order` or `None`, optional
        The pause that holds.
    """
    visits = [
        visit for visit in visits_of(records, now, configs_expected=configs_expected) if visit.night == night
    ]
    cut = len(visits) > MOST_VISITS
    visits = visits[-MOST_VISITS:]
    files = [record for visit in visits for record in visit.files]
    return Night(
        date=night,
        at=now,
        visits=visits,
        concerns=[concern for visit in visits for concern in _concerns(visit)],
        slots=_slots([record for record in files if record.state is State.INGESTED]),
        cut=cut,
        paused=paused,
    )


def _concerns(visit: Visit) -> Iterable[Concern]:
    for record in visit.files:
        mark = mark_of(record)
        if mark in _SETTLED:
            continue
        camera = f"{record.arm}{record.spectrograph}" if record.arm else ""
        name = CONFIG if record.kind is Kind.PFS_CONFIG else camera
        reason = record.changed or record.error or _REASONS.get(mark, "")
        yield Concern(visit.number, name, mark, record.code or "", reason, path_text(record.path))
    for name, cell in sorted(visit.cells.items()):
        if cell.mark is Mark.MISSING:
            yield Concern(visit.number, name, cell.mark, "", _REASONS[cell.mark], "")


def _slots(ingested: Sequence[FileRecord]) -> Sequence[Slot]:
    """Divide the time in which files were ingested into not too many slots."""
    if not ingested:
        return ()
    times = [record.updated.timestamp() for record in ingested]
    length = _SHORTEST_SLOT.total_seconds()
    first = math.floor(min(times) / length)
    # A backlog may have been taken in over days.
    length *= math.ceil((math.floor(max(times) / length) - first + 1) / _MOST_SLOTS)
    first = math.floor(min(times) / length)
    files = Counter(math.floor(time / length) for time in times)
    latencies: dict[int, list[float]] = {number: [] for number in files}
    for record, time in zip(ingested, times, strict=True):
        if record.live and record.kind is Kind.RAW and record.code is None:
            seconds = (record.updated - record.steady_since).total_seconds()
            latencies[math.floor(time / length)].append(max(seconds, 0.0))
    return [
        Slot(
            begin=datetime.fromtimestamp(number * length, UTC),
            length=timedelta(seconds=length),
            files=files[number],
            latency=round(median(values), 3) if (values := latencies.get(number)) else None,
        )
        for number in range(first, max(files) + 1)
    ]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
