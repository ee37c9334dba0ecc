"""What the settings must be to one another, and to the disk."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import yaml

from pfs_ingestd.config.model import Config, is_elsewhere
from pfs_ingestd.config.units import seconds_text
from pfs_ingestd.errors import Fatal
from pfs_ingestd.policy import elsewhere
from pfs_ingestd.redaction import redacted

__all__ = ["Problem", "conflicts", "problems", "worries", "written_files"]


class Problem(NamedTuple):
    """Something wrong with a setting.

    Parameters
    ----------
    key : `str`
        The full key, such as ``watch.settle``.
    text : `str`
        What is wrong with it, and what would be right.
    other : `str`, optional
        The key that it does not go together with.
    """

    key: str
    text: str
    other: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


def conflicts(config: Config) -> Sequence[Problem]:
    """Find the settings that cannot go together. The disk is not looked at."""
    return [
        *_folder_conflicts(config),
        *_time_conflicts(config),
        *_sharing_conflicts(config),
        *_place_conflicts(config),
    ]


def problems(config: Config) -> Sequence[Problem]:
    """Find what is missing, or forbidden to this user, on the disk."""
    return [*_folder_problems(config), *_repository_problems(config), *_file_problems(config)]


def worries(config: Config) -> Sequence[Problem]:
    """Find what is not as it should be on the disk, but does not keep the daemon from its work."""
    return list(_hook_worries(config))


def written_files(config: Config) -> Mapping[str, Path]:
    """Collect the local files that the daemon writes outside of the repository, by their keys."""
    files = {
        "state.database": config.state.database.file,
        "status.file": config.status.file,
        "status.metrics": config.status.metrics,
        "status.board": config.status.board,
        "log.file": config.log.file,
    }
    return {key: file for key, file in files.items() if file is not None}


def _roots(config: Config) -> Iterator[tuple[str, Path]]:
    yield from (("watch.raw", root) for root in config.watch.raw)
    yield from (("watch.pfsConfig", root) for root in config.watch.pfs_config)


def _folder_conflicts(config: Config) -> Iterator[Problem]:
    if not (config.watch.raw or config.watch.pfs_config):
        yield Problem("watch", "no folder is watched; name at least one under watch.raw or watch.pfsConfig")
    for key, roots in (("watch.raw", config.watch.raw), ("watch.pfsConfig", config.watch.pfs_config)):
        for root in sorted({root for root in roots if roots.count(root) > 1}):
            yield Problem(key, f"{root} is named more than once")
        for inner, outer in permutations(sorted(set(roots)), 2):
            if outer in inner.parents:
                yield Problem(key, f"{inner} lies inside {outer}, which is watched with all that is below it")


def _time_conflicts(config: Config) -> Iterator[Problem]:
    settle, ingest = config.watch.settle, config.ingest
    if ingest.max_delay < ingest.first_delay:
        yield Problem(
            "ingest.max_delay",
            f"{seconds_text(ingest.max_delay)} is shorter than"
            f" ingest.first_delay, {seconds_text(ingest.first_delay)}",
            other="ingest.first_delay",
        )
    if ingest.incomplete_after < settle:
        yield Problem(
            "ingest.incomplete_after",
            f"{seconds_text(ingest.incomplete_after)} is shorter than watch.settle, {seconds_text(settle)}:"
            " a file would be given up before it is first read",
            other="watch.settle",
        )


def _sharing_conflicts(config: Config) -> Iterator[Problem]:
    if config.state.database.file and not config.ingest.here:
        yield Problem(
            "ingest.here",
            "leaves ingestion to workers, who need an inbox in PostgreSQL; state.database is an SQLite file",
            other="state.database",
        )


def _place_conflicts(config: Config) -> Iterator[Problem]:
    files = written_files(config)
    repository = config.repository_path
    roots = sorted({root for _, root in _roots(config)})
    for root in roots:
        if repository is not None and _within(repository, root):
            yield Problem(
                "repository", f"{repository} lies in the watched folder {root}, which is not written to"
            )
        elif repository is not None and _within(root, repository) and config.ingest.transfer == "move":
            yield Problem("ingest.transfer", f"cannot move files out of {root}: it is part of the repository")
    for key, file in files.items():
        for root in [root for root in roots if _within(file, root)][:1]:
            yield Problem(key, f"{file} lies in the watched folder {root}, which is not written to")
        if repository is not None and _within(file, repository):
            yield Problem(key, f"{file} lies in the repository, where only Butler writes")
    if config.status.metrics and config.status.metrics.suffix != ".prom":
        text = f"{config.status.metrics} does not end in .prom: the node exporter would pass it over"
        yield Problem("status.metrics", text)
    for (key, file), (other_key, other) in permutations(files.items(), 2):
        if file == other and key > other_key:
            yield Problem(key, f"{file} is {other_key}, too")


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _folder_problems(config: Config) -> Iterator[Problem]:
    moving = config.ingest.transfer == "move"
    for key, root in _roots(config):
        if reason := _unusable(root, os.R_OK | os.X_OK | (os.W_OK if moving else 0)):
            yield Problem(key, reason)


def _repository_problems(config: Config) -> Iterator[Problem]:
    path = config.repository_path
    if path is None:
        return
    marker = path if path.suffix == ".yaml" else path / "butler.yaml"
    try:
        marker.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield Problem("repository", f"no repository at {path}; `pfs-ingestd init {path}` creates one")
    except PermissionError as error:
        yield Problem("repository", f"{error.strerror}: {marker}")
    except OSError:
        return  # a file system that does not answer may do so when the repository is opened
    else:
        yield from _transfer_problems(config, marker)


def _transfer_problems(config: Config, marker: Path) -> Iterator[Problem]:
    """See that the datastore can do the transfer, where the repository's own configuration says where it is.

    Whatever else there may be in it is Butler's to understand, and to complain of.
    """
    try:
        root = yaml.safe_load(marker.read_bytes())["datastore"]["root"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return
    if is_elsewhere(str(root)):
        try:
            elsewhere(config.ingest.transfer, redacted(str(root)))
        except Fatal as error:
            yield Problem("ingest.transfer", f"{error.message}; {error.hint}")


def _file_problems(config: Config) -> Iterator[Problem]:
    for key, file in written_files(config).items():
        if reason := _unusable(file.parent, os.W_OK | os.X_OK):
            yield Problem(key, reason)
        elif file.exists() and not os.access(file, os.W_OK):
            yield Problem(key, f"this user may not write to {file}")


def _hook_worries(config: Config) -> Iterator[Problem]:
    if not config.notify.command:
        return
    program = Path(config.notify.command[0])
    if not program.is_file():
        yield Problem("notify.command", f"no such program: {program}")
    elif not os.access(program, os.X_OK):
        yield Problem("notify.command", f"this user may not run {program}")


def _unusable(folder: Path, rights: int) -> str | None:
    """Say why a folder cannot be used in this way."""
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        return f"{error.strerror}: {folder}"
    if not stat.S_ISDIR(mode):
        return f"not a folder: {folder}"
    if not os.access(folder, rights):
        return f"this user may not {'write to' if rights & os.W_OK else 'read'} {folder}"
    return None
