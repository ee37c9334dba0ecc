"""The file in which the daemon tells how it is."""

import json
from collections.abc import Mapping
from pathlib import Path

from pfs_ingestd.errors import Code, Rejected, TryLater, Vanished
from pfs_ingestd.status import status_text
from pfs_ingestd.whole_file import replace_content

__all__ = ["StatusFile"]


class StatusFile:
    """A JSON file that is always whole: readers see the old content or the new one, also after a power cut.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; one process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, status: Mapping[str, object]) -> None:
        """Replace the content.

        Raises
        ------
        TryLater
            If it cannot be written; the old content is still there.
        """
        data = status_text(status).encode()
        try:
            replace_content(self._path, data, durable=True)
        except OSError as error:
            raise TryLater(
                Code.STORE_FAILED,
                f"the status cannot be written to {self._path}: {error.strerror}",
                hint="status.file must lie in a folder that the daemon may write to, on a disk with room",
            ) from error

    def read(self) -> Mapping[str, object]:
        """Read the content.

        Raises
        ------
        Vanished
            If there is no such file.
        Rejected
            If it cannot be read, or is not a status.
        """
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError as error:
            raise Vanished(
                Code.VANISHED, f"there is no status at {self._path}", hint="no daemon has run here yet"
            ) from error
        except (OSError, ValueError) as error:
            raise Rejected(Code.UNREADABLE, f"the status at {self._path} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise Rejected(Code.UNREADABLE, f"{self._path} does not hold a status")
        return content
