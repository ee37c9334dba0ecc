"""The primary headers of a simulated visit: every card the exposure record needs, and plausible company."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from pfs_ingestd.exposure import CardValue
from pfs_ingestd.simulate.blocks import Cards
from pfs_ingestd.simulate.plan import ARM_NUMBERS, VisitKind, VisitPlan, arm_of, spectrograph_of

__all__ = ["config_cards", "field_centre", "raw_cards", "with_overrides"]

_CARDS = 388  # of a raw's primary header, without DATASUM and CHECKSUM
_MJD_0 = datetime(1858, 11, 17, tzinfo=UTC)
_HST = timedelta(hours=-10)
_LATITUDE = 19.8255  # degrees, Maunakea
_DITHER = 0.0123  # mm, a step of the slits between flats
_FRAME_TIME = 10.857  # seconds between two reads of a ramp
_MASK_BITS = {"b": 0, "r": 1, "n": 2, "m": 3}  # of W_CAMMSK, in each spectrograph's group of four
_DATA_TYPES = {VisitKind.ARC: "COMPARISON"}
_LAMPS = {
    VisitKind.ARC: frozenset({"W_AITNEO", "W_AITARG"}),
    VisitKind.FLAT: frozenset({"W_AITQTH"}),
    VisitKind.DOMEFLAT: frozenset({"W_AITQTH"}),
}

_MINIMAL: Cards = {
    "SIMPLE": (True, "conforms to FITS standard"),
    "BITPIX": (8, "array data type"),
    "NAXIS": (0, "number of array dimensions"),
    "EXTEND": (True, "extensions may follow"),
}

# keyword with a place for the number, how many, comment, typical value, its scatter
_FILLERS = (
    ("W_XTMP{}", 12, "[K] cryostat temperature probe", 168.0, 4.0),
    ("W_ETMP{}", 20, "[degC] bench temperature probe", 5.0, 0.6),
    ("W_XM{}POS", 3, "[um] detector motor from home", 120.0, 30.0),
    ("W_XIP{}PR", 2, "[Torr] ion pump pressure", 2.0e-8, 4.0e-9),
    ("W_XSUP{}V", 2, "[V] power bus", 47.8, 0.2),
    ("W_XCL{}TP", 2, "[K] cooler tip", 101.0, 1.5),
    ("W_XCL{}PW", 2, "[W] cooler power", 131.0, 6.0),
    ("W_M2OFF{}", 3, "[mm] secondary mirror offset", 1.2, 0.4),
    ("W_TFF{}VV", 4, "[V] ring lamp, measured", 0.1, 0.05),
    ("W_TFF{}VC", 4, "[V] ring lamp, commanded", 0.0, 0.0),
    ("W_MCSTM{}", 8, "[degC] metrology camera temperature", 3.5, 0.5),
    ("W_FPST{}", 16, "[degC] positioner temperature", 4.0, 0.5),
    ("W_AGTMP{}", 6, "[degC] guide camera temperature", -21.0, 0.4),
    ("W_RACKT{}", 8, "[degC] electronics rack", 17.0, 1.0),
)
_CCD_FILLERS = (
    ("W_COFM0{}", 4, "[mV] master offset, CCD 0", 52.0, 9.0),
    ("W_COFM1{}", 4, "[mV] master offset, CCD 1", 52.0, 9.0),
    ("W_COFR0{}", 4, "[mV] reference offset, CCD 0", -31.0, 6.0),
    ("W_COFR1{}", 4, "[mV] reference offset, CCD 1", -31.0, 6.0),
    ("W_CCD{}T", 2, "[K] CCD temperature", 163.0, 0.3),
    ("W_FEEV{}", 32, "[V] front end voltage", 12.0, 8.0),
)
_RAMP_FILLERS = (
    ("W_XTDET{}", 2, "[K] detector temperature", 95.0, 0.1),
    ("W_XTMCL{}", 2, "[K] mirror cell temperature", 98.0, 0.3),
    ("W_XTSHD{}", 2, "[K] radiation shield temperature", 101.0, 0.4),
    ("W_4SPI{}", 44, "readout register", 2048.0, 900.0),
)


def raw_cards(visit: VisitPlan, camera: str) -> dict[str, tuple[CardValue, str]]:
    """Make the primary header of one camera's raw file.

    The cameras of a visit differ as real ones do: in when they begin (milliseconds for CCDs, seconds for
    ramps), in DARKTIME, in the slit offsets of their spectrograph, in W_H4IRPN, which only ramps have, and
    in OBJECT where `VisitPlan.ramp_target` is another target.
    """
    arm, spectrograph = arm_of(camera), spectrograph_of(camera)
    number = ARM_NUMBERS[arm]
    rng = np.random.default_rng((visit.seed, visit.visit, spectrograph, number))
    ramp = arm == "n"
    late = rng.uniform(-5.0, -1.0) if ramp else rng.uniform(0.002, 0.4)
    dark = rng.uniform(3.0, 14.0) if ramp else rng.uniform(0.1, 1.2)
    cards: dict[str, tuple[CardValue, str]] = {
        **_MINIMAL,
        **_identity(visit, camera),
        **_times(visit, visit.begin + timedelta(seconds=late)),
        "EXPTIME": (visit.exposure_time, "[s] exposure time"),
        "DARKTIME": (round(visit.exposure_time + dark, 3), "[s] time between wipe and readout"),
        "OBJECT": (visit.ramp_target if ramp else visit.target, "name of the target"),
        **_pointing(visit),
        **_slit(visit, spectrograph),
        **_lamps(visit),
        **(_ramp(visit) if ramp else _ccd()),
    }
    cards |= _filler(visit.seed, camera, ramp, _CARDS - len(cards))
    return cards


def config_cards(visit: VisitPlan) -> dict[str, tuple[CardValue, str]]:
    """Make the primary header of a visit's pfsConfig; W_CAMMSK has the cameras that the visit exposes."""
    mask = 0
    for camera in visit.cameras:
        mask |= 1 << (4 * (spectrograph_of(camera) - 1) + _MASK_BITS[arm_of(camera)])
    arms = {arm_of(camera) for camera in visit.cameras}
    right_ascension, declination = field_centre(visit)
    return {
        **_MINIMAL,
        "W_VISIT": (visit.visit, "visit number"),
        "W_PFDSGN": (visit.pfs_design_id, "fibre design"),
        "W_CAMMSK": (mask, "cameras expected, four bits a spectrograph"),
        "RA": (right_ascension, "[deg] boresight"),
        "DEC": (declination, "[deg] boresight"),
        "POSANG": (0.0, "[deg] position angle"),
        "ARMS": ("".join(arm for arm in "brnm" if arm in arms), "arms to expose"),
        "DSGN_NAM": (visit.design_name, "name of the fibre design"),
        "DAMD_VER": (6, "version of this layout"),
        "OBSTIME": (f"{visit.begin:%Y-%m-%dT%H:%M:%S}", "[UTC] when the design is meant to be used"),
        "W_CVITER": (8, "iterations of the positioners"),
        "W_CVTOL": (0.01, "[mm] tolerance of the positioners"),
        "W_CVMISS": (12, "fibres farther off than that"),
    }


