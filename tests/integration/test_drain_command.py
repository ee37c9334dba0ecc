"""What `drain` tells of how a daemon has ended."""

import json
import os
import threading
import time
from contextlib import closing, contextmanager

import pytest
import yaml

from in_process import typed
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.system import InstanceLock
from pfs_ingestd.config import load_config

PATIENCE = 20.0
"""Seconds that an order may take to be given on a busy machine."""


@pytest.fixture
def config_file(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "config.yaml"
    settings = {
        "repository": "repo",
        "watch": {"raw": "data", "pfsConfig": "data"},
        "state": {"database": "inbox.db"},
        "status": {"file": "status.json"},
    }
    file.write_text(yaml.safe_dump(settings))
    return file


@contextmanager
def a_daemon(config_file, last):
    """Have a process that hears an order and ends at once, with some last words in its status."""
    config = load_config(config_file, {})
    with closing(open_inbox(config.state.database.url)) as inbox:
        before = len(inbox.orders(0))
    lock = InstanceLock(config.lock_file)
    lock.acquire()

    def end():
        with closing(open_inbox(config.state.database.url, read_only=True)) as inbox:
            patience = time.monotonic() + PATIENCE
            while not (orders := inbox.orders(before)) and time.monotonic() < patience:
                time.sleep(0.01)
        words = {"pid": os.getpid(), "heard": orders[-1].number, **last}
        config.status.file.write_text(json.dumps(words))
        lock.release()

    thread = threading.Thread(target=end)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(
    ("last", "code", "told", "failure"),
    [
        ({"state": "stopped", "reason": ""}, 0, "drained: the daemon has stopped; 0 files are pending", None),
        (
            {"state": "failed", "reason": "/data/a.fits: no\nFITS"},
            1,
            "not drained: the daemon has ended: /data/a.fits: no\\nFITS; 0 files are pending",
            "/data/a.fits: no\nFITS",
        ),
        (
            {"state": "stopping", "reason": "draining"},
            1,
            "not drained: the daemon has ended: it was killed",
            "it was killed, or could not write its last status",
        ),
        (
            {"state": "running", "reason": "", "pid": 0},
            1,
            "not drained: the daemon has ended: another has taken its place",
            "another has taken its place, so that it is not known how it ended; its log tells",
        ),
    ],
)
def test_only_a_daemon_that_has_drained_is_said_to_have(config_file, last, code, told, failure):
    """Of one that failed, was killed or was replaced the command says so, and its exit code is 1."""
    with a_daemon(config_file, last):
        done = typed("drain", "-c", config_file, "--wait", f"{PATIENCE:g}s")
    assert (done.exit_code, done.stdout[: len(told)]) == (code, told)
    with a_daemon(config_file, last):
        facts = json.loads(typed("drain", "-c", config_file, "--wait", f"{PATIENCE:g}s", "--json").stdout)
    assert (facts["stopped"], facts["failure"], facts["code"]) == (True, failure, None)
