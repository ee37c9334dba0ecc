"""Which of many files are artifacts already, found out in bulk and without opening one."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from lsst.daf.butler import DatasetRef, DatasetType

from pfs_ingestd.adapters.repository.recorded import paths_of
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
        files = _by_data_id(session, dataset_type, [each for each in sightings if each.name.kind is kind])
        visits = {each[0].name.visit for each in files.values()}
        refs: dict[UUID, DatasetRef] = {}
        found: dict[UUID, Sequence[Sighting]] = {}
        for ref in datasets_of(session, dataset_type, [run], visits):
            if same := files.get(ref.dataId.required_values):
                dataset_id = ref.id  # made anew each time
                refs[dataset_id], found[dataset_id] = ref, same
        for dataset_id, path in paths_of(session, refs).items():
            artifacts |= dict.fromkeys(_same_file(path, found[dataset_id]), str(dataset_id))
    return artifacts


def _by_data_id(session: Session, dataset_type: DatasetType, sightings: Sequence[Sighting]) -> _Files:
    """Sort files by the required values of their data IDs; there may be several of one."""
    names = list(dataset_type.dimensions.required)
    observation = session.layout.observation.name
    files = defaultdict(list)
    for sighting in sightings:
        name = sighting.name
        values = {"instrument": session.instrument, observation: name.visit, **_camera(name)}
        files[tuple(map(values.get, names))].append(sighting)
    return files


def _camera(name: FileName) -> Mapping[str, object]:
    if name.arm is None or name.spectrograph is None:
        return {}
    return {
        "arm": name.arm,
        "spectrograph": name.spectrograph,
        "detector": detector_number(name.arm, name.spectrograph),
    }


def _same_file(artifact: str, sightings: Sequence[Sighting]) -> list[Path]:
    """Pick the files that are an artifact. What cannot be found out here is found out the usual way."""
    try:
        stored = os.stat(artifact)  # noqa: PTH116 (no need for an object for each of half a million)
    except OSError:
        return []
    # An inode number is used once on each disk. No two disks have files of one number that came to be what
    # they are in the same nanosecond: to look at the files again would say no more.
    seen = (stored.st_ino, stored.st_size, stored.st_mtime_ns, stored.st_ctime_ns)
    return [each.path for each in sightings if (each.inode, each.size, each.mtime_ns, each.ctime_ns) == seen]
