"""One server for all worker processes of a test run: the first of them starts it, none has to end it.

Run as a program, this is the process that keeps such a server: it serves for as long as anybody holds a lock
on a file, and a process that dies lets go of its locks.
"""

import fcntl
import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["shared"]

PATIENCE = 200.0


@contextmanager
def shared(folder: Path, kind: str) -> Iterator[str]:
    """Have a server, and learn its address.

    Parameters
    ----------
    folder : `~pathlib.Path`
        A folder that the worker processes of this run share.
    kind : `str`
        The module that has it: its ``serving`` is a context manager that gives the address.
    """
    with (folder / f"{kind}.users").open("a") as users, (folder / f"{kind}.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        # Whoever keeps the server has this lock for himself while it goes down.
        fcntl.flock(users, fcntl.LOCK_SH)
        address = folder / f"{kind}.address"
        if not address.exists():
            _start(folder, kind, address)
        fcntl.flock(starting, fcntl.LOCK_UN)
        yield address.read_text()


def _start(folder: Path, kind: str, address: Path) -> None:
    output = str(folder / f"{kind}.out")
    # It outlives this process, perhaps, and nobody waits for it.
    keeper = os.posix_spawn(
        sys.executable,
        [sys.executable, __file__, kind, str(folder)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    end = time.monotonic() + PATIENCE
    while not address.exists():
        assert os.waitpid(keeper, os.WNOHANG) == (0, 0), Path(output).read_text()
        assert time.monotonic() < end, f"{kind} did not start in {PATIENCE:g} s"
        time.sleep(0.02)


def _keep(kind: str, folder: Path) -> None:
    """Serve until nobody uses the server any more."""
    address, new = folder / f"{kind}.address", folder / f"{kind}.new"
    with (folder / f"{kind}.users").open("a") as users, importlib.import_module(kind).serving() as place:
        new.write_text(place)
        new.rename(address)
        fcntl.flock(users, fcntl.LOCK_EX)
        address.unlink(missing_ok=True)


if __name__ == "__main__":
    _keep(sys.argv[1], Path(sys.argv[2]))
