"""Lineage as GraphQL shows it: flat lists of nodes and edges, which refer to one another by ids.

Decides how far one answer may go; what a filter leaves of it is the catalog's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, TypeAlias

import strawberry
from strawberry.types.nodes import SelectedField, Selection

from whence_api.graphql import columns, relay, rows, values
from whence_api.graphql.loaders import Info, LineageBounds
from whence_catalog import lineage, model
from whence_catalog.columns import Found, Laid
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
    description="Some nodes: those that fit each field. A field that is null or empty fits all, and does not speak of"
    " nodes that have no such thing: a Run has no kind, and is in no state of a Version."
)
class LineageNodes:
    """Some nodes."""

    types: list[lineage.NodeType] | None = strawberry.field(default=None, description="Of these types.")
    kinds: list[str] | None = strawberry.field(
        default=None, description="Versions of Artifacts of these kinds."
    )
    projects: list[str] | None = strawberry.field(default=None, description="What is of these projects.")
    states: list[str] | None = strawberry.field(
        default=None,
        description="What is in these states: `live`, `quarantined` or `tainted` of a Version, `complete`, `failed` … of"
        " a Run, `serving` or `ended` of a Deployment.",
    )
    labels: list[values.LabelInput] | None = strawberry.field(
        default=None, description="Versions and Runs that have all of these labels."
    )


@strawberry.input(
    description="Which nodes to show, and through what to go. Roots, and nodes that are masked, are always shown."
    " What is left out is counted; its edges go with it, and none is drawn in their place."
)
class LineageFilter(LineageNodes):
    """Which nodes to show, and through what to go."""

    stop_at: LineageNodes | None = strawberry.field(
        default=None,
        description="These are shown, but not gone beyond, unless they are roots. Only those are meant that have what is said.",
    )
    pass_through: LineageNodes | None = strawberry.field(
        default=None,
        description="These are gone through without counting as a step of `depth`, and not shown, unless they are roots."
        " Only those are meant that have what is said.",
    )
    collapse_reuse: bool = strawberry.field(
        default=False, description="Whether a reused Run is shown as the Run whose result it used."
    )


_STATES: Mapping[lineage.NodeType, frozenset[str]] = {
    lineage.NodeType.VERSION: frozenset(model.VersionState),
    lineage.NodeType.RUN: frozenset(model.RunState),
    lineage.NodeType.DEPLOYMENT: frozenset({"serving", "ended"}),
}


def _which(nodes: LineageNodes) -> lineage.Which:
    return lineage.Which(
        kinds=frozenset(nodes.kinds or ()),
        projects=frozenset(nodes.projects or ()),
        states=frozenset(nodes.states or ()),
        labels=frozenset((label.name, label.value) for label in nodes.labels or ()),
        types=frozenset(nodes.types or ()),
    )


def _meant(nodes: LineageNodes | None) -> lineage.Which | None:
    """Nodes that are named to stop at, or to pass: only those that have what is said of them.

    The catalog's `kinds` do not speak of Runs, so that they would all be stopped at.
    """
    if nodes is None:
        return None
    types = set(nodes.types or lineage.NodeType)
    if nodes.kinds:
        types &= {lineage.NodeType.VERSION}
    if nodes.labels:
        types &= {lineage.NodeType.VERSION, lineage.NodeType.RUN}
    if nodes.states:
        types &= {type for type, states in _STATES.items() if states & set(nodes.states)}
    return replace(_which(nodes), types=frozenset(types)) if types else None


def filter_of(asked: LineageFilter | None) -> lineage.Filter:
    """A filter, in the catalog's words."""
    if asked is None:
        return lineage.EVERYTHING
    return lineage.Filter(
        show=_which(asked),
        stop_at=_meant(asked.stop_at),
        pass_through=_meant(asked.pass_through),
        collapse_reuse=asked.collapse_reuse,
    )


