"""Why a key is what it is, and what a call would be answered, whatever catalog is asked."""

from typing import Any
from uuid import UUID

import pytest

from tests import simulator
from tests.simulator import NEVER_FRESH, World, one, taken
from whence_catalog import cache, model, replies
from whence_catalog.errors import InvalidInput, NotFound


def explained(world: World, *args: Any, **fields: Any) -> cache.Explanation:
    """Of a call that is not made."""
    return one(world.catalog.explain_calls([world.call(*args, **fields)]))  # type: ignore[no-any-return]


def changes(found: cache.Explanation) -> list[tuple[str, str | None, str | None]]:
    return [(verdict.name, verdict.before, verdict.after) for verdict in found.changes]


def keyed(
    world: World, job: str, made: dict[str, bytes], c: float, *inputs: model.InputClaim
) -> replies.Finished:
    """A Run whose key has a part for each input of its own."""
    call = world.call(job, c, inputs)
    parts = [part for part in call.components if part.kind != "inputs"]
    parts += [
        cache.component("inputs", claim.source.digest.raw, f"inputs/{claim.role}", preview=claim.role)
        for claim in inputs
    ]
    return world.run(job, made, c, inputs, components=tuple(parts), key=cache.key(parts))


def test_a_call_that_was_not_made_is_explained_and_nothing_is_recorded(world: World) -> None:
    first = world.run("train", {"model:m": b"A"}, c=1.0)
    facts = len(world.catalog.facts())
    found = explained(world, "train", 2.0)
    assert (found.run, found.against, found.job) == (None, first.run.uid, "train")
    assert changes(found) == [("params/c", "1.0", "2.0")]
    assert found.answer == cache.Execute(cache.Reason.NO_ENTRY)
    assert len(world.catalog.facts()) == facts
    assert world.begin(world.call("train", 2.0)).token is not None


def test_a_call_is_told_what_it_would_be_answered(world: World) -> None:
    first = world.run("train", {"model:m": b"A"})
    answer = explained(world).answer
    assert isinstance(answer, cache.Reuse)
    assert (answer.entry.run, answer.run) == (first.run.uid, None)
    assert [output.version.ref for output in answer.outputs] == ["model:m@1"]
    assert isinstance(explained(world, presence_age=NEVER_FRESH).answer, cache.Verify)
    computing = world.call(c=2.0)
    world.begin(computing)
    waiting = explained(world, c=2.0).answer
    assert isinstance(waiting, cache.Wait)
    assert waiting.holder == computing.owner
    for mode, reason in (
        (model.Mode.REFRESH, cache.Reason.REFRESHED),
        (model.Mode.RECORD, cache.Reason.NOT_ASKED),
    ):
        found = explained(world, mode=mode).answer
        assert isinstance(found, cache.Execute)
        assert found.reason is reason


def test_a_call_of_a_key_that_was_computed_is_the_same_as_its_own(world: World) -> None:
    first = world.run("train", {"model:m": b"A"})
    found = explained(world)
    assert (found.against, found.changes, found.note) == (
        first.run.uid,
        (),
        "the nearest earlier key is the same",
    )


def test_a_call_without_a_key_says_why(world: World) -> None:
    found = explained(world, key=None, components=(), uncacheable=("x is a socket",))
    assert found.key is None
    assert found.note == "it would have no key: x is a socket"
    assert found.answer == cache.Execute(cache.Reason.UNCACHEABLE, details=("x is a socket",))


def test_the_first_call_of_a_job_has_no_neighbour(world: World) -> None:
    found = explained(world, "never")
    assert (found.against, found.looked_at, found.note) == (None, 0, "no earlier run of this job has a key")
    assert {verdict.change for verdict in found.verdicts} == {cache.Change.ADDED}


def test_a_key_is_explained_as_the_run_behind_it_with_what_it_would_be_answered(world: World) -> None:
    world.run("train", {"model:m": b"A"}, c=1.0)
    second = world.run("train", {"model:m": b"B"}, c=2.0)
    found = world.catalog.explain_key(str(second.run.key)[:20])
    assert (found.run, found.key) == (second.run.uid, second.run.key)
    assert changes(found) == [("params/c", "1.0", "2.0")]
    assert isinstance(found.answer, cache.Reuse)
    with pytest.raises(NotFound):
        world.catalog.explain_key("wk1:" + "0" * 64)
    with pytest.raises(NotFound):
        world.catalog.explain_key(str(second.run.key), ["other"])


