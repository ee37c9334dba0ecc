"""Which of many files are artifacts already, found out in bulk and without opening one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.session import Session
from pfs_ingestd.adapters.repository.visits import datasets_of
from pfs_ingestd.pfs.instrument import detector_number
from pfs_ingestd.records import FileName, Kind, Sighting

__all__ = ["artifacts_among"]

_Files: TypeAlias = Mapping[tuple[object, ...], Sequence[Sighting]]


def artifacts_among(session: Session, sightings: Sequence[Sighting]) -> dict[Path, str]:
    """Find the files that are artifacts; see `~pfs_ingestd.ports.Repository.stored`.

    Where an artifact is only its datastore can tell, and only its inode tells whether it is some file: a hard
    link to it, a link that leads to it, or the file itself.

    Parameters
    ----------
    session : `Session`
        The repository.
    sightings : `~collections.abc.Sequence` [`~pfs_ingestd.records.Sighting`]
        The files.

    Returns
    -------
    artifacts : `dict` [`~pathlib.Path`, `str`]
        UUID of the dataset, for each file that is its artifact.
    """
    layout = session.layout
    artifacts: dict[Path, str] = {}
    for kind, dataset_type, run in (
        (Kind.RAW, layout.raw, layout.raw_run),
        (Kind.PFS_CONFIG, layout.config, layout.config_run),
    ):
        camera = sorted(dataset_type.dimensions.required - {"instrument", layout.observation.name})
        files = _by_data_id([each for each in sightings if each.name.kind is kind], camera)
        found: dict[UUID, Sequence[Sighting]] = {}
        refs = []
        visits = {each[0].name.visit for each in files.values()}
        for ref in datasets_of(session, dataset_type, [run], visits):
            key = tuple(ref.dataId[name] for name in (layout.observation.name, *camera))
            if key in files:
                found[ref.id] = files[key]
                refs.append(ref)
        for ref, uris in session.butler.get_many_uris(refs, allow_missing=True).items():
            if uris.primaryURI is not None:
                same = _same_file(uris.primaryURI, found[ref.id])
                artifacts |= dict.fromkeys(same, str(ref.id))
    return artifacts


def _by_data_id(sightings: Sequence[Sighting], camera: Sequence[str]) -> _Files:
    """Sort files by visit and values of dimensions; there may be several of one data ID."""
    files = defaultdict(list)
    for sighting in sightings:
        values = _camera(sighting.name)
        files[sighting.name.visit, *(values.get(name) for name in camera)].append(sighting)
    return files


def _camera(name: FileName) -> Mapping[str, object]:
    if name.arm is None or name.spectrograph is None:
        return {}
    return {
        "arm": name.arm,
        "spectrograph": name.spectrograph,
        "detector": detector_number(name.arm, name.spectrograph),
    }


def _same_file(artifact: ResourcePath, sightings: Sequence[Sighting]) -> list[Path]:
    """Pick the files that are an artifact. What cannot be found out here is found out the usual way."""
    if not artifact.isLocal:
        return []
    try:
        stored = Path(artifact.ospath).stat()
    except OSError:
        return []
    # An inode number is used once on each disk. No two disks have files of one number that came to be what
    # they are in the same nanosecond: to look at the files again would say no more.
    seen = (stored.st_ino, stored.st_size, stored.st_mtime_ns, stored.st_ctime_ns)
    return [each.path for each in sightings if (each.inode, each.size, each.mtime_ns, each.ctime_ns) == seen]
