"""The files of the datastore: are they the same, are they durable, may the source go."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.copying import check_unchanged, flush
from pfs_ingestd.adapters.repository.objects import look_at, same_digest
from pfs_ingestd.errors import TryLater
from pfs_ingestd.records import Sighting

__all__ = ["Compared", "Durability", "holds", "kept", "release", "uri_of"]

CHUNK = 1 << 20
REMEMBERED = 1_000


class Compared(NamedTuple):
    """A copy that was found to have the same bytes as its file, and that file, as they were then."""

    copy: os.stat_result
    seen: Sighting


def uri_of(path: Path) -> ResourcePath:
    """Name a file so that nothing in its name is taken for the syntax of a URI."""
    return ResourcePath(path.absolute().as_uri(), forceDirectory=False)


def holds(artifact: ResourcePath, source: Path) -> bool | None:
    """Tell whether an artifact is, or has the same bytes as, a file.

    Parameters
    ----------
    artifact : `~lsst.resources.ResourcePath`
        What the datastore has.
    source : `~pathlib.Path`
        The file.

    Returns
    -------
    same : `bool` or `None`
        `None` if there is no artifact.

    Raises
    ------
    OSError, or what a store throws
        If one of them cannot be read, or there is no such file.

    Notes
    -----
    Of an object whose tag says enough nothing is read; others are, up to the first byte that differs.
    """
    of_source = source.stat()
    if artifact.isLocal:
        try:
            of_artifact = Path(artifact.ospath).stat()
        except FileNotFoundError:
            return None
        if os.path.samestat(of_artifact, of_source):
            return True
        size = of_artifact.st_size
    elif artifact.scheme == "s3":
        found = look_at(artifact)
        if found is None:
            return None
        if found.size == of_source.st_size and same_digest(found, source):
            return True
        size = found.size
    else:
        try:
            size = artifact.size()
        except FileNotFoundError:
            return None
    return size == of_source.st_size and _same_bytes(artifact, source)


def _same_bytes(artifact: ResourcePath, source: Path) -> bool:
    with artifact.open("rb") as stored, source.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if stored.read(len(chunk) or 1) != chunk:
                return False
            if not chunk:
                return True


def release(artifact: ResourcePath, source: Path, compared: Compared | None = None) -> bool:
    """Remove a file once the datastore is seen to have all its bytes under another name.

    Parameters
    ----------
    artifact : `~lsst.resources.ResourcePath`
        What the datastore has.
    source : `~pathlib.Path`
        The file. It is kept where the artifact is that very file, or leads to it.
    compared : `Compared` or `None`, optional
        What the artifact was made of, if that has been compared with the file already.

    Returns
    -------
    verified : `bool`
        Whether the artifact has the file's bytes; if not, the file is kept.

    Raises
    ------
    OSError
        If it cannot be compared or removed.
    """
    if artifact.isLocal and os.path.realpath(artifact.ospath) == os.path.realpath(source):
        return True
    if not source.exists():
        # The same file twice in a batch, or somebody else was faster.
        return True
    if not (compared and _still(compared, artifact, source)) and not holds(artifact, source):
        return False
    source.unlink(missing_ok=True)
    return True


def _still(compared: Compared, artifact: ResourcePath, source: Path) -> bool:
    """Say whether the artifact is that copy, and the file still what it was compared with."""
    now = Path(artifact.ospath).stat()
    same = os.path.samestat(now, compared.copy) and now.st_size == compared.copy.st_size
    try:
        check_unchanged(source, compared.seen)
    except TryLater:
        return False
    return same


@contextmanager
def kept(artifact: ResourcePath, root: ResourcePath) -> Iterator[None]:
    """Keep an artifact under a second name, and put it back should what is done meanwhile fail.

    Parameters
    ----------
    artifact : `~lsst.resources.ResourcePath`
        What the datastore has.
    root : `~lsst.resources.ResourcePath`
        Root of the datastore; what is outside of it is not the datastore's, and stays where it is.
    """
    if artifact.relative_to(root) is None:
        yield
        return
    second = _InFolder(artifact) if artifact.isLocal else _InStore(artifact)
    if not second.take():
        yield
        return
    try:
        yield
    except BaseException:
        second.put_back()
        raise
    second.forget()


class _InFolder:
    """The second name of a file."""

    def __init__(self, artifact: ResourcePath) -> None:
        self._path = Path(artifact.ospath)
        self._second = self._path.with_name(_second_name(self._path.name))

    def take(self) -> bool:
        """Give it to the artifact; say whether there is one."""
        if os.path.lexists(self._second) and not os.path.lexists(self._path):
            # The process died while it replaced the artifact.
            self._second.replace(self._path)
        if not os.path.lexists(self._path):
            return False
        self._second.unlink(missing_ok=True)
        os.link(self._path, self._second, follow_symlinks=False)
        return True

    def put_back(self) -> None:
        """Have the artifact as it was."""
        self._second.replace(self._path)

    def forget(self) -> None:
        """Let go of the artifact."""
        self._second.unlink()


class _InStore:
    """A copy of an object, under another key."""

    def __init__(self, artifact: ResourcePath) -> None:
        self._artifact = artifact
        self._second = artifact.updatedFile(_second_name(artifact.basename()))

    def take(self) -> bool:
        """Make it of the artifact; say whether there is one."""
        if not self._artifact.exists():
            if not self._second.exists():
                return False
            # The process died while it replaced the artifact.
            self.put_back()
        self._second.transfer_from(self._artifact, transfer="copy", overwrite=True)
        return True

    def put_back(self) -> None:
        """Have the artifact as it was."""
        self._artifact.transfer_from(self._second, transfer="copy", overwrite=True)
        self._second.remove()

    def forget(self) -> None:
        """Let go of the artifact."""
        self._second.remove()


def _second_name(name: str) -> str:
    return f".{name}.replaced"


class Durability:
    """Sees to it that artifacts survive a power cut.

    Parameters
    ----------
    root : `~lsst.resources.ResourcePath`
        Root of the datastore. Nothing needs to be done for a remote one.
    """

    def __init__(self, root: ResourcePath) -> None:
        self._root = Path(root.ospath) if root.isLocal else None
        self._settled: set[Path] = set()

    def settle(self, artifacts: Iterable[ResourcePath]) -> None:
        """Write names through to the disk; the contents of what we copied are there already.

        Parameters
        ----------
        artifacts : `~collections.abc.Iterable` [`~lsst.resources.ResourcePath`]
            Artifacts that were just made; those outside of the datastore are left alone.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        root = self._root
        if root is None:
            return
        paths = [Path(artifact.ospath) for artifact in artifacts]
        within = [path for path in paths if root in path.parents]
        for folder in {path.parent for path in within}:
            flush(folder)
            self._settle_folder(root, folder)

    def _settle_folder(self, root: Path, folder: Path) -> None:
        """Write the names of a folder and of those above it through to the disk, once each."""
        if len(self._settled) > REMEMBERED:
            self._settled.clear()
        while folder != root and folder not in self._settled:
            flush(folder.parent)
            self._settled.add(folder)
            folder = folder.parent
