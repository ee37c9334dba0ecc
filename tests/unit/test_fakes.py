"""The fakes behave like a disk, its files and a repository: what other tests stand on."""

from datetime import timedelta

import pytest

from fakes import (
    BEGIN,
    ROOT,
    Content,
    FakeClock,
    FakeFolder,
    FakeHeaders,
    FakeRepository,
    FakeWatcher,
    config_header,
    config_path,
    raw_header,
    raw_path,
)
from pfs_ingestd.errors import Code, Incomplete, Outage, Rejected, TryLater, Vanished
from pfs_ingestd.ports import Blind, Dataset, FolderMark, Hint, Outcome, Stored

RAW = Content(answer=raw_header())
CONFIG = Content(answer=config_header())
PATH = raw_path()
NIGHT = PATH.parents[1]
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def folder(clock):
    return FakeFolder(clock)


@pytest.fixture
def headers(folder):
    return FakeHeaders(folder)


@pytest.fixture
def repository(folder):
    return FakeRepository(folder)


def names(folder, marks=None):
    listings = filter(None, folder.scan(marks or {}))
    return {listing.mark.folder: listing.names for listing in listings}


def marks(folder):
    return {listing.mark.folder: listing.mark for listing in folder.scan({})}


def test_time_passes_when_told():
    """The clock stands still but for sleep and advance."""
    clock = FakeClock(chance=0.5)
    clock.sleep(1.5)
    clock.advance(timedelta(hours=1))
    assert (clock.now(), clock.random()) == (BEGIN + timedelta(hours=1, seconds=1.5), 0.5)


def test_a_scan_lists_our_files_newest_night_first(folder):
    """Each folder is listed with the names that are ours, hidden folders are not."""
    old = raw_path(night="2026-11-21")
    for path in (
        old,
        PATH,
        PATH.with_name(f".{PATH.name}"),
        ROOT / ".hidden" / "sps" / PATH.name,
        NIGHT / "x",
    ):
        folder.write(path, RAW)
    assert [(listing.mark.folder, listing.names) for listing in folder.scan({})] == [
        (PATH.parent, {PATH.name}),
        (NIGHT, set()),
        (old.parent, {old.name}),
        (old.parents[1], set()),
        (ROOT, set()),
    ]


def test_a_settled_folder_is_listed_again_only_when_it_changed(folder, clock):
    """An unchanged time means unchanged names once the tick of the file server's clock is over."""
    folder.write(PATH, RAW)
    unsettled = marks(folder)
    assert names(folder, unsettled).keys() == unsettled.keys()
    clock.advance(SECOND)
    settled = marks(folder)
    assert names(folder, settled) == {}
    folder.grow(PATH, 5)
    assert names(folder, settled) == {}
    folder.write(raw_path(1001), RAW)
    assert names(folder, settled) == {PATH.parent: {PATH.name, raw_path(1001).name}}


def test_a_name_added_within_the_tick_is_not_lost(folder, clock):
    """A file created just after the listing, at the same coarse time, is found by the next scan."""
    folder.write(PATH, RAW)
    before = marks(folder)
    clock.advance(SECOND / 2)
    folder.write(raw_path(1001), RAW)
    assert before[PATH.parent] == FolderMark(PATH.parent, folder.folders[PATH.parent], settled=False)
    assert names(folder, before)[PATH.parent] == {PATH.name, raw_path(1001).name}


def test_an_unreadable_root_ends_the_scan_at_its_end(clock):
    """The other roots are scanned before the scan fails."""
    other = ROOT.with_name("other")
    folder = FakeFolder(clock, (ROOT, other))
    folder.write(PATH, RAW)
    folder.unreadable.add(other)
    scan = folder.scan({})
    assert next(scan).mark.folder == PATH.parent
    with pytest.raises(Outage):
        list(scan)


def test_an_unreadable_folder_is_passed_over(folder):
    """What cannot be read is told, and is listed once it can be read again."""
    folder.write(PATH, RAW)
    folder.unreadable.add(PATH.parent)
    assert (names(folder), list(folder.problems())) == ({NIGHT: set(), ROOT: set()}, [PATH.parent])
    with pytest.raises(TryLater):
        folder.look(PATH)
    folder.unreadable.clear()
    assert names(folder)[PATH.parent] == {PATH.name}
    assert folder.problems() == {}


def test_a_look_shows_what_is_there(folder, clock, headers):
    """A file that was written to is the same inode with other times; one that was replaced is another."""
    assert folder.look(PATH) is None
    folder.write(PATH, RAW, size=10)
    first = folder.look(PATH)
    clock.advance(SECOND)
    folder.grow(PATH, 20)
    grown = folder.look(PATH)
    folder.write(PATH.with_name("new"), RAW)
    folder.rename(PATH.with_name("new"), PATH)
    replaced = folder.look(PATH)
    assert [(seen.size, seen.inode) for seen in (first, grown, replaced)] == [(10, 1), (20, 1), (1000, 2)]
    assert grown.mtime_ns - first.mtime_ns == 1_000_000_000
    assert headers.read([replaced]) == [RAW.answer]


def test_a_linked_file_is_one_file(folder, clock):
    """What is written under one name is there under the other."""
    folder.write(PATH, RAW, size=10)
    folder.link(PATH, raw_path(1001))
    clock.advance(SECOND)
    folder.grow(raw_path(1001), 20)
    assert folder.files[PATH] == folder.files[raw_path(1001)]
    folder.delete(PATH)
    assert (folder.look(PATH), folder.look(raw_path(1001)).size) == (None, 20)


