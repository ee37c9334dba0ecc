"""How the daemon is: a sentence that says what to do, and the figures below it."""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from pfs_ingestd.cli.options import config_option, json_option, schema_option
from pfs_ingestd.cli.output import exits, print_json, print_rows
from pfs_ingestd.cli.verdict import Finding, Mark, size_text, span_text, verdict
from pfs_ingestd.config import load_config
from pfs_ingestd.desk import read_status
from pfs_ingestd.errors import Code, ExitCode, Rejected
from pfs_ingestd.text import counted

__all__ = ["status"]

_COLORS = {Mark.OK: "green", Mark.LOOK: "yellow", Mark.ALARM: "red"}


@click.command()
@config_option
@json_option
@schema_option("status.schema.json", "the status file")
@exits
def status(config_file: Path, as_json: bool) -> ExitCode:  # noqa: FBT001 (click passes a flag by name)
    """Tell how the daemon is, whether that is all right, and what to do if it is not."""
    seen = read_status(load_config(config_file, os.environ))
    content, holder, now = seen.status, seen.holder, seen.now
    if as_json:
        process = holder and {"pid": holder.pid, "host": holder.host}
        age = seen.heartbeat_age
        print_json({**content, "alive": seen.alive, "holder": process, "heartbeat_age_seconds": age})
        return ExitCode.DONE
    try:
        findings = verdict(content, alive=holder is not None, now=now, config=str(config_file))
        rows = list(_rows(content, now))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Rejected(
            Code.UNREADABLE,
            f"the status is not of the form that this program knows: {error!r}",
            hint="look at it with --json; the daemon that wrote it may be of another version",
        ) from error
    for finding in findings:
        _print_finding(finding)
    click.echo()
    print_rows(rows)
    return ExitCode.DONE


def _print_finding(finding: Finding) -> None:
    mark = click.style(f"{finding.mark:5}", fg=_COLORS[finding.mark], bold=True)
    click.echo(f"{mark}  {finding.text}")
    if finding.advice:
        click.echo(f"       {finding.advice}")


def _rows(content: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    def ago(time: str | None) -> str:
        return f"{span_text(now - datetime.fromisoformat(time))} ago" if time else "not yet"

    yield "state", f"{content['state']} since {content['since'][:19].replace('T', ' ')} UTC"
    if pause := content["paused"]:
        why = f": {pause['reason']}" if pause["reason"] else ""
        yield "paused", f"by {pause['by']} since {pause['since'][:19].replace('T', ' ')} UTC{why}"
    yield "heartbeat", ago(content["heartbeat"])
    yield "process", f"{content['pid']} on {content['host']}, started {ago(content['started'])}"
    yield "program", f"pfs-ingestd {content['program_version']}"
    yield "repository", content["repository"]
    for watcher in content["watchers"]:
        trouble = "" if watcher["healthy"] else f", BLIND: {watcher['reason']}"
        seconds = watcher.get("scan_seconds")
        cost = "" if seconds is None else f" in {seconds} s"
        read = f"read {ago(watcher['last_scan'])}{cost}"
        yield "watched", f"{watcher['root']} ({watcher['mode']}, {read}{trouble})"
    if content["watchers_left_out"]:
        yield "", f"and {content['watchers_left_out']} more"
    if scan := content["last_scan"]:
        yield (
            "last scan",
            f"{ago(scan['at'])}, {scan['seconds']} s, {counted(scan['folders'], 'folder')} listed",
        )
    counts = [f"{number:,} {state}" for state, number in content["counts"].items() if number]
    yield "files", ", ".join(counts) or "none yet"
    yield from _work(content)
    yield from _workers(content, now)
    for what, disk in content["disks"].items():
        yield f"disk of {what}", _disk(disk)
    for name, hook in content.get("hooks", {}).items():
        trouble = f", failed {hook['failures']} times in a row: {hook['reason']}" if hook["failures"] else ""
        yield f"notify {name}", f"{hook['to']}, last delivered {ago(hook['last_delivered'])}{trouble}"
    for key in ("last_ingested", "last_rejected", "last_changed"):
        if file := content[key]:
            reason = file["changed"] or (f"[{file['code']}] {file['error']}" if file["error"] else "")
            yield key.replace("_", " "), f"{file['path']}, {ago(file['at'])}{reason and ': '}{reason}"


def _work(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pending, done = content["pending"], content["throughput"]
    if pending["files"]:
        oldest = span_text(timedelta(seconds=pending["oldest_age_seconds"] or 0))
        yield "pending", f"{pending['files']:,}, the oldest for {oldest}"
    today, hour = (
        f"{counted(done[key]['files'], 'file')}, {size_text(done[key]['bytes'])}"
        for key in ("today", "last_hour")
    )
    yield "ingested", f"today (UTC) {today}; in the last hour {hour}"
    rate = f"{done['files_per_second']} files/s, {done['megabytes_per_second']} MB/s"
    yield "rate", f"{rate} in the last minute"
    if done["latency_median_seconds"] is not None:
        median, slow = done["latency_median_seconds"], done["latency_p99_seconds"]
        yield "latency", f"half of the raws visible within {median} s, 99 % within {slow} s (last hour)"


def _workers(content: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str]]:
    for worker in content.get("workers", ()):
        at_work = f"{counted(worker['visits'], 'visit')} in hand, {counted(worker['files'], 'file')} ingested"
        who = f"{worker['name']}, process {worker['pid']} on {worker['host']}"
        seen = span_text(now - datetime.fromisoformat(worker["heartbeat"]))
        yield "worker", f"{who}: {at_work}, seen {seen} ago"
    if content.get("workers_left_out"):
        yield "", f"and {content['workers_left_out']} more"


def _disk(disk: Mapping[str, Any]) -> str:
    if disk["free_bytes"] is None:
        return f"unknown: {disk['reason']}"
    return f"{size_text(disk['free_bytes'])} of {size_text(disk['size_bytes'])} free"
