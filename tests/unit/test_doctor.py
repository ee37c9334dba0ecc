"""What the facts of a machine mean to a daemon: tables of worlds in order, and of those that are not."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from pfs_ingestd.adapters.asking import ask
from pfs_ingestd.doctor import judgement
from pfs_ingestd.doctor.examination import Check, examine
from pfs_ingestd.doctor.facts import Clock, Credentials, Disk, Inotify, Reading, Right, Unit
from pfs_ingestd.doctor.findings import Finding, Level, ok
from pfs_ingestd.doctor.machine import unit_at
from pfs_ingestd.errors import Code, Fatal, Outage, Rejected, TryLater
from pfs_ingestd.install.folders import Folders
from pfs_ingestd.install.rendering import Installation, service_files

OK, WARNING, ERROR = Level.OK, Level.WARNING, Level.ERROR
GB = 10**9
RIGHT = Right(what="watched folder", path=Path("/data"), account="pfs", wanted="rx")
LOCAL = {"kind": "ext4", "device": 1, "free": 500 * GB, "size": 1000 * GB}
RAW = Disk(what="watched", path=Path("/data"), **LOCAL)
STORE = Disk(what="datastore", path=Path("/repo"), **LOCAL)
INBOX = Disk(what="inbox", path=Path("/var/lib"), **LOCAL)
NFS = {"kind": "nfs4", "shared": True, "device": 2}
UNIT = Unit(
    path=Path("/etc/systemd/system/pfs-ingestd.service"),
    exists=True,
    enabled=True,
    user="pfs",
    user_exists=True,
    program="/opt/bin/pfs-ingestd",
    program_exists=True,
    config_file="/etc/config.yaml",
    writable=[Path("/repo"), Path("/var/lib/pfs-ingestd")],
)


def levels(findings):
    return [finding.level for finding in findings]


def assert_cured(*findings):
    """See that whatever is wrong comes with what to do about it, and that nothing else does."""
    assert [bool(finding.cure) for finding in findings] == [finding.level is not OK for finding in findings]


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, OK, "watched folder /data: pfs may read"),
        ({"wanted": "rwx"}, OK, "pfs may read and write"),
        ({"wanted": "wx"}, OK, "pfs may write"),
        ({"trouble": "No such file or directory"}, ERROR, "watched folder /data: No such file or directory"),
        ({"denied": "rx"}, ERROR, "pfs may not read and search the watched folder /data"),
        ({"denied": "w"}, ERROR, "pfs may not write to the watched folder /data"),
        ({"denied": None}, WARNING, "whether pfs may use it cannot be found out"),
        ({"empty": True}, WARNING, "watched folder /data is empty"),
    ],
)
def test_rights(changes, level, text):
    """What is missing or forbidden is an error; what nobody can tell is said to be so."""
    finding = judgement.of_right(replace(RIGHT, **changes))
    assert (finding.level, text in finding.text) == (level, True)
    assert_cured(finding)


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, OK, "notify.command /bin/tell: pfs may run it"),
        ({"trouble": "No such file or directory"}, WARNING, "notify.command /bin/tell: No such file"),
        ({"denied": "x"}, WARNING, "pfs may not run notify.command /bin/tell"),
        ({"denied": None}, WARNING, "whether pfs may run it cannot be found out"),
    ],
)
def test_a_program_that_is_to_tell_others(changes, level, text):
    """Never an error: files go in without it."""
    right = Right(what="notify.command", path=Path("/bin/tell"), account="pfs", wanted="x")
    finding = judgement.of_program(replace(right, **changes))
    assert (finding.level, text in finding.text) == (level, True)
    assert_cured(finding)


@pytest.mark.parametrize(("public", "level"), [(False, OK), (True, WARNING)])
def test_a_secret_that_everybody_may_read(public, level):
    """It is told where it is, and where it belongs."""
    finding = judgement.of_secret("notify.webhook https://chat/***", Path("/etc/c.yaml"), public=public)
    assert finding.level == level
    assert_cured(finding)


@pytest.mark.parametrize(
    ("disks", "transfer", "mode", "expected"),
    [
        ([RAW, STORE, INBOX], "hardlink", "auto", [OK, OK, OK, OK]),
        ([RAW], "copy", "auto", [OK]),
        ([replace(RAW, **NFS)], "copy", "auto", [OK]),
        ([replace(RAW, **NFS)], "copy", "inotify", [ERROR]),
        ([replace(INBOX, **NFS)], "copy", "auto", [ERROR]),
        ([replace(INBOX, what="registry", **NFS)], "copy", "auto", [ERROR]),
        ([replace(STORE, **NFS)], "copy", "auto", [OK]),
        ([replace(STORE, trouble="Stale file handle")], "copy", "auto", [ERROR]),
        ([replace(STORE, free=20 * GB)], "copy", "auto", [OK, WARNING]),
        ([replace(STORE, free=GB // 20)], "copy", "auto", [OK, ERROR]),
        ([replace(RAW, free=0)], "copy", "auto", [OK]),
        ([replace(RAW, device=2), STORE], "hardlink", "auto", [OK, OK, ERROR]),
        ([replace(RAW, device=2), STORE], "link", "auto", [OK, OK, WARNING]),
        ([replace(RAW, device=2), STORE], "move", "auto", [OK, OK, WARNING]),
        ([replace(RAW, device=2), STORE], "copy", "auto", [OK, OK]),
        ([replace(RAW, device=None), STORE], "hardlink", "auto", [OK, OK]),
    ],
)
def test_disks(disks, transfer, mode, expected):
    """SQLite belongs on a local disk, a hard link within one file system, and there has to be room."""
    findings = list(judgement.of_disks(disks, transfer=transfer, mode=mode))
    assert levels(findings) == expected
    assert_cured(*findings)


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({"folders": 0, "watches": None}, OK),
        ({"folders": 100}, OK),
        ({"folders": 600}, WARNING),
        ({"folders": 1001}, ERROR),
        ({"folders": 10, "instances": 0}, ERROR),
        ({"folders": 10, "counted_all": False}, WARNING),
        ({"folders": 10, "watches": None}, WARNING),
    ],
)
def test_inotify(facts, level):
    """The kernel's limit has to hold all folders, and leave room for others."""
    known = {"counted_all": True, "watches": 1000, "instances": 128}
    finding = judgement.of_inotify(Inotify(**(known | facts)))
    assert finding.level is level
    assert_cured(finding)


