"""A fault of the first CCD electronics, and its repair."""

import numpy as np

from pfs_ingestd.pfs.hdus import Image

__all__ = ["FPGA_CARD", "is_shifted", "unshifted"]

FPGA_CARD = "W_VERSIONS_FPGA"
"""The card that holds the version of the electronics, as a hexadecimal number in a text."""

_LAST_SHIFTED = 0x0070
_AMPLIFIERS = 8


def is_shifted(version: object) -> bool:
    """Tell from the version of the electronics whether they shifted the pixels.

    Up to version 0x0070 they did, as the observatory's pipeline (``obs_pfs``) has it; a version that is
    missing, or no hexadecimal number, is taken for a later one there and here.
    """
    try:
        return isinstance(version, str) and int(version, 16) <= _LAST_SHIFTED
    except ValueError:
        return False


def unshifted(rows: Image) -> Image:
    """Put the pixels of whole rows in their places.

    Each amplifier reads out its eighth of the columns, row after row. A false pixel at the begin pushed all
    others on by one, and the last of each row into the next. The last pixel of the last row cannot be known
    from these rows; it is left as it is.

    Parameters
    ----------
    rows : `~numpy.ndarray`
        Rows of an image, of full width.
    """
    height, width = rows.shape
    streams = rows.reshape(height, _AMPLIFIERS, -1).swapaxes(0, 1).reshape(_AMPLIFIERS, -1)
    streams = np.hstack([streams[:, 1:], streams[:, -1:]])
    return streams.reshape(_AMPLIFIERS, height, -1).swapaxes(0, 1).reshape(height, width)
