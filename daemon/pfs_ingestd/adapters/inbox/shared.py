"""The inbox as processes share it, in PostgreSQL: each holds the visits it works on, under a lease."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    and_,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from pfs_ingestd.adapters.inbox.engine import open_engine, transaction
from pfs_ingestd.adapters.inbox.inbox import RECORDS, SqlInbox, prepared_engine
from pfs_ingestd.adapters.inbox.lease import Lease, server_time
from pfs_ingestd.adapters.inbox.rows import microseconds, record, worker_state
from pfs_ingestd.adapters.inbox.schema import FILE, HOLD, TOUCHED, WORKER
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.ports import Rescue, WorkerName
from pfs_ingestd.records import FileRecord, State

__all__ = ["SharedInbox", "open_shared_inbox"]

_RESCUE = 72461, cast(func.coalesce(text("current_schema()::regnamespace::oid"), 0), Integer)
"""The advisory lock under which what the dead held is put back, by one at a time; one for each inbox."""

_ORDER = (FILE.c.live.desc(), FILE.c.visit.desc(), FILE.c.name, FILE.c.folder_id)
_LATE = FILE.c.state == State.INGESTING.value, ~exists().where(HOLD.c.visit == FILE.c.visit)


class SharedInbox(SqlInbox):
    """An inbox in PostgreSQL on which several processes work; see `open_shared_inbox`.

    Who ingests files of a visit holds it: no other reserves any of its files meanwhile. A hold ends when it
    is let go, or with the lease of its holder. What a holder has done after that is not written down.

    Parameters
    ----------
    engine : `~sqlalchemy.Engine`
        The database, with the tables of our version.
    lease : `Lease`
        Ours; begun by `recover`.
    watches : `bool`
        Whether this is the process that looks after the watched folders.
    """

    def __init__(self, engine: Engine, lease: Lease, *, watches: bool) -> None:
        super().__init__(engine)
        self._lease = lease
        self._watches = watches
        self._held: set[int] = set()

    def close(self) -> None:
        """Let go of what is held, and of the database."""
        self._lease.end()
        super().close()

    def recover(self, now: datetime) -> int:
        """Begin a lease, and put back to ready what this process held before, or nobody holds.

        Counts anew how many files are in each state, too, if this is the watching process.
        """
        self._lease.turned()
        ours = WORKER.c.id == self._lease.worker_id
        if self._watches:
            # There is one at a time: what an earlier one held is ours.
            ours = or_(ours, WORKER.c.watches)
        with transaction(self._engine, writing=True) as connection:
            connection.execute(select(func.pg_advisory_xact_lock(*_RESCUE)))
            connection.execute(delete(WORKER).where(ours))
            recovered = self._put_back(connection, now, *_LATE)
            self._lease.begin(connection)
            if self._watches:
                self._recount(connection)
        self._held = set()
        return recovered

    def reserve(
        self, now: datetime, limit: int, *, largest: int | None = None, keep: Collection[int] = frozenset()
    ) -> Sequence[FileRecord]:
        """Get ready records that are due, whole visits of them, and hold these visits; let go of the others.

        Raises
        ------
        Outage
            If the lease was lost.
        """
        self._lease.turned()
        due = [
            FILE.c.state == State.READY.value,
            or_(FILE.c.not_before.is_(None), FILE.c.not_before <= microseconds(now)),
        ]
        if largest is not None:
            due.append(FILE.c.size <= largest)
        with transaction(self._engine, writing=True) as connection:
            self._see_that_we_live(connection)
            self._let_go(connection, keep)
            visits = self._free_visits(connection, due, limit)
            held = self._hold(connection, visits) | (self._held.intersection(keep, visits))
            if not held:
                self._held.intersection_update(keep)
                return []
            whole = RECORDS.where(FILE.c.visit.in_(held), *due).order_by(*_ORDER).limit(2 * limit)
            found = [record(row) for row in connection.execute(whole)]
        self._held = self._held.intersection(keep) | held
        return found

    def release(self, keep: Collection[int] = frozenset()) -> None:
        """Let go of the visits that are held, but for some."""
        self._lease.turned()
        if self._held.difference(keep):
            with transaction(self._engine, writing=True) as connection:
                self._let_go(connection, keep)
            self._held.intersection_update(keep)

    def rescue(self, now: datetime) -> Rescue:
        """Put back to ready what workers held whose lease is over, and strike these out."""
        over = WORKER.c.lease_until < server_time(), WORKER.c.id != self._lease.worker_id
        with transaction(self._engine, writing=True) as connection:
            if not connection.execute(select(func.pg_try_advisory_xact_lock(*_RESCUE))).scalar():
                return Rescue([], 0)
            # One that is just now writing down what it did is passed over.
            ids = select(WORKER.c.id).where(*over).with_for_update(skip_locked=True).scalar_subquery()
            dead = connection.execute(delete(WORKER).where(WORKER.c.id.in_(ids)).returning(*WORKER.c)).all()
            files = self._put_back(connection, now, *_LATE)
        return Rescue([worker_state(row, 0) for row in dead], files)

    def touched(self) -> Collection[int]:
        """Take note, once, of the visits of which other processes have ingested files."""
        if not self._watches:
            return ()
        with transaction(self._engine, writing=True) as connection:
            return connection.execute(delete(TOUCHED).returning(TOUCHED.c.visit)).scalars().all()

    def _before_replacing(
        self, connection: Connection, changes: Sequence[tuple[FileRecord, FileRecord]]
    ) -> None:
        """See that what is claimed, or comes back from the repository, is still ours; count what was done."""
        if not any(State.INGESTING in {old.state, new.state} for old, new in changes):
            return
        self._lease.turned()
        done = [new for old, new in changes if (old.state, new.state) == (State.INGESTING, State.INGESTED)]
        self._see_that_we_live(connection, done=len(done))
        if done and not self._watches:
            visits = [{"visit": visit} for visit in sorted({each.visit for each in done})]
            connection.execute(insert(TOUCHED).on_conflict_do_nothing(), visits)

    def _see_that_we_live(self, connection: Connection, *, done: int = 0) -> None:
        """Keep others from declaring us dead for the rest of the transaction.

        Raises
        ------
        Outage
            If somebody has done so already.
        """
        ours = WORKER.c.id == self._lease.worker_id
        if done:
            counted = update(WORKER).where(ours).values(files=WORKER.c.files + done)
            alive = bool(connection.execute(counted).rowcount)
        else:
            locked = select(WORKER.c.id).where(ours).with_for_update(read=True, key_share=True)
            alive = connection.execute(locked).first() is not None
        if not alive:
            raise Outage(
                Code.LEASE_LOST,
                "others have taken over what this process held: it gave no sign of life for too long",
                hint="it begins anew by itself; find out whether its machine or its network stood still",
            )

    def _let_go(self, connection: Connection, keep: Collection[int]) -> None:
        if self._held.difference(keep):
            ours = HOLD.c.worker_id == self._lease.worker_id
            connection.execute(delete(HOLD).where(ours, HOLD.c.visit.not_in(list(keep))))

    def _free_visits(
        self, connection: Connection, due: Sequence[ColumnElement[bool]], limit: int
    ) -> Collection[int]:
        """Find the visits of the files that are next, but for those that others hold, or are about to."""
        held = exists().where(and_(HOLD.c.visit == FILE.c.visit, HOLD.c.worker_id != self._lease.worker_id))
        next_files = (
            select(FILE.c.visit)
            .where(*due, ~held)
            .order_by(*_ORDER)
            .limit(limit)
            .with_for_update(of=FILE, skip_locked=True)
        )
        visits = connection.execute(next_files).scalars().all()
        distinct = dict.fromkeys(visits)
        if len(visits) == limit and len(distinct) > 1:
            # It may go on beyond the limit; whoever comes next takes all of it.
            distinct.popitem()
        return distinct.keys()

    def _hold(self, connection: Connection, visits: Collection[int]) -> set[int]:
        """Hold visits, in an order in which no two wait for each other; say which nobody else got first."""
        if not visits:
            return set()
        rows = [{"visit": visit, "worker_id": self._lease.worker_id} for visit in sorted(visits)]
        wanted = insert(HOLD).values(rows).on_conflict_do_nothing().returning(HOLD.c.visit)
        return set(connection.execute(wanted).scalars())


def open_shared_inbox(
    url: str, *, name: WorkerName, lease: timedelta, owner: str | None = None
) -> SharedInbox:
    """Open an inbox in PostgreSQL as one of the processes that work on it.

    Parameters
    ----------
    url : `str`
        Any ``postgresql://`` URL.
    name : `~pfs_ingestd.ports.WorkerName`
        Who opens it.
    lease : `~datetime.timedelta`
        How long others leave to it what it holds, without a sign of life.
    owner : `str`, optional
        See `open_inbox`: who opens it as the one that looks after the watched folders.

    Raises
    ------
    Fatal
        If it cannot be used; see `open_inbox`.
    Outage
        If its server does not answer.
    """
    engine = prepared_engine(url, owner=owner)
    lasting = Lease(open_engine(url, read_only=False), name, lease)
    return SharedInbox(engine, lasting, watches=name.watches)
