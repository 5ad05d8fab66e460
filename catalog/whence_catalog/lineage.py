"""Where things came from, and what came from them: the rule of traversal, over productions.

A Version may have been made several times, so lineage follows *productions*, not Versions. Upstream of
a Run are its Inputs, each bound to the Run it was taken from, and only that one is followed. Where an
Input does not name it, all productions recorded before the Run started stand in, and are counted as
ambiguous. A reused Run came from its origin, and from its own Inputs where it has any of its own.
Downstream is the same rule, read from the other end.

Edges point the way data flows. Depth counts Runs: a Run is one deeper than that through which it was
found, and what it took or made is as deep as itself. Bounds cut by depth, nodes or time; a Graph that
was cut says so, and has a frontier with which the next call goes on.

The edges lie in a database, which is passed in as `Neighbours` and asked by levels, not by nodes.
Leaves to others: how it answers (`sql.graph`), and what the Graph means for trust (`audit`).
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple, NewType, Protocol

from whence_catalog import digest
from whence_catalog.errors import InvalidInput

FRONTIER_DOMAIN = "whence.frontier/1"

# The state of a node that the caller may not see.
MASKED = "masked"

# How many nodes are taken between two looks at the clock.
_STRIDE = 10_000
_UP, _DOWN = 1, 2


class Direction(StrEnum):
    """Against the flow of data, along it, or each of the two from the same roots."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


_WAYS = {Direction.UP: _UP, Direction.DOWN: _DOWN, Direction.BOTH: _UP | _DOWN}


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


@dataclass(frozen=True, slots=True)
class Filter:
    """What of history to show, and through what to go. It makes no edge that was not recorded.

    Args:
        show: which nodes of what was found to show; roots and what somebody may not see always are.
        stop_at: shown, but not gone beyond, unless they are roots.
        pass_through: gone through without counting as a Run on the way, and not shown, unless they are roots.
        collapse_reuse: a reused Run is not shown: its origin stands for it, after traversal.
    """

    show: Which = Which()
    stop_at: Which | None = None
    pass_through: Which | None = None
    collapse_reuse: bool = False


# Shows all.
EVERYTHING = Filter()


class Node(NamedTuple):
    """A Version, a Run or a Deployment.

    `id` is a Version's `kind:name@N`, a Run's uid, or `deployment/` and a Deployment's uid; `name` is that of the
    Artifact, the job or the target; `at` is when the Version was first recorded, the Run started, or the
    Deployment began. A Version is `live`, `quarantined` or `tainted`, a Deployment `serving` or `ended`.
    Where an answer was cut or filtered, the hidden ones are its neighbours that are not in it, nor before it.
    """

    id: str
    type: NodeType
    name: str
    state: str
    at: datetime
    kind: str | None = None
    depth: int = 0
    project: str = ""
    hidden_upstream: int = 0
    hidden_downstream: int = 0

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
    Output, and of the start of the Run that took an Input.
    """

    source: str
    target: str
    type: EdgeType
    role: str
    ordinal: int
    producer: str | None
    ambiguous: bool
    position: int


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


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in a stable order. All edges between its nodes are in it, or on an earlier page.

    A derived edge is in it if the Run is that says so.
    """

    roots: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    completeness: Completeness


# ── what the database is asked ───────────────────────────────────────────────────────────────────

# A row of the database, Version or Run, as one small integer: traversals hold millions.
NodeKey = NewType("NodeKey", int)


def version_key(row: int) -> NodeKey:
    """The key of the Version in that row."""
    return NodeKey(row * 2)


def run_key(row: int) -> NodeKey:
    """The key of the Run in that row."""
    return NodeKey(row * 2 + 1)


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


