"""The rules of headers: cards to header, header to exposure record."""

from dataclasses import asdict
from datetime import date

import pytest
from astropy import units
from astropy.coordinates import FK5, ICRS, SkyCoord
from astropy.io.fits import Card
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st
from lsst.daf.butler import Timespan
from lsst.daf.butler.time_utils import TimeConverter

from pfs_ingestd.errors import Code, Incomplete, Rejected
from pfs_ingestd.exposure import ConfigHeader, Exposure, RawHeader
from pfs_ingestd.pfs.cards import UNUSABLE, pick
from pfs_ingestd.pfs.exposures import EXPOSURE_CARDS, exposure
from pfs_ingestd.pfs.headers import (
    RAW_CARDS,
    check_ended,
    check_name,
    config_header,
    corrected,
    has_guide_stars,
    identity,
    raw_header,
)
from pfs_ingestd.pfs.walk import Cards
from pfs_ingestd.records import FileName, Kind

REQUIRED = {
    "W_SITE": "S",
    "W_VISIT": 123456,
    "W_ARM": 2,
    "W_SPMOD": 3,
    "W_PFDSGN": 0x6DEADBEEFDEADBEE,
    "W_ENFCAZ": 0.0123,
    "MJD-STR": 60263.25,
    "EXPTIME": 900.0,
}
FULL = {
    **REQUIRED,
    "TIMESYS": "UTC",
    "DARKTIME": 902.5,
    "DATA-TYP": "OBJECT",
    "OBJECT": "M31 disk",
    "PROP-ID": "o24013",
    "W_PFDSNM": "ngc 224, field 7",
    "RA2000": "00:42:44.330",
    "DEC2000": "+41:16:07.50",
    "ALTITUDE": 61.5,
    "AZIMUTH": 12.0,
    "W_ENFCAX": 1.5,
    "W_ENFCAY": -0.25,
    "W_AITNEO": True,
}


def record(**changes):
    """Make the record of a full header in which some cards are others; None takes a card away."""
    cards = FULL | {
        name.replace("_2000", "2000").replace("__", "-"): value for name, value in changes.items()
    }
    return exposure(raw_header({name: value for name, value in cards.items() if value is not None}))


def refusal(rule, *arguments):
    with pytest.raises(Rejected) as caught:
        rule(*arguments)
    return caught.value.code, caught.value.message


def image(*cards):
    return "".join(f"{card!s:<80}" for card in cards).encode("latin-1")


