"""The commands as people type them, each in a process of its own, ours at the price of a fork."""

import gc
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

__all__ = ["Ran", "Shell", "opened_shell"]

_LOADED_BEFOREHAND = (
    "lsst.daf.butler.cli.cmd",
    "lsst.daf.butler.script",
    "pfs_ingestd.cli.ingest",
    "pfs_ingestd.cli.night",
    "pfs_ingestd.cli.operator",
)
_PROGRAMS = {"butler": "lsst.daf.butler.cli.butler", "pfs-ingestd": "pfs_ingestd.cli"}


class Ran(NamedTuple):
    """How a command ended, and what it printed on its two streams."""

    exit_code: int
    output: str


class Shell:
    """Runs `butler` and `pfs-ingestd` in forks of one process that has imported them, others as they are."""

    def __init__(self, server: "subprocess.Popen[str]") -> None:
        self._server = server

    def run(self, line: str, folder: Path) -> Ran:
        """Run a command, written as in a shell, but without anything for the shell itself to do."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps([shlex.split(line), str(folder)]), file=self._server.stdin, flush=True)
        return Ran(*json.loads(self._server.stdout.readline()))


@contextmanager
def opened_shell() -> Iterator[Shell]:
    """Start the process that is forked from, and end it."""
    # It must have no other thread: a fork leaves the others behind, whatever they hold.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(  # noqa: S603 (this very file)
        [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Shell(server)


def _serve() -> None:
    """Run the commands that come by standard input, one after the other."""
    for module in (*_LOADED_BEFOREHAND, *_PROGRAMS.values()):
        import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        # Butler imports much only when a repository is opened.
        import_module("pfs_ingestd.wiring").create_repository(folder)
    # Neither the collector of a fork nor its end goes through all that was imported: five times faster.
    gc.freeze()
    for line in sys.stdin:
        arguments, folder = json.loads(line)
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if not child:
                _become(arguments, folder, output.fileno())
            _, status = os.waitpid(child, 0)
            output.seek(0)
            answer = os.waitstatus_to_exitcode(status), output.read().decode()
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _become(arguments: list[str], folder: str, output: int) -> NoReturn:
    """Be a command from its begin to its end."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    sys.argv = arguments
    code: object = 70
    try:
        if arguments[0] not in _PROGRAMS:
            os.execvp(arguments[0], arguments)  # noqa: S606 (our own pages)
        import_module(_PROGRAMS[arguments[0]]).main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve()
