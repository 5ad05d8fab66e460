"""The rule of traversal, beside a second statement of it that knows no levels, pages or bounds."""

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence_catalog import lineage, model, paths, traversal
from whence_catalog.columns import Described
from whence_catalog.errors import InvalidInput, NotFound
from whence_catalog.lineage import (
    EVERYTHING,
    Bounds,
    Direction,
    EdgeType,
    Filter,
    Link,
    NodeKey,
    NodeType,
    Which,
)
from whence_catalog.traversal import Made, Took

UNBOUNDED = Bounds(max_nodes=None)
# Source, target, type, role, ordinal, producer.
Identity = tuple[str, str, EdgeType, str, int, str]
T0 = datetime(2026, 5, 3, tzinfo=UTC)


def silent() -> float:
    raise AssertionError("nobody asked for a bound in seconds")


def ticking(seconds: float) -> Callable[[], float]:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds
        return now

    return clock


@dataclass
class History:
    """A catalog of bare edges: Versions are numbers, Runs are rows; each fact takes the next position."""

    links: list[Link] = field(default_factory=list)
    started: dict[int, int] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    deployed: dict[int, tuple[int, int]] = field(default_factory=dict)
    position: int = 0
    asked: list[str] = field(default_factory=list)

    def start(self, *inputs: tuple[int, int | None]) -> int:
        """A Run that takes (Version, producer or None) starts."""
        self.position += 1
        run = len(self.started) + 1
        self.started[run] = self.position
        self.take(run, *inputs)
        return run

    def take(self, run: int, *inputs: tuple[int, int | None]) -> None:
        for version, producer in inputs:
            ordinal = sum(link.run == run and link.type is EdgeType.INPUT for link in self.links)
            link = Link(EdgeType.INPUT, run, version, "in", ordinal, producer, self.started[run])
            self.links.append(link)

    def make(self, run: int, *versions: int, derived: Mapping[int, Sequence[int]] | None = None) -> int:
        """It makes Versions."""
        self.position += 1
        for version in versions:
            role = f"out{version}"
            self.links.append(Link(EdgeType.OUTPUT, run, version, role, position=self.position))
            for ordinal, source in enumerate((derived or {}).get(version, ())):
                self.links.append(Link(EdgeType.DERIVED, run, source, role, ordinal))
        return run

    def run(self, *versions: int, of: Sequence[tuple[int, int | None]] = ()) -> int:
        """A whole Run."""
        return self.make(self.start(*of), *versions)

    def record(self, *versions: int, of: Sequence[tuple[int, int | None]] = ()) -> int:
        """A whole Run that was said in one fact."""
        run = self.start(*of)
        self.position -= 1
        return self.make(run, *versions)

    def reuse(self, origin: int, *inputs: tuple[int, int | None]) -> int:
        run = self.start(*inputs)
        self.links.append(Link(EdgeType.REUSED, run, origin, position=self.started[run]))
        self.origins[run] = origin
        return run

    def deploy(self, version: int) -> int:
        """A Version serves somewhere."""
        self.position += 1
        row = len(self.deployed) + 1
        self.deployed[row] = (version, self.position)
        return row

    def nodes(self) -> list[str]:
        return (
            [f"r{run}" for run in self.started]
            + [f"d{row}" for row in self.deployed]
            + [f"v{version}" for version in range(1, 6)]
        )

    # ── as Neighbours ────────────────────────────────────────────────────────────────────────────

    def _of(self, question: str, type: EdgeType, wanted: Callable[[Link], bool]) -> list[Link]:
        self.asked.append(question)
        return [link for link in self.links if link.type is type and wanted(link)]

    def taken_by(self, runs: Sequence[int]) -> list[Took]:
        by_run: dict[int, list[Link]] = {run: [] for run in runs}
        for link in self._of("taken_by", EdgeType.INPUT, lambda x: x.run in by_run):
            by_run[link.run].append(link)
        return sorted(
            (Took(run, self.started[run], self.origins.get(run), *rest))
            for run, links in by_run.items()
            for rest in (
                [(x.role, x.ordinal, x.other, x.producer) for x in links] or [(None, None, None, None)]
            )
        )

    def _made(self, question: str, wanted: Callable[[Link], bool]) -> list[Made]:
        said = {(link.run, link.role) for link in self.links if link.type is EdgeType.DERIVED}
        return sorted(
            (x.run, x.role, x.other, x.position, int((x.run, x.role) in said))
            for x in self._of(question, EdgeType.OUTPUT, wanted)
        )

    def made_by(self, runs: Sequence[int]) -> list[Made]:
        return self._made("made_by", lambda x: x.run in runs)

    def derived_by(self, runs: Sequence[int]) -> list[tuple[int, str, int, int]]:
        found = self._of("derived_by", EdgeType.DERIVED, lambda x: x.run in runs)
        return sorted((x.run, x.role, x.ordinal, x.other) for x in found)

    def producers_of(self, versions: Sequence[int]) -> list[Made]:
        return self._made("producers_of", lambda x: x.other in versions)

    def consumers_of(self, versions: Sequence[int]) -> list[tuple[int, int, int, int | None]]:
        found = self._of("consumers_of", EdgeType.INPUT, lambda x: x.other in versions)
        return [(x.run, self.started[x.run], x.other, x.producer) for x in found]

    def reuses_of(self, runs: Sequence[int]) -> list[int]:
        return [x.run for x in self._of("reuses_of", EdgeType.REUSED, lambda x: x.other in runs)]

    def deployments_of(self, versions: Sequence[int]) -> list[int]:
        self.asked.append("deployments_of")
        return [row for row, (version, _) in self.deployed.items() if version in versions]

    def served_by(self, deployments: Sequence[int]) -> list[tuple[int, int, int]]:
        self.asked.append("served_by")
        return sorted((row, *self.deployed[row]) for row in deployments)

    def labels_of(self, type: NodeType, rows: Sequence[int]) -> Mapping[int, frozenset[tuple[str, str]]]:
        return {row: frozenset({("parity", "odd")}) for row in rows if row % 2}

    def degrees(self, type: EdgeType, rows: Sequence[int]) -> Mapping[int, int]:
        self.asked.append(f"degrees of {type}")
        found = {row: set[int]() for row in rows}
        if type is EdgeType.DEPLOYED:
            pairs = [(version, row) for row, (version, _) in self.deployed.items()]
        else:
            pairs = [(link.other, link.run) for link in self.links if link.type is type]
        for row, other in pairs:
            found.get(row, set()).add(other)
        return {row: len(others) for row, others in found.items() if others}

    def described(self, type: NodeType, rows: Sequence[int]) -> Described:
        self.asked.append(str(type))
        found = Described(type)
        found.rows.extend(rows)
        letter = {NodeType.RUN: "r", NodeType.VERSION: "v", NodeType.DEPLOYMENT: "d"}[type]
        found.identities = [f"{letter}{row}" for row in rows]
        found.names = [f"name {row % 3}" for row in rows]
        found.projects = [f"project {row % 2}" for row in rows]
        match type:
            case NodeType.RUN:
                found.states = ["reused" if row in self.origins else "complete" for row in rows]
                found.at.extend(model.microseconds(T0) + 10**6 * self.started[row] for row in rows)
            case NodeType.VERSION:
                found.states = ["tainted" if row == 2 else "live" for row in rows]
                found.kinds = ["dataset" if row % 2 else "model" for row in rows]
                found.at.extend(model.microseconds(T0) for _ in rows)
            case NodeType.DEPLOYMENT:
                found.states = ["serving"] * len(rows)
                found.at.extend(model.microseconds(T0) for _ in rows)
        return found

    def traverse(
        self,
        direction: Direction,
        *roots: str,
        bounds: Bounds = UNBOUNDED,
        clock: Callable[[], float] = silent,
        frontier: str | None = None,
        filter: Filter = EVERYTHING,
        as_of: int | None = None,
    ) -> lineage.Graph:
        keys = [key(root) for root in roots]
        return traversal.traverse(
            self, keys, direction, bounds, clock, frontier, filter, as_of, self.position
        )

    def traverse_with_hidden(
        self,
        direction: Direction,
        *roots: str,
        bounds: Bounds,
        clock: Callable[[], float],
        frontier: str | None,
        filter: Filter,
    ) -> lineage.Graph:
        keys = [key(root) for root in roots]
        return traversal.traverse_with_hidden(
            self, keys, direction, bounds, clock, frontier, filter, None, self.position
        )

    # ── the rule, stated again ───────────────────────────────────────────────────────────────────

    def productions(self, taken: Link) -> set[int]:
        """The Runs that an Input may have been taken from."""
        if taken.producer is not None:
            return {taken.producer}
        made = [x for x in self.links if x.type is EdgeType.OUTPUT and x.other == taken.other]
        return {x.run for x in made if x.position < self.started[taken.run]}

    def flows(self) -> set[tuple[int, int]]:
        """(from, to) of Runs."""
        taken = [link for link in self.links if link.type is EdgeType.INPUT]
        return {(p, t.run) for t in taken for p in self.productions(t)} | {
            (origin, run) for run, origin in self.origins.items()
        }

    def reached(self, root: str, direction: Direction) -> set[str]:
        """All that the root comes from (or what comes from it), itself included, by a fixed point."""
        up = direction is Direction.UP
        first, last = (EdgeType.OUTPUT, EdgeType.INPUT) if up else (EdgeType.INPUT, EdgeType.OUTPUT)
        row = int(root[1:])
        if root[0] == "d":
            return {root} | (self.reached(f"v{self.deployed[row][0]}", direction) if up else set())
        runs = {x.run for x in self.links if x.type is first and x.other == row} if root[0] == "v" else {row}
        flows = {(b, a) for a, b in self.flows()} if up else self.flows()
        while more := {b for a, b in flows if a in runs} - runs:
            runs |= more
        made = {f"v{x.other}" for x in self.links if x.type is last and x.run in runs}
        serving = (
            set() if up else {f"d{d}" for d, (v, _) in self.deployed.items() if f"v{v}" in made | {root}}
        )
        return {root} | made | {f"r{run}" for run in runs} | serving

    def whole(self, roots: Sequence[str], direction: Direction) -> set[str]:
        ways = [Direction.UP, Direction.DOWN] if direction is Direction.BOTH else [direction]
        return set().union(*(self.reached(root, way) for root in roots for way in ways))

    def beside(self, node: str) -> tuple[set[str], set[str]]:
        """What lies next to a node, upstream and downstream."""
        everything = self.edges_within(set(self.nodes()))
        flows = {(s, t) for s, t, type, *_ in everything if type is not EdgeType.DERIVED}
        return {s for s, t in flows if t == node}, {t for s, t in flows if s == node}

    def edges_within(self, nodes: set[str]) -> set[Identity]:
        found = set()
        for link in self.links:
            run, other = f"r{link.run}", f"v{link.other}"
            producer = "" if link.producer is None else f"r{link.producer}"
            match link.type:
                case EdgeType.INPUT:
                    ends = (other, run)
                case EdgeType.OUTPUT:
                    ends = (run, other)
                case EdgeType.REUSED:
                    ends = (f"r{link.other}", run)
                case EdgeType.DERIVED:
                    ends, producer = (other, f"v{link.role[3:]}"), run
            if {*ends, run} <= nodes:
                found.add((*ends, link.type, link.role, link.ordinal, producer))
        for row, (version, _) in self.deployed.items():
            if {f"v{version}", f"d{row}"} <= nodes:
                found.add((f"v{version}", f"d{row}", EdgeType.DEPLOYED, "", 0, ""))
        return found