class TestCards:
    """Cards, picked out of a header."""

    def test_only_wanted_cards_are_read(self):
        """The values of the wanted cards are found, with their types, and no others."""
        header = image(
            Card("NAXIS", 0),
            Card("W_VISIT", 123456),
            Card("EXPTIME", 12.5, "s"),
            Card("OBJECT", "it's"),
            "COMMENT x",
        )

        wanted = frozenset({"W_VISIT", "EXPTIME", "OBJECT", "W_ARM", "COMMENT"})
        assert pick(Cards(header), wanted) == {
            "W_VISIT": 123456,
            "EXPTIME": 12.5,
            "OBJECT": "it's",
        }

    def test_long_texts_and_long_keywords_are_read(self):
        """Texts continued on further cards and keywords of more than eight letters are whole."""
        header = image(Card("W_PFDSNM", 100 * "long "), "HIERARCH W_AIT_SRC_Ne = T", Card("W_ARM", 1))

        expected = {"W_PFDSNM": (100 * "long ").rstrip(), "W_AIT_SRC_Ne": True, "W_ARM": 1}
        assert pick(Cards(header), RAW_CARDS) == expected

    def test_the_last_of_several_cards_counts(self):
        """A card that was appended again with another value overrules the first."""
        assert pick(Cards(image(Card("EXPTIME", 1.0), Card("EXPTIME", 2.0))), RAW_CARDS) == {"EXPTIME": 2.0}

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            (["W_ARM   = 1", "HIERARCH W_ARM = 2"], 2),
            (["HIERARCH W_ARM = 2", "W_ARM   = 1"], 1),
            (["HIERARCH W_ARM = 2", "HIERARCH W_ARM = 3", "COMMENT HIERARCH W_ARM = 4"], 3),
            (["W_ARM   = 1", "W_ARM     no value", "COMMENT W_ARM   = 2"], 1),
        ],
    )
    def test_the_last_card_with_a_value_counts(self, cards, expected):
        """It does so in whichever way it writes its keyword; what only looks like one is passed over."""
        assert pick(Cards(image(*cards)), RAW_CARDS) == {"W_ARM": expected}

    def test_a_text_with_a_colon_is_a_text(self):
        """A text such as 'HD: 5' is not mistaken for a named number."""
        assert pick(Cards(image("OBJECT  = 'HD: 5'")), RAW_CARDS) == {"OBJECT": "HD: 5"}

    @pytest.mark.parametrize("value", ["", "'open", "12:30:00", "(1.0, 2.0)", "1E999", "'\x01'", "\xff"])
    def test_a_card_without_value_is_unusable(self, value):
        """A card that is there and holds nothing of use is told from one that is absent."""
        assert pick(Cards(image(f"RA2000  = {value}")), RAW_CARDS) == {"RA2000": UNUSABLE}

    @given(st.binary(max_size=400))
    def test_any_bytes_can_be_looked_through(self, header):
        """No content of a header is too strange to be looked through."""
        pick(Cards(header), RAW_CARDS)
        pick(Cards(b"RA2000  = " + header), RAW_CARDS)
        pick(Cards(b"W_PFDSNM= '" + header), RAW_CARDS)


