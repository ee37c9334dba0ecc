"""A daemon that dies between two system calls or SQL statements, and the one that comes after it.

Run as a program, this is the process that does both, with everything imported and no repository open: the
daemons are forked from it. It prints a `Report` as JSON.
"""

import errno
import gc
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy
import yaml
from lsst.resources import ResourcePath
from sqlalchemy.engine.default import DefaultDialect

import butler_defaults  # noqa: F401 (for what it does)
from pfs_ingestd import assembly
from pfs_ingestd.adapters.repository import staging
from pfs_ingestd.adapters.repository.comparing import uri_of
from pfs_ingestd.adapters.repository.lanes import Lane
from pfs_ingestd.config import Config, load_config
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.pfs.names import is_ramp
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import create_repository, service
from postgres import Databases, asking
from s3 import S3Server

__all__ = ["Report", "inflict"]

DEAD = 86
"""The exit code of a process that died as it should."""

LEFT = {"config.yaml", "data", "inbox.db", "inbox.db.lock", "log", "repo", "status.json"}
"""What there is in a site after a daemon has ended in peace."""

LONGEST_LIFE = 300
"""Seconds after which a daemon that takes half of one is stuck, on however busy a machine."""

CAMERAS = ("b1", "n1")
"""A CCD file and a ramp: with the pfsConfig, three files in one batch."""

INLINE_BYTES = 50_000
"""More than the CCD file has, and less than the others."""

REGISTERED = "SELECT path FROM dataset JOIN file_datastore_records ON id = dataset_id"

_EVENTS = ("open", "os.", "shutil.", "sqlite3.", "fcntl.")
_MEMORY = Path("/dev/shm")  # noqa: S108 (tests of the disk that need not wait for it)


@dataclass
class Report:
    """What was inflicted, and what came of it.

    Parameters
    ----------
    deaths : `int`
        How many daemons died.
    states : `int`
        How many different states of the disk the dead ones can have left.
    lost, twice, stuck, harmed, left : `list` [`str`]
        At which deaths a file was not stored; was stored more than once; stayed in another state than
        ingested; or its source was; and what lay about afterwards that should not.
    """

    deaths: int = 0
    states: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def damage(self) -> list[str]:
        """All complaints."""
        return [*self.lost, *self.twice, *self.stuck, *self.harmed, *self.left]


