"""The real daemon, and Butler's own command, with the registry in PostgreSQL and the datastore in S3."""

import pytest

from repository_files import get
from served import a_served_repository
from system.service import Site, butler, pfs_ingestd, stored, wanted, write


@pytest.fixture
def site(tmp_path, shared_folder, postgres, at_s3):
    site = Site(tmp_path, a_served_repository(tmp_path / "template", shared_folder, postgres, at_s3))
    yield site
    site.close()


def test_a_night_is_taken_in_and_read_back(site):
    """Visits that arrive while a daemon is killed are stored once each, and found and read as users do."""
    site.configure(ingest={"transfer": "move"})
    first, second = (
        write(site.folder / "same", visits=visits, first_visit=visit)
        for visits, visit in ((1, 1000), (2, 2000))
    )
    write(site.data, visits=1, first_visit=1000)
    victim = site.start()
    victim.wait_for(lambda: victim.happened("file.ingested"), "the first file")
    victim.kill()
    service = site.start().running()
    write(site.data, visits=2, first_visit=2000)
    service.wait_for_counts(ingested=11, waiting=2)

    assert service.stop() == 0
    assert wanted(first, second) == stored(site.repository)
    assert [path.name for path in site.data.rglob("PFS?*.fits")] == []
    found = butler("query-datasets", site.repository, "raw", "--collections", "PFS/raw/all")
    assert [line.split()[:2] for line in found.splitlines()].count(["raw", "PFS/raw/all"]) == 8
    visit = first.visits[0].visit
    camera = {"exposure": visit, "arm": "b", "spectrograph": 1}
    raw = get(site.repository, **camera)
    assert raw.getImage().shape == get(site.repository, "raw.image", **camera).shape
    assert get(site.repository, "raw.metadata", **camera)["W_VISIT"] == visit


def test_links_end_the_daemon_at_once(site):
    """A transfer that a store cannot do is told in one line, with what to do, before anything is tried."""
    write(site.data)
    done = site.run("run", "--once")
    status = site.status()

    assert done.returncode == 78
    assert "the transfer mode link needs a datastore on this machine" in status["reason"]
    assert "ingest.transfer" in status["reason"]
    assert site.counts()["ingested"] == 0


def test_init_tells_what_is_wrong_without_a_secret(tmp_path, bucket):
    """A URL with a password makes no repository, and is not repeated."""
    done = pfs_ingestd(
        "init",
        tmp_path / "new",
        "--registry",
        "postgresql://me:hunter2@db.example/pfs",
        "--datastore",
        bucket,
    )
    assert done.returncode == 78
    assert "hunter2" not in done.stdout + done.stderr
    assert "~/.pgpass" in done.stderr
    assert not (tmp_path / "new" / "butler.yaml").exists()
