"""The inbox port on a database."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import islice
from operator import index
from pathlib import Path

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Integer,
    bindparam,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)

from pfs_ingestd.adapters.inbox import schema
from pfs_ingestd.adapters.inbox.damage import damaged
from pfs_ingestd.adapters.inbox.engine import edition, open_engine, transaction
from pfs_ingestd.adapters.inbox.ordering import give, given
from pfs_ingestd.adapters.inbox.remembering import histories, remember
from pfs_ingestd.adapters.inbox.rows import (
    COLUMNS,
    file_name,
    microseconds,
    moment,
    record,
    values,
    worker_state,
)
from pfs_ingestd.adapters.inbox.schema import DUE, FILE, FOLDER, HOLD, TALLY, WORKER
from pfs_ingestd.adapters.inbox.steps import (
    AMONG,
    CHUNK,
    among,
    by_folder,
    chunks,
    completed,
    count,
    folder_ids,
    insert_files,
    locked,
    update_files,
)
from pfs_ingestd.errors import Code, StaleRecord
from pfs_ingestd.figures import Amount
from pfs_ingestd.history import Entry, entry_of, recovered
from pfs_ingestd.orders import Order
from pfs_ingestd.ports import FolderMark, Rescue
from pfs_ingestd.records import FileRecord, Kind, State, path_text, text_path
from pfs_ingestd.status import WorkerState

__all__ = ["RECORDS", "SqlInbox", "open_inbox", "prepared_engine"]

LEARNING = (1000, 4)
"""After how many new files statistics are first made, and how many times as many until the next."""

RECORDS = select(*COLUMNS).select_from(FILE).join(FOLDER)
_FIND = RECORDS.where(*AMONG)
_IDS = select(FILE.c.id, FILE.c.name).join(FOLDER).where(*AMONG)
_DUE_FILES = (
    RECORDS.where(
        FILE.c.state == bindparam("of"),
        or_(FILE.c.not_before.is_(None), FILE.c.not_before <= bindparam("until")),
    )
    .order_by(FILE.c.live.desc(), FILE.c.visit.desc(), FILE.c.name, FILE.c.folder_id)
    .limit(bindparam("at_most", type_=Integer))
)
_SMALL_DUE_FILES = _DUE_FILES.where(FILE.c.size <= bindparam("largest"))
_OF_VISITS = RECORDS.where(FILE.c.visit.in_(bindparam("visits", expanding=True)))
_CONFIGS_OF_VISITS = _OF_VISITS.where(
    FILE.c.kind == Kind.PFS_CONFIG.value, FILE.c.state.in_(bindparam("states", expanding=True))
)
_COUNTS = select(TALLY.c.state, TALLY.c.files)
_NEXT_DUE = select(func.min(DUE)).where(FILE.c.state == bindparam("of"))
_OLDEST = select(func.min(FILE.c.steady_since)).where(FILE.c.state == bindparam("of"))
_MARK = (
    update(FOLDER)
    .where(FOLDER.c.id == bindparam("row_id"))
    .values(mtime_ns=bindparam("time"), settled=bindparam("rests"))
)


def open_inbox(url: str, *, read_only: bool = False, owner: str | None = None) -> "SqlInbox":
    """Open the inbox at a database URL; create it, or bring it up to our version, where needed.

    Parameters
    ----------
    url : `str`
        ``sqlite:///<path>`` or any ``postgresql://`` URL.
    read_only : `bool`, optional
        Only read, beside a daemon that may be running; then the inbox must be there.
    owner : `str`, optional
        Who opens it as the one daemon that works on it. An SQLite file is then read through for damage, which
        takes a second for half a million files; an inbox in PostgreSQL is claimed as long as it is open.

    Raises
    ------
    DamagedInbox
        If it is an SQLite file, and damaged; it is left as it is.
    Fatal
        If it cannot be used: a bad URL, a newer version, something else in it, missing where it must not be,
        claimed by another daemon.
    Outage
        If its server does not answer.
    """
    return SqlInbox(prepared_engine(url, read_only=read_only, owner=owner))


def prepared_engine(url: str, *, read_only: bool = False, owner: str | None = None) -> Engine:
    """Make ready to connect to an inbox, and see to its tables; see `open_inbox`."""
    engine = open_engine(url, read_only=read_only, owner=owner)
    try:
        with transaction(engine, writing=not read_only) as connection:
            if owner is not None:
                schema.examine(connection)
            if read_only:
                schema.check(connection)
            else:
                schema.prepare(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


class SqlInbox:
    """The durable list of files, in a database; see `open_inbox`.

    Besides what its methods say, each raises `TryLater` while another process holds a lock, `Outage` where
    the database does not answer or cannot be written to, `DamagedInbox` where an SQLite file turns out to be
    damaged, and `Fatal` where it is unusable otherwise.

    Parameters
    ----------
    engine : `~sqlalchemy.Engine`
        The database, with the tables of our version.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._added = 0
        self._learns_at, self._learns_again = LEARNING

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def recover(self, now: datetime) -> int:
        """Put what was being ingested when the last process died back to ready; say how many.

        Counts anew how many files are in each state, too, whatever was done to the table by hand.
        """
        with transaction(self._engine, writing=True) as connection:
            lost = self._put_back(connection, now, FILE.c.state == State.INGESTING.value)
            self._recount(connection)
        return lost

    def edition(self) -> object:
        """Tell what stays equal as long as nobody writes to the inbox; in PostgreSQL nothing does."""
        return edition(self._engine)

    def find(self, paths: Collection[Path]) -> Mapping[Path, FileRecord]:
        """Get the records of some paths, where there are any."""
        found = {}
        folders = by_folder(paths)
        with self._reading() as connection:
            for parent, named in folders.items():
                for chunk in chunks(list(named)):
                    rows = connection.execute(_FIND, among(parent, chunk))
                    found.update({each.path: each for each in map(record, rows)})
        return found

    def names(self, folder: Path) -> Mapping[str, State]:
        """Get the names known directly in a folder, and their states."""
        known = select(FILE.c.name, FILE.c.state).join(FOLDER).where(FOLDER.c.path == path_text(folder))
        states = {state.value: state for state in State}
        with self._reading() as connection:
            return {file_name(name): states[state] for name, state in connection.execute(known)}

    def add(self, records: Sequence[FileRecord]) -> None:
        """Insert records of paths that have none.

        Raises
        ------
        StaleRecord
            If one has; then none is inserted.
        """
        if not records:
            return
        parents = [each.path.parent for each in records]
        texts = {parent: path_text(parent) for parent in dict.fromkeys(parents)}
        with transaction(self._engine, writing=True) as connection:
            ids = folder_ids(connection, list(texts.values()))
            folders = {parent: ids[text] for parent, text in texts.items()}
            rows = [
                {"folder_id": folders[parent], **values(each)}
                for parent, each in zip(parents, records, strict=True)
            ]
            insert_files(connection, rows)
            count(connection, Counter(each.state for each in records))
            if entries := {each.path: entry for each in records if (entry := entry_of(None, each))}:
                ids_of_files = {path: row_id for path, (row_id, *_) in locked(connection, entries).items()}
                remember(connection, {ids_of_files[path]: entry for path, entry in entries.items()})
        self._added += len(records)
        if self._added >= self._learns_at:
            self._learns_at = self._added * self._learns_again
            self._make_statistics()

    def replace(self, changes: Sequence[tuple[FileRecord, FileRecord]]) -> None:
        """Replace old records by new ones, each only where path, state and attempts are still the old ones.

        Raises
        ------
        StaleRecord
            If one is not; then none is replaced.
        ValueError
            If a path comes twice, or is not the same in old and new.
        """
        successors = {old.path: new for old, new in changes}
        if len(successors) < len(changes) or any(path != new.path for path, new in successors.items()):
            raise ValueError("each path is replaced once, by a record of the same path")
        if not changes:
            return
        with transaction(self._engine, writing=True) as connection:
            self._before_replacing(connection, changes)
            stored = locked(connection, successors)
            rows = []
            entries = {}
            for old, new in changes:
                row_id, *rest = stored.get(old.path, (0, None, None))
                if rest != [old.state.value, old.attempts]:
                    raise StaleRecord(
                        Code.STALE, f"the record has been changed meanwhile: {path_text(old.path)}"
                    )
                rows.append({"row_id": row_id, **values(new)})
                if entry := entry_of(old, new):
                    entries[row_id] = entry
            update_files(connection, rows)
            remember(connection, entries)
            difference = Counter(new.state for _, new in changes)
            difference.subtract(old.state for old, _ in changes)
            count(connection, difference)

    def due(
        self, state: State, now: datetime, limit: int, *, largest: int | None = None
    ) -> Sequence[FileRecord]:
        """Get records in a state that are due: live ones first, then the newest visit first, then by name."""
        asked = {"of": state.value, "until": microseconds(now), "at_most": limit}
        statement = _DUE_FILES
        if largest is not None:
            statement, asked = _SMALL_DUE_FILES, asked | {"largest": largest}
        with self._reading() as connection:
            return [record(row) for row in connection.execute(statement, asked)]

    def reserve(
        self,
        now: datetime,
        limit: int,
        *,
        largest: int | None = None,
        keep: Collection[int] = frozenset(),  # noqa: ARG002 (of the port)
    ) -> Sequence[FileRecord]:
        """Get ready records that are due, as `due` does: nobody else would take them."""
        return self.due(State.READY, now, limit, largest=largest)

    def release(self, keep: Collection[int] = frozenset()) -> None:
        """Let go of what nobody is kept from."""

    def rescue(self, now: datetime) -> Rescue:  # noqa: ARG002 (of the port)
        """Find that nobody else has died."""
        return Rescue((), 0)

    def touched(self) -> Collection[int]:
        """Find that nobody else has ingested anything."""
        return ()

    def workers(self) -> Sequence[WorkerState]:
        """Tell which processes share this inbox, the watching one first; nobody shares one in SQLite."""
        if self._engine.dialect.name == "sqlite":
            return ()
        holds = select(func.count()).where(HOLD.c.worker_id == WORKER.c.id).scalar_subquery()
        everyone = select(WORKER, holds.label("holds")).order_by(WORKER.c.watches.desc(), WORKER.c.id)
        with self._reading() as connection:
            return [worker_state(row, row.holds) for row in connection.execute(everyone)]

    def next_due(self, states: Collection[State]) -> datetime | None:
        """Tell when the next record in one of these states falls due: its `not_before`, or `updated`."""
        return self._earliest(_NEXT_DUE, states)

    def of_visits(self, visits: Collection[int], states: Collection[State]) -> Sequence[FileRecord]:
        """Get the pfsConfig records of some visits in some states."""
        return self._of_visits(_CONFIGS_OF_VISITS, visits, states=[state.value for state in states])

    def in_state(
        self, states: Collection[State], *, since: datetime | None = None, live: bool = False
    ) -> Iterator[FileRecord]:
        """Go through records in some states, state by state, in the order of their arrival.

        They are read in portions, each as they are by then, and no transaction stays open in between.
        """
        place = tuple_(FILE.c.steady_since, FILE.c.id)
        for state in sorted(states):
            portion = RECORDS.where(FILE.c.state == state.value).order_by(*place.clauses).limit(CHUNK)
            if live:
                # As a constant, so that the index of live files can be used.
                portion = portion.where(FILE.c.live.is_(true()))
            if since is not None:
                portion = portion.where(FILE.c.steady_since >= microseconds(since))
            after: Sequence[ColumnElement[bool]] = ()
            while found := self._records(portion.where(*after)):
                yield from (each for each, _ in found)
                last, row_id = found[-1]
                after = (place > tuple_(microseconds(last.steady_since), row_id),)

    def counts(self) -> Mapping[State, int]:
        """Count the records in each state; every state has an entry."""
        with self._reading() as connection:
            counted = dict(connection.execute(_COUNTS).all())
            return {state: counted[state.value] for state in State}

    def oldest(self, states: Collection[State]) -> datetime | None:
        """Tell the earliest `steady_since` among the records in some states."""
        return self._earliest(_OLDEST, states)

    def ingested(self, since: datetime, before: datetime, slot: timedelta) -> Mapping[datetime, Amount]:
        """Sum up what was ingested from one time to another, by the begin of each slot since 1970.

        What the repository had already is left out, and what was changed since.
        """
        # Nothing is due of an ingested file: in the index of what is, its place is when it was ingested.
        begin = DUE - DUE % (slot // timedelta(microseconds=1))
        statement = (
            select(begin, func.count(), func.sum(FILE.c.size))
            .where(
                FILE.c.state == State.INGESTED.value,
                microseconds(since) <= DUE,
                microseconds(before) > DUE,
                FILE.c.code.is_(None),
                FILE.c.changed.is_(None),
            )
            .group_by(begin)
        )
        with self._reading() as connection:
            return {
                moment(time): Amount(files, int(size)) for time, files, size in connection.execute(statement)
            }

    def whole_visits(self, visits: Collection[int]) -> Sequence[FileRecord]:
        """Get all records of some visits."""
        return self._of_visits(_OF_VISITS, visits)

    def history(self, paths: Collection[Path]) -> Mapping[Path, Sequence[Entry]]:
        """Get what did not go smoothly with some files, oldest first; nothing of those of which all did."""
        found: dict[Path, Sequence[Entry]] = {}
        with self._reading() as connection:
            for parent, named in by_folder(paths).items():
                for chunk in chunks(list(named)):
                    rows = connection.execute(_IDS, among(parent, chunk))
                    ids = {row_id: named[name] for row_id, name in rows}
                    entries = histories(connection, ids)
                    found.update({ids[row_id]: of_file for row_id, of_file in entries.items()})
        return found

    def complete(self, visits: Collection[int], now: datetime) -> Collection[int]:
        """Remember for ever that some visits are complete; say of which of them that is new."""
        if not visits:
            return ()
        with transaction(self._engine, writing=True) as connection:
            return completed(connection, sorted(index(visit) for visit in visits), now)

    def newest_night(self, until: date) -> date | None:
        """Tell the last night, up to one, of which there are raws."""
        newest = select(func.max(FILE.c.night)).where(
            FILE.c.kind == Kind.RAW.value, FILE.c.night <= until.isoformat()
        )
        with self._reading() as connection:
            night = connection.execute(newest).scalar()
            return None if night is None else date.fromisoformat(night)

    def of_night(self, night: date, visits: int) -> Sequence[FileRecord]:
        """Get all records of so many visits, the newest of those of which any file is of a night."""
        numbers = select(FILE.c.visit).distinct().where(FILE.c.night == night.isoformat())
        with self._reading() as connection:
            newest = connection.execute(numbers.order_by(FILE.c.visit.desc()).limit(visits)).scalars().all()
        return self._of_visits(_OF_VISITS, newest)

    def marks(self) -> Mapping[Path, FolderMark]:
        """Get the remembered folders."""
        remembered = select(FOLDER.c.path, FOLDER.c.mtime_ns, FOLDER.c.settled).where(
            FOLDER.c.mtime_ns.is_not(None)
        )
        with self._reading() as connection:
            marks = [
                FolderMark(text_path(path), int(mtime_ns), settled)
                for path, mtime_ns, settled in connection.execute(remembered)
            ]
        return {mark.folder: mark for mark in marks}

    def mark(self, marks: Collection[FolderMark]) -> None:
        """Remember folders."""
        seen = {
            path_text(mark.folder): {"time": str(mark.mtime_ns), "rests": bool(mark.settled)}
            for mark in marks
        }
        if not seen:
            return
        with transaction(self._engine, writing=True) as connection:
            ids = folder_ids(connection, list(seen))
            connection.execute(_MARK, [{"row_id": ids[path], **mark} for path, mark in seen.items()])

    def forget(self, folders: Collection[Path]) -> None:
        """Forget remembered folders, so that the next scan lists them again."""
        forgotten = update(FOLDER).values(mtime_ns=None, settled=None)
        with transaction(self._engine, writing=True) as connection:
            for chunk in chunks([path_text(path) for path in folders]):
                connection.execute(forgotten.where(FOLDER.c.path.in_(chunk)))

    def give_order(self, order: Order) -> Order:
        """Write down what an operator wants of the daemon, and give it its number."""
        with transaction(self._engine, writing=True) as connection:
            return give(connection, order)

    def orders(self, after: int) -> Sequence[Order]:
        """Get the orders that were given after one, oldest first."""
        with self._reading() as connection:
            return given(connection, after)

    def of_dataset(self, dataset_id: str) -> Sequence[FileRecord]:
        """Get the records of one dataset. All files are gone through: it is not for the daemon."""
        return [each for each, _ in self._records(RECORDS.where(FILE.c.dataset_id == dataset_id))]

    def visits(self, after: int, limit: int) -> Sequence[int]:
        """Get the lowest visits above one of which there are records, ascending."""
        higher = select(FILE.c.visit).distinct().where(FILE.c.visit > after)
        with self._reading() as connection:
            return list(connection.execute(higher.order_by(FILE.c.visit).limit(limit)).scalars())

    def select(
        self,
        *,
        states: Collection[State] | None = None,
        visits: Collection[int] | None = None,
        paths: Collection[Path] | None = None,
        limit: int | None = None,
    ) -> Iterator[FileRecord]:
        """Go through the records that a person asks for; `None` asks for all.

        Parameters
        ----------
        states, visits, paths : `~collections.abc.Collection`, optional
            Only records in these states, of these visits, of these paths.
        limit : `int`, optional
            Only so many.
        """
        return islice(self._selected(states, visits, paths), limit)

    def _selected(
        self,
        states: Collection[State] | None,
        visits: Collection[int] | None,
        paths: Collection[Path] | None,
    ) -> Iterator[FileRecord]:
        """Go the way that meets the fewest records, and pass over those that do not fit the rest."""
        found: Iterable[FileRecord]
        if paths is not None:
            found = self.find(paths).values()
        elif visits is not None:
            found = self._of_visits(_OF_VISITS, visits)
        else:
            found = self.in_state(list(State) if states is None else states)
        for each in found:
            if (states is None or each.state in states) and (visits is None or each.visit in visits):
                yield each

    def _before_replacing(
        self, connection: Connection, changes: Sequence[tuple[FileRecord, FileRecord]]
    ) -> None:
        """Do in the transaction of `replace` what else has to be done before the records are looked at."""

    @staticmethod
    def _put_back(connection: Connection, now: datetime, *which: ColumnElement[bool]) -> int:
        """Put some records that were being ingested back to ready; say how many."""
        claimed = select(FILE.c.id, FILE.c.attempts, FILE.c.size).where(*which).with_for_update(of=FILE)
        lost = {
            row_id: recovered(attempt, size, now) for row_id, attempt, size in connection.execute(claimed)
        }
        ready = {"state": State.READY.value, "updated": microseconds(now)}
        for chunk in chunks(list(lost)):
            connection.execute(update(FILE).where(FILE.c.id.in_(chunk)).values(ready))
        remember(connection, lost)
        count(connection, Counter({State.READY: len(lost), State.INGESTING: -len(lost)}))
        return len(lost)

    @staticmethod
    def _recount(connection: Connection) -> None:
        """Count anew how many files are in each state, while nobody else changes the tally."""
        connection.execute(select(TALLY).order_by(TALLY.c.state).with_for_update())
        connection.execute(update(TALLY).values(files=0))
        files = connection.execute(select(FILE.c.state, func.count()).group_by(FILE.c.state))
        count(connection, Counter({State(state): number for state, number in files}))

    def _make_statistics(self) -> None:
        """Have PostgreSQL find out how many files there are of what kind.

        It does so by itself within a minute after a table has grown. Until then it would sort all files of a
        backlog for each question that an index has the answer to: for what is due, 40 ms at 30,000 files.
        """
        if self._engine.dialect.name == "postgresql":
            with transaction(self._engine, writing=True) as connection:
                connection.execute(text(f"ANALYZE {FILE.name}, {FOLDER.name}"))

    def _of_visits(
        self, statement: Executable, visits: Collection[int], **asked: Sequence[str]
    ) -> list[FileRecord]:
        records: list[FileRecord] = []
        numbers = [index(visit) for visit in visits]
        with self._reading() as connection:
            for chunk in chunks(numbers):
                rows = connection.execute(statement, {"visits": chunk, **asked})
                records.extend(map(record, rows))
        return records

    def _earliest(self, of_state: Executable, states: Collection[State]) -> datetime | None:
        """Find the earliest of a time among the records in some states; an index has it ready for each."""
        with self._reading() as connection:
            times = [connection.execute(of_state, {"of": state.value}).scalar() for state in states]
            return min((moment(earliest) for earliest in times if earliest is not None), default=None)

    def _records(self, statement: Executable) -> Sequence[tuple[FileRecord, int]]:
        """Get records, each with the id of its row."""
        with self._reading() as connection:
            return [(record(row), row.id) for row in connection.execute(statement)]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Read in one transaction; a value that we cannot have written is damage."""
        try:
            with transaction(self._engine, writing=False) as connection:
                yield connection
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise damaged(self._engine.url, f"a value in it cannot be understood: {error!r}") from error
