"""The headers of files, read: each file opened once, its headers read, its data stepped over."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pfs_ingestd.errors import Code, Incomplete, IngestdError, Outage, Rejected, TryLater, Vanished
from pfs_ingestd.exposure import CardValue, ConfigHeader, Exposure, RawHeader
from pfs_ingestd.pfs import corrections
from pfs_ingestd.pfs.cards import pick
from pfs_ingestd.pfs.exposures import exposure
from pfs_ingestd.pfs.headers import (
    CONFIG_CARDS,
    RAW_CARDS,
    check_ended,
    check_name,
    config_header,
    corrected,
    has_guide_stars,
    identity,
    raw_header,
)
from pfs_ingestd.pfs.instrument import ARM_NUMBERS, SPECTROGRAPHS
from pfs_ingestd.pfs.layout import check_image, config_table, count_reads
from pfs_ingestd.pfs.names import is_ramp
from pfs_ingestd.pfs.table import distinct_integers
from pfs_ingestd.pfs.walk import walk
from pfs_ingestd.ports import Header
from pfs_ingestd.records import Kind, Sighting, path_text

__all__ = ["FitsHeaders"]

# Not to wait for a writer, should the path be a pipe by the time it is opened.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

_Corrections: TypeAlias = Callable[[str, int], Mapping[str, object]]


class FitsHeaders:
    """Reads the headers of FITS files.

    Parameters
    ----------
    corrections : `~collections.abc.Sequence` [`~pathlib.Path`]
        The folders in which corrections to headers are looked up.
    workers : `int`
        How many files to read at once, so that the waiting for a file server overlaps; 0 or 1 reads one
        after the other.
    """

    def __init__(self, *, corrections: Sequence[Path] = (), workers: int = 1) -> None:
        self._folders = tuple(corrections)
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, "headers") if workers > 1 else None

    def read(self, sightings: Sequence[Sighting]) -> Sequence[Header | IngestdError]:
        """Walk over each file's structure and read what its header says.

        Returns
        -------
        answers : `~collections.abc.Sequence`
            One for each file: its header, or `Incomplete`, `Vanished`, `Rejected`, `TryLater`, or an `Outage`
            where its whole folder cannot be read.
        """
        # The files of a visit share its corrections; the next call sees what was changed in them.
        look_up = cache(partial(corrections.find, self._folders))
        read = partial(_read, look_up=look_up)
        if self._pool is None or len(sightings) < 2:  # noqa: PLR2004 (one file gains nothing from a pool)
            return [read(sighting) for sighting in sightings]
        # A part for each worker: to hand over file by file takes half as long as to read one.
        part = math.ceil(len(sightings) / self._workers)
        parts = [sightings[start : start + part] for start in range(0, len(sightings), part)]
        answers = self._pool.map(lambda files: [read(sighting) for sighting in files], parts)
        return list(chain.from_iterable(answers))

    def exposure(self, header: RawHeader) -> Exposure:
        """Make the exposure record that this header describes."""
        return exposure(header)

    def close(self) -> None:
        """Let the workers go."""
        if self._pool is not None:
            self._pool.shutdown()


def _read(sighting: Sighting, look_up: _Corrections) -> Header | IngestdError:
    try:
        with os.fdopen(os.open(sighting.path, _FLAGS), "rb", 0) as file:
            if change := _change(file, sighting):
                return change
            answer = _parse(file, sighting, look_up)
            # What was read while the file changed says nothing of it.
            return _change(file, sighting) or answer
    except (FileNotFoundError, NotADirectoryError):
        return Vanished(Code.VANISHED, "the file is not there any more")
    except OSError as error:
        return _away(sighting.path.parent) or TryLater(
            Code.BUSY,
            f"the file cannot be read: {error.strerror}",
            hint="see that the daemon's user may read it, and that its file system answers",
        )


def _away(folder: Path) -> Outage | None:
    """Say that a whole folder cannot be read, if so: none of its files is to blame then."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        return Outage(
            Code.ROOT_UNREACHABLE,
            f"{path_text(folder)} cannot be read: {error.strerror}",
            hint="see that it is mounted and that the daemon's user may read it",
        )
    return None


def _change(file: BinaryIO, sighting: Sighting) -> Incomplete | None:
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns, now.st_ino) == (sighting.size, sighting.mtime_ns, sighting.inode):
        return None
    return Incomplete(
        Code.INCOMPLETE,
        f"the file changed while it was being looked at: {sighting.size} bytes then, {now.st_size} now",
    )


def _parse(file: BinaryIO, sighting: Sighting, look_up: _Corrections) -> Header | IngestdError:
    try:
        if sighting.name.kind is Kind.PFS_CONFIG:
            return _parse_config(file, sighting)
        return _parse_raw(file, sighting, look_up)
    except (Incomplete, Rejected, TryLater) as error:
        return error


def _parse_raw(file: BinaryIO, sighting: Sighting, look_up: _Corrections) -> RawHeader:
    name = sighting.name
    if name.arm is None or name.spectrograph is None:
        raise Rejected(
            Code.UNNAMEABLE,
            f"the name speaks of a camera that does not exist: spectrographs are {SPECTROGRAPHS[1]} to"
            f" {SPECTROGRAPHS[-1]}, arms 1 to {len(ARM_NUMBERS)}, and a ramp's arm is 3",
            hint="rename the file",
        )
    hdus = list(walk(file, sighting.size))
    # Simulated files have their cards in the header of the image, and an empty primary header.
    cards: dict[str, CardValue] = {}
    for hdu in hdus[:2]:
        cards |= pick(hdu.cards, RAW_CARDS)
    if is_ramp(sighting.path.name):
        reads = count_reads(hdus)
        cards = corrected(cards, look_up(*identity(cards)))
        check_ended(cards, reads)
    else:
        check_image(hdus)
        cards = corrected(cards, look_up(*identity(cards)))
    header = raw_header(cards)
    check_name(name, header)
    return header


def _parse_config(file: BinaryIO, sighting: Sighting) -> ConfigHeader:
    hdus = list(walk(file, sighting.size))
    cards = pick(hdus[0].cards, CONFIG_CARDS)
    table = config_table(hdus, has_guide_stars=has_guide_stars(cards))
    header = config_header(cards, sighting.name, distinct_integers(file, table, "catId"))
    check_name(sighting.name, header)
    return header