def key(node: str) -> NodeKey:
    row = int(node[1:])
    keys = {"r": lineage.run_key, "v": lineage.version_key, "d": lineage.deployment_key}
    return keys[node[0]](row)


def ids(nodes: Iterable[lineage.Node]) -> set[str]:
    return {node.id for node in nodes}


def identities(edges: Iterable[lineage.Edge]) -> list[Identity]:
    return [(e.source, e.target, e.type, e.role, e.ordinal, e.producer or "") for e in edges]


def without_deployments(nodes: set[str]) -> set[str]:
    return {node for node in nodes if node[0] != "d"}


def random_history(seed: int, acts: int) -> History:
    """Few Versions and many productions of them, by Runs that overlap, so that everything collides."""
    chance = Random(seed)
    history = History()
    running: list[int] = []
    made: list[tuple[int, int]] = []

    def inputs() -> list[tuple[int, int | None]]:
        some: list[tuple[int, int | None]] = [(chance.randint(1, 5), None), *((v, r) for r, v in made)]
        return [chance.choice(some) for _ in range(chance.choice([0, 1, 1, 2, 3]))]

    for _ in range(acts):
        executed = [run for run in history.started if run not in history.origins]
        match chance.choice(["run", "run", "run", "start", "make", "reuse", "take", "deploy"]):
            case "deploy":
                history.deploy(chance.randint(1, 5))
            case "reuse" if executed:
                history.reuse(chance.choice(executed), *inputs())
            case "take" if running:
                history.take(chance.choice(running), *inputs())
            case "make" if running:
                run, version = chance.choice(running), chance.randint(1, 5)
                if (run, version) not in made:
                    history.make(run, version)
                    made.append((run, version))
            case "start":
                running.append(history.start(*inputs()))
            case _:
                taken = inputs()
                outputs = chance.sample(range(1, 6), chance.randint(0, 2))
                if chance.random() < 0.3:
                    run = history.record(*outputs, of=taken)
                else:
                    run = history.start(*taken)
                    history.make(run, *outputs, derived={o: [v for v, _ in taken[:1]] for o in outputs})
                made += [(run, version) for version in outputs]
    return history


