"""How files get into the datastore: by names made for them, or as copies of ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.items import Item
from pfs_ingestd.adapters.repository.staging import staging_at
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.policy import elsewhere

__all__ = ["OWNED", "TRANSFERS", "Files", "bound", "effective", "prepared"]

TRANSFERS = ("link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto")
"""The transfer modes, with the meaning that they have in `~lsst.daf.butler.Butler.ingest`."""

OWNED = frozenset({"copy", "move"})
"""Those after which the artifacts are the repository's alone, and not somebody else's files, too."""

REMOTE_INLINE_BYTES = 1_000_000
"""So much of a batch is sent to a store, or read there, while others wait: a pfsConfig, not a raw."""


def effective(transfer: str, root: ResourcePath) -> str:
    """Tell what a transfer mode means to a datastore.

    Raises
    ------
    Fatal
        If it cannot be done.
    """
    return transfer if root.isLocal else elsewhere(transfer, root.geturl())


def bound(inline_bytes: int | None, root: ResourcePath) -> int | None:
    """Tell how many bytes of a batch may be written to or read from a datastore while others wait."""
    return inline_bytes if root.isLocal or inline_bytes is None else min(inline_bytes, REMOTE_INLINE_BYTES)


class Files(NamedTuple):
    """Files on their way into the datastore.

    Parameters
    ----------
    ready, to_copy : `list` [`Item`]
        Those that can be transferred, and those that have to be copied before.
    """

    ready: list[Item]
    to_copy: list[Item]


@contextmanager
def prepared(
    items: Sequence[Item], *, transfer: str, root: ResourcePath, inline_bytes: int | None
) -> Iterator[Files]:
    """Copy or link what the datastore is to own, before the transaction, which keeps others waiting.

    In the transaction a copy only gets a second name, or is copied by the store that it is in already. Its
    first one is there for as long as this lasts.

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
    OSError, or what a store throws
        If a file cannot be read, or the datastore does not take it.
    """
    if transfer not in OWNED:
        yield Files(list(items), [])
        return
    with staging_at(root) as staging:
        files = Files([], [])
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
                staged = staging.begin(item.path, link=transfer == "move")
                staged.fill(seen=item.seen)
                made.append(staged)
                files.ready.append(replace(item, staged=staged.uri))
        # Each by itself as it comes would be as many commits of the file system as there are files.
        for staged in made:
            staged.settle()
        _check_there(items, root)
        yield files


def _check_there(items: Sequence[Item], root: ResourcePath) -> None:
    """See that a store answers, and has what was sent to it a while ago: in the transaction others wait."""
    if root.isLocal:
        return
    for item in items:
        if item.staged and not item.staged.exists():
            raise TryLater(Code.RACE, f"the copy {item.staged} is gone")
