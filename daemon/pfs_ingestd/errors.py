"""What can go wrong, sorted by what the loop does about it."""

from enum import IntEnum, StrEnum

__all__ = [
    "Code",
    "Contended",
    "ExitCode",
    "Fatal",
    "Incomplete",
    "IngestdError",
    "Interrupted",
    "Outage",
    "Rejected",
    "StaleRecord",
    "TryLater",
    "Vanished",
]


class Code(StrEnum):
    """The stable name of a reason; `docs/operations.md` explains each."""

    # Ingested, with a remark.
    ALREADY_THERE = "already_there"
    # Rejected: the file is bad.
    BAD_CARD = "bad_card"
    BAD_NAME = "bad_name"
    BAD_TABLE = "bad_table"
    CONFLICT = "conflict"
    DESIGN_CONFLICT = "design_conflict"
    EXHAUSTED = "exhausted"
    MISSING_CARD = "missing_card"
    NAME_MISMATCH = "name_mismatch"
    NOT_FITS = "not_fits"
    NO_EXPOSURE = "no_exposure"
    TRUNCATED = "truncated"
    UNNAMEABLE = "unnameable"
    UNREADABLE = "unreadable"
    WRONG_INSTRUMENT = "wrong_instrument"
    # TryLater: the next attempt may go better.
    BUSY = "busy"
    RACE = "race"
    STORE_FAILED = "store_failed"
    # Outage: nothing can be found or stored now, whatever the file.
    REPOSITORY_UNREACHABLE = "repository_unreachable"
    ROOT_UNREACHABLE = "root_unreachable"
    STATE_UNREACHABLE = "state_unreachable"
    CREDENTIALS_REFUSED = "credentials_refused"
    LEASE_LOST = "lease_lost"
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    # Incomplete and Vanished: the file is not, or no longer, all there.
    INCOMPLETE = "incomplete"
    VANISHED = "vanished"
    # Fatal: a person must change something before the daemon can run.
    CONFIGURATION = "configuration"
    REPOSITORY_UNSUITABLE = "repository_unsuitable"
    STATE_UNUSABLE = "state_unusable"
    ALREADY_RUNNING = "already_running"
    BUG = "bug"
    USAGE = "usage"
    # What a person asks about is known to nobody.
    UNKNOWN = "unknown"
    # StaleRecord: the record is read again.
    STALE = "stale"
    # A command cannot do to a file what it was asked to.
    BEING_INGESTED = "being_ingested"
    IN_REPOSITORY = "in_repository"
    NOT_IN_INBOX = "not_in_inbox"
    NOT_WATCHED = "not_watched"
    # A command wants something of a daemon.
    NOT_RUNNING = "not_running"
    NOT_PERMITTED = "not_permitted"
    NOT_HERE = "not_here"


class ExitCode(IntEnum):
    """How a command ends; systemd and scripts act on it."""

    DONE = 0
    SOME_REJECTED = 1
    USAGE = 2
    FAILED_FAST = 3
    BUG = 70
    TRY_AGAIN = 75
    CONFIGURATION = 78


class IngestdError(Exception):
    """Something went wrong, and this is what, where and what to do.

    Parameters
    ----------
    code : `Code`
        The stable name of the reason.
    message : `str`
        What happened and to what, for a person.
    hint : `str`, optional
        What the operator can do about it.
    """

    def __init__(self, code: Code, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class TryLater(IngestdError):
    """A passing fault: the attempt counts, and the file is tried again after a delay."""


class Contended(TryLater):
    """Another process holds the same rows, or was at them: the file is tried again, and not charged."""


class Outage(IngestdError):
    """The repository, the inbox or a watched root cannot be reached: no file is charged for it."""


class Rejected(IngestdError):
    """This file is bad: it is parked with the reason until a person or a change of the file wakes it."""


class Incomplete(IngestdError):
    """The file's structure does not (yet) reach the end that its headers announce."""


class Vanished(IngestdError):
    """The file is no longer where it was seen."""


class Fatal(IngestdError):
    """The daemon cannot go on: configuration, an unusable repository or state, or a bug."""


class StaleRecord(IngestdError):
    """A record was changed by someone else between being read and being replaced."""


class Interrupted(BaseException):
    """The daemon was asked to stop a while ago, and whatever it is still at has to be given up now."""
