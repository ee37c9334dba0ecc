"""What the header of a raw says to its readers: corrected, and in a few words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from astropy import units
from astropy.io import fits

from pfs_ingestd.pfs.instrument import Detector
from pfs_ingestd.pfs.raw import PfsRaw
from pfs_ingestd.simulate import VisitKind, VisitPlan, write_ccd, write_ramp

BEGIN = datetime(2026, 3, 21, 23, 59, 45, tzinfo=UTC)
VISIT = VisitPlan(visit=12, kind=VisitKind.ARC, begin=BEGIN, target="field", small=True)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "PFSA00001212.fits"
    write_ccd(path, VISIT, "r1")
    return path


@pytest.fixture
def correct(tmp_path, monkeypatch):
    """Write corrections to the headers of the visit, where everybody looks for them."""
    monkeypatch.setenv("METADATA_CORRECTIONS_PATH", f"{tmp_path / 'none'}:{tmp_path}")

    def write(text):
        (tmp_path / "PFS-12.yaml").write_text(text)

    return write


def test_the_metadata_are_the_cards_of_the_observation(path):
    """All cards of the primary header are there, and none of those that say how an HDU is stored."""
    stored = fits.getheader(path)

    with PfsRaw(path) as raw:
        kept = dict(raw.metadata)

    structural = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "DATASUM", "CHECKSUM"}
    assert {keyword for keyword in stored if keyword not in kept} <= structural
    assert kept == {keyword: stored[keyword] for keyword in kept}


def test_the_metadata_of_a_ramp_are_not_those_of_a_read(tmp_path):
    """Cards that belong to one read, or reset frame, are none of the whole ramp's."""
    ramp = tmp_path / "PFSB00001213.fits"
    write_ramp(ramp, VISIT, "n1")

    with PfsRaw(ramp) as raw:
        assert "W_H4READ" in fits.getheader(ramp, "RESET_IMAGE_1")
        assert "W_H4READ" not in raw.metadata


def test_corrections_are_applied(path, correct):
    """What a correction says takes the place of what the file says: in the header, and in all made of it."""
    correct("W_ARM: 4\nOBJECT: M 31\nNEWCARD: 1\n")

    with PfsRaw(path) as raw:
        header = raw.metadata
        assert (header["W_ARM"], header["OBJECT"], header["NEWCARD"]) == (4, "M 31", 1)
        assert raw.detector == Detector(-1, "m1", "m", 1)
        assert raw.obsInfo.object == "M 31"


def test_a_correction_can_make_it_a_nir_detector(tmp_path, correct):
    """Whether a file is of a NIR detector is told from the corrected header."""
    ramp = tmp_path / "PFSB00001213.fits"
    write_ramp(ramp, VISIT, "n1", cards={"W_ARM": 1})
    correct("W_ARM: 3\n")

    with PfsRaw(ramp) as raw:
        assert (raw.isNir(), raw.detector) == (True, Detector(2, "n1", "n", 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OBJECT: [", r"PFS-12\.yaml, line 1 is not YAML"),
        ("OBJECT: [1, 2]", r"gives OBJECT the value \[1, 2\], which no card can hold"),
        ("ALTITUDE: .nan", "gives ALTITUDE the value nan, which no card can hold"),
    ],
)
def test_a_correction_that_cannot_be_used_is_an_error(path, correct, text, message):
    """A header is not given half corrected; the error names file and card."""
    correct(text)

    with PfsRaw(path) as raw, pytest.raises(OSError, match=message):
        _ = raw.metadata


def test_a_file_of_nowhere_has_no_corrections(tmp_path, correct):
    """A header without site, after which corrections are named, is read as it is."""
    path = tmp_path / "PFSA00001212.fits"
    write_ccd(path, VISIT, "r1", cards={"W_SITE": None})
    correct("OBJECT: M 31\n")

    with PfsRaw(path) as raw:
        assert raw.metadata["OBJECT"] == "field"


def test_the_summary_has_the_values_of_the_exposure_record(path):
    """`obsInfo` says what was observed, when and how, in astropy's units and times."""
    with PfsRaw(path) as raw:
        header, info = raw.metadata, raw.obsInfo

    assert info.datetime_begin.tai.mjd == pytest.approx(header["MJD-STR"] + 37 / 86400, abs=1e-9)
    assert (info.datetime_end - info.datetime_begin).to_value(units.s) == pytest.approx(45, abs=1e-6)
    assert info.dark_time.to_value(units.s) == header["DARKTIME"]
    assert info.tracking_radec.ra.deg == pytest.approx(info.tracking_radec.icrs.ra.deg)
    nothing = dict.fromkeys(("datetime_begin", "datetime_end", "dark_time", "tracking_radec"))
    assert replace(info, **nothing) == replace(
        info,
        instrument="PFS",
        exposure_id=12,
        visit_id=12,
        arm="r",
        spectrograph=1,
        detector_num=1,
        detector_name="r1",
        physical_filter="r",
        exposure_time=45 * units.s,
        observation_type="comparison",
        observation_reason="calibration",
        object="field",
        pfs_design_id=VISIT.pfs_design_id,
        dither=info.dither,
        lamps="Ar,Ne",
        **nothing,
    )


def test_a_header_that_lacks_something_has_no_summary(tmp_path):
    """`obsInfo` of a header without a card that it needs is an error that names it; the rest can be read."""
    path = tmp_path / "PFSA00001212.fits"
    write_ccd(path, VISIT, "r1", cards={"W_PFDSGN": None, "RA2000": "no available value"})

    with PfsRaw(path) as raw:
        assert raw.id == 12
        with pytest.raises(ValueError, match="W_PFDSGN"):
            _ = raw.obsInfo


def test_what_is_not_known_is_none(tmp_path):
    """Values that the control system did not have are `None` in the summary."""
    path = tmp_path / "PFSA00001212.fits"
    write_ccd(path, VISIT, "r1", cards={"DARKTIME": -9998.0, "RA2000": "no available value"})

    with PfsRaw(path) as raw:
        assert (raw.obsInfo.dark_time, raw.obsInfo.tracking_radec) == (None, None)
