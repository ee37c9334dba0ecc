"""Delivers notifications by programs that are ended when their time is over."""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

from pfs_ingestd.ports import Delivery
from pfs_ingestd.redaction import origin, redacted
from pfs_ingestd.text import short_line

__all__ = ["ChildCourier", "by_command", "by_webhook"]

STEP = 0.05
"""Seconds between two looks whether a program has ended, or is to be ended."""

LAST_WORDS = 2000
"""How many bytes are kept of what a program says on standard error."""

_LONGEST_REASON = 300
_POST = Path(__file__).with_name("post.py")

# A program that is told of this process' service manager would speak in its name.
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "PFS_INGESTD__")


class ChildCourier:
    """Starts a program for each notification, with that on its standard input, in a thread of its own.

    The program, and what it started in its process group, is killed when its time is over. Hence nothing that
    it does, nor a name server that does not answer, outlasts the time-out.

    Parameters
    ----------
    hook : `str`
        Which setting asks for it.
    to : `str`
        Where it goes, without secrets.
    command : `~collections.abc.Sequence` [`str`]
        The program and its arguments.
    timeout : `~datetime.timedelta`
        How long it may take.
    environ : `~collections.abc.Mapping`
        The environment, from which what is the daemon's own is left out.
    order : `~collections.abc.Callable`, optional
        Makes of a notification what the program reads.
    """

    def __init__(
        self,
        *,
        hook: str,
        to: str,
        command: Sequence[str],
        timeout: timedelta,
        environ: Mapping[str, str],
        order: Callable[[str], str] = str,
    ) -> None:
        self._hook = hook
        self._to = to
        self._command = list(command)
        self._timeout = timeout.total_seconds()
        self._environ = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
        self._order = order
        self._results: SimpleQueue[Delivery] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given_up = False
        self._undying: subprocess.Popen[bytes] | None = None

    @property
    def hook(self) -> str:
        """Which setting asks for it."""
        return self._hook

    @property
    def to(self) -> str:
        """Where it goes, without secrets."""
        return self._to

    def send(self, text: str) -> None:
        """Begin to deliver a notification; never waits. The one before must have come to its end."""
        self._thread = threading.Thread(
            target=self._deliver, args=(text,), name=f"notify.{self._hook}", daemon=True
        )
        self._thread.start()

    def result(self, seconds: float = 0.0) -> Delivery | None:
        """Tell what became of it; `None` if there is none, or not after having waited so long."""
        try:
            return self._results.get(timeout=seconds) if seconds else self._results.get(block=False)
        except Empty:
            return None

    def cancel(self) -> None:
        """End what is under way."""
        self._given_up = True
        if self._thread:
            self._thread.join(10 * STEP)

    def _deliver(self, text: str) -> None:
        try:
            error = self._run(self._order(text).encode())
        except OSError as failure:
            error = f"it cannot be started: {failure.strerror}"
        self._results.put(Delivery(short_line(redacted(error), _LONGEST_REASON)))

    def _run(self, order: bytes) -> str:
        """Run the program; give the reason why it did not succeed, or nothing."""
        if self._undying and self._undying.poll() is None:
            return f"the one that was started before, process {self._undying.pid}, cannot be ended"
        # Not a pipe: a program that does not read would let us wait, or raise a signal.
        paper = os.memfd_create("notification")
        try:
            os.write(paper, order)
            os.lseek(paper, 0, os.SEEK_SET)
            child = subprocess.Popen(  # noqa: S603 (the operator's own program)
                self._command,
                stdin=paper,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=self._environ,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(paper)
        assert child.stderr  # noqa: S101 (it is a pipe)
        with child.stderr:
            said = self._listen(child, child.stderr.fileno())
            # Before the pipe is closed: that would end a program that writes to it, as if by itself.
            if child.poll() is None:
                self._end(child)
                stopping = "it was ended, for the daemon stops"
                return stopping if self._given_up else f"no end after {self._timeout:g} s"
        if not child.returncode:
            return ""
        return said or _how(child.returncode)

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        """Kill a program and all of its group; one that waits for a disk may not die of it."""
        os.killpg(child.pid, signal.SIGKILL)
        try:
            child.wait(20 * STEP)
        except subprocess.TimeoutExpired:
            self._undying = child

    def _listen(self, child: "subprocess.Popen[bytes]", stream: int) -> str:
        """Wait for the end of the program, or of its time; give the last line that it says meanwhile."""
        end = time.monotonic() + self._timeout
        os.set_blocking(stream, False)
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while time.monotonic() < end and not self._given_up:
                ended = child.poll() is not None
                if not selector.get_map():
                    time.sleep(0 if ended else STEP)
                elif selector.select(0 if ended else STEP):
                    part = os.read(stream, LAST_WORDS)
                    said = (said + part)[-LAST_WORDS:]
                    if part:
                        continue
                    selector.unregister(stream)
                if ended:
                    break
        lines = said.decode(errors="backslashreplace").strip().splitlines()
        return lines[-1] if lines else ""


def by_command(command: Sequence[str], timeout: timedelta, environ: Mapping[str, str]) -> ChildCourier:
    """Deliver by a program of the operator's."""
    return ChildCourier(hook="command", to=command[0], command=command, timeout=timeout, environ=environ)


def by_webhook(url: str, timeout: timedelta, environ: Mapping[str, str]) -> ChildCourier:
    """Deliver by a POST to a server.

    The URL is on no command line and in no environment, where other users or programs could see it.
    """
    seconds = timeout.total_seconds()
    return ChildCourier(
        hook="webhook",
        to=origin(url),
        # Isolated: nothing of the environment decides what is imported.
        command=[sys.executable, "-I", str(_POST)],
        timeout=timeout,
        environ=environ,
        order=lambda text: json.dumps({"url": url, "text": text, "timeout": seconds}),
    )


def _how(code: int) -> str:
    """Say how a program ended that said nothing."""
    return f"it ended with {code}" if code > 0 else f"it was killed by signal {-code}"
