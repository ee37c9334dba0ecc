"""The walk over a FITS file, and the columns of its tables."""

import io
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from pfs_ingestd.errors import Code, Incomplete, Rejected
from pfs_ingestd.pfs.table import distinct_integers
from pfs_ingestd.pfs.walk import Cards, walk

BLOCK = 2880


class CountingFile(io.BytesIO):
    """A file that counts the bytes it was asked for."""

    taken = 0

    def read(self, size=-1, /):
        content = super().read(size)
        self.taken += len(content)
        return content


def written(*hdus):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
    return file.getvalue()


def walked(content):
    return list(walk(io.BytesIO(content), len(content)))


def header(*cards):
    text = "".join(f"{card:<80}" for card in (*cards, "END")).encode("latin-1")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


PRIMARY = header(
    "SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"
)

IMAGES = written(
    fits.CompImageHDU(np.arange(10000, dtype=np.uint16).reshape(100, 100), name="image"),
    fits.ImageHDU(np.zeros((30, 40), np.int16), name="REF_1"),
    fits.BinTableHDU.from_columns([fits.Column("catId", "J", array=[1, 2])], name="Config"),
)


def test_every_hdu_is_found():
    """Each HDU is told with its name, the place and length of its data, and whether it is an image."""
    with fits.open(io.BytesIO(IMAGES), disable_image_compression=True) as hdus:
        expected = [
            (
                hdu.name.replace("PRIMARY", ""),
                hdu.fileinfo()["datLoc"],
                hdu.filebytes() - len(hdu.header.tostring()),
            )
            for hdu in hdus
        ]

    found = walked(IMAGES)

    assert [("", expected[0][1])] + [row[:2] for row in expected[1:]] == [
        (hdu.name, hdu.start) for hdu in found
    ]
    assert [row[2] for row in expected] == [-(-hdu.size // BLOCK) * BLOCK for hdu in found]
    assert [hdu.is_image for hdu in found] == [False, True, True, False]
    assert [str(hdu) for hdu in found] == ["HDU 0", "HDU 1 (IMAGE)", "HDU 2 (REF_1)", "HDU 3 (CONFIG)"]


def test_data_is_stepped_over():
    """Of a file with much data only the headers are read."""
    content = written(fits.ImageHDU(np.zeros((1000, 1000))), fits.ImageHDU(np.zeros((1000, 1000))))
    file = CountingFile(content)

    assert len(list(walk(file, len(content)))) == 3
    assert file.taken <= 100_000 < len(content)


def test_a_file_cut_anywhere_is_incomplete():
    """Wherever a file is cut, except between two HDUs, the walk does not reach an end."""
    ends = {hdu.start + -(-hdu.size // BLOCK) * BLOCK for hdu in walked(IMAGES)}
    assert len(ends) == 4
    for length in {*range(0, len(IMAGES), 97), *(end + by for end in ends for by in (-2880, -1, 1))} - ends:
        if 0 <= length < len(IMAGES):
            with pytest.raises(Incomplete):
                walked(IMAGES[:length])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"SIMP", "the file ends inside the header of HDU 0"),
        (bytes(5000), "the file begins with zero bytes: not all of it is written"),
        (PRIMARY[:100] + bytes(BLOCK - 100), "the file ends inside the header of HDU 0"),
        (
            PRIMARY[:240] + bytes(80) + PRIMARY[240:],
            "there are zero bytes in the header of HDU 0: not all of it is written",
        ),
        (PRIMARY + bytes(BLOCK), "what follows HDU 0, 2880 bytes, is no HDU"),
        (PRIMARY + b"rubbish", "what follows HDU 0, 7 bytes, is no HDU"),
        (IMAGES[:-1], "the file ends 1 byte before the end of HDU 3 (CONFIG)"),
        (b"SIMPLE  =".ljust(2_000_000), "the header of HDU 0 has no END in its first 1048320 bytes"),
    ],
)
def test_the_reason_says_where_a_file_ends(content, reason):
    """What is missing of a file is told so that a person understands it."""
    with pytest.raises(Incomplete) as caught:
        walked(content)

    assert reason == caught.value.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF89a" + bytes(5000), "the file does not begin as a FITS file does"),
        (b"\x1f\x8b\x08", "the file does not begin as a FITS file does"),
        (header("SIMPLE  =                    T"), "the card BITPIX of HDU 0 is missing"),
        (
            header("SIMPLE  =  T", "BITPIX  = 8", "NAXIS   = two / axes"),
            "the card NAXIS of HDU 0 reads '= two / axes', expected a whole number that is not negative",
        ),
        (
            header("SIMPLE  =  T", "BITPIX  = 8", "NAXIS   = 1_0"),
            "the card NAXIS of HDU 0 reads '= 1_0', expected a whole number that is not negative",
        ),
        (
            header("SIMPLE  =  T", "BITPIX  = 7", "NAXIS   = 0"),
            "HDU 0 has BITPIX = 7 and NAXIS = 0, which cannot be",
        ),
        (
            header("SIMPLE  =  T", "BITPIX  = 8", "NAXIS   = 1000"),
            "HDU 0 has BITPIX = 8 and NAXIS = 1000, which cannot be",
        ),
        (header("SIMPLE  =  T", "BITPIX  = 8", "NAXIS   = 999"), "the card NAXIS1 of HDU 0 is missing"),
        (
            header("SIMPLE  =  T", "BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = -2880"),
            "the card NAXIS1 of HDU 0 reads '= -2880', expected a whole number that is not negative",
        ),
    ],
)
def test_what_can_never_be_fits_is_refused(content, reason):
    """Content that no further writing can turn into FITS is refused at once, with what is wrong."""
    with pytest.raises(Rejected) as caught:
        walked(content)

    assert (Code.NOT_FITS, reason) == (caught.value.code, caught.value.message)


