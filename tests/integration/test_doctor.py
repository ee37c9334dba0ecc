"""The examination of a real machine: one in order, and each thing broken that a first start can trip over."""

import json
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from in_process import typed
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.repository import RepositoryTrial
from pfs_ingestd.doctor import examination
from pfs_ingestd.doctor.findings import Level
from pfs_ingestd.doctor.machine import account_of, right_to
from pfs_ingestd.doctor.stores import corrections_in
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import service
from repository_files import a_repository
from system.service import Site

WARNINGS_HERE = {"rights are looked at as root", "no service is installed"}
"""What is not in order on a machine of tests: no unit, and maybe root."""

ALL = examination.CHECKS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for the rights of others")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Have a repository, and a night that no daemon has seen; no unit is installed."""
    monkeypatch.setitem(examination.SERVICE_PATHS, "service", tmp_path / "pfs-ingestd.service")
    monkeypatch.delenv("METADATA_CORRECTIONS_PATH", raising=False)
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder, Path(a_repository(folder / "template")))
    site.night = write_night(site.data, NightPlan(visits=1, cameras=("b1",), small=True))
    yield site
    site.close()


def doctor(site, *options, check=None):
    """Examine a site, as a whole or in one point; give what is found, but for what is so on any machine."""
    with pytest.MonkeyPatch.context() as patch:
        if check:
            patch.setattr(examination, "CHECKS", [each for each in ALL if each.name == check])
        return _doctor(site, *options)


def _doctor(site, *options):
    done = typed("doctor", "-c", site.config_file, "--json", *options)
    findings = json.loads(done.stdout)["findings"]
    assert done.exit_code == any(finding["level"] == "error" for finding in findings)
    return [
        finding
        for finding in findings
        if not any(finding["text"].startswith(expected) for expected in WARNINGS_HERE)
    ]


def wrong(site, check, *options):
    """Tell what is not in order in one point."""
    found = [finding for finding in doctor(site, *options, check=check) if finding["level"] != "ok"]
    assert all(finding["cure"] for finding in found)
    return [(finding["level"], finding["text"]) for finding in found]


def contents(site):
    with closing(sqlite3.connect(site.repository / "gen3.sqlite3")) as registry:
        return list(registry.iterdump()), sorted(site.folder.rglob("*"))


def test_a_machine_in_order_has_no_faults_and_is_left_as_it_was(site):
    """All checks find all in order, the newest file would go in, and nothing is left in the repository."""
    # A run that is not registered yet: the first start does that.
    site.configure(ingest={"runs": {"raw": "PFS/raw/other"}})
    before = contents(site)
    found = doctor(site)
    assert [finding for finding in found if finding["level"] != "ok"] == []
    assert {finding["check"] for finding in found} >= {check.name for check in ALL} - {"service"}
    assert "would be stored as dataset" in found[-1]["text"] or "would wait" in found[-1]["text"]
    assert contents(site) == before


def test_people_see_it_line_by_line(site, monkeypatch):
    """Each finding is a line that begins with how bad it is, and the last one counts them."""
    monkeypatch.setattr(examination, "CHECKS", [check for check in ALL if check.name == "inotify"])
    done = typed("doctor", "-c", site.config_file)
    lines = done.output.splitlines()
    assert (done.exit_code, lines[0].split()[:2]) == (0, ["ok", "configuration:"])
    assert lines[-1].startswith("errors: 0, ")


def test_what_is_missing_is_named(site):
    """A watched folder, a repository and a folder for the status that are not there are errors, each told."""
    content = yaml.safe_load(site.config_file.read_text())
    content |= {"repository": "none", "status": {"file": "nowhere/status.json"}}
    content["watch"] |= {"raw": ["data", "gone"]}
    site.config_file.write_text(yaml.safe_dump(content))
    found = [(finding["check"], finding["text"]) for finding in doctor(site) if finding["level"] == "error"]
    gone = site.folder / "gone"
    assert ("watched folders and repository", f"watched folder {gone}: No such file or directory") in found
    assert {check for check, _ in found} >= {"files of its own", "repository", "newest file"}
    assert ("newest file", "this could not be looked at, by what is told of repository") in found


