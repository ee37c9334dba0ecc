"""The watched roots: what is wanted where, and which links lead where nothing else does."""

import os
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from pfs_ingestd.records import Kind

__all__ = ["NO_KINDS", "Roots", "is_hidden", "is_link"]

NO_KINDS: frozenset[Kind] = frozenset()

REMEMBERED = 4096

_Kinds: TypeAlias = Mapping[Path, frozenset[Kind]]


class Roots:
    """The watched roots; going through them gives their paths, as the operator wrote them.

    Parameters
    ----------
    roots : `~collections.abc.Mapping` [`~pathlib.Path`, `~collections.abc.Collection` [`Kind`]]
        The roots, and the kinds of file wanted below each.
    follow_links : `bool`
        Whether a link may stand for a file outside of the roots.
    """

    def __init__(self, roots: Mapping[Path, Collection[Kind]], *, follow_links: bool) -> None:
        self._roots: dict[Path, frozenset[Kind]] = {}
        for given, kinds in roots.items():
            root = _absolute(given)
            self._roots[root] = self._roots.get(root, NO_KINDS) | frozenset(kinds)
        self._follow_links = follow_links
        # There are thousands of files in each of a few folders.
        self._kinds = lru_cache(REMEMBERED)(self._kinds_at)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._roots)

    def __contains__(self, path: object) -> bool:
        return path in self._roots

    def kinds(self, folder: Path) -> frozenset[Kind]:
        """Tell the kinds wanted in a folder: none outside of the roots and behind a hidden name."""
        return self._kinds(folder)

    def _kinds_at(self, folder: Path) -> frozenset[Kind]:
        return _kinds(folder, self._roots)

    def is_detour(self, link: Path) -> bool:
        """Say whether a link to a folder leads to what is visited under its own path, or in a wide circle."""
        real, roots = _real(link), self._real()
        return _kinds(real, roots) >= self.kinds(link) or any(real in root.parents for root in roots)

    def admits(self, link: Path) -> bool:
        """Say whether a link to a file may stand for the file."""
        return self._follow_links or any(_real(link).is_relative_to(root) for root in self._real())

    def _real(self) -> dict[Path, frozenset[Kind]]:
        real: dict[Path, frozenset[Kind]] = {}
        for root, kinds in self._roots.items():
            real[_real(root)] = real.get(_real(root), NO_KINDS) | kinds
        return real


def _kinds(path: Path, roots: _Kinds) -> frozenset[Kind]:
    """Tell the kinds wanted at a path: none outside of the roots and behind a hidden name."""
    return NO_KINDS.union(
        *(
            kinds
            for root, kinds in roots.items()
            if path.is_relative_to(root) and not any(map(is_hidden, path.relative_to(root).parts))
        )
    )


def is_hidden(name: str) -> bool:
    """Say whether what has this name is passed over, with all that is below it."""
    # fsck's own folder stands in the root of many a disk and is root's alone.
    return name.startswith(".") or name == "lost+found"


def is_link(path: Path) -> bool:
    """Say whether there is a link; whoever may not know that gets no for an answer."""
    return os.path.islink(path)  # noqa: PTH114 (Path.is_symlink raises where a folder may not be searched)


def _absolute(path: Path) -> Path:
    # The path as the operator wrote it, links and all, for that is what people will look for.
    return Path(os.path.abspath(path))  # noqa: PTH100 (pathlib has no way to tidy a path but to resolve its links)


def _real(path: Path) -> Path:
    # Never raises, unlike Path.resolve.
    return Path(os.path.realpath(path))
