"""What becomes of files whose data IDs are taken: the same bytes, others, or what takes long to tell."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import Found, Proof, found_at, same_content, told_by_look
from pfs_ingestd.adapters.repository.copying import check_unchanged
from pfs_ingestd.adapters.repository.items import Item
from pfs_ingestd.errors import TryLater
from pfs_ingestd.ports import Outcome, Stored

__all__ = ["Inline", "Verdicts", "compare", "outcome_of"]


_RESULTS = {True: Stored.ALREADY_THERE, False: Stored.CONFLICT, None: Stored.TO_BE_COMPARED}


class Inline:
    """What may still be read while others wait.

    Parameters
    ----------
    left : `int` or `None`
        How many bytes of files; `None` for any number.
    """

    def __init__(self, left: int | None) -> None:
        self._left = left

    def take(self, size: int) -> bool:
        """Take so much of it, if there is."""
        if self._left is None:
            return True
        if size > self._left:
            return False
        self._left -= size
        return True


class Verdicts(NamedTuple):
    """What came of comparing files with what is stored under their data IDs.

    Parameters
    ----------
    outcomes : `dict` [`int`, `~pfs_ingestd.ports.Outcome`]
        Of those that have an artifact.
    absent : `list` [`Item`]
        Those that have none.
    proofs : `dict` [`int`, `Proof`]
        Of those whose artifact has the same bytes, which artifact and which file that are.
    """

    outcomes: dict[int, Outcome]
    absent: list[Item]
    proofs: dict[int, Proof]


def compare(artifacts: Mapping[UUID, ResourcePath], items: Sequence[Item], inline: Inline) -> Verdicts:
    """Compare files with what is stored under their data IDs.

    Parameters
    ----------
    artifacts : `~collections.abc.Mapping` [`~uuid.UUID`, `~lsst.resources.ResourcePath`]
        What is stored, by dataset.
    items : `~collections.abc.Sequence` [`Item`]
        The files.
    inline : `Inline`
        How much may be read where a look cannot tell; what goes beyond is ``TO_BE_COMPARED``.

    Raises
    ------
    OSError, or what a store throws
        If a file or an artifact cannot be read.
    """
    verdicts = Verdicts({}, [], {})
    for item in items:
        artifact = artifacts.get(item.ref.id)
        found = None if artifact is None else found_at(artifact)
        if found is None:
            verdicts.absent.append(item)
            continue
        same = _told(found, item, inline)
        verdicts.outcomes[item.index] = outcome_of(_RESULTS[same], item, artifacts)
        if same and item.seen:
            verdicts.proofs[item.index] = Proof(found.mark, item.seen)
    return verdicts


def outcome_of(result: Stored, item: Item, artifacts: Mapping[UUID, ResourcePath]) -> Outcome:
    """Say what became of a dataset that has an artifact."""
    return Outcome(result, str(item.ref.id), artifacts[item.ref.id].geturl())


def _told(found: Found, item: Item, inline: Inline) -> bool | None:
    same = told_by_look(found, item.path.stat())
    if same is None:
        same = _told_before(found, item)
    if same is None and inline.take(found.size):
        same = same_content(found, item.path)
    return same


def _told_before(found: Found, item: Item) -> bool | None:
    """Tell what came of comparing them elsewhere, if both are still what they were."""
    before = item.comparison
    if before is None or (before.artifact, before.mark) != (found.uri.geturl(), found.mark):
        return None
    try:
        check_unchanged(item.path, before.seen)
    except TryLater:
        return None
    return before.same
