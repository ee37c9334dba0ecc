"""The story of a file, a dataset or a visit, told from a real folder, inbox and repository."""

import json
import shutil
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from fakes import FakeClock
from in_process import typed
from pfs_ingestd import showing
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.system import InstanceLock
from pfs_ingestd.advice import ADVICE
from pfs_ingestd.errors import Code
from pfs_ingestd.orders import Order, What
from pfs_ingestd.records import State
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import service
from repository_files import a_repository
from system.service import Site

CAMERAS = ("b1", "r1", "n1")
UNDONE = (State.SEEN, State.READY, State.INGESTING)


def ingest(site):
    """Let a daemon take in what is there, in time that flies."""
    clock = FakeClock(datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfs_ingestd.wiring.SystemClock", lambda: clock)
        with service(site.config, {}, once=True) as daemon:
            daemon.tick([])
            while any(site.counts()[state] for state in UNDONE):
                clock.advance(timedelta(seconds=2))
                daemon.tick([])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Have a night of one visit, of which the raw of b1 was cut short, and of a convergence."""
    folder = tmp_path_factory.mktemp("show") / "site"
    folder.mkdir()
    site = Site(folder, Path(a_repository(folder / "template")))
    site.configure(ingest={"incomplete_after": "5s"})
    site.night = write_night(site.data, NightPlan(visits=1, cameras=CAMERAS, small=True))
    site.files = dict(zip(CAMERAS, site.night.raws, strict=True))
    with site.files["b1"].open("r+b") as file:
        file.truncate(site.files["b1"].stat().st_size - 2880)
    ingest(site)
    yield site
    site.close()


def show(site, subject, *options):
    done = typed("show", "-c", site.config_file, subject, *options)
    return done.exit_code, done.stdout + done.stderr


def told(site, subject, *options):
    code, output = show(site, subject, *options, "--json")
    assert code == 0, output
    return json.loads(output)


def rows(output):
    """Read the first word or words of each row, and what follows them."""
    return {
        line.split("  ")[1]: " ".join(line.split()[1:]) for line in output.splitlines() if line[:2] == "  "
    }


def test_the_story_of_a_rejected_file(site):
    """Why it was rejected, what came before, how it stands on disk, and what to do, all in one answer."""
    path = site.files["b1"]
    code, output = show(site, path)
    story = rows(output)
    assert (code, output.splitlines()[0]) == (0, str(path))
    assert story["state"].startswith("rejected since")
    assert story["state"].endswith("it waits for a person, or a change of the file")
    assert story["reason"].startswith("[truncated] still so after")
    assert output.count(ADVICE[Code.TRUNCATED]) == 1
    assert "[incomplete] the file ends 2880 bytes before the end of HDU 1" in output
    assert "the repository has none under its data ID" in output
    [file] = told(site, path)["files"]
    assert [(entry["event"], entry["code"]) for entry in file["history"]] == [
        ("unfinished", "incomplete"),
        ("rejected", "truncated"),
    ]
    assert (file["datasets"], file["to_do"]) == ([], ADVICE[Code.TRUNCATED])


def test_the_name_of_a_file_is_enough(site):
    """Who has read a name in a message need not know the folder."""
    assert show(site, site.files["b1"].name) == show(site, site.files["b1"])


def test_the_story_of_what_is_stored(site):
    """Where it is stored, that the artifact is this very file, and that there is nothing to do."""
    path = site.files["r1"]
    answer = told(site, path, "--checksum")
    [file] = answer["files"]
    [dataset] = file["datasets"]
    assert (file["record"]["state"], file["to_do"], file["history"]) == ("ingested", "nothing", [])
    assert (dataset["id"], dataset["run"]) == (file["record"]["dataset_id"], "PFS/raw/all")
    assert (dataset["there"], dataset["is_this_file"], dataset["same_bytes"]) == (True, True, True)
    assert dataset["uri"].startswith(f"file://{site.repository}/PFS/raw/all/")
    assert told(site, dataset["id"], "--checksum") == answer
    assert "there, and is this very file" in show(site, path)[1]


def test_the_story_of_a_visit(site):
    """Each camera that the pfsConfig expects has its file or is missing, and the exposure is named."""
    [raws, _] = [visit.visit for visit in site.night.visits]
    visit = told(site, raws)["visit"]
    assert {name: cell["mark"] for name, cell in visit["cells"].items()} == {
        "pfsConfig": "ingested",
        "b1": "rejected",
        "r1": "ingested",
        "n1": "ingested",
    }
    assert (visit["verdict"], visit["expected"]) == ("incomplete", sorted(CAMERAS))
    assert (visit["exposure"]["id"], visit["exposure"]["instrument"]) == (raws, "PFS")
    output = show(site, raws)[1]
    assert f"b1 -> {ADVICE[Code.TRUNCATED]}" in " ".join(output.split())


def test_the_story_of_a_convergence(site):
    """A pfsConfig without raws says what it waits for."""
    [_, convergence] = [visit.visit for visit in site.night.visits]
    answer = told(site, convergence)
    [file] = answer["files"]
    assert (answer["visit"]["verdict"], answer["visit"]["exposure"]) == ("no exposure", None)
    assert (file["record"]["state"], file["to_do"]) == ("waiting", "look for the raws of its visit")
    assert "it is given up at" in file["record"]["waits_for"]
    assert [entry["event"] for entry in file["history"]] == ["waiting"]


def test_a_file_that_no_daemon_has_seen_may_be_stored(site, tmp_path):
    """Another file of a data ID that is taken is told what is stored, and why the inbox does not know it."""
    other = tmp_path / site.files["r1"].name
    shutil.copyfile(site.files["r1"], other)
    [file] = told(site, other, "--checksum")["files"]
    [dataset] = file["datasets"]
    assert (file["record"], dataset["is_this_file"], dataset["same_bytes"]) == (None, False, True)
    assert "lies in none of the watched folders" in file["why_unknown"][0]
    assert "does not know it: it lies in none" in show(site, other)[1]


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("999999", "no file of it was seen"),
        ("00000000-0000-0000-0000-000000000000", "it was removed"),
        ("{data}/PFSA00777711.fits", "there is nothing at that path"),
        ("{data}/note.txt", "its name is not one of PFS"),
        ("{data}/.PFSA00777711.fits", "its name begins with a dot"),
        ("/elsewhere/PFSA00777711.fits", "it lies in none of the watched folders"),
        ("{data}", "it is not a regular file"),
    ],
)
def test_what_nobody_knows_is_an_error_that_says_why(site, subject, why):
    """A subject that is known to nobody ends with 1, the reason, and nothing on standard output."""
    code, output = show(site, subject.format(data=site.data))
    assert (code, output.startswith("error [unknown]: "), why in output) == (1, True, True)


def test_a_pause_is_told(site):
    """Who wonders why nothing moves is told who paused it, and why, though no daemon is at work."""
    with closing(open_inbox(site.config.state.database.url)) as inbox:
        order = Order(
            what=What.PAUSE, by="alice@summit", at=datetime(2026, 11, 22, tzinfo=UTC), reason="disk"
        )
        inbox.give_order(order)
        told_so = show(site, site.files["r1"])[1]
        inbox.give_order(replace(order, what=What.RESUME))
    assert "alice@summit ordered a pause at 2026-11-22 00:00:00 UTC: disk" in told_so
    assert "pause" not in show(site, site.files["r1"])[1]


def test_nothing_is_changed_and_a_daemon_may_run(site):
    """It reads only: inbox and registry are the same afterwards, and who holds the lock is told."""
    files = [site.repository / "gen3.sqlite3", site.folder / "inbox.db"]
    before = [file.read_bytes() for file in files]
    lock = InstanceLock(site.config.lock_file)
    lock.acquire()
    try:
        assert told(site, site.files["b1"])["daemon"]["alive"] is True
    finally:
        lock.release()
    assert told(site, site.files["b1"])["daemon"]["alive"] is False
    assert [file.read_bytes() for file in files] == before


@contextmanager
def away(path):
    aside = path.with_name(f"{path.name}.away")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def test_a_repository_that_is_away_leaves_the_rest(site):
    """What the inbox and the disk know is told, and that the repository could not be asked."""
    with away(site.repository):
        code, output = show(site, site.files["r1"])
        answer = told(site, 1000)
    assert (code, "ingested since" in output, "COULD NOT BE ASKED" in output) == (0, True, True)
    assert answer["repository"]["code"] == "repository_unreachable"
    assert (answer["visit"]["exposure"], answer["visit"]["cells"]["r1"]["mark"]) == (None, "ingested")


def test_a_repository_that_hangs_is_not_waited_for(site, monkeypatch):
    """A mount that never answers costs a while, and is said to be to blame."""
    never = Event()

    class Hanging:
        def __init__(self, *_, **__):
            never.wait()

    monkeypatch.setattr(showing, "RepositoryInventory", Hanging)
    monkeypatch.setattr(showing, "REPOSITORY_SECONDS", 0.05)
    answer = told(site, site.files["r1"])
    never.set()
    assert "did not answer within 0.05 s" in answer["repository"]["error"]
    assert answer["files"][0]["record"]["state"] == "ingested"


def test_a_watched_folder_that_hangs_is_not_waited_for(site, monkeypatch):
    """What the inbox knows is told, though nobody can look at the file."""
    never = Event()
    monkeypatch.setattr(showing, "watched_folder", lambda _: never.wait())
    monkeypatch.setattr(showing, "DISK_SECONDS", 0.05)
    answer = told(site, site.files["b1"])
    never.set()
    assert "did not answer" in answer["files"][0]["on_disk"]["trouble"]
    assert answer["files"][0]["record"]["code"] == "truncated"


def test_a_missing_artifact_is_told(site):
    """Where somebody removed an artifact by hand, that and the cure are said."""
    [file] = told(site, site.files["n1"])["files"]
    with away(Path(file["datasets"][0]["uri"].removeprefix("file://"))):
        code, output = show(site, site.files["n1"])
    assert (code, "the artifact is missing" in output, "audit --repair" in output) == (0, True, True)


def test_without_an_inbox_it_says_that_no_daemon_has_run(tmp_path):
    """Before the first start there is nothing to tell."""
    config = tmp_path / "config.yaml"
    config.write_text("repository: r\nwatch: {raw: data}\nstate: {database: inbox.db}\n", encoding="utf-8")
    done = typed("show", "-c", config, "1000")
    assert (done.exit_code, "error [vanished]" in done.stderr) == (1, True)
