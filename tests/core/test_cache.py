"""The cache's rules, by themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import ACTOR, claim
from whence import calls
from whence_catalog import cache, digest, model
from whence_catalog.errors import InvalidInput

NOW = datetime(2026, 5, 3, tzinfo=UTC)
RUN = UUID(int=1)
A, B = digest.digest_of_bytes(b"A"), digest.digest_of_bytes(b"B")


def entry(age: timedelta = timedelta(0)) -> cache.CacheEntry:
    return cache.CacheEntry("wk1:k", RUN, NOW - age, NOW - age)


def test_without_an_entry_it_executes() -> None:
    assert cache.decide(None, cache.Presence(), NOW, None) == cache.Execute(cache.Reason.NO_ENTRY)


def test_an_entry_whose_bytes_are_known_is_reused() -> None:
    assert cache.decide(entry(), cache.Presence(), NOW, None) == cache.Reuse(entry())


@pytest.mark.parametrize(("age", "reused"), [(59, True), (60, False), (61, False)])
def test_an_entry_is_too_old_at_max_age(age: int, reused: bool) -> None:
    decision = cache.decide(entry(timedelta(seconds=age)), cache.Presence(), NOW, timedelta(seconds=60))
    assert isinstance(decision, cache.Reuse) is reused


def test_missing_outweighs_altered_and_altered_outweighs_unknown() -> None:
    both = cache.Presence(frozenset({A}), frozenset({B}), frozenset({A, B}))
    assert cache.decide(entry(), both, NOW, None) == cache.Execute(
        cache.Reason.OUTPUT_MISSING, frozenset({A})
    )
    altered = cache.Presence(altered=frozenset({B}), unknown=frozenset({A}))
    assert cache.decide(entry(), altered, NOW, None) == cache.Execute(
        cache.Reason.OUTPUT_ALTERED, frozenset({B})
    )
    unknown = cache.Presence(unknown=frozenset({A}))
    assert cache.decide(entry(), unknown, NOW, None) == cache.Verify(entry(), frozenset({A}))


WHERES = st.sampled_from([None, "gs://a", "gs://b"])
STANDINGS = st.sampled_from(model.Standing)
SAID = st.lists(st.tuples(st.sampled_from([A, B]), WHERES, STANDINGS), max_size=12)


@given(st.sets(st.tuples(st.sampled_from([A, B]), WHERES)), SAID, st.sets(st.sampled_from([A, B])))
def test_an_output_is_known_present_only_where_each_of_its_wheres_is(
    lies: set[tuple[digest.Digest, str | None]],
    said: list[tuple[digest.Digest, str | None, model.Standing]],
    believed: set[digest.Digest],
) -> None:
    def told(standing: model.Standing) -> frozenset[digest.Digest]:
        return frozenset(named for named, where, what in said if where is None and what is standing)

    places = [cache.Place(named, where, model.Strength.CONTENT) for named, where in lies if where is not None]
    call = replace(
        model.Call(RUN, "p", "j", ACTOR),
        present=told(model.Standing.PRESENT),
        missing=told(model.Standing.MISSING),
        altered=told(model.Standing.ALTERED),
        sightings=tuple(model.Sighting(n, where, what) for n, where, what in said if where is not None),
    )
    found = cache.presence({n: n in believed for n, where in lies if where is None}, places, call)
    answers = {
        at: {what for named, where, what in said if (named, where) == at}
        or ({model.Standing.PRESENT} if at[1] is None and at[0] in believed else set())
        for at in lies
    }
    missing = {named for (named, _), what in answers.items() if model.Standing.MISSING in what}
    assert found.missing == missing
    altered = {named for (named, _), what in answers.items() if model.Standing.ALTERED in what}
    assert found.altered - missing == altered - missing
    assert found.unknown == {named for (named, where), what in answers.items() if where is None and not what}
    assert {(place.digest, place.location) for place in found.unseen} == {
        at for at, what in answers.items() if at[1] is not None and not what
    }
    is_reused = isinstance(cache.decide(entry(), found, NOW, None), cache.Reuse)
    assert is_reused is all(what == {model.Standing.PRESENT} for what in answers.values())


@given(st.lists(STANDINGS), STANDINGS)
def test_whatever_else_is_said_the_worst_counts(said: list[model.Standing], another: model.Standing) -> None:
    order = [model.Standing.PRESENT, model.Standing.ALTERED, model.Standing.MISSING]
    assert cache.worst([]) is None
    assert cache.worst([*said, another]) is max([*said, another], key=order.index)


@given(
    st.permutations(
        [
            cache.component("job", "j"),
            cache.component("params", 1, "params/a"),
            cache.component("params", 1.0, "params/b"),
        ]
    )
)
def test_the_order_of_components_is_no_part_of_a_key(parts: list[model.Component]) -> None:
    assert cache.key(parts) == cache.key(sorted(parts, key=lambda part: part.name))


def test_a_preview_is_no_part_of_a_key_and_ignoring_shows() -> None:
    plain = cache.component("params", 1, "params/a", preview="1")
    other = cache.component("params", 1, "params/a", preview="one")
    ignored = cache.component("params", 1, "params/a", ignored=True)
    assert cache.key([plain]) == cache.key([other])
    assert cache.key([ignored]) not in (cache.key([plain]), cache.key([]))


def test_a_component_of_one_kind_is_none_of_another() -> None:
    assert cache.component("params", "x", "x").digest != cache.component("extra", "x", "x").digest


def test_two_components_of_one_name_are_no_key() -> None:
    with pytest.raises(InvalidInput):
        cache.key([cache.component("extra", 1, "extra/x"), cache.component("extra", 2, "extra/x")])


@pytest.mark.parametrize(
    ("live", "made", "reason", "outcome", "diverges"),
    [
        (None, {"m": A}, cache.Reason.NO_ENTRY, model.Outcome.ENTERED, False),
        ({"m": A}, {"m": A}, cache.Reason.OUTPUT_MISSING, model.Outcome.RENEWED, False),
        ({"m": A}, {"m": B}, cache.Reason.OUTPUT_MISSING, model.Outcome.SUPERSEDED, True),
        ({"m": A}, {"m": B}, cache.Reason.SAMPLED, model.Outcome.DIVERGED, True),
        ({"m": A}, {"n": A}, cache.Reason.SAMPLED, model.Outcome.DIVERGED, True),
    ],
)  # fmt: skip
def test_a_publish_displaces_only_what_would_not_do(
    live: dict[str, digest.Digest] | None,
    made: dict[str, digest.Digest],
    reason: cache.Reason,
    outcome: model.Outcome,
    diverges: bool,
) -> None:
    publication = cache.publish(live, made, reason)
    assert (publication.outcome, publication.is_divergence) == (outcome, diverges)


def test_every_component_has_a_verdict_with_before_and_after() -> None:
    before = [cache.component("job", "j", preview="j"), cache.component("params", 1, "params/a", preview="1"),
              cache.component("params", 1, "params/gone", preview="1")]  # fmt: skip
    after = [cache.component("job", "j", preview="j"), cache.component("params", 2, "params/a", preview="2"),
             cache.component("params", 3, "params/new", preview="3")]  # fmt: skip
    assert cache.compare_components(before, after) == (
        cache.ComponentVerdict("job", cache.Change.SAME, "j", "j"),
        cache.ComponentVerdict("params/a", cache.Change.CHANGED, "1", "2"),
        cache.ComponentVerdict("params/gone", cache.Change.REMOVED, "1", None),
        cache.ComponentVerdict("params/new", cache.Change.ADDED, None, "3"),
    )


def test_the_nearest_key_differs_in_the_fewest_components_and_is_the_newest_among_equals() -> None:
    mine = [cache.component("params", n, f"params/{n}") for n in range(3)]
    near, nearer = UUID(int=2), UUID(int=3)
    earlier = {near: mine[:1], nearer: mine[:2], UUID(int=4): mine[:2]}
    assert cache.nearest(mine, earlier) == nearer
    assert cache.nearest(mine, {}) is None


def run_and_report(**fields: object) -> tuple[model.Run, model.Report]:
    run = model.Run(RUN, "p", "j", model.RunState.RUNNING, ACTOR, NOW, mode=model.Mode.REUSE, key="wk1:k")
    report = model.Report(UUID(int=9), RUN, model.RunState.COMPLETE, ACTOR)
    own = {name: value for name, value in fields.items() if name in ("mode", "key")}
    said = {name: value for name, value in fields.items() if name not in own}
    return replace(run, **own), replace(report, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"key": None}, {"mode": model.Mode.RECORD}, {"state": model.RunState.FAILED}]
)
def test_what_asks_for_no_place_in_the_cache_gets_none(fields: dict[str, object]) -> None:
    settled = cache.settle(*run_and_report(**fields), None, {"m": A}, cache.Reason.NO_ENTRY)
    assert settled == model.Publication(model.Outcome.NONE)


def test_what_is_unsound_is_refused_even_under_a_lease() -> None:
    weak = replace(claim("model:m", b"A"), content=model.Content(A, model.Strength.WEAK))
    for fields, why in (({"uncacheable": ("changed",)}, "changed"), ({"outputs": (weak,)}, "model:m")):
        settled = cache.settle(*run_and_report(**fields), None, {"m": A}, cache.Reason.NO_ENTRY)
        assert settled.outcome is model.Outcome.REFUSED
        assert why in str(settled)


@pytest.mark.parametrize(("live", "diverges"), [(None, False), ({"m": A}, False), ({"m": B}, True)])
def test_a_lost_lease_publishes_nothing_and_is_compared(
    live: dict[str, digest.Digest] | None, diverges: bool
) -> None:
    settled = cache.settle(*run_and_report(), live, {"m": A}, None)
    assert settled == model.Publication(model.Outcome.REFUSED, "lease lost", diverges)


def test_a_sampled_hit_executes_unless_it_would_not_do_anyway() -> None:
    unknown = cache.Presence(unknown=frozenset({A}))
    assert cache.decide(entry(), unknown, NOW, None, True) == cache.Execute(cache.Reason.SAMPLED)
    gone = cache.Presence(missing=frozenset({A}))
    assert cache.decide(entry(), gone, NOW, None, True) == cache.Execute(
        cache.Reason.OUTPUT_MISSING, frozenset({A})
    )
    assert cache.decide(None, unknown, NOW, None, True) == cache.Execute(cache.Reason.NO_ENTRY)


def test_a_share_of_the_runs_is_sampled_the_same_ones_each_time() -> None:
    runs = [calls.new_uid() for _ in range(2000)]
    shares = {rate: {run for run in runs if cache.is_sampled(run, rate)} for rate in (0.0, 0.1, 0.9, 1.0)}
    assert (shares[0.0], shares[1.0]) == (set(), set(runs))
    assert shares[0.1] < shares[0.9]
    # Six standard deviations on either side.
    assert 120 < len(shares[0.1]) < 280


def test_an_output_that_is_known_by_less_enters_on_trust_unless_nothing_is_known_of_it() -> None:
    for strength, outcomes in (
        (model.Strength.PROVIDER, [model.Outcome.REFUSED, model.Outcome.ENTERED]),
        (model.Strength.NONE, [model.Outcome.REFUSED, model.Outcome.REFUSED]),
    ):
        known = replace(claim("model:m", b"A"), content=model.Content(A, strength))
        settled = [
            cache.settle(
                *run_and_report(outputs=(known,), trust=trust), None, {"m": A}, cache.Reason.NO_ENTRY
            )
            for trust in (None, "it is never written twice")
        ]
        assert [each.outcome for each in settled] == outcomes


def test_a_call_says_why_it_executes_only_where_nothing_is_decided_for_it() -> None:
    call = model.Call(RUN, "p", "j", ACTOR)
    assert cache.asked_reason(call) is cache.Reason.NOT_ASKED
    assert cache.asked_reason(replace(call, mode=model.Mode.REUSE)) is cache.Reason.UNCACHEABLE
    assert cache.asked_reason(replace(call, reason="waited")) is cache.Reason.WAITED
    with pytest.raises(InvalidInput, match="not a reason"):
        cache.asked_reason(replace(call, reason="a whim"))
