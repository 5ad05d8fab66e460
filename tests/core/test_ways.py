"""Closures and ways, beside what networkx says of the same productions."""

from collections.abc import Iterable, Sequence

import networkx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.core.test_lineage import ACTS, SEEDS, History, chain, random_history
from whence_catalog import closure, flow, ways
from whence_catalog.closure import Start
from whence_catalog.lineage import EdgeType, Link, NodeKey


class Told:
    """A history, as `flow.Edges` tell it."""

    def __init__(self, history: History) -> None:
        self.of = history

    def taken_by(self, runs: Sequence[int]) -> list[flow.Took]:
        return [
            (run, self.of.started[run], self.of.origins.get(run), *rest)
            for run in runs
            for rest in [
                (x.role, x.ordinal, x.other, x.producer)
                for x in self.of.links
                if x.type is EdgeType.INPUT and x.run == run
            ]
            or [(None, None, None, None)]
        ]

    def _made(self, links: Iterable[Link]) -> list[flow.Made]:
        return [(x.run, x.role, x.other, x.position, 0) for x in links if x.type is EdgeType.OUTPUT]

    def made_by(self, runs: Sequence[int]) -> list[flow.Made]:
        return self._made(x for x in self.of.links if x.run in runs)

    def producers_of(self, versions: Sequence[int]) -> list[flow.Made]:
        return self._made(x for x in self.of.links if x.other in versions)

    def consumers_of(self, versions: Sequence[int]) -> list[flow.Taken]:
        return [
            (x.run, self.of.started[x.run], x.other, x.producer)
            for x in self.of.links
            if x.type is EdgeType.INPUT and x.other in versions
        ]

    def reuses_of(self, runs: Sequence[int]) -> list[int]:
        return [run for run, origin in self.of.origins.items() if origin in runs]


histories = st.builds(random_history, SEEDS, ACTS)
starts = st.one_of(
    st.integers(1, 5).map(lambda version: Start(version=version)),
    st.integers(1, 4).map(lambda run: Start(run=run)),
)


def is_there(history: History, start: Start) -> bool:
    return start.version > 0 or start.run in history.started


def plain(history: History) -> "networkx.DiGraph[object]":
    """Runs, productions, and the Versions that a question may begin or end with."""
    graph: networkx.DiGraph[object] = networkx.DiGraph()
    for run in history.started:
        graph.add_node(f"r{run}")
    for link in history.links:
        if link.type is EdgeType.OUTPUT:
            graph.add_edge(f"r{link.run}", (link.run, link.other))
            graph.add_edge((link.run, link.other), f"to v{link.other}")
        if link.type is EdgeType.REUSED:
            graph.add_edge(f"r{link.other}", f"r{link.run}")
        if link.type is EdgeType.INPUT:
            graph.add_edge(f"from v{link.other}", f"r{link.run}")
            for producer in history.productions(link):
                graph.add_edge((producer, link.other), f"r{link.run}")
                graph.add_edge(f"r{producer}", (producer, link.other))
    for version in range(1, 6):
        graph.add_node(f"from v{version}")
        graph.add_node(f"to v{version}")
    return graph


def end_of(start: Start, side: str) -> str:
    return f"{side} v{start.version}" if start.version else f"r{start.run}"


def names(keys: "set[NodeKey] | tuple[NodeKey, ...]") -> list[str]:
    return [f"{'v' if key % 3 else 'r'}{key // 3}" for key in keys]


def plain_way(way: list[object]) -> tuple[str, ...]:
    """A way as its nodes are named."""
    shown = []
    for node in way:
        text = f"v{node[1]}" if isinstance(node, tuple) else str(node)
        shown.append(text.removeprefix("from ").removeprefix("to "))
    # A production and the Version that a question ends with are one node.
    return tuple(text for place, text in enumerate(shown) if shown[place - 1 : place] != [text])


def run_simple(way: tuple[str, ...]) -> bool:
    runs = [node for node in way if node[0] == "r"]
    return len(runs) == len(set(runs))


@settings(deadline=None, max_examples=200)
@given(histories, starts)
def test_what_came_from_a_thing_is_what_networkx_reaches_and_each_way_there_is_a_shortest(
    history: History, start: Start
) -> None:
    assume(is_there(history, start))
    graph = plain(history)
    found = closure.downstream(Told(history), start)
    reached = networkx.descendants(graph, end_of(start, "from")) | {end_of(start, "from")}
    assert set(names({*[closure.run_key(run) for run in found.runs]})) == {
        node for node in reached if isinstance(node, str) and node[0] == "r"
    }
    assert found.versions.keys() == {int(node[4:]) for node in reached if str(node).startswith("to v")}
    ways = found.ways()
    assert list(ways.versions) == [version for version in found.versions if version != start.version]
    for number, version in enumerate(ways.versions):
        way = tuple(names(ways.way(number)))
        shortest = networkx.all_shortest_paths(graph, end_of(start, "from"), f"to v{version}")
        assert way in {plain_way(some) for some in shortest}
    depths = [depth for _, depth in found.depths() if depth]
    assert len({key for key, _ in found.depths()}) == len(list(found.depths()))
    assert all(depth <= len(found.levels) for depth in depths)


