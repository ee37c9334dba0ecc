"""The rules by which the cards of a file become its header, or the reason to refuse it."""

import math
import re
from collections.abc import Mapping
from datetime import date, timedelta

from pfs_ingestd.errors import Code, Incomplete, Rejected
from pfs_ingestd.exposure import CardValue, ConfigHeader, RawHeader
from pfs_ingestd.pfs.cards import UNUSABLE, number, parsed_number, usable
from pfs_ingestd.pfs.exposures import EXPOSURE_CARDS
from pfs_ingestd.pfs.instrument import ARM_NUMBERS, SITES, SPECTROGRAPHS, detector_number, instrument_name
from pfs_ingestd.records import FileName

__all__ = [
    "CONFIG_CARDS",
    "RAW_CARDS",
    "check_ended",
    "check_name",
    "config_header",
    "corrected",
    "has_guide_stars",
    "identity",
    "raw_header",
]

RAW_CARDS = EXPOSURE_CARDS | {
    "W_ARM",
    "W_ENFCAZ",
    "W_H4NRED",
    "W_H4PTCH",
    "W_PFDSGN",
    "W_SITE",
    "W_SPMOD",
    "W_VISIT",
}
"""The cards of a raw that matter."""

CONFIG_CARDS = frozenset({"DAMD_VER", "W_CAMMSK", "W_PFDSGN", "W_VISIT"})
"""The cards of a pfsConfig that matter."""

# Simulated files have letters.
_ARMS: Mapping[CardValue, str] = {name: arm for number, arm in ARM_NUMBERS.items() for name in (number, arm)}
# Four bits for each spectrograph in W_CAMMSK, the lowest for the first of these.
_ARM_BITS = "brnm"
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_LARGEST = 2**63 - 1
_LARGEST_OFFSET = 1e9
_LONGEST_SHOWN = 80

# ut1 would need tables from the net, and local time says nothing of TAI.
_SCALES = ("utc", "tai", "tt", "tdb", "tcb", "tcg")
# A Butler's timespan holds the years 1970 to 2099; a day less at both ends is right on every scale.
_FIRST_MJD, _LAST_MJD = 40588.0, 88068.0
_FIRST_DAY = date(1858, 11, 17)  # MJD 0
_SECONDS_PER_DAY = 86400


def corrected(cards: Mapping[str, CardValue], corrections: Mapping[str, object]) -> dict[str, CardValue]:
    """Put the right values of some cards in the place of the wrong ones."""
    return {
        **cards,
        **{keyword: usable(value) for keyword, value in corrections.items() if keyword in RAW_CARDS},
    }


def identity(cards: Mapping[str, CardValue]) -> tuple[str, int]:
    """Tell the instrument and the visit of a raw, after which its corrections are named.

    Raises
    ------
    Rejected
        If a card of theirs is missing or unusable.
    """
    site = _required(cards, "W_SITE")
    if site not in SITES:
        raise _bad(cards, "W_SITE", f"one of {' '.join(SITES)}")
    return instrument_name(str(site)), _whole(cards, "W_VISIT", 0, _LARGEST)


def check_ended(cards: Mapping[str, CardValue], reads: int) -> None:
    """See that a ramp has come to the end that its header announces.

    Parameters
    ----------
    cards : `~collections.abc.Mapping` [`str`, `CardValue`]
        `RAW_CARDS`, corrections applied.
    reads : `int`
        How many whole reads the file has.

    Raises
    ------
    Incomplete
        If reads are missing, or the header is not the final one.

    Notes
    -----
    ``W_H4NRED`` is the number of reads asked for, and is amended when a ramp is stopped early. ``W_H4PTCH``
    exists since December 2023 and becomes T when the header is amended at the end of the exposure, which can
    be before the last read is written. ``docs/decisions/interrupted-ramps.md`` has the reasons.
    """
    if cards.get("W_H4PTCH", True) is not True:
        raise Incomplete(
            Code.INCOMPLETE,
            "the header of the ramp is not final yet: W_H4PTCH is not T",
            hint="if it never will be, set W_H4PTCH with a header correction, then retry the file",
        )
    announced = cards.get("W_H4NRED")
    if isinstance(announced, int) and reads < announced:
        raise Incomplete(
            Code.INCOMPLETE,
            f"the ramp has {reads} of the {announced} reads that its card W_H4NRED announces",
            hint="if it was stopped there, set W_H4NRED with a header correction, then retry the file",
        )


def raw_header(cards: Mapping[str, CardValue]) -> RawHeader:
    """Make the header of a raw from its cards.

    Parameters
    ----------
    cards : `~collections.abc.Mapping` [`str`, `CardValue`]
        `RAW_CARDS`, corrections applied.

    Raises
    ------
    Rejected
        If a required card is missing or unusable, also one that only the exposure record needs.
    """
    instrument, visit = identity(cards)
    arm = _arm(cards)
    spectrograph = _whole(cards, "W_SPMOD", SPECTROGRAPHS[1], SPECTROGRAPHS[-1])
    pfs_design_id = _whole(cards, "W_PFDSGN", 0, _LARGEST)
    offset = parsed_number(_required(cards, "W_ENFCAZ"))
    if offset is None or abs(offset) > _LARGEST_OFFSET:
        raise _bad(cards, "W_ENFCAZ", "the slit offset in mm")
    begin = _checked_begin(cards)
    return RawHeader(
        instrument=instrument,
        visit=visit,
        arm=arm,
        spectrograph=spectrograph,
        detector=detector_number(arm, spectrograph),
        pfs_design_id=pfs_design_id,
        # Truncated towards zero also where negative: that is how the observatory's repositories have it.
        dither=int(offset * 1e4 + 0.5),
        cards={keyword: value for keyword, value in cards.items() if keyword in EXPOSURE_CARDS},
        # The scales differ by a minute, which is none of the night.
        night=_FIRST_DAY + timedelta(days=math.floor(begin)),
    )


