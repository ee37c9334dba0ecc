"""Bounds what SQLAlchemy remembers of the statements that it has compiled."""

import sqlalchemy
from sqlalchemy.util import LRUCache

__all__ = ["install"]

REMEMBERED = 100
"""A few times as many as an ingest has, and any others that we make."""


def install() -> None:
    """Listen to the engines of this process, daf_butler's among them; again has no effect."""
    if not sqlalchemy.event.contains(sqlalchemy.engine.Engine, "engine_connect", _bound):
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "engine_connect", _bound)


def _bound(connection: sqlalchemy.Connection) -> None:
    # Eight statements of each ingest name a temporary table, and so are never seen again. SQLAlchemy would
    # keep 750 of them, in 20 MB.
    engine = connection.engine
    if "compiled_cache" not in engine.get_execution_options():
        engine.update_execution_options(compiled_cache=LRUCache(REMEMBERED))
