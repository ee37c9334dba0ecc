"""What operators see and do beside the daemon, and without one."""

import json

import pytest

from pfs_ingestd.records import State
from pfs_ingestd.simulate import VisitPlan, write_ccd
from system.service import content_of, counted, json_lines, stored, write

STATUS_KEYS = {
    "version", "state", "reason", "since", "heartbeat", "pid", "host", "program_version", "repository",
    "started", "watchers", "last_scan", "counts", "pending", "last_ingested", "last_rejected",
    "last_changed",
}  # fmt: skip
LIST_KEYS = {
    "path", "kind", "state", "visit", "arm", "spectrograph", "attempts", "not_before", "error", "first_seen",
    "updated", "dataset_id",
}  # fmt: skip
VISIT = VisitPlan(visit=77, cameras=("b1",), small=True)


@pytest.fixture
def bad(site):
    """Have a file that will be rejected."""
    path = site.data / VISIT.raw("b1")
    path.parent.mkdir(parents=True)
    write_ccd(path, VISIT, "b1", cards={"W_SPMOD": 5})
    return path


def test_commands_work_beside_a_running_daemon(site, bad):
    """Status, list and retry answer while the daemon runs, and it takes up what is retried."""
    night = write(site.data)
    service = site.start()
    service.wait_for_counts(ingested=4, waiting=1, rejected=1)
    service.wait_for(lambda: site.status()["counts"]["ingested"] == 4, "the status")

    told = json.loads(site.run("status", "--json").stdout)
    assert told.keys() >= STATUS_KEYS
    assert ("running", service.process.pid) == (told["state"], told["pid"])
    assert counted(ingested=4, waiting=1, rejected=1) == told["counts"]
    assert str(bad) == told["last_rejected"]["path"]
    lines = site.run("status").stdout.splitlines()
    assert lines[0].startswith("OK     running for ")
    assert lines[1:3] == [
        "LOOK   1 file needs a person",
        f"       pfs-ingestd list -c {site.config_file} --state rejected",
    ]
    (files,) = [line.split(None, 1)[1] for line in lines if line.startswith("files ")]
    assert files == "1 waiting, 4 ingested, 1 rejected"

    files = json.loads(site.run("list", "--json").stdout)
    assert all(file.keys() >= LIST_KEYS for file in files)
    assert [
        str(bad),
        *sorted(map(str, (*night.raws, *night.configs))),
        str(night.convergence_configs[0]),
    ] == [file["path"] for file in files]
    (rejected,) = [file for file in files if file["state"] == "rejected"]
    assert tuple(
        rejected[key] for key in ("kind", "visit", "arm", "spectrograph", "attempts", "code", "dataset_id")
    ) == ("raw", 77, "b", 1, 0, "bad_card", None)
    (waiting,) = json.loads(site.run("list", "--json", "--state", "waiting").stdout)
    assert (str(night.convergence_configs[0]), True) == (
        waiting["path"],
        waiting["not_before"] > waiting["updated"],
    )

    lines = site.run("list", "--visit", 77, "--visit", 1001).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["state", "rejected", "waiting"]
    assert str(bad) in lines[1].split()

    write_ccd(bad, VISIT, "b1")
    service.wait_for_counts(ingested=5, waiting=1)
    assert service.stop() == 0


def test_retry_starts_rejected_files_again(site, bad):
    """Without paths `retry` means what was rejected; of a path that is not known it says so, with 1."""
    service = site.start()
    service.wait_for_counts(rejected=1)
    done = site.run("retry")
    assert (done.returncode, done.stdout) == (0, "1 file to be tried again\n")
    service.wait_for(
        lambda: [event["event"] for event in service.events].count("file.rejected") == 2, "the second try"
    )
    unknown = site.run("retry", "--json", site.data / "other.fits")
    told = json.loads(unknown.stdout)
    assert (unknown.returncode, told["moved"], unknown.stderr) == (1, [], "")
    [left] = told["left"]
    assert (left["path"], left["code"]) == (str(site.data / "other.fits"), "not_in_inbox")
    skipped = site.run("skip", bad)
    assert (skipped.returncode, skipped.stdout) == (0, "1 file skipped\n")
    assert service.stop() == 0
    assert {bad.relative_to(site.data): State.SKIPPED} == site.states()


def test_commands_work_without_a_daemon(site):
    """After the daemon has ended its status and its list can still be read."""
    write(site.data)
    assert site.run("run", "--once").returncode == 0
    assert ("stopped", counted(ingested=4, waiting=1)) == (
        (told := json.loads(site.run("status", "--json").stdout))["state"],
        told["counts"],
    )
    assert len(json.loads(site.run("list", "--json", "--state", "ingested").stdout)) == 4
    assert json.loads(site.run("list", "--json", "--visit", 5).stdout) == []
    assert (0, f"{site.config_file}: no problems\n") == (
        (checked := site.run("check-config")).returncode,
        checked.stdout,
    )


@pytest.mark.parametrize("command", ["status", "list", "retry"])
def test_commands_say_that_no_daemon_has_run_yet(site, command):
    """Before the first run there is nothing to tell, which is said, and nothing is made."""
    before = set(site.folder.iterdir())
    done = site.run(command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon has run here yet" in done.stderr
    assert before == set(site.folder.iterdir())


def test_a_name_that_would_break_a_table_stays_on_one_line(site):
    """A folder with a line break and an escape in its name is listed and logged in one line."""
    odd = site.data / "a\n\x1b[31mb"
    odd.mkdir()
    path = odd / "PFSA00007711.fits"
    write_ccd(path, VISIT, "b1")
    done = site.run("run", "--once")
    assert done.returncode == 0
    written = f"{site.data}/a\\x0a\\x1b[31mb/PFSA00007711.fits"
    assert {written} == {event["path"] for event in json_lines(done.stdout) if "path" in event}
    assert written in site.run("list").stdout.splitlines()[1].split()


def test_replace_stores_the_file_that_an_operator_chose(site):
    """Of two files with one data ID the operator's choice is stored, beside a running daemon, and said so."""
    night = write(site.data, visits=1)
    service = site.start()
    service.wait_for_counts(ingested=4, waiting=1)
    first = night.raws[0]
    rival = site.data / "again" / first.name
    rival.parent.mkdir()
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    rival.write_bytes(content)
    service.wait_for_counts(ingested=4, waiting=1, rejected=1)

    done = site.run("replace", "--json", rival)

    files = {file["path"]: file for file in json.loads(site.run("list", "--json").stdout)}
    assert (done.returncode, site.counts()) == (0, counted(ingested=5, waiting=1))
    assert json.loads(done.stdout) == files[str(rival)]
    assert files[str(rival)]["dataset_id"] == files[str(first)]["dataset_id"]
    assert files[str(first)]["changed"] == f"its dataset was replaced by {rival}"
    digests = {digest for *_, digest in stored(site.repository)}
    assert content_of(rival, "raw", 0, "")[-1] in digests
    assert content_of(first, "raw", 0, "")[-1] not in digests
    assert site.run("replace", site.data / "nothing.fits").returncode == 1
