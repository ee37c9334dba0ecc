"""What others have stored in the places of our files, kept from our own rollback."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.items import Item

__all__ = ["Rivals"]


class Rivals:
    """Sees to it that a transaction that fails takes back our files, and nobody else's.

    PostgreSQL lets go of the locks of a transaction at its first error, or when it loses the connection, and
    Butler takes back the files after that. Between the two another process may have stored a file of its own
    under the same data ID, and so in the same place: to the undo, one is as good as the other.
    """

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path | None, os.stat_result]] = []
        self._kept: list[tuple[Path, Path]] = []

    def expect(self, items: Mapping[ResourcePath, Item]) -> None:
        """Note which files are about to be transferred, by the places where they will be."""
        for place, item in items.items():
            if place.isLocal:
                copy = Path(item.staged.ospath) if item.staged else None
                self._files.append((Path(place.ospath), copy, (copy or item.path).stat()))

    def keep(self) -> None:
        """Give what others have put in the places a second name, before the undo."""
        for place, _, ours in self._files:
            second = place.with_name(f".{place.name}.kept")
            with suppress(OSError):
                if not os.path.samestat(place.stat(), ours):
                    os.link(place, second, follow_symlinks=False)
                    self._kept.append((place, second))

    def put_back(self) -> None:
        """Put back, after the undo, what it has removed of others."""
        for place, second in self._kept:
            if os.path.lexists(place):
                second.unlink()
            else:
                second.rename(place)
        # Our copies are moved back, and so is what got into their places after the last look.
        for place, copy, ours in self._files:
            with suppress(OSError):
                if copy is not None and not os.path.samestat(copy.stat(), ours):
                    os.link(copy, place)
