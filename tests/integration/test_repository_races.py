"""Two hosts at one repository, each stopped where it hurts while the other goes on."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
import yaml
from lsst.daf.butler import Butler, DatasetIdGenEnum, DatasetRef, FileDataset
from lsst.daf.butler._registry_shim import RegistryShim
from lsst.daf.butler.registry.interfaces import Database
from lsst.resources.file import FileResourcePath
from lsst.resources.s3 import S3ResourcePath

from pfs_ingestd.adapters.repository import RepositoryBroom, create_repository, open_repository, placing
from pfs_ingestd.adapters.repository import batch as batches
from pfs_ingestd.adapters.repository import session as sessions
from pfs_ingestd.adapters.repository.batch import Batch
from pfs_ingestd.adapters.repository.strays import stamp
from pfs_ingestd.audit.findings import Stray
from pfs_ingestd.errors import Code, Contended, Outage, TryLater
from pfs_ingestd.ports import Stored
from repository_files import (
    ARTIFACT,
    a_repository,
    an_exposure,
    artifact_at,
    artifacts_of,
    ccd_file,
    config_dataset,
    config_file,
    is_served,
    raw_dataset,
    results,
    seen,
)

PATIENCE = 200.0
"""Seconds after which something that takes one or two has failed, on however busy a machine."""


@pytest.fixture(scope="module")
def template(postgres, tmp_path_factory):
    """Make a repository on PostgreSQL once: a database to copy, and a folder to copy."""
    registry = postgres.new_registry()
    root = tmp_path_factory.mktemp("template") / "repo"
    create_repository(str(root), registry=registry)
    return registry, root


class Place:
    """A repository, with a look behind it, and the hosts at it."""

    def __init__(self, root, url):
        self.root = root
        self.url = url
        self.hosts = []

    def host(self, transfer="copy", **settings):
        repository = open_repository(self.root, transfer=transfer, runs=settings, instrument="PFS")
        self.hosts.append(repository)
        return repository

    @contextmanager
    def sql(self, *statements):
        """Have a transaction open that has done something."""
        with closing(psycopg2.connect(self.url)) as connection:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                yield cursor
            connection.rollback()

    def ask(self, question):
        """Get the first column of what PostgreSQL answers."""
        with self.sql(question) as cursor:
            return [row[0] for row in cursor.fetchall()]

    def cut_off(self):
        """Let the server lose who is in a transaction, with all that he has locked."""
        self.ask(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE state = 'idle in transaction' AND datname = current_database()"
        )

    def wait_for_a_waiter(self, *futures):
        """Wait until some session waits for a lock; or what is not to wait has come to its end."""
        end = threading.Event()
        timer = threading.Timer(PATIENCE, end.set)
        timer.start()
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not self.ask(waiting):
            assert not end.is_set(), "nobody waits"
            if any(future.done() for future in futures):
                break
        timer.cancel()

    def artifacts(self):
        """Tell which artifacts there are, and see that each is of a dataset and each dataset has one."""
        with Butler.from_config(self.root) as butler:
            refs = [
                ref
                for name in ("raw", "pfsConfig")
                for ref in butler.query_datasets(
                    name, collections="PFS/raw/*", find_first=False, explain=False, limit=None
                )
            ]
            places = [butler.getURI(ref) for ref in refs]
            [root] = butler.get_datastore_roots().values()
        if is_served(self.root):
            there = {uri.relative_to(root) for uri in artifacts_of(self.root)}
        else:
            there = {
                str(path.relative_to(self.root)) for path in Path(self.root).rglob("*") if path.is_file()
            }
        assert there - {"butler.yaml", "gen3.sqlite3"} == {uri.relative_to(root) for uri in places}
        return {uri.relative_to(root): uri.read() for uri in places}


@pytest.fixture
def in_a_folder(template, postgres, tmp_path):
    """Have an empty repository with its registry on PostgreSQL, and its datastore in a folder."""
    registry, root = template
    copy = postgres.copied(registry)
    shutil.copytree(root, tmp_path / "repo")
    configuration = tmp_path / "repo" / "butler.yaml"
    configuration.write_text(configuration.read_text().replace(registry, copy))
    return str(tmp_path / "repo")


@pytest.fixture
def place(request):
    """Have an empty repository on PostgreSQL: in a folder, unless the test says in what."""
    root = request.getfixturevalue(getattr(request, "param", "in_a_folder"))
    url = yaml.safe_load(Path(root, "butler.yaml").read_text())["registry"]["db"]
    place = Place(root, url.replace("+psycopg2", ""))
    yield place
    for host in place.hosts:
        host.close()


ANYWHERE = pytest.mark.parametrize("place", ["in_a_folder", "on_servers"], indirect=True)
"""Marks a race that ends alike whatever the datastore is in."""


@pytest.fixture(params=["sqlite", "postgresql"])
def any_place(request, tmp_path):
    if request.param == "postgresql":
        yield request.getfixturevalue("place")
        return
    place = Place(a_repository(tmp_path / "repo"), None)
    yield place
    for host in place.hosts:
        host.close()


@pytest.fixture
def stop(monkeypatch):
    """Let the first who comes to the end of a method wait there, holding all that it has locked by then.

    Gives a function that returns two events: one is set when it has come there, the other lets it go on.
    """

    def install(owner, name, *, before=False):
        method, arrived, go_on = getattr(owner, name), threading.Event(), threading.Event()

        def halt():
            if not arrived.is_set():
                arrived.set()
                assert go_on.wait(PATIENCE)

        def stopping(*args, **kwargs):
            if before:
                halt()
            answer = method(*args, **kwargs)
            if not before:
                halt()
            return answer

        monkeypatch.setattr(owner, name, stopping)
        return arrived, go_on

    return install


def begun(pool, arrived, action):
    """Begin something in a thread, and wait until it has come to where it is halted."""
    future = pool.submit(action)
    future.add_done_callback(lambda _: arrived.set())
    assert arrived.wait(PATIENCE)
    assert not future.done(), f"it never came there: {future.exception()!r}"
    return future


def both(place, halted, first, second):
    """Let one host stop in its transaction, another come until it waits for the first, then both go on."""
    arrived, go_on = halted
    with ThreadPoolExecutor(2) as pool:
        one = begun(pool, arrived, first)
        other = pool.submit(second)
        place.wait_for_a_waiter(other)
        go_on.set()
        return one, other


def outcome(future):
    """Get what became of the datasets, or why nothing did."""
    error = future.exception()
    return (type(error), error.code) if error else results(future.result())


def test_hosts_with_parts_of_a_visit_register_it_together(place, stop, tmp_path):
    """Where the headers of two hosts' cameras say the same, the second waits for the first, and joins."""
    one, two = place.host(), place.host()
    red = raw_dataset(ccd_file(tmp_path / "r.fits"))
    blue = raw_dataset(ccd_file(tmp_path / "b.fits", 12, "b", 2), 12, "b", 2)
    first, second = both(
        place,
        stop(Batch, "_register_exposures"),
        lambda: one.ingest([an_exposure(12)], [red]),
        lambda: two.ingest([an_exposure(12)], [blue]),
    )

    assert [outcome(first), outcome(second)] == [[Stored.STORED], [Stored.STORED]]
    assert len(place.artifacts()) == 2


