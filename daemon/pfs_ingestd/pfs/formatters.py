"""How Butler reads our datasets; it imports this module by name, in any process, without the daemon."""

from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from astropy.io import fits
from lsst.daf.butler import FormatterV2

from pfs_ingestd.pfs.boxes import Box
from pfs_ingestd.pfs.pfs_config import read_pfs_config
from pfs_ingestd.pfs.raw import PfsRaw

__all__ = ["PfsConfigFormatter", "PfsRawFormatter"]


class PfsRawFormatter(FormatterV2):
    """Reads a raw, or a component of one.

    Notes
    -----
    The parameter ``bbox`` limits the components ``image``, ``exposure`` and ``ramp`` to a part of the image.
    ``readNum``, counted from 1, chooses the read that the component ``ramp`` is, less its reference read.
    """

    can_read_from_local_file = True
    default_extension: ClassVar[str | None] = ".fits"
    supported_extensions = frozenset({".fits", ".fits.fz"})

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:  # noqa: ARG002 (Butler has compared the size already)
        """Open the raw, or read a component of it.

        Parameters
        ----------
        path : `str`
            The file.
        component : `str`, optional
            Name of the component.
        expected_size : `int`, optional
            Size that is recorded, bytes.

        Raises
        ------
        ValueError
            If a parameter is missing, or would have no effect.
        """
        parameters = self.file_descriptor.parameters or {}
        _check(component, set(parameters))
        if component is None:
            return PfsRaw(path)
        bbox = Box(*parameters["bbox"]) if "bbox" in parameters else None
        with PfsRaw(path) as raw:
            match component:
                case "image":
                    return raw.getImage(bbox)
                case "exposure":
                    return raw.getExposure(bbox)
                case "ramp":
                    return raw.getCorrectedNirRead(parameters["readNum"], bbox)
                case "numReads":
                    return raw.getNumReads()
            return getattr(raw, component)


class PfsConfigFormatter(FormatterV2):
    """Reads a pfsConfig, or its header alone."""

    can_read_from_local_file = True
    default_extension: ClassVar[str | None] = ".fits"
    supported_extensions = frozenset({".fits", ".fits.gz"})

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:  # noqa: ARG002 (Butler has compared the size already)
        """Read the pfsConfig.

        Parameters
        ----------
        path : `str`
            The file.
        component : `str`, optional
            Name of the component.
        expected_size : `int`, optional
            Size that is recorded, bytes.
        """
        match component:
            case None:
                return read_pfs_config(path, dict(self.data_id.mapping))
            case "metadata":
                return fits.getheader(path)
        raise ValueError(f"a pfsConfig has no component {component!r}")


def _check(component: str | None, parameters: AbstractSet[str]) -> None:
    """See that the parameters given are those that a component of a raw takes."""
    taken = {"image": {"bbox"}, "exposure": {"bbox"}, "ramp": {"bbox", "readNum"}}.get(component or "", set())
    if useless := parameters - taken:
        what = "the whole raw" if component is None else f"raw.{component}"
        raise ValueError(
            f"{', '.join(sorted(useless))}: no parameter of {what}; raw.image and raw.exposure take bbox,"
            " raw.ramp takes bbox and readNum"
        )
    if component == "ramp" and "readNum" not in parameters:
        raise ValueError("raw.ramp needs the parameter readNum: the number of the read, counted from 1")
