"""The audit: what differs between disk, inbox, registry and datastore."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click
from rich.progress import Progress, TaskID

from pfs_ingestd.adapters.system import SystemClock
from pfs_ingestd.audit.findings import Finding
from pfs_ingestd.auditing import AuditOptions, audit
from pfs_ingestd.cli.options import config_option, json_option
from pfs_ingestd.cli.output import exits, print_json, print_table, progress_bars
from pfs_ingestd.config import load_config
from pfs_ingestd.errors import ExitCode
from pfs_ingestd.logs import configure_logs
from pfs_ingestd.records import State, path_text
from pfs_ingestd.text import counted, files_are

__all__ = ["audit_command"]

VERSION = 1


class _Bars:
    """One bar for each thing that the audit goes through; nobody knows beforehand how many there are."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def tell(self, step: str, more: int) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None)
        self._bars.advance(self._tasks[step], more)


@click.command("audit")
@config_option
@click.option(
    "--since",
    metavar="NIGHT",
    type=click.DateTime(["%Y-%m-%d", "%Y%m%d"]),
    help="Only visits from this night on; a night is named by its day_obs.",
)
@click.option("--checksum", is_flag=True, help="Also compare the bytes of each copy with its file.")
@click.option("--repair", is_flag=True, help="Mend what can be mended safely; say what is left.")
@json_option
@exits
def audit_command(
    config_file: Path,
    since: datetime | None,
    checksum: bool,  # noqa: FBT001 (click passes a flag by name)
    repair: bool,  # noqa: FBT001 (click passes a flag by name)
    as_json: bool,  # noqa: FBT001 (click passes a flag by name)
) -> ExitCode:
    """Tell where disk, inbox, registry and datastore differ.

    Nothing is changed without --repair, and a daemon may be running. The exit code is 1 if anything
    differs, or with --repair if anything is left that does.
    """
    config = load_config(config_file, os.environ)
    configure_logs(level="warning", format="auto", file=None, stream=sys.stderr)
    options = AuditOptions(
        since=None if since is None else int(since.strftime("%Y%m%d")), checksum=checksum, repair=repair
    )
    findings: list[Finding] = []
    with (
        progress_bars() as bars,
        audit(config, options, os.environ, SystemClock()) as (auditor, inbox, mender),
    ):
        for found in auditor.findings(_Bars(bars).tell):
            findings += [mender.mend(finding) for finding in found] if mender else found
        counts, states = auditor.counts, inbox.counts()
    if as_json:
        print_json(_facts(findings, counts, states))
    else:
        _print(findings, counts, states)
    return ExitCode.SOME_REJECTED if any(not finding.mended for finding in findings) else ExitCode.DONE


def _print(findings: Sequence[Finding], counts: Mapping[str, int], states: Mapping[State, int]) -> None:
    if findings:
        rows = [
            (finding.fault, finding.subject, finding.why, finding.mended or finding.advice)
            for finding in findings
        ]
        print_table(["fault", "what", "why", "done, or to do"], rows)
        click.echo("")
    files, datasets = counted(counts["files"], "file"), counted(counts["datasets"], "dataset")
    parts = [f"{files} and {datasets} looked at"]
    if unrecorded := counts["unrecorded"]:
        were = "was" if unrecorded == 1 else "were"
        parts.append(f"{counted(unrecorded, 'dataset')} {were} not ingested by the daemon")
    if rejected := states[State.REJECTED]:
        parts.append(f"{files_are(rejected)} rejected: see `pfs-ingestd list`")
    mended = sum(bool(finding.mended) for finding in findings)
    kinds = Counter(str(finding.fault) for finding in findings)
    told = ", ".join(f"{number} {fault}" for fault, number in sorted(kinds.items()))
    parts.append(f"{told}; {mended} mended, {len(findings) - mended} left" if told else "nothing differs")
    click.echo("; ".join(parts))


def _facts(
    findings: Sequence[Finding], counts: Mapping[str, int], states: Mapping[State, int]
) -> Mapping[str, object]:
    return {
        "version": VERSION,
        "counts": dict(counts),
        "states": {str(state): number for state, number in states.items()},
        "findings": [
            {
                "fault": finding.fault,
                "visit": finding.visit,
                "path": finding.where or (finding.path and path_text(finding.path)),
                "dataset": finding.dataset and str(finding.dataset),
                "dataset_id": finding.dataset and finding.dataset.id,
                "why": finding.why,
                "advice": finding.advice,
                "mended": finding.mended or None,
            }
            for finding in findings
        ],
    }
