"""The audit and its repairs, on real folders, a real inbox and a real repository, all damaged on purpose."""

import os
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetType

from fakes import FakeClock
from observatory import an_observatory
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.repository import RepositoryBroom, RepositoryInventory
from pfs_ingestd.audit.findings import Fault
from pfs_ingestd.audit.mender import Mender
from pfs_ingestd.auditing import AuditOptions, audit
from pfs_ingestd.errors import Code, IngestdError, Outage, TryLater
from pfs_ingestd.records import State
from pfs_ingestd.simulate import NightPlan, write_night
from pfs_ingestd.wiring import service
from repository_files import a_repository
from served import a_served_repository
from system.service import Site, stored, wanted

CAMERAS = ("b1", "b2", "b3", "b4", "r1", "r2")
LATER = timedelta(hours=3)
UNDONE = (State.SEEN, State.READY, State.INGESTING)


class Observatory:
    """A site with an ingested visit of six raws and a pfsConfig, and the clock by which it is audited."""

    def __init__(self, site, clock):
        self.site = site
        self.clock = clock
        self.night = write_night(site.data, NightPlan(visits=1, cameras=CAMERAS, small=True))
        self.ingest()

    @property
    def files(self):
        """The raws, by camera."""
        return dict(zip(CAMERAS, self.night.raws, strict=True))

    def ingest(self):
        """Let a daemon take in what is there."""
        with service(self.site.config, {}, once=True) as daemon:
            daemon.tick([])
            while any(self.site.counts()[state] for state in UNDONE):
                self.clock.advance(timedelta(seconds=1))
                daemon.tick([])

    def audit(self, **options):
        """Audit, some hours later; tell what was found, and done about it."""
        found = []
        clock = FakeClock(self.clock.now() + LATER)
        with audit(self.site.config, AuditOptions(**options), {}, clock) as (auditor, _, mender):
            for some in auditor.findings(lambda _step, _more: None):
                found += map(mender.mend, some) if mender else some
            self.counts = dict(auditor.counts)
        return found

    def summary(self, **options):
        """Audit; tell fault and outcome of each finding by camera or name of its file."""
        cameras = {path: camera for camera, path in self.files.items()}
        summary = {}
        for finding in self.audit(**options):
            if finding.path:
                subject = cameras.get(finding.path, finding.path.name)
            else:
                subject = f"{finding.dataset.arm}{finding.dataset.spectrograph}"
            assert subject not in summary
            summary[subject] = (finding.fault, finding.mended)
        return summary

    def artifact(self, camera):
        """Tell where the artifact of a camera is, on a disk."""
        return Path(self.uri(camera).ospath)

    def uri(self, camera):
        """Tell where the artifact of a camera is."""
        where = f"arm='{camera[0]}' AND spectrograph={camera[1]}"
        with Butler.from_config(str(self.site.repository)) as butler:
            [ref] = butler.query_datasets("raw", "PFS/raw/*", instrument="PFS", where=where, find_first=False)
            return butler.getURI(ref)

    def prune(self, camera, run="PFS/raw/all"):
        """Remove a dataset, as `butler prune-datasets --purge` does."""
        where = f"arm='{camera[0]}' AND spectrograph={camera[1]}"
        with Butler.from_config(str(self.site.repository), writeable=True) as butler:
            refs = butler.query_datasets("raw", run, instrument="PFS", where=where)
            butler.pruneDatasets(refs, unstore=True, purge=True, disassociate=True)

    def state(self, path):
        """Tell the state of a file."""
        return self.site.states()[path.relative_to(self.site.data)]

    def change(self, move, *paths):
        """Change records behind the daemon's back."""
        inbox = open_inbox(self.site.config.state.database.url)
        try:
            for record in inbox.find(paths).values():
                inbox.replace([(record, move(record))])
        finally:
            inbox.close()


@pytest.fixture
def observed(tmp_path, clock):
    site = Site(tmp_path, Path(a_repository(tmp_path / "template")))

    def make(*, made=None, **ingest):
        if made:
            site.repository.rename(tmp_path / "unused")
            made(site.repository)
        site.configure(ingest=ingest)
        return Observatory(site, clock)

    yield make
    site.close()


@pytest.fixture
def served(shared_folder, postgres, at_s3):
    """Make a repository on servers instead."""
    return lambda root: a_served_repository(root, shared_folder, postgres, at_s3)