class TestRawHeader:
    """Raws: what is required, and what is refused."""

    def test_a_header_says_what_it_is(self):
        """The required cards become the header, and those of the exposure record are kept."""
        assert raw_header(REQUIRED) == RawHeader(
            instrument="PFS",
            visit=123456,
            arm="r",
            spectrograph=3,
            detector=7,
            pfs_design_id=0x6DEADBEEFDEADBEE,
            dither=123,
            cards={"MJD-STR": 60263.25, "EXPTIME": 900.0},
            night=date(2023, 11, 15),
        )

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"W_SITE": "F"}, {"instrument": "PFS-F"}),
            ({"W_SITE": "L"}, {"instrument": "PFS-L"}),
            ({"W_VISIT": "123456"}, {"visit": 123456}),
            ({"W_ARM": "n"}, {"arm": "n", "detector": 8}),
            ({"W_ARM": 4, "W_SPMOD": 2}, {"arm": "m", "detector": -4, "spectrograph": 2}),
            ({"W_PFDSGN": 0}, {"pfs_design_id": 0}),
            ({"W_PFDSGN": 2**63 - 1}, {"pfs_design_id": 2**63 - 1}),
            ({"W_ENFCAZ": -0.0123}, {"dither": -122}),
            ({"W_ENFCAZ": -1}, {"dither": -9999}),
            ({"W_ENFCAZ": 0}, {"dither": 0}),
            ({"W_ENFCAZ": 0.00005}, {"dither": 1}),
        ],
    )
    def test_values_are_read_as_written(self, changes, expected):
        """Sites, arms, detectors and offsets follow the conventions of the observatory's repositories."""
        header = asdict(raw_header(REQUIRED | changes))
        assert expected == {name: header[name] for name in expected}

    @pytest.mark.parametrize("card", REQUIRED)
    def test_a_missing_card_is_named(self, card):
        """Without any one of the required cards the file is refused, and the card named."""
        cards = {name: value for name, value in REQUIRED.items() if name != card}
        assert refusal(raw_header, cards) == (Code.MISSING_CARD, f"the header has no card {card}")

    @pytest.mark.parametrize(
        ("card", "value"),
        [
            ("W_SITE", "Q"),
            ("W_SITE", 5),
            ("W_VISIT", "no available value"),
            ("W_VISIT", -1),
            ("W_VISIT", 2**63),
            ("W_VISIT", 123456.0),
            ("W_VISIT", True),
            ("W_ARM", 5),
            ("W_ARM", "x"),
            ("W_ARM", True),
            ("W_SPMOD", 0),
            ("W_SPMOD", 5),
            ("W_PFDSGN", -9998),
            ("W_PFDSGN", 2**63),
            ("W_ENFCAZ", "no available value"),
            ("W_ENFCAZ", -9998.0),
            ("W_ENFCAZ", 1e300),
            ("MJD-STR", "no available value"),
            ("MJD-STR", -9999),
            ("MJD-STR", 1e9),
            ("EXPTIME", "no available value"),
            ("EXPTIME", -9998.0),
            ("EXPTIME", 1e300),
            ("TIMESYS", "LOCAL"),
            ("TIMESYS", 5),
        ],
    )
    def test_an_unusable_card_is_named(self, card, value):
        """A required card without a possible value refuses the file; card, value and expectation are told."""
        code, message = refusal(raw_header, REQUIRED | {card: value})
        assert code is Code.BAD_CARD
        assert message.startswith(f"the card {card} is {value!r}, expected ")

    def test_an_undefined_card_is_named(self):
        """A required card that is there without any value refuses the file."""
        assert refusal(raw_header, REQUIRED | {"W_ENFCAZ": UNUSABLE}) == (
            Code.BAD_CARD,
            "the card W_ENFCAZ has no value, expected the slit offset in mm",
        )

    @given(
        st.dictionaries(
            st.sampled_from(sorted(RAW_CARDS)),
            st.one_of(
                st.text(max_size=70),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.booleans(),
            ),
        )
    )
    def test_any_cards_make_a_record_or_a_refusal(self, cards):
        """Whatever the cards hold, there is a header with an exposure record, or a refusal."""
        try:
            header = raw_header(FULL | cards)
        except Rejected:
            return
        assert exposure(header).id == header.visit

    def test_corrections_go_before_the_header(self):
        """A correction replaces a card or supplies it; one of no use to us, or without value, is none."""
        corrections = {"W_PFDSGN": 7, "OBJECT": "sky", "COMMENT": "x", "RA2000": None}

        expected = REQUIRED | {"W_PFDSGN": 7, "OBJECT": "sky", "RA2000": UNUSABLE}
        assert corrected(REQUIRED, corrections) == expected

    def test_corrections_are_named_after_the_header(self):
        """Instrument and visit of the header tell which corrections are its own."""
        assert identity(REQUIRED | {"W_SITE": "F"}) == ("PFS-F", 123456)

    @pytest.mark.parametrize(
        "cards",
        [
            {},
            {"W_H4PTCH": True, "W_H4NRED": 4},
            {"W_H4NRED": 3},
            {"W_H4NRED": -9999},
            {"W_H4NRED": "no available value"},
            {"W_H4NRED": UNUSABLE},
        ],
    )
    def test_a_ramp_may_have_ended(self, cards):
        """A ramp has ended if its header is final, or too old to say so, and no announced read is missing."""
        check_ended(cards, 4)

    @pytest.mark.parametrize(
        ("cards", "reason"),
        [
            ({"W_H4PTCH": False}, "the header of the ramp is not final yet: W_H4PTCH is not T"),
            ({"W_H4PTCH": "T"}, "the header of the ramp is not final yet: W_H4PTCH is not T"),
            ({"W_H4PTCH": UNUSABLE}, "the header of the ramp is not final yet: W_H4PTCH is not T"),
            (
                {"W_H4PTCH": True, "W_H4NRED": 5},
                "the ramp has 4 of the 5 reads that its card W_H4NRED announces",
            ),
        ],
    )
    def test_a_ramp_may_not_have_ended(self, cards, reason):
        """A ramp whose header may still be amended, or announces more reads, is incomplete, and says why."""
        with pytest.raises(Incomplete) as caught:
            check_ended(cards, 4)

        assert (Code.INCOMPLETE, reason) == (caught.value.code, caught.value.message)
        assert caught.value.hint.endswith("with a header correction, then retry the file")

    @pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), 1j, [1], {}])
    def test_a_correction_may_hold_what_no_database_can(self, value):
        """A corrected value with NUL, half a surrogate pair or of no type of a card is none."""
        assert corrected({}, {"OBJECT": value}) == {"OBJECT": UNUSABLE}

    def test_a_correction_may_hold_any_text(self):
        """Quotes, line ends, control characters and letters beyond ASCII are texts like any other."""
        text = "Robert'); DROP TABLE exposure;--\n\t\x1b[2J \u00e9 \U0001f52d"
        assert corrected({}, {"OBJECT": text}) == {"OBJECT": text}

    def test_a_long_value_is_shown_in_part(self):
        """However long a wrong value is, the reason is one that a person can read."""
        reason = refusal(raw_header, REQUIRED | {"W_SPMOD": "x" * 100_000})[-1]
        assert reason == f"the card W_SPMOD is '{'x' * 79}..., expected a whole number from 1 to 4"


