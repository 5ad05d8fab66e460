"""What comes to a lineage as it is recorded: told to whoever follows it, each node and each edge once.

Decides which changes are looked at, and what of a lineage is new. Each is told as of the position of the change that
brought it, so that whoever goes on behind a position is told the same, on any server.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from whence_api.graphql import relay
from whence_api.graphql.loaders import Info
from whence_catalog import changes, lineage
from whence_catalog.errors import InvalidInput

# How deep a lineage may be that is followed: it is walked again whenever something touches it.
_DEEPEST = 10
_SECONDS = 5.0

_Step: TypeAlias = tuple[object, ...]


class Followed(NamedTuple):
    """A lineage that is followed: of one root, so many Runs deep."""

    root: str
    direction: lineage.Direction
    depth: int


class Grown(NamedTuple):
    """What a change brought to a lineage."""

    change: changes.Change
    root: str
    nodes: list[lineage.Node]
    edges: list[lineage.Edge]
    complete: bool


@dataclass(slots=True)
class _Known:
    """What was told of a lineage. What is masked is not: it has another name each time."""

    nodes: set[str] = field(default_factory=set)
    edges: set[_Step] = field(default_factory=set)
    artifacts: set[str] = field(default_factory=set)

    def take(self, graph: lineage.Graph) -> tuple[list[lineage.Node], list[lineage.Edge]]:
        """What of it is new; from here on it is known."""
        seen = {node.id for node in graph.nodes if not node.is_masked}
        nodes = [node for node in graph.nodes if node.id in seen and node.id not in self.nodes]
        edges = [
            edge
            for edge in graph.edges
            if edge.source in seen and edge.target in seen and _step(edge) not in self.edges
        ]
        self.nodes |= seen
        self.edges.update(map(_step, edges))
        self.artifacts.update(node.id.rpartition("@")[0] for node in nodes if ":" in node.id)
        return nodes, edges

    def is_touched(self, change: changes.Change) -> bool:
        """Whether a change is of a Run or of an Artifact in it, or took or made one: nothing else can bring it more."""
        named = [
            change.subject,
            *(taken.artifact for taken in change.took),
            *(m.artifact for m in change.made),
        ]
        return str(change.run) in self.nodes or any(str(artifact) in self.artifacts for artifact in named)


def _step(edge: lineage.Edge) -> _Step:
    producer = edge.producer if edge.producer and not edge.producer.startswith(lineage.MASKED) else None
    return edge.source, edge.target, edge.type, edge.role, edge.ordinal, producer


async def follow(
    info: Info, sought: Followed, after: int | None, heard: AsyncGenerator[changes.Change, None]
) -> AsyncGenerator[Grown, None]:
    """What each change brings to a lineage, from the one behind `after` on.

    Raises:
        WhenceError: there is no such root, or it is followed too deep.
    """
    if not 1 <= sought.depth <= _DEEPEST:
        raise InvalidInput(f"depth is {sought.depth}; a lineage is followed 1 to {_DEEPEST} deep")

    async def found(root: str, as_of: int | None) -> lineage.Graph:
        graph: lineage.Graph = await info.context.loaders.ask(
            "lineage",
            roots=[root],
            direction=sought.direction,
            bounds=lineage.Bounds(sought.depth, relay.NODES, _SECONDS),
            as_of=as_of,
        )
        return graph

    first = await found(sought.root, after)
    # A reference may come to mean another.
    (root,) = first.roots
    known: _Known | None = None
    if after is not None:
        known = _Known()
        known.take(first)
    async with aclosing(heard):
        async for change in heard:
            if known is None:
                known = _Known()
                known.take(await found(root, change.position - 1))
            if not known.is_touched(change):
                continue
            graph = await found(root, change.position)
            nodes, edges = known.take(graph)
            if nodes or edges:
                yield Grown(change, root, nodes, edges, graph.completeness.complete)
