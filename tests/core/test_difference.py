"""What is different between two sides: never called the same where that is not known."""

import dataclasses
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator import ACTOR, artifact, digest_of
from whence_catalog import cache, difference, lineage, model
from whence_catalog.difference import Evidence, Verdict

T0 = datetime(2026, 5, 3, tzinfo=UTC)
NOTHING = difference.Only(0, 0, 0, (), ())
WHOLE = lineage.Completeness(complete=True)
SAME_UPSTREAM = difference.Upstream(difference.upstream_part(0, WHOLE), 0, 0, NOTHING, NOTHING, WHOLE)

capture = st.builds(
    model.Capture,
    entry=st.sampled_from([None, "train:fit", "train:other"]),
    bundle=st.sampled_from([None, digest_of(b"1"), digest_of(b"2")]),
    environment=st.sampled_from([None, digest_of(b"3"), digest_of(b"4")]),
    python=st.sampled_from(["3.11.2", "3.12.1"]),
)
contents = st.builds(
    model.Content,
    digest=st.sampled_from([digest_of(b"a"), digest_of(b"b")]),
    strength=st.sampled_from(model.Strength),
)
inputs = st.dictionaries(
    st.tuples(st.sampled_from(["data", "labels"]), st.integers(0, 1)), contents, max_size=3
)
values = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 1.0, True, None, "x"]), max_size=3)
numbers = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from([0.5, 1.0, float("nan"), float("inf")]), max_size=3
)
components = st.dictionaries(st.sampled_from(["code", "params/c"]), st.integers(0, 1), max_size=2)


def side(
    took: dict[tuple[str, int], model.Content] | None = None,
    params: dict[str, object] | None = None,
    metrics: dict[str, float] | None = None,
    captured: model.Capture | None = None,
    parts: dict[str, int] | None = None,
    job: str = "fit",
) -> Evidence:
    captured = captured or model.Capture()
    run = model.Run(
        UUID(int=1),
        "default",
        job,
        model.RunState.COMPLETE,
        ACTOR,
        T0,
        params=params or {},  # type: ignore[arg-type]
        metrics=metrics or {},
        capture=captured,
    )
    taken = [
        model.Input(role, model.Version(artifact(f"dataset:{role}"), 1, content, T0), None, ordinal)
        for (role, ordinal), content in (took or {}).items()
    ]
    keyed = tuple(cache.component(name.split("/")[0], value, name) for name, value in (parts or {}).items())
    return Evidence(difference.Compared(run, run), taken, (), keyed)


sides = st.builds(side, inputs, values, numbers, capture, components, st.sampled_from(["fit", "other"]))


def compare(left: Evidence, right: Evidence, first: int = 100) -> difference.Difference:
    return difference.compare(left, right, SAME_UPSTREAM, first)


@given(sides)
def test_nothing_is_different_from_itself(one: Evidence) -> None:
    found = compare(one, one)
    assert {part.verdict for part in found.parts.values()} <= {Verdict.SAME, Verdict.UNKNOWN}
    assert {item.change for item in found.metric_changes} <= {cache.Change.SAME}
    assert {item.change for item in found.param_changes} <= {cache.Change.SAME}


@given(sides, sides)
def test_a_difference_is_the_same_from_both_sides(one: Evidence, other: Evidence) -> None:
    there, back = compare(one, other), compare(other, one)
    assert {n: p.verdict for n, p in there.parts.items()} == {n: p.verdict for n, p in back.parts.items()}
    turned = {cache.Change.ADDED: cache.Change.REMOVED, cache.Change.REMOVED: cache.Change.ADDED}
    assert {(m.name, turned.get(m.change, m.change)) for m in there.metric_changes} == {
        (m.name, m.change) for m in back.metric_changes
    }
    assert {(i.role, i.ordinal, i.verdict) for i in there.inputs} == {
        (i.role, i.ordinal, i.verdict) for i in back.inputs
    }


