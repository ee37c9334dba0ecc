"""Pages that show what one types and what comes of it: run them, and write what came in its place.

``python tests/pages.py PAGE...`` brings pages up to date.
"""

import doctest
import io
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from uuid import UUID

from shell import type_line

__all__ = ["as_it_runs", "comparable"]

# As long as the name of a usual temporary folder, so that tables stay straight.
PLACE = "/data/some-night"

_BLOCK = re.compile(r"^```(?P<kind>console|pycon|yaml)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (?P<line>(?:.*\\\n)*.*\n)", re.MULTILINE)
_FILE_NAME = re.compile(r"# (\S+)\n")
# What `list` and `status` tell of the time of day; exposures have their times without the zone.
_NOW = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_SINCE = re.compile(r"(?<=after )\d+:\d\d:\d\d")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def as_it_runs(page: str, folder: Path) -> str:
    """Run the blocks of a page in their order, and write what came of them.

    Parameters
    ----------
    page : `str`
        Markdown. A ``console`` block has commands, each behind a ``$``, and what they print, with a last line
        ``(exit code 1)`` where that is how they end; the ``pycon`` blocks are one Python session; a ``yaml``
        block is a file, with its name as a comment in the first line.
    folder : `~pathlib.Path`
        An empty folder to do it all in. The page calls it `PLACE`.
    """
    session: dict[str, object] = {}

    def run(block: re.Match[str]) -> str:
        kind, text = block["kind"], block["text"]
        if kind == "yaml":
            _write(text, folder)
        elif kind == "console":
            text = "".join(_typed(text, folder))
        else:
            text = "".join(_said(text, session))
        return f"```{kind}\n{text}```"

    with chdir(folder):
        return _BLOCK.sub(run, page)


def comparable(page: str) -> str:
    """Leave out of a page what differs each time: times, ids that Butler draws, and how wide a table is.

    The ids of raws and pfsConfigs follow from their data IDs; a table is as wide as the name of the folder.
    """
    page = re.sub(r"(?<=\S) {2,}", "  ", _SINCE.sub("a while", _NOW.sub("now", page)))
    return _UUID.sub(lambda match: match[0] if UUID(match[0]).version == 5 else "drawn by Butler", page)


def _write(text: str, folder: Path) -> None:
    if named := _FILE_NAME.match(text):
        (folder / named[1]).write_text(text, encoding="utf-8")


def _typed(text: str, folder: Path) -> Iterator[str]:
    for command in _COMMAND.finditer(text):
        yield command[0]
        ran = type_line(command["line"].replace("\\\n", " "), folder)
        assert ran.exit_code in {0, 1}, f"{command[0]}{ran.output}"
        output = ran.output.replace(str(folder), PLACE)
        lines = "\n".join(line.rstrip() for line in output.splitlines()).strip("\n")
        yield f"{lines}\n" if lines else ""
        yield f"(exit code {ran.exit_code})\n" if ran.exit_code else ""


def _said(text: str, session: dict[str, object]) -> Iterator[str]:
    for example in doctest.DocTestParser().get_examples(text):
        first, *more = example.source.splitlines(keepends=True)
        yield f">>> {first}" + "".join(f"... {line}" for line in more)
        with redirect_stdout(io.StringIO()) as output:
            try:
                exec(compile(example.source, "<page>", "single"), session)  # noqa: S102 (our own pages)
            except Exception as error:  # noqa: BLE001 (whatever the page shows)
                output.write("Traceback (most recent call last):\n  ...\n")
                output.writelines(traceback.format_exception_only(error))
        yield output.getvalue()


def _main(paths: list[str]) -> None:
    for path in map(Path, paths):
        page = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            run = as_it_runs(page, Path(folder))
        if comparable(run) != comparable(page):
            path.write_text(run, encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