@pytest.mark.parametrize(
    ("seconds", "exact", "level"),
    [
        (0, True, OK),
        (-2, True, OK),
        (30, True, WARNING),
        (-30, True, WARNING),
        (3600, True, ERROR),
        (-3600, True, ERROR),
        (0, False, OK),
        (1, False, OK),
        (30, False, WARNING),
        (3600, False, ERROR),
    ],
)
def test_clocks(seconds, exact, level):
    """A server's clock may differ by a little; beyond the daemon's margin it does harm."""
    finding = judgement.of_clock(Clock(what="server", ahead=timedelta(seconds=seconds), exact=exact))
    assert finding.level is level
    assert_cured(finding)


@pytest.mark.parametrize(
    ("changes", "needed", "expected"),
    [
        ({}, ["/repo/data", "/var/lib/pfs-ingestd"], [OK]),
        ({"exists": False}, ["/elsewhere"], [WARNING]),
        ({"user_exists": False}, [], [ERROR]),
        ({"program_exists": False}, [], [OK, ERROR]),
        ({"config_file": "/other.yaml"}, [], [OK, WARNING]),
        ({}, ["/elsewhere", "/repository"], [OK, ERROR, ERROR]),
        ({"enabled": False}, [], [OK, WARNING]),
    ],
)
def test_the_unit(changes, needed, expected):
    """Account, program, configuration and folders of the unit are those of this installation."""
    findings = list(
        judgement.of_unit(
            replace(UNIT, **changes),
            config_file=Path("/etc/config.yaml"),
            needed=[Path(each) for each in needed],
        )
    )
    assert levels(findings) == expected
    assert_cured(*findings)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sources": ["$PGPASSFILE"]}, [OK]),
        ({}, [WARNING]),
        ({"sources": ["/home/pfs/.pgpass"], "exposed": ["/home/pfs/.pgpass"]}, [ERROR, OK]),
        ({"sources": ["$PGPASSFILE"], "missing_package": "psycopg2-binary"}, [ERROR, OK]),
    ],
)
def test_credentials(changes, expected):
    """Where they may come from is told; what keeps a library from using them is an error."""
    findings = list(judgement.of_credentials(Credentials(what="inbox", server="db.example", **changes)))
    assert levels(findings) == expected
    assert_cured(*findings)


def test_formatters():
    """A formatter that is not importable here hinders readers, not the daemon."""
    reading = Reading(dataset_type="raw", formatter="some.Formatter")
    findings = [judgement.of_reading(reading), judgement.of_reading(replace(reading, trouble="no module"))]
    assert levels(findings) == [OK, WARNING]
    assert_cured(*findings)


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (TryLater(Code.BUSY, "is busy"), WARNING),
        (Outage(Code.ROOT_UNREACHABLE, "is away"), ERROR),
        (Fatal(Code.CONFIGURATION, "is wrong"), ERROR),
        (Rejected(Code.UNREADABLE, "is bad", hint="mend it"), ERROR),
    ],
)
def test_errors(failure, level):
    """An error that comes up is told with its code and its hint, or with another cure."""
    finding = judgement.of_error(failure)
    assert (finding.level, finding.text) == (level, f"[{failure.code}] {failure.message}")
    assert (finding.cure == failure.hint) is bool(failure.hint)
    assert_cured(finding)


