"""How Butler reads our datasets; it imports this module by name, in any process, without the daemon."""

from collections.abc import Mapping
from typing import Any, ClassVar

from astropy.io import fits
from lsst.daf.butler import FormatterV2

from pfs_ingestd.pfs.pfs_config import PfsConfig
from pfs_ingestd.pfs.raw import Box, PfsRaw

__all__ = ["PfsConfigFormatter", "PfsRawFormatter"]


class PfsRawFormatter(FormatterV2):
    """Reads a raw, or a component of one.

    Notes
    -----
    The parameter ``bbox`` limits the components ``exposure``, ``image`` and ``ramp`` to a part of the image;
    ``readNum``, counted from 1, chooses the read that the component ``ramp`` is.
    """

    can_read_from_local_file = True
    default_extension: ClassVar[str | None] = ".fits"
    supported_extensions = frozenset({".fits", ".fits.gz", ".fits.fz"})

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
        """
        parameters = self.file_descriptor.parameters or {}
        if component is None:
            if parameters:
                raise ValueError(f"{sorted(parameters)} choose a part of a component, such as raw.image")
            return PfsRaw(path)
        with PfsRaw(path) as raw:
            return self._component(raw, component, parameters)

    def _component(self, raw: PfsRaw, component: str, parameters: Mapping[str, Any]) -> Any:
        bbox = Box(*parameters["bbox"]) if "bbox" in parameters else None
        match component:
            case "exposure":
                return raw.getExposure(bbox)
            case "image":
                return raw.getImage(bbox)
            case "ramp":
                return raw.getNirRead(parameters["readNum"], "IMAGE", bbox)
            case "numReads":
                return raw.getNumReads()
            case "metadata" | "detector" | "id" | "bbox" | "dimensions":
                return getattr(raw, component)
        raise ValueError(f"a raw has no component {component!r}")


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
                return PfsConfig.read(path)
            case "metadata":
                return fits.getheader(path)
        raise ValueError(f"a pfsConfig has no component {component!r}")
