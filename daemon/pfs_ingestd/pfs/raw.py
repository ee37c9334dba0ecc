"""What a raw dataset is to those who read it: one interface for CCDs and for ramps of a NIR detector."""

import os
from functools import cached_property
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.nddata import CCDData

from pfs_ingestd.pfs.boxes import Box, Extent
from pfs_ingestd.pfs.ccd import FPGA_CARD, is_shifted, unshifted
from pfs_ingestd.pfs.description import Description
from pfs_ingestd.pfs.hdus import HduFile, Image, extent
from pfs_ingestd.pfs.instrument import ARM_NUMBERS, DETECTORS, Detector
from pfs_ingestd.pfs.obs_info import ObsInfo
from pfs_ingestd.pfs.walk import Hdu

__all__ = ["PfsRaw"]

_FULL = 2**16 - 1


class PfsRaw:
    """The raw data of one camera and one exposure.

    Nothing is read before it is asked for: headers, then pixels, one read of a ramp at a time.

    Parameters
    ----------
    path : `str`
        The file. It is kept open until `close`, or until nobody refers to the object any more.

    Notes
    -----
    A CCD file has one image. A ramp has the reads ``IMAGE_1`` to ``IMAGE_N``, each with its reference read
    ``REF_i`` (``PFSB.md`` of the PFS data model); how many there are is counted, because the card
    ``W_H4NRED`` can promise more. Reset frames, where there are any, are no reads.

    A NIR detector is mounted a quarter turn away from the CCDs. Whatever is read of it is given as
    `numpy.rot90` makes it of what is in the file, so that traces run along the columns as they do in images
    of CCDs, and a box is a part of the turned image. The observatory's pipeline, ``obs_pfs``, has the same:
    its camera geometry gives the H4RG detectors a yaw of 270 degrees. ``docs/decisions/nir-images.md`` has
    more of it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = HduFile(self.path)
        self._description = Description(self.path, self._file)

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
        self._file.close()

    @property
    def metadata(self) -> fits.Header:
        """The cards that describe the observation: those of the primary HDU, and of the image of a CCD.

        Corrections that a folder of ``$METADATA_CORRECTIONS_PATH`` has for the visit are applied;
        ``docs/exposure-record.md`` describes them.

        Raises
        ------
        OSError
            If a correction cannot be used.
        """
        return self._description.header

    @property
    def obsInfo(self) -> ObsInfo:  # noqa: N802 (the name that pipelines call)
        """What was observed, when and how, as the exposure record has it.

        Raises
        ------
        ValueError
            If a card that this needs is missing or makes no sense.
        """
        return self._description.summary

    @property
    def detector(self) -> Detector:
        """The detector that took the data.

        Raises
        ------
        LookupError
            If the header names none that is known.
        """
        arm, spectrograph = self._arm, self._description.cards.get("W_SPMOD")
        for detector in DETECTORS:
            if (detector.arm, detector.spectrograph) == (arm, spectrograph):
                return detector
        raise LookupError(f"{self.path}: no detector in arm {arm!r} of spectrograph {spectrograph!r}")

    @property
    def id(self) -> int:
        """Number of the exposure."""
        return int(self._description.cards["W_VISIT"])

    @property
    def dimensions(self) -> Extent:
        """Size of the image."""
        stored = extent(self._image)
        return stored.turned() if self.isNir() else stored

    @property
    def bbox(self) -> Box:
        """The whole image as a box."""
        return Box(0, 0, *self.dimensions)

    @property
    def exposure(self) -> CCDData:
        """The image with its unit, header and mask."""
        return self.getExposure()

    def isNir(self) -> bool:  # noqa: N802 (the name that pipelines call)
        """Tell whether a NIR detector took it."""
        return self._arm == "n" or self._reads > 0

    def isCcd(self) -> bool:  # noqa: N802 (the name that pipelines call)
        """Tell whether CCDs took it."""
        return not self.isNir()

    def getNumReads(self) -> int:  # noqa: N802 (the name that pipelines call)
        """Count the reads of a ramp; the image of a CCD is one.

        For a while NIR files were made (``PFSA``) that have one image, the summary of a ramp, and no reads.
        """
        return self._reads if self.isNir() else 1

    def getImage(self, bbox: Box | None = None) -> Image:  # noqa: N802 (the name that pipelines call)
        """Read the image.

        Parameters
        ----------
        bbox : `Box`, optional
            The part that is wanted.

        Returns
        -------
        image : `~numpy.ndarray`
            Of a CCD the image as stored, 16 bits unsigned, counts; pixels that its electronics shifted are
            back in their places. Of a ramp the last read less the first, each less its reference read,
            32 bits floating point, counts; of a single read, that read.

        Raises
        ------
        ValueError
            If the box is not a part of the image.
        """
        return self._combined(self._frames(bbox), bbox)

    def getExposure(self, bbox: Box | None = None) -> CCDData:  # noqa: N802 (the name that pipelines call)
        """Read the image with its unit, counts, its header and a mask.

        Masked are the pixels for which a frame that the image is made of has 65535, where the converter
        saturates, or 0, which stands for what was not read out.

        Parameters
        ----------
        bbox : `Box`, optional
            The part that is wanted.

        Raises
        ------
        ValueError
            If the box is not a part of the image.
        """
        frames = self._frames(bbox)
        mask = np.logical_or.reduce([(frame == 0) | (frame == _FULL) for frame in frames])
        return CCDData(self._combined(frames, bbox), unit="adu", meta=self.metadata.copy(), mask=mask)

    def getNirRead(  # noqa: N802 (the name that pipelines call)
        self, n: int, kind: Literal["IMAGE", "REF"] = "IMAGE", bbox: Box | None = None
    ) -> Image:
        """Read one read of a ramp as it is stored, but for the turn: 16 bits unsigned, counts.

        Parameters
        ----------
        n : `int`
            Number of the read, from 1.
        kind : `str`, optional
            The read itself, ``IMAGE``, or its reference read, ``REF``.
        bbox : `Box`, optional
            The part that is wanted, in pixels of what is read.

        Raises
        ------
        IndexError
            If there is no such read.
        ValueError
            If the box is not a part of it.
        """
        return self._turned(self._read(n, kind), bbox)

    def getCorrectedNirRead(  # noqa: N802 (the name that pipelines call)
        self, n: int, bbox: Box | None = None
    ) -> npt.NDArray[np.float32]:
        """Read one read of a ramp, less its reference read: 32 bits floating point, counts.

        It is done pixel by pixel. Where only one pixel in several has a reference, as ``W_H4IRPN`` says, that
        serves them all.

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
        ValueError
            If the box is not a part of the image.
        """
        return self._less_reference(self.getNirRead(n, "IMAGE", bbox), n, bbox)

    @property
    def _arm(self) -> object:
        arm = self._description.cards.get("W_ARM")
        # Simulated files have letters.
        return ARM_NUMBERS.get(arm, arm) if isinstance(arm, int) else arm

    @cached_property
    def _reads(self) -> int:
        names = {hdu.name for hdu in self._file}
        reads = 0
        while {f"IMAGE_{reads + 1}", f"REF_{reads + 1}"} <= names:
            reads += 1
        return reads

    @cached_property
    def _image(self) -> Hdu:
        """The image, or the first read."""
        if self._reads:
            return self._read(1, "IMAGE")
        for hdu in self._file:
            if hdu.is_image:
                return hdu
        raise OSError(f"{self.path}: there is no image in the file")

    def _read(self, n: int, kind: str) -> Hdu:
        hdu = self._file.find(f"{kind}_{n}") if 1 <= n <= self._reads else None
        if hdu is None:
            raise IndexError(f"{self.path}: there is no {kind}_{n}; the number of reads is {self._reads}")
        return hdu

    def _frames(self, bbox: Box | None) -> list[Image]:
        """Read the stored frames that the image is made of, the last one first."""
        if self._reads:
            return [self.getNirRead(n, "IMAGE", bbox) for n in sorted({1, self._reads}, reverse=True)]
        return [self._turned(self._image, bbox) if self.isNir() else self._of_ccd(bbox)]

    def _combined(self, frames: list[Image], bbox: Box | None) -> Image:
        if not self._reads:
            return frames[0]
        last, *first = frames
        image = self._less_reference(last, self._reads, bbox)
        return image - self._less_reference(first[0], 1, bbox) if first else image

    def _of_ccd(self, bbox: Box | None) -> Image:
        box = _checked(bbox or self.bbox, self.dimensions)
        if not is_shifted(self._description.cards.get(FPGA_CARD)):
            return self._file.read(self._image, box)
        width, height = self.dimensions
        # The last pixel of a row is in the row that follows.
        rows = self._file.read(self._image, Box(0, box.y, width, min(box.height + 1, height - box.y)))
        return unshifted(rows)[: box.height, box.x : box.x + box.width]

    def _turned(self, hdu: Hdu, bbox: Box | None) -> Image:
        """Read an HDU of a NIR detector, and turn it."""
        stored = extent(hdu)
        box = _checked(bbox or Box(0, 0, *stored.turned()), stored.turned())
        return np.rot90(self._file.read(hdu, box.before_turn(stored.width)))

    def _less_reference(self, image: Image, n: int, bbox: Box | None) -> npt.NDArray[np.float32]:
        reference = self._read(n, "REF")
        x, y, width, height = bbox or self.bbox
        ratio = self.dimensions.height // extent(reference).width
        first, last = y // ratio, -(-(y + height) // ratio)
        pixels = self._turned(reference, Box(x, first, width, last - first))
        # In the order in which they are in memory, which is twice as fast.
        spread = np.rot90(np.rot90(pixels, -1).repeat(ratio, axis=1))
        start = y - first * ratio
        less: npt.NDArray[np.float32] = np.subtract(image, spread[start : start + height], dtype=np.float32)
        return less


def _checked(box: Box, whole: Extent) -> Box:
    if not box.is_within(whole):
        raise ValueError(f"{box} is not a part of an image of {whole.width} by {whole.height} pixels")
    return box
