"""The unit and its companions, as systemd's own tools read them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pfs_ingestd.errors import ExitCode
from pfs_ingestd.install.folders import Folders
from pfs_ingestd.install.rendering import Installation, service_files

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "pfs-ingestd.service"


def needing(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def setting(key):
    """Get the words of a setting of the unit as it comes with the program."""
    (value,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return value.split()


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (systemd's tools)


@needing("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    """`systemd-analyze verify` has nothing to say, given that the command is installed."""
    installation = Installation(
        program=Path("/bin/true"),
        config_file=Path("/etc/a folder/100%.yaml"),
        user="root",
        group="root",
        folders=Folders(writable=[Path("/a disk"), Path("/data")], in_home=True),
        log_file=None,
    )
    unit = tmp_path / UNIT.name
    unit.write_text(service_files(installation)[0].text)
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


@needing("systemd-analyze")
def test_the_unit_is_not_exposed():
    """By systemd's own measure, which goes from 0 to 10, its exposure is at most 1.5."""
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout


def test_only_what_a_person_must_cure_is_not_restarted():
    """Usage, fail-fast and configuration are final; a bug and "try again" are restarted."""
    final = {ExitCode.USAGE, ExitCode.FAILED_FAST, ExitCode.CONFIGURATION}
    assert (setting("Restart"), {int(code) for code in setting("RestartPreventExitStatus")}) == (
        ["on-failure"],
        final,
    )


def test_the_command_of_the_unit_is_ours():
    """The unit starts the service with a configuration."""
    assert setting("ExecStart") == [
        "/opt/pfs-ingestd/bin/pfs-ingestd",
        "run",
        "-c",
        "/etc/pfs-ingestd/config.yaml",
    ]


def test_the_service_manager_is_listened_to_by_the_main_process_only():
    """The notices are those of the loop, and a stop is sent to it alone."""
    assert (setting("Type"), setting("NotifyAccess"), setting("KillMode")) == (
        ["notify"],
        ["main"],
        ["mixed"],
    )


@needing("systemd-sysusers")
@needing("systemd-tmpfiles")
def test_user_and_folders_can_be_made(tmp_path):
    """systemd makes the user, and for it the folders that the unit and the documentation name."""
    (tmp_path / "etc").mkdir()
    users = run("systemd-sysusers", f"--root={tmp_path}", FOLDER / "pfs-ingestd.sysusers")
    folders = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", FOLDER / "pfs-ingestd.tmpfiles")
    assert (users.returncode, folders.returncode, folders.stderr) == (0, 0, "")
    passwd = (tmp_path / "etc/passwd").read_text()
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("pfs-ingestd"))
    assert passwd.startswith(f"{setting('User')[0]}:")
    assert made == ["etc/pfs-ingestd", "var/lib/pfs-ingestd", "var/log/pfs-ingestd"]


def test_logs_are_rotated_as_the_handler_can_follow():
    """The rotated file is renamed, not truncated, and left alone until the daemon has moved on."""
    words = (FOLDER / "pfs-ingestd.logrotate").read_text().split()
    assert ("delaycompress" in words, "copytruncate" in words) == (True, False)
