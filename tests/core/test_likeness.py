"""How the outputs of a rerun compare with the original's."""

from dataclasses import replace
from datetime import UTC, datetime
from math import inf, nan
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.cli import rerunning
from whence_catalog import digest, likeness, model
from whence_catalog.errors import InvalidInput

T0 = datetime(2026, 5, 3, tzinfo=UTC)


def uid(number: int) -> UUID:
    return UUID(int=number)


def version(name: str, data: bytes, strength: model.Strength = model.Strength.CONTENT) -> model.Version:
    content = model.Content(digest.digest_of_bytes(data), strength, size_bytes=len(data))
    return model.Version(model.Artifact("default", "dataset", name), 1, content, T0)


def made(role: str, data: bytes, **metrics: float) -> model.Output:
    return model.Output(role, version(role, data), uid(1), metrics=metrics)


def claimed(role: str, data: bytes, **metrics: float) -> model.OutputClaim:
    named = version(role, data)
    return model.OutputClaim(role, named.artifact, named.content, metrics=metrics)


def judged(
    before: model.Output, after: model.OutputClaim, tolerance: likeness.Tolerance = likeness.EXACT
) -> likeness.Likeness:
    comparison = likeness.compare([before], [after], tolerance)
    assert [output.role for output in comparison.outputs] == [before.role]
    return comparison.outputs[0].likeness


def test_the_same_bytes_and_metrics_are_identical() -> None:
    comparison = likeness.compare([made("m", b"w", f1=0.5, loss=nan)], [claimed("m", b"w", f1=0.5, loss=nan)])
    assert comparison.overall == likeness.Identical()


def test_other_bytes_are_different_and_both_digests_are_named() -> None:
    found = judged(made("m", b"one"), claimed("m", b"two"))
    assert isinstance(found, likeness.Different)
    assert str(digest.digest_of_bytes(b"one")) in found.how[0]
    assert str(digest.digest_of_bytes(b"two")) in found.how[0]


def test_metrics_stand_for_other_bytes_only_where_a_tolerance_was_asked_for() -> None:
    before, after = made("m", b"one", f1=0.5), claimed("m", b"two", f1=0.5)
    assert isinstance(judged(before, after), likeness.Different)
    assert isinstance(judged(before, after, likeness.Tolerance(rtol=1e-9)), likeness.WithinTolerance)


def test_other_bytes_without_metrics_are_different_under_any_tolerance() -> None:
    assert isinstance(
        judged(made("m", b"1"), claimed("m", b"2"), likeness.Tolerance(1e9, 1e9)), likeness.Different
    )


def test_metrics_beyond_the_tolerance_are_different_and_named() -> None:
    before, after = made("m", b"one", f1=0.5, loss=1.0), claimed("m", b"two", f1=0.5, loss=1.2)
    found = judged(before, after, likeness.Tolerance(rtol=0.1))
    assert isinstance(found, likeness.Different)
    assert "metric loss was 1.0 and is 1.2" in found.how


def test_the_same_bytes_with_other_metrics_are_not_identical() -> None:
    before = made("m", b"w", f1=0.5)
    assert isinstance(judged(before, claimed("m", b"w", f1=0.6)), likeness.Different)
    near = judged(before, claimed("m", b"w", f1=0.6), likeness.Tolerance(atol=0.2))
    assert near == likeness.WithinTolerance(("the same bytes", "metric f1 was 0.5 and is 0.6"))
    assert isinstance(judged(before, claimed("m", b"w")), likeness.Different)


@pytest.mark.parametrize("strength", [s for s in model.Strength if s is not model.Strength.CONTENT])
def test_a_weaker_identity_is_never_called_identical_nor_different(strength: model.Strength) -> None:
    weak = model.Output("m", version("m", b"w", strength), uid(1))
    assert isinstance(judged(weak, claimed("m", b"w")), likeness.NotComparable)
    assert isinstance(judged(weak, claimed("m", b"x")), likeness.NotComparable)


def test_a_file_is_not_a_tree_with_the_same_digest() -> None:
    after = claimed("m", b"w")
    after = replace(after, content=replace(after.content, form=model.Form.TREE))
    assert judged(made("m", b"w"), after) == likeness.Different(("it was a file and is a tree",))


def test_missing_and_extra_outputs_are_differences() -> None:
    comparison = likeness.compare(
        [made("a", b"a"), made("b", b"b")], [claimed("b", b"b"), claimed("c", b"c")]
    )
    assert (comparison.missing, comparison.extra) == (("a",), ("c",))
    assert comparison.overall == likeness.Different(
        ("a: only the original made it", "c: only the rerun made it")
    )


def test_nothing_beside_nothing_proves_nothing() -> None:
    assert likeness.compare([], []).overall == likeness.NotComparable("neither made any output")


def test_one_output_that_cannot_be_compared_leaves_the_whole_open() -> None:
    weak = model.Output("m", version("m", b"w", model.Strength.WEAK), uid(1))
    comparison = likeness.compare([weak, made("n", b"n")], [claimed("m", b"w"), claimed("n", b"n")])
    assert isinstance(comparison.overall, likeness.NotComparable)


numbers = st.floats() | st.sampled_from([0.0, -0.0, nan, inf, -inf, 1.0, 1.0 + 2**-52])


@given(numbers, numbers, st.floats(0, 10), st.floats(0, 10))
def test_a_tolerance_is_the_inequality_it_states(a: float, b: float, rtol: float, atol: float) -> None:
    allowed = likeness.Tolerance(rtol, atol).allows(a, b)
    if a != a or b != b:
        assert allowed == (a != a and b != b)
    elif inf in (abs(a), abs(b)):
        assert allowed == (a == b)
    else:
        assert allowed == (abs(a - b) <= atol + rtol * abs(a))


