"""`ButlerRepository` against a real repository: what is stored, and what is said about it."""

import gc
from pathlib import Path
from uuid import UUID

import pytest
from lsst.daf.butler import Butler, FileDataset
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import open_repository
from pfs_ingestd.adapters.repository.items import Item
from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.ports import Outcome, Stored
from repository_files import (
    DESIGN,
    EVERYWHERE,
    a_repository,
    an_exposure,
    artifact_at,
    ccd_file,
    commits,
    config_dataset,
    config_file,
    count,
    get,
    ramp_file,
    raw_dataset,
    results,
    rows,
)

CAMERAS = [(arm, spectrograph) for spectrograph in range(1, 5) for arm in "brnm"]


@EVERYWHERE
def test_a_visit_is_stored_in_one_transaction(root, incoming, opened):
    """Raws of all cameras and the pfsConfig are stored together, with deterministic ids."""
    raws = [ccd_file(incoming / f"{arm}{number}.fits", 12, arm, number) for arm, number in CAMERAS]
    datasets = [raw_dataset(path, 12, *camera) for path, camera in zip(raws, CAMERAS, strict=True)]
    datasets.append(config_dataset(config_file(incoming / "config.fits")))
    repository = opened()
    repository.designs([12])
    before = commits(root)

    outcomes = repository.ingest([an_exposure(12)], datasets)

    assert commits(root) == before + 1
    assert results(outcomes) == [Stored.STORED] * 17
    assert {UUID(outcome.dataset_id).version for outcome in outcomes} == {5}
    assert len({outcome.where for outcome in outcomes}) == 17
    for dataset, outcome in zip(datasets, outcomes, strict=True):
        assert ResourcePath(outcome.where).read() == dataset.path.read_bytes()
    assert repository.designs([12, 13]) == {12: DESIGN}
    assert count(root) == ((1, 17, 17), 17)
    assert sorted(rows(root, "cat_id")) == [("PFS", 3), ("PFS", 1001)]
    assert sorted(rows(root, "pfsConfig")) == [("PFS", 3, 12), ("PFS", 1001, 12)]


@EVERYWHERE
def test_a_batch_leaves_nothing_to_the_collector_of_garbage(incoming, opened):
    """What is held of a batch's files goes with it: the collector comes late, and there are thousands."""
    first, second = (raw_dataset(ccd_file(incoming / f"{visit}.fits", visit), visit) for visit in (12, 13))
    repository = opened()
    repository.ingest([an_exposure(12)], [first])  # what SQLAlchemy does for the first time leaves its frames
    gc.collect()
    gc.disable()
    try:
        repository.ingest([an_exposure(13)], [second])
        held = [each for each in gc.get_objects() if isinstance(each, Item)]
    finally:
        gc.enable()

    assert held == []


def test_ids_are_the_same_everywhere(tmp_path, incoming):
    """The id of a dataset follows from what it is: two repositories agree on it."""
    source = ccd_file(incoming / "a.fits")
    ids = []
    for name in ("one", "two"):
        root = a_repository(tmp_path / name)
        repository = open_repository(root, transfer="copy", runs={}, instrument="PFS")
        (outcome,) = repository.ingest([an_exposure(12)], [raw_dataset(source)])
        repository.close()
        ids.append(outcome.dataset_id)

    assert ids == ["f09aaead-7359-5a0a-8a9f-f0924fe8576b"] * 2


def test_the_exposure_record_has_every_column(root, incoming, opened):
    """What `Exposure` says is what the repository has, field by field, to the nanosecond."""
    exposure = an_exposure(12, irp_ratio=4, target_name="M31", begin_ns=1_760_000_000_123_456_789)
    source = ccd_file(incoming / "a.fits")

    opened().ingest([exposure], [raw_dataset(source)])

    with Butler.from_config(root) as butler:
        (record,) = butler.query_dimension_records("exposure", instrument="PFS")
    stored = record.toDict()
    timespan = stored.pop("timespan")
    assert timespan.nsec == (exposure.begin_ns, exposure.end_ns)
    assert stored == {name: getattr(exposure, name) for name in stored}
    assert {*stored, "begin_ns", "end_ns"} == set(exposure.__dataclass_fields__)


def test_a_negative_exposure_time_makes_an_empty_timespan(root, incoming, opened):
    """An exposure that ends before it begins overlaps nothing."""
    exposure = an_exposure(12)
    exposure = an_exposure(12, end_ns=exposure.begin_ns - 1)

    opened().ingest([exposure], [raw_dataset(ccd_file(incoming / "a.fits"))])

    with Butler.from_config(root) as butler:
        (record,) = butler.query_dimension_records("exposure", instrument="PFS")
    assert record.timespan.isEmpty()


