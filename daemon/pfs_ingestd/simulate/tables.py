"""The tables of a simulated pfsConfig: 2604 fibres, their photometry, and the guide stars."""

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from pfs_ingestd.simulate.blocks import sealed, split_hdus

__all__ = ["FIBRES", "config_tables"]

FIBRES = 2604
"""Rows of CONFIG."""

_Column: TypeAlias = npt.NDArray[Any]

_SCIENCE, _SKY, _STANDARD, _UNASSIGNED, _ENGINEERING = 1, 2, 3, 4, 5  # values of targetType
_GOOD, _BROKEN_FIBRE = 1, 2  # values of fiberStatus
_CATALOGUES = {_SCIENCE: (50001, 50002, 50007), _SKY: (1001,), _STANDARD: (3001,)}
_NOWHERE = -1  # catalogue, object and tract of a fibre without target
_FILTERS = ("g_sim", "r_sim", "i_sim")
_RADIUS = 0.65  # degrees, field of view
_PLATE = 220.0  # mm, radius of the focal plane
_GUIDE_STARS = 36


# the visits of a field come one after the other: a few entries are enough
@lru_cache(maxsize=4)
def config_tables(right_ascension: float, declination: float, *, targets: bool) -> bytes:
    """Write the HDUs CONFIG, PHOTOMETRY and GUIDESTARS of a field.

    Parameters
    ----------
    right_ascension, declination : `float`
        Centre of the field, degrees.
    targets : `bool`
        Whether fibres have targets; in calibrations all are unassigned.
    """
    rng = np.random.default_rng((round(right_ascension * 1e6), round((declination + 90) * 1e6)))
    kinds = _target_types(rng, targets=targets)
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            _config(rng, kinds, right_ascension, declination),
            _photometry(rng, kinds),
            _guide_stars(rng, right_ascension, declination),
        ]
    )
    return b"".join(sealed(cards, data) for cards, data in split_hdus(hdus)[1:])


def _target_types(rng: np.random.Generator, *, targets: bool) -> _Column:
    kinds = np.full(FIBRES, _UNASSIGNED)
    if targets:
        kinds = rng.choice([_SCIENCE, _SKY, _STANDARD, _UNASSIGNED], size=FIBRES, p=[0.72, 0.16, 0.08, 0.04])
    kinds[:: FIBRES // 64] = _ENGINEERING
    return kinds


def _config(
    rng: np.random.Generator, kinds: _Column, right_ascension: float, declination: float
) -> fits.BinTableHDU:
    fibres = np.arange(1, FIBRES + 1)
    assigned = np.isin(kinds, list(_CATALOGUES))
    catalogue = np.full(FIBRES, _NOWHERE)
    for kind, numbers in _CATALOGUES.items():
        catalogue[kinds == kind] = rng.choice(numbers, size=np.count_nonzero(kinds == kind))
    offsets = _RADIUS * np.sqrt(rng.uniform(0, 1, FIBRES)) * np.exp(2j * np.pi * rng.uniform(0, 1, FIBRES))
    ra = (right_ascension + offsets.real / np.cos(np.radians(declination))) % 360
    nominal = np.column_stack([offsets.real, offsets.imag]) / _RADIUS * _PLATE
    nominal[kinds == _ENGINEERING] = np.nan
    return _table(
        "CONFIG",
        ("fiberId", "J", "", fibres),
        ("cobraId", "J", "", fibres),
        ("tract", "J", "", np.where(assigned, rng.integers(8000, 11000, FIBRES), _NOWHERE)),
        ("patch", "3A", "", np.where(assigned, "1,1", "0,0")),
        ("ra", "D", "deg", np.where(assigned, ra, np.nan)),
        ("dec", "D", "deg", np.where(assigned, declination + offsets.imag, np.nan)),
        ("catId", "J", "", catalogue),
        ("objId", "K", "", np.where(assigned, rng.integers(1 << 40, 1 << 60) + fibres, _NOWHERE)),
        ("targetType", "J", "", kinds),
        ("fiberStatus", "J", "", np.where(rng.uniform(0, 1, FIBRES) < 0.01, _BROKEN_FIBRE, _GOOD)),  # noqa: PLR2004 (share of broken fibres)
        ("epoch", "7A", "", np.full(FIBRES, "J2016.0")),
        ("pmRa", "E", "mas/yr", rng.normal(0, 3, FIBRES)),
        ("pmDec", "E", "mas/yr", rng.normal(0, 3, FIBRES)),
        ("parallax", "E", "mas", np.full(FIBRES, 1e-5)),
        ("proposalId", "8A", "", np.where(kinds == _SCIENCE, "S26A-SIM", "N/A")),
        ("obCode", "9A", "", np.array([f"ob_{fibre:06d}" for fibre in fibres])),
        ("pfiNominal", "2E", "mm", nominal),
        ("pfiCenter", "2E", "mm", nominal + rng.normal(0, 0.005, nominal.shape)),
    )


def _photometry(rng: np.random.Generator, kinds: _Column) -> fits.BinTableHDU:
    measured = np.repeat(np.flatnonzero(np.isin(kinds, [_SCIENCE, _STANDARD])) + 1, len(_FILTERS))
    rows = len(measured)
    flux = np.exp(rng.normal(9, 1.5, rows))
    fluxes = {"fiber": 0.7 * flux, "psf": 0.9 * flux, "total": flux}
    return _table(
        "PHOTOMETRY",
        ("fiberId", "J", "", measured),
        *((f"{name}Flux", "E", "nJy", values) for name, values in fluxes.items()),
        *((f"{name}FluxErr", "E", "nJy", 0.01 * values) for name, values in fluxes.items()),
        ("filterName", "5A", "", np.tile(_FILTERS, rows // len(_FILTERS))),
    )


def _guide_stars(rng: np.random.Generator, right_ascension: float, declination: float) -> fits.BinTableHDU:
    count = _GUIDE_STARS
    hdu = _table(
        "GUIDESTARS",
        ("objId", "K", "", rng.integers(1 << 50, 1 << 60, count)),
        ("epoch", "7A", "", np.full(count, "J2016.0")),
        ("ra", "D", "deg", (right_ascension + rng.uniform(-_RADIUS, _RADIUS, count)) % 360),
        ("dec", "D", "deg", declination + rng.uniform(-_RADIUS, _RADIUS, count)),
        ("pmRa", "E", "mas/yr", rng.normal(0, 3, count)),
        ("pmDec", "E", "mas/yr", rng.normal(0, 3, count)),
        ("parallax", "E", "mas", rng.uniform(0, 5, count)),
        ("magnitude", "E", "mag", rng.uniform(12, 18, count)),
        ("passband", "5A", "", np.full(count, "g_sim")),
        ("color", "E", "mag", rng.uniform(0, 2, count)),
        ("agId", "J", "", np.arange(count) % 6),
        ("agX", "E", "pix", rng.uniform(0, 1024, count)),
        ("agY", "E", "pix", rng.uniform(0, 1024, count)),
        ("mask", "J", "", np.zeros(count, dtype=np.int32)),
    )
    hdu.header["TEL_ELEV"] = (60.0, "[deg] telescope elevation")
    hdu.header["GS_CATID"] = (2001, "catalogue of the guide stars")
    return hdu


def _table(name: str, *columns: tuple[str, str, str, _Column]) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [
            fits.Column(name=column, format=form, unit=unit or None, array=array)
            for column, form, unit, array in columns
        ],
        name=name,
    )