def with_overrides(cards: Cards, overrides: Mapping[str, CardValue | None]) -> Cards:
    """Set some cards to other values, or take them out where the value is `None`."""
    changed = dict(cards)
    for keyword, value in overrides.items():
        if value is None:
            changed.pop(keyword, None)
        else:
            changed[keyword] = (value, changed.get(keyword, ("", ""))[1])
    return changed


def field_centre(visit: VisitPlan) -> tuple[float, float]:
    """Tell where the visit points: right ascension and declination, degrees, made up from the design."""
    rng = np.random.default_rng((visit.seed, visit.pfs_design_id))
    return round(rng.uniform(0.0, 360.0), 6), round(rng.uniform(-20.0, 60.0), 6)


def _identity(visit: VisitPlan, camera: str) -> Cards:
    arm, spectrograph = arm_of(camera), spectrograph_of(camera)
    number = ARM_NUMBERS[arm]
    kind = visit.kind
    return {
        "OBSERVAT": ("NAOJ", "observatory"),
        "TELESCOP": ("Subaru", "telescope"),
        "INSTRUME": ("PFS", "instrument"),
        "FRAMEID": (f"PFS{'B' if arm == 'n' else 'A'}{visit.visit:06d}{spectrograph}{number}", "file"),
        "EXP-ID": (f"PFSE00{visit.visit:06d}", "exposure"),
        "DATA-TYP": (_DATA_TYPES.get(kind, kind.value.upper()), "kind of data"),
        "IMAGETYP": (kind.value, "kind of exposure"),
        "PROP-ID": ("S26A-SIM" if kind is VisitKind.OBJECT else "o26000", "proposal"),
        "OBSERVER": ("Simulated Observer", "who observes"),
        "W_SITE": ("S", "where the instrument is"),
        "W_VISIT": (visit.visit, "visit number"),
        "W_ARM": (number, "arm: 1=b 2=r 3=n 4=m"),
        "W_SPMOD": (spectrograph, "spectrograph"),
        # r and m are one camera: its DET-ID is that of r
        "DET-ID": (3 * (spectrograph - 1) + (1 if arm == "m" else number - 1), "detector"),
        "DETECTOR": (f"{arm.replace('m', 'r')}{spectrograph}_sim", "detector"),
        "W_PFDSGN": (visit.pfs_design_id, "fibre design"),
        "W_PFDSNM": (visit.design_name, "name of the fibre design"),
        "W_LGTSRC": ("pfi", "light source"),
    }


