"""What somebody sees of a lineage who may see some projects only: nothing is dropped, and the rest is hidden."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from whence_catalog.lineage import MASKED, Edge, EdgeType, Graph, Node

# What an ambiguous Input of a masked Run could be of: any production.
_LAST = 2**62
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def beyond(graph: Graph) -> frozenset[str]:
    """The ids that the roots and edges of a Graph name and that are not among its nodes."""
    named = set(graph.roots)
    for edge in graph.edges:
        named.update((edge.source, edge.target, edge.producer or edge.source))
    return frozenset(named - {node.id for node in graph.nodes})


def mask(
    graph: Graph,
    may_see: Callable[[str], bool],
    new_id: Callable[[], str],
    elsewhere: Mapping[str, str],
) -> Graph:
    """The Graph as somebody sees it who may see some projects only: nothing is dropped, and the rest is hidden.

    A masked node keeps its type, its depth and its edges. Of an edge, what its Run says of it (role, ordinal,
    position) is hidden with the Run: a position in the log would tell two answers' nodes to be the same.

    Args:
        may_see: whether the nodes of a project may be seen.
        new_id: an id that no other node of any answer has.
        elsewhere: the projects of those `beyond` the Graph; one that has none is hidden.
    """
    projects = {**elsewhere, **{node.id: node.project for node in graph.nodes}}
    names = {
        name: name if name in projects and may_see(projects[name]) else new_id()
        for name in [*(node.id for node in graph.nodes), *sorted(beyond(graph))]
    }
    hidden = [node for node in graph.nodes if names[node.id] != node.id]
    return Graph(
        roots=tuple(names[root] for root in graph.roots),
        nodes=tuple(
            node if names[node.id] == node.id else hidden_as(node, names[node.id]) for node in graph.nodes
        ),
        edges=tuple(_masked(edge, names) for edge in graph.edges),
        completeness=replace(graph.completeness, masked=len(hidden)),
    )


def hidden_as(node: Node, name: str) -> Node:
    """What is told of a node that may not be seen, by an id that no other node of any answer has."""
    return Node(name, node.type, "", MASKED, _NEVER, depth=node.depth)


def _masked(edge: Edge, names: Mapping[str, str]) -> Edge:
    told_by = {EdgeType.OUTPUT: edge.source, EdgeType.DERIVED: edge.producer}.get(edge.type, edge.target)
    shown = edge._replace(
        source=names[edge.source],
        target=names[edge.target],
        producer=None if edge.producer is None else names[edge.producer],
    )
    if told_by is not None and names[told_by] == told_by:
        return shown
    return shown._replace(role="", ordinal=0, position=_LAST if edge.ambiguous else 0, declared=False)
