"""Text that every encoding, page and terminal can hold."""

__all__ = ["counted", "files_are", "one_line", "short_line"]


def one_line(text: str) -> str:
    """Write a text as one line, with what cannot be printed spelled out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def short_line(text: str, longest: int) -> str:
    """Write the beginning of a text as one line of so many characters at most."""
    line = one_line(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def counted(number: int, thing: str) -> str:
    """Write how many there are of a thing whose plural ends in s."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def files_are(number: int) -> str:
    """Begin a sentence that says what so many files are."""
    return f"{counted(number, 'file')} {'is' if number == 1 else 'are'}"
