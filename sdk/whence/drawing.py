"""Draws lineage for people and other programs: a tree, a table, Mermaid, DOT, GraphML, JSON by lines.

Each drawing is an iterator of lines without their ends, made as it is read: what draws a Graph can draw
millions of nodes, page by page. Nodes have the same id in every drawing, so that two drawings can be
laid side by side; only what may not be seen has another each time. An edge that is not sure (an Input
that may be of several productions), one that a reuse stands for, and one that an Output claims
(`derived`) are each drawn in their own way.

Leaves to others: which nodes are found (`whence_catalog.lineage`), colours on a terminal (`cli`).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from whence_catalog import lineage, wire
from whence_catalog.lineage import Direction, Edge, EdgeType, Graph, Node, NodeType


class Format(StrEnum):
    """How a Graph is drawn where it need not be whole at once."""

    TABLE = "table"
    MERMAID = "mermaid"
    DOT = "dot"
    GRAPHML = "graphml"
    JSONL = "jsonl"


def draw(format: Format, pages: Iterable[Graph]) -> Iterator[str]:
    """The lines of a drawing of all these pages, which are those of one traversal, in order."""
    return _DRAWINGS[format](pages)


def table(graph: Graph) -> Iterator[str]:
    """Nodes, nearest first, then edges, in columns."""
    return _table([graph])


def mermaid(graph: Graph) -> Iterator[str]:
    """A flowchart, as GitHub, GitLab and notebooks show it in Markdown."""
    return _mermaid([graph])


def dot(graph: Graph) -> Iterator[str]:
    """A digraph for Graphviz."""
    return _dot([graph])


def graphml(graph: Graph) -> Iterator[str]:
    """XML for yEd, Gephi, networkx and their like, with all that is known of nodes and edges."""
    return _graphml([graph])


def json_lines(graph: Graph) -> Iterator[str]:
    """An object a line: `{"node": …}`, `{"edge": …}`, and `{"completeness": …}` last."""
    return _json_lines([graph])


# ── what every drawing says ──────────────────────────────────────────────────────────────────────


def title(node: Node) -> str:
    """What people call a node: a Version's reference, a Run's job, and its state where that is not as it should be."""
    if node.is_masked:
        return f"{node.type} (hidden)"
    named = node.id if node.type is NodeType.VERSION else node.name
    return named if node.state in ("live", "complete") else f"{named} ({node.state})"


def name_of(node: Node) -> str:
    """By what a node can be asked for again: a Version's reference, a Run's job with the head of its id."""
    if node.is_masked:
        return title(node)
    if node.type is NodeType.VERSION:
        return node.id
    return f"{node.name} {node.id[:18]}" if node.type is NodeType.RUN else f"{node.name} {node.id}"


def says(edge: Edge) -> str:
    """What stands beside an edge: its role, and how sure it is."""
    match edge.type:
        case EdgeType.INPUT:
            return f"{edge.role} (ambiguous)".strip() if edge.ambiguous else edge.role
        case EdgeType.OUTPUT:
            return edge.role
        case _:
            return edge.type.value


class _Whole:
    """The completeness of a traversal, page by page: reasons and frontier are of the last one, counts of all."""

    def __init__(self) -> None:
        self.last: lineage.Completeness | None = None
        self.counts: dict[str, int] = {}

    def add(self, page: Graph) -> None:
        self.last = page.completeness
        for name in ("ambiguous", "unknown_producers", "masked", "erased", "filtered"):
            count = getattr(page.completeness, name, 0)
            self.counts[name] = self.counts.get(name, 0) + count

    @property
    def text(self) -> str:
        return "" if self.last is None else completeness(self.last, self.counts)

    @property
    def value(self) -> dict[str, object]:
        if self.last is None:
            return {"complete": True}
        last = self.last
        return {
            "complete": last.complete,
            "reasons": list(last.reasons),
            "frontier": last.frontier,
            **self.counts,
        }


def summary(graph: Graph) -> str:
    """How much there is, and whether that is all."""
    return f"nodes: {len(graph.nodes)}, edges: {len(graph.edges)}; {completeness(graph.completeness)}"


_COUNTED = {
    "ambiguous": "ambiguous inputs",
    "unknown_producers": "of unknown origin",
    "masked": "of projects that you may not read",
    "erased": "erased",
    "filtered": "left out by the filter",
}


def completeness(whole: lineage.Completeness, counts: Mapping[str, int] | None = None) -> str:
    """Whether an answer is all there is, in a few words."""
    told = ["complete" if whole.complete else f"not complete: {'; '.join(whole.reasons)}"]
    for name, what in _COUNTED.items():
        count = getattr(whole, name, 0) if counts is None else counts.get(name, 0)
        told += [f"{count} {what}"] if count else []
    return "; ".join(told)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


# Control characters, separators and what XML cannot hold would break a line, or a drawing, in two.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")


def one_line(text: str) -> str:
    """A text as it can stand on a line: runs of control characters are one space."""
    return _UNPRINTABLE.sub(" ", text)


# ── a tree ───────────────────────────────────────────────────────────────────────────────────────


class Branch(NamedTuple):
    """A line of a tree. `node` is None beyond the answer; `is_again` where what hangs on it was shown above."""

    rails: str
    id: str
    node: Node | None
    remark: str
    is_again: bool


def tree(graph: Graph, direction: Direction) -> Iterator[str]:
    """A tree for each root; two where both directions were asked for. Below what was shown, nothing is again."""
    for branch in branches(graph, direction):
        named = branch.id if branch.node is None else name_of(branch.node)
        state = _state(branch.node)
        remark = f"  {branch.remark}" if branch.remark else ""
        again = "  ↑ shown above" if branch.is_again else ""
        yield branch.rails + one_line(f"{named}{state and f' {state}'}{remark}{again}")


def _state(node: Node | None) -> str:
    if node is None or node.is_masked or (node.type is NodeType.VERSION and node.state == "live"):
        return ""
    return node.state


def branches(graph: Graph, direction: Direction) -> Iterator[Branch]:
    """The lines of `tree`, before they are text."""
    nodes = {node.id: node for node in graph.nodes}
    ways = {Direction.UP: [True], Direction.DOWN: [False], Direction.BOTH: [True, False]}[direction]
    drawn: set[str] = set()
    for is_up in ways:
        # What hangs on what is read once for all roots; what one of them shows, the next only names.
        onward = _Onward(graph.edges, nodes, is_up)
        shown: set[str] = set()
        for root in graph.roots:
            heading = ("came from" if is_up else "went into") if len(ways) > 1 else ""
            yield from _tree_of(root, nodes, onward, shown, heading)
        drawn |= shown
    for node in graph.nodes:
        # Of a graph that a filter thinned out, or of a later page, not all hangs together.
        if node.id not in drawn:
            yield Branch("", node.id, node, "by ways that are not shown", False)


class _Onward:
    """The edges that lead on from a node, in one direction."""

    def __init__(self, edges: Sequence[Edge], nodes: Mapping[str, Node], is_up: bool) -> None:
        self.is_up = is_up
        self._nodes = nodes
        self._next: dict[str, list[Edge]] = {}
        # (source, target) → the Runs that say it; drawn as a remark on the input that it goes through.
        self._derived: dict[tuple[str, str | None], set[str]] = {}
        for edge in edges:
            if edge.type is EdgeType.DERIVED:
                self._derived.setdefault((edge.source, edge.producer), set()).add(edge.target)
            else:
                self._next.setdefault(edge.target if is_up else edge.source, []).append(edge)

    def of(self, node: str, only: str) -> list[Edge]:
        """From a Version that was taken from the Run `only`, just that Run's."""
        found = [edge for edge in self._next.get(node, ()) if not only or edge.source == only]
        found = [edge for edge in found if self.end(edge) in self._nodes]
        return sorted(found, key=lambda edge: edge.position)

    def end(self, edge: Edge) -> str:
        return edge.source if self.is_up else edge.target

    def remark(self, edge: Edge, before: str) -> str:
        """What is said of an edge that hangs on a Run which hangs on `before`."""
        told = says(edge)
        if edge.type is EdgeType.INPUT and self.is_up:
            derived = self._derived.get((edge.source, edge.target), ())
            if before in derived:
                return f"{told} (derived)"
        return told


