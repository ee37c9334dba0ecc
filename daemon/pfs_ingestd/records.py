"""A file's record in the inbox, its states, and every legal move between them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pfs_ingestd.errors import Code, IngestdError

__all__ = [
    "MOVES",
    "PENDING",
    "FileName",
    "FileRecord",
    "IllegalMove",
    "Kind",
    "Sighting",
    "State",
    "path_text",
    "text_path",
]


class IllegalMove(ValueError):
    """A file cannot go from the state it is in to the state asked for."""


class Kind(StrEnum):
    """What a file's name says it is; the value is the dataset type's name."""

    RAW = "raw"
    PFS_CONFIG = "pfsConfig"


class State(StrEnum):
    """Where a file stands. Each comment: what the file waits for; who moves it on."""

    SEEN = "seen"  # to be at rest and complete; policy.notice
    READY = "ready"  # its turn, not before `not_before`; Ingester
    INGESTING = "ingesting"  # the repository's answer; Ingester, or recover() after a crash
    WAITING = "waiting"  # its exposure record; the visit's first raw, or policy.overdue -> orphaned
    INGESTED = "ingested"  # nothing; a later change of the file is flagged
    ORPHANED = "orphaned"  # nothing; the visit's first raw still wakes it
    REJECTED = "rejected"  # a person (`retry` or `skip`), or a change of the file
    SKIPPED = "skipped"  # nothing: a person does not want it; a change of the file makes it another
    GONE = "gone"  # nothing, unless the file comes back; policy.notice


MOVES: Mapping[State, frozenset[State]] = {
    State.SEEN: frozenset(
        {State.SEEN, State.READY, State.INGESTED, State.REJECTED, State.SKIPPED, State.GONE}
    ),
    State.READY: frozenset({State.SEEN, State.INGESTING, State.SKIPPED, State.GONE}),
    State.INGESTING: frozenset(
        {State.SEEN, State.READY, State.WAITING, State.INGESTED, State.REJECTED, State.GONE}
    ),
    State.WAITING: frozenset({State.SEEN, State.READY, State.ORPHANED, State.SKIPPED, State.GONE}),
    State.INGESTED: frozenset({State.SEEN, State.INGESTED}),
    State.ORPHANED: frozenset({State.SEEN, State.READY, State.SKIPPED, State.GONE}),
    State.REJECTED: frozenset({State.SEEN, State.SKIPPED, State.GONE}),
    State.SKIPPED: frozenset({State.SEEN, State.SKIPPED, State.GONE}),
    State.GONE: frozenset({State.SEEN}),
}

_EPOCH = date(1970, 1, 1)
_NS_PER_DAY = 86_400 * 10**9
_LAST_DAY = (date.max - _EPOCH).days

_ALREADY_THERE = "the repository had these bytes already"

PENDING = frozenset({State.SEEN, State.READY, State.INGESTING})
"""The states in which the daemon itself still owes the file something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """What the name of one of our files says.

    Parameters
    ----------
    kind : `Kind`
        Raw exposure or pfsConfig.
    visit : `int`
        Number of the visit, which Butler calls exposure.
    arm : `str` or `None`
        One of ``b r n m``; `None` for a pfsConfig, and for a raw whose name has a camera that does not exist.
    spectrograph : `int` or `None`
        1 to 4; `None` as for the arm.
    pfs_design_id : `int` or `None`
        The design a pfsConfig is named after, where its name says so.
    """

    kind: Kind
    visit: int
    arm: str | None = None
    spectrograph: int | None = None
    pfs_design_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One of our files as one look at the folder found it.

    Parameters
    ----------
    path : `~pathlib.Path`
        Absolute path.
    name : `FileName`
        What its name says.
    size : `int`
        Bytes.
    mtime_ns, ctime_ns : `int`
        Time of the last change of content and of the inode, nanoseconds since 1970, by the clock of the
        file server.
    inode : `int`
        Number of the inode.
    """

    path: Path
    name: FileName
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def night(self) -> date:
        """The UTC date of the last change of content, as near as there is a date."""
        day = self.mtime_ns // _NS_PER_DAY
        return _EPOCH + timedelta(days=min(max(day, 0), _LAST_DAY))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What the inbox knows of one file. Replaced, never changed.

    Parameters
    ----------
    path : `~pathlib.Path`
        Absolute path.
    kind, visit, arm, spectrograph
        What the name says; see `FileName`.
    size, mtime_ns, inode : `int`
        The content that the record speaks of: a file of which one differs is another file.
    night : `~datetime.date`
        UTC date on which the exposure began, as its header says; of other files, and until the header has
        been read, that of the last change of content.
    steady_since : `~datetime.datetime`
        When this content was first seen, by our clock: the file's arrival.
    first_seen, updated : `~datetime.datetime`
        When the path was first seen, and the record last changed.
    live : `bool`
        Whether the file arrived under our eyes; live files are claimed before a backlog.
    state : `State`
        Where it stands.
    attempts : `int`
        How many times it was claimed for ingestion and charged for it.
    not_before : `~datetime.datetime` or `None`
        When it may next be looked at (seen), claimed (ready) or is given up (waiting); `None`: at once.
    code, error : `str` or `None`
        Why it last failed: the stable code, and the sentence for a person.
    dataset_id : `str` or `None`
        UUID of the dataset, once ingested.
    changed : `str` or `None`
        What changed in the file after it was ingested.
    cameras : `frozenset` [`str`] or `None`
        The cameras that a pfsConfig says are expected for its visit, such as ``b1``; `None` if it does not.
    """

    path: Path
    kind: Kind
    visit: int
    arm: str | None
    spectrograph: int | None
    size: int
    mtime_ns: int
    inode: int
    night: date
    steady_since: datetime
    first_seen: datetime
    updated: datetime
    live: bool = False
    state: State = State.SEEN
    attempts: int = 0
    not_before: datetime | None = None
    code: str | None = None
    error: str | None = None
    dataset_id: str | None = None
    changed: str | None = None
    cameras: frozenset[str] | None = None

    @classmethod
    def of(cls, sighting: Sighting, now: datetime, **facts: Any) -> Self:
        """Begin with what the first sighting of a path shows, and with what is known of it besides."""
        name = sighting.name
        return cls(
            path=sighting.path,
            kind=name.kind,
            visit=name.visit,
            arm=name.arm,
            spectrograph=name.spectrograph,
            size=sighting.size,
            mtime_ns=sighting.mtime_ns,
            inode=sighting.inode,
            night=sighting.night,
            steady_since=now,
            first_seen=now,
            updated=now,
            **facts,
        )

    @classmethod
    def of_artifact(cls, sighting: Sighting, dataset_id: str, now: datetime) -> Self:
        """Begin as a file that is in the repository already; see `found`."""
        # At once, and not by way of being seen: there may be half a million.
        return cls.of(sighting, now, state=State.INGESTED, **_of_artifact(dataset_id))

    def to(self, state: State, now: datetime, **changes: Any) -> Self:
        """Move to another state, if the table of moves allows it, and change something with it.

        Raises
        ------
        IllegalMove
            If there is no such move.
        """
        if state not in MOVES[self.state]:
            raise IllegalMove(f"a file cannot go from {self.state} to {state}: {self.path}")
        return replace(self, state=state, updated=now, **changes)

    def resembles(self, sighting: Sighting) -> bool:
        """Say whether a sighting shows the content that this record speaks of."""
        return (self.size, self.mtime_ns, self.inode) == (sighting.size, sighting.mtime_ns, sighting.inode)

    def looked_at(self, *, again: datetime, error: IngestdError | None, now: datetime) -> Self:
        """Stay seen: it is not at rest, or not complete, and is looked at again later."""
        return self.to(
            State.SEEN,
            now,
            not_before=again,
            code=error.code if error else None,
            error=str(error) if error else None,
        )

    def ready(self, now: datetime) -> Self:
        """Be ready to be claimed at once, with a clean slate of reasons."""
        return self.to(State.READY, now, not_before=None, code=None, error=None)

    def claimed(self, now: datetime) -> Self:
        """Be claimed. The attempt counts from its start: a file that kills the process is counted too."""
        return self.to(State.INGESTING, now, attempts=self.attempts + 1)

    def put_back(self, now: datetime) -> Self:
        """Return to the queue without being charged for the attempt."""
        return self.to(State.READY, now, attempts=self.attempts - 1)

    def postponed(self, *, until: datetime, error: IngestdError, now: datetime) -> Self:
        """Return to the queue for another attempt later."""
        return self.to(State.READY, now, not_before=until, code=error.code, error=str(error))

    def waiting(self, *, until: datetime, error: IngestdError, now: datetime) -> Self:
        """Wait for another file, until it is given up; the attempt is not charged."""
        return self.to(
            State.WAITING,
            now,
            attempts=self.attempts - 1,
            not_before=until,
            code=error.code,
            error=str(error),
        )

    def ingested(self, dataset_id: str, *, already: bool, now: datetime) -> Self:
        """Be in the repository, which may have had the same bytes already."""
        return self.to(
            State.INGESTED,
            now,
            dataset_id=dataset_id,
            not_before=None,
            code=Code.ALREADY_THERE if already else None,
            error=_ALREADY_THERE if already else None,
            changed=None,
        )

    def found(self, dataset_id: str, now: datetime) -> Self:
        """Be in the repository already, as this very file: one of an archive, whenever it was linked here."""
        return self.to(State.INGESTED, now, not_before=None, **_of_artifact(dataset_id))

    def orphaned(self, now: datetime) -> Self:
        """Stop expecting the file that it waited for; that file would still wake it."""
        return self.to(State.ORPHANED, now, not_before=None)

    def rejected(self, error: IngestdError, now: datetime) -> Self:
        """Be parked until a person or a change of the file wakes it."""
        return self.to(State.REJECTED, now, not_before=None, code=error.code, error=str(error))

    def skipped(self, now: datetime) -> Self:
        """Be left out because a person wants it so; what was wrong with it stays on the record."""
        return self.to(State.SKIPPED, now, not_before=None)

    def vanished(self, now: datetime) -> Self:
        """Be gone from the folder before it could be ingested."""
        return self.to(State.GONE, now, not_before=None, code=Code.VANISHED, error=None)

    def retried(self, now: datetime) -> Self:
        """Start again from the beginning, with all attempts, because a person asked."""
        return self.to(
            State.SEEN,
            now,
            attempts=0,
            not_before=None,
            code=None,
            error=None,
            dataset_id=None,
            changed=None,
        )

    def changed_into(self, sighting: Sighting, *, again: datetime | None, now: datetime) -> Self:
        """Start again from the beginning with other content."""
        return self.to(
            State.SEEN,
            now,
            size=sighting.size,
            mtime_ns=sighting.mtime_ns,
            inode=sighting.inode,
            night=sighting.night,
            steady_since=now,
            attempts=0,
            not_before=again,
            code=None,
            error=None,
            dataset_id=None,
            cameras=None,
        )

    def flagged(self, what: str, now: datetime) -> Self:
        """Stay ingested, with a note that the file is no longer what was ingested."""
        return self.to(State.INGESTED, now, changed=what)


def _of_artifact(dataset_id: str) -> Mapping[str, Any]:
    return {
        "live": False,
        "dataset_id": dataset_id,
        "code": Code.ALREADY_THERE,
        "error": _ALREADY_THERE,
    }


_AWKWARD = re.compile("[\x00-\x1f\x7f\udc80-\udcff\\\\]")
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")


def path_text(path: Path | str) -> str:
    r"""Write a path, or a name, as one line of text that every database, log and terminal can hold.

    Control characters and bytes that are not UTF-8 become ``\xNN``, a backslash becomes two; any other path
    is left as it is. `text_path` is the way back.
    """
    return _AWKWARD.sub(_escaped, os.fspath(path))


def text_path(text: str) -> Path:
    """Read back what `path_text` wrote."""
    return Path(_ESCAPE.sub(lambda match: _unescaped(match[1]), text))


def _escaped(match: re.Match[str]) -> str:
    if match[0] == "\\":
        return "\\\\"
    return f"\\x{ord(match[0]) & 0xFF:02x}"


def _unescaped(escape: str) -> str:
    if escape == "\\":
        return escape
    return os.fsdecode(bytes([int(escape[1:], 16)]))
