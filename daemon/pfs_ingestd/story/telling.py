"""A story as rows for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pfs_ingestd.audit.findings import StoredDataset
from pfs_ingestd.board.visits import CONFIG, Cell, Mark
from pfs_ingestd.history import Entry
from pfs_ingestd.records import FileRecord, State, path_text
from pfs_ingestd.story.facts import FileStory, Look, Story, VisitStory
from pfs_ingestd.story.prospects import NOTHING, to_do, waits_for

__all__ = ["Section", "sections"]

Section = tuple[str, Sequence[tuple[str, ...]]]
"""A title, and rows below it."""

_SHOWN = ("id", "obs_id", "day_obs", "observation_type", "exposure_time", "pfs_design_id", "target_name")
"""The columns of an exposure that are told, where a repository has them; --json has all."""


def sections(story: Story) -> Iterator[Section]:
    """Tell a story from the visit to its files, each part with a title and rows below it."""
    if story.visit is None:
        for file in story.files:
            yield file.path, list(_file(file, story))
            if file.history:
                yield "what did not go smoothly", [_entry(entry) for entry in file.history]
    else:
        yield from _visit(story.visit, story)
    yield "besides", list(_besides(story))


def _file(file: FileStory, story: Story) -> Iterator[tuple[str, str]]:
    record = file.record
    if record is None:
        yield "inbox", f"does not know it: {'; '.join(file.why_unknown)}"
    else:
        yield from _record(record)
        yield "to do", to_do(file, story)
        yield from _times(record)
    yield from _disk(file.look, file.differs)
    for stored in file.stored:
        dataset = stored.dataset
        its = " (of this record)" if record and dataset.id == record.dataset_id else ""
        yield "dataset", f"{dataset.id}{its}: {dataset}"
        yield "stored", f"{_where(dataset)}: {stored.held_against(file.look.sighting)}"
    if not file.stored and story.repository_trouble is None:
        yield "dataset", "the repository has none under its data ID"


def _record(record: FileRecord) -> Iterator[tuple[str, str]]:
    yield "file", f"{record.kind} of visit {record.visit}{_camera(record)}, night {record.night}"
    waits = "" if record.state is State.INGESTED else f"; it waits for {waits_for(record)}"
    yield "state", f"{record.state} since {_time(record.updated)}{waits}"
    if record.changed:
        yield "changed", record.changed
    if record.error or record.code:
        yield "reason", f"[{record.code}] {record.error or ''}".rstrip()


def _times(record: FileRecord) -> Iterator[tuple[str, str]]:
    how = "as it arrived" if record.live else "in a backlog"
    yield "seen", f"{_time(record.first_seen)}, {how}; with this content since {_time(record.steady_since)}"
    yield "size", f"{record.size:,} bytes"
    yield "attempts", str(record.attempts)


def _disk(look: Look, differs: str) -> Iterator[tuple[str, str]]:
    if look.trouble:
        yield "on disk", look.trouble
    elif look.sighting is None:
        yield "on disk", "not there, or not a file that is looked at"
    else:
        yield "on disk", differs or f"there, {look.sighting.size:,} bytes"
    if look.content:
        yield "read now", look.content


def _entry(entry: Entry) -> tuple[str, ...]:
    span = _time(entry.at)
    if entry.times > 1:
        span += f" ({entry.times} times until {_time(entry.last)})"
    attempt = f"attempt {entry.attempt}" if entry.attempt else ""
    reason = " ".join(
        [*([f"[{entry.code}]"] if entry.code else []), *([entry.reason] if entry.reason else [])]
    )
    return span, str(entry.event), attempt, f"{entry.size:,} bytes", reason


def _visit(visit: VisitStory, story: Story) -> Iterator[Section]:
    facts = [("exposure", _exposure(visit, story))]
    cells: Mapping[str, Cell] = {}
    if visit.visit is None:
        facts.append(("inbox", "knows no file of it"))
    else:
        cells = visit.visit.cells
        expected = sorted(visit.visit.expected or ())
        facts.insert(0, ("state", str(visit.visit.verdict)))
        facts.append(("expected", " ".join(expected) or "not known: no pfsConfig has named them"))
    yield f"visit {visit.number}", facts
    files = {file.path: file for file in story.files}
    chosen = {path_text(cell.record.path): name for name, cell in cells.items() if cell.record}
    names = sorted(cells, key=lambda name: (name != CONFIG, name[1:], name))
    rows: list[tuple[str, ...]] = [_cell(cells[name], files) for name in names]
    rows += [_other(file) for path, file in files.items() if path not in chosen]
    if rows:
        yield "files", rows
    worries = [
        row
        for path, file in sorted(files.items())
        for row in _worry(file, chosen.get(path, f"also {Path(path).name}"), story)
    ]
    if worries:
        yield "what is to be done", worries
    if visit.unrecorded:
        rows = [(dataset.id, str(dataset), _where(dataset)) for dataset in visit.unrecorded]
        yield "datasets that no record of the inbox speaks of", rows


def _exposure(visit: VisitStory, story: Story) -> str:
    if story.repository_trouble is not None:
        return "unknown: the repository did not answer"
    if visit.exposure is None:
        return "not registered: the first raw that is stored brings it"
    shown = [f"{name} {visit.exposure[name]}" for name in _SHOWN if visit.exposure.get(name) is not None]
    return f"registered: {', '.join(shown)}"


def _cell(cell: Cell, files: Mapping[str, FileStory]) -> tuple[str, ...]:
    if cell.record is None:
        return cell.name, str(cell.mark), "" if cell.mark is Mark.EXPECTED else "no file of it was seen", ""
    path = path_text(cell.record.path)
    return cell.name, str(cell.mark), path, _whether_stored(files[path])


def _other(file: FileStory) -> tuple[str, ...]:
    return "also", str(file.record.state if file.record else ""), file.path, _whether_stored(file)


def _whether_stored(file: FileStory) -> str:
    return "; ".join(stored.held_against(file.look.sighting) for stored in file.stored)


def _worry(file: FileStory, name: str, story: Story) -> Iterator[tuple[str, str]]:
    """Say why a file does not stand as it should, and what to do about it."""
    record, advice = file.record, to_do(file, story)
    if record is None or advice.startswith(NOTHING):
        return
    if record.changed or record.error:
        yield name, record.changed or f"[{record.code}] {record.error}"
    yield name, f"-> {advice}"


def _besides(story: Story) -> Iterator[tuple[str, str]]:
    trouble = story.repository_trouble
    yield (
        "repository",
        f"{story.repository}{f' COULD NOT BE ASKED: [{trouble.code}] {trouble}' if trouble else ''}",
    )
    yield "daemon", str(story.daemon)
    if story.paused:
        yield "pause", story.paused


def _where(dataset: StoredDataset) -> str:
    return dataset.artifact.where if dataset.artifact else "nowhere"


def _camera(record: FileRecord) -> str:
    return f", {record.arm}{record.spectrograph}" if record.arm else ""


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
