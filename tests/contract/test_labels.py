"""Labels of Runs and Versions, from a Run's start or after the fact: the contract of every catalog."""

import uuid
from collections.abc import Mapping

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, taken
from whence_catalog import lineage, model
from whence_catalog.errors import Conflict, InvalidInput, NotFound
from whence_catalog.lineage import NodeType


def label(world: World, subject: object, *remove: str, **given: str) -> Mapping[str, str]:
    claim = model.LabelClaim(simulator.uid(), str(subject), ACTOR, given, frozenset(remove))
    found: Mapping[str, str] = simulator.one(world.catalog.label([claim]))
    return found


def of_version(world: World, reference: str) -> Mapping[str, str]:
    told = simulator.one(world.catalog.judgements([model.Reference.parse(reference)]))
    labels: Mapping[str, str] = told.labels
    return labels


def test_labels_are_set_changed_and_removed_after_the_fact(world: World) -> None:
    made = world.run("train", {"model:m": b"M"}, labels={"team": "perception", "draft": "yes"})
    run = made.run.uid
    assert label(world, run, "draft", "never there", stage="beta") == {"team": "perception", "stage": "beta"}
    assert label(world, run, team="vision") == {"team": "vision", "stage": "beta"}
    assert world.catalog.run(str(run)).run.labels == {"team": "vision", "stage": "beta"}
    assert world.catalog.named_runs([run])[run].labels == {"team": "vision", "stage": "beta"}
    assert label(world, "model:m@1", team="perception") == {"team": "perception"}
    assert of_version(world, "model:m") == {"team": "perception"}
    assert label(world, f"model:m@{made.outputs[0].version.digest}", "team") == {}
    assert of_version(world, "model:m") == {}


def test_labels_of_each_kind_of_start_are_there(world: World) -> None:
    call = world.plain_call("note", labels={"how": "whole"})
    simulator.one(world.catalog.record_runs([(call, world.report(call))]))
    executed = world.run("train", {"model:m": b"M"}, labels={"how": "executed"}).run.uid
    again = world.ask(world.call("train", labels={"how": "reused"}))
    runs = world.catalog.list_runs().items
    assert [run.labels["how"] for run in runs] == ["reused", "executed", "whole"]
    assert {run.uid for run in runs} == {again.run.uid, executed, call.run}


def test_a_label_said_twice_is_one_fact_and_other_words_are_refused(world: World) -> None:
    run = world.note("load", {"dataset:d": b"D"}).run.uid
    said = model.LabelClaim(simulator.uid(), str(run), ACTOR, {"a": "1"})
    before = simulator.one(world.catalog.label([said]))
    label(world, run, a="2")
    assert simulator.one(world.catalog.label([said])) == {"a": "2"}, "what it has by now"
    assert before == {"a": "1"}
    other = model.LabelClaim(said.uid, str(run), ACTOR, {"a": "3"})
    with pytest.raises(Conflict):
        simulator.one(world.catalog.label([other]))


def test_each_of_a_batch_has_its_own_result(world: World) -> None:
    run = world.note("load", {"dataset:d": b"D"}).run.uid
    subjects = [
        str(run),
        str(uuid.UUID(int=1)),
        "dataset:d@1",
        "dataset:d@9",
        "dataset:d@prod",
        "dataset:d",
        "x",
    ]
    claims = [model.LabelClaim(simulator.uid(), subject, ACTOR, {"a": "1"}) for subject in subjects]
    results = world.catalog.label(claims)
    assert [r if isinstance(r, Mapping) else type(r) for r in results] == [
        {"a": "1"},
        NotFound,
        {"a": "1"},
        NotFound,
        InvalidInput,
        InvalidInput,
        InvalidInput,
    ]


@pytest.mark.parametrize(
    ("given", "remove"),
    [
        ({}, []),
        ({"": "x"}, []),
        ({"a=b": "x"}, []),
        ({"a\n": "x"}, []),
        ({"a": "x\0"}, []),
        ({"a": "x"}, ["a"]),
    ],
)
def test_what_is_no_label_is_refused(world: World, given: Mapping[str, str], remove: list[str]) -> None:
    run = world.note("load", {"dataset:d": b"D"}).run.uid
    claim = model.LabelClaim(simulator.uid(), str(run), ACTOR, given, frozenset(remove))
    with pytest.raises(InvalidInput):
        simulator.one(world.catalog.label([claim]))
    assert world.catalog.run(str(run)).run.labels == {}


def test_a_label_may_be_longer_than_an_index_takes(world: World) -> None:
    run = world.run("train", {"model:m": b"M"}, labels={"why": "x" * 20_000}).run.uid
    assert world.catalog.run(str(run)).run.labels == {"why": "x" * 20_000}


def test_lineage_shows_what_has_a_label_now_or_had_it_then(world: World) -> None:
    (data,) = world.note("load", {"dataset:d": b"D"}).outputs
    world.note("train", {"model:a": b"A"}, [taken(data)])
    world.note("train", {"model:b": b"B"}, [taken(data)])
    before = world.catalog.facts()[-1].position
    label(world, "model:b@1", team="perception")

    def shown(as_of: int | None = None) -> set[str]:
        labels = frozenset({("team", "perception")})
        asked = lineage.Filter(lineage.Which(labels=labels, types=frozenset({NodeType.VERSION})))
        graph = world.catalog.lineage(
            ["dataset:d"], lineage.Direction.DOWN, lineage.Bounds(), filter=asked, as_of=as_of
        )
        return {node.id for node in graph.nodes}

    assert shown() == {"dataset:d@1", "model:b@1"}
    assert shown(before) == {"dataset:d@1"}
