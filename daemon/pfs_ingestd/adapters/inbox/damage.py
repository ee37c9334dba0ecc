"""A damaged inbox in SQLite: how it is told from another program's database, and put out of the way."""

import os
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from sqlalchemy import URL

from pfs_ingestd.errors import Code, Fatal

__all__ = ["APPLICATION_ID", "DamagedInbox", "damaged", "is_foreign", "set_aside"]

APPLICATION_ID = 0x50465369
"""What the header of the database says of its owner (``PFSi``): https://www.sqlite.org/fileformat2.html."""

_MAGIC = b"SQLite format 3\0"
_OWNER = slice(68, 72)

_PARTS = ("", "-wal", "-shm", "-journal")
"""The database, and the files that SQLite keeps beside it; the database goes first.

Were the process to die in between, the rest would be found without a database, and SQLite deletes it then. A
database without its rest could be taken for a whole one.
"""

_FILE_HINT = (
    "start the daemon: it sets the file aside, and fills a new one from the folders and the repository"
)
_SERVER_HINT = "restore it, or name an empty one, which is filled from the folders and the repository"


class DamagedInbox(Fatal):
    """The SQLite file of the inbox is damaged: only a new one, made from folders and repository, helps."""


def damaged(url: URL, why: object) -> Fatal:
    """Say what is wrong with the inbox at a URL: a `DamagedInbox` if it is a file that can be set aside."""
    is_file = url.get_backend_name() == "sqlite"
    kind, hint = (DamagedInbox, _FILE_HINT) if is_file else (Fatal, _SERVER_HINT)
    return kind(Code.STATE_UNUSABLE, f"the inbox {url!r} is damaged: {why}", hint=hint)


def is_foreign(database: Path) -> bool:
    """Say whether the header of an SQLite file, however damaged the rest is, names another owner or none.

    A file whose header cannot be read is nobody's.
    """
    with suppress(OSError), database.open("rb") as file:  # SQLite will say what it is about a file like this
        header = file.read(_OWNER.stop)
        legible = len(header) == _OWNER.stop and header.startswith(_MAGIC)
        return legible and int.from_bytes(header[_OWNER], "big") != APPLICATION_ID
    return False


def set_aside(database: Path, now: datetime) -> Path:
    """Rename a database and what lies beside it, over no other file, and return its new place.

    No connection to it may be open: the last one to be closed would delete files of the next database.

    Raises
    ------
    Fatal
        If it cannot be renamed.
    """
    place = Path(os.path.realpath(database))
    stamped = f"{place.name}.corrupt-{now:%Y%m%dT%H%M%SZ}"
    names = (stamped if n == 1 else f"{stamped}.{n}" for n in count(1))
    aside = next(path for path in map(place.with_name, names) if not any(map(os.path.lexists, _parts(path))))
    try:
        for old, new in zip(_parts(place), _parts(aside), strict=True):
            with suppress(FileNotFoundError):
                old.rename(new)
    except OSError as error:
        raise Fatal(
            Code.STATE_UNUSABLE,
            f"the inbox {place} is damaged, and cannot be renamed: {error.strerror}",
            hint="move it away; a new one is made from the folders and the repository",
        ) from error
    return aside


def _parts(database: Path) -> list[Path]:
    return [Path(f"{database}{part}") for part in _PARTS]
