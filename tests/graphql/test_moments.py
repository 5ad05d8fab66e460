"""What happened, and what was known when: timelines, and things and lists as they stood at a position."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_catalog import model
from whence_catalog.access import Grants, Viewer

EVENTS = """masked pageInfo { hasNextPage endCursor } nodes { type name reason position uid at recordedAt actor { name }
  version { ref } replaced { ref } run { job { name } } }"""
TIMELINE = (
    "query($ref: String!, $asOf: AsOf, $first: Int! = 25, $after: String) { artifact(ref: $ref) { ... on Artifact {"
    " timeline(asOf: $asOf, first: $first, after: $after) { " + EVENTS + " } } } }"
)
OF_VERSION = "query($ref: String!) { resolve(ref: $ref) { ... on Version { timeline { " + EVENTS + " } } } }"


def stood(world: World) -> int:
    """The position of the last fact by now."""
    return world.catalog.facts()[-1].position


def move(world: World, version: model.Version, reason: str) -> None:
    claim = model.AliasMove(simulator.uid(), version.artifact, "prod", version.digest, ACTOR, reason)
    simulator.one(world.catalog.move_aliases([claim]))


@pytest.fixture
def moved(world: World) -> tuple[int, int]:
    """Two models; prod is moved from the first to the second, which then serves. Positions: before and after the first move."""
    one, two = (world.note("train", {"model:m": b"%d" % n}).outputs[0].version for n in range(2))
    made = stood(world)
    move(world, one, "first")
    before = stood(world)
    move(world, two, "better")
    claim = model.DeploymentClaim(simulator.uid(), two.artifact, two.digest, "eu", ACTOR)
    simulator.one(world.catalog.deploy([claim]))
    return made, before


# ── timelines ────────────────────────────────────────────────────────────────────────────────────


def test_all_that_happened_to_an_artifact_is_told_the_newest_first(
    moved: tuple[int, int], ask: Schema
) -> None:
    nodes = ask.data(TIMELINE, ref="model:m")["artifact"]["timeline"]["nodes"]
    assert [(node["type"], node["name"], node["version"]["ref"]) for node in nodes] == [
        ("DEPLOYED", "eu", "model:m@2"),
        ("ALIASED", "prod", "model:m@2"),
        ("ALIASED", "prod", "model:m@1"),
        ("PRODUCED", None, "model:m@2"),
        ("PRODUCED", None, "model:m@1"),
    ]
    assert nodes[1]["replaced"] == {"ref": "model:m@1"}
    assert (nodes[1]["reason"], nodes[1]["actor"]["name"]) == ("better", ACTOR.name)
    assert nodes[3]["run"] == {"job": {"name": "train"}}
    assert nodes[0]["uid"]
    assert [node["position"] for node in nodes] == sorted((node["position"] for node in nodes), reverse=True)


def test_an_alias_that_was_moved_away_happened_to_the_version_too(
    moved: tuple[int, int], ask: Schema
) -> None:
    nodes = ask.data(OF_VERSION, ref="model:m@1")["resolve"]["timeline"]["nodes"]
    assert [node["type"] for node in nodes] == ["ALIASED", "ALIASED", "PRODUCED"]
    assert [node["version"]["ref"] for node in nodes] == ["model:m@2", "model:m@1", "model:m@1"]


def test_a_timeline_comes_in_pages_that_hold_while_more_happens(
    moved: tuple[int, int], world: World, ask: Schema
) -> None:
    whole = ask.data(TIMELINE, ref="model:m")["artifact"]["timeline"]["nodes"]
    seen: list[Any] = []
    after = None
    while not seen or after:
        page = ask.data(TIMELINE, ref="model:m", first=2, after=after)["artifact"]["timeline"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
        move(world, world.note("train", {"model:m": b"0"}).outputs[0].version, "later")
    assert seen == whole


def test_a_timeline_may_be_asked_for_as_it_was_known(moved: tuple[int, int], ask: Schema) -> None:
    nodes = ask.data(TIMELINE, ref="model:m", asOf=moved[1])["artifact"]["timeline"]["nodes"]
    assert [node["type"] for node in nodes] == ["ALIASED", "PRODUCED", "PRODUCED"]
    ahead = ask(TIMELINE, ref="model:m", asOf=10**6)
    assert ahead.codes == ["bad-value"]


def test_a_timeline_is_asked_for_of_one_thing_at_a_time(moved: tuple[int, int], ask: Schema) -> None:
    many = '{ artifact(ref: "model:m") { ... on Artifact { versions(first: 2) { nodes { timeline { masked } } } } } }'
    assert "one at a time" in ask(many).errors[0]["message"]


def test_a_run_of_a_project_that_may_not_be_read_is_no_part_of_a_timeline(world: World) -> None:
    world.note("train", {"model:m": b"M"})
    World(world.catalog, project="shut").note("copy", {"default/model:m": b"M"})
    outsider = Viewer(model.Actor("dora", True), Grants.parse(["read:default"]))
    nodes = Schema(world.catalog, viewer=outsider).data(TIMELINE, ref="model:m")["artifact"]["timeline"]
    assert [node["run"] for node in nodes["nodes"]] == [None, {"job": {"name": "train"}}]
    assert "copy" not in repr(nodes)


# ── as it was known ──────────────────────────────────────────────────────────────────────────────

THEN = """query($t: AsOf) {
  resolve(ref: "model:m@prod", asOf: $t) { __typename ... on Version { ref aliases(asOf: $t) { nodes { name until } }
    productions(asOf: $t) { nodes { run { job { name } } } } judgements(asOf: $t) { deployments { nodes { target } } } } }
  artifact(ref: "model:m") { ... on Artifact { version(selector: "prod", asOf: $t) { number }
    versions(asOf: $t) { totalCount nodes { number } } aliases(asOf: $t) { nodes { reason until } } } }
  runs(asOf: $t) { nodes { job { name } } }
}"""


def test_what_was_known_then_is_answered_whatever_was_recorded_since(
    moved: tuple[int, int], ask: Schema
) -> None:
    made, before = moved
    then = ask.data(THEN, t=before)
    assert then["resolve"]["ref"] == "model:m@1"
    assert then["resolve"]["aliases"]["nodes"] == [{"name": "prod", "until": None}]
    assert then["artifact"]["aliases"]["nodes"] == [{"reason": "first", "until": None}]
    assert then["artifact"]["version"] == {"number": 1}
    now = ask.data(THEN)
    assert now["resolve"]["ref"] == "model:m@2"
    assert now["resolve"]["judgements"]["deployments"]["nodes"] == [{"target": "eu"}]
    assert [node["reason"] for node in now["artifact"]["aliases"]["nodes"]] == ["better", "first"]
    assert now["artifact"]["aliases"]["nodes"][1]["until"]
    unnamed = ask.data(THEN, t=made)
    assert (unnamed["resolve"], unnamed["artifact"]["version"]) == ({"__typename": "NotFound"}, None)
    one = ask.data(THEN, t=1)
    assert (one["artifact"]["versions"]["totalCount"], len(one["runs"]["nodes"])) == (1, 1)


def test_a_time_means_one_position_in_all_lists_of_a_request(moved: tuple[int, int], ask: Schema) -> None:
    ask.asked.clear()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert ask.data(THEN, t=soon) == ask.data(THEN)
    assert ask.asked.count("position_at") == 1
    nothing = ask.data(THEN, t="2001-01-01T00:00:00Z")
    assert (nothing["runs"]["nodes"], nothing["artifact"]["versions"]["nodes"]) == ([], [])


def test_judgements_are_told_as_they_were_known(moved: tuple[int, int], world: World, ask: Schema) -> None:
    known = stood(world)
    version = world.catalog.versions([model.Reference.parse("model:m@2")])[0]
    assert isinstance(version, model.Version)
    for reason in ("good", "very good"):
        claim = model.ApprovalClaim(
            simulator.uid(), version.artifact, version.digest, ACTOR, model.Decision.APPROVED, reason
        )
        simulator.one(world.catalog.approve([claim]))
    asked = """query($t: AsOf, $after: String) { resolve(ref: "model:m@2") { ... on Version { judgements(asOf: $t) {
               approvals(first: 1, after: $after) { nodes { reason } pageInfo { endCursor } } } } } }"""

    def approvals(**given: object) -> Any:
        return ask.data(asked, **given)["resolve"]["judgements"]["approvals"]

    assert approvals(t=known)["nodes"] == []
    page = approvals(t=stood(world))
    assert page["nodes"] == [{"reason": "very good"}]
    assert approvals(t=stood(world), after=page["pageInfo"]["endCursor"])["nodes"] == [{"reason": "good"}]
    # What was known at another position is another list.
    assert ask(asked, after=page["pageInfo"]["endCursor"]).codes == ["bad-value"]


def test_the_number_of_questions_does_not_grow_with_what_is_asked_as_it_was_known(
    world: World, ask: Schema
) -> None:
    for n in range(9):
        made = world.note("train", {f"model:{n}": b"%d" % n}).outputs[0].version
        move(world, made, "good")
    asked = """query($n: Int!, $t: AsOf) { runs(first: $n, asOf: $t) { nodes { outputs { nodes { version {
      aliases(asOf: $t) { nodes { name } } productions(asOf: $t) { nodes { role } }
      artifact { version(selector: "prod", asOf: $t) { number } versions(asOf: $t) { totalCount } } } } } } } }"""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    counts = []
    for n in (1, 9):
        ask.asked.clear()
        assert len(ask.data(asked, n=n, t=later)["runs"]["nodes"]) == n
        counts.append(sorted(ask.asked))
    assert counts[0] == counts[1]


def test_a_run_is_told_as_it_was_known(world: World, ask: Schema) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    call = world.plain_call("train", (taken(data),))
    world.begin(call)
    begun = stood(world)
    child = world.plain_call("fold", (taken(data),), parent=call.run)
    simulator.one(world.catalog.record_runs([(child, world.report(child))]))
    report = world.report(call, {"model:m": b"M"})
    simulator.one(world.catalog.finish_runs([report]))
    asked = """query($id: ID!, $t: AsOf) { run(id: $id, asOf: $t) { ... on Error { kind } ... on Run { state inputs(asOf: $t) { nodes { role version {
      consumers(asOf: $t) { nodes { job { name } } } } } } outputs(asOf: $t) { nodes { role } } } } }"""
    now = ask.data(asked, id=str(call.run))["run"]
    assert (now["state"], len(now["outputs"]["nodes"])) == ("COMPLETE", 1)
    assert len(now["inputs"]["nodes"][0]["version"]["consumers"]["nodes"]) == 2
    then = ask.data(asked, id=str(call.run), t=begun)["run"]
    assert (then["state"], then["outputs"]["nodes"]) == ("RUNNING", [])
    assert then["inputs"]["nodes"][0]["version"]["consumers"]["nodes"] == [{"job": {"name": "train"}}]
    assert ask.data(asked, id=str(call.run), t=1)["run"] == {"kind": "no-such-run"}


# ── counts ───────────────────────────────────────────────────────────────────────────────────────

COUNTS = """query($roots: [ID!]!, $direction: Direction! = UP, $filter: LineageFilter, $asOf: AsOf, $first: Int! = 25) {
  lineageCounts(roots: $roots, direction: $direction, filter: $filter, asOf: $asOf) { __typename ... on Error { kind }
    ... on LineageCounts { total byType { name count } byKind(first: $first) { name count } byProject { name count }
      byState { name count } completeness { complete masked filtered } } } }"""


@pytest.fixture
def pipeline(world: World) -> World:
    """raw → clean → d → train → m."""
    raw = world.note("load", {"dataset:raw": b"R"}).outputs[0]
    data = world.note("clean", {"dataset:d": b"D"}, inputs=(taken(raw),)).outputs[0]
    world.note("train", {"model:m": b"M"}, inputs=(taken(data),))
    return world


def test_a_lineage_is_counted_without_its_rows(pipeline: World, ask: Schema) -> None:
    found = ask.data(COUNTS, roots=["model:m"])["lineageCounts"]
    counts = {name: {item["name"]: item["count"] for item in found[name]} for name in found if "by" in name}
    assert found["total"] == 6
    assert counts["byType"] == {"version": 3, "run": 3}
    assert found["byKind"] == [{"name": "dataset", "count": 2}, {"name": "model", "count": 1}]
    assert counts["byProject"] == {"default": 6}
    assert counts["byState"] == {"live": 3, "complete": 3}
    assert found["completeness"] == {"complete": True, "masked": 0, "filtered": 0}
    assert ask.data(COUNTS, roots=["model:m"], first=1)["lineageCounts"]["byKind"] == found["byKind"][:1]


def test_counts_are_of_what_a_filter_leaves_and_of_what_was_known(pipeline: World, ask: Schema) -> None:
    models = ask.data(
        COUNTS, roots=["dataset:raw"], direction="DOWN", filter={"types": ["VERSION"], "kinds": ["model"]}
    )["lineageCounts"]
    assert {item["name"]: item["count"] for item in models["byKind"]} == {"model": 1, "dataset": 1}
    then = ask.data(COUNTS, roots=["dataset:raw"], direction="DOWN", asOf=1)["lineageCounts"]
    assert then["total"] == 1
    assert ask.data(COUNTS, roots=["model:m"], asOf=1)["lineageCounts"]["kind"] == "no-such-version"


def test_of_what_may_not_be_seen_only_its_type_is_counted(world: World) -> None:
    data = World(world.catalog, project="shut").note("load", {"shut/dataset:d": b"D"}).outputs[0]
    world.note("train", {"model:m": b"M"}, inputs=(taken(data),))
    outsider = Viewer(model.Actor("dora", True), Grants.parse(["read:default"]))
    ask = Schema(world.catalog, viewer=outsider)
    found = ask.data(COUNTS, roots=["model:m"])["lineageCounts"]
    assert {item["name"] for item in found["byProject"]} == {"default"}
    assert {item["name"]: item["count"] for item in found["byState"]}["masked"] >= 1
    hidden, absent = (
        ask.data(COUNTS, roots=[f"{project}/dataset:d"])["lineageCounts"] for project in ("shut", "none")
    )
    assert hidden == absent
    assert hidden["__typename"] == "NotFound"
