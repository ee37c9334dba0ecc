"""The real `butler` command on a repository of ours."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repository_files import (
    a_repository,
    an_exposure,
    ccd_file,
    config_dataset,
    config_file,
    opener_of,
    raw_dataset,
)


@pytest.fixture
def root(tmp_path):
    root = a_repository(tmp_path / "repo")
    datasets = [
        raw_dataset(ccd_file(tmp_path / "in" / f"{arm}.fits", 12, arm, 1), 12, arm, 1) for arm in "bm"
    ]
    datasets.append(config_dataset(config_file(tmp_path / "in" / "config.fits")))
    with opener_of(root) as opened:
        opened().ingest([an_exposure(12)], datasets)
    return root


def butler(*arguments):
    """Run the command; give the words of each line that it prints."""
    command = shutil.which("butler", path=Path(sys.executable).parent)
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)  # noqa: S603 (daf_butler's own command)
    return [line.split() for line in done.stdout.splitlines() if line.strip()]


def test_query_datasets_prints_the_documented_columns(root):
    """`query-datasets` prints type, run, id and all dimensions of a raw, with deterministic ids."""
    header, _, *datasets = butler("query-datasets", root, "raw", "--collections", "PFS/raw/all")

    assert header[:3] == ["type", "run", "id"]
    columns = {"instrument", "arm", "dither", "pfs_design_id", "spectrograph", "detector", "exposure"}
    assert set(header[3:]) == columns
    assert [dict(zip(header, row, strict=True)) | {"id": row[2][14]} for row in datasets] == [
        {
            "type": "raw",
            "run": "PFS/raw/all",
            "id": "5",
            "instrument": "PFS",
            "spectrograph": "1",
            "arm": arm,
            "exposure": "12",
            "detector": detector,
            "dither": "-122",
            "pfs_design_id": "8070450532247928833",
        }
        for arm, detector in (("b", "0"), ("m", "-1"))
    ]


def test_query_collections_shows_the_chain(root):
    """`query-collections` shows the runs, the calibrations and the chain over them."""
    _, _, *collections = butler("query-collections", root)

    assert collections == [
        ["PFS/calib", "CALIBRATION"],
        ["PFS/defaults", "CHAINED"],
        ["PFS/raw/all", "RUN"],
        ["PFS/raw/pfsConfig", "RUN"],
        ["PFS/calib", "CALIBRATION"],
        ["PFS/raw/all", "RUN"],
        ["PFS/raw/pfsConfig", "RUN"],
    ]


def test_query_dimension_records_shows_the_exposure(root):
    """`query-dimension-records` shows the exposure with its design and dither."""
    header, _, row = butler("query-dimension-records", root, "exposure")

    assert header[:4] == ["instrument", "id", "dither", "pfs_design_id"]
    assert row[:4] == ["PFS", "12", "-122", "8070450532247928833"]


def test_a_query_may_select_by_detector(root):
    """`--where` accepts the detector that the arm implies."""
    where = "instrument='PFS' AND detector=-1"

    _, _, *rows = butler("query-datasets", root, "raw", "--collections", "PFS/defaults", "--where", where)

    assert [row[5] for row in rows] == ["m"]
