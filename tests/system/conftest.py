"""A site for each test: a fresh repository, an empty watched folder, and no daemon left behind."""

import fcntl
import os

import pytest

from system.service import Site, pfs_ingestd


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Make a repository with the real command, once for all worker processes; tests copy it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    repository = shared / "template" / "repo"
    with (shared / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not repository.parent.exists():
            repository.parent.mkdir()
            done = pfs_ingestd("init", repository)
            assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture
def site(tmp_path, template):
    """Have a repository, a watched folder and a configuration."""
    site = Site(tmp_path, template)
    yield site
    site.close()
