"""What each command says of what is wrong: in one shape, with code, cure and the documented exit code."""

import re
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import click
import pytest

from in_process import typed
from nights import record
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.cli import main
from pfs_ingestd.errors import Code, ExitCode
from pfs_ingestd.records import State

CONTEXT = click.Context(main)
COMMANDS = {name: main.get_command(CONTEXT, name) for name in main.list_commands(CONTEXT)}
CONFIGURED = [
    name
    for name, command in COMMANDS.items()
    if any(parameter.name == "config_file" for parameter in command.params)
]
NAMED = [
    name
    for name in CONFIGURED
    if any(each.name == "config_file" and each.required for each in COMMANDS[name].params)
]
REPORTS = {"doctor", "check-config"}
"""Those whose output is what is wrong: they tell it as their result."""

GOOD = "repository: repo\nwatch: {raw: data}\nstate: {database: 'sqlite:///inbox.db?timeout=0.05'}\n"

SHAPE = re.compile(r"error \[(?P<code>[a-z_]+)\]: \S.*\n(?:  \S.*\n)+")


@pytest.fixture
def place(tmp_path):
    """Have a configuration, a watched folder, and an inbox that knows one file, but no repository."""
    (tmp_path / "data").mkdir()
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    known = tmp_path / "data" / "PFSA00100012.fits"
    with closing(open_inbox(f"sqlite:///{tmp_path}/inbox.db")) as inbox:
        inbox.add([record(1000, "r1", path=known, state=State.REJECTED, code="bad_card", error="is bad")])
    return tmp_path


def arguments(command, value):
    """Give a value to each argument that a command must have."""
    given = []
    for parameter in command.params:
        if parameter.required and parameter.name != "config_file":
            given += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], "1"]
    return given


def fault(*words):
    """Type something wrong; give the code of the error and the exit code, once the shape was seen."""
    done = typed(*words)
    assert "Traceback" not in done.output, done.output
    shape = SHAPE.fullmatch(done.stderr)
    assert shape, done.stderr
    return Code(shape["code"]), done.exit_code


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_does_not_exist(name):
    """A typing error in an option is told by the name of the option, with the way to the help."""
    assert fault(name, "--no-such-option") == (Code.USAGE, ExitCode.USAGE)


@pytest.mark.parametrize("name", NAMED)
def test_a_configuration_that_is_not_named(name):
    """The option without which nothing goes is asked for."""
    assert fault(name, *arguments(COMMANDS[name], "1")) == (Code.USAGE, ExitCode.USAGE)


def test_a_command_that_does_not_exist():
    """A typing error in the command itself is told like any other."""
    assert fault("no-such-command") == (Code.USAGE, ExitCode.USAGE)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"repository: repo\nwatch: {rawr: data}\n",
        b"repository: [\n",
        b"just a sentence",
        b"\xff\xfe\x00",
        b"repository: repo\nwatch: {raw: data}\nstate: {database: 'mysql://u:geheim@h/d'}\n",
    ],
    ids=["missing", "wrong key", "no YAML", "no keys", "no text", "wrong database"],
)
@pytest.mark.parametrize("name", sorted(set(CONFIGURED) - REPORTS))
def test_a_configuration_that_cannot_be_used(place, name, content):
    """Whatever is wrong with the configuration is told by every command that reads it."""
    file = place / "config.yaml"
    if content is not None:
        file.write_bytes(content)
    words = [name, "-c", file, *arguments(COMMANDS[name], "1")]
    assert fault(*words) == (Code.CONFIGURATION, ExitCode.CONFIGURATION)


def test_a_configuration_below_a_file(place):
    """What the system says of a path is passed on with the path."""
    told = fault("status", "-c", place / "good.yaml" / "config.yaml")
    assert told == (Code.CONFIGURATION, ExitCode.CONFIGURATION)


