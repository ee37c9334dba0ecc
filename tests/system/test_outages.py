"""The real daemon begins, goes on and ends as it should while something that it needs is away."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import yaml

from system.service import counted, pfs_ingestd, stored, wanted, write

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def rewrite(site, **sections):
    """Give the configuration other sections or values at its top."""
    content = yaml.safe_load(site.config_file.read_text()) | sections
    site.config_file.write_text(yaml.safe_dump(content))


def on_server(site, server):
    """Have a repository whose registry is on a server instead."""
    shutil.rmtree(site.repository)
    done = pfs_ingestd("init", site.repository, "--registry", server.new_registry())
    assert done.returncode == 0, done.stderr


def told(service, *prefixes):
    """List what it said of an outage."""
    return [event["event"] for event in service.events if event["event"].startswith(prefixes)]


def test_f43_a_registry_that_is_down_at_the_start_is_waited_for(site, own_postgres):
    """Started while the server is down the daemon is degraded, and takes everything in when it comes up."""
    on_server(site, own_postgres)
    site.configure(ingest={"probe_interval": "200ms"})
    night = write(site.data)
    own_postgres.stop()
    try:
        service = site.start()
        service.wait_for(lambda: site.status().get("state") == "degraded", "the outage")
        reason = site.status()["reason"]
        early = site.counts()
        once = site.folder / "once.yaml"
        content = yaml.safe_load(site.config_file.read_text())
        once.write_text(
            yaml.safe_dump(content | {"state": {"database": "o.db"}, "status": {"file": "o.json"}})
        )
        ended = pfs_ingestd("run", "--once", "-c", once).returncode
        content["ingest"]["policy"] = "fail-fast"
        once.write_text(
            yaml.safe_dump(content | {"state": {"database": "f.db"}, "status": {"file": "f.json"}})
        )
        failed = pfs_ingestd("run", "-c", once).returncode
    finally:
        own_postgres.start()

    service.wait_for_counts(ingested=4, waiting=1)
    service.wait_for(lambda: site.status()["state"] == "running", "the end of the outage")
    assert service.stop() == 0
    assert "does not answer" in reason
    assert early["ingested"] == early["rejected"] == 0
    assert (ended, failed) == (75, 75)
    assert told(service, "outage.") == ["outage.began", "outage.ended"]
    assert wanted(night) == stored(site.repository)


def test_f42_a_registry_locked_by_another_process_is_waited_for(site):
    """A registry that stays locked for longer than the daemon waits pauses the queue and charges no file."""
    site.configure(ingest={"probe_interval": "200ms"})
    service = site.start().running()
    command = [sys.executable, "-c", LOCK, site.repository / "gen3.sqlite3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: S603 (our own)
        assert other.stdout.readline() == b"locked\n"
        night = write(site.data)
        service.wait_for(lambda: site.status()["state"] == "degraded", "the outage")
        reason = site.status()["reason"]
        other.stdin.close()

    service.wait_for_counts(ingested=4, waiting=1)
    service.wait_for(lambda: site.status()["state"] == "running", "the end of the outage")
    assert service.stop() == 0
    assert "stays locked" in reason
    assert told(service, "outage.", "file.postponed") == ["outage.began", "outage.ended"]
    ingested = [event for event in service.events if event["event"] == "file.ingested"]
    assert {event["attempt"] for event in ingested} == {1}
    assert wanted(night) == stored(site.repository)


def test_a_repository_that_was_used_is_taken_for_not_mounted(site):
    """Where files went before, an empty folder is waited upon; where none did, a repository is missing."""
    site.configure(ingest={"probe_interval": "200ms"})
    first = write(site.data / "first", visits=1)
    assert site.run("run", "--once").returncode == 0
    away = site.folder / "away"
    site.repository.rename(away)
    site.repository.mkdir()
    second = write(site.data / "second", visits=1, first_visit=2000)

    service = site.start()
    service.wait_for(lambda: site.status().get("state") == "degraded", "the outage")
    reason = site.status()["reason"]
    assert list(site.repository.iterdir()) == []
    site.repository.rmdir()
    away.rename(site.repository)

    service.wait_for_counts(ingested=8, waiting=2)
    assert service.stop() == 0
    assert f"the repository {site.repository} is not there" in reason
    assert wanted(first, second) == stored(site.repository)

    site.repository.rename(away)
    site.repository.mkdir()
    rewrite(site, state={"database": "new.db"})
    done = site.run("run")
    assert (done.returncode, done.stdout) == (78, "")
    assert f"`pfs-ingestd init {site.repository}`" in done.stderr


def test_an_unsuitable_repository_ends_the_daemon_with_its_status(site):
    """A repository that nothing can be ingested into is a matter of configuration, and the status says so."""
    with closing(sqlite3.connect(site.repository / "gen3.sqlite3")) as registry, registry:
        registry.execute("DELETE FROM dataset_type")

    done = site.run("run")
    status = site.status()

    assert done.returncode == 78
    assert status["state"] == "failed"
    assert "no dataset type 'raw'" in status["reason"]
    assert "Traceback" not in done.stderr + done.stdout


def test_a_watched_folder_missing_at_the_start_is_a_configuration_error(site):
    """Nobody can tell a folder that is not mounted from a misspelt one: the daemon does not start."""
    site.data.rmdir()
    done = site.run("run")
    assert (done.returncode, done.stdout) == (78, "")
    assert f"watch.raw: No such file or directory: {site.data}" in done.stderr


def test_an_inbox_whose_server_stops_is_waited_for(site, own_postgres):
    """While the inbox is away the daemon tells so and lives, and goes on when its server is back."""
    site.configure(ingest={"probe_interval": "200ms"})
    url = own_postgres.new_database()
    rewrite(site, state={"database": url})
    first = write(site.data / "first")
    service = site.start()
    service.wait_for(lambda: site.status().get("counts", {}).get("ingested") == 4, "the first visit")
    own_postgres.stop()
    try:
        service.wait_for(lambda: site.status()["state"] == "degraded", "the outage")
        reason = site.status()["reason"]
        second = write(site.data / "second", first_visit=2000)
    finally:
        own_postgres.start()
    service.wait_for(lambda: site.status()["counts"]["ingested"] == 8, "the second visit")
    service.wait_for(lambda: site.status()["state"] == "running", "the end of the outage")

    assert service.stop() == 0
    assert "the inbox" in reason
    assert told(service, "inbox.") == ["inbox.lost", "inbox.regained"]
    assert site.status()["counts"] == {
        str(state): number for state, number in counted(ingested=8, waiting=2).items()
    }
    assert wanted(first, second) == stored(site.repository)