def _tree_of(
    root: str, nodes: Mapping[str, Node], onward: _Onward, shown: set[str], heading: str
) -> Iterator[Branch]:
    yield Branch("", root, nodes.get(root), heading, root in shown)
    if root in shown:
        return
    shown.add(root)
    # An own stack: a history can be deeper than Python's.
    waiting = _hung(onward.of(root, ""), root, "", "")
    while waiting:
        edge, parent, before, rails, is_last = waiting.pop()
        end = onward.end(edge)
        is_again = end in shown
        corner = "└── " if is_last else "├── "
        yield Branch(rails + corner, end, nodes.get(end), onward.remark(edge, before), is_again)
        if not is_again:
            shown.add(end)
            only = (edge.producer or "") if onward.is_up else ""
            waiting += _hung(onward.of(end, only), end, parent, rails + ("    " if is_last else "│   "))


_Hung = tuple[Edge, str, str, str, bool]


def _hung(edges: Sequence[Edge], node: str, before: str, rails: str) -> list[_Hung]:
    """Edges that hang on a node, which hangs on `before`; the first of them on top of the stack."""
    last = len(edges) - 1
    return [(edge, node, before, rails, place == last) for place, edge in enumerate(edges)][::-1]


# ── a table ──────────────────────────────────────────────────────────────────────────────────────


