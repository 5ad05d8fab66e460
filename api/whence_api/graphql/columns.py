"""The nodes and edges of a Graph as the columns that GraphQL shows, each made only if it is asked for.

Decides what each attribute of `LineageNode` and `LineageEdge` says of a Graph. An attribute of many nodes at once
costs a twentieth of the same attribute of each.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from operator import truediv
from typing import Any, TypeAlias

import msgspec
import strawberry

from whence_api.graphql import relay
from whence_catalog import lineage
from whence_catalog.columns import Described, Laid, times

Columns: TypeAlias = Mapping[str, Callable[[], Sequence[object]]]


class Names:
    """Global ids of what a Graph names, those of its nodes that are masked as they are."""

    def __init__(self, nodes: Sequence[lineage.Node]) -> None:
        self._nodes = nodes
        self._known: dict[str | None, strawberry.ID | None] = {}

    def of(self, names: Sequence[str]) -> list[strawberry.ID]:
        """The ids of what is named: nodes of this Graph, of pages before it, and Runs beside it."""
        return self._found(names)

    def of_some(self, names: Sequence[str | None]) -> list[strawberry.ID | None]:
        """As `of`; null where there is no name."""
        return [*self._found(names)]

    def _found(self, names: Sequence[str | None]) -> list[Any]:
        if not self._known:
            self._known[None] = None
            self._learn(
                [node.id for node in self._nodes], [node.id for node in self._nodes if node.is_masked]
            )
        try:
            return list(map(self._known.__getitem__, names))
        except KeyError:
            strange = [name for name in dict.fromkeys(names) if name is not None and name not in self._known]
            # What is masked on another page has an id of this answer alone too.
            self._learn(strange, [name for name in strange if name.startswith(lineage.MASKED)])
            return list(map(self._known.__getitem__, names))

    def _learn(self, names: Sequence[str], masked: Sequence[str]) -> None:
        typed = [f"Version:{name}" if ":" in name else _typed(name) for name in names]
        self._known.update(zip(names, relay.ids_of(typed), strict=True))
        self._known.update((name, strawberry.ID(name)) for name in masked)


def _typed(name: str) -> str:
    head, slash, uid = name.partition("/")
    return (
        f"{relay.NodeType.DEPLOYMENT}:{uid}"
        if slash and head == "deployment"
        else f"{relay.NodeType.RUN}:{name}"
    )


def of_nodes(nodes: Sequence[lineage.Node], names: Names) -> Columns:
    """What each attribute of `LineageNode` says of these nodes."""
    column = _attributes(nodes, lineage.Node)
    masked = [state == lineage.MASKED for state in column("state")]

    def unmasked(name: str) -> Sequence[object]:
        values = column(name)
        if not any(masked):
            return values
        return [None if hidden else value for value, hidden in zip(values, masked, strict=True)]

    def references() -> Sequence[object]:
        version = lineage.NodeType.VERSION
        named = zip(column("id"), column("type"), masked, strict=True)
        return [id if type is version and not hidden else None for id, type, hidden in named]

    return {
        "id": lambda: names.of(column("id")),
        "type": lambda: column("type"),
        "masked": lambda: masked,
        "ref": references,
        "name": lambda: unmasked("name"),
        "kind": lambda: column("kind"),
        "project": lambda: unmasked("project"),
        "state": lambda: column("state"),
        "at": lambda: unmasked("at"),
        "depth": lambda: column("depth"),
        "hidden_upstream": lambda: [several or 0 for several in column("hidden_upstream")],
        "hidden_downstream": lambda: [several or 0 for several in column("hidden_downstream")],
    }


def of_edges(edges: Sequence[lineage.Edge], names: Names) -> Columns:
    """What each attribute of `LineageEdge` says of these edges."""
    column = _attributes(edges, lineage.Edge)
    return {
        "source": lambda: names.of(column("source")),
        "target": lambda: names.of(column("target")),
        "type": lambda: column("type"),
        "role": lambda: column("role"),
        "ordinal": lambda: column("ordinal"),
        "producer": lambda: names.of_some(column("producer")),
        "ambiguous": lambda: column("ambiguous"),
    }


def of_laid(laid: Laid) -> tuple[Columns, Columns]:
    """As `of_nodes` and `of_edges`, of what nobody hid anything of: no node and no edge is made for it."""
    many, _ = laid.counts

    @functools.cache
    def ids() -> Sequence[strawberry.ID]:
        return relay.ids_of(laid.column(_typed_ids))

    def each(told: Callable[[Described], Iterable[object]]) -> Callable[[], Sequence[object]]:
        return lambda: laid.of_nodes(laid.column(told))

    nodes: Columns = {
        "id": lambda: laid.of_nodes(ids()),
        "type": lambda: laid.by_group(0),
        "masked": lambda: [False] * many,
        "ref": each(lambda of: of.ids.values() if of.type is _VERSION else [None] * len(of.rows)),
        "name": each(lambda of: of.names),
        "kind": each(lambda of: [None] * len(of.rows) if of.kinds is None else of.kinds),
        "project": each(lambda of: of.projects),
        "state": each(lambda of: of.states),
        "at": each(lambda of: _times(of.at)),
        "depth": lambda: laid.by_group(1),
        "hidden_upstream": each(lambda of: laid.hidden(of, "upstream")),
        "hidden_downstream": each(lambda of: laid.hidden(of, "downstream")),
    }
    edges: Columns = {
        "source": lambda: laid.of_ends(0, ids()),
        "target": lambda: laid.of_ends(1, ids()),
        "type": lambda: laid.of_steps(lambda of: [of.type] * len(of.source)),
        "role": lambda: laid.of_steps(lambda of: of.role),
        "ordinal": lambda: laid.of_steps(lambda of: of.ordinal),
        "producer": lambda: laid.of_producers(ids()),
        "ambiguous": lambda: laid.of_steps(lambda of: map(bool, of.ambiguous or bytes(len(of.source)))),
    }
    return nodes, edges


_VERSION = lineage.NodeType.VERSION
# Before this, in 2106, seconds as a float tell each microsecond from the next.
_EXACT_MICROS = 2**32 * 1_000_000


def _times(micros: Sequence[int]) -> Iterable[datetime]:
    """As `times`, at a third of the price."""
    if micros and not 0 <= min(micros) <= max(micros) < _EXACT_MICROS:
        return times(micros)
    return msgspec.convert(list(map(truediv, micros, repeat(1e6))), list[datetime], strict=False)


def _typed_ids(of: Described) -> Iterable[str]:
    prefix, skipped = _PREFIXES[of.type]
    return [prefix + id[skipped:] for id in of.ids.values()]


# How a global id of each type begins, and how much of the node's own id it leaves out.
_PREFIXES: Mapping[lineage.NodeType, tuple[str, int]] = {
    lineage.NodeType.VERSION: (f"{relay.NodeType.VERSION}:", 0),
    lineage.NodeType.RUN: (f"{relay.NodeType.RUN}:", 0),
    lineage.NodeType.DEPLOYMENT: (f"{relay.NodeType.DEPLOYMENT}:", len("deployment/")),
}


def _attributes(rows: Sequence[Any], row: Any) -> Callable[[str], Sequence[Any]]:
    """The values of an attribute of all of them: of tuples, all at once."""
    fields: Sequence[str] = row._fields
    columns = list(zip(*rows, strict=True)) or [()] * len(fields)
    return lambda name: columns[fields.index(name)]
