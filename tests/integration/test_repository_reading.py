"""Raws and pfsConfigs, read back as their users do, wherever Butler has taken them meanwhile."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.nddata import CCDData
from click.testing import CliRunner
from lsst.daf.butler import Butler
from lsst.daf.butler.cli.butler import cli as butler_command

import pfs_ingestd.pfs
from pfs_ingestd.adapters.repository import TRANSFERS
from pfs_ingestd.pfs.boxes import Box, Extent
from pfs_ingestd.pfs.instrument import Detector
from pfs_ingestd.pfs.pfs_config import PfsConfig, read_pfs_config
from pfs_ingestd.pfs.raw import PfsRaw
from pfs_ingestd.simulate import VisitPlan, write_ccd, write_pfs_config, write_ramp
from repository_files import (
    DESIGN,
    a_repository,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    get,
    opener_of,
    raw_dataset,
)

R1 = {"exposure": 12, "arm": "r", "spectrograph": 1}
N1 = {"exposure": 12, "arm": "n", "spectrograph": 1}
VISIT = VisitPlan(visit=12, reads=3, small=True)
SEED = Path(pfs_ingestd.pfs.__file__).parent / "seed"

DATAMODEL = '''
import os

class PfsConfig:
    """Like the data model's own: it finds a file by the design and the visit."""

    @classmethod
    def read(cls, pfsDesignId, visit, dirName="."):
        config = cls()
        path = os.path.join(dirName, "pfsConfig-0x%016x-%06d.fits" % (pfsDesignId, visit))
        config.size = os.stat(path).st_size
        return config
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write one file of each kind."""
    folder = tmp_path_factory.mktemp("incoming")
    paths = {
        "ccd": folder / "PFSA00001212.fits",
        "ramp": folder / "PFSB00001213.fits",
        "config": folder / "config.fits",
    }
    write_ccd(paths["ccd"], VISIT, "r1")
    write_ramp(paths["ramp"], VISIT, "n1")
    write_pfs_config(paths["config"], VISIT)
    return paths


@pytest.fixture(scope="module")
def root(tmp_path_factory, files):
    root = a_repository(tmp_path_factory.mktemp("reading") / "repo")
    with opener_of(root) as opened:
        datasets = [
            raw_dataset(files["ccd"]),
            raw_dataset(files["ramp"], 12, "n", 1),
            config_dataset(files["config"]),
        ]
        opened().ingest([an_exposure(12)], datasets)
    return root


@pytest.fixture(scope="module")
def read(root):
    """Read from the repository as users do."""
    with Butler.from_config(root, collections="PFS/defaults") as opened:

        def read(name="raw", **data_id):
            return opened.get(name, instrument="PFS", **data_id)

        yield read


@pytest.fixture
def datamodel(tmp_path):
    """Have a package called like the data model, which other processes may find or not."""
    package = tmp_path / "packages" / "pfs" / "datamodel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(DATAMODEL)
    return package


def butler(*arguments):
    """Run the `butler` command."""
    result = CliRunner().invoke(butler_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_old_way_of_asking_works(root, files):
    """The call of the documentation, by keyword and with the old constructor, gives the image of a CCD."""
    raw = Butler(root, collections="PFS/raw/all").get(
        "raw", instrument="PFS", exposure=12, arm="r", spectrograph=1
    )

    np.testing.assert_array_equal(fits.getdata(files["ccd"], "image"), raw.getImage())


def test_every_component_can_be_read(read):
    """Each component that the storage class declares gives what the raw itself gives."""
    with read(**N1) as raw:
        image = raw.getImage()
        assert read("raw.numReads", **N1) == 3
        assert read("raw.id", **N1) == 12
        assert read("raw.detector", **N1) == Detector(2, "n1", "n", 1) == raw.detector
        assert read("raw.bbox", **N1) == Box(0, 0, 32, 32) == raw.bbox
        assert read("raw.dimensions", **N1) == Extent(32, 32) == raw.dimensions
        assert read("raw.metadata", **N1) == raw.metadata
        assert read("raw.obsInfo", **N1).exposure_id == 12
        np.testing.assert_array_equal(image, read("raw.image", **N1))
        exposure = read("raw.exposure", **N1)
        np.testing.assert_array_equal(image, exposure.data)
        assert (type(exposure), str(exposure.unit), exposure.header["W_VISIT"]) == (CCDData, "adu", 12)
        assert not exposure.mask.any()
        ramp = read("raw.ramp", **N1, parameters={"readNum": 2})
        np.testing.assert_array_equal(raw.getCorrectedNirRead(2), ramp)


@pytest.mark.parametrize("component", ["image", "exposure"])
def test_a_box_reads_a_part(read, component):
    """The parameter `bbox` gives the part of the image that it describes."""
    box = Box(2, 3, 5, 4)

    for data_id in (R1, N1):
        part = read(f"raw.{component}", **data_id, parameters={"bbox": box})
        with read(**data_id) as raw:
            np.testing.assert_array_equal(raw.getImage()[3:7, 2:7], np.asarray(part))


def test_a_box_reads_a_part_of_a_read(read):
    """The parameters `bbox` and `readNum` go together."""
    part = read("raw.ramp", **N1, parameters={"bbox": (2, 3, 5, 4), "readNum": 3})

    with read(**N1) as raw:
        np.testing.assert_array_equal(raw.getCorrectedNirRead(3)[3:7, 2:7], part)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("raw", {"bbox": (0, 0, 1, 1)}, "bbox: no parameter of the whole raw"),
        ("raw.image", {"readNum": 1}, r"readNum: no parameter of raw\.image"),
        ("raw.metadata", {"bbox": (0, 0, 1, 1)}, r"bbox: no parameter of raw\.metadata"),
        ("raw.ramp", {}, r"raw\.ramp needs the parameter readNum"),
        ("raw.image", {"bbox": (30, 0, 3, 1)}, "is not a part of an image"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(read, name, parameters, message):
    """A parameter that is missing, or would be ignored, is an error that says which are taken."""
    with pytest.raises(ValueError, match=message):
        read(name, **N1, parameters=parameters)


def test_a_pfs_config_has_its_tables_and_header(read, files):
    """A pfsConfig is its header and its tables, with units, texts as texts, and their cards."""
    config = read("pfsConfig", exposure=12)

    assert type(config) is PfsConfig
    assert list(config.tables) == ["CONFIG", "PHOTOMETRY", "GUIDESTARS"]
    assert (len(config.config), str(config.config["ra"].unit)) == (2604, "deg")
    assert (config.config["patch"].dtype.kind, config.config.has_masked_values) == ("U", False)
    assert config.tables["GUIDESTARS"].meta["GS_CATID"] == 2001
    assert config.metadata["W_VISIT"] == 12
    assert read("pfsConfig.metadata", exposure=12) == config.metadata
    np.testing.assert_array_equal(fits.getdata(files["config"], "CONFIG")["objId"], config.config["objId"])


def test_the_data_models_own_class_is_used_where_there_is_one(tmp_path, datamodel, monkeypatch):
    """A file without its design in the header is read with the design of the data ID."""
    monkeypatch.syspath_prepend(datamodel.parents[1])
    path = tmp_path / "a.fits"
    fits.PrimaryHDU().writeto(path)
    try:
        config = read_pfs_config(path, {"exposure": 12, "pfs_design_id": DESIGN})
        own = sys.modules["pfs.datamodel"].PfsConfig
        with pytest.raises(ValueError, match="neither its header nor its data ID"):
            read_pfs_config(path, {"exposure": 12})
    finally:
        for name in ("pfs", "pfs.datamodel"):
            sys.modules.pop(name)

    assert (type(config), config.size) == (own, 2880)
    assert isinstance(config, PfsConfig)


def test_a_data_model_that_does_not_work_is_not_hidden(tmp_path, datamodel, monkeypatch):
    """If the package of the data model is there, and lacks another one, that is told."""
    monkeypatch.syspath_prepend(datamodel.parents[1])
    (datamodel / "__init__.py").write_text("import something_else\n")

    try:
        with pytest.raises(ModuleNotFoundError, match="something_else"):
            read_pfs_config(config_file(tmp_path / "a.fits"), {"exposure": 12})
    finally:
        sys.modules.pop("pfs")


def test_artifacts_can_be_retrieved(root, files, tmp_path):
    """`butler retrieve-artifacts` hands out the files as they were ingested."""
    butler("retrieve-artifacts", root, tmp_path, "--dataset-type", "raw", "--dataset-type", "pfsConfig")

    found = {path.read_bytes() for path in tmp_path.rglob("*.fits")}
    assert found == {path.read_bytes() for path in files.values()}
    [ramp] = tmp_path.rglob("*_n1_*.fits")
    with PfsRaw(ramp) as raw:
        assert raw.getNumReads() == 3


def test_datasets_can_be_transferred(root, tmp_path):
    """`butler transfer-datasets` takes raws and pfsConfigs into another repository of ours."""
    other = a_repository(tmp_path / "other")

    butler("transfer-datasets", root, other, "--transfer", "copy", "--transfer-dimensions")

    assert get(other, **R1).getImage().shape == (32, 32)
    assert get(other, "raw.numReads", **N1) == 3
    assert len(get(other, "pfsConfig", exposure=12).config) == 2604


def test_calibrations_made_of_raws_can_be_exported(read, files, tmp_path):
    """`butler export-calibs` takes calibrations of our storage classes with it, to be imported elsewhere."""
    source = a_repository(tmp_path / "source")
    (tmp_path / "files.csv").write_text(f"Filename,arm,spectrograph\n{files['ramp']},n,1\n")
    formatter = "pfs_ingestd.pfs.formatters.PfsRawFormatter"
    other = a_repository(tmp_path / "other")

    butler(
        "register-dataset-type",
        source,
        "dark",
        "PfsRaw",
        "instrument",
        "arm",
        "spectrograph",
        "--is-calibration",
    )
    butler(
        *("ingest-files", source, "dark", "PFS/dark", tmp_path / "files.csv", "--data-id", "instrument=PFS"),
        *("--transfer", "copy", "--formatter", formatter),
    )
    butler("certify-calibrations", source, "PFS/dark", "PFS/calib", "dark", "--begin-date", "2026-01-01")
    butler("export-calibs", source, tmp_path / "calibs", "PFS/calib", "--transfer", "copy")
    butler("import", other, tmp_path / "calibs", "--export-file", tmp_path / "calibs" / "export.yaml")

    with Butler.from_config(other, collections="PFS/dark") as there, read(**N1) as expected:
        dark = there.get("dark", instrument="PFS", arm="n", spectrograph=1)
        np.testing.assert_array_equal(expected.getImage(), dark.getImage())


def test_a_repository_can_be_moved(tmp_path):
    """However its files got there, they can be read in a new place; relative links must still lead there."""
    root = a_repository(tmp_path / "here" / "repo")
    cameras = dict(zip(TRANSFERS, itertools.product("br", (1, 2, 3, 4)), strict=True))
    with opener_of(root) as opened:
        for transfer, camera in cameras.items():
            path = ccd_file(tmp_path / "here" / "in" / f"{transfer}.fits", 12, *camera)
            opened(transfer).ingest([an_exposure(12)], [raw_dataset(path, 12, *camera)])

    def broken():
        """Find the transfer modes whose files cannot be read."""
        with Butler.from_config(root, collections="PFS/raw/all") as there:
            for transfer, (arm, spectrograph) in cameras.items():
                data_id = {"instrument": "PFS", "exposure": 12, "arm": arm, "spectrograph": spectrograph}
                try:
                    assert there.get("raw.dimensions", data_id) == Extent(16, 20)
                except FileNotFoundError:
                    yield transfer

    root = shutil.move(root, tmp_path / "here" / "moved")
    assert list(broken()) == []
    root = shutil.move(root, tmp_path / "moved")
    assert list(broken()) == ["relsymlink"]


def test_reading_needs_nothing_of_the_daemon(root, files, tmp_path, datamodel):
    """Processes that never heard of the daemon read raws, also from repositories that it has not made.

    A repository that lacks our storage classes can take the datasets; to read them it has to be given those.
    The modules loaded are of what is PFS, and of plain values.
    """
    bare = tmp_path / "bare"
    (tmp_path / "seed.yaml").write_text("registry: {db: 'sqlite:///<butlerRoot>/gen3.sqlite3'}\n")
    dimensions = SEED / "dimensions.yaml"
    butler("create", bare, "--seed-config", tmp_path / "seed.yaml", "--dimension-config", dimensions)
    butler(
        *("transfer-datasets", root, bare, "--transfer", "copy", "--dataset-type", "raw"),
        *("--transfer-dimensions", "--register-dataset-types"),
    )
    classes = yaml.safe_load((SEED / "butler.yaml").read_text())["storageClasses"]
    script = f"""
