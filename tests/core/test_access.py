"""Grants: what they allow, who may give them, how they are written; and what masks leave of a lineage."""

import dataclasses
import itertools
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence_catalog import access, lineage, masking, paths
from whence_catalog.access import Grant, Grants
from whence_catalog.errors import InvalidInput

PROJECTS = st.sampled_from(["vision", "speech", "*"])
GRANTS = st.dictionaries(PROJECTS, st.frozensets(st.sampled_from(Grant), min_size=1)).map(Grants)


@pytest.mark.parametrize("grant", Grant)
def test_a_grant_allows_itself_and_to_read_in_its_project_and_nothing_elsewhere(grant: Grant) -> None:
    grants = Grants.parse([f"{grant}:vision"])
    allowed = {other for other in Grant if grants.allows(other, "vision")}
    assert allowed == (set(Grant) if grant is Grant.ADMINISTER else {grant, Grant.READ})
    assert not any(grants.allows(other, project) for other in Grant for project in ("speech", "*", "visio"))


def test_a_grant_in_every_project_holds_in_any() -> None:
    grants = Grants.parse(["record:*", "promote:vision"])
    assert grants.allows(Grant.RECORD, "speech")
    assert grants.allows(Grant.RECORD, "*")
    assert grants.allows(Grant.PROMOTE, "vision")
    assert not grants.allows(Grant.PROMOTE, "speech")
    assert not grants.allows(Grant.PROMOTE, "*")


def test_who_has_nothing_may_do_nothing() -> None:
    assert not any(Grants().allows(grant, project) for grant in Grant for project in ("vision", "*"))
    assert not any(Grants().allows_somewhere(grant) for grant in Grant)


@given(GRANTS, GRANTS)
def test_who_may_give_grants_holds_all_of_them(held: Grants, wanted: Grants) -> None:
    if held.may_give(wanted):
        assert all(
            held.allows(grant, project) for project, given in wanted.by_project.items() for grant in given
        )


def test_only_who_administers_a_project_may_give_grants_in_it() -> None:
    reader, head = Grants.parse(["read:vision", "record:vision"]), Grants.parse(["administer:vision"])
    assert not reader.may_give(Grants.parse(["read:vision"]))
    assert head.may_give(Grants.parse(["record:vision", "administer:vision"]))
    assert not head.may_give(Grants.parse(["read:vision", "read:speech"]))
    assert not head.may_give(Grants.parse(["read:*"]))
    assert Grants.parse(["administer:*"]).may_give(Grants.parse(["administer:*", "read:speech"]))


@given(GRANTS)
def test_grants_are_read_as_they_are_written(grants: Grants) -> None:
    assert Grants.parse(grants.texts) == grants


@pytest.mark.parametrize(
    "text",
    ["", "read", "read:", ":vision", "write:vision", "READ:vision", "read:a/b", "read:a:b", "read:a\nb"],
)
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Grants.parse([text])


