"""Corrections to headers that are known to be wrong, from files named after instrument and visit."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from pfs_ingestd.errors import Code, Rejected, TryLater

__all__ = ["find", "search_path"]


def search_path(environ: Mapping[str, str]) -> Sequence[Path]:
    """Get the folders in which ``$METADATA_CORRECTIONS_PATH`` says that corrections are.

    Parameters
    ----------
    environ : `~collections.abc.Mapping` [`str`, `str`]
        The environment.
    """
    return [Path(part) for part in environ.get("METADATA_CORRECTIONS_PATH", "").split(os.pathsep) if part]


def find(folders: Iterable[Path], instrument: str, visit: int) -> Mapping[str, object]:
    """Find the corrections to the headers of one visit.

    Parameters
    ----------
    folders : `~collections.abc.Iterable` [`~pathlib.Path`]
        Where to look, in this order; the first file found counts, the others are not read.
    instrument : `str`
        Name of the instrument, from the header as it was written.
    visit : `int`
        Number of the visit, from the header as it was written.

    Returns
    -------
    corrections : `~collections.abc.Mapping` [`str`, `object`]
        The right values of some cards; usually none.

    Raises
    ------
    Rejected
        If the file is not YAML, or does not map the names of cards to values.
    TryLater
        If the file is there and cannot be read.

    Notes
    -----
    The files are called ``<instrument>-<visit>.yaml``, such as ``PFS-45752.yaml``: the convention of
    ``astro_metadata_translator``, which looks them up in the same folders.
    """
    for folder in folders:
        path = folder / f"{instrument}-{visit}.yaml"
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise TryLater(
                Code.BUSY,
                f"the header correction {path} cannot be read: {error.strerror}",
                hint="see that the daemon's user may read it",
            ) from error
        return _parse(path, content)
    return {}


def _parse(path: Path, content: bytes) -> Mapping[str, object]:
    try:
        corrections = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise _rejected(f"{path}{where} is not YAML") from error
    if corrections is None:
        return {}
    if not isinstance(corrections, dict) or not all(isinstance(card, str) for card in corrections):
        raise _rejected(f"{path} does not map the names of cards to values")
    return corrections


def _rejected(why: str) -> Rejected:
    return Rejected(
        Code.UNREADABLE,
        f"the header correction of this visit cannot be used: {why}",
        hint="mend or remove that file, then retry this one",
    )
