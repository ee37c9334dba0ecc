"""Why the inbox may not know a file."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pfs_ingestd.records import FileName, Kind, path_text

__all__ = ["Surroundings", "why_unknown"]

_NAMES = "PF<site>A...fits, PF<site>B...fits, pfsConfig-0x...fits, PFSF...fits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of the place of a file that the inbox does not know.

    Parameters
    ----------
    roots : `~collections.abc.Mapping`
        The watched folders, and the kinds of file wanted below each.
    exists : `bool` or `None`
        Whether there is anything at the path; `None` if nobody can tell.
    is_file : `bool`
        Whether it is a regular file, or a link to one.
    is_link : `bool`
        Whether it is a symbolic link.
    follows_links : `bool`
        Whether links to files outside of the watched folders are followed.
    folder_listed : `bool`
        Whether a scan has listed its folder.
    last_scan : `~datetime.datetime` or `None`
        When the last scan ended, if that is known.
    alive : `bool`
        Whether a daemon is at work.
    """

    roots: Mapping[Path, Collection[Kind]]
    exists: bool | None
    is_file: bool = False
    is_link: bool = False
    follows_links: bool = False
    folder_listed: bool = False
    last_scan: datetime | None = None
    alive: bool = False


def why_unknown(path: Path, name: FileName | None, around: Surroundings) -> list[str]:
    """Collect all reasons for which a file may be unknown to the inbox, the surest first.

    Parameters
    ----------
    path : `~pathlib.Path`
        Absolute path.
    name : `~pfs_ingestd.records.FileName` or `None`
        What its name says; `None` if it is not that of a file of PFS.
    around : `Surroundings`
        What is known of its place.
    """
    certain = list(_certain(path, name, around))
    return certain or list(_passing(around))


def _certain(path: Path, name: FileName | None, around: Surroundings) -> Iterator[str]:
    if around.exists is False:
        yield "there is nothing at that path"
    elif around.exists and not around.is_file:
        yield "it is not a regular file"
    if name is None:
        if path.name.startswith("."):
            yield "its name begins with a dot: such files are passed over"
        else:
            yield f"its name is not one of PFS: {_NAMES}"
    holding = [root for root in around.roots if path.is_relative_to(root)]
    if not holding:
        roots = ", ".join(path_text(root) for root in around.roots)
        yield f"it lies in none of the watched folders ({roots})"
        return
    hidden = [
        part
        for root in holding
        for part in path.relative_to(root).parts[:-1]
        if part.startswith(".") or part == "lost+found"
    ]
    if hidden:
        yield f"it lies in {hidden[0]}: such folders are passed over"
    wanted = {kind for root in holding for kind in around.roots[root]}
    if name is not None and name.kind not in wanted:
        kinds = " and ".join(sorted(wanted))
        yield f"it is a {name.kind}, and below this watched folder only {kinds} files are wanted"
    if around.is_link and not around.follows_links:
        yield "it is a link: those that lead out of the watched folders are not followed (watch.follow_links)"


def _passing(around: Surroundings) -> Iterator[str]:
    if around.exists is None:
        yield "its folder cannot be read"
    if not around.alive:
        yield "no daemon is at work: start it"
    elif around.folder_listed:
        yield "it came after the last scan of its folder: wait for the next one"
    else:
        yield "its folder has not been scanned yet: wait for the scan, or see whether it can be read"
    if around.last_scan:
        yield f"the last scan ended at {around.last_scan:%Y-%m-%d %H:%M:%S} UTC"
