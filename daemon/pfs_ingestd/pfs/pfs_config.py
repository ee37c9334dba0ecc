"""What a pfsConfig dataset is to those who read it: the fibre -> target map of one exposure."""

import importlib
import tempfile
from abc import ABCMeta
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.table import Table

__all__ = ["PfsConfig", "read_pfs_config"]

# What the data model calls a file of these contents.
_NAME = "pfsConfig-0x{design:016x}-{visit:06d}.fits"


@dataclass(frozen=True)
class PfsConfig(metaclass=ABCMeta):  # a metaclass with which other classes can be registered as this one
    """Which fibre looked at what in one exposure.

    Parameters
    ----------
    metadata : `~astropy.io.fits.Header`
        The primary header.
    tables : `dict` [`str`, `~astropy.table.Table`]
        The tables of the file by name; ``CONFIG`` has one row for each fibre.
    """

    metadata: fits.Header
    tables: Mapping[str, Table]

    @property
    def config(self) -> Table:
        """The table of fibres."""
        return self.tables["CONFIG"]


def read_pfs_config(path: str, data_id: Mapping[str, int | str]) -> Any:
    """Read a pfsConfig file.

    Parameters
    ----------
    path : `str`
        The file.
    data_id : `~collections.abc.Mapping`
        Its data ID, with the exposure and, for old files without it in their header, the design.

    Returns
    -------
    config : `PfsConfig` or ``pfs.datamodel.PfsConfig``
        The latter where the package ``pfs.datamodel`` is installed.

    Raises
    ------
    ValueError
        If ``pfs.datamodel`` has to be told the design, and neither header nor data ID has it.
    """
    datamodel = _datamodel()
    if datamodel is None:
        return _read(path)
    visit, design = data_id["exposure"], fits.getheader(path).get("W_PFDSGN", data_id.get("pfs_design_id"))
    if design is None:
        raise ValueError(f"{path}: neither its header nor its data ID {data_id} has the design")
    PfsConfig.register(datamodel.PfsConfig)
    # The class reads a file by the name that its contents give it.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _NAME.format(design=design, visit=visit)).symlink_to(Path(path).absolute())
        return datamodel.PfsConfig.read(design, visit, dirName=folder)


def _datamodel() -> Any:
    """Get the package ``pfs.datamodel``, if it is installed."""
    try:
        return importlib.import_module("pfs.datamodel")
    except ModuleNotFoundError as error:
        # Not if it is there, and lacks something.
        if error.name not in {"pfs", "pfs.datamodel"}:
            raise
        return None


def _read(path: str) -> PfsConfig:
    with fits.open(path, memmap=False) as hdus:
        tables = {
            hdu.name: Table.read(hdu, format="fits", mask_invalid=False)
            for hdu in hdus
            if isinstance(hdu, fits.BinTableHDU)
        }
        return PfsConfig(hdus[0].header.copy(), tables)
