"""What a pfsConfig dataset is to those who read it: the fibre -> target map of one exposure."""

from dataclasses import dataclass
from typing import Self

from astropy.io import fits
from astropy.table import Table

__all__ = ["PfsConfig"]


@dataclass(frozen=True)
class PfsConfig:
    """Which fibre looked at what in one exposure.

    Parameters
    ----------
    metadata : `~astropy.io.fits.Header`
        The primary header.
    tables : `dict` [`str`, `~astropy.table.Table`]
        The tables of the file by name; ``CONFIG`` has one row for each fibre.
    """

    metadata: fits.Header
    tables: dict[str, Table]

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a file.

        Parameters
        ----------
        path : `str`
            The file.
        """
        with fits.open(path, memmap=False) as hdus:
            tables = {hdu.name: Table(hdu.data) for hdu in hdus if isinstance(hdu, fits.BinTableHDU)}
            return cls(hdus[0].header.copy(), tables)

    @property
    def config(self) -> Table:
        """The table of fibres."""
        return self.tables["CONFIG"]
