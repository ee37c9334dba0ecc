"""`ButlerRepository` and what it does not copy itself: files that are to be copied, and copies of files."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from lsst.daf.butler.direct_butler import DirectButler
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import artifacts
from pfs_ingestd.adapters.repository.objects import look_at
from pfs_ingestd.errors import Code, Outage, TryLater
from pfs_ingestd.ports import Outcome, Stored
from repository_files import (
    ARTIFACT,
    CCD_BYTES,
    EVERYWHERE,
    an_exposure,
    artifact_at,
    ccd_file,
    compared,
    config_dataset,
    config_file,
    count,
    is_served,
    raw_dataset,
    results,
    rows,
    seen,
)


@pytest.fixture(params=["between disks", "at all"])
def no_links(request, root, monkeypatch):
    """Have all files on another disk than the repository; perhaps on one that has no links, either."""
    link = os.link

    def refuse(source, target, **kwargs):
        if request.param == "at all" or not str(source).startswith(root):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", refuse)


def compared_and_ingested(repository, dataset, *exposures):
    """Ingest a file of the size of what is stored, once it has been compared beside."""
    (outcome,) = repository.ingest(exposures, [dataset])
    assert outcome.result is Stored.TO_BE_COMPARED
    return repository.ingest([], [compared(dataset, outcome)])


def place_of(dataset):
    return Path(ResourcePath(dataset.copy).ospath)


def copied(dataset, root):
    """Copy a dataset's file to the datastore's disk, or into its store."""
    copy = artifact_at(root, f".copies/copy-of-{dataset.path.name}")
    if copy.isLocal:
        copy.dirname().mkdir()
    copy.write(dataset.path.read_bytes())
    return replace(dataset, copy=copy.geturl())


def mark(root):
    """Tell what changes when the artifact is written anew, whatever its content."""
    artifact = artifact_at(root)
    return look_at(artifact).changed if is_served(root) else Path(artifact.ospath).stat().st_ino


def test_what_would_take_long_is_to_be_copied(root, incoming, repository):
    """Nothing is copied, stored or registered; it is said on which disk the copy has to be."""
    outcomes = repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])

    assert outcomes == [
        Outcome(Stored.TO_BE_COPIED, "f09aaead-7359-5a0a-8a9f-f0924fe8576b", f"{Path(root).as_uri()}/")
    ]
    assert count(root) == ((0, 0, 0), 0)
    assert repository.designs([12]) == {}


@pytest.mark.parametrize("repository", [("copy", 2 * CCD_BYTES)], indirect=True)
def test_small_files_are_copied_at_once_as_long_as_they_are_few(root, incoming, repository):
    """So many bytes of a batch are copied on the spot; files that go beyond that are to be copied."""
    sources = [ccd_file(incoming / f"{arm}.fits", 12, arm) for arm in "brm"]
    assert {source.stat().st_size for source in sources} == {CCD_BYTES}
    large = config_file(incoming / "c.fits")
    with large.open("ab") as file:
        large.chmod(0o644)
        file.write(bytes(CCD_BYTES))
    datasets = [raw_dataset(source, 12, arm) for source, arm in zip(sources, "brm", strict=True)]

    outcomes = repository.ingest([an_exposure(12)], [datasets[0], config_dataset(large), *datasets[1:]])

    now, later = Stored.STORED, Stored.TO_BE_COPIED
    assert results(outcomes) == [now, later, now, later]
    assert len(rows(root, "dataset")) == 2


@pytest.mark.parametrize("repository", [("copy", CCD_BYTES)], indirect=True)
def test_a_visit_is_registered_with_its_first_stored_raw(root, incoming, repository):
    """A pfsConfig waits while no raw of its visit is stored; one raw is enough."""
    ccd, ramp = (
        raw_dataset(ccd_file(incoming / "a.fits")),
        raw_dataset(ccd_file(incoming / "b.fits", 12, "b"), 12, "b"),
    )
    config = config_dataset(config_file(incoming / "c.fits"))
    copies = [copied(ramp, root), copied(config, root)]

    waiting = repository.ingest([an_exposure(12)], [raw_dataset(ccd.path), ramp, copies[1]])
    assert results(waiting) == [Stored.STORED, Stored.TO_BE_COPIED, Stored.STORED]
    other = raw_dataset(ccd_file(incoming / "d.fits", 13), 13)
    with other.path.open("ab") as file:
        file.write(bytes(2880))
    second = copied(config_dataset(config_file(incoming / "e.fits", 13), 13), root)
    assert results(repository.ingest([an_exposure(13)], [other, second])) == [
        Stored.TO_BE_COPIED,
        Stored.NO_EXPOSURE,
    ]
    assert repository.designs([12, 13]).keys() == {12}


def test_a_copy_becomes_the_artifact(root, incoming, repository):
    """It is not copied once more, and the file stays as it was."""
    dataset = copied(raw_dataset(source := ccd_file(incoming / "a.fits")), root)
    content, inode = source.read_bytes(), place_of(dataset).stat().st_ino

    (outcome,) = repository.ingest([an_exposure(12)], [dataset])

    artifact = Path(root, ARTIFACT)
    assert outcome == Outcome(Stored.STORED, "f09aaead-7359-5a0a-8a9f-f0924fe8576b", artifact.as_uri())
    assert (artifact.read_bytes(), artifact.stat().st_ino) == (content, inode)
    assert source.read_bytes() == content


def test_what_is_there_already_is_not_to_be_copied(root, incoming, repository):
    """Same and other bytes are found out without a copy."""
    repository.ingest([an_exposure(12)], [copied(raw_dataset(ccd_file(incoming / "a.fits")), root)])

    same = compared_and_ingested(repository, seen(raw_dataset(incoming / "a.fits")))
    other = compared_and_ingested(repository, seen(raw_dataset(ccd_file(incoming / "b.fits", seed=1))))

    assert results([*same, *other]) == [Stored.ALREADY_THERE, Stored.CONFLICT]
    assert count(root) == ((1, 1, 1), 1)


@EVERYWHERE
def test_a_dataset_that_somebody_stored_meanwhile_is_compared(root, incoming, repository, opened):
    """While a file was being copied someone else may have stored the same data ID: all is checked again."""
    same = copied(seen(raw_dataset(ccd_file(incoming / "a.fits"))), root)
    opened("copy").ingest([an_exposure(12)], [raw_dataset(incoming / "a.fits")])
    other = copied(seen(raw_dataset(ccd_file(incoming / "b.fits", seed=1))), root)
    content, stored = same.path.read_bytes(), mark(root)

    outcomes = [
        *compared_and_ingested(repository, same, an_exposure(12)),
        *compared_and_ingested(repository, other),
    ]

    assert results(outcomes) == [Stored.ALREADY_THERE, Stored.CONFLICT]
    assert (artifact_at(root).read(), mark(root)) == (content, stored)
    assert ResourcePath(same.copy).exists()


def test_a_copy_is_put_back_when_nothing_is_committed(root, incoming, repository, monkeypatch):
    """A batch that fails leaves its copies where they were, for the halves of it to be tried."""
    dataset = copied(seen(raw_dataset(ccd_file(incoming / "a.fits"))), root)
    bad = copied(seen(raw_dataset(ccd_file(incoming / "b.fits", 12, "b"), 12, "b")), root)
    before = place_of(dataset).read_bytes()
    repository.probe()
    ingest = DirectButler.ingest

    def meddle(*args, **kwargs):
        ingest(*args, **kwargs)
        bad.path.write_bytes(b"another")

    with monkeypatch.context() as patch:
        patch.setattr(DirectButler, "ingest", meddle)
        with pytest.raises(TryLater) as caught:
            repository.ingest([an_exposure(12)], [dataset, bad])

    assert caught.value.code is Code.RACE
    assert place_of(dataset).read_bytes() == before
    assert results(repository.ingest([an_exposure(12)], [dataset])) == [Stored.STORED]


@EVERYWHERE
def test_a_copy_that_is_gone_is_made_again(root, incoming, repository):
    """Somebody may clean up where he should not: it costs an attempt."""
    dataset = copied(raw_dataset(ccd_file(incoming / "a.fits")), root)
    ResourcePath(dataset.copy).remove()

    with pytest.raises(TryLater):
        repository.ingest([an_exposure(12)], [dataset])

    assert count(root) == ((0, 0, 0), 0)
    assert results(repository.ingest([an_exposure(12)], [replace(dataset, copy=None)])) == [
        Stored.TO_BE_COPIED
    ]


@pytest.mark.parametrize("repository", [("move", 2 * CCD_BYTES)], indirect=True)
def test_move_links_what_it_can_and_copies_the_rest(root, incoming, repository, monkeypatch):
    """In one batch, files on the repository's disk are linked, and those on another are copied."""
    near = raw_dataset(ccd_file(incoming / "near.fits"))
    far = raw_dataset(ccd_file(incoming / "far.fits", 12, "b"), 12, "b")
    inode, link = near.path.stat().st_ino, os.link

    def refuse(source, *args, **kwargs):
        if Path(source) == far.path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, *args, **kwargs)

    monkeypatch.setattr(os, "link", refuse)
    outcomes = repository.ingest([an_exposure(12)], [near, far])

    assert results(outcomes) == [Stored.STORED, Stored.STORED]
    assert Path(root, ARTIFACT).stat().st_ino == inode
    assert (near.path.exists(), far.path.exists()) == (False, False)


