"""The examples of docs/graphql.md are questions that are answered."""

import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from graphql import parse, validate

from tests import simulator
from tests.graphql.conftest import Schema, send
from tests.simulator import ACTOR, World, taken
from whence_catalog import model

PAGE = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text()
ALL = re.findall(r"^```graphql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
# What is subscribed to has no one answer.
EXAMPLES = [text for text in ALL if not text.startswith("subscription")]
BODIES = re.findall(r"-d '(\{.*?\})'", PAGE, re.DOTALL)


@pytest.fixture
def digits(world: World) -> World:
    """What the examples take for granted: two detectors of digits, of which the first is prod and serves."""
    data = world.note("load", {"dataset:digits": b"D"}).outputs[0]
    made = [world.run("train", {"model:detector": b"%d" % n}, n, (taken(data),)).outputs[0] for n in range(2)]
    first = made[0].version
    move = model.AliasMove(simulator.uid(), first.artifact, "prod", first.digest, ACTOR)
    simulator.one(world.catalog.move_aliases([move]))
    serve = model.DeploymentClaim(simulator.uid(), first.artifact, first.digest, "eu", ACTOR)
    simulator.one(world.catalog.deploy([serve]))
    return world


@pytest.mark.parametrize("example", sorted(set(ALL) - set(EXAMPLES)))
def test_what_is_subscribed_to_is_in_the_schema(ask: Schema, example: str) -> None:
    assert validate(ask.schema._schema, parse(example)) == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8
    assert BODIES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("(")[0].split()[-1])
def test_every_example_is_answered_with_what_was_asked_for(digits: World, ask: Schema, example: str) -> None:
    answer = ask.data(example.replace("... on Error { kind message }", "... on Error { refused: kind }"))
    assert answer
    for field in answer.values():
        assert field
        assert "refused" not in field


@pytest.mark.parametrize("body", BODIES)
def test_what_is_sent_by_hand_is_answered(digits: World, served: FastAPI, body: str) -> None:
    found = send(served, json.loads(body)).json()
    assert "errors" not in found
    assert found["data"]["resolve"] == {"ref": "model:detector@1", "state": "LIVE"}
