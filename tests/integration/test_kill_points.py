"""A daemon dies at every point of one ingest, and the next one makes good what it left."""

import pytest

from kill_points import inflict


@pytest.mark.parametrize(
    ("transfer", "beside", "share"),
    [
        ("link", False, (0, 2)),
        ("link", False, (1, 2)),
        ("copy", True, (0, 2)),
        ("copy", True, (1, 2)),
        ("move", True, (0, 1)),
    ],
)
def test_f21_f22_f24_a_death_at_any_point_costs_nothing(transfer, beside, share):
    """Wherever the daemon dies, the next one stores each file once; nothing is stuck or left lying about.

    So it is with files that are stored at once, and with those that are copied beside the loop before.
    """
    report = inflict(transfer, beside=beside, share=share, begun=beside)

    assert report.damage == []
    assert report.deaths > 20 // share[1]


def test_f21_a_death_that_takes_the_inbox_along_costs_nothing():
    """What `move` has done or not can be told from disk and repository alone."""
    report = inflict("move", lose_inbox=True, begun=True)

    assert report.damage == []
    assert report.deaths > 20


@pytest.mark.parametrize(("transfer", "share"), [("move", (0, 3)), ("copy", (1, 3))])
def test_a_death_at_any_point_costs_nothing_on_servers_either(postgres, s3, transfer, share):
    """With the registry in PostgreSQL and the datastore in S3 it is the same; `make soak` does all points."""
    report = inflict(transfer, beside=True, servers=(postgres.place, s3.url), share=share)

    assert report.damage == []
    assert report.deaths > 3
