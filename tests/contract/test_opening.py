"""What opening a call answers and records, whichever catalog is asked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.simulator import NEVER_FRESH, World, claim, digest_of
from whence_catalog import cache, model
from whence_catalog.errors import Conflict, InvalidInput

HOUR = timedelta(hours=1)


def saw(places: Sequence[cache.Place], standing: model.Standing) -> tuple[model.Sighting, ...]:
    return tuple(model.Sighting(place.digest, place.location, standing) for place in places)


def reason_of(world: World, call: model.Call) -> str | None:
    return world.catalog.run(str(call.run)).run.reason


def test_why_a_run_executes_is_recorded_with_it(world: World) -> None:
    first = world.call()
    world.finish(world.report(first, {"model:m": b"M"}, world.begin(first).token))
    missing = world.call(presence_age=HOUR, missing=frozenset({digest_of(b"M")}))
    world.finish(world.report(missing, {"model:m": b"M"}, world.begin(missing).token))
    reused = world.call()
    assert isinstance(world.ask(reused), cache.Reuse)
    asked = {
        "no entry": first,
        "output missing": missing,
        "refreshed": world.call(c=2.0, mode=model.Mode.REFRESH),
        "expired": world.call(max_age=timedelta(0)),
        "not asked": world.plain_call(),
        "uncacheable": world.call(key=None, components=(), uncacheable=("c is opaque",)),
        "waited": world.plain_call(reason="waited", uncacheable=("waited 3 s",)),
    }
    for reason, call in asked.items():
        if call not in (first, missing):
            assert world.begin(call).reason == reason
            assert world.begin(call).reason == reason, "said twice, it is the same"
        assert reason_of(world, call) == reason
    assert reason_of(world, reused) is None
    with pytest.raises(InvalidInput, match="not a reason"):
        world.begin(world.plain_call(reason="a whim"))
    assert world.catalog.check().problems == ()


def test_a_sampled_hit_is_compared_with_what_is_there_and_displaces_nothing(world: World) -> None:
    origin = world.run(outputs={"model:m": b"M"}).run
    assert isinstance(world.ask(world.call(verify_rate=0.0)), cache.Reuse)
    before = world.ask(world.call())
    same, other = (world.call(verify_rate=1.0) for _ in range(2))
    outcomes = []
    for call, made in ((same, b"M"), (other, b"N")):
        begun = world.begin(call)
        assert begun.reason is cache.Reason.SAMPLED
        outcomes.append(world.finish(world.report(call, {"model:m": made}, begun.token)).publication)
    assert outcomes == [
        model.Publication(model.Outcome.RENEWED),
        model.Publication(model.Outcome.DIVERGED, "other bytes for model:m", is_divergence=True),
    ]
    after = world.ask(world.call())
    assert isinstance(before, cache.Reuse)
    assert isinstance(after, cache.Reuse)
    assert (after.entry.run, after.outputs[0].version.digest) == (origin.uid, digest_of(b"M"))
    assert after.entry.validated_at > before.entry.validated_at


def test_what_lies_elsewhere_is_asked_about_each_time_whatever_is_remembered_of_the_store(
    world: World,
) -> None:
    here, there = claim("model:m", b"M"), claim("report:r", b"R", location="gs://bucket/r")
    call = world.call()
    begun = world.begin(call)
    world.finish(replace(world.report(call, token=begun.token), outputs=(here, there)))
    # The same content is in the store, too, and was just put there.
    world.note("copy", {"report:r": b"R"})
    for _ in range(2):
        asked = world.ask(world.call(presence_age=HOUR))
        assert isinstance(asked, cache.Verify)
        assert asked.unknown == frozenset()
        assert asked.places == (cache.Place(digest_of(b"R"), "gs://bucket/r", model.Strength.CONTENT),)
        in_store = world.call(presence_age=HOUR, present=frozenset({digest_of(b"R")}))
        assert isinstance(world.ask(in_store), cache.Verify), "what is in the store says nothing of the place"
        there = saw(asked.places, model.Standing.PRESENT)
        seen = world.ask(world.call(presence_age=HOUR, sightings=there))
        assert isinstance(seen, cache.Reuse)
    # Nor does what was seen elsewhere say anything of the store.
    world.run("copy as a step", {"report:r": b"R"})
    gone = world.ask(world.call(presence_age=HOUR, sightings=saw(asked.places, model.Standing.MISSING)))
    assert isinstance(gone, cache.Execute)
    assert isinstance(world.ask(world.call("copy as a step", presence_age=HOUR)), cache.Reuse)


def test_presence_is_remembered_and_believed_for_as_long_as_the_caller_says(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    for age, expected in ((HOUR, cache.Reuse), (NEVER_FRESH, cache.Verify), (None, cache.Reuse)):
        assert isinstance(world.ask(world.call(presence_age=age)), expected)
    gone = world.call(presence_age=HOUR, missing=frozenset({digest_of(b"M")}))
    assert isinstance(world.ask(replace(gone, max_age=None)), cache.Execute)
    # What somebody found gone is asked for, until somebody has seen it again.
    world.run("another", {"model:m": b"M"})
    assert isinstance(world.ask(world.call("another", presence_age=HOUR)), cache.Reuse)


def test_many_calls_are_answered_together_each_by_itself(world: World) -> None:
    world.run("known", {"model:m": b"M"})
    held = world.call("held")
    world.begin(held)
    calls = [world.call("known"), world.call("held"), world.call("new"), world.plain_call(inputs=())]
    answers = world.catalog.reserve(calls)
    assert [type(answer) for answer in answers] == [cache.Reuse, cache.Wait, cache.Execute, cache.Execute]
    reports = [world.report(calls[2], {"model:n": b"N"}, answers[2].token), world.report(held, token=0)]  # type: ignore[union-attr]
    finished = world.catalog.finish_runs(reports)
    assert [each.publication.outcome for each in finished] == [  # type: ignore[union-attr]
        model.Outcome.ENTERED,
        model.Outcome.REFUSED,
    ]


def test_a_report_that_came_with_its_start_is_the_same_when_it_comes_alone(world: World) -> None:
    call = world.plain_call(labels={"team": "a"})
    report = world.report(call, {"model:m": b"M"}, error=None)
    world.catalog.record_runs([(call, report)])
    (again,) = world.catalog.finish_runs([report])
    assert not isinstance(again, Exception)
    assert [output.role for output in again.outputs] == ["model:m"]
    (other,) = world.catalog.finish_runs([replace(report, metrics={"loss": 1.0})])
    assert isinstance(other, Conflict)
    assert len(world.catalog.facts()) == 1
