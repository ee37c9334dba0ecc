"""A raw's observation in a few words: what the registry has of it, in units and times of astropy."""

from collections.abc import Mapping
from dataclasses import dataclass

from astropy import units
from astropy.coordinates import SkyCoord
from astropy.time import Time

from pfs_ingestd.exposure import CardValue
from pfs_ingestd.pfs.exposures import exposure
from pfs_ingestd.pfs.headers import raw_header

__all__ = ["ObsInfo", "obs_info"]

_EPOCH = 40587  # MJD of 1970-01-01
_NS_PER_DAY = 86400 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ObsInfo:
    """What was observed, when and how, with the values of the exposure record.

    Its names are those of ``astro_metadata_translator.ObservationInfo``, as far as there are any.

    Parameters
    ----------
    instrument : `str`
        Name of the instrument.
    exposure_id, visit_id : `int`
        Number of the exposure, which PFS calls visit.
    arm : `str`
        One of ``b r n m``.
    spectrograph : `int`
        1 to 4.
    detector_num : `int`
        Number of the detector, as registered in a repository.
    detector_name : `str`
        Its name, such as ``b1``.
    physical_filter : `str`
        What PFS has instead: the arm.
    datetime_begin, datetime_end : `~astropy.time.Time`
        When the exposure began and ended, TAI.
    exposure_time, dark_time : `~astropy.units.Quantity`
        How long the shutter was open, and how long the detector collected charge.
    observation_type, observation_reason : `str`
        ``science``, ``bias``, ``flat`` and so on; ``science`` or ``calibration``.
    object, science_program : `str`
        Name of the target, and the identifier of the proposal.
    pfs_design_id, dither : `int`
        The fibre design; the slit offset along the dispersion in units of 1e-4 mm.
    tracking_radec : `~astropy.coordinates.SkyCoord` or `None`
        Where the telescope pointed, ICRS.
    lamps : `str`
        The lamps that were on, sorted, joined by commas.
    """

    instrument: str
    exposure_id: int
    visit_id: int
    arm: str
    spectrograph: int
    detector_num: int
    detector_name: str
    physical_filter: str
    datetime_begin: Time
    datetime_end: Time
    exposure_time: units.Quantity
    dark_time: units.Quantity | None
    observation_type: str
    observation_reason: str
    object: str | None
    science_program: str
    pfs_design_id: int
    dither: int
    tracking_radec: SkyCoord | None
    lamps: str


def obs_info(cards: Mapping[str, CardValue]) -> ObsInfo:
    """Summarise a raw's cards by the rules of the exposure record; ``docs/exposure-record.md`` has them.

    Parameters
    ----------
    cards : `~collections.abc.Mapping` [`str`, `~pfs_ingestd.exposure.CardValue`]
        The cards that matter, corrections applied.

    Raises
    ------
    ~pfs_ingestd.errors.Rejected
        If one that is required is missing or unusable.
    """
    header = raw_header(cards)
    record = exposure(header)
    return ObsInfo(
        instrument=record.instrument,
        exposure_id=record.id,
        visit_id=record.id,
        arm=header.arm,
        spectrograph=header.spectrograph,
        detector_num=header.detector,
        detector_name=f"{header.arm}{header.spectrograph}",
        physical_filter=header.arm,
        datetime_begin=_time(record.begin_ns),
        datetime_end=_time(record.end_ns),
        exposure_time=record.exposure_time * units.s,
        dark_time=None if record.dark_time is None else record.dark_time * units.s,
        observation_type=record.observation_type,
        observation_reason=record.observation_reason,
        object=record.target_name,
        science_program=record.science_program,
        pfs_design_id=record.pfs_design_id,
        dither=record.dither,
        tracking_radec=None
        if record.tracking_ra is None
        else SkyCoord(record.tracking_ra, record.tracking_dec, unit=units.deg, frame="icrs"),
        lamps=record.lamps,
    )


def _time(nanoseconds: int) -> Time:
    days, rest = divmod(nanoseconds, _NS_PER_DAY)
    time = Time(_EPOCH + days, rest / _NS_PER_DAY, format="mjd", scale="tai")
    time.format = "isot"
    return time
