"""Every verb crosses the wire: what is said is what arrives, and what does not fit is refused with its place."""

import collections.abc
import dataclasses
import functools
import json
import re
import string
import struct
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.simulator import ACTOR, uid
from whence_catalog import (
    access,
    audit,
    cache,
    catalog,
    digest,
    inventory,
    lineage,
    model,
    plans,
    verbs,
    wire,
)
from whence_catalog.errors import (
    Conflict,
    Damaged,
    Denied,
    ErrorKind,
    InvalidInput,
    NotFound,
    NotReady,
    Unreachable,
    WhenceError,
)
from whence_catalog.verbs import VERBS

# ── values of any type ───────────────────────────────────────────────────────────────────────────

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc"])
NAMES = st.text(LETTERS, min_size=1, max_size=8)
PROJECTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/:@"), min_size=1, max_size=8
)
KINDS = st.text(string.ascii_lowercase + string.digits + "_-", max_size=4).map(lambda tail: "k" + tail)
DIGESTS = st.binary(min_size=32, max_size=32).map(digest.Digest.of)
ARTIFACTS = st.builds(model.Artifact, PROJECTS | st.just("default"), KINDS, NAMES)
SELECTORS = st.one_of(
    st.none(), st.just("latest"), st.just("prod"), st.integers(1).map(str), DIGESTS.map(lambda d: d.text)
)
GRANTS = st.builds(
    access.Grants,
    st.dictionaries(
        PROJECTS | st.just("*"), st.frozensets(st.sampled_from(access.Grant), min_size=1), max_size=2
    ),
)
ERRORS = st.builds(
    lambda kind, what, text: kind(text, what),
    st.sampled_from([WhenceError, *WhenceError.__subclasses__()]),
    st.sampled_from(ErrorKind),
    st.text(max_size=8),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**80), 2**80), st.floats(), st.text(max_size=4),
    st.sampled_from(["$tuple", "$", "NaN", "$$", "00ff"]), st.binary(max_size=4),
)  # fmt: skip
RECORDED = st.sampled_from(sorted(digest.REGISTERED))
HASHABLE = st.recursive(
    SCALARS,
    lambda some: st.one_of(
        st.lists(some, max_size=3).map(tuple), st.frozensets(some, max_size=3), st.builds(digest.Record, RECORDED, some)
    ),
    max_leaves=4,
)  # fmt: skip
FRAMED = st.recursive(
    HASHABLE,
    lambda some: st.one_of(
        st.lists(some, max_size=3),
        st.lists(some, max_size=3).map(tuple),
        st.builds(digest.Record, RECORDED, some),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["$tuple", "$x", "x"]), some, max_size=3),
        st.dictionaries(HASHABLE, some, max_size=3),
        st.sets(HASHABLE, max_size=3),
    ),
    max_leaves=5,
)

WHOLE: dict[Any, st.SearchStrategy[Any]] = {
    types.NoneType: st.none(),
    str: st.text(max_size=8),
    bool: st.booleans(),
    int: st.integers() | st.integers(-(2**80), 2**80),
    float: st.floats(),
    bytes: st.binary(max_size=40),
    UUID: st.uuids(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    timedelta: st.timedeltas(),
    digest.Digest: DIGESTS,
    model.Artifact: ARTIFACTS,
    model.Reference: st.builds(model.Reference, ARTIFACTS, SELECTORS),
    digest.Framed: FRAMED,
    WhenceError: ERRORS,
    audit.Policy: st.builds(
        lambda name, more: audit.Policy(name, audit.ALWAYS_REQUIRED | more),
        st.text(max_size=8),
        st.frozensets(st.sampled_from(sorted(audit.QUESTIONS))),
    ),
    access.Grants: GRANTS,
    access.Token: st.builds(
        access.Token,
        uid=st.uuids(),
        name=st.just("laptop"),
        actor=st.just("ann"),
        hash=st.binary(min_size=32, max_size=32),
        created_at=st.datetimes(timezones=st.just(UTC)),
        expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        grants=GRANTS,
    ),
    inventory.Limits: st.builds(
        inventory.Limits,
        unused_for=st.none() | st.timedeltas(min_value=timedelta(0)),
        older_than=st.none() | st.timedeltas(min_value=timedelta(0)),
        entries=st.none() | st.integers(min_value=0),
        size_bytes=st.integers(min_value=0),
    ),
    model.MetricRange: st.builds(
        lambda name, bounds: model.MetricRange(name, *bounds),
        NAMES,
        st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)).map(sorted)
        | st.tuples(st.none(), st.floats(allow_nan=False))
        | st.tuples(st.floats(allow_nan=False), st.none()),
    ),
    lineage.Bounds: st.builds(
        lineage.Bounds,
        st.none() | st.integers(1),
        st.none() | st.integers(1),
        st.none() | st.floats(0, allow_nan=False),
    ),
}


