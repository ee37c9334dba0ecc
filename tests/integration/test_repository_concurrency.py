"""Several processes that ingest the same files into one repository, wherever that is."""

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import RepositoryBroom, create_repository, open_repository
from pfs_ingestd.adapters.repository.strays import stamp
from pfs_ingestd.audit.findings import Stray
from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.ports import Stored
from postgres import asking
from repository_files import (
    EVERYWHERE,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    raw_dataset,
    results,
)
from repository_rivals import CAMERAS, VISITS, ingest_all

PROCESSES = 2


def on_postgresql(tmp_path, registry):
    root = str(tmp_path / "repo")
    assert create_repository(root, registry=registry).created
    assert not create_repository(root, registry=registry).changed
    return root


@pytest.mark.parametrize(
    ("root", "registered"),
    [("on_disk", False), ("on_servers", True)],
    indirect=["root"],
    ids=["on a disk, new exposures", "on servers, old exposures"],
)
def test_processes_with_the_same_files_lose_nothing(tmp_path, root, registered):
    """Each dataset is stored by one of the processes, and nobody's rollback removes its file."""
    folder = tmp_path / "in"
    for visit in VISITS:
        for camera in CAMERAS:
            ccd_file(folder / f"{visit}{camera[0]}{camera[1]}.fits", visit, *camera)
    if registered:
        repository = open_repository(root, transfer="copy", runs={}, instrument="PFS")
        repository.ingest([an_exposure(visit) for visit in VISITS], [])
        repository.close()
    spawn = multiprocessing.get_context("spawn")
    barrier, outcomes = spawn.Barrier(PROCESSES, timeout=200), spawn.SimpleQueue()
    processes = [
        spawn.Process(
            target=ingest_all, args=(root, folder, barrier, outcomes), kwargs={"registered": registered}
        )
        for _ in range(PROCESSES)
    ]

    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    stored = sum(outcomes.get() for _ in processes)
    assert stored == len(VISITS) * len(CAMERAS)
    with Butler.from_config(root) as butler:
        refs = butler.query_datasets("raw", collections="PFS/raw/all")
        missing = [ref for ref, exists in butler.stored_many(refs).items() if not exists]
    assert (len(refs), missing) == (stored, [])


def waits_for_a_lock(url):
    """Ask PostgreSQL whether any session of a database waits for a lock."""
    with asking(url) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


def test_a_rollback_never_removes_what_another_stored(tmp_path, postgres, monkeypatch):
    """Whoever comes second to a dataset of a known exposure waits until it can see what the first has done.

    It comes while the first puts its copy in its place: the moment in which it would find nothing, store the
    file once more, fail at the rows, and remove the file while rolling back.
    """
    url = postgres.new_registry()
    root = on_postgresql(tmp_path, url)
    first, second = (open_repository(root, transfer="copy", runs={}, instrument="PFS") for _ in range(2))
    datasets = [raw_dataset(ccd_file(tmp_path / "a.fits"))]
    first.ingest([an_exposure(12)], [])
    second.designs([12])
    link, futures = os.link, []

    def link_while_another_comes(*args, **kwargs):
        if not futures and str(args[1]).startswith(f"{root}/PFS"):
            futures.append(pool.submit(second.ingest, [], datasets))
            while not waits_for_a_lock(url) and not futures[0].done():
                time.sleep(0.01)
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", link_while_another_comes)
    with ThreadPoolExecutor(1) as pool:
        (stored,) = first.ingest([], datasets)
        (found,) = futures[0].result()

    first.close()
    second.close()
    assert stored.result is Stored.STORED
    assert found == replace(stored, result=Stored.ALREADY_THERE)
    assert Path(stored.where.removeprefix("file://")).exists()


@EVERYWHERE
def test_a_visit_is_stored_again_and_again(tmp_path, root):
    """Storing, repeating, conflicting and joining catalogues are the same in all places."""
    good = [raw_dataset(ccd_file(tmp_path / "a.fits")), config_dataset(config_file(tmp_path / "c.fits"))]
    other = raw_dataset(ccd_file(tmp_path / "b.fits", seed=1))
    repository = open_repository(root, transfer="copy", runs={}, instrument="PFS")

    assert repository.designs([12]) == {}
    first = repository.ingest([an_exposure(12)], good)
    again = repository.ingest([], [*good, other])
    ResourcePath(first[0].where).remove()
    restored = repository.ingest([], good)
    repository.probe()

    repository.close()
    assert results(first) == [Stored.STORED] * 2
    assert results(again) == [Stored.ALREADY_THERE, Stored.ALREADY_THERE, Stored.CONFLICT]
    assert restored[0] == first[0]
    with Butler.from_config(root) as butler:
        joins = butler.query_dimension_records("pfsConfig", instrument="PFS")
        assert sorted(record.cat_id for record in joins) == [3, 1001]


def test_a_server_that_stops_is_an_outage(tmp_path, own_postgres):
    """While PostgreSQL is down every call is an outage; when it is back, so are we."""
    repository = open_repository(
        on_postgresql(tmp_path, own_postgres.new_registry()), transfer="copy", runs={}, instrument="PFS"
    )
    datasets = [raw_dataset(ccd_file(tmp_path / "a.fits"))]
    own_postgres.stop()

    for call in (
        lambda: repository.ingest([an_exposure(12)], datasets),
        lambda: repository.designs([12]),
        repository.probe,
    ):
        with pytest.raises(Outage) as caught:
            call()
        assert caught.value.code is Code.REPOSITORY_UNREACHABLE
    own_postgres.start()

    repository.probe()
    assert results(repository.ingest([an_exposure(12)], datasets)) == [Stored.STORED]
    repository.close()


def test_a_stray_is_removed_where_its_visit_can_be_kept_from_others(tmp_path, postgres):
    """On PostgreSQL an exposure is locked; what would be of one that is not there may be in the making."""
    root = on_postgresql(tmp_path, postgres.new_registry())
    with closing(open_repository(root, transfer="copy", runs={}, instrument="PFS")) as repository:
        repository.ingest([an_exposure(12)], [])
    strays = {}
    for visit in (12, 13):
        source = ccd_file(tmp_path / f"{visit}.fits", visit)
        place = ccd_file(Path(root, f"{visit}.fits"), visit)
        strays[visit] = Stray(path=place, stamp=stamp(place.stat()), visit=visit), source
    with closing(RepositoryBroom(root, runs={}, instrument="PFS")) as broom:
        broom.remove(*strays[12])
        with pytest.raises(TryLater):
            broom.remove(*strays[13])
    assert [stray.path.exists() for stray, _ in strays.values()] == [False, True]
