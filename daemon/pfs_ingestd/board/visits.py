"""A visit: its files, what is expected of it, and whether it is all there."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from pfs_ingestd.records import FileRecord, Kind, State

__all__ = ["CONFIG", "MISSING_AFTER", "Cell", "Mark", "Verdict", "Visit", "mark_of", "visits_of"]

CONFIG = Kind.PFS_CONFIG.value
"""What stands for the pfsConfig among the cameras of a visit."""

MISSING_AFTER = timedelta(minutes=30)
"""How long after the last file of a visit the others are still expected: twice the longest exposure, whose
ramps come after all other files."""


class Mark(StrEnum):
    """How one camera, or the pfsConfig, of a visit stands."""

    INGESTED = "ingested"  # in the repository
    CHANGED = "changed"  # likewise, but the file was changed afterwards
    PENDING = "pending"  # arrived; the daemon is at it
    WAITING = "waiting"  # a pfsConfig whose exposure has not come
    EXPECTED = "expected"  # not there yet
    MISSING = "missing"  # not there, and later than it should be
    REJECTED = "rejected"  # needs a person
    ORPHANED = "orphaned"  # a pfsConfig whose exposure never came
    SKIPPED = "skipped"  # left out by a person
    GONE = "gone"  # was there, and went away before it was ingested


class Verdict(StrEnum):
    """How a visit stands as a whole."""

    COMPLETE = "complete"  # all that is expected is in the repository
    STORED = "stored"  # all that came is in the repository; what was expected is not known
    UNDER_WAY = "under way"  # files are being ingested, or still expected
    INCOMPLETE = "incomplete"  # something will not come without a person
    NO_EXPOSURE = "no exposure"  # a pfsConfig without raws, as that of a convergence


# Of several files of one camera the one that got furthest stands for it.
_MARKS: Mapping[State, Mark] = {
    State.INGESTED: Mark.INGESTED,
    State.INGESTING: Mark.PENDING,
    State.READY: Mark.PENDING,
    State.SEEN: Mark.PENDING,
    State.WAITING: Mark.WAITING,
    State.REJECTED: Mark.REJECTED,
    State.ORPHANED: Mark.ORPHANED,
    State.SKIPPED: Mark.SKIPPED,
    State.GONE: Mark.GONE,
}
_RANKS = {state: rank for rank, state in enumerate(_MARKS)}

_STORED = frozenset({Mark.INGESTED, Mark.CHANGED})
_ON_THE_WAY = frozenset({Mark.PENDING, Mark.WAITING, Mark.EXPECTED})


@dataclass(frozen=True, slots=True)
class Cell:
    """One camera, or the pfsConfig, of a visit.

    Parameters
    ----------
    name : `str`
        The camera, such as ``b1``, or `CONFIG`.
    mark : `Mark`
        How it stands.
    record : `~pfs_ingestd.records.FileRecord` or `None`
        Its file, of several the one that got furthest; `None` if none came.
    """

    name: str
    mark: Mark
    record: FileRecord | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of one visit.

    Parameters
    ----------
    number : `int`
        Number of the visit.
    night : `~datetime.date`
        UTC date of its raws, or of its pfsConfig where there are none.
    expected : `frozenset` [`str`] or `None`
        The cameras that its pfsConfig names; `None` if it names none, or is not there.
    cells : `~collections.abc.Mapping` [`str`, `Cell`]
        What came or is expected, by name.
    verdict : `Verdict`
        How it stands as a whole.
    files : `~collections.abc.Sequence` [`~pfs_ingestd.records.FileRecord`]
        All its files.
    """

    number: int
    night: date
    expected: frozenset[str] | None
    cells: Mapping[str, Cell]
    verdict: Verdict
    files: Sequence[FileRecord]

    @property
    def arms(self) -> str:
        """The arms that came or are expected, such as ``brn``."""
        return "".join(arm for arm in "brmn" if any(name[0] == arm and name != CONFIG for name in self.cells))


def visits_of(
    records: Iterable[FileRecord], now: datetime, *, configs_expected: bool = True
) -> Sequence[Visit]:
    """Put files together to visits, in the order of their numbers.

    Parameters
    ----------
    records : `~collections.abc.Iterable` [`~pfs_ingestd.records.FileRecord`]
        All files of these visits.
    now : `~datetime.datetime`
        The time: what is expected becomes missing.
    configs_expected : `bool`, optional
        Whether each visit has a pfsConfig; not so where their folder is not watched.
    """
    files = defaultdict(list)
    for record in records:
        files[record.visit].append(record)
    return [_visit(number, files[number], now, configs_expected) for number in sorted(files)]


def mark_of(record: FileRecord) -> Mark:
    """Tell how a file stands."""
    mark = _MARKS[record.state]
    return Mark.CHANGED if mark is Mark.INGESTED and record.changed else mark


def _visit(number: int, files: Sequence[FileRecord], now: datetime, configs_expected: bool) -> Visit:  # noqa: FBT001 (passed on)
    cells: dict[str, Cell] = {}
    for record in sorted(files, key=lambda file: _RANKS[file.state]):
        # A raw whose name has a camera that does not exist belongs to the visit, but to none of its cells.
        if (name := _name(record)) and name not in cells:
            cells[name] = Cell(name, mark_of(record), record)
    raws = [record for record in files if record.kind is Kind.RAW]
    config = cells.get(CONFIG)
    expected = config.record.cameras if config and config.record else None
    if raws:
        late = now - max(record.steady_since for record in files) >= MISSING_AFTER
        wanted = (expected or frozenset()) | ({CONFIG} if configs_expected else set())
        for name in wanted - cells.keys():
            cells[name] = Cell(name, Mark.MISSING if late else Mark.EXPECTED)
    verdict = _verdict({cell.mark for cell in cells.values()}, expected, has_raws=bool(raws))
    return Visit(number, _night(raws or files), expected, cells, verdict, tuple(files))


def _name(record: FileRecord) -> str | None:
    if record.kind is Kind.PFS_CONFIG:
        return CONFIG
    return f"{record.arm}{record.spectrograph}" if record.arm else None


def _night(files: Sequence[FileRecord]) -> date:
    """Take the date that most files have, of two equally frequent ones the earlier."""
    votes = Counter(record.night for record in files)
    return min(votes, key=lambda night: (-votes[night], night))


def _verdict(marks: set[Mark], expected: frozenset[str] | None, *, has_raws: bool) -> Verdict:
    if not has_raws and marks <= {Mark.PENDING, Mark.WAITING, Mark.ORPHANED}:
        return Verdict.NO_EXPOSURE
    if marks - _STORED - _ON_THE_WAY:
        return Verdict.INCOMPLETE
    if marks & _ON_THE_WAY:
        return Verdict.UNDER_WAY
    return Verdict.STORED if expected is None else Verdict.COMPLETE