def test_the_record_of_the_first_host_stays(any_place, tmp_path):
    """Where they say other things the second learns it and joins the record that is there, as it is."""
    one, two = any_place.host(), any_place.host()
    red = raw_dataset(ccd_file(tmp_path / "r.fits"))
    blue = raw_dataset(ccd_file(tmp_path / "b.fits", 12, "b", 2), 12, "b", 2)
    assert one.designs([12]) == two.designs([12]) == {}
    one.ingest([an_exposure(12, exposure_time=30.0)], [red])

    with pytest.raises(TryLater) as caught:
        two.ingest([an_exposure(12, exposure_time=31.0, day_obs=20261123)], [blue])
    assert caught.value.code is Code.RACE
    assert two.designs([12]).keys() == {12}
    assert results(two.ingest([], [blue])) == [Stored.STORED]

    assert len(any_place.artifacts()) == 2
    with Butler.from_config(any_place.root) as butler:
        [record] = butler.query_dimension_records("exposure", instrument="PFS")
    assert (record.exposure_time, record.day_obs) == (30.0, 20261122)


def test_a_record_in_the_making_is_waited_for(place, stop, tmp_path):
    """The same, where the first has not committed yet when the second comes."""
    one, two = place.host(), place.host()
    red = raw_dataset(ccd_file(tmp_path / "r.fits"))
    blue = raw_dataset(ccd_file(tmp_path / "b.fits", 12, "b", 2), 12, "b", 2)
    first, second = both(
        place,
        stop(Batch, "_register_exposures"),
        lambda: one.ingest([an_exposure(12, exposure_time=30.0)], [red]),
        lambda: two.ingest([an_exposure(12, exposure_time=31.0)], [blue]),
    )

    assert [outcome(first), outcome(second)] == [[Stored.STORED], (TryLater, Code.RACE)]
    assert results(two.ingest([], [blue])) == [Stored.STORED]


