"""The plain loop that the daemon is compared with: one Butler, one file at a time, public API only.

It is what one writes in an afternoon: no checks, no inbox, nothing that survives a crash. Its speed says what
the machine, Butler and the disk give to anybody, so that a ratio to it means the same on every machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset, Timespan

from pfs_ingestd.pfs.formatters import PfsRawFormatter

__all__ = ["ingest_one_by_one", "plain_loop"]

RUN = "PFS/raw/all"
ARMS = {1: "b", 2: "r", 3: "n", 4: "m"}


def plain_loop(repository: str, paths: Sequence[Path]) -> float:
    """Ingest raws by the plain loop, in a process of its own; tell the seconds that its loop took."""
    command = [sys.executable, "-m", "benchmarks.reference", repository]
    listed = "\n".join(map(str, paths))
    done = subprocess.run(command, input=listed, stdout=subprocess.PIPE, text=True, check=True)
    seconds: float = json.loads(done.stdout)
    return seconds


def ingest_one_by_one(butler: Butler, paths: Sequence[Path]) -> None:
    """Ingest raws, one after the other."""
    raw = butler.get_dataset_type("raw")
    registered: set[int] = set()
    for path in paths:
        header = fits.getheader(path)
        if header["W_VISIT"] not in registered:
            _register(butler, header)
            registered.add(header["W_VISIT"])
        _store(butler, raw, path, header)


def _register(butler: Butler, header: fits.Header) -> None:
    begin = Time(header["MJD-STR"], format="mjd", scale=header["TIMESYS"].lower())
    design, dither = header["W_PFDSGN"], _dither(header)
    registry = butler.registry
    registry.syncDimensionData("pfs_design_id", {"instrument": "PFS", "value": design})
    registry.syncDimensionData("dither", {"instrument": "PFS", "value": dither})
    exposure = {
        "instrument": "PFS",
        "id": header["W_VISIT"],
        "obs_id": str(header["W_VISIT"]),
        "pfs_design_id": design,
        "dither": dither,
        "timespan": Timespan(begin, begin + header["EXPTIME"] * u.s),
        "exposure_time": header["EXPTIME"],
        "observation_type": header["DATA-TYP"].lower(),
        "target_name": header["OBJECT"],
    }
    registry.syncDimensionData("exposure", exposure)


def _store(butler: Butler, raw: DatasetType, path: Path, header: fits.Header) -> None:
    data_id = butler.registry.expandDataId(
        instrument="PFS",
        exposure=header["W_VISIT"],
        arm=ARMS[header["W_ARM"]],
        spectrograph=header["W_SPMOD"],
    )
    ref = DatasetRef(raw, data_id, RUN)
    butler.ingest(FileDataset(str(path), ref, formatter=PfsRawFormatter), transfer="link")


def _dither(header: fits.Header) -> int:
    return int(header["W_ENFCAZ"] * 1e4 + 0.5)


def main() -> None:
    """Ingest the raws whose paths come on standard input, one a line; print the seconds that it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=__doc__)
    parser.add_argument("repository", help="An existing repository.")
    options = parser.parse_args()
    paths = [Path(line) for line in sys.stdin.read().splitlines()]
    with Butler.from_config(options.repository, writeable=True) as butler:
        begun = time.perf_counter()
        ingest_one_by_one(butler, paths)
        print(json.dumps(time.perf_counter() - begun))


if __name__ == "__main__":
    main()
