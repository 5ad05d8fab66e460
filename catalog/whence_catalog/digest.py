"""Identity: what is hashed, and how. Every hashing rule stands here, and in docs/hashing.md.

A structured value is hashed as typed, length-prefixed frames under a versioned domain, so that `1`,
`1.0`, `True` and `"1"` differ, and two lists never run into one another. Frames decode back.

    frame   = tag (one ASCII byte) ‖ payload length (8 bytes, big-endian) ‖ payload

Leaves to others: which values make up an identity (`cache`, `manifest`, `facts`), and how a Python
object of the caller becomes one of the types below (`whence.parameters`).
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

from whence_catalog.errors import ErrorKind, InvalidInput

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEADER = struct.Struct(">cQ")
_LENGTH = struct.Struct(">Q")
_DOUBLE = struct.Struct(">d")
_NAN = bytes.fromhex("7ff8000000000000")
_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_HEADER_BYTES = 9
_LONGEST_INTEGER = 4300

# The names that a Record may carry. Closed: it only grows, and a name never changes its meaning.
REGISTERED = frozenset(
    {
        "datetime",
        "naive-datetime",
        "date",
        "time",
        "timedelta",
        "decimal",
        "uuid",
        "complex",
        "path",
        "enum",
        "dataclass",
        "ndarray",
        "pydantic",
        "frozenset",
        "pure-path",
        "whence.input",
        "whence.commitment",
        "whence.blob",
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """Names some bytes: equal digests are equal bytes, whoever wrote them."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not _DIGEST.fullmatch(self.text):
            raise InvalidInput(
                f"not a digest: {self.text!r}; expected sha256: and 64 lower-case hexadecimal digits",
                ErrorKind.BAD_DIGEST,
            )

    @classmethod
    def of(cls, raw: bytes) -> "Digest":
        """The digest whose 32 bytes are `raw`."""
        return cls("sha256:" + raw.hex())

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self.text[7:])

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self.text[7:]

    @property
    def short(self) -> str:
        """Enough of it to tell apart by eye."""
        return self.text[7:19]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Record:
    """A value with a registered name, for what the plain types cannot say (frame `R`)."""

    name: str
    value: "Framed"

    def __post_init__(self) -> None:
        if self.name not in REGISTERED:
            raise InvalidInput(f"not a registered frame name: {self.name!r}")


# What can be framed. Exact types only: a subclass means more than its value, so it needs a Record.
Framed: TypeAlias = (
    "None | bool | int | float | str | bytes | Sequence[Framed] | AbstractSet[Framed]"
    " | Mapping[Framed, Framed] | Mapping[str, Framed] | Record"
)


def frame(value: Framed) -> bytes:
    """The bytes that stand for `value` in every hash.

    Raises:
        InvalidInput: for a type outside the list above (subclasses included), a lone surrogate, or what
            is nested too deeply.
    """
    try:
        return _frame(value)
    except RecursionError as error:
        raise InvalidInput(
            "a value that is nested too deeply, or contains itself", ErrorKind.UNSUPPORTED_VALUE
        ) from error


def _frame(value: Framed) -> bytes:
    kind = type(value)
    writer = _WRITERS.get(kind)
    if writer is None:
        raise InvalidInput(
            f"a value of type {kind.__module__}.{kind.__qualname__} has no frame", ErrorKind.UNSUPPORTED_VALUE
        )
    return writer(value)


def _headers(tag: bytes) -> list[bytes]:
    return [_HEADER.pack(tag, length) for length in range(_SHORT)]


# Most payloads are short; to look their header up takes a third of the time that it takes to make it.
_SHORT = 512
_TEXT, _BYTES, _INTEGERS, _LIST, _MAPPING = map(_headers, (b"S", b"Y", b"I", b"L", b"M"))
_NOTHING = _HEADER.pack(b"N", 0)
_FALSE, _TRUE = _HEADER.pack(b"B", 1) + b"0", _HEADER.pack(b"B", 1) + b"1"
_FLOAT = _HEADER.pack(b"F", 8)
_ONLY_NAMES = frozenset({str})


