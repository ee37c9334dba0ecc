"""What the headers of a visit's files say together: which one speaks for the exposure, and who disagrees."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeAlias

from pfs_ingestd.errors import Code, Rejected

__all__ = [
    "CardValue",
    "ConfigHeader",
    "Exposure",
    "RawHeader",
    "agreed_design",
    "design_conflict",
    "spokesman",
]

CardValue: TypeAlias = str | int | float | bool
"""What a header card can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHeader:
    """What one raw file says of itself.

    Parameters
    ----------
    instrument : `str`
        ``PFS`` at the summit, ``PFS-<site>`` elsewhere.
    visit : `int`
        Number of the visit: Butler's exposure.
    arm : `str`
        One of ``b r n m``.
    spectrograph : `int`
        1 to 4.
    detector : `int`
        Detector number, as registered in the repository.
    pfs_design_id : `int`
        63-bit number of the fibre design.
    dither : `int`
        Slit offset along the dispersion, in units of 1e-4 mm.
    cards : `~collections.abc.Mapping`
        The cards that the exposure record is made of, corrections applied.
    night : `~datetime.date` or `None`
        UTC date on which the exposure began; `None` where only its identity is known.
    """

    instrument: str
    visit: int
    arm: str
    spectrograph: int
    detector: int
    pfs_design_id: int
    dither: int
    cards: Mapping[str, CardValue] = field(repr=False)
    night: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigHeader:
    """What one pfsConfig says of itself.

    Parameters
    ----------
    visit : `int`
        Number of the visit.
    pfs_design_id : `int`
        63-bit number of the fibre design.
    cat_ids : `tuple` [`int`]
        The distinct catalogue numbers of its targets, ascending.
    cameras : `frozenset` [`str`] or `None`
        The cameras expected for the visit, such as ``b1``; `None` where the file does not say.
    """

    visit: int
    pfs_design_id: int
    cat_ids: tuple[int, ...]
    cameras: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The exposure record of one visit, in the words and units of Butler.

    Parameters
    ----------
    instrument : `str`
        Name of the instrument.
    id : `int`
        Number of the visit.
    obs_id, group_id, seq_num
        The same number: as decimal string, as number, as number.
    pfs_design_id, dither : `int`
        See `RawHeader`.
    shift, focus : `float` or `None`
        Slit offsets across the dispersion and in focus, mm.
    begin_ns, end_ns : `int`
        Begin and end, nanoseconds of TAI since 1970-01-01 TAI; equal (or end before begin) for a negative
        exposure time, which makes an empty timespan.
    day_obs : `int`
        TAI date of the begin, as yyyymmdd.
    exposure_time, dark_time : `float` or `None`
        Seconds.
    observation_type, observation_reason, science_program, group_name : `str`
        See ``docs/exposure-record.md``.
    target_name : `str` or `None`
        Name of the target.
    tracking_ra, tracking_dec : `float` or `None`
        ICRS, degrees.
    zenith_angle : `float` or `None`
        Degrees.
    lamps : `str`
        The lamps that are on, sorted, joined by commas.
    irp_ratio : `int` or `None`
        Reads per reference read of a NIR detector; `None` for a CCD.
    """

    instrument: str
    id: int
    obs_id: str
    group_id: int
    seq_num: int
    pfs_design_id: int
    dither: int
    shift: float | None
    focus: float | None
    begin_ns: int
    end_ns: int
    day_obs: int
    exposure_time: float
    dark_time: float | None
    observation_type: str
    observation_reason: str
    science_program: str
    group_name: str
    target_name: str | None
    tracking_ra: float | None
    tracking_dec: float | None
    zenith_angle: float | None
    lamps: str
    irp_ratio: int | None


def spokesman(headers: Iterable[RawHeader]) -> RawHeader:
    """Choose the header that the exposure record is made from: the cameras of one visit disagree.

    A CCD before a NIR detector, then the lowest spectrograph, then the bluest arm, so that the same files
    give the same record whatever the order in which they are read.
    """
    return min(headers, key=lambda header: (header.arm == "n", header.spectrograph, "brmn".index(header.arm)))


def agreed_design(headers: Iterable[RawHeader]) -> int:
    """Find the design that most files of one visit name; of two equally frequent ones the spokesman's."""
    files = list(headers)
    votes = Counter(header.pfs_design_id for header in files)
    most = max(votes.values())
    return spokesman(header for header in files if votes[header.pfs_design_id] == most).pfs_design_id


def design_conflict(visit: int, *, claimed: int, stored: int) -> Rejected | None:
    """Say why a file that names one design cannot join an exposure of another, or `None` if it can."""
    if claimed == stored:
        return None
    return Rejected(
        Code.DESIGN_CONFLICT,
        f"the file names pfsDesignId {claimed:#018x}, but exposure {visit} has {stored:#018x}",
        hint="correct W_PFDSGN of the wrong file, then retry it",
    )
