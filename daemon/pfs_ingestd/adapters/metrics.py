"""The metrics file, for the textfile collector of Prometheus' node exporter."""

import math
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from pfs_ingestd.errors import Code, TryLater
from pfs_ingestd.figures import Figures
from pfs_ingestd.records import State, path_text
from pfs_ingestd.status import Phase, Status
from pfs_ingestd.whole_file import replace_content

__all__ = ["Collector", "MetricsFile"]


class MetricsFile:
    """A file in Prometheus' text format that is always whole.

    It is not written by the library: that names its temporary file after the process, so that each kill might
    leave one more behind, and lets the umask decide who may read the file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; the collector reads those that end in ``.prom``. One process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, status: Status, figures: Figures) -> None:
        """Replace the content.

        Raises
        ------
        TryLater
            If it cannot be written; the old content is still there.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(status, figures))
        try:
            replace_content(self._path, generate_latest(registry), durable=False)
        except OSError as error:
            raise TryLater(
                Code.STORE_FAILED,
                f"the metrics cannot be written to {self._path}: {error.strerror}",
                hint="status.metrics must lie in a folder that the daemon may write to, on a disk with room",
            ) from error


class Collector:
    """Says in Prometheus' words what status and figures say.

    Parameters
    ----------
    status : `Status`
        How the daemon is.
    figures : `Figures`
        What it has done.
    """

    def __init__(self, status: Status, figures: Figures) -> None:
        self._status = status
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give all metrics, as the library asks for them."""
        yield from self._process()
        yield from self._files()
        yield from self._work()
        yield from self._surroundings()

    def _process(self) -> Iterator[Metric]:
        status = self._status
        yield InfoMetricFamily(
            "pfs_ingestd_build", "The program.", {"version": status.process.program_version}
        )
        yield _gauge(
            "start_time_seconds", "When the process started, since 1970.", status.process.started.timestamp()
        )
        yield _gauge(
            "heartbeat_timestamp_seconds",
            "When this was written, since 1970. Minutes ago: nobody is at work.",
            status.heartbeat.timestamp(),
        )
        phase = GaugeMetricFamily("pfs_ingestd_state", "1 for what the daemon is doing.", labels=["state"])
        for each in Phase:
            phase.add_metric([str(each)], float(each is status.condition.phase))
        yield phase

        yield _gauge(
            "paused", "1 while an operator has paused the queue.", float(bool(status.standing.paused))
        )

    def _files(self) -> Iterator[Metric]:
        status = self._status
        files = GaugeMetricFamily("pfs_ingestd_files", "Files that the inbox has.", labels=["state"])
        for state in State:
            files.add_metric([str(state)], status.counts.get(state, 0))
        yield files
        yield _gauge("pending_files", "Files that the daemon itself still owes something.", status.pending)
        yield _gauge(
            "oldest_pending_age_seconds",
            "How long the oldest of them has been waiting; 0 if there is none.",
            status.oldest_age or 0.0,
        )

    def _work(self) -> Iterator[Metric]:
        figures = self._figures
        files = CounterMetricFamily("pfs_ingestd_ingested_files", "Files stored.", labels=["kind"])
        size = CounterMetricFamily("pfs_ingestd_ingested_bytes", "Bytes stored.", labels=["kind"])
        for kind, amount in figures.ingested.items():
            files.add_metric([str(kind)], amount.files)
            size.add_metric([str(kind)], amount.bytes)
        yield files
        yield size
        yield HistogramMetricFamily(
            "pfs_ingestd_arrival_to_visible_seconds",
            "From the arrival of a raw to its visibility in the repository.",
            buckets=[
                ("+Inf" if math.isinf(bound) else str(bound), count)
                for bound, count in figures.latency.cumulative()
            ],
            sum_value=figures.latency.total,
        )
        yield CounterMetricFamily(
            "pfs_ingestd_completed_visits", "Visits of which all that is expected is stored.", figures.visits
        )
        notifications = CounterMetricFamily(
            "pfs_ingestd_notifications",
            "Attempts to deliver a notification.",
            labels=["hook", "result"],
        )
        for labels, number in sorted(figures.notifications.items()):
            notifications.add_metric(labels, number)
        yield notifications
        attempts = CounterMetricFamily(
            "pfs_ingestd_attempts", "Attempts that came to an end, by the code of the error.", labels=["code"]
        )
        for code, number in sorted(figures.attempts.items()):
            attempts.add_metric([code], number)
        yield attempts
        rejections = CounterMetricFamily("pfs_ingestd_rejections", "Files rejected.", labels=["code"])
        for code, number in sorted(figures.rejections.items()):
            rejections.add_metric([code], number)
        yield rejections

    def _surroundings(self) -> Iterator[Metric]:
        status, figures = self._status, self._figures
        outages = CounterMetricFamily(
            "pfs_ingestd_outage_seconds", "For how long something did not work.", labels=["code"]
        )
        for code, seconds in sorted(figures.outages.items()):
            outages.add_metric([code], seconds)
        yield outages
        yield SummaryMetricFamily(
            "pfs_ingestd_scan_seconds",
            "Looks at all watched folders.",
            count_value=figures.scans,
            sum_value=figures.scan_seconds,
        )
        yield CounterMetricFamily(
            "pfs_ingestd_scanned_folders", "Folders that were listed.", figures.scanned_folders
        )
        if status.scan:
            yield _gauge(
                "last_scan_timestamp_seconds", "When the last look ended.", status.scan.at.timestamp()
            )
        watchers = GaugeMetricFamily(
            "pfs_ingestd_watcher_healthy",
            "Whether what happens in a folder is noticed at once.",
            labels=["root", "mode"],
        )
        for watcher in status.watchers:
            watchers.add_metric([path_text(watcher.root), watcher.mode], float(watcher.healthy))
        yield watchers
        yield _gauge("workers", "Processes that share the inbox.", len(status.workers))
        yield from self._disks()

    def _disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("pfs_ingestd_disk_free_bytes", "Room on the disk.", labels=["disk"])
        size = GaugeMetricFamily("pfs_ingestd_disk_size_bytes", "Size of the disk.", labels=["disk"])
        for disk in self._status.disks:
            if disk.free is not None and disk.size is not None:
                free.add_metric([disk.what], disk.free)
                size.add_metric([disk.what], disk.size)
        yield free
        yield size


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pfs_ingestd_{name}", meaning, value)
