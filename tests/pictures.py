"""The pictures of the documentation: what the program shows of a night that is made up.

``python tests/pictures.py`` makes them. Those of a terminal are what the commands themselves print; those of
a page are taken by Chromium, and say which page they are of.
"""

import os
import re
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from chromium import Chromium
from nights import ALL, visit
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.adapters.status_file import StatusFile
from pfs_ingestd.adapters.system import InstanceLock, SystemClock
from pfs_ingestd.board.night import night_of
from pfs_ingestd.board.page import page
from pfs_ingestd.cli import main
from pfs_ingestd.config import load_config
from pfs_ingestd.records import FileRecord, Kind, State
from rig import Rig

__all__ = ["IMAGES", "PAGES", "board_page", "page_of", "terminals", "told_status", "words_of"]

IMAGES = Path(__file__).parents[1] / "docs" / "images"

PAGES: Mapping[str, tuple[int, int, bool]] = {
    "board.png": (980, 1300, False),
    "board-phone.png": (390, 844, True),
}
"""The pictures of the page: width and height in pixels, and whether it is seen in the dark."""

COMMANDS: Mapping[str, Sequence[str]] = {
    "board-terminal.svg": ("board", "-c", "config.yaml"),
    "status-terminal.svg": ("status", "-c", "config.yaml"),
}
"""The pictures of a terminal, and what was typed there."""

_NOW = datetime(2026, 11, 22, 11, 25, tzinfo=UTC)
_NIGHT = date(2026, 11, 22)
_ROOT = Path("/data/raw")
_DATA = _ROOT / "2026-11-22"
_REPOSITORY = Path("/data/butler/PFS")
_COLUMNS = 110
_FIRST, _LAST = 125609, 125640
_TORN, _ABSENT, _WAITING = 125633, 125630, _LAST
_WITHOUT_RAMPS = frozenset({125621, 125631})
_WORD = b"Board"

_CONFIGURATION = f"""\
repository: {_REPOSITORY}
watch: {{raw: /data/raw, pfsConfig: /data/raw}}
state: {{database: inbox.db}}
status: {{file: status.json}}
"""


def board_page() -> str:
    """Make the page of the night."""
    return page(night_of(_NIGHT, list(_night()), _NOW))


def terminals() -> Mapping[str, str]:
    """Run the commands beside a daemon that seems to be at work, and paint what they print."""
    return {name: _painted(" ".join(("pfs-ingestd", *words)), said) for name, words, said in _said()}


def told_status() -> Mapping[str, object]:
    """Take what a daemon tells that has just started, and let days have passed and this night be done."""
    records = list(_night())
    counts = Counter(record.state for record in records)
    rig = Rig()
    rig.tick()
    started = _time(_NOW - timedelta(days=12))
    stored = [record for record in records if record.state is State.INGESTED]
    return {
        **rig.status.written[-1],
        "state": "running",
        "since": started,
        "heartbeat": _time(_NOW - timedelta(seconds=2)),
        "pid": 4711,
        "host": "ics",
        "program_version": "0.1.0",
        "repository": str(_REPOSITORY),
        "started": started,
        "watchers": [
            {
                "root": str(_ROOT),
                "mode": "poll",
                "healthy": True,
                "reason": "",
                "last_scan": _time(_NOW - timedelta(seconds=4)),
                "scan_seconds": 0.021,
            }
        ],
        "last_scan": {"at": _time(_NOW - timedelta(seconds=4)), "seconds": 0.022, "folders": 3},
        "counts": {str(state): counts[state] for state in State},
        "throughput": {
            "today": {"files": len(stored), "bytes": sum(record.size for record in stored)},
            "last_hour": {"files": 52, "bytes": 5_400_000_000},
            "files_per_second": 0.0,
            "megabytes_per_second": 0.0,
            "latency_median_seconds": 0.107,
            "latency_p99_seconds": 0.162,
        },
        "disks": {
            "repository": {
                "folder": str(_REPOSITORY),
                "free_bytes": 31 * 10**12,
                "size_bytes": 120 * 10**12,
                "reason": "",
            }
        },
        "hooks": {
            "webhook": {
                "to": "https://chat.example.org/***",
                "failures": 0,
                "reason": "",
                "waiting": 0,
                "last_delivered": _time(_NOW - timedelta(minutes=25)),
            }
        },
        "last_ingested": _file(max(stored, key=lambda record: record.updated)),
        "last_rejected": _file(next(record for record in records if record.state is State.REJECTED)),
        "last_changed": None,
    }


def words_of(svg: str) -> Sequence[str]:
    """Get the words of a picture of a terminal, without how and where they are painted."""
    return re.findall(r"\S+", unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL))))


