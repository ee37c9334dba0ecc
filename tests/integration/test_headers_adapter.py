"""The reading of headers, from real files."""

import errno
import os
from contextlib import closing
from datetime import date
from pathlib import Path, PosixPath

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.errors import Code, Incomplete, IngestdError, Outage, Rejected, TryLater, Vanished
from pfs_ingestd.exposure import ConfigHeader, RawHeader
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.records import Sighting

VISIT = 123456
DESIGN = 0x6DEADBEEFDEADBEE
BLOCK = 2880

CCD = "PFSA12345612.fits"
RAMP = "PFSB12345613.fits"
CONFIG = f"pfsConfig-{DESIGN:#018x}-{VISIT}.fits"


def cards(arm, **changes):
    return {
        "W_SITE": "S",
        "W_VISIT": VISIT,
        "W_ARM": arm,
        "W_SPMOD": 1,
        "W_PFDSGN": DESIGN,
        "W_ENFCAZ": 0.0123,
        "MJD-STR": 60263.25,
        "EXPTIME": 900.0,
        "OBJECT": "M31",
        **{f"W_FIL{number}": number for number in range(400)},
    } | changes


def image(name, **changes):
    return fits.CompImageHDU(
        np.arange(4096, dtype=np.uint16).reshape(64, 64), fits.Header(changes), name=name
    )


def write(path, primary, *hdus):
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary)), *hdus]).writeto(path)
    return path


def write_ccd(folder, name=CCD, **changes):
    return write(folder / name, cards(2, **changes), image("image"))


def write_ramp(folder, names, **changes):
    return write(folder / RAMP, cards(3, **{"W_H4IRPN": 4} | changes), *map(image, names))


def reads(count, *, resets=1):
    return [
        f"{prefix}{kind}_{number}"
        for prefix, upto in (("RESET_", resets), ("", count))
        for number in range(1, upto + 1)
        for kind in ("IMAGE", "REF")
    ]


def write_config(folder, name=CONFIG, *, primary=None, tables=("CONFIG", "PHOTOMETRY", "GUIDESTARS")):
    columns = [
        fits.Column("fiberId", "J", array=np.arange(2604)),
        fits.Column("patch", "A5", array=2604 * ["0,0"]),
        fits.Column("catId", "J", array=np.resize([1007, -1, 10, 1007], 2604)),
    ]
    other = [fits.Column("fiberId", "J", array=np.arange(3))]
    header = {"W_VISIT": VISIT, "W_PFDSGN": DESIGN, "W_CAMMSK": 0x3} if primary is None else primary
    hdus = [
        fits.BinTableHDU.from_columns(columns if each == "CONFIG" else other, name=each) for each in tables
    ]
    return write(folder / name, header, *hdus)


def sight(path):
    status = path.stat()
    return Sighting(
        path=path,
        name=parse(path.name),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def read(path, **options):
    [answer] = FitsHeaders(**options).read([sight(path)])
    return answer


def refused(path, **options):
    """Read a file that is refused: the kind, code and text of the refusal."""
    answer = read(path, **options)
    assert isinstance(answer, IngestdError), answer
    return type(answer), answer.code, answer.message


def boundaries(path):
    """Tell where the HDUs of a file end."""
    with fits.open(path, disable_image_compression=True) as hdus:
        return [
            -(-(info["datLoc"] + info["datSpan"]) // BLOCK) * BLOCK
            for info in map(type(hdus[0]).fileinfo, hdus)
        ]


def test_a_ccd_file_is_read(tmp_path):
    """A CCD file tells its camera, its design, and the cards of its exposure record."""
    assert read(write_ccd(tmp_path)) == RawHeader(
        instrument="PFS",
        visit=VISIT,
        arm="r",
        spectrograph=1,
        detector=1,
        pfs_design_id=DESIGN,
        dither=123,
        cards={"MJD-STR": 60263.25, "EXPTIME": 900.0, "OBJECT": "M31"},
        night=date(2023, 11, 15),
    )


@pytest.mark.parametrize("names", [reads(6), reads(6, resets=0), reads(1), reads(2)])
def test_a_ramp_is_read(tmp_path, names):
    """A ramp of whole reads is complete, with reset frames or without."""
    header = read(write_ramp(tmp_path, names, W_H4PTCH=True))
    assert (header.arm, header.detector, header.cards["W_H4IRPN"]) == ("n", 2, 4)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], "IMAGE_1"),
        (reads(0), "IMAGE_1"),
        (reads(2)[:-1], "REF_2"),
        (["RESET_IMAGE_1", *reads(1, resets=0)], "RESET_REF_1"),
        (["IMAGE_1", "IMAGE_2"], "REF_1"),
        ([*reads(2, resets=0)[:2], "IMAGE_3", "REF_3"], "IMAGE_2"),
        (["REF_1", "IMAGE_1"], "IMAGE_1"),
    ],
)
def test_a_ramp_with_a_hole_is_incomplete(tmp_path, names, missing):
    """A ramp that lacks a read, or a part of one, is never taken for complete."""
    path = write_ramp(tmp_path, names)
    kind, code, reason = refused(path)
    assert (kind, code) == (Incomplete, Code.INCOMPLETE)
    assert reason.endswith(f", without {missing} in its place")


