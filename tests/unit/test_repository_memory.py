"""What is remembered of the registry."""

from types import SimpleNamespace

from pfs_ingestd.adapters.repository.memory import EXPOSURES, VALUES, Memory


def test_only_so_many_exposures_are_remembered():
    """Those not needed for longest are forgotten, and asked for again."""
    asked = []
    butler = SimpleNamespace(
        query_dimension_records=lambda _name, *, bind, **_query: asked.extend(bind["visits"]) or ()
    )
    layout = SimpleNamespace(observation=SimpleNamespace(name="exposure"))
    session = SimpleNamespace(butler=butler, layout=layout, instrument="PFS")
    memory = Memory()
    memory.add_exposures(SimpleNamespace(id=visit) for visit in range(EXPOSURES))
    memory.exposures(session, [0])
    memory.add_exposures([SimpleNamespace(id=EXPOSURES)])

    found = memory.exposures(session, [0, 1, 2, EXPOSURES])

    assert sorted(found) == [0, 2, EXPOSURES]
    assert asked == [1]


def test_only_so_many_values_are_remembered():
    """Beyond that they are registered again, which changes nothing."""
    memory = Memory()
    memory.add_values("dither", range(VALUES + 1))
    memory.add_values("dither", [-122])

    assert memory.new_values("dither", [-122, 0, 1]) == [0, 1]