def inflict(
    transfer: str,
    *,
    beside: bool = False,
    lose_inbox: bool = False,
    servers: tuple[str, str] | None = None,
    share: tuple[int, int] = (0, 1),
    begun: bool = False,
    every: bool = False,
) -> Report:
    """Let a daemon die at all points of the ingest of three files, and another one recover each time.

    Parameters
    ----------
    transfer : `str`
        The transfer mode.
    beside : `bool`, optional
        Whether the ramp is so large that it is copied beside the loop; in `move`, to another disk. It is
        copied on the loop's own thread nevertheless: everything then happens in the same order each time.
    lose_inbox : `bool`, optional
        Whether the inbox is lost with the daemon.
    servers : `tuple` [`str`, `str`] or `None`, optional
        The folder of PostgreSQL's socket and the URL of S3, if the repository is to be on servers. The events
        are what is asked of these then, and what becomes of the sources.
    share : `tuple` [`int`, `int`], optional
        Which of how many shares of the points is done.
    begun : `bool`, optional
        Leave out the deaths before anything has changed in the repository or of the sources: until then all
        transfer modes do the same.
    every : `bool`, optional
        Die at each event, not only at those before which something on the disk has changed: dying at two
        events with nothing between them but reading leaves the same behind. Of a rollback journal it counts
        only that it is there: until the database changes, too, whoever opens it next finds the same.
    """
    options = {
        "transfer": transfer,
        "beside": beside,
        "lose_inbox": lose_inbox,
        "servers": servers,
        "share": share,
        "begun": begun,
        "every": every,
    }
    done = subprocess.run(  # noqa: S603 (ourselves)
        [sys.executable, __file__, json.dumps(options)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"the surgeon himself died: {done.returncode}")
    return Report(**json.loads(done.stdout))


class Theatre:
    """Where it is done: copies of one site, each at the same place after the other.

    Parameters
    ----------
    folder : `~pathlib.Path`
        An empty folder.
    transfer : `str`
        The transfer mode.
    """

    events: tuple[str, ...] = _EVENTS
    databases: tuple[str, ...] = ("sqlite", "postgresql")

    def __init__(self, folder: Path, transfer: str) -> None:
        # Whoever comes next takes the one before for dead, which he is.
        staging.YOUNG_S, staging.ABANDONED = 0, timedelta(0)
        self._origin = folder / "origin"
        self.site = folder / "site"
        self.data = self.site / "data"
        self._transfer = transfer
        self._origin.mkdir()
        self.make_repository(self._origin / "repo")
        night = write_night(self._origin / "data", NightPlan(visits=1, cameras=CAMERAS, small=True))
        for path in night.convergence_configs:
            path.unlink()
        (self._origin / "config.yaml").write_text(
            yaml.safe_dump(
                {
                    "repository": "repo",
                    "watch": {"raw": "data", "pfsConfig": "data", "settle": "0s"},
                    "ingest": {"transfer": transfer},
                    "state": {"database": "inbox.db"},
                    "status": {"file": "status.json"},
                    "log": {"file": "log", "level": "debug"},
                }
            )
        )
        self.reset()
        self._sources = _files(self.data)
        self._contents = sorted(content for content, _ in self._sources.values())

    def make_repository(self, root: Path) -> None:
        """Make the repository that the others are copies of."""
        create_repository(str(root))

    @property
    def config(self) -> Config:
        """The configuration of the site."""
        return load_config(self.site / "config.yaml", {})

    def reset(self) -> None:
        """Have the site as it was before anything happened."""
        shutil.rmtree(self.site, ignore_errors=True)
        shutil.copytree(self._origin, self.site)

    def serve(self) -> int:
        """Let a daemon do what there is to be done."""
        config = self.config
        configure_logs(level="info", format="json", file=config.log.file, stream=sys.stderr)
        with service(config, {}, once=True) as daemon:
            return daemon.run(once=True)

    def lose_inbox(self) -> int:
        """Lose the inbox; tell how many files the next one can know."""
        for path in self.site.glob("inbox.db*"):
            path.unlink()
        return len(_files(self.data))

    def examine_corpse(self, name: str, report: Report) -> None:
        """See that each file is whole somewhere, and that what has its final name is whole."""
        stored = [_digest(uri.read()) for uri in self.registered() if uri.exists()]
        here = [content for content, _ in _files(self.data).values()]
        if missing := set(self._contents) - {*stored, *here}:
            report.lost.append(f"{name}: {len(missing)} files are gone")
        for uri in self.artifacts():
            called = uri.basename()
            if called.startswith(("raw_", "pfsConfig_")) and _digest(uri.read()) not in self._contents:
                report.harmed.append(f"{name}: {called} is not whole")

    def examine(self, name: str, report: Report, *, known: int) -> None:
        """See that all is as if nobody had ever died, but that the inbox may know fewer files."""
        registered = self.registered()
        stored = Counter(_digest(uri.read()) for uri in registered if uri.exists())
        if stored.keys() != set(self._contents):
            report.lost.append(f"{name}: {len(stored)} of {len(self._contents)} files are stored")
        if max(stored.values(), default=0) > 1 or len(registered) != len(self._contents):
            report.twice.append(f"{name}: {len(registered)} datasets for {len(self._contents)} files")
        states = Counter(state for (state,) in self._select("inbox.db", "SELECT state FROM file"))
        if states != ({"ingested": known} if known else {}):
            report.stuck.append(f"{name}: {dict(states)}")
        expected = {} if self._transfer == "move" else self._sources
        if _files(self.data) != expected:
            report.harmed.append(f"{name}: sources {sorted(map(str, _files(self.data)))}")
        beside = {path.name for path in self.site.iterdir()} ^ LEFT
        within = {str(uri) for uri in set(self.artifacts()) ^ set(registered)}
        if self._transfer == "direct":
            within -= {str(uri) for uri in registered}
        if beside or within:
            report.left.append(f"{name}: {sorted(beside | within)}")
        status = json.loads((self.site / "status.json").read_text())
        if (status["state"], status["reason"]) != ("stopped", ""):
            report.stuck.append(f"{name}: {status}")

    def registered(self) -> list[ResourcePath]:
        """Tell where the artifacts of the datasets are that registry and datastore agree on."""
        rows = self._select("repo/gen3.sqlite3", REGISTERED)
        return [uri_of(Path(self.site / "repo", path.removeprefix("file://"))) for (path,) in rows]

    def artifacts(self) -> list[ResourcePath]:
        """List what there is in the repository besides its registry and its configuration."""
        own = {"butler.yaml", "gen3.sqlite3", "gen3.sqlite3-journal"}
        return [
            uri_of(path)
            for path in (self.site / "repo").rglob("*")
            if path.name not in own and (path.is_symlink() or not path.is_dir() or path.name.startswith("."))
        ]

    def state(self) -> object:
        """Describe all that a death leaves behind, as far as it differs from kind to kind of repository."""
        return _state_of(self.site)

    def touched(self) -> object:
        """Describe repository and sources, which nothing is done to before files are claimed."""
        return _state_of(self.site / "repo"), _state_of(self.data)

    def _select(self, database: str, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.site / database)) as connection:
            return connection.execute(query).fetchall()


