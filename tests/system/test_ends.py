"""Each way to end has its exit code, and says what to do."""

import os
import socket

import pytest

from pfs_ingestd.simulate import VisitPlan, write_ccd, write_visit
from system.service import content_of, counted, interpreted, stored, wanted, write

VISIT = VisitPlan(visit=77, cameras=("b1", "r1"), small=True)


@pytest.fixture
def bad(site):
    """Have a file that is whole, but names a spectrograph that does not exist."""
    path = site.data / VISIT.raw("b1")
    path.parent.mkdir(parents=True)
    write_ccd(path, VISIT, "b1", cards={"W_SPMOD": 5})
    return path


def test_a_missing_repository_is_a_matter_of_configuration(site):
    """Without a repository the daemon ends with 78 and names the command that creates one."""
    site.repository.rename(site.folder / "elsewhere")
    done = site.run("run")
    assert (done.returncode, done.stdout) == (78, "")
    assert f"`pfs-ingestd init {site.repository}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_everything_wrong_with_a_configuration_is_told_at_once(site):
    """A bad configuration ends with 78 and lists each problem with its full key."""
    site.configure()
    site.config_file.write_text(
        "repository: repo\nwatch: {raw: data, setle: 1s}\ningest: {max_attempts: 0}\n"
    )
    done = site.run("run")
    _, *lines, hint = done.stderr.splitlines()
    assert (done.returncode, "check-config" in hint) == (78, True)
    assert [line.split(":")[0].strip() for line in lines] == ["watch.setle", "ingest.max_attempts"]
    assert (78, "".join(f"{line.strip()}\n" for line in lines)) == (
        site.run("check-config").returncode,
        site.run("check-config").stdout,
    )


def test_a_second_daemon_refuses_to_start(site):
    """Of two daemons on one inbox the second ends with 75 and names the first."""
    first = site.start().running()
    done = site.run("run")
    assert done.returncode == 75
    assert f"process {first.process.pid} on {socket.gethostname()}" in done.stderr
    assert site.status()["state"] == "running"
    assert first.stop() == 0


def test_fail_fast_stops_at_the_first_rejection_and_resumes_after_retry(site, bad):
    """With fail-fast a bad file stops the daemon with 3, until a person decides; the others are kept."""
    site.configure(ingest={"policy": "fail-fast"})
    night = write(site.data)
    code = site.start().ended()
    status = site.status()
    assert (code, status["state"]) == (3, "failed")
    assert str(bad) in status["reason"]
    assert "W_SPMOD" in status["reason"]
    assert not {"ingesting"} & set(site.states().values())
    assert site.start().ended() == 3

    os.unlink(bad)  # noqa: PTH108 (as a person would)
    write_ccd(bad, VISIT, "b1")
    retried = site.run("retry", bad)
    assert (retried.returncode, retried.stdout) == (0, "1 file to be tried again\n")
    again = site.start()
    again.wait_for_counts(ingested=5, waiting=1)
    assert again.stop() == 0
    assert sorted([*wanted(night), content_of(bad, "raw", 77, "b1")]) == stored(site.repository)


def test_run_once_tells_that_files_were_rejected(site, bad):
    """`run --once` ends with 1 if a file was rejected, and the others are in."""
    write_visit(site.data, VISIT)
    write_ccd(bad, VISIT, "b1", cards={"W_SPMOD": 5})
    assert site.run("run", "--once").returncode == 1
    assert counted(ingested=2, rejected=1) == site.counts()
    assert str(bad) == site.status()["last_rejected"]["path"]


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["status"], ["list", "-c", "x.yaml", "--state", "lost"]],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(arguments):
    """A command line that makes no sense ends with 2, and says what is wrong and where the help is."""
    done = interpreted(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error [usage]: ")
    assert second.endswith(" --help")
