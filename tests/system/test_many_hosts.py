"""Several daemons, each with its own configuration, inbox and folders, at one repository."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pfs_ingestd.adapters.repository import create_repository
from pfs_ingestd.records import State
from postgres import asking
from system.cable import elsewhere
from system.hosts import Hosts
from system.service import content_of, stored, wait_for, wanted, write

CAMERAS = ("b1", "r1", "n1", "b2", "r2", "b3")
VISITS = 4


@pytest.fixture(params=["postgresql", "sqlite"])
def hosts(request, tmp_path, template):
    """Have three hosts at a registry in PostgreSQL, or two at one in SQLite."""
    root = tmp_path / "repo"
    if request.param == "postgresql":
        create_repository(str(root), registry=request.getfixturevalue("postgres").new_registry())
    else:
        shutil.copytree(template, root)
    hosts = Hosts(tmp_path, root, 3 if request.param == "postgresql" else 2)
    yield hosts
    hosts.close()


def test_visits_that_arrive_in_parts_at_several_hosts(hosts, tmp_path):
    """Every file is stored once, whoever is killed; of two with one data ID the later one is a conflict."""
    night = write(tmp_path / "night", visits=VISITS, cameras=CAMERAS)
    source, number = night.directory, len(hosts.sites)
    given = [0] * number

    def give(host, path, content=None):
        hosts.give(host, source, path, content=content)
        given[host] += 1

    # As long as the other, and different in one byte of padding.
    odd = night.visits[1].raw("b2")
    content = bytearray((source / odd).read_bytes())
    content[-1] ^= 1
    victim = hosts.services[1]
    for visit in night.visits:
        give(number - 1, visit.config)
        for camera in visit.cameras:
            give((int(camera[1]) - 1) % number, visit.raw(camera))
            if visit.raw(camera) == odd:
                give(0, odd, bytes(content))
            elif camera == "r1":
                # The same bytes at two hosts.
                give(1, visit.raw(camera))
        if visit is night.visits[0]:
            victim.wait_for(lambda: victim.happened("file.ingested"), "the first file of the victim")
            victim.kill()
    hosts.services[1] = hosts.sites[1].start()

    wait_for(lambda: hosts.settled(given), "every host to be through")
    assert [service.stop() for service in hosts.services] == [0] * number
    found, good = stored(hosts.root), wanted(night)
    won = next(each for each in found if each[:3] == ("raw", night.visits[1].visit, "b2"))
    theirs = content_of(source / odd, "raw", night.visits[1].visit, "b2")
    loser = 0 if won == theirs else 1
    assert found == sorted(won if each == theirs else each for each in good)
    assert hosts.rejected() == {(loser, Path(odd).name, "conflict")}
    counts = [site.counts() for site in hosts.sites]
    assert [each[State.REJECTED] for each in counts] == [int(host == loser) for host in range(number)]
    # The pfsConfig of the convergence has no raws.
    assert [each[State.WAITING] for each in counts] == [0] * (number - 1) + [1]
    assert [sum(each.values()) - each[State.INGESTED] for each in counts] == [
        each[State.REJECTED] + each[State.WAITING] for each in counts
    ]
    assert [sum(each.values()) for each in counts] == given
    assert not list(hosts.root.glob(".pfs-ingestd-*"))


def test_a_host_that_is_cut_off_keeps_nobody_waiting(tmp_path, postgres):
    """While the network of a host is cut others store what it was at; when it is mended it finds that."""
    root, registry = tmp_path / "repo", postgres.new_registry()
    create_repository(str(root), registry=registry)
    night = write(tmp_path / "night", visits=2, cameras=("b1", "r1"))
    paths = [path.relative_to(night.directory) for path in (*night.raws, *night.configs)]
    with elsewhere(postgres) as far, closing(Hosts(tmp_path, root, 2)) as hosts:
        site = hosts.sites[0]
        hosts.services[0].kill()
        seed = site.repository / "butler.yaml"
        seed.write_text(seed.read_text().replace(registry, far.seen_there(registry)))
        hosts.services[0] = site.start_interpreter(within=far.within).running()
        with asking(registry) as cursor:
            cursor.execute("BEGIN; LOCK TABLE dataset IN EXCLUSIVE MODE")
            for path in paths:
                hosts.give(0, night.directory, path)
            wait_for(lambda: in_line(cursor), "the first batch")
            far.cut()
        for path in paths:
            hosts.give(1, night.directory, path)
        wait_for(lambda: hosts.sites[1].counts()[State.INGESTED] == len(wanted(night)), "the other host")
        far.mend()
        wait_for(lambda: hosts.settled([len(paths)] * 2), "the host that was cut off")
        assert [service.stop() for service in hosts.services] == [0, 0]
        assert stored(root) == wanted(night)
        assert {site.counts()[State.INGESTED] for site in hosts.sites} == {len(wanted(night))}


def in_line(cursor):
    """Say whether somebody waits for what is locked."""
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'dataset'::regclass")
    return cursor.fetchone()[0]
