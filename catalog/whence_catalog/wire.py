"""Values to JSON: the only codec. What `--json` prints and the server will send is made here.

A dataclass or named tuple becomes an object of its fields; a Version, an Artifact and a Digest take their readable
forms. Bytes are hexadecimal. JSON has no NaN and no infinities: they are the strings `NaN`, `Infinity`
and `-Infinity`. A record is an object with one key, `$` and its registered name.
"""

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from whence_catalog import digest, model

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"


def encode(value: object, *, indent: int = 0) -> bytes:
    """JSON of any value of the catalog; keys in the order of the fields."""
    data = msgspec.json.encode(plain(value))
    return msgspec.json.format(data, indent=indent) if indent else data


def canonical(value: object) -> bytes:
    """JSON with one form for each value: sorted keys, no spaces (RFC 8785 but for the writing of floats)."""
    return msgspec.json.encode(plain(value), order="deterministic")


def plain(value: Any) -> Plain:
    """`value` in nothing but what JSON has."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _beyond(value)
        case bytes():
            return value.hex()
        case digest.Digest():
            return value.text
        case digest.Record():
            return {f"${value.name}": plain(value.value)}
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case UUID() | model.Artifact() | model.Reference():
            return str(value)
        case model.Version():
            return _version(value)
        case Mapping():
            return {_key(key): plain(item) for key, item in value.items()}
        case tuple() if hasattr(value, "_asdict"):
            return {name: plain(item) for name, item in value._asdict().items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
        case _ if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            raise TypeError(f"no JSON for a {type(value).__qualname__}")


def _beyond(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(key: object) -> str:
    if isinstance(key, Enum):
        return str(key.value)
    return key if isinstance(key, str) else msgspec.json.encode(plain(key)).decode()


def _version(version: model.Version) -> Plain:
    content = version.content
    return {
        "ref": version.ref,
        "project": version.artifact.project,
        "kind": version.artifact.kind,
        "name": version.artifact.name,
        "number": version.number,
        "digest": content.digest.text,
        "strength": content.strength.value,
        "form": content.form.value,
        "size_bytes": content.size_bytes,
        "created_at": plain(version.created_at),
    }
