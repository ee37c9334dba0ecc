"""The real `butler` command, in a process and an environment of its own, on a repository of ours."""

import shutil
import subprocess
import sys
from pathlib import Path


def test_the_real_command_lists_what_was_ingested(full_folder):
    """`butler`, as it is installed, needs nothing of ours to show a repository of ours."""
    command = shutil.which("butler", path=Path(sys.executable).parent)
    arguments = ["query-datasets", "repository", "raw", "--collections", "PFS/raw/all"]
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)  # noqa: S603 (daf_butler's own command)

    assert done.stderr == ""
    assert done.stdout == full_folder.do(f"butler {' '.join(arguments)}")
