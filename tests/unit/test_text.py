"""Text for people."""

import pytest

from pfs_ingestd.text import counted, files_are


@pytest.mark.parametrize(
    ("number", "told", "begun"),
    [
        (0, "0 files", "0 files are"),
        (1, "1 file", "1 file is"),
        (2, "2 files", "2 files are"),
        (1234, "1,234 files", "1,234 files are"),
    ],
)
def test_one_of_a_thing_is_told_apart_from_several(number, told, begun):
    """Whoever counts files speaks of one file as of one."""
    assert counted(number, "file") == told
    assert files_are(number) == begun