def test_every_camera_has_a_path_of_its_own(incoming, opened):
    """The path template tells apart all data IDs of several visits, and both dataset types."""
    datasets = [
        raw_dataset(ccd_file(incoming / f"{visit}{arm}{number}.fits"), visit, arm, number)
        for visit in (1, 11, 111)
        for arm, number in CAMERAS
    ]
    datasets += [
        config_dataset(config_file(incoming / f"{visit}.fits", visit), visit) for visit in (1, 11, 111)
    ]

    outcomes = opened().ingest([an_exposure(visit) for visit in (1, 11, 111)], datasets)

    assert len({outcome.where for outcome in outcomes}) == len(datasets) == 51


@EVERYWHERE
def test_a_later_camera_joins_its_exposure(incoming, opened):
    """A file whose dither or begin differs a little joins the exposure record that is there."""
    repository = opened()
    repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "r1.fits"))])

    outcomes = repository.ingest([], [raw_dataset(ramp_file(incoming / "n2.fits"), 12, "n", 2, dither=500)])

    assert results(outcomes) == [Stored.STORED]


def test_a_config_without_exposure_keeps_nobody_waiting(root, incoming, opened):
    """A pfsConfig whose exposure is not there is told apart; the others are stored."""
    datasets = [
        config_dataset(config_file(incoming / "13.fits", 13), 13),
        raw_dataset(ccd_file(incoming / "r1.fits")),
        config_dataset(config_file(incoming / "12.fits", 12), 12),
    ]

    outcomes = opened().ingest([an_exposure(12)], datasets)

    assert results(outcomes) == [Stored.NO_EXPOSURE, Stored.STORED, Stored.STORED]
    assert outcomes[0] == Outcome(Stored.NO_EXPOSURE)
    assert count(root) == ((1, 2, 2), 2)


def test_runs_may_be_chosen(incoming, opened):
    """A run that is given takes the place of the usual one, and is made if need be."""
    repository = opened(runs={"raw": "PFS/raw/test"})

    outcomes = repository.ingest(
        [an_exposure(12)],
        [raw_dataset(ccd_file(incoming / "a.fits")), config_dataset(config_file(incoming / "c.fits"))],
    )

    folders = [Path(outcome.where).parent.parent.parent.as_posix() for outcome in outcomes]
    assert [folder.partition("/repo/")[2] for folder in folders] == [
        "PFS/raw/test/raw",
        "PFS/raw/pfsConfig/pfsConfig",
    ]


def test_an_empty_batch_is_nothing(root, opened):
    """Nothing in, nothing out."""
    assert opened().ingest([], []) == []
    assert count(root) == ((0, 0, 0), 0)


@EVERYWHERE
def test_names_are_not_taken_for_uris(incoming, opened):
    """A file whose path has characters that mean something in a URI is stored like any other."""
    source = ccd_file(incoming / "50% #1? a\nb é" / "a.fits")

    (outcome,) = opened().ingest([an_exposure(12)], [raw_dataset(source)])

    assert ResourcePath(outcome.where).read() == source.read_bytes()


@EVERYWHERE
def test_another_file_with_the_same_bytes_is_already_there(incoming, opened):
    """A copy of a stored file is success, said so."""
    repository = opened()
    (first,) = repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])

    (second,) = repository.ingest([], [raw_dataset(ccd_file(incoming / "b.fits"))])

    assert Outcome(Stored.ALREADY_THERE, first.dataset_id, first.where) == second


@EVERYWHERE
def test_other_bytes_are_a_conflict_and_change_nothing(root, incoming, opened):
    """Other bytes of the same size under the same data ID do not touch the stored ones, nor the others."""
    repository = opened()
    (first,) = repository.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])
    stored = artifact_at(root).read()
    other, good = ccd_file(incoming / "b.fits", seed=1), ccd_file(incoming / "c.fits", 12, "b", 1)

    outcomes = repository.ingest([], [raw_dataset(other), raw_dataset(good, 12, "b", 1)])

    assert outcomes[0] == Outcome(Stored.CONFLICT, first.dataset_id, first.where)
    assert outcomes[1].result is Stored.STORED
    assert artifact_at(root).read() == stored


@EVERYWHERE
@pytest.mark.parametrize(
    ("seed", "result"), [(0, Stored.ALREADY_THERE), (1, Stored.CONFLICT)], ids=["same", "other"]
)
def test_of_two_in_one_batch_the_first_is_stored(root, incoming, opened, seed, result):
    """A second file of the same data ID in the same batch is compared with the first."""
    first, second = ccd_file(incoming / "a.fits"), ccd_file(incoming / "b.fits", seed=seed)

    outcomes = opened().ingest([an_exposure(12)], [raw_dataset(first), raw_dataset(second)])

    assert results(outcomes) == [Stored.STORED, result]
    assert outcomes[0].where == outcomes[1].where
    assert artifact_at(root).read() == first.read_bytes()


@EVERYWHERE
def test_the_same_file_twice_in_one_moving_batch(root, incoming, opened):
    """A file that is named twice is stored once, and gone."""
    source = ccd_file(incoming / "a.fits")
    content = source.read_bytes()

    outcomes = opened("move").ingest([an_exposure(12)], [raw_dataset(source), raw_dataset(source)])

    assert results(outcomes) == [Stored.STORED, Stored.ALREADY_THERE]
    assert not source.exists()
    assert artifact_at(root).read() == content


