"""`create_repository` against the real daf_butler."""

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from lsst.daf.butler import Butler, Config

from pfs_ingestd.adapters.repository import CreateReport, create_repository, open_repository
from pfs_ingestd.errors import Code, Fatal
from pfs_ingestd.pfs import instrument as pfs
from repository_files import (
    a_repository,
    an_exposure,
    ccd_file,
    raw_dataset,
)

SEED = Path(pfs.__file__).with_name("seed")

ADDED = (
    "1 record of instrument",
    "22 records of detector",
    "4 records of physical_filter",
    "5 records of spectrograph",
    "17 records of arm",
    "dataset type raw",
    "dataset type pfsConfig",
    "RUN collection PFS/raw/all",
    "RUN collection PFS/raw/pfsConfig",
    "CALIBRATION collection PFS/calib",
    "CHAINED collection PFS/defaults",
    "members of PFS/defaults",
)


def contents(root):
    """Dump the registry, whole."""
    with closing(sqlite3.connect(f"{root}/gen3.sqlite3")) as database:
        return list(database.iterdump())


def names(root):
    return sorted(path.name for path in Path(root).iterdir())


def test_a_new_repository_has_what_pfs_needs(tmp_path):
    """Records, dataset types and collections of section "records that must exist first" are there."""
    root = str(tmp_path / "repo")

    report = create_repository(root)

    assert CreateReport(root, created=True, added=ADDED) == report
    assert names(root) == ["butler.yaml", "gen3.sqlite3"]
    with Butler.from_config(root) as butler:
        records = {
            name: sorted(
                tuple(record.dataId.required_values) for record in butler.query_dimension_records(name)
            )
            for name in ("instrument", "spectrograph", "physical_filter", "detector", "arm")
        }
        assert records == {
            "instrument": [("PFS",)],
            "spectrograph": [("PFS", number) for number in range(5)],
            "physical_filter": [("PFS", name) for name in "bmnr"],
            "detector": [("PFS", number) for number in (-10, -7, -4, -1, *range(12), *range(101, 107))],
            "arm": [("PFS", 0, "x"), *(("PFS", number, arm) for number in range(1, 5) for arm in "bmnr")],
        }
        detectors = {record.full_name: record.id for record in butler.query_dimension_records("detector")}
        assert {detector.full_name: detector.id for detector in pfs.DETECTORS} == detectors
        raw = butler.get_dataset_type("raw")
        assert raw.storageClass_name == "PfsRaw"
        assert set(raw.dimensions.required) == {"instrument", "exposure", "arm", "spectrograph"}
        assert set(raw.dimensions.implied) == {"detector", "dither", "pfs_design_id"}
        config = butler.get_dataset_type("pfsConfig")
        assert config.storageClass_name == "PfsConfig"
        assert set(config.dimensions.required) == {"instrument", "exposure"}
        collections = {
            info.name: (info.type.name, info.children)
            for info in butler.collections.query_info("*", include_chains=True)
        }
        assert collections == {
            "PFS/raw/all": ("RUN", ()),
            "PFS/raw/pfsConfig": ("RUN", ()),
            "PFS/calib": ("CALIBRATION", ()),
            "PFS/defaults": ("CHAINED", ("PFS/raw/all", "PFS/raw/pfsConfig", "PFS/calib")),
        }


def test_once_more_changes_nothing_and_says_so(tmp_path):
    """A second `init` on the same repository leaves every row as it is."""
    root = a_repository(tmp_path / "repo")
    before = contents(root)

    report = create_repository(root)

    assert CreateReport(root, created=False, added=()) == report
    assert str(report) == f"{root} has everything already: nothing was changed"
    assert before == contents(root)


def test_what_people_changed_stays(tmp_path):
    """A chain that its users have redefined is left alone."""
    root = a_repository(tmp_path / "repo")
    with Butler.from_config(root, writeable=True) as butler:
        butler.collections.redefine_chain("PFS/defaults", "PFS/raw/all")

    report = create_repository(root)

    assert not report.changed
    with Butler.from_config(root) as butler:
        assert butler.collections.get_info("PFS/defaults").children == ("PFS/raw/all",)


