"""What an audit looks at, and what it has to say of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from pfs_ingestd.records import FileRecord, Kind, Sighting, path_text

__all__ = [
    "Artifact",
    "DataId",
    "Fault",
    "File",
    "Finding",
    "Move",
    "Remedy",
    "Remove",
    "Restore",
    "StoredDataset",
    "Stray",
    "Sweep",
]

DataId: TypeAlias = tuple[int, Kind, str | None, int | None]
"""What a file's name says which dataset it is: visit, dataset type, arm, spectrograph."""


class Fault(StrEnum):
    """The stable name of a difference; `docs/operations.md` explains each."""

    UNKNOWN = "unknown"  # a file that is neither in the inbox nor stored
    UNREADABLE = "unreadable"  # a file or folder that cannot be looked at
    CHANGED = "changed"  # a file that is not what was ingested any more
    STUCK = "stuck"  # a record that does not move on
    UNREGISTERED = "unregistered"  # a record that says ingested, of a dataset that the registry does not have
    MISSING = "missing"  # a dataset without an artifact
    DANGLING = "dangling"  # a dataset whose artifact is elsewhere, and not there any more
    ALTERED = "altered"  # a dataset whose artifact is not what was stored
    STRAY = "stray"  # an artifact of no dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The artifact of a dataset, as one look at the datastore found it.

    Parameters
    ----------
    where : `str`
        Its URI.
    elsewhere : `~pathlib.Path` or `None`
        The file that it leads to or is, where that is not the datastore's own.
    size : `int` or `None`
        Bytes; `None` if there is nothing.
    mtime_ns, inode : `int` or `None`
        See `~pfs_ingestd.records.Sighting`; `None` in a datastore that is not a folder, too.
    """

    where: str
    elsewhere: Path | None
    size: int | None
    mtime_ns: int | None = None
    inode: int | None = None

    def is_file(self, sighting: Sighting) -> bool:
        """Say whether it is that very file: hard link, symbolic link, or stored in place."""
        return (self.size, self.mtime_ns, self.inode) == (sighting.size, sighting.mtime_ns, sighting.inode)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDataset:
    """A raw or pfsConfig in the registry.

    Parameters
    ----------
    id : `str`
        UUID.
    kind : `~pfs_ingestd.records.Kind`
        Its dataset type.
    visit : `int`
        Number of its exposure.
    arm, spectrograph
        Its camera; `None` for a pfsConfig.
    run : `str`
        Its RUN collection.
    usual : `bool`
        Whether files are ingested into that collection.
    artifact : `Artifact` or `None`
        `None` if the datastore knows of none.
    """

    id: str
    kind: Kind
    visit: int
    arm: str | None
    spectrograph: int | None
    run: str
    usual: bool
    artifact: Artifact | None

    @property
    def data_id(self) -> DataId:
        """What identifies it within a RUN collection."""
        return self.visit, self.kind, self.arm, self.spectrograph

    def __str__(self) -> str:
        camera = f" {self.arm}{self.spectrograph}" if self.arm else ""
        return f"{self.kind} {self.visit}{camera} in {self.run}"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, and what is known of it.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it is, or was.
    data_id : `DataId`
        What its name says that it is.
    record : `~pfs_ingestd.records.FileRecord` or `None`
        What the inbox knows of it.
    sighting : `~pfs_ingestd.records.Sighting` or `None`
        What a look at it found; `None` if it is not there.
    trouble : `str`
        Why it could not be looked at, if so.
    """

    path: Path
    data_id: DataId
    record: FileRecord | None = None
    sighting: Sighting | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayObject:
    """An object in a remote datastore that no dataset has for its artifact.

    Parameters
    ----------
    where : `str`
        Its URI.
    """

    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A file in the datastore that no dataset has for its artifact.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it is.
    stamp : `tuple` [`int`, ...]
        Device, inode, size and time of change, by which it is known again.
    visit : `int` or `None`
        Of which visit it says it is; `None` if it does not say.
    """

    path: Path
    stamp: tuple[int, ...]
    visit: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the inbox.

    Parameters
    ----------
    old : `~pfs_ingestd.records.FileRecord` or `None`
        What the record has to be still; `None`: there is none.
    new : `~pfs_ingestd.records.FileRecord`
        What it becomes.
    what : `str`
        What that means, for a person.
    """

    old: FileRecord | None
    new: FileRecord
    what: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Making a dataset's artifact anew.

    Parameters
    ----------
    record : `~pfs_ingestd.records.FileRecord`
        The record of the file that it was made from.
    dataset_id : `str`
        UUID of the dataset, which it keeps.
    """

    record: FileRecord
    dataset_id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Removing a stray.

    Parameters
    ----------
    stray : `Stray`
        What is removed.
    source : `~pathlib.Path`
        The file that has the same bytes, and stays.
    """

    stray: Stray
    source: Path


@dataclass(frozen=True, slots=True)
class Sweep:
    """Removing the copies of a process that died while it copied.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where they are.
    """

    folder: Path


Remedy: TypeAlias = Move | Restore | Remove | Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference.

    Parameters
    ----------
    fault : `Fault`
        Its kind.
    visit : `int` or `None`
        The visit that it belongs to, if to any.
    path : `~pathlib.Path` or `None`
        The file that it is about.
    dataset : `StoredDataset` or `None`
        The dataset that it is about.
    where : `str`
        URI of what it is about, where that is neither.
    why : `str`
        What differs, for a person.
    advice : `str`
        What a person can do about it, where no remedy is safe or none was applied.
    remedy : `Remedy` or `None`
        What can be done about it without a person, if anything.
    mended : `str`
        What was done about it.
    """

    fault: Fault
    visit: int | None = None
    path: Path | None = None
    dataset: StoredDataset | None = None
    where: str = ""
    why: str
    advice: str
    remedy: Remedy | None = None
    mended: str = ""

    @property
    def subject(self) -> str:
        """What it is about, on one line."""
        return self.where or (path_text(self.path) if self.path else str(self.dataset))
