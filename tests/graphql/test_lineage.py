"""Lineage through GraphQL: filters, positions, Deployments, and what is hidden of it."""

from typing import Any

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_catalog import model
from whence_catalog.access import Grants, Viewer

LINEAGE = """query($roots: [ID!]!, $direction: Direction! = UP, $bounds: Bounds, $filter: LineageFilter, $frontier: String, $asOf: AsOf) {
  lineage(roots: $roots, direction: $direction, bounds: $bounds, filter: $filter, frontier: $frontier, asOf: $asOf) {
    __typename ... on Error { kind }
    ... on Lineage { nodes { id type ref name state depth masked }
      edges { source target type } completeness { complete frontier filtered masked } } } }"""


@pytest.fixture
def history(world: World) -> World:
    """raw → clean → d → train → m, which serves; train is labelled; and the same was reused once."""
    raw = world.note("load", {"dataset:raw": b"R"}).outputs[0]
    data = world.note("clean", {"dataset:d": b"D"}, inputs=(taken(raw),)).outputs[0]
    made = world.run("train", {"model:m": b"M"}, inputs=(taken(data),)).outputs[0]
    serve = model.DeploymentClaim(
        simulator.uid(), made.version.artifact, made.version.digest, "eu", ACTOR, "good"
    )
    simulator.one(world.catalog.deploy([serve]))
    label = model.LabelClaim(simulator.uid(), str(made.run), ACTOR, {"team": "vision"})
    simulator.one(world.catalog.label([label]))
    return world


def found(ask: Schema, **asked: object) -> Any:
    return ask.data(LINEAGE, **asked)["lineage"]


def names(answer: Any) -> list[str]:
    return [node["name"] for node in answer["nodes"]]


def test_a_deployment_stands_at_the_end_and_is_a_root(history: World, ask: Schema) -> None:
    down = found(ask, roots=["dataset:d"], direction="DOWN")
    last = down["nodes"][-1]
    assert (last["type"], last["name"], last["state"]) == ("DEPLOYMENT", "eu", "serving")
    assert [edge["type"] for edge in down["edges"]].count("DEPLOYED") == 1
    up = found(ask, roots=[last["id"]])
    assert names(up)[0] == "eu"
    assert set(names(up)) >= {"model:m", "train", "dataset:d", "clean", "dataset:raw", "load"}
    node = ask.data(
        "query($id: ID!) { node(id: $id) { ... on Deployment { target lineage { nodes { name } } } } }",
        id=last["id"],
    )["node"]
    assert (node["target"], names(node["lineage"])) == ("eu", names(up))


@pytest.mark.parametrize(
    ("filter", "shown"),
    [
        ({"types": ["VERSION"]}, {"model:m", "dataset:d", "dataset:raw"}),
        ({"types": ["VERSION"], "kinds": ["dataset"]}, {"model:m", "dataset:d", "dataset:raw"}),
        ({"states": ["failed"], "types": ["RUN"]}, {"model:m"}),
        ({"stopAt": {"kinds": ["dataset"]}}, {"model:m", "train", "dataset:d"}),
        (
            {"stopAt": {"states": ["failed"]}},
            {"model:m", "train", "dataset:d", "clean", "dataset:raw", "load"},
        ),
        ({"stopAt": {"states": ["complete"]}}, {"model:m", "train"}),
        (
            {"stopAt": {"kinds": ["dataset"], "states": ["failed"]}},
            {"model:m", "train", "dataset:d", "clean", "dataset:raw", "load"},
        ),
        (
            {"passThrough": {"types": ["RUN"]}},
            {"model:m", "dataset:d", "dataset:raw"},
        ),
        ({}, {"model:m", "train", "dataset:d", "clean", "dataset:raw", "load"}),
    ],
)
def test_a_filter_says_what_is_shown_and_through_what_to_go(
    history: World, ask: Schema, filter: dict[str, object], shown: set[str]
) -> None:
    answer = found(ask, roots=["model:m"], filter=filter)
    assert set(names(answer)) == shown
    ids = {node["id"] for node in answer["nodes"]}
    assert all({edge["source"], edge["target"]} <= ids for edge in answer["edges"])


