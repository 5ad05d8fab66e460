"""Draws a lineage as a tree that people can read: versions in bold, each under the run that it hangs on.

A graph is no tree: what was shown once is named again, with an arrow, and not unfolded again.
"""

from collections.abc import Iterator, Mapping

from rich.markup import escape
from rich.tree import Tree

from whence_catalog import lineage

_AGAIN = "[dim]↑ shown above[/dim]"


def build(graph: lineage.Graph, direction: lineage.Direction) -> Iterator[Tree]:
    """A tree for each root; two where both directions were asked for."""
    ways = {
        lineage.Direction.UP: [True],
        lineage.Direction.DOWN: [False],
        lineage.Direction.BOTH: [True, False],
    }[direction]
    nodes = {node.id: node for node in graph.nodes}
    for root in graph.roots:
        for is_up in ways:
            yield _Drawing(graph, nodes, is_up).tree(root, titled=len(ways) > 1)


class _Drawing:
    def __init__(self, graph: lineage.Graph, nodes: Mapping[str, lineage.Node], is_up: bool) -> None:
        self._nodes = nodes
        self._is_up = is_up
        self._next: dict[str, list[lineage.Edge]] = {}
        self._shown: set[str] = set()
        for edge in graph.edges:
            if edge.type is not lineage.EdgeType.DERIVED:
                self._next.setdefault(edge.target if is_up else edge.source, []).append(edge)

    def tree(self, root: str, titled: bool) -> Tree:
        title = self._label(root, "")
        if titled:
            title += "  [dim]came from[/dim]" if self._is_up else "  [dim]went into[/dim]"
        tree = Tree(title)
        self._shown.add(root)
        # An own stack: a history can be deeper than Python's.
        waiting = [(tree, edge) for edge in reversed(self._onward(root, ""))]
        while waiting:
            branch, edge = waiting.pop()
            end = edge.source if self._is_up else edge.target
            label = self._label(end, edge.role)
            if end in self._shown:
                branch.add(f"{label}  {_AGAIN}")
                continue
            self._shown.add(end)
            child = branch.add(label)
            only = (edge.producer or "") if self._is_up else ""
            waiting += [(child, following) for following in reversed(self._onward(end, only))]
        return tree

    def _onward(self, node: str, only: str) -> list[lineage.Edge]:
        """The edges that lead on; from a version that was taken from the run `only`, just that run's."""
        found = []
        for edge in self._next.get(node, ()):
            end = edge.source if self._is_up else edge.target
            if end in self._nodes and (not only or edge.source == only):
                found.append(edge)
        return sorted(found, key=lambda edge: edge.position)

    def _label(self, name: str, role: str) -> str:
        node = self._nodes.get(name)
        as_role = f"  [dim]{escape(role)}[/dim]" if role else ""
        if node is None:
            return escape(name)
        if node.is_masked:
            return f"[dim]a {node.type} of a project that you may not read[/dim]"
        if node.type is lineage.NodeType.VERSION:
            return f"[bold]{escape(name)}[/bold]{as_role}"
        return f"[cyan]{escape(node.name)}[/cyan] [dim]{name[:18]} {node.state}[/dim]{as_role}"


def beside(before: str | None, after: str | None) -> tuple[str, str]:
    """Two previews; of those with many lines (the symbols of code), only the lines that differ."""
    old, new = (before or "").splitlines(), (after or "").splitlines()
    if len(old) <= 1 and len(new) <= 1:
        return before or "(not there)", after or "(not there)"
    was, now = _symbols(old), _symbols(new)
    names = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
    return (
        "\n".join(f"{name} {was.get(name, '(not there)')[:10]}" for name in names),
        "\n".join(f"{name} {now.get(name, '(not there)')[:10]}" for name in names),
    )


def _symbols(lines: list[str]) -> dict[str, str]:
    return {name: named for name, _, named in (line.rpartition(" ") for line in lines)}
