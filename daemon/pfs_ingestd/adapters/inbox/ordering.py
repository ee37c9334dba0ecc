"""The orders of operators in the inbox, numbered in the order in which they can be read."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, text

from pfs_ingestd.adapters.inbox.rows import microseconds, moment, storable
from pfs_ingestd.adapters.inbox.schema import ORDER
from pfs_ingestd.orders import KEPT_ORDERS, STANDING, Order, What
from pfs_ingestd.records import path_text, text_path

__all__ = ["give", "given"]

_STANDING = select(func.max(ORDER.c.number)).where(ORDER.c.what.in_(sorted(STANDING))).scalar_subquery()
_AFTER = select(ORDER).where(ORDER.c.number > bindparam("after")).order_by(ORDER.c.number)


def give(connection: Connection, order: Order) -> Order:
    """Write an order down, give it its number, and forget those of long ago."""
    if connection.dialect.name == "postgresql":
        # A number that is drawn before that of another, but committed after it, would not be read.
        connection.execute(text(f"LOCK TABLE {ORDER.name} IN EXCLUSIVE MODE"))
    values = {
        "what": order.what.value,
        "by": storable(order.by),
        "at": microseconds(order.at),
        "reason": storable(order.reason),
        "paths": json.dumps([path_text(path) for path in order.paths]),
    }
    number = connection.execute(insert(ORDER).values(values).returning(ORDER.c.number)).scalar_one()
    connection.execute(
        delete(ORDER).where(ORDER.c.number <= number - KEPT_ORDERS, ORDER.c.number != _STANDING)
    )
    return replace(order, number=number)


def given(connection: Connection, after: int) -> Sequence[Order]:
    """Get the orders that were given after one, oldest first."""
    return [_order(row) for row in connection.execute(_AFTER, {"after": after})]


def _order(row: Row[Any]) -> Order:
    return Order(
        number=row.number,
        what=What(row.what),
        by=row.by,
        at=moment(row.at),
        reason=row.reason,
        paths=tuple(text_path(path) for path in json.loads(row.paths)),
    )