@functools.cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that an annotation allows."""
    if hint in WHOLE:
        return WHOLE[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(one) for one in arguments])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*map(values, arguments))
    if origin in (tuple, list, collections.abc.Sequence, collections.abc.Iterable):
        many = st.lists(values(arguments[0]), max_size=3)
        return many.map(tuple) if origin is tuple else many
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=3)
    if origin in (dict, collections.abc.Mapping):
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    hints: dict[str, Any] = (
        {field.name: field.type for field in dataclasses.fields(hint)}
        if dataclasses.is_dataclass(hint)
        else hint.__annotations__
    )
    return st.builds(hint, **{name: values(one) for name, one in hints.items()})


WHOLE[plans.Replacement] = st.builds(
    lambda named, is_named, *fields: plans.Replacement(
        named.artifact, *fields, named=str(named) if is_named else None
    ),
    *(WHOLE[model.Reference], st.booleans(), values(model.Content), values(UUID | None), values(str | None)),
)
WHOLE[plans.NewCode] = st.builds(
    plans.NewCode,
    without=st.lists(st.sampled_from(["extra/files", "envvar/A"]), max_size=2).map(tuple),
    uncacheable=st.lists(st.text(max_size=8), max_size=2).map(tuple),
    components=st.lists(
        st.builds(
            model.Component,
            st.text(max_size=8),
            st.sampled_from(["signature", "code", "params"]),
            st.binary(max_size=40),
            st.none() | st.text(max_size=8),
            st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    capture=values(model.Capture),
)


def exactly(value: Any) -> Any:
    """What is equal for equal values alone: types count, NaN is NaN, and a set may come back frozen."""
    match value:
        case float():
            return "float", "NaN" if value != value else struct.pack(">d", value)
        case WhenceError():
            return type(value), value.kind, str(value)
        case dict():
            return "mapping", frozenset((exactly(key), exactly(item)) for key, item in value.items())
        case set() | frozenset():
            return "set", frozenset(map(exactly, value))
        case list() | tuple():
            return type(value), tuple(map(exactly, value))
        case _ if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return type(value), tuple(exactly(getattr(value, field.name)) for field in fields)
        case _:
            return type(value), value


def is_framed(value: Any) -> bool:
    """Whether everything in it that is framed has a frame: two NaNs in one set have none."""
    match value:
        case Mapping():
            return all(is_framed(part) for part in value.values()) and _has_frame(value)
        case set() | frozenset() | digest.Record():
            return _has_frame(value)
        case list() | tuple():
            return all(map(is_framed, value))
        case _ if dataclasses.is_dataclass(value):
            return all(is_framed(getattr(value, field.name)) for field in dataclasses.fields(value))
        case _:
            return True


def _has_frame(value: Any) -> bool:
    try:
        digest.frame(value)
    except InvalidInput as error:
        return "comes twice" not in str(error)
    return True


SLOWLY = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=10)
EVERY = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@EVERY
@SLOWLY
@given(st.data())
def test_a_call_arrives_as_it_was_made(verb: verbs.Verb, data: st.DataObject) -> None:
    arguments = {given.name: data.draw(values(given.hint), given.name) for given in verb.parameters}
    assume(is_framed(arguments))
    assert exactly(verb.decode_call(verb.encode_call(arguments))) == exactly(arguments)


@EVERY
@SLOWLY
@given(st.data())
def test_an_answer_arrives_as_it_was_given(verb: verbs.Verb, data: st.DataObject) -> None:
    answer = data.draw(values(verb.answers))
    assume(is_framed(answer))
    assert exactly(verb.decode_answer(verb.encode_answer(answer))) == exactly(answer)


# ── what does not fit ────────────────────────────────────────────────────────────────────────────

WORDS = sorted(
    {field.name for verb in VERBS.values() for field in verb.parameters}
    | {"answer", "error", "type", "kind", "message", "$tuple", "$map", "$set", "$int", "$datetime", "reuse"}
    | {field.name for one in (model.Call, model.Report, model.Run) for field in dataclasses.fields(one)}
)
ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8), st.sampled_from(WORDS), st.uuids().map(str), DIGESTS.map(str),
    ),
    lambda some: st.lists(some, max_size=3)
    | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), some, max_size=4),
    max_leaves=10,
)  # fmt: skip


def refuses(decode: Callable[[bytes], object], body: bytes) -> str | None:
    """With which words a body is refused; None where it is read."""
    said = None
    try:
        decode(body)
    except InvalidInput as error:
        said = str(error)
    assert said is None or said.startswith("$")
    return said


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in parts for place in places(part, (*path, key)))]


def with_changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A JSON value in which the part at `path` is another."""
    if not path:
        return change(value)
    copy = value.copy()
    copy[path[0]] = with_changed(value[path[0]], path[1:], change)
    return copy