import sys
from lsst.daf.butler import Butler, Config

def shape(root):
    butler = Butler.from_config(root, collections="PFS/raw/all")
    return butler.get("raw", instrument="PFS", exposure=12, arm="r", spectrograph=1).getImage().shape

try:
    shape({str(bare)!r})
except KeyError as error:
    print(error)
with open({str(bare / "butler.yaml")!r}, "a") as file:
    file.write({yaml.safe_dump({"storageClasses": classes})!r})
print(shape({str(bare)!r}))
print(shape({root!r}))
print(*sorted(name for name in sys.modules if name.startswith("pfs_ingestd")))
sys.path.append({str(datamodel.parents[1])!r})
butler = Butler.from_config({root!r}, collections="PFS/defaults")
config = butler.get("pfsConfig", instrument="PFS", exposure=12)
print(type(config).__module__, config.size)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 (our own script)

    missing, bare_shape, own_shape, modules, config = done.stdout.splitlines()
    assert (missing, bare_shape, own_shape) == ("'PfsRaw'", "(32, 32)", "(32, 32)")
    pfs = (
        "boxes",
        "cards",
        "ccd",
        "corrections",
        "description",
        "exposures",
        "formatters",
        "hdus",
        "headers",
    )
    pfs += ("instrument", "obs_info", "pfs_config", "raw", "walk")
    assert modules.split() == [
        *("pfs_ingestd", "pfs_ingestd.errors", "pfs_ingestd.exposure", "pfs_ingestd.pfs"),
        *(f"pfs_ingestd.pfs.{name}" for name in pfs),
        "pfs_ingestd.records",
    ]
    assert config == f"pfs.datamodel {files['config'].stat().st_size}"
