"""A place that changes in time: its content is a hit only while nobody wrote there since, and it is looked at each time."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator import NEVER_FRESH, World, claim, digest_of, uid
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
    found = None if there is None else left(there).content.digest
    return world.ask(replace(call, sightings=(sighting(place, found),)))


def sighting(place: cache.Place, there: digest.Digest | None) -> model.Sighting:
    """What is seen at a place that holds this now."""
    is_same = model.Standing.PRESENT if there == place.digest else model.Standing.ALTERED
    return model.Sighting(place.digest, place.location, model.Standing.MISSING if there is None else is_same)


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


# Where one content may lie: `a` and `b` are outputs at places, `c` is one in the store.
A, B = "gs://bucket/a", "gs://bucket/b"
WHERE = {"a": A, "b": B, "c": None}
CONTENTS = (b"X", b"Y")


def made_of(contents: dict[str, bytes]) -> tuple[model.OutputClaim, ...]:
    return tuple(claim(f"dataset:{role}", said, location=WHERE[role]) for role, said in contents.items())


def seen_of(answer: cache.Verify, store: set[digest.Digest], held: dict[str, bytes]) -> dict[str, object]:
    """All that who looks everywhere sees."""
    there = {where: digest_of(said) for where, said in held.items()}
    return {
        "present": answer.unknown & store,
        "missing": answer.unknown - store,
        "sightings": tuple(sighting(place, there.get(place.location)) for place in answer.places),
    }


@pytest.mark.parametrize("standing", [None, model.Standing.MISSING, model.Standing.ALTERED])
def test_the_same_bytes_at_two_places_are_seen_at_each_by_itself(
    world: World, standing: model.Standing | None
) -> None:
    call = world.call("two")
    begun = world.begin(call)
    outputs = made_of({"a": b"X", "b": b"X", "c": b"X"})
    world.finish(replace(world.report(call, token=begun.token), outputs=outputs))
    named = digest_of(b"X")
    again = world.call("two", presence_age=NEVER_FRESH)
    asked = world.ask(again)
    assert isinstance(asked, cache.Verify)
    assert (asked.unknown, [place.location for place in asked.places]) == ({named}, [A, B])
    at_a = model.Sighting(named, A, model.Standing.PRESENT)
    if standing is None:
        told = world.ask(replace(again, present=asked.unknown, sightings=(at_a,)))
        assert isinstance(told, cache.Verify)
        assert (told.unknown, [place.location for place in told.places]) == (frozenset(), [B])
        both = (at_a, model.Sighting(named, B, model.Standing.PRESENT))
        not_in_store = world.ask(replace(again, sightings=both))
        assert isinstance(not_in_store, cache.Verify)
        assert (not_in_store.unknown, not_in_store.places) == ({named}, ())
        assert isinstance(world.ask(replace(again, present=asked.unknown, sightings=both)), cache.Reuse)
        return
    both = (at_a, model.Sighting(named, B, standing))
    refused = world.ask(replace(again, present=asked.unknown, sightings=both))
    assert isinstance(refused, cache.Execute)
    is_missing = standing is model.Standing.MISSING
    assert refused.reason is (cache.Reason.OUTPUT_MISSING if is_missing else cache.Reason.OUTPUT_ALTERED)


def test_a_blob_that_is_gone_is_a_miss_though_its_bytes_lie_at_a_place_too(world: World) -> None:
    call = world.call("mixed")
    begun = world.begin(call)
    outputs = made_of({"a": b"X", "c": b"X"})
    world.finish(replace(world.report(call, token=begun.token), outputs=outputs))
    again = world.call("mixed", presence_age=NEVER_FRESH)
    asked = world.ask(again)
    assert isinstance(asked, cache.Verify)
    gone = world.ask(replace(again, **seen_of(asked, set(), {A: b"X"})))  # type: ignore[arg-type]
    assert isinstance(gone, cache.Execute)
    assert gone.reason is cache.Reason.OUTPUT_MISSING


MANY_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("call"),
            st.sampled_from(["one", "other"]),
            st.dictionaries(st.sampled_from([*WHERE]), st.sampled_from(CONTENTS), min_size=1),
        ),
        st.tuples(
            st.just("outsider"), st.sampled_from([A, B]), st.none() | st.sampled_from([*CONTENTS, b"Z"])
        ),
        st.tuples(st.just("delete"), st.sampled_from(CONTENTS), st.none()),
    ),
    max_size=14,
)


@given(MANY_STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reuse_hands_out_only_what_still_is_everywhere_that_its_run_left_it(
    world: World, steps: list[tuple[str, str | bytes, object]]
) -> None:
    store: set[digest.Digest] = set()
    held: dict[str, bytes] = {}
    jobs = {name: f"{name} {uid()}" for name in ("one", "other")}
    for step in steps:
        match step:
            case ("outsider", str(where), None):
                held.pop(where, None)
            case ("outsider", str(where), bytes(said)):
                held[where] = said
            case ("delete", bytes(said), _):
                store.discard(digest_of(said))
            case ("call", str(name), dict(contents)):
                call = world.call(jobs[name], presence_age=NEVER_FRESH)
                answer = world.ask(call)
                if isinstance(answer, cache.Verify):
                    answer = world.ask(replace(call, **seen_of(answer, store, held)))  # type: ignore[arg-type]
                if isinstance(answer, cache.Reuse):
                    for output in answer.outputs:
                        named, where = output.version.digest, output.location
                        assert (
                            named in store
                            if where is None
                            else where in held and digest_of(held[where]) == named
                        )
                    continue
                assert isinstance(answer, cache.Execute)
                for role, said in contents.items():
                    if (where := WHERE[role]) is None:
                        store.add(digest_of(said))
                    else:
                        held[where] = said
                report = world.report(call, token=answer.token)
                world.finish(replace(report, outputs=made_of(contents)))
