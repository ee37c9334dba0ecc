"""What a simulated night consists of, decided before anything is written."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import numpy as np

__all__ = [
    "ALL_CAMERAS",
    "ARM_NUMBERS",
    "NightPlan",
    "VisitKind",
    "VisitPlan",
    "arm_of",
    "plan_night",
    "spectrograph_of",
]

ALL_CAMERAS = tuple(f"{arm}{spectrograph}" for spectrograph in range(1, 5) for arm in "brn")
"""The twelve cameras of the low-resolution set-up."""

ARM_NUMBERS = {"b": 1, "r": 2, "n": 3, "m": 4}
"""The digit that stands for an arm in the name of a raw file, and in W_ARM."""

_AFTERNOON = datetime(2026, 3, 21, 23, tzinfo=UTC)
_OVERHEAD = timedelta(seconds=55)  # reading out and setting up for the next visit


class VisitKind(StrEnum):
    """What a visit is for; the value is its IMAGETYP."""

    BIAS = "bias"
    DARK = "dark"
    FLAT = "flat"
    ARC = "arc"
    DOMEFLAT = "domeflat"
    OBJECT = "object"
    CONVERGENCE = "convergence"


_EXPOSURE_TIMES = {
    VisitKind.BIAS: 0.0,
    VisitKind.DARK: 300.0,
    VisitKind.FLAT: 30.0,
    VisitKind.ARC: 45.0,
    VisitKind.DOMEFLAT: 60.0,
    VisitKind.OBJECT: 900.0,
    VisitKind.CONVERGENCE: 0.0,
}

_CYCLE = (
    VisitKind.OBJECT,
    VisitKind.BIAS,
    VisitKind.OBJECT,
    VisitKind.ARC,
    VisitKind.OBJECT,
    VisitKind.DARK,
    VisitKind.FLAT,
    VisitKind.OBJECT,
    VisitKind.DOMEFLAT,
    VisitKind.OBJECT,
)
_MEDIUM = 2  # place in the cycle of the visit in medium resolution
_LATE_TARGET = 7  # place in the cycle of the visit whose ramps still name the previous object


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlan:
    """What night to simulate.

    Parameters
    ----------
    visits : `int`
        Number of visits with raws; one convergence without raws follows them.
    first_visit : `int`
        Number of the first visit; the others follow without a gap.
    cameras : `tuple` [`str`]
        The cameras in use, such as ``b1``. Visits in medium resolution replace ``r`` by ``m``.
    reads : `int`
        Reads of a ramp.
    interval : `float`
        Seconds to wait between writing two visits. The headers always tell the time that the exposures
        would have taken.
    small : `bool`
        Whether images are a few pixels wide; everything else stays as it is.
    seed : `int`
        Same plan and seed, same bytes.
    start : `~datetime.datetime`
        Begin of the first exposure, aware. By default the UTC date changes during the eighth visit.

    Raises
    ------
    ValueError
        If a camera is not one of PFS, is named twice, or shares its detector with another one.
    """

    visits: int
    first_visit: int = 1000
    cameras: tuple[str, ...] = ALL_CAMERAS
    reads: int = 2
    interval: float = 0.0
    small: bool = False
    seed: int = 0
    start: datetime = _AFTERNOON

    def __post_init__(self) -> None:
        if self.visits < 0 or self.first_visit < 0 or self.interval < 0 or self.seed < 0:
            raise ValueError("visits, first visit, interval and seed cannot be negative")
        if self.reads < 1:
            raise ValueError(f"a ramp has at least one read, not {self.reads}")
        if self.start.tzinfo is None:
            raise ValueError(f"the start of the night has no time zone: {self.start}")
        _check_cameras(self.cameras)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPlan:
    """What one visit consists of.

    Parameters
    ----------
    visit : `int`
        Number of the visit.
    kind : `VisitKind`
        What it is for.
    cameras : `tuple` [`str`]
        The cameras exposed, in the order in which their files are written.
    pfs_design_id : `int`
        63-bit number of the fibre design.
    design_name : `str`
        Its name.
    target, ramp_target : `str`
        OBJECT in the headers of CCD files and of ramps; a ramp's header is written at the begin of the
        exposure and can still name the previous target.
    begin : `~datetime.datetime`
        When the exposure begins, UTC.
    reads, small, seed
        See `NightPlan`.
    """

    visit: int
    kind: VisitKind = VisitKind.OBJECT
    cameras: tuple[str, ...] = ALL_CAMERAS
    pfs_design_id: int = 0x6C0FFEE0FD0E5167
    design_name: str = "field"
    target: str = "field"
    ramp_target: str = "field"
    begin: datetime = _AFTERNOON
    reads: int = 2
    small: bool = False
    seed: int = 0

    @property
    def exposure_time(self) -> float:
        """Seconds."""
        return _EXPOSURE_TIMES[self.kind]

    @property
    def end(self) -> datetime:
        """When the exposure ends, UTC."""
        return self.begin + timedelta(seconds=self.exposure_time)

    @property
    def raws(self) -> tuple[Path, ...]:
        """Paths of the raw files, relative to the root of the night, in the order of `cameras`."""
        return tuple(self.raw(camera) for camera in self.cameras)

    def raw(self, camera: str) -> Path:
        """Tell where the raw file of a camera goes, relative to the root of the night.

        The path of a ramp is made when the exposure begins, that of a CCD file when it ends: over
        midnight UTC the visit is split over two folders.
        """
        arm, spectrograph = arm_of(camera), spectrograph_of(camera)
        made, folder, letter = (self.begin, "ramps", "B") if arm == "n" else (self.end, "sps", "A")
        name = f"PFS{letter}{self.visit:06d}{spectrograph}{ARM_NUMBERS[arm]}.fits"
        return Path(f"{made:%Y-%m-%d}", folder, name)

    @property
    def config(self) -> Path:
        """Path of the pfsConfig, relative to the root of the night."""
        name = f"pfsConfig-0x{self.pfs_design_id:016x}-{self.visit:06d}.fits"
        return Path(f"{self.begin:%Y-%m-%d}", "pfsConfig", name)


def plan_night(plan: NightPlan) -> Iterator[VisitPlan]:
    """Go through the visits of a night, in their order. Same plan, same visits.

    Ten visits make a cycle: object, bias (no ramps), object in medium resolution, arc, object, dark, flat,
    object (whose ramps name the previous object), dome flat, object. So a night of one visit is an object, of
    two has a bias, of three a visit with arm m. In medium resolution the first red camera stays in low
    resolution where there are several, so that r and m mix. Where all cameras are NIR a dark stands for
    the bias. Every object has its own design, all calibrations share one. The night ends with a
    convergence, whose pfsConfig is all that its visit leaves.

    Yields
    ------
    visit : `VisitPlan`
        One visit.
    """
    begin = plan.start.astimezone(UTC)
    previous = "none"
    for index in range(plan.visits):
        place = index % len(_CYCLE)
        kind = _CYCLE[place]
        cameras = plan.cameras
        if place == _MEDIUM:
            cameras = _medium_resolution(cameras)
        if kind is VisitKind.BIAS:
            cameras = tuple(camera for camera in cameras if arm_of(camera) != "n")
            if not cameras:
                kind, cameras = VisitKind.DARK, plan.cameras
        design = index + 1 if kind is VisitKind.OBJECT else 0
        target = f"field_{design:03d}" if design else kind.value
        visit = VisitPlan(
            visit=plan.first_visit + index,
            kind=kind,
            cameras=cameras,
            pfs_design_id=_design_id(plan.seed, design),
            design_name=f"design_{target}" if design else "design_calibration",
            target=target,
            ramp_target=previous if place == _LATE_TARGET else target,
            begin=begin,
            reads=plan.reads,
            small=plan.small,
            seed=plan.seed,
        )
        yield visit
        if kind is VisitKind.OBJECT:
            previous = target
        begin = visit.end + _OVERHEAD
    yield VisitPlan(
        visit=plan.first_visit + plan.visits,
        kind=VisitKind.CONVERGENCE,
        cameras=(),
        pfs_design_id=_design_id(plan.seed, plan.visits + 1),
        design_name="design_convergence",
        target="convergence",
        ramp_target="convergence",
        begin=begin,
        reads=plan.reads,
        small=plan.small,
        seed=plan.seed,
    )


def arm_of(camera: str) -> str:
    """Tell the arm of a camera: one of ``b r n m``."""
    return camera[0]


def spectrograph_of(camera: str) -> int:
    """Tell the spectrograph of a camera: 1 to 4."""
    return int(camera[1])


def _check_cameras(cameras: Sequence[str]) -> None:
    if not cameras:
        raise ValueError("a night needs at least one camera")
    for camera in cameras:
        if not re.fullmatch("[brnm][1-4]", camera):
            raise ValueError(f"not a camera of PFS: {camera!r} (one of b r n m, then 1 to 4)")
    detectors = [camera.replace("m", "r") for camera in cameras]
    if len(set(detectors)) < len(detectors):
        raise ValueError(
            f"two of these cameras are the same: {', '.join(cameras)} (r and m share a detector)"
        )


def _medium_resolution(cameras: Sequence[str]) -> tuple[str, ...]:
    red = [camera for camera in cameras if arm_of(camera) == "r"]
    turned = set(red[1:] or red)
    return tuple(camera.replace("r", "m") if camera in turned else camera for camera in cameras)


def _design_id(seed: int, design: int) -> int:
    return int(np.random.default_rng((seed, design)).integers(1 << 62, 1 << 63, dtype=np.uint64))