def _table(pages: Iterable[Graph]) -> Iterator[str]:
    whole = _Whole()
    for place, page in enumerate(pages):
        whole.add(page)
        if place:
            yield ""
        yield f"{'depth':>5}  {'type':<10}  {'state':<11}  {'at':<19}  name"
        for node in page.nodes:
            at, state = ("", "") if node.is_masked else (_time(node.at), node.state)
            yield one_line(f"{node.depth:>5}  {node.type:<10}  {state:<11}  {at:<19}  {name_of(node)}")
        names = {node.id: name_of(node) for node in page.nodes}
        if page.edges:
            yield ""
            yield f"{'edge':<8}  from → to"
        for edge in page.edges:
            ends = f"{names.get(edge.source, edge.source)} → {names.get(edge.target, edge.target)}"
            said = says(edge)
            remark = f"  [{said}]" if said and said != edge.type else ""
            yield f"{edge.type:<8}  {one_line(ends + remark)}"
    yield ""
    yield one_line(whole.text)


# ── Mermaid ──────────────────────────────────────────────────────────────────────────────────────

_MERMAID_SHAPES = {"version": ("([", "])"), "run": ("[", "]"), "deployment": ("[[", "]]")}
_MERMAID_ARROWS = {"input": "-->", "output": "-->", "reused": "-.->", "derived": "-.->", "deployed": "==>"}
_MERMAID_STYLES = (
    "classDef run fill:#eef4fb,stroke:#4a78a8,color:#10243a",
    "classDef version fill:#f6f6f2,stroke:#8a8a7a,color:#20201a",
    "classDef deployment fill:#eef7ee,stroke:#4d8a57,color:#12301a",
    "classDef unwell fill:#fdeeee,stroke:#b03a3a,color:#401010",
    "classDef hidden fill:#f0f0f0,stroke:#999999,color:#666666,stroke-dasharray:4 3",
)
_UNWELL = frozenset({"failed", "aborted", "quarantined", "tainted", "expired", "erased"})


def _mermaid(pages: Iterable[Graph]) -> Iterator[str]:
    whole = _Whole()
    yield "flowchart LR"
    for page in pages:
        whole.add(page)
        for node in page.nodes:
            left, right = _MERMAID_SHAPES.get(node.type, ("[", "]"))
            yield f'  {_mermaid_id(node.id)}{left}"{mermaid_text(title(node))}"{right}:::{_class_of(node)}'
        for edge in page.edges:
            arrow = "-.->" if edge.ambiguous else _MERMAID_ARROWS.get(edge.type, "-->")
            said = says(edge)
            label = f'|"{mermaid_text(said)}"|' if said else ""
            yield f"  {_mermaid_id(edge.source)} {arrow}{label} {_mermaid_id(edge.target)}"
    for style in _MERMAID_STYLES:
        yield f"  {style}"
    yield f"  %% {_mermaid_remark(whole.text)}"


def _class_of(node: Node) -> str:
    if node.is_masked:
        return "hidden"
    return "unwell" if node.state in _UNWELL else node.type.value


def _mermaid_id(id: str) -> str:
    """An id that Mermaid takes for nothing else: each other character is written as its UTF-8 bytes."""
    return "n_" + re.sub(r"[^A-Za-z0-9]", lambda found: _in_hex(found[0]), id)


