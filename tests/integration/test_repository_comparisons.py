"""`ButlerRepository` and what it does not compare itself: files that take long to read."""

import os
import shutil
from pathlib import Path

import pytest
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import verdicts
from pfs_ingestd.ports import Comparison, Outcome, Stored
from repository_files import (
    ARTIFACT,
    CCD_BYTES,
    EVERYWHERE,
    an_exposure,
    ccd_file,
    compared,
    count,
    raw_dataset,
    results,
    seen,
)


@pytest.fixture
def stored(incoming, opened):
    """Have one raw stored, as a copy; tell its file."""
    path = ccd_file(incoming / "a.fits")
    opened("copy").ingest([an_exposure(12)], [raw_dataset(path)])
    return path


def again(path, content=None):
    """Bring the same file once more, or another one of its size."""
    second = path.with_name("again.fits")
    second.write_bytes(content or path.read_bytes())
    return seen(raw_dataset(second))


def unread(*_args, **_kwargs):
    raise AssertionError("it was read in the loop")


@EVERYWHERE
@pytest.mark.parametrize("same", [True, False])
def test_what_would_take_long_is_to_be_compared(repository, stored, monkeypatch, same):
    """The repository says with what, reads nothing itself, and believes what was found out elsewhere."""
    dataset = again(stored, None if same else bytes(CCD_BYTES))
    with monkeypatch.context() as patch:
        patch.setattr(verdicts, "same_content", unread)
        (outcome,) = repository.ingest([], [dataset])
    assert (outcome.result, ResourcePath(outcome.where).size()) == (Stored.TO_BE_COMPARED, CCD_BYTES)

    known = compared(dataset, outcome)
    monkeypatch.setattr(verdicts, "same_content", unread)
    (end,) = repository.ingest([], [known])
    result = Stored.ALREADY_THERE if same else Stored.CONFLICT
    assert end == Outcome(result, outcome.dataset_id, outcome.where)


def test_what_a_look_can_tell_is_not_to_be_compared(root, repository, stored):
    """The artifact itself, under another name, and a file of another size need not be read."""
    linked = stored.with_name("linked.fits")
    os.link(Path(root, ARTIFACT), linked)
    other = again(stored, bytes(CCD_BYTES + 1))

    outcomes = [*repository.ingest([], [raw_dataset(linked)]), *repository.ingest([], [other])]

    assert results(outcomes) == [Stored.ALREADY_THERE, Stored.CONFLICT]


@pytest.mark.parametrize("repository", [("copy", CCD_BYTES)], indirect=True)
def test_a_little_of_a_batch_is_compared_at_once(incoming, repository, opened):
    """So many bytes as may be copied in the loop may be compared in it, too; the rest waits its turn."""
    files = [ccd_file(incoming / f"{arm}.fits", 12, arm) for arm in "br"]
    opened("copy").ingest(
        [an_exposure(12)], [raw_dataset(path, 12, arm) for path, arm in zip(files, "br", strict=True)]
    )

    outcomes = repository.ingest(
        [], [raw_dataset(path, 12, arm) for path, arm in zip(files, "br", strict=True)]
    )

    assert results(outcomes) == [Stored.ALREADY_THERE, Stored.TO_BE_COMPARED]


def rewrite(path):
    path.write_bytes(bytes(CCD_BYTES))


def exchange(path):
    """Have another file of the same content and times."""
    other = path.with_suffix(".new")
    shutil.copy2(path, other)
    other.replace(path)


@pytest.mark.parametrize("meddle", [rewrite, exchange])
@pytest.mark.parametrize("whose", ["artifact", "file"])
def test_what_was_found_out_of_another_file_says_nothing(root, repository, stored, meddle, whose):
    """As soon as either of the two is another one, or was written to, they have to be compared again."""
    dataset = again(stored)
    (outcome,) = repository.ingest([], [dataset])
    known = compared(dataset, outcome)
    meddle(Path(root, ARTIFACT) if whose == "artifact" else dataset.path)

    assert results(repository.ingest([], [known])) == [Stored.TO_BE_COMPARED]


@pytest.mark.parametrize("repository", [("link", 0)], indirect=True)
@pytest.mark.parametrize("moment", ["during", "after"])
def test_an_artifact_that_vanished_while_it_was_compared_is_replaced(root, repository, stored, moment):
    """A dataset without an artifact gets a new one, whatever had been found out of the old one."""
    dataset = again(stored)
    (outcome,) = repository.ingest([], [dataset])
    if moment == "after":
        known = compared(dataset, outcome)
    Path(root, ARTIFACT).unlink()
    if moment == "during":
        known = compared(dataset, outcome)
        assert known.comparison == Comparison(seen=dataset.seen, artifact=outcome.where)

    assert results(repository.ingest([], [known])) == [Stored.STORED]
    assert Path(root, ARTIFACT).samefile(dataset.path)


@EVERYWHERE
@pytest.mark.parametrize("repository", [("move", 0)], indirect=True)
def test_a_file_that_was_compared_elsewhere_is_removed_without_being_read_again(
    repository, stored, monkeypatch
):
    """To move a file that is there already takes one comparison, and that beside the loop."""
    dataset = again(stored)
    (outcome,) = repository.ingest([], [dataset])
    known = compared(dataset, outcome)
    assert (outcome.result, dataset.path.exists()) == (Stored.TO_BE_COMPARED, True)

    monkeypatch.setattr(verdicts, "same_content", unread)
    monkeypatch.setattr("pfs_ingestd.adapters.repository.artifacts.holds", unread)
    assert results(repository.ingest([], [known])) == [Stored.ALREADY_THERE]
    assert not dataset.path.exists()


@pytest.mark.parametrize("repository", [("link", 0)], indirect=True)
def test_of_two_files_in_a_batch_the_second_is_compared_beside_it(root, incoming, repository, monkeypatch):
    """The transaction, in which others wait, stores the first and reads neither."""
    monkeypatch.setattr(verdicts, "same_content", unread)
    first = seen(raw_dataset(ccd_file(incoming / "a.fits")))
    second = again(first.path)

    outcomes = repository.ingest([an_exposure(12)], [first, second])

    assert results(outcomes) == [Stored.STORED, Stored.TO_BE_COMPARED]
    assert outcomes[1].where == Path(root, ARTIFACT).as_uri()
    assert count(root) == ((1, 1, 1), 1)
    assert results(repository.ingest([], [compared(second, outcomes[1])])) == [Stored.ALREADY_THERE]
