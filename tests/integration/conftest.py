"""What these tests share: an empty repository and ways to open it, and a clock for whole daemons."""

from datetime import UTC, datetime

import pytest

import older_butler  # noqa: F401 (for what it does)
from fakes import FakeClock
from pfs_ingestd.adapters.repository import ButlerRepository
from repository_files import a_repository, opener_of
from served import a_served_repository


@pytest.fixture
def root(request):
    """Have an empty repository: on a disk, unless the test says on what."""
    return request.getfixturevalue(getattr(request, "param", "on_disk"))


@pytest.fixture
def on_disk(tmp_path):
    """Have an empty repository with its registry in SQLite, and its datastore in a folder."""
    return a_repository(tmp_path / "repo")


@pytest.fixture
def on_servers(tmp_path, shared_folder, postgres, at_s3):
    """Have an empty repository with its registry in PostgreSQL, and its datastore in S3."""
    return a_served_repository(tmp_path / "repo", shared_folder, postgres, at_s3)


@pytest.fixture
def incoming(tmp_path):
    """Have a folder for files that arrive."""
    return tmp_path / "incoming"


@pytest.fixture
def opened(root):
    """Open the repository with any transfer, any number of times."""
    with opener_of(root) as opener:
        yield opener


@pytest.fixture
def repository(root, request):
    """Have a repository that copies and compares nothing itself, or as much as a test says."""
    transfer, inline_bytes = getattr(request, "param", ("copy", 0))
    repository = ButlerRepository(
        root, transfer=transfer, runs={}, instrument="PFS", inline_bytes=inline_bytes
    )
    yield repository
    repository.close()


@pytest.fixture
def clock(monkeypatch):
    """Have a clock that the daemon goes by, and that stands still."""
    clock = FakeClock(datetime.now(UTC))
    monkeypatch.setattr("pfs_ingestd.wiring.SystemClock", lambda: clock)
    return clock
