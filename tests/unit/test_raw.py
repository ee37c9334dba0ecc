"""Raw files as their readers see them: CCDs and ramps, today's and old ones."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from pfs_ingestd.pfs.boxes import Box, Extent
from pfs_ingestd.pfs.instrument import Detector
from pfs_ingestd.pfs.raw import PfsRaw

CCD = {"W_VISIT": 12, "W_ARM": 2, "W_SPMOD": 1}
NIR = {"W_VISIT": 12, "W_ARM": 3, "W_SPMOD": 1}
SHAPE = (24, 32)  # rows and columns, in the file


def noise(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def a_ramp(reads, *, ratio=1, prefix="", shape=SHAPE):
    """Make the images of a ramp, by name; one in several pixels has a reference."""
    shapes = {"IMAGE": shape, "REF": (shape[0], shape[1] // ratio)}
    return {
        f"{prefix}{kind}_{n}": noise(2 * n + (kind == "REF"), shapes[kind])
        for n in range(1, reads + 1)
        for kind in ("IMAGE", "REF")
    }


def write(path, cards, images, *, compressed=True):
    """Write a raw; images have names."""
    hdus = [fits.PrimaryHDU(header=fits.Header(cards))]
    for name, pixels in images.items():
        if compressed:
            hdus.append(fits.CompImageHDU(pixels, name=name, compression_type="RICE_1"))
        else:
            hdus.append(fits.ImageHDU(pixels, name=name))
    fits.HDUList(hdus).writeto(path)
    return path


def less(images, n, ratio=1):
    """Subtract a reference read, as whole numbers that do not wrap around, in the file's orientation."""
    reference = images[f"REF_{n}"].repeat(ratio, axis=1)
    return images[f"IMAGE_{n}"].astype(np.int64) - reference.astype(np.int64)


