"""The real commands on real folders: start them, wait for what they do, compare with Butler itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml
from lsst.daf.butler import Butler

import forked
import older_butler  # noqa: F401 (for what it does)
from pfs_ingestd.config import load_config
from pfs_ingestd.desk import count_files, select_files
from pfs_ingestd.records import State
from pfs_ingestd.simulate import Night, NightPlan, write_night
from repository_files import artifacts_of

__all__ = [
    "ALL_RUNS",
    "FEW_CAMERAS",
    "PATIENCE",
    "Service",
    "Site",
    "burst",
    "butler",
    "content_of",
    "counted",
    "fingerprints",
    "interpreted",
    "json_lines",
    "pfs_ingestd",
    "stored",
    "wait_for",
    "wanted",
    "write",
]

FEW_CAMERAS = ("b1", "r1", "n1")
"""Enough for every shape of file: CCD, ramp, and m in place of r."""

ALL_RUNS = "PFS/raw/*"
PATIENCE = 200.0
"""Seconds after which something that takes one or two has failed, on however busy a machine."""

_SETTINGS = ("PFS_INGESTD__", "METADATA_CORRECTIONS_PATH", "NOTIFY_SOCKET", "WATCHDOG_")


_WRITERS = 4
_BURST = """
import os, sys
folder, files = sys.argv[1], int(sys.argv[2])
for number in range(files):
    os.close(os.open(f"{folder}/{os.getpid()}-{number}", os.O_CREAT | os.O_WRONLY))
