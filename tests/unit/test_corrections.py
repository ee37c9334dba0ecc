"""Header corrections: found by instrument and visit, and refused where they make no sense."""

import pytest

from pfs_ingestd.errors import Code, Rejected, TryLater
from pfs_ingestd.pfs.corrections import find


def test_corrections_are_found_by_instrument_and_visit(tmp_path):
    """The file named after instrument and visit is read; hexadecimal numbers are numbers."""
    (tmp_path / "PFS-45752.yaml").write_text("W_PFDSGN: 0xdeadbeef\nW_AITNEO: false\nOBJECT: M 31\n")
    (tmp_path / "PFS-F-45752.yaml").write_text("W_PFDSGN: 1\n")

    assert find([tmp_path], "PFS", 45752) == {"W_PFDSGN": 0xDEADBEEF, "W_AITNEO": False, "OBJECT": "M 31"}


def test_most_visits_have_no_corrections(tmp_path):
    """Folders that hold nothing for the visit, or are not there, correct nothing."""
    (tmp_path / "file").touch()

    assert find([tmp_path, tmp_path / "absent", tmp_path / "file"], "PFS", 45752) == {}


def test_the_first_folder_wins(tmp_path):
    """Of several corrections of a visit that of the first folder counts, alone."""
    for number, folder in enumerate((tmp_path / "mine", tmp_path / "theirs")):
        folder.mkdir()
        (folder / "PFS-1.yaml").write_text(f"W_PFDSGN: {number}\n")
    (tmp_path / "theirs" / "PFS-1.yaml").write_text("W_ARM: 4\n")

    assert find([tmp_path / "mine", tmp_path / "theirs"], "PFS", 1) == {"W_PFDSGN": 0}


def test_an_empty_correction_corrects_nothing(tmp_path):
    """A file of comments is a correction without content."""
    (tmp_path / "PFS-1.yaml").write_text("# nothing left to do\n")

    assert find([tmp_path], "PFS", 1) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"W_PFDSGN: 1\nOBJECT: [", ", line 2 is not YAML"),
        (b"OBJECT: \xff\xfe", " is not YAML"),
        (b"OBJECT: !!python/object/apply:os.getcwd []", ", line 1 is not YAML"),
        (b"OBJECT: 2020-99-99", " is not YAML"),
        (b"- W_PFDSGN\n", " does not map the names of cards to values"),
        (b"1: W_PFDSGN\n", " does not map the names of cards to values"),
        (b"W_PFDSGN\n", " does not map the names of cards to values"),
    ],
)
def test_a_broken_correction_refuses_the_file(tmp_path, content, reason):
    """A correction that cannot be understood is named in the refusal, with the line where there is one."""
    path = tmp_path / "PFS-1.yaml"
    path.write_bytes(content)

    with pytest.raises(Rejected) as caught:
        find([tmp_path], "PFS", 1)

    assert caught.value.code is Code.UNREADABLE
    assert caught.value.message == f"the header correction of this visit cannot be used: {path}{reason}"


def test_a_correction_that_cannot_be_read_is_tried_again(tmp_path):
    """A correction that the file system does not give away is waited for: nothing goes in uncorrected."""
    path = tmp_path / "PFS-1.yaml"
    path.symlink_to(path)

    with pytest.raises(TryLater) as caught:
        find([tmp_path], "PFS", 1)

    assert str(path) in caught.value.message