def test_a_folder_is_moved_and_deleted_with_all_that_is_in_it(folder):
    """Files below a folder go where it goes."""
    folder.write(PATH, RAW)
    moved = raw_path(night="2026-11-23")
    folder.rename(NIGHT, moved.parents[1])
    assert (list(folder.files), folder.beneath(ROOT), folder.beneath(moved)) == ([moved], [moved], [moved])
    assert NIGHT not in folder.folders
    folder.delete(moved.parents[1])
    assert (folder.files, names(folder), folder.beneath(moved)) == ({}, {ROOT: set()}, [])


def test_headers_read_what_is_in_the_file(folder, headers):
    """A whole file gives its answer; a partial, changed, unreadable or missing one says so."""
    bad = Rejected(Code.BAD_CARD, "is bad")
    paths = [raw_path(visit) for visit in range(1000, 1006)]
    for path, content in zip(paths, [RAW, Content(answer=bad), RAW, RAW, RAW, RAW], strict=True):
        folder.write(path, content)
    folder.grow(paths[2], 999)
    sightings = [folder.look(path) for path in paths]
    folder.grow(paths[3], 998)
    folder.unreadable.add(paths[4])
    folder.delete(paths[5])
    answers = headers.read(sightings)
    assert answers[:2] == [RAW.answer, bad]
    assert [type(answer) for answer in answers[2:]] == [Incomplete, Incomplete, TryLater, Vanished]
    assert headers.read_paths == paths


def dataset(folder, path, content):
    folder.write(path, content)
    return Dataset(path, content.answer)


def test_a_dataset_is_stored_once(folder, headers, repository):
    """The same bytes are already there, other bytes are a conflict, and what is stored stays."""
    exposure = headers.exposure(RAW.answer)
    first = dataset(folder, PATH, RAW)
    same = dataset(folder, raw_path(night="2026-11-21"), RAW)
    other = dataset(folder, raw_path(night="2026-11-20"), Content(answer=RAW.answer, version="other"))
    config = dataset(folder, config_path(), CONFIG)
    outcomes = repository.ingest([exposure], [first, same, other, config])
    assert [outcome.result for outcome in outcomes] == [
        Stored.STORED,
        Stored.ALREADY_THERE,
        Stored.CONFLICT,
        Stored.STORED,
    ]
    assert repository.ingest([], [other]) == [outcomes[2]]
    assert sorted(artifact.source for artifact in repository.artifacts.values()) == [config.path, PATH]
    assert repository.designs({1000, 1001}) == {1000: 0xABC}


def test_a_config_without_exposure_does_not_keep_others_out(folder, headers, repository):
    """A pfsConfig of an unknown visit is told, the rest is stored."""
    raw = dataset(folder, PATH, RAW)
    early = dataset(folder, config_path(1001), Content(answer=config_header(1001)))
    outcomes = repository.ingest([headers.exposure(RAW.answer)], [early, raw])
    assert (outcomes[0], outcomes[1].result) == (Outcome(Stored.NO_EXPOSURE), Stored.STORED)


@pytest.mark.parametrize(
    "failure", [Rejected(Code.BAD_CARD, "is bad"), TryLater(Code.STORE_FAILED, "failed")]
)
def test_a_batch_with_a_guilty_file_stores_nothing(folder, headers, repository, failure):
    """All are stored, or none, and no exposure is registered."""
    good = dataset(folder, PATH, RAW)
    guilty = dataset(folder, raw_path(arm="r"), Content(answer=raw_header(arm="r")))
    exposure = headers.exposure(RAW.answer)
    repository.refused[guilty.path] = failure
    with pytest.raises(type(failure)):
        repository.ingest([exposure], [good, guilty])
    assert (repository.exposures, repository.artifacts) == ({}, {})
    assert [outcome.result for outcome in repository.ingest([exposure], [good])] == [Stored.STORED]
    assert repository.batches == [[good.path, guilty.path], [good.path]]


def test_an_exposure_that_differs_is_a_race(folder, headers, repository):
    """Who comes second with another record of the same visit stores nothing."""
    raw = dataset(folder, PATH, RAW)
    repository.ingest([headers.exposure(RAW.answer)], [])
    with pytest.raises(TryLater) as caught:
        repository.ingest([headers.exposure(raw_header(design=1))], [raw])
    assert (caught.value.code, repository.artifacts) == (Code.RACE, {})


def test_an_outage_lasts_until_it_is_over(folder, headers, repository):
    """While there is an outage every call raises it, and nothing is stored."""
    raw = dataset(folder, PATH, RAW)
    repository.outage = Outage(Code.DISK_FULL, "full")
    calls = [
        repository.probe,
        lambda: repository.designs([1000]),
        lambda: repository.ingest([headers.exposure(RAW.answer)], [raw]),
    ]
    for call in calls:
        with pytest.raises(Outage):
            call()
    repository.outage = None
    assert (repository.designs([1000]), repository.artifacts) == ({}, {})


def test_a_missing_file_is_not_stored(folder, headers, repository):
    """A file that vanished before it was stored may come back."""
    raw = dataset(folder, PATH, RAW)
    folder.delete(PATH)
    with pytest.raises(TryLater):
        repository.ingest([headers.exposure(RAW.answer)], [raw])


def test_a_watcher_posts_while_it_runs():
    """Hints arrive between start and stop; a dead watcher is revived by a check, which says so."""
    watcher, posted = FakeWatcher(), []
    watcher.hint(PATH)
    watcher.start(posted.append)
    watcher.hint(PATH, closed=True)
    watcher.die()
    health = [watcher.check()[0].healthy, watcher.check()[0].healthy]
    watcher.stop()
    watcher.hint(PATH)
    assert (posted, health) == ([Hint(PATH, closed=True), Blind.BLIND], [False, True])