def _framed(tag: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(tag, len(payload)) + payload


def _frame_text(value: str) -> bytes:
    try:
        payload = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{value!r} has a lone surrogate; only text that UTF-8 can encode has an identity",
            ErrorKind.UNSUPPORTED_VALUE,
        ) from error
    length = len(payload)
    return (_TEXT[length] if length < _SHORT else _HEADER.pack(b"S", length)) + payload


def _frame_bytes(value: bytes) -> bytes:
    length = len(value)
    return (_BYTES[length] if length < _SHORT else _HEADER.pack(b"Y", length)) + value


def _frame_integer(value: int) -> bytes:
    payload = _decimal(value)
    length = len(payload)
    return (_INTEGERS[length] if length < _SHORT else _HEADER.pack(b"I", length)) + payload


def _frame_float(value: float) -> bytes:
    # Every NaN is one NaN: its payload bits say where it was made, not what it is. -0.0 stays.
    return _FLOAT + (_NAN if value != value else _DOUBLE.pack(value))


def _frame_mapping(value: Mapping[Framed, Framed]) -> bytes:
    names = tuple(value)
    fields = _KNOWN_FIELDS.get(names)  # type: ignore[arg-type]
    # Names that equal known ones may still be of a subclass of str, which has no frame.
    if not _ONLY_NAMES.issuperset(map(type, names)):
        items = sorted([(_frame(key), _frame(item)) for key, item in value.items()])
        _refuse_twins([key for key, _ in items])
        payload = b"".join([part for item in items for part in item])
    else:
        if fields is None:
            fields = _ordered_fields(names)  # type: ignore[arg-type]
        parts = []
        for name, key in fields:
            parts.append(name)
            item = value[key]
            writer = _WRITERS.get(type(item))
            parts.append(_frame(item) if writer is None else writer(item))
        payload = b"".join(parts)
    length = len(payload)
    return (_MAPPING[length] if length < _SHORT else _HEADER.pack(b"M", length)) + payload


def _ordered_fields(names: tuple[str, ...]) -> Sequence[tuple[bytes, str]]:
    """The frames of these names in order, each with its name; remembered, unless they take too much room."""
    fields = sorted([(_frame_text(name), name) for name in names])
    if sum(map(len, names)) <= _LONGEST_FIELDS:
        if len(_KNOWN_FIELDS) >= _MOST_KNOWN:
            _KNOWN_FIELDS.clear()
        _KNOWN_FIELDS[names] = fields
    return fields


# The same few records of fields make up every fact.
_KNOWN_FIELDS: dict[tuple[str, ...], Sequence[tuple[bytes, str]]] = {}
_MOST_KNOWN, _LONGEST_FIELDS = 1024, 512


def _frame_list(value: Sequence[Framed]) -> bytes:
    payload = b"".join([_frame(item) for item in value])
    length = len(payload)
    return (_LIST[length] if length < _SHORT else _HEADER.pack(b"L", length)) + payload


def _frame_tuple(value: Sequence[Framed]) -> bytes:
    return _framed(b"T", b"".join([_frame(item) for item in value]))


def _frame_set(value: AbstractSet[Framed]) -> bytes:
    members = sorted([_frame(item) for item in value])
    _refuse_twins(members)
    return _framed(b"E", b"".join(members))


def _frame_record(value: Record) -> bytes:
    return _framed(b"R", _frame(value.name) + _frame(value.value))


_WRITERS: Mapping[type, Callable[[Any], bytes]] = {
    str: _frame_text,
    bytes: _frame_bytes,
    int: _frame_integer,
    dict: _frame_mapping,
    list: _frame_list,
    tuple: _frame_tuple,
    type(None): lambda _: _NOTHING,
    bool: lambda value: _TRUE if value else _FALSE,
    float: _frame_float,
    set: _frame_set,
    frozenset: _frame_set,
    Record: _frame_record,
}


def _refuse_twins(frames: list[bytes]) -> None:
    """Two NaNs are two members of a Python set, and one value here."""
    if len(set(frames)) < len(frames):
        raise InvalidInput("a key or a member comes twice", ErrorKind.UNSUPPORTED_VALUE)