class ServedTheatre(Theatre):
    """A theatre with the repository on servers.

    Parameters
    ----------
    folder : `~pathlib.Path`
        An empty folder.
    transfer : `str`
        The transfer mode.
    databases, store : `str`
        The folder of PostgreSQL's socket; the URL of S3.
    """

    # What there is besides, such as the rows of the inbox, is the same as with a repository on a disk; and of
    # that there is more when it takes longer.
    events = ("http.client.send", "os.remove")
    databases = ("postgresql",)

    def __init__(self, folder: Path, transfer: str, databases: str, store: str) -> None:
        self._databases = Databases(Path(databases))
        self._store = S3Server(store)
        self._registry = ""
        self._bucket = ""
        os.environ.update(self._store.environment)
        super().__init__(folder, transfer)

    def make_repository(self, root: Path) -> None:
        registry, bucket = self._databases.new_registry(), self._store.new_bucket()
        create_repository(str(root), registry=registry, datastore=f"s3://{bucket}/store")

    def reset(self) -> None:
        super().reset()
        if self._registry:
            self._databases.drop(self._registry)
        configuration = self.site / "repo" / "butler.yaml"
        config = yaml.safe_load(configuration.read_text())
        self._registry = self._databases.copied(config["registry"]["db"])
        self._bucket = self._store.new_bucket()
        config["registry"]["db"] = self._registry
        config["datastore"]["root"] = f"s3://{self._bucket}/store"
        configuration.write_text(yaml.safe_dump(config))

    def registered(self) -> list[ResourcePath]:
        with asking(self._registry) as cursor:
            cursor.execute(REGISTERED)
            return [ResourcePath(f"s3://{self._bucket}/store/{path}") for (path,) in cursor.fetchall()]

    def artifacts(self) -> list[ResourcePath]:
        return [ResourcePath(f"s3://{self._bucket}/{key}") for key in self._store.objects(self._bucket)]

    def state(self) -> object:
        with asking(self._registry) as cursor:
            cursor.execute("SELECT (SELECT count(*) FROM exposure), (SELECT count(*) FROM dataset)")
            rows = cursor.fetchall()
        return rows, self._store.tags(self._bucket), sorted(self.data.rglob("*"))

    def touched(self) -> object:
        return self.state()


