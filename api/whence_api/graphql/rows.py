"""Long flat lists, written out column by column: the nodes and edges of a lineage.

graphql-core resolves and completes each value by itself, at some 10 µs: a second for 10,000 nodes, in which nobody
else is served. Where a list's selection is of nothing but plain attributes that are leaves, each column is read and
checked as a whole. Whatever is not so, or not as it should be, goes the ordinary way, which words the error.
"""

import functools
import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import graphql
from graphql import ExecutionContext, GraphQLObjectType, get_nullable_type, is_leaf_type, is_non_null_type

# Of which type a value is that stands in JSON as it is.
_AS_IT_IS = {"String": str, "ID": str, "Int": int, "Float": float, "Boolean": bool}
_INT = range(-(2**31), 2**31)
_NOTHING = type(None)


class _Column(NamedTuple):
    """A selected field: its name in the answer, and where its value is. `__typename` is of no attribute."""

    name: str
    attribute: str
    type: Any
    may_be_null: bool


class _NotPlain(Exception):
    """Some value is not what its column should hold."""


class RowsContext(ExecutionContext):
    """Completes flat lists by column, and everything else as ever."""

    def complete_list_value(
        self, return_type: Any, field_nodes: Any, info: Any, path: Any, result: Any
    ) -> Any:
        """The items of a list, completed."""
        item = get_nullable_type(return_type.of_type)
        if type(result) is list and result and isinstance(item, GraphQLObjectType):
            fields = self.collect_subfields(item, field_nodes)
            chosen = tuple((name, nodes[0].name.value) for name, nodes in fields.items())
            columns = _columns(item, chosen)
            if columns is not None:
                try:
                    return _written(result, columns, item.name)
                except (_NotPlain, AttributeError):
                    pass
        return super().complete_list_value(return_type, field_nodes, info, path, result)


# graphql-core 3.3 completes lists by other methods: there everything goes the ordinary way.
CONTEXT: type[ExecutionContext] = RowsContext if graphql.version_info < (3, 3) else ExecutionContext


@functools.lru_cache(maxsize=256)
def _columns(item: GraphQLObjectType, chosen: tuple[tuple[str, str], ...]) -> tuple[_Column, ...] | None:
    """The columns of a selection; None where it is of more than plain leaves."""
    columns = []
    for name, field_name in chosen:
        field = item.fields.get(field_name)
        if field is None:
            columns.append(_Column(name, "", None, False))  # __typename: all else was validated
            continue
        told = field.extensions.get("strawberry-definition")
        leaf = get_nullable_type(field.type)
        if field.args or told is None or not told.is_basic_field or not is_leaf_type(leaf):
            return None
        columns.append(_Column(name, told.python_name, leaf, not is_non_null_type(field.type)))
    return tuple(columns)


def _written(items: Sequence[object], columns: Sequence[_Column], typename: str) -> list[dict[str, Any]]:
    if len(set(map(type, items))) > 1:
        raise _NotPlain
    found = [[typename] * len(items) if column.type is None else _values(items, column) for column in columns]
    names = [column.name for column in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)]


def _values(items: Sequence[object], column: _Column) -> Sequence[Any]:
    values = list(map(attrgetter(column.attribute), items))
    types = set(map(type, values))
    if _NOTHING in types and not column.may_be_null:
        raise _NotPlain
    types.discard(_NOTHING)
    expected = _AS_IT_IS.get(column.type.name)
    if expected is None:
        return _serialized(values, column.type.serialize)
    if not types <= {expected}:
        raise _NotPlain
    if expected is int and not all(value is None or value in _INT for value in values):
        raise _NotPlain
    if expected is float and not all(value is None or math.isfinite(value) for value in values):
        raise _NotPlain
    return values


def _serialized(values: Sequence[Any], serialize: Callable[[Any], Any]) -> Sequence[Any]:
    try:
        # Each value once: many rows say the same.
        known = {value: serialize(value) for value in set(values) if value is not None}
    except Exception as error:  # a scalar may raise anything
        raise _NotPlain from error
    return [known.get(value) for value in values]
