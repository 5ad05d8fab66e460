"""Drawings are read back by the parsers of those who read them, whatever names nodes have."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import networkx
import pydot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence import drawing
from whence_catalog.lineage import (
    MASKED,
    Completeness,
    Direction,
    Edge,
    EdgeType,
    Graph,
    Node,
    NodeType,
)

T0 = datetime(2026, 5, 3, tzinfo=UTC)
NASTY = '"<a&b>]|{x}\\; --> %% end #quot; `n`\\N'
RAW, MODEL, COPY = "dataset:raw@1", f"model:{NASTY}@2", "model:copy@1"


def version(id: str, depth: int = 0, state: str = "live") -> Node:
    return Node(id, NodeType.VERSION, id.rpartition("@")[0], state, T0, "model", depth, "default")


def run(id: str, job: str, depth: int = 1, state: str = "complete") -> Node:
    return Node(id, NodeType.RUN, job, state, T0, None, depth, "default")


def edge(source: str, target: str, type: EdgeType, role: str = "", **also: Any) -> Edge:
    said = {"ordinal": 0, "producer": None, "ambiguous": False, "position": 1} | also
    return Edge(source, target, type, role, **said)


def graph(complete: bool = True) -> Graph:
    """A model of raw data, said to be derived from it; reused; and taken by a run that may not be seen."""
    return Graph(
        roots=(MODEL,),
        nodes=(
            version(MODEL),
            run("run-a", "line\nbreak.train"),
            version(RAW, 1, "tainted"),
            run("run-b", "train", 2, "reused"),
            Node("masked-1", NodeType.RUN, "", MASKED, datetime(1970, 1, 1, tzinfo=UTC), depth=1),
        ),
        edges=(
            edge(RAW, "run-a", EdgeType.INPUT, "data", producer="run-0", position=1),
            edge("run-a", MODEL, EdgeType.OUTPUT, "model", position=2),
            edge(RAW, MODEL, EdgeType.DERIVED, "model", producer="run-a"),
            edge("run-a", "run-b", EdgeType.REUSED, position=3),
            edge(MODEL, "masked-1", EdgeType.INPUT, ambiguous=True, position=2**62),
        ),
        completeness=Completeness(complete, () if complete else ("5 nodes reached",), ambiguous=1, masked=1),
    )


def named(text: str) -> Graph:
    """Two nodes, and an edge between them, with that text in every place that takes one."""
    nodes = (version(f"model:{text}@1"), run(f"run {text}", text or "x", state=text or "complete"))
    ends = (nodes[1].id, nodes[0].id)
    return Graph((nodes[0].id,), nodes, (edge(*ends, EdgeType.OUTPUT, text),), Completeness(True))


def served() -> Graph:
    """A model that serves at one target, and served at another, which is over."""
    nodes = (
        version(MODEL),
        Node("deployment/d1", NodeType.DEPLOYMENT, "shop/eu-central", "serving", T0, None, 1, "default"),
        Node("deployment/d2", NodeType.DEPLOYMENT, "shop/us", "ended", T0, None, 1, "default"),
    )
    deployed = tuple(edge(MODEL, node.id, EdgeType.DEPLOYED, position=9) for node in nodes[1:])
    return Graph((MODEL,), nodes, deployed, Completeness(True))


def text_of(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


ANY_TEXT = st.text(max_size=30) | st.sampled_from([NASTY, "a\nb", "]]>", "\\", '\\"', "%%{init}%%", "end"])


# ── GraphML ──────────────────────────────────────────────────────────────────────────────────────


def test_graphml_is_read_by_networkx_with_all_that_is_known() -> None:
    read = networkx.read_graphml(io.BytesIO(text_of(drawing.graphml(graph())).encode()))
    assert set(read.nodes) == {node.id for node in graph().nodes}
    assert read.nodes[RAW]["state"] == "tainted"
    assert read.nodes["masked-1"] == {"type": "run", "depth": 1, "masked": True, "label": "run (hidden)"}
    told = {(s, t): data["type"] for s, t, data in read.edges(data=True)}
    assert told == {(e.source, e.target): e.type.value for e in graph().edges}
    assert read.edges[MODEL, "masked-1"]["ambiguous"] is True
    assert read.edges[MODEL, "masked-1"]["position"] == 2**62
    assert read.graph["complete"] is True


@settings(max_examples=200)
@given(ANY_TEXT)
def test_graphml_is_xml_whatever_a_name_holds(text: str) -> None:
    root = ElementTree.fromstring(text_of(drawing.graphml(named(text))).encode())
    space = "{http://graphml.graphdrawing.org/xmlns}"
    ids = [node.attrib["id"] for node in root.iter(f"{space}node")]
    assert ids == [drawing.one_line(node.id) for node in named(text).nodes]
    (drawn,) = root.iter(f"{space}edge")
    assert [drawn.attrib["source"], drawn.attrib["target"]] == ids[::-1]


# ── DOT ──────────────────────────────────────────────────────────────────────────────────────────


def unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydot's own parser
def test_dot_is_read_by_pydot_and_edges_that_are_not_sure_look_it() -> None:
    (read,) = pydot.graph_from_dot_data(text_of(drawing.dot(graph()))) or ()
    assert {
        unquoted(node.get_name()) for node in read.get_nodes() if node.get_name() not in ("node", "edge")
    } == {node.id for node in graph().nodes}
    styles = {
        (unquoted(e.get_source()), unquoted(e.get_destination())): e.get("style") for e in read.get_edges()
    }
    assert styles == {
        (RAW, "run-a"): '"solid"',
        ("run-a", MODEL): '"solid"',
        (RAW, MODEL): '"dotted"',
        ("run-a", "run-b"): '"dashed"',
        (MODEL, "masked-1"): '"dashed"',
    }
    labels = {e.get("label") for e in read.get_edges()}
    assert {'"derived"', '"reused"', '"data"'} <= labels


# A statement of this dialect of DOT: names are quoted, and a quote inside of them has a backslash.
QUOTED = r'"(?:[^"\\\n]|\\.)*"'
ATTRIBUTES = rf"\[\w+={QUOTED}(?:, \w+={QUOTED})*\]"


@settings(max_examples=200)
@given(ANY_TEXT)
def test_dot_keeps_to_its_grammar_whatever_a_name_holds(text: str) -> None:
    head, _defaults, *lines, foot = drawing.dot(named(text))
    assert (head, foot) == ("digraph lineage {", "}")
    assert len(lines) == 4
    for line in lines[:2]:
        assert re.fullmatch(rf"  {QUOTED} {ATTRIBUTES};", line), line
    assert re.fullmatch(rf"  {QUOTED} -> {QUOTED} {ATTRIBUTES};", lines[2]), lines[2]
    ids = [unquoted(found) for found in re.findall(QUOTED, lines[2])[:2]]
    assert ids == [drawing.one_line(node.id) for node in named(text).nodes][::-1]


# ── Mermaid ──────────────────────────────────────────────────────────────────────────────────────

# What Mermaid's own lexer takes for an id and for the inside of quotes, and less than that.
MERMAID_ID = r"n_\w*"
MERMAID_TEXT = r'"(?:\w|[ ./:@,+=()\-\'!?→]|#\d+;)*"'
MERMAID_NODE = rf"  {MERMAID_ID}(?:\(\[{MERMAID_TEXT}\]\)|\[\[?{MERMAID_TEXT}\]\]?):::\w+"
MERMAID_EDGE = rf"  {MERMAID_ID} (?:-->|-\.->|==>)(?:\|{MERMAID_TEXT}\|)? {MERMAID_ID}"


@settings(max_examples=200)
@given(ANY_TEXT)
def test_mermaid_keeps_to_its_grammar_whatever_a_name_holds(text: str) -> None:
    drawn = list(drawing.mermaid(named(text)))
    assert drawn[0] == "flowchart LR"
    assert len(drawn) == 1 + 3 + 5 + 1
    for line in drawn[1:3]:
        assert re.fullmatch(MERMAID_NODE, line), line
    assert re.fullmatch(MERMAID_EDGE, drawn[3]), drawn[3]


def test_mermaid_tells_the_kinds_of_edges_and_nodes_apart() -> None:
    drawn = text_of(drawing.mermaid(graph()))
    assert '-.->|"derived"|' in drawn
    assert '-.->|"reused"|' in drawn
    assert '-.->|"(ambiguous)"|' in drawn
    assert '["run (hidden)"]:::hidden' in drawn
    assert '(["dataset:raw@1 (tainted)"]):::unwell' in drawn


@given(st.lists(ANY_TEXT, unique=True, min_size=2, max_size=6))
def test_nodes_of_other_names_have_other_ids_in_mermaid(texts: list[str]) -> None:
    ids = {
        next(line for line in drawing.mermaid(named(text)) if "([" in line).split("(")[0] for text in texts
    }
    assert len(ids) == len(texts)


# ── deployments ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", drawing.Format)
def test_each_drawing_shows_where_a_version_serves_and_served(format: drawing.Format) -> None:
    drawn = text_of(drawing.draw(format, iter([served()])))
    for told in ("shop/eu-central", "shop/us", "ended"):
        assert told in drawn, told


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydot's own parser
def test_deployments_look_their_own_way() -> None:
    mermaid = list(drawing.mermaid(served()))
    nodes = {line.rpartition('"')[0].partition('"')[2]: line for line in mermaid if ":::" in line}
    assert nodes["shop/eu-central (serving)"].endswith(":::deployment")
    assert sum(" ==>" in line for line in mermaid) == 2
    for line in mermaid[1:4]:
        assert re.fullmatch(MERMAID_NODE, line), line
    (dot,) = pydot.graph_from_dot_data(text_of(drawing.dot(served()))) or ()
    assert {e.get("style") for e in dot.get_edges()} == {'"bold"'}
    read = networkx.read_graphml(io.BytesIO(text_of(drawing.graphml(served())).encode()))
    assert read.nodes["deployment/d2"]["state"] == "ended"
    assert {data["type"] for _, _, data in read.edges(data=True)} == {"deployed"}
    tree = list(drawing.tree(served(), Direction.DOWN))
    assert [line for line in tree if "shop/us" in line and "ended" in line]


# ── JSON, table, tree ────────────────────────────────────────────────────────────────────────────


@given(ANY_TEXT)
def test_each_line_of_json_is_an_object(text: str) -> None:
    read = [json.loads(line) for line in drawing.json_lines(named(text.encode("utf-8", "ignore").decode()))]
    assert [next(iter(line)) for line in read] == ["node", "node", "edge", "completeness"]


def test_the_last_line_of_json_says_whether_that_is_all() -> None:
    *_, last = drawing.json_lines(graph(complete=False))
    told = json.loads(last)["completeness"]
    assert (told["complete"], told["reasons"], told["masked"]) == (False, ["5 nodes reached"], 1)


@given(ANY_TEXT)
def test_a_name_breaks_no_line_of_a_table_or_tree(text: str) -> None:
    for drawn in (drawing.table(named(text)), drawing.tree(named(text), Direction.UP)):
        assert all(len(line.splitlines()) <= 1 for line in drawn)


def test_a_table_says_how_sure_each_edge_is() -> None:
    drawn = text_of(drawing.table(graph()))
    assert "derived   dataset:raw@1 → model:" in drawn
    assert re.search(r"input     model:.* → run \(hidden\)  \[\(ambiguous\)\]", drawn)
    assert drawn.endswith("complete; 1 ambiguous inputs; 1 of projects that you may not read\n")


def test_a_tree_shows_what_an_output_is_said_to_be_derived_from() -> None:
    up = list(drawing.tree(graph(), Direction.UP))
    assert up[1].startswith("└── line break.train run-a complete")
    assert up[2] == "    └── dataset:raw@1 tainted  data (derived)"


def test_a_tree_in_both_directions_shows_both_and_what_was_shown_once_only_once() -> None:
    both = list(drawing.tree(graph(), Direction.BOTH))
    assert [line for line in both if "came from" in line or "went into" in line] == [both[0], both[3]]
    twice = replace(graph(), roots=(MODEL, MODEL))
    assert sum(line.endswith("↑ shown above") for line in drawing.tree(twice, Direction.UP)) == 1


def test_what_hangs_on_nothing_that_is_shown_is_in_the_tree_all_the_same() -> None:
    thinned = replace(graph(), nodes=tuple(n for n in graph().nodes if n.type is NodeType.VERSION), edges=())
    first, second = drawing.tree(thinned, Direction.UP)
    assert (drawing.one_line(MODEL), second) == (first, "dataset:raw@1 tainted  by ways that are not shown")


def test_a_history_deeper_than_the_stack_is_drawn() -> None:
    deep = 3000
    nodes = tuple(run(f"run-{n}", "j", n) for n in range(deep))
    edges = tuple(edge(f"run-{n + 1}", f"run-{n}", EdgeType.REUSED) for n in range(deep - 1))
    drawn = drawing.tree(Graph(("run-0",), nodes, edges, Completeness(True)), Direction.UP)
    assert sum(1 for _ in drawn) == deep


@pytest.mark.parametrize("format", drawing.Format)
def test_pages_are_drawn_as_they_come(format: drawing.Format) -> None:
    given: list[int] = []

    def pages() -> Iterator[Graph]:
        for place in range(3):
            given.append(place)
            yield replace(named(f"p{place}"), completeness=Completeness(place == 2, ambiguous=1))

    drawn = drawing.draw(format, pages())
    while not given:
        next(drawn)
    assert given == [0]
    rest = list(drawn)
    assert given == [0, 1, 2]
    assert any("p2" in line for line in rest)
    if format is drawing.Format.JSONL:
        assert (
            json.loads(rest[-1])["completeness"] | {"ambiguous": 3, "complete": True}
            == json.loads(rest[-1])["completeness"]
        )
