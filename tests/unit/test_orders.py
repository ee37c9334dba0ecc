"""What the orders of several operators amount to."""

from datetime import UTC, datetime

from pfs_ingestd.orders import Order, Standing, What

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def orders(*whats):
    return [Order(what=what, by=f"{n}", at=NOW, number=n) for n, what in enumerate(whats, 1)]


def test_a_pause_holds_until_somebody_resumes():
    """Whoever paused first is the one who is named, and one resume ends it, whoever paused."""
    first, second, resume, third = given = orders(What.PAUSE, What.PAUSE, What.RESUME, What.PAUSE)
    assert Standing().after(given[:2]) == Standing(number=second.number, paused=first)
    assert Standing().after(given[:3]) == Standing(number=resume.number)
    assert Standing().after(given[:3]).after([third]).paused == third


def test_a_drain_is_wanted_of_those_at_work():
    """A drain holds once ordered, whatever is ordered after it; who starts later knows nothing of it."""
    drain, again, pause, resume = given = orders(What.DRAIN, What.DRAIN, What.PAUSE, What.RESUME)
    assert Standing().after(given) == Standing(number=resume.number, draining=drain)
    started = Standing().after(given[:3]).at_start()
    assert started == Standing(number=pause.number, paused=pause)
    assert started.after([again]).draining == again


def test_a_rescan_leaves_pause_and_drain_alone():
    """To look again is done and over."""
    drain, pause, rescan = orders(What.DRAIN, What.PAUSE, What.RESCAN)
    assert Standing().after([drain, pause, rescan]) == Standing(number=3, paused=pause, draining=drain)