def other_content(path):
    """Write other bytes, as many as before."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_after_a_night_nothing_differs(observed):
    """An audit of what the daemon made, and moved away, finds nothing, and changes nothing."""
    observatory = observed(transfer="move")
    files = [observatory.site.repository / "gen3.sqlite3", observatory.site.folder / "inbox.db"]
    before = [file.read_bytes() for file in files]

    findings = observatory.audit(checksum=True)

    assert findings == []
    assert observatory.counts == {"files": 8, "datasets": 7, "unrecorded": 0}
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize("made", [None, "served"])
def test_what_was_copied_is_mended(observed, request, made):
    """Each kind of damage to copies and their files is found, mended where it is safe, and then gone."""
    observatory = observed(made=made and request.getfixturevalue(made), transfer="copy")
    files, uri = observatory.files, observatory.uri
    uri("b1").remove()
    uri("b2").write(b"torso")
    uri("b3").remove()
    files["b3"].unlink()
    other_content(files["b4"])
    observatory.prune("r1")
    os.utime(files["r2"], (1, 1))

    found, mended = observatory.summary(), observatory.summary(repair=True)

    left = {
        "b2": (Fault.ALTERED, ""),
        "b3": (Fault.MISSING, ""),
        "b4": (Fault.CHANGED, ""),
    }
    assert found == left | {
        "b1": (Fault.MISSING, ""),
        "r1": (Fault.UNREGISTERED, ""),
        "r2": (Fault.CHANGED, ""),
    }
    assert mended == left | {
        "b1": (Fault.MISSING, "stored again"),
        "b4": (Fault.CHANGED, "noted in its record"),
        "r1": (Fault.UNREGISTERED, "queued again"),
        "r2": (Fault.CHANGED, "queued again, to be compared"),
    }
    assert uri("b1").read() == files["b1"].read_bytes()
    assert observatory.summary(repair=True) == left
    observatory.ingest()
    assert observatory.summary() == left


@pytest.mark.parametrize("transfer", ["link", "symlink", "direct"])
def test_what_was_linked_is_mended(observed, transfer):
    """A link that can be made again is told from one whose file is gone, and no bytes are touched."""
    observatory = observed(transfer=transfer)
    files = observatory.files
    places = {camera: observatory.artifact(camera) for camera in CAMERAS}
    if transfer != "direct":
        places["b1"].unlink()
    files["b2"].unlink()
    other_content(files["b3"])
    elsewhere = observatory.site.data / files["b4"].name
    files["b4"].rename(elsewhere)
    kept = {path: path.read_bytes() for path in (*files.values(), elsewhere) if path.exists()}

    found, mended = observatory.summary(), observatory.summary(repair=True)

    changed = {"b3": Fault.CHANGED}
    broken = {"b1": Fault.MISSING} if transfer != "direct" else {}
    gone = {"b2": Fault.DANGLING, "b4": Fault.DANGLING} if transfer != "link" else {}
    moved = {elsewhere.name: Fault.UNKNOWN} if transfer != "link" else {}
    assert found == {subject: (fault, "") for subject, fault in (changed | broken | gone | moved).items()}
    assert mended == (
        found
        | {subject: (fault, "noted in its record") for subject, fault in changed.items()}
        | {subject: (fault, "stored again") for subject, fault in broken.items()}
        | {subject: (fault, "queued") for subject, fault in moved.items()}
    )
    observatory.ingest()
    gone.pop("b4", None)
    assert observatory.summary(repair=True) == {
        subject: (fault, "") for subject, fault in (changed | gone).items()
    }
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_bytes_of_copies_are_compared_when_asked(observed):
    """A byte that turned over in the datastore is found with the checksum option, and only then."""
    observatory = observed(transfer="copy")
    other_content(observatory.artifact("b1"))
    assert observatory.summary() == {}
    assert observatory.summary(checksum=True) == {"b1": (Fault.ALTERED, "")}


def test_strays_are_removed_where_they_are_copies_and_left_where_not(observed):
    """What nobody registered goes if a watched file has its bytes; the rest stays, and so does all else."""
    observatory = observed()
    files, root = observatory.files, observatory.site.repository
    folder = observatory.artifact("b1").parent
    os.link(files["b1"], folder / ".raw.fits.replaced")
    os.link(files["b1"], folder / "again.fits")
    shutil.copy(files["b2"], folder / "copy.fits")
    (root / "PFS/raw/all/link.fits").symlink_to(files["b3"])
    (folder / "torso.fits").write_bytes(files["b4"].read_bytes()[:-2880])
    (folder / "nowhere.fits").symlink_to(root / "nothing")
    dead = root / ".pfs-ingestd-dead"
    dead.mkdir()
    (dead / "copy.fits").write_bytes(b"half")
    for path in (dead / "copy.fits", dead):
        os.utime(path, (1, 1))
    shutil.copytree(observatory.site.repository / "PFS", observatory.site.folder / "before", symlinks=True)

    found, mended = observatory.summary(), observatory.summary(repair=True)

    left = dict.fromkeys(("torso.fits", "nowhere.fits"), (Fault.STRAY, ""))
    copies = [".raw.fits.replaced", "again.fits", "copy.fits", "link.fits", ".pfs-ingestd-dead"]
    assert found == left | dict.fromkeys(copies, (Fault.STRAY, ""))
    assert mended == left | dict.fromkeys(copies, (Fault.STRAY, "removed"))
    assert observatory.summary(repair=True) == left
    for name in left:
        (folder / name).unlink()
    assert stored(root) == wanted(observatory.night)


def test_an_object_that_nobody_has_is_told_and_left(observed, served):
    """In a store, too, what belongs to no dataset is found; nothing there is removed by itself."""
    observatory = observed(made=served, transfer="copy")
    orphan = observatory.uri("b1").updatedFile("raw_orphan.fits")
    orphan.write(b"left by a transaction that failed")

    [told] = observatory.audit()
    [mended] = observatory.audit(repair=True)

    assert (told.fault, told.subject, told.remedy) == (Fault.STRAY, orphan.geturl(), None)
    assert (mended.mended, orphan.exists()) == ("", True)


def test_what_was_just_made_is_no_stray(observed):
    """An artifact that is not registered yet may be by the next moment: it is let alone for an hour."""
    observatory = observed()
    os.link(observatory.files["b1"], observatory.artifact("b1").with_name("young.fits"))
    observatory.clock.advance(-LATER)
    assert observatory.audit(repair=True) == []


def test_a_stray_that_was_registered_meanwhile_stays(observed, monkeypatch):
    """What a stray is found to be is asked again under the lock of those who store."""
    observatory = observed()
    place = observatory.artifact("b1")
    observatory.prune("b1")
    os.link(observatory.files["b1"], place)

    def compare(_self, _stray, path):
        observatory.change(lambda record: record.retried(record.updated), observatory.files["b1"])
        observatory.ingest()
        return path == observatory.files["b1"]

    monkeypatch.setattr(RepositoryInventory, "is_copy", compare)
    [stray] = [each for each in observatory.audit(repair=True) if each.fault is Fault.STRAY]
    assert (stray.mended, stray.path) == ("", place)
    assert stored(observatory.site.repository) == wanted(observatory.night)


def test_a_repository_that_others_made_is_audited_as_it_is(observed):
    """Visits for exposures, other runs and templates, packages that are not here: all is found and mended."""
    observatory = observed(made=an_observatory, transfer="copy")
    assert (observatory.audit(checksum=True), observatory.counts["datasets"]) == ([], 7)
    place = observatory.artifact("b1")
    shutil.copy(observatory.files["b2"], place.with_name("copy.fits"))
    place.unlink()
    observatory.prune("b3", run="PFS/raw/sps")

    mended = observatory.summary(repair=True)

    assert mended == {
        "b1": (Fault.MISSING, "stored again"),
        "b3": (Fault.UNREGISTERED, "queued again"),
        "copy.fits": (Fault.STRAY, "removed"),
    }
    observatory.ingest()
    assert observatory.audit(checksum=True, since=20000101) == []


def test_a_stray_that_is_no_copy_any_more_stays(observed):
    """What is removed is compared with its source once more: the file may have been written to."""
    observatory = observed()
    place = observatory.artifact("b1").with_name("copy.fits")
    shutil.copy(observatory.files["b2"], place)
    [stray] = observatory.audit()
    other_content(observatory.files["b2"])
    broom = RepositoryBroom(str(observatory.site.repository), runs={}, instrument="PFS")
    with closing(broom), pytest.raises(TryLater):
        broom.remove(stray.remedy.stray, stray.remedy.source)
    assert place.exists()


def test_what_other_datasets_have_is_no_stray(observed):
    """Another run within the folder of ours, another dataset type in ours: both are registered, too."""
    observatory = observed()
    root = observatory.site.repository
    with Butler.from_config(str(root), writeable=True) as butler:
        table = DatasetType("table", ("instrument",), "StructuredDataDict", universe=butler.dimensions)
        butler.registry.registerDatasetType(table)
        for run in ("PFS/raw/all/within", "PFS/raw/all"):
            butler.collections.register(run)
            butler.put({"a": 1}, table, run=run, instrument="PFS")
    assert observatory.audit() == []
    (root / "PFS/raw/all/within/table/stray.fits").write_bytes(b"")
    assert observatory.summary() == {"stray.fits": (Fault.STRAY, "")}


def test_records_that_are_stuck_go_on(observed):
    """Nobody's attempt, an exposure that came, a wait that is over: each record gets where it belongs."""
    observatory = observed()
    config, convergence = observatory.night.configs[0], observatory.night.convergence_configs[0]
    observatory.prune("b1")
    before = observatory.clock.now()
    observatory.change(
        lambda record: record.retried(before).ready(before).claimed(before),
        observatory.files["b1"],
        config,
    )
    observatory.change(
        lambda record: record.waiting(until=before, error=IngestdError(Code.NO_EXPOSURE, ""), now=before),
        config,
    )
    observatory.change(lambda record: replace(record, not_before=before), convergence)
    observatory.prune("b2")
    observatory.change(lambda record: record.retried(before).vanished(before), observatory.files["b2"])

    found, mended = observatory.summary(), observatory.summary(repair=True)

    assert found.keys() == mended.keys()
    assert mended == {
        "b2": (Fault.UNKNOWN, "queued"),
        "b1": (Fault.STUCK, "made ready again"),
        config.name: (Fault.STUCK, "made ready"),
        convergence.name: (Fault.STUCK, "given up"),
    }
    assert observatory.summary(repair=True) == {}
    observatory.ingest()
    assert [observatory.state(path) for path in (observatory.files["b1"], config, convergence)] == [
        State.INGESTED,
        State.INGESTED,
        State.ORPHANED,
    ]


