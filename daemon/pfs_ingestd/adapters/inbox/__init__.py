"""The inbox: the durable list of files, in SQLite or PostgreSQL."""

from pfs_ingestd.adapters.inbox.inbox import SqlInbox, open_inbox

__all__ = ["SqlInbox", "open_inbox"]
