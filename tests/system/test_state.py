"""The daemon whose inbox is lost, damaged, locked or shared, as a real process."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import yaml

from conformance.inbox_suite import FULL
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.desk import select_files
from pfs_ingestd.records import State
from state_damage import DAMAGE, execute, set_aside_files
from system.service import PATIENCE, counted, fingerprints, pfs_ingestd, stored, wanted, write

LOSS = {
    **DAMAGE,
    "emptied": lambda database: database.write_bytes(b""),
    "deleted, but for its log": lambda database: database.unlink(),
}


def database_of(site):
    return site.config.state.database.file


def fill_inbox(site):
    """Make an inbox with one rejected file, as if a daemon had run."""
    with closing(open_inbox(site.config.state.database.url)) as inbox:
        inbox.add([FULL])


@pytest.mark.parametrize(
    ("transfer", "losses"),
    [
        ("link", ["cut to one page", "emptied"]),
        ("copy", ["all NUL", "deleted, but for its log"]),
        ("move", ["noise", "no table of files"]),
    ],
)
def test_f50_a_lost_inbox_is_made_again_and_nothing_stored_twice(site, transfer, losses):
    """After a kill and the loss of the inbox all files are taken in, or found to be there already."""
    site.configure(ingest={"transfer": transfer, "batch_files": 2})
    night = write(site.data, visits=4)
    before, expected = fingerprints(site.data), wanted(night)
    first = site.start().running()
    first.wait_for(lambda: site.counts()["ingested"] >= 4, "the first files")
    first.kill()

    for loss in losses:
        LOSS[loss](database_of(site))
        last = site.start("--once")
        assert (last.ended(), stored(site.repository)) == (0, expected), last.events

    kept = set_aside_files(database_of(site))
    assert len(kept) == len([loss for loss in losses if loss in DAMAGE])
    if transfer == "move":
        assert fingerprints(site.data).keys() == site.below(night.convergence_configs)
        assert site.counts() == counted(waiting=1)
    else:
        assert fingerprints(site.data) == before
        records = select_files(site.config, states=(), visits=())
        assert len(records) == len(expected) + 1
        assert {(each.state, each.code) for each in records} == {
            (State.INGESTED, "already_there"),
            (State.WAITING, "no_exposure"),
        }


def test_damage_in_the_night_ends_the_daemon_so_that_it_is_started_again(site):
    """Damage in a running inbox ends it with 75, log and status say so, and the next start is good."""
    night = write(site.data)
    service = site.start()
    service.wait_for_counts(ingested=4, waiting=1)
    execute(database_of(site), "UPDATE file SET state = 'sedn'", "DELETE FROM tally")

    assert service.ended() == 75
    [aside] = set_aside_files(database_of(site))
    text = (site.folder / "output-0").read_text()
    status = site.status()
    assert (text.count('"event": "inbox.set_aside"'), "Traceback" in text) == (1, False)
    assert f"is kept as {aside}" in text
    assert (status["state"], "is damaged" in status["reason"]) == ("failed", True)

    assert site.start("--once").ended() == 0
    assert (stored(site.repository), site.counts()) == (wanted(night), counted(ingested=4, waiting=1))


def test_a_newer_inbox_is_for_a_newer_program(site):
    """The daemon refuses an inbox of a newer version with 78, says so, and leaves it alone."""
    fill_inbox(site)
    execute(database_of(site), "UPDATE inbox_version SET version = 99")
    done = site.run("run", "--once")
    assert (done.returncode, done.stdout) == (78, "")
    assert "version 99, newer than our version " in done.stderr
    assert "Traceback" not in done.stderr
    assert set_aside_files(database_of(site)) == []


def test_commands_leave_a_damaged_inbox_to_the_daemon(site):
    """What operators type names the damage and what to do, and moves nothing."""
    fill_inbox(site)
    DAMAGE["all NUL"](database_of(site))
    for command in ("list", "retry"):
        done = site.run(command)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr.startswith("error [state_unusable]: the inbox ")
        assert "start the daemon" in done.stderr
    assert set_aside_files(database_of(site)) == []


def test_operators_get_their_answers_beside_a_busy_daemon(site):
    """Listing and retrying, several at a time, succeed while the daemon writes as fast as it can."""
    site.configure(ingest={"batch_files": 1})
    night = write(site.data, visits=8)
    service = site.start().running()
    commands = [["list"], ["retry", "--state", "ingested"], ["list", "--json"]] * 2
    running = [
        subprocess.Popen(  # noqa: S603 (our own commands)
            [sys.executable, "-m", "pfs_ingestd", *command, "-c", site.config_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    answers = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [0] * len(commands), answers
    assert [error for _, error in answers] == [""] * len(commands)
    service.wait_for_counts(ingested=len(wanted(night)), waiting=1)
    assert service.stop() == 0
    assert [event["event"] for event in service.events if event["level"] == "error"] == []


def test_an_operator_who_meets_a_lock_waits_a_bounded_time(site):
    """While someone else holds the inbox's lock, retry gives up with 75 and one sentence, and list works."""
    fill_inbox(site)
    impatient = {"PFS_INGESTD__STATE__DATABASE": f"sqlite:///{database_of(site)}?timeout=0.2"}
    with closing(sqlite3.connect(database_of(site), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = pfs_ingestd("retry", "-c", site.config_file, "--state", "rejected", **impatient)
        listed = pfs_ingestd("list", "-c", site.config_file, **impatient)
    assert (refused.returncode, listed.returncode) == (75, 0)
    assert refused.stderr.splitlines()[1:] == ["  another process is writing to it"]


def test_two_daemons_on_one_inbox_of_a_server_are_one_too_many(site, postgres):
    """A server lets in one daemon: the second, with a lock file of its own, names the first."""
    settings = yaml.safe_load(site.config_file.read_text())
    settings["state"]["database"] = postgres.new_database()
    site.config_file.write_text(yaml.safe_dump(settings))
    other = site.folder / "other.yaml"
    other.write_text(yaml.safe_dump({**settings, "status": {"file": "other.json"}}))
    first = site.start().running()
    second = pfs_ingestd("run", "--once", "-c", other)
    assert first.stop() == 0
    assert second.returncode == 75
    assert f"pfs-ingestd process {first.process.pid} on {socket.gethostname()}" in second.stderr


def test_a_link_to_an_inbox_is_the_same_inbox(site):
    """A second daemon that knows the inbox by another name is refused, and told who is at work."""
    first = site.start().running()
    (site.folder / "link.db").symlink_to(database_of(site))
    settings = yaml.safe_load(site.config_file.read_text())
    settings |= {"state": {"database": "link.db"}, "status": {"file": "other.json"}}
    other = site.folder / "other.yaml"
    other.write_text(yaml.safe_dump(settings))
    second = pfs_ingestd("run", "--once", "-c", other)
    assert second.returncode == 75
    assert f"process {first.process.pid} on {os.uname().nodename} is at work already" in second.stderr