class TestExposureRecord:
    """The exposure record, field by field."""

    def test_a_whole_record(self):
        """A science exposure gives every field of its record."""
        begin = Time(60263.25, format="mjd", scale="utc")
        pointing = FK5("0h42m44.33s", "41d16m07.5s").transform_to(ICRS())
        assert record() == Exposure(
            instrument="PFS",
            id=123456,
            obs_id="123456",
            group_id=123456,
            seq_num=123456,
            pfs_design_id=0x6DEADBEEFDEADBEE,
            dither=123,
            shift=-0.25,
            focus=1.5,
            begin_ns=1_700_028_037_000_000_000,
            end_ns=TimeConverter().astropy_to_nsec(begin + 900 * units.s),
            day_obs=20231115,
            exposure_time=900.0,
            dark_time=902.5,
            observation_type="science",
            observation_reason="science",
            science_program="o24013",
            group_name="ngc 224, field 7",
            target_name="M31 disk",
            tracking_ra=float(pointing.ra.degree),
            tracking_dec=float(pointing.dec.degree),
            zenith_angle=28.5,
            lamps="",
            irp_ratio=None,
        )

    def test_a_poor_header_has_a_record(self):
        """The required cards alone make a record, with the values that stand for no information."""
        poor = exposure(raw_header(REQUIRED))
        assert (poor.shift, poor.focus, poor.dark_time, poor.irp_ratio) == (None, None, 900.0, None)
        assert (poor.observation_type, poor.observation_reason) == ("UNKNOWN", "UNKNOWN")
        assert (poor.science_program, poor.group_name, poor.target_name) == ("unknown", "", "UNKNOWN")
        assert (poor.zenith_angle, poor.lamps) == (90.0, "")
        assert [poor.tracking_ra, poor.tracking_dec] == pytest.approx([359.9999936, -0.0000025], abs=1e-7)

    @given(
        mjd=st.floats(56000, 62000),
        duration=st.one_of(st.just(0.0), st.floats(-100, 2000)),
        scale=st.sampled_from(["UTC", "TAI", "tt", "TDB"]),
    )
    def test_times_are_those_of_butler(self, mjd, duration, scale):
        """Begin and end are, to the nanosecond, what Butler makes of the same times."""
        begin = Time(mjd, format="mjd", scale=scale.lower())
        expected = Timespan(begin, begin + duration * units.s)

        made = record(MJD__STR=mjd, EXPTIME=duration, TIMESYS=scale)

        assert expected.nsec == Timespan(None, None, _nsec=(made.begin_ns, made.end_ns)).nsec

    def test_an_instant_lasts_a_nanosecond(self):
        """A bias, which takes no time, has a timespan that is not empty, as Butler has it."""
        bias = record(EXPTIME=0.0)
        assert bias.end_ns - bias.begin_ns == 1

    def test_a_negative_time_ends_before_it_begins(self):
        """A negative exposure time gives an end before the begin: an empty timespan."""
        assert record(EXPTIME=-1.0).end_ns < record(EXPTIME=-1.0).begin_ns

    @pytest.mark.parametrize(
        ("utc", "expected"),
        [
            ("2023-11-15T23:59:22", 20231115),
            ("2023-11-15T23:59:24", 20231116),
            ("2023-12-31T23:59:45", 20240101),
        ],
    )
    def test_the_day_is_that_of_tai(self, utc, expected):
        """The day of observation turns 37 s before that of UTC."""
        assert expected == record(MJD__STR=Time(utc, scale="utc").mjd).day_obs

    def test_the_distant_future_is_no_news(self):
        """A date for which leap seconds are not known yet makes a record, and no warning."""
        assert record(MJD__STR=80000.0).day_obs == 20771128

    @pytest.mark.parametrize(
        ("cards", "kind", "reason"),
        [
            ({"DATA__TYP": "OBJECT"}, "science", "science"),
            ({"DATA__TYP": "object"}, "object", "calibration"),
            ({"DATA__TYP": "BIAS"}, "bias", "calibration"),
            ({"DATA__TYP": None, "IMAGETYP": "Arc"}, "arc", "calibration"),
            ({"DATA__TYP": "", "IMAGETYP": "Arc"}, "arc", "calibration"),
            ({"DATA__TYP": "no available value", "IMAGETYP": "Arc"}, "arc", "calibration"),
            ({"DATA__TYP": UNUSABLE}, "UNKNOWN", "UNKNOWN"),
            ({"DATA__TYP": "A TYPE WITH A LONG NAME"}, "a type with a lo", "calibration"),
        ],
    )
    def test_types_of_observation(self, cards, kind, reason):
        """OBJECT is science, all else is calibration under its own name, cut to the column's width."""
        made = record(**cards)
        assert (kind, reason) == (made.observation_type, made.observation_reason)

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"OBJECT": "M31"}, "M31"),
            ({"OBJECT": "  ", "IMAGETYP": "arc"}, "arc"),
            ({"OBJECT": None, "IMAGETYP": "arc"}, "arc"),
            ({"OBJECT": None}, "UNKNOWN"),
            ({"OBJECT": 31}, None),
            ({"OBJECT": UNUSABLE, "IMAGETYP": "arc"}, None),
            ({"OBJECT": 70 * "x"}, 64 * "x"),
        ],
    )
    def test_names_of_targets(self, cards, expected):
        """The target is OBJECT where it is a text, cut to the column's width."""
        assert expected == record(**cards).target_name

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"PROP__ID": 24013}, ("24013", "ngc 224, field 7")),
            ({"PROP__ID": UNUSABLE, "W_PFDSNM": UNUSABLE}, ("unknown", "")),
            ({"PROP__ID": 70 * "x", "W_PFDSNM": 70 * "y"}, (64 * "x", 64 * "y")),
        ],
    )
    def test_names_of_programs_and_groups(self, cards, expected):
        """Programs and groups are texts, whatever their cards hold."""
        made = record(**cards)
        assert expected == (made.science_program, made.group_name)

    @pytest.mark.parametrize(
        "cards",
        [
            {"RA2000": "no available value"},
            {"DEC2000": "no available value"},
            {"RA2000": -9998.0, "DEC2000": -9998.0},
            {"RA2000": -9999},
            {"RA2000": UNUSABLE},
            {"RA2000": "25:00:00"},
            {"DEC2000": "+95:00:00"},
            {"DEC2000": "[1, 2]"},
            {"RA2000": "nan"},
        ],
    )
    def test_an_unusable_pointing_is_none(self, cards):
        """Without a position there is no pointing, and the file is none the worse."""
        made = record(**cards)
        assert (made.tracking_ra, made.tracking_dec) == (None, None)

    @given(
        ra=st.one_of(st.floats(0, 24), st.sampled_from([0.0, 1e-9, 4.7e-7, 23.9999999])),
        dec=st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 0.0, 90.0])),
    )
    def test_pointings_are_those_of_astropy(self, ra, dec):
        """A position is, to the last bit, what astropy makes of it, where it wraps and at the poles, too."""
        icrs = SkyCoord(ra, dec, frame="fk5", unit=(units.hourangle, units.deg)).icrs

        made = record(RA2000=ra, DEC2000=dec)

        assert (made.tracking_ra, made.tracking_dec) == (float(icrs.ra.degree), float(icrs.dec.degree))

    def test_a_pointing_at_sixty_seconds_is_no_news(self):
        """A sexagesimal number that ends in 60 is what it says, and no warning."""
        assert record(RA_2000="12:34:60") == record(RA_2000="12:35:00")

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"ALTITUDE": 45}, 45.0),
            ({"ALTITUDE": 89.9}, 90.0 - 89.9),
            ({"ALTITUDE": 90.5}, 0.0),
            ({"ALTITUDE": -0.5}, 90.0),
            ({"ALTITUDE": None}, 90.0),
            ({"AZIMUTH": None}, 90.0),
            ({"ALTITUDE": "no available value"}, None),
            ({"ALTITUDE": -9998.0}, None),
            ({"ALTITUDE": -95.0}, None),
            ({"AZIMUTH": "no available value"}, None),
            ({"AZIMUTH": -9998.0}, None),
            ({"ALTITUDE": UNUSABLE}, None),
        ],
    )
    def test_zenith_angles(self, cards, expected):
        """The zenith angle complements the altitude within the sky, and is none where one is unusable."""
        assert expected == record(**cards).zenith_angle

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"DARKTIME": None}, 900.0),
            ({"DARKTIME": "no available value"}, None),
            ({"DARKTIME": -9998.0}, None),
            ({"DARKTIME": 0}, 0.0),
        ],
    )
    def test_dark_times(self, cards, expected):
        """The dark time is that of the exposure where none is given, and none where it is unusable."""
        assert expected == record(**cards).dark_time

    def test_unusable_offsets_are_none(self):
        """Slit offsets that were not known are none."""
        made = record(W_ENFCAX=-9998.0, W_ENFCAY="no available value")
        assert (made.focus, made.shift) == (None, None)

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            ({"W_AITNEO": True, "W_AITARG": True, "W_AITKRY": False}, "Ar,Ne"),
            ({"W_AITNEO": "off"}, "Ne"),
            ({"W_AITNEO": "", "W_ENIISK": 1, "W_ENIKRY": True}, "Kr_eng"),
            ({"W_AIT_SRC_Ne": True, "W_AITNEO": UNUSABLE}, "Ne"),
            ({"DATA__TYP": "FLAT"}, "Quartz"),
            ({"DATA__TYP": "object"}, ""),
        ],
    )
    def test_lamps(self, cards, expected):
        """Lamps that are on are told in order, each once; flats and objects speak for themselves."""
        made = record(**({"DATA__TYP": "ARC"} | cards))
        assert expected == made.lamps

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(4, 4), (1, 1), ("4", 4), (None, None), ("no available value", None), (1e300, None)],
    )
    def test_reads_per_reference(self, value, expected):
        """The ratio of reads to references is told where a NIR detector tells it."""
        assert expected == record(W_H4IRPN=value).irp_ratio

    def test_a_header_keeps_what_its_record_needs(self):
        """The cards kept of a header are those that its record is made of, and no others."""
        assert set(raw_header(FULL | {"W_H4PTCH": True}).cards) == set(FULL) & EXPOSURE_CARDS


