"""What every codec is made of: its shape, and how what does not fit is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from whence_catalog import errors

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
Schema: TypeAlias = dict[str, Any]

# Deeper than any parameter that means something, and far from where Python gives up.
MOST_LEVELS = 100

_SHORT = 200
COMPONENTS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Codec:
    """How the values of one type stand in JSON: there, back, and as JSON Schema.

    `encode` leaves what msgspec itself writes as we do: UUIDs, times in UTC, members of enumerations, tuples.
    `decode` raises `Misfit`. Who is no part of another codec calls `encode_as` and `decode_as`.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    schema: Callable[[Schema], Schema]


class Misfit(Exception):
    """Something else has to stand there. `path` is gathered on the way out, the innermost step first."""

    def __init__(self, why: str, kind: errors.ErrorKind = errors.ErrorKind.BAD_VALUE) -> None:
        super().__init__(why)
        self.why = why
        self.kind = kind
        self.path: list[str] = []


def same(value: Any) -> Any:
    """How a value stands in JSON that JSON, or msgspec, has already."""
    return value


def too_deep() -> errors.InvalidInput:
    """What is refused before it is sent."""
    return errors.InvalidInput(
        f"a value that is nested more than {MOST_LEVELS} levels deep, or contains itself",
        errors.ErrorKind.UNSUPPORTED_VALUE,
    )


def expected(what: str, value: object) -> Misfit:
    """The refusal of a value where only `what` can stand."""
    return Misfit(f"expected {what}, not {found(value)}")


def found(value: object) -> str:
    """What stands there, short enough for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict():
            names = [name if name.isidentifier() else repr(name) for name in list(value)[:6]]
            return f"an object of {short(', '.join(names))}" if value else "an empty object"
        case list():
            return f"a list of {len(value)}"
        case int() if value.bit_length() > 64:
            return f"an integer of {value.bit_length()} bits"
        case _:
            return short(repr(value))


def short(text: str) -> str:
    """Enough of a text for a message."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}… ({len(text)} characters)"


def refused(error: errors.InvalidInput) -> Misfit:
    """What a class says of its own values; it may quote all that it was given."""
    return Misfit(short(str(error)), error.kind)


def step(name: str) -> str:
    """One step of a path, to the member of that name."""
    return f".{name}" if name.isidentifier() and len(name) <= 80 else f"[{name[:80]!r}]"


def decode_items(decode: Callable[[Any], Any], value: object) -> list[Any]:
    """Every item of a list; a Misfit knows the place."""
    if type(value) is not list:
        raise expected("a list", value)
    found: list[Any] = []
    try:
        # `extend` keeps what came before an error, so that the length is where it was.
        found.extend(map(decode, value))
    except Misfit as misfit:
        misfit.path.append(f"[{len(found)}]")
        raise
    return found


def decode_members(
    decode_key: Callable[[Any], Any], decode: Callable[[Any], Any], value: object
) -> dict[Any, Any]:
    """Every member of an object; a Misfit knows the name."""
    if type(value) is not dict:
        raise expected("an object", value)
    found = {}
    name = ""
    try:
        for name, item in value.items():
            found[decode_key(name)] = decode(item)
    except Misfit as misfit:
        misfit.path.append(step(name))
        raise
    return found


def object_schema(properties: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    """The schema of an object with these members and no other."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