def _decimal(value: int) -> bytes:
    try:
        return str(value).encode()
    except ValueError as error:  # CPython refuses to print integers of more than 4,300 digits
        raise InvalidInput(
            f"an integer of more than {_LONGEST_INTEGER} digits; pass it as bytes or text",
            ErrorKind.UNSUPPORTED_VALUE,
        ) from error


def unframe(data: bytes) -> Framed:
    """The value whose frame is `data`; the inverse of `frame` (a set comes back frozen).

    Raises:
        InvalidInput: where `data` is not exactly one frame in canonical form.
    """
    try:
        value, end = _decode(data, 0, len(data))
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    if end != len(data):
        raise _malformed(f"{len(data) - end} bytes follow it")
    if frame(value) != data:
        raise _malformed("it is not in canonical form")
    return value


def unframe_own(data: bytes) -> Framed:
    """`unframe`, for a frame that this program wrote where nobody else writes: it is taken to be canonical.

    To prove that costs as much again as to decode; who doubts (`sql.check`) proves it.
    """
    return _decode(data, 0, len(data))[0]


def _malformed(why: str) -> InvalidInput:
    return InvalidInput(f"not a frame: {why}", ErrorKind.MALFORMED_FRAME)


def _decode(data: bytes, start: int, limit: int) -> tuple[Framed, int]:
    body = start + _HEADER_BYTES
    if body > limit:
        raise _malformed("it ends inside a header")
    (length,) = _LENGTH.unpack_from(data, start + 1)
    end = body + length
    if end > limit:
        raise _malformed("it ends inside a payload")
    payload = data[body:end]
    match data[start : start + 1]:
        case b"S":
            try:
                return payload.decode(), end
            except UnicodeDecodeError as error:
                raise _malformed("its text is not UTF-8") from error
        case b"Y":
            return payload, end
        case b"I":
            if not _INTEGER.fullmatch(payload) or len(payload.lstrip(b"-")) > _LONGEST_INTEGER:
                raise _malformed("its integer is not plain decimal")
            return int(payload), end
        case b"F":
            if length != 8:
                raise _malformed("its float is not 8 bytes")
            return float(_DOUBLE.unpack(payload)[0]), end
        case b"B":
            if payload not in (b"0", b"1"):
                raise _malformed("its boolean is neither 0 nor 1")
            return payload == b"1", end
        case b"N":
            if payload:
                raise _malformed("its nothing has a payload")
            return None, end
        case b"L":
            return _decode_items(data, body, end), end
        case b"T":
            return tuple(_decode_items(data, body, end)), end
        case b"E":
            return frozenset(_decode_hashable(_decode_items(data, body, end))), end
        case b"M":
            items = _decode_items(data, body, end)
            if len(items) % 2:
                raise _malformed("its mapping has a key without a value")
            return dict(zip(_decode_hashable(items[::2]), items[1::2], strict=True)), end
        case b"R":
            items = _decode_items(data, body, end)
            if len(items) != 2 or not isinstance(items[0], str):
                raise _malformed("its record is not a name and a value")
            if items[0] not in REGISTERED:
                raise _malformed(f"{items[0]!r} is not a registered name")
            return Record(items[0], items[1]), end
        case tag:
            raise _malformed(f"unknown tag {tag!r}")


def _decode_items(data: bytes, start: int, end: int) -> list[Framed]:
    items: list[Framed] = []
    while start < end:
        item, start = _decode(data, start, end)
        items.append(item)
    return items


def _decode_hashable(items: Iterable[Framed]) -> list[Framed]:
    decoded = list(items)
    for item in decoded:
        try:
            hash(item)
        except TypeError as error:
            raise _malformed("a key or a member of a set is itself a collection that can change") from error
    return decoded


def digest_of(domain: str, *values: Framed) -> Digest:
    """The identity of `values` under `domain` (a name with a version, such as `whence.key/1`)."""
    return Digest.of(raw_digest_of(domain, *values))


def raw_digest_of(domain: str, *values: Framed) -> bytes:
    """`digest_of`, as its 32 bytes."""
    state = hashlib.sha256(frame(domain))
    for value in values:
        state.update(frame(value))
    return state.digest()


def digest_of_bytes(data: bytes) -> Digest:
    """The identity of a file that holds `data`."""
    return Digest.of(hashlib.sha256(data).digest())
