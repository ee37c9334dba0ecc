"""What is known of a file or a visit, from inbox, disk, repository and daemon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pfs_ingestd.audit.findings import Artifact, StoredDataset
from pfs_ingestd.board.visits import Visit
from pfs_ingestd.errors import IngestdError
from pfs_ingestd.history import Entry
from pfs_ingestd.records import FileRecord, Sighting, path_text

__all__ = ["DaemonFacts", "FileStory", "Look", "Stored", "Story", "VisitStory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the disk has of a file now.

    Parameters
    ----------
    sighting : `~pfs_ingestd.records.Sighting` or `None`
        The file; `None` if it is not there, or cannot be looked at.
    trouble : `str`
        Why it could not be looked at, if so.
    content : `str`
        What reading its structure and header gives; empty if it was not read.
    """

    sighting: Sighting | None = None
    trouble: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A dataset under the data ID of a file.

    Parameters
    ----------
    dataset : `~pfs_ingestd.audit.findings.StoredDataset`
        The dataset, and its artifact.
    bytes_equal : `bool` or `None`
        Whether the artifact has the bytes of the file; `None` if nobody compared them.
    """

    dataset: StoredDataset
    bytes_equal: bool | None = None

    def held_against(self, sighting: Sighting | None) -> str:
        """Say whether the artifact is there, and is a file."""
        artifact = self.dataset.artifact
        if artifact is None:
            return "the datastore knows of no artifact"
        if artifact.size is None:
            leads = f", it leads to {path_text(artifact.elsewhere)}" if artifact.elsewhere else ""
            return f"the artifact is missing{leads}"
        if sighting is None:
            return f"there, {artifact.size:,} bytes"
        return f"there, {self._compared(artifact, sighting)}"

    def _compared(self, artifact: Artifact, sighting: Sighting) -> str:
        if artifact.is_file(sighting):
            return "and is this very file"
        if self.bytes_equal is not None:
            return f"with {'the same' if self.bytes_equal else 'OTHER'} bytes as this file"
        if artifact.size != sighting.size:
            return f"with OTHER content: {artifact.size:,} bytes, this file has {sighting.size:,}"
        return "a copy of the same size (--checksum compares the bytes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStory:
    """What is known of one file.

    Parameters
    ----------
    path : `str`
        Its path, printable.
    record : `~pfs_ingestd.records.FileRecord` or `None`
        What the inbox knows; `None` if it does not know the file.
    history : `~collections.abc.Sequence` [`~pfs_ingestd.history.Entry`]
        What did not go smoothly, oldest first.
    look : `Look`
        What the disk has.
    stored : `~collections.abc.Sequence` [`Stored`]
        The datasets under its data ID.
    why_unknown : `~collections.abc.Sequence` [`str`]
        Why the inbox may not know it.
    """

    path: str
    record: FileRecord | None
    history: Sequence[Entry] = ()
    look: Look = field(default_factory=Look)
    stored: Sequence[Stored] = ()
    why_unknown: Sequence[str] = ()

    @property
    def differs(self) -> str:
        """How the file on disk differs from what its record speaks of; empty if it does not."""
        seen, record = self.look.sighting, self.record
        if seen is None or record is None or record.resembles(seen):
            return ""
        if seen.size != record.size:
            return f"{seen.size:,} bytes now"
        return "changed since: same size, another time or inode"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """How the daemon is.

    Parameters
    ----------
    alive : `bool`
        Whether one is at work.
    state, reason : `str`
        What its status says; empty if there is none.
    trouble : `str`
        Why nothing can be said of it.
    """

    alive: bool
    state: str = ""
    reason: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        if self.trouble:
            return f"unknown: {self.trouble}"
        if not self.alive:
            return f"not running{f' ({self.state})' if self.state in {'stopped', 'failed'} else ''}"
        return f"{self.state or 'at work'}{f': {self.reason}' if self.reason else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitStory:
    """What is known of a visit as a whole.

    Parameters
    ----------
    number : `int`
        Its number.
    visit : `~pfs_ingestd.board.visits.Visit` or `None`
        Its files by camera, and what is expected; `None` if the inbox knows none.
    exposure : `~collections.abc.Mapping` or `None`
        The record of the exposure in the registry; `None` if there is none, or nobody knows.
    unrecorded : `~collections.abc.Sequence` [`~pfs_ingestd.audit.findings.StoredDataset`]
        Its datasets that no record of the inbox speaks of.
    """

    number: int
    visit: Visit | None
    exposure: Mapping[str, object] | None = None
    unrecorded: Sequence[StoredDataset] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is known of what a person asked about.

    Parameters
    ----------
    files : `~collections.abc.Sequence` [`FileStory`]
        The files, one or those of the visit.
    visit : `VisitStory` or `None`
        The visit, if that was asked about.
    daemon : `DaemonFacts`
        How the daemon is.
    repository : `str`
        Where files are ingested to.
    repository_trouble : `~pfs_ingestd.errors.IngestdError` or `None`
        Why nothing can be said of what is stored.
    paused : `str`
        Who ordered a pause that holds, and why; empty if nobody did.
    """

    files: Sequence[FileStory]
    visit: VisitStory | None
    daemon: DaemonFacts
    repository: str
    repository_trouble: IngestdError | None = None
    paused: str = ""
