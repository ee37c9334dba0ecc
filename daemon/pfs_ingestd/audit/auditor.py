"""Disk, inbox, registry and datastore, gone through together in portions of bounded size."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from pfs_ingestd.audit.findings import (
    DataId,
    Fault,
    File,
    Finding,
    Remove,
    StoredDataset,
    Stray,
    StrayObject,
    Sweep,
)
from pfs_ingestd.audit.judgement import Comparison, Scene, comparisons, differing_datasets, differing_files
from pfs_ingestd.errors import Code, IngestdError, Outage, TryLater
from pfs_ingestd.ports import Folder, FolderMark
from pfs_ingestd.records import FileName, FileRecord, State, path_text

__all__ = ["Auditor", "Inventory", "Ledger", "Tell"]

VISITS = 200
"""How many visits are looked at together: some 2400 datasets."""

FILES = 1000
"""How many files that the inbox does not know are looked at together."""

Tell: TypeAlias = Callable[[str, int], None]
"""Told of what the audit is at, and how many more of it are done."""

_T = TypeVar("_T")


class Ledger(Protocol):
    """The inbox, as far as an audit reads it."""

    def visits(self, after: int, limit: int) -> Sequence[int]:
        """Get the lowest visits above one of which there are records, ascending."""

    def select(self, *, visits: Collection[int]) -> Iterator[FileRecord]:
        """Go through the records of some visits."""

    def find(self, paths: Collection[Path]) -> Mapping[Path, FileRecord]:
        """Get the records of some paths, where there are any."""

    def names(self, folder: Path) -> Mapping[str, State]:
        """Get the names known directly in a folder, and their states."""

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders."""


class Inventory(Protocol):
    """The repository, as far as an audit reads it."""

    def check(self) -> None:
        """See that the datastore is there.

        Raises
        ------
        Outage
            If it is not.
        """

    def visits(self, after: int, limit: int) -> Sequence[int]:
        """Get the lowest visits above one that are registered, ascending."""

    def exposures(self, visits: Collection[int]) -> Collection[int]:
        """Tell which of some visits are registered."""

    def datasets(self, visits: Collection[int]) -> Sequence[StoredDataset]:
        """Get all raws and pfsConfigs of some visits, and look at their artifacts."""

    def holds(self, dataset: StoredDataset, path: Path) -> bool | None:
        """Compare the bytes of a dataset with those of a file; `None` if one of them cannot be read."""

    def strays(self, tell: Callable[[int], None]) -> Iterator[Stray | StrayObject]:
        """Find what lies among the artifacts and is of no dataset, once all of these were gone through."""

    def is_copy(self, stray: Stray, path: Path) -> bool:
        """Say whether a stray is, leads to, or has the same bytes as a file."""

    def abandoned(self) -> Sequence[Path]:
        """Find the folders of those who died while they copied."""