def shifted(image):
    """Shift the pixels of an image as the first electronics did."""
    height, width = image.shape
    wrong = image.copy()
    for first in range(0, width, width // 8):
        stream = image[:, first : first + width // 8].ravel()
        wrong[:, first : first + width // 8] = np.insert(stream, 0, 7)[:-1].reshape(height, -1)
    return wrong


def bytes_read():
    """Tell how much this process has read so far, from whatever file."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def test_a_ccd_has_one_image(tmp_path):
    """A CCD is given as the file has it: counts, unsigned, not turned."""
    image = noise(0)

    with PfsRaw(write(tmp_path / "a.fits", CCD, {"image": image})) as raw:
        assert (raw.isCcd(), raw.isNir(), raw.getNumReads()) == (True, False, 1)
        assert (raw.id, raw.detector) == (12, Detector(1, "r1", "r", 1))
        assert (raw.dimensions, raw.bbox) == (Extent(32, 24), Box(0, 0, 32, 24))
        assert raw.getImage().dtype == np.uint16
        np.testing.assert_array_equal(image, raw.getImage())


@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "plain"])
@pytest.mark.parametrize("resets", [0, 1])
def test_a_ramp_is_its_last_read_less_the_first(tmp_path, resets, compressed):
    """A ramp, with or without reset frames, compressed or not, is the difference of its corrected reads."""
    images = a_ramp(3)
    path = write(tmp_path / "a.fits", NIR, a_ramp(resets, prefix="RESET_") | images, compressed=compressed)

    with PfsRaw(path) as raw:
        assert (raw.isCcd(), raw.isNir(), raw.getNumReads()) == (False, True, 3)
        assert (raw.id, raw.detector) == (12, Detector(2, "n1", "n", 1))
        assert (raw.dimensions, raw.bbox) == (Extent(24, 32), Box(0, 0, 24, 32))
        assert raw.getImage().dtype == np.float32
        np.testing.assert_array_equal(np.rot90(less(images, 3) - less(images, 1)), raw.getImage())
        for n in (1, 2, 3):
            np.testing.assert_array_equal(np.rot90(less(images, n)), raw.getCorrectedNirRead(n))
            np.testing.assert_array_equal(np.rot90(images[f"IMAGE_{n}"]), raw.getNirRead(n))
            np.testing.assert_array_equal(np.rot90(images[f"REF_{n}"]), raw.getNirRead(n, "REF"))


def test_a_ramp_is_turned_as_in_the_observatorys_pipeline(tmp_path):
    """The pixel at the origin of a ramp's file comes to the first column and the last row."""
    image = np.zeros(SHAPE, np.uint16)
    image[0, 0] = 9
    images = {"IMAGE_1": image, "REF_1": np.zeros(SHAPE, np.uint16)}

    with PfsRaw(write(tmp_path / "a.fits", NIR, images)) as raw:
        assert np.argwhere(raw.getImage() == 9).tolist() == [[31, 0]]


def test_a_reference_may_serve_several_pixels(tmp_path):
    """Where one pixel in four has a reference, it is taken for its neighbours, in parts of the image too."""
    images = a_ramp(2, ratio=4)
    expected = np.rot90(less(images, 2, ratio=4))

    with PfsRaw(write(tmp_path / "a.fits", NIR, images)) as raw:
        np.testing.assert_array_equal(expected, raw.getCorrectedNirRead(2))
        for y, height in ((0, 32), (3, 2), (5, 9), (31, 1), (4, 4)):
            part = raw.getCorrectedNirRead(2, Box(2, y, 5, height))
            np.testing.assert_array_equal(expected[y : y + height, 2:7], part)


def test_a_ramp_of_one_read_is_that_read(tmp_path):
    """With a single read there is nothing to subtract but its reference."""
    images = a_ramp(1)

    with PfsRaw(write(tmp_path / "a.fits", NIR, images)) as raw:
        np.testing.assert_array_equal(np.rot90(less(images, 1)), raw.getImage())


def test_an_interrupted_ramp_has_the_reads_that_are_there(tmp_path):
    """Reads are counted, each with its reference, whatever the header promises."""
    images = a_ramp(3)
    del images["REF_3"]

    with PfsRaw(write(tmp_path / "a.fits", NIR | {"W_H4NRED": 6}, images)) as raw:
        assert raw.getNumReads() == 2
        np.testing.assert_array_equal(np.rot90(less(images, 2) - less(images, 1)), raw.getImage())
        for n in (0, 3, -1):
            with pytest.raises(IndexError, match=f"no IMAGE_{n}; the number of reads is 2"):
                raw.getNirRead(n)


def test_a_nir_image_without_reads_is_turned_like_one(tmp_path):
    """The summary that a NIR file held for a while is its image; it has no reads."""
    image = noise(0)

    with PfsRaw(write(tmp_path / "a.fits", NIR, {"image": image})) as raw:
        assert (raw.isNir(), raw.getNumReads(), raw.dimensions) == (True, 0, Extent(24, 32))
        np.testing.assert_array_equal(np.rot90(image), raw.getImage())
        np.testing.assert_array_equal(np.rot90(image)[3:5, 1:8], raw.getImage(Box(1, 3, 7, 2)))
        with pytest.raises(IndexError):
            raw.getCorrectedNirRead(1)


def test_a_simulated_file_is_described_by_its_image(tmp_path):
    """Cards are found in the header of the image if the primary one is empty, a letter for the arm too."""
    path = tmp_path / "a.fits"
    image = fits.CompImageHDU(noise(0), fits.Header({"W_VISIT": 7, "W_ARM": "b", "W_SPMOD": 2}))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)

    with PfsRaw(path) as raw:
        assert (raw.id, raw.detector) == (7, Detector(3, "b2", "b", 2))
        assert dict(raw.metadata) == {"W_VISIT": 7, "W_ARM": "b", "W_SPMOD": 2}


@pytest.mark.parametrize(
    ("version", "is_repaired"),
    [("0x0070", True), ("0x006f", True), ("0x0071", False), ("0x0081", False), ("none", False), (7, False)],
)
def test_shifted_pixels_are_put_back(tmp_path, version, is_repaired):
    """Pixels that the electronics shifted by one, up to version 0x0070, are back in their places."""
    image = noise(0)
    wrong = shifted(image)
    # The last pixel of each amplifier was lost.
    image[-1, 3::4] = wrong[-1, 3::4]
    path = write(tmp_path / "a.fits", CCD | {"HIERARCH W_VERSIONS_FPGA": version}, {"image": wrong})
    expected = image if is_repaired else wrong

    with PfsRaw(path) as raw:
        np.testing.assert_array_equal(expected, raw.getImage())
        for x, y, width, height in ((0, 0, 32, 24), (3, 5, 2, 1), (7, 22, 9, 2), (31, 23, 1, 1)):
            part = raw.getImage(Box(x, y, width, height))
            np.testing.assert_array_equal(expected[y : y + height, x : x + width], part)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Open a CCD file and a ramp for many readings."""
    folder = tmp_path_factory.mktemp("both")
    ccd = write(folder / "ccd.fits", CCD, {"image": noise(0)})
    ramp = write(folder / "ramp.fits", NIR, a_ramp(2, ratio=4))
    with PfsRaw(ccd) as first, PfsRaw(ramp) as second:
        yield [(first, first.getImage()), (second, second.getImage())]


@settings(max_examples=20)
@given(data=st.data())
def test_any_box_is_that_part_of_the_image(both, data):
    """A box gives what slicing the whole image gives, of both kinds."""
    for raw, image in both:
        height, width = image.shape
        x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        box = Box(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
        part = image[y : y + box.height, x : x + box.width]
        np.testing.assert_array_equal(part, raw.getImage(box))


@pytest.mark.parametrize(
    "box", [Box(-1, 0, 2, 2), Box(0, -1, 2, 2), Box(0, 0, 0, 2), Box(0, 0, 2, -1), Box(20, 20, 13, 13)]
)
def test_a_box_outside_of_the_image_is_refused(both, box):
    """A box that is empty, or not within the image, is an error and not a smaller box."""
    for raw, _ in both:
        for read in (raw.getImage, raw.getExposure):
            with pytest.raises(ValueError, match="is not a part of an image of"):
                read(box)


def test_an_exposure_has_unit_header_and_mask(tmp_path):
    """Pixels at either end of the converter's range are masked; of a ramp, those of any read that counts."""
    pixels = np.full(SHAPE, 1000, np.uint16)
    low, high = pixels.copy(), pixels.copy()
    low[1, 2], high[3, 4] = 0, 65535
    ramp = {"IMAGE_1": low, "REF_1": 0 * pixels, "IMAGE_2": 0 * pixels, "REF_2": pixels}
    ramp |= {"IMAGE_3": high, "REF_3": 0 * pixels}

    with PfsRaw(write(tmp_path / "n.fits", NIR, ramp)) as raw:
        nir = raw.exposure
    with PfsRaw(write(tmp_path / "r.fits", CCD, {"image": np.minimum(low, high)})) as raw:
        ccd = raw.exposure

    assert (str(nir.unit), nir.header["W_ARM"], str(ccd.unit), ccd.header["W_ARM"]) == ("adu", 3, "adu", 2)
    assert np.argwhere(np.rot90(nir.mask, -1)).tolist() == [[1, 2], [3, 4]]
    assert np.argwhere(ccd.mask).tolist() == [[1, 2]]


def test_only_what_is_asked_for_is_read(tmp_path):
    """Opening a ramp costs nothing, its header the first two headers, a read that read, a box its rows."""
    shape = (512, 512)
    path = write(tmp_path / "a.fits", NIR, a_ramp(6, shape=shape))
    read = path.stat().st_size / 12
    costs = []
    before = bytes_read()
    with PfsRaw(path) as raw:
        for do in (
            repr,
            lambda raw: raw.metadata,
            PfsRaw.getNumReads,
            lambda raw: raw.getNirRead(4),
            lambda raw: raw.getCorrectedNirRead(4),
            PfsRaw.getImage,
            lambda raw: raw.getImage(Box(100, 0, 4, 512)),
        ):
            do(raw)
            costs.append(bytes_read() - before)
            before = bytes_read()

    opened, metadata, counted, one, corrected, image, part = costs
    spare = 10_000  # what the counting itself costs, and the worker process of the tests
    assert opened < spare
    assert metadata < 60_000 + spare
    assert counted < 11 * 12_000 + spare
    assert read - 12_000 < one < read + spare
    assert 2 * (read - 12_000) < corrected < 2 * read + spare
    assert 4 * (read - 12_000) < image < 4 * read + spare
    assert part < 4 * (8 * 512 + read * 4 / 512) + spare


def test_a_raw_can_be_read_after_its_file_is_gone(tmp_path):
    """A raw of a remote datastore outlives the temporary file that it was downloaded to."""
    image = noise(0)
    path = write(tmp_path / "a.fits", CCD, {"image": image})

    with PfsRaw(path) as raw:
        path.unlink()
        np.testing.assert_array_equal(image, raw.getImage())


def test_a_truncated_file_is_an_error_each_time(tmp_path):
    """Whoever reads a ramp that ends early is told so, again and again, and what there is can be read."""
    images = a_ramp(2)
    path = write(tmp_path / "a.fits", NIR, images)
    content = path.read_bytes()
    path.write_bytes(content[:-100])

    with PfsRaw(path) as raw:
        assert raw.metadata["W_VISIT"] == 12
        for _ in range(2):
            with pytest.raises(OSError, match=r"a\.fits: the file ends .* before the end of HDU 4 \(REF_2\)"):
                raw.getImage()


def test_a_file_without_an_image_is_an_error(tmp_path):
    """A header alone is no raw."""
    with (
        PfsRaw(write(tmp_path / "a.fits", CCD, {})) as raw,
        pytest.raises(OSError, match="there is no image in the file"),
    ):
        raw.getImage()


def test_a_camera_that_does_not_exist_is_an_error(tmp_path):
    """A header whose camera is none of PFS has no detector."""
    path = write(tmp_path / "a.fits", CCD | {"W_SPMOD": 5}, {"image": noise(0)})

    with PfsRaw(path) as raw, pytest.raises(LookupError, match="no detector in arm 'r' of spectrograph 5"):
        _ = raw.detector
