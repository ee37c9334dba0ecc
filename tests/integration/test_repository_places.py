"""Where a repository is written to, as its configuration says."""

import sys
from pathlib import Path

import pytest
import yaml

from pfs_ingestd.adapters.repository import Places, places_of
from pfs_ingestd.errors import Fatal


@pytest.fixture
def repository(tmp_path):
    """Have the folder of a repository."""
    return tmp_path / "repository"


def configure(repository, datastore, registry):
    repository.mkdir()
    content = {"datastore": {"root": datastore}, "registry": {"db": registry}}
    (repository / "butler.yaml").write_text(yaml.safe_dump(content))


def test_a_usual_repository_is_one_folder(repository):
    """Datastore and registry lie in the folder itself, whether it is named or its configuration."""
    configure(repository, "<butlerRoot>", "sqlite:///<butlerRoot>/gen3.sqlite3")
    expected = Places(datastore=repository, registry=repository)
    assert [places_of(str(path)) for path in (repository, repository / "butler.yaml")] == [expected] * 2


def test_datastore_and_registry_may_lie_elsewhere(repository):
    """Each is found where the configuration says."""
    configure(repository, "file:///data/store", "sqlite:////data/registry/gen3.sqlite3")
    assert places_of(str(repository)) == Places(Path("/data/store"), Path("/data/registry"))


def test_what_is_on_another_machine_is_no_folder_here(repository):
    """A server's database and a bucket are not written to by way of the file system."""
    configure(repository, "unheard-of://store.example/pfs", "postgresql://ingest@db.example/pfs")
    assert places_of(str(repository)) == Places(datastore=None, registry=None)


def test_a_repository_that_is_still_to_be_made_will_be_one_folder(repository):
    """Nothing has to be there."""
    assert places_of(str(repository)) == Places(datastore=repository, registry=repository)


def test_a_package_that_is_missing_is_named(monkeypatch):
    """A repository on another machine may need packages that are not installed: that is no bug of ours."""
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(Fatal, match=r"https://store\.example/pfs cannot be read here: .*requests"):
        places_of("https://store.example/pfs")