def test_a_key_that_is_computed_for_the_first_time_is_explained(world: World) -> None:
    world.begin(call := world.call())
    found = world.catalog.explain_key(str(call.key))
    assert isinstance(found.answer, cache.Wait)
    assert {verdict.name for verdict in found.verdicts} >= {"params/c", "job"}


def test_a_run_is_put_beside_the_one_that_is_asked_for(world: World) -> None:
    runs = [world.run("train", {"model:m": b"A"}, c=float(n)).run.uid for n in range(3)]
    near = world.catalog.explain(str(runs[2]))
    far = world.catalog.explain(str(runs[2]), str(runs[0]))
    assert (near.against, near.looked_at, near.is_nearest_of_all) == (runs[1], 2, True)
    assert changes(far) == [("params/c", "0.0", "2.0")]
    with pytest.raises(NotFound):
        world.catalog.explain(str(runs[2]), str(simulator.uid()))
    with pytest.raises(InvalidInput):
        world.catalog.explain(str(runs[2]), "x")


def test_a_run_says_why_it_executed_beside_why_its_key_differs(world: World) -> None:
    world.run("train", {"model:m": b"A"})
    again = world.run("train", {"model:m": b"A"}, mode=model.Mode.REFRESH)
    found = world.catalog.explain(str(again.run.uid))
    assert (found.reason, found.changes, found.note) == (
        "refreshed",
        (),
        "the nearest earlier key is the same",
    )


def test_the_first_run_upstream_that_made_the_difference_is_named(world: World) -> None:
    def pipeline(day: float) -> tuple[UUID, UUID, UUID]:
        loaded = keyed(world, "load", {"dataset:raw": b"raw %f" % day}, day)
        cleaned = keyed(
            world, "clean", {"dataset:clean": b"clean %f" % day}, 0.0, taken(loaded.outputs[0], "raw")
        )
        trained = keyed(
            world, "train", {"model:m": b"model %f" % day}, 0.0, taken(cleaned.outputs[0], "data")
        )
        return loaded.run.uid, cleaned.run.uid, trained.run.uid

    before, after = pipeline(1.0), pipeline(2.0)
    found = world.catalog.explain(str(after[2]))
    assert [verdict.name for verdict in found.changes] == ["inputs/data"]
    assert found.changes[0].made_by == after[1]
    (cause,) = found.causes
    assert (cause.role, cause.run, cause.against, cause.job) == ("data", after[0], before[0], "load")
    assert cause.through == (after[1],)
    assert [(v.name, v.before, v.after) for v in cause.verdicts] == [("params/c", "1.0", "2.0")]


def test_data_from_outside_ends_the_way_upstream(world: World) -> None:
    runs = []
    for content in (b"A", b"B"):
        data = world.note("publish", {"dataset:d": content})
        runs.append(
            (data.run.uid, keyed(world, "train", {"model:m": content}, 0.0, taken(data.outputs[0], "data")))
        )
    (_, _), (published, trained) = runs
    (cause,) = world.catalog.explain(str(trained.run.uid)).causes
    assert (cause.run, cause.job) == (published, "publish")
    assert cause.note == "it has no key, which would say what it depends on"


def test_a_key_that_was_entered_is_found_however_long_ago(world: World) -> None:
    first = world.run("many", {"model:m": b"A"}, c=0.0)
    world.catalog.reserve([world.call("many", float(n)) for n in range(1, 103)])
    assert explained(world, "many", 0.0).against == first.run.uid


def test_how_far_back_was_looked_is_said(world: World) -> None:
    calls = [world.call("many", float(n)) for n in range(102)]
    for batch in (calls[:1], calls[1:]):
        world.catalog.reserve(batch)
    found = explained(world, "many", 0.0)
    assert (found.looked_at, found.is_nearest_of_all) == (100, False)
    assert found.against != calls[0].run
