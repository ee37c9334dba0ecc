"""Artifacts put in their places, and never over what another has put there."""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import link_file
from pfs_ingestd.adapters.repository.objects import OURS, copy_object, has_conditions, look_at
from pfs_ingestd.adapters.repository.transfers import OWNED
from pfs_ingestd.errors import Code, TryLater

__all__ = ["Placing", "is_exclusive", "placing_at"]

ATTEMPTS = 3
"""How often a place is cleared that somebody else fills again."""


class Placing(ABC):
    """Puts files in the places of artifacts, for one transaction.

    Who holds the lock of an exposure is the only one who stores its datasets. What lies in a place, and is
    not stored, he may remove: it was left by somebody who died, or failed. But a process can lose its locks
    without knowing, while it is stopped, or its file server hangs. Another may have stored something since,
    and that is not to be harmed by what the first does before he learns of it. So nothing is put where
    something is, and nothing is destroyed before the registry was heard after it had been taken away.

    Parameters
    ----------
    heard : `~collections.abc.Callable`
        Asks the registry something in the transaction; raises if that is over, and its locks with it.
    """

    def __init__(self, heard: Callable[[], object]) -> None:
        self._heard = heard

    @abstractmethod
    def put(self, source: ResourcePath, place: ResourcePath, transfer: str) -> None:
        """Put a file in a place, by a new name for it or a copy; what has been put there before goes.

        Parameters
        ----------
        source : `~lsst.resources.ResourcePath`
            The file, or its copy.
        place : `~lsst.resources.ResourcePath`
            Where it is to be, in the datastore.
        transfer : `str`
            A transfer mode of Butler; for ``copy`` and ``move`` there is a copy in the datastore already.

        Raises
        ------
        TryLater
            If others fill the place again and again.
        OSError, or what a store throws
            If it cannot be put there.
        """

    @abstractmethod
    def take_back(self) -> None:
        """Remove what was put, as the transaction fails; without its locks it is left to the next one."""


def placing_at(root: ResourcePath, heard: Callable[[], object], *, lasting: bool) -> Placing:
    """Have a way to put files in their places.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of the datastore.
    heard : `~collections.abc.Callable`
        See `Placing`.
    lasting : `bool`
        Whether a lock that was held a moment ago is held still: nobody but its holder lets go of it.
    """
    return _InFolder(heard, lasting=lasting) if root.isLocal else _InStore(root, heard)


def is_exclusive(root: ResourcePath) -> bool:
    """Find out, by trying it, whether a datastore can keep an artifact from being overwritten.

    Raises
    ------
    OSError, or what a store throws
        If it cannot be written to.
    """
    if not root.isLocal:
        return has_conditions(root)
    # What a killed process leaves of it is swept with the folders of those who died while they copied.
    with tempfile.TemporaryDirectory(dir=root.ospath, prefix=OURS) as folder:
        first = Path(folder) / "first"
        first.touch()
        return link_file(first, first.with_name("second"))


class _InFolder(Placing):
    """Makes names in folders: of those who make the same one, only one succeeds."""

    def __init__(self, heard: Callable[[], object], *, lasting: bool) -> None:
        super().__init__(heard)
        self._lasting = lasting
        self._made: list[Path] = []
        self._moved: dict[Path, Path] = {}

    def put(self, source: ResourcePath, place: ResourcePath, transfer: str) -> None:
        file, path = Path(source.ospath), Path(place.ospath)
        for _ in range(ATTEMPTS):
            try:
                self._make(file, path, transfer)
            except FileExistsError:
                if _is_same(file, path):
                    return
                self._remove([path])
            except FileNotFoundError:
                if path.parent.exists():
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
            else:
                return
        raise _filled_again(place)

    def take_back(self) -> None:
        if not self._made:
            return
        # What fails here has failed already; what is left is taken away by whoever stores the dataset.
        with suppress(Exception):
            self._heard()
            for path, file in self._moved.items():
                path.rename(file)
            self._remove([path for path in self._made if path not in self._moved])

    def _make(self, file: Path, path: Path, transfer: str) -> None:
        if transfer in {"symlink", "relsymlink"}:
            _make_symlink(file, path, relative=transfer == "relsymlink")
        elif transfer == "hardlink":
            os.link(os.path.realpath(file), path)
        elif not link_file(file, path):
            if transfer in OWNED:
                self._move(file, path)
            else:
                _make_symlink(file, path)
        self._made.append(path)

    def _move(self, file: Path, path: Path) -> None:
        """Give a copy of ours its name where a file has but one, which nothing keeps from overwriting."""
        if os.path.lexists(path):
            raise FileExistsError(path)
        self._heard()
        file.rename(path)
        self._moved[path] = file

    def _remove(self, paths: Sequence[Path]) -> None:
        """Remove what lies in some places, if the registry lets nobody else have stored it."""
        if not paths:
            return
        self._heard()
        if self._lasting:
            for path in paths:
                path.unlink(missing_ok=True)
            return
        aside = {}
        try:
            for path in paths:
                name = path.with_name(f".{path.name}.{uuid4().hex}.displaced")
                with suppress(FileNotFoundError):
                    path.rename(name)
                    aside[path] = name
            self._heard()
        except BaseException:
            for path, name in aside.items():
                # If the place is taken again, nobody knows which of the two it should be: both are kept.
                with suppress(OSError):
                    os.link(name, path, follow_symlinks=False)
                    name.unlink()
            raise
        for name in aside.values():
            name.unlink()


class _InStore(Placing):
    """Copies objects within a store that makes one only if there is none, or still that one.

    Not every store can. The others are told apart by trying it, and the registry is heard before each copy
    there: a process that was stopped in just that moment overwrites what it finds.
    """

    def __init__(self, root: ResourcePath, heard: Callable[[], object]) -> None:
        super().__init__(heard)
        # Asked for before the transaction, which keeps others waiting.
        self._has_conditions = has_conditions(root)

    def put(self, source: ResourcePath, place: ResourcePath, transfer: str) -> None:
        del transfer
        if not self._has_conditions:
            self._heard()
            place.transfer_from(source, transfer="copy", overwrite=True)
            return
        found = None
        for _ in range(ATTEMPTS):
            if copy_object(source, place, over=found):
                return
            found = look_at(place)
            self._heard()
        raise _filled_again(place)

    def take_back(self) -> None:
        """Leave everything: it is overwritten by whoever stores the dataset."""


def _make_symlink(file: Path, path: Path, *, relative: bool = False) -> None:
    target = file.resolve(strict=True)
    path.symlink_to(os.path.relpath(target, path.parent.resolve()) if relative else target)


def _is_same(file: Path, path: Path) -> bool:
    """Say whether a place has that very file already."""
    try:
        return file.samefile(path)
    except FileNotFoundError:
        return False


def _filled_again(place: ResourcePath) -> TryLater:
    return TryLater(Code.RACE, f"others put something in the place {place} each time that it is cleared")
