"""Somebody ingests by hand what the daemon is ingesting."""

import pytest

from system.service import pfs_ingestd, stored, wanted, write


@pytest.mark.parametrize("transfer", ["link", "copy"])
def test_f35_a_person_may_ingest_beside_the_daemon(site, transfer):
    """Both finish, and every file is stored once."""
    site.configure(ingest={"transfer": transfer, "batch_files": 2})
    night = write(site.data, visits=10)
    service = site.start()

    done = pfs_ingestd("ingest-raws", site.repository, site.data, "--transfer", "copy")
    service.wait_for_counts(
        ingested=len(night.raws) + len(night.configs), waiting=len(night.convergence_configs)
    )

    assert (done.returncode, service.stop()) == (0, 0)
    assert wanted(night) == stored(site.repository)
