"""An archive of years: hundreds of night folders, and a repository that holds all that is in them."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.site import Site
from benchmarks.visits import Visits
from pfs_ingestd.adapters.repository import open_repository
from pfs_ingestd.exposure import ConfigHeader
from pfs_ingestd.ports import Dataset
from pfs_ingestd.simulate import ALL_CAMERAS, VisitPlan

__all__ = ["POLLING", "archive"]

POLLING = {"mode": "poll", "rescan": "1s"}

NIGHTS = 900
FIRST_NIGHT = datetime(2024, 1, 1, 10, tzinfo=UTC)
FIRST_VISIT = 100_000
VISITS_OF_A_NIGHT = 42
"""At least about so many, in a small archive, too: what a folder costs is shared by its files."""
FILES_OF_A_VISIT = len(ALL_CAMERAS) + 1
VISITS_AT_ONCE = 160


def archive(folder: Path, files: int) -> Site:
    """Get an archive of about so many files in up to 900 nights, all of them ingested by link; made once.

    Folders, names, inodes, artifacts and datasets are real. The files hold nothing but their names: whoever
    reads one rejects it.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where it is, or is to be.
    files : `int`
        How many; rounded up to as many visits in each night.
    """
    made = folder / f"made-of-{files}"
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
    site = Site(folder, watch=POLLING)
    if not made.exists():
        _fill(site, list(_visits(files)))
        made.touch()
    return site


def _visits(files: int) -> Iterator[VisitPlan]:
    nights = min(NIGHTS, -(-files // (FILES_OF_A_VISIT * VISITS_OF_A_NIGHT)))
    in_night = -(-files // (nights * FILES_OF_A_VISIT))
    for number in range(nights * in_night):
        begin = FIRST_NIGHT + timedelta(days=number // in_night)
        yield VisitPlan(visit=FIRST_VISIT + number, begin=begin)


def _fill(site: Site, visits: list[VisitPlan]) -> None:
    """Write the files, and ingest them without reading one.

    To let Butler link half a million files takes three times as long as what is done here: a file that lies
    in the repository already is left where it is by `auto`, and is an artifact like any other.
    """
    model = Visits()
    repository = open_repository(site.repository, transfer="auto", runs={}, instrument="PFS")
    try:
        for start in range(0, len(visits), VISITS_AT_ONCE):
            datasets: list[Dataset] = []
            exposures = [model.exposure(visit.visit) for visit in visits[start : start + VISITS_AT_ONCE]]
            for exposure, visit in zip(exposures, visits[start:], strict=False):
                *raws, config = _written(site, visit)
                datasets += model.datasets(visit.visit, raws)
                header = ConfigHeader(visit=visit.visit, pfs_design_id=exposure.pfs_design_id, cat_ids=())
                datasets.append(Dataset(config, header))
            repository.ingest(exposures, datasets)
    finally:
        repository.close()


def _written(site: Site, visit: VisitPlan) -> Iterator[Path]:
    """Write the raws of a visit and its pfsConfig, and give the links to them in the repository."""
    folder = Path(site.repository, "PFS", "raw", f"{visit.begin:%Y%m%d}", f"{visit.visit}")
    folder.mkdir(parents=True)
    for relative in (*visit.raws, visit.config):
        file = site.data / relative
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
        file.write_text(file.name)
        link = folder / file.name
        link.hardlink_to(file)
        yield link
