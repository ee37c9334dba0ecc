"""What the headers of a raw say of the observation, corrections applied."""

import os
from collections.abc import Mapping
from functools import cached_property
from itertools import islice

from astropy.io import fits

from pfs_ingestd.errors import IngestdError, Rejected
from pfs_ingestd.exposure import CardValue
from pfs_ingestd.pfs import corrections
from pfs_ingestd.pfs.cards import pick
from pfs_ingestd.pfs.ccd import FPGA_CARD
from pfs_ingestd.pfs.hdus import HduFile
from pfs_ingestd.pfs.headers import RAW_CARDS, corrected, identity
from pfs_ingestd.pfs.obs_info import ObsInfo, obs_info
from pfs_ingestd.pfs.walk import Hdu

__all__ = ["Description"]

_CARDS = RAW_CARDS | {FPGA_CARD}
# Cards that say how an HDU is stored, not what was observed.
_STRUCTURAL = frozenset(
    {
        *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND"),
        *("BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "INHERIT", "CHECKSUM", "DATASUM", "END"),
    }
)
_OF_RAMPS = frozenset({"IMAGE", "REF", "RESET_IMAGE", "RESET_REF"})


class Description:
    """The cards of a raw that describe the observation: those of the primary HDU, and of the image of a CCD.

    Simulated CCD files have an empty primary header and all their cards in that of the image.

    Parameters
    ----------
    path : `str`
        The file, for messages.
    file : `HduFile`
        Its HDUs.
    """

    def __init__(self, path: str, file: HduFile) -> None:
        self._path = path
        self._file = file

    @cached_property
    def header(self) -> fits.Header:
        """All of them.

        Raises
        ------
        OSError
            If the corrections of the visit cannot be used.
        """
        primary, *image = self._hdus
        header = fits.Header.fromstring(primary.header).copy(strip=True)
        for hdu in image:
            cards = self._file.header(hdu).cards
            header.extend(
                (card for card in cards if card.keyword and card.keyword not in _STRUCTURAL), unique=True
            )
        for keyword, value in self._corrections.items():
            try:
                header[keyword] = value
            except ValueError as error:
                raise OSError(
                    f"{self._path}: the correction of its header gives {keyword} the value {value!r}, which"
                    " no card can hold; mend it"
                ) from error
        return header

    @cached_property
    def cards(self) -> Mapping[str, CardValue]:
        """Those that matter.

        Raises
        ------
        OSError
            If the corrections of the visit cannot be used.
        """
        return corrected(self._stored, self._corrections)

    @cached_property
    def summary(self) -> ObsInfo:
        """The observation in a few words.

        Raises
        ------
        ValueError
            If a card that this needs is missing or makes no sense.
        """
        try:
            return obs_info(self.cards)
        except Rejected as error:
            raise ValueError(f"{self._path}: {error}") from error

    @cached_property
    def _hdus(self) -> list[Hdu]:
        primary, *following = islice(self._file, 2)
        return [primary, *(hdu for hdu in following if hdu.name.rpartition("_")[0] not in _OF_RAMPS)]

    @cached_property
    def _stored(self) -> dict[str, CardValue]:
        cards: dict[str, CardValue] = {}
        for hdu in self._hdus:
            cards |= pick(hdu.cards, _CARDS)
        return cards

    @cached_property
    def _corrections(self) -> Mapping[str, object]:
        try:
            instrument, visit = identity(self._stored)
        except Rejected:
            return {}  # They are named after both.
        try:
            return corrections.find(corrections.search_path(os.environ), instrument, visit)
        except IngestdError as error:
            raise OSError(f"{self._path}: {error}") from error
