"""Builds a catalog of as many runs as are asked for: `python -m benchmarks.build --runs N [--url URL]`.

Through the catalog's own verbs, `record_runs` before all, so that it is what recording would have made of it. It
can be ended at any time, and goes on where it was when it is told to again: a longer catalog is a shorter one gone on
with. Without a URL it is an embedded one under the temporary folder, or with `--postgresql` a server of its own that
is kept there, and stopped when this ends: the benchmarks of growth find both.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import grown, history, kept
from whence_catalog.catalog import Catalog, Result
from whence_catalog.errors import WhenceError
from whence_catalog.sql import catalog

R = TypeVar("R")

# How many runs are recorded in one call, and how often it is told how far it is.
BATCH = 500
_SECONDS = 5.0


def folder() -> Path:
    """Where what is built is kept."""
    return Path(tempfile.gettempdir()) / "whence-benchmarks"


def file(runs: int) -> Path:
    """The embedded catalog of that many runs, if it was built."""
    return folder() / f"grown-{runs}.db"


def server(runs: int) -> Path:
    """The folder of the PostgreSQL server that holds that many runs, if it was built."""
    return folder() / f"pg-{runs}"


def build(into: Catalog, runs: int, told: Callable[[int, float], None] = lambda done, rate: None) -> int:
    """Have `into` hold the first `runs` runs of the history; answers how many were recorded now.

    `told` is called every few seconds with how many it holds, and how many a second were recorded since.
    """
    begins = held(into, runs)
    began = looked = time.monotonic()
    since = begins
    for first in range(begins, runs, BATCH):
        last = min(first + BATCH, runs)
        _said(into, first, last)
        if time.monotonic() - looked >= _SECONDS:
            told(last, (last - since) / (time.monotonic() - looked))
            looked, since = time.monotonic(), last
    told(runs, (runs - begins) / max(time.monotonic() - began, 1e-9))
    return runs - begins


def held(into: Catalog, runs: int) -> int:
    """How many of the first `runs` runs it holds for certain: whole batches, since each is one transaction."""
    low, high = 0, runs // BATCH
    while low < high:
        middle = (low + high + 1) // 2
        if into.named_runs([history.uid(middle * BATCH - 1)]):
            low = middle
        else:
            high = middle - 1
    # What comes after a batch's runs (aliases, deployments) may be missing: said again, it changes nothing.
    if low:
        _said_of(into, (low - 1) * BATCH, low * BATCH)
    return low * BATCH


def next_place(into: Catalog) -> int:
    """The first place whose run it does not hold, where those before it were recorded in order."""
    low, high = 0, 1
    while into.named_runs([history.uid(high)]):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if into.named_runs([history.uid(middle)]) else (low, middle)
    return high


def _said(into: Catalog, first: int, last: int) -> None:
    _good(into.record_runs([grown.whole(place) for place in range(first, last)]))
    _said_of(into, first, last)


def _said_of(into: Catalog, first: int, last: int) -> None:
    places = range(first, last)
    moves = [grown.move(place) for place in places if place % grown.MOVED == 0]
    deployments = [grown.deployment(place) for place in places if place % grown.DEPLOYED == 0]
    if moves:
        _good(into.move_aliases(moves))
    if deployments:
        _good(into.deploy(deployments))


def _good(results: Sequence[Result[R]]) -> None:
    for result in results:
        if isinstance(result, WhenceError):
            raise result


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what was asked for; answers the exit code."""
    asked = _parser().parse_args(arguments)
    began = time.monotonic()

    def told(done: int, rate: float) -> None:
        left = (asked.runs - done) / rate / 60 if rate else 0
        print(f"{done:>10,} of {asked.runs:,} runs, {rate:,.0f}/s, {left:.0f} min left", flush=True)

    with _opened(asked) as (into, where):
        recorded = build(into, asked.runs, told)
    print(f"{where}: {asked.runs:,} runs, {recorded:,} of them now, in {time.monotonic() - began:.0f} s")
    return 0


@contextlib.contextmanager
def _opened(asked: argparse.Namespace) -> Iterator[tuple[Catalog, str]]:
    with contextlib.ExitStack() as stack:
        url = asked.url
        folder().mkdir(exist_ok=True)
        if asked.postgresql:
            url = stack.enter_context(kept.postgresql(server(asked.runs)))
        elif url is None:
            url = str(file(asked.runs))
        # What is lost in a power cut is recorded again.
        opened = stack.enter_context(contextlib.closing(catalog.open_url(url, synchronous="NORMAL")))
        yield opened, url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=__doc__)
    parser.add_argument("--runs", type=int, required=True, help="how many runs it is to hold")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="a SQLite file, or postgresql://… that `whence migrate` has prepared")
    where.add_argument(
        "--postgresql", type=Path, metavar="FOLDER", help="a server of its own, kept in this folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
