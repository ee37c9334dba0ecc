"""The walk from HDU to HDU of a FITS file: headers are read, data is stepped over."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO

from pfs_ingestd.errors import Code, Incomplete, Rejected

__all__ = ["CARD", "Cards", "Hdu", "integer", "text", "walk"]

CARD = 80
"""Bytes of a card."""

_BLOCK = 2880
# The header of a primary HDU takes 32 to 35 kB, those of extensions some 5 to 9 kB: one read for each.
_FIRST_READ = 14 * _BLOCK
_NEXT_READ = 4 * _BLOCK
# Far beyond any real file, of one header and of all headers, yet read in no time and held in little memory.
_LONGEST_HEADER = 364 * _BLOCK
_LONGEST_HEADERS = 11_650 * _BLOCK
# Beyond what a file system can hold.
_MOST_DATA = 2**63

_END = b"END     "
_PRIMARY = b"SIMPLE  ="
_EXTENSION = b"XTENSION="
_BITPIX = frozenset({8, 16, 32, 64, -32, -64})
_MOST_AXES = 999
_INTEGER = re.compile(rb" *[+-]?[0-9]+ *")
_STRING = re.compile(rb"\s*'((?:[ -&(-~]|'')*)'")


class Cards:
    """The cards of a header, found by their keywords: eight bytes, with padding.

    Parameters
    ----------
    image : `bytes`
        All cards, 80 bytes each, without END.

    Attributes
    ----------
    places : `~collections.abc.Mapping` [`bytes`, `int`]
        Keyword -> where in the image its card begins; the last of several.
    """

    __slots__ = ("image", "places")

    def __init__(self, image: bytes) -> None:
        self.image = image
        # There are hundreds, and this is the only time that each is looked at.
        self.places: Mapping[bytes, int] = {
            image[place : place + 8]: place for place in range(0, len(image), CARD)
        }

    def get(self, keyword: bytes) -> bytes:
        """Get the card of a keyword; empty if there is none."""
        place = self.places.get(keyword)
        return b"" if place is None else self.image[place : place + CARD]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdu:
    """One HDU: a header, and where its data is.

    Parameters
    ----------
    number : `int`
        Its place in the file, from 0.
    name : `str`
        Its EXTNAME, in capitals; empty if it has none.
    start, size : `int`
        Offset and length of the data, bytes, without padding.
    is_image : `bool`
        Whether it holds an image, compressed or not.
    cards : `Cards`
        Its header.
    """

    number: int
    name: str
    start: int
    size: int
    is_image: bool
    cards: Cards = field(repr=False)

    @property
    def header(self) -> bytes:
        """The cards of the header, before END."""
        return self.cards.image

    def __str__(self) -> str:
        return f"HDU {self.number} ({self.name})" if self.name else f"HDU {self.number}"


def walk(file: BinaryIO, size: int) -> Iterator[Hdu]:
    """Step through the HDUs of a file, to its very end.

    Parameters
    ----------
    file : `typing.BinaryIO`
        The file; its position is moved.
    size : `int`
        Its length, bytes.

    Yields
    ------
    hdu : `Hdu`
        An HDU of which header and data are all there.

    Raises
    ------
    Incomplete
        If the file ends inside an HDU, or does not end with one.
    Rejected
        If it can never become a FITS file.
    """
    if size == 0:
        raise Incomplete(Code.INCOMPLETE, "the file is empty")
    start = 0
    number = 0
    before = ""
    headers = 0
    while start < size:
        header, data_start = _header(file, number, start, size, before)
        headers += data_start - start
        if headers > _LONGEST_HEADERS:
            raise _not_fits(f"the headers of the first {number + 1} HDUs alone take {headers} bytes")
        hdu = _hdu(number, header, data_start)
        start = data_start + _padded(hdu.size)
        if start > size:
            raise Incomplete(Code.INCOMPLETE, f"the file ends {_bytes(start - size)} before the end of {hdu}")
        yield hdu
        number += 1
        before = str(hdu)


def integer(card: bytes) -> int | None:
    """Read the integer in a card of the FITS standard's own; `None` if there is none."""
    value = card[10:].partition(b"/")[0]
    return int(value) if card[8:10] == b"= " and _INTEGER.fullmatch(value) else None


