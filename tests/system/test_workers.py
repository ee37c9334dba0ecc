"""Workers that share an inbox die or stand still: all files arrive, once, and none stays claimed."""

import os
import signal
from contextlib import closing, contextmanager

import pytest
import yaml

from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.config import load_config
from pfs_ingestd.records import State
from postgres import asking
from system.cable import elsewhere
from system.service import Site, counted, pfs_ingestd, stored, wait_for, wanted, write

LEASE = "1s"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make networks and mounts of its own")


@pytest.fixture(scope="module")
def registry(tmp_path_factory, own_postgres):
    """Make a repository with its registry on the server; give its folder, and the URL of the registry."""
    repository = tmp_path_factory.mktemp("registry") / "repo"
    url = own_postgres.new_registry()
    done = pfs_ingestd("init", repository, "--registry", url)
    assert done.returncode == 0, done.stderr
    return repository, url


class SharedSite(Site):
    """A site whose inbox and registry are on a server."""

    def __init__(self, folder, server, registry):
        template, url = registry
        # Whoever looks into it keeps it from being copied.
        self.registry = server.copied(url)
        self.inbox = server.new_inbox()
        open_inbox(self.inbox).close()
        super().__init__(folder, template)
        seed = self.repository / "butler.yaml"
        seed.write_text(seed.read_text().replace(url, self.registry))

    def configure(self, **ingest):
        super().configure(ingest={"lease": LEASE, "batch_files": 4, "probe_interval": "200ms", **ingest})
        content = yaml.safe_load(self.config_file.read_text())
        content["state"] = {"database": self.inbox}
        self.config_file.write_text(yaml.safe_dump(content))
        self.config = load_config(self.config_file, {})

    @contextmanager
    def by_way_of(self, host):
        """Have whoever starts now reach the server from another host; give the URL of the inbox there."""
        seed = self.repository / "butler.yaml"
        usual = seed.read_text()
        seed.write_text(usual.replace(self.registry, host.seen_there(self.registry)))
        yield host.seen_there(self.inbox)
        seed.write_text(usual)

    def worker(self, name, **more):
        start = self.start_interpreter if "within" in more else self.start
        return start("--name", name, command="worker", **more)

    def workers(self):
        """Tell who shares the inbox, by name."""
        inbox = open_inbox(self.inbox, read_only=True)
        try:
            return {worker.name: worker for worker in inbox.workers()}
        finally:
            inbox.close()

    def attempts(self):
        """Tell how often what was ingested was tried."""
        with closing(open_inbox(self.inbox, read_only=True)) as inbox:
            return {record.attempts for record in inbox.select(states=[State.INGESTED])}

    @contextmanager
    def in_the_middle(self, *names):
        """Let nobody finish a batch; begin when each of these is at work on one."""
        with asking(self.registry) as registry:
            registry.execute("BEGIN; LOCK TABLE dataset IN EXCLUSIVE MODE")
            yield lambda: wait_for(lambda: self.are_at_work(names), f"{names} at work")

    def are_at_work(self, names):
        """Say whether each of these holds something, and has claimed it."""
        workers = self.workers()
        claimed = self.counts()["ingesting"] >= len(names)
        return claimed and all(name in workers and workers[name].visits for name in names)

    def wait_for_all(self, service, *nights):
        """Wait until all that can be is ingested; see that it is there, once, and that nobody holds any."""
        files = len(wanted(*nights))
        service.wait_for(lambda: self.counts() == counted(ingested=files, waiting=len(nights)), "all files")
        assert stored(self.repository) == wanted(*nights)
        wait_for(lambda: not any(worker.visits for worker in self.workers().values()), "all to be let go")


@pytest.fixture
def site(tmp_path, own_postgres, registry):
    site = SharedSite(tmp_path, own_postgres, registry)
    yield site
    site.close()


def said(services, event):
    """Collect what any of them said of an event."""
    return [line for service in services for line in service.events if line["event"] == event]


def completed(*services):
    """Collect the visits that they said were complete."""
    return [line["visit"] for line in said(services, "visit.completed")]


