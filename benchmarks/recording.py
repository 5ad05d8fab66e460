"""What it costs to record: a run in one call, a hundred in one call, a step in two."""

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import history, measure, raw
from whence_catalog import cache, model
from whence_catalog.sql import catalog


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, on a catalog that holds a history of that many runs."""
    wall, cpu = measure.Clock.WALL, measure.Clock.CPU
    return [
        measure.Benchmark("record-one-full", 1.5, wall, partial(_records, runs, 1, "FULL"), operations=20),
        measure.Benchmark("record-one-normal", 2.0, cpu, partial(_records, runs, 1, "NORMAL"), operations=40),
        measure.Benchmark("record-100", 2.0, cpu, partial(_records, runs, 100, "FULL")),
        measure.Benchmark("step", 1.5, wall, partial(_steps, runs), operations=10),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A catalog and a raw connection, each to a copy of the same history of its own."""

    catalog: catalog.SqlCatalog
    raw: raw.Connection
    folder: Path


@contextmanager
def pair(runs: int, synchronous: str = "FULL") -> Iterator[Pair]:
    """Both, in a folder that goes away with them."""
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        folder = Path(name)
        ours = catalog.SqlCatalog.open(history.copied(runs, folder / "ours.db"), synchronous=synchronous)
        floor = raw.connect(history.copied(runs, folder / "floor.db"), synchronous)
        try:
            yield Pair(ours, floor, folder)
        finally:
            ours.close()
            floor.close()


@contextmanager
def _records(runs: int, many: int, synchronous: str) -> Iterator[measure.Contenders]:
    with pair(runs, synchronous) as both:
        ours, floor = itertools.count(runs), itertools.count(runs)

        def whence() -> Callable[[], object]:
            items = [_said(place, runs) for place in itertools.islice(ours, many)]
            return partial(_all_well, partial(both.catalog.record_runs, items))

        def raw_sql() -> Callable[[], object]:
            rows = [
                raw.recorded(*_said(place, runs), history.at(place)) for place in itertools.islice(floor, many)
            ]
            return partial(raw.committed, both.raw, partial(_record_rows, both.raw, rows))

        yield measure.Contenders(whence, raw_sql, both.folder if synchronous == "FULL" else None)
