"""A Graph column by column: an edge is a few numbers here, and becomes an object when somebody looks at one.

Holds what was found, in order. Leaves to others: what belongs to an answer (`traversal`).
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, compress, repeat
from operator import itemgetter
from typing import Any, TypeVar

from whence_catalog.lineage import Edge, EdgeType, Node, NodeType
from whence_catalog.model import moment

T = TypeVar("T")
# What a NULL in a column of rows or numbers is.
NONE = -1
_BEGAN = moment(0)


def numbers(values: Iterable[int] = ()) -> "array[int]":
    """A column of numbers."""
    return array("q", values)


@dataclass(slots=True)
class Described:
    """Nodes of one type, one a row.

    `ids` are made when they are first asked for. `names`, `states`, `kinds` and `projects` repeat few texts.
    """

    type: NodeType
    rows: "array[int]" = field(default_factory=numbers)
    identities: Sequence[Any] = ()
    text: Callable[[Sequence[Any]], list[str]] = list
    names: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    at: "array[int]" = field(default_factory=numbers)
    kinds: list[str | None] | None = None
    projects: list[str] = field(default_factory=list)
    _ids: dict[int, str] | None = None

    @property
    def ids(self) -> Mapping[int, str]:
        """The id of the node in each row of the database."""
        if self._ids is None:
            self._ids = dict(zip(self.rows, self.text(self.identities), strict=True))
        return self._ids

    def nodes(self, depths: Mapping[int, int], hidden: "Hidden | None" = None) -> dict[int, Node]:
        """Those of them that have a depth, by row of the database."""
        kinds: Iterable[str | None] = repeat(None) if self.kinds is None else self.kinds
        made = zip(
            self.ids.values(),
            repeat(self.type),
            self.names,
            self.states,
            times(self.at),
            kinds,
            map(depths.get, self.rows),
            self.projects,
            repeat(None) if hidden is None else map(hidden.upstream.get, self.rows, repeat(0)),
            repeat(None) if hidden is None else map(hidden.downstream.get, self.rows, repeat(0)),
            strict=False,
        )
        # As the class itself would, without a call of Python's for each.
        nodes = dict(zip(self.rows, map(tuple.__new__, repeat(Node), made), strict=True))
        return nodes if len(depths) == len(nodes) else {row: nodes[row] for row in depths}


def times(micros: Iterable[int]) -> Iterator[datetime]:
    """The times that are so many microseconds after the epoch."""
    return map(_BEGAN.__add__, map(timedelta, repeat(0), repeat(0), micros))


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many neighbours of a node, by its row, are beyond where an answer was cut or filtered."""

    upstream: Mapping[int, int] = field(default_factory=dict)
    downstream: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Steps:
    """Edges of one type: from and to are rows of the types that `ENDS` says."""

    type: EdgeType
    source: "array[int]" = field(default_factory=numbers)
    target: "array[int]" = field(default_factory=numbers)
    role: list[str] = field(default_factory=list)
    ordinal: "array[int]" = field(default_factory=numbers)
    producer: "array[int]" = field(default_factory=numbers)
    ambiguous: bytearray = field(default_factory=bytearray)
    position: "array[int]" = field(default_factory=numbers)
    declared: bytearray = field(default_factory=bytearray)

    def add(
        self,
        source: Iterable[int],
        target: Iterable[int],
        role: Iterable[str],
        ordinal: Iterable[int],
        producer: Iterable[int],
        position: Iterable[int],
    ) -> None:
        """More of them."""
        self.source.extend(source)
        self.target.extend(target)
        self.role.extend(role)
        self.ordinal.extend(ordinal)
        self.producer.extend(producer)
        self.position.extend(position)

    def kept(self, which: Sequence[bool]) -> "Steps":
        """Those of which it is true."""
        return Steps(
            self.type,
            numbers(compress(self.source, which)),
            numbers(compress(self.target, which)),
            list(compress(self.role, which)),
            numbers(compress(self.ordinal, which)),
            numbers(compress(self.producer, which)),
            bytearray(compress(self.ambiguous, which)),
            numbers(compress(self.position, which)),
            bytearray(compress(self.declared, which)),
        )

    def keep(self, which: Sequence[bool]) -> None:
        """Let go of those of which it is not true."""
        rest = self.kept(which)
        texts: dict[str, str] = {}
        # A driver makes a text of its own for each row.
        self.role = [texts.setdefault(role, role) for role in rest.role]
        self.source, self.target, self.ordinal = rest.source, rest.target, rest.ordinal
        self.producer, self.position = rest.producer, rest.position
        self.ambiguous, self.declared = rest.ambiguous, rest.declared


ENDS: Mapping[EdgeType, tuple[NodeType, NodeType]] = {
    EdgeType.INPUT: (NodeType.VERSION, NodeType.RUN),
    EdgeType.OUTPUT: (NodeType.RUN, NodeType.VERSION),
    EdgeType.REUSED: (NodeType.RUN, NodeType.RUN),
    EdgeType.DERIVED: (NodeType.VERSION, NodeType.VERSION),
    EdgeType.DEPLOYED: (NodeType.VERSION, NodeType.DEPLOYMENT),
}


