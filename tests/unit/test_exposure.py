"""What the headers of a visit say together."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pfs_ingestd.errors import Code
from pfs_ingestd.exposure import RawHeader, agreed_design, design_conflict, spokesman

B1 = RawHeader(
    instrument="PFS", visit=1, arm="b", spectrograph=1, detector=0, pfs_design_id=10, dither=0, cards={}
)
cameras = st.sampled_from(
    [replace(B1, arm=arm, spectrograph=number) for arm in "brnm" for number in (1, 2, 3, 4)]
)


@given(st.lists(cameras, min_size=1, max_size=12, unique_by=lambda h: (h.arm, h.spectrograph)), st.randoms())
def test_the_spokesman_does_not_depend_on_the_order(headers, random):
    """The same files give the same exposure record, in whatever order they are read."""
    shuffled = random.sample(headers, len(headers))
    assert spokesman(headers) == spokesman(shuffled)


def test_a_ccd_speaks_before_a_nir_detector():
    """The record of a visit with CCDs has no irp_ratio, whichever file came first."""
    n1, m4 = replace(B1, arm="n"), replace(B1, arm="m", spectrograph=4)
    assert spokesman([n1, m4]) == m4


def test_the_lowest_spectrograph_speaks_first():
    """Among CCDs the lowest spectrograph, then the bluest arm."""
    r1, b2 = replace(B1, arm="r"), replace(B1, spectrograph=2)
    assert spokesman([b2, r1, B1]) == B1
    assert spokesman([b2, r1]) == r1


def test_the_majority_names_the_design():
    """One file with a wrong design does not decide for the visit."""
    headers = [replace(B1, pfs_design_id=99), replace(B1, arm="r"), replace(B1, spectrograph=2)]
    assert agreed_design(headers) == 10


def test_a_tie_goes_to_the_spokesman():
    """Of two equally frequent designs the spokesman's is taken, in any order."""
    headers = [replace(B1, arm="r", pfs_design_id=99), B1]
    assert (agreed_design(headers), agreed_design(headers[::-1])) == (10, 10)


def test_a_design_conflict_names_both():
    """Who has to decide sees both values."""
    conflict = design_conflict(7, claimed=1, stored=2)
    assert conflict is not None
    assert conflict.code is Code.DESIGN_CONFLICT
    assert "0x0000000000000001" in conflict.message
    assert "0x0000000000000002" in conflict.message
    assert design_conflict(7, claimed=2, stored=2) is None