def text(card: bytes) -> str:
    """Read the string in a card of the FITS standard's own; empty if there is none."""
    match = _STRING.match(card, 10)
    return match[1].decode("ascii", "replace").replace("''", "'").rstrip() if match else ""


def _header(file: BinaryIO, number: int, start: int, size: int, before: str) -> tuple[bytes, int]:
    """Read the cards of the header that begins at an offset, and tell where its data begins."""
    buffer = bytearray()
    end = -1
    while end < 0:
        step = _NEXT_READ if number else _FIRST_READ
        position = start + len(buffer)
        file.seek(position)
        read = file.read(min(step, size - position))
        if not buffer:
            _check_beginning(read, number, size - start, before)
        if not read:
            raise Incomplete(Code.INCOMPLETE, f"the file ends inside the header of HDU {number}")
        if len(buffer) >= _LONGEST_HEADER:
            raise Incomplete(
                Code.INCOMPLETE, f"the header of HDU {number} has no END in its first {len(buffer)} bytes"
            )
        searched = len(buffer)
        buffer += read
        end = _find_end(buffer, searched - searched % CARD)
    header = bytes(buffer[:end])
    if b"\0" in header:
        raise Incomplete(
            Code.INCOMPLETE, f"there are zero bytes in the header of HDU {number}: not all of it is written"
        )
    data_start = start + _padded(end + CARD)
    if data_start > size:
        raise Incomplete(Code.INCOMPLETE, f"the file ends inside the header of HDU {number}")
    return header, data_start


def _check_beginning(beginning: bytes, number: int, rest: int, before: str) -> None:
    wanted = _EXTENSION if number else _PRIMARY
    if wanted.startswith(beginning[: len(wanted)]):
        return
    if number:
        raise Incomplete(Code.INCOMPLETE, f"what follows {before}, {_bytes(rest)}, is no HDU")
    # A file server shows what a writer has skipped for now as zeros.
    if not beginning.strip(b"\0"):
        raise Incomplete(Code.INCOMPLETE, "the file begins with zero bytes: not all of it is written")
    raise _not_fits("the file does not begin as a FITS file does")


def _find_end(buffer: bytearray, place: int) -> int:
    place = buffer.find(_END, place)
    while place % CARD and place >= 0:
        place = buffer.find(_END, place + 1)
    return place


def _hdu(number: int, header: bytes, start: int) -> Hdu:
    cards = Cards(header)
    bitpix = _demand(cards, number, b"BITPIX")
    axes = _demand(cards, number, b"NAXIS")
    if bitpix not in _BITPIX or axes > _MOST_AXES:
        raise _not_fits(f"HDU {number} has BITPIX = {bitpix} and NAXIS = {axes}, which cannot be")
    shape = [_demand(cards, number, b"NAXIS%d" % axis) for axis in range(1, axes + 1)]
    extra = _demand(cards, number, b"PCOUNT", default=0)
    groups = _demand(cards, number, b"GCOUNT", default=1)
    pixels = prod(shape) if shape else 0
    size = abs(bitpix) // 8 * groups * (extra + pixels)
    if size >= _MOST_DATA:
        raise _not_fits(f"HDU {number} announces more data than a file can hold")
    kind = text(cards.get(b"XTENSION")) if number else "IMAGE"
    is_compressed = cards.get(b"ZIMAGE  ")[10:].partition(b"/")[0].strip() == b"T"
    return Hdu(
        number=number,
        name=text(cards.get(b"EXTNAME ")).upper(),
        start=start,
        size=size,
        is_image=pixels > 0 and (is_compressed if kind == "BINTABLE" else kind == "IMAGE"),
        cards=cards,
    )


def _demand(cards: Cards, number: int, keyword: bytes, *, default: int | None = None) -> int:
    card = cards.get(keyword.ljust(8))
    value = integer(card) if card else default
    if value is None or (value < 0 and keyword != b"BITPIX"):
        found = "is missing"
        if card:
            expected = "a whole number" if keyword == b"BITPIX" else "a whole number that is not negative"
            found = f"reads {card[8:40].decode('ascii', 'replace').rstrip()!r}, expected {expected}"
        raise _not_fits(f"the card {keyword.decode()} of HDU {number} {found}")
    return value


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _not_fits(message: str) -> Rejected:
    return Rejected(Code.NOT_FITS, message, hint="if it was damaged on its way, copy it again")
