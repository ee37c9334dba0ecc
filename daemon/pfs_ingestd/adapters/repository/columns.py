"""The columns of dimension records: can we fill them, and what goes into them."""

import math
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import TypeAlias, get_args

import numpy as np
from lsst.daf.butler import Dimension, DimensionElement, DimensionRecord, Timespan
from lsst.daf.butler.column_spec import ColumnSpec

from pfs_ingestd.adapters.repository.failures import unsuitable
from pfs_ingestd.errors import Code, Rejected
from pfs_ingestd.exposure import Exposure

__all__ = ["EXPOSURE", "Kinds", "check_fillable", "of_value", "record_of"]

Kinds: TypeAlias = Mapping[str, frozenset[type]]
"""Column -> the types of what we have to say for it, `None`'s among them if we do not always have any."""

EXPOSURE: Kinds = {
    **{field.name: frozenset(get_args(field.type) or (field.type,)) for field in fields(Exposure)},
    "timespan": frozenset({Timespan}),
}
"""What an exposure has to say."""

_HIGHEST = 2**63
"""One more than the highest number that a database holds."""


def of_value(dimension: Dimension) -> Kinds:
    """Tell what we have to say for a dimension that is nothing but a number of an instrument."""
    return {"instrument": frozenset({str}), dimension.primary_key.name: frozenset({int})}


def check_fillable(element: DimensionElement, said: Kinds) -> None:
    """See that we can make records of an element.

    Raises
    ------
    Fatal
        If a column wants a value that we do not have, or one of another type.
    """
    for column in element.schema.all:
        name, kinds = f"{element.name}.{column.name}", said.get(column.name)
        if kinds is None:
            if not column.nullable:
                raise unsuitable(f"{name} needs a value, and a file does not say which")
        elif column.pytype not in kinds:
            ours = next(iter(kinds - {NoneType})).__name__
            raise unsuitable(f"{name} is of type {column.pytype.__name__}, and what a file says is {ours}")
        elif NoneType in kinds and not column.nullable:
            raise unsuitable(f"{name} needs a value, and not every file says which")


def record_of(element: DimensionElement, facts: Mapping[str, object]) -> DimensionRecord:
    """Make a record of as many columns as the element has.

    What is in it means the same to every database. SQLite would swallow much that PostgreSQL refuses.

    Raises
    ------
    Rejected
        If a column cannot hold its fact, and cannot do without.
    """
    values = {}
    for column in element.schema.all:
        if column.name in facts:
            fact = facts[column.name]
            values[column.name] = value = _fitting(fact, column)
            if value is None and fact is not None and not column.nullable and fact != "":
                raise _unfit(element, column, fact)
    return element.RecordClass(**values)


def _unfit(element: DimensionElement, column: ColumnSpec, fact: object) -> Rejected:
    return Rejected(
        Code.BAD_CARD,
        f"{element.name}.{column.name} cannot be {fact!r:.80}",
        hint="correct the card that it is made of; docs/exposure-record.md says which",
    )


def _fitting(fact: object, column: ColumnSpec) -> object:
    """Make a plain value of a fact; `None` if the column cannot hold it."""
    value = fact.item() if isinstance(fact, np.generic) else fact
    if column.pytype is int and isinstance(value, int):
        return int(value) if -_HIGHEST <= value < _HIGHEST else None
    if column.pytype is float and isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        if "\0" in value or not _is_unicode(value):
            return None
        if column.type == "string":
            # Databases hold only short texts to their length, and Butler wants none of those to be empty.
            is_short = column.to_sql_spec().isStringType()
            return value[: column.length] or (None if is_short else "")
    return value


def _is_unicode(text: str) -> bool:
    """Say whether a text has no halves of surrogate pairs, which have no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
