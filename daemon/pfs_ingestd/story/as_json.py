"""A story as one value for programs."""

from collections.abc import Mapping
from typing import Any

from pfs_ingestd.audit.findings import StoredDataset
from pfs_ingestd.records import FileRecord, path_text
from pfs_ingestd.story.facts import FileStory, Look, Stored, Story, VisitStory
from pfs_ingestd.story.prospects import to_do, waits_for

__all__ = ["VERSION", "as_json"]

VERSION = 1
"""Of the form; raised if a key changes its meaning or goes away."""


def as_json(story: Story) -> Mapping[str, Any]:
    """Write a story in values that JSON has."""
    trouble = story.repository_trouble
    return {
        "version": VERSION,
        "repository": {
            "uri": story.repository,
            "code": trouble and str(trouble.code),
            "error": trouble and str(trouble),
        },
        "daemon": {
            "alive": story.daemon.alive,
            "state": story.daemon.state,
            "reason": story.daemon.reason or story.daemon.trouble,
            "paused": story.paused or None,
        },
        "visit": None if story.visit is None else _visit(story.visit),
        "files": [_file(file, story) for file in story.files],
    }


def _file(file: FileStory, story: Story) -> Mapping[str, Any]:
    return {
        "path": file.path,
        "record": None
        if file.record is None
        else _record(file.record) | {"waits_for": waits_for(file.record)},
        "to_do": to_do(file, story),
        "why_unknown": list(file.why_unknown),
        "on_disk": _look(file.look),
        "history": [
            {
                "event": entry.event,
                "at": entry.at.isoformat(),
                "last": entry.last.isoformat(),
                "times": entry.times,
                "attempt": entry.attempt,
                "size": entry.size,
                "code": entry.code,
                "reason": entry.reason,
            }
            for entry in file.history
        ],
        "datasets": [_stored(stored, file.look) for stored in file.stored],
    }


def _record(record: FileRecord) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "visit": record.visit,
        "arm": record.arm,
        "spectrograph": record.spectrograph,
        "night": record.night.isoformat(),
        "state": record.state,
        "since": record.updated.isoformat(),
        "code": record.code,
        "error": record.error,
        "changed": record.changed,
        "attempts": record.attempts,
        "not_before": record.not_before and record.not_before.isoformat(),
        "size": record.size,
        "first_seen": record.first_seen.isoformat(),
        "steady_since": record.steady_since.isoformat(),
        "live": record.live,
        "dataset_id": record.dataset_id,
    }


def _look(look: Look) -> Mapping[str, Any]:
    return {
        "there": look.sighting is not None,
        "size": look.sighting and look.sighting.size,
        "trouble": look.trouble,
        "content": look.content,
    }


def _stored(stored: Stored, look: Look) -> Mapping[str, Any]:
    dataset = stored.dataset
    artifact = dataset.artifact
    return _dataset(dataset) | {
        "there": artifact is not None and artifact.size is not None,
        "is_this_file": bool(artifact and look.sighting and artifact.is_file(look.sighting)),
        "same_bytes": stored.bytes_equal,
    }


def _dataset(dataset: StoredDataset) -> dict[str, Any]:
    return {
        "id": dataset.id,
        "dataset_type": dataset.kind,
        "run": dataset.run,
        "uri": dataset.artifact and dataset.artifact.where,
        "size": dataset.artifact and dataset.artifact.size,
    }


def _visit(story: VisitStory) -> Mapping[str, Any]:
    visit = story.visit
    exposure = story.exposure
    return {
        "number": story.number,
        "verdict": visit and visit.verdict,
        "expected": None if visit is None or visit.expected is None else sorted(visit.expected),
        "cells": {
            name: {"mark": cell.mark, "path": cell.record and path_text(cell.record.path)}
            for name, cell in (visit.cells if visit else {}).items()
        },
        "exposure": None if exposure is None else {name: _plain(value) for name, value in exposure.items()},
        "unrecorded": [_dataset(dataset) for dataset in story.unrecorded],
    }


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