@pytest.mark.parametrize("repository", [("move", CCD_BYTES)], indirect=True)
def test_what_is_linked_counts_as_what_is_copied(incoming, repository):
    """The contents of a large file may take long to get to the disk, whether they were copied or linked."""
    datasets = [raw_dataset(ccd_file(incoming / f"{arm}.fits", 12, arm), 12, arm) for arm in "br"]

    outcomes = repository.ingest([an_exposure(12)], datasets)

    assert results(outcomes) == [Stored.STORED, Stored.TO_BE_COPIED]
    assert [dataset.path.exists() for dataset in datasets] == [False, True]


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("repository", [("move", 0)], indirect=True)
def test_a_copy_that_was_compared_is_not_read_again(root, incoming, repository, monkeypatch):
    """The copier has compared the copy with its file: the loop only sees that both are still the same."""
    dataset = copied(seen(raw_dataset(ccd_file(incoming / "a.fits"))), root)

    def fail(*_):
        raise AssertionError("it was read again")

    monkeypatch.setattr(artifacts, "holds", fail)
    assert results(repository.ingest([an_exposure(12)], [dataset])) == [Stored.STORED]
    assert not dataset.path.exists()


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("replaced", ["source", "artifact"])
@pytest.mark.parametrize("repository", [("move", 0)], indirect=True)
def test_a_file_that_is_replaced_after_the_commit_is_kept(root, incoming, repository, monkeypatch, replaced):
    """What is removed is the file that was stored, no other under its name, and only while that is stored."""
    dataset = copied(seen(raw_dataset(ccd_file(incoming / "a.fits"))), root)
    repository.probe()
    release = repository._release  # noqa: SLF001 (the moment that is meant)

    def replaced_before(*args):
        place = dataset.path if replaced == "source" else Path(root, ARTIFACT)
        ccd_file(incoming / "b.fits", seed=1).replace(place)
        release(*args)

    monkeypatch.setattr(repository, "_release", replaced_before)
    with pytest.raises(TryLater, match="has other content"):
        repository.ingest([an_exposure(12)], [dataset])

    assert dataset.path.exists()
    assert count(root) == ((1, 1, 1), 1)


