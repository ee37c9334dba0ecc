"""One daemon at a time on an inbox in PostgreSQL, wherever its other clients run."""

from sqlalchemy.engine.interfaces import DBAPIConnection

from pfs_ingestd.errors import Code, Fatal, Outage

__all__ = ["claim"]

# The server finds out within a minute that a host has died, and gives up the lock that was held from there.
_INTRODUCE = """
    SELECT set_config('application_name', %s, false),
           set_config('tcp_keepalives_idle', '30', false),
           set_config('tcp_keepalives_interval', '10', false),
           set_config('tcp_keepalives_count', '3', false)
"""

# An inbox is a schema: a database may hold several. The number tells this lock from those of others.
_TRY = """
    SELECT current_setting('application_name'),
           pg_try_advisory_lock(72460, coalesce(current_schema()::regnamespace::oid, 0)::int)
"""
_HOLDERS = """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND database = datid
        AND classid = 72460 AND objid = coalesce(current_schema()::regnamespace::oid, 0) AND objsubid = 2
"""


def claim(connection: DBAPIConnection, owner: str, inbox: str) -> None:
    """Claim the inbox for as long as the connection lasts; close the connection if another has the claim.

    Parameters
    ----------
    connection : `~sqlalchemy.engine.interfaces.DBAPIConnection`
        To a PostgreSQL server, just made.
    owner : `str`
        Who claims it, for the one who is refused.
    inbox : `str`
        How to call it.

    Raises
    ------
    Outage
        If the claim is still held by a connection that the owner has lost.
    Fatal
        If it is held by another owner.
    """
    cursor = connection.cursor()
    try:
        cursor.execute(_INTRODUCE, (owner,))
        cursor.execute(_TRY)
        # The server may have cut the name short.
        name, claimed = cursor.fetchone() or ("", False)
        if claimed:
            connection.commit()
            return
        cursor.execute(_HOLDERS)
        holders = [holder for (holder,) in cursor.fetchall()]
    finally:
        cursor.close()
    connection.close()
    if name in holders:
        raise Outage(
            Code.STATE_UNREACHABLE,
            f"the server of the inbox {inbox} has not noticed yet that a connection of ours was lost",
            hint="it does within a minute",
        )
    raise Fatal(
        Code.ALREADY_RUNNING,
        f"{holders[0] if holders else 'another daemon'} is at work already on the inbox {inbox}",
        hint="stop it first, or give this daemon its own state.database",
    )
