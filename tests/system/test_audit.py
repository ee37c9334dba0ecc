"""The audit as an operator runs it: beside a daemon, in a table or as JSON, with exit codes."""

import json

from click.testing import CliRunner

from pfs_ingestd.cli import main
from pfs_ingestd.errors import ExitCode
from system.service import stored, wanted, write

KEYS = {"fault", "visit", "path", "dataset", "dataset_id", "why", "advice", "mended"}


def lost(site, night):
    """Lose an artifact, as somebody does who tidies up."""
    raw = night.raws[0]
    [artifact] = [path for path in (site.repository / "PFS").rglob("*.fits") if path.samefile(raw)]
    artifact.unlink()
    return raw


def test_an_audit_beside_a_daemon_finds_and_mends(site):
    """A lost artifact is told, with exit code 1, and mended, with 0, while the daemon runs."""
    night = write(site.data)
    service = site.start()
    service.wait_for_counts(ingested=4, waiting=1)
    raw = lost(site, night)

    found, mended = site.run("audit", "--json", "--since", "2026-01-01"), site.run("audit", "--repair")

    assert (found.returncode, mended.returncode, mended.stderr) == (1, 0, "")
    report = json.loads(found.stdout)
    [finding] = report["findings"]
    assert finding.keys() == KEYS
    assert (finding["fault"], finding["path"], finding["mended"]) == ("missing", str(raw), None)
    assert report["counts"] == {"files": 5, "datasets": 4, "unrecorded": 0}
    heading, line, _, summary = mended.stdout.splitlines()
    assert heading.split() == ["fault", "what", "why", "done,", "or", "to", "do"]
    assert (line.split()[:2], line.endswith("stored again")) == (["missing", str(raw)], True)
    assert summary.endswith("1 missing; 1 mended, 0 left")
    assert stored(site.repository) == wanted(night)
    assert service.stop() == 0


def test_an_audit_before_the_first_run_says_so(site):
    """Without an inbox there is nothing to compare, and none is made."""
    done = site.run("audit")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon has run here yet" in done.stderr
    assert not (site.folder / "inbox.db").exists()


def test_a_night_is_a_date():
    """What is no date is refused before anything is opened."""
    done = CliRunner().invoke(main, ["audit", "-c", "config.yaml", "--since", "tonight"])
    assert (done.exit_code, "tonight" in done.output) == (ExitCode.USAGE, True)
