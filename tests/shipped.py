"""The manual page and the completion that come with the program, made from its commands.

``python tests/shipped.py`` writes them anew.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from pfs_ingestd.cli import main

__all__ = ["SHARE", "manual"]

PROJECT = Path(__file__).parents[1]
SHARE = PROJECT / "daemon" / "pfs_ingestd" / "install" / "share"

_PAGE_OF = "2026-11-22"
_EXIT_CODE = re.compile(r"^\| (\d+) \| `\w+` \| (.*?) \|", re.MULTILINE)

_BEGIN = f"""\
.TH PFS-INGESTD 1 {_PAGE_OF}
.SH NAME
pfs-ingestd \\- ingest exposures of the Prime Focus Spectrograph
"""

_END = """\
.SH ENVIRONMENT
.TP
.B PFS_INGESTD__\\fISECTION\\fB__\\fIKEY
Goes before the key of that name in the configuration file.
The value is written as in the file.
.TP
.B METADATA_CORRECTIONS_PATH
Folders with corrections of headers, parted by colons.
.TP
.B PGPASSFILE
The file with the passwords for PostgreSQL.
.SH FILES
.TP
.I /etc/pfs-ingestd/config.yaml
The configuration of the service.
.TP
.I /etc/pfs-ingestd/environment
Its environment, one
.IR NAME = VALUE
a line.
.TP
.I /var/lib/pfs-ingestd
Where its inbox and its status are, if the configuration says so.
.SH SEE ALSO
.BR systemctl (1),
.BR journalctl (1),
.BR butler (1)
"""


def manual() -> str:
    """Write the manual page, in the macros of man(7)."""
    context = click.Context(main, info_name="pfs-ingestd", **main.context_settings)
    lines = [_BEGIN.rstrip(), ".SH SYNOPSIS"]
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    for number, command in enumerate(commands.values()):
        lines += [*([".br"] if number else []), *_synopsis(command, context)]
    lines += [".SH DESCRIPTION", *_text(main.help), ".SH OPTIONS", *_options(main, context), ".SH COMMANDS"]
    for command in commands.values():
        lines += [f".SS {_roff(command.name)}", *_text(command.help), *_options(command, context)]
    lines += [".SH EXIT STATUS", *_exit_codes(), _END.rstrip()]
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """Write the script that lets a shell ask the program how a word may end."""
    return get_completion_class(shell)(main, {}, "pfs-ingestd", "_PFS_INGESTD_COMPLETE").source()


def _synopsis(command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    yield f".B pfs\\-ingestd {_roff(command.name)}"
    yield from (_roff(piece) for piece in command.collect_usage_pieces(context))


def _options(command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=command.name, parent=parent)
    for parameter in command.get_params(context) if command is main else command.params:
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            option, help_text = record
            yield from (".TP", f".B {_roff(option)}", *_text(help_text))


def _exit_codes() -> Iterator[str]:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    for code, meaning in _EXIT_CODE.findall(page.partition("\n## Exit codes\n")[2].partition("\n## ")[0]):
        yield from (".TP", f".B {code}", *_text(meaning.replace("`", "")))


def _text(text: str | None) -> Iterator[str]:
    """Write paragraphs, each sentence on lines of its own."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text or "").strip())
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        for sentence in re.split(r"(?<=[.!?]) +", " ".join(paragraph.split())):
            yield from map(_roff, textwrap.wrap(sentence, 72, break_on_hyphens=False))


def _roff(text: str) -> str:
    """Write a line that begins with no request, in which a hyphen can be copied."""
    line = text.replace("\\", "\\e").replace("-", "\\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    (SHARE / "pfs-ingestd.1").write_text(manual(), encoding="utf-8")
    for _shell in ("bash", "fish", "zsh"):
        (SHARE / f"pfs-ingestd.{_shell}").write_text(completion(_shell).lstrip(), encoding="utf-8")
