"""One column of a FITS binary table, read without the others."""

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from pfs_ingestd.errors import Code, Incomplete, Rejected
from pfs_ingestd.pfs.walk import Cards, Hdu, integer, text

__all__ = ["distinct_integers"]

# Bytes of an element, from the FITS standard; X counts bits.
_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_INTEGERS = {"B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8"}
_FORMAT = re.compile(r"(?P<count>[0-9]{0,9})(?P<code>[LXBIJKAEDCMPQ])")
_MOST_COLUMNS = 999
# Forty times the fibres there are: to go through all that a file can announce might never end.
_MOST_ROWS = 100_000
_CHUNK = 1 << 22


def distinct_integers(file: BinaryIO, hdu: Hdu, column: str) -> tuple[int, ...]:
    """Collect the distinct values of a column of integers.

    Parameters
    ----------
    file : `typing.BinaryIO`
        The file; its position is moved.
    hdu : `Hdu`
        The table.
    column : `str`
        Name of the column.

    Returns
    -------
    values : `tuple` [`int`]
        Ascending; empty if there is no such column.

    Raises
    ------
    Rejected
        If the HDU is not a table whose layout makes sense, or the column is not one of single integers.
    """
    cards = hdu.cards
    if text(cards.get(b"XTENSION")) != "BINTABLE":
        raise _bad(hdu, "it is not a binary table")
    width, rows, columns = (_count(cards, keyword, hdu) for keyword in ("NAXIS1", "NAXIS2", "TFIELDS"))
    if columns > _MOST_COLUMNS or rows > _MOST_ROWS or width > _CHUNK or width * rows > hdu.size:
        raise _bad(hdu, f"it has {columns} columns and {rows} rows of {width} bytes")
    field = _find(cards, columns, width, hdu, column)
    if field is None:
        return ()
    values: set[int] = set()
    step = _CHUNK // width
    for row in range(0, rows, step):
        file.seek(hdu.start + row * width)
        read = file.read(min(step, rows - row) * width)
        if len(read) % width:
            raise Incomplete(Code.INCOMPLETE, f"the file ends inside {hdu}: it became shorter meanwhile")
        values.update(np.frombuffer(read, field)["value"].tolist())
    return tuple(sorted(values))


def _find(cards: Cards, columns: int, width: int, hdu: Hdu, column: str) -> np.dtype[np.void] | None:
    """Describe a row of which only one column matters; `None` if there is no such column."""
    found: tuple[int, str] | None = None
    offset = 0
    for number, layout in enumerate(_layouts(cards, columns, hdu), start=1):
        count, code = int(layout["count"] or 1), layout["code"]
        if text(_card(cards, f"TTYPE{number}")).casefold() == column.casefold():
            is_scaled = any(_card(cards, f"{keyword}{number}") for keyword in ("TSCAL", "TZERO"))
            if count != 1 or code not in _INTEGERS or is_scaled:
                raise _bad(hdu, f"its column {column} is not one of plain integers")
            found = offset, _INTEGERS[code]
        offset += (count + 7) // 8 if code == "X" else count * _WIDTHS[code]
    if offset != width:
        raise _bad(hdu, f"its columns take {offset} bytes, its rows {width}")
    if found is None:
        return None
    place, kind = found
    return np.dtype({"names": ["value"], "formats": [kind], "offsets": [place], "itemsize": width})


def _layouts(cards: Cards, columns: int, hdu: Hdu) -> Iterator[re.Match[str]]:
    for number in range(1, columns + 1):
        layout = _FORMAT.match(text(_card(cards, f"TFORM{number}")))
        if layout is None:
            raise _bad(hdu, f"the card TFORM{number} is missing, or of no known form")
        yield layout


def _card(cards: Cards, keyword: str) -> bytes:
    return cards.get(keyword.encode().ljust(8))


def _count(cards: Cards, keyword: str, hdu: Hdu) -> int:
    count = integer(_card(cards, keyword))
    if count is None or count < 0:
        raise _bad(hdu, f"the card {keyword} is missing, or no number of things")
    return count


def _bad(hdu: Hdu, why: str) -> Rejected:
    return Rejected(Code.BAD_TABLE, f"the table in {hdu} cannot be read: {why}")
