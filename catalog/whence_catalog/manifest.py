"""What a folder is: a list of paths, sizes and digests, in nodes that are Blobs themselves.

The list is sorted by bytes and cut into nodes. Where it is cut depends on the paths around the cut and
on nothing else, so a tree has one digest whatever its history, and a change writes the nodes that it
touches, with those above them. The layout of a node, and the rule of the cut, are in docs/hashing.md.

Decides: which paths there may be, the bytes of every node, and whether a node that was read is one.
Leaves to others: walking folders, and where Blobs are kept (`blobs`).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeVar

from whence_catalog import digest, errors
from whence_catalog.errors import ErrorKind

MANIFEST = "whence.manifest/1"
BUNDLE = "whence.bundle/1"
DOMAINS = (MANIFEST, BUNDLE)

# Both domains are cut alike: 64 entries to a node on average.
_CUT = hashlib.sha256(MANIFEST.encode() + b"\0")
_BITS_PER_LEVEL = 6
_HASH_BITS = 64

Load = Callable[[digest.Digest], bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree, or one empty folder (kind `d`); `executable` stands in Bundles only."""

    path: str
    kind: Literal["f", "d"]
    size_bytes: int
    digest: digest.Digest | None
    executable: bool | None = None

    def __post_init__(self) -> None:
        check_path(self.path)
        if self.kind == "f":
            if self.digest is None or self.size_bytes < 0:
                raise errors.InvalidInput(f"the file {self.path!r} needs a digest and a size")
        elif self.kind != "d" or self.digest or self.size_bytes or self.executable is not None:
            raise errors.InvalidInput(f"{self.path!r} is neither a file nor an empty folder")


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as Blobs: its digest, and its nodes, children before parents."""

    root: digest.Digest
    nodes: Mapping[digest.Digest, bytes]
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Child:
    """How a node is listed in the node above it."""

    path: str
    files: int
    size_bytes: int
    digest: digest.Digest


@dataclass(frozen=True, slots=True)
class _Node:
    domain: str
    level: int
    entries: Sequence[Entry]
    children: Sequence[_Child]

    @property
    def items(self) -> Sequence[Entry] | Sequence[_Child]:
        return self.entries or self.children


_Item = TypeVar("_Item", Entry, _Child)


def check_path(path: str) -> None:
    """Refuse what cannot name a file of a tree on every system.

    Raises:
        InvalidInput: unless it is relative, UTF-8, without NUL, and no segment is empty, `.` or `..`.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise errors.InvalidInput(
            f"the name {path!r} is not UTF-8; rename it, or leave it out", ErrorKind.BAD_PATH
        ) from error
    if "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise errors.InvalidInput(
            f"not a path inside a tree: {path!r}; expected segments between single slashes, none of them . or ..",
            ErrorKind.BAD_PATH,
        )


def build(entries: Iterable[Entry], domain: str = MANIFEST) -> Tree:
    """The tree that holds `entries`, in whatever order they come.

    Raises:
        InvalidInput: for a path that comes twice or is both a file and a folder, and for an executable
            bit that is missing in a Bundle or present elsewhere.
    """
    if domain not in DOMAINS:
        raise errors.InvalidInput(f"not a kind of tree: {domain!r}; expected {MANIFEST} or {BUNDLE}")
    ordered = sorted(entries, key=lambda entry: entry.path)  # code points sort as their UTF-8 does
    for entry in _checked_order(ordered, _refuse):
        if entry.kind == "f" and (entry.executable is None) == (domain == BUNDLE):
            raise errors.InvalidInput(
                f"{entry.path!r}: an executable bit is kept in Bundles, for every file, and nowhere else"
            )
    nodes: dict[digest.Digest, bytes] = {}
    parts = list(_cut(ordered, 0)) or [()]
    children = [_write(nodes, _Node(domain, 0, part, ())) for part in parts]
    level = 0
    while len(children) > 1:
        level += 1
        children = [_write(nodes, _Node(domain, level, (), part)) for part in _cut(children, level)]
    return Tree(children[0].digest, nodes, children[0].files, children[0].size_bytes)


def read(root: digest.Digest, load: Load) -> Iterator[Entry]:
    """Every entry of the tree `root`, in path order, with one node of each level in memory.

    Raises:
        Damaged: where a node is not the bytes that its digest names, or not a node that `build` makes.
            Entries before the fault have been given by then.
    """
    top = _root(root, load)

    def refuse(why: str) -> NoReturn:
        raise _damaged(root, why)

    return _checked_order(_walk(root, top, load, is_end=True), refuse)


def find(root: digest.Digest, path: str, load: Load) -> Entry | None:
    """The entry of the tree `root` at `path`, or None; loads one node of each level.

    Raises:
        Damaged: as `read`, for the nodes that it loads.
    """
    check_path(path)
    node, is_end = _root(root, load), True
    _check_cut(root, node, is_end)
    while node.level:
        child = next((child for child in node.children if path <= child.path), None)
        if child is None:
            return None
        is_end = is_end and child is node.children[-1]
        node = _child(child, node, load)
        _check_cut(child.digest, node, is_end)
    return next((entry for entry in node.entries if entry.path == path), None)


def _refuse(why: str) -> NoReturn:
    raise errors.InvalidInput(why, ErrorKind.BAD_PATH)


def _checked_order(entries: Iterable[Entry], refuse: Callable[[str], NoReturn]) -> Iterator[Entry]:
    """Pass on what comes in order; refuse a path that comes twice or is a file and a folder at once."""
    # The entries whose path begins the current one. `a-b` sorts between `a` and `a/b`, so the last alone
    # does not tell.
    open_: list[str] = []
    for entry in entries:
        path = entry.path
        before = open_[-1] if open_ else ""
        while open_ and not path.startswith(open_[-1]):
            open_.pop()
        if path <= before:
            refuse(f"{path!r} comes twice, or out of order")
        if any(path[len(parent)] == "/" for parent in open_):
            refuse(f"{path!r} lies under a path that is itself an entry")
        open_.append(path)
        yield entry


