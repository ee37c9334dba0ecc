"""The machine the daemon runs on: its clock, its service manager, its signals, its locks."""

import fcntl
import json
import os
import pwd
import random
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pfs_ingestd.errors import Code, Fatal, Interrupted, Outage
from pfs_ingestd.ports import Mailbox, Reload, Stop

__all__ = [
    "Holder",
    "InstanceLock",
    "SystemClock",
    "SystemdNotifier",
    "post_on_signals",
    "stop_posting",
    "user_name",
]

STOP_PATIENCE = 7.0
"""Seconds that a batch may take to its end after a signal: operators expect the daemon gone within ten."""

_LONGEST_STATUS = 500

# `holder` takes the lock for an instant; a daemon that starts in that instant must not take it for another.
_LOCK_ATTEMPTS = 5
_LOCK_PAUSE = 0.02

_log = structlog.get_logger()


class SystemClock:
    """Time and chance as the machine has them."""

    def now(self) -> datetime:
        """Tell the time, aware, UTC."""
        return datetime.now(UTC)

    def random(self) -> float:
        """Draw a number in [0, 1)."""
        return random.random()  # noqa: S311 (it spreads retries, it keeps no secret)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def user_name() -> str:
    """Tell under which name this process runs; its number, where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class SystemdNotifier:
    """Tells systemd, or whoever listens on its socket, how the service is.

    What cannot be sent is dropped: if it goes on, systemd's watchdog does what has to be done.

    Parameters
    ----------
    environ : `~collections.abc.Mapping`
        The environment; without ``NOTIFY_SOCKET`` nothing is told to anybody. A name that begins with ``@``
        is in the abstract namespace.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._is_ready = False
        self._failing = False

    def ready(self) -> None:
        """Say that the service is up; said again, it is not repeated."""
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")

    def alive(self, status: str) -> None:
        """Say that the loop turns, and what it is doing."""
        line = " ".join(status.split())[:_LONGEST_STATUS]
        self._send(f"WATCHDOG=1\nSTATUS={line}")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)  # the loop never waits for a listener
                sender.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except OSError as error:
            if not self._failing:
                _log.warning("notice.dropped", address=self._address, error=str(error))
            self._failing = True
        else:
            self._failing = False


def post_on_signals(mailbox: Mailbox, *, patience: float = STOP_PATIENCE) -> None:
    """From now on SIGTERM and SIGINT post `Stop.STOP`; should that not be heeded in time, they interrupt.

    SIGHUP posts `Reload.RELOAD`.

    Parameters
    ----------
    mailbox : `Mailbox`
        Where to post.
    patience : `float`, optional
        Seconds from the first signal until `Interrupted` is raised in the main thread, wherever it is then.
    """
    stopping = False

    def post(_number: int, _frame: object) -> None:
        nonlocal stopping
        mailbox.put(Stop.STOP)
        if not stopping:
            stopping = True
            signal.setitimer(signal.ITIMER_REAL, patience)

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGTERM, post)
    signal.signal(signal.SIGINT, post)
    signal.signal(signal.SIGHUP, lambda _number, _frame: mailbox.put(Reload.RELOAD))


def stop_posting() -> None:
    """Leave signals to the system again, and interrupt nothing more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that is at work.

    Parameters
    ----------
    pid : `int`
        Its number.
    host : `str`
        The machine it runs on.
    """

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class InstanceLock:
    """Lets one daemon at a time work on an inbox.

    The kernel holds the lock, so that it ends with the process, whatever ends it. The file stays: to remove
    it would let two processes hold the lock of two files of the same name.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; its content tells who holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock for the rest of the process's life, or until it is released.

        Raises
        ------
        Fatal
            If another process holds it, or the file cannot be locked.
        Outage
            If it cannot be written who holds it.
        """
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Fatal(
                Code.CONFIGURATION,
                f"the lock file {self._path} cannot be opened: {error.strerror}",
                hint="state.database must lie in an existing folder that this user may write to",
            ) from error
        try:
            self._lock(file)
            self._sign(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def holder(self) -> Holder | None:
        """Tell who holds the lock; `None` if nobody does.

        Raises
        ------
        Fatal
            If this user may not know.
        """
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Fatal(
                Code.STATE_UNUSABLE, f"the lock file {self._path} cannot be read: {error.strerror}"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(file)
        else:
            return None
        finally:
            os.close(file)

    def _lock(self, file: int) -> None:
        for attempt in range(_LOCK_ATTEMPTS):
            if attempt:
                time.sleep(_LOCK_PAUSE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Fatal(
                    Code.STATE_UNUSABLE,
                    f"{self._path} cannot be locked: {error.strerror}",
                    hint="state.database must lie on a file system with locks",
                ) from error
            return
        raise Fatal(
            Code.ALREADY_RUNNING,
            f"{_holder(file)} is at work already, with the lock {self._path}",
            hint="stop it first, or give this daemon its own state.database",
        )

    def _sign(self, file: int) -> None:
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        except OSError as error:
            raise Outage(
                Code.STATE_UNREACHABLE,
                f"the lock file {self._path} cannot be written: {error.strerror}",
                hint="look at its disk",
            ) from error


def _holder(file: int) -> Holder:
    """Read who holds the lock; it may not have come to writing that yet."""
    try:
        content = json.loads(os.pread(file, 4096, 0))
        return Holder(pid=int(content["pid"]), host=str(content["host"]))
    except (ValueError, KeyError, TypeError):
        return Holder(pid=0, host="an unknown host")