@pytest.mark.parametrize("change", [{"name": ""}, {"name": "a\nb"}, {"actor": " "}, {"hash": b"short"}])
def test_a_token_that_cannot_be_meant_is_not_made(change: dict[str, object]) -> None:
    whole: dict[str, object] = {
        "uid": uuid.UUID(int=1),
        "name": "nightly",
        "actor": "robot",
        "hash": access.hash_of("whence_" + "a" * 43),
        "grants": Grants(),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    access.Token(**whole)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        access.Token(**{**whole, **change})  # type: ignore[arg-type]


def test_a_secret_is_known_by_its_form() -> None:
    assert access.is_secret("whence_" + "aZ0_-" * 8 + "abc")
    assert not any(map(access.is_secret, ["", "whence_", "whence_" + "a" * 42, "whence_" + "a" * 44 + "\n"]))


# ── masks ────────────────────────────────────────────────────────────────────────────────────────


def node(name: str, project: str, depth: int = 0) -> lineage.Node:
    kind = lineage.NodeType.VERSION if ":" in name else lineage.NodeType.RUN
    at = datetime(2026, 5, 3, tzinfo=UTC)
    return lineage.Node(name, kind, f"name of {name}", "live", at, "model", depth, project)


def edge(source: str, target: str, type: lineage.EdgeType, **says: object) -> lineage.Edge:
    said: dict[str, object] = {"role": "a role", "ordinal": 3, "producer": None, "ambiguous": False}
    return lineage.Edge(source, target, type, **{**said, "position": 17, **says})  # type: ignore[arg-type]


def graph(nodes: list[lineage.Node], edges: list[lineage.Edge]) -> lineage.Graph:
    whole = lineage.Completeness(complete=False, reasons=("cut",), frontier="f", ambiguous=1)
    return lineage.Graph((nodes[0].id,), tuple(nodes), tuple(edges), whole)


def masked(whole: lineage.Graph, elsewhere: dict[str, str] | None = None) -> lineage.Graph:
    """As somebody sees it who may see `open` alone."""
    fresh = itertools.count()
    return masking.mask(whole, "open".__eq__, lambda: f"id {next(fresh)}", elsewhere or {})


INPUT, OUTPUT, DERIVED = lineage.EdgeType.INPUT, lineage.EdgeType.OUTPUT, lineage.EdgeType.DERIVED


def test_a_masked_node_keeps_its_type_depth_and_edges_and_nothing_else() -> None:
    whole = graph(
        [node("model:m@1", "open"), node("run 1", "shut", 1), node("dataset:d@1", "shut", 1)],
        [edge("run 1", "model:m@1", OUTPUT), edge("dataset:d@1", "run 1", INPUT, producer="run 0")],
    )
    seen = masked(whole)
    never = datetime(1970, 1, 1, tzinfo=UTC)
    assert seen.nodes == (
        whole.nodes[0],
        lineage.Node("id 0", lineage.NodeType.RUN, "", "masked", never, None, 1, ""),
        lineage.Node("id 1", lineage.NodeType.VERSION, "", "masked", never, None, 1, ""),
    )
    assert [n.ref for n in seen.nodes] == ["model:m@1", None, None]
    assert [(e.source, e.target, e.producer) for e in seen.edges] == [
        ("id 0", "model:m@1", None),
        ("id 1", "id 0", "id 2"),
    ]
    assert seen.completeness == dataclasses.replace(whole.completeness, masked=2)
    assert seen.roots == whole.roots


def test_what_a_run_says_of_an_edge_is_hidden_with_the_run_alone() -> None:
    whole = graph(
        [node("run 1", "open"), node("run 2", "shut"), node("a:a@1", "shut"), node("b:b@1", "open")],
        [
            edge("a:a@1", "run 1", INPUT),
            edge("b:b@1", "run 2", INPUT),
            edge("run 2", "b:b@1", OUTPUT),
            edge("a:a@1", "b:b@1", DERIVED, producer="run 1"),
            edge("a:a@1", "b:b@1", DERIVED, producer="run 2"),
            edge("run 2", "run 1", lineage.EdgeType.REUSED),
        ],
    )
    assert [(e.role, e.ordinal, e.position) for e in masked(whole).edges] == [
        ("a role", 3, 17),
        ("", 0, 0),
        ("", 0, 0),
        ("a role", 3, 17),
        ("", 0, 0),
        ("a role", 3, 17),
    ]


def test_what_lies_on_other_pages_is_shown_only_if_its_project_is_known_and_may_be_seen() -> None:
    whole = graph(
        [node("run 1", "open")],
        [edge(f"{name}:x@1", "run 1", INPUT, producer=f"run of {name}") for name in ("a", "b", "c")],
    )
    assert masking.beyond(whole) == {f"{name}:x@1" for name in "abc"} | {f"run of {name}" for name in "abc"}
    elsewhere = {"a:x@1": "open", "run of a": "open", "b:x@1": "shut", "run of b": "open"}
    shown = [(e.source, e.producer) for e in masked(whole, elsewhere).edges]
    assert shown[0] == ("a:x@1", "run of a")
    assert shown[1][0].startswith("id")
    assert shown[1][1] == "run of b"
    assert {text.startswith("id") for text in shown[2] if text} == {True}


def test_masking_never_makes_an_ambiguous_input_less_ambiguous() -> None:
    """Positions of masked Runs are hidden; whatever could have been taken still could have."""
    whole = graph(
        [node("run 1", "shut"), node("run 2", "shut"), node("a:a@1", "open"), node("run 3", "open")],
        [
            edge("run 1", "a:a@1", OUTPUT, position=5),
            edge("a:a@1", "run 2", INPUT, ambiguous=True, position=9),
            edge("a:a@1", "run 3", INPUT, ambiguous=True, position=7),
        ],
    )
    seen = masked(whole)
    names = dict(zip((n.id for n in whole.nodes), (n.id for n in seen.nodes), strict=True))
    before = {(names[hop.source], names[hop.target]) for hop in paths.hops(whole)}
    assert before <= {(hop.source, hop.target) for hop in paths.hops(seen)}


def test_who_may_see_all_sees_the_graph_as_it_is() -> None:
    whole = graph([node("run 1", "open"), node("a:a@1", "open")], [edge("a:a@1", "run 1", INPUT)])
    assert masked(whole) == whole
