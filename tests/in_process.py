"""Commands typed within the process of the tests, and logging left as other tests expect it."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from click.testing import CliRunner, Result

from pfs_ingestd.cli import main

__all__ = ["logging_restored", "typed"]

# Before click 8.2 a runner mixes what is printed to stderr into stdout, unless it is told not to.
_APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undo what `configure_logs` does."""
    root, ours, heard = (logging.getLogger(name) for name in ("", "pfs_ingestd", "py.warnings"))
    before = (root.level, ours.level, list(root.handlers), list(heard.filters))
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for handler in [handler for handler in root.handlers if handler not in before[2]]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(before[0])
        ours.setLevel(before[1])
        heard.filters = before[3]
        structlog.reset_defaults()


def typed(*arguments: object) -> Result:
    """Run a command to its end; what it raises but an exit is a failure of the test."""
    with logging_restored():
        done = CliRunner(**_APART).invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
