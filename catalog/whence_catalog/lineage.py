"""What is told of where things came from, and of what came from them.

Versions, Runs and Deployments are nodes, and edges point the way data flows. Depth counts Runs: a Run is one deeper
than that through which it was found, and what it took or made is as deep as itself. A Graph that was cut says so,
and has a frontier with which the next call goes on.

Leaves to others: which way to go (`traversal`), what may be seen (`masking`), and what the Graph means for trust
(`audit`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType, Protocol

from whence_catalog.errors import InvalidInput

# The state of a node that the caller may not see.
MASKED = "masked"
# What the id of a Deployment begins with.
DEPLOYMENT = "deployment/"


class Direction(StrEnum):
    """Against the flow of data, along it, or each of the two from the same roots."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class NodeType(StrEnum):
    """What a node stands for."""

    VERSION = "version"
    RUN = "run"
    DEPLOYMENT = "deployment"


class EdgeType(StrEnum):
    """Version → Run, Run → Version, origin → reused Run, Version → Version, Version → Deployment."""

    INPUT = "input"
    OUTPUT = "output"
    REUSED = "reused"
    DERIVED = "derived"
    DEPLOYED = "deployed"


# The states that nodes of a type can be in.
_STATES = {
    NodeType.VERSION: frozenset({"live", "quarantined", "tainted", "expired", "erased"}),
    NodeType.RUN: frozenset({"running", "complete", "failed", "aborted", "reused"}),
    NodeType.DEPLOYMENT: frozenset({"serving", "ended"}),
}