@pytest.mark.parametrize("away", ["data", "repo/PFS"])
def test_what_is_not_mounted_is_an_outage(observed, away):
    """An empty folder where files should be ends the audit before it has found anything."""
    observatory = observed()
    folder = observatory.site.folder / away
    folder.rename(observatory.site.folder / "unmounted")
    if away == "data":
        folder.mkdir()
    with pytest.raises(Outage):
        observatory.audit(repair=True)


def test_an_audit_since_a_night_leaves_the_nights_before_alone(observed):
    """Visits before the first of that night are not looked at, be they in inbox, registry or on disk."""
    observatory = observed()
    with Butler.from_config(str(observatory.site.repository)) as butler:
        [exposure] = butler.query_dimension_records("exposure", instrument="PFS")
    observatory.artifact("b1").unlink()
    assert list(observatory.summary(since=exposure.day_obs)) == ["b1"]
    assert observatory.summary(since=exposure.day_obs + 1) == {}
    # The convergence has no exposure, and a higher number.
    assert observatory.counts == {"files": 1, "datasets": 0, "unrecorded": 0}


def test_what_changes_under_the_eyes_of_a_repair_is_left(observed, monkeypatch):
    """A record that the daemon was faster with keeps what it made of it."""
    observatory = observed()
    observatory.prune("b1")
    mend = Mender.mend

    def late(self, finding):
        observatory.change(lambda record: record.retried(record.updated), finding.path)
        return mend(self, finding)

    monkeypatch.setattr(Mender, "mend", late)
    [finding] = observatory.audit(repair=True)
    assert (finding.mended, finding.advice.startswith("nothing was done")) == ("", True)


def test_what_differs_for_a_moment_only_is_not_told(observed, monkeypatch):
    """Somebody may be at work between the looks at two sides: what differs is looked at again."""
    observatory = observed()
    looks = [lambda *_: [], RepositoryInventory.datasets]
    monkeypatch.setattr(
        RepositoryInventory, "datasets", lambda *arguments: looks.pop(0)(*arguments) if looks else []
    )
    assert observatory.audit(since=0) == []
    assert looks == []