class Auditor:
    """Finds out where disk, inbox, registry and datastore differ; changes nothing.

    Parameters
    ----------
    roots : `~collections.abc.Sequence` [`~pathlib.Path`]
        The watched folders.
    folder : `~pfs_ingestd.ports.Folder`
        Looks at them.
    parse : `~collections.abc.Callable`
        Reads a file's name; `None` if it is not one of ours.
    inbox : `Ledger`
        What is known of the files.
    inventory : `Inventory`
        What the repository has.
    scene : `Scene`
        What else there is to know.
    first : `int` or `None`
        The lowest visit to be looked at; `None`: all of them, and what belongs to no visit.

    Attributes
    ----------
    counts : `~collections.Counter` [`str`]
        How many ``files`` and ``datasets`` were looked at, how many of the datasets are ``unrecorded``:
        without a record, as they are when they were ingested by command.
    """

    def __init__(
        self,
        *,
        roots: Sequence[Path],
        folder: Folder,
        parse: Callable[[str], FileName | None],
        inbox: Ledger,
        inventory: Inventory,
        scene: Scene,
        first: int | None,
    ) -> None:
        self._roots = roots
        self._folder = folder
        self._parse = parse
        self._inbox = inbox
        self._inventory = inventory
        self._scene = scene
        self._first = first
        self.counts: Counter[str] = Counter(files=0, datasets=0, unrecorded=0)

    def findings(self, tell: Tell) -> Iterator[Sequence[Finding]]:
        """Find the differences, some at a time; what is done about them meanwhile does no harm.

        What differs at a first look is looked at once more before it is told: somebody may have been at work
        between the look at the one side and that at the other.

        Raises
        ------
        Outage
            If a watched folder or the repository is not there.
        """
        self._check_roots()
        self._inventory.check()
        # First, for whoever opens the repository to write to it removes them.
        yield [_of_abandoned(folder) for folder in self._inventory.abandoned()]
        suspects: set[int] = set()
        for visits in self._visits():
            found = self._judged(visits, tell, first_look=True)
            suspects.update(finding.visit for finding in found if finding.visit is not None)
        for visits in _portions(sorted(suspects), VISITS):
            self._check_roots()
            self._inventory.check()
            yield self._judged(visits, tell)
        for paths in _portions(self._unknown(tell), FILES):
            yield self._judged_unknown(paths)
        yield [_unlisted(path, error) for path, error in self._folder.problems().items()]
        if self._first is None:
            for stray in self._inventory.strays(lambda artifacts: tell("artifacts", artifacts)):
                yield [self._of_stray(stray)]

    def _check_roots(self) -> None:
        """See that no watched folder is the empty one that a disk is to be mounted on."""
        for root in self._roots:
            try:
                empty = next(root.iterdir(), None) is None
            except OSError as error:
                raise _away(root, f"it cannot be read: {error.strerror}") from error
            if empty and any(root in folder.parents for folder in self._inbox.marks()):
                raise _away(root, "it is empty, and the daemon has seen folders in it")

    def _visits(self) -> Iterator[Sequence[int]]:
        """Go through the visits of inbox and registry together, ascending."""
        last = -1 if self._first is None else self._first - 1
        while True:
            pages = [self._inbox.visits(last, VISITS), self._inventory.visits(last, VISITS)]
            visits = sorted({visit for page in pages for visit in page})
            if not visits:
                return
            # Beyond the end of a full page there may be more of that side.
            last = min([page[-1] for page in pages if len(page) == VISITS], default=visits[-1])
            yield [visit for visit in visits if visit <= last]

    def _judged(self, visits: Sequence[int], tell: Tell, *, first_look: bool = False) -> Sequence[Finding]:
        """Judge the known files and the datasets of some visits."""
        files = [
            self._look(record.path, _data_id(record), record)
            for record in self._inbox.select(visits=visits)
            # A file that came back is a new one, and found as such.
            if record.state is not State.GONE
        ]
        datasets = self._inventory.datasets(visits)
        exposures = self._inventory.exposures(visits)
        same = self._compare(files, datasets)
        if first_look:
            ingested = {file.record.dataset_id for file in files if file.record}
            self.counts["files"] += len(files)
            self.counts["datasets"] += len(datasets)
            self.counts["unrecorded"] += sum(dataset.id not in ingested for dataset in datasets)
            tell("visits", len(visits))
        return [
            *differing_files(files, datasets, same, exposures=exposures, scene=self._scene),
            *differing_datasets(files, datasets, same, scene=self._scene),
        ]

    def _unknown(self, tell: Tell) -> Iterator[Path]:
        """Find the files that the inbox does not know."""
        for listing in self._folder.scan({}):
            if listing is None:
                continue
            folder = listing.mark.folder
            known = self._inbox.names(folder)
            tell("folders", 1)
            for name in sorted(listing.names):
                if known.get(name, State.GONE) is State.GONE and self._is_wanted(name):
                    yield folder / name

    def _is_wanted(self, name: str) -> bool:
        parsed = self._parse(name)
        return parsed is not None and (self._first is None or parsed.visit >= self._first)

    def _judged_unknown(self, paths: Sequence[Path]) -> Sequence[Finding]:
        """Judge files that the inbox did not know a moment ago."""
        records = self._inbox.find(paths)
        files = []
        for path in paths:
            record, name = records.get(path), self._parse(path.name)
            if name is not None and (record is None or record.state is State.GONE):
                data_id = (name.visit, name.kind, name.arm, name.spectrograph)
                files.append(self._look(path, data_id, record))
        self.counts["files"] += len(files)
        datasets = self._inventory.datasets({file.data_id[0] for file in files})
        same = self._compare(files, datasets)
        return list(differing_files(files, datasets, same, exposures=(), scene=self._scene))

    def _look(self, path: Path, data_id: DataId, record: FileRecord | None) -> File:
        try:
            sighting = self._folder.look(path)
        except TryLater as error:
            return File(path=path, data_id=data_id, record=record, trouble=error.message)
        return File(path=path, data_id=data_id, record=record, sighting=sighting)

    def _compare(self, files: Sequence[File], datasets: Sequence[StoredDataset]) -> Mapping[Comparison, bool]:
        by_id = {dataset.id: dataset for dataset in datasets}
        answers = {
            (known, path): self._inventory.holds(by_id[known], path)
            for known, path in comparisons(files, datasets, self._scene)
        }
        return {asked: answer for asked, answer in answers.items() if answer is not None}

    def _of_stray(self, stray: Stray | StrayObject) -> Finding:
        """Judge what lies in the datastore without a dataset, by the files of the visit that it names."""
        if isinstance(stray, StrayObject):
            return Finding(
                fault=Fault.STRAY,
                where=stray.where,
                why="no dataset has it",
                advice="look at it, it may be the only copy there is; remove it with the store's own tools",
            )
        source = None
        if stray.visit is not None:
            paths = (record.path for record in self._inbox.select(visits=[stray.visit]))
            source = next((path for path in paths if self._inventory.is_copy(stray, path)), None)
        return Finding(
            fault=Fault.STRAY,
            visit=stray.visit,
            path=stray.path,
            why=f"no dataset has it; it is a copy of {path_text(source)}"
            if source
            else "no dataset has it, and no watched file has its bytes",
            advice="it can be removed" if source else "look at it; it may be the only copy of something",
            remedy=Remove(stray, source) if source else None,
        )


def _data_id(record: FileRecord) -> DataId:
    return record.visit, record.kind, record.arm, record.spectrograph


def _unlisted(path: Path, error: IngestdError) -> Finding:
    return Finding(fault=Fault.UNREADABLE, path=path, why=error.message, advice=error.hint)


def _of_abandoned(folder: Path) -> Finding:
    return Finding(
        fault=Fault.STRAY,
        path=folder,
        why="it holds copies of a process that died",
        advice="the next start of the daemon removes it",
        remedy=Sweep(folder),
    )


def _away(root: Path, reason: str) -> Outage:
    return Outage(
        Code.ROOT_UNREACHABLE,
        f"{path_text(root)}: {reason}",
        hint="mount it first; if it was emptied on purpose, make an empty folder in it",
    )


def _portions(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion
