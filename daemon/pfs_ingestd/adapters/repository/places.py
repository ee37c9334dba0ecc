"""Where on this machine a repository is written to."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import sqlalchemy
from lsst.daf.butler import ButlerConfig
from lsst.daf.butler.repo_relocation import BUTLER_ROOT_TAG
from lsst.resources import ResourcePath

from pfs_ingestd.adapters.repository.failures import classify
from pfs_ingestd.adapters.repository.objects import STORE_ERRORS
from pfs_ingestd.adapters.repository.session import configuration_of
from pfs_ingestd.errors import Code, Fatal

__all__ = ["Places", "places_of"]


class Places(NamedTuple):
    """The folders of a repository on this machine; `None` for what is elsewhere.

    Parameters
    ----------
    datastore : `~pathlib.Path` or `None`
        That of the artifacts.
    registry : `~pathlib.Path` or `None`
        That of the database, where it is an SQLite file.
    """

    datastore: Path | None
    registry: Path | None


def places_of(root: str) -> Places:
    """Tell where a repository is written to, from its configuration alone: nothing is opened.

    One that is not there yet is taken for one that will be made at ``root`` in the usual way.

    Raises
    ------
    Fatal
        If the configuration is elsewhere, and a package is missing that reads it there.
    Outage
        If the configuration is in a store that does not answer.
    """
    try:
        uri = configuration_of(root)
    except ImportError as error:
        raise Fatal(
            Code.CONFIGURATION,
            f"{root} cannot be read here: {error}",
            hint="install the package; lsst-resources says which it needs for which kind of URI",
        ) from error
    home = uri.dirname()
    usual = Path(home.ospath) if home.isLocal else None
    try:
        config = ButlerConfig(uri)
    except FileNotFoundError:
        return Places(datastore=usual, registry=usual)
    except STORE_ERRORS as error:
        raise classify(error) from error
    registry = sqlalchemy.make_url(_rooted(config["registry", "db"], home))
    file = registry.database if registry.get_backend_name() == "sqlite" else None
    return Places(
        datastore=_local(_rooted(config["datastore", "root"], home)),
        registry=Path(file).parent if file else None,
    )


def _rooted(text: str, home: ResourcePath) -> str:
    return text.replace(BUTLER_ROOT_TAG, home.ospath if home.isLocal else home.geturl())


def _local(uri: str) -> Path | None:
    """Get the folder that a URI means, without the packages that it would take to go elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme:
        return Path(unquote(parts.path)) if parts.scheme == "file" else None
    return Path(uri)
