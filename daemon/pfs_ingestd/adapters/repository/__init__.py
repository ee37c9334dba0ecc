"""The Butler repository: made, opened, ingested into."""

from pfs_ingestd.adapters.repository.create import CreateReport, create_repository
from pfs_ingestd.adapters.repository.ingest import TRANSFERS, ButlerRepository, open_repository

__all__ = ["TRANSFERS", "ButlerRepository", "CreateReport", "create_repository", "open_repository"]
