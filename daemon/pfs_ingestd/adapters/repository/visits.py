"""The exposures and datasets of many visits: asked for in bulk, or kept from others."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from lsst.daf.butler import (  # type: ignore[attr-defined]  # CollectionType is not in an __all__
    CollectionType,
    DatasetRef,
    DatasetType,
)

from pfs_ingestd.adapters.repository.memory import VISITS_PER_QUERY, query_exposures
from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.errors import Code, TryLater

__all__ = ["datasets_of", "lock_exposures", "runs_with"]

DENSE = 4
"""A range of visits is asked for as a whole if it has no more than so many times those that are wanted.

SQLite finds a range by an index, but for a list it goes through all datasets of a run, which took 40 ms more
at 500,000 datasets. One that was not wanted costs 10 us.
"""


def runs_with(session: Session, dataset_type: DatasetType) -> list[str]:
    """Find the RUN collections that have datasets of a type."""
    runs = session.butler.collections.query_info("*", CollectionType.RUN, include_summary=True)
    return [run.name for run in runs if dataset_type.name in (run.dataset_types or ())]


def datasets_of(
    session: Session, dataset_type: DatasetType, runs: Sequence[str], visits: Collection[int]
) -> list[DatasetRef]:
    """Get the datasets of some visits, those of other instruments left out.

    Parameters
    ----------
    session : `Session`
        The repository.
    dataset_type : `~lsst.daf.butler.DatasetType`
        One that has the dimension of an exposure.
    runs : `~collections.abc.Sequence` [`str`]
        The RUN collections to look in.
    visits : `~collections.abc.Collection` [`int`]
        The visits.
    """
    name, wanted = session.layout.observation.name, set(visits)
    if not runs:
        return []
    return [
        ref
        for where, bind in _conditions(name, sorted(wanted))
        for ref in session.butler.query_datasets(
            dataset_type,
            collections=runs,
            find_first=False,
            instrument=session.instrument,
            where=where,
            bind=bind,
            explain=False,
            limit=None,
        )
        if ref.dataId[name] in wanted
    ]


def lock_exposures(session: Session, visits: Collection[int]) -> None:
    """Keep other processes from storing datasets of some exposures until the transaction ends.

    The transaction itself does so on SQLite. On PostgreSQL a row is locked by writing it as it is.

    Raises
    ------
    TryLater
        If one of them is not registered, and cannot be locked for that reason.
    """
    if session.is_sqlite or not visits:
        return
    records = sorted(query_exposures(session, visits), key=lambda record: int(record.id))
    if len(records) != len(set(visits)):
        raise TryLater(Code.RACE, "an exposure is not in the repository, or not any more")
    session.butler.registry.insertDimensionData(session.layout.observation.name, *records, replace=True)


def _conditions(name: str, visits: Sequence[int]) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not visits:
        return
    first, last = visits[0], visits[-1]
    if last - first < DENSE * len(visits):
        yield f"{name} >= first AND {name} <= last", {"first": first, "last": last}
        return
    for start in range(0, len(visits), VISITS_PER_QUERY):
        yield f"{name} IN (visits)", {"visits": visits[start : start + VISITS_PER_QUERY]}