def _times(visit: VisitPlan, begin: datetime) -> Cards:
    end = begin + timedelta(seconds=visit.exposure_time)
    middle = begin + (end - begin) / 2
    return {
        "TIMESYS": ("UTC", "time system of this header"),
        "DATE-OBS": (f"{begin:%Y-%m-%d}", "[UTC] date of the begin"),
        "UT-STR": (_clock(begin), "[UTC] begin"),
        "UT-END": (_clock(end), "[UTC] end"),
        "UT": (_clock(middle), "[UTC] middle"),
        "HST-STR": (_clock(begin + _HST), "[HST] begin"),
        "HST-END": (_clock(end + _HST), "[HST] end"),
        "MJD-STR": (_mjd(begin), "[d] begin"),
        "MJD-END": (_mjd(end), "[d] end"),
        "MJD": (_mjd(middle), "[d] middle"),
    }


def _pointing(visit: VisitPlan) -> Cards:
    rng = np.random.default_rng((visit.seed, visit.visit))
    right_ascension, declination = field_centre(visit)
    hours, degrees = _sexagesimal(right_ascension / 15, 3), _sexagesimal(declination, 2, sign="+")
    altitude = min(89.5, 90 - abs(declination - _LATITUDE) * rng.uniform(0.8, 1.0))
    return {
        "RADESYS": ("FK5", "reference frame"),
        "EQUINOX": (2000.0, "[a] of the coordinates"),
        "RA": (hours, "[h] of the telescope"),
        "DEC": (degrees, "[deg] of the telescope"),
        "RA2000": (hours, "[h] right ascension, FK5 J2000"),
        "DEC2000": (degrees, "[deg] declination, FK5 J2000"),
        "RA_CMD": (hours, "[h] commanded"),
        "DEC_CMD": (degrees, "[deg] commanded"),
        "ALTITUDE": (round(altitude, 5), "[deg] of the telescope"),
        "AZIMUTH": (round(rng.uniform(0.0, 360.0), 5), "[deg] of the telescope, from south"),
        "ZD": (round(90 - altitude, 5), "[deg] zenith distance"),
        "AIRMASS": (round(1 / math.sin(math.radians(altitude)), 4), "air mass"),
        "INSROT": (round(rng.uniform(-60.0, 60.0), 5), "[deg] rotator"),
        "INST-PA": (0.0, "[deg] position angle"),
        "ADC-STR": (round(rng.uniform(-5.0, 5.0), 3), "[mm] dispersion corrector"),
        "FOC-VAL": (round(rng.uniform(3.5, 4.0), 3), "[mm] telescope focus"),
        "AUTOGUID": ("ON" if visit.kind is VisitKind.OBJECT else "OFF", "guiding"),
        "DOM-HUM": (round(rng.uniform(10.0, 40.0), 1), "[%] humidity in the dome"),
        "DOM-TMP": (round(rng.uniform(273.0, 277.0), 2), "[K] temperature in the dome"),
        "DOM-PRS": (round(rng.uniform(615.0, 620.0), 1), "[hPa] pressure in the dome"),
        "OUT-HUM": (round(rng.uniform(5.0, 60.0), 1), "[%] humidity outside"),
        "OUT-TMP": (round(rng.uniform(271.0, 276.0), 2), "[K] temperature outside"),
        "OUT-PRS": (round(rng.uniform(615.0, 620.0), 1), "[hPa] pressure outside"),
        "OUT-WND": (round(rng.uniform(0.0, 12.0), 1), "[m/s] wind outside"),
        "WEATHER": ("Fine", "weather"),
    }