def test_who_is_to_be_told_is_looked_at(site, monkeypatch):
    """A program that is not there, and a secret that everybody may read, but not one of the environment."""
    assert wrong(site, "notifications") == []
    content = yaml.safe_load(site.config_file.read_text())
    content["notify"] = {"command": "tell", "webhook": "https://chat.example.org/s3cret"}
    site.config_file.write_text(yaml.safe_dump(content))
    site.config_file.chmod(0o644)
    chat, where = "notify.webhook https://chat.example.org/***", site.config_file
    missing = ("warning", f"notify.command {site.folder}/tell: No such file or directory")
    public = ("warning", f"{chat}: everybody may read the rest of it in {where}")
    assert wrong(site, "notifications") == [missing, public]
    monkeypatch.setenv("PFS_INGESTD__NOTIFY__WEBHOOK", "https://chat.example.org/s3cret")
    assert wrong(site, "notifications") == [missing]


@needs_root
def test_rights_are_those_of_the_account_of_the_service():
    """A folder that root can use and the service cannot is an error, as the kernel sees it."""
    nobody = account_of("nobody")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert right_to("folder", folder, "rwx", nobody).denied == "rwx"
        folder.chmod(0o711)
        assert right_to("folder", folder, "rwx", nobody).denied == "rw"
        os.chown(folder, nobody.uid, -1)
        folder.chmod(0o700)
        assert right_to("folder", folder, "rwx", nobody).denied == ""


def test_an_account_that_is_not_there_is_an_error(site):
    """The account is looked for before its rights are."""
    [fault, *_] = wrong(site, "inotify", "--user", "no-such-account")
    assert fault == ("error", "there is no account no-such-account")


def test_an_inbox_that_cannot_be_used_is_an_error(site):
    """The inbox of a newer program is told as by the daemon."""
    open_inbox(site.config.state.database.url).close()
    with closing(sqlite3.connect(site.folder / "inbox.db")) as database, database:
        database.execute("UPDATE inbox_version SET version = 99")
    [(level, text)] = wrong(site, "inbox")
    assert (level, text.startswith("[state_unusable]")) == ("error", True)


def test_a_server_without_an_inbox_is_in_order_before_the_first_start(site, postgres):
    """The tables of an inbox in PostgreSQL are made by the first start, which doctor comes before."""
    content = yaml.safe_load(site.config_file.read_text())
    content["state"] = {"database": postgres.new_database()}
    site.config_file.write_text(yaml.safe_dump(content))
    [found] = [each for each in doctor(site, check="inbox") if each["check"] == "inbox"]
    assert (found["level"], "the first start makes its tables" in found["text"]) == ("ok", True)


def test_a_registry_that_cannot_be_written_to_is_told(site):
    """What opens and cannot be written to is found out by writing, which is then taken back."""
    with closing(sqlite3.connect(site.repository / "gen3.sqlite3")) as registry, registry:
        registry.execute("CREATE TRIGGER no BEFORE UPDATE ON instrument BEGIN SELECT RAISE(ABORT, 'no'); END")
    [(level, _)] = wrong(site, "repository")
    assert level == "error"


def test_a_datastore_that_may_be_overwritten_is_told(site, monkeypatch):
    """It is good for one host; several had better know it."""
    monkeypatch.setattr(RepositoryTrial, "is_exclusive", lambda _: False)
    [(level, text)] = wrong(site, "repository")
    assert level == "warning"
    assert "has no hard links: of several hosts, one that was stopped" in text


