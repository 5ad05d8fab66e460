"""Relay's parts: global ids, and connections over the catalog's pages.

A global id is the type and the natural key of a thing, which never change: it holds for good, on every server and
in a copy of the catalog. A cursor is the catalog's own, handed on as it is.

https://relay.dev/graphql/connections.htm
"""

import base64
import binascii
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar, assert_never, cast
from uuid import UUID

import strawberry
from graphql import GraphQLField

from whence_catalog import model, replies
from whence_catalog.errors import ErrorKind, InvalidInput

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a page

First: TypeAlias = Annotated[
    int,
    strawberry.argument(
        description="How many items at most: 1 to 100, unless this server has another limit."
    ),
]
After: TypeAlias = Annotated[
    str | None,
    strawberry.argument(description="Go on behind this cursor of the same list; from the start without it."),
]


# How many nodes a lineage has at most, unless more are asked for.
NODES = 2000

F = TypeVar("F", bound=Callable[..., object])

# In the metadata of a field that reads much: it may be asked of one thing at a time, never inside a list.
ALONE = "alone"
# In the metadata of a field: how many values it counts for, beside those that it answers.
WEIGHT = "weight"
# Of a field that writes: each is a transaction that waits for the disk.
_WRITE = 1000
# Of a field that looks at all that came before or after something, however little of it is shown.
WHOLE = 5000


def described(text: str, **metadata: object) -> Callable[[F], F]:
    """A field that a method answers. Typed, as `strawberry.field` with keywords alone is not."""
    return cast("Callable[[F], F]", strawberry.field(description=text, metadata=metadata))


def changing(text: str) -> Callable[[F], F]:
    """A field of a mutation: what it changes is carried out for whoever asks."""
    return described(text, weight=_WRITE)


def reads(text: str, path: str, show: Callable[[Any], object] | None = None) -> Any:
    """A field that is what stands at that path in the `value` of its type, as `show` shows it; None stays."""
    find = attrgetter(f"value.{path}")

    def read(self: object) -> object:
        found = find(self)
        return found if show is None or found is None else show(found)

    return strawberry.field(resolver=read, description=text)


def metadata(field: GraphQLField) -> Mapping[object, object]:
    """What `described` said of a field beside its description."""
    found: Mapping[object, object] = getattr(field.extensions.get("strawberry-definition"), "metadata", {})
    return found


class NodeType(StrEnum):
    """What has a global id."""

    ARTIFACT = "Artifact"
    VERSION = "Version"
    RUN = "Run"
    DEPLOYMENT = "Deployment"


class GlobalId(NamedTuple):
    """The type of a thing, and its name: an Artifact's text form, a Version's `kind:name@N`, a Run's or a
    Deployment's uid."""

    type: NodeType
    key: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.type}:{self.key}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "GlobalId":
        """Read an id.

        Raises:
            InvalidInput: no thing has that id.
        """
        try:
            padded = text + "=" * (-len(text) % 4)
            type, _, key = base64.b64decode(padded, b"-_", validate=True).decode().partition(":")
            found = cls(NodeType(type), key)
        except ValueError:
            found = None
        if found is None or not found.key or str(found) != text:
            raise InvalidInput(
                f"not a global id: {text[:40]!r}; give one back as it came, or ask with resolve or run",
                ErrorKind.BAD_REFERENCE,
            )
        return found


def id_of(type: NodeType, key: object) -> strawberry.ID:
    """The global id of a thing."""
    return strawberry.ID(str(GlobalId(type, str(key))))


def reference_of(text: str) -> model.Reference:
    """The Version or Artifact that a person names, by its global id or by reference: one has no colon, the other does.

    Raises:
        InvalidInput: nothing is named so.
    """
    if ":" in text:
        return model.Reference.parse(text)
    id = GlobalId.parse(text)
    if id.type not in (NodeType.VERSION, NodeType.ARTIFACT):
        raise InvalidInput(f"a {id.type.lower()} was given; expected a version", ErrorKind.BAD_REFERENCE)
    return model.Reference.parse(id.key)


def subject_of(text: str) -> str:
    """What lineage is asked of, in the catalog's words: named by global id, by reference, or by a Run's uid.

    Raises:
        InvalidInput: nothing is named so, or an Artifact is.
    """
    if ":" in text:
        return text
    with contextlib.suppress(ValueError):
        return str(UUID(text))
    id = GlobalId.parse(text)
    match id.type:
        case NodeType.VERSION:
            return id.key
        case NodeType.RUN:
            return id.key
        case NodeType.DEPLOYMENT:
            return f"deployment/{id.key}"
        case NodeType.ARTIFACT:
            raise InvalidInput(
                f"{id.key} is an artifact; lineage is of its versions, of runs and of deployments: ask for one of"
                " them",
                ErrorKind.BAD_REFERENCE,
            )
        case _:
            assert_never(id.type)


