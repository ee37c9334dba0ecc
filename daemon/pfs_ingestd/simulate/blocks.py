"""FITS as bytes: headers from cards, checksums, and compressed images that are made once and used often."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from pfs_ingestd.exposure import CardValue

__all__ = [
    "Cards",
    "CompressedImage",
    "compressed_image",
    "image_hdu",
    "primary_hdu",
    "sealed",
    "split_hdus",
]

Cards: TypeAlias = Mapping[str, tuple[CardValue, str]]
"""Keyword -> value and comment."""

_BLOCK = 2880
_CARD = 80
_UNSEALED = "0" * 16
_NOISE = 1_000_003  # pixels of noise that an image repeats; prime, so that no two rows are alike


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """An image as RICE stores it.

    Parameters
    ----------
    cards : `tuple` [`str`]
        Cards of its binary table, but for EXTNAME.
    data : `bytes`
        Its data unit: a descriptor for each row, then the compressed rows.
    rows : `int`
        Number of rows.
    """

    cards: tuple[str, ...]
    data: bytes
    rows: int


def primary_hdu(cards: Cards, *, checksum: bool) -> bytes:
    """Write a primary HDU without data."""
    images = [_card(keyword, value, comment) for keyword, (value, comment) in cards.items()]
    return sealed(images, b"") if checksum else _header(images)


def image_hdu(image: CompressedImage, name: str, cards: Cards, *, counts: int = 0) -> bytes:
    """Write a RICE-compressed image as an HDU.

    Parameters
    ----------
    image : `CompressedImage`
        The image.
    name : `str`
        Its EXTNAME.
    cards : `Cards`
        Further cards.
    counts : `int`
        What to add to every pixel.
    """
    extra = [_card(keyword, value, comment) for keyword, (value, comment) in cards.items()]
    images = [*image.cards, _card("EXTNAME", name, "name of this HDU"), *extra]
    return sealed(images, _brightened(image, counts))


@lru_cache(maxsize=8)
def compressed_image(columns: int, rows: int, level: int, noise: float) -> CompressedImage:
    """Make an unsigned 16-bit image of a level and some noise, counts, and compress it row by row."""
    rng = np.random.default_rng((columns, rows, level))
    pixels = np.rint(rng.normal(level, noise, min(_NOISE, columns * rows))).astype(np.uint16)
    hdu = fits.CompImageHDU(
        np.resize(pixels, (rows, columns)), compression_type="RICE_1", tile_shape=(1, columns)
    )
    _, (cards, data) = split_hdus(fits.HDUList([fits.PrimaryHDU(), hdu]))
    kept = tuple(card for card in cards if not card.startswith("EXTNAME "))
    return CompressedImage(kept, data, rows)


def split_hdus(hdus: fits.HDUList) -> list[tuple[tuple[str, ...], bytes]]:
    """Take HDUs apart: the cards of each, without END, and its data as they are stored."""
    file = io.BytesIO()
    hdus.writeto(file)
    content = file.getvalue()
    parts = []
    with fits.open(io.BytesIO(content), disable_image_compression=True) as stored:
        for hdu in stored:
            where = hdu.fileinfo()
            data = content[where["datLoc"] : where["datLoc"] + where["datSpan"]]
            parts.append((tuple(card.image for card in hdu.header.cards), data))
    return parts


def sealed(images: Iterable[str], data: bytes) -> bytes:
    """Write an HDU of these cards with DATASUM and CHECKSUM, as the FITS checksum convention has them."""
    summed = [*images, _card("DATASUM", str(_ones_sum(data)), "data unit checksum")]
    header = _header([*summed, _card("CHECKSUM", _UNSEALED, "HDU checksum")])
    rest = 0xFFFFFFFF - _ones_sum(header, data)
    return _header([*summed, _card("CHECKSUM", _encoded(rest), "HDU checksum")]) + data


# typed: T, 1 and 1.0 are equal but not the same card
@lru_cache(maxsize=8192, typed=True)
def _card(keyword: str, value: CardValue, comment: str) -> str:
    return str(fits.Card(keyword, value, comment).image)


def _header(images: Iterable[str]) -> bytes:
    text = "".join(images) + "END".ljust(_CARD)
    return text.encode("ascii").ljust(-(-len(text) // _BLOCK) * _BLOCK)


def _brightened(image: CompressedImage, counts: int) -> bytes:
    """RICE stores a row's first pixel, then differences: raising the first pixel raises the row.

    A ramp of a hundred reads costs one compression instead of a hundred of half a second each.
    """
    if counts == 0:
        return image.data
    data = np.frombuffer(image.data, np.uint8).copy()
    pointers = data[: 8 * image.rows].view(">i4")[1::2]
    high: npt.NDArray[np.int64] = 8 * image.rows + pointers.astype(np.int64)
    first = (data[high].astype(np.int64) << 8) + data[high + 1] + counts
    data[high], data[high + 1] = first >> 8 & 0xFF, first & 0xFF
    return data.tobytes()


def _ones_sum(*parts: bytes) -> int:
    total = sum(int(np.frombuffer(part, ">u4").sum(dtype=np.uint64)) for part in parts)
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _encoded(value: int) -> str:
    """Spread each byte over four letters or digits whose sum it is, less four zeros."""
    columns = []
    for byte in value.to_bytes(4, "big"):
        quarter, left = divmod(byte, 4)
        codes = [ord("0") + quarter + left, *[ord("0") + quarter] * 3]
        while not all(chr(code).isalnum() for code in codes):
            for first in (0, 2):
                if not (chr(codes[first]) + chr(codes[first + 1])).isalnum():
                    codes[first] += 1
                    codes[first + 1] -= 1
        columns.append([chr(code) for code in codes])
    text = "".join(column[place] for place in range(4) for column in columns)
    return text[-1] + text[:-1]
