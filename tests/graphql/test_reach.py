"""What a Quarantine of a Version reaches, or would: asked of GraphQL, on either database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import simulator
from tests.contract.conftest import CATALOGS
from tests.graphql.conftest import Schema
from tests.simulator import ACTOR, World, taken
from whence_catalog import model
from whence_catalog.access import Grants, Viewer

REACH = """query($ref: String!, $first: Int!) { resolve(ref: $ref) { ... on Version { reach(first: $first) {
  productionCount versionCount runCount aliasCount deploymentCount entryCount masked
  productions { version { ref } length path { ref job run { job { name } } } }
  aliases { name version { ref } } deployments { target version { ref } } entries { key run { uid } }
} } } }"""


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on an empty catalog, of either database."""
    with CATALOGS[request.param](tmp_path) as opened:
        yield World(opened)


def reach(ask: Schema, ref: str, first: int = 25) -> Any:
    return ask.data(REACH, ref=ref, first=first)["resolve"]["reach"]


def test_what_a_quarantine_would_reach_is_told_with_the_way_and_what_hands_it_on(
    world: World, ask: Schema
) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    trained = world.run("train", {"model:m": b"M"}, inputs=(taken(data),))
    made = trained.outputs[0]
    world.note("score", {"report:r": b"R"}, inputs=(taken(made),))
    version = made.version
    move = model.AliasMove(simulator.uid(), version.artifact, "prod", version.digest, ACTOR)
    simulator.one(world.catalog.move_aliases([move]))
    serve = model.DeploymentClaim(simulator.uid(), version.artifact, version.digest, "eu", ACTOR)
    simulator.one(world.catalog.deploy([serve]))
    before = reach(ask, "dataset:d")
    load, train, score = (
        {"ref": ref, "job": job, "run": {"job": {"name": job}}}
        for ref, job in (("dataset:d@1", "load"), ("model:m@1", "train"), ("report:r@1", "score"))
    )
    assert before == {
        **{"productionCount": 3, "versionCount": 3, "runCount": 3},
        **{"aliasCount": 1, "deploymentCount": 1, "entryCount": 1, "masked": 0},
        "productions": [
            {"version": {"ref": "dataset:d@1"}, "length": 1, "path": [load]},
            {"version": {"ref": "model:m@1"}, "length": 1, "path": [train]},
            {"version": {"ref": "report:r@1"}, "length": 2, "path": [train, score]},
        ],
        "aliases": [{"name": "prod", "version": {"ref": "model:m@1"}}],
        "deployments": [{"target": "eu", "version": {"ref": "model:m@1"}}],
        "entries": [{"key": trained.run.key, "run": {"uid": str(trained.run.uid)}}],
    }
    claim = model.QuarantineClaim(
        simulator.uid(), data.version.artifact, data.version.digest, ACTOR, "it leaks"
    )
    simulator.one(world.catalog.quarantine([claim]))
    assert reach(ask, "dataset:d") == before
    cut = reach(ask, "dataset:d", 1)
    assert (cut["productions"], cut["productionCount"]) == (before["productions"][:1], 3)


def test_what_is_reached_elsewhere_is_counted_and_no_more(world: World) -> None:
    shut, opened = World(world.catalog, project="shut"), World(world.catalog, project="open")
    data = opened.note("load", {"open/dataset:d": b"D"}).outputs[0]
    hidden = shut.note("distil", {"shut/model:hidden": b"H"}, inputs=(taken(data),)).outputs[0]
    opened.note("count", {"open/report:r": b"R"}, inputs=(taken(hidden),))
    serve = model.DeploymentClaim(
        simulator.uid(), hidden.version.artifact, hidden.version.digest, "vault", ACTOR
    )
    simulator.one(world.catalog.deploy([serve]))
    viewer = Viewer(model.Actor("guest", authenticated=True), Grants.parse(["read:open"]))
    seen = reach(Schema(world.catalog, viewer=viewer), "open/dataset:d")
    assert (seen["productionCount"], seen["deploymentCount"], seen["masked"]) == (3, 1, 2)
    assert [found["version"]["ref"] for found in seen["productions"]] == [
        "open/dataset:d@1",
        "open/report:r@1",
    ]
    assert seen["productions"][1]["path"][0] == {"ref": None, "job": None, "run": None}
    assert not any(word in str(seen) for word in ("hidden", "vault", "distil", "shut"))


def test_reach_is_asked_of_one_version_at_a_time_and_counts_as_a_look_at_a_whole_history(
    world: World, ask: Schema
) -> None:
    world.note("load", {"dataset:d": b"D"})
    inside = '{ artifact(ref: "dataset:d") { ... on Artifact { versions { nodes { reach { masked } } } } } }'
    assert ask(inside).codes == ["bad-value"]
    alone = 'resolve(ref: "dataset:d") { ... on Version { reach { masked } } }'
    assert ask("{ " + " ".join(f"r{n}: {alone}" for n in range(21)) + " }").codes == ["too-large"]
    assert ask(REACH, ref="dataset:d", first=0).codes == ["bad-value"]
    assert ask(REACH, ref="dataset:d", first=101).codes == ["bad-value"]
