"""Ways, beginnings, what is common, and what came of something: asked of GraphQL, now and as it was known."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_api.graphql import relay
from whence_catalog import model
from whence_catalog.access import Grants, Viewer

# No Run, and no Deployment, has that id.
NOTHING = UUID(int=7)
WHY = "... on Error { kind message }"
PATHS = (
    """query($from: ID!, $to: ID!, $max: Int! = 5, $asOf: AsOf) { paths(from: $from, to: $to, max: $max, asOf: $asOf) {
    __typename ... on Paths { paths { length nodes { ref name type masked } } completeness { complete } } """
    + WHY
    + " } }"
)
NODES = """__typename ... on LineageNodeConnection { totalCount masked nodes { id ref name depth } pageInfo { hasNextPage endCursor }
    completeness { complete masked } } ... on Error { kind }"""
ROOTS = "query($of: [ID!]!, $first: Int! = 25, $after: String, $asOf: AsOf) { found: roots(of: $of, first: $first, after: $after, asOf: $asOf) { NODES } }".replace(
    "NODES", NODES
)
COMMON = "query($of: [ID!]!, $first: Int! = 25, $after: String, $asOf: AsOf) { found: commonAncestors(of: $of, first: $first, after: $after, asOf: $asOf) { NODES } }".replace(
    "NODES", NODES
)
IMPACT = """query($of: ID!, $kinds: [String!], $first: Int! = 25, $after: String, $asOf: AsOf) {
    impact(of: $of, kinds: $kinds, first: $first, after: $after, asOf: $asOf) { __typename ... on Error { kind }
    ... on ImpactConnection { subject { ref } deploymentCount aliasCount versionCount runCount kinds { kind count } position masked
      nodes { type version { ref masked } path { length nodes { ref name } } deployment { target } alias { name } }
      pageInfo { hasNextPage endCursor } completeness { complete } } } }"""


@pytest.fixture
def history(world: World) -> World:
    """raw → clean → d → train → m, which is prod and serves; d → count → r."""
    raw = world.note("load", {"dataset:raw": b"R"}).outputs[0]
    data = world.note("clean", {"dataset:d": b"D"}, inputs=(taken(raw),)).outputs[0]
    made = world.note("train", {"model:m": b"M"}, inputs=(taken(data),)).outputs[0].version
    world.note("count", {"report:r": b"C"}, inputs=(taken(data),))
    move = model.AliasMove(simulator.uid(), made.artifact, "prod", made.digest, ACTOR)
    simulator.one(world.catalog.move_aliases([move]))
    serve = model.DeploymentClaim(simulator.uid(), made.artifact, made.digest, "eu", ACTOR)
    simulator.one(world.catalog.deploy([serve]))
    return world


def test_the_way_from_data_to_model_is_told(history: World, ask: Schema) -> None:
    found = ask.data(PATHS, **{"from": "dataset:raw", "to": "model:m@prod"})["paths"]
    (path,) = found["paths"]
    assert [node["ref"] or node["name"] for node in path["nodes"]] == [
        "dataset:raw@1",
        "clean",
        "dataset:d@1",
        "train",
        "model:m@1",
    ]
    assert (path["length"], found["completeness"]["complete"]) == (5, True)
    assert ask.data(PATHS, **{"from": "model:m", "to": "dataset:raw"})["paths"]["paths"] == []


def test_where_the_data_begins_and_what_is_common_come_in_pages(history: World, ask: Schema) -> None:
    roots = ask.data(ROOTS, of="model:m")["found"]
    assert ([node["ref"] for node in roots["nodes"]], roots["totalCount"]) == (["dataset:raw@1"], 1)
    whole = ask.data(COMMON, of=["model:m", "report:r"])["found"]
    assert whole["totalCount"] == len(whole["nodes"]) == 4
    seen, after = [], None
    while not seen or after:
        page = ask.data(COMMON, of=["model:m", "report:r"], first=1, after=after)["found"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
    assert seen == whole["nodes"]


def test_what_came_of_data_and_where_it_serves_is_one_question(history: World, ask: Schema) -> None:
    found = ask.data(IMPACT, of="dataset:raw")["impact"]
    assert found["subject"] == {"ref": "dataset:raw@1"}
    assert (found["deploymentCount"], found["aliasCount"], found["versionCount"]) == (1, 1, 3)
    assert {count["kind"]: count["count"] for count in found["kinds"]} == {
        "dataset": 1,
        "model": 1,
        "report": 1,
    }
    assert [(node["type"], node["version"]["ref"]) for node in found["nodes"]] == [
        ("DEPLOYMENT", "model:m@1"),
        ("ALIAS", "model:m@1"),
        ("VERSION", "model:m@1"),
    ]
    assert found["nodes"][0]["deployment"] == {"target": "eu"}
    assert found["nodes"][1]["alias"] == {"name": "prod"}
    assert found["nodes"][2]["path"]["length"] == 5
    every = ask.data(IMPACT, of="dataset:raw", kinds=[])["impact"]["nodes"]
    assert len(every) == 5


def test_a_question_is_answered_with_what_was_known_then(history: World, ask: Schema) -> None:
    facts = history.catalog.facts()
    before = next(fact.position for fact in facts if fact.fact.verb == "deploy") - 1
    assert ask.data(IMPACT, of="dataset:raw")["impact"]["deploymentCount"] == 1
    assert ask.data(IMPACT, of="dataset:raw", asOf=before)["impact"]["deploymentCount"] == 0
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert ask.data(IMPACT, of="dataset:raw", asOf=later)["impact"]["deploymentCount"] == 1
    long_ago = ask.data(ROOTS, of=["model:m"], asOf="2001-01-01T00:00:00Z")["found"]
    assert long_ago["__typename"] == "NotFound"


def test_a_time_is_made_a_position_once_in_a_request(history: World, ask: Schema) -> None:
    ask.asked.clear()
    now = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    both = 'query($t: AsOf) { a: roots(of: ["model:m"], asOf: $t) { __typename } b: impact(of: "model:m", asOf: $t) { __typename } }'
    ask.data(both, t=now)
    assert ask.asked.count("position_at") == 1


@pytest.mark.parametrize("as_of", ["yesterday", "", "2026-05-03", "2026-05-03T12:00:00", True, 1.5, [1], {}])
def test_what_is_no_time_is_refused(history: World, ask: Schema, as_of: object) -> None:
    answer = ask(ROOTS, of=["model:m"], asOf=as_of)
    assert answer.data is None
    assert answer.codes == ["bad-value"]


@pytest.mark.parametrize("as_of", [-1, 10**6, 2**63])
def test_a_position_that_is_not_there_is_a_typed_error(history: World, ask: Schema, as_of: int) -> None:
    assert ask.data(ROOTS, of=["model:m"], asOf=as_of)["found"]["__typename"] == "InvalidInput"


@pytest.mark.parametrize(
    ("named", "type"),
    [
        ("model:none", "NotFound"),
        ("model:m@9", "NotFound"),
        (str(NOTHING), "NotFound"),
        (str(relay.id_of(relay.NodeType.RUN, NOTHING)), "NotFound"),
        (str(relay.id_of(relay.NodeType.DEPLOYMENT, NOTHING)), "NotFound"),
        ("x", "InvalidInput"),
        ("", "InvalidInput"),
        (":", "InvalidInput"),
        (str(relay.id_of(relay.NodeType.ARTIFACT, "model:m")), "InvalidInput"),
        (str(relay.id_of(relay.NodeType.RUN, "x")), "InvalidInput"),
        (str(relay.id_of(relay.NodeType.DEPLOYMENT, "x")), "InvalidInput"),
    ],
)
def test_a_subject_that_is_not_there_or_cannot_be_is_a_typed_error(
    history: World, ask: Schema, named: str, type: str
) -> None:
    assert ask.data(PATHS, **{"from": named, "to": "model:m"})["paths"]["__typename"] == type
    assert ask.data(ROOTS, of=[named])["found"]["__typename"] == type
    assert ask.data(COMMON, of=["model:m", named])["found"]["__typename"] == type
    assert ask.data(IMPACT, of=named)["impact"]["__typename"] in (type, "InvalidInput")


def test_a_cursor_of_another_question_is_a_typed_error(history: World, ask: Schema) -> None:
    cursor = ask.data(COMMON, of=["model:m", "report:r"], first=1)["found"]["pageInfo"]["endCursor"]
    for wrong in (cursor[:-2], "x", ""):
        again = ask.data(COMMON, of=["model:m", "report:r"], first=1, after=wrong)["found"]
        assert again["__typename"] == "InvalidInput"
    assert ask.data(ROOTS, of=["model:m"], after=cursor)["found"]["__typename"] == "InvalidInput"
    assert ask.data(IMPACT, of="model:m", after=cursor)["impact"]["__typename"] == "InvalidInput"


def test_how_much_is_asked_of_the_whole_is_limited(history: World, ask: Schema) -> None:
    assert ask(PATHS, **{"from": "model:m", "to": "model:m", "max": 101}).codes == ["bad-value"]
    assert ask(PATHS, **{"from": "model:m", "to": "model:m", "max": 0}).codes == ["bad-value"]
    assert ask(ROOTS, of=["model:m"] * 101).codes == ["too-large"]
    many = " ".join(f'r{n}: roots(of: ["model:m"]) {{ __typename }}' for n in range(21))
    assert ask("{ " + many + " }").codes == ["too-large"]


def test_what_changed_from_one_to_another_is_told_part_by_part(history: World, ask: Schema) -> None:
    for n, data in enumerate((b"D", b"E")):
        made = history.note("pick", {"dataset:e": data}).outputs[0]
        history.run("fit", {"model:f": data}, float(n), (taken(made, "data"),))
    query = """query($l: ID!, $r: ID!) { difference(left: $l, right: $r) { __typename ... on Error { kind } ... on Difference {
      left { job { name } } right { uid } parts { name verdict note counts } inputs { role verdict before { ref } after { ref } }
      params { name change before after } metrics { name } components { name } masked
      upstreamLeft { name } completeness { complete } } } }"""
    found = ask.data(query, l="model:f@1", r="model:f@2")["difference"]
    verdicts = {part["name"]: part["verdict"] for part in found["parts"]}
    assert (verdicts["params"], verdicts["data"], verdicts["job"]) == ("CHANGED", "CHANGED", "SAME")
    assert found["params"] == [{"name": "c", "change": "CHANGED", "before": 0.0, "after": 1.0}]
    assert found["inputs"] == [
        {
            "role": "data",
            "verdict": "CHANGED",
            "before": {"ref": "dataset:e@1"},
            "after": {"ref": "dataset:e@2"},
        }
    ]
    assert ask.data(query, l="model:f@1", r="model:none")["difference"]["kind"] == "no-such-artifact"
    run = str(history.catalog.list_runs(job="fit").items[0].uid)
    assert ask.data(query, l="model:f@1", r=run)["difference"]["__typename"] == "InvalidInput"


def test_what_an_alias_meant_and_what_served_at_a_time_is_told(history: World, ask: Schema) -> None:
    query = """query($at: DateTime!, $asOf: AsOf, $artifact: ID! = "model:m") {
      aliasAt(artifact: $artifact, alias: "prod", at: $at, asOf: $asOf) { ... on Error { kind }
        ... on AliasAt { alias { version { ref } actor { name } replaced } } }
      deployments(at: $at, asOf: $asOf, artifact: "model:m") { nodes { target version { ref } } } }"""
    now = datetime.now(UTC) + timedelta(seconds=5)
    found = ask.data(query, at=now.isoformat())
    assert found["aliasAt"]["alias"] == {
        "version": {"ref": "model:m@1"},
        "actor": {"name": "tester"},
        "replaced": None,
    }
    assert found["deployments"]["nodes"] == [{"target": "eu", "version": {"ref": "model:m@1"}}]
    before = ask.data(query, at="2001-01-01T00:00:00Z")
    assert (before["aliasAt"]["alias"], before["deployments"]["nodes"]) == (None, [])
    assert ask.data(query, at=now.isoformat(), artifact="model:no")["aliasAt"]["kind"] == "no-such-artifact"
    assert ask(query, at="2001-01-01T00:00:00").codes == ["bad-value"]
    assert ask('{ deployments(after: "x") { nodes { id } } }').codes == ["bad-value"]


def test_what_serves_elsewhere_is_not_told(guest: Schema) -> None:
    assert guest.data("{ deployments { nodes { target } } }")["deployments"]["nodes"] == []


# ── labels ───────────────────────────────────────────────────────────────────────────────────────

LABEL = """mutation($input: SetLabelsInput!) { label(input: $input) { __typename
  ... on Labelled { id labels { name value } } ... on Error { kind } } }"""


def test_a_run_and_a_version_are_labelled_after_the_fact(history: World, ask: Schema) -> None:
    run = history.catalog.list_runs(job="train").items[0]
    for subject, query in (
        (str(run.uid), "{ run(id: %s) { ... on Run { labels { name value } } } }"),
        ("model:m@prod", "{ resolve(ref: %s) { ... on Version { judgements { labels { name value } } } } }"),
    ):
        both = [{"name": "b", "value": "2"}, {"name": "a", "value": "1"}]
        uid = str(uuid4())
        found = ask.data(LABEL, input={"subject": subject, "set": both, "uid": uid})["label"]
        assert found["labels"] == both[::-1]
        assert ask.data(LABEL, input={"subject": subject, "set": both, "uid": uid})["label"] == found
        again = ask.data(LABEL, input={"subject": found["id"], "remove": ["a"]})["label"]
        assert again["labels"] == both[:1]
        (shown,) = ask.data(query % f'"{subject}"').values()
        assert (shown.get("judgements") or shown)["labels"] == both[:1]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"subject": "model:m"}, "InvalidInput"),
        ({"subject": "model:m", "set": [{"name": "", "value": "x"}]}, "InvalidInput"),
        ({"subject": "model:none", "remove": ["a"]}, "NotFound"),
        ({"subject": str(uuid4()), "remove": ["a"]}, "NotFound"),
        ({"subject": "x", "remove": ["a"]}, "InvalidInput"),
        ({"subject": str(relay.id_of(relay.NodeType.ARTIFACT, "model:m")), "remove": ["a"]}, "InvalidInput"),
        ({"subject": str(relay.id_of(relay.NodeType.DEPLOYMENT, uuid4())), "remove": ["a"]}, "InvalidInput"),
    ],
)
def test_labels_that_cannot_be_are_typed_errors(
    history: World, ask: Schema, given: dict[str, Any], kind: str
) -> None:
    assert ask.data(LABEL, input=given)["label"]["__typename"] == kind


# ── access ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def guest(world: World) -> Schema:
    """Somebody who may read `open`, whose model learned from `shut`, which made a report of it and serves it."""
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    secret = shut.note("gather", {"shut/dataset:secret": b"S"}).outputs[0]
    made = opened.note("train", {"open/model:m": b"M"}, inputs=(taken(secret),)).outputs[0]
    hidden = shut.note("distil", {"shut/model:hidden": b"H"}, inputs=(taken(made),)).outputs[0].version
    serve = model.DeploymentClaim(simulator.uid(), hidden.artifact, hidden.digest, "vault", ACTOR)
    simulator.one(world.catalog.deploy([serve]))
    viewer = Viewer(model.Actor("guest", authenticated=True), Grants.parse(["read:open", "record:open"]))
    return Schema(world.catalog, viewer=viewer)


def test_what_may_not_be_read_is_masked_in_every_question(guest: Schema) -> None:
    roots = guest.data(ROOTS, of=["open/model:m"])["found"]
    assert (roots["totalCount"], roots["masked"], roots["nodes"][0]["ref"]) == (1, 1, None)
    impact = guest.data(IMPACT, of="open/model:m")["impact"]
    assert (impact["deploymentCount"], impact["versionCount"]) == (1, 1)
    assert all(node["version"]["masked"] and node["deployment"] is None for node in impact["nodes"])
    for answer in (roots, impact):
        assert not any(word in str(answer) for word in ("secret", "hidden", "vault", "gather", "distil"))
    for named in ("shut/dataset:secret", "shut/model:hidden"):
        assert guest.data(IMPACT, of=named)["impact"]["kind"] == "no-such-artifact"
        assert (
            guest.data(PATHS, **{"from": named, "to": "open/model:m"})["paths"]["kind"] == "no-such-artifact"
        )
        assert (
            guest.data(LABEL, input={"subject": named, "remove": ["a"]})["label"]["__typename"] == "NotFound"
        )
