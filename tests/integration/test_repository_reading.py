"""Raws and pfsConfigs, read back as their users do."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from pfs_ingestd.pfs.instrument import Detector
from pfs_ingestd.pfs.raw import Box, Extent, PfsRaw
from repository_files import (
    a_repository,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    get,
    opener_of,
    ramp_file,
    raw_dataset,
)

R1 = {"exposure": 12, "arm": "r", "spectrograph": 1}
N1 = {"exposure": 12, "arm": "n", "spectrograph": 1}


@pytest.fixture
def files(tmp_path):
    """Write one file of each kind."""
    return {
        "ccd": ccd_file(tmp_path / "r1.fits"),
        "ramp": ramp_file(tmp_path / "n1.fits"),
        "config": config_file(tmp_path / "config.fits"),
    }


@pytest.fixture
def root(tmp_path, files):
    root = a_repository(tmp_path / "repo")
    with opener_of(root) as opened:
        datasets = [
            raw_dataset(files["ccd"]),
            raw_dataset(files["ramp"], 12, "n", 1),
            config_dataset(files["config"]),
        ]
        opened().ingest([an_exposure(12)], datasets)
    return root


def pixels(path, name):
    """Read what the file has, as whole numbers that do not wrap around."""
    with fits.open(path) as hdus:
        return hdus[name].data.astype(np.int64)


def test_the_image_of_a_ccd_is_what_the_file_has(root, files):
    """`getImage` gives a CCD's counts, untouched, whatever BLANK says."""
    with get(root, **R1) as raw:
        assert (raw.isCcd(), raw.isNir(), raw.getNumReads()) == (True, False, 1)
        assert raw.getImage().dtype == np.uint16
        np.testing.assert_array_equal(pixels(files["ccd"], "image"), raw.getImage())


def test_the_image_of_a_ramp_is_the_difference_of_its_corrected_reads(root, files):
    """`getImage` gives the last read less the first, each less its reference."""
    first, last = (
        pixels(files["ramp"], f"IMAGE_{read}") - pixels(files["ramp"], f"REF_{read}") for read in (1, 3)
    )

    with get(root, **N1) as raw:
        assert (raw.isCcd(), raw.isNir(), raw.getNumReads()) == (False, True, 3)
        assert raw.getImage().dtype == np.float32
        np.testing.assert_array_equal(last - first, raw.getImage())
        np.testing.assert_array_equal(first, raw.getCorrectedNirRead(1))


def test_one_reference_pixel_may_serve_several(tmp_path):
    """Where every fourth pixel has a reference, it is taken for its neighbours, in parts of the image too."""
    path = ramp_file(tmp_path / "n1.fits", ratio=4)
    expected = pixels(path, "IMAGE_2") - np.repeat(pixels(path, "REF_2"), 4, axis=1)

    with PfsRaw(str(path)) as raw:
        np.testing.assert_array_equal(expected, raw.getCorrectedNirRead(2))
        for x, width in ((0, 16), (3, 2), (5, 9), (15, 1)):
            part = raw.getCorrectedNirRead(2, Box(x, 2, width, 5))
            np.testing.assert_array_equal(expected[2:7, x : x + width], part)


def test_the_reads_are_counted_not_believed(tmp_path):
    """An interrupted ramp has the reads that are there, not those that its header promises."""
    path = ramp_file(tmp_path / "n1.fits", reads=2)
    fits.setval(path, "W_H4NRED", value=6)

    with PfsRaw(str(path)) as raw:
        assert raw.getNumReads() == 2
        with pytest.raises(IndexError):
            raw.getNirRead(3)


def test_a_ramp_of_one_read_is_that_read(tmp_path):
    """With a single read there is nothing to subtract."""
    path = ramp_file(tmp_path / "n1.fits", reads=1)

    with PfsRaw(str(path)) as raw:
        np.testing.assert_array_equal(pixels(path, "IMAGE_1") - pixels(path, "REF_1"), raw.getImage())


