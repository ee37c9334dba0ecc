"""HTML in which every value is escaped by construction."""

from collections.abc import Iterable
from html import escape
from typing import LiteralString

from pfs_ingestd.text import one_line

__all__ = ["Html", "html", "joined"]


class Html(str):
    """Text that is markup, and not to be escaped again; only `html` and constants of this package make it."""

    __slots__ = ()


def html(template: LiteralString, *values: object) -> Html:
    """Fill values into the ``{}`` of a template of our own.

    What is not `Html` is escaped, for text and for attributes in quotation marks, and made printable: the
    name of a file, or an error, may hold anything.
    """
    return Html(
        template.format(
            *(value if isinstance(value, Html) else escape(one_line(str(value))) for value in values)
        )
    )


def joined(parts: Iterable[Html]) -> Html:
    """Put pieces of markup together."""
    return Html("".join(parts))
