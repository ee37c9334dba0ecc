"""The log: one place and one form for everything that runs in the process."""

from pfs_ingestd.logs.setup import configure_logs

__all__ = ["configure_logs"]
