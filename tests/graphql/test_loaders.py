"""No resolver runs a query per item: however many things an answer has, as many statements make it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests import simulator
from tests.graphql.conftest import Schema
from tests.simulator import World, taken
from whence_catalog import model
from whence_catalog.sql.catalog import SqlCatalog

NESTED = """query($first: Int!) { runs(first: $first, job: "train") { nodes {
    id params metrics { name } labels { name value } error
    parent { id children(first: 2) { nodes { id } } }
    inputs(first: 3) { nodes { version { id artifact { ref versions(first: 2) { totalCount nodes { number } } aliases { nodes { name } } } }
      production { run { job { name } } version { state } metadata derivedFrom(first: 2) { version { ref } } } } }
    outputs(first: 3) { nodes { description derivedFrom(first: 2) { version { ref } production { run { id } } }
      version { state aliases(standing: true) { nodes { reason } } consumers(first: 2) { nodes { id } }
        productions(first: 2) { nodes { run { id } } } artifact { version { number } best: version(selector: "prod") { id } } } } }
  } } }"""


def fill(world: World, count: int) -> None:
    """`count` runs, each with its own inputs, outputs, parent, labels and aliases."""
    for n in range(count):
        data = world.note("load", {f"dataset:{n}": b"D%d" % n}).outputs[0]
        parent = world.plain_call("pipeline")
        world.begin(parent)
        call = world.plain_call("train", (taken(data),), parent=parent.run, labels={"n": str(n)})
        source = model.Source(data.version.artifact, data.version.digest, data.run)
        made = simulator.claim(f"model:{n}", b"M%d" % n, derived_from=(source,), description=f"the {n}")
        report = replace(world.report(call), outputs=(made,))
        (output,) = simulator.one(world.catalog.record_runs([(call, report)])).outputs
        move = model.AliasMove(
            simulator.uid(), output.version.artifact, "prod", output.version.digest, simulator.ACTOR, "good"
        )
        simulator.one(world.catalog.move_aliases([move]))


@contextmanager
def counted(world: World) -> Iterator[list[str]]:
    """The statements that SQLite carries out meanwhile."""
    assert isinstance(world.catalog, SqlCatalog)
    connections: list[sqlite3.Connection] = [entry[0] for entry in world.catalog._database._idle]
    assert connections
    statements: list[str] = []
    for connection in connections:
        connection.set_trace_callback(statements.append)
    yield statements
    for connection in connections:
        connection.set_trace_callback(None)


def answered(world: World, first: int) -> tuple[Any, list[str], list[str]]:
    ask = Schema(world.catalog)
    with counted(world) as statements:
        data = ask.data(NESTED, first=first)
    return data["runs"]["nodes"], statements, ask.asked


def test_the_number_of_statements_does_not_grow_with_the_number_of_items(world: World) -> None:
    fill(world, 50)
    two, few, _ = answered(world, 2)
    fifty, many, asked = answered(world, 50)
    assert (len(two), len(fifty)) == (2, 50)
    assert len({run["outputs"]["nodes"][0]["version"]["artifact"]["best"]["id"] for run in fifty}) == 50
    assert len({run["inputs"]["nodes"][0]["version"]["id"] for run in fifty}) == 50
    assert len(many) == len(few)
    # One call for each list and each kind of thing of the query, in waves of what hangs on what.
    assert len(asked) <= 20
    assert len(many) <= 120


def test_everything_with_an_id_is_found_at_once(world: World) -> None:
    fill(world, 20)
    ask = Schema(world.catalog)
    runs = ask.data(
        "{ runs(first: 20) { nodes { id outputs { nodes { version { id artifact { id } } } } } } }"
    )
    ids = [run["id"] for run in runs["runs"]["nodes"]]
    for run in runs["runs"]["nodes"]:
        for output in run["outputs"]["nodes"]:
            ids += [output["version"]["id"], output["version"]["artifact"]["id"]]
    counts = []
    for some in ((ids[0], *ids[20:22]), ids):
        with counted(world) as statements:
            found = ask.data("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=list(some))
        assert [node["id"] for node in found["nodes"]] == list(some)
        counts.append(len(statements))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("verb", ["named_runs", "versions"])
def test_the_same_thing_is_asked_for_once(world: World, verb: str) -> None:
    fill(world, 1)
    ask = Schema(world.catalog)
    ask.data(
        """{ runs(job: "train") { nodes { a: parent { id } b: parent { id } c: parent { parent { id } }
             outputs { nodes { version { artifact { a: version { id } b: version { id } } } } } } } }"""
    )
    assert ask.asked.count(verb) == 1
