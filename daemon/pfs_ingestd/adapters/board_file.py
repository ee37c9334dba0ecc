"""The file in which people see the night board."""

from pathlib import Path

from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.whole_file import replace_content

__all__ = ["BoardFile"]


class BoardFile:
    """A page that is always whole: a browser that loads it again gets the old content or the new one.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; one process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, page: str) -> None:
        """Replace the content.

        Raises
        ------
        TryLater
            If it cannot be written; the old content is still there.
        """
        try:
            replace_content(self._path, page.encode(), durable=False)
        except OSError as error:
            raise TryLater(
                Code.STORE_FAILED,
                f"the night board cannot be written to {self._path}: {error.strerror}",
                hint="status.board must lie in a folder that the daemon may write to, on a disk with room",
            ) from error
