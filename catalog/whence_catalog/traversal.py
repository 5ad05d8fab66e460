"""Which way lineage goes: the rule of traversal, over productions.

A Version may have been made several times, so lineage follows *productions*, not Versions. Upstream of
a Run are its Inputs, each bound to the Run it was taken from, and only that one is followed. Where an
Input does not name it, all productions recorded before the Run started stand in, and are counted as
ambiguous. A reused Run came from its origin, and from its own Inputs where it has any of its own.
Downstream is the same rule, read from the other end; there a Version also leads to the Deployments that it serves
in. Upstream of a Deployment is its Version, with all its productions.

Steps are taken in one order, which no bound changes: by depth, Runs before Versions before Deployments, and by
row. Bounds cut it by depth, nodes or time, and a frontier goes on behind the last step.

The edges lie in a database, which is passed in as `Neighbours` and asked by levels, not by nodes.
Leaves to others: how it answers (`sql.graph`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import repeat
from operator import and_, itemgetter, not_
from typing import NamedTuple, Protocol

from whence_catalog import columns, frontiers, hidden
from whence_catalog.columns import NONE, Described, Found, Steps
from whence_catalog.lineage import (
    EVERYTHING,
    Bounds,
    Completeness,
    Direction,
    EdgeType,
    Filter,
    Graph,
    NodeKey,
    NodeType,
    Which,
)

# How many nodes are taken between two looks at the clock, and between two questions.
_STRIDE = 10_000
# What is to be followed from a node: its sources, its uses, its Deployments.
_UP, _DOWN, _SERVES = 1, 2, 4
_WAYS = {
    Direction.UP: _UP,
    Direction.DOWN: _DOWN | _SERVES,
    Direction.BOTH: _UP | _DOWN | _SERVES,
}
# By their place in a level, and in a NodeKey.
TYPES = (NodeType.RUN, NodeType.VERSION, NodeType.DEPLOYMENT)
_RUN, _VERSION, _DEPLOYMENT = 0, 1, 2


class Took(NamedTuple):
    """An Input, told as a plain tuple; a Run that took nothing has one row, without a Version."""

    run: int
    started: int
    origin: int | None
    role: str | None
    ordinal: int | None
    version: int | None
    producer: int | None


# run, role, Version, position, and whether it says what it is derived from
Made = tuple[int, str, int, int, int]
# Run, position of its start, Version, producer
Taken = tuple[int, int, int, "int | None"]


class Neighbours(Protocol):
    """The edges as they are recorded. Each question is about many rows, and asked once a level."""

    def taken_by(self, runs: Sequence[int]) -> Sequence[Took]:
        """The inputs of these Runs, and their origins; in the order of Run, role and ordinal."""
        ...

    def made_by(self, runs: Sequence[int]) -> Sequence[Made]:
        """The outputs of these Runs, in the order of Run and role."""
        ...

    def derived_by(self, runs: Sequence[int]) -> Sequence[tuple[int, str, int, int]]:
        """Run, role of the Output, ordinal and source of what these Runs say their Outputs are derived from."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Sequence[Made]:
        """All outputs that are these Versions."""
        ...

    def consumers_of(self, versions: Sequence[int]) -> Sequence[Taken]:
        """All inputs that are these Versions."""
        ...

    def reuses_of(self, runs: Sequence[int]) -> Sequence[int]:
        """The Runs whose origin is one of these."""
        ...

    def deployments_of(self, versions: Sequence[int]) -> Sequence[int]:
        """The Deployments in which these Versions serve, or served."""
        ...

    def served_by(self, deployments: Sequence[int]) -> Sequence[tuple[int, int, int]]:
        """Deployment, Version, position of its fact."""
        ...

    def described(self, type: NodeType, rows: Sequence[int]) -> Described:
        """These rows as nodes."""
        ...

    def labels_of(self, type: NodeType, rows: Sequence[int]) -> Mapping[int, frozenset[tuple[str, str]]]:
        """The labels of those of them that have any."""
        ...

    def degrees(self, type: EdgeType, rows: Sequence[int]) -> Mapping[int, int]:
        """As `hidden.Degrees`."""
        ...


