"""What file names say: which files are ours, and of which visit and camera they are."""

import re

from pfs_ingestd.pfs.instrument import ARM_NUMBERS, SITES, SPECTROGRAPHS
from pfs_ingestd.records import FileName, Kind

__all__ = ["is_ramp", "parse"]

# Writers pad a visit with zeros to six digits, so that it grows a seventh when there are more than 999999.
# Eighteen digits still fit in the 63 bits of a database's integer.
_VISIT = r"(?P<visit>[0-9]{6,18})"
_RAW = re.compile(
    rf"PF[{''.join(SITES)}](?P<category>[AB])-?{_VISIT}"
    r"(?:(?P<spectrograph>[0-9])(?P<number>[0-9])|(?P<arm>[brnm])(?P<spectrograph_last>[0-9]))\.fits"
)
_CONFIG = re.compile(rf"pfsConfig-0x(?P<design>[0-9a-fA-F]{{1,16}})-{_VISIT}\.fits")
_ARCHIVED_CONFIG = re.compile(rf"PFSF{_VISIT}[0-9]{{2}}\.fits")


def parse(filename: str) -> FileName | None:
    """Read the name of a file, without its folder.

    Parameters
    ----------
    filename : `str`
        The last part of a path.

    Returns
    -------
    name : `~pfs_ingestd.records.FileName` or `None`
        What it says; `None` if the file is not ours. A name of the right form with a camera that does not
        exist is ours, with neither arm nor spectrograph: such a file must end where a person can see it.

    Notes
    -----
    ``PF<site>A<visit><spectrograph><arm number>.fits`` is an image, with ``B`` instead of ``A`` a ramp of a
    NIR detector; after an optional hyphen the camera may also be written as ``b1``. A pfsConfig is
    ``pfsConfig-0x<design>-<visit>.fits``, or ``PFSF<visit><nn>.fits`` when it comes from the archive.
    """
    if match := _RAW.fullmatch(filename):
        camera = _camera(match)
        arm, spectrograph = camera or (None, None)
        return FileName(kind=Kind.RAW, visit=int(match["visit"]), arm=arm, spectrograph=spectrograph)
    if match := _CONFIG.fullmatch(filename):
        return FileName(
            kind=Kind.PFS_CONFIG, visit=int(match["visit"]), pfs_design_id=int(match["design"], base=16)
        )
    if match := _ARCHIVED_CONFIG.fullmatch(filename):
        return FileName(kind=Kind.PFS_CONFIG, visit=int(match["visit"]))
    return None


def is_ramp(filename: str) -> bool:
    """Say whether the name of a raw is that of a ramp, and not of an image."""
    match = _RAW.fullmatch(filename)
    return match is not None and match["category"] == "B"


def _camera(match: re.Match[str]) -> tuple[str, int] | None:
    arm = match["arm"] or ARM_NUMBERS.get(int(match["number"]))
    spectrograph = int(match["spectrograph"] or match["spectrograph_last"])
    # Ramps are of NIR detectors only.
    exists = (
        arm is not None and spectrograph in SPECTROGRAPHS[1:] and (match["category"] == "A" or arm == "n")
    )
    return (arm, spectrograph) if arm is not None and exists else None
