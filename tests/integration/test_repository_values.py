"""The same values in, the same values out, whatever the registry is in: or the file is refused by both."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from lsst.daf.butler import Butler

from pfs_ingestd.errors import Code, Rejected
from pfs_ingestd.ports import Stored
from repository_files import (
    EVERYWHERE,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    count,
    raw_dataset,
    results,
)

NUMBERS_OF = {int: np.int64, float: np.float64, str: np.str_}


def in_numpy(value):
    """Say the same in NumPy's words, as far as it has them."""
    return NUMBERS_OF.get(type(value), lambda same: same)(value)


def exposure_of(root, visit=12):
    """Read back all columns of an exposure."""
    with Butler.from_config(root) as butler:
        (record,) = butler.query_dimension_records("exposure", instrument="PFS", exposure=visit)
        return record.toDict()


@EVERYWHERE
def test_numpy_never_reaches_the_database(root, incoming, opened):
    """Scalars of NumPy in headers, exposures and catalogues are stored as the plain values that they are."""
    plain = an_exposure(12, irp_ratio=4)
    exposure = replace(plain, **{name: in_numpy(value) for name, value in asdict(plain).items()})
    raw = raw_dataset(
        ccd_file(incoming / "a.fits"),
        np.int64(12),
        np.str_("r"),
        np.int32(1),
        detector=np.int16(1),
        dither=np.int64(-122),
        pfs_design_id=np.int64(plain.pfs_design_id),
    )
    config = config_dataset(
        config_file(incoming / "c.fits"), np.int32(12), cat_ids=(np.int32(3), np.int64(1001))
    )
    repository = opened()

    outcomes = repository.ingest([exposure], [raw, config])
    again = repository.ingest([], [raw, config])
    repository.ingest([replace(plain, id=13, obs_id="13")], [])

    assert (results(outcomes), results(again)) == ([Stored.STORED] * 2, [Stored.ALREADY_THERE] * 2)
    assert repository.designs([np.int64(12)]) == {12: plain.pfs_design_id}
    assert exposure_of(root) == exposure_of(root, 13) | {"id": 12, "obs_id": "12"}
    with Butler.from_config(root) as butler:
        joins = butler.query_dimension_records("pfsConfig", instrument="PFS")
        assert sorted(record.cat_id for record in joins) == [3, 1001]


FACTS = {
    "a long name": ("target_name", "n" * 300, "n" * 64),
    "a long group": ("group_name", "\N{TELESCOPE}" * 65, "\N{TELESCOPE}" * 64),
    "a long programme": ("science_program", "p" * 65, "p" * 64),
    "a long type": ("observation_type", "calibrationframes", "calibrationframe"),
    "long lamps": ("lamps", "Neon," * 40, ("Neon," * 40)[:128]),
    "no name": ("target_name", "", ""),
    "NUL": ("target_name", "a\0b", None),
    "half a pair": ("group_name", "\ud83d", None),
    "no number": ("zenith_angle", float("nan"), None),
    "no end": ("shift", float("inf"), None),
    "NumPy's no number": ("focus", np.float32("nan"), None),
    "a whole number": ("dark_time", 31, 31.0),
    "a truth": ("irp_ratio", np.True_, 1),
    "the highest number": ("group_id", 2**63 - 1, 2**63 - 1),
    "the lowest number": ("seq_num", -(2**63), -(2**63)),
    "too high a number": ("seq_num", 2**63, None),
}


@EVERYWHERE
def test_every_value_comes_back_the_same(root, opened):
    """What a column cannot hold is cut or left out, as docs/exposure-record.md says, and the rest is kept."""
    visits = dict(enumerate(FACTS, 100))
    repository = opened()

    repository.ingest(
        [an_exposure(visit, **{FACTS[what][0]: FACTS[what][1]}) for visit, what in visits.items()], []
    )

    found = {what: exposure_of(root, visit)[FACTS[what][0]] for visit, what in visits.items()}
    assert found == {what: expected for what, (_, _, expected) in FACTS.items()}
    assert {what: type(value) for what, value in found.items()} == {
        what: type(expected) for what, (_, _, expected) in FACTS.items()
    }


@EVERYWHERE
@pytest.mark.parametrize(
    "changes",
    [{"pfs_design_id": 2**63}, {"dither": -(2**70)}, {"id": 2**64}, {"obs_id": "1\0"}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_cannot_be_left_out_is_refused(root, incoming, opened, changes):
    """A value that identifies an exposure, and that no database holds, costs its file, and says which."""
    repository = opened()
    (name, value) = next(iter(changes.items()))
    raw = raw_dataset(ccd_file(incoming / "a.fits"), changes.get("id", 12))

    with pytest.raises(Rejected, match=f"exposure.{name} cannot be") as caught:
        repository.ingest([an_exposure(12, **changes)], [raw])

    assert caught.value.code is Code.BAD_CARD
    assert repr(value)[:80] in caught.value.message
    assert count(root) == ((0, 0, 0), 0)
