"""How the commands are loaded."""

import gc
import subprocess
import sys

from pfs_ingestd.cli import main

OPERATORS = ("status", "list", "retry", "skip", "pause", "resume", "drain", "rescan", "check-config")


def test_what_a_command_imports_is_out_of_the_collectors_sight():
    """The collector of garbage goes on, but not through all that was imported, which never becomes any."""
    main.get_command(None, "simulate")

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_commands_for_operators_do_not_wait_for_butler():
    """The commands that look at a daemon and its inbox do not take the time that importing Butler takes."""
    load = f"for name in {OPERATORS}: main.get_command(None, name)"
    script = f"import sys\nfrom pfs_ingestd.cli import main\n{load}\nprint('lsst.daf.butler' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 (our own command)

    assert done.stdout == "False\n"
