"""One transaction: exposures registered, datasets stored, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from lsst.daf.butler import DatasetRef, Dimension, DimensionRecord, FileDataset
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import uri_of
from pfs_ingestd.adapters.repository.copying import check_unchanged
from pfs_ingestd.adapters.repository.items import Item
from pfs_ingestd.adapters.repository.memory import Memory
from pfs_ingestd.adapters.repository.placing import Placing, placing_at
from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.adapters.repository.verdicts import Inline, compare, outcome_of
from pfs_ingestd.adapters.repository.visits import lock_exposures
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.ports import Outcome, Stored

__all__ = ["Batch", "stored_artifacts"]


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
    inline_bytes : `int` or `None`
        How many bytes may be compared with what is stored; see `~verdicts.Inline`.
    replacing : `bool`
        Whether they take the places of those that are stored under their data IDs.
    """

    session: Session
    memory: Memory
    transfer: str
    owned: bool
    new: Mapping[int, DimensionRecord]
    items: Sequence[Item]
    inline_bytes: int | None
    replacing: bool = False
    _registered: dict[str, list[int]] = field(default_factory=dict, init=False)
    _placing: Placing = field(init=False)

    def __post_init__(self) -> None:
        session = self.session
        # Not a method of this: the files of a batch would be held until the collector of garbage comes.
        heard = partial(_ask, session, self.items[:1])
        self._placing = placing_at(session.datastore, heard, lasting=session.is_sqlite)

    def store(self) -> dict[int, Outcome]:
        """Store it.

        Returns
        -------
        outcomes : `dict` [`int`, `Outcome`]
            What became of each dataset, by its place in the batch.
        """
        if not self.new and not self.items:
            return {}
        with self.session.butler.transaction():
            try:
                outcomes = self._store_datasets(self._register_exposures())
            except BaseException:
                # While its locks are held. Whether a commit that fails has failed is not known: it takes
                # nothing back.
                self._placing.take_back()
                raise
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
            self._register(element, {getattr(record, element.name) for record in self.new.values()})
        # One order for everybody: PostgreSQL would find itself in a deadlock otherwise.
        return {
            visit
            for visit in sorted(self.new)
            if registry.syncDimensionData(layout.observation.name, self.new[visit])
        }

    def _register(self, element: Dimension, values: set[int]) -> None:
        unknown = self.memory.new_values(element.name, values)
        if unknown:
            records = [self.session.data_ids.value(element, value) for value in unknown]
            self.session.butler.registry.insertDimensionData(element.name, *records, skip_existing=True)
            self._registered[element.name] = unknown

    def _store_datasets(self, fresh: set[int]) -> dict[int, Outcome]:
        old = [item for item in self.items if item.visit not in fresh]
        lock_exposures(self.session, {item.visit for item in old})
        artifacts = stored_artifacts(self.session, old)
        inline = Inline(self.inline_bytes)
        outcomes, absent, _ = compare({} if self.replacing else artifacts, self.items, inline)
        firsts: dict[UUID, Item] = {}
        twins = [item for item in absent if firsts.setdefault(item.ref.id, item) is not item]
        chosen = list(firsts.values())
        self._unregister([item.ref for item in chosen if item.ref.id in artifacts])
        self._join_catalogues(chosen)
        made = {item.ref.id: self._put(item) for item in chosen}
        self._ingest(chosen, made)
        # What was stored is what was read: somebody may have put another file in its place.
        for item in chosen:
            check_unchanged(item.path, item.seen)
        self.session.durability.settle(made.values())
        outcomes |= {item.index: outcome_of(Stored.STORED, item, made) for item in chosen}
        of_twins, lost, _ = compare(made, twins, inline)
        if lost:
            raise TryLater(Code.RACE, f"what was stored of {lost[0].path} is gone again")
        outcomes |= of_twins
        return outcomes

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

    def _put(self, item: Item) -> ResourcePath:
        """Put a file in its place, which is where Butler would store it, if it is not to stay where it is."""
        source, root = uri_of(item.path), self.session.datastore
        if self.transfer == "direct" or (self.transfer == "auto" and source.relative_to(root) is not None):
            return source
        place = root.join(self.session.layout.place(item.ref, source.getExtension()), forceDirectory=False)
        self._placing.put(item.staged or source, place, self.transfer)
        return place

    def _ingest(self, items: Sequence[Item], made: Mapping[UUID, ResourcePath]) -> None:
        if not items:
            return
        layout = self.session.layout
        formatters = {
            layout.raw.name: layout.raw_formatter,
            layout.config.name: layout.config_formatter,
        }
        self.session.butler.ingest(
            *(
                FileDataset(made[item.ref.id], item.ref, formatter=formatters[item.ref.datasetType.name])
                for item in items
            ),
            transfer="direct" if self.transfer == "direct" else None,
            # A recorded size makes a dataset unreadable when its file changes size, and a pfsConfig is
            # sometimes repaired in place by those whose file it is, too.
            record_validation_info=self.owned,
        )


def _ask(session: Session, items: Sequence[Item]) -> None:
    """Ask the registry for datasets of ours; without a transaction it does not answer."""
    stored_artifacts(session, items)


def stored_artifacts(session: Session, items: Sequence[Item]) -> dict[UUID, ResourcePath]:
    """Ask the datastore where the artifacts of some datasets are, those that it knows; they may be gone."""
    if not items:
        return {}
    uris = session.butler.get_many_uris([item.ref for item in items], allow_missing=True)
    return {ref.id: uri.primaryURI for ref, uri in uris.items() if uri.primaryURI is not None}