def test_what_was_left_out_is_counted(history: World, ask: Schema) -> None:
    answer = found(ask, roots=["model:m"], filter={"types": ["VERSION"]})
    assert answer["completeness"]["filtered"] == 3


def test_a_reused_run_may_be_shown_as_its_origin(history: World, ask: Schema) -> None:
    data = simulator.one(history.catalog.resolve([model.Reference.parse("dataset:d")]))
    again = history.call("train", inputs=(taken(data),))
    history.ask(again)
    plain = found(ask, roots=["dataset:d"], direction="DOWN", filter={"types": ["RUN"]})
    assert [node["state"] for node in plain["nodes"]].count("reused") == 1
    collapsed = found(
        ask, roots=["dataset:d"], direction="DOWN", filter={"types": ["RUN"], "collapseReuse": True}
    )
    assert [node["state"] for node in collapsed["nodes"]].count("reused") == 0


def test_lineage_is_told_as_it_was_known_then(history: World, ask: Schema) -> None:
    before = next(fact.position for fact in history.catalog.facts() if fact.fact.verb == "deploy") - 1
    assert "eu" in names(found(ask, roots=["model:m"], direction="DOWN"))
    assert "eu" not in names(found(ask, roots=["model:m"], direction="DOWN", asOf=before))
    assert found(ask, roots=["model:m"], asOf=1)["kind"] == "no-such-version"
    assert found(ask, roots=["model:m"], asOf=10**6)["kind"] == "bad-value"
    of_version = ask.data(
        'query($n: AsOf) { resolve(ref: "model:m") { ... on Version { lineage(direction: DOWN, asOf: $n) { nodes { name } } } } }',
        n=before,
    )["resolve"]["lineage"]
    assert names(of_version) == ["model:m"]


def test_a_frontier_goes_on_with_the_same_question_only(history: World, ask: Schema) -> None:
    page = found(ask, roots=["model:m"], bounds={"maxNodes": 2}, filter={"types": ["VERSION", "RUN"]})
    frontier = page["completeness"]["frontier"]
    assert page["completeness"]["complete"] is False
    for other in ({}, {"filter": {"types": ["RUN"]}}, {"direction": "DOWN"}, {"roots": ["dataset:d"]}):
        asked = {"roots": ["model:m"], "frontier": frontier, **other}
        assert found(ask, **asked)["__typename"] == "InvalidInput"


def test_a_filter_tells_nothing_of_what_may_not_be_read(world: World) -> None:
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    secret = shut.note("gather", {"shut/dataset:secret": b"S"}).outputs[0]
    opened.note("train", {"open/model:m": b"M"}, inputs=(taken(secret),))
    ask = Schema(
        world.catalog, viewer=Viewer(model.Actor("guest", authenticated=True), Grants.parse(["read:open"]))
    )
    told = {
        str(
            [
                (node["type"], node["masked"], node["name"])
                for node in found(ask, roots=["open/model:m"], filter=filter)["nodes"]
                if node["masked"]
            ]
        )
        for filter in (
            {},
            {"kinds": ["model"]},
            {"projects": ["shut"]},
            {"projects": ["open"]},
            {"stopAt": {"kinds": ["dataset"]}},
            {"stopAt": {"projects": ["shut"]}},
            {"passThrough": {"projects": ["shut"]}},
        )
    }
    assert len(told) == 1


def test_hidden_neighbours_are_counted_where_they_are_asked_for(history: World, ask: Schema) -> None:
    beside = """fragment beside on LineageNode { hiddenUpstream hiddenDownstream }
      query($roots: [ID!]!) { lineage(roots: $roots, direction: UP, bounds: {depth: 1}) {
        ... on Lineage { nodes { name ...beside } } } }"""
    told = ask.data(beside, roots=["model:m"])["lineage"]["nodes"]
    # Beyond what was shown: the deployment in which it serves, and the run that made what train took.
    assert [(n["name"], n["hiddenUpstream"], n["hiddenDownstream"]) for n in told] == [
        ("model:m", 0, 1),
        ("train", 0, 0),
        ("dataset:d", 1, 0),
    ]
