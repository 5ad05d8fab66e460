"""What it costs that reads are watched: each event of Python's audit asks every hook, even where it wants none.

A hook cannot be removed, and one alone makes `id()`, and all that calls it, several times slower. So there are
rows for a process whose steps are not watched (which must not pay), for one in which no watched step runs
any more, and for the inside of one. The floor is a process without a hook; see `hooked`.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import measure

_ROOT = Path(__file__).parent.parent
# What an open may take more, in seconds, and one of a file that was not opened before: the floor is given as much.
_AN_OPEN, _A_NEW_FILE = 1e-6, 2e-6


def benchmarks() -> list[measure.Benchmark]:
    """All of this module."""
    return [
        _benchmark("id", "off", 1.05),
        _benchmark("deepcopy", "off", 1.05),
        _benchmark("open", "off", 1.1),
        _benchmark("id", "idle", 9.0),
        _benchmark("id", "noting", 9.0),
        _benchmark("deepcopy", "idle", 3.0),
        _benchmark("deepcopy", "noting", 3.0),
        _benchmark("open", "idle", 1.0, _AN_OPEN),
        _benchmark("open", "noting", 1.0, _AN_OPEN),
        _benchmark("open-new", "noting", 1.0, _A_NEW_FILE),
    ]


def _benchmark(work: str, how: str, goal: float, given: float = 0.0) -> measure.Benchmark:
    return measure.Benchmark(
        f"hook-{how}-{work}", goal, measure.Clock.CPU, partial(_beside, work, how, given), unit="µs"
    )


@contextmanager
def _beside(work: str, how: str, given: float) -> Iterator[measure.Contenders]:
    with _started(how) as ours, _started("bare") as floor:

        def allowed() -> measure.Spent:
            spent = floor(work)
            return measure.Spent(spent.wall + given, spent.cpu + given)

        yield measure.Contenders(lambda: partial(ours, work), lambda: allowed)


@contextmanager
def _started(how: str) -> Iterator[Callable[[str], measure.Spent]]:
    """Has a process do some work, and answers what one of it took."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.hooked", how],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said, answers = process.stdin, process.stdout

    def call(work: str) -> measure.Spent:
        said.write(f"{work}\n")
        said.flush()
        return measure.Spent(*json.loads(answers.readline() or "null"))

    try:
        assert answers.readline() == "ready\n", f"{how} did not begin"
        yield call
    finally:
        said.close()  # it ends by itself
        process.wait()
        answers.close()