Question = tuple[History, list[str], Direction]


def random_question(seed: int, acts: int, roots: int, direction: Direction) -> Question:
    history = random_history(seed, acts)
    return history, Random(seed).sample(history.nodes(), roots), direction


# By seed, since drawing each edge costs far more than the traversal; a failure still shrinks its acts.
SEEDS, ACTS = st.integers(0, 2**32), st.integers(1, 14)
histories = st.builds(random_history, SEEDS, ACTS)
questions = st.builds(random_question, SEEDS, ACTS, st.integers(1, 2), st.sampled_from(Direction))


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=300)
@given(questions)
def test_an_unbounded_answer_is_all_that_the_rule_reaches(q: Question) -> None:
    history, roots, direction = q
    graph = history.traverse(direction, *roots)
    assert graph.completeness.complete
    assert graph.completeness.frontier is None
    assert ids(graph.nodes) == history.whole(roots, direction)
    assert len(graph.nodes) == len(ids(graph.nodes))


@settings(deadline=None, max_examples=300)
@given(questions)
def test_every_edge_between_two_nodes_is_in_the_answer_once(q: Question) -> None:
    history, roots, direction = q
    graph = history.traverse(direction, *roots)
    edges = identities(graph.edges)
    assert len(edges) == len(set(edges))
    assert set(edges) == history.edges_within(ids(graph.nodes))


