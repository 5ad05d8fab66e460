"""The forms of single values: numbers, times, names."""

import functools
import math
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from whence_catalog import digest, errors, model
from whence_catalog.wire import parts
from whence_catalog.wire.parts import Codec, Schema

# Names up to this length are remembered.
_SHORT = 200
_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z"
_SECONDS = "-?[0-9]{1,20}[.][0-9]{6}"
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
HEX = "([0-9a-f]{2})*"
BEYOND = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_is_time = re.compile(_TIME).fullmatch
_is_seconds = re.compile(_SECONDS).fullmatch
_is_hex = re.compile("[0-9a-f]*").fullmatch  # what is odd in length, `fromhex` refuses
_is_uuid = re.compile(_UUID).fullmatch


def exactly(kind: type, what: str, described: Schema) -> Codec:
    """A type whose values are what JSON has."""

    def decode(value: object) -> object:
        if type(value) is not kind:
            raise parts.expected(what, value)
        return value

    return Codec(parts.same, decode, lambda _: dict(described))


def _text(read: Callable[[str], Any], write: Callable[[Any], Any], what: str, **described: Any) -> Codec:
    """A type whose values are text; `read` raises `ValueError` or `InvalidInput` for what is none of them."""

    def decode(value: object) -> object:
        if type(value) is not str:
            raise parts.expected(what, value)
        try:
            return read(value)
        except errors.InvalidInput as error:
            raise parts.refused(error) from None
        except ValueError:
            raise parts.expected(what, value) from None

    return Codec(write, decode, lambda _: {"type": "string", **described})


def encode_float(value: float) -> float | str:
    """A float, or the name of what JSON has no number for."""
    number = float(value)
    return number if math.isfinite(number) else beyond(number)


def beyond(value: float) -> str:
    """The name of a NaN or an infinity."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_float(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is str and value in BEYOND:
        return BEYOND[value]
    try:
        if type(value) is int:
            return float(value)
    except OverflowError:
        pass
    raise parts.expected("a number, NaN, Infinity or -Infinity", value)


def in_utc(value: datetime) -> datetime:
    """The same time with the zone UTC, which is written `Z`."""
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise TypeError(f"a time without a zone: {value!r}")
    return value.astimezone(UTC)


def _read_time(text: str) -> datetime:
    if not _is_time(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def encode_duration(value: timedelta) -> float | str:
    """Seconds: a number, or text where a float cannot be exact to the microsecond."""
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
    raise parts.expected("a number of seconds", value)


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

# ── the table ────────────────────────────────────────────────────────────────────────────────────

NOTHING = exactly(types.NoneType, "null", {"type": "null"})
CODECS: dict[Any, Codec] = {
    None: NOTHING,
    types.NoneType: NOTHING,
    str: exactly(str, "text", {"type": "string"}),
    bool: exactly(bool, "true or false", {"type": "boolean"}),
    int: exactly(int, "an integer", {"type": "integer"}),
    float: Codec(
        encode_float, _decode_float, lambda _: {"anyOf": [{"type": "number"}, {"enum": list(BEYOND)}]}
    ),
    timedelta: Codec(
        encode_duration,
        _decode_duration,
        lambda _: {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_SECONDS}$"}]},
    ),
    datetime: _text(
        _read_time,
        in_utc,
        "a time in UTC such as 2026-05-03T12:00:00.000001Z",
        format="date-time",
        pattern=f"^{_TIME}$",
    ),
    bytes: _text(_read_bytes, bytes.hex, "bytes as lower-case hexadecimal digits", pattern=f"^{HEX}$"),
    UUID: _text(_read_uuid, parts.same, "a UUID in lower case", format="uuid", pattern=f"^{_UUID}$"),
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
}
