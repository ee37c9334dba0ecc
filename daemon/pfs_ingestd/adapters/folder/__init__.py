"""The watched folders."""

from pfs_ingestd.adapters.folder.presence import Presence
from pfs_ingestd.adapters.folder.watched import LONG_AGO, PAUSE, SETTLING, WatchedFolder

__all__ = ["LONG_AGO", "PAUSE", "SETTLING", "Presence", "WatchedFolder"]
