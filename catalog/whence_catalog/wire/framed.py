"""Framed values in JSON: natural where that is unambiguous, else under one key that begins with `$`."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from whence_catalog import digest, errors
from whence_catalog.wire import leaves, parts
from whence_catalog.wire.parts import Codec, Misfit, Plain, Schema

_INTEGER = "0|-?[1-9][0-9]{0,4299}"
_is_integer = re.compile(_INTEGER).fullmatch


def encode(value: Any, level: int = 0) -> Plain:
    """A framed value in JSON; `level` is how many it stands in.

    Raises:
        InvalidInput: for a type that has no frame, and what is nested too deeply.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if -(2**63) <= value < 2**64 else {"$int": _digits(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$float": leaves.beyond(value)}
    if kind is bytes:
        return {"$bytes": value.hex()}
    if level >= parts.MOST_LEVELS:
        raise parts.too_deep()
    level += 1
    if kind is list:
        return [encode(item, level) for item in value]
    if kind is tuple:
        return {"$tuple": [encode(item, level) for item in value]}
    if kind is dict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {key: encode(item, level) for key, item in value.items()}
        return {"$map": sorted([encode([*pair], level) for pair in value.items()], key=repr)}
    if kind is set or kind is frozenset:
        return {"$set": sorted([encode(item, level) for item in value], key=repr)}
    if kind is digest.Record:
        return {f"${value.name}": encode(value.value, level)}
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


def decode(value: Any, level: int = 0) -> Any:
    """The framed value that JSON says; `level` is how many it stands in."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if level >= parts.MOST_LEVELS:
        raise Misfit(f"nested more than {parts.MOST_LEVELS} levels deep")
    if kind is list:
        return _items(value, level + 1)
    if any(name[:1] == "$" for name in value):
        return _decode_tagged(value, level + 1)
    return parts.decode_members(lambda name: name, lambda item: decode(item, level + 1), value)


def _items(value: object, level: int) -> list[Any]:
    return parts.decode_items(lambda item: decode(item, level), value)


def _decode_tagged(value: dict[str, Any], level: int) -> Any:
    tag, *others = value
    if others:
        raise Misfit(
            f"a key that begins with $ stands alone; a mapping that has one is a $map: {parts.found(value)}"
        )
    read = TAGS.get(tag)
    try:
        if read is not None:
            return read(value[tag], level)
        if tag[1:] in digest.REGISTERED:
            return digest.Record(tag[1:], decode(value[tag], level))
    except Misfit as misfit:
        misfit.path.append(parts.step(tag))
        raise
    raise Misfit(f"{tag[:80]!r} tags no framed value; a mapping that has such a key is a $map")


def _tagged_tuple(value: object, level: int) -> tuple[Any, ...]:
    return tuple(_items(value, level))


def _tagged_set(value: object, level: int) -> frozenset[Any]:
    return frozenset(_distinct(_items(value, level)))


def _tagged_map(value: object, level: int) -> dict[Any, Any]:
    pairs = _items(value, level)
    if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
        raise parts.expected("a list of pairs", value)
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
    return leaves.CODECS[bytes].decode(value)


def _tagged_float(value: object, level: int) -> float:
    if type(value) is str and value in leaves.BEYOND:
        return leaves.BEYOND[value]
    raise parts.expected("NaN, Infinity or -Infinity", value)


def _tagged_int(value: object, level: int) -> int:
    if type(value) is str and _is_integer(value):
        return int(value)
    raise parts.expected("the digits of an integer as text, 4300 at most", value)


TAGS: Mapping[str, Callable[[object, int], Any]] = {
    "$tuple": _tagged_tuple,
    "$set": _tagged_set,
    "$map": _tagged_map,
    "$bytes": _tagged_bytes,
    "$float": _tagged_float,
    "$int": _tagged_int,
}


def _decode_record(value: object) -> digest.Record:
    record = decode(value)
    if not isinstance(record, digest.Record):
        raise parts.expected("a record", value)
    return record


def describe(components: Schema) -> Schema:
    """The schema of a framed value, as a component that refers to itself."""
    here = {"$ref": parts.COMPONENTS + "digest.Framed"}
    items = {"type": "array", "items": here}
    pair = {"type": "array", "items": here, "minItems": 2, "maxItems": 2}
    tagged: dict[str, Schema] = {
        "$tuple": items,
        "$set": items,
        "$map": {"type": "array", "items": pair},
        "$bytes": {"type": "string", "pattern": f"^{leaves.HEX}$"},
        "$float": {"enum": list(leaves.BEYOND)},
        "$int": {"type": "string", "pattern": f"^({_INTEGER})$"},
        **{f"${name}": here for name in sorted(digest.REGISTERED)},
    }
    components["digest.Framed"] = {
        "description": "A parameter: natural JSON, or, for what JSON cannot say, one key that begins with $.",
        "anyOf": [
            {"type": ["null", "boolean", "number", "string"]},
            items,
            {"type": "object", "propertyNames": {"pattern": "^([^$]|$)"}, "additionalProperties": here},
            *(parts.object_schema({tag: form}, [tag]) for tag, form in tagged.items()),
        ],
    }
    return here


CODECS: dict[Any, Codec] = {
    digest.Framed: Codec(encode, decode, describe),
    digest.Record: Codec(encode, _decode_record, describe),
}
