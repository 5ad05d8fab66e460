"""Within a lineage Graph: its order, its roots, what lies above and below its nodes.

These answer for what is in the Graph: what lies past where it was cut is in none of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from whence_catalog import lineage
from whence_catalog.errors import ErrorKind, NotFound


class Hop(NamedTuple):
    """That data went from one Run into another, through `version`, or by reuse (None)."""

    source: str
    target: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is in a lineage: of all nodes, by their type, and by what those of a type have.

    What may not be seen has neither kind nor project, and is in the state `masked`.
    """

    total: int
    by_type: Mapping[str, int]
    by_kind: Mapping[str, int]
    by_project: Mapping[str, int]
    by_state: Mapping[str, int]
    completeness: lineage.Completeness


def counts(graph: lineage.Graph) -> Counts:
    """How much there is in a Graph."""

    def by(texts: Iterable[str | None]) -> Mapping[str, int]:
        return dict(sorted(Counter(text for text in texts if text).items()))

    return Counts(
        total=len(graph.nodes),
        by_type=by(node.type.value for node in graph.nodes),
        by_kind=by(node.kind for node in graph.nodes),
        by_project=by(node.project for node in graph.nodes),
        by_state=by(node.state for node in graph.nodes),
        completeness=graph.completeness,
    )


def hops(graph: lineage.Graph) -> tuple[Hop, ...]:
    """The ways between Runs, by the production that each Input was taken from."""
    runs = {node.id for node in graph.nodes if node.type is lineage.NodeType.RUN}
    made = _makings(graph)
    found: dict[Hop, None] = {}
    for edge in graph.edges:
        if edge.type is lineage.EdgeType.REUSED:
            found[Hop(edge.source, edge.target, None)] = None
        elif edge.type is lineage.EdgeType.INPUT and edge.producer in runs:
            found[Hop(str(edge.producer), edge.target, edge.source)] = None
        elif edge.type is lineage.EdgeType.INPUT and edge.ambiguous:
            for output in made.get(edge.source, ()):
                if output.position < edge.position:
                    found[Hop(output.source, edge.target, edge.source)] = None
    return tuple(found)


def sources(graph: lineage.Graph) -> Mapping[str, tuple[str, ...]]:
    """For each Run, the Runs it came from directly."""
    found: dict[str, dict[str, None]] = {n.id: {} for n in graph.nodes if n.type is lineage.NodeType.RUN}
    for hop in hops(graph):
        found[hop.target][hop.source] = None
    return {run: tuple(others) for run, others in found.items()}


def order(graph: lineage.Graph) -> tuple[lineage.Node, ...]:
    """The Runs, each after those it came from; where they took from one another, as they started."""
    came_from = sources(graph)
    runs = {node.id: node for node in graph.nodes if node.type is lineage.NodeType.RUN}
    done: dict[str, lineage.Node] = {}
    opened: set[str] = set()

    def latest_first(some: Iterable[str]) -> list[str]:
        return sorted(some, key=lambda run: (runs[run].at, run), reverse=True)

    stack = latest_first(runs)
    while stack:
        run = stack[-1]
        if run in opened:
            done.setdefault(stack.pop(), runs[run])
        else:
            opened.add(run)
            stack += latest_first(source for source in came_from[run] if source not in opened)
    return tuple(done.values())


def roots(graph: lineage.Graph) -> tuple[lineage.Node, ...]:
    """The Versions where the flow of data begins: made by nobody known, or by a Run that took nothing."""
    made = _makings(graph)
    fed = {
        edge.target for edge in graph.edges if edge.type in (lineage.EdgeType.INPUT, lineage.EdgeType.REUSED)
    }
    return tuple(
        node
        for node in graph.nodes
        if node.type is lineage.NodeType.VERSION
        and (node.id not in made or any(edge.source not in fed for edge in made[node.id]))
    )


def upstream(graph: lineage.Graph, node: str) -> tuple[lineage.Node, ...]:
    """What `node` came from, as far as the lineage.Graph goes; itself left out."""
    runs = _reach(_makers(graph, node), sources(graph))
    versions = {e.source for e in graph.edges if e.type is lineage.EdgeType.INPUT and e.target in runs}
    return tuple(n for n in graph.nodes if n.id in runs | versions and n.id != node)


def downstream(graph: lineage.Graph, node: str) -> tuple[lineage.Node, ...]:
    """What came from `node`, as far as the lineage.Graph goes; itself left out."""
    runs = _reach(_takers(graph, node), _onward(hops(graph)))
    versions = {e.target for e in graph.edges if e.type is lineage.EdgeType.OUTPUT and e.source in runs}
    return tuple(n for n in graph.nodes if n.id in runs | versions and n.id != node)


def _reach(starts: Iterable[str], ways: Mapping[str, Iterable[str]]) -> set[str]:
    reached = set(starts)
    stack = list(reached)
    while stack:
        fresh = set(ways.get(stack.pop(), ())) - reached
        reached |= fresh
        stack += fresh
    return reached


def _onward(ways: Iterable[Hop]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for hop in ways:
        found.setdefault(hop.source, []).append(hop.target)
    return found


def _makings(graph: lineage.Graph) -> Mapping[str, list[lineage.Edge]]:
    """The productions of each Version."""
    made: dict[str, list[lineage.Edge]] = {}
    for edge in graph.edges:
        if edge.type is lineage.EdgeType.OUTPUT:
            made.setdefault(edge.target, []).append(edge)
    return made


def _makers(graph: lineage.Graph, node: str) -> set[str]:
    """The Run itself, or the Runs that made the Version."""
    if _is_run(graph, node):
        return {node}
    return {
        edge.source for edge in graph.edges if edge.type is lineage.EdgeType.OUTPUT and edge.target == node
    }


def _takers(graph: lineage.Graph, node: str) -> set[str]:
    """The Run itself, or the Runs that took the Version."""
    if _is_run(graph, node):
        return {node}
    return {
        edge.target for edge in graph.edges if edge.type is lineage.EdgeType.INPUT and edge.source == node
    }


def _is_run(graph: lineage.Graph, node: str) -> bool:
    for found in graph.nodes:
        if found.id == node:
            return found.type is lineage.NodeType.RUN
    raise NotFound(f"{node} is not in this lineage; look at its nodes", ErrorKind.NO_SUCH_VERSION)
