"""What would have to be made again: asked of GraphQL, on either database, and as the catalog's own verb answers it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import simulator
from tests.contract.conftest import CATALOGS
from tests.contract.test_planning import Pipeline
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_api.graphql import relay
from whence_api.graphql.limits import GraphqlLimits
from whence_catalog import model, plans
from whence_catalog.access import Grants, Viewer

PLAN = """query($input: PlanInput!, $first: Int! = 25, $after: String) { plan(input: $input) { __typename
  ... on Error { kind message } ... on RerunPlan { position complete reasons possible reuseCount executeCount conditionalCount blockedCount
    targets { uid } expected { seconds sizeBytes runs } atMost { seconds sizeBytes runs }
    steps(first: $first, after: $after) { pageInfo { hasNextPage endCursor } nodes {
      step key stands reasons changed takeCount job { name } run { uid } recipe { uid } on { uid } reused { uid }
      expected { seconds sizeBytes runs } outputs { role version { ref } }
      takes { role ordinal output ambiguous artifact { ref } version { digest } producer { uid } madeBy { uid } } } }
    reads { nodes { type name said } } } } }"""


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog, of either database."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)


@pytest.fixture
def pipeline(world: World) -> Pipeline:
    """x → clean → train → score, which takes x too; there is another x."""
    made = Pipeline(world)
    made.publish("x", b"x1")
    made.step("clean", ["x"], c=0.5)
    made.step("train", ["clean"])
    made.step("score", ["train", "x"])
    made.publish("x", b"x2")
    return made


def planned(ask: Schema, **asked: object) -> Any:
    return ask.data(PLAN, input=asked)["plan"]


def words(found: Any) -> dict[str, str]:
    return {each["job"]["name"]: each["step"] for each in found["steps"]["nodes"]}


def uid(found: object) -> dict[str, str] | None:
    return None if found is None else {"uid": str(found)}


def shown(found: plans.RerunPlan) -> dict[str, Any]:
    """What the catalog answers, as the query above tells it, but for what the simulator makes up anew."""

    def expected(of: plans.Expected | None) -> object:
        return None if of is None else {"seconds": of.seconds, "sizeBytes": of.size_bytes, "runs": of.runs}

    def takes(taken: plans.Taken) -> dict[str, Any]:
        return {
            **{"role": taken.role, "ordinal": taken.ordinal, "output": taken.output},
            "ambiguous": taken.may_be,
            "artifact": {"ref": str(taken.artifact)},
            "version": None if taken.content is None else {"digest": taken.content.digest.text},
            "producer": uid(taken.producer),
            "madeBy": uid(taken.step),
        }

    def step(each: plans.PlannedRun) -> dict[str, Any]:
        reused = each.step if isinstance(each.step, plans.Reuse) else None
        why = each.step.obstacles if isinstance(each.step, plans.Conditional) else each.step.why
        return {
            **{"step": plans.name(each.step).upper(), "key": each.key, "stands": each.stands},
            "reasons": [why] if isinstance(why, str) else list(why),
            **{"changed": list(each.changed), "takeCount": len(each.takes), "job": {"name": each.job}},
            **{"run": uid(each.run), "recipe": uid(each.recipe)},
            "on": [uid(run) for run in each.step.on] if isinstance(each.step, plans.Conditional) else [],
            "reused": uid(reused and reused.run),
            "expected": expected(each.expected),
            "outputs": [made.role for made in reused.outputs] if reused else [],
            "takes": list(map(takes, each.takes)),
        }

    sure, every = plans.total(found)
    return {
        **{"position": found.position, "complete": found.complete, "reasons": list(found.reasons)},
        "possible": found.is_possible,
        **{f"{name}Count": count for name, count in found.counts.items()},
        **{"targets": [uid(run) for run in found.targets]},
        **{"expected": expected(sure), "atMost": expected(every)},
        "steps": list(map(step, found.steps)),
        "reads": [{"type": r.type.name, "name": r.name, "said": r.said} for r in found.read],
    }


def told(answer: Any) -> dict[str, Any]:
    steps = answer["steps"]["nodes"]
    for each in steps:
        each["outputs"] = [made["role"] for made in each["outputs"]]
    assert answer.pop("__typename") == "RerunPlan"
    return {**answer, "steps": steps, "reads": answer["reads"]["nodes"]}


def test_a_plan_is_what_the_catalog_plans(pipeline: Pipeline, ask: Schema) -> None:
    x, other = (pipeline.world.catalog.productions(pipeline.made["x"].version.artifact)[n] for n in (1, 0))
    swap = plans.Replacement(other.version.artifact, other.version.content, other.run)
    instead = [{"insteadOf": "dataset:x@1", "take": "dataset:x@2"}]
    # Nothing changed; other data; what follows from it; another parameter.
    assert told(planned(ask, targets=["model:score"])) == shown(pipeline.plan("model:score"))
    found = planned(ask, targets=["model:score"], inputs=instead)
    assert words(found) == {"clean": "EXECUTE", "train": "CONDITIONAL", "score": "CONDITIONAL"}
    assert told(found) == shown(pipeline.plan("model:score", inputs={"dataset:x@1": swap}))
    found = planned(ask, downstreamOf=["dataset:x@1"], inputs=instead)
    assert told(found) == shown(pipeline.plan(downstream_of=("dataset:x@1",), inputs={"dataset:x@1": swap}))
    train = str(pipeline.made["train"].run)
    named = planned(ask, targets=[train], params=[{"job": "train", "name": "c", "value": 2}])
    assert told(named) == shown(pipeline.plan(train, params={"train": {"c": 2}}))
    # What is quarantined blocks.
    claim = model.QuarantineClaim(simulator.uid(), x.version.artifact, x.version.digest, ACTOR, "it leaks")
    simulator.one(pipeline.world.catalog.quarantine([claim]))
    blocked = planned(ask, targets=["model:score"])
    assert (blocked["possible"], blocked["blockedCount"]) == (False, 4)
    assert told(blocked) == shown(pipeline.plan("model:score"))


def test_things_are_named_by_ids_as_elsewhere_and_what_is_there_is_shown(
    pipeline: Pipeline, ask: Schema
) -> None:
    version = pipeline.made["score"].version
    x = pipeline.made["x"].version
    found = planned(
        ask,
        targets=[relay.id_of(relay.NodeType.VERSION, version.ref)],
        inputs=[
            {
                "insteadOf": relay.id_of(relay.NodeType.ARTIFACT, x.artifact),
                "take": relay.id_of(relay.NodeType.VERSION, x.ref),
            }
        ],
    )
    assert words(found)["clean"] == "EXECUTE"
    again = planned(ask, targets=[relay.id_of(relay.NodeType.RUN, pipeline.made["score"].run)])
    (train,) = [each for each in again["steps"]["nodes"] if each["job"]["name"] == "train"]
    assert train["outputs"] == [{"role": "model:train", "version": {"ref": "model:train@1"}}]


def test_a_whole_number_stands_for_a_float_where_one_was_recorded(pipeline: Pipeline, ask: Schema) -> None:
    pipeline.made["x"] = pipeline.world.catalog.productions(pipeline.made["x"].version.artifact)[1]
    pipeline.step("clean", ["x"], c=1.0)
    found = planned(ask, targets=["model:score@1"], params=[{"job": "clean", "name": "c", "value": 1}])
    assert words(found)["clean"] == "REUSE"
    none = planned(ask, targets=["model:score@1"], params=[{"job": "clean", "name": "c", "value": None}])
    assert words(none)["clean"] == "EXECUTE"


# What is asked for beside the model, which type of error that is, and what is in its message.
CANNOT_BE: list[tuple[dict[str, Any], str, str]] = [
    ({}, "InvalidInput", "a plan of nothing"),
    ({"targets": []}, "InvalidInput", "a plan of nothing"),
    ({"targets": ["model:none"]}, "NotFound", "model:none"),
    ({"targets": [str(uuid4())]}, "NotFound", "no run"),
    ({"targets": ["x"]}, "InvalidInput", "not a global id"),
    ({"targets": [str(relay.id_of(relay.NodeType.ARTIFACT, "model:score"))]}, "InvalidInput", "artifact"),
    ({"downstreamOf": ["model:none"]}, "NotFound", "model:none"),
    (
        {"downstreamOf": [str(relay.id_of(relay.NodeType.RUN, uuid4()))]},
        "InvalidInput",
        "a run was given",
    ),
    ({"asOf": 10**6}, "InvalidInput", "position"),
    ({"asOf": "2001-01-01T00:00:00Z"}, "NotFound", "model:score"),
    ({"maxRuns": 0}, "InvalidInput", "1 to 10000"),
    ({"maxRuns": 10_001}, "InvalidInput", "1 to 10000"),
    ({"inputs": [{"insteadOf": "dataset:x", "take": "dataset:no"}]}, "NotFound", "dataset:no"),
    ({"inputs": [{"insteadOf": "dataset:no", "take": "dataset:x"}]}, "NotFound", "dataset:no"),
    ({"inputs": [{"insteadOf": "dataset:x", "take": "dataset:x@1"}] * 2}, "InvalidInput", "twice"),
    ({"inputs": [{"insteadOf": "model:score", "take": "dataset:x"}]}, "InvalidInput", "took"),
    ({"params": [{"job": "nobody", "name": "c", "value": 1}]}, "InvalidInput", "nobody.c"),
    ({"params": [{"job": "clean", "name": "d", "value": 1}]}, "InvalidInput", "no parameter d"),
    ({"params": [{"job": "clean", "name": "c", "value": 1}] * 2}, "InvalidInput", "twice"),
    ({"params": [{"job": "clean", "name": "c"}]}, "InvalidInput", "no value"),
]


def test_a_plan_that_cannot_be_made_says_why(pipeline: Pipeline, ask: Schema) -> None:
    for beside, type, message in CANNOT_BE:
        is_whole = not beside or beside.keys() & {"targets", "downstreamOf"}
        asked = beside if is_whole else {"targets": ["model:score"], **beside}
        found = planned(ask, **asked)
        assert (found["__typename"], message in found["message"]) == (type, True), (asked, found)


def test_steps_come_in_pages_and_no_cursor_is_of_another_plan(pipeline: Pipeline, ask: Schema) -> None:
    whole = planned(ask, targets=["model:score"])
    asked = {"targets": ["model:score"], "asOf": whole["position"]}
    seen, after = [], None
    while not seen or after:
        page = ask.data(PLAN, input=asked, first=1, after=after)["plan"]["steps"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
    assert seen == whole["steps"]["nodes"]
    cursor = ask.data(PLAN, input=asked, first=1)["plan"]["steps"]["pageInfo"]["endCursor"]
    for other in ({**asked, "targets": ["model:train"]}, {**asked, "asOf": whole["position"] - 1}):
        assert ask(PLAN, input=other, after=cursor).codes == ["bad-value"]


def test_a_plan_counts_as_a_look_at_a_whole_history_and_is_cut_where_it_is_asked_to_be(
    pipeline: Pipeline, ask: Schema
) -> None:
    one = 'plan(input: {targets: ["model:score"]}) { __typename }'
    assert ask("{ " + " ".join(f"p{n}: {one}" for n in range(21)) + " }").codes == ["too-large"]
    assert ask(PLAN, input={"targets": ["model:score"] * 101}).codes == ["too-large"]
    many = [{"job": "clean", "name": f"c{n}", "value": 1} for n in range(101)]
    assert ask(PLAN, input={"targets": ["model:score"], "params": many}).codes == ["too-large"]
    small = Schema(ask.catalog, GraphqlLimits(lineage_nodes=2))
    assert planned(small, targets=["model:score"])["__typename"] == "InvalidInput"
    cut = planned(small, targets=["model:score"], maxRuns=2)
    assert (cut["complete"], len(cut["steps"]["nodes"])) == (False, 2)
    assert "nearest" in cut["reasons"][0]


def test_however_many_steps_a_plan_has_as_many_statements_show_it(pipeline: Pipeline, ask: Schema) -> None:
    ask.asked.clear()
    planned(ask, targets=["model:score"])
    few = len(ask.asked)
    for n in range(20):
        pipeline.step(f"more{n}", ["train"])
        pipeline.made[f"in{n}"] = replace(pipeline.made[f"more{n}"], role=f"in{n}")
    pipeline.step("last", [f"in{n}" for n in range(20)])
    ask.asked.clear()
    assert len(planned(ask, targets=["model:last"])["steps"]["nodes"]) == 24
    assert len(ask.asked) == few


def test_what_may_not_be_read_is_not_planned_and_named_nowhere(world: World) -> None:
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    secret = shut.note("gather", {"shut/dataset:secret": b"S"}).outputs[0]
    opened.note("train", {"open/model:m": b"M"}, inputs=(taken(secret, "data"),))
    viewer = Viewer(model.Actor("guest", authenticated=True), Grants.parse(["read:open"]))
    guest = Schema(world.catalog, viewer=viewer)
    found = planned(guest, targets=["open/model:m"])
    assert (found["complete"], words(found)) == (False, {"train": "REUSE"})
    (step,) = found["steps"]["nodes"]
    assert [(t["artifact"], t["version"], t["producer"]) for t in step["takes"]] == [(None, None, None)]
    assert not any(word in str(found) for word in ("secret", "gather", "shut"))
    for asked in (
        {"targets": ["shut/dataset:secret"]},
        {"downstreamOf": ["shut/dataset:secret"]},
        {"targets": [str(secret.run)]},
        {
            "targets": ["open/model:m"],
            "inputs": [{"insteadOf": "shut/dataset:secret", "take": "open/model:m"}],
        },
        {
            "targets": ["open/model:m"],
            "inputs": [{"insteadOf": "open/model:m", "take": "shut/dataset:secret"}],
        },
    ):
        assert planned(guest, **asked)["__typename"] == "NotFound"
