"""What lies among the artifacts of a datastore and belongs to no dataset."""

import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from lsst.daf.butler import (  # type: ignore[attr-defined]  # CollectionType is not in an __all__
    CollectionType,
    DatasetRef,
)
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.objects import objects_below
from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.audit.findings import Stray, StrayObject
from pfs_ingestd.errors import Incomplete, Rejected
from pfs_ingestd.exposure import CardValue
from pfs_ingestd.pfs.cards import pick
from pfs_ingestd.pfs.walk import walk

__all__ = ["OLD", "StrayObjects", "Strays", "places_of", "stamp"]

OLD = timedelta(hours=1)
"""How long something has to have lain there before it can be a stray: until it is committed, an artifact that
is just being made looks like one."""

DATASETS = 1000
STEP = 1000


class Strays:
    """Looks for strays, once it was told of all raws and pfsConfigs.

    An artifact's place is what the datastore says it is. Where to look is a matter of economy only: in the
    folders named after the RUN collections, as Butler's own templates name them, and in the folders that hold
    nothing but artifacts of one of them. What is found there and was not told of is compared with all other
    datasets of the repository before it is called a stray.

    Parameters
    ----------
    session : `Session`
        The repository; its datastore is a folder.
    old : `float`
        What was changed after this time, seconds since 1970, may still become an artifact; see `OLD`.

    Notes
    -----
    Of each artifact eight bytes are kept.
    """

    def __init__(self, session: Session, old: float) -> None:
        self._session = session
        self._old = old
        self._root = Path(session.datastore.ospath)
        self._known = array("q")
        self._folders: dict[str, str] = {}

    def tell(self, run: str, place: str) -> None:
        """Tell of an artifact in the datastore, and of its RUN collection."""
        self._known.append(hash(place))
        folder = self._folders.get(run)
        if folder is None or not place.startswith(folder):
            parent = Path(place).parent
            shared = parent if folder is None else os.path.commonpath((folder, parent))
            self._folders[run] = f"{shared}/"

    def find(self, tell: Callable[[int], None]) -> Iterator[Stray]:
        """Find the strays.

        Parameters
        ----------
        tell : `~collections.abc.Callable`
            Told how many more artifacts were looked at.
        """
        known = array("q", sorted(self._known))
        found: dict[Path, os.stat_result] = {}
        for number, entry in enumerate(self._entries(), 1):
            if number % STEP == 0:
                tell(STEP)
            if not _contains(known, hash(entry.path)):
                status = entry.stat(follow_symlinks=False)
                if status.st_ctime < self._old:
                    found[Path(entry.path)] = status
        if found:
            for refs in _other_datasets(self._session):
                for path in places_of(self._session, refs):
                    found.pop(path, None)
        for path, status in found.items():
            yield Stray(path=path, stamp=stamp(status), visit=_visit(path))

    def _entries(self) -> Iterator["os.DirEntry[str]"]:
        """Go through all files in the folders to look in."""
        layout = self._session.layout
        named = {self._root / run for run in (*self._folders, layout.raw_run, layout.config_run)}
        wanted = named.union(map(Path, self._folders.values())) - {self._root}
        pending = [folder for folder in wanted if folder.is_dir() and not wanted.intersection(folder.parents)]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        yield entry


class StrayObjects:
    """Looks for strays in a store, as `Strays` does in a folder, below the names of the RUN collections.

    Parameters
    ----------
    session : `Session`
        The repository; its datastore is in S3.
    old : `~datetime.datetime`
        What was written after this time may still become an artifact; see `OLD`.
    """

    def __init__(self, session: Session, old: datetime) -> None:
        self._session = session
        self._old = old
        self._known = array("q")
        self._runs: set[str] = set()

    def tell(self, run: str, place: str) -> None:
        """Tell of an artifact in the datastore, and of its RUN collection."""
        self._known.append(hash(place))
        self._runs.add(run)

    def find(self, tell: Callable[[int], None]) -> Iterator[StrayObject]:
        """Find the strays; see `Strays.find`."""
        known = array("q", sorted(self._known))
        layout = self._session.layout
        found: set[str] = set()
        number = 0
        for run in sorted({*self._runs, layout.raw_run, layout.config_run}):
            for number, each in enumerate(objects_below(self._session.datastore, f"{run}/"), number + 1):  # noqa: B020 (it goes on counting)
                if number % STEP == 0:
                    tell(STEP)
                place = each.uri.geturl()
                if each.changed < self._old and not _contains(known, hash(place)):
                    found.add(place)
        if found:
            for refs in _other_datasets(self._session):
                found.difference_update(uri.geturl() for uri in _uris_of(self._session, refs))
        yield from (StrayObject(where=place) for place in sorted(found))


def _other_datasets(session: Session) -> Iterator[Sequence[DatasetRef]]:
    """Go through all datasets that are no raws or pfsConfigs of this instrument."""
    butler, layout = session.butler, session.layout
    ours = {layout.raw.name, layout.config.name}
    for run in butler.collections.query_info("*", CollectionType.RUN, include_summary=True):
        for name in sorted(run.dataset_types or ()):
            refs = butler.query_datasets(
                name,
                collections=run.name,
                find_first=False,
                where="instrument != ours" if name in ours else "",
                bind={"ours": session.instrument} if name in ours else None,
                explain=False,
                limit=None,
            )
            for start in range(0, len(refs), DATASETS):
                yield refs[start : start + DATASETS]


def _uris_of(session: Session, refs: Sequence[DatasetRef]) -> Iterator[ResourcePath]:
    """Ask the datastore where the artifacts of some datasets are."""
    for uris in session.butler.get_many_uris(refs, allow_missing=True).values():
        yield from (uri for uri in (uris.primaryURI, *uris.componentURIs.values()) if uri is not None)


def places_of(session: Session, refs: Sequence[DatasetRef]) -> set[Path]:
    """Ask the datastore where the artifacts of some datasets are, as far as they are files."""
    return {Path(uri.ospath) for uri in _uris_of(session, refs) if uri.isLocal}


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """Tell what a file is known again by; the time of an inode changes with each hard link to it."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _contains(numbers: "array[int]", number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


def _visit(path: Path) -> int | None:
    """Read which visit a file says it is of; `None` where it does not, or is no whole FITS file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        with path.open("rb") as file:
            cards: dict[str, CardValue] = {}
            for hdu in islice(walk(file, status.st_size), 2):
                cards |= pick(hdu.cards, frozenset({"W_VISIT"}))
    except (OSError, Incomplete, Rejected):
        return None
    visit = cards.get("W_VISIT")
    return visit if isinstance(visit, int) and not isinstance(visit, bool) else None
