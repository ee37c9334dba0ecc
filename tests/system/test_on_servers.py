"""The real daemon, and Butler's own command, with the registry in PostgreSQL and the datastore in S3."""

import pytest

from pfs_ingestd.doctor.findings import Level
from pfs_ingestd.doctor.stores import repository_findings
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


def test_links_are_refused(site):
    """A transfer that a store cannot do is told by the start, check-config and doctor alike."""
    told = "the transfer mode link needs a datastore on this machine"
    done, checked = site.run("run", "--once"), site.run("check-config")
    examined = list(repository_findings(site.config, as_service=True))

    assert [done.returncode, checked.returncode] == [78, 78]
    assert f"ingest.transfer: {told}" in done.stderr
    assert f"ingest.transfer: {told}" in checked.stdout
    assert [told in found.text for found in examined if found.level is Level.ERROR] == [True]


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
