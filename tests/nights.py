"""Nights as the inbox knows them: records of visits, without files."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pfs_ingestd.records import FileRecord, Kind, State

__all__ = ["ALL", "NIGHT", "NOW", "record", "visit"]

NIGHT = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ALL = frozenset(f"{arm}{spectrograph}" for arm in "brn" for spectrograph in (1, 2, 3, 4))


def record(number: int, camera: str | None, **changes: object) -> FileRecord:
    """Make the record of an ingested raw of a camera, or of a pfsConfig, that came five minutes ago."""
    came = NOW - timedelta(minutes=5)
    plain = FileRecord(
        path=Path(f"/data/2026-11-22/{camera or 'pfsConfig'}-{number}.fits"),
        kind=Kind.RAW if camera else Kind.PFS_CONFIG,
        visit=number,
        arm=camera[0] if camera else None,
        spectrograph=int(camera[1]) if camera else None,
        size=1000,
        mtime_ns=0,
        inode=number,
        night=NIGHT,
        steady_since=came,
        first_seen=came,
        updated=came + timedelta(seconds=0.5),
        live=True,
        state=State.INGESTED,
        cameras=None if camera else ALL,
    )
    return replace(plain, **changes)


def visit(number: int, came: Iterable[str] = ALL, **config: object) -> list[FileRecord]:
    """Make the records of a visit: its raws, and a pfsConfig that expects all cameras."""
    return [*(record(number, camera) for camera in sorted(came)), record(number, None, **config)]