NO_REPOSITORY = {
    "run": (Code.CONFIGURATION, ExitCode.CONFIGURATION),
    "audit": (Code.REPOSITORY_UNREACHABLE, ExitCode.TRY_AGAIN),
    "replace": (Code.CONFIGURATION, ExitCode.CONFIGURATION),
}


@pytest.mark.parametrize("name", NO_REPOSITORY)
def test_a_repository_that_is_not_there(place, name):
    """Those who need it say so: one that was never made is a wrong setting, to an audit it is away."""
    known = place / "data" / "PFSA00100012.fits"
    known.write_bytes(b"")
    words = [known] if name == "replace" else []
    assert fault(name, "-c", place / "good.yaml", *words) == NO_REPOSITORY[name]


@pytest.mark.parametrize("name", ["ingest-raws", "ingest-pfs-config"])
def test_a_repository_that_a_command_names_and_is_not_there(place, name):
    """A repository by argument is asked for by its path."""
    words = arguments(COMMANDS[name], str(place / "data"))[1:]
    assert fault(name, place / "none", *words) == (Code.CONFIGURATION, ExitCode.CONFIGURATION)


@pytest.mark.parametrize("name", ["list", "show", "board", "retry", "skip", "audit"])
def test_an_inbox_that_is_not_there(place, name):
    """Before the first start there is nothing to tell, and that is what is said."""
    (place / "inbox.db").unlink()
    words = arguments(COMMANDS[name], "1")
    assert fault(name, "-c", place / "good.yaml", *words) == (Code.VANISHED, ExitCode.SOME_REJECTED)


@pytest.mark.parametrize("name", ["list", "show", "board", "retry", "skip", "audit"])
def test_an_inbox_of_a_newer_program(place, name):
    """No command touches what it does not understand."""
    with closing(sqlite3.connect(place / "inbox.db")) as database, database:
        database.execute("UPDATE inbox_version SET version = 99")
    words = arguments(COMMANDS[name], "1")
    assert fault(name, "-c", place / "good.yaml", *words) == (Code.STATE_UNUSABLE, ExitCode.CONFIGURATION)


@contextmanager
def locked(inbox: Path):
    with closing(sqlite3.connect(inbox, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("name", ["retry", "skip"])
def test_an_inbox_that_is_locked(place, name):
    """While another process holds the lock it is asked for patience, and nothing is changed."""
    with locked(place / "inbox.db"):
        words = [place / "data" / "PFSA00100012.fits"]
        assert fault(name, "-c", place / "good.yaml", *words) == (Code.BUSY, ExitCode.TRY_AGAIN)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("show", Code.UNKNOWN),
        ("skip", Code.NOT_IN_INBOX),
        ("retry", Code.NOT_IN_INBOX),
        ("replace", Code.BAD_NAME),
    ],
)
def test_a_path_that_nobody_knows(place, name, code):
    """A wrong path is told with the path, and ends with 1."""
    assert fault(name, "-c", place / "good.yaml", place / "none.fits") == (code, ExitCode.SOME_REJECTED)


def test_what_nobody_foresaw_has_the_shape_too(place, monkeypatch):
    """A bug ends with its own exit code, below a traceback to be reported."""

    def breaks(*_, **__):
        raise ZeroDivisionError("by zero\x1b[31m")

    monkeypatch.setattr("pfs_ingestd.cli.operator.select_files", breaks)
    done = typed("list", "-c", place / "good.yaml")
    told = done.stderr.splitlines()
    assert (done.exit_code, told[0]) == (ExitCode.BUG, "Traceback (most recent call last):")
    assert told[-2:] == [
        "error [bug]: ZeroDivisionError: by zero\\x1b[31m",
        "  this is a bug: report it with the traceback above; nothing that was stored is lost",
    ]


def test_help_is_no_error():
    """Help, version and the list of commands are answers, on standard output."""
    for words in (["--help"], ["--version"], ["list", "--help"], ["status", "--schema"]):
        done = typed(*words)
        assert (done.exit_code, done.stderr, done.stdout != "") == (0, "", True)
