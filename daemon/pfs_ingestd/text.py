"""Text that every encoding, page and terminal can hold."""

__all__ = ["one_line", "short_line"]


def one_line(text: str) -> str:
    """Write a text as one line, with what cannot be printed spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def short_line(text: str, longest: int) -> str:
    """Write the beginning of a text as one line of so many characters at most."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
