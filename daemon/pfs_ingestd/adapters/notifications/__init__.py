"""The ways on which others are told: a program with a notification on its standard input, or a server."""

from pfs_ingestd.adapters.notifications.courier import ChildCourier, by_command, by_webhook

__all__ = ["ChildCourier", "by_command", "by_webhook"]
