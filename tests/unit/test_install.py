"""What `install-service` writes, leaves and takes away."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pfs_ingestd.adapters.repository import Places
from pfs_ingestd.cli import main
from pfs_ingestd.config import Config
from pfs_ingestd.errors import Fatal
from pfs_ingestd.install import Action, Place, Program, install, remove, this_program
from pfs_ingestd.install.folders import Folders, device_of, folders_of
from pfs_ingestd.install.putting import signed
from pfs_ingestd.install.rendering import Installation, InstalledFile, service_files, worker_file

PROJECT = Path(__file__).parents[2]
PROGRAM = Program(Path("/opt/pfs-ingestd/bin/pfs-ingestd"), {Path("/opt/pfs-ingestd"), Path("/usr")})
CONFIG_FILE = Path("/etc/pfs-ingestd/config.yaml")
UNIT = "etc/systemd/system/pfs-ingestd.service"
ROTATION = "etc/logrotate.d/pfs-ingestd"
COMMAND = "usr/local/bin/pfs-ingestd"
INSTALLED = {
    UNIT,
    ROTATION,
    COMMAND,
    "etc/sysusers.d/pfs-ingestd.conf",
    "etc/tmpfiles.d/pfs-ingestd.conf",
    "usr/local/share/bash-completion/completions/pfs-ingestd",
    "usr/local/share/fish/vendor_completions.d/pfs-ingestd.fish",
    "usr/local/share/man/man1/pfs-ingestd.1",
    "usr/local/share/zsh/site-functions/_pfs-ingestd",
}
INSTALLATION = Installation(
    program=Path("/opt/a b/bin/pfs-ingestd"),
    config_file=Path("/etc/100%.yaml"),
    user="ingest",
    group="pfs",
    folders=Folders(writable=[Path("/data"), Path("/var/lib/the daemon")], in_home=True),
    log_file=Path("/data/log/the daemon.log"),
)


def configuration(**sections):
    settings = {
        "repository": "/data/butler/PFS",
        "watch": {"raw": "/data/raw", "pfsConfig": "/data/raw"},
        "state": {"database": "/var/lib/pfs-ingestd/inbox.db"},
        "status": {"file": "/var/lib/pfs-ingestd/status.json"},
    }
    return Config.model_validate(settings | sections)


class Host:
    """A folder that stands for a machine."""

    def __init__(self, root):
        self.root = root

    def install(self, *, dry_run=False, user="pfs-ingestd"):
        place = Place(self.root, dry_run=dry_run)
        return self._told(
            install(
                place,
                configuration(),
                config_file=CONFIG_FILE,
                program=PROGRAM,
                user=user,
                group=user,
                prefix=Path("/usr/local"),
            )
        )

    def remove(self, *, dry_run=False):
        return self._told(
            remove(Place(self.root, dry_run=dry_run), program=PROGRAM, prefix=Path("/usr/local"))
        )

    def _told(self, done):
        return {str(path.relative_to(self.root)): action for action, path, _ in done}

    def files(self):
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}

    def contents(self):
        return {name: (self.root / name).read_bytes() for name in self.files() - {COMMAND}}

    def edit(self, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write("# mine\n")
        return path


@pytest.fixture
def host(tmp_path):
    """Have a machine on which nothing is installed."""
    return Host(tmp_path)


def test_all_is_installed_and_again_nothing_is_changed(host):
    """Everything is put in its place, for everybody to read; done again, nothing is touched."""
    assert host.install() == dict.fromkeys(INSTALLED, Action.WROTE)
    assert host.files() == INSTALLED
    assert {(host.root / name).stat().st_mode & 0o777 for name in INSTALLED - {COMMAND}} == {0o644}
    assert (host.root / COMMAND).readlink() == PROGRAM.command

    before = host.contents()
    assert host.install() == dict.fromkeys(INSTALLED, Action.UNCHANGED)
    assert host.contents() == before


def test_a_trial_changes_nothing(host):
    """With `--dry-run` the same is told, of installation and removal, and nothing is done."""
    assert host.install(dry_run=True) == dict.fromkeys(INSTALLED, Action.WROTE)
    assert host.files() == set()
    host.install()
    assert host.remove(dry_run=True) == dict.fromkeys(INSTALLED, Action.REMOVED)
    assert host.files() == INSTALLED


def test_an_edited_file_is_kept_and_the_new_one_put_beside_it(host):
    """What somebody edited or made himself stays as it is, until he takes the new one."""
    edited = {host.edit(UNIT): b"# mine\n"}
    host.install()
    path = host.edit(ROTATION)
    edited[path] = path.read_bytes()

    told = host.install(user="ingest")

    assert {name for name, action in told.items() if action is Action.KEPT} == {UNIT, ROTATION}
    assert {path: path.read_bytes() for path in edited} == edited
    assert host.files() == INSTALLED | {f"{UNIT}.dpkg-dist", f"{ROTATION}.dpkg-dist"}
    for path in edited:
        path.with_name(f"{path.name}.dpkg-dist").replace(path)
    assert host.install(user="ingest") == dict.fromkeys(INSTALLED, Action.UNCHANGED)


def test_what_was_put_beside_goes_when_it_is_not_needed_any_more(host):
    """When the edited file is gone, the new one takes its place."""
    edited = host.edit(UNIT)
    host.install()
    edited.unlink()
    assert host.install()[UNIT] is Action.WROTE
    assert host.files() == INSTALLED


def test_a_file_of_an_older_version_is_replaced(host):
    """An upgrade replaces what an older version wrote and nobody edited, and the link to its command."""
    older = InstalledFile(path=Path("/", UNIT), text="[Unit]\nDescription=older\n")
    (host.root / UNIT).parent.mkdir(parents=True)
    (host.root / UNIT).write_bytes(signed(older))
    (host.root / COMMAND).parent.mkdir(parents=True)
    (host.root / COMMAND).symlink_to("/opt/older/bin/pfs-ingestd")
    assert host.install() == dict.fromkeys(INSTALLED, Action.WROTE)
    assert (host.root / COMMAND).readlink() == PROGRAM.command


def test_another_program_of_this_name_is_left_alone(host):
    """A command that is not a link is neither replaced nor removed."""
    other = host.edit(COMMAND)
    assert (host.install()[COMMAND], host.remove()[COMMAND]) == (Action.KEPT, Action.KEPT)
    assert other.read_text() == "# mine\n"


def test_removal_leaves_what_somebody_edited(host):
    """What was installed goes, even what was put beside; edited files and drop-ins stay."""
    host.install()
    own = host.edit(f"{UNIT}.d/override.conf")
    edited = host.edit(UNIT)
    host.install()

    told = host.remove()

    assert told == dict.fromkeys(INSTALLED - {UNIT}, Action.REMOVED) | {UNIT: Action.KEPT}
    assert {host.root / name for name in host.files()} == {own, edited}
    assert host.remove() == dict.fromkeys(INSTALLED - {UNIT}, Action.ABSENT) | {UNIT: Action.KEPT}


@pytest.mark.parametrize(
    "units",
    [
        ("pfs-ingestd",),
        ("pfs-ingestd-worker@1", "pfs-ingestd-worker@b"),
        ("pfs-ingestd", "pfs-ingestd-worker@1"),
    ],
)
def test_what_is_enabled_is_not_removed(host, units):
    """Who removes a unit first could not disable it any more; units of others do not matter."""
    host.install()
    wanted = host.root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir()
    for unit in (*units, "pfs-ingestd-board", "cron"):
        (wanted / f"{unit}.service").symlink_to(f"/etc/systemd/system/{unit}.service")
    with pytest.raises(Fatal) as raised:
        host.remove()
    names = ", ".join(f"{unit}.service" for unit in units)
    assert names in str(raised.value)
    assert f"(`systemctl disable --now {' '.join(units)}` first)" in str(raised.value)
    assert host.files() > INSTALLED
    for unit in units:
        (wanted / f"{unit}.service").unlink()
    assert host.remove()[UNIT] is Action.REMOVED


def test_a_place_that_cannot_be_written_to_is_told(host):
    """The message says where, why and what to do."""
    (host.root / "etc").touch()
    with pytest.raises(
        Fatal, match=r"pfs-ingestd\.service cannot be installed .*: Not a directory \(run this"
    ):
        host.install()


@pytest.mark.parametrize(
    ("transfer", "raw", "registry", "writable"),
    [
        ("copy", "/data/raw", "/data/butler", ["/data/butler"]),
        ("symlink", "/data/raw", "/db", ["/data/butler", "/db"]),
        ("direct", "/data/raw", None, ["/data/butler"]),
        ("link", "/data/raw", "/data/butler", ["/data"]),
        ("hardlink", "/data/raw", "/data/butler", ["/data"]),
        ("auto", "/data/raw", "/data/butler", ["/data"]),
        ("link", "/nfs/raw", "/data/butler", ["/data/butler"]),
        ("move", "/nfs/raw", "/data/butler", ["/data/butler", "/nfs/raw"]),
        ("move", "/data/raw", "/data/butler", ["/data"]),
    ],
)
def test_the_service_may_write_where_it_has_to(transfer, raw, registry, writable):
    """Repository and own files; watched folders for `move`; for hard links what holds both ends."""
    config = configuration(
        watch={"raw": raw}, ingest={"transfer": transfer}, log={"file": "/logs/daemon.log"}
    )
    places = Places(Path("/data/butler"), registry and Path(registry))
    folders = folders_of(config, places, {CONFIG_FILE}, lambda path: path.parts[1])
    own = ["/logs", "/var/lib/pfs-ingestd"]
    assert folders == Folders(sorted(map(Path, writable + own)), in_home=False)


def test_links_between_files_are_followed(tmp_path):
    """What systemd is told are the folders themselves, for it makes mounts of them."""
    (tmp_path / "link").symlink_to("/data/real")
    config = configuration(
        ingest={"transfer": "copy"}, status={"file": str(tmp_path / "link" / "status.json")}
    )
    folders = folders_of(config, Places(None, None), (), device_of)
    assert folders.writable == [Path("/data/real"), Path("/var/lib/pfs-ingestd")]


@pytest.mark.parametrize("home", ["/home/someone", "/root", "/run/user/1000"])
def test_what_lies_in_a_home_can_be_read_there(home):
    """Program, configuration or data in a home are the one reason not to hide all homes."""
    places = Places(Path("/data/butler/PFS"), None)
    found = [
        folders_of(configuration(watch={"raw": f"{home}/raw"}), places, (), lambda path: path).in_home,
        folders_of(configuration(), places, {Path(home, "venv")}, lambda path: path).in_home,
    ]
    assert found == [True, True]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (configuration(watch={"raw": "/dev/raw"}), "/dev/raw lies where a service has a folder of its own"),
        (configuration(watch={"raw": "/raw"}), "have only / in common.*put both below one folder"),
    ],
)
def test_what_no_service_can_work_with_is_refused(config, problem):
    """Folders that a service does not see, and hard links that it cannot make, are told beforehand."""
    with pytest.raises(Fatal, match=problem):
        folders_of(config, Places(Path("/data/butler"), None), (), lambda _: 1)


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_its_parent(tmp_path):
    """A repository that is still to be made is asked for at the place where it will be."""
    assert device_of(tmp_path / "not" / "there") == tmp_path.stat().st_dev


def test_the_files_say_what_the_installation_is():
    """Program, configuration, user, folders and log are put in, each written as its reader needs it."""
    texts = {file.path: file.text for file in service_files(INSTALLATION)}
    lines = {line for text in texts.values() for line in text.splitlines()}
    assert lines >= {
        "User=ingest",
        "Group=pfs",
        'ExecStart="/opt/a b/bin/pfs-ingestd" run -c /etc/100%%.yaml',
        'ExecReload="/opt/a b/bin/pfs-ingestd" reload -c /etc/100%%.yaml',
        'ReadWritePaths=/data "/var/lib/the daemon"',
        "ProtectHome=read-only",
        'u ingest - "PFS ingestion" /var/lib/pfs-ingestd',
        "d /var/lib/pfs-ingestd 0755 ingest pfs",
        "d /var/log/pfs-ingestd 0755 ingest pfs",
        "    su ingest pfs",
        '"/data/log/the daemon.log" {',
    }


def test_the_unit_of_workers_is_as_closed_as_that_of_the_service():
    """It differs in what it runs, in what it is called, and in how long it may take to be up."""
    service = next(file.text for file in service_files(INSTALLATION) if file.path.suffix == ".service")
    worker = worker_file(INSTALLATION)
    ours, theirs = (set(text.splitlines()) for text in (worker.text, service))
    assert worker.path == Path("/etc/systemd/system/pfs-ingestd-worker@.service")
    assert ours - theirs == {
        "# best made with `systemctl edit pfs-ingestd-worker@`, which leaves this file as it is.",
        "Description=Worker %i of the ingestion of PFS exposures into their Butler repository",
        'ExecStart="/opt/a b/bin/pfs-ingestd" worker -c /etc/100%%.yaml --name %i',
        "ExecReload=/bin/kill -HUP $MAINPID",
        "TimeoutStartSec=5min",
    }
    assert {line.partition("=")[0] for line in theirs - ours if "=" in line} == {
        "Description",
        "ExecStart",
        "ExecReload",
        "TimeoutStartSec",
    }


@pytest.mark.parametrize("name", ["new\nline", 'quo"te', "do$llar", "back\\slash", "glob*"])
def test_a_path_that_would_mean_something_else_is_refused(name):
    """No path can end a line of the unit, or be expanded."""
    with pytest.raises(Fatal, match="characters with a meaning of their own"):
        service_files(replace(INSTALLATION, config_file=Path("/etc", name)))


@pytest.mark.skipif(
    Path(sys.prefix).is_relative_to("/tmp"),  # noqa: S108 (nothing is put there)
    reason="the program lies where no service can see it",
)
def test_the_command_says_what_it_did_and_what_comes_next(tmp_path):
    """One line a file, then the commands to go on with; exit code 1 if something was kept."""
    config_file = PROJECT / "config" / "summit.yaml"
    where = ["install-service", "-c", str(config_file), "--root", str(tmp_path)]
    first = CliRunner().invoke(main, where)
    Host(tmp_path).edit(UNIT)
    again = CliRunner().invoke(main, [*where, "--user", "ingest", "--group", "pfs"])
    removed = CliRunner().invoke(main, [*where, "--remove"])

    assert [ran.exit_code for ran in (first, again, removed)] == [0, 1, 1]
    assert first.output.splitlines()[0] == f"wrote      {tmp_path / UNIT}"
    command = this_program().command
    assert f"\n  {command} doctor -c {config_file}\n" in first.output
    assert again.output.splitlines()[0] == (
        f"kept       {tmp_path / UNIT}: it was edited; the new one is pfs-ingestd.service.dpkg-dist"
    )
    assert "\n  install -d -o ingest -g pfs /data/butler/PFS\n" in again.output
    assert removed.output.endswith("Configuration, inbox, log, user and repository are as they were.\n")


@pytest.mark.parametrize("option", ["--user", "--group"])
def test_a_name_that_is_no_account_is_wrong_usage(option):
    """Names are checked before anything is written."""
    ran = CliRunner().invoke(main, ["install-service", option, "a b"])
    assert (ran.exit_code, "'a b' is no name that systemd takes" in ran.output) == (2, True)