def _in_hex(character: str) -> str:
    return "".join(f"_{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def mermaid_text(text: str) -> str:
    """A text inside quotes: what could be markup, or end them, as a numeric entity (`#34;`)."""
    plain = re.sub(r"\s+", " ", one_line(text))
    return "".join(c if c.isalnum() or c in " ./:@,+=()-_'!?→" else f"#{ord(c)};" for c in plain)


def _mermaid_remark(text: str) -> str:
    return re.sub(r"[^\w .:;,-]", " ", one_line(text))


# ── DOT ──────────────────────────────────────────────────────────────────────────────────────────

_DOT_SHAPES = {"version": "ellipse", "run": "box", "deployment": "component"}
_DOT_STYLES = {"reused": "dashed", "derived": "dotted", "deployed": "bold"}
_DOT_COLOURS = {"hidden": "#999999", "unwell": "#b03a3a", "run": "#4a78a8", "deployment": "#4d8a57"}


def _dot(pages: Iterable[Graph]) -> Iterator[str]:
    whole = _Whole()
    yield "digraph lineage {"
    yield '  rankdir=LR; node [fontname="sans-serif", fontsize=11]; edge [fontname="sans-serif", fontsize=9];'
    for page in pages:
        whole.add(page)
        for node in page.nodes:
            kind = _class_of(node)
            said = {
                "label": title(node),
                "shape": _DOT_SHAPES.get(node.type, "box"),
                "color": _DOT_COLOURS.get(kind, "#8a8a7a"),
                "style": "dashed" if node.is_masked else "solid",
                "tooltip": node.type.value if node.is_masked else name_of(node),
            }
            yield f"  {_dot_text(node.id)} [{_dot_attributes(said)}];"
        for edge in page.edges:
            style = "dashed" if edge.ambiguous else _DOT_STYLES.get(edge.type, "solid")
            said = {"label": says(edge), "style": style, "class": edge.type.value}
            yield f"  {_dot_text(edge.source)} -> {_dot_text(edge.target)} [{_dot_attributes(said)}];"
    yield f"  label={_dot_label(whole.text)};"
    yield "}"


def _dot_attributes(said: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={_dot_label(text)}" for name, text in said.items())


def _dot_text(text: str) -> str:
    return '"' + one_line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot_label(text: str) -> str:
    # Graphviz reads entities inside of labels.
    return _dot_text(text.replace("&", "&amp;"))


# ── GraphML ──────────────────────────────────────────────────────────────────────────────────────

_GRAPHML_KEYS: Mapping[str, Mapping[str, str]] = {
    "node": {
        "type": "string",
        "name": "string",
        "kind": "string",
        "state": "string",
        "project": "string",
        "at": "string",
        "depth": "int",
        "masked": "boolean",
        "label": "string",
    },
    "edge": {
        "type": "string",
        "role": "string",
        "ordinal": "int",
        "producer": "string",
        "ambiguous": "boolean",
        "position": "long",
    },
    "graph": {"complete": "boolean", "completeness": "string", "frontier": "string"},
}


def _graphml(pages: Iterable[Graph]) -> Iterator[str]:
    whole = _Whole()
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for of, keys in _GRAPHML_KEYS.items():
        for name, type in keys.items():
            yield f'  <key id="{of}-{name}" for="{of}" attr.name="{name}" attr.type="{type}"/>'
    yield '  <graph id="lineage" edgedefault="directed">'
    count = 0
    for page in pages:
        whole.add(page)
        for node in page.nodes:
            yield f"    <node id={_xml_name(node.id)}>{_graphml_data('node', _node_data(node))}</node>"
        for edge in page.edges:
            ends = f"source={_xml_name(edge.source)} target={_xml_name(edge.target)}"
            yield f'    <edge id="e{count}" {ends}>{_graphml_data("edge", _edge_data(edge))}</edge>'
            count += 1
    last = whole.last
    said = {
        "complete": last is None or last.complete,
        "completeness": whole.text,
        "frontier": None if last is None else last.frontier,
    }
    yield f"    {_graphml_data('graph', said)}"
    yield "  </graph>"
    yield "</graphml>"


def _node_data(node: Node) -> Mapping[str, object]:
    known: dict[str, object] = {"type": node.type.value, "depth": node.depth, "masked": node.is_masked}
    if not node.is_masked:
        known |= {"name": node.name, "kind": node.kind, "state": node.state, "project": node.project}
        known["at"] = node.at.astimezone(UTC).isoformat()
    return {**known, "label": title(node)}


def _edge_data(edge: Edge) -> Mapping[str, object]:
    return {name: getattr(edge, name) for name in _GRAPHML_KEYS["edge"]}


def _graphml_data(of: str, said: Mapping[str, object]) -> str:
    told = []
    for name, value in said.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            told.append(f'<data key="{of}-{name}">{escape(one_line(text))}</data>')
    return "".join(told)


def _xml_name(id: str) -> str:
    return quoteattr(one_line(id))


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def _json_lines(pages: Iterable[Graph]) -> Iterator[str]:
    whole = _Whole()
    for page in pages:
        whole.add(page)
        for node in page.nodes:
            yield wire.encode({"node": node}).decode()
        for edge in page.edges:
            yield wire.encode({"edge": edge}).decode()
    yield wire.encode({"completeness": whole.value}).decode()


_DRAWINGS: Mapping[Format, Callable[[Iterable[Graph]], Iterator[str]]] = {
    Format.TABLE: _table,
    Format.MERMAID: _mermaid,
    Format.DOT: _dot,
    Format.GRAPHML: _graphml,
    Format.JSONL: _json_lines,
}
