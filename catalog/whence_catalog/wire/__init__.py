"""Values to JSON and back, and no less said on the way: the only codec, of `/v1` and of `--json`.

A type has one `Codec`, made once from its annotations. A dataclass or named tuple is an object of its
fields; where one of several classes may stand, it says in `type` which it is. A Version has a readable form
of its own; a Digest, an Artifact, a Reference and a UUID are their text, bytes are hexadecimal, a time is
ISO 8601 in UTC with `Z`, a duration is in seconds, a set is a sorted list. What JSON's numbers cannot say is
text where the type says float: `NaN`, `Infinity`, `-Infinity`. An error in the place of a result is
`{"error": {"type", "kind", "message"}}`.

Framed values (parameters, metadata) are natural JSON where that is unambiguous, else an object with one key
that begins with `$`: `$tuple`, `$set`, `$bytes`, `$float`, `$int` (beyond 64 bits), `$map` (pairs), or `$`
and the registered name of a Record. They come back exactly as they were; a set comes back frozen.

Decoding is strict: what does not fit is always an `InvalidInput` that says where. Leaves to others: which
verbs there are and what they take (`verbs`).
"""

import collections.abc
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from operator import attrgetter, call
from typing import Any, NoReturn
from uuid import UUID

import msgspec

from whence_catalog import digest, errors, model
from whence_catalog.wire import framed, leaves, parts
from whence_catalog.wire.parts import Codec, Misfit, Plain, Schema

__all__ = [
    "ERROR",
    "Codec",
    "Field",
    "Schema",
    "canonical",
    "codec",
    "decode_as",
    "encode",
    "encode_as",
    "encode_error",
    "plain",
    "record",
    "schema",
]


@dataclass(frozen=True, slots=True)
class Field:
    """One named part of an object."""

    name: str
    hint: Any
    is_required: bool


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────


def encode(value: object, *, indent: int = 0) -> bytes:
    """JSON of any value of the catalog, or of what such are collected in; keys in the order of the fields."""
    data = _dump(plain(value))
    return msgspec.json.format(data, indent=indent) if indent else data


def canonical(value: object) -> bytes:
    """JSON with one form for each value: sorted keys, no spaces (RFC 8785 but for the writing of floats)."""
    return msgspec.json.encode(plain(value), order="deterministic")


def encode_as(codec: Codec, value: object) -> bytes:
    """JSON of a value of that type.

    Raises:
        InvalidInput: it holds what cannot be sent: a lone surrogate, a foreign type, itself.
    """
    try:
        said = codec.encode(value)
    except RecursionError:
        raise parts.too_deep() from None
    return _dump(said)


def decode_as(codec: Codec, data: bytes) -> Any:
    """The value of that type whose JSON is `data`.

    Raises:
        InvalidInput: with the path to what does not fit.
    """
    try:
        return codec.decode(msgspec.json.decode(data))
    except Misfit as misfit:
        path = "$" + "".join(reversed(misfit.path))
        raise errors.InvalidInput(f"{path}: {misfit.why}", misfit.kind) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise errors.InvalidInput(f"$: not JSON: {error}") from None
    except RecursionError:
        raise errors.InvalidInput(f"$: nested more than {parts.MOST_LEVELS} levels deep") from None


def _dump(value: Plain) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise errors.InvalidInput(
            f"{parts.short(repr(error.object))} has a lone surrogate; only text that UTF-8 can encode can be sent",
            errors.ErrorKind.UNSUPPORTED_VALUE,
        ) from error
    except RecursionError:
        raise parts.too_deep() from None
    except (TypeError, ValueError) as error:
        raise errors.InvalidInput(
            f"a value that JSON cannot say: {error}", errors.ErrorKind.UNSUPPORTED_VALUE
        ) from error


# ── values of any type ───────────────────────────────────────────────────────────────────────────


