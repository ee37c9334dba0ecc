"""Files get into their places in a folder, and nothing else is harmed by that."""

import errno
import os

import pytest
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.placing import is_exclusive, placing_at
from pfs_ingestd.errors import Code, TryLater

LINKED = ("link", "hardlink", "copy", "move", "auto")
SYMBOLIC = ("symlink", "relsymlink")


class Registry:
    """Answers, as long as it does."""

    def __init__(self):
        self.answers = 100
        self.asked = 0
        self.meanwhile = lambda: None

    def ask(self):
        self.asked += 1
        if not self.answers:
            raise ConnectionError
        self.answers -= 1
        self.meanwhile()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture(params=[True, False], ids=["SQLite", "PostgreSQL"])
def placing(request, tmp_path, registry):
    return placing_at(uri(tmp_path / "repo"), registry.ask, lasting=request.param)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "repo").mkdir()
    path = tmp_path / "source.fits"
    path.write_bytes(b"mine")
    return path


@pytest.fixture
def place(tmp_path):
    return tmp_path / "repo" / "run" / "2026" / "raw.fits"


@pytest.fixture
def no_links(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)


def uri(path):
    return ResourcePath(str(path), forceDirectory=path.is_dir())


def names(place):
    return sorted(path.name for path in place.parent.iterdir())


@pytest.mark.parametrize("transfer", LINKED)
def test_a_file_gets_a_second_name(placing, registry, source, place, transfer):
    """It is asked nothing, and there is no more than that name."""
    placing.put(uri(source), uri(place), transfer)
    assert place.samefile(source)
    assert not place.is_symlink()
    assert names(place) == [place.name]
    assert registry.asked == 0


@pytest.mark.parametrize("transfer", SYMBOLIC)
def test_a_symbolic_link_leads_to_the_file_itself(placing, source, place, transfer, tmp_path):
    """Not to a link that leads to it; relative ones survive that both are moved together."""
    link = tmp_path / "link.fits"
    link.symlink_to(source)
    placing.put(uri(link), uri(place), transfer)
    target = place.readlink()
    assert place.samefile(source)
    assert str(target) == ("../../../source.fits" if transfer == "relsymlink" else str(source.resolve()))


@pytest.mark.usefixtures("no_links")
def test_where_there_are_no_links_there_are_others(placing, source, place):
    """A link becomes a symbolic one; a hard link has to be one."""
    placing.put(uri(source), uri(place), "link")
    assert place.is_symlink()
    with pytest.raises(OSError, match="not supported"):
        placing.put(uri(source), uri(place.with_name("other.fits")), "hardlink")


@pytest.mark.usefixtures("no_links")
def test_where_there_are_no_links_a_copy_is_renamed(placing, registry, source, place, tmp_path):
    """The registry is asked before; what is there goes first; all of it can be taken back."""
    assert not is_exclusive(uri(tmp_path / "repo"))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"left by somebody")
    placing.put(uri(source), uri(place), "copy")
    assert (place.read_bytes(), source.exists()) == (b"mine", False)
    assert names(place) == [place.name]
    assert registry.asked >= 2

    placing.take_back()
    assert (source.read_bytes(), names(place)) == (b"mine", [])


@pytest.mark.parametrize("transfer", [*LINKED, *SYMBOLIC])
def test_what_was_left_in_the_place_goes(placing, registry, source, place, transfer):
    """Its owner died: the registry is asked whether that is so."""
    place.parent.mkdir(parents=True)
    place.symlink_to("nowhere")
    placing.put(uri(source), uri(place), transfer)
    assert place.read_bytes() == b"mine"
    assert names(place) == [place.name]
    assert registry.asked


def test_what_is_in_its_place_already_stays(placing, registry, source, place):
    """A link that a process left that died; or a file that was put there for `auto`."""
    placing.put(uri(source), uri(place), "link")
    placing.put(uri(source), uri(place), "link")
    placing.put(uri(place), uri(place), "link")
    assert place.samefile(source)
    assert names(place) == [place.name]
    assert registry.asked == 0


@pytest.mark.parametrize("answers", [0, 1])
def test_nothing_is_removed_without_locks(tmp_path, registry, source, place, answers):
    """What is there may be what another has stored since: before the question, or before the next."""
    placing = placing_at(uri(tmp_path / "repo"), registry.ask, lasting=not answers)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"theirs")
    registry.answers = answers
    with pytest.raises(ConnectionError):
        placing.put(uri(source), uri(place), "link")
    assert place.read_bytes() == b"theirs"
    assert names(place) == [place.name]


def test_two_artifacts_of_one_place_are_both_kept(tmp_path, registry, source, place):
    """Between taking one away and putting it back a third was put there: a person has to look."""
    placing = placing_at(uri(tmp_path / "repo"), registry.ask, lasting=False)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"theirs")

    def third_comes():
        if not place.exists():
            place.write_bytes(b"another's")
            raise ConnectionError

    registry.meanwhile = third_comes
    with pytest.raises(ConnectionError):
        placing.put(uri(source), uri(place), "link")
    [aside] = [name for name in names(place) if name != place.name]
    assert aside.startswith(f".{place.name}.")
    assert (place.read_bytes(), place.with_name(aside).read_bytes()) == (b"another's", b"theirs")


def test_a_place_that_is_filled_again_and_again_is_left(tmp_path, registry, source, place):
    """The next attempt may go better."""
    placing = placing_at(uri(tmp_path / "repo"), registry.ask, lasting=False)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"theirs")
    registry.meanwhile = lambda: place.exists() or place.write_bytes(b"theirs")
    with pytest.raises(TryLater) as caught:
        placing.put(uri(source), uri(place), "link")
    assert caught.value.code is Code.RACE
    assert place.read_bytes() == b"theirs"


@pytest.mark.parametrize("transfer", [*LINKED, *SYMBOLIC])
def test_what_was_put_can_be_taken_back(placing, source, place, transfer):
    """The file itself stays."""
    placing.put(uri(source), uri(place), transfer)
    placing.take_back()
    assert names(place) == []
    assert source.read_bytes() == b"mine"


def test_nothing_is_taken_back_without_locks(placing, registry, source, place):
    """It may be another's by now, as the same link was wanted by both."""
    placing.put(uri(source), uri(place), "link")
    registry.answers = 0
    placing.take_back()
    assert names(place) == [place.name]


@pytest.mark.parametrize("transfer", [*LINKED, *SYMBOLIC])
def test_a_file_that_is_gone_is_told(placing, source, place, transfer):
    """There is never a link that leads nowhere."""
    source.unlink()
    with pytest.raises(FileNotFoundError, match="source"):
        placing.put(uri(source), uri(place), transfer)
    assert not os.path.lexists(place)


def test_links_are_tried_and_removed(tmp_path):
    """Whether a datastore has them is found out by making one."""
    assert is_exclusive(ResourcePath(str(tmp_path), forceDirectory=True))
    assert not list(tmp_path.iterdir())
