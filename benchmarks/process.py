"""What a running process holds, as the kernel tells."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Held", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds.

    Parameters
    ----------
    resident, peak : `int`
        Bytes of memory, now and at most since it began. (``getrusage`` has another peak: it begins with the
        memory of whoever started the process.)
    descriptors : `int`
        Open files.
    hidden : `int`
        Bytes of those of them that have no name any more.
    """

    resident: int
    peak: int
    descriptors: int
    hidden: int


def held(pid: int) -> Held:
    """Look at a process.

    Parameters
    ----------
    pid : `int`
        Its number.
    """
    process = Path("/proc") / str(pid)
    lines = (process / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    hidden, descriptors = 0, list((process / "fd").iterdir())
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()).endswith("(deleted)"):
                hidden += descriptor.stat().st_size
        except FileNotFoundError:
            continue  # closed meanwhile
    return Held(
        resident=_bytes(status["VmRSS"]),
        peak=_bytes(status["VmHWM"]),
        descriptors=len(descriptors),
        hidden=hidden,
    )


def _bytes(text: str) -> int:
    amount, _, unit = text.strip().partition(" ")
    if unit != "kB":
        raise ValueError(f"not a number of kB: {text}")
    return 1024 * int(amount)
