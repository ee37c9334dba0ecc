"""Repositories to spoil, and small files in the three shapes of PFS data, for tests of the repository."""

import shutil
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import comparing, create_repository, open_repository
from pfs_ingestd.adapters.repository.comparing import uri_of
from pfs_ingestd.adapters.repository.copying import always
from pfs_ingestd.adapters.repository.objects import objects_below
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.pfs.instrument import ARM_NUMBERS, detector_number
from pfs_ingestd.ports import Dataset
from pfs_ingestd.records import FileName, Kind, Sighting
from postgres import asking

__all__ = [
    "ARTIFACT",
    "CCD_BYTES",
    "DESIGN",
    "EVERYWHERE",
    "a_repository",
    "an_exposure",
    "artifact_at",
    "artifacts_of",
    "ccd_file",
    "commits",
    "compared",
    "config_dataset",
    "config_file",
    "count",
    "get",
    "is_served",
    "opener_of",
    "ramp_file",
    "raw_dataset",
    "results",
    "rows",
    "seen",
]

EVERYWHERE = pytest.mark.parametrize("root", ["on_disk", "on_servers"], indirect=True)
"""Marks a test that has to hold whatever the repository is on."""

DESIGN = 0x7000000000000001

ARTIFACT = "PFS/raw/all/raw/20261122/12/raw_PFS_12_r1_PFS_raw_all.fits"
"""Where the raw of visit 12, r1, is stored."""

CCD_BYTES = 8640
"""The size of what `ccd_file` writes."""

_STORED = ("exposure", "dataset", "file_datastore_records")

_NUMBERS = {arm: number for number, arm in ARM_NUMBERS.items()}


def a_repository(root):
    """Make a repository like that of `pfs-ingestd init`, only faster: a copy of one that the tests share."""
    # In the folder that pytest makes for each worker process and cleans up: no two of them meet there.
    template = Path(root).parents[1] / "template-repository"
    if not template.exists():
        create_repository(str(template))
    shutil.copytree(template, root)
    return str(root)


@contextmanager
def opener_of(root):
    """Open a repository with any transfer, any number of times; all are closed in the end."""
    repositories = []

    def opener(transfer="copy", runs=()):
        repository = open_repository(root, transfer=transfer, runs=dict(runs), instrument="PFS")
        repositories.append(repository)
        return repository

    try:
        yield opener
    finally:
        for repository in repositories:
            repository.close()


def rows(root, table, columns="*"):
    """Read a table of the registry."""
    query = f'SELECT {columns} FROM "{table}"'  # noqa: S608 (constants of the test)
    registry = _configuration(root)["registry"]["db"]
    if registry.startswith("postgresql"):
        with asking(registry) as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    with closing(sqlite3.connect(f"{root}/gen3.sqlite3")) as database:
        return database.execute(query).fetchall()


def commits(root):
    """Tell a number that grows by one with each transaction that stores something."""
    if not is_served(root):
        # SQLite counts its commits in bytes 24 to 27.
        return int.from_bytes(Path(root, "gen3.sqlite3").read_bytes()[24:28])
    # PostgreSQL marks each row with the transaction that made it.
    return len({mark for table in _STORED for mark in rows(root, table, "xmin::text")})


def count(root):
    """Count exposures, datasets and recorded artifacts, and the files or objects that are there."""
    return tuple(len(rows(root, table)) for table in _STORED), len(artifacts_of(root))


def is_served(root):
    """Say whether the repository is on servers."""
    return _configuration(root)["datastore"]["root"].startswith("s3:")


