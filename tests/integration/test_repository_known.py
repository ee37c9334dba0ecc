"""`ButlerRepository.stored` against a real repository: which files of a backlog are artifacts already."""

import shutil
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from fuzz import sight
from observatory import TYPES, an_observatory
from pfs_ingestd.adapters.repository import TRANSFERS
from pfs_ingestd.adapters.repository.recorded import paths_of
from pfs_ingestd.adapters.repository.session import open_session
from pfs_ingestd.adapters.repository.visits import datasets_of
from repository_files import (
    a_repository,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    opener_of,
    raw_dataset,
)

VISITS = count(1000)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Have a repository that these tests share; each has its own visits."""
    return a_repository(tmp_path_factory.mktemp("known") / "repo")


@pytest.fixture(scope="module")
def repository_of(root):
    """Open it with some transfer."""
    with opener_of(root) as opened:
        yield cache(opened)


@pytest.fixture(scope="module")
def session(root):
    """Have it open for more than a repository does."""
    session = open_session(str(root), runs={}, instrument="PFS")
    yield session
    session.close()


@pytest.fixture
def visit():
    return next(VISITS)


@pytest.fixture
def raw(incoming, visit):
    """Have a raw of r1."""
    return ccd_file(incoming / name_of(visit), visit)


@pytest.fixture
def config(incoming, visit):
    """Have the pfsConfig of the same visit."""
    return config_file(incoming / f"pfsConfig-0x7000000000000001-{visit:06d}.fits", visit)


def name_of(visit, camera="12"):
    return f"PFSA{visit:06d}{camera}.fits"


def store(repository, visit, raw, config=None):
    """Ingest the files of a visit; tell ids and where the artifacts are."""
    datasets = [raw_dataset(raw, visit), *([config_dataset(config, visit)] if config else [])]
    outcomes = repository.ingest([an_exposure(visit)], datasets)
    return [(outcome.dataset_id, Path(outcome.where.removeprefix("file://"))) for outcome in outcomes]


def answer(repository, *paths):
    """Ask for some files."""
    return repository.stored([sight(path) for path in paths])


@pytest.mark.parametrize("transfer", sorted(set(TRANSFERS) - {"move"}))
def test_a_file_is_found_where_it_is_the_artifact(repository_of, transfer, visit, raw, config):
    """A hard link to it, a link that leads to it and the file itself are the artifact; a copy is not."""
    repository = repository_of(transfer)
    [(raw_id, _), (config_id, _)] = store(repository, visit, raw, config)
    expected = {} if transfer == "copy" else {raw: raw_id, config: config_id}
    assert answer(repository, raw, config) == expected


def test_move_leaves_it_to_the_usual_way(repository_of, visit, raw):
    """A file that is linked into the repository and was to be removed is still removed."""
    store(repository_of("hardlink"), visit, raw)
    assert answer(repository_of("move"), raw) == {}


def test_another_file_is_not_the_artifact(repository_of, visit, raw):
    """The same bytes in another file, and another file in the old one's place, have to be compared."""
    repository = repository_of("hardlink")
    store(repository, visit, raw)
    copy = raw.parent / "copy" / raw.name
    copy.parent.mkdir()
    shutil.copy(raw, copy)
    before = sight(raw)
    raw.unlink()
    shutil.copy(copy, raw)
    assert (answer(repository, raw, copy), repository.stored([before])) == ({}, {})


def test_what_was_seen_is_meant_and_not_what_is_there_now(repository_of, visit, raw):
    """If the artifact took the place of a file after that was seen, nothing is said of what was seen."""
    repository = repository_of("hardlink")
    [(_, artifact)] = store(repository, visit, raw)
    copy = shutil.copy(raw, raw.with_name("copy"))
    raw.unlink()
    Path(copy).rename(raw)
    seen = sight(raw)
    raw.unlink()
    raw.hardlink_to(artifact)
    assert repository.stored([seen]) == {}


def test_every_name_of_the_artifact_is_found(repository_of, visit, raw):
    """Two names of one file are both stored."""
    repository = repository_of("hardlink")
    [(dataset_id, _)] = store(repository, visit, raw)
    second = raw.parent / "second" / raw.name
    second.parent.mkdir()
    second.hardlink_to(raw)
    assert answer(repository, raw, second) == {raw: dataset_id, second: dataset_id}