@settings(deadline=None, max_examples=300)
@given(questions)
def test_an_input_is_bound_or_ambiguous_or_of_nobody_known(q: Question) -> None:
    history, roots, direction = q
    graph = history.traverse(direction, *roots)
    taken = {
        (f"v{link.other}", f"r{link.run}", link.ordinal): (
            None if link.producer is None else f"r{link.producer}",
            link.producer is None and bool(history.productions(link)),
        )
        for link in history.links
        if link.type is EdgeType.INPUT
    }
    inputs = [edge for edge in graph.edges if edge.type is EdgeType.INPUT]
    for edge in inputs:
        assert (edge.producer, edge.ambiguous) == taken[edge.source, edge.target, edge.ordinal]
    made = {link.other for link in history.links if link.type is EdgeType.OUTPUT}
    named = {history.deployed[int(r[1:])][0] if r[0] == "d" else int(r[1:]) for r in roots if r[0] != "r"}
    bare = named - made if direction is not Direction.DOWN else set()
    unknown = [edge for edge in inputs if edge.producer is None and not edge.ambiguous]
    assert graph.completeness.ambiguous == sum(edge.ambiguous for edge in inputs)
    assert graph.completeness.unknown_producers == len(unknown) + len(bare)


@settings(deadline=None, max_examples=200)
@given(histories)
def test_upstream_and_downstream_are_the_same_rule(history: History) -> None:
    runs = [f"r{run}" for run in history.started]
    came_from = {run: ids(history.traverse(Direction.UP, run).nodes) for run in runs}
    went_into = {run: ids(history.traverse(Direction.DOWN, run).nodes) for run in runs}
    assert all((a in came_from[b]) == (b in went_into[a]) for a in runs for b in runs)


