"""A site for each test: a fresh repository, an empty watched folder, and no daemon left behind."""

import pytest

from once import made_once
from system.service import Site, pfs_ingestd


@pytest.fixture(scope="session")
def template(shared_folder):
    """Make a repository with the real command, once for all worker processes; tests copy it."""

    def make(place):
        done = pfs_ingestd("init", place)
        assert done.returncode == 0, done.stderr

    return made_once(shared_folder, "template", make)


@pytest.fixture
def site(tmp_path, template):
    """Have a repository, a watched folder and a configuration."""
    site = Site(tmp_path, template)
    yield site
    site.close()