@pytest.mark.parametrize(
    ("root", "transfer"),
    [
        *(
            ("on_disk", transfer)
            for transfer in ("link", "copy", "move", "hardlink", "symlink", "relsymlink")
        ),
        *(("on_servers", transfer) for transfer in ("copy", "move", "auto")),
    ],
    indirect=["root"],
)
def test_an_artifact_without_rows_is_overwritten(root, incoming, opened, transfer):
    """What a crash left in the datastore is replaced by the file."""
    source = ccd_file(incoming / "a.fits")
    content = source.read_bytes()
    residue = artifact_at(root)
    if residue.isLocal:
        residue.dirname().mkdir()
    residue.write(b"half a file")

    (outcome,) = opened(transfer).ingest([an_exposure(12)], [raw_dataset(source)])

    assert outcome.result is Stored.STORED
    assert residue.read() == content


@pytest.mark.parametrize(
    ("root", "transfer"),
    [
        *(("on_disk", transfer) for transfer in ("link", "copy", "move", "symlink", "direct")),
        *(("on_servers", transfer) for transfer in ("copy", "move", "auto")),
    ],
    indirect=["root"],
)
def test_a_missing_artifact_is_stored_again(root, incoming, opened, transfer):
    """Rows whose artifact is gone get it back, under the same id."""
    repository = opened(transfer)
    source = ccd_file(incoming / "a.fits")
    (first,) = repository.ingest([an_exposure(12)], [raw_dataset(source)])
    ResourcePath(first.where).remove()
    elsewhere = ccd_file(incoming / "elsewhere" / "a.fits")

    (second,) = repository.ingest([], [raw_dataset(elsewhere)])

    assert (Stored.STORED, first.dataset_id) == (second.result, second.dataset_id)
    assert get(root, exposure=12, arm="r", spectrograph=1).getImage().shape == (20, 16)
    assert count(root)[0] == (1, 1, 1)


@EVERYWHERE
def test_an_unstored_dataset_is_stored_again(root, incoming, opened):
    """A dataset that `butler prune-datasets --unstore` took away comes back under its id."""
    repository = opened()
    source = ccd_file(incoming / "a.fits")
    (first,) = repository.ingest([an_exposure(12)], [raw_dataset(source)])
    with Butler.from_config(root, writeable=True) as butler:
        butler.pruneDatasets([butler.get_dataset(UUID(first.dataset_id))], disassociate=False, unstore=True)

    outcomes = repository.ingest([], [raw_dataset(source)])

    assert outcomes == [first]


@EVERYWHERE
def test_a_race_for_the_exposure_stores_nothing(root, incoming, opened):
    """An exposure that another process registers with other values meanwhile makes the batch try again."""
    one, other = opened(), opened()
    assert one.designs([12]) == {}
    other.ingest([an_exposure(12, dark_time=99.0)], [raw_dataset(ccd_file(incoming / "b.fits"), 12, "b", 1)])

    with pytest.raises(TryLater) as caught:
        one.ingest([an_exposure(12)], [raw_dataset(ccd_file(incoming / "a.fits"))])

    assert caught.value.code is Code.RACE
    assert count(root) == ((1, 1, 1), 1)
    assert one.designs([12]) == {12: DESIGN}
    assert results(one.ingest([], [raw_dataset(incoming / "a.fits")])) == [Stored.STORED]


@EVERYWHERE
def test_the_same_exposure_from_two_processes_is_no_race(root, incoming, opened):
    """Two processes that store the same new visit both end well, and it is stored once."""
    one, other = opened(), opened()
    datasets = [raw_dataset(ccd_file(incoming / "a.fits"))]
    assert (one.designs([12]), other.designs([12])) == ({}, {})

    outcomes = [*one.ingest([an_exposure(12)], datasets), *other.ingest([an_exposure(12)], datasets)]

    assert results(outcomes) == [Stored.STORED, Stored.ALREADY_THERE]
    assert count(root) == ((1, 1, 1), 1)


@EVERYWHERE
def test_a_dataset_that_somebody_else_ingests_again_is_whole_in_the_end(root, incoming, opened):
    """Butler refuses a known dataset, and its older releases delete the artifact: it is put back."""
    repository = opened()
    source = ccd_file(incoming / "a.fits")
    repository.ingest([an_exposure(12)], [raw_dataset(source)])
    with Butler.from_config(root, writeable=True) as butler:
        (ref,) = butler.query_datasets("raw", collections="PFS/raw/all")
        with pytest.raises(ConflictingDefinitionError):
            butler.ingest(FileDataset(str(source), ref), transfer="copy")

    left = artifact_at(root).exists()

    outcomes = repository.ingest([], [raw_dataset(source)])

    assert results(outcomes) == [Stored.ALREADY_THERE if left else Stored.STORED]
    assert artifact_at(root).read() == source.read_bytes()
