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
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import attrgetter, call
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import msgspec

from whence_catalog import digest, errors, model

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
Schema: TypeAlias = dict[str, Any]

# Deeper than any parameter that means something, and far from where Python gives up.
MOST_LEVELS = 100

_SHORT = 200
_COMPONENTS = "#/components/schemas/"
_INTEGER = "0|-?[1-9][0-9]{0,4299}"
_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z"
_SECONDS = "-?[0-9]{1,20}[.][0-9]{6}"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_HEX = "([0-9a-f]{2})*"
_BEYOND = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_is_integer = re.compile(_INTEGER).fullmatch
_is_time = re.compile(_TIME).fullmatch
_is_seconds = re.compile(_SECONDS).fullmatch
_is_hex = re.compile("[0-9a-f]*").fullmatch
_is_uuid = re.compile(_UUID).fullmatch


@dataclass(frozen=True, slots=True)
class Codec:
    """How the values of one type stand in JSON: there, back, and as JSON Schema.

    `encode` leaves what msgspec itself writes as we do: UUIDs, times in UTC, members of enumerations, tuples.
    `decode` raises `Misfit`. Who is no part of another codec calls `encode_as` and `decode_as`.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    schema: Callable[[Schema], Schema]


@dataclass(frozen=True, slots=True)
class Field:
    """One named part of an object."""

    name: str
    hint: Any
    is_required: bool


class Misfit(Exception):
    """Something else has to stand there. `path` is gathered on the way out, the innermost step first."""

    def __init__(self, why: str, kind: errors.ErrorKind = errors.ErrorKind.BAD_VALUE) -> None:
        super().__init__(why)
        self.why = why
        self.kind = kind
        self.path: list[str] = []


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
        raise _too_deep() from None
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
        raise errors.InvalidInput(f"$: nested more than {MOST_LEVELS} levels deep") from None


def _dump(value: Plain) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise errors.InvalidInput(
            f"{error.object!r} has a lone surrogate; only text that UTF-8 can encode can be sent",
            errors.ErrorKind.UNSUPPORTED_VALUE,
        ) from error
    except RecursionError:
        raise _too_deep() from None
    except (TypeError, ValueError) as error:
        raise errors.InvalidInput(
            f"a value that JSON cannot say: {error}", errors.ErrorKind.UNSUPPORTED_VALUE
        ) from error


def _too_deep() -> errors.InvalidInput:
    return errors.InvalidInput(
        f"a value that is nested more than {MOST_LEVELS} levels deep, or contains itself",
        errors.ErrorKind.UNSUPPORTED_VALUE,
    )


# ── values of any type ───────────────────────────────────────────────────────────────────────────


def plain(value: Any) -> Plain:
    """`value` in nothing but what JSON has: each dataclass by its codec, what they are collected in by its looks."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return _encode_float(value)
        case bytes():
            return value.hex()
        case digest.Record():
            return _encode_framed(value)
        case datetime():
            return _in_utc(value).isoformat().replace("+00:00", "Z")
        case timedelta():
            return _encode_duration(value)
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
    if hint in _LEAVES:
        return _LEAVES[hint]
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


def _same(value: Any) -> Any:
    return value


def _unknown(value: object) -> NoReturn:
    raise TypeError("an annotation that wire knows no form for")


_UNKNOWN = Codec(plain, _unknown, _unknown)


def _expected(what: str, value: object) -> Misfit:
    return Misfit(f"expected {what}, not {_found(value)}")