def artifact_of(text: str) -> model.Artifact:
    """The Artifact that a person names, as `reference_of` reads it.

    Raises:
        InvalidInput: nothing is named so, or a Version is.
    """
    found = reference_of(text)
    if found.selector is not None:
        raise InvalidInput(f"{found} names a version; leave out @{found.selector}", ErrorKind.BAD_REFERENCE)
    return found.artifact


# A dash and an underscore, which stand in addresses as they are.
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def ids_of(named: Iterable[str]) -> list[strawberry.ID]:
    """The global ids of many things, each named as `Type:key`."""
    # Together: a call for each step of each id costs as much as all else that an answer takes.
    encoded = b"".join(map(binascii.b2a_base64, map(str.encode, named)))  # a line each
    return cast("list[strawberry.ID]", encoded.translate(_URL_SAFE, b"=").decode().split("\n")[:-1])


@strawberry.interface(description="What has a global id, and can be asked for again by it.")
class Node:
    """What has a global id."""

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """Each type's own."""
        raise AssertionError("every node has an id of its own")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool = strawberry.field(description="Whether the list goes on behind this page.")
    has_previous_page: bool = strawberry.field(
        description="Whether this page was asked for with `after`. Lists are read forwards only."
    )
    start_cursor: str | None = strawberry.field(description="The cursor of the first item; null for none.")
    end_cursor: str | None = strawberry.field(
        description="Give it as `after` for the next page; null on an empty last page."
    )


@strawberry.type(description="An item of a list, and where it stands.")
class Edge(Generic[T]):
    """An item of a list, and where it stands."""

    cursor: str = strawberry.field(description="Where the item stands: opaque, and of this list alone.")
    node: T = strawberry.field(description="The item.")


@strawberry.type(
    description="A page of a list, which holds what was in the log when its first page was read:"
    " nothing recorded since moves, repeats or hides an item on later pages."
)
class Connection(Generic[T]):
    """A page of a list."""

    page_info: PageInfo = strawberry.field(description="Where this page stands.")
    edges: list[Edge[T]] = strawberry.field(description="The items with their cursors.")
    nodes: list[T] = strawberry.field(description="The items alone.")
    masked: int = strawberry.field(
        description="How many items of this page are of projects that you may not read; they are left out."
    )


def page_info(page: replies.Page, after: str | None) -> PageInfo:
    """Where a page of the catalog stands."""
    return PageInfo(
        has_next_page=page.end is not None,
        has_previous_page=after is not None,
        start_cursor=page.cursors[0] if page.cursors else None,
        end_cursor=page.end or (page.cursors[-1] if page.cursors else None),
    )


def connection(
    page: replies.Page, items: Sequence[I], show: Callable[[I], T], after: str | None
) -> Connection[T]:
    """A page of the catalog, each item as `show` shows it."""
    nodes = [show(item) for item in items]
    edges = [Edge(cursor=cursor, node=node) for cursor, node in zip(page.cursors, nodes, strict=True)]
    return Connection(page_info=page_info(page, after), edges=edges, nodes=nodes, masked=page.masked)


class Whole(Generic[I]):
    """A list that the catalog answers whole, the newest first, in pages: what comes to it stands before them.

    Args:
        name: which list it is.
        of: whose list it is.
        items: all of them.
        key: what tells an item from the others, for good.
    """

    def __init__(self, name: str, of: str, items: Sequence[I], key: Callable[[I], str]) -> None:
        self._head = f"{name}:{of}:"
        self._items = items
        self._key = key

    def page(self, show: Callable[[I], T], first: int, after: str | None) -> Connection[T]:
        """A page of it, each item as `show` shows it.

        Raises:
            InvalidInput: `after` is no cursor of this list.
        """
        keys = [self._key(item) for item in self._items]
        begin = 0 if after is None else self._place(keys, after) + 1
        items = self._items[begin : begin + first]
        cursors = tuple(self._cursor(key) for key in keys[begin : begin + first])
        is_last = begin + first >= len(keys)
        shown = replies.Page(cursors, end=None if is_last or not cursors else cursors[-1], masked=0)
        return connection(shown, items, show, after)

    def _cursor(self, key: str) -> str:
        return base64.urlsafe_b64encode(f"{self._head}{key}".encode()).decode().rstrip("=")

    def _place(self, keys: Sequence[str], after: str) -> int:
        places = {self._cursor(key): place for place, key in enumerate(keys)}
        if after not in places:
            raise InvalidInput(f"not a cursor of this list: {after[:40]!r}; give one back as it came")
        return places[after]