class Neighbours(Protocol):
    """The edges as they are recorded. Each question is about many rows, and asked once a level."""

    def edges_of(self, runs: Sequence[int]) -> Iterable[Link]:
        """All edges that are stored with these Runs, of every type."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Iterable[Link]:
        """All outputs that are these Versions."""
        ...

    def consumers_of(self, versions: Sequence[int]) -> Iterable[Link]:
        """All inputs that are these Versions."""
        ...

    def reuses_of(self, runs: Sequence[int]) -> Iterable[Link]:
        """The reused edges whose origin is one of these Runs."""
        ...

    def versions(self, rows: Sequence[int]) -> Mapping[int, Node]:
        """These Versions as nodes, by row. Asked once, at the end."""
        ...

    def runs(self, rows: Sequence[int]) -> Mapping[int, Node]:
        """These Runs as nodes, by row. Asked once, at the end."""
        ...


# ── traversal ────────────────────────────────────────────────────────────────────────────────────


def traverse(
    neighbours: Neighbours,
    roots: Sequence[NodeKey],
    direction: Direction,
    bounds: Bounds,
    clock: Callable[[], float],
    frontier: str | None = None,
) -> Graph:
    """What the roots came from, or what came from them, nearest first, the roots included.

    Args:
        clock: seconds, never decreasing; read only where `bounds` has seconds.
        frontier: of the Graph before this one, to go on from there. Every page goes some way, whatever
            the bounds, and each node and each edge is on one page. A later page reads the edges of the
            earlier ones again: who wants the whole asks for it in one call without bounds.

    Raises:
        InvalidInput: the frontier is not of a traversal with these roots in this direction.
    """
    walk = _Walk(neighbours, tuple(dict.fromkeys(roots)), direction, bounds.depth)
    if frontier is None:
        for root in walk.roots:
            walk.find(root, 0, _WAYS[direction])
    else:
        _resume(walk, frontier)
    deadline = None if bounds.seconds is None else clock() + bounds.seconds
    room = _STRIDE if bounds.max_nodes is None else bounds.max_nodes
    reasons = []
    while walk.is_inside():
        if room <= 0:
            reasons.append(f"{bounds.max_nodes} nodes reached")
            break
        if walk.found and deadline is not None and clock() >= deadline:
            reasons.append(f"{bounds.seconds:g} seconds passed")
            break
        walk.advance(min(room, _STRIDE))
        if bounds.max_nodes is not None:
            room = bounds.max_nodes - len(walk.found)
    if walk.limit is not None and any(depth > walk.limit for depth, _ in walk.waiting):
        reasons.append(f"depth {walk.limit} reached")
    return _graph(walk, tuple(reasons))


@dataclass(slots=True)
class _Walk:
    """A traversal under way. `_UP` and `_DOWN` add up to the ways to follow from a node; 0 is none."""

    ask: Neighbours
    roots: tuple[NodeKey, ...]
    direction: Direction
    limit: int | None
    earlier: set[NodeKey] = field(default_factory=set)  # on pages before this one
    found: dict[NodeKey, int] = field(default_factory=dict)  # on this page, with their depth, in order
    ways: dict[NodeKey, int] = field(default_factory=dict)  # followed, or waiting to be
    # By depth, Runs (0) before Versions (1), which are the leaves of their level.
    waiting: dict[tuple[int, int], dict[NodeKey, int]] = field(default_factory=dict)
    made_by_nobody: int = 0
    edges: dict[int, list[Link]] = field(default_factory=dict)
    producers: dict[int, list[Link]] = field(default_factory=dict)
    consumers: dict[int, list[Link]] = field(default_factory=dict)

    def is_inside(self) -> bool:
        """Whether something waits that is not too deep."""
        return bool(self.waiting) and (self.limit is None or min(self.waiting)[0] <= self.limit)

    def find(self, key: NodeKey, depth: int, ways: int) -> None:
        known = self.ways.get(key)
        fresh = ways if known is None else ways & ~known
        if known is None or fresh:
            self.ways[key] = ways | (known or 0)
            waiting = self.waiting.setdefault((depth, 1 - key % 2), {})
            waiting[key] = fresh | waiting.get(key, 0)

    def advance(self, room: int) -> None:
        """Take the next nodes, at most `room`, and find what is next to them."""
        place = min(self.waiting)
        waiting = self.waiting[place]
        batch = {key: waiting.pop(key) for key in sorted(waiting)[:room]}
        if not waiting:
            del self.waiting[place]
        depth, is_version = place
        for key in batch:
            if key not in self.earlier:
                self.found.setdefault(key, depth)
        up = [key // 2 for key, ways in batch.items() if ways & _UP]
        down = [key // 2 for key, ways in batch.items() if ways & _DOWN]
        if is_version:
            self._leave_roots(depth, up, down)
        else:
            self.look_up_edges(key // 2 for key in batch)
            self._pass_up(depth, up)
            self._pass_down(depth, down)

    def look_up_edges(self, runs: Iterable[int]) -> None:
        _look_up(self.edges, runs, self.ask.edges_of, lambda link: link.run)

    def look_up_producers(self, versions: Iterable[int]) -> None:
        _look_up(self.producers, versions, self.ask.producers_of, lambda link: link.other)

    def look_up_consumers(self, versions: Iterable[int]) -> None:
        _look_up(self.consumers, versions, self.ask.consumers_of, lambda link: link.other)

    def _leave_roots(self, depth: int, up: Sequence[int], down: Sequence[int]) -> None:
        # Of all its productions: other Versions are reached through one, and have no ways of their own.
        self.look_up_producers(up)
        self.look_up_consumers(down)
        for version in up:
            self.made_by_nobody += not self.producers[version]
            for made in self.producers[version]:
                self.find(run_key(made.run), depth + 1, _UP)
        for version in down:
            for taken in self.consumers[version]:
                self.find(run_key(taken.run), depth + 1, _DOWN)

    def _pass_up(self, depth: int, runs: Sequence[int]) -> None:
        unnamed: dict[int, int] = {}  # Version → the latest start among those that took it
        for run in runs:
            for link in self.edges[run]:
                if link.type is EdgeType.REUSED:
                    self.find(run_key(link.other), depth + 1, _UP)
                elif link.type is EdgeType.INPUT:
                    self.find(version_key(link.other), depth, 0)
                    if link.producer is None:
                        unnamed[link.other] = max(link.position, unnamed.get(link.other, 0))
                    else:
                        self.find(run_key(link.producer), depth + 1, _UP)
        self.look_up_producers(unnamed)
        for version, started in unnamed.items():
            for made in self.producers[version]:
                if made.position < started:
                    self.find(run_key(made.run), depth + 1, _UP)

    def _pass_down(self, depth: int, runs: Sequence[int]) -> None:
        outputs = [link for run in runs for link in self.edges[run] if link.type is EdgeType.OUTPUT]
        self.look_up_consumers(made.other for made in outputs)
        for made in outputs:
            self.find(version_key(made.other), depth, 0)
            for taken in self.consumers[made.other]:
                stands_in = taken.producer is None and made.position < taken.position
                if stands_in or taken.producer == made.run:
                    self.find(run_key(taken.run), depth + 1, _DOWN)
        for reused in self.ask.reuses_of(runs) if runs else ():
            self.find(run_key(reused.run), depth + 1, _DOWN)


def _look_up(
    known: dict[int, list[Link]],
    rows: Iterable[int],
    question: Callable[[Sequence[int]], Iterable[Link]],
    row_of: Callable[[Link], int],
) -> None:
    fresh = sorted({row for row in rows if row not in known})
    if fresh:
        known.update({row: [] for row in fresh})
        for link in question(fresh):
            known[row_of(link)].append(link)


# A Link between two nodes, from and to.
_Row = tuple[NodeKey, NodeKey, Link]


def _owed(walk: _Walk) -> Iterator[_Row]:
    """The edges of this page: all of whose ends are on this page or before, and one on this."""
    found, earlier = walk.found, walk.earlier
    for run, links in walk.edges.items():
        here = run_key(run)
        is_new = here in found
        if not is_new and here not in earlier:
            continue
        for link in links:
            # By identity: `match` would compare texts, for each of what may be millions of edges.
            kind = link.type
            other = NodeKey(link.other * 2 + (kind is EdgeType.REUSED))
            source, target = (here, other) if kind is EdgeType.OUTPUT else (other, here)
            if kind is EdgeType.DERIVED:
                target = next(version_key(made.other) for made in links if _is_made_as(made, link.role))
                link = link._replace(producer=run)
                if target not in found and target not in earlier:
                    continue
            if other in found or (other in earlier and (is_new or target in found)):
                yield source, target, link


def _is_made_as(link: Link, role: str) -> bool:
    return link.type is EdgeType.OUTPUT and link.role == role


def _graph(walk: _Walk, reasons: tuple[str, ...]) -> Graph:
    rows = sorted(_owed(walk))
    unnamed = [link for _, _, link in rows if link.type is EdgeType.INPUT and link.producer is None]
    walk.look_up_producers(link.other for link in unnamed)
    first = {
        row: min((made.position for made in links), default=None) for row, links in walk.producers.items()
    }
    ambiguous = {
        link for link in unnamed if (made_at := first[link.other]) is not None and made_at < link.position
    }
    shown = _shown(walk, rows)
    ids = {key: node.id for key, node in shown.items()}
    return Graph(
        roots=tuple([ids[root] for root in walk.roots]),
        nodes=tuple([_at_depth(shown[key], depth) for key, depth in walk.found.items()]),
        # In the order of the fields: names would cost as much again, for each of what may be millions.
        edges=tuple(
            [
                Edge(
                    ids[source],
                    ids[target],
                    link.type,
                    link.role,
                    link.ordinal,
                    None if link.producer is None else ids[run_key(link.producer)],
                    link.producer is None and link in ambiguous,
                    link.position,
                )
                for source, target, link in rows
            ]
        ),
        completeness=Completeness(
            complete=not walk.waiting,
            reasons=reasons,
            frontier=_frontier(walk) if walk.waiting else None,
            ambiguous=len(ambiguous),
            unknown_producers=len(unnamed) - len(ambiguous) + walk.made_by_nobody,
        ),
    )


def _at_depth(node: Node, depth: int) -> Node:
    return Node(*node[:6], depth, node.project)


def _shown(walk: _Walk, rows: Sequence[_Row]) -> Mapping[NodeKey, Node]:
    """Everything that the answer names, which includes nodes of other pages."""
    keys = {*walk.found, *walk.roots}
    keys.update([source for source, _, _ in rows])
    keys.update([target for _, target, _ in rows])
    keys.update([run_key(link.producer) for _, _, link in rows if link.producer is not None])
    shown = {}
    for row, node in walk.ask.versions(sorted([key // 2 for key in keys if not key % 2])).items():
        shown[version_key(row)] = node
    for row, node in walk.ask.runs(sorted([key // 2 for key in keys if key % 2])).items():
        shown[run_key(row)] = node
    return shown


# ── masks ────────────────────────────────────────────────────────────────────────────────────────


# What an ambiguous Input of a masked Run could be of: any production.
_LAST = 2**62
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def beyond(graph: Graph) -> frozenset[str]:
    """The ids that the roots and edges of a Graph name and that are not among its nodes."""
    named = set(graph.roots)
    for edge in graph.edges:
        named.update((edge.source, edge.target, edge.producer or edge.source))
    return frozenset(named - {node.id for node in graph.nodes})


def mask(
    graph: Graph,
    may_see: Callable[[str], bool],
    new_id: Callable[[], str],
    elsewhere: Mapping[str, str],
) -> Graph:
    """The Graph as somebody sees it who may see some projects only: nothing is dropped, and the rest is hidden.

    A masked node keeps its type, its depth and its edges. Of an edge, what its Run says of it (role, ordinal,
    position) is hidden with the Run: a position in the log would tell two answers' nodes to be the same.

    Args:
        may_see: whether the nodes of a project may be seen.
        new_id: an id that no other node of any answer has.
        elsewhere: the projects of those `beyond` the Graph; one that has none is hidden.
    """
    projects = {**elsewhere, **{node.id: node.project for node in graph.nodes}}
    names = {
        name: name if name in projects and may_see(projects[name]) else new_id()
        for name in [*(node.id for node in graph.nodes), *sorted(beyond(graph))]
    }
    hidden = [node for node in graph.nodes if names[node.id] != node.id]
    return Graph(
        roots=tuple(names[root] for root in graph.roots),
        nodes=tuple(
            node
            if names[node.id] == node.id
            else Node(names[node.id], node.type, "", MASKED, _NEVER, depth=node.depth)
            for node in graph.nodes
        ),
        edges=tuple(_masked(edge, names) for edge in graph.edges),
        completeness=replace(graph.completeness, masked=len(hidden)),
    )


def _masked(edge: Edge, names: Mapping[str, str]) -> Edge:
    told_by = {EdgeType.OUTPUT: edge.source, EdgeType.DERIVED: edge.producer}.get(edge.type, edge.target)
    shown = edge._replace(
        source=names[edge.source],
        target=names[edge.target],
        producer=None if edge.producer is None else names[edge.producer],
    )
    if told_by is not None and names[told_by] == told_by:
        return shown
    return shown._replace(role="", ordinal=0, position=_LAST if edge.ambiguous else 0)


# ── frontiers ────────────────────────────────────────────────────────────────────────────────────

# Text: a checksum; whose it is; then lines of nodes: depth (- where already returned), ways to follow,
# and keys in rising order, each as its distance from the one before.


def _frontier(walk: _Walk) -> str:
    groups: dict[tuple[str, int], list[NodeKey]] = {}
    for key in walk.earlier | walk.found.keys():
        groups.setdefault(("-", walk.ways[key]), []).append(key)
    for (depth, _), bucket in walk.waiting.items():
        for key, ways in bucket.items():
            groups.setdefault((str(depth), ways), []).append(key)
    lines = [_heading(walk, walk.limit)]
    for (place, ways), keys in sorted(groups.items()):
        keys.sort()
        steps = (after - before for before, after in zip([0, *keys], keys, strict=False))
        lines.append(" ".join([place, str(ways), *map(str, steps)]))
    body = "\n".join(lines)
    return base64.urlsafe_b64encode(f"{_checksum(body)}\n{body}".encode()).decode()


def _heading(walk: _Walk, limit: int | None) -> str:
    return " ".join([walk.direction, "-" if limit is None else str(limit), *map(str, walk.roots)])


def _checksum(body: str) -> str:
    return digest.digest_of(FRONTIER_DOMAIN, body).short


def _resume(walk: _Walk, frontier: str) -> None:
    """Put `walk` where `frontier` left it.

    A page that was cut before its depth goes on to that depth; one that reached it goes as far again.
    """
    try:
        checksum, _, body = base64.b64decode(frontier, b"-_", validate=True).decode().partition("\n")
        heading, *lines = body.split("\n")
        before = heading.split(" ")[1]
    except (ValueError, IndexError) as error:
        raise _not_a_frontier() from error
    limit = None if before == "-" else int(before)
    if checksum != _checksum(body) or heading != _heading(walk, limit):
        raise _not_a_frontier()
    for line in lines:
        place, ways, *steps = line.split(" ")
        keys = [NodeKey(key) for key in accumulate(map(int, steps))]
        if place == "-":
            walk.earlier.update(keys)
        for key in keys:
            walk.ways[key] = walk.ways.get(key, 0) | int(ways)
            if place != "-":
                walk.waiting.setdefault((int(place), 1 - key % 2), {})[key] = int(ways)
    if walk.limit is not None:
        nearest = min(walk.waiting)[0]
        walk.limit = limit if limit is not None and nearest <= limit else nearest - 1 + walk.limit
    walk.look_up_edges(key // 2 for key in walk.earlier if key % 2)


def _not_a_frontier() -> InvalidInput:
    return InvalidInput(
        "not a frontier of this traversal; give one back as it came, with the same roots and direction"
    )