def test_a_ramp_whose_header_may_change_is_incomplete(tmp_path):
    """A ramp waits until its header is final."""
    assert refused(write_ramp(tmp_path, reads(6), W_H4PTCH=False)) == (
        Incomplete,
        Code.INCOMPLETE,
        "the header of the ramp is not final yet: W_H4PTCH is not T",
    )


@pytest.mark.parametrize(("names", "announced"), [(reads(2), 2), (reads(2), 1), (reads(2, resets=0), 2)])
def test_a_ramp_has_the_reads_it_announces(tmp_path, names, announced):
    """A ramp is complete with the reads that its header announces, those of a ramp stopped early, too."""
    assert read(write_ramp(tmp_path, names, W_H4PTCH=True, W_H4NRED=announced)).arm == "n"


def test_a_ramp_that_lacks_announced_reads_is_incomplete(tmp_path):
    """A ramp that was cut after a whole read is no whole ramp."""
    assert refused(write_ramp(tmp_path, reads(2), W_H4PTCH=True, W_H4NRED=6)) == (
        Incomplete,
        Code.INCOMPLETE,
        "the ramp has 2 of the 6 reads that its card W_H4NRED announces",
    )


@pytest.mark.parametrize("correction", ["W_H4NRED: 2\nW_H4PTCH: true\n", "W_H4NRED: null\nW_H4PTCH: true\n"])
def test_an_interrupted_ramp_gets_in_on_a_persons_word(tmp_path, correction):
    """A ramp whose header was left as it was when its writer died is complete where a correction says so."""
    path = write_ramp(tmp_path, reads(2), W_H4PTCH=False, W_H4NRED=6)
    (tmp_path / f"PFS-{VISIT}.yaml").write_text(correction)
    assert read(path, corrections=[tmp_path]).arm == "n"


def test_a_single_nir_image_is_read(tmp_path):
    """The old single images of NIR detectors are raws like any other."""
    path = write(tmp_path / "PFSA12345613.fits", cards(3), image("image"))
    assert read(path).detector == 2


def test_an_uncompressed_image_is_read(tmp_path):
    """Old files whose image is not compressed are complete."""
    path = write(tmp_path / CCD, cards(2), fits.ImageHDU(np.zeros((64, 64), np.int16)))
    assert read(path).arm == "r"


def test_a_simulated_file_is_read(tmp_path):
    """The cards of a simulated file are found in the header of its image; its arm is a letter."""
    path = write(tmp_path / "PFFA12345612.fits", {}, image("image", **cards("r", W_SITE="F")))
    header = read(path)
    assert (header.instrument, header.arm, header.cards["OBJECT"]) == ("PFS-F", "r", "M31")


def test_a_config_is_read(tmp_path):
    """A pfsConfig tells its design, its catalogues and the cameras expected."""
    assert read(write_config(tmp_path)) == ConfigHeader(
        visit=VISIT, pfs_design_id=DESIGN, cat_ids=(-1, 10, 1007), cameras=frozenset({"b1", "r1"})
    )


def test_an_old_config_is_read(tmp_path):
    """A pfsConfig from before guide stars and cards is known by its name."""
    path = write_config(tmp_path, primary={"RA": 0.0}, tables=("CONFIG", "PHOTOMETRY"))
    assert read(path) == ConfigHeader(visit=VISIT, pfs_design_id=DESIGN, cat_ids=(-1, 10, 1007))


def test_an_archived_config_is_read(tmp_path):
    """A pfsConfig under its archive name is known by its header."""
    assert read(write_config(tmp_path, "PFSF12345600.fits")).pfs_design_id == DESIGN


def test_an_archived_config_without_design_is_refused(tmp_path):
    """A pfsConfig of which neither name nor header tells the design is refused."""
    path = write_config(tmp_path, "PFSF12345600.fits", primary={"W_VISIT": VISIT, "DAMD_VER": 2})
    assert refused(path) == (Rejected, Code.MISSING_CARD, "the header has no card W_PFDSGN")


