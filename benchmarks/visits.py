"""Visits by the thousand, faster than the simulator writes them: one of its visits, under other numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.exposure import Exposure, RawHeader, spokesman
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import Dataset
from pfs_ingestd.records import Sighting
from pfs_ingestd.simulate import VisitPlan, write_visit

__all__ = ["Visits"]

MODEL = VisitPlan(visit=100_000, small=True)
VISITS_PER_NIGHT = 100


class Visits:
    """Raws of whole visits, each of twelve cameras, with the headers that PFS writes.

    Nothing differs between two visits but their number. So all of them are of the same design and the same
    minute, which no registry minds.
    """

    def __init__(self) -> None:
        with TemporaryDirectory() as folder:
            write_visit(Path(folder), MODEL)
            paths = [Path(folder) / raw for raw in MODEL.raws]
            self._contents = [path.read_bytes() for path in paths]
            reader = FitsHeaders()
            read = reader.read([_sighting(path) for path in paths])
            self._headers = [header for header in read if isinstance(header, RawHeader)]
            self._exposure = reader.exposure(spokesman(self._headers))

    @property
    def cameras(self) -> int:
        """How many raws a visit has."""
        return len(self._headers)

    def exposure(self, visit: int) -> Exposure:
        """Make the exposure record of a visit."""
        return replace(self._exposure, id=visit, obs_id=str(visit), group_id=visit, seq_num=visit)

    def datasets(self, visit: int, paths: Sequence[Path]) -> list[Dataset]:
        """Describe the raws of a visit, one for each camera, as if their headers had just been read."""
        return [
            Dataset(path, replace(header, visit=visit))
            for path, header in zip(paths, self._headers, strict=True)
        ]

    def write(self, root: Path, visit: int) -> list[Path]:
        """Write the raws of a visit into the folder of its night.

        Parameters
        ----------
        root : `~pathlib.Path`
            The watched folder.
        visit : `int`
            Number of the visit; of six digits at most.

        Returns
        -------
        paths : `list` [`~pathlib.Path`]
            What was written.
        """
        night = root / f"night-{visit // VISITS_PER_NIGHT:04d}"
        paths = []
        for raw, content in zip(MODEL.raws, self._contents, strict=True):
            path = night / raw.parent.name / raw.name.replace(f"{MODEL.visit:06d}", f"{visit:06d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(_card(MODEL.visit), _card(visit), 1))
            paths.append(path)
        return paths


def _card(visit: int) -> bytes:
    return f"W_VISIT = {visit:>20}".encode()


def _sighting(path: Path) -> Sighting:
    name, found = parse(path.name), path.stat()
    if name is None:
        raise ValueError(f"not the name of a raw: {path}")
    return Sighting(
        path=path,
        name=name,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
    )
