"""Replacing a stored dataset by another file: wholly, or not at all."""

import pytest
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from pfs_ingestd.errors import Code, IngestdError, Rejected
from pfs_ingestd.ports import Stored
from repository_files import DESIGN, EVERYWHERE, an_exposure, artifacts_of, ccd_file, raw_dataset

TRANSFERS = [
    *(
        ("on_disk", transfer)
        for transfer in ("link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct")
    ),
    *(("on_servers", transfer) for transfer in ("copy", "move")),
]


def bytes_of(root):
    """Read what the repository has of the one dataset, and see that there is nothing else beside it."""
    butler = Butler.from_config(root)
    [ref] = butler.query_datasets("raw", collections="PFS/raw/all")
    artifact = butler.getURI(ref)
    leftovers = [uri for uri in artifacts_of(root) if uri != artifact]
    assert leftovers == []
    return str(ref.id), artifact.read()


@pytest.mark.parametrize(("root", "transfer"), TRANSFERS, indirect=["root"])
def test_another_file_takes_the_place_of_a_stored_one(root, opened, tmp_path, transfer):
    """The dataset keeps its id and has the new bytes, in every transfer mode."""
    old = ccd_file(tmp_path / "old" / "a.fits")
    new = ccd_file(tmp_path / "new" / "a.fits", seed=99)
    content = new.read_bytes()
    repository = opened(transfer=transfer)
    [stored] = repository.ingest([an_exposure(12)], [raw_dataset(old)])

    outcome = repository.replace(raw_dataset(new))

    assert (outcome.result, outcome.dataset_id) == (Stored.STORED, stored.dataset_id)
    assert bytes_of(root) == (stored.dataset_id, content)
    assert new.exists() is (transfer != "move")


def test_a_file_that_was_edited_in_place_is_stored_anew(root, opened, tmp_path):
    """A copy in the datastore follows the file that it was made from when an operator asks for it."""
    path = ccd_file(tmp_path / "a.fits")
    repository = opened(transfer="copy")
    repository.ingest([an_exposure(12)], [raw_dataset(path)])
    edited = ccd_file(tmp_path / "b.fits", seed=99).read_bytes()
    path.write_bytes(edited)

    repository.replace(raw_dataset(path))

    assert bytes_of(root)[1] == edited


@EVERYWHERE
def test_the_same_bytes_replace_nothing(root, opened, tmp_path):
    """Asked twice, the second time there is nothing to do."""
    path = ccd_file(tmp_path / "a.fits")
    repository = opened(transfer="copy")
    repository.ingest([an_exposure(12)], [raw_dataset(path)])
    assert repository.replace(raw_dataset(path)).result is Stored.ALREADY_THERE
    assert bytes_of(root)[1] == path.read_bytes()


def test_nothing_is_replaced_where_there_is_no_exposure(opened, tmp_path):
    """A file of a visit that the repository does not know is for ingestion, not for replacement."""
    assert opened().replace(raw_dataset(ccd_file(tmp_path / "a.fits"))).result is Stored.NO_EXPOSURE


def test_a_file_of_another_design_replaces_nothing(root, opened, tmp_path):
    """The exposure record stays true of all its raws."""
    old = ccd_file(tmp_path / "old.fits")
    repository = opened(transfer="copy")
    repository.ingest([an_exposure(12)], [raw_dataset(old)])
    stranger = raw_dataset(ccd_file(tmp_path / "new.fits", seed=99), pfs_design_id=DESIGN + 1)
    with pytest.raises(Rejected) as caught:
        repository.replace(stranger)
    assert caught.value.code is Code.DESIGN_CONFLICT
    assert bytes_of(root)[1] == old.read_bytes()


@pytest.mark.parametrize(
    ("root", "transfer"),
    [("on_disk", "hardlink"), ("on_disk", "copy"), ("on_disk", "symlink"), ("on_servers", "copy")],
    indirect=["root"],
)
def test_a_replacement_that_fails_leaves_the_old_dataset(root, opened, tmp_path, monkeypatch, transfer):
    """Whatever goes wrong after the old artifact was removed, it is there again afterwards."""
    old = ccd_file(tmp_path / "old.fits")
    new = ccd_file(tmp_path / "new.fits", seed=99)
    repository = opened(transfer=transfer)
    [stored] = repository.ingest([an_exposure(12)], [raw_dataset(old)])

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("pfs_ingestd.adapters.repository.artifacts.Durability.settle", fail)
        with pytest.raises(IngestdError):
            repository.replace(raw_dataset(new))

    assert bytes_of(root) == (stored.dataset_id, old.read_bytes())


@EVERYWHERE
def test_a_replacement_that_was_killed_is_completed_by_the_next(root, opened, tmp_path):
    """A kill leaves the old artifact under a second name at worst; asked again, nothing of that is left."""
    old, new = ccd_file(tmp_path / "old.fits"), ccd_file(tmp_path / "new.fits", seed=99)
    repository = opened(transfer="copy")
    [stored] = repository.ingest([an_exposure(12)], [raw_dataset(old)])
    artifact = ResourcePath(stored.where)
    artifact.updatedFile(f".{artifact.basename()}.replaced").transfer_from(artifact, transfer="copy")
    artifact.remove()
    repository.replace(raw_dataset(new))
    assert bytes_of(root) == (stored.dataset_id, new.read_bytes())