def killed_in_the_workshop(root):
    (root / "pfs-ingestd-init").mkdir(parents=True)
    (root / "pfs-ingestd-init" / "gen3.sqlite3").write_bytes(b"half a database")
    return True


def killed_while_publishing(root):
    Butler.makeRepo(
        str(root / "pfs-ingestd-init"),
        config=Config(str(SEED / "butler.yaml")),
        dimensionConfig=str(SEED / "dimensions.yaml"),
    )
    (root / "pfs-ingestd-init" / "gen3.sqlite3").rename(root / "gen3.sqlite3")
    return True


def killed_after_publishing(root):
    Butler.makeRepo(
        str(root), config=Config(str(SEED / "butler.yaml")), dimensionConfig=str(SEED / "dimensions.yaml")
    )
    (root / "pfs-ingestd-init").mkdir()
    return False


def killed_before_the_chain_had_members(root):
    create_repository(str(root))
    with Butler.from_config(str(root), writeable=True) as butler:
        butler.collections.redefine_chain("PFS/defaults", [])
    return False


@pytest.mark.parametrize(
    "kill",
    [
        killed_in_the_workshop,
        killed_while_publishing,
        killed_after_publishing,
        killed_before_the_chain_had_members,
    ],
)
def test_an_interrupted_init_is_completed(tmp_path, kill):
    """Whenever `init` died, the next one ends with the same repository as if it had not."""
    root = tmp_path / "repo"
    created = kill(root)

    report = create_repository(str(root))

    assert (report.created, report.changed) == (created, True)
    assert names(root) == ["butler.yaml", "gen3.sqlite3"]
    assert not create_repository(str(root)).changed
    whole = a_repository(tmp_path / "whole")
    assert len(contents(whole)) == len(contents(root))


def test_somebody_elses_folder_is_refused(tmp_path):
    """A folder that is not empty and no repository is not touched."""
    (tmp_path / "thesis.tex").write_text("chapter 1")

    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path))

    assert caught.value.code is Code.CONFIGURATION
    assert names(tmp_path) == ["thesis.tex"]


def test_somebody_elses_folder_is_refused_even_after_an_interruption(tmp_path):
    """What an interrupted `init` cannot have left behind is not removed."""
    killed_in_the_workshop(tmp_path)
    (tmp_path / "thesis.tex").write_text("chapter 1")

    with pytest.raises(Fatal):
        create_repository(str(tmp_path))

    assert (tmp_path / "thesis.tex").read_text() == "chapter 1"


def test_a_file_is_refused(tmp_path):
    """A repository cannot be made where a file is."""
    path = tmp_path / "file"
    path.write_text("")

    with pytest.raises(Fatal) as caught:
        create_repository(str(path))

    assert caught.value.code is Code.CONFIGURATION


def test_registry_and_datastore_may_be_elsewhere(tmp_path):
    """`--registry` and `--datastore` are where rows and files go."""
    root, database, files = tmp_path / "repo", tmp_path / "other.sqlite3", tmp_path / "files"
    create_repository(str(root), registry=f"sqlite:///{database}", datastore=str(files))
    source = ccd_file(tmp_path / "in" / "a.fits")
    repository = open_repository(str(root), transfer="copy", runs={}, instrument="PFS")

    (outcome,) = repository.ingest([an_exposure(12)], [raw_dataset(source)])

    repository.close()
    artifact = files / "PFS/raw/all/raw/20261122/12/raw_PFS_12_r1_PFS_raw_all.fits"
    assert outcome.where == artifact.as_uri()
    assert artifact.read_bytes() == source.read_bytes()
    assert names(root) == ["butler.yaml"]


