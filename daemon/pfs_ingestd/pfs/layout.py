"""Which HDUs a complete PFS file has."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from pfs_ingestd.errors import Code, Incomplete
from pfs_ingestd.pfs.walk import Hdu

__all__ = ["check_image", "config_table", "count_reads"]

_READ = re.compile(r"(?P<reset>RESET_)?(?:IMAGE|REF)_[0-9]+")


def check_image(hdus: Sequence[Hdu]) -> None:
    """See that a file has an image.

    Raises
    ------
    Incomplete
        If it has none.
    """
    if not any(hdu.is_image for hdu in hdus):
        raise Incomplete(Code.INCOMPLETE, f"the file ends after {hdus[-1]}, without an image")


def count_reads(hdus: Sequence[Hdu]) -> int:
    """Count the reads of a ramp, of which there is at least one, and each of them whole.

    A read is an image and its reference, ``IMAGE_i`` and ``REF_i``, i from 1; reset frames, if any, come
    first.

    Raises
    ------
    Incomplete
        If an image or a reference is missing.
    """
    matches = [match for hdu in hdus if hdu.is_image and (match := _READ.fullmatch(hdu.name))]
    found = [match[0] for match in matches]
    resets = sum(match["reset"] is not None for match in matches)
    reads = len(found) - resets
    expected = [
        f"{prefix}{kind}_{number}"
        for prefix, count in (("RESET_", resets), ("", max(reads, 1)))
        for number in range(1, (count + 1) // 2 + 1)
        for kind in ("IMAGE", "REF")
    ]
    if found != expected:
        wanted = next(name for name, has in zip_longest(expected, found) if name != has)
        raise Incomplete(Code.INCOMPLETE, f"the ramp ends after {hdus[-1]}, without {wanted} in its place")
    return reads // 2


def config_table(hdus: Sequence[Hdu], *, has_guide_stars: bool) -> Hdu:
    """Get the table of fibres of a pfsConfig, all of whose HDUs are there.

    Parameters
    ----------
    hdus : `~collections.abc.Sequence` [`Hdu`]
        The HDUs of the file.
    has_guide_stars : `bool`
        Whether its version of the data model has a table of guide stars.

    Raises
    ------
    Incomplete
        If a table is missing.
    """
    tables = {hdu.name: hdu for hdu in hdus}
    for name in ("CONFIG", "PHOTOMETRY", "GUIDESTARS")[: 3 if has_guide_stars else 2]:
        if name not in tables:
            raise Incomplete(Code.INCOMPLETE, f"the file ends after {hdus[-1]}, without {name}")
    return tables["CONFIG"]
