"""The night board in a terminal, and the page that the daemon keeps."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from nights import ALL, record, visit
from pfs_ingestd.adapters.inbox import open_inbox
from pfs_ingestd.board.visits import Mark
from pfs_ingestd.cli import main
from pfs_ingestd.records import State


@pytest.fixture
def config(tmp_path):
    """Have a configuration, and an inbox with a night of which one file was rejected."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "repository: repo\nwatch: {raw: data, pfsConfig: data}\nstate: {database: inbox.db}\n",
        encoding="utf-8",
    )
    records = [
        *visit(1001),
        *visit(1002, ALL - {"r1"}),
        record(1002, "r1", state=State.REJECTED, code="truncated", error="cut\x1b[2J short"),
    ]
    with closing(open_inbox(f"sqlite:///{tmp_path}/inbox.db")) as inbox:
        inbox.add(records)
    return file


def board(config, *arguments):
    ran = CliRunner().invoke(main, ["board", "-c", str(config), *arguments])
    return ran.exit_code, ran.output


def test_a_terminal_shows_the_board(config):
    """The sentence comes first, then a line a visit with a letter a camera, then what needs a person."""
    code, output = board(config)
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    arms = " ".join(f"{arm}{spectrograph}" for spectrograph in (1, 2, 3, 4) for arm in "brn")
    assert (code, lines) == (
        0,
        [
            "The night of 2026-11-22 is not complete: something is wrong with 1 of 2 visits (1 rejected).",
            f"visit cfg {arms} arms state",
            f"1001 {' '.join('I' * 13)} brn complete",
            f"1002 I I R {' '.join('I' * 10)} brn incomplete",
            "I ingested R rejected",
            "R 1002 r1: [truncated] cut\\x1b[2J short /data/2026-11-22/r1-1002.fits",
        ],
    )


def test_the_board_of_another_night_is_to_be_had(config):
    """A night is named by its date, in either way of writing it."""
    assert board(config, "--night", "20261120") == board(config, "--night", "2026-11-20")
    assert "The night of 2026-11-20 has no exposure so far." in board(config, "--night", "2026-11-20")[1]


def test_scripts_get_the_board_as_json(config):
    """With --json there is nothing but one value, which says whether the night is complete."""
    code, output = board(config, "--json")
    told = json.loads(output)
    assert (code, told["complete"], [each["visit"] for each in told["visits"]]) == (0, False, [1001, 1002])
    assert told["visits"][1]["cells"]["r1"] == Mark.REJECTED


def test_a_board_for_machines_is_not_watched(config):
    """What does not go together is a mistake in typing."""
    code, output = board(config, "--watch", "--json")
    assert (code, "do not go together" in output) == (2, True)


def test_without_an_inbox_there_is_no_board(tmp_path):
    """Before the first start the command says so, and what to do."""
    file = tmp_path / "config.yaml"
    file.write_text("repository: repo\nwatch: {raw: data}\nstate: {database: inbox.db}\n", encoding="utf-8")
    code, output = board(file)
    assert (code, "no daemon has run here yet" in output) == (1, True)


def test_a_board_is_watched_until_somebody_interrupts(config):
    """With --watch it stays, and Ctrl-C ends it without complaint."""
    command = [sys.executable, "-m", "pfs_ingestd", "board", "-c", str(config), "--watch"]
    with subprocess.Popen(  # noqa: S603 (our own program)
        command, env=os.environ | {"TERM": "xterm", "FORCE_COLOR": "1"}, stdout=subprocess.PIPE, text=True
    ) as watching:
        shown = ""
        while "incomplete" not in shown:
            line = watching.stdout.readline()
            assert line, shown
            shown += line
        watching.send_signal(signal.SIGINT)
        assert (watching.wait(200), watching.stdout.read().count("Traceback")) == (0, 0)
