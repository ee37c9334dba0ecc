"""What each of several processes does that ingest the same files at the same time."""

from pfs_ingestd.adapters.repository import open_repository
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.ports import Stored
from repository_files import an_exposure, raw_dataset, results

__all__ = ["CAMERAS", "VISITS", "ingest_all"]

VISITS = range(1, 7)
CAMERAS = [("r", 1), ("b", 2), ("m", 3)]


def ingest_all(root, folder, barrier, outcomes, *, registered):
    """Ingest visit after visit, each at the same moment as the others; tell how many datasets were ours."""
    repository = open_repository(root, transfer="copy", runs={}, instrument="PFS")
    stored = 0
    for visit in VISITS:
        datasets = [
            raw_dataset(folder / f"{visit}{arm}{number}.fits", visit, arm, number) for arm, number in CAMERAS
        ]
        repository.designs([visit])
        barrier.wait()
        found = _ingest(repository, [] if registered else [an_exposure(visit)], datasets)
        if not set(found) <= {Stored.STORED, Stored.ALREADY_THERE}:
            raise AssertionError(found)
        stored += found.count(Stored.STORED)
    repository.close()
    outcomes.put(stored)


def _ingest(repository, exposures, datasets):
    while True:
        try:
            return results(repository.ingest(exposures, datasets))
        except TryLater as error:
            if error.code not in {Code.RACE, Code.BUSY}:
                raise