def test_the_name_says_which_dataset_is_meant(repository_of, visit, raw):
    """A file that is an artifact, but of another data ID than its name says, has to be read."""
    repository = repository_of("hardlink")
    store(repository, visit, raw)
    others = [raw.with_name(name_of(visit, camera)) for camera in ("11", "99")]
    others.append(raw.with_name(name_of(next(VISITS))))
    for other in others:
        other.hardlink_to(raw)
    assert answer(repository, *others) == {}


def test_the_datastore_says_where_an_artifact_is(repository_of, visit, raw):
    """An artifact that is gone is none, nor is a file of its name that the datastore does not know."""
    repository = repository_of("hardlink")
    [(_, artifact)] = store(repository, visit, raw)
    artifact.unlink()
    other = ccd_file(raw.with_name(name_of(visit, "11")), visit, "b")
    artifact.with_name(artifact.name.replace("_r1_", "_b1_")).hardlink_to(other)
    assert answer(repository, raw, other) == {}


def raws_of(session, *visits):
    refs = datasets_of(session, session.layout.raw, ["PFS/raw/all"], visits)
    return {ref.id: ref for ref in refs}


@pytest.mark.parametrize("folder", ["plain", "odd 100%25 #1?"])
def test_artifacts_are_where_butler_says(session, repository_of, incoming, visit, folder, monkeypatch):
    """What the datastore has recorded is read as Butler reads it, and Butler is asked only where in doubt."""
    (incoming / folder).mkdir(parents=True)
    visits = visit, next(VISITS)
    within, without = [ccd_file(incoming / folder / name_of(each), each) for each in visits]
    store(repository_of("hardlink"), visits[0], within)
    store(repository_of("direct"), visits[1], without)
    refs, asked = raws_of(session, *visits), []
    ask = session.butler.get_many_uris
    monkeypatch.setattr(
        session.butler, "get_many_uris", lambda refs, **how: asked.extend(refs) or ask(refs, **how)
    )
    paths = paths_of(session, refs)
    assert paths == {ref.id: each.primaryURI.ospath for ref, each in ask(refs.values()).items()}
    assert [paths[ref.id] for ref in asked] == [str(without)]
    assert len(paths) == 2


def test_what_the_datastore_has_forgotten_is_nowhere(session, repository_of, visit, raw):
    """A dataset that was unstored has no path, and its file is to be read."""
    repository = repository_of("hardlink")
    store(repository, visit, raw)
    refs = raws_of(session, visit)
    session.butler.pruneDatasets(refs.values(), disassociate=False, unstore=True)
    assert (len(refs), paths_of(session, refs), answer(repository, raw)) == (1, {}, {})


def test_visits_may_lie_far_apart(repository_of, incoming):
    """A few files of years apart are found as neighbours are."""
    repository = repository_of("hardlink")
    visits = [400_000, next(VISITS), next(VISITS)]
    files = {visit: ccd_file(incoming / name_of(visit), visit) for visit in visits}
    ids = {path: store(repository, visit, path)[0][0] for visit, path in files.items()}
    assert answer(repository, *ids) == ids


def test_a_backlog_that_is_new_is_not_there(repository_of, raw, config):
    """Of visits that the repository does not know nothing is found, and of no files neither."""
    repository = repository_of("hardlink")
    assert (answer(repository, raw, config), repository.stored([])) == ({}, {})


@pytest.mark.parametrize("camera", [("arm", "spectrograph"), ("detector",)], ids="+".join)
def test_repositories_of_others_are_asked_alike(tmp_path, camera, visit, raw, config):
    """Where observations are visits and cameras perhaps detectors, files are found all the same."""
    root = an_observatory(tmp_path / "repo", types=TYPES | {"raw": ("visit", *camera)})
    with opener_of(root) as opened:
        repository = opened("link")
        [(raw_id, _), (config_id, _)] = store(repository, visit, raw, config)
        assert answer(repository, raw, config) == {raw: raw_id, config: config_id}