class TestNames:
    """Name and header, compared."""

    RAW = FileName(kind=Kind.RAW, visit=123456, arm="r", spectrograph=3)
    CONFIG = FileName(kind=Kind.PFS_CONFIG, visit=123456, pfs_design_id=5)

    def test_agreement_is_silent(self):
        """A name that says what the header says, or says less, is right."""
        check_name(self.RAW, raw_header(REQUIRED))
        check_name(self.CONFIG, ConfigHeader(visit=123456, pfs_design_id=5, cat_ids=()))
        archived = FileName(kind=Kind.PFS_CONFIG, visit=123456)
        check_name(archived, ConfigHeader(visit=123456, pfs_design_id=5, cat_ids=()))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"W_VISIT": 123457}, "the name says visit 123456, the header visit 123457"),
            ({"W_ARM": 4}, "the name says arm r, the header arm m"),
            (
                {"W_ARM": 1, "W_SPMOD": 1},
                "the name says arm r, spectrograph 3, the header arm b, spectrograph 1",
            ),
        ],
    )
    def test_a_raw_under_a_wrong_name_is_refused(self, changes, reason):
        """A raw whose name contradicts its header is refused, both told, r and m included."""
        header = raw_header(REQUIRED | changes)
        assert refusal(check_name, self.RAW, header) == (Code.NAME_MISMATCH, reason)

    def test_a_config_under_a_wrong_name_is_refused(self):
        """A pfsConfig whose name contradicts its header is refused, both told."""
        header = ConfigHeader(visit=7, pfs_design_id=6, cat_ids=())
        assert refusal(check_name, self.CONFIG, header) == (
            Code.NAME_MISMATCH,
            f"the name says visit 123456, pfsDesignId {5:#018x}, the header visit 7, pfsDesignId {6:#018x}",
        )


