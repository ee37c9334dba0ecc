"""One simulated file at a time, each written by the protocol of its kind."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pfs_ingestd.exposure import CardValue
from pfs_ingestd.simulate.blocks import Cards, compressed_image, image_hdu, primary_hdu
from pfs_ingestd.simulate.headers import config_cards, field_centre, raw_cards, with_overrides
from pfs_ingestd.simulate.plan import VisitKind, VisitPlan
from pfs_ingestd.simulate.tables import config_tables

__all__ = ["write_ccd", "write_pfs_config", "write_ramp"]

_CCD_SHAPE = (4416, 4300)  # columns, rows
_RAMP_SHAPE = (4096, 4096)
_SMALL_SHAPE = (32, 32)
_CCD_LEVEL, _CCD_NOISE = 3000, 5.0  # counts; the noise makes files as large as real ones
_RAMP_LEVEL, _RAMP_NOISE = 12000, 19.0
_REF_LEVEL = 11000
_SIGNAL = 40  # counts that a ramp gains from read to read
_BODY_WRITES = 3  # of a file written in place, after its primary header

_NO_CARDS: Mapping[str, CardValue | None] = {}


def write_ccd(
    path: Path,
    visit: VisitPlan,
    camera: str,
    *,
    cards: Mapping[str, CardValue | None] = _NO_CARDS,
    on_write: Callable[[Path], None] | None = None,
) -> None:
    """Write a CCD exposure in place, in several writes.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where; its folder must exist.
    visit : `VisitPlan`
        The visit.
    camera : `str`
        The camera, of arm b, r or m.
    cards : `~collections.abc.Mapping`, optional
        Values of primary cards to set, or `None` to leave a card out.
    on_write : `~collections.abc.Callable`, optional
        Called with the path after each write, while the file is still open.
    """
    shape = _SMALL_SHAPE if visit.small else _CCD_SHAPE
    primary = primary_hdu(with_overrides(raw_cards(visit, camera), cards), checksum=True)
    image = image_hdu(compressed_image(*shape, _CCD_LEVEL, _CCD_NOISE), "image", {})
    _write_in_place(path, primary, image, on_write)


def write_ramp(
    path: Path,
    visit: VisitPlan,
    camera: str,
    *,
    cards: Mapping[str, CardValue | None] = _NO_CARDS,
    on_write: Callable[[Path], None] | None = None,
) -> None:
    """Write a NIR ramp read by read under a dot-name, and give it its name once it is complete.

    Its header says with W_H4PTCH that it is not final until the last read is written.

    Parameters
    ----------
    path, visit, cards
        As in `write_ccd`.
    camera : `str`
        The camera, of arm n.
    on_write : `~collections.abc.Callable`, optional
        Called with the dot-name after each write, while the file is still open.
    """
    final = with_overrides(raw_cards(visit, camera), cards)
    draft = with_overrides(final, {"W_H4PTCH": False}) if "W_H4PTCH" in final else final
    growing = path.with_name(f".{path.name}")
    with growing.open("wb") as file:
        _write(file, growing, primary_hdu(draft, checksum=False), on_write)
        for piece in _ramp_images(visit):
            _write(file, growing, piece, on_write)
        file.seek(0)
        _write(file, growing, primary_hdu(final, checksum=False), on_write)
    growing.rename(path)


def write_pfs_config(
    path: Path,
    visit: VisitPlan,
    *,
    cards: Mapping[str, CardValue | None] = _NO_CARDS,
    on_write: Callable[[Path], None] | None = None,
) -> None:
    """Write a visit's pfsConfig in place, in several writes, and make it read-only.

    Parameters
    ----------
    path, visit, cards, on_write
        As in `write_ccd`.
    """
    primary = primary_hdu(with_overrides(config_cards(visit), cards), checksum=True)
    has_targets = visit.kind in {VisitKind.OBJECT, VisitKind.CONVERGENCE}
    tables = config_tables(*field_centre(visit), targets=has_targets)
    _write_in_place(path, primary, tables, on_write)
    path.chmod(0o444)


def _write_in_place(path: Path, primary: bytes, body: bytes, on_write: Callable[[Path], None] | None) -> None:
    size = -(-len(body) // _BODY_WRITES)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    with path.open("wb") as file:
        for piece in (primary, *pieces):
            _write(file, path, piece, on_write)


def _write(file: BinaryIO, path: Path, piece: bytes, on_write: Callable[[Path], None] | None) -> None:
    file.write(piece)
    file.flush()
    if on_write:
        on_write(path)


def _ramp_images(visit: VisitPlan) -> Iterator[bytes]:
    shape = _SMALL_SHAPE if visit.small else _RAMP_SHAPE
    image = compressed_image(*shape, _RAMP_LEVEL, _RAMP_NOISE)
    reference = compressed_image(*shape, _REF_LEVEL, _RAMP_NOISE)
    for prefix, reads in (("RESET_", range(1, 2)), ("", range(1, visit.reads + 1))):
        for read in reads:
            cards: Cards = {
                "INHERIT": (True, "the primary header holds here, too"),
                "W_H4READ": (read, "number of the read in the ramp"),
                "W_H4GRUP": (1, "number of the group in the ramp"),
            }
            signal = 0 if prefix else _SIGNAL * read
            yield image_hdu(image, f"{prefix}IMAGE_{read}", cards, counts=signal)
            yield image_hdu(reference, f"{prefix}REF_{read}", {})