# ── the answer ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far to go; None is no bound. `depth` counts from the roots, or from where a frontier was cut."""

    depth: int | None = None
    max_nodes: int | None = 2000
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("depth", 1), ("max_nodes", 1), ("seconds", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InvalidInput(f"{name} is {value!r}; expected {least} or more, or none for no bound")


@dataclass(frozen=True, slots=True)
class Which:
    """Some nodes: those that fit each field; one that is empty fits all.

    A field that nodes of a type do not have does not speak of them: Runs and Deployments have no kind,
    Deployments no labels, and a state is spoken of only to the type of node that can be in it.
    """

    kinds: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    types: frozenset[NodeType] = frozenset()

    def refuse_unknown(self) -> None:
        """Refuse a state that no node is ever in: it would speak of nothing.

        Raises:
            InvalidInput: there is one.
        """
        if unknown := self.states - frozenset().union(*_STATES.values()):
            raise InvalidInput(f"no node is ever {', '.join(sorted(unknown))}")

    def admits(self, node: "Node", labels: frozenset[tuple[str, str]] = frozenset()) -> bool:
        """Whether a node that has these labels is one of them."""
        spoken = self.states & _STATES[node.type]
        return (
            (not self.types or node.type in self.types)
            and (not self.kinds or node.kind is None or node.kind in self.kinds)
            and (not self.projects or node.project in self.projects)
            and (not spoken or node.state in spoken)
            and (node.type is NodeType.DEPLOYMENT or self.labels <= labels)
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """What of history to show, and through what to go. It makes no edge that was not recorded.

    Args:
        show: which nodes of what was found to show; roots and what somebody may not see always are.
        stop_at: shown, but not gone beyond, unless they are roots.
        pass_through: gone through without counting as a Run on the way, and not shown, unless they are roots.
        collapse_reuse: a reused Run is not shown, unless it is a root: its origin stands for it, after traversal.
        within: the projects that it speaks of; None: all. What is of others is shown, and gone through, as if
            there were no filter: else it would tell what somebody may not see.
    """

    show: Which = Which()
    stop_at: Which | None = None
    pass_through: Which | None = None
    collapse_reuse: bool = False
    within: frozenset[str] | None = None


# Shows all.
EVERYTHING = Filter()


class Node(NamedTuple):
    """A Version, a Run or a Deployment.

    `id` is a Version's `kind:name@N`, a Run's uid, or `deployment/` and a Deployment's uid; `name` is that of the
    Artifact, the job or the target; `at` is when the Version was first recorded, the Run started, or the
    Deployment began. A Version is `live`, `quarantined` or `tainted`, a Deployment `serving` or `ended`.
    Where they were asked for, the hidden ones are its neighbours that are not in the answer, nor on a page before it.
    """

    id: str
    type: NodeType
    name: str
    state: str
    at: datetime
    kind: str | None = None
    depth: int = 0
    project: str = ""
    hidden_upstream: int | None = None
    hidden_downstream: int | None = None

    @property
    def is_masked(self) -> bool:
        """Whether the caller may not see what it is: its id is of this answer alone, and it has no name."""
        return self.state == MASKED

    @property
    def ref(self) -> str | None:
        """The reference of a Version."""
        return self.id if self.type is NodeType.VERSION and not self.is_masked else None

    @property
    def job(self) -> str | None:
        """The job of a Run."""
        return self.name if self.type is NodeType.RUN and not self.is_masked else None


class Edge(NamedTuple):
    """One step of the flow of data.

    `producer` is the Run that an Input was taken from, or whose Output says that it is derived.
    An Input that is `ambiguous` may be of any production with a lower `position` than its own; one that
    has neither a producer nor that was made by nobody known. `position` is the place in the log of an
    Output, and of the start of the Run that took an Input. An Output that is `declared` says which Inputs it
    came from, by derived edges; of one that is not, what its Run took is what it may have come from.
    """

    source: str
    target: str
    type: EdgeType
    role: str
    ordinal: int
    producer: str | None
    ambiguous: bool
    position: int
    declared: bool = False


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether this, with the pages before it, is all; and how much of this page is sure.

    `frontier` goes on where it was cut. `ambiguous` counts Inputs that may be of several productions,
    `unknown_producers` Inputs and roots of which no production is known, `filtered` nodes that were found and
    are not shown, since a filter said so.
    """

    complete: bool
    reasons: tuple[str, ...] = ()
    frontier: str | None = None
    ambiguous: int = 0
    unknown_producers: int = 0
    masked: int = 0
    erased: int = 0
    filtered: int = 0


class Columns(Protocol):
    """Nodes and edges that are kept column by column, and made into objects when somebody looks at one."""

    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        ...

    def edges(self) -> tuple[Edge, ...]:
        """All edges."""
        ...


class _Kept:
    """Makes what is not there yet of the columns that are."""

    __slots__ = ("_columns",)
    _columns: Columns

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            # Only what is not set comes here.
            if name not in ("nodes", "edges"):
                raise AttributeError(name)
            made = getattr(self._columns, name)()
            object.__setattr__(self, name, made)
            return made


@dataclass(frozen=True, slots=True)
class Graph(_Kept):
    """Nodes and edges in a stable order. All edges between its nodes are in it, or on an earlier page.

    A derived edge is in it if the Run is that says so. Objects are made when they are first looked at.
    """

    roots: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    completeness: Completeness

    @classmethod
    def kept(cls, roots: tuple[str, ...], columns: Columns, completeness: Completeness) -> "Graph":
        """The Graph whose nodes and edges lie in these columns."""
        graph = object.__new__(cls)
        object.__setattr__(graph, "roots", roots)
        object.__setattr__(graph, "completeness", completeness)
        object.__setattr__(graph, "_columns", columns)
        return graph

    @property
    def columns(self) -> Columns | None:
        """The columns that its nodes and edges are made of; None where they were objects from the first."""
        return getattr(self, "_columns", None)


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────

# A row of the database, whatever stands in it, as one small integer.
NodeKey = NewType("NodeKey", int)


def version_key(row: int) -> NodeKey:
    """The key of the Version in that row."""
    return NodeKey(row * 3 + 1)


def run_key(row: int) -> NodeKey:
    """The key of the Run in that row."""
    return NodeKey(row * 3)


def deployment_key(row: int) -> NodeKey:
    """The key of the Deployment in that row."""
    return NodeKey(row * 3 + 2)


class Link(NamedTuple):
    """A recorded edge of the Run in row `run`.

    input: it took Version `other` from Run `producer` (None: not named); `position` is its start's.
    output: it made Version `other`; `position` is that of the fact that recorded it.
    reused: its origin is Run `other`; `position` is its start's.
    derived: its Output `role` says it came from Version `other`, which is one of the Run's Inputs.
    """

    type: EdgeType
    run: int
    other: int
    role: str = ""
    ordinal: int = 0
    producer: int | None = None
    position: int = 0