class TestConfigHeader:
    """pfsConfigs: header first, name where there is none."""

    NAME = FileName(kind=Kind.PFS_CONFIG, visit=123456, pfs_design_id=5)

    def test_a_header_says_what_it_is_of(self):
        """The cards of a pfsConfig become its header."""
        cards = {"W_VISIT": 7, "W_PFDSGN": 6, "W_CAMMSK": 0x0013}
        expected = ConfigHeader(
            visit=7, pfs_design_id=6, cat_ids=(1, 2), cameras=frozenset({"b1", "r1", "b2"})
        )
        assert config_header(cards, self.NAME, (1, 2)) == expected

    def test_an_old_file_is_known_by_its_name(self):
        """Where the header is silent the name tells visit and design."""
        assert config_header({}, self.NAME, ()) == ConfigHeader(visit=123456, pfs_design_id=5, cat_ids=())

    def test_a_design_must_be_known(self):
        """An archived file whose header does not tell the design is refused."""
        archived = FileName(kind=Kind.PFS_CONFIG, visit=123456)
        assert refusal(config_header, {}, archived, ()) == (
            Code.MISSING_CARD,
            "the header has no card W_PFDSGN",
        )

    @pytest.mark.parametrize("cards", [{"W_VISIT": "x"}, {"W_PFDSGN": -9998}, {"W_PFDSGN": UNUSABLE}])
    def test_unusable_cards_are_refused(self, cards):
        """A card that is there must be right: the name does not stand in for it."""
        assert refusal(config_header, cards, self.NAME, ())[0] is Code.BAD_CARD

    @pytest.mark.parametrize(
        ("mask", "expected"),
        [
            (0x7777, {f"{arm}{spectrograph}" for arm in "brn" for spectrograph in (1, 2, 3, 4)}),
            (0xDDDD, {f"{arm}{spectrograph}" for arm in "bmn" for spectrograph in (1, 2, 3, 4)}),
            (0x8000, {"m4"}),
            (0, set()),
        ],
    )
    def test_expected_cameras(self, mask, expected):
        """The mask of cameras has four bits for each spectrograph: b, r, n, m."""
        assert expected == config_header({"W_CAMMSK": mask}, self.NAME, ()).cameras

    @pytest.mark.parametrize("mask", [None, "no available value", -1, 0x10000, True, UNUSABLE])
    def test_no_expected_cameras(self, mask):
        """A mask that makes no sense, or none, says nothing of cameras."""
        cards = {} if mask is None else {"W_CAMMSK": mask}
        assert config_header(cards, self.NAME, ()).cameras is None

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [({}, False), ({"DAMD_VER": 1}, False), ({"DAMD_VER": 2}, True), ({"W_PFDSGN": 5}, True)],
    )
    def test_guide_stars_came_later(self, cards, expected):
        """The oldest pfsConfigs have no table of guide stars."""
        assert expected == has_guide_stars(cards)