@EVERY
@SLOWLY
@given(st.data())
def test_a_call_that_was_tampered_with_is_read_or_refused(verb: verbs.Verb, data: st.DataObject) -> None:
    arguments = {given.name: data.draw(values(given.hint)) for given in verb.parameters}
    body = json.loads(verb.encode_call(arguments))
    place = data.draw(st.sampled_from(places(body)))
    other = data.draw(ANYTHING)
    changes: list[Callable[[Any], Any]] = [
        lambda part: other,
        lambda part: [part],
        lambda part: {"x": other, **part} if isinstance(part, dict) else str(part),
        lambda part: dict(list(part.items())[1:]) if isinstance(part, dict) else None,
    ]
    changed = with_changed(body, place, data.draw(st.sampled_from(changes)))
    refuses(verb.decode_call, json.dumps(changed).encode())


@EVERY
@SLOWLY
@given(st.data())
def test_an_answer_that_was_tampered_with_is_read_or_refused(verb: verbs.Verb, data: st.DataObject) -> None:
    body = json.loads(verb.encode_answer(data.draw(values(verb.answers))))
    place, other = data.draw(st.sampled_from(places(body))), data.draw(ANYTHING)
    refuses(verb.decode_answer, json.dumps(with_changed(body, place, lambda part: other)).encode())


@EVERY
@SLOWLY
@given(ANYTHING, st.binary(max_size=20))
def test_whatever_a_body_is_it_is_read_or_refused(verb: verbs.Verb, value: object, noise: bytes) -> None:
    text = json.dumps(value).encode()
    for body in (text, noise, json.dumps({"answer": value}).encode(), text[:-1], text + noise):
        for decode in (verb.decode_call, verb.decode_answer, verbs.decode_error):
            refuses(decode, body)


@pytest.mark.parametrize(
    "inside",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"$tuple":[' * 101 + b"1" + b"]}" * 101,
        b'{"$set":[' * 400 + b"1" + b"]}" * 400,
        b'{"$map":[[' * 400 + b"1,1" + b"]]}" * 400,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"1" * 100_000,
        b"1e400",
        b"NaN",
        b"",
        b"{} {}",
    ],
    ids=lambda inside: repr(inside[:12]),
)
def test_no_body_is_too_strange_to_be_refused(inside: bytes) -> None:
    for verb in VERBS.values():
        assert refuses(verb.decode_call, inside)
        assert refuses(verb.decode_answer, b'{"answer":' + inside + b"}")
    call = json.dumps({"calls": [CALL]}).replace('"HERE"', "%s").encode()
    assert refuses(VERBS["reserve"].decode_call, call % inside)


