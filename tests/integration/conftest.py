"""What the tests of the repository share: an empty one, and a way to open it."""

import pytest

import older_butler  # noqa: F401 (for what it does)
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
