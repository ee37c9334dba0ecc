"""Our commands and Butler's, each in a process of its own, at the price of a fork instead of a start.

They are forked from a process that is `warmed`, one for each process of tests. A command has its own
arguments, environment, folder, umask, output, signals and exit code, as if it had been started. What is about
the start itself, or about what is imported, starts an interpreter instead.
"""

import atexit
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

__all__ = ["Process", "run", "start"]

_PROGRAMS = {"butler": "lsst.daf.butler.cli.butler", "pfs-ingestd": "pfs_ingestd.cli"}

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["warmed"])


class Process:
    """A command that runs, or ran; to be used like `subprocess.Popen`."""

    def __init__(self, fork: Any) -> None:
        self._fork = fork
        self.pid = fork.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; `None` if it still runs."""
        return self._fork.exitcode

    def poll(self) -> int | None:
        """Tell how it ended; `None` if it still runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends; tell how."""
        self._fork.join(timeout)
        code = self.returncode
        if code is None:
            raise subprocess.TimeoutExpired(self._fork.name, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[object],
    output: Path,
    errors: Path | None = None,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    umask: int | None = None,
) -> Process:
    """Start a command.

    Parameters
    ----------
    command : `~collections.abc.Sequence`
        The name of a program, and its arguments.
    output, errors : `~pathlib.Path`
        What it prints on its two streams goes to these files; to one, if errors have none of their own.
    cwd, environment, umask : optional
        With what it is started; what this process has, where nothing is given.
    """
    # Who is forked must have no other thread: a fork leaves the others behind, whatever they hold.
    with patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parent), OPENBLAS_NUM_THREADS="1"):
        forkserver.ensure_running()
    if umask is None:
        os.umask(umask := os.umask(0o077))
    words = [os.fspath(word) if isinstance(word, Path) else str(word) for word in command]
    settings = (str(cwd or Path.cwd()), dict(os.environ if environment is None else environment), umask)
    fork = _forks.Process(
        target=_become, args=(words, (str(output), str(errors or output)), *settings), name=words[0]
    )
    fork.start()
    return Process(fork)


def run(
    command: Sequence[object], *, timeout: float | None = None, together: bool = False, **settings: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end.

    Parameters
    ----------
    command : `~collections.abc.Sequence`
        The name of a program, and its arguments.
    timeout : `float` or `None`, optional
        Seconds after which it is killed, which is an error.
    together : `bool`, optional
        Whether its two streams are told as one.
    **settings
        As for `start`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = start(command, output, None if together else errors, **settings)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        printed = [path.read_text() if path.exists() else "" for path in (output, errors)]
    return subprocess.CompletedProcess(command, code, *printed)


def _become(
    command: list[str], streams: tuple[str, str], cwd: str, environment: dict[str, str], umask: int
) -> None:
    """Be a command from its begin to its end."""
    assert "warmed" in sys.modules
    for number, path in enumerate(streams, start=1):
        # Both may be the same file: what they write to it is in the order in which they do.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False)) for number in (1, 2))
    sys.stderr.reconfigure(errors="backslashreplace", line_buffering=True)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    os.umask(umask)
    sys.argv = command
    if command[0] not in _PROGRAMS:
        os.execvp(command[0], command)  # noqa: S606 (what tests and pages type)
    try:
        import_module(_PROGRAMS[command[0]]).main()
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 (the end of a fork leaves them out)
