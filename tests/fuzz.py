"""Damage to the files of a night, seeded, and what must hold of whatever is made of them."""

import argparse
import gzip
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pfs_ingestd.adapters.headers import FitsHeaders
from pfs_ingestd.errors import Code, Incomplete, IngestdError, Rejected
from pfs_ingestd.exposure import RawHeader
from pfs_ingestd.pfs.names import parse
from pfs_ingestd.ports import Header
from pfs_ingestd.records import Sighting
from pfs_ingestd.simulate import VisitPlan, write_ccd, write_pfs_config, write_ramp

__all__ = ["BLOCK", "CARD", "Specimen", "Tally", "check", "fuzz", "joined", "mutant", "sight", "specimens"]

BLOCK = 2880
CARD = 80

CAMERAS = ("r1", "n1")
SLOWEST_SECONDS = 5.0
MOST_MEMORY_KB = 200_000

STRUCTURE = tuple(
    b"SIMPLE XTENSION BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 PCOUNT GCOUNT GROUPS EXTNAME ZIMAGE TFIELDS TFORM1"
    b" TFORM7 TTYPE7 TSCAL7".split()
)
MEANING = tuple(
    b"W_SITE W_VISIT W_ARM W_SPMOD W_PFDSGN W_ENFCAZ W_ENFCAX MJD-STR TIMESYS EXPTIME DARKTIME DATA-TYP"
    b" IMAGETYP OBJECT PROP-ID W_PFDSNM RA2000 DEC2000 ALTITUDE AZIMUTH W_H4IRPN W_H4NRED W_H4PTCH W_AITNEO"
    b" W_CAMMSK DAMD_VER".split()
)
VALUES = (
    b"T",
    b"F",
    b"0",
    b"1",
    b"-1",
    b"2",
    b"999",
    b"1000",
    b"-9998",
    b"-9999.0",
    b"2147483648",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-99999999999999999999",
    b"9" * 69,
    b"1e308",
    b"-1E400",
    b"1D5",
    b"nan",
    b"inf",
    b"0x10",
    b"1_000",
    b"1.5",
    b"(1.0, 2.0)",
    b"",
    b"/ no value",
    b"''",
    b"' '",
    b"'no available value'",
    b"'unclosed",
    b"'Robert''); DROP TABLE exposure;--'",
    b"'a\"b\\c'",
    b"'new\nline'",
    b"'\x1b[2J\x07'",
    b"'\xc3\xa9toile \xff'",
    b"'nul\x00nul'",
    b"'long string that goes on &'",
    b"'" + b"x" * 67 + b"'",
    b"'60263.25'",
    b"'1:2:3'",
    b"'99:99:99'",
    b"'BINTABLE'",
    b"'IMAGE   '",
    b"'IMAGE_1'",
    b"'999999999J'",
    b"'1PJ(5)'",
    b"'utc'",
    b"'UT1'",
    b"1 / comment \xe9\n",
)
SPECIAL_CARDS = (
    b"CONTINUE  'and on &' / more",
    b"CONTINUE  ''",
    b"CONTINUE",
    b"HIERARCH OBJECT = 'elsewhere'",
    b"HIERARCH ESO TEL = 5",
    b"HIERARCH W_AIT_SRC_Ne = T",
    b"HIERARCH =",
    b"HIERARCH",
    b"END",
    b"END     = 5",
    b"COMMENT END",
    b"HISTORY \xff\xfe",
    b"\xff" * CARD,
    b"\x00" * CARD,
    b"= = = =",
    b"        = 5",
    b"XTENSION= 'IMAGE   '",
    b"SIMPLE  =                    T",
)
JUNK = (
    b"<html>not found</html>",
    b"\x89PNG\r\n\x1a\n",
    gzip.compress(b"SIMPLE  =", mtime=0),
    b"SIMPLE",
    b"\x00",
)
ANSWERS = frozenset(
    {
        (Incomplete, Code.INCOMPLETE),
        (Rejected, Code.BAD_CARD),
        (Rejected, Code.BAD_TABLE),
        (Rejected, Code.MISSING_CARD),
        (Rejected, Code.NAME_MISMATCH),
        (Rejected, Code.NOT_FITS),
    }
)


@dataclass(frozen=True)
class Specimen:
    """A whole file: its name and its HDUs, each as its header and its data, with padding."""

    name: str
    hdus: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    @property
    def content(self) -> bytes:
        """All its bytes."""
        return joined(self.hdus)

    @property
    def ends(self) -> tuple[int, ...]:
        """Where its HDUs end."""
        total, ends = 0, []
        for header, data in self.hdus:
            total += len(header) + len(data)
            ends.append(total)
        return tuple(ends)


