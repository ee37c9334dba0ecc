"""Lets tests close the Butlers that they open where the release of Butler cannot; import it for that."""

from lsst.daf.butler import Butler

__all__ = ["can_close"]

can_close = hasattr(Butler, "close")
"""Whether this release of Butler can."""


def _close(butler, *_error):
    butler.registry.resetConnectionPool()


if not can_close:
    Butler.close = _close
    Butler.__enter__ = lambda butler: butler
    Butler.__exit__ = _close