def _ends(path: str, level: int) -> bool:
    """Whether a node of `level` ends after `path`."""
    state = _CUT.copy()
    state.update(path.encode())
    bits = int.from_bytes(state.digest()[:8], "big")
    zeros = (bits & -bits).bit_length() - 1 if bits else _HASH_BITS
    return zeros >= _BITS_PER_LEVEL * (level + 1)


def _cut(items: Sequence[_Item], level: int) -> Iterator[Sequence[_Item]]:
    start = 0
    for end, item in enumerate(items, 1):
        if end == len(items) or _ends(item.path, level):
            yield items[start:end]
            start = end


def _write(nodes: dict[digest.Digest, bytes], node: _Node) -> _Child:
    data = _encode(node)
    name = digest.digest_of_bytes(data)
    nodes[name] = data
    path, files, size_bytes = _summary(node)
    return _Child(path, files, size_bytes, name)


def _summary(node: _Node) -> tuple[str, int, int]:
    """The last path, the files and the bytes of all that lies below."""
    files = sum(entry.kind == "f" for entry in node.entries) + sum(child.files for child in node.children)
    size_bytes = sum(item.size_bytes for item in node.items)
    return node.items[-1].path if node.items else "", files, size_bytes


def _encode(node: _Node) -> bytes:
    rows: list[digest.Framed] = [_entry_row(entry) for entry in node.entries]
    rows += [[child.path, child.files, child.size_bytes, child.digest.raw] for child in node.children]
    return digest.frame(node.domain) + digest.frame(node.level) + digest.frame(rows)


def _entry_row(entry: Entry) -> digest.Framed:
    raw = entry.digest.raw if entry.digest else b""
    if entry.executable is None:
        return [entry.path, entry.kind, entry.size_bytes, raw]
    return [entry.path, entry.kind, entry.size_bytes, raw, entry.executable]


def _walk(name: digest.Digest, node: _Node, load: Load, is_end: bool) -> Iterator[Entry]:
    _check_cut(name, node, is_end)
    yield from node.entries
    for child in node.children:
        below = _child(child, node, load)
        yield from _walk(child.digest, below, load, is_end and child is node.children[-1])


def _root(root: digest.Digest, load: Load) -> _Node:
    node = _decode(root, load(root))
    if node.level and len(node.children) < 2:
        raise _damaged(root, "it has a level too many")
    return node


def _child(child: _Child, parent: _Node, load: Load) -> _Node:
    """The node that `child` lists, which is what `parent` says of it."""
    node = _decode(child.digest, load(child.digest))
    said = (parent.domain, parent.level - 1, child.path, child.files, child.size_bytes)
    if not node.items or (node.domain, node.level, *_summary(node)) != said:
        raise _damaged(child.digest, "it is not what the node above it says")
    return node


def _check_cut(name: digest.Digest, node: _Node, is_end: bool) -> None:
    """Refuse a node that is cut elsewhere than `build` cuts: the tree would have two digests."""
    *inner, last = [_ends(item.path, node.level) for item in node.items] or [True]
    if any(inner) or not (last or is_end):
        raise _damaged(name, "it is not cut where its paths say")


def _decode(name: digest.Digest, data: bytes) -> _Node:
    if digest.digest_of_bytes(data) != name:
        raise errors.Damaged(
            f"the Blob {name} of a Manifest holds other bytes; restore it, or put the tree again",
            ErrorKind.BLOB_ALTERED,
        )
    try:
        # Under a list's header the frames of a node are one frame, which unframes in one call.
        node = _parse(digest.unframe(b"L" + len(data).to_bytes(8, "big") + data))
    except errors.InvalidInput as error:
        raise _damaged(name, str(error)) from error
    if _encode(node) != data:  # patterns take a tuple for a list, and True for 1
        raise _damaged(name, "its types are others")
    return node


def _parse(frames: digest.Framed) -> _Node:
    match frames:
        case [str(domain), 0, list(rows)] if domain in DOMAINS:
            return _Node(domain, 0, [_entry(row, domain) for row in rows], ())
        case [str(domain), int(level), list(rows)] if domain in DOMAINS and level > 0:
            return _Node(domain, int(level), (), [_listed(row) for row in rows])
        case _:
            raise errors.InvalidInput("expected a domain, a level and a list")


def _entry(row: digest.Framed, domain: str) -> Entry:
    match row:
        case [str(path), "d", 0, b""]:
            return Entry(path, "d", 0, None)
        case [str(path), "f", int(size_bytes), bytes(raw)] if domain == MANIFEST:
            return Entry(path, "f", int(size_bytes), digest.Digest.of(raw))
        case [str(path), "f", int(size_bytes), bytes(raw), bool(executable)] if domain == BUNDLE:
            return Entry(path, "f", int(size_bytes), digest.Digest.of(raw), executable)
        case _:
            raise errors.InvalidInput(f"not an entry: {row!r}")


def _listed(row: digest.Framed) -> _Child:
    match row:
        case [str(path), int(files), int(size_bytes), bytes(raw)]:
            return _Child(path, int(files), int(size_bytes), digest.Digest.of(raw))
        case _:
            raise errors.InvalidInput(f"not a listed node: {row!r}")


def _damaged(name: digest.Digest, why: str) -> errors.Damaged:
    return errors.Damaged(f"the Blob {name} is not a node of a Manifest: {why}", ErrorKind.MALFORMED_FRAME)