def page_of(png: bytes) -> str:
    """Tell which page a picture is of, by the digest that was written into it."""
    place = png.index(b"tEXt" + _WORD)
    (length,) = struct.unpack(">I", png[place - 4 : place])
    return png[place + 4 : place + 4 + length].partition(b"\0")[2].decode()


def _night() -> Iterator[FileRecord]:
    for number in range(_FIRST, _LAST + 1):
        came = datetime(2026, 11, 22, 4, 30, tzinfo=UTC) + (number - _FIRST) * timedelta(minutes=13)
        cameras = {camera for camera in ALL if camera[0] != "n" or number not in _WITHOUT_RAMPS}
        files = visit(number, () if number == _WAITING else cameras, cameras=frozenset(cameras))
        for file in files:
            if (number, file.arm, file.spectrograph) == (_ABSENT, "n", 1):
                continue
            yield _placed(file, came)


def _placed(file: FileRecord, came: datetime) -> FileRecord:
    """Give a file its place, its size and its time; one was torn, and one has no exposure yet."""
    number, arm = file.visit, file.arm
    slow = timedelta(seconds=0.06 + (number * 7 % 11) / 100)
    if file.kind is Kind.PFS_CONFIG:
        path, size = _DATA / "pfsConfig" / f"pfsConfig-0x68c3faf3f670a097-{number}.fits", 1_600_000
    elif arm == "n":
        path, size = _DATA / "ramps" / f"PFSB{number}{file.spectrograph}3.fits", 310_000_000
        came += timedelta(seconds=20)
    else:
        path = _DATA / "sps" / f"PFSA{number}{file.spectrograph}{'br'.index(arm or '') + 1}.fits"
        size = 18_000_000
    placed = replace(
        file, path=path, size=size, steady_since=came, first_seen=came, updated=came + slow, dataset_id="-"
    )
    if (number, arm, file.spectrograph) == (_TORN, "r", 1):
        error = (
            "still so after 0:05:00: the file ends inside the header of HDU 1 (the file is looked at again if"
            " it changes; to try it as it is, retry it)"
        )
        later = came + timedelta(minutes=5)
        return replace(
            placed, state=State.REJECTED, code="truncated", error=error, dataset_id=None, updated=later
        )
    if number == _WAITING:
        return replace(placed, state=State.WAITING, dataset_id=None, attempts=0)
    return placed


def _said() -> Iterator[tuple[str, Sequence[str], str]]:
    with tempfile.TemporaryDirectory() as folder, _at_work(Path(folder)):
        for name, words in COMMANDS.items():
            ran = CliRunner().invoke(main, words, color=True)
            assert ran.exit_code == 0, ran.output
            yield name, words, ran.output


@contextmanager
def _at_work(folder: Path) -> Iterator[None]:
    """Have inbox, status and lock of a daemon, at a time that stands still."""
    config_file = folder / "config.yaml"
    config_file.write_text(_CONFIGURATION)
    config = load_config(config_file, {})
    with closing(open_inbox(config.state.database.url)) as inbox:
        inbox.add(list(_night()))
    StatusFile(config.status.file).write(told_status())
    lock = InstanceLock(config.lock_file)
    lock.acquire()
    before = Path.cwd()
    os.chdir(folder)
    terminal = {"COLUMNS": str(_COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    try:
        with patch.object(SystemClock, "now", lambda _: _NOW), patch.dict(os.environ, terminal):
            os.environ.pop("NO_COLOR", None)
            yield
    finally:
        os.chdir(before)
        lock.release()


def _file(record: FileRecord) -> Mapping[str, object]:
    return {
        "path": str(record.path),
        "visit": record.visit,
        "at": _time(record.updated),
        "code": record.code,
        "error": record.error,
        "changed": None,
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _painted(title: str, said: str) -> str:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (a device)
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(said))
    return console.export_svg(title=title, unique_id="terminal")


def _photographed(text: str, width: int, height: int, *, dark: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "board.html"
        file.write_text(text, encoding="utf-8")
        png = Chromium(Path(folder)).picture(file, width=width, height=height, dark=dark)
    return _with_word(png, sha256(text.encode()).hexdigest())


def _with_word(png: bytes, word: str) -> bytes:
    """Write a word into a PNG, behind its header."""
    chunk = b"tEXt" + _WORD + b"\0" + word.encode()
    header = len(b"\x89PNG\r\n\x1a\n") + 25
    return (
        png[:header]
        + struct.pack(">I", len(chunk) - 4)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + png[header:]
    )


def _main() -> None:
    for name, svg in terminals().items():
        (IMAGES / name).write_text(svg, encoding="utf-8")
    for name, (width, height, dark) in PAGES.items():
        (IMAGES / name).write_bytes(_photographed(board_page(), width, height, dark=dark))


if __name__ == "__main__":
    _main()