def test_a_registry_in_use_is_refused(tmp_path):
    """A database that holds another repository is not taken over."""
    database = f"sqlite:///{tmp_path}/shared.sqlite3"
    create_repository(str(tmp_path / "first"), registry=database)

    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path / "second"), registry=database)

    assert caught.value.code is Code.CONFIGURATION
    assert names(tmp_path / "second") == []


def test_an_interrupted_init_takes_up_its_registry(tmp_path):
    """A registry elsewhere that an interrupted `init` has made is completed, not refused."""
    database = f"sqlite:///{tmp_path}/elsewhere.sqlite3"
    create_repository(str(tmp_path / "repo"), registry=database)
    (tmp_path / "repo" / "pfs-ingestd-init").mkdir()
    (tmp_path / "repo" / "butler.yaml").unlink()

    report = create_repository(str(tmp_path / "repo"), registry=database)

    assert CreateReport(str(tmp_path / "repo"), created=True, added=()) == report
    assert names(tmp_path / "repo") == ["butler.yaml"]


def test_own_configurations_are_used(tmp_path):
    """`--seed-config` and `--dimension-config` take the place of ours."""
    seed = yaml.safe_load((SEED / "butler.yaml").read_text())
    seed["registry"]["db"] = "sqlite:///<butlerRoot>/registry.sqlite3"
    dimensions = yaml.safe_load((SEED / "dimensions.yaml").read_text())
    dimensions["namespace"] = "observatory"
    (tmp_path / "seed.yaml").write_text(yaml.safe_dump(seed))
    (tmp_path / "dimensions.yaml").write_text(yaml.safe_dump(dimensions))

    create_repository(
        str(tmp_path / "repo"),
        instrument="PFS-F",
        registry="sqlite:///<butlerRoot>/registry.sqlite3",
        seed_config=tmp_path / "seed.yaml",
        dimension_config=tmp_path / "dimensions.yaml",
    )

    assert names(tmp_path / "repo") == ["butler.yaml", "registry.sqlite3"]
    with Butler.from_config(str(tmp_path / "repo")) as butler:
        assert butler.dimensions.namespace == "observatory"
        assert butler.collections.get_info("PFS-F/defaults").children == (
            "PFS-F/raw/all",
            "PFS-F/raw/pfsConfig",
            "PFS-F/calib",
        )


def test_dimensions_of_another_telescope_are_refused(tmp_path):
    """Dimensions without a fibre design make no repository at all."""
    dimensions = yaml.safe_load((SEED / "dimensions.yaml").read_text())
    dimensions["namespace"] = "imager"
    dimensions["elements"]["exposure"]["implies"] = ["dither"]
    (tmp_path / "dimensions.yaml").write_text(yaml.safe_dump(dimensions))

    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path / "repo"), dimension_config=tmp_path / "dimensions.yaml")

    assert caught.value.code is Code.REPOSITORY_UNSUITABLE
    assert names(tmp_path / "repo") == []


@pytest.mark.parametrize("seed", ["a: [", "just words", "datastore: {cls: no.such.Datastore}"])
def test_a_broken_configuration_is_a_configuration_error(tmp_path, seed):
    """A seed that daf_butler cannot use is reported as such, and leaves nothing behind."""
    (tmp_path / "seed.yaml").write_text(seed)

    with pytest.raises(Fatal) as caught:
        create_repository(str(tmp_path / "repo"), seed_config=tmp_path / "seed.yaml")

    assert caught.value.code is Code.CONFIGURATION
    assert names(tmp_path / "repo") == []


def test_a_remote_repository_needs_a_remote_registry():
    """A SQLite file cannot lie at a URI."""
    with pytest.raises(Fatal) as caught:
        create_repository("mem://pfs/repo")

    assert caught.value.code is Code.CONFIGURATION


def test_two_inits_do_not_meet(tmp_path):
    """While one `init` is at work, another one refuses."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(Fatal) as caught:
            create_repository(str(tmp_path))
    finally:
        os.close(descriptor)

    assert caught.value.code is Code.ALREADY_RUNNING
    assert names(tmp_path) == []
