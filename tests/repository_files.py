"""Small files in the three shapes of PFS data, and what their headers say, for tests of the repository."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.pfs.instrument import ARM_NUMBERS, detector_number
from pfs_ingestd.ports import Dataset

__all__ = ["DESIGN", "an_exposure", "ccd_file", "config_dataset", "config_file", "raw_dataset", "ramp_file"]

DESIGN = 0x7000000000000001

_NUMBERS = {arm: number for number, arm in ARM_NUMBERS.items()}


def an_exposure(visit, **changes):
    """Make the record of a visit."""
    begin = 1_760_000_000_000_000_000 + visit * 60_000_000_000
    values = {
        "instrument": "PFS",
        "id": visit,
        "obs_id": str(visit),
        "group_id": visit,
        "seq_num": visit,
        "pfs_design_id": DESIGN,
        "dither": -122,
        "shift": 0.1,
        "focus": None,
        "begin_ns": begin,
        "end_ns": begin + 30_000_000_000,
        "day_obs": 20261122,
        "exposure_time": 30.0,
        "dark_time": 31.0,
        "observation_type": "science",
        "observation_reason": "science",
        "science_program": "o26-test",
        "group_name": "field",
        "target_name": None,
        "tracking_ra": 359.99999,
        "tracking_dec": -0.0000025,
        "zenith_angle": 30.0,
        "lamps": "Argon,Neon",
        "irp_ratio": None,
    }
    return Exposure(**(values | changes))


def _primary(visit, arm, spectrograph):
    cards = {"W_VISIT": visit, "W_ARM": _NUMBERS[arm], "W_SPMOD": spectrograph, "EXPTIME": 30.0}
    return fits.PrimaryHDU(header=fits.Header(cards))


def _image(seed, shape, name):
    pixels = np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)
    hdu = fits.ImageHDU(pixels, name=name)
    # The observatory demands the card; none of the values is meant to be missing.
    hdu.header["BLANK"] = -32768
    return hdu


def ccd_file(path, visit=12, arm="r", spectrograph=1, *, seed=0):
    """Write a CCD file; the seed chooses its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [_primary(visit, arm, spectrograph), _image(seed, (20, 16), "image")]
    fits.HDUList(hdus).writeto(path, output_verify="silentfix")
    return path


def ramp_file(path, visit=12, spectrograph=1, *, reads=3, ratio=1, seed=0):
    """Write a ramp with a reset frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [_primary(visit, "n", spectrograph)]
    for number, name in enumerate(("RESET_{}_1", *(f"{{}}_{read}" for read in range(1, reads + 1)))):
        hdus.append(_image(seed + 2 * number, (16, 16), name.format("IMAGE")))
        hdus.append(_image(seed + 2 * number + 1, (16, 16 // ratio), name.format("REF")))
    fits.HDUList(hdus).writeto(path, output_verify="silentfix")
    return path


def config_file(path, visit=12, *, cat_ids=(1001, 1001, 3)):
    """Write a pfsConfig."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = fits.BinTableHDU.from_columns([fits.Column("catId", "J", array=np.array(cat_ids))], name="CONFIG")
    primary = fits.PrimaryHDU(header=fits.Header({"W_VISIT": visit, "W_PFDSGN": DESIGN}))
    fits.HDUList([primary, table]).writeto(path)
    path.chmod(0o444)
    return path


def raw_dataset(path, visit=12, arm="r", spectrograph=1, **changes):
    """Describe a raw file."""
    values = {
        "instrument": "PFS",
        "visit": visit,
        "arm": arm,
        "spectrograph": spectrograph,
        "detector": detector_number(arm, spectrograph),
        "pfs_design_id": DESIGN,
        "dither": -122,
        "cards": {},
    }
    return Dataset(Path(path), RawHeader(**(values | changes)))


def config_dataset(path, visit=12, cat_ids=(3, 1001)):
    """Describe a pfsConfig file."""
    return Dataset(Path(path), ConfigHeader(visit=visit, pfs_design_id=DESIGN, cat_ids=cat_ids))
