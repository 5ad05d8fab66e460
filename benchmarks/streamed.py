"""What a process holds that hands out a whole lineage page by page: `python -m benchmarks.streamed FILE RUN` tells it.

Measured is anonymous memory above that of the same process before the first page: pages of the database that are mapped
are the system's, and are let go of when somebody else needs them. SQLite's own cache, 64 MB, is counted.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import history, measure
from whence_catalog import lineage
from whence_catalog.sql import catalog

_BUDGET = 256e6
# Held to what it may hold at a million edges; a history of 100,000 runs has 425,000.
_GOAL = 1.0


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, in a history of that many runs."""
    return [
        measure.Benchmark(
            f"stream-memory-{runs // 1000}k", _GOAL, measure.Clock.MEMORY, partial(_streamed, runs), unit="MB"
        )
    ]


@contextmanager
def _streamed(runs: int) -> Iterator[measure.Contenders]:
    file = history.file(runs)
    command = [sys.executable, "-m", "benchmarks.streamed", str(file), str(history.uid(runs - 1))]

    def ours() -> measure.Spent:
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        return measure.Spent(**json.loads(told.stdout))

    def budget() -> measure.Spent:
        return measure.Spent(wall=1.0, cpu=1.0, memory=_BUDGET)

    yield measure.Contenders(lambda: ours, lambda: budget)


def tell(file: Path, run: str) -> dict[str, float]:
    """Walk it all; answers the seconds, and the most that was held at the end of a page."""
    opened = catalog.SqlCatalog.open(file)
    began, cpu = time.perf_counter(), time.process_time()
    list(opened.lineage_pages([run], lineage.Direction.UP, depth=1))
    idle, most = _held(), 0.0
    for page in opened.lineage_pages([run], lineage.Direction.UP):
        assert page.nodes is not None
        assert page.edges is not None
        most = max(most, _held() - idle)
    opened.close()
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": most}


def _held() -> float:
    told = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in told if line.startswith("RssAnon"))


if __name__ == "__main__":
    print(json.dumps(tell(Path(sys.argv[1]), sys.argv[2])))
