"""What is known to be in the registry, so that it need not be asked again."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from operator import index

from lsst.daf.butler import DimensionRecord

from pfs_ingestd.adapters.repository.session import Session

__all__ = ["Memory", "query_exposures"]

# More than a night has, and than a batch can: an exposure takes up to 3 kB, a value 0.2 kB.
EXPOSURES = 1_000
VALUES = 10_000
VISITS_PER_QUERY = 500


class Memory:
    """Remembers what was committed, by us or by others; never what is still to be committed."""

    def __init__(self) -> None:
        self._exposures: OrderedDict[int, DimensionRecord] = OrderedDict()
        self._values: set[tuple[str, int]] = set()

    def exposures(self, session: Session, visits: Iterable[int]) -> dict[int, DimensionRecord]:
        """Get the stored records of some visits, where there are any; the registry is asked for the rest."""
        wanted = set(visits)
        found = {visit: self._exposures[visit] for visit in wanted & self._exposures.keys()}
        for visit in found:
            self._exposures.move_to_end(visit)
        queried = query_exposures(session, wanted - found.keys())
        self.add_exposures(queried)
        return found | {record.id: record for record in queried}

    def add_exposures(self, records: Iterable[DimensionRecord]) -> None:
        """Remember exposures."""
        for record in records:
            self._exposures[record.id] = record
        while len(self._exposures) > EXPOSURES:
            self._exposures.popitem(last=False)

    def new_values(self, dimension: str, values: Iterable[int]) -> list[int]:
        """Pick the values of a dimension that are not known to be registered, ascending."""
        return sorted({value for value in values if (dimension, value) not in self._values})

    def add_values(self, dimension: str, values: Iterable[int]) -> None:
        """Remember that values of a dimension are registered."""
        if len(self._values) > VALUES:
            self._values.clear()
        self._values.update((dimension, value) for value in values)

    def clear(self) -> None:
        """Forget everything."""
        self._exposures.clear()
        self._values.clear()


def query_exposures(session: Session, visits: Collection[int]) -> list[DimensionRecord]:
    """Ask the registry for the records of some visits."""
    name = session.layout.observation.name
    wanted = sorted(map(index, visits))
    records: list[DimensionRecord] = []
    for start in range(0, len(wanted), VISITS_PER_QUERY):
        records += session.butler.query_dimension_records(
            name,
            instrument=session.instrument,
            where=f"{name} IN (visits)",
            bind={"visits": wanted[start : start + VISITS_PER_QUERY]},
            explain=False,
            limit=None,
        )
    return records
