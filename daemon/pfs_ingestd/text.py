"""Text that every encoding, page and terminal can hold."""

__all__ = ["one_line"]


def one_line(text: str) -> str:
    """Write a text as one line, with what cannot be printed spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
