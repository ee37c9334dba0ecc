"""Where the events of this program and the records of libraries meet, and leave as lines."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from structlog.typing import EventDict, WrappedLogger

from pfs_ingestd.bursts import deliver
from pfs_ingestd.logs.folding import Folding, kind_of_event, kind_of_record
from pfs_ingestd.logs.rendering import Renderer

__all__ = ["Destination", "Output", "Voice", "in_reading_order"]


class Destination(Protocol):
    """What takes lines."""

    def write(self, lines: str) -> None:
        """Take a line, or several, without the line feed at the end."""

    def close(self) -> None:
        """Take no more."""


class Output(logging.Handler):
    """Writes all that is told in one form to one place, from any thread.

    Our own events come by `tell`. To make records of the standard library of them first, and events of those
    again, would take three times as long, which half a million files of an archive make felt.

    Parameters
    ----------
    destination : `Destination`
        Where the lines go.
    render : `~collections.abc.Callable`
        Makes a line of an event.
    """

    def __init__(self, destination: Destination, render: Renderer) -> None:
        super().__init__()
        self._destination = destination
        self._render = render
        self._folding = Folding()

    def tell(self, event: Mapping[str, object]) -> None:
        """Write an event of ours; one that cannot be written costs nothing but itself."""
        kind = kind_of_event(event)
        if kind is not None and not self._folding.passes(kind, time.time()):
            return
        try:
            self._write(event)
        except Exception:  # noqa: BLE001 (whoever tells something has other things to do)
            self.handleError(logging.makeLogRecord({"msg": event}))

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a library says."""
        kind = kind_of_record(record)
        if kind is not None and not self._folding.passes(kind, record.created):
            return
        try:
            self._write(_event_of(record))
        except Exception:  # noqa: BLE001 (as above)
            self.handleError(record)

    def close(self) -> None:
        """Tell of what is held back, and let go of the place."""
        self._folding.close()
        self._destination.close()
        super().close()

    def _write(self, event: Mapping[str, object]) -> None:
        deliver(self._take, self._render(event))

    def _take(self, lines: str) -> None:
        self.acquire()
        try:
            self._destination.write(lines)
        except Exception:  # noqa: BLE001 (as above; in a burst it is later)
            self.handleError(logging.makeLogRecord({"msg": lines}))
        finally:
            self.release()


class Voice:
    """Hands our events to the output, by the methods that structlog looks for.

    Parameters
    ----------
    output : `Output`
        The output.
    """

    def __init__(self, output: Output) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = output.tell


def in_reading_order(
    _logger: WrappedLogger, level: str, event: EventDict
) -> tuple[tuple[EventDict], dict[str, object]]:
    """Put when, how bad and what before the facts: a processor of structlog, the last one."""
    first = {"timestamp": _time(datetime.now(UTC)), "level": level, "event": event.pop("event")}
    return ({**first, **event},), {}


def _event_of(record: logging.LogRecord) -> EventDict:
    event = {
        "timestamp": _time(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname.lower(),
        # Python's own warnings end with a line feed.
        "event": record.getMessage().strip(),
        "logger": record.name,
    }
    return event | ({"exc_info": record.exc_info} if record.exc_info else {})


def _time(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
