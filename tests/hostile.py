"""Names and texts that are meant to break something, or look like it."""

import os

from fuzz import BLOCK, CARD

__all__ = ["CARDS", "FOLDERS", "TEXTS", "UTF8_FOLDERS", "with_card"]

UTF8_FOLDERS = (
    b"two\nlines",
    b"carriage\rreturn\ttab",
    b"single'quote\"double",
    b"'; DROP TABLE file; --",
    b"back\\slash\\x41",
    b"\x1b[2J\x1b]0;owned\x07bell",
    b"\x01\x7f",
    b"%41%2F%00per cent",
    b"#fragment?query&password=x;y",
    b"<script>alert(1);<script>",
    b"{braces} {0} %s %(path)s $HOME `id` $(id)",
    b"  spaces  ",
    b"-rf",
    b"~",
    "\u00e9toile \u661f \U0001f52d \u202etxt.exe \u2028 \u0085".encode(),
    b"*?[a-z]",
    b"file:",
    b"n" * 255,
)
"""Names of folders that are UTF-8."""

FOLDERS = (*map(os.fsdecode, UTF8_FOLDERS), os.fsdecode(b"\xff\xfe not UTF-8 \x80"))
"""Names of folders."""

TEXTS = {
    "Robert'); DROP TABLE exposure;--": "Robert'); DROP TABLE exposure;--",
    'double " quote \\ backslash': 'double " quote \\ backslash',
    "<b>bold</b> & %s {0}": "<b>bold</b> & %s {0}",
    "x" * 64: "x" * 64,
    "new\nline": None,
    "\x1b[2Jescape\x07": None,
    "\xe9toile": None,
    "\x00nul": None,
}
"""Values of the card OBJECT, and the name of the target that follows; none where FITS does not allow it.

A header with zero bytes is not all there, whatever the card.
"""

CARDS = (
    b"HIERARCH ESO OBS NAME = 'it''s'",
    b"CONTINUE  'of nothing'",
    b"COMMENT \xff\xfe\x80",
    b"HISTORY line\nend",
    b"        no keyword",
    b"= = = = = = =",
    b"w_visit = 99",
)
"""Cards that a header may hold beside ours."""


def with_card(content: bytes, *images: bytes) -> bytes:
    """Put cards at the end of the primary header of a file, in the place of cards of the same keywords."""
    keywords = {image[:8] for image in images if image[8:10] == b"= "}
    cards = []
    place = 0
    while not content.startswith(b"END".ljust(CARD), place):
        if content[place : place + 8] not in keywords:
            cards.append(content[place : place + CARD])
        place += CARD
    header = b"".join((*cards, *(image.ljust(CARD) for image in images), b"END".ljust(CARD)))
    rest = content[-(-(place + CARD) // BLOCK) * BLOCK :]
    return header.ljust(-(-len(header) // BLOCK) * BLOCK) + rest