@ANYWHERE
@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "other bytes"])
def test_one_dataset_of_a_new_visit_at_two_hosts(place, stop, tmp_path, same):
    """One stores it; the other waits, compares, and finds it already there or in conflict."""
    one, two = place.host(), place.host()
    mine = ccd_file(tmp_path / "a.fits")
    theirs = ccd_file(tmp_path / "b.fits", seed=0 if same else 1)
    first, second = both(
        place,
        stop(Batch, "_ingest"),
        lambda: one.ingest([an_exposure(12)], [raw_dataset(mine)]),
        lambda: two.ingest([an_exposure(12)], [raw_dataset(theirs)]),
    )

    answer = Stored.ALREADY_THERE if same else Stored.CONFLICT
    assert [outcome(first), outcome(second)] == [[Stored.STORED], [answer]]
    assert place.artifacts() == {ARTIFACT: mine.read_bytes()}


def test_values_that_two_hosts_register_at_once(place, stop, tmp_path):
    """A catalogue, a design and a dither that two visits share are registered once."""
    one, two = place.host(), place.host()

    def visit(number):
        raw = raw_dataset(ccd_file(tmp_path / f"{number}.fits", number), number)
        config = config_file(tmp_path / f"c{number}.fits", number)
        return [an_exposure(number)], [raw, config_dataset(config, number, cat_ids=(3, 1001))]

    first, second = both(
        place,
        stop(Batch, "_join_catalogues"),
        lambda: one.ingest(*visit(12)),
        lambda: two.ingest(*visit(13)),
    )

    assert [outcome(first), outcome(second)] == [[Stored.STORED] * 2] * 2
    assert len(place.artifacts()) == 4
    assert place.ask("SELECT count(*) FROM cat_id") == [2]
    assert place.ask('SELECT count(*) FROM "pfsConfig"') == [4]


def test_locks_are_taken_in_one_order(place, stop, tmp_path):
    """Two batches of the same visits, given in opposite orders, wait for each other and are never stuck."""
    one, two = place.host(), place.host()
    one.ingest([an_exposure(visit) for visit in (13, 14)], [])

    def batch(visits, camera):
        datasets = [
            raw_dataset(ccd_file(tmp_path / f"{visit}{camera[0]}.fits", visit, *camera), visit, *camera)
            for visit in visits
        ]
        return [an_exposure(visit) for visit in visits if visit in {11, 12}], datasets

    first, second = both(
        place,
        stop(RegistryShim, "syncDimensionData"),
        lambda: one.ingest(*batch([11, 12, 13, 14], ("r", 1))),
        lambda: two.ingest(*batch([14, 13, 12, 11], ("b", 1))),
    )

    assert [outcome(first), outcome(second)] == [[Stored.STORED] * 4] * 2
    assert len(place.artifacts()) == 8


def test_a_deadlock_with_others_is_over_at_once(place, tmp_path):
    """Whom PostgreSQL chooses to fail, tries again, and no file is charged for it."""
    host = place.host()
    host.ingest([an_exposure(visit) for visit in (12, 13)], [])
    datasets = [raw_dataset(ccd_file(tmp_path / f"{visit}.fits", visit), visit) for visit in (12, 13)]
    change = "UPDATE exposure SET exposure_time = 1 WHERE id = {}".format
    # The other finds a deadlock so late that it is never the one to fail.
    with place.sql("SET deadlock_timeout = '1h'", change(13)) as other, ThreadPoolExecutor(1) as pool:
        future = pool.submit(host.ingest, [], datasets)
        place.wait_for_a_waiter(future)
        other.execute(change(12))
        assert outcome(future) == (Contended, Code.RACE)

    assert results(host.ingest([], datasets)) == [Stored.STORED] * 2
    assert len(place.artifacts()) == 2