"""


def burst(folder: Path, files: int) -> None:
    """Let four processes make so many files at once."""
    command = [sys.executable, "-S", "-c", _BURST, folder, str(files // _WRITERS)]
    writers = [subprocess.Popen(command) for _ in range(_WRITERS)]  # noqa: S603 (our own command)
    assert [writer.wait() for writer in writers] == [0] * _WRITERS


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Take the environment of the tests without what would change the daemon's behaviour."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)} | extra


def wait_for(reached: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait until something is so, and fail if that takes unreasonably long."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.02)


def pfs_ingestd(
    *arguments: object, cwd: Path | None = None, umask: int | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    command = ("pfs-ingestd", *arguments)
    return forked.run(command, timeout=PATIENCE, cwd=cwd, umask=umask, environment=_environment(environment))


def interpreted(*arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in an interpreter that is started for it."""
    return subprocess.run(  # noqa: S603 (our own command)
        [sys.executable, "-m", "pfs_ingestd", *map(str, arguments)],
        cwd=cwd,
        env=_environment({}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def butler(*arguments: object) -> str:
    """Run Butler's own command, and get what it prints."""
    done = forked.run(("butler", *arguments), timeout=PATIENCE, environment=_environment({}))
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, *, visits: int = 1, cameras: Sequence[str] = FEW_CAMERAS, **plan: Any) -> Night:
    """Write a small simulated night, and the convergence that ends it."""
    return write_night(folder, NightPlan(visits=visits, cameras=tuple(cameras), small=True, **plan))


def fingerprints(folder: Path) -> dict[Path, tuple[str, int]]:
    """Tell the content and the mode of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): (_digest(path.read_bytes()), path.lstat().st_mode) for path in files}


def json_lines(text: str) -> list[dict[str, Any]]:
    """Read one JSON object from each line."""
    return [json.loads(line) for line in text.splitlines()]


def counted(**states: int) -> dict[State, int]:
    """Spell out how many files are in each state; none in those not named."""
    return dict.fromkeys(State, 0) | {State(name): count for name, count in states.items()}


Content = tuple[str, int, str, str]


def stored(repository: Path) -> list[Content]:
    """Tell what Butler holds: dataset type, exposure, camera and digest of each dataset, in every run.

    Also see that the datastore holds nothing else: no artifact that is not registered, no temporary file.
    """
    with Butler.from_config(str(repository)) as reader:
        refs = [
            ref
            for name in ("raw", "pfsConfig")
            for ref in reader.query_datasets(
                name, collections=ALL_RUNS, find_first=False, limit=None, explain=False
            )
        ]
        places = [reader.getURI(ref) for ref in refs]
        (datastore,) = reader.get_datastore_roots().values()
    assert set(artifacts_of(repository)) == {place for place in places if place.relative_to(datastore)}
    return sorted(
        _content(
            place.read(),
            ref.datasetType.name,
            ref.dataId["exposure"],
            f"{ref.dataId['arm']}{ref.dataId['spectrograph']}" if "arm" in ref.dataId else "",
        )
        for ref, place in zip(refs, places, strict=True)
    )


def wanted(*nights: Night) -> list[Content]:
    """Tell what Butler should hold of some nights, in the form of `stored`."""
    return sorted(
        content
        for night in nights
        for visit in night.visits
        if visit.cameras
        for content in (
            content_of(night.directory / visit.config, "pfsConfig", visit.visit, ""),
            *(
                content_of(night.directory / visit.raw(camera), "raw", visit.visit, camera)
                for camera in visit.cameras
            ),
        )
    )


def content_of(path: Path, dataset_type: str, exposure: int, camera: str) -> Content:
    """Describe a file that is, or should be, stored as a dataset."""
    return _content(path.read_bytes(), dataset_type, exposure, camera)


def _content(content: bytes, dataset_type: str, exposure: int, camera: str) -> Content:
    return (dataset_type, exposure, camera, _digest(content))


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


class Service:
    """A daemon that runs, or ran.

    Parameters
    ----------
    site : `Site`
        Where it was started.
    process : `forked.Process` or `subprocess.Popen`
        The process.
    output : `~pathlib.Path`
        What it prints.
    """

    def __init__(
        self, site: "Site", process: "forked.Process | subprocess.Popen[bytes]", output: Path
    ) -> None:
        self._site = site
        self._output = output
        self.process = process

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has logged so far, in whole lines."""
        whole, _, _ = self._output.read_text().rpartition("\n")
        return json_lines(whole)

    def happened(self, name: str) -> bool:
        """Say whether it has logged an event."""
        return any(event["event"] == name for event in self.events)

    def wait_for(self, reached: Callable[[], object], what: str) -> None:
        """Wait until something is so, and fail if the daemon ends before."""

        def reached_alive() -> object:
            found = reached()
            assert found or self.process.poll() is None, f"ended: {self._output.read_text()}"
            return found

        wait_for(reached_alive, what)

    def wait_for_counts(self, **states: int) -> None:
        """Wait until the inbox has so many files in each of these states, and none in the others."""
        self.running()
        expected = counted(**states)
        self.wait_for(lambda: self._site.counts() == expected, f"{states}")

    def running(self) -> "Service":
        """Wait until the first scan is done."""
        self.wait_for(lambda: self._site.status().get("pid") == self.process.pid, "its status")
        self.wait_for(lambda: self._site.status()["state"] in {"running", "degraded"}, "the first scan")
        return self

    def stop(self) -> int:
        """Ask it to end, as systemd does; tell its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends by itself; tell its exit code."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


class Site:
    """A repository, a watched folder and a configuration, and the daemons that ran there.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where everything is.
    template : `~pathlib.Path`
        A repository to copy.
    """

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder = folder
        self.repository = folder / "repo"
        self.data = folder / "data"
        self.config_file = folder / "config.yaml"
        self.status_file = folder / "status.json"
        self._services: list[Service] = []
        self.data.mkdir()
        shutil.copytree(template, self.repository)
        self.configure()

    def configure(self, *, watch: Mapping[str, Any] = {}, ingest: Mapping[str, Any] = {}) -> None:
        """Write the configuration, with some settings other than those that suit most tests."""
        content = {
            "repository": "repo",
            "watch": {"raw": "data", "pfsConfig": "data", "settle": "200ms", "rescan": "300ms", **watch},
            "ingest": dict(ingest),
            "state": {"database": "inbox.db"},
            "status": {"file": "status.json", "board": "board.html"},
        }
        self.config_file.write_text(yaml.safe_dump(content))
        self.config = load_config(self.config_file, {})

    def start(self, *options: str, command: str = "run", **environment: str) -> Service:
        """Start the daemon, or another command that stays."""
        line = ("pfs-ingestd", command, "-c", self.config_file, *options)
        output = self._output()
        return self._started(forked.start(line, output, environment=_environment(environment)), output)

    def start_interpreter(
        self, *options: str, command: str = "run", within: Sequence[str] = (), **environment: str
    ) -> Service:
        """Start it in an interpreter that is started for it, within what another program makes."""
        output = self._output()
        with output.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                [*within, sys.executable, "-m", "pfs_ingestd", command, "-c", self.config_file, *options],
                env=_environment(environment),
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        return self._started(process, output)

    def _output(self) -> Path:
        path = self.folder / f"output-{len(self._services)}"
        path.touch()
        return path

    def _started(self, process: "forked.Process | subprocess.Popen[bytes]", output: Path) -> Service:
        service = Service(self, process, output)
        self._services.append(service)
        return service

    def run(self, command: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run a command on this configuration to its end."""
        return pfs_ingestd(command, "-c", self.config_file, *arguments)

    def status(self) -> dict[str, Any]:
        """Read the status file; empty if there is none yet."""
        try:
            return json.loads(self.status_file.read_text())
        except FileNotFoundError:
            return {}

    def counts(self) -> dict[State, int]:
        """Count the files of the inbox in each state, beside the daemon."""
        return dict(count_files(self.config))

    def states(self) -> dict[Path, State]:
        """Tell the state of every file of the inbox, by its path below the watched folder."""
        records = select_files(self.config, states=(), visits=())
        return {record.path.relative_to(self.data): record.state for record in records}

    def below(self, paths: Iterable[Path]) -> set[Path]:
        """Write paths as those below the watched folder."""
        return {path.relative_to(self.data) for path in paths}

    def close(self) -> None:
        """End what still runs."""
        for service in self._services:
            service.kill()
