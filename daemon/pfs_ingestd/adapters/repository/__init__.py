"""The Butler repository: made, opened, ingested into."""

from pfs_ingestd.adapters.repository.copier import DatastoreCopier
from pfs_ingestd.adapters.repository.create import CreateReport, create_repository
from pfs_ingestd.adapters.repository.ingest import ButlerRepository, open_repository
from pfs_ingestd.adapters.repository.inventory import RepositoryInventory
from pfs_ingestd.adapters.repository.places import Places, places_of
from pfs_ingestd.adapters.repository.removal import RepositoryBroom
from pfs_ingestd.adapters.repository.transfers import TRANSFERS
from pfs_ingestd.adapters.repository.trial import Features, RepositoryTrial

__all__ = [
    "TRANSFERS",
    "ButlerRepository",
    "CreateReport",
    "DatastoreCopier",
    "Features",
    "Places",
    "RepositoryBroom",
    "RepositoryInventory",
    "RepositoryTrial",
    "create_repository",
    "open_repository",
    "places_of",
]
