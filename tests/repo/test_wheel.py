"""The package as it is installed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "daemon" / "pfs_ingestd"
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the sources, and unpack it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PACKAGE, source / "daemon" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, "-c", BUILD], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(source / done.stdout.splitlines()[-1]) as archive:
        archive.extractall(source / "unpacked")
    return source / "unpacked"


def test_the_wheel_is_complete(wheel):
    """All that is in the package is in the wheel: seed, unit, manual page, completion, types."""

    def files(folder):
        return {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }

    assert files(wheel / PACKAGE.name) == files(PACKAGE)


@pytest.mark.skipif(
    Path(sys.prefix).is_relative_to("/tmp"),  # noqa: S108 (nothing is put there)
    reason="the program lies where no service can see it",
)
def test_what_was_installed_from_the_wheel_installs_the_service(wheel, tmp_path):
    """The program needs nothing that is in the sources only."""
    command = [sys.executable, "-m", "pfs_ingestd", "install-service", "--root", tmp_path, "--dry-run"]
    config = PROJECT / "config" / "summit.yaml"
    done = subprocess.run(  # noqa: S603 (our own command)
        [*command, "-c", config],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.partition("\n\n")[0].splitlines()) == 9
