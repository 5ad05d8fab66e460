"""What a benchmark is, how it is run, and what its figures prove.

A benchmark sets `ours` beside a `floor` that does the same work with nothing in between. The two take
turns in shuffled order, since in a fixed rotation one of them always pays for what the other left
behind. What is judged is the ratio of each pair: whatever slows the machine down slows both.
What a single operation took, at the median and at the 99th of a hundred, is told beside it.
Leaves to others: what is measured (`recording`, `reusing`, `answering`, `leasing`, `peers`, `catalogs`, `processes`,
`growth`, `upstream`, `plans`, `streamed`, `many`).
"""

import gc
import itertools
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeAlias

# With fewer, the bound at 95 % would be the whole range or nothing.
MINIMUM_PAIRS = 9
MAXIMUM_PAIRS = 301
CONFIDENCE = 0.95

_PER_SECOND = {"s": 1.0, "ms": 1e3, "µs": 1e6, "MB": 1e-6}

# Makes one operation ready, unmeasured, and answers what is to be measured.
Contender: TypeAlias = Callable[[], Callable[[], object]]


class Clock(StrEnum):
    """What is measured. CPU time is calmer on a busy machine; only wall time sees the disk."""

    WALL = "wall"
    CPU = "cpu"
    MEMORY = "peak memory"  # of a process that tells it


class Verdict(StrEnum):
    """Where the bound lies: wholly under the goal, wholly over it, or on both sides of it."""

    UNDER = "under"
    OVER = "over"
    STRADDLES = "straddles"