def artifacts_of(root):
    """List what there is in the datastore: in that of a folder, below the instrument's name."""
    if not is_served(root):
        folder = Path(_datastore(root).ospath, "PFS")
        return [uri_of(path) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return [found.uri for found in objects_below(_datastore(root))]


def artifact_at(root, path=ARTIFACT):
    """Name the artifact at a place in the datastore, by default that of visit 12, r1."""
    return _datastore(root).join(path, forceDirectory=False)


def _datastore(root):
    place = _configuration(root)["datastore"]["root"].replace("<butlerRoot>", str(root))
    return ResourcePath(place, forceDirectory=True)


def _configuration(root):
    return yaml.safe_load(Path(root, "butler.yaml").read_text())


def get(root, name="raw", **data_id):
    """Read a dataset as users do."""
    with Butler.from_config(root, collections="PFS/defaults") as butler:
        return butler.get(name, instrument="PFS", **data_id)


def results(outcomes):
    """Pick what became of each dataset."""
    return [outcome.result for outcome in outcomes]


def an_exposure(visit, **changes):
    """Make the record of a visit."""
    begin = 1_760_000_000_000_000_000 + visit * 60_000_000_000
    values = {
        "instrument": "PFS",
        "id": visit,
        "obs_id": str(visit),
        "group_id": visit,
        "seq_num": visit,
        "pfs_design_id": DESIGN,
        "dither": -122,
        "shift": 0.1,
        "focus": None,
        "begin_ns": begin,
        "end_ns": begin + 30_000_000_000,
        "day_obs": 20261122,
        "exposure_time": 30.0,
        "dark_time": 31.0,
        "observation_type": "science",
        "observation_reason": "science",
        "science_program": "o26-test",
        "group_name": "field",
        "target_name": None,
        "tracking_ra": 359.99999,
        "tracking_dec": -0.0000025,
        "zenith_angle": 30.0,
        "lamps": "Argon,Neon",
        "irp_ratio": None,
    }
    return Exposure(**(values | changes))


def _primary(visit, arm, spectrograph):
    cards = {"W_VISIT": visit, "W_ARM": _NUMBERS[arm], "W_SPMOD": spectrograph, "EXPTIME": 30.0}
    return fits.PrimaryHDU(header=fits.Header(cards))


def _image(seed, shape, name):
    pixels = np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)
    hdu = fits.CompImageHDU(pixels, name=name, compression_type="RICE_1")
    # The observatory demands the card; none of the values is meant to be missing.
    hdu.header["BLANK"] = -32768
    return hdu


def ccd_file(path, visit=12, arm="r", spectrograph=1, *, seed=0):
    """Write a CCD file; the seed chooses its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [_primary(visit, arm, spectrograph), _image(seed, (20, 16), "image")]
    fits.HDUList(hdus).writeto(path, output_verify="silentfix")
    return path


def ramp_file(path, visit=12, spectrograph=1, *, reads=3, ratio=1, seed=0):
    """Write a ramp with a reset frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [_primary(visit, "n", spectrograph)]
    for number, name in enumerate(("RESET_{}_1", *(f"{{}}_{read}" for read in range(1, reads + 1)))):
        hdus.append(_image(seed + 2 * number, (16, 16), name.format("IMAGE")))
        hdus.append(_image(seed + 2 * number + 1, (16, 16 // ratio), name.format("REF")))
    fits.HDUList(hdus).writeto(path, output_verify="silentfix")
    return path


def config_file(path, visit=12, *, cat_ids=(1001, 1001, 3)):
    """Write a pfsConfig."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = fits.BinTableHDU.from_columns([fits.Column("catId", "J", array=np.array(cat_ids))], name="CONFIG")
    primary = fits.PrimaryHDU(header=fits.Header({"W_VISIT": visit, "W_PFDSGN": DESIGN}))
    fits.HDUList([primary, table]).writeto(path)
    path.chmod(0o444)
    return path


def raw_dataset(path, visit=12, arm="r", spectrograph=1, **changes):
    """Describe a raw file."""
    values = {
        "instrument": "PFS",
        "visit": visit,
        "arm": arm,
        "spectrograph": spectrograph,
        "detector": detector_number(arm, spectrograph),
        "pfs_design_id": DESIGN,
        "dither": -122,
        "cards": {},
    }
    return Dataset(Path(path), RawHeader(**(values | changes)))


def config_dataset(path, visit=12, cat_ids=(3, 1001)):
    """Describe a pfsConfig file."""
    return Dataset(Path(path), ConfigHeader(visit=visit, pfs_design_id=DESIGN, cat_ids=cat_ids))


def seen(dataset):
    """Look at the file of a raw of visit 12."""
    status = dataset.path.stat()
    sighting = Sighting(
        path=dataset.path,
        name=FileName(kind=Kind.RAW, visit=12),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )
    return replace(dataset, seen=sighting)


def compared(dataset, outcome):
    """Compare a file with its artifact, as the copier does."""
    artifact = ResourcePath(outcome.where)
    return replace(dataset, comparison=comparing.compared(artifact, dataset.seen, always))
