"""What is asked of lineage, by references and ids: paths, roots, common ancestors, and what came of something."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whence_catalog import lineage, replies

if TYPE_CHECKING:
    from whence.client import Client

# How many items are asked for at once.
_AT_ONCE = 500


@dataclass(slots=True)
class Impact:
    """What came of a Version or a Run: how much of it there is, at once; and all of it, as it is iterated over.

    Iterating asks for page after page, all of one position of the log, and keeps none.
    """

    first: replies.Impact
    _pages: Iterator[replies.Impact]

    def __iter__(self) -> Iterator[replies.Impacted]:
        yield from self.first.items
        for page in self._pages:
            yield from page.items


def impact(client: "Client", of: str, kinds: Iterable[str] = ("model",), as_of: int | None = None) -> Impact:
    """What came of a Version or a Run; see `Catalog.impact`."""
    client.writer.settle()
    named, wanted = client.full_name(of), tuple(kinds)
    first = client.catalog.impact(named, wanted, as_of, _AT_ONCE)

    def rest() -> Iterator[replies.Impact]:
        after = first.end
        while after is not None:
            page = client.catalog.impact(named, wanted, as_of, _AT_ONCE, after)
            yield page
            after = page.end

    return Impact(first, rest())


def paths(client: "Client", start: str, end: str, limit: int = 5, as_of: int | None = None) -> replies.Paths:
    """The ways from one thing to another; see `Catalog.paths`."""
    client.writer.settle()
    return client.catalog.paths(client.full_name(start), client.full_name(end), limit, as_of)


def roots(client: "Client", of: Iterable[str], as_of: int | None = None) -> Iterator[replies.NodePage]:
    """Where the data begins that these came from, page by page; see `Catalog.roots_of`."""
    return _pages(client, client.catalog.roots_of, of, as_of)


def common_ancestors(
    client: "Client", of: Iterable[str], as_of: int | None = None
) -> Iterator[replies.NodePage]:
    """What all of these came from, page by page; see `Catalog.common_ancestors`."""
    return _pages(client, client.catalog.common_ancestors, of, as_of)


def _pages(
    client: "Client", ask: Callable[..., replies.NodePage], of: Iterable[str], as_of: int | None
) -> Iterator[replies.NodePage]:
    client.writer.settle()
    named, after = [client.full_name(text) for text in of], None
    while True:
        page = ask(named, as_of, _AT_ONCE, after)
        yield page
        after = page.end
        if after is None:
            return


def graph_of(ways: Iterable[Iterable[lineage.Node]], whole: lineage.Completeness) -> lineage.Graph:
    """Ways as a Graph, to be drawn: their nodes once each, and the steps between them."""
    nodes: dict[str, lineage.Node] = {}
    edges: dict[tuple[str, str], lineage.Edge] = {}
    starts: dict[str, None] = {}
    for way in ways:
        before: lineage.Node | None = None
        for node in way:
            nodes.setdefault(node.id, node)
            if before is None:
                starts[node.id] = None
            else:
                edges.setdefault((before.id, node.id), _edge(before, node))
            before = node
    return lineage.Graph(tuple(starts), tuple(nodes.values()), tuple(edges.values()), whole)


def _edge(source: lineage.Node, target: lineage.Node) -> lineage.Edge:
    match source.type, target.type:
        case lineage.NodeType.RUN, lineage.NodeType.RUN:
            type_ = lineage.EdgeType.REUSED
        case lineage.NodeType.RUN, _:
            type_ = lineage.EdgeType.OUTPUT
        case _, lineage.NodeType.DEPLOYMENT:
            type_ = lineage.EdgeType.DEPLOYED
        case _:
            type_ = lineage.EdgeType.INPUT
    return lineage.Edge(source.id, target.id, type_, "", 0, None, False, 0)