def test_a_config_whose_table_makes_no_sense_is_refused(tmp_path):
    """A pfsConfig whose table of fibres cannot be read is refused, with the reason."""
    path = write(
        tmp_path / CONFIG,
        {"W_VISIT": VISIT},
        fits.ImageHDU(np.zeros((2, 2)), name="CONFIG"),
        fits.ImageHDU(np.zeros((2, 2)), name="PHOTOMETRY"),
    )
    kind, code, reason = refused(path)
    assert (kind, code) == (Rejected, Code.BAD_TABLE)
    assert reason == "the table in HDU 1 (CONFIG) cannot be read: it is not a binary table"


@pytest.mark.parametrize(
    "write_it", [write_ccd, lambda folder: write_ramp(folder, reads(2), W_H4NRED=2), write_config]
)
def test_a_file_cut_short_is_incomplete(tmp_path, write_it):
    """Cut at the end of any HDU, within a block of it or anywhere else, a file is never complete."""
    path = write_it(tmp_path)
    content = path.read_bytes()
    ends = boundaries(path)
    assert ends[-1] == len(content)
    cuts = {end + by for end in ends for by in (-BLOCK, -1, 0, 1, BLOCK)} | set(range(0, len(content), 4999))
    headers = FitsHeaders()
    for length in sorted(cuts):
        if 0 <= length < len(content):
            os.truncate(path, 0)
            path.write_bytes(content[:length])
            assert isinstance(headers.read([sight(path)])[0], Incomplete), length


def test_a_file_that_is_too_long_is_incomplete(tmp_path):
    """Whatever comes after the last HDU, the file is not complete with it."""
    path = write_ccd(tmp_path)
    with path.open("ab") as file:
        file.write(b"and more")
    assert refused(path) == (
        Incomplete,
        Code.INCOMPLETE,
        "what follows HDU 1 (IMAGE), 8 bytes, is no HDU",
    )


def test_what_is_not_fits_is_refused(tmp_path):
    """A file of another kind under our name is refused at once."""
    path = tmp_path / CCD
    path.write_bytes(b"<html>not found</html>")
    assert refused(path) == (Rejected, Code.NOT_FITS, "the file does not begin as a FITS file does")


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"W_SPMOD": 5}, Code.BAD_CARD, "the card W_SPMOD is 5, expected a whole number from 1 to 4"),
        (
            {"W_ENFCAZ": "no available value"},
            Code.BAD_CARD,
            "the card W_ENFCAZ is 'no available value', expected the slit offset in mm",
        ),
        ({"W_VISIT": 7}, Code.NAME_MISMATCH, "the name says visit 123456, the header visit 7"),
        ({"W_ARM": 4}, Code.NAME_MISMATCH, "the name says arm r, the header arm m"),
    ],
)
def test_a_bad_header_is_refused(tmp_path, changes, code, reason):
    """A card that cannot be right refuses its file, and says so."""
    assert refused(write_ccd(tmp_path, **changes)) == (Rejected, code, reason)


def test_a_config_of_another_design_is_refused(tmp_path):
    """A pfsConfig whose name and header speak of two designs is refused, both told."""
    path = write_config(tmp_path, f"pfsConfig-{5:#018x}-{VISIT}.fits")
    assert refused(path) == (
        Rejected,
        Code.NAME_MISMATCH,
        f"the name says pfsDesignId {5:#018x}, the header pfsDesignId {DESIGN:#018x}",
    )


def test_a_camera_that_does_not_exist_is_refused(tmp_path):
    """A raw named after an impossible camera is refused for its name."""
    kind, code, reason = refused(write_ccd(tmp_path, "PFSA12345650.fits"))
    assert (kind, code) == (Rejected, Code.UNNAMEABLE)
    assert reason.startswith("the name speaks of a camera that does not exist")


def test_corrections_are_applied(tmp_path):
    """A correction of the visit puts a bad header right, and what was changed in it holds at once."""
    path = write_ccd(tmp_path, W_PFDSGN="no available value")
    folder = tmp_path / "corrections"
    folder.mkdir()
    headers = FitsHeaders(corrections=[folder])
    assert isinstance(headers.read([sight(path)])[0], Rejected)
    for design in (5, 6):
        (folder / f"PFS-{VISIT}.yaml").write_text(f"W_PFDSGN: {design}\n")
        assert headers.read([sight(path)])[0].pfs_design_id == design


def test_a_broken_correction_refuses_its_visit_only(tmp_path):
    """Files of a visit whose correction is broken are refused; those of other visits are read."""
    (tmp_path / f"PFS-{VISIT}.yaml").write_text("[")
    good = write_ccd(tmp_path, "PFSA00000712.fits", W_VISIT=7)
    bad = write_ccd(tmp_path)
    answers = FitsHeaders(corrections=[tmp_path]).read([sight(bad), sight(good), sight(bad)])
    assert [getattr(answer, "code", None) for answer in answers] == [Code.UNREADABLE, None, Code.UNREADABLE]


