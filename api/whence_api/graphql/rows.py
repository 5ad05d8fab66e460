"""Long flat lists, written out column by column: the nodes and edges of a lineage.

graphql-core resolves and completes each value by itself, at some 10 µs: a second for 10,000 nodes, in which nobody
else is served. Where a list's selection is of nothing but plain attributes that are leaves, each column is read and
checked as a whole, and the rows are never objects of their own: `Written` goes into JSON as structs, whose names are
written once. Whatever is not so, or not as it should be, goes the ordinary way, which words the error.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, overload

import graphql
import msgspec
from graphql import ExecutionContext, GraphQLObjectType, get_nullable_type, is_leaf_type, is_non_null_type

T = TypeVar("T")

_INT = range(-(2**31), 2**31)


class Table(Sequence[T], Generic[T]):
    """A list of flat things that is kept by column; a thing is made of its row only where it is asked for.

    Args:
        length: how many rows there are.
        row: makes a thing of its values, by name.
        columns: the values of each attribute, from the first row to the last; looked at when first asked for.
    """

    def __init__(
        self, length: int, row: Callable[..., T], columns: Mapping[str, Callable[[], Sequence[object]]]
    ) -> None:
        self._length = length
        self._row = row
        self._columns = columns
        self._known: dict[str, Sequence[object]] = {}

    def column(self, name: str) -> Sequence[object]:
        """The values of an attribute."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._columns[name]()
        return known

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(self._length))]
        return self._row(**{name: self.column(name)[place] for name in self._columns})


class Written(Sequence[dict[str, Any]]):
    """The rows of an answer, by column; equal to a list of its rows as dicts."""

    def __init__(self, names: tuple[str, ...], columns: Sequence[Sequence[Any]]) -> None:
        self.names = names
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return list(self)[place]
        return {name: column[place] for name, column in zip(self.names, self.columns, strict=True)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in zip(*self.columns, strict=True):
            yield dict(zip(self.names, row, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | Written) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Written({len(self)} rows of {', '.join(self.names)})"


def encode(answer: object) -> bytes:
    """An answer as JSON."""
    return _ENCODER.encode(answer)


def _structs(value: object) -> object:
    if isinstance(value, Written):
        return list(map(_struct(value.names), *value.columns))
    raise TypeError(f"{type(value).__name__} is not for JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_structs)


@functools.lru_cache(maxsize=256)
def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    # A name of GraphQL may be a word of Python: inside, fields are numbered.
    inside = {f"f{place}": name for place, name in enumerate(names)}
    return msgspec.defstruct("Row", [(field, Any) for field in inside], rename=inside, gc=False)


# Answers the values as they stand in JSON; refuses what does not belong there.
_Check: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]


class _Column(NamedTuple):
    """A selected field: its name in the answer, and where its value is. `__typename` is of no attribute."""

    name: str
    attribute: str
    check: _Check


class _NotPlain(Exception):
    """Some value is not what its column should hold."""


class RowsContext(ExecutionContext):
    """Completes flat lists by column, and everything else as ever."""

    def complete_list_value(
        self, return_type: Any, field_nodes: Any, info: Any, path: Any, result: Any
    ) -> Any:
        """The items of a list, completed."""
        item = get_nullable_type(return_type.of_type)
        if type(result) in (list, Table) and len(result) and isinstance(item, GraphQLObjectType):
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
    """The columns of a selection; None where it is of more than plain leaves, or of nothing."""
    columns = []
    for name, field_name in chosen:
        field = item.fields.get(field_name)
        if field is None:
            columns.append(_Column(name, "", _texts))  # __typename: all else was validated
            continue
        told = field.extensions.get("strawberry-definition")
        leaf = get_nullable_type(field.type)
        if field.args or told is None or not told.is_basic_field or not is_leaf_type(leaf):
            return None
        check = _check_of(leaf)
        columns.append(
            _Column(name, told.python_name, check if is_non_null_type(field.type) else _or_null(check))
        )
    return tuple(columns) or None


def _written(items: Sequence[object], columns: Sequence[_Column], typename: str) -> Written:
    if isinstance(items, Table):
        value_of = items.column
    else:
        if len(set(map(type, items))) > 1:
            raise _NotPlain

        def value_of(name: str) -> Sequence[object]:
            return list(map(attrgetter(name), items))

    found = [
        column.check(value_of(column.attribute)) if column.attribute else [typename] * len(items)
        for column in columns
    ]
    return Written(tuple(column.name for column in columns), found)


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def _check_of(leaf: Any) -> _Check:
    match leaf:
        case graphql.GraphQLEnumType() if hasattr(leaf, "wrapped_cls"):
            return _members(leaf)
        case graphql.GraphQLScalarType(name="DateTime"):
            return functools.partial(_times, leaf.serialize)
        case graphql.GraphQLScalarType(name="String" | "ID"):
            return _texts
        case graphql.GraphQLScalarType(name="Int"):
            return _whole_numbers
        case graphql.GraphQLScalarType(name="Float"):
            return _numbers
        case graphql.GraphQLScalarType(name="Boolean"):
            return _truths
    return functools.partial(_serialized, leaf.serialize)


def _or_null(check: _Check) -> _Check:
    if check is _texts:
        return _texts_or_null

    def checked(values: Sequence[Any]) -> Sequence[Any]:
        if None not in values:
            return check(values)
        given = iter(check([value for value in values if value is not None]))
        return [None if value is None else next(given) for value in values]

    return checked


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    try:
        "".join(values)  # the cheapest way to see that each is a text
    except TypeError:
        raise _NotPlain from None
    return values


def _texts_or_null(values: Sequence[Any]) -> Sequence[Any]:
    _require(values, str, type(None))
    return values


def _truths(values: Sequence[Any]) -> Sequence[Any]:
    _require(values, bool)
    return values


def _whole_numbers(values: Sequence[Any]) -> Sequence[Any]:
    _require(values, int)
    if values and not (min(values) in _INT and max(values) in _INT):
        raise _NotPlain
    return values


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    _require(values, float)
    if not all(map(math.isfinite, values)):
        raise _NotPlain
    return values


def _require(values: Sequence[Any], *expected: type) -> None:
    if not set(map(type, values)).issubset(expected):
        raise _NotPlain


def _members(leaf: Any) -> _Check:
    # By identity: the hash of an Enum costs more than all else here.
    members = list(leaf.wrapped_cls)
    known = {id(member): leaf.serialize(member) for member in members}

    def checked(values: Sequence[Any]) -> Sequence[Any]:
        try:
            return list(map(known.__getitem__, map(id, values)))
        except KeyError:
            raise _NotPlain from None

    return checked


def _times(serialize: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    _require(values, datetime)
    if set(map(id, map(_ZONE, values))) <= _UTC:
        # What `isoformat` says, at a tenth of the price: msgspec calls the same zone Z.
        told = msgspec.json.encode(values).replace(b'Z"', b'+00:00"')
        return _TEXTS.decode(told)
    return _serialized(serialize, values)


_ZONE = attrgetter("tzinfo")
_UTC = frozenset({id(UTC)})
_TEXTS = msgspec.json.Decoder(list[str])


def _serialized(serialize: Callable[[Any], Any], values: Sequence[Any]) -> Sequence[Any]:
    try:
        # Each object once: many rows share theirs.
        told = {place: serialize(value) for place, value in zip(map(id, values), values, strict=True)}
    except Exception as error:  # a scalar may raise anything
        raise _NotPlain from error
    return list(map(told.__getitem__, map(id, values)))
