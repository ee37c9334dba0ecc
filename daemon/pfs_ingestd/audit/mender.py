"""Remedies, applied: each in one transaction, and only to what is still as it was found."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pfs_ingestd.audit.findings import Finding, Move, Remedy, Remove, Restore, Stray, Sweep
from pfs_ingestd.errors import Code, Fatal, IngestdError, Outage, TryLater
from pfs_ingestd.ports import Dataset, Folder, Headers, Repository, Stored
from pfs_ingestd.records import FileRecord, path_text

__all__ = ["Mender", "Register", "Shelves"]


class Register(Protocol):
    """The inbox, as far as a repair writes to it."""

    def add(self, records: Sequence[FileRecord]) -> None:
        """Insert records of paths that have none; raise `StaleRecord` if one has."""

    def replace(self, changes: Sequence[tuple[FileRecord, FileRecord]]) -> None:
        """Replace old records by new ones, if they are still the old ones; else raise `StaleRecord`."""


class Shelves(Protocol):
    """The datastore, as far as a repair removes something from it."""

    def remove(self, stray: Stray, source: Path) -> None:
        """Remove a stray that has the bytes of a file.

        Raises
        ------
        TryLater
            If it is not a stray any more, or another file, or not long enough there.
        """

    def sweep(self, folder: Path) -> None:
        """Remove the copies of a process that died."""


class Mender:
    """Does what can be done about a finding without a person.

    Parameters
    ----------
    inbox : `Register`
        Where files are queued.
    shelves : `Shelves`
        Where strays are removed.
    folder : `~pfs_ingestd.ports.Folder`
        Looks at files again.
    headers : `~pfs_ingestd.ports.Headers`
        Reads what is to be stored again.
    repository : `~pfs_ingestd.ports.Repository`
        Stores it.
    """

    def __init__(
        self, *, inbox: Register, shelves: Shelves, folder: Folder, headers: Headers, repository: Repository
    ) -> None:
        self._inbox = inbox
        self._shelves = shelves
        self._folder = folder
        self._headers = headers
        self._repository = repository

    def mend(self, finding: Finding) -> Finding:
        """Apply a finding's remedy, if it has one; say what was done, or why nothing was.

        Raises
        ------
        Outage
            If inbox, folders or repository cannot be reached.
        """
        try:
            mended = self._apply(finding.remedy)
        except (Outage, Fatal):
            raise
        except IngestdError as error:
            return replace(finding, advice=f"nothing was done: {error}")
        return replace(finding, mended=mended)

    def _apply(self, remedy: Remedy | None) -> str:
        match remedy:
            case Move(old, new, what):
                if old is None:
                    self._inbox.add([new])
                else:
                    self._inbox.replace([(old, new)])
                return what
            case Restore(record, dataset_id):
                self._restore(record, dataset_id)
                return "stored again"
            case Remove(stray, source):
                self._shelves.remove(stray, source)
                return "removed"
            case Sweep(folder):
                self._shelves.sweep(folder)
                return "removed"
            case None:
                return ""

    def _restore(self, record: FileRecord, dataset_id: str) -> None:
        """Store a file as the dataset that it was stored as before."""
        sighting = self._folder.look(record.path)
        if sighting is None or (record.size, record.mtime_ns) != (sighting.size, sighting.mtime_ns):
            raise TryLater(Code.RACE, f"{path_text(record.path)} changed meanwhile")
        [header] = self._headers.read([sighting])
        if isinstance(header, IngestdError):
            raise header
        [outcome] = self._repository.ingest([], [Dataset(record.path, header, sighting)])
        if outcome.result not in {Stored.STORED, Stored.ALREADY_THERE} or outcome.dataset_id != dataset_id:
            raise TryLater(Code.RACE, f"the repository answers: {outcome.result}")
