"""What a file waits for, and what a person can do about it next."""

from pfs_ingestd.advice import ADVICE, WAITS
from pfs_ingestd.records import PENDING, FileRecord, State
from pfs_ingestd.story.facts import FileStory, Story

__all__ = ["NOTHING", "to_do", "waits_for"]

NOTHING = "nothing"
"""What there is to do about a file that is where it should be."""

_BY_STATE = {
    State.WAITING: "look for the raws of its visit",
    State.ORPHANED: "look for the raws of its visit; a convergence has none, and nothing needs to be done",
    State.SKIPPED: "nothing; if it is wanted after all, retry it",
}


def waits_for(record: FileRecord) -> str:
    """Say what a file waits for, as it stands now."""
    waits = WAITS[record.state]
    if record.not_before is None:
        return waits
    time = f"{record.not_before:%Y-%m-%d %H:%M:%S} UTC"
    if record.state in {State.SEEN, State.READY}:
        return f"{waits}; not before {time}"
    return f"{waits}; it is given up at {time}" if record.state is State.WAITING else waits


def to_do(file: FileStory, story: Story) -> str:
    """Say what a person can do about a file next; see `~pfs_ingestd.advice.ADVICE`."""
    record = file.record
    if record is None:
        return "see why it is unknown, if it should be in the inbox"
    if record.changed:
        return "retry it to have it compared again, or replace what is stored by it"
    if record.state in PENDING:
        return _about_the_daemon(record, story)
    if record.state is State.INGESTED:
        return _about_what_is_stored(file, record, known=story.repository_trouble is None)
    return _BY_STATE.get(record.state) or _by_code(record.code)


def _by_code(code: str | None) -> str:
    return ADVICE.get(code or "", NOTHING)


def _about_the_daemon(record: FileRecord, story: Story) -> str:
    daemon = story.daemon
    if not daemon.alive and not daemon.trouble:
        return "start the daemon: systemctl start pfs-ingestd"
    if story.paused and record.state is not State.SEEN:
        return f"it is not claimed, because {story.paused}; pfs-ingestd resume -c CONFIG"
    if daemon.reason:
        return f"cure what the daemon complains of: {daemon.reason}"
    return _by_code(record.code) if record.code else "nothing: the daemon is at it"


def _about_what_is_stored(file: FileStory, record: FileRecord, *, known: bool) -> str:
    if not known:
        return "nothing, as far as the inbox knows"
    stored = [each for each in file.stored if each.dataset.id == record.dataset_id]
    if not stored:
        return "the repository has no such dataset: pfs-ingestd audit, then retry it"
    if any(each.dataset.artifact is None or each.dataset.artifact.size is None for each in stored):
        return "the artifact is missing: pfs-ingestd audit --repair stores it again, if that can be"
    return NOTHING