@dataclass(slots=True)
class Found:
    """What was found: `lineage.Columns`.

    `order` is of nodes as they are shown: a type, a depth, and the rows that have it. `hidden` is None where nobody
    asked for it.
    """

    described: Mapping[NodeType, Described]
    order: Sequence[tuple[NodeType, int, Sequence[int]]]
    steps: Sequence[Steps]
    hidden: Mapping[NodeType, Hidden] | None = None

    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        depths: dict[NodeType, dict[int, int]] = {}
        # Of a type all of whose nodes a filter left out, nothing was looked up.
        order = [(type, depth, rows) for type, depth, rows in self.order if rows]
        for type, depth, rows in order:
            depths.setdefault(type, {}).update(zip(rows, repeat(depth)))
        nothing = Hidden()
        made = {
            type: self.described[type].nodes(
                of_type, None if self.hidden is None else self.hidden.get(type, nothing)
            )
            for type, of_type in depths.items()
        }
        return tuple(chain.from_iterable(map(made[type].__getitem__, rows) for type, _, rows in order))

    def edges(self) -> tuple[Edge, ...]:
        """All edges."""
        return tuple(chain.from_iterable(map(self._edges, self.steps)))

    def _edges(self, steps: Steps) -> Iterator[Edge]:
        if not steps.source:
            return iter(())
        source, target = (self.described[type].ids for type in ENDS[steps.type])
        runs: dict[int, str | None] = {NONE: None}
        if NodeType.RUN in self.described:
            runs |= self.described[NodeType.RUN].ids
        made = zip(
            map(source.__getitem__, steps.source),
            map(target.__getitem__, steps.target),
            repeat(steps.type),
            steps.role,
            steps.ordinal,
            map(runs.__getitem__, steps.producer),
            map(bool, steps.ambiguous) if steps.ambiguous else repeat(False),
            steps.position,
            map(bool, steps.declared) if steps.declared else repeat(False),
            strict=False,
        )
        return map(tuple.__new__, repeat(Edge), made)


class Laid:
    """What is told of the nodes of `found`, without making them: a column of it is laid of all that was described,
    one type behind the other, and nodes, and the ends of edges, are places in it.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._described = [of for of in found.described.values() if of.rows]
        self._places: dict[NodeType, Mapping[int, int]] = {}
        length = 0
        for of in self._described:
            self._places[of.type] = dict(zip(of.rows, range(length, length + len(of.rows)), strict=True))
            length += len(of.rows)
        self._length = length
        self.counts = (
            sum(len(rows) for _, _, rows in found.order),
            sum(len(steps.source) for steps in found.steps),
        )
        self.of_nodes: Callable[[Sequence[Any]], Sequence[Any]] = _picked(
            chain.from_iterable(
                map(self._places[type].__getitem__, rows) for type, _, rows in found.order if rows
            )
        )

    def column(self, told: Callable[[Described], Iterable[T]]) -> list[T]:
        """What is told of each that was described, `told` of those of one type."""
        return list(chain.from_iterable(map(told, self._described)))

    def of_ends(self, end: int, column: Sequence[T]) -> Sequence[T]:
        """What a column tells of the node that each edge comes from (0) or goes to (1)."""
        return _picked(
            chain.from_iterable(
                map(self._places[ENDS[steps.type][end]].__getitem__, steps.target if end else steps.source)
                for steps in self._found.steps
                if steps.source
            )
        )(column)

    def of_producers(self, column: Sequence[T]) -> Sequence[T | None]:
        """What a column tells of the Run that each edge names beside its ends; None where it names none."""
        places = {NONE: self._length, **self._places.get(NodeType.RUN, {})}
        named = chain.from_iterable(map(places.__getitem__, steps.producer) for steps in self._found.steps)
        return _picked(named)([*column, None])

    def hidden(self, of: Described, side: str) -> Iterable[int]:
        """How many neighbours of each of these are hidden on that side, as `Hidden` has it; 0 where nobody asked."""
        beyond = (self._found.hidden or {}).get(of.type, Hidden())
        return map(getattr(beyond, side).get, of.rows, repeat(0))

    def by_group(self, place: int) -> list[Any]:
        """The type (0) or the depth (1) of each node."""
        return list(chain.from_iterable([group[place]] * len(group[2]) for group in self._found.order))

    def of_steps(self, told: Callable[[Steps], Iterable[T]]) -> list[T]:
        """What is told of each edge, `told` of those of one type."""
        return list(chain.from_iterable(map(told, self._found.steps)))


def _picked(places: Iterable[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Takes what is at these places of a column, all at once."""
    several = tuple(places)
    if len(several) < 2:  # of which itemgetter makes something else
        return lambda column: [column[place] for place in several]
    return itemgetter(*several)