def test_huge_sizes_are_only_numbers():
    """A header that announces more data than there can be on any disk costs no memory."""
    cards = [f"NAXIS{axis:<3}= 99999999999999999" for axis in range(1, 1000)]
    content = header("SIMPLE  = T", "BITPIX  = -64", "NAXIS   = 999", *cards, "PCOUNT  = 99999999999999999")

    with pytest.raises(Rejected) as caught:
        walked(content)

    assert caught.value.message == "HDU 0 announces more data than a file can hold"


def test_headers_without_end_are_given_up():
    """A file of nothing but headers is refused before they fill the memory."""
    content = PRIMARY + 12_000 * header("XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 0")

    with pytest.raises(Rejected) as caught:
        walked(content)

    assert "the headers of the first" in caught.value.message


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_file_is_walked_or_refused(data):
    """Whatever bytes of a file are changed, the walk ends, with HDUs or with a reason."""
    content = bytearray(IMAGES)
    header_bytes = [place for hdu in walked(IMAGES) for place in range(hdu.start - BLOCK, hdu.start)]
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.sampled_from(header_bytes))
        change = data.draw(
            st.sampled_from([b"9", b"-", b" ", b"'", b"\0", b"\xff", b"/", b"END     ", b"99999999"])
        )
        content[place : place + len(change)] = change
    content = bytes(content[: data.draw(st.sampled_from([len(content), 5000, 20000]))])
    try:
        hdus = walked(content)
    except (Incomplete, Rejected):
        return
    assert hdus[-1].start + -(-hdus[-1].size // BLOCK) * BLOCK == len(content)


def table(*columns, **cards):
    hdu = fits.BinTableHDU.from_columns(list(columns), name="CONFIG")
    hdu.header.update(cards)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file, output_verify="ignore")
    return file, list(walk(file, len(file.getvalue())))[1]


@pytest.mark.parametrize(("form", "dtype"), [("B", "u1"), ("I", "i2"), ("J", "i4"), ("K", "i8")])
def test_distinct_values_are_collected(form, dtype):
    """The distinct integers of a column are found among columns of every kind, ascending."""
    values = np.array([5, 1, 5, 3, 1] * 1000, dtype)
    hidden = [
        fits.Column("fiberId", "J", array=np.arange(5000)),
        fits.Column("flags", "11X", array=np.zeros((5000, 11), bool)),
        fits.Column("patch", "A3", array=["0,0"] * 5000),
    ]
    shown = [
        fits.Column("catId", form, array=values),
        fits.Column("pfiNominal", "2E", array=np.zeros((5000, 2))),
    ]

    assert distinct_integers(*table(*hidden, *shown), "catId") == (1, 3, 5)


def test_negative_values_come_first():
    """Fibres without target carry catalogue -1, which counts like any other."""
    column = fits.Column("catId", "J", array=[10, -1, 2**31 - 1, -1])

    assert distinct_integers(*table(column), "catId") == (-1, 10, 2**31 - 1)


@pytest.mark.parametrize("name", ["catid", "CATID"])
def test_the_case_of_a_column_does_not_matter(name):
    """FITS does not distinguish columns by case."""
    assert distinct_integers(*table(fits.Column(name, "J", array=[7])), "catId") == (7,)


def test_a_table_without_the_column_has_no_values():
    """A column that is not there has no values."""
    assert distinct_integers(*table(fits.Column("fiberId", "J", array=[1])), "catId") == ()


def test_a_table_without_rows_has_no_values():
    """A table of no rows is no error."""
    assert distinct_integers(*table(fits.Column("catId", "J", array=np.array([], "i4"))), "catId") == ()


@pytest.mark.parametrize(
    ("column", "cards", "reason"),
    [
        (fits.Column("catId", "E", array=[1.0]), {}, "its column catId is not one of plain integers"),
        (fits.Column("catId", "2J", array=[[1, 2]]), {}, "its column catId is not one of plain integers"),
        (fits.Column("catId", "J", array=[1]), {"TFORM1": "K"}, "its columns take 8 bytes, its rows 4"),
        (
            fits.Column("catId", "J", array=[1]),
            {"TFORM1": "Z"},
            "the card TFORM1 is missing, or of no known form",
        ),
        (fits.Column("catId", "J", array=[1]), {"TFIELDS": 0}, "its columns take 0 bytes, its rows 4"),
        (
            fits.Column("catId", "J", array=[1]),
            {"TFIELDS": -1},
            "the card TFIELDS is missing, or no number of things",
        ),
        (
            fits.Column("catId", "J", array=np.zeros(100_001, "i4")),
            {},
            "it has 1 columns and 100001 rows of 4 bytes",
        ),
        (
            fits.Column("catId", "J", array=[1]),
            {"TZERO1": 5},
            "its column catId is not one of plain integers",
        ),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(column, cards, reason):
    """A table whose layout contradicts itself, or whose catalogue numbers are none, is refused."""
    file, hdu = table(column)
    for keyword, value in cards.items():
        image = str(fits.Card(keyword, value)).encode()
        places = [
            place
            for place in range(0, len(hdu.header), 80)
            if hdu.header[place:].startswith(keyword.ljust(8).encode())
        ]
        place = places[0] if places else len(hdu.header)
        hdu = replace(hdu, cards=Cards(hdu.header[:place] + image + hdu.header[place + 80 :]))

    with pytest.raises(Rejected) as caught:
        distinct_integers(file, hdu, "catId")

    assert (Code.BAD_TABLE, f"the table in HDU 1 (CONFIG) cannot be read: {reason}") == (
        caught.value.code,
        caught.value.message,
    )
