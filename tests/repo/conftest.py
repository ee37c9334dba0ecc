"""A shell to type commands into, and folders to type them in."""

import shutil
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from once import made_once
from shell import Ran, type_line

CONFIGURATION = """\
repository: repository
watch: {raw: night, pfsConfig: night, settle: 100ms}
state: {database: inbox.db}
status: {file: status.json}
log: {file: daemon.log}
"""


@pytest.fixture(scope="session")
def fresh(shared_folder):
    """Have a night and a new repository, to be copied."""

    def make(folder):
        folder.mkdir()
        (folder / "ingestd.yaml").write_text(CONFIGURATION)
        _succeed("pfs-ingestd simulate night --visits 3 --cameras b1,r1,n1 --small", folder)
        _succeed("pfs-ingestd init repository", folder)

    return made_once(shared_folder, "fresh", make)


@pytest.fixture(scope="session")
def exposed(fresh, shared_folder):
    """Have the same with the raws of the night in the repository, to be copied."""
    return made_once(
        shared_folder,
        "exposed",
        lambda folder: _succeed("pfs-ingestd ingest-raws repository night", _copy(fresh, folder)),
    )


@pytest.fixture(scope="session")
def filled(exposed, shared_folder):
    """Have the same with the pfsConfigs in it, too, to be copied."""
    command = "pfs-ingestd ingest-pfs-config repository PFS PFS/raw/pfsConfig"
    return made_once(
        shared_folder,
        "filled",
        lambda folder: _succeed(f"{command} 'night/*/pfsConfig/*-00100[0-2].fits'", _copy(exposed, folder)),
    )


@pytest.fixture
def new_folder(fresh, tmp_path):
    """Work in a folder with a night and a new repository."""
    with Folder(_copy(fresh, tmp_path / "folder")) as folder:
        yield folder


@pytest.fixture
def raws_folder(exposed, tmp_path):
    """Work in a folder with a night and a repository that holds its raws."""
    with Folder(_copy(exposed, tmp_path / "folder")) as folder:
        yield folder


@pytest.fixture
def full_folder(filled, tmp_path):
    """Work in a folder with a night and a repository that holds it."""
    with Folder(_copy(filled, tmp_path / "folder")) as folder:
        yield folder


class Folder(ExitStack):
    """A folder that a person has gone to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.enter_context(chdir(path))

    def type(self, line: str) -> Ran:
        """Run a command."""
        return type_line(line, self.path)

    def do(self, line: str) -> str:
        """Run a command that succeeds, and get what it prints."""
        return _succeed(line, self.path)

    def table(self, line: str) -> list[list[str]]:
        """Run a command that prints tables, and get the words of their lines, those at their heads too."""
        return [
            words for text in self.do(line).splitlines() if (words := text.split()) and "----" not in text
        ]

    def butler(self, *, collections: str = "PFS/defaults", **options: object) -> Butler:
        """Open the repository."""
        return self.enter_context(Butler.from_config("repository", collections=collections, **options))

    def held(self, name: str = "raw", collections: str = "PFS/defaults") -> list[tuple[object, ...]]:
        """Tell exposure, arm and spectrograph of each dataset that can be read."""
        butler = self.butler(collections=collections)
        keys = ("exposure", "arm", "spectrograph") if name == "raw" else ("exposure",)
        refs = butler.query_datasets(name, explain=False, limit=None)
        return sorted(tuple(ref.dataId[key] for key in keys) for ref in refs if butler.stored(ref))


def _succeed(line: str, folder: Path) -> str:
    ran = type_line(line, folder)
    assert ran.exit_code == 0, f"{line}\n{ran.output}"
    return ran.output


def _copy(folder: Path, to: Path) -> Path:
    """Copy a folder; files of data, which nothing writes to, are linked."""

    def copy(source: str, target: str) -> None:
        if source.endswith(".fits"):
            Path(target).hardlink_to(source)
        else:
            shutil.copy2(source, target)

    return shutil.copytree(folder, to, copy_function=copy)
