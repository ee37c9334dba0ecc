"""The manual page and the completion that come with the program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shipped import SHARE, manual

PAGE = SHARE / "pfs-ingestd.1"

TYPED = """
source "$1"
COMP_WORDS=(pfs-ingestd "${@:2}") COMP_CWORD=$(($# - 1))
_pfs_ingestd_completion pfs-ingestd
printf '%s\\n' "${COMPREPLY[@]}"
"""


def needing(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def run(*command, **environment):
    return subprocess.run(  # noqa: S603 (shells and formatters)
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_the_manual_page_is_that_of_the_commands():
    """The page says what the commands are; `python tests/shipped.py` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == manual()


@needing("groff")
def test_the_manual_page_can_be_formatted():
    """groff has nothing to warn of."""
    done = run("groff", "-man", "-ww", "-Tutf8", PAGE)
    assert (done.returncode, done.stderr) == (0, "")


@needing("mandoc")
def test_the_manual_page_is_well_made():
    """mandoc finds no fault with it."""
    done = run("mandoc", "-Tlint", PAGE)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["stat"], ["status"]),
        (["list", "--state", "re"], ["ready", "rejected"]),
    ],
)
def test_bash_completes(words, completed):
    """A Tab in bash gives commands, and the values of options."""
    found = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run("bash", "-c", TYPED, "bash", SHARE / "pfs-ingestd.bash", *words, PATH=found)
    assert (done.stderr, done.stdout.split()) == ("", completed)


@pytest.mark.parametrize(
    "shell", ["bash", pytest.param("zsh", marks=needing("zsh")), pytest.param("fish", marks=needing("fish"))]
)
def test_a_shell_can_read_its_completion(shell):
    """Each script has no errors that its shell sees without running it."""
    done = run(shell, "-n", SHARE / f"pfs-ingestd.{shell}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