@strawberry.type(description="A Version, a Run or a Deployment in a lineage.")
class LineageNode:
    """A Version, a Run or a Deployment in a lineage."""

    id: strawberry.ID = strawberry.field(
        description="Its global id; of a masked node an id that is of this answer alone."
    )
    type: lineage.NodeType = strawberry.field(description="What it stands for.")
    masked: bool = strawberry.field(description="Whether you may not see what it is.")
    ref: str | None = strawberry.field(description="A Version's reference, `kind:name@N`.")
    name: str | None = strawberry.field(
        description="The name of the Artifact's reference, of the job, or of the target."
    )
    kind: str | None = strawberry.field(description="The kind of a Version's Artifact.")
    project: str | None = strawberry.field(description="The project that it is of.")
    state: str = strawberry.field(
        description="A Run's state; `live`, `quarantined` or `tainted` of a Version; `serving` or `ended` of a"
        " Deployment; `masked`."
    )
    at: datetime | None = strawberry.field(
        description="When the Version was first recorded, the Run started, or the Deployment began."
    )
    depth: int = strawberry.field(description="How many Runs away from the roots.")
    hidden_upstream: int = strawberry.field(
        description="Where the answer was cut or filtered: how many nodes beside it, upstream, no page has yet."
    )
    hidden_downstream: int = strawberry.field(description="The same, downstream.")


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
        description="Give it back, with the same roots, direction, filter and asOf, to go on from where it was cut."
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


_HIDDEN = frozenset({"hiddenUpstream", "hiddenDownstream"})


@dataclass(frozen=True, slots=True)
class Sought:
    """What lineage is asked for. A root is a Version's reference, a Run's id, or `deployment/` and a Deployment's."""

    roots: Sequence[str]
    direction: lineage.Direction
    bounds: Bounds | None = None
    filter: LineageFilter | None = None
    frontier: str | None = None
    as_of: object = None


async def find(info: Info, sought: Sought) -> Lineage:
    """The lineage that is sought.

    Raises:
        WhenceError: the bounds are beyond this server's, or what the catalog answers.
    """
    graph: lineage.Graph = await info.context.loaders.ask(
        "lineage_with_hidden" if _asks_for_hidden(info.selected_fields) else "lineage",
        roots=list(sought.roots),
        direction=sought.direction,
        bounds=_bounds(sought.bounds or Bounds(), info.context.bounds),
        frontier=sought.frontier,
        filter=filter_of(sought.filter),
        as_of=await info.context.position(sought.as_of),
    )
    return shown(graph)


def _asks_for_hidden(selected: Sequence[Selection]) -> bool:
    """Whether hidden neighbours are among what is asked for: to count them is dear, and few look at them."""
    return any(
        (isinstance(each, SelectedField) and each.name in _HIDDEN) or _asks_for_hidden(each.selections)
        for each in selected
    )


def _bounds(asked: Bounds, most: LineageBounds) -> lineage.Bounds:
    if asked.max_nodes > most.nodes:
        raise InvalidInput(
            f"maxNodes is {asked.max_nodes}; this server answers {most.nodes} at once: go on with the frontier"
        )
    if not asked.seconds <= most.seconds:
        raise InvalidInput(f"seconds is {asked.seconds:g}; this server looks for {most.seconds:g} at most")
    return lineage.Bounds(asked.depth, asked.max_nodes, asked.seconds)


def shown(graph: lineage.Graph) -> Lineage:
    """A Graph as it is shown."""
    found = graph.columns
    if isinstance(found, Found):
        laid = Laid(found)
        of_nodes, of_edges = columns.of_laid(laid)
        many_nodes, many_edges = laid.counts
        return Lineage(
            roots=columns.Names(()).of(graph.roots),
            nodes=rows.Table(many_nodes, LineageNode, of_nodes),
            edges=rows.Table(many_edges, LineageEdge, of_edges),
            completeness=completeness(graph.completeness),
        )
    names = columns.Names(graph.nodes)
    return Lineage(
        roots=names.of(graph.roots),
        nodes=rows.Table(len(graph.nodes), LineageNode, columns.of_nodes(graph.nodes, names)),
        edges=rows.Table(len(graph.edges), LineageEdge, columns.of_edges(graph.edges, names)),
        completeness=completeness(graph.completeness),
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
