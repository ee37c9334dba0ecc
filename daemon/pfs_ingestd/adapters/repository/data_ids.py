"""Dimension records and dataset refs, made in memory: nothing is looked up for a file."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from operator import index
from typing import TypeAlias

from lsst.daf.butler import (
    Butler,
    DataCoordinate,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    Dimension,
    DimensionElement,
    DimensionRecord,
    Timespan,
)

from pfs_ingestd.adapters.repository.columns import record_of
from pfs_ingestd.adapters.repository.failures import unsuitable
from pfs_ingestd.adapters.repository.layout import ADD, Layout
from pfs_ingestd.errors import Code, Rejected
from pfs_ingestd.exposure import Exposure, RawHeader

__all__ = ["DataIds"]

REMEMBERED = 4096

Key: TypeAlias = tuple[int | str, ...]
Values: TypeAlias = Mapping[str, int | str]


class DataIds:
    """Makes the records and refs of one instrument in one repository.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        The repository; its tables of what the instrument is made of are read now, and not again.
    layout : `Layout`
        What it is like.
    instrument : `str`
        Name of the instrument.

    Raises
    ------
    Fatal
        If the repository does not know the instrument, or nothing of what it is made of.
    """

    def __init__(self, butler: Butler, layout: Layout, instrument: str) -> None:
        self._layout = layout
        self._instrument = instrument
        # The files of a visit share theirs.
        self._value = lru_cache(REMEMBERED)(self.value)
        self._tables: dict[str, Mapping[Key, DimensionRecord]] = {}
        for element in layout.tables:
            records = butler.query_dimension_records(
                element.name, instrument=instrument, explain=False, limit=None
            )
            self._tables[element.name] = {tuple(record.dataId.required_values): record for record in records}
        if not self._tables["instrument"]:
            raise unsuitable(
                f"it does not know the instrument {instrument!r}",
                hint=f"`pfs-ingestd init REPO --instrument {instrument}` registers it",
            )
        for name, table in self._tables.items():
            if not table:
                raise unsuitable(f"it knows no {name} of {instrument}", hint=ADD)

    def observation(self, exposure: Exposure) -> DimensionRecord:
        """Make the record of an exposure, of as many columns as the repository has."""
        facts = asdict(exposure)
        # An empty timespan has one canonical form.
        facts["timespan"] = (
            Timespan.model_validate((index(exposure.begin_ns), index(exposure.end_ns)))
            if exposure.begin_ns < exposure.end_ns
            else Timespan.makeEmpty()
        )
        return record_of(self._layout.observation, facts)

    def value(self, dimension: Dimension, value: int) -> DimensionRecord:
        """Make the record of a dimension that is nothing but a number of the instrument."""
        return record_of(dimension, {"instrument": self._instrument, dimension.primary_key.name: value})

    def values(self, observation: DimensionRecord) -> list[DimensionRecord]:
        """Make the records that must be there before that of an exposure."""
        return [
            self.value(dimension, getattr(observation, dimension.name)) for dimension in self._layout.values
        ]

    def catalogue_join(self, element: DimensionElement, visit: int, cat_id: int) -> DimensionRecord:
        """Make the record that joins a catalogue to an exposure."""
        values = {"instrument": self._instrument, self._layout.observation.name: visit, "cat_id": cat_id}
        return record_of(element, values)

    def raw(self, header: RawHeader, observation: DimensionRecord) -> DatasetRef:
        """Make the ref of a raw.

        Raises
        ------
        Rejected
            If the repository does not know such a camera.
        """
        if header.instrument != self._instrument:
            raise Rejected(
                Code.WRONG_INSTRUMENT,
                f"the file is of {header.instrument}, the repository takes {self._instrument}",
            )
        camera: Values = {
            "arm": str(header.arm),
            "spectrograph": index(header.spectrograph),
            "detector": index(header.detector),
        }
        return self._ref(self._layout.raw, self._layout.raw_run, camera, observation)

    def config(self, observation: DimensionRecord) -> DatasetRef:
        """Make the ref of the pfsConfig of an exposure."""
        return self._ref(self._layout.config, self._layout.config_run, {}, observation)

    def _ref(
        self, dataset_type: DatasetType, run: str, camera: Values, observation: DimensionRecord
    ) -> DatasetRef:
        values: dict[str, int | str] = {
            "instrument": self._instrument,
            self._layout.observation.name: observation.id,
            **camera,
        }
        # Elements that are no dimensions, such as regions of the sky, are nothing that a file tells of.
        records: dict[str, DimensionRecord | None] = dict.fromkeys(dataset_type.dimensions.elements)
        # Sorted as they are, each comes after those that it implies.
        for name in reversed(tuple(dataset_type.dimensions.names)):
            records[name] = record = self._record(name, values, observation)
            for implied in record.definition.implied.names:
                known = getattr(record, implied)
                claimed = values.setdefault(implied, known)
                if claimed != known:
                    raise Rejected(
                        Code.WRONG_INSTRUMENT,
                        f"the file is of {implied} {claimed}, but in the repository"
                        f" {name} {_named(record)} is of {implied} {known}",
                    )
        keys = dataset_type.dimensions.data_coordinate_keys
        data_id = DataCoordinate.from_full_values(dataset_type.dimensions, tuple(values[key] for key in keys))
        return DatasetRef(
            dataset_type,
            data_id.expanded(records),
            run,
            id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN,
            conform=False,  # it is of these dimensions
        )

    def _record(self, name: str, values: Values, observation: DimensionRecord) -> DimensionRecord:
        if name == self._layout.observation.name:
            return observation
        if name not in self._tables:
            dimension = observation.definition.universe.dimensions[name]
            return self._value(dimension, getattr(observation, name))
        table = self._tables[name]
        element = observation.definition.universe[name]
        key = tuple(values[required] for required in element.required.names)
        if key not in table:
            raise Rejected(
                Code.WRONG_INSTRUMENT,
                f"the repository knows no {name} {' '.join(map(str, key))}",
                hint=f"register the {name} in the repository, or correct the header",
            )
        return table[key]


def _named(record: DimensionRecord) -> str:
    return " ".join(str(value) for value in record.dataId.required_values)
