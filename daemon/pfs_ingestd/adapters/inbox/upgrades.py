"""The steps from one version of the tables to the next, each as it was when that version was new."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, text

__all__ = ["UPGRADES", "Upgrade"]

Upgrade = Callable[[Connection], None]


def _with_history(connection: Connection) -> None:
    """Remember of each file what did not go smoothly."""
    row_id = "INTEGER NOT NULL" if connection.dialect.name == "sqlite" else "BIGSERIAL NOT NULL"
    file_id = "INTEGER" if connection.dialect.name == "sqlite" else "BIGINT"
    connection.execute(
        text(f"""
            CREATE TABLE history (
                id {row_id},
                file_id {file_id} NOT NULL,
                event TEXT NOT NULL,
                at BIGINT NOT NULL,
                last BIGINT NOT NULL,
                times INTEGER NOT NULL,
                attempt INTEGER NOT NULL,
                size BIGINT NOT NULL,
                code TEXT,
                reason TEXT,
                PRIMARY KEY (id),
                FOREIGN KEY(file_id) REFERENCES file (id)
            )
        """)
    )
    connection.execute(text("CREATE INDEX history_file ON history (file_id, id)"))


def _with_orders(connection: Connection) -> None:
    """Keep what operators want of the daemon."""
    number = "INTEGER NOT NULL" if connection.dialect.name == "sqlite" else "BIGSERIAL NOT NULL"
    connection.execute(
        text(f"""
            CREATE TABLE operator_order (
                number {number},
                what TEXT NOT NULL,
                "by" TEXT NOT NULL,
                at BIGINT NOT NULL,
                reason TEXT NOT NULL,
                paths TEXT NOT NULL,
                PRIMARY KEY (number)
            )
        """)
    )


def _with_workers(connection: Connection) -> None:
    """Let several processes share the inbox."""
    sqlite = connection.dialect.name == "sqlite"
    own_id, other_id = ("INTEGER", "INTEGER") if sqlite else ("BIGSERIAL", "BIGINT")
    for statement in (
        f"""
            CREATE TABLE worker (
                id {own_id} NOT NULL,
                name TEXT NOT NULL,
                host TEXT NOT NULL,
                pid BIGINT NOT NULL,
                watches BOOLEAN NOT NULL,
                started BIGINT NOT NULL,
                heartbeat BIGINT NOT NULL,
                lease_until BIGINT NOT NULL,
                files BIGINT NOT NULL,
                PRIMARY KEY (id)
            )
        """,
        f"""
            CREATE TABLE hold (
                visit BIGINT NOT NULL,
                worker_id {other_id} NOT NULL,
                PRIMARY KEY (visit),
                FOREIGN KEY(worker_id) REFERENCES worker (id) ON DELETE CASCADE
            )
        """,
        "CREATE INDEX hold_worker ON hold (worker_id)",
        "CREATE TABLE touched (visit BIGINT NOT NULL, PRIMARY KEY (visit))",
    ):
        connection.execute(text(statement))


UPGRADES: Sequence[Upgrade] = (_with_history, _with_orders, _with_workers)
"""Each brings the tables from one version to the next, the first from version 1 to 2."""
