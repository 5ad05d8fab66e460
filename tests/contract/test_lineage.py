"""Lineage of random histories, beside what networkx says of them; on each database, and over HTTP."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import histories
from tests.contract.conftest import CATALOGS
from whence_catalog import catalog, lineage
from whence_catalog.lineage import Bounds, Direction, EdgeType, Filter, NodeType, Which

WHOLE = Bounds(max_nodes=None)
# How many histories each is asked about: to make one costs far more than to ask.
EXAMPLES = {"sqlite": 40, "postgresql": 12, "http-sqlite": 8, "http-postgresql": 4}
SEEDS, ACTS = st.integers(0, 2**32), st.integers(1, 22)
opened = pytest.mark.parametrize("kind", sorted(EXAMPLES))


def on(kind: str, folder: Path, seed: int) -> AbstractContextManager[catalog.Catalog]:
    """An empty catalog."""
    (folder / str(seed)).mkdir(exist_ok=True)
    for left in (folder / str(seed)).glob("catalog.db*"):
        left.unlink()
    return CATALOGS[kind](folder / str(seed))


def asking(kind: str, test: Callable[[catalog.Catalog, histories.Told, Random], None], folder: Path) -> None:
    """The test, of many histories."""

    @settings(
        deadline=None,
        max_examples=EXAMPLES[kind],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(SEEDS, ACTS)
    def each(seed: int, acts: int) -> None:
        with on(kind, folder, seed) as empty:
            test(empty, histories.record(empty, seed, acts), Random(seed))

    each()


def identities(graph: lineage.Graph) -> set[tuple[str, str, str, str | None]]:
    return {
        (e.source, e.target, e.type.value, e.producer) for e in graph.edges if e.type is not EdgeType.DERIVED
    }


def names(graph: lineage.Graph) -> set[str]:
    return {node.id for node in graph.nodes}


def whole(told: histories.Told, roots: list[str], direction: Direction, as_of: int | None) -> set[str]:
    return set().union(*(told.reached(root, direction, as_of) for root in roots))


def of_type(graph: lineage.Graph, type: NodeType) -> list[str]:
    return sorted(node.id for node in graph.nodes if node.type is type)


def _check(
    asked: catalog.Catalog, told: histories.Told, roots: list[str], direction: Direction, as_of: int | None
) -> None:
    graph = asked.lineage(roots, direction, WHOLE, as_of=as_of)
    nodes = whole(told, roots, direction, as_of)
    assert graph.completeness.complete
    assert names(graph) == nodes
    assert len(graph.nodes) == len(nodes)
    assert identities(graph) == told.edges(nodes, as_of)
    ambiguous, unknown = told.ambiguous(nodes, as_of)
    assert (graph.completeness.ambiguous, graph.completeness.unknown_producers) == (ambiguous, unknown)
    closure = asked.closure(roots, direction, as_of=as_of)
    assert sorted([*closure.runs, *closure.versions, *closure.deployments]) == sorted(nodes)
    assert closure.completeness == graph.completeness
    for node in graph.nodes:
        if node.type is NodeType.VERSION:
            assert node.state == told.state(node.id, as_of)


@opened
def test_lineage_is_what_the_rule_reaches(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        for direction in Direction:
            for root in told.nodes():
                _check(asked, told, [root], direction, None)
            _check(asked, told, chance.choices(told.nodes(), k=2), direction, None) if told.nodes() else None

    asking(kind, test, tmp_path)


@opened
def test_lineage_as_of_a_position_is_what_was_known_then(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        as_of = chance.randint(0, told.position)
        for direction in Direction:
            for root in told.nodes(as_of):
                _check(asked, told, [root], direction, as_of)

    asking(kind, test, tmp_path)


@opened
def test_all_pages_together_are_the_whole_whatever_is_recorded_meanwhile(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        if not told.nodes():
            return
        roots, direction = chance.choices(told.nodes(), k=2), chance.choice(list(Direction))
        as_of = told.position
        nodes = whole(told, roots, direction, as_of)
        edges = told.edges(nodes, as_of)
        found: list[str] = []
        seen: list[tuple[str, str, str, str | None]] = []
        frontier: str | None = None
        more = histories._Recorder(told, chance)
        while True:
            bounds = Bounds(chance.choice([None, 1, 2]), chance.randint(1, 4))
            graph = asked.lineage(roots, direction, bounds, frontier)
            found += [node.id for node in graph.nodes]
            seen += [
                (e.source, e.target, e.type.value, e.producer)
                for e in graph.edges
                if e.type is not EdgeType.DERIVED
            ]
            frontier = graph.completeness.frontier
            assert graph.completeness.complete == (frontier is None)
            if frontier is None:
                break
            more.record()
        assert sorted(found) == sorted(nodes)
        assert set(seen) == edges

    asking(kind, test, tmp_path)


@opened
def test_a_closure_is_the_lineage_of_the_same_depth_by_its_ids(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        as_of = chance.choice([None, chance.randint(0, told.position)])
        if not (known := told.nodes(as_of)):
            return
        for direction in Direction:
            for depth in (1, 2, 3):
                roots = chance.choices(known, k=2)
                graph = asked.lineage(roots, direction, Bounds(depth, None), as_of=as_of)
                found = asked.closure(roots, direction, depth, as_of)
                assert sorted(found.runs) == of_type(graph, NodeType.RUN)
                assert sorted(found.versions) == of_type(graph, NodeType.VERSION)
                assert sorted(found.deployments) == of_type(graph, NodeType.DEPLOYMENT)
                assert found.completeness == replace(graph.completeness, frontier=None)

    asking(kind, test, tmp_path)


@opened
def test_a_stream_is_the_whole_in_pages(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        as_of = chance.choice([None, chance.randint(0, told.position)])
        if not (known := told.nodes(as_of)):
            return
        for direction in Direction:
            for depth in (None, 2):
                roots, filter = chance.choices(known, k=2), a_filter(chance)
                bounds = Bounds(depth, None)
                graph = asked.lineage(roots, direction, bounds, filter=filter, as_of=as_of)
                pages = list(asked.lineage_pages(roots, direction, depth, filter, as_of))
                assert [node for page in pages for node in page.nodes] == list(graph.nodes)
                assert {edge for page in pages for edge in page.edges} == set(graph.edges)
                assert pages[-1].completeness.complete == graph.completeness.complete

    asking(kind, test, tmp_path)


def a_which(chance: Random) -> Which:
    """Some nodes, by one or two of all that can be said of them."""
    said: dict[str, frozenset[object]] = {}
    for name in chance.sample(["kinds", "states", "labels", "types", "projects"], chance.choice([1, 1, 2])):
        some: dict[str, list[object]] = {
            "kinds": ["dataset", "model"],
            "states": ["live", "tainted", "quarantined", "complete", "running", "reused", "serving"],
            "labels": [("team", "a"), ("team", "b")],
            "types": list(NodeType),
            "projects": ["default", "elsewhere"],
        }
        said[name] = frozenset(chance.sample(some[name], 1 if name == "labels" else chance.randint(1, 2)))
    return Which(**said)  # type: ignore[arg-type]


def a_filter(chance: Random) -> Filter:
    """A filter of one or several parts."""
    return Filter(
        show=chance.choice([Which(), a_which(chance)]),
        stop_at=chance.choice([None, a_which(chance)]),
        pass_through=chance.choice([None, a_which(chance)]),
        collapse_reuse=chance.random() < 0.5,
    )


@opened
def test_a_filter_leaves_what_it_says_and_pages_as_the_whole_does(kind: str, tmp_path: Path) -> None:
    def test(asked: catalog.Catalog, told: histories.Told, chance: Random) -> None:
        as_of = chance.choice([None, chance.randint(0, told.position)])
        if not (known := told.nodes(as_of)):
            return
        for direction in Direction:
            roots, filter = chance.choices(known, k=2), a_filter(chance)
            all_there_is = asked.lineage(roots, direction, WHOLE, as_of=as_of).nodes
            nodes = {node.id: node for node in all_there_is}
            reached, shown = told.shown(roots, direction, filter, nodes, as_of)
            graph = asked.lineage(roots, direction, WHOLE, filter=filter, as_of=as_of)
            assert graph.completeness.complete
            assert names(graph) == shown
            assert graph.completeness.filtered == len(reached) - len(shown)
            assert identities(graph) == told.edges(shown, as_of)
            pages: list[lineage.Graph] = []
            frontier: str | None = None
            while not pages or frontier is not None:
                bounds = Bounds(chance.choice([None, 1, 2]), chance.randint(1, 4))
                pages.append(asked.lineage_with_hidden(roots, direction, bounds, frontier, filter, as_of))
                frontier = pages[-1].completeness.frontier
            assert sorted(n.id for page in pages for n in page.nodes) == sorted(shown)
            assert set().union(*map(identities, pages)) == identities(graph)
            assert sum(page.completeness.filtered for page in pages) == graph.completeness.filtered
            flows = {(source, target) for source, target, *_ in told.edges(set(known), as_of)}
            seen: set[str] = set()
            for page in pages:
                seen |= names(page)
                is_all = page.completeness.complete and filter == Filter()
                for node in page.nodes:
                    up, down = (
                        {a for a, b in some if b == node.id} for some in (flows, {e[::-1] for e in flows})
                    )
                    hidden = (node.hidden_upstream, node.hidden_downstream)
                    assert hidden == ((0, 0) if is_all else (len(up - seen), len(down - seen)))

    asking(kind, test, tmp_path)