@given(st.dictionaries(st.sampled_from("abc"), numbers), st.dictionaries(st.sampled_from("abc"), numbers))
def test_identical_means_bit_for_bit(before: dict[str, float], after: dict[str, float]) -> None:
    same = digest.frame(dict(before)) == digest.frame(dict(after))
    overall = likeness.compare([made("m", b"w", **before)], [claimed("m", b"w", **after)]).overall
    assert isinstance(overall, likeness.Identical) == same


@pytest.mark.parametrize("wrong", [(-1.0, 0.0), (0.0, -1.0), (nan, 0.0), (0.0, inf)])
def test_a_tolerance_that_means_nothing_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput):
        likeness.Tolerance(*wrong)


def record(**changes: object) -> model.RunRecord:
    capture = model.Capture(
        entry="m:f", bundle=digest.digest_of_bytes(b"source"), rerunnable=True, because=None
    )
    run = model.Run(
        uid(1),
        "default",
        "m.f",
        model.RunState.COMPLETE,
        model.Actor("ada"),
        T0,
        params={"c": 1},
        capture=capture,
    )
    inputs = changes.pop("inputs", (model.Input("data", version("images", b"images"), uid(7)),))
    return model.RunRecord(replace(run, **changes), inputs, ())  # type: ignore[arg-type]


def test_a_rerun_says_something_of_its_original_only_if_it_was_given_the_same() -> None:
    original = record()
    elsewhere = replace(original.run.capture, environment=digest.digest_of_bytes(b"environment"))
    assert likeness.is_as_it_was(original, record(uid=uid(2), capture=elsewhere))
    assert likeness.is_as_it_was(
        original, record(inputs=(model.Input("data", version("copies", b"images"), uid(8)),))
    )
    for other in (
        record(params={"c": True}),
        record(project="other"),
        record(inputs=()),
        record(inputs=(model.Input("data", version("images", b"new"), uid(7)),)),
        record(capture=replace(original.run.capture, bundle=digest.digest_of_bytes(b"edited"))),
    ):
        assert not likeness.is_as_it_was(original, other)


def test_what_varies_is_told_apart_from_what_is_stably_otherwise() -> None:
    times = [
        [claimed("a", b"a"), claimed("b", b"1")],
        [claimed("b", b"2"), claimed("a", b"a")],
        [claimed("a", b"a")],
    ]
    found = {each.role: each for each in likeness.stability(times)}
    assert (found["a"].varies, found["b"].varies) == (False, True)
    assert found["b"].digests[-1] is None


def test_the_worst_of_several_judgements_stands_for_all() -> None:
    same, near = likeness.Identical(), likeness.WithinTolerance(("x",))
    assert likeness.worst([same, near]) == near
    assert likeness.worst([near, likeness.NotComparable("y"), same]) == likeness.NotComparable("y")
    assert likeness.worst([likeness.NotComparable("y"), likeness.Different(("z",))]) == likeness.Different(
        ("z",)
    )
    with pytest.raises(InvalidInput):
        likeness.worst([])


def test_what_was_read_in_other_bytes_decides_what_they_are() -> None:
    def judge(
        read: likeness.Reading | likeness.Unread, tolerance: likeness.Tolerance, **metrics: float
    ) -> object:
        before, after = made("m", b"1", f1=0.5), claimed("m", b"2", **{"f1": 0.5, **metrics})
        assert [pair[0].role for pair in likeness.unequal([before], [after])] == ["m"]
        return likeness.compare([before], [after], tolerance, {"m": read}).outputs[0].likeness

    wide = likeness.Tolerance(rtol=0.1)
    written = likeness.Reading("table")
    assert judge(written, likeness.EXACT) == likeness.WithinTolerance(
        ("the table holds the same values, written otherwise",)
    )
    assert isinstance(judge(written, wide, f1=0.9), likeness.Different)
    assert judge(likeness.Reading("table", ("near",)), wide) == likeness.WithinTolerance(("near",))
    assert judge(likeness.Reading("table", ("near",), ("far",)), wide) == likeness.Different(("far", "near"))
    assert isinstance(judge(likeness.Unread("a pickle"), likeness.EXACT), likeness.Different)
    assert isinstance(judge(likeness.Unread("a pickle"), wide), likeness.WithinTolerance)


def test_bytes_are_read_only_where_that_tells_more_than_their_digests() -> None:
    weak = model.Output("w", version("w", b"1", model.Strength.WEAK), uid(1))
    log = replace(made("log", b"1"), metadata={model.ASIDE: True})
    before = [made("same", b"1"), weak, made("gone", b"1"), made("other", b"1"), log]
    after = [
        claimed("same", b"1"),
        claimed("w", b"2"),
        claimed("other", b"2"),
        claimed("new", b"2"),
        claimed("log", b"2"),
    ]
    assert [(old.role, new.role) for old, new in likeness.unequal(before, after)] == [("other", "other")]


def test_a_script_learns_of_the_judgement_by_the_exit_code() -> None:
    near, other = likeness.WithinTolerance(("x",)), likeness.Different(("y",))
    assert rerunning.exit_code(likeness.Identical()) == rerunning.exit_code(near) == 0
    assert rerunning.exit_code(other) == 2
    assert rerunning.exit_code(likeness.NotComparable("z")) == 3
