"""Copies that are not whole yet: where they lie, and who removes them."""

import fcntl
import os
import time
from pathlib import Path

import pytest
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository import staging
from pfs_ingestd.adapters.repository.copying import copy_file
from pfs_ingestd.adapters.repository.staging import OLD_S, YOUNG_S, staging_at
from pfs_ingestd.errors import TryLater
from repository_files import an_exposure, ccd_file, count, raw_dataset

CONTENTS = {"butler.yaml", "gen3.sqlite3"}


@pytest.fixture(autouse=True)
def host(monkeypatch):
    """Run on a host of a known name, with a hyphen in it."""
    monkeypatch.setattr("socket.gethostname", lambda: "sm-1")


def _folder(root, name=".pfs-ingestd-sm-1-12345678"):
    folder = Path(root, name)
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "f09aaead-7359-5a0a-8a9f-f0924fe8576b.fits").write_bytes(b"SIMPLE")
    return folder


def test_what_a_dead_process_was_copying_is_removed(root, opened):
    """Whoever opens the repository next removes the copies that nobody will finish."""
    _folder(root)
    _folder(root, ".pfs-ingestd-sm-1-87654321")
    opened().close()

    assert {path.name for path in Path(root).iterdir()} == CONTENTS


def _age(folder, seconds):
    """Let nothing have changed in a folder for so long."""
    then = time.time() - seconds
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))
    return folder


def test_a_folder_without_a_lock_is_given_time_to_get_one(root, opened):
    """Its maker locks it next; one that has not done so for a while died before."""
    dead, young = _folder(root), _folder(root, ".pfs-ingestd-sm-1-87654321")
    for folder in (dead, young):
        (folder / "lock").unlink()
    _age(dead, YOUNG_S + 1)
    opened().close()

    assert {path.name for path in Path(root).iterdir()} == {*CONTENTS, young.name}


def test_what_another_host_is_copying_is_left_alone(root, opened):
    """Not every file server passes on who holds a lock: only what has not changed for a day is abandoned."""
    busy = _folder(root, ".pfs-ingestd-sm-12345678")
    _age(busy, OLD_S + 60)
    (busy / "1.fits").touch()
    earlier = _folder(root, ".pfs-ingestd-12345678")
    _age(_folder(root, ".pfs-ingestd-sm-2-12345678"), OLD_S + 60)
    opened().close()

    assert {path.name for path in Path(root).iterdir()} == {*CONTENTS, busy.name, earlier.name}


def test_no_lock_is_seen_before_it_is_held(root, opened, monkeypatch):
    """Whoever looks at a folder while it is being locked leaves it alone."""
    rename, seen = Path.rename, []

    def look_first(self, target):
        opened().close()
        seen.append(self.exists())
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", look_first)
    with staging_at(ResourcePath(root, forceDirectory=True)) as staging:
        staging.begin(Path("/a/b.fits"), link=False)
    assert seen == [True]


def test_what_a_live_process_is_copying_is_left_alone(root, opened):
    """A folder that is locked belongs to a transfer that goes on."""
    folder = _folder(root)
    before = sorted(folder.iterdir())
    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened().close()

        assert before == sorted(folder.iterdir())


def test_a_staging_folder_is_there_while_it_is_needed(root, opened):
    """It is made with the first name, held against those who sweep, and gone with all that is in it."""
    before = set(Path(root).iterdir())
    place = staging_at(ResourcePath(root, forceDirectory=True))
    assert set(Path(root).iterdir()) == before

    for _ in range(2):
        copy = Path(place.begin(Path("/a/b.fits"), link=False).uri.ospath)
        opened().close()
        assert copy.exists()
        place.close()
        assert set(Path(root).iterdir()) == before


def test_what_is_not_ours_is_left_alone(root, opened):
    """Hidden folders and half-copied files of others stay where they are."""
    others = [_folder(root, ".snapshot"), _folder(root, "pfs-ingestd-12345678")]
    opened().close()

    assert CONTENTS | {path.name for path in others} == {path.name for path in Path(root).iterdir()}


def test_a_copy_gets_its_name_when_it_is_whole(root, opened, tmp_path, monkeypatch):
    """Nothing that Butler is given to copy lies under a name of the datastore while it is written."""
    places = []

    def note(source, place, **options):
        places.append(place)
        copy_file(source, place, **options)

    monkeypatch.setattr(staging, "copy_file", note)
    opened("copy").ingest([an_exposure(12)], [raw_dataset(ccd_file(tmp_path / "a.fits"))])

    (place,) = places
    assert place.parent.parent == Path(root)
    assert place.parent.name.startswith(".pfs-ingestd-")
    assert CONTENTS | {"PFS"} == {path.name for path in Path(root).iterdir()}


def test_a_failed_copy_leaves_nothing(root, opened, tmp_path):
    """One file of a batch that cannot be copied takes the copies of the others with it."""
    good, bad = ccd_file(tmp_path / "a.fits"), tmp_path / "gone.fits"
    with pytest.raises(TryLater):
        opened("copy").ingest([an_exposure(12)], [raw_dataset(good), raw_dataset(bad, 12, "b", 1)])

    assert {path.name for path in Path(root).iterdir()} == CONTENTS
    assert count(root) == ((0, 0, 0), 0)


def test_a_copy_keeps_the_end_of_its_name(opened, tmp_path):
    """Butler tells a compressed file by its name, and so do its readers."""
    source = ccd_file(tmp_path / "a.fits").rename(tmp_path / "a b#1.fits.gz")
    (outcome,) = opened("copy").ingest([an_exposure(12)], [raw_dataset(source)])

    assert outcome.where.endswith("raw_PFS_12_r1_PFS_raw_all.fits.gz")