@settings(deadline=None, max_examples=200)
@given(histories, starts)
def test_what_a_thing_came_from_is_what_networkx_reaches_backwards(history: History, start: Start) -> None:
    assume(is_there(history, start))
    graph = plain(history)
    found = closure.upstream(Told(history), start)
    reached = networkx.ancestors(graph, end_of(start, "to")) | {end_of(start, "to")}
    runs = {node for node in reached if str(node)[0] == "r"}
    assert set(names({*[closure.run_key(run) for run in found.runs]})) == runs
    taken = {x.other for x in history.links if x.type is EdgeType.INPUT and f"r{x.run}" in runs}
    assert found.versions.keys() == taken
    # The flow begins with what nobody made, and with productions of Runs that took nothing.
    fed = {x.run for x in history.links if x.type in (EdgeType.INPUT, EdgeType.REUSED)}
    begins = {node[1] for node in reached if isinstance(node, tuple) and node[0] not in fed}
    begins |= {
        x.other
        for x in history.links
        if x.type is EdgeType.INPUT and f"r{x.run}" in runs and not history.productions(x)
    }
    made = {x.other for x in history.links if x.type is EdgeType.OUTPUT}
    begins |= {start.version} - made - {0}
    assert found.roots == begins


@settings(deadline=None, max_examples=200)
@given(histories, st.lists(starts, min_size=2, max_size=3))
def test_common_ancestors_are_the_intersection(history: History, some: list[Start]) -> None:
    assume(all(is_there(history, start) for start in some))
    closures = [closure.upstream(Told(history), start) for start in some]
    each = [dict(found.depths()) for found in closures]
    expected = set(each[0]).intersection(*each[1:])
    listed = closure.common(closures)
    assert {key for _, key in listed} == expected
    assert list(listed) == sorted(listed)
    assert all(depth == max(found[key] for found in each) for depth, key in listed)


@settings(deadline=None, max_examples=300)
@given(histories, starts, starts, st.integers(1, 6))
def test_ways_are_the_shortest_that_networkx_finds(
    history: History, start: Start, end: Start, limit: int
) -> None:
    assume(is_there(history, start) and is_there(history, end))
    found = ways.find(Told(history), start, end, limit)
    graph = plain(history)
    every = {
        way
        for some in networkx.all_simple_paths(graph, end_of(start, "from"), end_of(end, "to"))
        if run_simple(way := plain_way(some))
    }
    if start == end:
        every.add((names((start.key,))[0],))
    hops = sorted(sum(node[0] == "r" for node in way) for way in every)
    shown = [tuple(names(way)) for way in found.found]
    assert len(shown) == len(set(shown))
    assert set(shown) <= every
    assert [sum(node[0] == "r" for node in way) for way in shown] == hops[:limit]
    assert bool(found.reasons) == (len(every) > limit)
    assert ways.find(Told(history), start, end, limit) == found


def test_a_search_that_met_its_bound_says_so() -> None:
    history = chain(400)
    cut = ways.find(Told(history), Start(version=1), Start(version=400), 3, most=50)
    assert cut.found == ()
    assert "runs searched" in cut.reasons[0]
    whole = ways.find(Told(history), Start(version=1), Start(version=400), 3)
    assert [len(way) for way in whole.found] == [799]
    assert whole.reasons == ()


def test_ways_that_multiply_are_not_all_walked() -> None:
    history = History()
    left = right = history.run(1)
    one = other = 1
    for version in range(2, 120, 2):
        took = [(one, left), (other, right)]
        left, right = history.run(version, of=took), history.run(version + 1, of=took)
        one, other = version, version + 1
    found = ways.find(Told(history), Start(version=1), Start(version=118), 5)
    assert len({len(way) for way in found.found}) == 1
    assert len(set(found.found)) == 5
    assert found.reasons == ("limit 5 reached",)


def test_near_ends_of_a_long_history_are_not_searched_from_end_to_end() -> None:
    history = chain(3000)
    found = ways.find(Told(history), Start(version=1500), Start(version=1503), 1)
    assert [len(way) for way in found.found] == [7]


def test_a_way_counts_the_steps_that_may_have_been_another_productions() -> None:
    history = History()
    history.run(2, of=[(1, history.run(1))])
    history.run(3, of=[(2, None)])
    found = ways.find(Told(history), Start(version=1), Start(version=3), 5)
    assert (len(found.found), found.unsure) == (1, 1)


def test_the_roots_of_a_run_that_was_reused_are_its_origins() -> None:
    history = History()
    origin = history.run(2, of=[(1, history.run(1))])
    again = history.reuse(origin)
    found = closure.upstream(Told(history), Start(run=again))
    assert [names((key,))[0] for _, key in closure.roots([found])] == ["v1"]


@pytest.mark.parametrize("length", [1, 2, 30])
def test_depth_counts_runs(length: int) -> None:
    history = chain(length)
    up = dict(closure.upstream(Told(history), Start(version=length)).depths())
    assert max(up.values()) == length
    down = dict(closure.downstream(Told(history), Start(run=1)).depths())
    assert max(down.values()) == length - 1
