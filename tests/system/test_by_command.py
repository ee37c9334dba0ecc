"""Repositories made and files ingested by command, without a daemon."""

import shutil

import pytest

from pfs_ingestd.simulate import write_ccd
from system.service import FEW_CAMERAS, butler, fingerprints, interpreted, pfs_ingestd, stored, wanted, write

TRANSFERS = ("link", "copy", "move", "hardlink", "symlink", "relsymlink", "direct", "auto")


@pytest.fixture
def repository(tmp_path, template):
    return shutil.copytree(template, tmp_path / "repo")


@pytest.fixture
def night(tmp_path):
    """Have a visit on disk."""
    return write(tmp_path / "night")


def _raws(contents):
    return [content for content in contents if content[0] == "raw"]


def test_init_creates_a_repository_once(tmp_path):
    """`init` makes a repository that Butler knows, and changes nothing when it is run again."""
    first = interpreted("init", "repo", cwd=tmp_path)
    before = fingerprints(tmp_path)
    again = pfs_ingestd("init", "repo", cwd=tmp_path)
    assert (first.returncode, again.returncode) == (0, 0)
    assert "PFS/raw/all" in first.stdout
    assert again.stdout == "repo has everything already: nothing was changed\n"
    assert before == fingerprints(tmp_path)
    assert "PFS/defaults" in butler("query-collections", tmp_path / "repo")


def test_init_leaves_other_folders_alone(tmp_path):
    """A folder that holds something else is not made a repository."""
    (tmp_path / "letter").write_text("dear all")
    done = pfs_ingestd("init", tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{tmp_path} is not a Butler repository, and not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_a_bad_file_among_good_ones_stops_none(repository, night, tmp_path):
    """Files, folders and quoted globs are taken in; what is rejected is told with its reason, and 1."""
    visit = night.visits[0]
    bad = tmp_path / "PFSA00100021.fits"
    write_ccd(bad, visit, "b2", cards={"W_ARM": 9})
    ccd, *_ = night.raws
    arguments = [
        ccd,
        night.directory / "*" / "ramps",
        str(night.directory / "*/sps/*12.fits"),
        bad,
        "no.fits",
    ]

    done = pfs_ingestd("ingest-raws", repository, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "3 ingested, 0 already there, 2 rejected\n")
    reasons = dict(line.removeprefix("rejected ").split(": ", 1) for line in done.stderr.splitlines())
    assert {f"[bad_card] {bad}", f"[vanished] {tmp_path / 'no.fits'}"} == reasons.keys()
    assert "W_ARM" in reasons[f"[bad_card] {bad}"]
    assert _raws(wanted(night)) == stored(repository)

    again = pfs_ingestd("ingest-raws", repository, night.directory)
    assert (
        again.returncode,
        again.stdout,
        again.stderr,
    ) == (0, "0 ingested, 3 already there, 0 rejected\n", "")
    assert _raws(wanted(night)) == stored(repository)


def test_fail_fast_tries_no_more_after_the_first_rejection(repository, night, tmp_path):
    """With --fail-fast the first bad file ends it."""
    done = pfs_ingestd("ingest-raws", repository, tmp_path / "no.fits", night.directory, "--fail-fast")
    assert (done.returncode, done.stdout) == (1, "0 ingested, 0 already there, 1 rejected, 3 not tried\n")
    assert stored(repository) == []


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_every_transfer_mode_is_accepted(repository, night, transfer):
    """Each mode stores the bytes, and only move takes the source away."""
    expected = _raws(wanted(night))
    before = fingerprints(night.directory)
    done = pfs_ingestd("ingest-raws", repository, night.directory, "--transfer", transfer)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 ingested, 0 already there, 0 rejected\n", "")
    assert expected == stored(repository)
    gone = {path.relative_to(night.directory) for path in night.raws} if transfer == "move" else set()
    assert {path: print_ for path, print_ in before.items() if path not in gone} == fingerprints(
        night.directory
    )


def test_the_run_can_be_chosen(repository, night):
    """--output-run puts the datasets into a run of that name, which is made if it is new."""
    done = pfs_ingestd("ingest-raws", repository, night.directory, "--output-run", "PFS/raw/mine", "-j", 1)
    assert done.returncode == 0
    assert _raws(wanted(night)) == stored(repository)
    assert butler("query-datasets", repository, "--collections", "PFS/raw/mine").count(" raw ") == 3


def test_a_pfs_config_needs_its_raws(repository, night):
    """A pfsConfig before its raws is rejected with the reason, not forgotten; after them it is ingested."""
    config, *_ = night.configs
    arguments = ("ingest-pfs-config", repository, "PFS", "PFS/raw/pfsConfig", config)
    early = pfs_ingestd(*arguments)
    assert (early.returncode, early.stdout) == (1, "0 ingested, 0 already there, 1 rejected\n")
    assert f"rejected [no_exposure] {config}: exposure 1000 is not in the repository" in early.stderr

    assert pfs_ingestd("ingest-raws", repository, night.directory).returncode == 0
    late = pfs_ingestd(*arguments)
    assert (late.returncode, late.stdout, late.stderr) == (0, "1 ingested, 0 already there, 0 rejected\n", "")
    assert wanted(night) == stored(repository)


def test_simulate_tells_what_it_wrote(tmp_path):
    """`simulate` writes what it says, and refuses cameras that there are not."""
    done = pfs_ingestd(
        "simulate", "night", "--visits", 1, "--small", "--cameras", ",".join(FEW_CAMERAS), cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (
        0,
        "3 raws and 1 pfsConfigs of 1 visits (and 1 pfsConfig of a convergence without raws) in night\n",
    )
    assert len(fingerprints(tmp_path / "night")) == 5
    wrong = pfs_ingestd("simulate", "night", "--visits", 1, "--cameras", "b5", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "not a camera of PFS: 'b5'" in wrong.stderr
