"""The inbox: the durable list of files, in SQLite or PostgreSQL."""

from pfs_ingestd.adapters.inbox.inbox import SqlInbox, open_inbox
from pfs_ingestd.adapters.inbox.keeper import keep_inbox
from pfs_ingestd.adapters.inbox.shared import SharedInbox, open_shared_inbox

__all__ = ["SharedInbox", "SqlInbox", "keep_inbox", "open_inbox", "open_shared_inbox"]