def traverse(
    neighbours: Neighbours,
    roots: Sequence[NodeKey],
    direction: Direction,
    bounds: Bounds,
    clock: Callable[[], float],
    frontier: str | None = None,
    filter: Filter = EVERYTHING,
    as_of: int | None = None,
    position: int = 0,
) -> Graph:
    """What the roots came from, or what came from them, nearest first, the roots included.

    Args:
        clock: seconds, never decreasing; read only where `bounds` has seconds.
        frontier: of the Graph before this one, to go on from there. Every page goes some way, whatever
            the bounds, and each node and each edge is on one page.
        as_of: what was asked for.
        position: that as of which `neighbours` answer; of a frontier, the one that it says.

    Raises:
        InvalidInput: the frontier is of another question.
    """
    walk, reasons, going_on = _walked(
        neighbours, roots, direction, bounds, clock, frontier, filter, as_of, position
    )
    shown = _shown(walk)
    return graph_of(walk, shown, _edges(walk, shown), reasons, going_on, None)


def traverse_with_hidden(
    neighbours: Neighbours,
    roots: Sequence[NodeKey],
    direction: Direction,
    bounds: Bounds,
    clock: Callable[[], float],
    frontier: str | None = None,
    filter: Filter = EVERYTHING,
    as_of: int | None = None,
    position: int = 0,
) -> Graph:
    """As `traverse`; of each node it is told how many neighbours are on no page yet.

    Raises:
        InvalidInput: the frontier is of another question.
    """
    walk, reasons, going_on = _walked(
        neighbours, roots, direction, bounds, clock, frontier, filter, as_of, position
    )
    shown = _shown(walk)
    is_all = going_on is None and replace(filter, within=None) == EVERYTHING
    beyond = {} if is_all else _beyond(walk, shown)
    return graph_of(walk, shown, _edges(walk, shown), reasons, going_on, beyond)


def _walked(
    neighbours: Neighbours,
    roots: Sequence[NodeKey],
    direction: Direction,
    bounds: Bounds,
    clock: Callable[[], float],
    frontier: str | None,
    filter: Filter,
    as_of: int | None,
    position: int,
) -> tuple["Walk", tuple[str, ...], str | None]:
    """A walk as far as it goes on this page, why it goes no further, and the frontier that goes on."""
    question = frontiers.Question(tuple(dict.fromkeys(roots)), direction, filter, as_of)
    walk = begun(neighbours, question, bounds.depth)
    if frontier is not None:
        before = frontiers.Frontier.parse(frontier)
        before.require(question)
        walk.go_again(before)
    reasons = _go(walk, bounds, clock)
    going_on = None
    if walk.remains():
        going_on = str(frontiers.Frontier(question.digest, position, walk.limit, walk.steps))
    return walk, reasons, going_on


def begun(neighbours: Neighbours, question: frontiers.Question, depth: int | None) -> "Walk":
    """A walk before its first step.

    Raises:
        InvalidInput: the filter names a state that there is none.
    """
    for which in (question.filter.show, question.filter.stop_at, question.filter.pass_through):
        if which is not None:
            which.refuse_unknown()
    walk = Walk(neighbours, question)
    for type in (_RUN, _VERSION, _DEPLOYMENT):
        walk.place(0, type, walk.roots[type], _WAYS[question.direction])
    walk.limit = depth
    return walk


def _go(walk: "Walk", bounds: Bounds, clock: Callable[[], float]) -> tuple[str, ...]:
    """Take the steps that the bounds allow; answers which of them ended it."""
    deadline = None if bounds.seconds is None else clock() + bounds.seconds
    reasons = []
    room = _STRIDE if bounds.max_nodes is None else bounds.max_nodes
    first = walk.steps
    while walk.is_inside():
        if room <= 0:
            reasons.append(f"{bounds.max_nodes} nodes reached")
            break
        if walk.steps > first and deadline is not None and clock() >= deadline:
            reasons.append(f"{bounds.seconds:g} seconds passed")
            break
        walk.advance(min(room, _STRIDE))
        if bounds.max_nodes is not None:
            room = bounds.max_nodes - walk.found
    if walk.limit is not None and any(depth > walk.limit for depth, _ in walk.left()):
        reasons.append(f"depth {walk.limit} reached")
    return tuple(reasons)


