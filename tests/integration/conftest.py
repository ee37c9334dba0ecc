"""What the tests of the repository share: an empty one, and a way to open it."""

import pytest

import older_butler  # noqa: F401 (for what it does)
from repository_files import a_repository, opener_of


@pytest.fixture
def root(tmp_path):
    """Have an empty repository."""
    return a_repository(tmp_path / "repo")


@pytest.fixture
def incoming(tmp_path):
    """Have a folder for files that arrive."""
    return tmp_path / "incoming"


@pytest.fixture
def opened(root):
    """Open the repository with any transfer, any number of times."""
    with opener_of(root) as opener:
        yield opener
