"""The files of the datastore: are they durable, may the source go."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.comparing import Proof, found_at, holds
from pfs_ingestd.adapters.repository.copying import check_unchanged, flush
from pfs_ingestd.errors import TryLater

__all__ = ["Durability", "kept", "release"]

REMEMBERED = 1_000


def release(artifact: ResourcePath, source: Path, proof: Proof | None = None) -> bool:
    """Remove a file once the datastore is seen to have all its bytes under another name.

    Parameters
    ----------
    artifact : `~lsst.resources.ResourcePath`
        What the datastore has.
    source : `~pathlib.Path`
        The file. It is kept where the artifact is that very file, or leads to it.
    proof : `~pfs_ingestd.adapters.repository.comparing.Proof` or `None`, optional
        That it has them, if it, or what it was made of, has been compared with the file already.

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
    if not (proof and _still(proof, artifact, source)) and not holds(artifact, source):
        return False
    source.unlink(missing_ok=True)
    return True


def _still(proof: Proof, artifact: ResourcePath, source: Path) -> bool:
    """Say whether artifact and file are still those that were compared."""
    try:
        check_unchanged(source, proof.seen)
    except TryLater:
        return False
    found = found_at(artifact)
    return found is not None and found.mark == proof.mark


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
