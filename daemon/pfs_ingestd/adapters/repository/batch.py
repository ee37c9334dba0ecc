"""One transaction: exposures registered, datasets stored, or nothing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from lsst.daf.butler import DatasetRef, DimensionElement, DimensionRecord, FileDataset
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.artifacts import holds, uri_of
from pfs_ingestd.adapters.repository.memory import Memory, query_exposures
from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.adapters.repository.staging import Stage, staging
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.ports import Outcome, Stored
from pfs_ingestd.records import Sighting, path_text

__all__ = ["Batch", "Item", "compare", "stored_artifacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A dataset of a batch.

    Parameters
    ----------
    index : `int`
        Its place in the batch.
    path : `~pathlib.Path`
        Its file.
    visit : `int`
        Number of its exposure.
    ref : `~lsst.daf.butler.DatasetRef`
        What it will be.
    seen : `~pfs_ingestd.records.Sighting` or `None`
        The file as it has to be; `None` if any will do.
    cat_ids : `tuple` [`int`]
        Catalogues to be joined to its exposure.
    """

    index: int
    path: Path
    visit: int
    ref: DatasetRef
    seen: Sighting | None = None
    cat_ids: tuple[int, ...] = ()


@dataclass(kw_only=True)
class Batch:
    """What is to be stored in one transaction.

    Parameters
    ----------
    session : `Session`
        The repository.
    memory : `Memory`
        What is known of it.
    transfer : `str`
        A transfer mode of Butler.
    owned : `bool`
        Whether the artifacts will be the repository's alone, and not somebody else's files, too.
    new : `~collections.abc.Mapping` [`int`, `~lsst.daf.butler.DimensionRecord`]
        Records of the exposures to be registered, by visit.
    items : `~collections.abc.Sequence` [`Item`]
        The datasets, each of a new exposure or of one that is there.
    replacing : `bool`
        Whether they take the places of those that are stored under their data IDs.
    """

    session: Session
    memory: Memory
    transfer: str
    owned: bool
    new: Mapping[int, DimensionRecord]
    items: Sequence[Item]
    replacing: bool = False
    _registered: dict[str, list[int]] = field(default_factory=dict, init=False)

    def store(self) -> dict[int, Outcome]:
        """Store it.

        Returns
        -------
        outcomes : `dict` [`int`, `Outcome`]
            What became of each dataset, by its place in the batch.
        """
        if not self.new and not self.items:
            return {}
        # A transaction that fails puts copies back to where they were moved from: that has to be there still.
        with self._staging() as stage, self.session.butler.transaction():
            outcomes = self._store_datasets(self._register_exposures(), stage)
        # Only now is it known to be there.
        self.memory.add_exposures(self.new.values())
        for dimension, values in self._registered.items():
            self.memory.add_values(dimension, values)
        self.session.ingested()
        return outcomes

    def _register_exposures(self) -> set[int]:
        """Register the new exposures and what they refer to.

        Returns
        -------
        fresh : `set` [`int`]
            The visits that nobody has registered before us. If somebody has, with the same values, their
            datasets may be there, too; with other values this raises.
        """
        layout, registry = self.session.layout, self.session.butler.registry
        for element in layout.values:
            self._register(element, {record.get(element.name) for record in self.new.values()})
        # One order for everybody: PostgreSQL would find itself in a deadlock otherwise.
        return {
            visit
            for visit in sorted(self.new)
            if registry.syncDimensionData(layout.observation.name, self.new[visit])
        }

    def _register(self, element: DimensionElement, values: set[int]) -> None:
        unknown = self.memory.new_values(element.name, values)
        if unknown:
            records = [self.session.data_ids.value(element, value) for value in unknown]
            self.session.butler.registry.insertDimensionData(element.name, *records, skip_existing=True)
            self._registered[element.name] = unknown

    def _staging(self) -> AbstractContextManager[Stage | None]:
        if self.transfer == "copy" and self.session.datastore.isLocal:
            return staging(self.session.datastore)
        return nullcontext()

    def _store_datasets(self, fresh: set[int], stage: Stage | None) -> dict[int, Outcome]:
        old = [item for item in self.items if item.visit not in fresh]
        self._lock({item.visit for item in old})
        artifacts = stored_artifacts(self.session, old)
        outcomes, absent = ({}, list(self.items)) if self.replacing else compare(artifacts, self.items)
        firsts: dict[UUID, Item] = {}
        twins = [item for item in absent if firsts.setdefault(item.ref.id, item) is not item]
        chosen = list(firsts.values())
        self._unregister([item.ref for item in chosen if item.ref.id in artifacts])
        self._join_catalogues(chosen)
        self._ingest(chosen, stage)
        _check_unchanged(chosen)
        made = stored_artifacts(self.session, chosen)
        self.session.durability.settle(made.values(), contents=self.owned)
        outcomes |= {item.index: _outcome(Stored.STORED, item, made) for item in chosen}
        for twin in twins:
            same = holds(uri_of(firsts[twin.ref.id].path), twin.path)
            outcomes[twin.index] = _outcome(Stored.ALREADY_THERE if same else Stored.CONFLICT, twin, made)
        return outcomes

    def _lock(self, visits: set[int]) -> None:
        """Keep other processes from storing datasets of these exposures until we are done.

        The transaction itself does so on SQLite. On PostgreSQL a row is locked by writing it as it is.
        """
        if self.session.is_sqlite or not visits:
            return
        records = sorted(query_exposures(self.session, visits), key=lambda record: int(record.id))
        if len(records) != len(visits):
            raise TryLater(Code.RACE, "an exposure was removed from the repository meanwhile")
        name = self.session.layout.observation.name
        self.session.butler.registry.insertDimensionData(name, *records, replace=True)

    def _unregister(self, refs: Sequence[DatasetRef]) -> None:
        """Let the datastore forget artifacts that are gone or not wanted; the datasets keep their ids."""
        if refs:
            self.session.butler.pruneDatasets(refs, disassociate=False, unstore=True)

    def _join_catalogues(self, items: Sequence[Item]) -> None:
        layout = self.session.layout
        pairs = {(item.visit, cat_id) for item in items for cat_id in item.cat_ids}
        if not pairs or layout.catalogue is None:
            return
        self._register(layout.catalogue, {cat_id for _, cat_id in pairs})
        if (join := layout.catalogue_join) is not None:
            records = [self.session.data_ids.catalogue_join(join, *pair) for pair in sorted(pairs)]
            self.session.butler.registry.insertDimensionData(join.name, *records, skip_existing=True)

    def _ingest(self, items: Sequence[Item], stage: Stage | None) -> None:
        if not items:
            return
        if stage:
            self._transfer({item: stage(item.path, item.ref.id) for item in items}, "move")
        else:
            self._transfer({item: item.path for item in items}, self.transfer)

    def _transfer(self, paths: Mapping[Item, Path], transfer: str) -> None:
        layout = self.session.layout
        formatters = {
            layout.raw.name: layout.raw_formatter,
            layout.config.name: layout.config_formatter,
        }
        self.session.butler.ingest(
            *(
                FileDataset(uri_of(path), item.ref, formatter=formatters[item.ref.datasetType.name])
                for item, path in paths.items()
            ),
            transfer=transfer,
            # A recorded size makes a dataset unreadable when its file changes size, and a pfsConfig is
            # sometimes repaired in place by those whose file it is, too.
            record_validation_info=self.owned,
        )