class Walk:
    """A traversal under way."""

    def __init__(self, ask: Neighbours, question: frontiers.Question) -> None:
        self.ask = ask
        self.question = question
        self.wanted = question.filter
        self.roots: tuple[set[int], ...] = (set(), set(), set())
        for root in question.roots:
            self.roots[root % 3].add(root // 3)
        self.limit: int | None = None
        # Which ways were followed from each row; the rows on pages before this one.
        self.done: tuple[dict[int, int], ...] = ({}, {}, {})
        self.earlier: tuple[AbstractSet[int], ...] = (set(), set(), set())
        # How many steps were taken, and how many nodes this page has by that.
        self.steps = self.found = 0
        self.order: list[tuple[int, int, Sequence[int]]] = []
        self.waiting: dict[tuple[int, int], dict[int, int]] = {}
        self._place = (0, 0)
        self._level: list[int] = []
        self._ways: dict[int, int] = {}
        self.made_by_nobody = 0
        self.makers: dict[int, list[tuple[int, int]]] = {}  # Version → (Run, position)
        self._asked_before: set[int] = set()
        self._consumers: dict[int, list[Taken]] = {}
        self._looked_up: set[int] = set()
        # What a filter says of nodes that it speaks of.
        self.stops: tuple[set[int], ...] = (set(), set(), set())
        self.passed: tuple[set[int], ...] = (set(), set(), set())
        self._judged: tuple[set[int], ...] = (set(), set(), set())
        self.origins: dict[int, int] = {}
        self.inputs = Steps(EdgeType.INPUT)
        self.outputs = Steps(EdgeType.OUTPUT)
        self.reused = Steps(EdgeType.REUSED)
        self.derived = Steps(EdgeType.DERIVED)
        self.deployed = Steps(EdgeType.DEPLOYED)
        self.kept = (self.inputs, self.outputs, self.reused, self.derived, self.deployed)

    # ── what is next ─────────────────────────────────────────────────────────────────────────────

    def left(self) -> list[tuple[int, int]]:
        """The places where something waits that was not followed before."""
        for place in list(self.waiting):
            done, rows = self.done[place[1]], self.waiting[place]
            if not any(row not in done or ways & ~done[row] for row, ways in rows.items()):
                del self.waiting[place]
        return ([self._place] if self._level else []) + sorted(self.waiting)

    def remains(self) -> bool:
        """Whether anything waits."""
        return bool(self.left())

    def is_inside(self) -> bool:
        """Whether something waits that is not too deep."""
        while not self._level:
            if not self.waiting:
                return False
            place = min(self.waiting)
            if self.limit is not None and place[0] > self.limit:
                return False
            self._place, self._ways = place, self.waiting.pop(place)
            done = self.done[place[1]]
            self._level = sorted(
                [row for row, ways in self._ways.items() if row not in done or ways & ~done[row]]
            )
        return self.limit is None or self._place[0] <= self.limit

    def place(self, depth: int, type: int, rows: Iterable[int], ways: int) -> None:
        """Follow these ways from these rows, when it is their turn."""
        done = self.done[type]
        fresh = [row for row in rows if row not in done or ways & ~done[row]]
        if not fresh:
            return
        if self.stops[type]:
            halted = self.stops[type].intersection(fresh)
            if halted and ways:
                self._wait(depth, type, halted, 0)
                fresh = [row for row in fresh if row not in halted]
        self._wait(depth, type, fresh, ways)

    def _wait(self, depth: int, type: int, rows: Iterable[int], ways: int) -> None:
        waiting = self.waiting.setdefault((depth, type), {})
        if waiting:
            for row in rows:
                waiting[row] = ways | waiting.get(row, 0)
        else:
            waiting.update(zip(rows, repeat(ways)))

    def _place_runs(self, depth: int, runs: AbstractSet[int], ways: int) -> None:
        """The Runs that were found from one that is so deep."""
        self._judge(_RUN, runs)
        through = self.passed[_RUN] & runs
        if through:
            self.place(depth, _RUN, through, ways)
        self.place(depth + 1, _RUN, runs - through if through else runs, ways)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    def advance(self, room: int) -> None:
        """Take the next steps, at most `room`, and find what is next to those nodes."""
        depth, type = self._place
        batch, self._level = self._level[:room], self._level[room:]
        done, ways = self.done[type], self._ways
        fresh = [row for row in batch if row not in done]
        if self.question.direction is Direction.BOTH:
            follow = {row: ways[row] & ~done.get(row, 0) for row in batch}
            done.update({row: ways[row] | done.get(row, 0) for row in batch})
        else:
            follow = dict(zip(batch, map(ways.__getitem__, batch), strict=True))
            done.update(follow)
        self.steps += len(batch)
        self.found += len(fresh)
        if fresh:
            self.order.append((type, depth, columns.numbers(fresh)))
        up, down = ([row for row in batch if follow[row] & way] for way in (_UP, _DOWN))
        match type:
            case 0:
                self._leave_runs(depth, batch, up, down)
            case 1:
                self._leave_versions(depth, up, down, [row for row in batch if follow[row] & _SERVES])
            case _:
                self._leave_deployments(depth, batch, up)

    def go_again(self, before: frontiers.Frontier) -> None:
        """Take the steps that were taken before.

        A page that was cut before its depth goes on to that depth; one that reached it goes as far again.
        """
        further, self.limit = self.limit, None
        while self.steps < before.steps and self.is_inside():
            self.advance(min(before.steps - self.steps, _STRIDE))
        self.earlier = tuple(set(done) for done in self.done)
        self.order, self.found, self.made_by_nobody = [], 0, 0
        if further is not None and (left := self.left()):
            nearest = left[0][0]
            is_cut = before.limit is not None and nearest <= before.limit
            self.limit = before.limit if is_cut else nearest - 1 + further

    def _leave_versions(
        self, depth: int, up: Sequence[int], down: Sequence[int], serving: Sequence[int]
    ) -> None:
        # Of all its productions: other Versions are reached through one, and have no ways of their own.
        if up:
            self.look_up_makers(up)
            self.made_by_nobody += sum(not self.makers[version] for version in up)
            self._place_runs(depth, {run for version in up for run, _ in self.makers[version]}, _UP)
        if down:
            self._place_runs(depth, {taken[0] for taken in self._consumers_of(down)}, _DOWN)
        if serving:
            deployments = set(self.ask.deployments_of(serving))
            self._judge(_DEPLOYMENT, deployments)
            self.place(depth, _DEPLOYMENT, deployments, 0)

    def _leave_deployments(self, depth: int, rows: Sequence[int], up: Sequence[int]) -> None:
        served = self.ask.served_by(rows)
        following = set(up)
        self.deployed.add(
            [version for _, version, _ in served],
            [deployment for deployment, _, _ in served],
            repeat("", len(served)),
            repeat(0, len(served)),
            repeat(NONE, len(served)),
            [position for _, _, position in served],
        )
        versions = {version for deployment, version, _ in served if deployment in following}
        self._judge(_VERSION, versions)
        self.place(depth, _VERSION, versions, _UP)

    def _leave_runs(self, depth: int, runs: Sequence[int], up: Sequence[int], down: Sequence[int]) -> None:
        took, made = self.ask.taken_by(runs), self.ask.made_by(runs)
        if self._looked_up.isdisjoint(runs):
            self._keep(took, made)
        else:
            old = self._looked_up.intersection(runs)
            self._keep([t for t in took if t[0] not in old], [m for m in made if m[0] not in old])
        if self.question.direction is Direction.BOTH:
            self._looked_up.update(runs)
        if up:
            following = set(up)
            self._pass_up(depth, took if len(up) == len(runs) else [t for t in took if t[0] in following])
        if down:
            following = set(down)
            self._pass_down(
                depth, down, made if len(down) == len(runs) else [m for m in made if m[0] in following]
            )

    def _pass_up(self, depth: int, took: Sequence[Took]) -> None:
        versions = {t[5] for t in took}
        versions.discard(None)
        self._judge(_VERSION, versions)  # type: ignore[arg-type]
        self.place(depth, _VERSION, versions, 0)  # type: ignore[arg-type]
        origins = {t[2] for t in took}
        if self.stops[_VERSION]:
            halted = self.stops[_VERSION]
            took = [t for t in took if t[5] not in halted]
        sources = {t[6] for t in took}
        if None in sources:
            unnamed: dict[int, int] = {}  # Version → the latest start among those that took it
            for t in took:
                version = t[5]
                if t[6] is None and version is not None:
                    unnamed[version] = max(t[1], unnamed.get(version, 0))
            if unnamed:
                self.look_up_makers(unnamed)
                for version, started in unnamed.items():
                    sources.update([run for run, position in self.makers[version] if position < started])
        sources |= origins
        sources.discard(None)
        self._place_runs(depth, sources, _UP)  # type: ignore[arg-type]

    def _pass_down(self, depth: int, runs: Sequence[int], made: Sequence[Made]) -> None:
        outputs = {m[2] for m in made}
        self._judge(_VERSION, outputs)
        self.place(depth, _VERSION, outputs, _SERVES)
        if self.stops[_VERSION]:
            halted = self.stops[_VERSION]
            made = [m for m in made if m[2] not in halted]
            outputs = outputs - halted
        productions = {(m[0], m[2]) for m in made}
        earliest: dict[int, int] = {}
        for _, _, version, position, _ in made:
            earliest[version] = min(position, earliest.get(version, position))
        uses = {
            run
            for run, started, version, producer in self._consumers_of(outputs)
            if ((producer, version) in productions if producer is not None else earliest[version] < started)
        }
        uses.update(self.ask.reuses_of(runs))
        self._place_runs(depth, uses, _DOWN)

    # ── what is looked up ────────────────────────────────────────────────────────────────────────

    def look_up_makers(self, versions: Iterable[int]) -> None:
        """Have `makers` of these Versions."""
        fresh = sorted({version for version in versions if version not in self.makers})
        if fresh:
            self.makers.update({version: [] for version in fresh})
            for run, _, version, position, _ in self.ask.producers_of(fresh):
                self.makers[version].append((run, position))

    def _consumers_of(self, versions: Iterable[int]) -> list[Taken]:
        # A Version that Runs make again and again is asked for again and again: its consumers are kept, which
        # for each Version would take more than all edges do.
        again = {version for version in versions if version in self._asked_before}
        kept = again & self._consumers.keys()
        found = [taken for version in kept for taken in self._consumers[version]]
        asked = sorted(set(versions) - kept)
        if asked:
            rows = self.ask.consumers_of(asked)
            self._asked_before.update(asked)
            if again:
                self._consumers.update({version: [] for version in again - kept})
                for taken in rows:
                    if taken[2] in again:
                        self._consumers[taken[2]].append(taken)
            found += rows
        return found

    def _keep(self, took: Sequence[Took], made: Sequence[Made]) -> None:
        reused = dict.fromkeys([(t[2], t[0], t[1]) for t in took if t[2] is not None])
        if reused:
            origins, runs, started = zip(*reused, strict=True)
            several = len(runs)
            self.origins.update(zip(runs, origins, strict=True))
            self.reused.add(
                origins, runs, repeat("", several), repeat(0, several), repeat(NONE, several), started
            )
        if None in map(itemgetter(5), took):
            took = [t for t in took if t[5] is not None]
        if took:
            runs, started, _, roles, ordinals, versions, producers = zip(*took, strict=True)
            if None in producers:
                producers = tuple([NONE if producer is None else producer for producer in producers])
            self.inputs.add(versions, runs, roles, ordinals, producers, started)
        if made:
            runs, roles, versions, positions, declares = zip(*made, strict=True)
            several = len(runs)
            self.outputs.add(runs, versions, roles, repeat(0, several), repeat(NONE, several), positions)
            self.outputs.declared.extend(declares)
            if any(declares):
                self._keep_derived(made)

    def _keep_derived(self, made: Sequence[Made]) -> None:
        targets = {(run, role): version for run, role, version, _, declares in made if declares}
        said = self.ask.derived_by(sorted({run for run, _ in targets}))
        said = [s for s in said if (s[0], s[1]) in targets]
        if said:
            runs, roles, ordinals, sources = zip(*said, strict=True)
            self.derived.add(
                sources,
                [targets[run, role] for run, role, _, _ in said],
                roles,
                ordinals,
                runs,
                repeat(0, len(runs)),
            )

    # ── what a filter says ───────────────────────────────────────────────────────────────────────

    def _judge(self, type: int, rows: AbstractSet[int]) -> None:
        """Have `stops` and `passed` know these rows."""
        wanted = self.wanted
        if wanted.stop_at is None and wanted.pass_through is None:
            return
        fresh = rows - self._judged[type] - self.roots[type]
        if not fresh:
            return
        self._judged[type].update(fresh)
        if wanted.stop_at is not None:
            self.stops[type].update(self.admitted(type, fresh, wanted.stop_at, False))
        if wanted.pass_through is not None:
            self.passed[type].update(
                self.admitted(type, fresh - self.stops[type], wanted.pass_through, False)
            )

    def admitted(self, type: int, rows: AbstractSet[int], which: Which, beyond: bool) -> set[int]:
        """Those rows that are among which; of what the filter does not speak of, `beyond` says whether."""
        if not rows:
            return set()
        described = self.ask.described(TYPES[type], sorted(rows))
        nodes = described.nodes(dict.fromkeys(rows, 0))
        labels = self.ask.labels_of(TYPES[type], sorted(rows)) if which.labels else {}
        within = self.wanted.within
        return {
            row
            for row, node in nodes.items()
            if (
                which.admits(node, labels.get(row, frozenset()))
                if within is None or node.project in within
                else beyond
            )
        }


# ── the answer ───────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Shown:
    """What of a walk is to be shown: of each type, what is on no page, and what is on some page by now."""

    left_out: tuple[set[int], ...]
    visible: tuple["AbstractSet[int] | dict[int, int]", ...]
    filtered: int = 0
    order: list[tuple[int, int, Sequence[int]]] = field(default_factory=list)


def _shown(walk: Walk) -> Shown:
    wanted = walk.wanted
    left_out = tuple(passed & walk.done[type].keys() for type, passed in enumerate(walk.passed))
    if wanted.collapse_reuse:
        collapsed = (walk.origins.keys() & walk.done[_RUN].keys()) - walk.roots[_RUN]
        left_out[_RUN].update(walk.admitted(_RUN, collapsed, Which(), False))
    if wanted.show != Which():
        for type in (_RUN, _VERSION, _DEPLOYMENT):
            rows = walk.done[type].keys() - left_out[type] - walk.roots[type]
            left_out[type].update(rows - walk.admitted(type, rows, wanted.show, True))
    if not any(left_out):
        return Shown(left_out, walk.done, 0, list(walk.order))
    visible = tuple(done.keys() - left_out[type] for type, done in enumerate(walk.done))
    order: list[tuple[int, int, Sequence[int]]] = [
        (type, depth, [row for row in rows if row not in left_out[type]]) for type, depth, rows in walk.order
    ]
    filtered = walk.found - sum(len(rows) for _, _, rows in order)
    return Shown(left_out, visible, filtered, [level for level in order if level[2]])


def graph_of(
    walk: Walk,
    shown: Shown,
    edges: Sequence[Steps],
    reasons: tuple[str, ...],
    frontier: str | None,
    beyond: Mapping[NodeType, columns.Hidden] | None,
) -> Graph:
    """A page, of the nodes that are shown and these edges."""
    inputs = next(steps for steps in edges if steps.type is EdgeType.INPUT)
    unnamed = _tell_ambiguous(walk, inputs)
    ambiguous = sum(inputs.ambiguous)
    found = Found(
        _described(walk, shown, edges),
        [(TYPES[type], depth, rows) for type, depth, rows in shown.order],
        edges,
        beyond,
    )
    ids = {type: found.described[type].ids for type in found.described}
    return Graph.kept(
        tuple([ids[TYPES[root % 3]][root // 3] for root in walk.question.roots]),
        found,
        Completeness(
            complete=frontier is None,
            reasons=reasons,
            frontier=frontier,
            ambiguous=ambiguous,
            unknown_producers=unnamed - ambiguous + walk.made_by_nobody,
            erased=_count_erased(found),
            filtered=shown.filtered,
        ),
    )


def _edges(walk: Walk, shown: Shown) -> list[Steps]:
    return [_on_page(walk, shown, steps) for steps in walk.kept]


def _beyond(walk: Walk, shown: Shown) -> dict[NodeType, columns.Hidden]:
    page: dict[NodeType, list[int]] = {}
    for type, _, rows in shown.order:
        page.setdefault(TYPES[type], []).extend(rows)
    visible = {TYPES[type]: rows for type, rows in enumerate(shown.visible)}
    return hidden.neighbours(walk.ask, page, walk.kept, visible)


def _count_erased(found: Found) -> int:
    rows = {row for type, _, rows in found.order if type is NodeType.VERSION for row in rows}
    versions = found.described.get(NodeType.VERSION)
    if versions is None or "erased" not in versions.states:
        return 0
    return sum(
        state == "erased" and row in rows for row, state in zip(versions.rows, versions.states, strict=True)
    )


def _on_page(walk: Walk, shown: Shown, steps: Steps) -> Steps:
    which = _are_on_page(walk, shown, steps)
    return steps if all(which) else steps.kept(which)


def _are_on_page(walk: Walk, shown: Shown, steps: Steps) -> list[bool]:
    """Of each edge, whether all of its ends are on this page or before, and one on this."""
    source, target = (TYPES.index(type) for type in columns.ENDS[steps.type])
    which = map(
        and_,
        map(shown.visible[source].__contains__, steps.source),
        map(shown.visible[target].__contains__, steps.target),
    )
    if steps.type is EdgeType.DERIVED:
        which = map(and_, which, map(walk.done[_RUN].__contains__, steps.producer))
    if not any(walk.earlier):
        return list(which)
    before = map(
        and_,
        map(walk.earlier[source].__contains__, steps.source),
        map(walk.earlier[target].__contains__, steps.target),
    )
    if steps.type is EdgeType.DERIVED:
        before = map(and_, before, map(walk.earlier[_RUN].__contains__, steps.producer))
    return list(map(and_, which, map(not_, before)))


def _tell_ambiguous(walk: Walk, inputs: Steps) -> int:
    """Say of each Input whether it is ambiguous; answers how many name no producer."""
    inputs.ambiguous = bytearray(len(inputs.source))
    if NONE not in inputs.producer:
        return 0
    unnamed = [place for place, producer in enumerate(inputs.producer) if producer == NONE]
    walk.look_up_makers({inputs.source[place] for place in unnamed})
    for place in unnamed:
        made = walk.makers[inputs.source[place]]
        inputs.ambiguous[place] = any(position < inputs.position[place] for _, position in made)
    return len(unnamed)


def _described(walk: Walk, shown: Shown, edges: Sequence[Steps]) -> Mapping[NodeType, Described]:
    """Everything that the answer names, which includes nodes of other pages, and Runs of none."""
    named: tuple[set[int], ...] = tuple(set(roots) for roots in walk.roots)
    for type, _, rows in shown.order:
        named[type].update(rows)
    for steps in edges:
        source, target = columns.ENDS[steps.type]
        named[TYPES.index(source)].update(steps.source)
        named[TYPES.index(target)].update(steps.target)
        named[_RUN].update(steps.producer)
    named[_RUN].discard(NONE)
    return {
        TYPES[type]: walk.ask.described(TYPES[type], sorted(rows)) for type, rows in enumerate(named) if rows
    }
