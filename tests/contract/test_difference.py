"""The difference of two Versions, or two Runs: the contract of every catalog."""

import dataclasses

import pytest

from tests.simulator import World, claim, taken
from whence_catalog import difference, model
from whence_catalog.errors import InvalidInput, NotFound


def trained(world: World, content: bytes, c: float, data: model.Output, accuracy: float) -> model.Output:
    call = world.call("train", c, [taken(data, "data")])
    begun = world.begin(call)
    made = claim("model:m", content, metrics={"accuracy": accuracy})
    report = world.report(call, token=begun.token, metrics={"loss": 1 - accuracy})
    (output,) = world.finish(dataclasses.replace(report, outputs=(made,))).outputs
    return output


def verdicts(found: difference.Difference) -> dict[str, str]:
    return {name: part.verdict.value for name, part in found.parts.items()}


def test_two_versions_are_compared_part_by_part(world: World) -> None:
    (old,) = world.note("load", {"dataset:raw": b"1"}).outputs
    (new,) = world.note("load", {"dataset:raw": b"2"}).outputs
    first = trained(world, b"A", 1.0, old, 0.5)
    second = trained(world, b"B", 2.0, new, 0.75)
    found = world.catalog.difference("model:m@1", "model:m@2")
    assert (found.left.version, found.right.version) == (first.version, second.version)
    assert (found.left.run.uid, found.right.run.uid) == (first.run, second.run)
    assert verdicts(found) == {
        "content": "changed",
        "job": "same",
        "data": "changed",
        "code": "unknown",
        "params": "changed",
        "environment": "unknown",
        "metrics": "changed",
        "upstream": "changed",
    }
    (item,) = found.inputs
    assert (item.role, item.before, item.after) == ("data", old.version, new.version)
    assert [(p.name, p.before, p.after) for p in found.param_changes] == [("c", 1.0, 2.0)]
    assert [(m.of, m.name, m.delta) for m in found.metric_changes] == [
        (None, "loss", -0.25),
        ("it", "accuracy", 0.25),
    ]
    assert {part.name for part in found.components} == {"scope", "job", "params/c", "inputs/all"}
    assert (found.upstream.left.runs, found.upstream.left.versions) == (1, 1)
    assert {node.id for node in found.upstream.right.nodes} == {str(new.run), "dataset:raw@2"}
    # Both have loaded: no job is of one alone.
    assert (found.upstream.left.jobs, found.upstream.left.job_names) == (0, ())


def test_what_is_upstream_of_both_is_counted_and_the_rest_is_told(world: World) -> None:
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    (clean,) = world.note("clean", {"dataset:clean": b"C"}, [taken(raw)]).outputs
    (a,) = world.note("fit", {"model:a": b"A"}, [taken(raw)]).outputs
    (b,) = world.note("fit", {"model:b": b"B"}, [taken(raw), taken(clean)]).outputs
    found = world.catalog.difference(str(a.run), str(b.run))
    assert found.content is None
    above = found.upstream
    assert (above.shared_runs, above.shared_versions) == (1, 1)
    assert (above.left.runs, above.left.versions, above.left.nodes) == (0, 0, ())
    assert above.right.job_names == (difference.JobName("default", "clean"),)
    assert [node.name for node in above.right.nodes] == ["dataset:clean", "clean"]
    cut = world.catalog.difference(str(a.run), str(b.run), first=1)
    assert (cut.upstream.right.versions, len(cut.upstream.right.nodes)) == (1, 1)
    assert found.data.counts == {"changed": 1, "same": 1}
    assert [item.verdict.value for item in found.inputs] == ["changed", "same"]


def test_nothing_recorded_is_different_from_itself(world: World) -> None:
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    made = trained(world, b"A", 1.0, raw, 0.5)
    for one in ("model:m@1", str(made.run)):
        found = world.catalog.difference(one, one)
        assert set(verdicts(found).values()) <= {"same", "unknown"}
        assert found.upstream.shared_runs == 1


def test_a_reused_run_is_compared_by_what_its_origin_ran(world: World) -> None:
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    made = trained(world, b"A", 1.0, raw, 0.5)
    again = world.ask(world.call("train", 1.0, [taken(raw, "data")]))
    found = world.catalog.difference(str(made.run), str(again.run.uid))  # type: ignore[union-attr]
    assert found.right.executed.uid == made.run
    assert verdicts(found)["data"] == "same"
    assert {part.change.value for part in found.components} == {"same"}


def test_what_cannot_be_compared_is_refused(world: World) -> None:
    (raw,) = world.note("load", {"dataset:raw": b"R"}).outputs
    with pytest.raises(InvalidInput, match="compare two versions, or two runs"):
        world.catalog.difference("dataset:raw", str(raw.run))
    with pytest.raises(InvalidInput):
        world.catalog.difference("dataset:raw", "dataset:raw", first=0)
    with pytest.raises(NotFound):
        world.catalog.difference("dataset:raw", "dataset:other")
    with pytest.raises(NotFound):
        world.catalog.difference(str(raw.run), "00000000-0000-7000-8000-000000000000")
