"""What a person does to records while the daemon and other persons change them, too."""

from dataclasses import replace

import pytest

from conformance.inbox_suite import NOW, SECOND, record
from fakes import FakeInbox
from pfs_ingestd.by_hand import ATTEMPTS, move, retried, skipped
from pfs_ingestd.errors import Code, Outage
from pfs_ingestd.records import State

LATER = NOW + SECOND
LOST = {"ingested.fits": State.INGESTED, "removed.fits": State.GONE}


class Rivalry(FakeInbox):
    """An inbox in which others come first: before each replacement, the next of what they do is done."""

    def __init__(self, *rivals):
        super().__init__()
        self._rivals = list(rivals)

    def replace(self, changes):
        if self._rivals:
            [(old, _)] = changes
            mine = self.find([old.path])[old.path]
            super().replace([(mine, self._rivals.pop(0)(mine))])
        super().replace(changes)


def there(folder, state, name="a.fits", **changes):
    """Make a file on disk, and its record."""
    path = folder / name
    path.touch()
    return record(path=path, state=state, **changes)


def left_of(moved):
    return [(left.path.name, left.error.code) for left in moved.left]


def claimed(old):
    return old.claimed(NOW)


def settled(old):
    return old.ready(NOW)


def retried_by_another(old):
    return old.retried(NOW)


def test_what_another_operator_retried_is_not_meant_any_more(tmp_path):
    """Of two who retry what is ingested the slower one finds nothing left to do, and nothing wrong."""
    inbox = Rivalry(retried_by_another)
    inbox.add([old := there(tmp_path, State.INGESTED)])

    moved = move(inbox, [old], retried, states={State.INGESTED}, now=LATER)

    assert (moved.records, moved.left) == ([], [])
    assert inbox.find([old.path])[old.path].updated == NOW


def test_a_file_that_was_named_is_done_when_another_did_it(tmp_path):
    """Of two who retry or skip the same path both are told that it is done."""
    for step, state in ((retried, State.SEEN), (skipped, State.SKIPPED)):
        inbox = Rivalry(lambda old, step=step: step(old, NOW))
        inbox.add([old := there(tmp_path, State.REJECTED)])

        moved = move(inbox, [old], step, named=[old.path], now=LATER)

        assert ([each.state for each in moved.records], moved.left) == ([state], [])


def test_what_still_is_meant_is_decided_anew(tmp_path):
    """A record that the daemon moved in between, within the selected states, is moved all the same."""
    inbox = Rivalry(settled)
    inbox.add([old := there(tmp_path, State.SEEN, attempts=3)])

    moved = move(inbox, [old], retried, states={State.SEEN, State.READY}, now=LATER)

    assert [(each.state, each.attempts) for each in moved.records] == [(State.SEEN, 0)]
    assert inbox.find([old.path])[old.path] == moved.records[0]


def test_a_file_that_the_daemon_claimed_in_between_is_left(tmp_path):
    """What is being ingested now is not to be moved now, which is said of this path alone."""
    inbox = Rivalry(claimed)
    files = [there(tmp_path, State.READY, "a.fits"), there(tmp_path, State.READY, "b.fits")]
    inbox.add(files)

    moved = move(inbox, files, retried, named=[each.path for each in files], now=LATER)

    assert [each.path.name for each in moved.records] == ["b.fits"]
    assert left_of(moved) == [("a.fits", Code.BEING_INGESTED)]
    assert "try again" in str(moved.left[0].error)


def test_a_record_that_never_rests_is_given_up(tmp_path):
    """However often others win, a command comes to its end, says so, and leaves their record alone."""
    inbox = Rivalry(*[lambda old: replace(old, attempts=old.attempts + 1)] * 2 * ATTEMPTS)
    inbox.add([old := there(tmp_path, State.SEEN)])

    moved = move(inbox, [old], retried, now=LATER)

    assert (moved.records, left_of(moved)) == ([], [("a.fits", Code.BUSY)])
    assert inbox.find([old.path])[old.path].attempts == ATTEMPTS


def test_each_reason_has_its_code(tmp_path):
    """An unknown path, a stored file and one of which nothing is left are told apart, with what to do."""
    inbox = FakeInbox()
    stored = there(tmp_path, State.INGESTED, "stored.fits")
    lost = [record(path=tmp_path / name, state=state) for name, state in LOST.items()]
    inbox.add([stored, *lost])

    unknown = move(inbox, [], retried, named=[tmp_path / "other.fits"], now=LATER)
    left_out = move(inbox, [stored], skipped, now=LATER)
    gone = move(inbox, lost, retried, now=LATER)

    assert left_of(unknown) == [("other.fits", Code.NOT_IN_INBOX)]
    assert left_of(left_out) == [("stored.fits", Code.IN_REPOSITORY)]
    assert left_of(gone) == [(name, Code.VANISHED) for name in LOST]
    assert all(left.error.hint for moved in (unknown, left_out, gone) for left in moved.left)


def test_an_inbox_that_fails_is_not_taken_for_a_file(tmp_path):
    """An outage ends the command: it is no reason of one file."""

    class Away(FakeInbox):
        def replace(self, _changes):
            raise Outage(Code.STATE_UNREACHABLE, "gone")

    inbox = Away()
    inbox.add([old := there(tmp_path, State.SEEN)])
    with pytest.raises(Outage):
        move(inbox, [old], retried, now=LATER)
