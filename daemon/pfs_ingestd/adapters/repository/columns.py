"""The columns of dimension records: can we fill them, and what goes into them."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import TypeAlias, get_args

from lsst.daf.butler import Dimension, DimensionElement, DimensionRecord, Timespan
from lsst.daf.butler.column_spec import ColumnSpec

from pfs_ingestd.adapters.repository.failures import unsuitable
from pfs_ingestd.exposure import Exposure

__all__ = ["EXPOSURE", "Kinds", "check_fillable", "of_value", "record_of"]

Kinds: TypeAlias = Mapping[str, frozenset[type]]
"""Column -> the types of what we have to say for it, `None`'s among them if we do not always have any."""

EXPOSURE: Kinds = {
    **{field.name: frozenset(get_args(field.type) or (field.type,)) for field in fields(Exposure)},
    "timespan": frozenset({Timespan}),
}
"""What an exposure has to say."""


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
    """Make a record of as many columns as the element has."""
    columns = [column for column in element.schema.all if column.name in facts]
    return element.RecordClass(**{column.name: _fitting(facts[column.name], column) for column in columns})


def _fitting(fact: object, column: ColumnSpec) -> object:
    # Only short texts are held to their length, and none of those may be empty.
    if isinstance(fact, str) and column.type == "string" and column.to_sql_spec().isStringType():
        return fact[: column.length] or None
    return fact