@dataclass
class Tally:
    """What came of many mutants."""

    answers: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0


def specimens(folder: Path) -> Sequence[Specimen]:
    """Make a CCD file, a ramp and a pfsConfig as the instrument writes them, only smaller."""
    visit = VisitPlan(visit=123456, cameras=CAMERAS, small=True)
    ccd, ramp = (folder / visit.raw(camera).name for camera in CAMERAS)
    config = folder / visit.config.name
    write_ccd(ccd, visit, "r1")
    write_ramp(ramp, visit, "n1")
    write_pfs_config(config, visit)
    return [_dissected(path) for path in (ccd, ramp, config)]


def mutant(specimen: Specimen, others: Sequence[Specimen], rng: random.Random) -> tuple[bytes, bool]:
    """Damage a file in one to four ways.

    Returns
    -------
    content : `bytes`
        What is left.
    torn : `bool`
        Whether all that happened is that the file was cut, or something was put behind it that is no HDU.
    """
    if rng.random() < 0.2:
        return _tear(specimen, rng), True
    hdus = [list(hdu) for hdu in specimen.hdus]
    for _ in range(rng.randint(1, 4)):
        rng.choice(_ON_HDUS)(hdus, others, rng)
    content = joined(hdus)
    if rng.random() < 0.2:
        content = rng.choice(_ON_BYTES)(content, rng)
    return content, False


def fuzz(folder: Path, *, seed: int, count: int) -> Tally:
    """Read many mutants; raise `AssertionError` with the number of the first that is not answered well."""
    originals = specimens(folder)
    headers = FitsHeaders()
    tally = Tally()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        rng = random.Random(f"{seed} {number}")  # noqa: S311 (damage is to be repeatable)
        specimen = rng.choice(originals)
        content, torn = mutant(specimen, originals, rng)
        path = folder / specimen.name
        path.unlink()
        path.write_bytes(content)
        begin = time.thread_time()
        [answer] = headers.read([sight(path)])
        seconds = time.thread_time() - begin
        try:
            tally.answers[check(answer, headers, torn=torn)] += 1
            assert seconds < SLOWEST_SECONDS, f"it took {seconds} s"
        except Exception as error:
            raise AssertionError(f"mutant {number} of seed {seed} ({specimen.name}): {error}") from error
        tally.slowest = max(tally.slowest, seconds)
        if isinstance(answer, IngestdError):
            tally.messages.setdefault(_pattern(answer.message), answer.message)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < MOST_MEMORY_KB, f"the memory grew by {grown} kB"
    return tally


def check(answer: Header | IngestdError, headers: FitsHeaders, *, torn: bool) -> str:
    """See that an answer is one that the daemon, the repository and a person can do something with."""
    if isinstance(answer, IngestdError):
        assert (type(answer), answer.code) in ANSWERS, repr(answer)
        assert str(answer).isprintable(), repr(answer.message)
        assert 10 < len(answer.message) < 400, repr(answer.message)
        return str(answer.code)
    assert not torn, f"a torn file was accepted: {answer}"
    if not isinstance(answer, RawHeader):
        return "accepted"
    for name, value in asdict(headers.exposure(answer)).items():
        match value:
            case str():
                assert "\0" not in value.encode().decode(), name
                assert len(value) <= 64, name
            case int():
                assert abs(value) < 2**63, name
            case float():
                assert abs(value) < float("inf"), name
    return "accepted"


