"""The rules by which the cards of a raw become an exposure record."""

import math
import warnings
from collections.abc import Mapping
from functools import cache

import erfa
import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.coordinates import FK5, ICRS, CartesianRepresentation, Latitude, Longitude
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from erfa import ErfaWarning

from pfs_ingestd.exposure import CardValue, Exposure, RawHeader
from pfs_ingestd.pfs.cards import NO_VALUE, UNUSABLE, number, parsed_number

__all__ = ["EXPOSURE_CARDS", "exposure"]

_LAMPS: Mapping[str, str] = {
    # Science fibres; some of the lamps are only in the laboratories.
    "W_AITARG": "Ar",
    "W_AITDEU": "D",
    "W_AITHGA": "HgAr",
    "W_AITHGC": "HgCd",
    "W_AITKRY": "Kr",
    "W_AITNEO": "Ne",
    "W_AITQTH": "Quartz",
    "W_AITXEN": "Xe",
    # The same in 2017.
    "W_AIT_SRC_HgAr": "HgAr",
    "W_AIT_SRC_Ne": "Ne",
    "W_AIT_SRC_Qth": "Quartz",
    "W_AIT_SRC_Xe": "Xe",
    # Engineering fibres.
    "W_ENIARG": "Ar_eng",
    "W_ENIHGA": "HgAr_eng",
    "W_ENIKRY": "Kr_eng",
    "W_ENINEO": "Ne_eng",
    "W_ENIQTH": "Quartz_eng",
    # The same early in 2024.
    "W_ENIISA": "Ar_eng",
    "W_ENIISC": "Quartz_eng",
    "W_ENIISH": "HgAr_eng",
    "W_ENIISK": "Kr_eng",
    "W_ENIISN": "Ne_eng",
}

EXPOSURE_CARDS = frozenset(
    {
        "ALTITUDE",
        "AZIMUTH",
        "DARKTIME",
        "DATA-TYP",
        "DEC2000",
        "EXPTIME",
        "IMAGETYP",
        "MJD-STR",
        "OBJECT",
        "PROP-ID",
        "RA2000",
        "TIMESYS",
        "W_ENFCAX",
        "W_ENFCAY",
        "W_H4IRPN",
        "W_PFDSNM",
        *_LAMPS,
    }
)
"""The cards that an exposure record is made of, besides those of a `~pfs_ingestd.exposure.RawHeader`."""

_UNKNOWN = "UNKNOWN"
# Widths of the columns.
_TYPE_WIDTH = 16
_TEXT_WIDTH = 64

_HORIZON, _ZENITH = 0.0, 90.0
_NADIR = -90.0
_LOWEST_AZIMUTH = -360.0
_LARGEST_RATIO = 2**31

_EPOCH = Time("1970-01-01", scale="tai")
_NS_PER_DAY = 86400 * 10**9


def exposure(header: RawHeader) -> Exposure:
    """Make the exposure record that a header describes; ``docs/exposure-record.md`` explains each field.

    Parameters
    ----------
    header : `~pfs_ingestd.exposure.RawHeader`
        A header whose required cards have been checked.
    """
    cards = header.cards
    exposure_time = parsed_number(cards["EXPTIME"])
    if exposure_time is None:
        raise ValueError(f"EXPTIME was not checked: {cards['EXPTIME']!r}")
    # Leap seconds are not known for long ahead, and sexagesimal numbers may end in 60: neither is news.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ErfaWarning)
        warnings.simplefilter("ignore", AstropyWarning)
        begin_ns, end_ns, day_obs = _times(cards, exposure_time)
        ra, dec = _pointing(cards)
    observation_type = _observation_type(cards)
    return Exposure(
        instrument=header.instrument,
        id=header.visit,
        obs_id=str(header.visit),
        group_id=header.visit,
        seq_num=header.visit,
        pfs_design_id=header.pfs_design_id,
        dither=header.dither,
        shift=parsed_number(cards.get("W_ENFCAY")),
        focus=parsed_number(cards.get("W_ENFCAX")),
        begin_ns=begin_ns,
        end_ns=end_ns,
        day_obs=day_obs,
        exposure_time=exposure_time,
        dark_time=number(cards.get("DARKTIME", exposure_time)),
        observation_type=observation_type,
        observation_reason=observation_type if observation_type in {"science", _UNKNOWN} else "calibration",
        science_program=_label(cards, "PROP-ID", "unknown"),
        group_name=_label(cards, "W_PFDSNM", ""),
        target_name=_target_name(cards),
        tracking_ra=ra,
        tracking_dec=dec,
        zenith_angle=_zenith_angle(cards),
        lamps=_lamps(cards),
        irp_ratio=_irp_ratio(cards),
    )