def test_a_probe_asks_for_the_room_of_all_that_found_none(root, incoming, repository, monkeypatch):
    """Two files that keep each other out of a full disk are not tried again before there is room for both."""
    sources = [ccd_file(incoming / f"{arm}.fits", 12, arm) for arm in "br"]
    disk = list(os.statvfs(root))

    def free(size):
        # Block size, fragment size, and how many fragments are available.
        disk[0], disk[1], disk[4] = 1, 1, size
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(disk))

    for source in sources:
        meaning = repository.explain(OSError(errno.ENOSPC, "No space left on device"), source)
        assert (type(meaning), meaning.code) == (Outage, Code.DISK_FULL)
    free(2 * CCD_BYTES - 1)
    with pytest.raises(Outage):
        repository.probe()
    free(2 * CCD_BYTES)
    repository.probe()
    free(0)
    repository.probe()


def test_to_replace_is_to_copy_at_once(root, incoming, repository):
    """The command that replaces a dataset waits for its copy, however large the file is."""
    repository.ingest([an_exposure(12)], [copied(raw_dataset(ccd_file(incoming / "a.fits")), root)])
    other = ccd_file(incoming / "b.fits", seed=1)

    outcome = repository.replace(raw_dataset(other))

    assert outcome.result is Stored.STORED
    assert Path(root, ARTIFACT).read_bytes() == other.read_bytes()
