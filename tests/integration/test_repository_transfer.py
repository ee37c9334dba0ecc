"""`ButlerRepository` against a real repository: how files get into it, and what becomes of their sources."""

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lsst.daf.butler.direct_butler import DirectButler

from pfs_ingestd.adapters.repository import TRANSFERS, staging
from pfs_ingestd.adapters.repository.artifacts import Durability
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.ports import Outcome, Stored
from pfs_ingestd.records import FileName, FileRecord, Kind, Sighting
from repository_files import (
    ARTIFACT,
    EVERYWHERE,
    an_exposure,
    artifact_at,
    artifacts_of,
    ccd_file,
    count,
    get,
    is_served,
    raw_dataset,
    results,
    rows,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def a_record(path, size):
    """Make the record of a raw of visit 12, r1."""
    return FileRecord(
        path=path,
        kind=Kind.RAW,
        visit=12,
        arm="r",
        spectrograph=1,
        size=size,
        mtime_ns=0,
        inode=1,
        night=NOW.date(),
        steady_since=NOW,
        first_seen=NOW,
        updated=NOW,
    )


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_every_transfer_mode_means_what_it_means_to_butler(root, incoming, opened, transfer):
    """Link, copy, move and the others leave source and artifact as Butler documents."""
    source = ccd_file(incoming / "a.fits")
    content, inode = source.read_bytes(), source.stat().st_ino
    artifact = Path(root, ARTIFACT)

    (outcome,) = opened(transfer).ingest([an_exposure(12)], [raw_dataset(source)])

    expected = source if transfer == "direct" else artifact
    assert Outcome(Stored.STORED, "f09aaead-7359-5a0a-8a9f-f0924fe8576b", expected.as_uri()) == outcome
    assert expected.read_bytes() == content
    assert source.exists() is (transfer != "move")
    same_file = artifact.exists() and artifact.stat().st_ino == inode
    assert same_file is (transfer not in {"copy", "direct"})
    assert artifact.is_symlink() is (transfer in {"symlink", "relsymlink"})
    if transfer == "relsymlink":
        assert not artifact.readlink().is_absolute()
    assert get(root, exposure=12, arm="r", spectrograph=1).getImage().shape == (20, 16)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_a_repeat_is_already_there(root, incoming, opened, transfer):
    """Whatever the transfer mode, the same file again changes nothing."""
    source = ccd_file(incoming / "a.fits")
    (first,) = opened(transfer).ingest([an_exposure(12)], [raw_dataset(source)])
    if transfer == "move":
        source = ccd_file(source)
    before = count(root)

    (again,) = opened(transfer).ingest([], [raw_dataset(source)])

    assert Outcome(Stored.ALREADY_THERE, first.dataset_id, first.where) == again
    assert before == count(root)


def test_only_what_is_the_repositorys_own_has_its_size_recorded(root, incoming, opened):
    """A linked file may be repaired in place by its owner, and still be read; a copy may not."""
    for number, transfer in enumerate(("link", "copy"), 1):
        source = ccd_file(incoming / f"{transfer}.fits", 12, "r", number)
        opened(transfer).ingest([an_exposure(12)], [raw_dataset(source, 12, "r", number)])

    sizes = {Path(row[1]).name[:13]: row[-1] for row in rows(root, "file_datastore_records")}
    assert sizes == {"raw_PFS_12_r1": -1, "raw_PFS_12_r2": (incoming / "copy.fits").stat().st_size}


def test_copies_are_durable_before_they_are_committed(root, incoming, opened, monkeypatch):
    """A file that was copied and every folder on the way to it are fsynced while nothing is committed yet."""
    flushed = set()
    repository = opened("copy")
    fsync = os.fsync

    def note(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        assert rows(root, "dataset") == []
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])

    artifact = Path(root, ARTIFACT)
    made = {artifact, *artifact.parents} - set(Path(root).parents)
    assert {path.stat().st_ino for path in made} == flushed


def test_move_across_file_systems_copies(root, incoming, opened, monkeypatch):
    """Where no link can be made the file is copied, verified and removed."""
    source = ccd_file(incoming / "a.fits")
    content = source.read_bytes()

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (outcome,) = opened("move").ingest([an_exposure(12)], [raw_dataset(source)])

    assert outcome.result is Stored.STORED
    assert Path(root, ARTIFACT).read_bytes() == content
    assert not source.exists()
    assert count(root) == ((1, 1, 1), 1)


@EVERYWHERE
def test_move_removes_what_is_already_there_and_keeps_what_conflicts(root, incoming, opened):
    """A file whose bytes are stored is removed; one with others stays, and so does what is stored."""
    opened("copy").ingest([an_exposure(12)], [raw_dataset(same := ccd_file(incoming / "a.fits"))])
    content, other = same.read_bytes(), ccd_file(incoming / "b.fits", seed=1)

    outcomes = opened("move").ingest([], [raw_dataset(same), raw_dataset(other)])

    assert results(outcomes) == [Stored.ALREADY_THERE, Stored.CONFLICT]
    assert (same.exists(), other.exists()) == (False, True)
    assert artifact_at(root).read() == content


