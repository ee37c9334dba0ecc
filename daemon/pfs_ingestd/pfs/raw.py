"""What a raw dataset is to those who read it: one interface for CCDs and for ramps of a NIR detector."""

import weakref
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.nddata import CCDData

from pfs_ingestd.pfs.instrument import ARM_NUMBERS, DETECTORS, Detector

__all__ = ["Box", "Extent", "Image", "PfsRaw"]

Image: TypeAlias = npt.NDArray[Any]
"""Pixels, indexed by row and column."""

# Cards that say how an HDU is stored, not what was observed.
STRUCTURAL = frozenset(
    {
        *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND"),
        *("BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "CHECKSUM", "DATASUM", "END"),
    }
)


class Extent(NamedTuple):
    """The size of an image, pixels."""

    width: int
    height: int


class Box(NamedTuple):
    """A part of an image, pixels.

    Parameters
    ----------
    x, y : `int`
        Its first column and row, counted from 0.
    width, height : `int`
        Its size.
    """

    x: int
    y: int
    width: int
    height: int


class PfsRaw:
    """The raw data of one camera and one exposure.

    Only headers are read when it is made; pixels are read when they are asked for, one HDU at a time. The
    file is kept open until `close`, or until nobody refers to the object any more.

    Parameters
    ----------
    path : `str`
        The file.

    Notes
    -----
    A CCD file has one image. A ramp has the reads ``IMAGE_1`` to ``IMAGE_N``, each with its reference read
    ``REF_i``; how many there are is counted, because the card ``W_H4NRED`` of an interrupted ramp can promise
    more. Images have the orientation in which the file stores them.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._hdus = fits.open(path, memmap=False)
        self._finalizer = weakref.finalize(self, self._hdus.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def close(self) -> None:
        """Close the file."""
        self._finalizer()

    @cached_property
    def metadata(self) -> fits.Header:
        """The cards that describe the observation: those of the primary HDU, and of the image of a CCD."""
        header = self._hdus[0].header.copy(strip=True)
        if self.isCcd():
            # Simulated CCD files have an empty primary header and all their cards here.
            image = self._image_hdu.header
            header.extend(
                (card for card in image.cards if card.keyword and card.keyword not in STRUCTURAL),
                unique=True,
            )
        return header

    @cached_property
    def detector(self) -> Detector:
        """The detector that took the data.

        Raises
        ------
        LookupError
            If the header names none that is known.
        """
        arm, spectrograph = self.metadata.get("W_ARM"), self.metadata.get("W_SPMOD")
        arm = ARM_NUMBERS.get(arm, arm)
        for detector in DETECTORS:
            if (detector.arm, detector.spectrograph) == (arm, spectrograph):
                return detector
        raise LookupError(f"{self.path}: no detector in arm {arm!r} of spectrograph {spectrograph!r}")

    @property
    def id(self) -> int:
        """Number of the exposure."""
        return int(self.metadata["W_VISIT"])

    @cached_property
    def dimensions(self) -> Extent:
        """Size of the image."""
        height, width = self._image_hdu.shape
        return Extent(width, height)

    @property
    def bbox(self) -> Box:
        """The whole image as a box."""
        return Box(0, 0, *self.dimensions)

    @property
    def exposure(self) -> CCDData:
        """The image with its unit and header."""
        return self.getExposure()

    def isNir(self) -> bool:  # noqa: N802 (the name that pipelines call)
        """Tell whether it is a ramp of reads of a NIR detector."""
        return self._reads > 0

    def isCcd(self) -> bool:  # noqa: N802 (the name that pipelines call)
        """Tell whether it is one image."""
        return not self.isNir()

    def getNumReads(self) -> int:  # noqa: N802 (the name that pipelines call)
        """Count the reads of a ramp; a CCD has one."""
        return max(self._reads, 1)

    def getImage(self, bbox: Box | None = None) -> Image:  # noqa: N802 (the name that pipelines call)
        """Read the image.

        Parameters
        ----------
        bbox : `Box`, optional
            The part that is wanted.

        Returns
        -------
        image : `~numpy.ndarray`
            Of a CCD the image as stored, 16 bits unsigned, counts. Of a ramp the last read less the first,
            each less its reference read, 32 bits floating point, counts; of a single read, that read.
        """
        if self.isCcd():
            return _part(self._image_hdu, bbox)
        last = self.getCorrectedNirRead(self._reads, bbox)
        return last - self.getCorrectedNirRead(1, bbox) if self._reads > 1 else last

    def getNirRead(  # noqa: N802 (the name that pipelines call)
        self, n: int, kind: Literal["IMAGE", "REF"] = "IMAGE", bbox: Box | None = None
    ) -> Image:
        """Read one read of a ramp as it is stored, 16 bits unsigned, counts.

        Parameters
        ----------
        n : `int`
            Number of the read, from 1.
        kind : `str`, optional
            The read itself, ``IMAGE``, or its reference read, ``REF``.
        bbox : `Box`, optional
            The part that is wanted, in pixels of the HDU.

        Raises
        ------
        IndexError
            If there is no such read.
        """
        if not 1 <= n <= self._reads:
            raise IndexError(f"{self.path}: there is no read {n}, only 1 to {self._reads}")
        return _part(self._hdus[f"{kind}_{n}"], bbox)

    def getCorrectedNirRead(  # noqa: N802 (the name that pipelines call)
        self, n: int, bbox: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """Read one read of a ramp, less its reference read, 32 bits floating point, counts.

        Where only one pixel in several has a reference, as ``W_H4IRPN`` says, it serves them all.

        Parameters
        ----------
        n : `int`
            Number of the read, from 1.
        bbox : `Box`, optional
            The part that is wanted.

        Raises
        ------
        IndexError
            If there is no such read.
        """
        image = self.getNirRead(n, "IMAGE", bbox)
        reference = self._hdus[f"REF_{n}"]
        ratio = self.dimensions.width // reference.shape[1]
        if ratio == 1:
            spread = _part(reference, bbox)
        else:
            box = bbox or self.bbox
            first = box.x // ratio
            covering = Box(first, box.y, -(-(box.x + box.width) // ratio) - first, box.height)
            start = box.x - first * ratio
            spread = np.repeat(_part(reference, covering), ratio, axis=1)[:, start : start + box.width]
        corrected: npt.NDArray[np.float32] = np.subtract(image, spread, dtype=np.float32)
        return corrected

    def getExposure(self, bbox: Box | None = None) -> CCDData:  # noqa: N802 (the name that pipelines call)
        """Read the image with its unit, counts, and the header.

        Parameters
        ----------
        bbox : `Box`, optional
            The part that is wanted.
        """
        return CCDData(self.getImage(bbox), unit="adu", meta=self.metadata.copy())

    @cached_property
    def _reads(self) -> int:
        names = {hdu.name for hdu in self._hdus}
        reads = 0
        while {f"IMAGE_{reads + 1}", f"REF_{reads + 1}"} <= names:
            reads += 1
        return reads

    @cached_property
    def _image_hdu(self) -> fits.ImageHDU | fits.CompImageHDU:
        if self.isNir():
            return self._hdus["IMAGE_1"]
        for hdu in self._hdus:
            if hdu.is_image and len(hdu.shape) == 2:  # noqa: PLR2004 (an image has two axes)
                return hdu
        raise OSError(f"{self.path}: there is no image in the file")


def _part(hdu: fits.ImageHDU | fits.CompImageHDU, bbox: Box | None) -> Image:
    if bbox is None:
        return np.asarray(hdu.data)
    rows = slice(bbox.y, bbox.y + bbox.height)
    return np.asarray(hdu.section[rows, bbox.x : bbox.x + bbox.width])
