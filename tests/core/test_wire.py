"""JSON: every value has one, and it says no less."""

import inspect
import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.simulator import digest_of
from whence_catalog import cache, digest, lineage, model, plans, wire
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput
from whence_catalog.wire import framed, parts

FRAMED = wire.codec(digest.Framed)
AT = datetime(2026, 5, 3, tzinfo=UTC)
VERSION = model.Version(
    model.Artifact("p", "model", "m"), 3, model.Content(digest_of(b"A")), datetime(2026, 1, 1, tzinfo=UTC)
)


def through(codec: wire.Codec, value: object) -> Any:
    """A value that was sent and received."""
    return wire.decode_as(codec, wire.encode_as(codec, value))


# ── values of any type ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (b"\x00\xff", "00ff"),
        (digest_of(b"A"), "sha256:559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"),
        (digest.Record("datetime", 5), {"$datetime": 5}),
        (AT, "2026-05-03T00:00:00Z"),
        (AT + timedelta(microseconds=1), "2026-05-03T00:00:00.000001Z"),
        (AT.astimezone(timezone(timedelta(hours=5))), "2026-05-03T00:00:00Z"),
        (timedelta(minutes=1, microseconds=1), 60.000001),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (model.Mode.REUSE, "reuse"),
        (frozenset({2, 1}), [1, 2]),
        ({1: "a", "b": (None, True)}, {"1": "a", "b": [None, True]}),
        (cache.Execute(cache.Reason.NO_ENTRY), {"reason": "no entry", "digests": [], "run": None, "token": None, "details": []}),
        ([Conflict("taken", ErrorKind.OTHER_CONTENT)], [{"error": {"type": "Conflict", "kind": "other-content", "message": "taken"}}]),
        (
            plans.PlannedRun(UUID(int=1), UUID(int=2), "default", "train", plans.Execute("its input changed")),
            {
                "run": "00000000-0000-0000-0000-000000000001", "recipe": "00000000-0000-0000-0000-000000000002",
                "project": "default", "job": "train", "step": {"type": "execute", "why": "its input changed"},
                "takes": [], "key": None, "components": [], "changed": [], "expected": None, "stands": False,
            },
        ),
        (
            {"at": lineage.Edge("a", "b", lineage.EdgeType.INPUT, "x", 0, None, False, 7)},
            {"at": {"source": "a", "target": "b", "type": "input", "role": "x", "ordinal": 0, "producer": None, "ambiguous": False, "position": 7, "declared": False}},
        ),
    ],
)  # fmt: skip
def test_a_value_in_nothing_but_what_json_has(value: object, plain: object) -> None:
    assert wire.plain(value) == plain
    assert json.loads(wire.encode(value)) == plain