def test_a_file_that_is_gone_has_vanished(tmp_path):
    """A file, or its folder, that was taken away since it was seen has vanished."""
    folder = tmp_path / "night"
    folder.mkdir()
    path = write_ccd(folder)
    sighting = sight(path)
    path.unlink()
    first = FitsHeaders().read([sighting])[0]
    folder.rmdir()
    folder.touch()
    second = FitsHeaders().read([sighting])[0]
    assert [Vanished, Vanished] == [type(first), type(second)]


def grow(path):
    with path.open("ab") as file:
        file.write(bytes(BLOCK))


def touch(path):
    os.utime(path, ns=(0, 0))


def swap(path):
    content, status = path.read_bytes(), path.stat()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [grow, touch, swap, pipe])
def test_a_file_that_changed_is_incomplete(tmp_path, change):
    """A file that is not what was seen is looked at again, never taken as it is by now."""
    path = write_ccd(tmp_path)
    sighting = sight(path)
    change(path)
    [answer] = FitsHeaders().read([sighting])
    assert isinstance(answer, Incomplete)
    assert answer.message.startswith("the file changed while it was being looked at: ")


class MeddlingFolder(PosixPath):
    """A folder of corrections: when one is looked up, the raw named in `victim` changes."""

    victim: Path

    def __truediv__(self, name):
        touch(self.victim)
        return Path(self, name)


@pytest.mark.parametrize("changes", [{}, {"W_PFDSGN": "no available value"}])
def test_a_file_that_changes_while_it_is_read_is_incomplete(tmp_path, changes):
    """What a file says while it is written to is not believed, good or bad."""
    path = write_ccd(tmp_path, **changes)
    folder = MeddlingFolder(tmp_path)
    folder.victim = path
    assert refused(path, corrections=[folder])[0] is Incomplete


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path):
    """A file that the file system does not give away is no bad file."""
    path = write_ccd(tmp_path)
    sighting = sight(path)
    path.unlink()
    path.symlink_to(path)
    [answer] = FitsHeaders().read([sighting])
    assert (TryLater, Code.BUSY) == (type(answer), answer.code)
    assert answer.message.startswith("the file cannot be read: ")


def test_a_file_whose_folder_cannot_be_read_is_away_with_it(tmp_path, monkeypatch):
    """Where no file of a folder can be read, none is to blame."""
    path = write_ccd(tmp_path)
    sighting = sight(path)

    def refuse(*_args):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    [answer] = FitsHeaders().read([sighting])

    assert (Outage, Code.ROOT_UNREACHABLE) == (type(answer), answer.code)
    assert answer.message == f"{tmp_path} cannot be read: {os.strerror(errno.ESTALE)}"


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_answers_come_in_order(tmp_path, workers):
    """Many files are answered in the order in which they were asked for, by any number of workers."""
    paths = [write_ccd(tmp_path, f"PFSA{visit:06d}12.fits", W_VISIT=visit) for visit in range(12)]
    sightings = [sight(path) for path in paths]
    paths[7].unlink()
    with closing(FitsHeaders(workers=workers)) as headers:
        answers = headers.read(sightings)
    assert [*range(7), None, *range(8, 12)] == [getattr(answer, "visit", None) for answer in answers]
    assert isinstance(answers[7], Vanished)


def test_the_record_of_a_header_is_made(tmp_path):
    """The exposure record of a file that was read has its visit and values."""
    headers = FitsHeaders()
    [header] = headers.read([sight(write_ccd(tmp_path))])
    record = headers.exposure(header)
    assert (record.id, record.day_obs, record.target_name) == (VISIT, 20231115, "M31")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return [
        (path, path.read_bytes(), boundaries(path))
        for path in (write_ccd(folder), write_ramp(folder, reads(2)), write_config(folder))
    ]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_file_gets_an_answer(originals, tmp_path, data):
    """Whatever is changed in the bytes of a file, there is an answer: a header, or why there is none."""
    path, content, _ = data.draw(st.sampled_from(originals))
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(changed), 60_000) // 80 - 1)) * 80 + data.draw(
            st.integers(0, 31)
        )
        value = data.draw(
            st.one_of(
                st.sampled_from(
                    [b"END".ljust(80), b"= -1", b"=  99999999999999999999", b"'", b"\0", b"= T", b"= 'x"]
                ),
                st.binary(min_size=1, max_size=12),
            )
        )
        changed[place : place + len(value)] = value
    mutant = tmp_path / path.name
    mutant.write_bytes(changed[: data.draw(st.sampled_from([len(changed), 70_000, 3000]))])
    headers = FitsHeaders()
    [answer] = headers.read([sight(mutant)])
    assert isinstance(answer, (RawHeader, ConfigHeader, Incomplete, Rejected))
    if isinstance(answer, RawHeader):
        assert headers.exposure(answer).id == answer.visit
