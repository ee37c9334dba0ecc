"""What takes long to make, made once for all worker processes of a test run."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["made_once"]


def made_once(shared: Path, name: str, make: Callable[[Path], object]) -> Path:
    """Have a folder that whoever comes first has made; it is to be copied, and not to be changed.

    Parameters
    ----------
    shared : `~pathlib.Path`
        A folder that the worker processes of this run share.
    name : `str`
        What is made.
    make : `~collections.abc.Callable`
        Makes it at a path where nothing is, from where it is moved to its place.
    """
    place, draft = shared / name, shared / f"{name}.draft"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            shutil.rmtree(draft, ignore_errors=True)
            make(draft)
            draft.rename(place)
    return place
