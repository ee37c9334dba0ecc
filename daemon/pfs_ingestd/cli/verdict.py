"""What a status means to the one who has to act on it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pfs_ingestd.text import counted

__all__ = ["Finding", "Mark", "size_text", "span_text", "verdict"]

SILENCE = timedelta(minutes=1)
"""How old a heartbeat may be: a daemon at work writes one every ten seconds, but not during a batch."""

LONG_WAIT = timedelta(minutes=10)
"""A file that has been pending for longer is worth a look."""

LITTLE_ROOM = 0.05
"""The share of a disk below which its room is worth a look."""

_STEP = 1000

_START = "start it: systemctl start pfs-ingestd"


class Mark(StrEnum):
    """How urgent something is."""

    OK = "OK"
    LOOK = "LOOK"
    ALARM = "ALARM"


class Finding(NamedTuple):
    """Something that is to be said of the daemon.

    Parameters
    ----------
    mark : `Mark`
        How urgent it is.
    text : `str`
        What it is doing, and whether that is all right.
    advice : `str`, optional
        What to do; empty if nothing is.
    """

    mark: Mark
    text: str
    advice: str = ""


def verdict(status: Mapping[str, Any], *, alive: bool, now: datetime, config: str) -> Sequence[Finding]:
    """Tell what a person should know first, the most urgent at the top.

    Parameters
    ----------
    status : `~collections.abc.Mapping`
        The content of a status file.
    alive : `bool`
        Whether a daemon is at work.
    now : `~datetime.datetime`
        The time.
    config : `str`
        The configuration file, for the commands that are recommended.
    """
    since = span_text(now - datetime.fromisoformat(status["since"]))
    silence = now - datetime.fromisoformat(status["heartbeat"])
    state, reason = status["state"], status["reason"]
    rejected = list(_rejected(status, config))
    if state == "failed":
        return [Finding(Mark.ALARM, f"failed {since} ago: {reason}", f"cure that, then {_START}"), *rejected]
    if state == "stopped":
        why = f": {reason}" if reason else ", as it was asked to"
        stopped = Finding(Mark.LOOK, f"stopped {since} ago{why}", f"if it is needed, {_START}")
        return [stopped, *_pause(status, config, now), *rejected]
    if not alive:
        text = f"not running: it ended without saying goodbye, {span_text(silence)} ago"
        return [Finding(Mark.ALARM, text, f"nothing is lost; {_START}"), *rejected]
    if silence > SILENCE:
        text = f"no sign of life for {span_text(silence)}, though process {status['pid']} is there"
        advice = "a batch takes long, or it hangs: systemd restarts it after 5 min; kill -9 does no harm"
        return [Finding(Mark.ALARM, text, advice)]
    worries = [*_pause(status, config, now), *rejected, *_worries(status, config)]
    if state == "running" and not worries:
        return [Finding(Mark.OK, f"running for {since}: all is well")]
    return [_doing(state, reason, since), *worries]


def span_text(span: timedelta) -> str:
    """Write a span of time as people say it."""
    seconds = max(span.total_seconds(), 0.0)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size_text(size: float) -> str:
    """Write a number of bytes in units of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < _STEP:
            return f"{size:.3g} {unit}"
        size /= _STEP
    return f"{size:.3g} PB"


def _doing(state: str, reason: str, since: str) -> Finding:
    match state:
        case "degraded":
            advice = "cure that; it goes on by itself, do not restart it"
            return Finding(Mark.ALARM, f"degraded for {since}: {reason}", advice)
        case "starting":
            text = f"starting for {since}: it looks at all folders for the first time"
            return Finding(Mark.OK, text, "wait; on a network file system this takes minutes")
        case "stopping":
            if reason:
                advice = "wait: it stops by itself, and is not restarted"
                return Finding(Mark.OK, f"stopping for {since}: {reason}", advice)
            return Finding(Mark.OK, f"stopping for {since}", "wait; it is gone within ten seconds")
    return Finding(Mark.OK, f"running for {since}")


def _pause(status: Mapping[str, Any], config: str, now: datetime) -> Iterator[Finding]:
    if pause := status["paused"]:
        since = span_text(now - datetime.fromisoformat(pause["since"]))
        why = f": {pause['reason']}" if pause["reason"] else ""
        pending = counted(status["pending"]["files"], "file")
        text = f"paused by {pause['by']} for {since}{why}; {pending} pending"
        yield Finding(Mark.LOOK, text, f"once that is over: pfs-ingestd resume -c {config}")


def _rejected(status: Mapping[str, Any], config: str) -> Iterator[Finding]:
    if rejected := status["counts"]["rejected"]:
        text = f"{counted(rejected, 'file')} {'needs' if rejected == 1 else 'need'} a person"
        yield Finding(Mark.LOOK, text, f"pfs-ingestd list -c {config} --state rejected")


def _worries(status: Mapping[str, Any], config: str) -> Iterator[Finding]:
    if refused := status["configuration"]["refused"]:
        text = f"the configuration file is not what holds: it was refused: {refused}"
        yield Finding(Mark.LOOK, text, f"mend it, then pfs-ingestd reload -c {config}")
    for what, disk in status["disks"].items():
        if disk["reason"]:
            yield Finding(Mark.LOOK, f"the disk of the {what}: {disk['reason']}", f"df {disk['folder']}")
        elif disk["size_bytes"] and disk["free_bytes"] < LITTLE_ROOM * disk["size_bytes"]:
            text = f"the disk of the {what} is nearly full: {size_text(disk['free_bytes'])} left"
            yield Finding(Mark.LOOK, text, f"make room: df {disk['folder']}")
    # A daemon that was started before the last upgrade does not tell of them.
    for name, hook in status.get("hooks", {}).items():
        if hook["failures"]:
            text = f"{hook['waiting']:,} notices cannot be delivered to {hook['to']}: {hook['reason']}"
            advice = f"ingestion goes on; mend notify.{name}, then pfs-ingestd test-notify -c {config}"
            yield Finding(Mark.LOOK, text, advice)
    pending = status["pending"]
    if (pending["oldest_age_seconds"] or 0) > LONG_WAIT.total_seconds():
        waiting = span_text(timedelta(seconds=pending["oldest_age_seconds"]))
        text = f"{counted(pending['files'], 'file')} pending, the oldest for {waiting}"
        yield Finding(Mark.LOOK, text, "nothing, as long as files go through: new ones come before a backlog")