def has_guide_stars(cards: Mapping[str, CardValue]) -> bool:
    """Say whether a pfsConfig has guide stars: since version 2 of its data model.

    A header that names its design is younger than that.
    """
    version = cards.get("DAMD_VER", 0)
    return "W_PFDSGN" in cards or (isinstance(version, int) and version > 1)


def config_header(cards: Mapping[str, CardValue], name: FileName, cat_ids: tuple[int, ...]) -> ConfigHeader:
    """Make the header of a pfsConfig from its cards and, for old files without them, from its name.

    Parameters
    ----------
    cards : `~collections.abc.Mapping` [`str`, `CardValue`]
        `CONFIG_CARDS`.
    name : `~pfs_ingestd.records.FileName`
        What the name of the file says.
    cat_ids : `tuple` [`int`]
        The distinct catalogue numbers in its table.

    Raises
    ------
    Rejected
        If a card is unusable, or neither header nor name tells the design.
    """
    said = {"W_VISIT": name.visit, "W_PFDSGN": name.pfs_design_id}
    known = {**{keyword: value for keyword, value in said.items() if value is not None}, **cards}
    return ConfigHeader(
        visit=_whole(known, "W_VISIT", 0, _LARGEST),
        pfs_design_id=_whole(known, "W_PFDSGN", 0, _LARGEST),
        cat_ids=cat_ids,
        cameras=_cameras(cards.get("W_CAMMSK")),
    )


def check_name(name: FileName, header: RawHeader | ConfigHeader) -> None:
    """See that the name of a file says nothing else than its header.

    Raises
    ------
    Rejected
        If it does; both are told.
    """
    said: dict[str, tuple[object, object]] = {"visit": (name.visit, header.visit)}
    if isinstance(header, RawHeader):
        said["arm"] = name.arm, header.arm
        said["spectrograph"] = name.spectrograph, header.spectrograph
    elif name.pfs_design_id is not None:
        said["pfsDesignId"] = f"{name.pfs_design_id:#018x}", f"{header.pfs_design_id:#018x}"
    differing = {what: values for what, values in said.items() if values[0] != values[1]}
    if differing:
        in_name, in_header = (
            ", ".join(f"{what} {values[which]}" for what, values in differing.items()) for which in (0, 1)
        )
        raise Rejected(
            Code.NAME_MISMATCH,
            f"the name says {in_name}, the header {in_header}",
            hint="rename the file or correct its header, then retry it",
        )


def _required(cards: Mapping[str, CardValue], keyword: str) -> CardValue:
    if keyword not in cards:
        raise Rejected(
            Code.MISSING_CARD,
            f"the header has no card {keyword}",
            hint="supply it with a header correction, then retry the file",
        )
    return cards[keyword]


def _bad(cards: Mapping[str, CardValue], keyword: str, expected: str) -> Rejected:
    value = cards[keyword]
    shown = "has no value" if value is UNUSABLE else f"is {_bounded(repr(value))}"
    return Rejected(
        Code.BAD_CARD,
        f"the card {keyword} {shown}, expected {expected}",
        hint="put it right with a header correction, then retry the file",
    )


def _bounded(text: str) -> str:
    # CONTINUE cards make a text as long as the header.
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _whole(cards: Mapping[str, CardValue], keyword: str, smallest: int, largest: int) -> int:
    value = _required(cards, keyword)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
        raise _bad(cards, keyword, f"a whole number from {smallest} to {largest}")
    return value


def _arm(cards: Mapping[str, CardValue]) -> str:
    value = _required(cards, "W_ARM")
    arm = None if isinstance(value, bool) else _ARMS.get(value)
    if arm is None:
        raise _bad(cards, "W_ARM", f"1 to {len(ARM_NUMBERS)}, or one of {' '.join(ARM_NUMBERS.values())}")
    return arm


def _checked_begin(cards: Mapping[str, CardValue]) -> float:
    begin = number(_required(cards, "MJD-STR"))
    if begin is None or not _FIRST_MJD <= begin <= _LAST_MJD:
        raise _bad(cards, "MJD-STR", f"a date from MJD {_FIRST_MJD} to {_LAST_MJD}")
    duration = parsed_number(_required(cards, "EXPTIME"))
    if duration is None or not _FIRST_MJD <= begin + duration / _SECONDS_PER_DAY <= _LAST_MJD:
        raise _bad(cards, "EXPTIME", f"seconds that end from MJD {_FIRST_MJD} to {_LAST_MJD}")
    scale = cards.get("TIMESYS", UNUSABLE)
    if scale is not UNUSABLE and (not isinstance(scale, str) or scale.lower() not in _SCALES):
        raise _bad(cards, "TIMESYS", f"one of {', '.join(_SCALES)}")
    return begin


def _cameras(mask: CardValue | None) -> frozenset[str] | None:
    spectrographs = SPECTROGRAPHS[1:]
    cameras = [f"{arm}{spectrograph}" for spectrograph in spectrographs for arm in _ARM_BITS]
    if not isinstance(mask, int) or isinstance(mask, bool) or not 0 <= mask < 1 << len(cameras):
        return None
    return frozenset(camera for bit, camera in enumerate(cameras) if mask >> bit & 1)