def _slit(visit: VisitPlan, spectrograph: int) -> Cards:
    night = np.random.default_rng((visit.seed, spectrograph))
    # the slits are dithered together: a visit has one dither
    dither = _DITHER * (visit.visit % 3 - 1) if visit.kind is VisitKind.FLAT else 0.0
    return {
        "W_ENFCAX": (round(night.uniform(-1.0, 1.0), 5), "[mm] slit, focus"),
        "W_ENFCAY": (round(night.uniform(-0.1, 0.1), 5), "[mm] slit, shift"),
        "W_ENFCAZ": (dither, "[mm] slit, dither"),
        "W_ENFCAU": (round(night.uniform(-0.1, 0.1), 5), "[deg] slit, roll"),
        "W_ENFCAV": (round(night.uniform(-0.1, 0.1), 5), "[deg] slit, pitch"),
        "W_ENFCAW": (round(night.uniform(-0.1, 0.1), 5), "[deg] slit, yaw"),
        "W_ENFCAS": ("ONLINE", "slit state"),
        "W_ENRDAP": ("med" if f"m{spectrograph}" in visit.cameras else "low", "grating of the red camera"),
        "W_ENSHUT": ("close", "shutters"),
    }


def _lamps(visit: VisitPlan) -> Cards:
    on = _LAMPS.get(visit.kind, frozenset[str]())
    names = {
        **{f"W_AIT{short}": "calibration" for short in ("NEO", "ARG", "KRY", "XEN", "HGC", "QTH")},
        **{f"W_ENI{short}": "engineering" for short in ("NEO", "ARG", "KRY", "HGA", "QTH")},
    }
    return {name: (name in on, f"{where} lamp {name[-3:]} was on") for name, where in names.items()}


def _ccd() -> Cards:
    return {
        "W_CNAMPS": (8, "amplifiers"),
        "W_CIMROW": (4300, "rows"),
        "W_CAMPRW": (552, "columns of an amplifier"),
        "W_CCLACT": (520, "active columns of an amplifier"),
        "W_CCLOVR": (32, "overscan columns of an amplifier"),
        "W_CRWACT": (4224, "active rows"),
        "W_CRWOVR": (76, "overscan rows"),
        "W_RVFPGA": ("sim", "gate array version"),
    }


def _ramp(visit: VisitPlan) -> Cards:
    return {
        "W_H4FFMT": (3, "layout of this file"),
        "W_H4NRED": (visit.reads, "reads of the ramp"),
        "W_H4NRST": (1, "resets of the ramp"),
        "W_H4NGRP": (1, "groups of the ramp"),
        "W_H4NCHN": (32, "readout channels"),
        "W_H4IRP": (True, "reference pixels are interleaved"),
        "W_H4IRPN": (4, "data pixels for each reference pixel"),
        "W_H4IRPO": (1, "place of the reference pixel among them"),
        "W_FRMTIM": (_FRAME_TIME, "[s] time of one read"),
        "W_H4GAIN": (14, "preamplifier gain"),
        "W_H4PTCH": (True, "this header is final"),
    }


@lru_cache(maxsize=64)
def _filler(seed: int, camera: str, ramp: bool, count: int) -> Cards:  # noqa: FBT001 (cached by position)
    rng = np.random.default_rng((seed, spectrograph_of(camera), ARM_NUMBERS[arm_of(camera)]))
    cards: dict[str, tuple[CardValue, str]] = {}
    for pattern, times, comment, value, scatter in _FILLERS + (_RAMP_FILLERS if ramp else _CCD_FILLERS):
        for number in range(1, times + 1):
            cards[pattern.format(number)] = (float(f"{rng.normal(value, scatter):.6g}"), comment)
    for number in range(1, count - len(cards) + 1):
        cards[f"W_HK{number:04d}"] = (round(rng.uniform(0.0, 100.0), 3), "housekeeping value")
    return cards


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"


def _mjd(moment: datetime) -> float:
    return round((moment - _MJD_0) / timedelta(days=1), 8)


def _sexagesimal(value: float, decimals: int, *, sign: str = "") -> str:
    scale = 10**decimals
    rest, fraction = divmod(round(abs(value) * 3600 * scale), scale)
    minutes, seconds = divmod(rest, 60)
    whole, minutes = divmod(minutes, 60)
    return f"{'-' if value < 0 else sign}{whole:02d}:{minutes:02d}:{seconds:02d}.{fraction:0{decimals}d}"