CALL = {
    "run": "01990000-0000-7000-8000-000000000001",
    "project": "vision",
    "job": "train",
    "actor": {"name": "ann"},
    "params": {"x": "HERE"},
}
SOURCE = {"artifact": "dataset:images", "digest": "sha256:" + "0" * 64}


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({**CALL, "run": "1"}, "$.calls[1].run: expected a UUID in lower case, not '1'"),
        ({**CALL, "jbo": ""}, "$.calls[1].jbo: no such field here; there are run, project, job, actor, mode,"),
        ({"run": CALL["run"]}, "$.calls[1]: missing: project, job, actor; there is an object of run"),
        ([], "$.calls[1]: expected an object, not a list of 0"),
        (
            {**CALL, "inputs": [{"role": "a", "source": SOURCE}, {"role": "b", "source": {**SOURCE, "digest": "md5:x"}}]},
            "$.calls[1].inputs[1].source.digest: not a digest: 'md5:x'; expected sha256: and 64",
        ),
        ({**CALL, "mode": "fast"}, "$.calls[1].mode: expected one of reuse, refresh, record, off, not 'fast'"),
        ({**CALL, "params": {"a b": {"$tuple": [1, {"$bytes": "0"}]}}}, "$.calls[1].params['a b']['$tuple'][1]['$bytes']: expected bytes"),
        ({**CALL, "params": {"x": {"$map": [[[], 1]]}}}, "$.calls[1].params.x['$map']: a key or a member of a set is itself"),
        ({**CALL, "params": {"x": {"$dollar": 1}}}, "$.calls[1].params.x: '$dollar' tags no framed value; a mapping that has such a key is a $map"),
        ({**CALL, "max_age": True}, "$.calls[1].max_age: expected a number of seconds, not true"),
        ({**CALL, "max_age": 1e300}, "$.calls[1].max_age: expected a number of seconds, not 1e+300"),
        ({**CALL, "claimed_at": "2026-01-01T00:00:00+01:00"}, "$.calls[1].claimed_at: expected a time in UTC"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_why(call: object, why: str) -> None:
    said = refuses(VERBS["reserve"].decode_call, json.dumps({"calls": [CALL, call]}).encode())
    assert said is not None
    assert said.startswith(why)


def test_a_name_that_cannot_be_keeps_its_kind_of_error() -> None:
    with pytest.raises(InvalidInput, match=r"^\$\.artifact: not a kind") as caught:
        VERBS["aliases"].decode_call(b'{"artifact":"Model:x"}')
    assert caught.value.kind is ErrorKind.BAD_NAME


# ── by example ───────────────────────────────────────────────────────────────────────────────────


def test_every_method_of_the_catalog_is_a_verb() -> None:
    methods = {name for name in dir(catalog.Catalog) if not name.startswith("_")} - verbs.NOT_SAID
    assert set(VERBS) == methods
    assert methods >= verbs.WRITING


def test_what_has_a_default_may_be_left_out() -> None:
    assert VERBS["runs"].encode_call({"job": "train"}) == b'{"job":"train"}'
    assert VERBS["runs"].decode_call(b'{"job":"train"}') == {
        "project": None,
        "job": "train",
        "states": (),
        "limit": 25,
        "before": None,
    }


def test_arguments_that_a_method_does_not_take_are_a_bug() -> None:
    with pytest.raises(TypeError, match="run takes prefix, as_of; unknown or missing: prefix, run"):
        VERBS["run"].encode_call({"run": "x"})


def test_each_answer_of_a_batch_stands_beside_its_call() -> None:
    verb = VERBS["reserve"]
    answers = [
        cache.Execute(cache.Reason.NO_ENTRY, token=3),
        Conflict("run 1 was used for another call", ErrorKind.OTHER_CONTENT),
    ]
    body = verb.encode_answer(answers)
    assert json.loads(body) == {
        "answer": [
            {"type": "execute", "reason": "no entry", "digests": [], "run": None, "token": 3, "details": []},
            {
                "error": {
                    "type": "Conflict",
                    "kind": "other-content",
                    "message": "run 1 was used for another call",
                }
            },
        ]
    }
    assert exactly(verb.decode_answer(body)) == exactly(answers)


def test_what_cannot_be_sent_is_refused_here() -> None:
    for value in ("caf\udce9", object(), itself(), 10**5000):
        call = model.Call(uid(), "p", "j", ACTOR, params={"x": value})  # type: ignore[dict-item]
        with pytest.raises(InvalidInput) as caught:
            VERBS["reserve"].encode_call({"calls": [call]})
        assert caught.value.kind is ErrorKind.UNSUPPORTED_VALUE
    with pytest.raises(InvalidInput, match="lone surrogate"):
        VERBS["run"].encode_call({"prefix": "\ud800"})


def itself() -> list[object]:
    """A list that contains itself."""
    found: list[object] = []
    found.append(found)
    return found


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@SLOWLY
@given(ERRORS)
def test_an_error_arrives_as_it_was_raised(error: WhenceError) -> None:
    assert exactly(verbs.decode_error(verbs.encode_error(error))) == exactly(error)


def test_an_error_of_a_newer_server_can_be_shown() -> None:
    body = b'{"error":{"type":"Paused","kind":"for-lunch","message":"come back at two"}}'
    error = verbs.decode_error(body)
    assert (type(error), str(error)) == (WhenceError, "come back at two (for-lunch)")
    error = verbs.decode_error(body.replace(b"Paused", b"NotReady"))
    assert (type(error), error.kind) == (NotReady, ErrorKind.PROTOCOL)


def test_a_message_with_a_lone_surrogate_is_shown_escaped() -> None:
    error = verbs.decode_error(verbs.encode_error(InvalidInput("not a name: caf\udce9")))
    assert str(error) == "not a name: caf\\udce9"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("x"), 400),
        (InvalidInput("x", ErrorKind.TOO_LARGE), 413),
        (NotFound("x", ErrorKind.NO_SUCH_RUN), 404),
        (Conflict("x", ErrorKind.WRONG_STATE), 409),
        (Denied("x", ErrorKind.NOT_GRANTED), 403),
        (Denied("x", ErrorKind.UNAUTHENTICATED), 401),
        (Damaged("x", ErrorKind.BLOB_MISSING), 422),
        (NotReady("x", ErrorKind.SCHEMA_OLDER), 503),
        (NotReady("x", ErrorKind.PROTOCOL), 426),
        (Unreachable("x"), 503),
        (Unreachable("x", ErrorKind.TOO_MANY), 429),
        (WhenceError("x", ErrorKind.BAD_VALUE), 500),
    ],
)
def test_an_error_has_a_status(error: WhenceError, status: int) -> None:
    assert verbs.status_of(error) == status


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────


def test_every_reference_of_a_schema_leads_to_a_component() -> None:
    components: wire.Schema = {}
    schemas = [verb.schemas(components) for verb in VERBS.values()]
    said = json.dumps([schemas, components])
    referred = set(re.findall(r'"#/components/schemas/([A-Za-z.]+)"', said))
    assert referred == set(components)


@EVERY
@SLOWLY
@given(st.data())
def test_what_is_sent_is_as_the_schema_says(verb: verbs.Verb, data: st.DataObject) -> None:
    components: wire.Schema = {}
    call, answer = verb.schemas(components)
    arguments = {given.name: data.draw(values(given.hint)) for given in verb.parameters}
    for body, schema in (
        (verb.encode_call(arguments), call),
        (verb.encode_answer(data.draw(values(verb.answers))), answer),
    ):
        whole = {**schema, "components": {"schemas": components}}
        jsonschema_rs.Draft202012Validator(whole).validate(json.loads(body))
