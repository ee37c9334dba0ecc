"""What a person can do about each reason, and what a file waits for in each state."""

from collections.abc import Mapping

from pfs_ingestd.errors import Code
from pfs_ingestd.records import State

__all__ = ["ADVICE", "WAITS"]

_BY_ITSELF = "Nothing: it is tried again by itself."

ADVICE: Mapping[str, str] = {
    Code.ALREADY_THERE: "Nothing: it is a success.",
    Code.BAD_CARD: "Correct the header, retry.",
    Code.BAD_NAME: "Check path and command; raws and pfsConfigs have a command each.",
    Code.BAD_TABLE: "Deliver the file again.",
    Code.CONFLICT: "Compare the two; then skip this one, or replace the stored one by it; see Conflicts.",
    Code.DESIGN_CONFLICT: "Find out which is right; correct W_PFDSGN of the wrong file, retry.",
    Code.EXHAUSTED: "The text has the last failure. Cure it, retry.",
    Code.MISSING_CARD: "Supply it, retry.",
    Code.NAME_MISMATCH: "Rename the file, or correct its header and retry.",
    Code.NO_EXPOSURE: "Ingest a raw of the visit first.",
    Code.NOT_FITS: "If it was damaged on its way, deliver it again. If it has no business there, remove it.",
    Code.TRUNCATED: "See whether its writer still works. Once the file is whole, retry it. A ramp whose"
    " writer died gets in by a correction of the card that the text names.",
    Code.UNNAMEABLE: "Rename it.",
    Code.UNREADABLE: "Rights, disk, or the correction file that the text names; retry.",
    Code.WRONG_INSTRUMENT: "It is in the wrong folder; or register the camera with butler, or pfs-ingestd"
    " init on the repository.",
    Code.BUSY: _BY_ITSELF,
    Code.RACE: _BY_ITSELF,
    Code.STORE_FAILED: _BY_ITSELF,
    Code.INCOMPLETE: "Nothing: it is looked at again by itself.",
    Code.VANISHED: "If it should be there, deliver it again.",
}
"""What to do about each reason that a record can have, as `docs/operations.md` has it."""

WAITS: Mapping[State, str] = {
    State.SEEN: "its size and time to be at rest, and its structure to be complete",
    State.READY: "its turn: files that arrived just now first, then the newest visit",
    State.INGESTING: "the answer of the repository, or its copy or comparison if it is large",
    State.WAITING: "the exposure record of its visit: a pfsConfig that came before its raws",
    State.INGESTED: "nothing",
    State.ORPHANED: "nothing: no raw of its visit came; one would still wake it",
    State.REJECTED: "a person, or a change of the file",
    State.SKIPPED: "nothing: an operator does not want it",
    State.GONE: "nothing, unless it comes back",
}
"""What a file waits for in each state."""
