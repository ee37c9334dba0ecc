"""A worker's lease on a shared inbox: renewed by a thread, on a connection of its own, while a batch runs."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, cast, delete, func, insert, update

from pfs_ingestd.adapters.inbox.engine import transaction
from pfs_ingestd.adapters.inbox.schema import WORKER
from pfs_ingestd.errors import IngestdError
from pfs_ingestd.ports import WorkerName

__all__ = ["LONGEST_SILENCE", "Lease", "server_time"]

LONGEST_SILENCE = 3600.0
"""Seconds after which a loop that asked nothing of the inbox is taken to hang: its lease is renewed no more.

The longest step is a batch in which large files are compared byte by byte; systemd's watchdog allows 5 min.
"""

_RENEWALS = 4
"""How often a lease is renewed in the time that it lasts: three of these may fail."""

_log = structlog.get_logger()


def server_time() -> ColumnElement[int]:
    """Mean the time in microseconds since 1970 as the inbox's server has it: one clock for all workers."""
    return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)


class Lease:
    """How long others leave to a worker what it holds.

    Parameters
    ----------
    engine : `~sqlalchemy.Engine`
        Connections for this alone: that of the loop may be busy, or waiting for a lock.
    name : `~pfs_ingestd.ports.WorkerName`
        Who holds it.
    length : `~datetime.timedelta`
        How long it lasts after each renewal.
    monotonic : `~collections.abc.Callable`, optional
        Tells the seconds passed since some moment.

    Attributes
    ----------
    worker_id : `int`
        The id of the row that stands for it; 0 before `begin`.
    """

    def __init__(
        self,
        engine: Engine,
        name: WorkerName,
        length: timedelta,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._name = name
        self._length = length // timedelta(microseconds=1)
        self._pause = length.total_seconds() / _RENEWALS
        self._monotonic = monotonic
        self._turned = monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)
        self.worker_id = 0

    def begin(self, connection: Connection) -> None:
        """Enter the worker anew, with a lease that begins now, and have it renewed from now on."""
        now = server_time()
        row = {
            "name": self._name.name,
            "host": self._name.host,
            "pid": self._name.pid,
            "watches": self._name.watches,
            "started": now,
            "heartbeat": now,
            "lease_until": now + self._length,
            "files": 0,
        }
        self.worker_id = connection.execute(insert(WORKER).values(row).returning(WORKER.c.id)).scalar_one()
        if not self._thread.is_alive():
            self._thread.start()

    def turned(self) -> None:
        """Take note that the loop turns."""
        self._turned = self._monotonic()

    def renew(self) -> None:
        """Make the lease last for its whole length from now on, if it was not lost.

        Raises
        ------
        Outage, TryLater
            If the inbox does not answer.
        """
        now = server_time()
        renewed = (
            update(WORKER)
            .where(WORKER.c.id == self.worker_id)
            .values(heartbeat=now, lease_until=now + self._length)
        )
        with transaction(self._engine, writing=True) as connection:
            connection.execute(renewed)

    def end(self) -> None:
        """Renew it no more, and strike the worker out; where the inbox does not answer, time does so."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            with transaction(self._engine, writing=True) as connection:
                connection.execute(delete(WORKER).where(WORKER.c.id == self.worker_id))
        except IngestdError as error:
            _log.debug("lease.left", code=error.code, error=str(error))
        self._engine.dispose()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._pause):
            if self._monotonic() - self._turned > LONGEST_SILENCE:
                continue
            try:
                self.renew()
            except IngestdError as error:
                # The loop finds out for itself, and tells.
                _log.debug("lease.unrenewed", code=error.code, error=str(error))
