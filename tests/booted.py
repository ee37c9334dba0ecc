"""A machine that has just been booted: systemd itself, in namespaces of its own, with a unit of ours."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from pfs_ingestd.config import Config
from pfs_ingestd.install import Place, install, this_program

__all__ = ["SITE", "Booted", "why_not"]

SITE = Path("/mnt/site")
"""Where the folder of a machine is on that machine."""

_SYSTEMD = Path("/lib/systemd/systemd")
_UNSHARE = "unshare --pid --mount --cgroup --ipc --uts --net --fork --kill-child"
_PATIENCE = 200.0

# Nothing of this reaches the machine that the tests run on: what systemd may write to is in memory, and the
# settings of the kernel and /etc are read-only. Mounts are shared in the end, as those of a machine are: so a
# service sees what is mounted later.
_BOOT = """
set -e
echo $$ > "$1/cgroup.procs"
exec {unshare} sh -ec '
    mount --make-rprivate /
    mount -t proc proc /proc
    for fixed in /proc/sys /etc; do mount --bind $fixed $fixed; mount -o remount,bind,ro $fixed; done
    umount -R -l /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for fresh in /run /mnt /var/lib /var/log; do mount -t tmpfs tmpfs $fresh; done
    mkdir {site}
    mount --bind "$2" {site}
    mount --make-rshared /
    exec env -i PATH="$PATH" container=booted SYSTEMD_UNIT_PATH={site}/units:{site}/root/etc/systemd/system \\
        {systemd} --system --unit=booted.target --log-target=null --show-status=no
' sh "$@"
"""
_TARGETS: Mapping[str, str] = {
    "booted": "[Unit]\nDefaultDependencies=no\nWants=pfs-ingestd.service\n",
    "basic": "[Unit]\nDefaultDependencies=no\n",
    "sysinit": "[Unit]\nDefaultDependencies=no\n",
    "shutdown": "[Unit]\nDefaultDependencies=no\n",
}


def why_not() -> str:
    """Say why no machine can be booted here; empty if one can."""
    if not _SYSTEMD.exists():
        return "systemd is not installed"
    if Path(sys.prefix).is_relative_to("/tmp"):  # noqa: S108 (nothing is put there)
        return "the program lies below /tmp, of which a service has its own"
    trial = f"{_UNSHARE} sh -c 'mount --make-rprivate / && mount -t cgroup2 cgroup2 /mnt'"
    if subprocess.run(trial, shell=True, capture_output=True, check=False).returncode:  # noqa: S602 (our own)
        return "no namespaces of one's own: it takes root"
    return ""


class Booted:
    """A machine whose one service is ours, installed as people install it, but as root without rights.

    Parameters
    ----------
    folder : `~pathlib.Path`
        What the machine sees as `SITE`. It holds ``config.yaml``, and gets the output of the service.
    settings : `str`
        What is changed in section ``[Service]`` of the unit by a drop-in.
    """

    def __init__(self, folder: Path, settings: str = "") -> None:
        self._folder = folder
        units = folder / "units"
        (units / "pfs-ingestd.service.d").mkdir(parents=True)
        for name, text in _TARGETS.items():
            (units / f"{name}.target").write_text(text)
        # There is no journal.
        config_file = SITE / "config.yaml"
        content = yaml.safe_load((folder / config_file.name).read_text())
        install(
            Place(folder / "root", dry_run=False),
            Config.model_validate(content, context={"folder": SITE}),
            config_file=config_file,
            program=this_program(),
            user="root",
            group="root",
            prefix=Path("/usr/local"),
        )
        output = f"StandardOutput=append:{SITE}/output\nStandardError=inherit\n"
        (units / "pfs-ingestd.service.d" / "test.conf").write_text(f"[Service]\n{output}{settings}\n")
        self._cgroup = _hierarchy() / f"booted-{os.getpid()}-{time.monotonic_ns()}"
        self._cgroup.mkdir()
        boot = _BOOT.format(unshare=_UNSHARE, site=SITE, systemd=_SYSTEMD)
        self._console = folder / "console"
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(  # noqa: S603 (our own script)
                ["/bin/sh", "-c", boot, "sh", self._cgroup, folder],
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    @property
    def main_pid(self) -> int | None:
        """The process of the service, by its number on the machine that the tests run on."""
        service = self._cgroup / "system.slice" / "pfs-ingestd.service" / "cgroup.procs"
        try:
            pids = service.read_text().split()
        except OSError:
            return None
        return int(pids[0]) if pids else None

    @property
    def output(self) -> str:
        """What service and machine have printed."""
        files = [self._folder / "output", self._console]
        return "".join(file.read_text() for file in files if file.exists())

    def wait_for(self, reached: Callable[[], object], what: str) -> None:
        """Wait until something is so, and fail if the machine halts before, or after unreasonably long."""
        end = time.monotonic() + _PATIENCE
        while not reached():
            assert self._process.poll() is None, f"halted: {self.output}"
            assert time.monotonic() < end, f"waited {_PATIENCE:g} s in vain for {what}: {self.output}"
            time.sleep(0.02)

    def close(self) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait()
        end = time.monotonic() + _PATIENCE
        for folder in sorted(self._cgroup.rglob("*"), reverse=True):
            if folder.is_dir():
                self._remove(folder, end)
        self._remove(self._cgroup, end)

    @staticmethod
    def _remove(cgroup: Path, end: float) -> None:
        """Remove a control group as soon as the last of its processes is gone."""
        while True:
            try:
                cgroup.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return


def _hierarchy() -> Path:
    """Find where control groups of version 2 are made."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise LookupError("the kernel has no control groups of version 2 mounted")