def _found(value: object) -> str:
    """What stands there, short enough for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            shown = ", ".join(name if name.isidentifier() else repr(name) for name in list(value)[:5])
            return (
                f"an object of {_short(shown)}{', …' if len(value) > 5 else ''}"
                if value
                else "an empty object"
            )
        case list():
            return f"a list of {len(value)}"
        case int() if value.bit_length() > 64:
            return f"an integer of {value.bit_length()} bits"
        case _:
            return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}… ({len(text)} characters)"


def _refused(error: errors.InvalidInput) -> Misfit:
    """What a class says of its own values; it may quote all that it was given."""
    return Misfit(_short(str(error)), error.kind)


def _step(name: str) -> str:
    return f".{name}" if name.isidentifier() and len(name) <= 80 else f"[{name[:80]!r}]"


# ── leaves ───────────────────────────────────────────────────────────────────────────────────────


def _exactly(kind: type, what: str, described: Schema) -> Codec:
    def decode(value: object) -> object:
        if type(value) is not kind:
            raise _expected(what, value)
        return value

    return Codec(_same, decode, lambda _: dict(described))


def _text(read: Callable[[str], Any], write: Callable[[Any], Any], what: str, **described: Any) -> Codec:
    """A type whose values are text; `read` raises `ValueError` or `InvalidInput` for what is none of them."""

    def decode(value: object) -> object:
        if type(value) is not str:
            raise _expected(what, value)
        try:
            return read(value)
        except errors.InvalidInput as error:
            raise _refused(error) from None
        except ValueError:
            raise _expected(what, value) from None

    return Codec(write, decode, lambda _: {"type": "string", **described})


def _encode_float(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else _beyond(number)


def _beyond(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_float(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is str and value in _BEYOND:
        return _BEYOND[value]
    try:
        if type(value) is int:
            return float(value)
    except OverflowError:
        pass
    raise _expected("a number, NaN, Infinity or -Infinity", value)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise TypeError(f"a time without a zone: {value!r}")
    return value.astimezone(UTC)


def _read_time(text: str) -> datetime:
    if not _is_time(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _encode_duration(value: timedelta) -> float | str:
    seconds = value.total_seconds()
    if abs(seconds) < 2**33:
        return seconds
    # From there on, after 272 years, a float cannot tell all microseconds apart.
    micros = value // timedelta(microseconds=1)
    return f"{'-' if micros < 0 else ''}{abs(micros) // 10**6}.{abs(micros) % 10**6:06}"


def _decode_duration(value: object) -> timedelta:
    try:
        if type(value) is float or type(value) is int:
            return timedelta(seconds=value)
        if type(value) is str and _is_seconds(value):
            return timedelta(microseconds=int(value.replace(".", "")))
    except OverflowError:
        pass
    raise _expected("a number of seconds", value)


def _read_bytes(text: str) -> bytes:
    if not _is_hex(text):  # `fromhex` also takes spaces and capitals
        raise ValueError(text)
    return bytes.fromhex(text)


def _read_uuid(text: str) -> UUID:
    if not _is_uuid(text):  # `UUID` also takes braces, prefixes and capitals
        raise ValueError(text)
    return msgspec.convert(text, UUID)


def _read_artifact(text: str) -> model.Artifact:
    # The same few names come again and again; nobody may fill the memory with long ones.
    return _short_artifact(text) if len(text) <= _SHORT else _any_artifact(text)


def _any_artifact(text: str) -> model.Artifact:
    reference = model.Reference.parse(text)
    if reference.selector is not None:
        raise ValueError(text)
    return reference.artifact


_short_artifact = functools.lru_cache(4096)(_any_artifact)


_NOTHING = _exactly(types.NoneType, "null", {"type": "null"})


# ── framed values ────────────────────────────────────────────────────────────────────────────────


def _encode_framed(value: Any, level: int = 0) -> Plain:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if -(2**63) <= value < 2**64 else {"$int": _digits(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": _beyond(value)}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if level >= MOST_LEVELS:
        raise _too_deep()
    level += 1
    if kind is list:
        return [_encode_framed(item, level) for item in value]
    if kind is tuple:
        return {"$tuple": [_encode_framed(item, level) for item in value]}
    if kind is dict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: _encode_framed(item, level) for key, item in value.items()}
        return {"$map": sorted([_encode_framed([*pair], level) for pair in value.items()], key=repr)}
    if kind is set or kind is frozenset:
        return {"$set": sorted([_encode_framed(item, level) for item in value], key=repr)}
    if kind is digest.Record:
        return {f"${value.name}": _encode_framed(value.value, level)}
    raise errors.InvalidInput(
        f"a value of type {kind.__module__}.{kind.__qualname__} has no frame",
        errors.ErrorKind.UNSUPPORTED_VALUE,
    )


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError as error:  # CPython refuses to print integers of more than 4,300 digits
        raise errors.InvalidInput(
            "an integer of more than 4300 digits; pass it as bytes or text",
            errors.ErrorKind.UNSUPPORTED_VALUE,
        ) from error


def _decode_framed(value: Any, level: int = 0) -> Any:
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if level >= MOST_LEVELS:
        raise Misfit(f"nested more than {MOST_LEVELS} levels deep")
    if kind is list:
        return _framed_items(value, level + 1)
    if any(name[:1] == "$" for name in value):
        return _decode_tagged(value, level + 1)
    return _decode_members(lambda name: name, lambda item: _decode_framed(item, level + 1), value)


def _framed_items(value: object, level: int) -> list[Any]:
    return _decode_items(lambda item: _decode_framed(item, level), value)


def _decode_tagged(value: dict[str, Any], level: int) -> Any:
    tag, *others = value
    if others:
        raise Misfit(
            f"a key that begins with $ stands alone; a mapping that has one is a $map: {_found(value)}"
        )
    read = TAGS.get(tag)
    try:
        if read is not None:
            return read(value[tag], level)
        if tag[1:] in digest.REGISTERED:
            return digest.Record(tag[1:], _decode_framed(value[tag], level))
    except Misfit as misfit:
        misfit.path.append(_step(tag))
        raise
    raise Misfit(f"{tag[:80]!r} tags no framed value; a mapping that has such a key is a $map")


def _tagged_tuple(value: object, level: int) -> tuple[Any, ...]:
    return tuple(_framed_items(value, level))


def _tagged_set(value: object, level: int) -> frozenset[Any]:
    return frozenset(_distinct(_framed_items(value, level)))


def _tagged_map(value: object, level: int) -> dict[Any, Any]:
    pairs = _framed_items(value, level)
    if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
        raise _expected("a list of pairs", value)
    _distinct([key for key, _ in pairs])
    return dict(pairs)


def _distinct(found: list[Any]) -> list[Any]:
    try:
        if len(set(found)) < len(found):
            raise Misfit("a key or a member comes twice")
    except TypeError:
        raise Misfit("a key or a member of a set is itself a collection that can change") from None
    return found


def _tagged_bytes(value: object, level: int) -> Any:
    return codec(bytes).decode(value)


def _tagged_float(value: object, level: int) -> float:
    if type(value) is str and value in _BEYOND:
        return _BEYOND[value]
    raise _expected("NaN, Infinity or -Infinity", value)


def _tagged_int(value: object, level: int) -> int:
    if type(value) is str and _is_integer(value):
        return int(value)
    raise _expected("the digits of an integer as text, 4300 at most", value)


TAGS: Mapping[str, Callable[[object, int], Any]] = {
    "$tuple": _tagged_tuple,
    "$set": _tagged_set,
    "$map": _tagged_map,
    "$bytes": _tagged_bytes,
    "$float": _tagged_float,
    "$int": _tagged_int,
}


def _framed_schema(components: Schema) -> Schema:
    here = {"$ref": _COMPONENTS + "digest.Framed"}
    items = {"type": "array", "items": here}
    pair = {"type": "array", "items": here, "minItems": 2, "maxItems": 2}
    tagged: dict[str, Schema] = {
        "$tuple": items,
        "$set": items,
        "$map": {"type": "array", "items": pair},
        "$bytes": {"type": "string", "pattern": f"^{_HEX}$"},
        "$float": {"enum": list(_BEYOND)},
        "$int": {"type": "string", "pattern": f"^({_INTEGER})$"},
        **{f"${name}": here for name in sorted(digest.REGISTERED)},
    }
    components["digest.Framed"] = {
        "description": "A parameter: natural JSON, or, for what JSON cannot say, one key that begins with $.",
        "anyOf": [
            {"type": ["null", "boolean", "number", "string"]},
            items,
            {"type": "object", "propertyNames": {"pattern": "^([^$]|$)"}, "additionalProperties": here},
            *(_object_schema({tag: form}, [tag]) for tag, form in tagged.items()),
        ],
    }
    return here


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def _decode_items(decode: Callable[[Any], Any], value: object) -> list[Any]:
    if type(value) is not list:
        raise _expected("a list", value)
    found: list[Any] = []
    try:
        # `extend` keeps what came before an error, so that the length is where it was.
        found.extend(map(decode, value))
    except Misfit as misfit:
        misfit.path.append(f"[{len(found)}]")
        raise
    return found


def _decode_members(
    decode_key: Callable[[Any], Any], decode: Callable[[Any], Any], value: object
) -> dict[Any, Any]:
    if type(value) is not dict:
        raise _expected("an object", value)
    found = {}
    name = ""
    try:
        for name, item in value.items():
            found[decode_key(name)] = decode(item)
    except Misfit as misfit:
        misfit.path.append(_step(name))
        raise
    return found


def _many(hint: Any, collect: Callable[[list[Any]], Any]) -> Codec:
    there, back, describe = _parts(hint)
    return Codec(
        collect if there is _same else lambda value: list(map(there, value)),
        lambda value: collect(_decode_items(back, value)),
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
            raise _expected(f"a list of {len(codecs)}", value)
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
        items = _decode_items(back, value)
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
        if key.encode is _same:
            return dict(value) if there is _same else {name: there(part) for name, part in value.items()}
        return {key.encode(name): there(part) for name, part in value.items()}

    def describe(components: Schema) -> Schema:
        names = {} if key_hint is str else {"propertyNames": key.schema(components)}
        return {"type": "object", **names, "additionalProperties": item.schema(components)}

    return Codec(encode, lambda value: _decode_members(key.decode, back, value), describe)


def _enum(kind: type[Enum]) -> Codec:
    members = {member.value: member for member in kind}

    def decode(value: object) -> Enum:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise _expected(f"one of {', '.join(members)}", value)
        return member

    return Codec(_same, decode, lambda _: {"type": "string", "enum": list(members)})


# ── unions ───────────────────────────────────────────────────────────────────────────────────────


def _union(hints: Sequence[Any]) -> Codec:
    """`X | None` may be null, `X | WhenceError` may be an error, and of several classes each says its name."""
    rest = [hint for hint in hints if hint not in (types.NoneType, errors.WhenceError)]
    made = _NOTHING if not rest else codec(rest[0]) if len(rest) == 1 else _named(rest)
    if rest and types.NoneType in hints:
        made = _optional(made)
    return _result(made) if errors.WhenceError in hints else made


def _optional(some: Codec) -> Codec:
    there, back = some.encode, some.decode
    return Codec(
        _same if there is _same else lambda value: None if value is None else there(value),
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
    encoders = {kind: (name, codecs[name].encode) for kind in kinds if (name := kind.__name__.lower())}

    def encode(value: Any) -> dict[str, Any]:
        name, there = encoders[type(value)]
        return {"type": name, **there(value)}

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        name = value.get("type")
        chosen = codecs.get(name) if type(name) is str else None
        if chosen is None:
            misfit = _expected(f"one of {', '.join(codecs)}", name)
            misfit.path.append(".type")
            raise misfit
        return chosen.decode({name: part for name, part in value.items() if name != "type"})

    def describe(components: Schema) -> Schema:
        return {"oneOf": [_named_schema(name, one, components) for name, one in codecs.items()]}

    return Codec(encode, decode, describe)


def _named_schema(name: str, of_class: Codec, components: Schema) -> Schema:
    known = dict(components)
    component = of_class.schema(known)["$ref"].removeprefix(_COMPONENTS)
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
            misfit.path.append(_step(names[len(found)]))
            raise
        except errors.InvalidInput as error:
            raise _refused(error) from None

    def decode(value: object) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
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
            misfit.path.append(_step(field))
            raise
        if not required <= found.keys():
            missing = ", ".join(field.name for field in fields if field.name in required - found.keys())
            raise Misfit(f"missing: {missing}; there is {_found(value)}")
        try:
            return make(**found)
        except errors.InvalidInput as error:
            raise _refused(error) from None

    def describe(components: Schema) -> Schema:
        whole = _object_schema(
            {field.name: schema(field.hint, components) for field in fields},
            [field.name for field in fields if field.is_required],
        )
        if not name:
            return whole
        components[name] = {"description": promise, **whole}
        return {"$ref": _COMPONENTS + name}

    return Codec(encode, decode, describe)


def _object_schema(properties: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _class(kind: Any) -> Codec:
    fields = _fields(kind)
    names = [field.name for field in fields]
    encoders = {field.name: codec(field.hint).encode for field in fields}
    changed = [(name, there) for name, there in encoders.items() if there is not _same]
    # `attrgetter` answers a tuple for two names or more.
    read: Callable[[Any], Iterable[Any]]
    if not dataclasses.is_dataclass(kind):
        read = _same
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
        "created_at": _in_utc(version.created_at),
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

_LEAVES: dict[Any, Codec] = {
    None: _NOTHING,
    types.NoneType: _NOTHING,
    str: _exactly(str, "text", {"type": "string"}),
    bool: _exactly(bool, "true or false", {"type": "boolean"}),
    int: _exactly(int, "an integer", {"type": "integer"}),
    float: Codec(
        _encode_float, _decode_float, lambda _: {"anyOf": [{"type": "number"}, {"enum": list(_BEYOND)}]}
    ),
    timedelta: Codec(
        _encode_duration,
        _decode_duration,
        lambda _: {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_SECONDS}$"}]},
    ),
    datetime: _text(
        _read_time,
        _in_utc,
        "a time in UTC such as 2026-05-03T12:00:00.000001Z",
        format="date-time",
        pattern=f"^{_TIME}$",
    ),
    bytes: _text(_read_bytes, bytes.hex, "bytes as lower-case hexadecimal digits", pattern=f"^{_HEX}$"),
    UUID: _text(_read_uuid, _same, "a UUID in lower case", format="uuid", pattern=f"^{_UUID}$"),
    digest.Digest: _text(digest.Digest, attrgetter("text"), "a digest", pattern="^sha256:[0-9a-f]{64}$"),
    model.Artifact: _text(
        _read_artifact, str, "an artifact such as model:detector", examples=["model:detector"]
    ),
    model.Reference: _text(
        model.Reference.parse,
        str,
        "a reference such as model:detector@prod",
        examples=["model:detector@prod"],
    ),
    digest.Framed: Codec(_encode_framed, _decode_framed, _framed_schema),
    digest.Record: Codec(_encode_framed, _unknown, _framed_schema),
}
_LEAVES[model.Version] = record(
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
_LEAVES[_Said] = record(
    "",
    "",
    [Field("type", str, True), Field("kind", str, True), Field("message", str, True)],
    _make_error,
    _same,
)
ERROR = _LEAVES[errors.WhenceError] = record(
    "errors.WhenceError",
    "What was refused. Programs may rely on its type and kind; the message is for people.",
    [Field("error", _Said, True)],
    lambda error: error,
    encode_error,
)