def test_a_visit_that_others_keep_locked_is_left_for_later(place, tmp_path, monkeypatch):
    """A lock is not waited for without end; several in a row are an outage, until it can be had."""
    monkeypatch.setattr(sessions, "LONGEST_WAIT_MS", 50)
    host = place.host()
    host.ingest([an_exposure(visit) for visit in (12, 13)], [])
    locked, free = (raw_dataset(ccd_file(tmp_path / f"{visit}.fits", visit), visit) for visit in (12, 13))
    with place.sql("SELECT 1 FROM exposure WHERE id = 12 FOR UPDATE"):
        for error in (Contended, Contended):
            with pytest.raises(error) as caught:
                host.ingest([], [locked])
            assert caught.value.code is Code.BUSY
        assert results(host.ingest([], [free])) == [Stored.STORED]
        for error in (Contended, Contended, Outage):
            with pytest.raises(error):
                host.ingest([], [locked])
        host.probe()

    assert results(host.ingest([], [locked])) == [Stored.STORED]


def test_questions_meet_a_locked_registry_as_an_outage(place, monkeypatch):
    """No file is asked of, so none is charged; and a repository that is being changed is not unsuitable."""
    monkeypatch.setattr(sessions, "LONGEST_WAIT_MS", 50)
    host = place.host()
    for table in ("exposure", "collection"):
        with place.sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
            host.close()
            with pytest.raises(Outage):
                host.designs([12])
    assert host.designs([12]) == {}


def test_runs_are_registered_by_two_hosts_at_once(place, stop, tmp_path):
    """Two hosts that open the repository for the first time, with RUN collections of their own choice."""
    runs = {"raw": "PFS/raw/night", "pfsConfig": "PFS/raw/designs"}

    def open_and_store(camera):
        raw = raw_dataset(ccd_file(tmp_path / f"{camera[0]}.fits", 12, *camera), 12, *camera)
        return place.host(**runs).ingest([an_exposure(12)], [raw])

    first, second = both(
        place,
        stop(Database, "sync"),
        lambda: open_and_store(("r", 1)),
        lambda: open_and_store(("b", 1)),
    )
    assert [outcome(first), outcome(second)] == [[Stored.STORED]] * 2
    assert len(place.artifacts()) == 2
    assert place.ask("SELECT count(*) FROM run") == [4]