def test_the_unit_is_read_with_what_was_edited(tmp_path):
    """What `systemctl edit` changed goes before the unit, and an empty value takes back what was said."""
    path = tmp_path / "pfs-ingestd.service"
    assert unit_at(path) == Unit(path=path, exists=False)
    path.write_text(
        '[Service]\nUser=root\nExecStart=/bin/sh run -c /etc/a.yaml\nReadWritePaths=/one "/with space"\n'
        "StateDirectory=pfs-ingestd\n#User=nobody\n"
    )
    (tmp_path / "pfs-ingestd.service.d").mkdir()
    (tmp_path / "pfs-ingestd.service.d" / "override.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/no/such -x --config /etc/b.yaml\nUser=no-such-account\n"
        "ReadWritePaths=-/two\n"
    )
    assert unit_at(path) == Unit(
        path=path,
        exists=True,
        enabled=False,
        user="no-such-account",
        user_exists=False,
        program="/no/such",
        program_exists=False,
        config_file="/etc/b.yaml",
        writable=[Path("/one"), Path("/with space"), Path("/two"), Path("/var/lib/pfs-ingestd")],
    )


def test_the_unit_that_is_installed_is_understood(tmp_path):
    """What `install-service` writes is read back as it was meant, whatever its paths are made of."""
    folders = [Path("/data/50% of it"), Path("/var/lib/other")]
    installation = Installation(
        program=Path("/opt/pfs ingestd/bin/pfs-ingestd"),
        config_file=Path("/etc/pfs/config.yaml"),
        user="root",
        group="root",
        folders=Folders(writable=folders, in_home=False),
        log_file=None,
    )
    path = tmp_path / "pfs-ingestd.service"
    path.write_text(service_files(installation)[0].text)
    unit = unit_at(path)
    assert (unit.program, unit.config_file, unit.user, unit.user_exists) == (
        "/opt/pfs ingestd/bin/pfs-ingestd",
        "/etc/pfs/config.yaml",
        "root",
        True,
    )
    assert unit.writable == [*folders, Path("/var/lib/pfs-ingestd"), Path("/var/log/pfs-ingestd")]


@pytest.fixture
def config_file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("repository: repo\nwatch: {raw: data}\n")
    return file


def examined(config_file, *checks):
    begun = []
    found = list(examine(config_file, {}, user=None, begin=begun.append, checks=checks))
    return begun, [(name, finding) for name, finding in found if name != "configuration"]


def test_what_fails_several_checks_is_told_once(config_file):
    """The others say where; another failure is told in full."""

    def refused(_):
        raise Fatal(Code.CREDENTIALS_REFUSED, "wrong keys", hint="correct them")

    def away(_):
        raise Outage(Code.REPOSITORY_UNREACHABLE, "no answer", hint="wait")

    checks = [Check("folders", refused), Check("disks", refused), Check("clocks", away)]
    _, found = examined(config_file, *checks)
    assert [(name, finding.level) for name, finding in found] == [
        ("folders", ERROR),
        ("disks", ERROR),
        ("clocks", ERROR),
    ]
    assert "wrong keys" in found[0][1].text
    assert found[1][1] == Finding(
        ERROR, "this could not be looked at, by what is told of folders", "correct them"
    )
    assert "no answer" in found[2][1].text


def test_a_check_that_fails_is_a_finding(config_file):
    """What goes wrong in a check ends in a finding; what it had found is kept, and the next one is made."""

    def breaks(_):
        yield ok("so far")
        raise ZeroDivisionError("by zero")

    begun, found = examined(
        config_file,
        Check("broken", breaks),
        Check("busy", lambda _: (_ for _ in ()).throw(TryLater(Code.BUSY, "is busy", hint="wait"))),
        Check("good", lambda _: [ok("fine")]),
    )
    assert begun == ["configuration", "broken", "busy", "good"]
    assert [(name, finding.level) for name, finding in found] == [
        ("broken", OK),
        ("broken", ERROR),
        ("busy", WARNING),
        ("good", OK),
    ]
    assert "ZeroDivisionError: by zero" in found[1][1].text


def test_a_check_that_hangs_is_left_behind(config_file):
    """A mount that never answers costs the time of its check, and is named."""
    never = Event()
    _, found = examined(
        config_file,
        Check("hanging", lambda _: never.wait() or [], 0.05),
        Check("good", lambda _: [ok("fine")]),
    )
    never.set()
    assert [(name, finding.level) for name, finding in found] == [("hanging", ERROR), ("good", OK)]
    assert "did not answer within 0.05 s" in found[0][1].text


def test_a_wrong_configuration_is_the_only_finding(tmp_path):
    """Without settings there is nothing else to be looked at."""
    file = tmp_path / "config.yaml"
    file.write_text("repository: repo\nwatch: {rawr: data}\n")
    [(name, finding)] = examine(file, {}, user=None, begin=lambda _: None)
    assert (name, finding.level, "watch.rawr" in finding.text) == ("configuration", ERROR, True)


def test_what_a_question_raises_is_raised():
    """The one who asks gets the answer or the failure, as if it had been a call."""
    assert ask(lambda: 5, seconds=10, what="it", code=Code.BUSY) == 5
    with pytest.raises(ZeroDivisionError):
        ask(lambda: 1 // 0, seconds=10, what="it", code=Code.BUSY)