def plain(value: Any) -> Plain:
    """`value` in nothing but what JSON has: each dataclass by its codec, what they are collected in by its looks."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return leaves.encode_float(value)
        case bytes():
            return value.hex()
        case digest.Record():
            return framed.encode(value)
        case datetime():
            return leaves.in_utc(value).isoformat().replace("+00:00", "Z")
        case timedelta():
            return leaves.encode_duration(value)
        case UUID():
            return str(value)
        case errors.WhenceError():
            return encode_error(value)
        case Mapping():
            return {_key(key): plain(item) for key, item in value.items()}
        case list() | tuple() if not hasattr(value, "_fields"):
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
        case _ if (known := _codec_of(value)) is not _UNKNOWN:
            return plain(known.encode(value))
        case _:
            raise TypeError(f"no JSON for a {type(value).__qualname__}")


def _codec_of(value: object) -> Codec:
    kind: Any = type(value)
    return codec(kind)


def _key(key: object) -> str:
    said = plain(key)
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()


# ── the codec of a type ──────────────────────────────────────────────────────────────────────────


@functools.cache
def codec(hint: Any) -> Codec:
    """The Codec of a type, as an annotation says it. What is not known here can be encoded, and that is all."""
    if hint in _CODECS:
        return _CODECS[hint]
    if isinstance(hint, typing.NewType):
        return codec(hint.__supertype__)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _many(arguments[0], tuple) if arguments[-1] is Ellipsis else _row(arguments)
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        return _many(arguments[0], list)
    if origin in (frozenset, collections.abc.Set):
        return _set(arguments[0])
    if origin in (dict, collections.abc.Mapping):
        return _mapping(*arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hasattr(hint, "_field_defaults")):
        return _class(hint)
    return _UNKNOWN


def schema(hint: Any, components: Schema) -> Schema:
    """The JSON Schema of a type; `components` gains what it refers to as `#/components/schemas/…`."""
    return codec(hint).schema(components)


def _unknown(value: object) -> NoReturn:
    raise TypeError("an annotation that wire knows no form for")


_UNKNOWN = Codec(plain, _unknown, _unknown)


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def _many(hint: Any, collect: Callable[[list[Any]], Any]) -> Codec:
    there, back, describe = _parts(hint)
    return Codec(
        collect if there is parts.same else lambda value: list(map(there, value)),
        lambda value: collect(parts.decode_items(back, value)),
        lambda components: {"type": "array", "items": describe(components)},
    )


def _parts(hint: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Schema], Schema]]:
    known = codec(hint)
    return known.encode, known.decode, known.schema


def _row(hints: Sequence[Any]) -> Codec:
    """A tuple of a known length, whose members have types of their own."""
    codecs = [codec(hint) for hint in hints]

    def encode(value: Sequence[Any]) -> list[Any]:
        return [one.encode(item) for one, item in zip(codecs, value, strict=True)]

    def decode(value: object) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(codecs):
            raise parts.expected(f"a list of {len(codecs)}", value)
        found: list[Any] = []
        try:
            found.extend(one.decode(item) for one, item in zip(codecs, value, strict=True))
        except Misfit as misfit:
            misfit.path.append(f"[{len(found)}]")
            raise
        return tuple(found)

    def describe(components: Schema) -> Schema:
        members = [one.schema(components) for one in codecs]
        length = len(members)
        return {"type": "array", "prefixItems": members, "minItems": length, "maxItems": length}

    return Codec(encode, decode, describe)


def _set(hint: Any) -> Codec:
    there, back, describe = _parts(hint)

    def decode(value: object) -> frozenset[Any]:
        items = parts.decode_items(back, value)
        found = frozenset(items)
        if len(found) < len(items):
            raise Misfit("a member of a set comes twice")
        return found

    return Codec(
        lambda value: sorted(map(there, value)),
        decode,
        lambda components: {"type": "array", "items": describe(components), "uniqueItems": True},
    )


def _mapping(key_hint: Any, hint: Any) -> Codec:
    key, item = codec(key_hint), codec(hint)
    there, back = item.encode, item.decode

    def encode(value: Mapping[Any, Any]) -> dict[str, Any]:
        if key.encode is parts.same:
            return dict(value) if there is parts.same else {name: there(part) for name, part in value.items()}
        return {key.encode(name): there(part) for name, part in value.items()}

    def describe(components: Schema) -> Schema:
        names = {} if key_hint is str else {"propertyNames": key.schema(components)}
        return {"type": "object", **names, "additionalProperties": item.schema(components)}

    return Codec(encode, lambda value: parts.decode_members(key.decode, back, value), describe)


def _enum(kind: type[Enum]) -> Codec:
    members = {member.value: member for member in kind}

    def decode(value: object) -> Enum:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise parts.expected(f"one of {', '.join(members)}", value)
        return member

    return Codec(parts.same, decode, lambda _: {"type": "string", "enum": list(members)})


# ── unions ───────────────────────────────────────────────────────────────────────────────────────


def _union(hints: Sequence[Any]) -> Codec:
    """`X | None` may be null, `X | WhenceError` may be an error, and of several classes each says its name."""
    rest = [hint for hint in hints if hint not in (types.NoneType, errors.WhenceError)]
    made = leaves.NOTHING if not rest else codec(rest[0]) if len(rest) == 1 else _named(rest)
    if rest and types.NoneType in hints:
        made = _optional(made)
    return _result(made) if errors.WhenceError in hints else made


def _optional(some: Codec) -> Codec:
    there, back = some.encode, some.decode
    return Codec(
        parts.same if there is parts.same else lambda value: None if value is None else there(value),
        lambda value: None if value is None else back(value),
        lambda components: {"anyOf": [some.schema(components), {"type": "null"}]},
    )


def _result(good: Codec) -> Codec:
    def encode(value: Any) -> Any:
        return encode_error(value) if isinstance(value, errors.WhenceError) else good.encode(value)

    def decode(value: Any) -> Any:
        is_error = type(value) is dict and value.keys() == {"error"}
        return ERROR.decode(value) if is_error else good.decode(value)

    return Codec(
        encode,
        decode,
        lambda components: {"anyOf": [good.schema(components), ERROR.schema(components)]},
    )


def _named(kinds: Sequence[type]) -> Codec:
    """One of several classes: its object, with the name of the class in lower case as `type`."""
    codecs = {kind.__name__.lower(): codec(kind) for kind in kinds}
    encoders = {kind: (kind.__name__.lower(), codec(kind).encode) for kind in kinds}

    def encode(value: Any) -> dict[str, Any]:
        name, there = encoders[type(value)]
        return {"type": name, **there(value)}

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise parts.expected("an object", value)
        name = value.get("type")
        chosen = codecs.get(name) if type(name) is str else None
        if chosen is None:
            misfit = parts.expected(f"one of {', '.join(codecs)}", name)
            misfit.path.append(".type")
            raise misfit
        return chosen.decode({name: part for name, part in value.items() if name != "type"})

    def describe(components: Schema) -> Schema:
        return {"oneOf": [_named_schema(name, one, components) for name, one in codecs.items()]}

    return Codec(encode, decode, describe)


def _named_schema(name: str, of_class: Codec, components: Schema) -> Schema:
    known = dict(components)
    component = of_class.schema(known)["$ref"].removeprefix(parts.COMPONENTS)
    unnamed = known[component]
    components |= {other: schema for other, schema in known.items() if other != component}
    return {
        **unnamed,
        "properties": {"type": {"const": name}, **unnamed["properties"]},
        "required": ["type", *unnamed["required"]],
    }


# ── objects ──────────────────────────────────────────────────────────────────────────────────────


def record(
    name: str,
    promise: str,
    fields: Sequence[Field],
    make: Callable[..., Any],
    encode: Callable[[Any], Any],
) -> Codec:
    """The Codec of an object with those fields and no other; `make` takes those that are there.

    `encode` is how the values stand in JSON, `name` that of the schema's component (none: it stands in place).
    """
    decoders = {field.name: codec(field.hint).decode for field in fields}
    required = {field.name for field in fields if field.is_required}
    names, backs, is_class = [*decoders], [*decoders.values()], isinstance(make, type)

    def whole(value: dict[str, Any]) -> Any:
        """As `decode`, for all fields in their order: what is sent from here is that, and it is faster."""
        found: list[Any] = []
        try:
            # `extend` keeps what came before an error, so that the length is where it was.
            found.extend(map(call, backs, value.values()))
            return make(*found)
        except Misfit as misfit:
            misfit.path.append(parts.step(names[len(found)]))
            raise
        except errors.InvalidInput as error:
            raise parts.refused(error) from None

    def decode(value: object) -> Any:
        if type(value) is not dict:
            raise parts.expected("an object", value)
        if is_class and [*value] == names:
            return whole(value)
        found = {}
        field = ""
        try:
            for field, part in value.items():
                back = decoders.get(field)
                if back is None:
                    raise Misfit(f"no such field here; there are {', '.join(decoders) or 'none'}")
                found[field] = back(part)
        except Misfit as misfit:
            misfit.path.append(parts.step(field))
            raise
        if not required <= found.keys():
            missing = ", ".join(field.name for field in fields if field.name in required - found.keys())
            raise Misfit(f"missing: {missing}; there is {parts.found(value)}")
        try:
            return make(**found)
        except errors.InvalidInput as error:
            raise parts.refused(error) from None

    def describe(components: Schema) -> Schema:
        whole = parts.object_schema(
            {field.name: schema(field.hint, components) for field in fields},
            [field.name for field in fields if field.is_required],
        )
        if not name:
            return whole
        components[name] = {"description": promise, **whole}
        return {"$ref": parts.COMPONENTS + name}

    return Codec(encode, decode, describe)


def _class(kind: Any) -> Codec:
    fields = _fields(kind)
    names = [field.name for field in fields]
    encoders = {field.name: codec(field.hint).encode for field in fields}
    changed = [(name, there) for name, there in encoders.items() if there is not parts.same]
    # `attrgetter` answers a tuple for two names or more.
    read: Callable[[Any], Iterable[Any]]
    if not dataclasses.is_dataclass(kind):
        read = parts.same
    elif len(names) > 1:
        read = attrgetter(*names)
    else:

        def read(value: Any) -> Iterable[Any]:
            return [getattr(value, name) for name in names]

    def encode(value: Any) -> dict[str, Any]:
        said = dict(zip(names, read(value), strict=True))
        for name, there in changed:
            part = said[name]
            if part is not None:
                said[name] = there(part)
        return said

    name = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    return record(name, (kind.__doc__ or "").partition("\n")[0], fields, kind, encode)


def _fields(kind: Any) -> list[Field]:
    if not dataclasses.is_dataclass(kind):
        hints = kind.__annotations__
        return [Field(name, hints[name], name not in kind._field_defaults) for name in kind._fields]
    absent = dataclasses.MISSING
    return [
        Field(field.name, field.type, field.default is absent and field.default_factory is absent)
        for field in dataclasses.fields(kind)
    ]


def _encode_version(version: model.Version) -> dict[str, Any]:
    artifact, content = version.artifact, version.content
    return {
        "ref": version.ref,
        "project": artifact.project,
        "kind": artifact.kind,
        "name": artifact.name,
        "number": version.number,
        "digest": content.digest.text,
        "strength": content.strength,
        "form": content.form,
        "size_bytes": content.size_bytes,
        "created_at": leaves.in_utc(version.created_at),
    }


def _make_version(
    project: str,
    kind: str,
    name: str,
    number: int,
    digest: digest.Digest,
    strength: model.Strength,
    form: model.Form,
    size_bytes: int | None,
    created_at: datetime,
    ref: str = "",
) -> model.Version:
    content = model.Content(digest, strength, form, size_bytes)
    return model.Version(model.Artifact(project, kind, name), number, content, created_at)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────

_CLASSES = {
    kind.__name__: kind
    for kind in (
        errors.InvalidInput,
        errors.NotFound,
        errors.Conflict,
        errors.Denied,
        errors.Damaged,
        errors.NotReady,
        errors.Unreachable,
    )
}


# What stands under the key `error`.
_Said = typing.NewType("_Said", errors.WhenceError)


def encode_error(error: errors.WhenceError) -> Plain:
    """`{"error": {"type", "kind", "message"}}`; the type is the name of its class in `errors`."""
    # A message quotes what was found; what of that has no UTF-8 is shown escaped.
    message = str(error).encode(errors="backslashreplace").decode()
    return {"error": {"type": type(error).__name__, "kind": error.kind.value, "message": message}}


def _make_error(type: str, kind: str, message: str) -> errors.WhenceError:
    made: Callable[[str, errors.ErrorKind], errors.WhenceError] = _CLASSES.get(type, errors.WhenceError)
    try:
        return made(message, errors.ErrorKind(kind))
    except ValueError:
        return made(f"{message} ({kind})", errors.ErrorKind.PROTOCOL)


# ── types with a form of their own ───────────────────────────────────────────────────────────────

_CODECS = {**leaves.CODECS, **framed.CODECS}
_CODECS[model.Version] = record(
    "model.Version",
    "One immutable content of an Artifact. `ref` says it once more for people, and is not read.",
    [
        Field("ref", str, False),
        Field("project", str, True),
        Field("kind", str, True),
        Field("name", str, True),
        Field("number", int, True),
        Field("digest", digest.Digest, True),
        Field("strength", model.Strength, True),
        Field("form", model.Form, True),
        Field("size_bytes", int | None, True),
        Field("created_at", datetime, True),
    ],
    _make_version,
    _encode_version,
)
_CODECS[_Said] = record(
    "",
    "",
    [Field("type", str, True), Field("kind", str, True), Field("message", str, True)],
    _make_error,
    parts.same,
)
ERROR = _CODECS[errors.WhenceError] = record(
    "errors.WhenceError",
    "What was refused. Programs may rely on its type and kind; the message is for people.",
    [Field("error", _Said, True)],
    lambda error: error,
    encode_error,
)
