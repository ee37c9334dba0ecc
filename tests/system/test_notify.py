"""Hooks that hang, fail and recover, beside a real daemon that goes on."""

import json
import stat
from pathlib import Path

import pytest

from pfs_ingestd.simulate import VisitPlan, write_ccd
from receiver import receiving
from system.service import stored, wanted, write

HANGS = """#!/bin/sh
echo $$ >> {started}
trap '' TERM
sleep 1000
"""


@pytest.fixture
def server():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "tell"
    path.write_text(HANGS.format(started=tmp_path / "started"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def reject(site, visit):
    """Put a file into the watched folder whose header speaks of another spectrograph."""
    plan = VisitPlan(visit=visit, cameras=("b1",), small=True)
    path = site.data / plan.raw("b1")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ccd(path, plan, "b1", cards={"W_SPMOD": 5})


def hook(site, name):
    return site.status().get("hooks", {}).get(name, {})


def test_files_go_in_while_those_who_are_told_hang_and_fail(site, server, command):
    """A program that hangs is killed, a server is tried again; a night goes in, and is told in the end.

    No secret gets into log, status, or what the commands print.
    """
    server.answer = 500
    environment = {
        "PFS_INGESTD__NOTIFY__COMMAND": f"[{command}]",
        "PFS_INGESTD__NOTIFY__WEBHOOK": server.url,
        "PFS_INGESTD__NOTIFY__INTERVAL": "100ms",
        "PFS_INGESTD__NOTIFY__TIMEOUT": "2s",
    }
    daemon = site.start(**environment)
    reject(site, 77)
    daemon.wait_for(lambda: hook(site, "webhook").get("reason") == "it answered 500", "a server that fails")
    server.answer = None
    night = write(site.data)
    daemon.wait_for_counts(ingested=4, waiting=1, rejected=1)
    for name, what in (("command", "a program that hangs"), ("webhook", "a server that hangs")):
        daemon.wait_for(lambda name=name: hook(site, name)["reason"] == "no end after 2 s", what)
    assert site.status()["state"] == "running"

    server.answer = 200
    daemon.wait_for(lambda: len({each["kind"] for each in server.messages}) == 2, "both kinds of news")
    told = {each["kind"]: each for each in server.messages}
    assert [(told[kind]["count"], told[kind]["last"]["visit"]) for kind in ("rejections", "visits")] == [
        (1, 77),
        (1, night.visits[0].visit),
    ]
    daemon.wait_for(lambda: hook(site, "webhook")["failures"] == 0, "its recovery")
    printed = site.run("status").stdout
    assert f"LOOK   2 notices cannot be delivered to {command}: no end after 2 s" in printed
    assert daemon.stop() == 0

    names = [event["event"] for event in daemon.events if event["event"].startswith("notification.")]
    assert sorted(names) == ["notification.failed"] * 2 + ["notification.lost", "notification.resumed"]
    assert "s3cret" not in json.dumps([daemon.events, site.status()]) + printed
    pids = (site.folder / "started").read_text().split()
    assert [pid for pid in pids if Path("/proc", pid).exists()] == []
    assert stored(site.repository) == wanted(night)