@pytest.mark.parametrize("earlier", ["symlink", "relsymlink", "direct"])
def test_move_keeps_what_the_repository_leads_to(root, incoming, opened, earlier):
    """A file that the stored artifact is, or is a symlink to, is the only one there is."""
    source = ccd_file(incoming / "a.fits")
    opened(earlier).ingest([an_exposure(12)], [raw_dataset(source)])

    (outcome,) = opened("move").ingest([], [raw_dataset(source)])

    assert outcome.result is Stored.ALREADY_THERE
    assert source.exists()
    assert get(root, exposure=12, arm="r", spectrograph=1).getImage().shape == (20, 16)


def test_move_keeps_the_artifact_itself(root, incoming, opened):
    """A file that is found inside of the repository is not removed from it."""
    opened("copy").ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])
    artifact = Path(root, ARTIFACT)

    (outcome,) = opened("move").ingest([], [raw_dataset(artifact)])

    assert outcome.result is Stored.ALREADY_THERE
    assert artifact.exists()


def test_move_keeps_the_source_when_nothing_is_committed(root, incoming, opened):
    """When the transaction fails the file is still where it was, and nowhere else."""
    good, bad = ccd_file(incoming / "a.fits"), incoming / "b.fits"

    with pytest.raises(TryLater):
        opened("move").ingest([an_exposure(12)], [raw_dataset(good), raw_dataset(bad, 12, "b", 1)])

    assert good.exists()
    assert count(root) == ((0, 0, 0), 0)


@EVERYWHERE
def test_move_keeps_what_was_not_stored_whole(root, incoming, opened, monkeypatch):
    """A copy that does not have the bytes of its source does not cost the source."""
    source = ccd_file(incoming / "a.fits")

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    garble = lambda _, copy, **__: copy.write_bytes(b"garbled")  # noqa: E731 (as short as what it replaces)
    monkeypatch.setattr(staging, "copy_file", garble)
    monkeypatch.setattr(staging._InStore, "fill", lambda copy, **_: copy.uri.write(b"garbled"))  # noqa: SLF001 (likewise)
    with pytest.raises(TryLater, match="has other content"):
        opened("move").ingest([an_exposure(12)], [raw_dataset(source)])

    assert source.exists()
    assert count(root) == ((1, 1, 1), 1)


IN_ALL_MODES = pytest.mark.parametrize(
    ("root", "transfer"),
    [*(("on_disk", transfer) for transfer in TRANSFERS), ("on_servers", "move")],
    indirect=["root"],
)


@IN_ALL_MODES
def test_a_transaction_that_fails_leaves_nothing_behind(root, incoming, opened, transfer, monkeypatch):
    """What was transferred before something failed is taken back, and the source is as it was.

    In a store what has its final key stays there, and is overwritten by the next attempt; ours is removed.
    """
    source = ccd_file(incoming / "a.fits")
    content = source.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Durability, "settle", fail)
    with pytest.raises(TryLater):
        opened(transfer).ingest([an_exposure(12)], [raw_dataset(source)])

    left = [artifact_at(root)] if is_served(root) else []
    assert (count(root)[0], artifacts_of(root)) == ((0, 0, 0), left)
    assert [path for path in Path(root).iterdir() if path.name.startswith(".")] == []
    assert source.read_bytes() == content


def test_move_says_when_it_cannot_remove(root, incoming, opened, monkeypatch):
    """A source that cannot be removed is reported; what is stored stays stored."""
    source = ccd_file(incoming / "a.fits")

    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    repository = opened("move")
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(TryLater, match="is stored, but cannot be removed") as caught:
        repository.ingest([an_exposure(12)], [raw_dataset(source)])

    assert caught.value.code is Code.STORE_FAILED
    assert count(root) == ((1, 1, 1), 1)


@EVERYWHERE
def test_a_file_that_was_moved_is_found_again(root, incoming, opened):
    """Who lost sight of a file that was moved learns its dataset from what its name says, and its size."""
    source = ccd_file(incoming / "PFSA00001212.fits")
    size = source.stat().st_size
    (outcome,) = opened("move").ingest([an_exposure(12)], [raw_dataset(source)])
    lost = a_record(source, size)
    assert opened("move").moved(lost) == outcome.dataset_id
    assert opened("move").moved(replace(lost, size=size + 1)) is None
    assert opened("move").moved(replace(lost, visit=13)) is None
    assert opened("copy").moved(lost) is None
    artifact_at(root).remove()
    assert opened("move").moved(lost) is None


@IN_ALL_MODES
def test_a_file_in_the_place_of_what_was_read_is_not_stored(root, incoming, opened, transfer, monkeypatch):
    """Of another file that takes the name of what was read, nothing is committed or left behind."""
    source = ccd_file(incoming / "a.fits")
    status = source.stat()
    dataset = replace(
        raw_dataset(source),
        seen=Sighting(
            path=source,
            name=FileName(kind=Kind.RAW, visit=12),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
        ),
    )
    repository = opened(transfer)
    repository.probe()
    ingest = DirectButler.ingest

    def meddle(*args, **kwargs):
        torso = ccd_file(incoming / "b.fits", seed=1)
        os.utime(torso, ns=(status.st_atime_ns, status.st_mtime_ns))
        torso.replace(source)
        return ingest(*args, **kwargs)

    monkeypatch.setattr(DirectButler, "ingest", meddle)
    with pytest.raises(TryLater) as caught:
        repository.ingest([an_exposure(12)], [dataset])

    assert caught.value.code is Code.RACE
    left = [artifact_at(root)] if is_served(root) else []
    assert (count(root)[0], artifacts_of(root)) == ((0, 0, 0), left)
    assert source.exists()