def test_a_run_is_registered_wholly_or_not(any_place, tmp_path, monkeypatch):
    """Who dies while he registers a RUN collection leaves nothing that keeps others from using it."""
    sync, calls = Database.sync, []

    def die(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sync(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "sync", die)
        with pytest.raises(KeyboardInterrupt):
            any_place.host(raw="PFS/raw/night")

    host = any_place.host(raw="PFS/raw/night")
    stored = host.ingest([an_exposure(12)], [raw_dataset(ccd_file(tmp_path / "a.fits"))])
    assert results(stored) == [Stored.STORED]


@pytest.mark.parametrize("what", ["exposure", "dither"])
def test_what_was_removed_meanwhile_is_registered_again(place, tmp_path, what):
    """What is remembered of the registry is not believed for ever: a failure forgets it."""
    host = place.host()
    host.ingest([an_exposure(12)], [])
    assert host.designs([12]).keys() == {12}
    with place.sql("DELETE FROM exposure", "DELETE FROM dither") as other:
        other.connection.commit()
    visit = 12 if what == "exposure" else 13
    datasets = [raw_dataset(ccd_file(tmp_path / "a.fits", visit), visit)]

    with pytest.raises(TryLater) as caught:
        host.ingest([] if what == "exposure" else [an_exposure(13)], datasets)
    assert caught.value.code is Code.RACE
    assert host.designs([visit]) == {}
    assert results(host.ingest([an_exposure(visit)], datasets)) == [Stored.STORED]


@pytest.mark.parametrize("registered", [True, False], ids=["old exposure", "new exposure"])
def test_what_is_being_stored_is_no_stray(place, stop, tmp_path, registered):
    """An audit that removes strays comes while another host has its artifact in place, and not committed."""
    host = place.host()
    if registered:
        host.ingest([an_exposure(12)], [])
    source = ccd_file(tmp_path / "a.fits")
    artifact = Path(place.root, ARTIFACT)
    raw = raw_dataset(source)

    def remove():
        stray = Stray(path=artifact, stamp=stamp(artifact.stat()), visit=12)
        with closing(RepositoryBroom(place.root, runs={}, instrument="PFS")) as broom:
            broom.remove(stray, source)

    first, second = both(
        place,
        stop(Batch, "_ingest"),
        lambda: host.ingest([] if registered else [an_exposure(12)], [raw]),
        remove,
    )
    assert [outcome(first), outcome(second)] == [[Stored.STORED], (TryLater, Code.RACE)]
    assert place.artifacts() == {ARTIFACT: source.read_bytes()}


WAYS = pytest.mark.parametrize(
    ("place", "transfer"),
    [
        *(("in_a_folder", transfer) for transfer in ("copy", "link", "symlink")),
        ("on_servers", "move"),
    ],
    indirect=["place"],
)
"""Marks what ends alike however an artifact is made."""


@contextmanager
def storing_meanwhile(place, halted, store):
    """Cut off a host that was halted, and let others store something; then it goes on."""
    arrived, go_on = halted
    with ThreadPoolExecutor(1) as pool:
        future = begun(pool, arrived, store)
        place.cut_off()
        yield future
        go_on.set()


@WAYS
@pytest.mark.parametrize(
    ("moment", "same"),
    [("before its place", False), ("in its place", False), ("told", False), ("told", True)],
)
def test_who_lost_his_locks_harms_nothing_of_others(place, stop, tmp_path, transfer, moment, same):
    """A host is stopped as it puts its artifact, another stores that dataset, the first goes on."""
    slow, quick = place.host(transfer), place.host("move")
    slow.ingest([an_exposure(12)], [])
    mine = ccd_file(tmp_path / "a.fits")
    theirs = ccd_file(tmp_path / "b.fits", seed=0 if same else 1)
    content = theirs.read_bytes()
    kind = placing._InStore if is_served(place.root) else placing._InFolder  # noqa: SLF001 (the moments meant)
    halted = (
        stop(Batch, "_ingest") if moment == "told" else stop(kind, "put", before=moment.startswith("before"))
    )
    with storing_meanwhile(place, halted, lambda: slow.ingest([], [raw_dataset(mine)])) as lost:
        assert results(quick.ingest([], [raw_dataset(theirs)])) == [Stored.STORED]

    assert outcome(lost) == (Outage, Code.REPOSITORY_UNREACHABLE)
    assert place.artifacts() == {ARTIFACT: content}
    assert mine.exists()
    answer = Stored.ALREADY_THERE if same else Stored.CONFLICT
    assert results(slow.ingest([], [raw_dataset(mine)])) == [answer]


@WAYS
@pytest.mark.parametrize("asked", [1, 2])
def test_who_lost_his_locks_takes_away_no_stray(place, stop, tmp_path, transfer, asked):
    """What lies in the place was nobody's when it was found, and is an artifact when it is to be removed."""
    slow, quick = place.host(transfer), place.host("move")
    slow.ingest([an_exposure(12)], [])
    artifact = artifact_at(place.root)
    artifact.write(b"left by somebody who died")
    mine, theirs = ccd_file(tmp_path / "a.fits"), ccd_file(tmp_path / "b.fits", seed=1)
    content = theirs.read_bytes()
    halted = stop(batches, "_ask", before=asked == 1)
    with storing_meanwhile(place, halted, lambda: slow.ingest([], [raw_dataset(mine)])) as lost:
        assert results(quick.ingest([], [raw_dataset(theirs)])) == [Stored.STORED]

    assert outcome(lost) == (Outage, Code.REPOSITORY_UNREACHABLE)
    assert place.artifacts() == {ARTIFACT: content}
    assert results(slow.ingest([], [raw_dataset(mine)])) == [Stored.CONFLICT]


@pytest.mark.parametrize("cut_off", [True, False], ids=["cut off", "not cut off"])
def test_what_is_taken_back_is_ones_own(place, stop, tmp_path, monkeypatch, cut_off):
    """A file changes while it is stored; whoever has lost his locks leaves what is in its place."""
    slow, quick = place.host("link"), place.host("link")
    slow.ingest([an_exposure(12)], [])
    mine = seen(raw_dataset(ccd_file(tmp_path / "a.fits")))
    same = raw_dataset(mine.path)
    if not cut_off:
        monkeypatch.setattr(place, "cut_off", lambda: None)
    halted = stop(Batch, "_ingest")
    with storing_meanwhile(place, halted, lambda: slow.ingest([], [mine])) as lost:
        if cut_off:
            # The very same file: nothing but who has the locks tells the one artifact from the other.
            assert results(quick.ingest([], [same])) == [Stored.STORED]
        os.utime(mine.path, ns=(0, 0))

    assert outcome(lost) == (TryLater, Code.RACE)
    assert place.artifacts() == ({ARTIFACT: mine.path.read_bytes()} if cut_off else {})
    assert not cut_off or results(quick.ingest([], [same])) == [Stored.ALREADY_THERE]


@pytest.mark.parametrize("place", ["on_servers"], indirect=True)
def test_where_a_store_overwrites_the_loss_of_locks_is_soon_learned(place, stop, tmp_path, monkeypatch):
    """A store that knows no conditional copies: its host asks for its locks before each."""
    monkeypatch.setattr(placing, "has_conditions", lambda _: False)
    slow, quick = place.host(), place.host("move")
    slow.ingest([an_exposure(12)], [])
    mine = [raw_dataset(ccd_file(tmp_path / f"{arm}.fits", 12, arm), 12, arm) for arm in "br"]
    theirs = ccd_file(tmp_path / "other.fits", seed=1)
    content = theirs.read_bytes()
    halted = stop(S3ResourcePath, "_copy_from", before=True)
    with storing_meanwhile(place, halted, lambda: slow.ingest([], mine)) as lost:
        assert results(quick.ingest([], [raw_dataset(theirs)])) == [Stored.STORED]

    assert outcome(lost) == (Outage, Code.REPOSITORY_UNREACHABLE)
    assert artifact_at(place.root).read() == content
    assert results(slow.ingest([], mine)) == [Stored.STORED, Stored.CONFLICT]
    assert place.artifacts().keys() == {ARTIFACT, ARTIFACT.replace("r1", "b1")}


def plain_ingest(place, path):
    """Store a raw as programs do that know nothing of us, in a Butler of its own."""
    with Butler.from_config(place.root, writeable=True) as butler:
        [camera] = butler.query_dimension_records(
            "detector", instrument="PFS", where="detector.full_name = 'r1'"
        )
        data_id = butler.registry.expandDataId(
            instrument="PFS", exposure=12, arm="r", spectrograph=1, detector=camera.id
        )
        ref = DatasetRef(
            butler.get_dataset_type("raw"),
            data_id,
            "PFS/raw/all",
            id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN,
        )
        butler.ingest(FileDataset(str(path), ref), transfer="copy")


@pytest.mark.parametrize("same", [True, False], ids=["same bytes", "other bytes"])
def test_what_another_program_is_storing_is_waited_for(place, stop, tmp_path, same):
    """Butler.ingest has its artifact in place and has not committed: it is not overwritten, but compared."""
    host = place.host()
    host.ingest([an_exposure(12)], [])
    theirs = ccd_file(tmp_path / "a.fits")
    mine = ccd_file(tmp_path / "b.fits", seed=0 if same else 1)
    first, second = both(
        place,
        stop(FileResourcePath, "transfer_from"),
        lambda: plain_ingest(place, theirs),
        lambda: host.ingest([], [raw_dataset(mine)]),
    )

    assert first.exception() is None
    assert outcome(second) == [Stored.ALREADY_THERE if same else Stored.CONFLICT]
    assert place.artifacts() == {ARTIFACT: theirs.read_bytes()}


def test_another_program_that_comes_while_we_store(place, stop, tmp_path):
    """Its undo may take our artifact with it; what is stored again is whole, under the same id."""
    host = place.host()
    host.ingest([an_exposure(12)], [])
    mine = ccd_file(tmp_path / "a.fits")
    first, _ = both(
        place,
        stop(Batch, "_ingest"),
        lambda: host.ingest([], [raw_dataset(mine)]),
        lambda: plain_ingest(place, mine),
    )

    [stored] = first.result()
    assert stored.result is Stored.STORED
    [again] = host.ingest([], [raw_dataset(mine)])
    assert again.dataset_id == stored.dataset_id
    assert place.artifacts() == {ARTIFACT: mine.read_bytes()}
