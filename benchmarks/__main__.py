"""Run the benchmarks one after the other, and set what was measured beside the targets."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, show

QUICK = {
    "ingest": "--visits 5 --archive 10 --runs 1 --reference 12",
    "scan": "--files 2600 --seconds 3",
    "audit": "--files 2600",
    "latency": "--visits 8 --runs 1",
    "growth": "--sizes 1200 --visits 5 --runs 1",
    "memory": "--files 2400 --warm-up 1200",
    "copy": "--ramps 1 --size 0.1 --rounds 1 --visits 4",
    "scale": "--visits 40 --batch 100",
}
"""The benchmarks in their order (`latency` polls the archive that `scan` leaves behind), and the options with
which each comes to its end within minutes: to see that it does, not to measure."""


def _measured(name: str, work: Path, *, quick: bool) -> dict[str, Any] | None:
    """Run one benchmark in a process of its own; `None` if it came to no figures."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", "--work", str(work)]
    if quick:
        command += QUICK[name].split()
    tree = work.parent / "scan" / "site"
    if name == "latency" and tree.exists():
        command += ["--tree", str(tree)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    try:
        measured: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(f"{name} failed with exit code {done.returncode}", file=sys.stderr)
        return None
    return measured


def main() -> int:
    """Run those that were named, or all; return 1 if a target was missed, 2 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(QUICK)}; all by default.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of a table.")
    parser.add_argument("--work", type=Path, help="Folder to work in, and to leave what can be used again.")
    parser.add_argument("--quick", action="store_true", help="Only see that all run; no figure counts.")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - QUICK.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="pfs-ingestd-bench-") as folder:
        work = chosen.work or Path(folder)
        results = {name: _measured(name, work / name, quick=chosen.quick) for name in chosen.names or QUICK}
    measured = {name: result for name, result in results.items() if result is not None}
    figures = {name: [Figure(**each) for each in result["figures"]] for name, result in measured.items()}
    if chosen.json:
        print(json.dumps(measured))
    else:
        for name, result in measured.items():
            show(f"{name}: {result['title']}", result["machine"], figures[name])
    missed = [each for some in figures.values() for each in some if each.met is False]
    return 2 if len(measured) < len(results) else int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
