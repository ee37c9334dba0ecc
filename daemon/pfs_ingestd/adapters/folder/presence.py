"""Whether the watched folders of others are on this machine, too."""

import errno
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.records import path_text

__all__ = ["Presence"]


class Presence:
    """The roots that another machine watches, as they are seen from here.

    A file system that is not mounted leaves an empty folder, and says of each file that there is none.

    Parameters
    ----------
    roots : `~collections.abc.Collection` [`~pathlib.Path`]
        The watched folders.
    """

    def __init__(self, roots: Collection[Path]) -> None:
        self._roots = roots
        self._absent: set[Path] = set()

    def check(self, paths: Iterable[Path] = ()) -> None:
        """See that the roots of some files, and those that were missing last time, are here.

        Raises
        ------
        Outage
            If one cannot be read, or has nothing in it.
        """
        wanted = self._absent | {root for path in paths for root in self._roots if root in path.parents}
        reasons = {root: reason for root in sorted(wanted) if (reason := _absence(root))}
        self._absent = set(reasons)
        if reasons:
            raise Outage(
                Code.ROOT_UNREACHABLE,
                "; ".join(f"{path_text(root)}: {reason}" for root, reason in reasons.items()),
                hint="mount it here as on the host that watches: workers look for files under the same paths",
            )


def _absence(root: Path) -> str | None:
    """Say why nothing of a root is here."""
    try:
        with os.scandir(root) as entries:
            return None if next(entries, None) else "there is nothing in it on this host"
    except OSError as error:
        return error.strerror or os.strerror(error.errno or errno.EIO)
