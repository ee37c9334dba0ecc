"""From what a person asks about to its whole story, beside a daemon that may be running, or without one."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from pfs_ingestd.adapters.asking import ask
from pfs_ingestd.adapters.folder import WatchedFolder
from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.adapters.inbox import SqlInbox
from pfs_ingestd.adapters.repository import RepositoryInventory
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import InstanceLock, SystemClock
from pfs_ingestd.audit.findings import DataId, StoredDataset
from pfs_ingestd.board.visits import visits_of
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Code, IngestdError, Outage, Rejected
from pfs_ingestd.history import Entry
from pfs_ingestd.orders import Order, Standing
from pfs_ingestd.parts import configured_runs, inbox_beside, roots_of, watched_folder
from pfs_ingestd.pfs import names
from pfs_ingestd.pfs.corrections import search_path
from pfs_ingestd.records import FileName, FileRecord, State, path_text
from pfs_ingestd.story.facts import DaemonFacts, FileStory, Look, Stored, Story, VisitStory
from pfs_ingestd.story.strangers import Surroundings, why_unknown

__all__ = ["Subject", "subject_of", "tell_story"]

DISK_SECONDS = 15.0
"""How long the watched folders may take to answer."""

REPOSITORY_SECONDS = 30.0
"""How long the repository may take to answer: it takes a second to open one."""

_VISIT = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a person asks about: one of these.

    Parameters
    ----------
    visit : `int` or `None`
        Number of a visit.
    dataset_id : `str` or `None`
        UUID of a dataset.
    path : `~pathlib.Path` or `None`
        Absolute path of a file.
    name : `str`
        The name of a file alone, if no more was given.
    """

    visit: int | None = None
    dataset_id: str | None = None
    path: Path | None = None
    name: str = ""

    def __str__(self) -> str:
        if self.visit is not None:
            return f"visit {self.visit}"
        return f"dataset {self.dataset_id}" if self.dataset_id else path_text(self.path or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelf:
    """What the repository has of some visits."""

    datasets: Sequence[StoredDataset] = ()
    exposure: Mapping[str, object] | None = None
    equal: Mapping[tuple[str, Path], bool | None]
    trouble: IngestdError | None = None


def subject_of(text: str) -> Subject:
    """Tell whether a person means a visit, a dataset or a file; a file of such a name is meant by ``./``."""
    if _VISIT.fullmatch(text):
        return Subject(visit=int(text))
    try:
        return Subject(dataset_id=str(UUID(text)))
    except ValueError:
        path = Path(os.path.abspath(text))  # noqa: PTH100 (links are part of a path's name)
        return Subject(path=path, name="" if os.sep in text else text)


def tell_story(config: Config, subject: Subject, environ: Mapping[str, str], *, checksum: bool) -> Story:
    """Find out all that is known of a file, a dataset or a visit. Nothing is changed.

    Parameters
    ----------
    config : `Config`
        The configuration.
    subject : `Subject`
        What is asked about.
    environ : `~collections.abc.Mapping`
        The environment, which may name corrections of headers.
    checksum : `bool`
        Whether the bytes of artifacts are compared with the files.

    Raises
    ------
    Rejected
        If nobody knows it.
    Vanished
        If no daemon has run yet.
    Fatal, Outage, TryLater
        If the inbox cannot be used, or does not answer.
    """
    with inbox_beside(config, read_only=True) as inbox:
        records = _records(inbox, subject)
        history = inbox.history([record.path for record in records])
        pause = Standing().after(inbox.orders(0)).paused
        listed = subject.path is not None and not records and subject.path.parent in inbox.marks()
    daemon, last_scan = _daemon(config)
    paths: dict[Path, FileRecord | None] = {record.path: record for record in records}
    if not paths and subject.path:
        paths[subject.path] = None
    looks = _looks(config, paths, environ)
    shelf = _shelf(config, subject, paths, checksum=checksum)
    files = [
        _file_story(path, record, history.get(path, ()), looks[path], shelf) for path, record in paths.items()
    ]
    story = Story(
        files=sorted(files, key=lambda file: file.path),
        visit=_visit_story(config, subject, records, shelf),
        daemon=daemon,
        repository=config.repository,
        repository_trouble=shelf.trouble,
        paused=_pause(pause) if pause else "",
    )
    if records:
        return story
    return _of_a_stranger(config, subject, story, shelf, listed=listed, last_scan=last_scan)


def _pause(order: Order) -> str:
    reason = f": {order.reason}" if order.reason else ""
    return f"{order.by} ordered a pause at {order.at:%Y-%m-%d %H:%M:%S} UTC{reason}"


def _records(inbox: SqlInbox, subject: Subject) -> Sequence[FileRecord]:
    if subject.visit is not None:
        return inbox.whole_visits([subject.visit])
    if subject.dataset_id is not None:
        return inbox.of_dataset(subject.dataset_id)
    found = list(inbox.find([subject.path] if subject.path else []).values())
    if not found and (parsed := names.parse(subject.name)):
        # The name alone, as it stands in a message: there is seldom more than one such file.
        found = [each for each in inbox.whole_visits([parsed.visit]) if each.path.name == subject.name]
    return found


def _daemon(config: Config) -> tuple[DaemonFacts, datetime | None]:
    try:
        alive = InstanceLock(config.lock_file).holder() is not None
    except IngestdError as error:
        return DaemonFacts(alive=False, trouble=error.message), None
    try:
        status = StatusFile(config.status.file).read()
    except IngestdError:
        return DaemonFacts(alive=alive), None
    scan = status.get("last_scan")
    at = scan.get("at") if isinstance(scan, dict) else None
    facts = DaemonFacts(alive=alive, state=str(status.get("state", "")), reason=str(status.get("reason", "")))
    return facts, datetime.fromisoformat(at) if isinstance(at, str) else None


def _looks(
    config: Config, paths: Mapping[Path, FileRecord | None], environ: Mapping[str, str]
) -> Mapping[Path, Look]:
    """Look at files, and read those whose record does not say that they are in the repository."""
    looks: dict[Path, Look] = {}

    def look() -> None:
        folder = watched_folder(config)
        with closing(FitsHeaders(corrections=search_path(environ))) as headers:
            for path, record in paths.items():
                looks[path] = _look(folder, headers, path, record)

    silence = "its file system does not answer"
    try:
        ask(look, seconds=DISK_SECONDS, what="the watched folders", code=Code.ROOT_UNREACHABLE)
    except Outage as error:
        silence = error.message
    return {path: looks.get(path, Look(trouble=silence)) for path in paths}


def _look(folder: WatchedFolder, headers: FitsHeaders, path: Path, record: FileRecord | None) -> Look:
    try:
        sighting = folder.look(path)
    except IngestdError as error:
        return Look(trouble=error.message)
    if sighting is None:
        return Look()
    if record is not None and record.state is State.INGESTED and record.resembles(sighting):
        return Look(sighting=sighting)
    [answer] = headers.read([sighting])
    content = (
        f"[{answer.code}] {answer}"
        if isinstance(answer, IngestdError)
        else "complete, and its header can be used"
    )
    return Look(sighting=sighting, content=content)


def _shelf(
    config: Config, subject: Subject, paths: Mapping[Path, FileRecord | None], *, checksum: bool
) -> _Shelf:
    """Ask the repository, and say so if it does not answer."""

    def question() -> _Shelf:
        inventory = RepositoryInventory(
            config.repository,
            runs=configured_runs(config),
            instrument=config.instrument,
            now=SystemClock().now(),
        )
        with closing(inventory):
            visits = {record.visit for record in paths.values() if record}
            visits |= {parsed.visit for path in paths if (parsed := names.parse(path.name))}
            if subject.visit is not None:
                visits.add(subject.visit)
            if (
                not visits
                and subject.dataset_id
                and (visit := inventory.visit_of(subject.dataset_id)) is not None
            ):
                visits.add(visit)
            datasets = inventory.datasets(visits) if visits else ()
            exposure = inventory.exposure(subject.visit) if subject.visit is not None else None
            equal = {
                (dataset.id, path): inventory.holds(dataset, path)
                for path, record in paths.items()
                for dataset in datasets
                if checksum and dataset.data_id == _data_id(path, record)
            }
            return _Shelf(datasets=datasets, exposure=exposure, equal=equal)

    try:
        return ask(
            question,
            seconds=None if checksum else REPOSITORY_SECONDS,
            what="the repository",
            code=Code.REPOSITORY_UNREACHABLE,
        )
    except IngestdError as error:
        return _Shelf(equal={}, trouble=error)


def _data_id(path: Path, record: FileRecord | None) -> DataId | None:
    named: FileRecord | FileName | None = record or names.parse(path.name)
    return (named.visit, named.kind, named.arm, named.spectrograph) if named else None


def _file_story(
    path: Path, record: FileRecord | None, history: Sequence[Entry], look: Look, shelf: _Shelf
) -> FileStory:
    stored = [
        Stored(dataset=dataset, bytes_equal=shelf.equal.get((dataset.id, path)))
        for dataset in shelf.datasets
        if dataset.data_id == _data_id(path, record) or (record and dataset.id == record.dataset_id)
    ]
    return FileStory(path=path_text(path), record=record, history=history, look=look, stored=stored)


def _visit_story(
    config: Config, subject: Subject, records: Collection[FileRecord], shelf: _Shelf
) -> VisitStory | None:
    if subject.visit is None:
        return None
    visits = visits_of(records, SystemClock().now(), configs_expected=bool(config.watch.pfs_config))
    recorded = {record.dataset_id for record in records}
    return VisitStory(
        number=subject.visit,
        visit=visits[0] if visits else None,
        exposure=shelf.exposure,
        unrecorded=[dataset for dataset in shelf.datasets if dataset.id not in recorded],
    )


def _of_a_stranger(
    config: Config,
    subject: Subject,
    story: Story,
    shelf: _Shelf,
    *,
    listed: bool,
    last_scan: datetime | None,
) -> Story:
    """Tell what there is to tell of what the inbox does not know.

    Raises
    ------
    Rejected
        If that is nothing.
    """
    if subject.path:
        around = _surroundings(
            config, subject.path, listed=listed, last_scan=last_scan, alive=story.daemon.alive
        )
        reasons = why_unknown(subject.path, names.parse(subject.path.name), around)
        [file] = story.files
        if file.stored:
            told = FileStory(
                path=file.path, record=None, look=file.look, stored=file.stored, why_unknown=reasons
            )
            return replace(story, files=[told])
        raise _unknown(subject, story, "; ".join(reasons))
    if subject.visit is not None:
        if shelf.datasets or shelf.exposure:
            return story
        hint = "no file of it was seen in the watched folders: pfs-ingestd board shows the visits of a night"
        raise _unknown(subject, story, hint)
    datasets = [dataset for dataset in shelf.datasets if dataset.id == subject.dataset_id]
    if not datasets:
        hint = "it was removed, is of another dataset type than raw and pfsConfig, or of another repository"
        raise _unknown(subject, story, hint)
    why = ["it was ingested by command, or by another daemon"]
    return replace(
        story,
        files=[
            FileStory(path=str(dataset), record=None, stored=[Stored(dataset=dataset)], why_unknown=why)
            for dataset in datasets
        ],
    )


def _surroundings(
    config: Config, path: Path, *, listed: bool, last_scan: datetime | None, alive: bool
) -> Surroundings:
    def exists() -> bool | None:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return None
        return True

    def place() -> Surroundings:
        return Surroundings(
            roots=roots_of(config),
            exists=exists(),
            is_file=os.path.isfile(path),  # noqa: PTH113 (never raises)
            is_link=os.path.islink(path),  # noqa: PTH114 (never raises)
            follows_links=config.watch.follow_links == "files",
            folder_listed=listed,
            last_scan=last_scan,
            alive=alive,
        )

    try:
        return ask(place, seconds=DISK_SECONDS, what=str(path.parent), code=Code.ROOT_UNREACHABLE)
    except Outage:
        return Surroundings(roots=roots_of(config), exists=None, alive=alive, last_scan=last_scan)


def _unknown(subject: Subject, story: Story, hint: str) -> Rejected:
    if story.repository_trouble:
        hint += f"; and the repository could not be asked: {story.repository_trouble.message}"
    return Rejected(Code.UNKNOWN, f"{subject} is known to nobody", hint=hint)