def test_workers_and_the_watching_daemon_may_be_killed(site):
    """What a killed worker held is taken over; a daemon that is started after a kill leaves workers be."""
    watching, *workers = site.start("--watch-only"), site.worker("w1"), site.worker("w2")
    with site.in_the_middle("w1", "w2") as wait:
        night = write(site.data, visits=6)
        wait()
        workers[0].kill()
        watching.kill()
        again = site.start("--watch-only").running()
        assert site.workers()["w2"].visits
    site.wait_for_all(again, night)
    late = write(site.data, visits=2, first_visit=night.visits[-1].visit + 10)
    site.wait_for_all(again, night, late)
    last = {visit.visit for visit in late.visits if visit.cameras}
    again.wait_for(lambda: last <= set(completed(watching, again)), "the completed visits")
    assert len(completed(watching, again)) == len(set(completed(watching, again)))
    assert {line["worker"] for line in said([watching, again, *workers], "worker.lost")} == {"w1"}
    assert [service.stop() for service in (again, workers[1])] == [0, 0]
    assert site.workers() == {}


def test_a_worker_that_stood_still_finds_others_at_its_work(site):
    """After a pause that was longer than its lease a worker learns that it was given up, and begins anew."""
    watching, paused = site.start("--watch-only"), site.worker("paused")
    with site.in_the_middle("paused") as wait:
        night = write(site.data, visits=4)
        wait()
        paused.process.send_signal(signal.SIGSTOP)
        other = site.worker("other")
        other.wait_for(lambda: said([watching, other], "worker.lost"), "its lease to be over")
    # What the server has of its transaction by now is committed, or undone, only when it goes on.
    paused.process.send_signal(signal.SIGCONT)
    paused.wait_for(
        lambda: "lease_lost" in {line["code"] for line in said([paused], "inbox.lost")}, "its loss"
    )
    site.wait_for_all(watching, night)
    paused.wait_for(lambda: "paused" in site.workers(), "its new lease")
    assert [service.stop() for service in (watching, paused, other)] == [0, 0, 0]


def test_the_server_may_be_killed(site, own_postgres):
    """Inbox and registry that are gone in the middle of it are waited for, at the cost of one attempt."""
    services = [site.start("--watch-only"), site.worker("w1"), site.worker("w2")]
    with site.in_the_middle("w1", "w2") as wait:
        night = write(site.data, visits=6)
        wait()
        own_postgres.kill()
    for service in services:
        service.wait_for(lambda told=service: told.happened("inbox.lost"), "the outage")
    own_postgres.start()
    site.wait_for_all(services[0], night)
    assert max(site.attempts()) <= 2
    assert [service.stop() for service in services] == [0, 0, 0]


@as_root
def test_a_worker_without_the_mount_leaves_the_files_to_others(site):
    """On a host where the watched folder is empty a worker is degraded, holds nothing and charges nobody."""
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(site.data)]
    watching, blind = site.start("--watch-only"), site.worker("blind", within=hide)
    night = write(site.data, visits=4)
    blind.wait_for(lambda: blind.happened("outage.began"), "its outage")
    seeing = site.worker("seeing")
    site.wait_for_all(watching, night)
    assert {line["code"] for line in said([blind], "outage.began")} == {"root_unreachable"}
    assert said([blind], "outage.ended") == said([blind], "file.vanished") == []
    assert site.attempts() == {1}
    assert [service.stop() for service in (watching, blind, seeing)] == [0, 0, 0]


def test_a_worker_that_is_cut_off_is_replaced_and_comes_back(site, own_postgres):
    """Files in the hands of a host whose network is cut go to others; when it is mended the host works on."""
    with elsewhere(own_postgres) as host:
        with site.by_way_of(host) as inbox:
            far = site.worker("far", within=host.within, PFS_INGESTD__STATE__DATABASE=inbox)
            far.wait_for(lambda: "far" in site.workers(), "its lease")
        watching = site.start("--watch-only")
        with site.in_the_middle("far") as wait:
            night = write(site.data, visits=4)
            wait()
            host.cut()
            near = site.worker("near")
        site.wait_for_all(watching, night)
        assert {line["worker"] for line in said([watching, near], "worker.lost")} == {"far"}
        assert near.stop() == 0
        host.mend()
        late = write(site.data, visits=4, first_visit=night.visits[-1].visit + 10)
        site.wait_for_all(watching, night, late)
        assert site.workers()["far"].files == len(wanted(late))
        assert [service.stop() for service in (watching, far)] == [0, 0]
