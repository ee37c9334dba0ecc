"""A repository whose observations are visits, with packages that are not installed here."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SEED = {
    "datastore": {
        "root": "<butlerRoot>",
        "formatters": {
            "PfsRaw": "observatory.formatters.RawFormatter",
            "PfsConfig": {"formatter": "observatory.formatters.TableFormatter"},
        },
        "templates": {
            "default": "{run:/}/{datasetType}.{component:?}/{visit:?}/"
            "{datasetType}_{component:?}_{instrument:?}_{visit:?}_{arm:?}{spectrograph:?}_{detector:?}_{run}"
        },
    },
    "registry": {"db": "sqlite:///<butlerRoot>/gen3.sqlite3"},
    "storageClasses": {
        "PfsRaw": {"pytype": "observatory.raw.Raw"},
        "PfsConfig": {"pytype": "observatory.config.Config"},
    },
}

WHOLE = {"type": "int"}
TEXT = {"type": "string", "length": 64}
OF = {"requires": ["instrument"]}

DIMENSIONS = {
    "version": 3,
    "namespace": "observatory",
    "skypix": {"common": "htm7", "htm": {"class": "lsst.sphgeom.HtmPixelization", "max_level": 24}},
    "elements": {
        "instrument": {
            "doc": "",
            "governor": True,
            "keys": [{"name": "name", **TEXT}],
            "metadata": [{"name": "visit_max", **WHOLE}],
        },
        "spectrograph": {"doc": "", **OF, "keys": [{"name": "num", **WHOLE}]},
        "arm": {"doc": "", **OF, "keys": [{"name": "name", **TEXT}]},
        "detector": {
            "doc": "",
            **OF,
            "implies": ["arm", "spectrograph"],
            "keys": [{"name": "id", **WHOLE}, {"name": "full_name", **TEXT}],
        },
        "pfs_design_id": {"doc": "", **OF, "keys": [{"name": "value", **WHOLE}]},
        "dither": {"doc": "", **OF, "keys": [{"name": "value", **WHOLE}]},
        "visit": {
            "doc": "",
            **OF,
            "implies": ["pfs_design_id", "dither"],
            "keys": [{"name": "id", **WHOLE}, {"name": "obs_id", **TEXT}],
            "metadata": [{"name": "day_obs", **WHOLE}, {"name": "sky_angle", "type": "float"}],
        },
        "cat_id": {"doc": "", **OF, "keys": [{"name": "id", **WHOLE}]},
        "targets": {"doc": "", "requires": ["visit", "cat_id"], "always_join": True},
        "obj_group": {"doc": "", "requires": ["instrument", "cat_id"], "keys": [{"name": "id", **WHOLE}]},
    },
    "topology": {"temporal": {"observation_timespans": ["visit"]}},
}

# Storage classes belong to a whole process, and theirs are not ours: it needs one of its own.
SCRIPT = """
import sys
from pathlib import Path

sys.path[:0] = {path!r}
from pfs_ingestd.adapters.repository import create_repository, open_repository
from repository_files import *

folder = Path({folder!r})
print(create_repository(
    str(folder / "repo"),
    seed_config=folder / "seed.yaml", dimension_config=folder / "dimensions.yaml",
).changed)
repository = open_repository(str(folder / "repo"), transfer="copy", runs={{}}, instrument="PFS")
datasets = [
    raw_dataset(ccd_file(folder / "a.fits")), config_dataset(config_file(folder / "c.fits"))
]
print(*(str(result) for result in results(repository.ingest([an_exposure(12)], datasets))), sep=",")
print(*(str(result) for result in results(repository.ingest([], datasets))), sep=",")
print(repository.designs([12, 13]))
print(sorted((row[1], row[2]) for row in rows(folder / "repo", "file_datastore_records")))
print(rows(folder / "repo", "targets"))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seed.yaml").write_text(yaml.safe_dump(SEED))
    (tmp_path / "dimensions.yaml").write_text(yaml.safe_dump(DIMENSIONS))
    return tmp_path


def test_a_repository_of_visits_is_taken_as_it_is(folder):
    """Dimensions, columns, run and formatters are those of the repository, importable or not."""
    script = SCRIPT.format(path=[str(Path(__file__).parents[1])], folder=str(folder))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603 (our own script)

    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "True",
        "stored,stored",
        "already there,already there",
        f"{{12: {0x7000000000000001}}}",
        str(
            [
                (
                    "PFS/raw/pfsConfig/pfsConfig/12/pfsConfig_PFS_12_PFS_raw_pfsConfig.fits",
                    "observatory.formatters.TableFormatter",
                ),
                (
                    "PFS/raw/sps/raw/12/raw_PFS_12_r1_PFS_raw_sps.fits",
                    "observatory.formatters.RawFormatter",
                ),
            ]
        ),
        "[('PFS', 3, 12), ('PFS', 1001, 12)]",
    ]
