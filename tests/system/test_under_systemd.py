"""The service as systemd runs it: within the unit's limits, and under its watchdog."""

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from booted import SITE, Booted, why_not
from system.service import stored, wanted, write

CONFIGURATION = f"""\
repository: disk/repo
watch: {{raw: disk/data, pfsConfig: disk/data, settle: 200ms, rescan: 300ms}}
state: {{database: state/inbox.db}}
status: {{file: state/status.json}}
log: {{file: {SITE}/state/daemon.log}}
notify: {{command: [{sys.executable}, {SITE}/tell.py], webhook: "http://127.0.0.1:9/hook", timeout: 20s}}
"""

# Says what it was told, and which connections the unit lets a program open.
TELL = f"""\
import json, os, socket, sys, tempfile
told = json.load(sys.stdin)
for family in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"):
    try:
        socket.socket(getattr(socket, family), socket.SOCK_DGRAM).close()
        told[family] = "open"
    except OSError as error:
        told[family] = error.errno
with tempfile.TemporaryFile():
    pass
with open("{SITE}/state/new", "w") as file:
    json.dump(told, file)
os.rename("{SITE}/state/new", "{SITE}/state/told.json")
"""

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Machine(Booted):
    """A machine with repository and watched folder on one disk, and a folder for the daemon's own files."""

    def __init__(self, folder, template, settings=""):
        self.repository = folder / "disk" / "repo"
        self.data = folder / "disk" / "data"
        self.data.mkdir(parents=True)
        (folder / "state").mkdir()
        shutil.copytree(template, self.repository)
        (folder / "config.yaml").write_text(CONFIGURATION)
        (folder / "tell.py").write_text(TELL)
        self.told = folder / "state" / "told.json"
        self._status = folder / "state" / "status.json"
        super().__init__(folder, settings)

    def status(self):
        try:
            return json.loads(self._status.read_text())
        except FileNotFoundError:
            return {}

    def ingested(self, files):
        return self.status().get("counts", {}).get("ingested", 0) >= files

    def has_written(self, path):
        """Try to write as the service would have to."""
        try:
            os.close(os.open(f"/proc/{self.main_pid}/root{path}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            return errno.errorcode[error.errno]
        return "written"


@pytest.fixture
def boot(tmp_path, template):
    """Boot machines, and switch them off in the end."""
    machines = []

    def make(settings=""):
        machines.append(Machine(tmp_path, template, settings))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()


def test_the_service_works_within_what_the_unit_leaves(boot):
    """A night goes in, by hard links, though the process has no rights and may write to its folders only."""
    machine = boot()
    night = write(machine.data)
    machine.wait_for(lambda: machine.ingested(4), "the night")

    assert stored(machine.repository) == wanted(night)
    raws = list((machine.repository / "PFS/raw/all").rglob("*.fits"))
    assert [(raw.is_symlink(), raw.stat().st_nlink) for raw in raws] == [(False, 2)] * 3
    places = ("/etc", "/usr", SITE, SITE / "disk", SITE / "state")
    assert [machine.has_written(f"{place}/new") for place in places] == ["EROFS"] * 3 + ["written"] * 2
    status = dict(
        line.split(":\t")
        for line in Path(f"/proc/{machine.main_pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert [int(status[rights], 16) for rights in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 4
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")

    # A program that is to tell others may open connections, and write where the service may; nothing else.
    machine.wait_for(machine.told.exists, "somebody to be told")
    told = json.loads(machine.told.read_text())
    assert (told["kind"], told["last"]["visit"]) == ("visits", night.visits[0].visit)
    assert {family: told[family] for family in told if family.startswith("AF_")} == {
        "AF_UNIX": "open",
        "AF_INET": "open",
        "AF_INET6": "open",
        "AF_NETLINK": errno.EAFNOSUPPORT,
    }
    # Nobody listens there: the kernel was asked, and not the filter.
    machine.wait_for(lambda: machine.status()["hooks"]["webhook"]["failures"], "the server to be missed")
    assert machine.status()["hooks"]["webhook"]["reason"] == "it cannot be reached: Connection refused"


def test_a_loop_that_hangs_is_restarted(boot):
    """systemd's watchdog ends a process whose loop does not turn, and the next one goes on."""
    machine = boot("WatchdogSec=3s\nRestartSec=100ms\nLimitCORE=0")
    first = write(machine.data)
    machine.wait_for(lambda: machine.ingested(4), "the first visit")
    hanging = machine.main_pid
    os.kill(hanging, signal.SIGSTOP)

    machine.wait_for(lambda: machine.main_pid not in {hanging, None}, "another process")

    second = write(machine.data, first_visit=2000)
    machine.wait_for(lambda: machine.ingested(8), "the second visit")
    assert stored(machine.repository) == sorted(wanted(first, second))