def test_cards_of_the_simulator_are_found(tmp_path):
    """A file with an empty primary header and a letter for its arm is described by its image's header."""
    path = tmp_path / "sim.fits"
    image = fits.ImageHDU(
        np.zeros((4, 5), np.uint16), fits.Header({"W_VISIT": 7, "W_ARM": "b", "W_SPMOD": 2})
    )
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)

    with PfsRaw(str(path)) as raw:
        assert (raw.id, raw.detector) == (7, Detector(3, "b2", "b", 2))
        assert "BITPIX" not in raw.metadata


def test_a_raw_can_be_read_after_its_file_is_gone(tmp_path):
    """A raw of a remote datastore outlives the temporary file that it was downloaded to."""
    path = ccd_file(tmp_path / "a.fits")
    expected = pixels(path, "image")

    with PfsRaw(str(path)) as raw:
        path.unlink()
        np.testing.assert_array_equal(expected, raw.getImage())


def test_every_component_can_be_read(root, files):
    """Each component that the storage class declares gives what the raw itself gives."""
    with get(root, **N1) as raw:
        image = raw.getImage()
        assert get(root, "raw.numReads", **N1) == 3
        assert get(root, "raw.id", **N1) == 12
        assert get(root, "raw.detector", **N1) == Detector(2, "n1", "n", 1) == raw.detector
        assert get(root, "raw.bbox", **N1) == Box(0, 0, 16, 16) == raw.bbox
        assert get(root, "raw.dimensions", **N1) == Extent(16, 16) == raw.dimensions
        assert get(root, "raw.metadata", **N1) == raw.metadata
        np.testing.assert_array_equal(image, get(root, "raw.image", **N1))
        exposure = get(root, "raw.exposure", **N1)
        np.testing.assert_array_equal(image, exposure.data)
        assert (type(exposure), str(exposure.unit), exposure.meta["W_VISIT"]) == (CCDData, "adu", 12)
        ramp = get(root, "raw.ramp", **N1, parameters={"readNum": 2})
        np.testing.assert_array_equal(pixels(files["ramp"], "IMAGE_2"), ramp)


@pytest.mark.parametrize("component", ["image", "exposure"])
def test_a_box_reads_a_part(root, component):
    """The parameter `bbox` gives the part of the image that it describes."""
    box = Box(2, 3, 5, 4)

    for data_id in (R1, N1):
        part = get(root, f"raw.{component}", **data_id, parameters={"bbox": box})
        with get(root, **data_id) as raw:
            np.testing.assert_array_equal(raw.getImage()[3:7, 2:7], np.asarray(part))


def test_a_part_of_nothing_in_particular_is_refused(root):
    """A parameter that would be ignored is an error."""
    with pytest.raises(ValueError, match="component"):
        get(root, **R1, parameters={"bbox": Box(0, 0, 1, 1)})


def test_a_pfs_config_has_its_tables_and_header(root):
    """A pfsConfig is its header and its tables."""
    config = get(root, "pfsConfig", exposure=12)

    assert list(config.config["catId"]) == [1001, 1001, 3]
    assert config.metadata["W_VISIT"] == 12
    assert get(root, "pfsConfig.metadata", exposure=12) == config.metadata


def test_reading_needs_nothing_of_the_daemon(root):
    """A process that never imported the daemon reads a raw, and imports only what describes PFS data."""
    script = f"""
import sys
from lsst.daf.butler import Butler
raw = Butler({root!r}, collections="PFS/raw/all").get(
    "raw", instrument="PFS", exposure=12, arm="r", spectrograph=1
)
print(raw.getImage().shape, *sorted(name for name in sys.modules if name.startswith("pfs_ingestd")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 (our own script)

    shape, modules = done.stdout[:8], done.stdout[8:].split()
    assert shape == "(20, 16)"
    assert modules == [
        "pfs_ingestd",
        "pfs_ingestd.pfs",
        "pfs_ingestd.pfs.formatters",
        "pfs_ingestd.pfs.instrument",
        "pfs_ingestd.pfs.pfs_config",
        "pfs_ingestd.pfs.raw",
    ]
