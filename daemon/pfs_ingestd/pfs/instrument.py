"""The instrument as plain data: its sites, cameras and detectors, and the numbers and names they go by."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ARMS",
    "ARM_NUMBERS",
    "DETECTORS",
    "DETECTOR_MAX",
    "FILTERS",
    "GUIDER_ARM",
    "INSTRUMENT",
    "SITES",
    "SPECTROGRAPHS",
    "VISIT_MAX",
    "Detector",
    "detector_number",
    "instrument_name",
]

INSTRUMENT = "PFS"
"""Name of the instrument at the summit of Maunakea."""

VISIT_MAX = 21474800
"""Exclusive upper limit of visit numbers: with two digits of camera behind it, a visit fits in 31 bits."""

DETECTOR_MAX = 20
"""Exclusive upper limit of detector numbers, as the observatory's repositories have it; the guiders, whose
numbers are higher, never appear in a raw."""

SITES = ("S", "F", "L", "J", "A", "I", "P", "X", "C", "Z")
"""Where files are written, as the letter in their names and in the card ``W_SITE``: the summit, the
simulator and the laboratories."""

ARM_NUMBERS: Mapping[int, str] = {1: "b", 2: "r", 3: "n", 4: "m"}
"""The arms as raw names and the card ``W_ARM`` number them; r and m are two gratings of one camera."""

GUIDER_ARM = "x"
"""The arm of what is no spectrograph's."""

ARMS = (*ARM_NUMBERS.values(), GUIDER_ARM)
"""All arms to be registered."""

FILTERS = tuple(ARM_NUMBERS.values())
"""Physical filters to be registered, each of one arm and named after it."""

SPECTROGRAPHS = (0, 1, 2, 3, 4)
"""All spectrographs to be registered; 0 stands for none."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector as it is registered in a repository.

    Parameters
    ----------
    id : `int`
        Its number.
    full_name : `str`
        Its name, such as ``b1`` or ``AG1``.
    arm : `str`
        One of `ARMS`.
    spectrograph : `int`
        One of `SPECTROGRAPHS`.
    """

    id: int
    full_name: str
    arm: str
    spectrograph: int


def detector_number(arm: str, spectrograph: int) -> int:
    """Tell the number of the detector behind an arm of a spectrograph; those of arm m are negative.

    Three detectors a spectrograph, counted from 0 in the order b, r, n; the m arm has the number of the
    spectrograph's first detector, less one, sign turned.
    """
    first = 3 * (spectrograph - 1)
    return -first - 1 if arm == "m" else first + "brn".index(arm)


DETECTORS = (
    *(
        Detector(detector_number(arm, spectrograph), f"{arm}{spectrograph}", arm, spectrograph)
        for spectrograph in SPECTROGRAPHS[1:]
        for arm in ARM_NUMBERS.values()
    ),
    *(Detector(100 + number, f"AG{number}", GUIDER_ARM, 0) for number in range(1, 7)),
)
"""All detectors to be registered: those of the spectrographs and the six guiders."""


def instrument_name(site: str) -> str:
    """Name the instrument that observes at a site, given by its letter."""
    return INSTRUMENT if site == "S" else f"{INSTRUMENT}-{site}"
