"""What it costs to ask where something came from, in a deep history."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import beside, history, measure, raw
from whence_catalog import lineage

# Ours answers with values (references, times, states), the floor with rows.
_GOAL = 6.0
_OPERATIONS = {5: 8, 20: 2, None: 1}


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, in a history of that many runs."""
    return [
        measure.Benchmark(
            f"lineage-{depth or 'whole'}-{runs // 1000}k",
            _GOAL,
            measure.Clock.CPU,
            partial(_upstream, runs, depth),
            operations=operations,
        )
        for depth, operations in _OPERATIONS.items()
    ]


@contextmanager
def _upstream(runs: int, depth: int | None) -> Iterator[measure.Contenders]:
    with beside.reading(history.file(runs)) as both:
        last = history.uid(runs - 1)
        bounds = lineage.Bounds(depth=depth, max_nodes=None)
        ours = partial(both.ours.lineage, [str(last)], lineage.Direction.UP, bounds)
        floor = partial(raw.upstream, both.floor, last.bytes, depth)
        graph, rows = ours(), floor()
        assert len(graph.edges) == sum(row[3] is not None for row in rows.taken) + len(rows.made)
        yield measure.Contenders(lambda: ours, lambda: floor)
