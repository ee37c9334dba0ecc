"""The datasets of a batch: what each file will be in the repository, if its exposure is known."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import DatasetRef, DimensionRecord
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.errors import Code, Rejected
from pfs_ingestd.exposure import ConfigHeader, RawHeader
from pfs_ingestd.pfs.instrument import detector_number
from pfs_ingestd.ports import Comparison, Dataset, Header
from pfs_ingestd.records import FileRecord, Sighting

__all__ = ["Item", "check_name", "described", "items_of"]


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
    staged : `~lsst.resources.ResourcePath` or `None`
        A copy or link of it that is transferred instead.
    comparison : `~pfs_ingestd.ports.Comparison` or `None`
        What came of comparing it with what is stored.
    cat_ids : `tuple` [`int`]
        Catalogues to be joined to its exposure.
    """

    index: int
    path: Path
    visit: int
    ref: DatasetRef
    seen: Sighting | None = None
    staged: ResourcePath | None = None
    comparison: Comparison | None = None
    cat_ids: tuple[int, ...] = ()


def described(record: FileRecord, instrument: str) -> Dataset:
    """Describe a dataset by what the name of its file says."""
    header: Header
    if record.arm and record.spectrograph:
        header = RawHeader(
            instrument=instrument,
            visit=record.visit,
            arm=record.arm,
            spectrograph=record.spectrograph,
            detector=detector_number(record.arm, record.spectrograph),
            pfs_design_id=0,
            dither=0,
            cards={},
        )
    else:
        header = ConfigHeader(visit=record.visit, pfs_design_id=0, cat_ids=())
    return Dataset(record.path, header)


def check_name(path: Path) -> None:
    """See that a file's name can be stored.

    Raises
    ------
    Rejected
        If it is not text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise Rejected(
            Code.UNNAMEABLE,
            f"the name {os.fsencode(path)!r} is not UTF-8 and cannot be stored",
            hint="rename the file or its folder",
        ) from error


def items_of(
    session: Session, datasets: Sequence[Dataset], exposures: Mapping[int, DimensionRecord]
) -> list[Item]:
    """Make the refs of the datasets whose exposures are known.

    Raises
    ------
    Rejected
        If the repository does not know a camera.
    """
    items = []
    for index, dataset in enumerate(datasets):
        header = dataset.header
        if (exposure := exposures.get(header.visit)) is None:
            continue
        cat_ids: tuple[int, ...] = ()
        if isinstance(header, RawHeader):
            ref = session.data_ids.raw(header, exposure)
        else:
            ref, cat_ids = session.data_ids.config(exposure), header.cat_ids
        items.append(
            Item(
                index=index,
                path=dataset.path,
                visit=header.visit,
                ref=ref,
                seen=dataset.seen,
                staged=ResourcePath(dataset.copy, forceDirectory=False) if dataset.copy else None,
                comparison=dataset.comparison,
                cat_ids=cat_ids,
            )
        )
    return items
