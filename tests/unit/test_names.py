"""File names: what is ours, and what the names say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfs_ingestd.pfs.instrument import DETECTORS, SITES, Detector, detector_number, instrument_name
from pfs_ingestd.pfs.names import is_ramp, parse
from pfs_ingestd.records import FileName, Kind


def raw(visit, arm, spectrograph):
    return FileName(kind=Kind.RAW, visit=visit, arm=arm, spectrograph=spectrograph)


def config(visit, pfs_design_id=None):
    return FileName(kind=Kind.PFS_CONFIG, visit=visit, pfs_design_id=pfs_design_id)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("PFSA12345611.fits", raw(123456, "b", 1)),
        ("PFSA12345642.fits", raw(123456, "r", 4)),
        ("PFSA12345624.fits", raw(123456, "m", 2)),
        ("PFSB12345633.fits", raw(123456, "n", 3)),
        ("PFSA12345633.fits", raw(123456, "n", 3)),
        ("PFFA00000411.fits", raw(4, "b", 1)),
        ("PFSA123456711.fits", raw(1234567, "b", 1)),
        ("PFSA-145025b1.fits", raw(145025, "b", 1)),
        ("PFSA145025m3.fits", raw(145025, "m", 3)),
        ("PFLA-01234512.fits", raw(12345, "r", 1)),
        ("PFSB-145025n4.fits", raw(145025, "n", 4)),
        ("pfsConfig-0x0123456789abcdef-123456.fits", config(123456, 0x0123456789ABCDEF)),
        ("pfsConfig-0x0000000000000000-000007.fits", config(7, 0)),
        ("pfsConfig-0x0123456789ABCDEF-1234567.fits", config(1234567, 0x0123456789ABCDEF)),
        ("PFSF12345600.fits", config(123456)),
        ("PFSF12345617.fits", config(123456)),
    ],
)
def test_the_names_of_our_files_are_read(filename, expected):
    """Every form of name that the instrument, the archive and Butler give our files is understood."""
    assert expected == parse(filename)


@pytest.mark.parametrize("site", SITES)
def test_every_site_writes_raws(site):
    """The letter of the site changes nothing in what else a name says."""
    assert raw(123456, "b", 1) == parse(f"PF{site}A12345611.fits")


@pytest.mark.parametrize(
    "filename",
    [
        "PFSA12345650.fits",
        "PFSA12345605.fits",
        "PFSA12345690.fits",
        "PFSA-145025b5.fits",
        "PFSB12345611.fits",
    ],
)
def test_a_camera_that_does_not_exist_is_still_ours(filename):
    """A raw whose name has an impossible camera is ours, without camera: it is seen, and refused."""
    assert raw(int(filename[-13:-7].lstrip("-")), None, None) == parse(filename)


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".PFSB12345633.fits",
        ".PFSA12345611.fits",
        "PFSC12345600.fits",
        "PFSD12345600.fits",
        "PFSA1234511.fits",
        "PFQA12345611.fits",
        "PFSA12345611.fits.tmp",
        "PFSA12345611.fits.gz",
        "PFSA12345611.fits\n",
        "PFSA12345611.FITS",
        "pfsa12345611.fits",
        "xPFSA12345611.fits",
        "PFSA१२३४५६11.fits",
        "PFSA" + 30 * "1" + ".fits",
        "PFSA-145025x1.fits",
        "PFSF1234560.fits",
        "pfsConfig-0x788daff233347923.fits",
        "pfsConfig-123456.fits",
        "pfsConfig-0x0123456789abcdef0-123456.fits",
        "pfsConfig-0xnotahexnumber-123456.fits",
        "pfsDesign-0x0123456789abcdef.fits",
        "agcc_123456_00000001.fits",
        "README",
    ],
)
def test_all_other_names_are_not_ours(filename):
    """Nothing else is taken for a file of ours, hidden files included."""
    assert parse(filename) is None


@given(st.text())
def test_any_name_is_ours_or_not(filename):
    """No name is too strange to be asked about."""
    name = parse(filename)
    assert name is None or name.visit >= 0


@given(st.integers(0, 10**18 - 1), st.sampled_from("brnm"), st.integers(1, 4))
def test_every_visit_and_camera_can_be_named(visit, arm, spectrograph):
    """A name made of a visit and a camera says this visit and this camera, whatever the number of digits."""
    number = "brnm".index(arm) + 1
    expected = raw(visit, arm, spectrograph)
    assert expected == parse(f"PFSA{visit:06d}{spectrograph}{number}.fits")
    assert expected == parse(f"PFSA-{visit:06d}{arm}{spectrograph}.fits")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("PFSB12345633.fits", True),
        ("PFSB-145025n4.fits", True),
        ("PFSA12345633.fits", False),
        ("pfsConfig-0x0123456789abcdef-123456.fits", False),
    ],
)
def test_a_ramp_is_known_by_its_name(filename, expected):
    """Ramps and single images of a NIR detector are told apart by the category in their names."""
    assert expected == is_ramp(filename)


def test_detectors_are_numbered_as_registered():
    """The table of detectors is that of the observatory's repositories, guiders included."""
    cameras = [f"{arm}{spectrograph}" for spectrograph in (1, 2, 3, 4) for arm in "brnm"]
    names = [*cameras, *(f"AG{number}" for number in (1, 2, 3, 4, 5, 6))]
    numbers = [0, 1, 2, -1, 3, 4, 5, -4, 6, 7, 8, -7, 9, 10, 11, -10, 101, 102, 103, 104, 105, 106]
    assert list(zip(names, numbers, strict=True)) == [(each.full_name, each.id) for each in DETECTORS]
    assert Detector(-4, "m2", "m", 2) in DETECTORS
    assert Detector(101, "AG1", "x", 0) in DETECTORS


def test_detector_numbers_follow_the_cameras():
    """Each detector of a spectrograph is found by its arm and spectrograph."""
    cameras = [detector for detector in DETECTORS if detector.spectrograph]
    assert [detector.id for detector in cameras] == [
        detector_number(detector.arm, detector.spectrograph) for detector in cameras
    ]


def test_the_instrument_is_named_after_its_site():
    """At the summit the instrument is PFS, elsewhere the letter of the site follows."""
    assert [instrument_name(site) for site in "SFL"] == ["PFS", "PFS-F", "PFS-L"]