def test_a_version_shows_its_reference_and_comes_back_without_it() -> None:
    said = wire.encode(VERSION)
    assert json.loads(said) == {
        "ref": "p/model:m@3",
        "project": "p",
        "kind": "model",
        "name": "m",
        "number": 3,
        "digest": digest_of(b"A").text,
        "strength": "content",
        "form": "file",
        "size_bytes": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
    codec = wire.codec(model.Version)
    assert wire.decode_as(codec, said) == VERSION
    assert wire.decode_as(codec, said.replace(b'"ref":"p/model:m@3",', b"")) == VERSION


def test_canonical_json_has_one_form() -> None:
    assert wire.canonical({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'.encode()


def test_what_has_no_json_is_a_bug() -> None:
    with pytest.raises(TypeError):
        wire.plain(object())
    with pytest.raises(TypeError, match="without a zone"):
        wire.plain(datetime(2026, 1, 1))


# ── leaves ───────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(st.timedeltas())
@example(timedelta.max)
@example(timedelta.min)
@example(timedelta(seconds=2**33 - 1, microseconds=999_999))
@example(timedelta(seconds=-(2**33), microseconds=1))
def test_a_duration_is_exact_to_the_microsecond(lasting: timedelta) -> None:
    assert through(wire.codec(timedelta), lasting) == lasting


def test_a_float_may_be_written_as_an_integer_and_an_integer_not_as_a_float() -> None:
    assert str(wire.decode_as(wire.codec(float), b"1")) == "1.0"
    with pytest.raises(InvalidInput, match=r"^\$: expected an integer, not 1.0"):
        wire.decode_as(wire.codec(int), b"1.0")
    with pytest.raises(InvalidInput, match="expected an integer, not true"):
        wire.decode_as(wire.codec(int), b"true")


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (UUID, "{00000000-0000-0000-0000-000000000001}"),
        (UUID, "00000000-0000-0000-0000-00000000000A"),
        (bytes, "00 ff"),
        (bytes, "0"),
        (bytes, "FF"),
        (datetime, "2026-05-03"),
        (datetime, "2026-05-03T00:00:00"),
        (datetime, "2026-05-03T00:00:00+01:00"),
        (datetime, "2026-02-30T00:00:00Z"),
        (datetime, "٢٠٢٦-05-03T00:00:00Z"),
        (timedelta, "1.0"),
        (float, "nan"),
        (digest.Digest, "sha256:0"),
        (model.Artifact, "model:m@3"),
        (model.Artifact, "m"),
        (model.Mode, "REUSE"),
    ],
)
def test_a_form_that_is_not_ours_is_refused(hint: object, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^\$: "):
        wire.decode_as(wire.codec(hint), json.dumps(text).encode())


def test_a_refusal_quotes_no_more_than_helps() -> None:
    for hint in (model.Artifact, UUID, int, digest.Digest):
        with pytest.raises(InvalidInput) as caught:
            wire.decode_as(wire.codec(hint), json.dumps("model:\n" + "x" * 10**6).encode())
        assert len(str(caught.value)) < 400


# ── framed values ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"lr": 0.1, "layers": [64, 32], "name": None}, {"lr": 0.1, "layers": [64, 32], "name": None}),
        ((1, 2.0), {"$tuple": [1, 2.0]}),
        (frozenset({"b", "a"}), {"$set": ["a", "b"]}),
        (b"\x00\xff", {"$bytes": "00ff"}),
        (math.inf, {"$float": "Infinity"}),
        ("Infinity", "Infinity"),
        (2**64, {"$int": "18446744073709551616"}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63) - 1, {"$int": "-9223372036854775809"}),
        ({"$tuple": [1]}, {"$map": [["$tuple", [1]]]}),
        ({"$x": 1, "a": (1,)}, {"$map": [["$x", 1], ["a", {"$tuple": [1]}]]}),
        ({2: "b", (1, True): "a"}, {"$map": [[2, "b"], [{"$tuple": [1, True]}, "a"]]}),
        ({}, {}),
        (digest.Record("path", "/data"), {"$path": "/data"}),
        (digest.Record("enum", ["m.Colour", {"$": 1}]), {"$enum": ["m.Colour", {"$map": [["$", 1]]}]}),
    ],
)
def test_a_framed_value_is_natural_json_where_that_is_unambiguous(
    value: digest.Framed, plain: object
) -> None:
    assert FRAMED.encode(value) == plain
    assert digest.frame(through(FRAMED, value)) == digest.frame(value)


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([0, 1, 2**63, 2**64, -(2**63), 10**30]), st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf]), st.text(max_size=4), st.binary(max_size=4),
    st.sampled_from(["$tuple", "$", "NaN", "$$", "00ff", "null"]),
)  # fmt: skip
RECORD = st.sampled_from(sorted(digest.REGISTERED))
HASHABLE = st.recursive(
    SCALARS,
    lambda some: st.one_of(
        st.lists(some, max_size=3).map(tuple),
        st.frozensets(some, max_size=3),
        st.builds(digest.Record, RECORD, some),
    ),
    max_leaves=5,
)
ANY_FRAMED = st.recursive(
    HASHABLE,
    lambda some: st.one_of(
        st.lists(some, max_size=4),
        st.lists(some, max_size=4).map(tuple),
        st.builds(digest.Record, RECORD, some),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["$tuple", "$map", "x"]), some, max_size=3),
        st.dictionaries(HASHABLE, some, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(ANY_FRAMED)
def test_a_framed_value_comes_back_as_it_was(value: digest.Framed) -> None:
    try:
        framed = digest.frame(value)
    except InvalidInput:
        assume(False)  # two NaNs in one set have no frame
    assert digest.frame(through(FRAMED, value)) == framed
    assert wire.canonical(FRAMED.encode(value)) == wire.canonical(FRAMED.encode(digest.unframe(framed)))


def test_no_registered_name_is_a_tag_of_ours() -> None:
    assert not {f"${name}" for name in digest.REGISTERED} & framed.TAGS.keys()


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


WRAPS: list[Callable[[Any], Any]] = [
    lambda value: [value],
    lambda value: (value,),
    lambda value: {"x": value},
    lambda value: frozenset({value}),
    lambda value: digest.Record("enum", value),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_hundred_levels_and_no_more_are_sent(wrap: Callable[[Any], Any]) -> None:
    deep = nested(parts.MOST_LEVELS, wrap)
    assert through(FRAMED, deep) == deep
    with pytest.raises(InvalidInput, match="nested more than 100 levels deep"):
        wire.encode_as(FRAMED, wrap(deep))


def test_a_mapping_in_its_longer_form_has_two_levels() -> None:
    deep = nested(parts.MOST_LEVELS // 2, lambda value: {1: value})
    assert through(FRAMED, deep) == deep
    with pytest.raises(InvalidInput, match="nested more than 100 levels deep"):
        wire.encode_as(FRAMED, {1: deep})


@pytest.mark.parametrize(
    "text",
    [
        '{"$tuple": 1}',
        '{"$tuple": [], "x": 1}',
        '{"x": 1, "$tuple": []}',
        '{"$nothing": 1}',
        '{"$": 1}',
        '{"$map": [[1]]}',
        '{"$map": [1]}',
        '{"$map": [[1, 2], [1, 3]]}',
        '{"$map": [[true, 2], [1, 3]]}',
        '{"$map": [[[], 2]]}',
        '{"$set": [[]]}',
        '{"$set": [{"$path": []}]}',
        '{"$set": [1, 1]}',
        '{"$bytes": "0g"}',
        '{"$float": "1.0"}',
        '{"$int": "01"}',
        '{"$int": "' + "1" * 5000 + '"}',
        '{"$int": 1}',
    ],
)
def test_a_tag_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^\$"):
        wire.decode_as(FRAMED, text.encode())


def test_where_little_of_the_stack_is_left_it_is_refused_all_the_same() -> None:
    body = wire.encode_as(FRAMED, nested(parts.MOST_LEVELS, lambda value: (value,)))

    def below(frames: int) -> object:
        return below(frames - 1) if frames else wire.decode_as(FRAMED, body)

    with pytest.raises(InvalidInput, match=r"^\$: nested more than"):
        below(sys.getrecursionlimit() - len(inspect.stack(0)) - 100)
