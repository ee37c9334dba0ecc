"""Another process that reads the repository: it asks again and again until the raws of a visit are there."""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from lsst.daf.butler import Butler

__all__ = ["Reader", "Seen", "reading"]

PAUSE = 0.005
"""Seconds between two questions: without a pause the reader would be in the daemon's way."""

PATIENCE = 60.0
"""Seconds after which the raws will not come any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """When a visit was seen to be complete.

    Parameters
    ----------
    at : `float`
        When the answer came, by the monotonic clock, which all processes share.
    poll_seconds : `float`
        How long that last question took, all of which counts as waiting.
    """

    at: float
    poll_seconds: float


class Reader:
    """A process that reads a repository.

    Parameters
    ----------
    process : `subprocess.Popen`
        The process.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._questions: IO[str] = _there(process.stdin)
        self._answers: IO[str] = _there(process.stdout)

    def wait_for(self, visit: int, raws: int) -> Seen:
        """Wait until so many raws of a visit are visible.

        Raises
        ------
        RuntimeError
            If they do not come.
        """
        print(visit, raws, file=self._questions, flush=True)
        answer = json.loads(self._answers.readline() or "null")
        if answer is None:
            raise RuntimeError(f"the {raws} raws of visit {visit} did not become visible")
        return Seen(**answer)


@contextmanager
def reading(repository: str) -> Iterator[Reader]:
    """Have a reader at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reader", repository],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        reader = Reader(process)
        # Its imports and first query are not what is measured.
        reader.wait_for(0, 0)
        yield reader


def _there(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the process was started without pipes")
    return stream


def _wait(butler: Butler, visit: int, raws: int) -> Seen | None:
    give_up = time.monotonic() + PATIENCE
    while (begun := time.monotonic()) < give_up:
        found = butler.query_datasets(
            "raw",
            collections="PFS/raw/all",
            instrument="PFS",
            exposure=visit,
            explain=False,
        )
        now = time.monotonic()
        if len(found) >= raws:
            return Seen(at=now, poll_seconds=now - begun)
        time.sleep(PAUSE)
    return None


def main() -> None:
    """Answer the questions on standard input: a visit and a number of raws a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader", description=__doc__)
    parser.add_argument("repository", help="An existing repository.")
    options = parser.parse_args()
    with Butler.from_config(options.repository, writeable=False) as butler:
        # A pause of its own in the midst of a query would keep the daemon from committing for as long.
        gc.freeze()
        for line in sys.stdin:
            visit, raws = map(int, line.split())
            seen = _wait(butler, visit, raws)
            answer = seen and {"at": seen.at, "poll_seconds": seen.poll_seconds}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
