"""The real commands on a tree, and under a umask, that nobody would wish for."""

import json
import stat

from hostile import FOLDERS, UTF8_FOLDERS
from pfs_ingestd.records import State, text_path
from pfs_ingestd.simulate import VisitPlan, write_ccd
from system.service import pfs_ingestd, stored


def plant(data):
    """Write a file into a folder of each name."""
    paths = []
    for number, folder in enumerate(FOLDERS, start=1):
        visit = VisitPlan(visit=number, cameras=("r1",), small=True)
        path = data / folder / visit.raw("r1").name
        path.parent.mkdir(parents=True)
        write_ccd(path, visit, "r1")
        paths.append(path)
    return paths


def test_a_tree_of_hostile_names_is_ingested_and_told_of(site):
    """Folders of any name: all in Butler but the one no URI can name, and every output can be read back."""
    paths = plant(site.data)
    service = site.start("--once")

    assert service.ended() == 1
    assert len(stored(site.repository)) == len(UTF8_FOLDERS)
    states = dict.fromkeys(paths[:-1], State.INGESTED) | {paths[-1]: State.REJECTED}
    told = {"file.ingested": State.INGESTED, "file.rejected": State.REJECTED}
    lines = service.events
    assert states == {text_path(line["path"]): told[line["event"]] for line in lines if line["event"] in told}
    listed = json.loads(site.run("list", "--json").stdout)
    assert states == {text_path(file["path"]): State(file["state"]) for file in listed}
    table = site.run("list").stdout.splitlines()
    assert len(table) == 1 + len(paths)
    assert all(line.isprintable() for line in table)
    assert text_path(site.status()["last_rejected"]["path"]) == paths[-1]
    assert all(line.isprintable() for line in site.run("status").stdout.splitlines())
    assert "is not UTF-8 and cannot be stored" in site.status()["last_rejected"]["error"]


def test_by_command_hostile_names_are_ingested_and_told_of(site):
    """Given by hand, files in folders of any name are ingested, and refusals are one line each."""
    plant(site.data)
    done = command(site, "ingest-raws", site.repository, site.data)

    assert (done.returncode, done.stdout) == (
        1,
        f"{len(UTF8_FOLDERS)} ingested, 0 already there, 1 rejected\n",
    )
    [line] = done.stderr.splitlines()
    assert line.isprintable()


def test_nothing_is_writable_for_everybody(site):
    """Under a umask that forbids nothing the daemon still writes no file that everybody may write to."""
    visit = VisitPlan(visit=7, cameras=("r1",), small=True)
    write_ccd(site.data / visit.raw("r1").name, visit, "r1")
    (site.folder / "log").mkdir(mode=0o755)
    site.configure(ingest={"transfer": "copy"})
    with site.config_file.open("a") as file:
        file.write("log: {file: log/daemon.log}\n")
    made = set(site.folder.rglob("*"))
    done = command(site, "run", "--once", "-c", site.config_file)
    assert done.returncode == 0, done.stderr
    done = command(site, "init", site.folder / "another")
    assert done.returncode == 0, done.stderr

    new = set(site.folder.rglob("*")) - made
    assert {"daemon.log", "inbox.db", "status.json", "butler.yaml"} <= {path.name for path in new}
    assert [str(path) for path in new if path.lstat().st_mode & stat.S_IWOTH and not path.is_symlink()] == []


def command(site, *arguments):
    """Run a command under a umask that forbids nothing."""
    return pfs_ingestd(*arguments, cwd=site.folder, umask=0)