def _times(cards: Mapping[str, CardValue], exposure_time: float) -> tuple[int, int, int]:
    scale = cards.get("TIMESYS") or "utc"
    begin = Time(cards["MJD-STR"], format="mjd", scale=str(scale).lower())
    end = begin + exposure_time * units.s
    begin_ns, end_ns = _tai_ns(begin), _tai_ns(end)
    # Butler holds an instant as a nanosecond.
    return begin_ns, end_ns + (begin_ns == end_ns), int(begin.tai.strftime("%Y%m%d"))


def _tai_ns(time: Time) -> int:
    since = time.tai - _EPOCH
    # Whole days apart from the rest, or the rounding of their sum would cost the nanoseconds.
    days, rest = divmod(float(since.jd1), 1)
    return int(days) * _NS_PER_DAY + round((float(since.jd2) + rest) * _NS_PER_DAY)


def _pointing(cards: Mapping[str, CardValue]) -> tuple[float, float] | tuple[None, None]:
    ra, dec = (
        value if isinstance(value := cards.get(keyword, 0.0), str) else number(value)
        for keyword in ("RA2000", "DEC2000")
    )
    if ra is None or dec is None:
        return None, None
    try:
        direction = erfa.s2c(Longitude(ra, units.hourangle).radian, Latitude(dec, units.deg).radian)
    except (ValueError, TypeError):
        return None, None
    longitude, latitude = erfa.c2s(erfa.rxp(_fk5_to_icrs(), direction))
    tracking = float(np.degrees(erfa.anp(longitude))), float(np.degrees(latitude))
    return tracking if all(map(math.isfinite, tracking)) else (None, None)


@cache
def _fk5_to_icrs() -> npt.NDArray[np.float64]:
    """Get from astropy the rotation by which it turns one frame into the other.

    To have it do so anew for each exposure takes ten times as long as all the rest of a pointing.
    """
    axes = FK5(CartesianRepresentation(np.eye(3))).transform_to(ICRS())
    return np.asarray(axes.cartesian.xyz.value)


def _zenith_angle(cards: Mapping[str, CardValue]) -> float | None:
    if "ALTITUDE" not in cards or "AZIMUTH" not in cards:
        return _ZENITH - _HORIZON
    altitude, azimuth = number(cards["ALTITUDE"]), number(cards["AZIMUTH"])
    if altitude is None or azimuth is None or altitude < _NADIR or azimuth < _LOWEST_AZIMUTH:
        return None
    return _ZENITH - min(max(altitude, _HORIZON), _ZENITH)


def _observation_type(cards: Mapping[str, CardValue]) -> str:
    for keyword in ("DATA-TYP", "IMAGETYP"):
        value = cards.get(keyword)
        if isinstance(value, str) and value.strip() and value != NO_VALUE:
            return "science" if value == "OBJECT" else value.lower()[:_TYPE_WIDTH]
    return _UNKNOWN


def _target_name(cards: Mapping[str, CardValue]) -> str | None:
    for keyword in ("OBJECT", "IMAGETYP"):
        value = cards.get(keyword, "")
        if not isinstance(value, str):
            return None
        if value.strip():
            return value[:_TEXT_WIDTH]
    return _UNKNOWN


def _label(cards: Mapping[str, CardValue], keyword: str, default: str) -> str:
    value = cards.get(keyword, UNUSABLE)
    return default if value is UNUSABLE else str(value)[:_TEXT_WIDTH]


def _lamps(cards: Mapping[str, CardValue]) -> str:
    match str(cards.get("DATA-TYP", "")).strip().lower():
        # The cards of the lamps are not always right about these.
        case "object":
            return ""
        case "flat":
            return "Quartz"
    # Any value but F, 0 and an empty text means on, as the observatory's repositories have it.
    return ",".join(sorted({lamp for keyword, lamp in _LAMPS.items() if cards.get(keyword)}))[:_TEXT_WIDTH]


def _irp_ratio(cards: Mapping[str, CardValue]) -> int | None:
    ratio = parsed_number(cards.get("W_H4IRPN"))
    return None if ratio is None or abs(ratio) > _LARGEST_RATIO else int(ratio)