PAGES = st.lists(
    st.builds(
        Bounds,
        depth=st.none() | st.integers(1, 2),
        max_nodes=st.none() | st.integers(1, 4),
        seconds=st.none() | st.just(1.5),
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=400)
@given(questions, PAGES)
def test_all_pages_together_are_the_whole_and_nothing_is_on_two(q: Question, pages: list[Bounds]) -> None:
    history, roots, direction = q
    whole = history.traverse(direction, *roots)
    nodes: list[lineage.Node] = []
    edges: list[lineage.Edge] = []
    counts = [0, 0]
    frontier: str | None = None
    for page in range(200):
        bounds = pages[page % len(pages)]
        graph = history.traverse(direction, *roots, bounds=bounds, clock=ticking(1), frontier=frontier)
        nodes += graph.nodes
        edges += graph.edges
        counts[0] += graph.completeness.ambiguous
        counts[1] += graph.completeness.unknown_producers
        frontier = graph.completeness.frontier
        assert graph.completeness.complete == (frontier is None)
        if frontier is None:
            break
    assert sorted(nodes) == sorted(whole.nodes)
    assert sorted(identities(edges)) == sorted(identities(whole.edges))
    assert set(edges) == set(whole.edges)
    assert counts == [whole.completeness.ambiguous, whole.completeness.unknown_producers]


@settings(deadline=None, max_examples=400)
@given(questions, PAGES)
def test_an_answer_that_lacks_anything_never_says_complete(q: Question, pages: list[Bounds]) -> None:
    history, roots, direction = q
    bounds = pages[0]
    graph = history.traverse(direction, *roots, bounds=bounds, clock=ticking(1))
    completeness = graph.completeness
    is_whole = ids(graph.nodes) == history.whole(roots, direction)
    assert is_whole or not completeness.complete
    # In both directions, a Run that is there already may still have to be followed the other way.
    assert completeness.complete or not is_whole or direction is Direction.BOTH
    assert completeness.complete == (not completeness.reasons) == (completeness.frontier is None)
    assert bounds.max_nodes is None or len(graph.nodes) <= bounds.max_nodes
    if bounds.max_nodes is None and bounds.seconds is None:
        whole = history.traverse(direction, *roots)
        found = graph.nodes
        assert found == tuple(n for n in whole.nodes if bounds.depth is None or n.depth <= bounds.depth)


def test_without_the_question_what_remains_an_answer_would_say_complete_and_lack_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, asked = inspect.getsource(traversal), "    if walk.remains():\n"
    assert source.count(asked) == 1, "reworded: reword it here, and see that it is still noticed"
    wrong = types.ModuleType("whence_catalog.wrong_traversal")
    monkeypatch.setitem(sys.modules, wrong.__name__, wrong)
    exec(source.replace(asked, "    if False:\n"), wrong.__dict__)
    monkeypatch.setattr(traversal, "traverse", wrong.traverse)
    for law in (
        test_an_answer_that_lacks_anything_never_says_complete,
        test_all_pages_together_are_the_whole_and_nothing_is_on_two,
    ):
        with pytest.raises((AssertionError, BaseExceptionGroup)):
            law()


@settings(deadline=None, max_examples=100)
@given(questions)
def test_the_same_question_has_the_same_answer_to_the_last_bit(
    q: Question,
) -> None:
    history, roots, direction = q
    bounds = Bounds(max_nodes=3)
    one = history.traverse(direction, *roots, bounds=bounds)
    history.links.reverse()  # the database owes no order
    assert history.traverse(direction, *roots, bounds=bounds) == one


@settings(deadline=None, max_examples=200)
@given(histories, st.data())
def test_within_a_graph_the_same_rule_holds(history: History, data: st.DataObject) -> None:
    nodes = history.nodes()
    graph = history.traverse(Direction.BOTH, *nodes)
    node = data.draw(st.sampled_from(sorted(without_deployments(set(nodes)))))
    assert ids(paths.upstream(graph, node)) == history.reached(node, Direction.UP) - {node}
    assert ids(paths.downstream(graph, node)) == without_deployments(
        history.reached(node, Direction.DOWN)
    ) - {node}


@settings(deadline=None, max_examples=200)
@given(histories)
def test_runs_come_after_those_they_came_from(history: History) -> None:
    graph = history.traverse(Direction.BOTH, *(f"r{run}" for run in history.started))
    flows = history.flows()
    place = {node.id: place for place, node in enumerate(paths.order(graph))}
    assert place.keys() == {f"r{run}" for run in history.started}
    cyclic = any((b, a) in closure(flows) for a, b in flows)
    assert cyclic or all(place[f"r{a}"] < place[f"r{b}"] for a, b in flows)


def closure(flows: set[tuple[int, int]]) -> set[tuple[int, int]]:
    while more := {(a, d) for a, b in flows for c, d in flows if b == c} - flows:
        flows = flows | more
    return flows


# ── small cases ──────────────────────────────────────────────────────────────────────────────────


def test_upstream_follows_only_the_production_that_the_input_names() -> None:
    h = History()
    first, again = h.run(1), h.run(2)
    a = h.run(3, of=[(1, first)])
    h.run(3, of=[(2, again)])  # the same bytes, made from something else
    used = h.run(4, of=[(3, a)])
    graph = h.traverse(Direction.UP, f"r{used}")
    assert ids(graph.nodes) == {"r5", "v3", "r3", "v1", "r1"}
    assert graph.completeness == lineage.Completeness(complete=True)


def test_upstream_of_a_version_is_upstream_of_all_its_productions() -> None:
    h = History()
    h.run(3, of=[(1, h.run(1))])
    h.run(3, of=[(2, h.run(2))])
    assert ids(h.traverse(Direction.UP, "v3").nodes) == {"v3", "r1", "r2", "r3", "r4", "v1", "v2"}


def test_recording_another_production_never_changes_what_a_run_came_from() -> None:
    h = History()
    h.run(1)
    used = h.run(2, of=[(1, None)])
    before = h.traverse(Direction.UP, f"r{used}")
    h.run(1)
    assert h.traverse(Direction.UP, f"r{used}") == before
    assert before.completeness.ambiguous == 1


def test_a_version_that_nobody_is_known_to_have_made_is_counted() -> None:
    h = History()
    used = h.run(2, of=[(1, None)])
    assert h.traverse(Direction.UP, f"r{used}").completeness == lineage.Completeness(
        True, unknown_producers=1
    )
    assert h.traverse(Direction.UP, "v9").completeness == lineage.Completeness(True, unknown_producers=1)


def test_an_input_made_only_later_is_of_nobody_known_and_not_of_that_run() -> None:
    h = History()
    used = h.start((1, None))
    h.run(1)
    graph = h.traverse(Direction.UP, f"r{used}")
    assert ids(graph.nodes) == {"r1", "v1"}
    assert graph.completeness.unknown_producers == 1
    assert graph.completeness.ambiguous == 0


def test_a_reused_run_came_from_its_origin_and_from_inputs_of_its_own() -> None:
    h = History()
    raw, copy = h.run(1), h.run(2)
    origin = h.run(3, of=[(1, raw)])
    plain = h.reuse(origin)
    renamed = h.reuse(origin, (2, copy))
    assert ids(h.traverse(Direction.UP, f"r{plain}").nodes) == {"r4", "r3", "v1", "r1"}
    assert ids(h.traverse(Direction.UP, f"r{renamed}").nodes) == {"r5", "v2", "r2", "r3", "v1", "r1"}
    assert ids(h.traverse(Direction.DOWN, f"r{origin}").nodes) == {"r3", "v3", "r4", "r5"}
    reused = [e for e in h.traverse(Direction.UP, f"r{plain}").edges if e.type is EdgeType.REUSED]
    assert [(e.source, e.target) for e in reused] == [("r3", "r4")]


def test_a_run_that_makes_what_it_took_ends() -> None:
    h = History()
    run = h.run(1, of=[(1, h.run(1))])
    graph = h.traverse(Direction.UP, f"r{run}")
    assert ids(graph.nodes) == {"r2", "v1", "r1"}
    assert sorted(identities(graph.edges)) == [
        ("r1", "v1", EdgeType.OUTPUT, "out1", 0, ""),
        ("r2", "v1", EdgeType.OUTPUT, "out1", 0, ""),
        ("v1", "r2", EdgeType.INPUT, "in", 0, "r1"),
    ]


def test_a_run_said_in_one_fact_is_no_candidate_for_what_it_took() -> None:
    h = History()
    run = h.record(1, of=[(1, None)])
    assert h.traverse(Direction.UP, f"r{run}").completeness.unknown_producers == 1


def test_a_version_that_comes_back_ends_and_keeps_the_order_of_runs() -> None:
    h = History()
    there = h.run(2, of=[(1, h.run(1))])
    back = h.run(1, of=[(2, there)])
    graph = h.traverse(Direction.UP, "v1")
    assert ids(graph.nodes) == {"v1", "v2", "r1", "r2", "r3"}
    assert [node.id for node in paths.order(graph)] == ["r1", "r2", f"r{back}"]
    assert ids(paths.roots(graph)) == {"v1"}


def test_runs_that_took_from_one_another_end() -> None:
    h = History()
    one = h.start()
    other = h.start()
    h.make(one, 1)
    h.take(other, (1, one))
    h.make(other, 2)
    h.take(one, (2, other))
    graph = h.traverse(Direction.UP, "r1")
    assert ids(graph.nodes) == {"r1", "r2", "v1", "v2"}
    assert ids(paths.order(graph)) == {"r1", "r2"}
    assert ids(paths.upstream(graph, "v2")) == {"r1", "r2", "v1"}


def test_an_output_that_says_what_it_came_from_restricts_nothing() -> None:
    h = History()
    run = h.start((1, h.run(1)), (2, h.run(2)))
    h.make(run, 3, derived={3: [1]})
    graph = h.traverse(Direction.UP, "v3")
    assert {"v1", "v2"} <= ids(graph.nodes)
    derived = [edge for edge in graph.edges if edge.type is EdgeType.DERIVED]
    assert [(edge.source, edge.target, edge.producer) for edge in derived] == [("v1", "v3", f"r{run}")]


def test_the_same_version_twice_in_a_list_is_two_edges() -> None:
    h = History()
    raw = h.run(1)
    run = h.run(2, of=[(1, raw), (1, raw)])
    inputs = [e for e in h.traverse(Direction.UP, f"r{run}").edges if e.type is EdgeType.INPUT]
    assert [edge.ordinal for edge in inputs] == [0, 1]


def test_depth_counts_runs_and_a_cut_says_so() -> None:
    h = chain(4)
    graph = h.traverse(Direction.UP, "v4", bounds=Bounds(depth=2))
    assert {node.id: node.depth for node in graph.nodes} == {"v4": 0, "r4": 1, "v3": 1, "r3": 2, "v2": 2}
    assert graph.completeness.reasons == ("depth 2 reached",)
    assert not graph.completeness.complete
    further = h.traverse(Direction.UP, "v4", bounds=Bounds(depth=2), frontier=graph.completeness.frontier)
    assert {node.id: node.depth for node in further.nodes} == {"r2": 3, "v1": 3, "r1": 4}
    assert further.completeness.complete


def test_a_page_cut_by_nodes_goes_on_to_the_same_depth() -> None:
    h = chain(6)
    bounds = Bounds(depth=3, max_nodes=2)
    frontier, pages = None, []
    for _ in range(4):
        graph = h.traverse(Direction.UP, "v6", bounds=bounds, frontier=frontier)
        pages.append([node.id for node in graph.nodes])
        frontier = graph.completeness.frontier
    assert pages == [["v6", "r6"], ["v5", "r5"], ["v4", "r4"], ["v3"]]
    assert graph.completeness.reasons == ("depth 3 reached",)


def test_each_bound_names_itself() -> None:
    h = chain(9)
    nodes = h.traverse(Direction.UP, "v9", bounds=Bounds(max_nodes=3))
    seconds = h.traverse(Direction.UP, "v9", bounds=Bounds(seconds=0.5), clock=ticking(1))
    assert nodes.completeness.reasons == ("3 nodes reached",)
    assert h.traverse(Direction.UP, "v9", bounds=Bounds(9, 3)).completeness.reasons == ("3 nodes reached",)
    assert seconds.completeness.reasons == ("0.5 seconds passed",)
    assert [node.id for node in seconds.nodes] == ["v9"]


def test_an_answer_that_just_fits_its_bounds_is_complete() -> None:
    h = chain(2)
    assert h.traverse(Direction.UP, "v2", bounds=Bounds(depth=2, max_nodes=4)).completeness.complete


@pytest.mark.parametrize(
    "wrong", [{"depth": 0}, {"max_nodes": 0}, {"seconds": -1.0}, {"seconds": float("nan")}]
)
def test_bounds_that_let_nothing_through_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Bounds(**wrong)  # type: ignore[arg-type]


def test_a_level_costs_the_same_questions_however_wide_it_is() -> None:
    narrow, wide = History(), History()
    narrow.run(99, of=[(1, narrow.run(1)), (1, None)])
    wide.run(99, of=[*((v, wide.run(v)) for v in range(1, 40)), (1, None)])
    for direction, root in ((Direction.UP, "v99"), (Direction.DOWN, "r1"), (Direction.BOTH, "v99")):
        for history in (narrow, wide):
            history.asked.clear()
            history.traverse(direction, root)
        assert narrow.asked == wide.asked
        assert len(narrow.asked) <= 13


def test_a_frontier_is_good_for_its_own_traversal_only() -> None:
    h = chain(4)
    frontier = h.traverse(Direction.UP, "v4", bounds=Bounds(depth=1)).completeness.frontier
    assert frontier is not None
    for direction, root, text in (
        (Direction.DOWN, "v4", frontier),
        (Direction.UP, "v3", frontier),
        (Direction.UP, "v4", frontier[:-4]),
        (Direction.UP, "v4", frontier[:40] + "AAAA" + frontier[44:]),
        (Direction.UP, "v4", ""),
        (Direction.UP, "v4", "é"),
        (Direction.UP, "v4", "bm9uc2Vuc2U="),
    ):
        with pytest.raises(InvalidInput, match="not a frontier"):
            h.traverse(direction, root, frontier=text)


def test_roots_are_where_the_flow_begins() -> None:
    h = History()
    model = h.run(9, of=[(1, h.run(1)), (2, None), (3, h.run(3, of=[(1, 1)]))])
    assert ids(paths.roots(h.traverse(Direction.UP, f"r{model}"))) == {"v1", "v2"}


def test_a_producer_outside_the_graph_is_named_and_not_followed() -> None:
    h = History()
    a = h.run(1)
    other = h.run(2)
    h.run(3, of=[(1, a), (2, other)])
    h.run(2, of=[(1, a)])
    graph = h.traverse(Direction.DOWN, "v1")
    assert {e.producer for e in graph.edges if e.type is EdgeType.INPUT} == {"r1", f"r{other}"}
    assert [node.id for node in paths.order(graph)] == ["r3", "r4"]


def test_a_node_that_is_not_in_the_graph_is_not_found() -> None:
    with pytest.raises(NotFound, match="not in this lineage"):
        paths.upstream(chain(1).traverse(Direction.UP, "v1"), "v7")


def test_a_long_history_is_no_deeper_than_the_stack() -> None:
    graph = chain(1100).traverse(Direction.UP, "v1100")
    assert len(paths.order(graph)) == 1100


def chain(length: int) -> History:
    history = History()
    before: list[tuple[int, int | None]] = []
    for version in range(1, length + 1):
        before = [(version, history.run(version, of=before))]
    return history


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_shown_is_counted_and_takes_its_edges_with_it() -> None:
    graph = chain(4).traverse(Direction.UP, "v4", filter=Filter(show=Which(kinds=frozenset({"dataset"}))))
    assert ids(graph.nodes) == {"v4", "v3", "v1", "r4", "r3", "r2", "r1"}
    assert graph.completeness.filtered == 1
    assert all("v2" not in (edge.source, edge.target) for edge in graph.edges)


def test_where_it_stops_is_shown_and_nothing_beyond_it() -> None:
    stop = Filter(stop_at=Which(kinds=frozenset({"dataset"}), types=frozenset({NodeType.VERSION})))
    graph = chain(6).traverse(Direction.UP, "v6", filter=stop)
    assert ids(graph.nodes) == {"v6", "r6", "v5"}
    assert graph.completeness.complete
    assert ids(chain(6).traverse(Direction.DOWN, "r1", filter=stop).nodes) == {"r1", "v1"}


def test_what_is_gone_through_counts_as_no_hop_and_is_not_shown() -> None:
    through = Filter(pass_through=Which(projects=frozenset({"project 0"}), types=frozenset({NodeType.RUN})))
    graph = chain(6).traverse(Direction.UP, "r5", bounds=Bounds(depth=1), filter=through)
    assert {node.id: node.depth for node in graph.nodes} == {
        "r5": 0,
        "v4": 0,
        "v3": 0,
        "r3": 1,
        "v2": 1,
        "v1": 1,
    }


def test_a_reused_run_is_shown_as_its_origin_and_makes_no_edge() -> None:
    h = History()
    origin = h.run(2, of=[(1, h.run(1))])
    again = h.reuse(origin)
    collapse = Filter(collapse_reuse=True)
    graph = h.traverse(Direction.DOWN, "v1", f"r{origin}", filter=collapse)
    assert f"r{again}" not in ids(graph.nodes)
    assert graph.completeness.filtered == 1
    assert f"r{again}" in ids(h.traverse(Direction.UP, f"r{again}", filter=collapse).nodes)


def test_a_filter_does_not_speak_of_other_projects() -> None:
    silent_of = Filter(show=Which(kinds=frozenset({"model"})), within=frozenset({"project 0"}))
    graph = chain(4).traverse(Direction.UP, "v4", filter=silent_of)
    assert {"v1", "v3"} <= ids(graph.nodes)


@settings(deadline=None, max_examples=200)
@given(questions, PAGES)
def test_a_filtered_answer_pages_as_the_whole_does(q: Question, pages: list[Bounds]) -> None:
    history, roots, direction = q
    wanted = Filter(
        show=Which(kinds=frozenset({"dataset"})),
        stop_at=Which(states=frozenset({"tainted"}), types=frozenset({NodeType.VERSION})),
        pass_through=Which(labels=frozenset({("parity", "odd")}), types=frozenset({NodeType.RUN})),
        collapse_reuse=True,
    )
    whole = history.traverse(direction, *roots, filter=wanted)
    assert {(e.source, e.target) for e in whole.edges} <= {
        (s, t) for s, t, *_ in history.edges_within(ids(history.traverse(direction, *roots).nodes))
    }
    nodes: list[lineage.Node] = []
    edges: list[lineage.Edge] = []
    frontier, filtered = None, 0
    for page in range(200):
        graph = history.traverse(
            direction,
            *roots,
            bounds=pages[page % len(pages)],
            clock=ticking(1),
            frontier=frontier,
            filter=wanted,
        )
        nodes += graph.nodes
        edges += graph.edges
        filtered += graph.completeness.filtered
        frontier = graph.completeness.frontier
        if frontier is None:
            break
    assert sorted(n.id for n in nodes) == sorted(n.id for n in whole.nodes)
    assert sorted(identities(edges)) == sorted(identities(whole.edges))
    assert filtered == whole.completeness.filtered


@settings(deadline=None, max_examples=300)
@given(questions, PAGES, st.sampled_from([EVERYTHING, Filter(show=Which(kinds=frozenset({"dataset"})))]))
def test_hidden_neighbours_are_those_that_are_on_no_page_yet(
    q: Question, pages: list[Bounds], wanted: Filter
) -> None:
    history, roots, direction = q
    seen: set[str] = set()
    frontier: str | None = None
    for page in range(200):
        bounds = pages[page % len(pages)]
        plain = history.traverse(
            direction, *roots, bounds=bounds, clock=ticking(1), frontier=frontier, filter=wanted
        )
        graph = history.traverse_with_hidden(
            direction, *roots, bounds=bounds, clock=ticking(1), frontier=frontier, filter=wanted
        )
        uncounted = [n._replace(hidden_upstream=None, hidden_downstream=None) for n in graph.nodes]
        assert (list(plain.nodes), plain.edges, plain.completeness) == (
            uncounted,
            graph.edges,
            graph.completeness,
        )
        seen |= ids(graph.nodes)
        frontier = graph.completeness.frontier
        for node in graph.nodes:
            up, down = history.beside(node.id)
            hidden = (node.hidden_upstream, node.hidden_downstream)
            is_all = frontier is None and wanted == EVERYTHING
            assert hidden == ((0, 0) if is_all else (len(up - seen), len(down - seen))), node
        if frontier is None:
            break


def test_a_frontier_is_of_one_filter_and_one_position() -> None:
    h = chain(4)
    frontier = h.traverse(Direction.UP, "v4", bounds=Bounds(depth=1)).completeness.frontier
    for other in ({"filter": Filter(collapse_reuse=True)}, {"as_of": 3}):
        with pytest.raises(InvalidInput, match="not a frontier"):
            h.traverse(Direction.UP, "v4", frontier=frontier, **other)  # type: ignore[arg-type]
