"""A place that changes in time: its content is a hit only while nobody wrote there since, and it is looked at each time."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator import World, claim, uid
from whence_catalog import cache, digest, model

PLACE = "gs://bucket/table"


def left(state: bytes, location: str = PLACE) -> model.OutputClaim:
    """An output at a place, known by what its store said of it after the write."""
    named = digest.digest_of("whence.provider/1", location, "generation", state.decode())
    content = model.Content(named, model.Strength.PROVIDER)
    return replace(claim("dataset:table", state), content=content, location=location)


def wrote(world: World, job: str, state: bytes) -> model.Call:
    """A call that executed, and wrote there."""
    call = world.call(job)
    begun = world.begin(call)
    report = world.report(call, token=begun.token, outputs=None)
    world.finish(replace(report, outputs=(left(state),), trust="its store counts generations"))
    return call


def looked(world: World, call: model.Call, there: bytes | None) -> cache.Answer:
    """What the catalog answers to who looks at the place, where it is asked to."""
    answer = world.ask(call)
    if not isinstance(answer, cache.Verify):
        return answer
    (place,) = answer.places
    assert place.location == PLACE
    seen = frozenset({place.digest})
    if there is None:
        return world.ask(replace(call, missing=seen))
    is_same = left(there).content.digest == place.digest
    return world.ask(replace(call, present=seen) if is_same else replace(call, altered=seen))


def test_a_place_is_looked_at_each_time_whatever_is_remembered(world: World) -> None:
    wrote(world, "fill", b"1")
    for _ in range(2):
        answer = world.ask(world.call("fill"))
        assert isinstance(answer, cache.Verify)
        assert answer.places == (cache.Place(left(b"1").content.digest, PLACE, model.Strength.PROVIDER),)
    assert isinstance(looked(world, world.call("fill"), b"1"), cache.Reuse)


@pytest.mark.parametrize(
    ("there", "reason"), [(b"2", cache.Reason.OUTPUT_ALTERED), (None, cache.Reason.OUTPUT_MISSING)]
)
def test_what_an_outsider_wrote_or_took_away_is_a_miss(
    world: World, there: bytes | None, reason: cache.Reason
) -> None:
    wrote(world, "fill", b"1")
    answer = looked(world, world.call("fill"), there)
    assert isinstance(answer, cache.Execute)
    assert answer.reason is reason


def test_another_key_that_wrote_there_since_is_a_miss_before_anybody_looks(world: World) -> None:
    wrote(world, "fill", b"1")
    wrote(world, "empty", b"2")
    answer = world.ask(world.call("fill"))
    assert isinstance(answer, cache.Execute)
    assert (answer.reason, answer.digests) == (
        cache.Reason.OVERWRITTEN,
        frozenset({left(b"1").content.digest}),
    )
    assert isinstance(looked(world, world.call("empty"), b"2"), cache.Reuse)


def test_who_writes_again_supersedes_and_is_no_divergence(world: World) -> None:
    wrote(world, "fill", b"1")
    wrote(world, "empty", b"2")
    call = world.call("fill")
    token = world.begin(call).token
    said = replace(world.report(call, token=token), outputs=(left(b"3"),), trust="generations")
    publication = world.finish(said).publication
    assert (publication.outcome, publication.is_divergence) == (model.Outcome.SUPERSEDED, False)
    assert isinstance(looked(world, world.call("fill"), b"3"), cache.Reuse)
    other = world.ask(world.call("empty"))
    assert isinstance(other, cache.Execute)
    assert other.reason is cache.Reason.OVERWRITTEN


def test_whoever_records_or_adds_without_a_key_writes_there_too(world: World) -> None:
    wrote(world, "fill", b"1")
    noted = world.plain_call("by hand")
    world.catalog.record_runs([(noted, replace(world.report(noted), outputs=(left(b"2"),)))])
    answer = world.ask(world.call("fill"))
    assert isinstance(answer, cache.Execute)
    assert answer.reason is cache.Reason.OVERWRITTEN
    wrote(world, "other", b"3")
    running = world.plain_call("block")
    world.begin(running)
    world.catalog.add([model.Addition(uid(), running.run, model.Actor("x"), outputs=(left(b"4"),))])
    answer = world.ask(world.call("other"))
    assert isinstance(answer, cache.Execute)
    assert answer.reason is cache.Reason.OVERWRITTEN


def test_handing_on_is_no_writing(world: World) -> None:
    first = wrote(world, "fill", b"1")
    made = left(b"1")
    source = model.Source(made.artifact, made.content.digest, first.run)
    passing = world.plain_call("pass on")
    again = replace(made, derived_from=(source,))
    world.catalog.record_runs([(passing, replace(world.report(passing), outputs=(again,)))])
    assert isinstance(looked(world, world.call("fill"), b"1"), cache.Reuse)


def test_places_of_another_project_are_another_matter(world: World) -> None:
    wrote(world, "fill", b"1")
    wrote(World(world.catalog, "elsewhere"), "fill", b"2")
    # What stands there is still looked at, by whoever asks.
    answer = looked(world, world.call("fill"), b"2")
    assert isinstance(answer, cache.Execute)
    assert answer.reason is cache.Reason.OUTPUT_ALTERED


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call a", "call b", "refresh a", "outsider", "remove", "by hand"]), st.integers(0, 3)
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reuse_is_answered_only_where_what_its_run_wrote_still_stands(
    world: World, steps: list[tuple[str, int]]
) -> None:
    numbers = iter(range(10**6))
    place: tuple[bytes, object] | None = None  # (what its store says of it, who wrote that)
    jobs = {"a": f"a {uid()}", "b": f"b {uid()}"}
    for what, n in steps:
        # Now and then a store says of another content what it said before: a state of its own is enough to be told.
        state = f"{uid()} {next(numbers)}".encode() if n else b"the same again"
        match what.split():
            case ["outsider"]:
                place = (state, state)
            case ["remove"]:
                place = None
            case ["by", "hand"]:
                noted = world.plain_call("by hand")
                world.catalog.record_runs([(noted, replace(world.report(noted), outputs=(left(state),)))])
                place = (state, noted.run)
            case [verb, name]:
                mode = model.Mode.REFRESH if verb == "refresh" else model.Mode.REUSE
                call = world.call(jobs[name], mode=mode)
                answer = looked(world, call, None if place is None else place[0])
                if isinstance(answer, cache.Reuse):
                    assert place is not None
                    (output,) = answer.outputs
                    assert output.version.digest == left(place[0]).content.digest
                    assert place[0] == b"the same again" or place[1] == answer.entry.run
                    continue
                assert isinstance(answer, cache.Execute)
                place = (state, call.run)
                said = replace(
                    world.report(call, token=answer.token), outputs=(left(state),), trust="generations"
                )
                assert world.finish(said).publication.outcome in (
                    model.Outcome.ENTERED, model.Outcome.SUPERSEDED, model.Outcome.RENEWED
                )  # fmt: skip
                # And what was just written is a hit for who asks next.
                assert isinstance(looked(world, world.call(jobs[name]), state), cache.Reuse)
