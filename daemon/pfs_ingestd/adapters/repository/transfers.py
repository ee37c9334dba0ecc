"""How files get into the datastore: as Butler transfers them, or as copies of ours that it moves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import copy_file, flush, link_file
from pfs_ingestd.adapters.repository.items import Item
from pfs_ingestd.adapters.repository.staging import Staging

__all__ = ["OWNED", "TRANSFERS", "Files", "prepared"]

TRANSFERS = ("link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto")
"""The transfer modes, with the meaning that they have in `~lsst.daf.butler.Butler.ingest`."""

OWNED = frozenset({"copy", "move"})
"""Those after which the artifacts are the repository's alone, and not somebody else's files, too."""


class Files(NamedTuple):
    """Files on their way into the datastore.

    Parameters
    ----------
    transfer : `str`
        How Butler has to transfer those that are ready.
    ready, to_copy : `list` [`Item`]
        Those that can be transferred, and those that have to be copied before.
    """

    transfer: str
    ready: list[Item]
    to_copy: list[Item]


@contextmanager
def prepared(
    items: Sequence[Item], *, transfer: str, root: ResourcePath, inline_bytes: int | None
) -> Iterator[Files]:
    """Copy or link what Butler is to move, before the transaction, which keeps others waiting.

    A transaction that fails puts copies back to where they were moved from: that is there as long as this
    lasts.

    Parameters
    ----------
    items : `~collections.abc.Sequence` [`Item`]
        The files; some may have been copied already.
    transfer : `str`
        One of `TRANSFERS`.
    root : `~lsst.resources.ResourcePath`
        Root of the datastore.
    inline_bytes : `int` or `None`
        How many bytes to take at most; `None` for all. Links count as copies do: the contents of a file that
        will be removed under its other name have to be on the disk as well.

    Raises
    ------
    TryLater
        If a file is not, or no longer, what was seen.
    OSError
        If a file cannot be read, or the disk does not take it.
    """
    if transfer not in OWNED:
        yield Files(transfer, list(items), [])
    elif not root.isLocal:
        # Butler would remove what it moves there before anything is committed.
        yield Files("copy", list(items), [])
    else:
        with Staging(Path(root.ospath)) as staging:
            files = Files("move", [], [])
            made = []
            room = inline_bytes
            for item in items:
                size = item.seen.size if item.seen else item.path.stat().st_size
                if item.staged:
                    files.ready.append(item)
                elif room is not None and size > room:
                    files.to_copy.append(item)
                else:
                    room = None if room is None else room - size
                    made.append(_staged(item, staging, link=transfer == "move"))
                    files.ready.append(replace(item, staged=made[-1]))
            # Each by itself as it comes would be as many commits of the file system as there are files.
            for path in made:
                flush(path)
            yield files


def _staged(item: Item, staging: Staging, *, link: bool) -> Path:
    staged = staging.name(item.path)
    if not (link and link_file(item.path, staged)):
        staged.touch(mode=0o600, exist_ok=False)
        copy_file(item.path, staged, seen=item.seen)
    return staged