@dataclass(frozen=True, slots=True)
class Contenders:
    """The two, ready to run. `folder` is where they write, if what they write is synced to the disk."""

    ours: Contender
    floor: Contender
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One claim: that `ours` costs at most `goal` times the floor.

    `operations` are done between two looks at the clock, so that one look is long against the clock's
    own cost; figures are for one operation, in `unit`. `stretch` is the ratio to get to, `limit` what the
    median operation is to take by the clock on the wall: both are told beside the figures, and fail nothing.
    """

    name: str
    goal: float
    clock: Clock
    contenders: Callable[[], AbstractContextManager[Contenders]]
    operations: int = 1
    unit: str = "ms"
    stretch: float | None = None
    limit: float | None = None


class Spent(NamedTuple):
    """What an operation took, told by another process that measured it. An operation may answer it.

    `memory` is the most that the process held, in bytes, where that is what is measured.
    """

    wall: float
    cpu: float
    memory: float = math.nan


class Spread(NamedTuple):
    """What one operation took by the clock on the wall: half of them at most `p50`, 99 of 100 at most `p99`."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run of a benchmark gave. The true median of the ratios lies between `low` and `high`.

    `ours` and `floor` are medians of whole samples by the benchmark's clock, the spreads of single operations.
    """

    name: str
    ours: float
    floor: float
    unit: str
    ratio: float
    low: float
    high: float
    goal: float
    pairs: int
    note: str
    ours_each: Spread
    floor_each: Spread
    stretch: float | None = None
    limit: float | None = None

    @property
    def verdict(self) -> Verdict:
        """How the bound stands to the goal."""
        return judge(self.low, self.high, self.goal)

    @property
    def is_ok(self) -> bool:
        """Whether nothing is proven against it."""
        return self.verdict is not Verdict.OVER


# ── statistics ───────────────────────────────────────────────────────────────────────────────────


def bound(ratios: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Between which two of `ratios` their true median lies, by the sign test: no shape is assumed.

    The median lies below the lowest d + 1 of n values, or above the highest, with the probability that
    at most d of n fair coins fall one way (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ranked = sorted(ratios)
    count = len(ranked)
    allowed = (1 - confidence) * 2.0**count
    dropped, outside = 0, 2 * (1 + count)
    while outside <= allowed:
        dropped += 1
        outside += 2 * math.comb(count, dropped + 1)
    return ranked[dropped], ranked[count - 1 - dropped]


def judge(low: float, high: float, goal: float) -> Verdict:
    """The verdict on a ratio between `low` and `high`."""
    if low > goal:
        return Verdict.OVER
    return Verdict.UNDER if high <= goal else Verdict.STRADDLES


# ── running ──────────────────────────────────────────────────────────────────────────────────────


class _Sample(NamedTuple):
    """Seconds for one operation, and of each by the clock on the wall."""

    wall: float
    cpu: float
    each: Sequence[float]
    memory: float = math.nan

    def by(self, clock: Clock) -> float:
        """What a clock says of it."""
        return {Clock.WALL: self.wall, Clock.CPU: self.cpu, Clock.MEMORY: self.memory}[clock]


def run(benchmark: Benchmark, seconds: float, seed: int = 1) -> Figures:
    """Measure it: at least MINIMUM_PAIRS pairs, and more until `seconds` have passed."""
    order = random.Random(seed)
    ours: list[_Sample] = []
    floor: list[_Sample] = []
    syncs: list[float] = []
    with benchmark.contenders() as contenders:
        turns = [(contenders.ours, ours), (contenders.floor, floor)]
        for contender, _ in turns:  # compiles statements, fills caches
            _sample(contender, benchmark.operations)
        gc.freeze()  # what was there before is not looked through again at each collection
        began = time.monotonic()
        while len(ours) < MINIMUM_PAIRS or (len(ours) < MAXIMUM_PAIRS and time.monotonic() - began < seconds):
            order.shuffle(turns)
            for contender, samples in turns:
                samples.append(_sample(contender, benchmark.operations))
            if contenders.folder is not None:
                syncs.append(_sync_seconds(contenders.folder))
        gc.unfreeze()
    return _figures(benchmark, ours, floor, syncs)


def _sample(contender: Contender, operations: int) -> _Sample:
    ready = [contender() for _ in range(operations)]
    gc.collect()  # what the other one left behind is not for this one to clear away
    answers: list[object] = []
    moments = [time.perf_counter()]
    cpu = time.process_time()
    for operation in ready:
        answers.append(operation())
        moments.append(time.perf_counter())
    cpu = time.process_time() - cpu
    told = [answer for answer in answers if isinstance(answer, Spent)]
    if told:  # it was done elsewhere
        walls = [spent.wall for spent in told]
        cpus = sum(spent.cpu for spent in told) / operations
        return _Sample(sum(walls) / operations, cpus, walls, max(spent.memory for spent in told))
    each = [after - before for before, after in itertools.pairwise(moments)]
    return _Sample((moments[-1] - moments[0]) / operations, cpu / operations, each)


def _sync_seconds(folder: Path) -> float:
    """How long the disk takes to keep one page that was appended to a file."""
    file = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, bytes(4096))
        began = time.perf_counter()
        os.fdatasync(file)
        return time.perf_counter() - began
    finally:
        os.close(file)


def _figures(
    benchmark: Benchmark, ours: Sequence[_Sample], floor: Sequence[_Sample], syncs: Sequence[float]
) -> Figures:
    clock, other = benchmark.clock, Clock.WALL if benchmark.clock is Clock.CPU else Clock.CPU
    ratios, others = (
        [mine.by(one) / raw.by(one) for mine, raw in zip(ours, floor, strict=True)] for one in (clock, other)
    )
    low, high = bound(ratios)
    measured = clock if clock is Clock.MEMORY else f"{clock} time"
    note = f"{measured}; by {other} {statistics.median(others):.2f}"
    if syncs:
        note += f"; fdatasync alone {statistics.median(syncs) * 1e3:.2f} ms"
    scale = _PER_SECOND[benchmark.unit]
    return Figures(
        name=benchmark.name,
        ours=scale * statistics.median(sample.by(clock) for sample in ours),
        floor=scale * statistics.median(sample.by(clock) for sample in floor),
        unit=benchmark.unit,
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        goal=benchmark.goal,
        pairs=len(ratios),
        note=note,
        ours_each=_spread(ours, benchmark),
        floor_each=_spread(floor, benchmark),
        stretch=benchmark.stretch,
        limit=benchmark.limit,
    )


def _spread(samples: Sequence[_Sample], benchmark: Benchmark) -> Spread:
    is_memory = benchmark.clock is Clock.MEMORY
    each = sorted(one for sample in samples for one in ([sample.memory] if is_memory else sample.each))
    scale = _PER_SECOND[benchmark.unit]
    return Spread(scale * each[len(each) // 2], scale * each[math.ceil(0.99 * len(each)) - 1])