def sight(path: Path) -> Sighting:
    """Look at a file as the watched folder does."""
    status = path.stat()
    name = parse(path.name)
    assert name is not None
    return Sighting(
        path=path,
        name=name,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def joined(hdus: Sequence[Sequence[bytes]]) -> bytes:
    """Put HDUs together."""
    return b"".join(part for hdu in hdus for part in hdu)


def main(arguments: Sequence[str]) -> None:
    """Read as many mutants as are asked for, and tell what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        tally = fuzz(Path(folder), seed=options.seed, count=options.count)
    for answer, number in tally.answers.most_common():
        sys.stdout.write(f"{number:10} {answer}\n")
    sys.stdout.write(f"slowest: {tally.slowest * 1000:.1f} ms\n")
    for message in sorted(tally.messages.values()):
        sys.stdout.write(f"  {message}\n")


def _dissected(path: Path) -> Specimen:
    content = path.read_bytes()
    hdus = []
    place = 0
    while place < len(content):
        end = place
        while not content.startswith(b"END".ljust(CARD), end):
            end += CARD
        data = place + -(-(end + CARD - place) // BLOCK) * BLOCK
        following = content.find(b"XTENSION=", data)
        while following >= 0 and following % BLOCK:
            following = content.find(b"XTENSION=", following + 1)
        after = following if following >= 0 else len(content)
        hdus.append((content[place:data], content[data:after]))
        place = after
    return Specimen(path.name, tuple(hdus))


def _tear(specimen: Specimen, rng: random.Random) -> bytes:
    content = specimen.content
    end = rng.choice(specimen.ends)
    match rng.randrange(4):
        case 0:
            return content[: rng.randrange(len(content))]
        case 1:
            return content[: end - rng.randint(1, BLOCK)]
        case 2:
            return content[: rng.choice((0, *specimen.ends[:-1]))]
        case _:
            return content + rng.choice(JUNK) * rng.choice((1, 100, BLOCK))


def _cards(header: bytes) -> list[bytes]:
    end = header.rindex(b"END".ljust(CARD)) if b"END".ljust(CARD) in header else len(header)
    return [header[place : place + CARD] for place in range(0, end - end % CARD, CARD)]


def _header(cards: Sequence[bytes], *, end: bool = True) -> bytes:
    text = b"".join(card.ljust(CARD)[:CARD] for card in (*cards, *([b"END"] if end else [])))
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def _card(rng: random.Random) -> bytes:
    keyword = rng.choice(STRUCTURE if rng.random() < 0.4 else MEANING)
    return keyword.ljust(8) + rng.choice((b"= ", b"= ", b"= ", b"=", b"  ")) + rng.choice(VALUES)


def _set_cards(hdus: list[list[bytes]], _: Sequence[Specimen], rng: random.Random) -> None:
    hdu = rng.choice(hdus)
    cards = _cards(hdu[0])
    for _ in range(rng.choice((1, 1, 1, 2, 10))):
        new = _card(rng)
        places = [place for place, card in enumerate(cards) if card[:8] == new[:8]]
        if places:
            cards[rng.choice(places)] = new
        else:
            cards.insert(rng.randint(0, len(cards)), new)
    hdu[0] = _header(cards)


def _shuffle_cards(hdus: list[list[bytes]], _: Sequence[Specimen], rng: random.Random) -> None:
    hdu = rng.choice(hdus)
    cards = _cards(hdu[0]) or [b""]
    place = rng.randrange(len(cards))
    match rng.randrange(5):
        case 0:
            del cards[place]
        case 1:
            cards.insert(rng.randint(0, len(cards)), cards[place])
        case 2:
            rng.shuffle(cards)
        case 3:
            cards[place:place] = [rng.choice(SPECIAL_CARDS)] * rng.choice((1, 2, 500))
        case _:
            cards.insert(rng.randint(0, len(cards)), rng.choice(SPECIAL_CARDS))
    hdu[0] = _header(cards, end=rng.random() > 0.1)


def _spoil_bytes(hdus: list[list[bytes]], _: Sequence[Specimen], rng: random.Random) -> None:
    hdu = rng.choice(hdus)
    part = rng.randrange(2)
    content = bytearray(hdu[part])
    for _ in range(rng.choice((1, 3, 30))):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    hdu[part] = bytes(content)


def _reorder_hdus(hdus: list[list[bytes]], others: Sequence[Specimen], rng: random.Random) -> None:
    place = rng.randrange(len(hdus))
    match rng.randrange(4):
        case 0 if len(hdus) > 1:
            del hdus[place]
        case 1:
            hdus.insert(place, list(hdus[place]))
        case 2:
            rng.shuffle(hdus)
        case _:
            hdus.insert(rng.randint(0, len(hdus)), list(rng.choice(rng.choice(others).hdus)))


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _wipe(content: bytes, rng: random.Random) -> bytes:
    begin, end = sorted((rng.randint(0, len(content)), rng.randint(0, len(content))))
    return content[:begin] + bytes(end - begin) + content[end:]


def _shift(content: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(content))
    if rng.random() < 0.5:
        return content[:place] + rng.randbytes(rng.choice((1, CARD, BLOCK))) + content[place:]
    return content[:place] + content[place + rng.choice((1, CARD, BLOCK)) :]


def _replace(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", rng.choice(JUNK), rng.randbytes(10_000), bytes(len(content)), content * 2))


def _pattern(message: str) -> str:
    return "".join("#" if letter.isdigit() else letter for letter in message)[:60]


_ON_HDUS: Sequence[Callable[[list[list[bytes]], Sequence[Specimen], random.Random], None]] = (
    _set_cards,
    _set_cards,
    _set_cards,
    _shuffle_cards,
    _spoil_bytes,
    _reorder_hdus,
)
_ON_BYTES: Sequence[Callable[[bytes, random.Random], bytes]] = (_cut, _wipe, _shift, _replace)


if __name__ == "__main__":
    main(sys.argv[1:])
