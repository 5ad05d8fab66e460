"""A second implementation of `docs/hashing.md`, written from that page and from nothing else.

It decides nothing for whence and nothing imports it but the tests: two programs that read the same page and
give the same bytes are the evidence that the page is enough. So it imports nothing of ours, prefers the
shortest form to the fastest, and has its own types where Python's would lose a difference that the page
makes: a `set` cannot hold both 1 and True, nor a list, and a `dict` cannot have both as keys.
"""

import hashlib
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

# Compared one by one, so that a name of any type may be asked about.
NAMES = (
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
)
MANIFEST = "whence.manifest/1"
BUNDLE = "whence.bundle/1"


@dataclass(frozen=True, slots=True)
class Set:
    """The value of an `E` frame, its members in any order."""

    members: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """The value of an `M` frame, its entries in any order."""

    entries: tuple[tuple[object, object], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """The value of an `R` frame."""

    name: str
    value: object


# Frames


def frame(value: object) -> bytes:
    """The one frame of a value; ValueError if it has none."""
    # By exact type: True is an int to isinstance, and a named tuple is a tuple.
    kind = type(value)
    if value is None:
        return _tagged(b"N", b"")
    if kind is bool:
        return _tagged(b"B", b"1" if value else b"0")
    if kind is int:
        # Not str(): it refuses an integer of more than 4,300 digits.
        return _tagged(b"I", format(Decimal(value), "f").encode())
    if kind is float:
        return _tagged(
            b"F", bytes.fromhex("7ff8000000000000") if math.isnan(value) else struct.pack(">d", value)
        )
    if kind is str:
        return _tagged(b"S", value.encode())
    if kind is bytes:
        return _tagged(b"Y", value)
    if kind is list:
        return _tagged(b"L", b"".join(map(frame, value)))
    if kind is tuple:
        return _tagged(b"T", b"".join(map(frame, value)))
    if kind is Set:
        members = sorted(map(frame, value.members))
        _all_different(members)
        return _tagged(b"E", b"".join(members))
    if kind is Map:
        entries = sorted((frame(key), frame(item)) for key, item in value.entries)
        _all_different([key for key, _ in entries])
        return _tagged(b"M", b"".join(key + item for key, item in entries))
    if kind is Record and value.name in NAMES:
        return _tagged(b"R", frame(value.name) + frame(value.value))
    raise ValueError(f"no frame for {value!r}")


def unframe(data: bytes) -> object:
    """The value whose frame is exactly these bytes; ValueError if there is none."""
    value, end = _read(data, 0)
    # Whatever a lenient reading has let pass (an order, a second NaN, bytes after the end) is lost on the way
    # back, so this one comparison refuses every form but the canonical.
    if frame(value) != data:
        raise ValueError(f"not in canonical form, or bytes left over after {end}")
    return value


def _tagged(tag: bytes, payload: bytes) -> bytes:
    return tag + struct.pack(">Q", len(payload)) + payload


def _all_different(frames: list[bytes]) -> None:
    if len(set(frames)) != len(frames):
        raise ValueError("the same member or key twice")


def _read(data: bytes, start: int) -> tuple[object, int]:
    """The value of the frame that begins at `start`, and where that frame ends."""
    body = start + 9
    if body > len(data):
        raise ValueError("a frame ends within its header")
    tag = data[start : start + 1]
    end = body + int.from_bytes(data[start + 1 : body], "big")
    if end > len(data):
        raise ValueError("a frame is shorter than its length")
    return _value(tag, data[body:end]), end


def _value(tag: bytes, payload: bytes) -> object:
    match tag:
        case b"N":
            return None
        case b"B" if payload in (b"0", b"1"):
            return payload == b"1"
        case b"I" if re.fullmatch(rb"-?[0-9]+", payload):
            return int(Decimal(payload.decode()))
        case b"F" if len(payload) == 8:
            return struct.unpack(">d", payload)[0]
        case b"S":
            return payload.decode()
        case b"Y":
            return payload
        case b"L":
            return list(_items(payload))
        case b"T":
            return tuple(_items(payload))
        case b"E":
            return Set(tuple(_items(payload)))
        case b"M":
            items = list(_items(payload))
            return Map(tuple(zip(items[::2], items[1::2], strict=True)))
        case b"R":
            name, value = _items(payload)
            return Record(name, value)
    raise ValueError(f"no value for tag {tag!r} and payload {payload!r}")


def _items(payload: bytes) -> Iterator[object]:
    at = 0
    while at < len(payload):
        value, at = _read(payload, at)
        yield value


# Structured digests


def sha256(data: bytes) -> bytes:
    """The 32 bytes of SHA-256; of a file's bytes, the file's digest."""
    return hashlib.sha256(data).digest()


def written(digest: bytes) -> str:
    """A digest as it is written."""
    return "sha256:" + digest.hex()


def digest_of(domain: str, *values: object) -> bytes:
    """The structured digest of some values in a domain."""
    return sha256(b"".join(map(frame, (domain, *values))))


# Trees


def tree(entries: Iterable[list[object]], domain: str = MANIFEST) -> tuple[bytes, Mapping[bytes, bytes]]:
    """The digest of a tree or, with the other domain, of a bundle; and its nodes by digest.

    An entry is the list that stands in a level-0 node: path, `f` or `d`, size, SHA-256, and in a bundle
    whether the file is executable.
    """
    row = sorted(entries, key=lambda entry: entry[0].encode())
    _check_paths(row)
    below = [(int(entry[1] == "f"), entry[2]) for entry in row]
    nodes: dict[bytes, bytes] = {}
    level = 0
    while True:
        next_row, next_below = [], []
        for first, last in _cuts([entry[0] for entry in row], level):
            node = frame(domain) + frame(level) + frame(row[first:last])
            nodes[sha256(node)] = node
            files = sum(count for count, _ in below[first:last])
            size = sum(size for _, size in below[first:last])
            next_below.append((files, size))
            next_row.append([row[last - 1][0] if row else "", files, size, sha256(node)])
        if len(next_row) == 1:
            return next_row[0][3], nodes
        row, below, level = next_row, next_below, level + 1


def trailing_zeros(path: str) -> int:
    """z of the page: where a node ends depends on this number of a path, and on nothing else."""
    word = int.from_bytes(sha256(MANIFEST.encode() + b"\0" + path.encode())[:8], "big")
    return (word & -word).bit_length() - 1 if word else 64


def _cuts(paths: list[str], level: int) -> list[tuple[int, int]]:
    """The nodes of a level, each as a range of its entries."""
    ends = [at for at, path in enumerate(paths, 1) if trailing_zeros(path) >= 6 * (level + 1)]
    if not ends or ends[-1] != len(paths):
        ends.append(len(paths))
    return list(zip([0, *ends], ends, strict=False))


def _check_paths(row: list[list[object]]) -> None:
    paths = {entry[0] for entry in row}
    if len(paths) != len(row):
        raise ValueError("the same path twice")
    for path in paths:
        segments = path.split("/")
        if {"", ".", ".."} & set(segments):
            raise ValueError(f"not a path within a tree: {path!r}")
        # A file has nothing in it, and a folder with something in it has no entry.
        if any("/".join(segments[:depth]) in paths for depth in range(1, len(segments))):
            raise ValueError(f"below another entry: {path!r}")


# Cache keys

IGNORED = b""


def component(kind: str, value: object) -> bytes:
    """The digest of a component; `IGNORED` stands in its place for one that is ignored."""
    return digest_of("whence.component/1", kind, value)


def key(components: Iterable[tuple[str, str, bytes]]) -> str:
    """The cache key of components, each a name, a kind and a digest, in any order."""
    rows = sorted((list(one) for one in components), key=lambda one: one[0].encode())
    return "wk1:" + digest_of("whence.key/1", rows).hex()


# Facts


def fact(verb: str, uid: bytes, at: int, actor: Map, body: Map) -> bytes:
    """The bytes of a fact, `at` in microseconds."""
    fields = (("v", 1), ("verb", verb), ("uid", uid), ("at", at), ("actor", actor), ("body", body))
    return frame(Map(fields))


def leaf(fact_bytes: bytes) -> bytes:
    """The leaf of a fact."""
    return sha256(b"\0" + fact_bytes)


def commitment(salt: bytes, value: str) -> Record:
    """What stands in a fact for a value that may have to be erased."""
    return Record("whence.commitment", digest_of("whence.commitment/1", salt, value))