@given(sides, sides)
def test_data_is_the_same_only_where_every_input_is_known_by_its_content(
    one: Evidence, other: Evidence
) -> None:
    found = compare(one, other)
    places = {(i.role, i.ordinal) for i in (*one.inputs, *other.inputs)}
    assert {(item.role, item.ordinal) for item in found.inputs} == places
    for item in found.inputs:
        if item.verdict is Verdict.SAME:
            assert item.before is not None
            assert item.after is not None
            assert item.before.content.strength not in (model.Strength.WEAK, model.Strength.NONE)
            assert item.before.digest == item.after.digest
    if found.inputs and found.data.verdict is Verdict.SAME:
        assert {item.verdict for item in found.inputs} == {Verdict.SAME}


def test_types_tell_parameters_apart() -> None:
    found = compare(side(params={"a": 1, "b": 1, "c": 2}), side(params={"a": 1.0, "b": 1, "d": None}))
    assert {item.name: item.change.value for item in found.param_changes} == {
        "a": "changed",
        "b": "same",
        "c": "removed",
        "d": "added",
    }
    assert found.params.counts == {"added": 1, "changed": 1, "removed": 1, "same": 1}
    assert [
        item.name
        for item in compare(side(params={"a": 1, "b": 1}), side(params={"a": 1, "b": 2}), 1).param_changes
    ] == ["b"]


def test_a_metric_has_a_delta_where_both_are_finite() -> None:
    found = compare(
        side(metrics={"a": 0.5, "b": float("nan"), "c": 1.0, "d": float("inf")}),
        side(metrics={"a": 0.75, "b": float("nan"), "d": 1.0}),
    )
    assert {m.name: (m.change.value, m.delta) for m in found.metric_changes} == {
        "a": ("changed", 0.25),
        "b": ("same", None),
        "c": ("removed", None),
        "d": ("changed", None),
    }


def test_what_neither_recorded_is_not_known_to_be_the_same() -> None:
    found = compare(side(), side())
    for part in (found.data, found.params, found.metrics, found.code, found.environment):
        assert part.verdict is Verdict.UNKNOWN
        assert part.note
    keyed = compare(side(parts={"code": 1}), side(parts={"code": 1}))
    # A key says all that its call was given.
    assert (keyed.data.verdict, keyed.params.verdict, keyed.code.verdict) == (Verdict.SAME,) * 3
    assert keyed.metrics.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ({"code": 1}, {"code": 1}, Verdict.SAME),
        ({"code": 1}, {"code": 2}, Verdict.CHANGED),
        ({"code": 1}, {}, Verdict.UNKNOWN),
        ({"params/c": 1}, {"params/c": 1}, Verdict.UNKNOWN),
    ],
)
def test_code_is_what_the_keys_say(before: dict[str, int], after: dict[str, int], verdict: Verdict) -> None:
    assert compare(side(parts=before), side(parts=after)).code.verdict is verdict


def test_without_keys_code_is_the_source_that_was_kept() -> None:
    kept = model.Capture(entry="train:fit", bundle=digest_of(b"1"))
    other = dataclasses.replace(kept, bundle=digest_of(b"2"))
    assert compare(side(captured=kept), side(captured=kept)).code.verdict is Verdict.SAME
    assert compare(side(captured=kept), side(captured=other)).code.verdict is Verdict.CHANGED
    assert compare(side(captured=kept), side()).code.verdict is Verdict.UNKNOWN


def test_parts_of_a_key_are_compared_only_with_those_of_another() -> None:
    keyed, other, bare = side(parts={"code": 1}), side(parts={"code": 2}), side()
    assert [part.name for part in compare(keyed, other).components] == ["code"]
    assert compare(keyed, bare).components == compare(bare, keyed).components == ()


def test_upstream_is_the_same_only_where_it_is_known() -> None:
    unsure = lineage.Completeness(complete=True, ambiguous=1)
    assert difference.upstream_part(0, WHOLE).verdict is Verdict.SAME
    assert difference.upstream_part(0, unsure).verdict is Verdict.UNKNOWN
    assert difference.upstream_part(1, unsure).verdict is Verdict.CHANGED
