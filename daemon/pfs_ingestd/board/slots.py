"""What a row of the board shows of a visit, and in which letters."""

from collections.abc import Mapping, Sequence

from pfs_ingestd.board.visits import CONFIG, Mark, Visit

__all__ = ["LETTERS", "MEANINGS", "SLOTS", "slot_mark"]

SLOTS: Sequence[tuple[str, Sequence[str]]] = (
    (CONFIG, (CONFIG,)),
    *(
        (f"{arms[0]}{spectrograph}", tuple(f"{arm}{spectrograph}" for arm in arms))
        for spectrograph in (1, 2, 3, 4)
        for arms in ("b", "rm", "n")
    ),
)
"""What a row of the board shows of a visit: r and m are one camera, of which a visit has one or the other."""

LETTERS: Mapping[Mark, str] = {
    Mark.INGESTED: "I",
    Mark.PENDING: "P",
    Mark.WAITING: "W",
    Mark.EXPECTED: "E",
    Mark.MISSING: "M",
    Mark.REJECTED: "R",
    Mark.CHANGED: "C",
    Mark.GONE: "G",
    Mark.SKIPPED: "S",
    Mark.ORPHANED: "O",
}
"""What stands for a mark where there is room for a letter: no colour is needed to read the board."""

MEANINGS: Mapping[Mark, str] = {
    Mark.INGESTED: "ingested",
    Mark.PENDING: "pending",
    Mark.WAITING: "waits for a raw",
    Mark.EXPECTED: "expected",
    Mark.MISSING: "missing",
    Mark.REJECTED: "rejected",
    Mark.CHANGED: "changed since",
    Mark.GONE: "gone",
    Mark.SKIPPED: "skipped",
    Mark.ORPHANED: "no raw came",
}
"""The words of the legend."""

# Of the two cameras in one slot the more alarming is shown.
_ALARM = {mark: rank for rank, mark in enumerate(Mark)}


def slot_mark(visit: Visit, names: Sequence[str]) -> Mark | None:
    """Tell what a slot of a visit's row shows; `None` if nothing came and nothing is expected."""
    marks = [visit.cells[name].mark for name in names if name in visit.cells]
    return max(marks, key=_ALARM.__getitem__, default=None)
