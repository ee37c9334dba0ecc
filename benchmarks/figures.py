"""Figures: what was measured, beside its target, for people and for programs."""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "machine", "main", "percentile", "show"]

LIBRARIES = ("lsst-daf-butler", "SQLAlchemy", "astropy", "watchdog")
FSYNCS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something that was measured.

    Parameters
    ----------
    name : `str`
        What.
    value : `float`
        How much of it.
    unit : `str`
        Of what.
    at_most, at_least : `float` or `None`
        The target; neither for a figure that only explains others.
    note : `str`
        What one has to know to read it.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        """The target in words; empty if there is none."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def met(self) -> bool | None:
        """Whether the target is met; `None` if there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


def main(
    title: str,
    measure: Callable[[argparse.Namespace], Iterable[Figure]],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Measure, and print the figures as a table or, with ``--json``, as an object.

    Parameters
    ----------
    title : `str`
        What is measured, in a sentence.
    measure : `~collections.abc.Callable`
        Takes the options, gives the figures. Its option ``work`` is an empty folder, or one that the user
        named and that may hold what an earlier run left there to be used again.
    options : `~collections.abc.Callable`, optional
        Adds options to a parser.
    arguments : `~collections.abc.Sequence` [`str`], optional
        Instead of those of the process.

    Returns
    -------
    code : `int`
        1 if a target was missed, else 0.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of a table.")
    parser.add_argument("--work", type=Path, help="Folder to work in, and to leave what can be used again.")
    if options:
        options(parser)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pfs-ingestd-bench-") as folder:
        chosen.work = chosen.work.absolute() if chosen.work else Path(folder)
        chosen.work.mkdir(parents=True, exist_ok=True)
        of = machine(chosen.work)
        figures = list(measure(chosen))
    if chosen.json:
        json.dump(
            {"title": title, "machine": of, "figures": [asdict(figure) for figure in figures]}, sys.stdout
        )
        sys.stdout.write("\n")
    else:
        show(title, of, figures)
    return int(any(figure.met is False for figure in figures))


def show(title: str, of: dict[str, str], figures: Iterable[Figure]) -> None:
    """Print figures as a table, and the machine that they come from."""
    table = Table(title=title, title_justify="left")
    for heading in ("what", "measured", "unit", "target", "", "note"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for each in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[each.met]
        table.add_row(each.name, f"{each.value:,.4g}", each.unit, each.target, verdict, each.note)
    console = Console()
    console.print(table)
    console.print("; ".join(f"{key}: {value}" for key, value in of.items()), highlight=False)


def percentile(values: Sequence[float], percent: float) -> float:
    """Tell below which value so many percent of some values lie."""
    return float(np.percentile(values, percent))


def machine(work: Path) -> dict[str, str]:
    """Describe the machine: what it is, how busy it was, and how long its disk takes to write through."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "fsync": f"{_fsync_ms(work):.2f} ms",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _fsync_ms(work: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=work) as file:
        for _ in range(FSYNCS):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1e3 * (time.perf_counter() - begun))
    return percentile(times, 50)
