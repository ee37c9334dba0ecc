"""What a worker does in the loop instead of watching: nothing, as there is another process for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pfs_ingestd.errors import IngestdError
from pfs_ingestd.ingester import ReadFile
from pfs_ingestd.journal import Journal
from pfs_ingestd.ports import Clock, Hint
from pfs_ingestd.status import ScanCost

__all__ = ["NoCompletions", "NoScanner"]


class NoScanner:
    """Keeps nothing true to any folder; each of its scans has ended as soon as it is gone on with.

    Parameters
    ----------
    clock : `Clock`
        The time.

    Attributes
    ----------
    scanning, obstructed, troubles, last_scan
        As of `~pfs_ingestd.scanner.Scanner`.
    """

    obstructed = False
    troubles: Sequence[IngestdError] = ()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.scanning = False
        self.last_scan: ScanCost | None = None

    def begin(self) -> None:
        """Begin a scan."""
        self.scanning = True

    def advance(self, files: int) -> None:  # noqa: ARG002 (the scanner's signature)
        """End the scan."""
        self.scanning = False
        self.last_scan = ScanCost(at=self._clock.now(), seconds=0.0, folders=0)

    def again(self, paths: Sequence[Path]) -> None:
        """Leave a rescan to the one who watches."""

    def hinted(self, hints: Sequence[Hint]) -> None:
        """Look at nothing: nobody gives hints."""

    def recheck(self, limit: int) -> None:
        """Look at nothing again."""

    def settle(self, limit: int) -> Mapping[Path, ReadFile]:  # noqa: ARG002 (the scanner's signature)
        """Read nothing."""
        return {}


class NoCompletions:
    """Tells of no visit that is complete; the inbox tells the one who watches of which files were ingested.

    Parameters
    ----------
    journal : `Journal`
        Knows of which visits files were ingested.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def recall(self) -> None:
        """Look at no visits again."""

    def tell(self) -> None:
        """Tell of nothing."""
        self._journal.visits.clear()
