"""A simulated visit or night, file by file, in the order in which the instrument writes them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pfs_ingestd.simulate.files import write_ccd, write_pfs_config, write_ramp
from pfs_ingestd.simulate.plan import NightPlan, VisitPlan, arm_of, plan_night, spectrograph_of

__all__ = ["Night", "expected_night", "write_night", "write_visit"]


@dataclass(frozen=True, slots=True)
class Night:
    """A night on disk, as planned.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Its root, the parent of the date folders.
    visits : `tuple` [`VisitPlan`]
        All its visits, the convergence included.
    """

    directory: Path
    visits: tuple[VisitPlan, ...]

    @property
    def raws(self) -> tuple[Path, ...]:
        """Paths of all raw files."""
        return tuple(self.directory / raw for visit in self.visits for raw in visit.raws)

    @property
    def configs(self) -> tuple[Path, ...]:
        """Paths of the pfsConfigs of visits that have raws."""
        return tuple(self.directory / visit.config for visit in self.visits if visit.cameras)

    @property
    def convergence_configs(self) -> tuple[Path, ...]:
        """Paths of the pfsConfigs whose visits never get raws."""
        return tuple(self.directory / visit.config for visit in self.visits if not visit.cameras)

    @property
    def raw_data_ids(self) -> frozenset[tuple[int, str, int]]:
        """Exposure, arm and spectrograph of every raw that a repository should hold."""
        return frozenset(
            (visit.visit, arm_of(camera), spectrograph_of(camera))
            for visit in self.visits
            for camera in visit.cameras
        )

    @property
    def config_data_ids(self) -> frozenset[int]:
        """Exposure of every pfsConfig that a repository should hold."""
        return frozenset(visit.visit for visit in self.visits if visit.cameras)


def expected_night(directory: Path, plan: NightPlan) -> Night:
    """Tell what `write_night` writes, without writing it."""
    return Night(directory, tuple(plan_night(plan)))


def write_night(
    directory: Path,
    plan: NightPlan,
    *,
    on_file: Callable[[Path], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Night:
    """Write a night, visit by visit.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Root of the night; folders are made as they are needed.
    plan : `NightPlan`
        What to write.
    on_file : `~collections.abc.Callable`, optional
        Called with the path of each file that is complete.
    sleep : `~collections.abc.Callable`, optional
        Lets the interval between two visits pass, given in seconds.

    Returns
    -------
    night : `Night`
        What was written.
    """
    night = expected_night(directory, plan)
    for place, visit in enumerate(night.visits):
        if place and plan.interval:
            sleep(plan.interval)
        write_visit(directory, visit, on_file=on_file)
    return night


def write_visit(
    directory: Path,
    visit: VisitPlan,
    *,
    on_file: Callable[[Path], None] | None = None,
    on_write: Callable[[Path], None] | None = None,
) -> None:
    """Write the files of one visit: its pfsConfig, then its raws camera by camera.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Root of the night; folders are made as they are needed.
    visit : `VisitPlan`
        What to write.
    on_file : `~collections.abc.Callable`, optional
        Called with the path of each file that is complete.
    on_write : `~collections.abc.Callable`, optional
        Called with the path of the file in hand after each write, while it is still open.
    """
    _make_folder(directory / visit.config)
    write_pfs_config(directory / visit.config, visit, on_write=on_write)
    if on_file:
        on_file(directory / visit.config)
    for camera in visit.cameras:
        path = directory / visit.raw(camera)
        _make_folder(path)
        write_raw = write_ramp if arm_of(camera) == "n" else write_ccd
        write_raw(path, visit, camera, on_write=on_write)
        if on_file:
            on_file(path)


def _make_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
