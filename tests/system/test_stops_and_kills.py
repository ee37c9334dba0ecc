"""However the process ends, every file is in the repository once, and its source as it was."""

import random
import time

import pytest

import forked
from pfs_ingestd.simulate import NightPlan, expected_night
from system.service import FEW_CAMERAS, PATIENCE, counted, fingerprints, stored, wanted, write

KILLS = 5
LEFT = {"board.html", "config.yaml", "data", "inbox.db", "inbox.db.lock", "repo", "same", "status.json"}


@pytest.fixture
def arriving(site):
    """Let a night arrive while the test goes on."""
    writers = []

    def start(*, visits, interval):
        command = ["pfs-ingestd", "simulate", site.data, "--small", "--cameras", ",".join(FEW_CAMERAS)]
        command += ["--visits", visits, "--interval", interval]
        writers.append(forked.start(command, site.folder / "output-of-simulate"))
        return writers[-1]

    yield start
    for writer in writers:
        writer.kill()
        writer.wait()


def _files_of(site):
    """List what lies beside the watched folder and the repository."""
    return {path.name for path in site.folder.iterdir() if not path.name.startswith("output-")}


@pytest.mark.parametrize("transfer", ["link", "copy", "move"])
def test_kills_at_random_moments_lose_nothing(site, arriving, tmp_path, transfer):
    """Killed again and again while files arrive, the daemon stores each once and leaves nothing behind."""
    site.configure(ingest={"transfer": transfer, "batch_files": 2})
    writer = arriving(visits=10, interval=0.5)
    moments = random.Random(transfer)  # noqa: S311 (any moments will do, but the same ones each time)
    for _ in range(KILLS):
        service = site.start()
        service.wait_for(lambda service=service: service.happened("daemon.started"), "its first word")
        time.sleep(moments.uniform(0, 0.5))
        service.kill()
    assert writer.wait(PATIENCE) == 0

    last = site.start().running()
    last.wait_for(lambda: site.counts()["ingested"] == 39, "all files")
    last.wait_for(lambda: site.counts()["waiting"] == 1, "the convergence")
    code = last.stop()

    night = write(tmp_path / "same", visits=10)
    written = fingerprints(night.directory)
    kept = night.convergence_configs if transfer == "move" else (night.directory / path for path in written)
    assert code == 0
    assert wanted(night) == stored(site.repository)
    assert {path.relative_to(night.directory) for path in kept} == fingerprints(site.data).keys()
    assert fingerprints(site.data).items() <= written.items()
    assert _files_of(site) == LEFT


def test_a_killed_daemon_takes_up_where_it_was(site, arriving):
    """After a kill in the middle of a night all files arrive, and nothing stays in ingesting."""
    site.configure(ingest={"batch_files": 3})
    first = site.start().running()
    writer = arriving(visits=6, interval=0.2)
    first.wait_for(lambda: site.counts()["ingested"] >= 8, "the first visits")
    first.kill()
    assert site.status()["state"] == "running"
    told = site.run("status").stdout.splitlines()[0]
    assert told.startswith("ALARM  not running: it ended without saying goodbye, ")
    assert writer.wait(PATIENCE) == 0

    second = site.start()
    second.wait_for_counts(ingested=23, waiting=1)
    assert second.stop() == 0
    plan = NightPlan(visits=6, cameras=FEW_CAMERAS, small=True)
    assert wanted(expected_night(site.data, plan)) == stored(site.repository)


def test_sigterm_puts_the_batch_away(site, arriving):
    """Asked to stop in the middle of a night the daemon leaves at once with 0, and resumes later."""
    first = site.start().running()
    writer = arriving(visits=6, interval=0.2)
    first.wait_for(lambda: site.counts()["ingested"] >= 8, "the first visits")
    code = first.stop()

    status = site.status()
    counts = {state: count for state, count in site.counts().items() if count}
    assert (code, status["state"], status["reason"]) == (0, "stopped", "")
    assert first.events[-1]["event"] == "daemon.stopped"
    assert counts.keys() <= {"ingested", "seen", "ready", "waiting"}
    assert counts == {state: count for state, count in status["counts"].items() if count}

    assert writer.wait(PATIENCE) == 0
    second = site.start()
    second.wait_for_counts(ingested=23, waiting=1)
    assert second.stop() == 0


def test_sigterm_before_anything_happened(site):
    """Asked to stop while it starts, the daemon ends as cleanly, and the next one begins anew."""
    service = site.start()
    service.wait_for((site.folder / "inbox.db").exists, "the inbox")
    assert service.stop() in {0, -15}
    assert site.start().running().stop() == 0
    assert counted() == site.counts()
