"""The commands as people type them, each in a process of its own."""

import shlex
from pathlib import Path
from typing import NamedTuple

import forked

__all__ = ["Ran", "type_line"]


class Ran(NamedTuple):
    """How a command ended, and what it printed on its two streams."""

    exit_code: int
    output: str


def type_line(line: str, folder: Path) -> Ran:
    """Run a command, written as in a shell, but without anything for the shell itself to do."""
    done = forked.run(shlex.split(line), cwd=folder, together=True)
    return Ran(done.returncode, done.stdout)