class Witness:
    """Hears what this process asks of the operating system and of databases, each time before it happens.

    What writes a file in pieces is heard between the pieces.

    Parameters
    ----------
    told : `~collections.abc.Callable`
        Called with the number of each event, on the thread that caused it.
    events : `tuple` [`str`, ...]
        Beginnings of the names of those that Python tells of.
    databases : `tuple` [`str`, ...]
        Kinds of database of which statements and commits are heard.
    """

    def __init__(
        self, told: Callable[[int], None], events: tuple[str, ...], databases: tuple[str, ...]
    ) -> None:
        self._told = told
        self._events = events
        self._databases = databases
        self._numbers = count()
        self._telling = threading.local()

    def listen(self) -> None:
        """Begin to listen, and never stop."""
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self._before(getattr(os, name)))
        send = os.copy_file_range

        def in_pieces(source: int, target: int, length: int, *offsets: int) -> int:
            self._heard()
            return send(source, target, min(length, os.fstat(source).st_size // 2 + 1), *offsets)

        os.copy_file_range = in_pieces
        commit = DefaultDialect.do_commit

        def around(dialect: Any, connection: Any) -> None:
            self._heard_of(dialect)
            commit(dialect, connection)
            self._heard_of(dialect)

        DefaultDialect.do_commit = around
        for name in ("before_cursor_execute", "after_cursor_execute"):
            sqlalchemy.event.listen(
                sqlalchemy.engine.Engine, name, lambda connection, *_: self._heard_of(connection.dialect)
            )
        sys.addaudithook(lambda event, _: self._heard() if event.startswith(self._events) else None)

    def _before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def heard(*arguments: Any) -> Any:
            self._heard()
            return function(*arguments)

        return heard

    def _heard_of(self, dialect: Any) -> None:
        if dialect.name in self._databases:
            self._heard()

    def _heard(self) -> None:
        if getattr(self._telling, "now", False):
            return
        self._telling.now = True
        self._told(next(self._numbers))
        self._telling.now = False


def copy_ramps_beside() -> None:
    """Have ramps copied by the copier, on the loop's own thread, because they cannot be linked either."""
    link = os.link

    def refuse_ramps(source: Any, *arguments: Any, **options: Any) -> None:
        if is_ramp(os.path.basename(source)):  # noqa: PTH119 (it may be either a path or its name)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, *arguments, **options)

    os.link = refuse_ramps
    assembly.INLINE_BYTES = INLINE_BYTES
    Lane.put = lambda lane, task, **_: lane.run(task)


def points(theatre: Theatre, *, begun: bool, every: bool) -> tuple[list[int], int]:
    """Find the events at which to die, and how many states of the disk there are among them."""
    theatre.reset()
    found = theatre.site.with_name("points")

    def record() -> int:
        seen, untouched = _state_of(theatre.site), theatre.touched()
        changes, last = [] if begun else [0], 0

        def look(number: int) -> None:
            nonlocal seen, last
            last = number
            if (state := theatre.state()) != seen:
                seen = state
                if changes or theatre.touched() != untouched:
                    changes.append(number)

        Witness(look, theatre.events, theatre.databases).listen()
        code = theatre.serve()
        found.write_text(json.dumps([last, changes]))
        return code

    if code := _run(record):
        raise AssertionError(f"nobody was harmed, and yet it ended with {code}")
    last, changes = json.loads(found.read_text())
    return (list(range(last + 1)) if every else changes), len(changes)


def operate(
    transfer: str,
    *,
    beside: bool,
    lose_inbox: bool,
    servers: Sequence[str] | None,
    share: Sequence[int],
    begun: bool,
    every: bool,
) -> Report:
    """Do in this process what `inflict` promises."""
    if beside:
        copy_ramps_beside()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        place = Path(folder).resolve()
        theatre = ServedTheatre(place, transfer, *servers) if servers else Theatre(place, transfer)
        theatre.serve()  # from now on everything is imported, and compiled what is compiled once
        gc.collect()
        gc.disable()  # children that live for half a second need not look at all the modules of the parent
        chosen, states = points(theatre, begun=begun, every=every)
        report = Report(states=states)
        for point in chosen[share[0] :: share[1]]:
            name = f"{transfer}, event {point}"
            theatre.reset()
            if _run(lambda point=point: _die_at(point, theatre)) == DEAD:
                report.deaths += 1
            theatre.examine_corpse(name, report)
            known = theatre.lose_inbox() if lose_inbox else len(CAMERAS) + 1
            if code := _run(theatre.serve):
                report.stuck.append(f"{name}: exit code {code}: {(theatre.site / 'log').read_text()[-2000:]}")
            theatre.examine(name, report, known=known)
    return report


def _die_at(point: int, theatre: Theatre) -> int:
    Witness(
        lambda number: os._exit(DEAD) if number == point else None, theatre.events, theatre.databases
    ).listen()
    return theatre.serve()


def _run(work: Callable[[], int]) -> int:
    """Do something in a child process; tell its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(LONGEST_LIFE)
    try:
        os._exit(work())
    except BaseException:  # noqa: BLE001 (whatever it is, this process ends here)
        traceback.print_exc()
    finally:
        os._exit(99)


def _files(folder: Path) -> dict[Path, tuple[str, int]]:
    """Tell content and mode of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (_content(path), path.lstat().st_mode) for path in files}


def _content(path: Path) -> str:
    return _digest(path.read_bytes())


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _state_of(site: Path) -> dict[str, tuple[int, ...]]:
    """Describe all that a death leaves behind; SQLite's shared memory is made anew by the next one."""
    state = {}
    for folder, _, names in os.walk(site):
        for name in names:
            if name.endswith("-shm") or name == "log":
                continue
            path = f"{folder}/{name}"
            if name.endswith("-journal"):
                state[path] = ()
                continue
            try:
                found = os.lstat(path)
                with open(path, "rb") as file:  # noqa: PTH123 (thousands of times)
                    state[path] = (found.st_ino, found.st_mode, zlib.crc32(file.read()))
            except FileNotFoundError:
                continue
        state[folder] = ()
    return state


if __name__ == "__main__":
    print(json.dumps(asdict(operate(**json.loads(sys.argv[1])))))  # noqa: T201 (its answer)