@pytest.mark.parametrize(
    ("content", "level", "text"),
    [
        ("W_ARM: 1\n", None, ""),
        ("W_ARM: [\n", "error", "is not YAML"),
        ("NOT_OURS: 1\n", "warning", "names cards that are not used: NOT_OURS"),
        (None, "warning", "holds no correction for PFS"),
    ],
)
def test_corrections_are_tried(tmp_path, content, level, text):
    """One correction of those named is read and applied: a typing error in it shows before the night."""
    if content is not None:
        (tmp_path / "PFS-999999.yaml").write_text(content)
    faults = [finding for finding in corrections_in([tmp_path], "PFS") if finding.level is not Level.OK]
    assert [fault.level for fault in faults] == ([level] if level else [])
    assert all(text in fault.text for fault in faults)


def test_a_folder_of_corrections_that_is_not_there_is_an_error(site, monkeypatch, tmp_path):
    """A typing error in the environment of the service shows before the night."""
    monkeypatch.setenv("METADATA_CORRECTIONS_PATH", str(tmp_path / "none"))
    [(level, text)] = wrong(site, "header corrections")
    assert (level, str(tmp_path / "none") in text) == ("error", True)


def test_a_file_from_the_future_shows_a_clock_that_is_ahead(site):
    """A file server whose clock is an hour ahead makes files that are never at rest."""
    [raw] = site.night.raws
    ahead = raw.stat().st_mtime + 10 * 365 * 86400
    os.utime(raw, (ahead, ahead))
    [(level, text)] = wrong(site, "clocks")
    assert (level, "ahead of ours" in text) == ("error", True)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: os.truncate(path, 2880), "[incomplete]"),
        (lambda path: path.write_bytes(b"no FITS file"), "[not_fits]"),
        (lambda path: path.rename(path.with_name("note.txt")), "there is no file of PFS"),
    ],
)
def test_the_newest_file_is_tried(site, spoil, text):
    """What is wrong with the newest file is said before the daemon says it of all of them."""
    [raw] = site.night.raws
    for config in site.data.rglob("pfsConfig-*.fits"):
        config.unlink()
    spoil(raw)
    [(level, told)] = wrong(site, "newest file")
    assert (level, text in told) == ("warning", True)


def test_a_newest_file_that_conflicts_or_is_there_is_told(site):
    """The data ID of the newest file is looked up: whether it is taken by this file, or by another."""
    with service(site.config, {}, once=True) as daemon:
        daemon.run(once=True)
    [raw] = site.night.raws
    newest = raw.stat().st_mtime + 1
    os.utime(raw, (newest, newest))
    [found] = [each for each in doctor(site, check="newest file") if each["check"] == "newest file"]
    assert (found["level"], "is stored already" in found["text"]) == ("ok", True)
    other = raw.read_bytes()[:-1] + b"x"
    raw.unlink()
    raw.write_bytes(other)
    os.utime(raw, (newest + 1, newest + 1))
    [(level, text)] = wrong(site, "newest file")
    assert (level, "other content is stored under its data ID" in text) == ("warning", True)


def test_a_unit_for_another_place_is_told(site):
    """The unit has to run this program on this configuration, and may write where that says."""
    unit = "[Service]\nUser=root\nExecStart=/bin/sh run -c /etc/other.yaml\nReadWritePaths=/nowhere\n"
    examination.SERVICE_PATHS["service"].write_text(unit)
    found = wrong(site, "service")
    assert [level for level, _ in found] == ["warning", "error", "error", "warning"]
    assert str(site.repository.resolve()) in "".join(text for _, text in found)


def test_no_secret_is_printed(site, monkeypatch):
    """A password in a URL or in the environment is nowhere in the output."""
    checks = [check for check in ALL if check.name in {"credentials", "inbox"}]
    monkeypatch.setattr(examination, "CHECKS", checks)
    content = yaml.safe_load(site.config_file.read_text())
    content["state"] = {"database": "postgresql://user:geheim@127.0.0.1:1/inbox"}
    site.config_file.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("PGPASSWORD", "geheim")
    done = typed("doctor", "-c", site.config_file)
    assert (done.exit_code, "geheim" in done.output, "$PGPASSWORD" in done.output) == (1, False, True)
    assert "[state_unreachable]" in done.output
