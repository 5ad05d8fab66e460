"""Lineage as GraphQL shows it: flat lists of nodes and edges, which refer to one another by ids.

Decides how far one answer may go, and what a filter leaves of it. A filter works on what was answered: it makes no
edge, and takes a node only with all its edges; what it took is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, TypeAlias

import strawberry

from whence_api.graphql import columns, relay, rows
from whence_api.graphql.loaders import Info, LineageBounds
from whence_catalog import lineage
from whence_catalog.errors import InvalidInput


@strawberry.input(
    description="How far to go. An answer that was cut says so, and has a frontier to go on from."
)
class Bounds:
    """How far to go."""

    depth: int | None = strawberry.field(
        default=None, description="How many Runs deep, from the roots or the frontier; null for any depth."
    )
    max_nodes: int = strawberry.field(default=relay.NODES, description="How many nodes at most.")
    seconds: float = strawberry.field(default=5.0, description="How long to look at most.")


@strawberry.input(
    description="Which nodes of what was found to show. Roots, and nodes that are masked, are always shown."
    " What is left out is counted; its edges go with it, and none is drawn in their place."
)
class LineageFilter:
    """Which nodes to show."""

    kinds: list[str] | None = strawberry.field(
        default=None,
        description="Versions of Artifacts of these kinds; null or none for any. Runs have no kind.",
    )
    projects: list[str] | None = strawberry.field(
        default=None, description="What is of these projects; null or none for any."
    )
    states: list[str] | None = strawberry.field(
        default=None,
        description="Runs in one of these states; null or none for any. Versions have none of them.",
    )


@strawberry.type(description="A Version or a Run in a lineage.")
class LineageNode:
    """A Version or a Run in a lineage."""

    id: strawberry.ID = strawberry.field(
        description="Its global id; of a masked node an id that is of this answer alone."
    )
    type: lineage.NodeType = strawberry.field(description="Whether it is a Version or a Run.")
    masked: bool = strawberry.field(description="Whether you may not see what it is.")
    ref: str | None = strawberry.field(description="A Version's reference, `kind:name@N`.")
    name: str | None = strawberry.field(description="The name of the Artifact's reference, or of the job.")
    kind: str | None = strawberry.field(description="The kind of a Version's Artifact.")
    project: str | None = strawberry.field(description="The project that it is of.")
    state: str = strawberry.field(description="A Run's state; `live` for a Version; `masked`.")
    at: datetime | None = strawberry.field(
        description="When the Version was first recorded, or the Run started."
    )
    depth: int = strawberry.field(description="How many Runs away from the roots.")


@strawberry.type(description="One step of the flow of data. Edges point the way data flows.")
class LineageEdge:
    """One step of the flow of data."""

    source: strawberry.ID = strawberry.field(description="The id of the node that it comes from.")
    target: strawberry.ID = strawberry.field(description="The id of the node that it goes to.")
    type: lineage.EdgeType = strawberry.field(description="What kind of step it is.")
    role: str = strawberry.field(description="The role of the Input or Output; empty for others.")
    ordinal: int = strawberry.field(description="The place among the members of a list in one role.")
    producer: strawberry.ID | None = strawberry.field(
        description="The id of the Run that an Input was taken from, or that says that an Output is derived."
    )
    ambiguous: bool = strawberry.field(
        description="Whether an Input may be of any of several productions, since its own was not said."
    )


@strawberry.type(description="Whether this, with the pages before it, is all; and how sure of this page is.")
class Completeness:
    """Whether a lineage is all, and how sure it is."""

    complete: bool = strawberry.field(description="Whether nothing was cut off.")
    reasons: list[str] = strawberry.field(description="Why it was cut off.")
    frontier: str | None = strawberry.field(
        description="Give it back, with the same roots and direction, to go on from where it was cut."
    )
    masked: int = strawberry.field(description="How many nodes you may not see.")
    erased: int = strawberry.field(description="How many nodes have lost their content.")
    ambiguous: int = strawberry.field(description="How many Inputs may be of several productions.")
    unknown_producers: int = strawberry.field(
        description="How many Inputs and roots there are of which no production is known."
    )
    filtered: int = strawberry.field(description="How many nodes the filter left out of this page.")


@strawberry.type(description="A part of history: nodes and edges in a stable order, the nearest first.")
class Lineage:
    """A part of history."""

    roots: list[strawberry.ID] = strawberry.field(description="The ids of the roots.")
    nodes: Sequence[LineageNode] = strawberry.field(description="The nodes, the roots among them.")
    edges: Sequence[LineageEdge] = strawberry.field(
        description="All edges between these nodes, and to nodes of earlier pages; over all pages, each once."
    )
    completeness: Completeness = strawberry.field(description="Whether this is all, and how sure it is.")


DirectionArgument: TypeAlias = Annotated[
    lineage.Direction, strawberry.argument(description="Against the flow of data, or along it.")
]
BoundsArgument: TypeAlias = Annotated[Bounds | None, strawberry.argument(description="How far to go.")]
FilterArgument: TypeAlias = Annotated[
    LineageFilter | None, strawberry.argument(description="Which nodes of what was found to show.")
]
FrontierArgument: TypeAlias = Annotated[
    str | None, strawberry.argument(description="The frontier of the answer before, to go on from there.")
]


@dataclass(frozen=True, slots=True)
class Sought:
    """What lineage is asked for. A root is a Version's reference or a Run's id."""

    roots: Sequence[str]
    direction: lineage.Direction
    bounds: Bounds | None = None
    filter: LineageFilter | None = None
    frontier: str | None = None


async def find(info: Info, sought: Sought) -> Lineage:
    """The lineage that is sought.

    Raises:
        WhenceError: the bounds are beyond this server's, or what the catalog answers.
    """
    graph: lineage.Graph = await info.context.loaders.ask(
        "lineage",
        roots=list(sought.roots),
        direction=sought.direction,
        bounds=_bounds(sought.bounds or Bounds(), info.context.bounds),
        frontier=sought.frontier,
    )
    return shown(graph, sought.filter or LineageFilter())


def _bounds(asked: Bounds, most: LineageBounds) -> lineage.Bounds:
    if asked.max_nodes > most.nodes:
        raise InvalidInput(
            f"maxNodes is {asked.max_nodes}; this server answers {most.nodes} at once: go on with the frontier"
        )
    if not asked.seconds <= most.seconds:
        raise InvalidInput(f"seconds is {asked.seconds:g}; this server looks for {most.seconds:g} at most")
    return lineage.Bounds(asked.depth, asked.max_nodes, asked.seconds)


def shown(graph: lineage.Graph, wanted: LineageFilter) -> Lineage:
    """A Graph as it is shown, without the nodes that are not wanted."""
    roots = frozenset(graph.roots)
    kept: Sequence[lineage.Node] = graph.nodes
    edges: Sequence[lineage.Edge] = graph.edges
    left_out: set[str] = set()
    if wanted.kinds or wanted.projects or wanted.states:
        kept = [node for node in graph.nodes if node.id in roots or _is_wanted(node, wanted)]
        left_out = {node.id for node in graph.nodes} - {node.id for node in kept}
        edges = [e for e in graph.edges if e.source not in left_out and e.target not in left_out]
    names = columns.Names(graph.nodes)
    found = graph.completeness
    return Lineage(
        roots=names.of(graph.roots),
        nodes=rows.Table(len(kept), LineageNode, columns.of_nodes(kept, names)),
        edges=rows.Table(len(edges), LineageEdge, columns.of_edges(edges, names)),
        completeness=completeness(replace(found, filtered=len(left_out))),
    )


def nodes(found: Sequence[lineage.Node]) -> Sequence[LineageNode]:
    """Nodes without a Graph around them, as they are shown."""
    return rows.Table(len(found), LineageNode, columns.of_nodes(found, columns.Names(found)))


def completeness(found: lineage.Completeness) -> Completeness:
    """Whether an answer is all, as it is shown."""
    return Completeness(
        complete=found.complete,
        reasons=list(found.reasons),
        frontier=found.frontier,
        masked=found.masked,
        erased=found.erased,
        ambiguous=found.ambiguous,
        unknown_producers=found.unknown_producers,
        filtered=found.filtered,
    )


def _is_wanted(node: lineage.Node, wanted: LineageFilter) -> bool:
    if node.is_masked:
        return True
    if wanted.projects and node.project not in wanted.projects:
        return False
    if node.type is lineage.NodeType.RUN:
        return not wanted.states or node.state in wanted.states
    return not wanted.kinds or node.kind in wanted.kinds
