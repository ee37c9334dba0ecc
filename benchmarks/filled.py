"""Repositories that hold as many raws as are wanted, filled through our own adapter from made-up headers."""

import shutil
from pathlib import Path

from benchmarks.visits import Visits
from pfs_ingestd.adapters.repository import open_repository
from pfs_ingestd.wiring import create_repository

__all__ = ["fill", "filled"]

VISITS_AT_ONCE = 100


def filled(folder: Path, raws: int, *, smaller: Path | None = None) -> Path:
    """Get a repository of so many raws with its registry in SQLite; made once.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where it is, or is to be.
    raws : `int`
        How many, to be rounded up to whole hundreds of visits.
    smaller : `~pathlib.Path`, optional
        One with fewer raws, to begin from.

    Returns
    -------
    repository : `~pathlib.Path`
        The repository.
    """
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        if smaller:
            shutil.copytree(smaller, draft)
        else:
            create_repository(str(draft))
        fill(str(draft), raws, any_file=folder.with_name("any.fits"))
        draft.rename(folder)
    return folder


def fill(repository: str, raws: int, *, any_file: Path) -> None:
    """Ingest visits from number 1 on, those that are there left out, until there are so many raws.

    All raws are one file, which is not read: it takes the registry as much to hold them as if each were one.

    Parameters
    ----------
    repository : `str`
        An existing repository.
    raws : `int`
        How many.
    any_file : `~pathlib.Path`
        The file; made here.
    """
    any_file.touch()
    visits = Visits()
    opened = open_repository(repository, transfer="direct", runs={}, instrument="PFS")
    try:
        for first in range(1, 1 + -(-raws // visits.cameras), VISITS_AT_ONCE):
            numbers = range(first, first + VISITS_AT_ONCE)
            if first in opened.designs([first]):
                continue
            opened.ingest(
                [visits.exposure(visit) for visit in numbers],
                [
                    dataset
                    for visit in numbers
                    for dataset in visits.datasets(visit, visits.cameras * [any_file])
                ],
            )
    finally:
        opened.close()
