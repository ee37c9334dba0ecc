"""docs/data-access.md, as it is read and as it runs."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pages import as_it_runs, comparable

PAGE = Path(__file__).parents[2] / "docs" / "data-access.md"


def test_the_page_shows_what_one_gets(tmp_path):
    """What is typed on the page gives what the page shows; `python tests/pages.py PAGE` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert comparable(page) == comparable(as_it_runs(page, tmp_path))


def test_what_differs_from_the_page_is_seen(tmp_path):
    """What commands print and what Python answers takes the place of what the page says."""
    page = (
        "```yaml\n# a.yaml\nkey: value\n```\n"
        "```console\n$ pfs-ingestd simulate night \\\n    --visits 0\nanother\n```\n"
        "```pycon\n>>> 1 / 2\n5\n>>> 1 / 0\n```\n"
    )
    assert as_it_runs(page, tmp_path) == (
        "```yaml\n# a.yaml\nkey: value\n```\n"
        "```console\n$ pfs-ingestd simulate night \\\n    --visits 0\n"
        "0 raws and 0 pfsConfigs of 0 visits (and 1 pfsConfig of a convergence without raws) in night\n```\n"
        "```pycon\n>>> 1 / 2\n0.5\n>>> 1 / 0\n"
        "Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero\n```\n"
    )
    assert (tmp_path / "a.yaml").read_text() == "# a.yaml\nkey: value\n"


def test_a_command_that_fails_is_no_example(tmp_path):
    """A page with a command that fails cannot be run."""
    with pytest.raises(AssertionError, match="no-such-command"):
        as_it_runs("```console\n$ butler no-such-command\n```\n", tmp_path)


def test_only_ids_that_are_drawn_may_differ():
    """Two pages are the same if they differ in random ids, not if they differ in those of raws."""
    drawn, other, raw, another = (
        "d49cfb67-6a83-4b2c",
        "01a2053b-3c46-73a9",
        "4df0b3f1-5099-5c29",
        "040b851d-ac72-5896",
    )
    ids = [f"id {number}-be28-cf84bbc78d3e" for number in (drawn, other, raw, another)]
    assert [comparable(a) == comparable(b) for a, b in pairwise(ids)] == [True, False, False]


def test_a_wrong_detector_beside_arm_and_spectrograph_is_not_looked_at(full_folder):
    """A detector given in addition, right or wrong, changes nothing."""
    butler = full_folder.butler()
    found = [
        butler.find_dataset("raw", exposure=1000, arm="r", spectrograph=1, **detector).dataId["detector"]
        for detector in ({}, {"detector": 1}, {"detector": 2})
    ]
    assert found == [1, 1, 1]


def test_a_query_that_finds_nothing_says_why(full_folder):
    """`query-datasets` without a result fails, and names its error."""
    where = "instrument='PFS' AND exposure=1001 AND arm='n'"
    ran = full_folder.type(
        f'butler query-datasets repository raw --collections PFS/raw/all --where "{where}"'
    )
    assert ran.exit_code == 1
    assert "EmptyQueryResultError" in ran.output


def test_ranges_of_calibrations_do_not_overlap(full_folder):
    """A calibration is not certified for a time for which another one is, and nothing is changed."""
    full_folder.do("butler register-dataset-type repository bias NumpyArray instrument arm --is-calibration")
    certify = "butler certify-calibrations repository u/alice/{} PFS/calib bias --begin-date {} --end-date {}"
    for run in "ab":
        writer = full_folder.butler(run=f"u/alice/{run}")
        writer.put(np.zeros(1), "bias", instrument="PFS", arm="r", spectrograph=1)

    full_folder.do(certify.format("a", "2026-02-01T00:00:00", "2026-03-01T00:00:00"))
    ran = full_folder.type(certify.format("b", "2026-02-28T00:00:00", "2026-04-01T00:00:00"))

    assert ran.exit_code == 1
    assert "ConflictingDefinitionError" in ran.output
    certified = full_folder.butler().registry.queryDatasetAssociations("bias", "PFS/calib")
    assert [association.ref.run for association in certified] == ["u/alice/a"]


def test_what_was_purged_comes_back_under_its_id(full_folder):
    """A raw that was purged is out of all collections; `retry` brings it back into its RUN, with its id."""
    folder = full_folder
    query = "butler query-datasets repository raw --collections {}"
    folder.do("pfs-ingestd run -c ingestd.yaml --once")
    folder.do("butler associate repository u/alice/mine --dataset-type raw --collections PFS/raw/all")
    before = folder.table(query.format("PFS/raw/all"))
    where = "instrument='PFS' AND exposure=1000 AND arm='n'"
    folder.do(
        "butler prune-datasets repository PFS/raw/all --datasets raw --purge PFS/raw/all --no-confirm"
        f' --where "{where}"'
    )
    assert len(folder.table(query.format("PFS/raw/all"))) == len(before) - 1

    retried = folder.do("pfs-ingestd retry -c ingestd.yaml --state ingested --visit 1000")
    folder.do("pfs-ingestd run -c ingestd.yaml --once")

    assert retried == "4 files to be tried again\n"
    assert folder.table(query.format("PFS/raw/all")) == before
    assert len(folder.table(query.format("u/alice/mine"))) == len(before) - 1
    assert {(1000, arm, 1) for arm in "bnr"} <= set(folder.held())


def test_a_pruned_file_that_was_moved_is_gone(new_folder):
    """With the transfer mode `move` nothing is left to retry, which is told; the record stays as it is."""
    folder = new_folder
    configuration = folder.path / "ingestd.yaml"
    configuration.write_text(configuration.read_text() + "ingest: {transfer: move}\n")
    folder.do("pfs-ingestd run -c ingestd.yaml --once")
    raw = "night/2026-03-21/ramps/PFSB00100013.fits"

    ran = folder.type(f"pfs-ingestd retry -c ingestd.yaml {raw}")

    assert ran.exit_code == 1
    assert ran.output == (
        f"error [vanished]: nothing is left on disk of {folder.path / raw}: it was ingested\n"
        "  bring the file back, then retry it\n"
        "0 files to be tried again\n"
    )
    assert raw in folder.do("pfs-ingestd list -c ingestd.yaml --state ingested")
