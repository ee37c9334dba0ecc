"""What Butler does that could cost a file, and how each of it is walked around."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from lsst.daf.butler.direct_butler import DirectButler
from sqlalchemy.engine.default import DefaultDialect

from pfs_ingestd.adapters.repository.artifacts import Durability
from pfs_ingestd.adapters.repository.batch import Batch
from pfs_ingestd.errors import IngestdError, TryLater
from pfs_ingestd.ports import Stored
from repository_files import (
    ARTIFACT,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    count,
    raw_dataset,
    results,
)

NOTHING = ((0, 0, 0), 0)
ONE = ((1, 1, 1), 1)


@pytest.fixture
def source(tmp_path):
    return ccd_file(tmp_path / "incoming" / "a.fits")


@pytest.fixture
def ingests(monkeypatch):
    """Note which Butler was asked to ingest how many datasets."""
    calls = []
    ingest = DirectButler.ingest

    def note(butler, *datasets, **options):
        calls.append((butler, len(datasets)))
        ingest(butler, *datasets, **options)

    monkeypatch.setattr(DirectButler, "ingest", note)
    return calls


def _in_between(monkeypatch, what):
    """Let something happen once, after a batch was compared and before its transaction begins."""
    store = Batch.store
    pending = [what]

    def late(batch):
        while pending:
            pending.pop()()
        return store(batch)

    monkeypatch.setattr(Batch, "store", late)


@pytest.mark.parametrize("registered", [True, False], ids=["old exposure", "new exposure"])
@pytest.mark.parametrize("transfer", ["link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct"])
def test_f35_the_slower_of_two_finds_the_file_of_the_faster(
    root, source, opened, monkeypatch, transfer, registered
):
    """What another process stores at the last moment is already there, and stays."""
    exposures = [an_exposure(12)]
    rival, repository = opened("copy"), opened(transfer)
    content = source.read_bytes()
    if registered:
        rival.ingest(exposures, [])
        exposures = []
    _in_between(monkeypatch, lambda: rival.ingest(exposures, [raw_dataset(source)]))

    outcomes = repository.ingest(exposures, [raw_dataset(source)])

    assert results(outcomes) == [Stored.ALREADY_THERE]
    assert count(root) == ONE
    assert Path(root, ARTIFACT).read_bytes() == content


@pytest.mark.parametrize("transfer", ["link", "copy", "move"])
def test_f32_a_loser_that_fails_does_not_undo_the_winner(root, source, opened, monkeypatch, transfer):
    """The rollback of a batch removes nothing that another process has stored under the same data ID."""
    exposures = [an_exposure(12)]
    rival, repository = opened("copy"), opened(transfer)
    content = source.read_bytes()
    other = raw_dataset(ccd_file(source.with_name("b.fits"), 12, "b"), 12, "b")

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def win():
        rival.ingest(exposures, [raw_dataset(source)])
        monkeypatch.setattr(Durability, "settle", fail)

    _in_between(monkeypatch, win)

    with pytest.raises(TryLater):
        repository.ingest(exposures, [raw_dataset(source), other])

    assert count(root) == ONE
    assert Path(root, ARTIFACT).read_bytes() == content
    assert source.exists()


@pytest.mark.parametrize("transfer", ["link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct"])
def test_f32_a_known_dataset_is_not_ingested_again(opened, source, ingests, transfer):
    """Butler is never given a dataset that it has: some releases delete the stored file then."""
    dataset = raw_dataset(source)
    opened("copy").ingest([an_exposure(12)], [dataset])
    other = raw_dataset(ccd_file(source.with_name("b.fits"), seed=1))
    config = config_dataset(config_file(source.with_name("c.fits")))

    outcomes = opened(transfer).ingest([], [dataset, other, config])

    assert results(outcomes) == [Stored.ALREADY_THERE, Stored.CONFLICT, Stored.STORED]
    assert [number for _, number in ingests] == [1, 1]


def test_a_butler_that_failed_is_not_used_again(root, source, opened, ingests):
    """After an exception its datastore has a dead transaction; another Butler does what comes next."""
    repository = opened("copy")
    twin = raw_dataset(source, 12, "b", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "_join_catalogues", lambda batch, _: batch.session.butler.ingest("nonsense"))
        with pytest.raises(IngestdError):
            repository.ingest([an_exposure(12)], [raw_dataset(source)])

    repository.ingest([an_exposure(12)], [raw_dataset(source)])
    repository.ingest([], [twin])

    failed, second, third = (butler for butler, _ in ingests)
    assert failed is not second
    assert second is third
    assert count(root) == ((1, 2, 2), 2)


def test_each_transaction_has_one_ingest(source, opened, ingests):
    """Both types are ingested together, and committed before the next: two ingests are not undone."""
    repository = opened("copy")
    config = config_dataset(config_file(source.with_name("c.fits")))
    commits = []

    def committed(connection):
        if connection.engine.url.database.endswith("gen3.sqlite3"):
            commits.append(len(ingests))

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", committed)
    try:
        repository.ingest([an_exposure(12)], [raw_dataset(source), config])
        repository.ingest([], [raw_dataset(source, 12, "b", 1)])
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", committed)

    assert [number for _, number in ingests] == [2, 1]
    assert {1, 2} <= set(commits)


@pytest.mark.parametrize("transfer", ["link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct"])
@pytest.mark.parametrize("took_effect", [True, False], ids=["it was committed", "it was not"])
def test_f33_an_error_at_commit_is_found_out_about(
    root, source, opened, ingests, monkeypatch, transfer, took_effect
):
    """When COMMIT fails nobody knows what holds: the next attempt looks, and the file is stored once."""
    content = source.read_bytes()
    repository = opened(transfer)
    commit = DefaultDialect.do_commit

    def fail(dialect, connection):
        if len(ingests) != 1:
            commit(dialect, connection)
            return
        ingests.append(None)
        if took_effect:
            commit(dialect, connection)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(DefaultDialect, "do_commit", fail)
    with pytest.raises(IngestdError):
        repository.ingest([an_exposure(12)], [raw_dataset(source)])
    kept = source.exists()
    known = repository.designs([12])

    outcomes = repository.ingest([] if known else [an_exposure(12)], [raw_dataset(source)])

    assert kept
    assert results(outcomes) == [Stored.ALREADY_THERE if took_effect else Stored.STORED]
    assert count(root)[0] == ONE[0]
    assert count(root)[1] == (0 if transfer == "direct" else 1)
    assert Path(outcomes[0].where.removeprefix("file://")).read_bytes() == content
    assert source.exists() is (transfer != "move")


@pytest.mark.parametrize(
    ("transfer", "with_contents"),
    [("copy", True), ("link", False), ("move", True), ("hardlink", False), ("symlink", False)],
)
def test_what_is_committed_survives_a_power_cut(root, source, opened, monkeypatch, transfer, with_contents):
    """Names, and contents that are ours alone, are on the disk before the registry says that they are."""
    repository = opened(transfer)
    order = []
    fsync, commit = os.fsync, DefaultDialect.do_commit

    def note_fsync(descriptor):
        fsync(descriptor)
        order.append(os.fstat(descriptor).st_ino)

    def note_commit(dialect, connection):
        commit(dialect, connection)
        order.append("commit")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(DefaultDialect, "do_commit", note_commit)
    repository.ingest([an_exposure(12)], [raw_dataset(source)])

    artifact = Path(root, ARTIFACT)
    names = [path for path in (artifact, *artifact.parents) if path.is_relative_to(root)]
    made = {path.stat().st_ino for path in (names if with_contents else names[1:])}
    last = len(order) - 1 - order[::-1].index("commit")
    assert made == set(order[:last]) - {"commit"}
    assert order[last + 1 :] == []
    assert count(root) != NOTHING