def stored_artifacts(session: Session, items: Sequence[Item]) -> dict[UUID, ResourcePath]:
    """Ask the datastore where the artifacts of some datasets are, those that it knows; they may be gone."""
    if not items:
        return {}
    uris = session.butler.get_many_uris([item.ref for item in items], allow_missing=True)
    return {ref.id: uri.primaryURI for ref, uri in uris.items() if uri.primaryURI is not None}


def compare(
    artifacts: Mapping[UUID, ResourcePath], items: Sequence[Item]
) -> tuple[dict[int, Outcome], list[Item]]:
    """Compare files with what is stored under their data IDs.

    Returns
    -------
    outcomes : `dict` [`int`, `Outcome`]
        Of those that have an artifact.
    absent : `list` [`Item`]
        Those that have none.
    """
    outcomes: dict[int, Outcome] = {}
    absent: list[Item] = []
    for item in items:
        artifact = artifacts.get(item.ref.id)
        same = None if artifact is None else holds(artifact, item.path)
        if same is None:
            absent.append(item)
        else:
            result = Stored.ALREADY_THERE if same else Stored.CONFLICT
            outcomes[item.index] = _outcome(result, item, artifacts)
    return outcomes, absent


def _check_unchanged(items: Sequence[Item]) -> None:
    """See that what was stored is what was read: somebody may have put another file in its place.

    Raises
    ------
    TryLater
        If a file is another one, or was written to; nothing has been committed yet.
    """
    for item in items:
        if (seen := item.seen) is None:
            continue
        now = item.path.stat()
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (seen.size, seen.mtime_ns, seen.inode):
            raise TryLater(Code.RACE, f"{path_text(item.path)} changed while it was being stored")


def _outcome(result: Stored, item: Item, artifacts: Mapping[UUID, ResourcePath]) -> Outcome:
    return Outcome(result, str(item.ref.id), artifacts[item.ref.id].geturl())
