"""The metrics file, read back as Prometheus reads it."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from fakes import BEGIN, ROOT, Content, raw_header, raw_path
from pfs_ingestd.adapters.metrics import MetricsFile
from pfs_ingestd.errors import Code, Outage, Rejected, TryLater
from pfs_ingestd.figures import Figures
from pfs_ingestd.ports import Hint
from pfs_ingestd.records import path_text
from rig import Rig

B1, R1 = raw_path(), raw_path(arm="r")
RULES = Path(__file__).parents[2] / "config" / "prometheus" / "pfs-ingestd.rules.yaml"


class Station(Rig):
    """The daemon on fakes, with a real metrics file."""

    def __init__(self, path):
        self.path = path
        super().__init__()

    def _build(self):
        self.metrics = MetricsFile(self.path)
        return super()._build()

    def told(self):
        """Read the samples: name without prefix, and labels in the order of their names."""
        families = text_string_to_metric_families(self.path.read_text())
        return {
            (
                sample.name.removeprefix("pfs_ingestd_"),
                *(value for _, value in sorted(sample.labels.items())),
            ): sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
def station(tmp_path):
    station = Station(tmp_path / "pfs-ingestd.prom")
    station.tick()
    return station


def test_all_that_happens_is_measured(station):
    """Files by state, bytes, latency, attempts, rejections, outages, scans, watchers, disks."""
    station.folder.write(B1, Content(answer=raw_header()))
    station.folder.write(R1, Content(answer=Rejected(Code.MISSING_CARD, "W_VISIT is missing")))
    station.clock.advance(timedelta(seconds=2))
    station.tick(Hint(B1, closed=True), Hint(R1, closed=True))
    station.repository.outage = Outage(Code.REPOSITORY_UNREACHABLE, "no answer")
    station.folder.write(raw_path(arm="n"), Content(answer=raw_header(arm="n")))
    station.tick(Hint(raw_path(arm="n"), closed=True), after=timedelta(seconds=10))
    station.tick(after=timedelta(seconds=3))
    told = station.told()
    assert {key: told[key] for key in told if key[0] in {"files", "state"} and told[key]} == {
        ("files", "ingested"): 1,
        ("files", "rejected"): 1,
        ("files", "ready"): 1,
        ("state", "degraded"): 1,
    }
    for key, value in {
        ("build_info", "1"): 1,
        ("start_time_seconds",): BEGIN.timestamp(),
        ("heartbeat_timestamp_seconds",): station.clock.now().timestamp(),
        ("pending_files",): 1,
        ("oldest_pending_age_seconds",): 3,
        ("ingested_files_total", "raw"): 1,
        ("ingested_files_total", "pfsConfig"): 0,
        ("ingested_bytes_total", "raw"): 1000,
        ("arrival_to_visible_seconds_count",): 1,
        ("arrival_to_visible_seconds_bucket", "+Inf"): 1,
        ("attempts_total", "none"): 1,
        ("rejections_total", "missing_card"): 1,
        ("outage_seconds_total", "repository_unreachable"): 13,
        ("scan_seconds_count",): 2,
        ("watcher_healthy", "inotify", str(ROOT)): 1,
        ("disk_free_bytes", "repository"): 1e9,
        ("disk_size_bytes", "repository"): 1e12,
    }.items():
        assert (key, told[key]) == (key, value)


def test_counters_never_fall(station):
    """Within the life of a process everything that is called a total only grows."""
    before = {}
    for visit in range(1000, 1010):
        station.folder.write(raw_path(visit), Content(answer=raw_header(visit)))
        station.repository.outage = Outage(Code.DISK_FULL, "full") if visit % 2 else None
        station.tick(Hint(raw_path(visit), closed=True), after=timedelta(seconds=6))
        told = {k: v for k, v in station.told().items() if k[0].endswith(("_total", "_count", "_bucket"))}
        assert {key: value for key, value in before.items() if told[key] < value} == {}
        before = told
    assert before["ingested_files_total", "raw"] >= 9


def test_any_root_is_a_label(station):
    """A folder whose name holds quotes, line ends and bytes that are not UTF-8 breaks nothing."""
    odd = Path('/data/"a"\n\\\udcff')
    (health,) = station.watcher.check()
    station.watcher.health = {odd: replace(health, root=odd)}
    station.tick(after=timedelta(seconds=10))
    (key,) = [key for key in station.told() if key[0] == "watcher_healthy"]
    assert key == ("watcher_healthy", "inotify", path_text(odd))


def test_the_file_is_whole_and_for_everybody(station):
    """The collector of another user may read it, and no temporary file is left."""
    assert station.path.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in station.path.parent.iterdir()] == ["pfs-ingestd.prom"]


def test_metrics_that_cannot_be_written_are_a_passing_fault(tmp_path):
    """The caller is told what and where; ingestion goes on."""
    rig = Rig()
    rig.tick()
    with pytest.raises(TryLater, match="the metrics cannot be written to"):
        MetricsFile(tmp_path / "none" / "x.prom").write(rig.metrics.written[-1], Figures())


def test_the_alert_rules_speak_of_metrics_that_exist(station):
    """Each rule is complete, and each metric that it names is written."""
    station.folder.write(B1, Content(answer=Rejected(Code.BAD_CARD, "no")))
    station.tick(Hint(B1, closed=True), after=timedelta(seconds=10))
    written = set(re.findall(r"^# TYPE (\S+)", station.path.read_text(), re.MULTILINE))
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert all(rule.keys() == {"alert", "expr", "for", "labels", "annotations"} for rule in rules)
    named = {name for rule in rules for name in re.findall(r"pfs_ingestd_\w+", rule["expr"])}
    assert {name.removesuffix("_bucket") for name in named} - written == set()
    assert {"pfs_ingestd_heartbeat_timestamp_seconds", "pfs_ingestd_files"} <= named
