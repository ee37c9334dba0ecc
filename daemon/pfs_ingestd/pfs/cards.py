"""Header cards: picked out of the bytes of a header, and what is of use in their values."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from astropy.io.fits import Card, VerifyError

from pfs_ingestd.exposure import CardValue
from pfs_ingestd.pfs.walk import CARD, Cards

__all__ = ["NO_VALUE", "UNUSABLE", "number", "parsed_number", "pick", "usable"]

UNUSABLE = False
"""Stands for the value of a card that is there and holds nothing of use: undefined, or not of FITS syntax, or
not fit for a database."""

NO_VALUE = "no available value"
"""What the control system writes when it has no text, and often when it has no number."""

_NO_NUMBERS = (-9998.0, -9999.0)
_HIERARCH = b"HIERARCH"
# The cameras of a visit have most of their cards in common, to the last byte.
_REMEMBERED = 4096
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def pick(cards: Cards, wanted: frozenset[str]) -> dict[str, CardValue]:
    """Read some cards of a header.

    Parameters
    ----------
    cards : `~pfs_ingestd.pfs.walk.Cards`
        The header.
    wanted : `frozenset` [`str`]
        Their keywords.

    Returns
    -------
    values : `dict` [`str`, `CardValue`]
        The values of those that are there. Of several cards with the same keyword the last counts, for a
        card that is amended late in a ramp may have been appended.
    """
    places: dict[str, int] = {}
    beginnings = _beginnings(wanted)
    for beginning in beginnings.keys() & cards.places.keys():
        place = _with_value(cards, beginning)
        if place >= 0:
            places[beginnings[beginning]] = place
    if _HIERARCH in cards.places:
        for keyword, place in _hierarchical(cards.image):
            if keyword in wanted:
                places[keyword] = max(place, places.get(keyword, 0))
    return {keyword: _value_at(cards.image, place) for keyword, place in places.items()}


def usable(value: object) -> CardValue:
    """Take a value that a card can hold as it is, and any other for `UNUSABLE`.

    A header correction can hold what no card can: NUL, which PostgreSQL refuses, and halves of surrogate
    pairs, which have no UTF-8.
    """
    if isinstance(value, str):
        return UNUSABLE if _UNWRITABLE.search(value) else value
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return UNUSABLE


def number(value: CardValue | None) -> float | None:
    """Take a number as it is; `None` for anything else, and for the numbers that stand for none."""
    if value is None or isinstance(value, (bool, str)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found not in _NO_NUMBERS else None


def parsed_number(value: CardValue | None) -> float | None:
    """Take a number also where it is written as a text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value)


@lru_cache
def _beginnings(wanted: frozenset[str]) -> Mapping[bytes, str]:
    """Tell with which eight bytes a card begins that is one of these."""
    return {keyword.encode().ljust(8): keyword for keyword in wanted}


def _with_value(cards: Cards, beginning: bytes) -> int:
    """Tell where the last card begins that has a keyword and a value; negative if there is none."""
    image, place = cards.image, cards.places[beginning]
    while place >= 0 and (place % CARD or image[place + 8 : place + 10] != b"= "):
        place = image.rfind(beginning, 0, place + len(beginning) - 1)
    return place


def _hierarchical(image: bytes) -> Iterator[tuple[str, int]]:
    """Go through the cards whose keywords are too long for FITS, each with where it begins."""
    place = image.find(_HIERARCH)
    while place >= 0:
        if place % CARD == 0:
            yield image[place + 8 : place + CARD].decode("latin-1").partition("=")[0].strip(), place
        place = image.find(_HIERARCH, place + 1)


def _value_at(image: bytes, place: int) -> CardValue:
    end = place + CARD
    while image.startswith(b"CONTINUE", end):
        end += CARD
    card = image[place:end]
    return _short_value(card) if len(card) == CARD else _value(card)


def _value(image: bytes) -> CardValue:
    try:
        card = Card.fromstring(image)
        # Not `value`, and `keyword` first: or a text such as 'HD: 5' is taken for a number with a name.
        return usable(card.rawvalue) if card.keyword else UNUSABLE
    except (VerifyError, ValueError):
        return UNUSABLE


_short_value = lru_cache(_REMEMBERED)(_value)
