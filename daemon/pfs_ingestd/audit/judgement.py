"""Where files, records and datasets differ, and which remedies are safe."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from pfs_ingestd.audit.findings import DataId, Fault, File, Finding, Move, Restore, StoredDataset
from pfs_ingestd.policy import Patience, noticed
from pfs_ingestd.records import PENDING, FileRecord, State

__all__ = ["Comparison", "Scene", "comparisons", "differing_datasets", "differing_files"]

LATE = timedelta(hours=1)
"""How long a file may be overdue while no daemon is at work."""

BACKLOG = timedelta(days=1)
"""How long a file may be overdue while one is: it takes new files first."""

Comparison: TypeAlias = tuple[str, Path]
"""A dataset, by its UUID, and a file: have they the same bytes?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an audit has to know besides.

    Parameters
    ----------
    now : `~datetime.datetime`
        The time.
    daemon : `bool`
        Whether a daemon is at work.
    grace : `~datetime.timedelta`
        How long it is given to notice something.
    patience : `~pfs_ingestd.policy.Patience`
        How long it waits for what.
    checksum : `bool`
        Whether the bytes of all copies are compared with their files.
    """

    now: datetime
    daemon: bool
    grace: timedelta
    patience: Patience
    checksum: bool = False


def comparisons(
    files: Sequence[File], datasets: Sequence[StoredDataset], scene: Scene
) -> Iterator[Comparison]:
    """Tell of which artifacts and files the bytes have to be compared before these can be judged.

    Parameters
    ----------
    files, datasets, scene
        See `differing_files`.
    """
    rivals, owned, owners = _by_data_id(datasets), {each.id: each for each in datasets}, _owners(files)
    for file in files:
        if (sighting := file.sighting) is None:
            continue
        candidates: Sequence[StoredDataset] = ()
        if file.record is None or file.record.state is State.GONE:
            candidates = rivals[file.data_id]
        elif dataset := owned.get(_dataset_id(file)):
            astray = _leads_astray(dataset, owners[dataset.id])
            candidates = [dataset] if scene.checksum or astray or _looked_at(file, scene).changed else ()
        for dataset in candidates:
            artifact = dataset.artifact
            if artifact and artifact.size == sighting.size and not artifact.is_file(sighting):
                yield dataset.id, file.path


def differing_files(
    files: Sequence[File],
    datasets: Sequence[StoredDataset],
    same: Mapping[Comparison, bool],
    *,
    exposures: Collection[int],
    scene: Scene,
) -> Iterator[Finding]:
    """Find the files of some visits that are not as record and repository say, or stay where they are.

    Parameters
    ----------
    files : `~collections.abc.Sequence` [`File`]
        The files. Inbox and disk were looked at before the registry: what a record says of a dataset must
        have been true of the registry by then.
    datasets : `~collections.abc.Sequence` [`StoredDataset`]
        All datasets of their visits.
    same : `~collections.abc.Mapping` [`Comparison`, `bool`]
        The answers to `comparisons`.
    exposures : `~collections.abc.Collection` [`int`]
        Those visits of which the registry has an exposure record.
    scene : `Scene`
        What else there is to know.
    """
    rivals, owned = _by_data_id(datasets), {each.id: each for each in datasets}
    for file in files:
        record = file.record
        if file.trouble:
            yield _unreadable(file)
        elif record is None or record.state is State.GONE:
            yield from _of_unknown(file, rivals[file.data_id], same, scene)
        elif record.state is State.INGESTED:
            dataset = owned.get(_dataset_id(file))
            yield from _of_changed(file, dataset, same, scene) if dataset else _of_unregistered(file, scene)
        else:
            yield from _of_stuck(record, exposures, scene)


def differing_datasets(
    files: Sequence[File],
    datasets: Sequence[StoredDataset],
    same: Mapping[Comparison, bool],
    *,
    scene: Scene,
) -> Iterator[Finding]:
    """Find the datasets of some visits whose artifacts are not there, or not what was stored.

    Parameters
    ----------
    files, datasets, same, scene
        See `differing_files`; all files of those visits that the inbox knows.
    """
    owners = _owners(files)
    pending = {file.data_id for file in files if file.record and file.record.state in PENDING}
    for dataset in datasets:
        # What is to be ingested is looked at by the daemon.
        if dataset.data_id not in pending:
            yield from _of_dataset(dataset, owners[dataset.id], same, scene)


def _by_data_id(datasets: Sequence[StoredDataset]) -> Mapping[DataId, list[StoredDataset]]:
    found: dict[DataId, list[StoredDataset]] = defaultdict(list)
    for dataset in datasets:
        found[dataset.data_id].append(dataset)
    return found


def _owners(files: Sequence[File]) -> Mapping[str, list[File]]:
    """Sort the ingested files by the datasets that they went into: one, or several of the same bytes."""
    found: dict[str, list[File]] = defaultdict(list)
    for file in files:
        found[_dataset_id(file)].append(file)
    return found


def _dataset_id(file: File) -> str:
    ingested = file.record is not None and file.record.state is State.INGESTED
    return (file.record.dataset_id or "") if file.record and ingested else ""


def _looked_at(file: File, scene: Scene) -> FileRecord:
    """Get the record of an ingested file as it would be if the daemon looked at the file now."""
    record = file.record
    looked = noticed(record, file.sighting, closed=False, patience=scene.patience, now=scene.now)
    if looked is None:
        raise ValueError(f"there is no record of {file.path}")
    return looked


def _leads_astray(dataset: StoredDataset, owners: Sequence[File]) -> bool:
    """Say whether an artifact that is a file outside of the datastore is none of those that it should be."""
    artifact = dataset.artifact
    return (
        artifact is not None
        and artifact.elsewhere is not None
        and not any(file.sighting and artifact.is_file(file.sighting) for file in owners)
    )


def _unreadable(file: File) -> Finding:
    return Finding(
        fault=Fault.UNREADABLE,
        visit=file.data_id[0],
        path=file.path,
        why=file.trouble,
        advice="see to its disk and its rights",
    )


def _of_unknown(
    file: File, rivals: Sequence[StoredDataset], same: Mapping[Comparison, bool], scene: Scene
) -> Iterator[Finding]:
    sighting = file.sighting
    if sighting is None or scene.now.timestamp() - sighting.ctime_ns / 1e9 < scene.grace.total_seconds():
        return
    for dataset in rivals:
        itself = dataset.artifact is not None and dataset.artifact.is_file(sighting)
        if itself or same.get((dataset.id, file.path)):
            return
    new = noticed(file.record, sighting, closed=False, patience=scene.patience, now=scene.now)
    yield Finding(
        fault=Fault.UNKNOWN,
        visit=file.data_id[0],
        path=file.path,
        why="the repository has other content under its data ID, and the daemon does not know the file"
        if rivals
        else "neither the inbox nor the repository has it",
        advice="see in the status when the daemon last looked at the folders",
        remedy=Move(file.record, new, "queued") if new else None,
    )


def _of_unregistered(file: File, scene: Scene) -> Iterator[Finding]:
    if (record := file.record) is None:
        return
    why = f"it was ingested as dataset {record.dataset_id}, which the registry does not have"
    if file.sighting is None:
        yield Finding(
            fault=Fault.UNREGISTERED,
            visit=record.visit,
            path=file.path,
            why=f"{why}; nor is the file there",
            advice="bring the file back, if it is wanted; a backup of the datastore may have it",
        )
    else:
        yield Finding(
            fault=Fault.UNREGISTERED,
            visit=record.visit,
            path=file.path,
            why=why,
            advice="`retry` stores it again; to leave it out, `skip` it after that",
            remedy=Move(record, record.retried(scene.now), "queued again"),
        )


def _of_changed(
    file: File, dataset: StoredDataset, same: Mapping[Comparison, bool], scene: Scene
) -> Iterator[Finding]:
    """Tell of an ingested file that is not what was ingested any more, or was found so by the daemon."""
    record, sighting = file.record, file.sighting
    if record is None or sighting is None:
        return
    looked = _looked_at(file, scene)
    if not looked.changed:
        return
    itself = dataset.artifact is not None and dataset.artifact.is_file(sighting)
    unchanged = (record.size, record.mtime_ns) == (sighting.size, sighting.mtime_ns)
    remedy = Move(record, looked, "noted in its record") if looked != record else None
    why = looked.changed
    if same.get((dataset.id, file.path)) or (itself and unchanged):
        why = f"{why}; the dataset has the same bytes"
        advice = "`retry` compares them again"
        remedy = Move(record, record.retried(scene.now), "queued again, to be compared")
    elif itself:
        why = f"{why}; the dataset is this very file"
        advice = "if the change was meant, `retry` it; if not, bring the old content back"
    elif unchanged:
        advice = "`replace` stores this file instead; to leave it out, `retry` it and `skip` it after that"
    else:
        advice = "`replace` stores the new content; or bring the old content back, and `retry` it"
    yield Finding(
        fault=Fault.CHANGED,
        visit=record.visit,
        path=file.path,
        dataset=dataset,
        why=why,
        advice=advice,
        remedy=remedy,
    )


def _of_stuck(record: FileRecord, exposures: Collection[int], scene: Scene) -> Iterator[Finding]:
    """Tell of a record that should have moved on by now."""
    idle = scene.now - record.updated
    overdue = scene.now - (record.not_before or record.updated)
    why = advice = ""
    remedy = None
    if record.state in {State.WAITING, State.ORPHANED}:
        advice = "`retry` it"
        if record.visit in exposures and idle > scene.grace:
            why = f"it is {record.state}, and its exposure is in the registry"
            remedy = Move(record, record.ready(scene.now), "made ready")
        elif record.state is State.WAITING and record.not_before and overdue > LATE:
            why = f"it should have been given up at {record.not_before.isoformat(timespec='seconds')}"
            remedy = Move(record, record.orphaned(scene.now), "given up")
    elif record.state is State.INGESTING and not scene.daemon and idle > scene.grace:
        why = "it is being ingested, and no daemon is at work"
        advice = "start the daemon"
        remedy = Move(record, record.to(State.READY, scene.now), "made ready again")
    elif record.state in PENDING and overdue > (BACKLOG if scene.daemon else LATE):
        due = (record.not_before or record.updated).isoformat(timespec="seconds")
        why = f"it is {record.state} and was due at {due}"
        advice = "see in the status what the daemon does" if scene.daemon else "start the daemon"
    if why:
        yield Finding(
            fault=Fault.STUCK, visit=record.visit, path=record.path, why=why, advice=advice, remedy=remedy
        )


def _of_dataset(
    dataset: StoredDataset, owners: Sequence[File], same: Mapping[Comparison, bool], scene: Scene
) -> Iterator[Finding]:
    """Tell of a dataset whose artifact is not there, or not what was stored."""
    artifact = dataset.artifact
    unchanged = [file for file in owners if file.record and not _looked_at(file, scene).changed]
    if artifact is None or artifact.size is None:
        yield _of_missing(dataset, unchanged, [file.path for file in owners if file.sighting])
        return
    sizes = {file.record.size for file in unchanged if file.record}
    differing = [file.path for file in unchanged if same.get((dataset.id, file.path)) is False]
    why = ""
    if sizes and artifact.size not in sizes:
        why = f"{artifact.where} has {artifact.size} bytes, stored were {max(sizes)}"
    elif differing:
        why = f"{artifact.where} has other bytes than {differing[0]}, which has not changed"
    if why:
        yield Finding(
            fault=Fault.ALTERED,
            visit=dataset.visit,
            dataset=dataset,
            why=why,
            advice="find out which is right; `replace` stores the file anew",
        )


def _of_missing(dataset: StoredDataset, unchanged: Sequence[File], present: Sequence[Path]) -> Finding:
    artifact = dataset.artifact
    source = next((file for file in unchanged if file.sighting), None)
    fault = Fault.MISSING
    if artifact is None:
        why = "the datastore knows of no artifact"
    elif artifact.elsewhere:
        fault = Fault.DANGLING
        why = f"it leads to {artifact.elsewhere}, which is not there"
    else:
        why = f"there is nothing at {artifact.where}"
    if source:
        advice = "`retry` the file that it was made from"
    elif present:
        advice = f"{present[0]} has changed since it was stored; `replace` stores it as it is"
    else:
        advice = "bring its file back, or `butler prune-datasets` it"
    record = source.record if source and dataset.usual else None
    return Finding(
        fault=fault,
        visit=dataset.visit,
        path=source.path if source else None,
        dataset=dataset,
        why=why,
        advice=advice,
        remedy=Restore(record, dataset.id) if record else None,
    )
