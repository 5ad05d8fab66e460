"""What it costs to ask where something came from, in a deep history."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import beside, history, measure, raw
from whence_catalog import lineage

# Ours answers with values (references, times, states), the floor with rows: what holds, and what to get to.
_GOALS = {5: (3.5, 1.5), 20: (3.0, 1.5), None: (3.0, 1.5)}
_OPERATIONS = {5: 8, 20: 2, None: 1}
# Ours answers with ids as they can be given back, the floor with what these are made of.
_CLOSURE_GOAL, _CLOSURE_TO_GET_TO = 1.6, 1.3


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, in a history of that many runs."""
    return [
        *(
            measure.Benchmark(
                f"lineage-{depth or 'whole'}-{runs // 1000}k",
                goal,
                measure.Clock.CPU,
                partial(_upstream, runs, depth),
                operations=_OPERATIONS[depth],
                stretch=to_get_to,
            )
            for depth, (goal, to_get_to) in _GOALS.items()
        ),
        measure.Benchmark(
            f"closure-{runs // 1000}k",
            _CLOSURE_GOAL,
            measure.Clock.CPU,
            partial(_closure, runs),
            stretch=_CLOSURE_TO_GET_TO,
        ),
    ]


@contextmanager
def _upstream(runs: int, depth: int | None) -> Iterator[measure.Contenders]:
    with beside.reading(history.file(runs)) as both:
        last = history.uid(runs - 1)
        bounds = lineage.Bounds(depth=depth, max_nodes=None)
        ask = partial(both.ours.lineage, [str(last)], lineage.Direction.UP, bounds)
        ours = partial(_looked_at, ask)
        floor = partial(raw.upstream, both.floor, last.bytes, depth)
        (nodes, edges), rows = ours(), floor()
        # At the bound the floor names the runs beyond it, which are on the edges of ours and no nodes.
        assert len(nodes) <= len(rows.runs) + len(rows.versions)
        assert len(edges) == sum(row[3] is not None for row in rows.taken) + len(rows.made)
        yield measure.Contenders(lambda: ours, lambda: floor)


def _looked_at(ask: Callable[[], lineage.Graph]) -> tuple[tuple[lineage.Node, ...], tuple[lineage.Edge, ...]]:
    """Every node and edge of an answer, which makes each of them only when somebody looks."""
    graph = ask()
    return graph.nodes, graph.edges


@contextmanager
def _closure(runs: int) -> Iterator[measure.Contenders]:
    with beside.reading(history.file(runs)) as both:
        last = history.uid(runs - 1)
        ours = partial(both.ours.closure, [str(last)], lineage.Direction.UP)
        floor = partial(raw.closure, both.floor, last.bytes)
        found, (its_runs, its_versions, _) = ours(), floor()
        assert (len(found.runs), len(found.versions)) == (len(its_runs), len(its_versions))
        yield measure.Contenders(lambda: ours, lambda: floor)
