"""How far something reaches: which Runs, Versions and Deployments it came from, or came from it, and nothing of them.

The rule is that of `traversal`, and so are the terms in which an answer says how sure it is. What it does without are
edges, states and filters: a closure of a million Runs is a few sets of numbers.

Leaves to others: how it is read from the tables, and what the rows are called (`sql.extent`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from whence_catalog.lineage import Completeness, Direction, NodeKey

# How many rows are asked about at once.
_STRIDE = 10_000
_RUN, _VERSION, _DEPLOYMENT = 0, 1, 2


class Ends(Protocol):
    """The edges as they are recorded, and as little of them as tells where they lead. Each question is of many rows."""

    def taken_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int | None]]:
        """Version and producer of each input of these Runs."""
        ...

    def unnamed_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Run and Version of each input of these Runs that names no producer."""
        ...

    def origins_of(self, runs: Sequence[int]) -> Iterable[int]:
        """The origins of those of these Runs that were reused."""
        ...

    def started(self, runs: Sequence[int]) -> Iterable[tuple[int, int]]:
        """Each Run, and the position of its start."""
        ...

    def made_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Run and Version of each output of these Runs."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int]]:
        """Version, Run and position of each output that is one of these Versions."""
        ...

    def consumers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int | None]]:
        """Version, Run and producer of each input that is one of these Versions."""
        ...

    def reuses_of(self, runs: Sequence[int]) -> Iterable[int]:
        """The Runs whose origin is one of these."""
        ...

    def deployments_of(self, versions: Sequence[int]) -> Iterable[int]:
        """The Deployments in which these Versions serve, or served."""
        ...

    def served_by(self, deployments: Sequence[int]) -> Iterable[int]:
        """The Versions in these Deployments."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows of all that was reached, the roots included, in the order in which they were recorded."""

    runs: Sequence[int]
    versions: Sequence[int]
    deployments: Sequence[int]
    completeness: Completeness


def find(ask: Ends, roots: Iterable[NodeKey], direction: Direction, depth: int | None = None) -> Extent:
    """All that the roots came from, or that came from them, as far as `depth` Runs away."""
    begin: tuple[list[int], ...] = ([], [], [])
    for root in sorted(set(roots)):
        begin[root % 3].append(root // 3)
    walks = []
    if direction is not Direction.DOWN:
        walks.append(_upstream(ask, begin, depth))
    if direction is not Direction.UP:
        walks.append(_downstream(ask, begin, depth))
    runs, versions, deployments = (
        sorted(set().union(*found)) for found in zip(*(walk.found for walk in walks), strict=True)
    )
    if direction is Direction.BOTH:
        up, down = walks
        beside = sorted(down.found[_RUN] - up.found[_RUN])
        unnamed = up.unnamed + [pair for some in parts(beside) for pair in ask.unnamed_by(some)]
        reached = up.found[_VERSION] | down.found[_VERSION]
        unnamed = [pair for pair in unnamed if pair[1] in reached]
    else:
        (walk,) = walks
        reached = walk.found[_RUN]
        unnamed = [pair for pair in walk.unnamed if pair[0] in reached]
    ambiguous = _ambiguous(ask, unnamed)
    is_all = not any(walk.remains for walk in walks)
    return Extent(
        runs,
        versions,
        deployments,
        Completeness(
            complete=is_all,
            reasons=() if is_all else (f"depth {depth} reached",),
            ambiguous=ambiguous,
            unknown_producers=len(unnamed) - ambiguous + sum(walk.made_by_nobody for walk in walks),
        ),
    )


@dataclass(slots=True)
class _Reached:
    """What one direction found. `unnamed` are inputs without a producer: Run, Version."""

    found: tuple[set[int], set[int], set[int]] = field(default_factory=lambda: (set(), set(), set()))
    unnamed: list[tuple[int, int]] = field(default_factory=list)
    made_by_nobody: int = 0
    remains: bool = False


def parts(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many at once as are asked about."""
    return (rows[start : start + _STRIDE] for start in range(0, len(rows), _STRIDE))


def _upstream(ask: Ends, begin: Sequence[list[int]], depth: int | None) -> _Reached:
    walk = _Reached()
    runs, versions, deployments = walk.found
    deployments.update(begin[_DEPLOYMENT])
    served = set(ask.served_by(begin[_DEPLOYMENT])) if begin[_DEPLOYMENT] else set()
    named = sorted(served.union(begin[_VERSION]))
    versions.update(named)
    makers = [(version, run) for some in parts(named) for version, run, _ in ask.producers_of(some)]
    walk.made_by_nobody = len(named) - len({version for version, _ in makers})
    runs.update(begin[_RUN])
    level, onward, distance = begin[_RUN], {run for _, run in makers}, 0
    while True:
        for some in parts(level):
            onward |= _sources(ask, walk, some)
        onward -= runs
        if not onward or distance == depth:
            walk.remains = bool(onward)
            return walk
        runs |= onward
        level, onward, distance = sorted(onward), set(), distance + 1


def _sources(ask: Ends, walk: _Reached, runs: Sequence[int]) -> set[int]:
    """The Runs that these came from; the walk gains what they took."""
    sources: set[int | None] = set(ask.origins_of(runs))
    rows = ask.taken_by(runs)
    if rows:
        versions, producers = zip(*rows, strict=True)
        walk.found[_VERSION].update(versions)
        sources.update(producers)
    if None in sources:
        sources.discard(None)
        unnamed = ask.unnamed_by(runs)
        walk.unnamed += unnamed
        started = dict(ask.started(sorted({run for run, _ in unnamed})))
        latest: dict[int, int] = {}
        for run, version in unnamed:
            latest[version] = max(started[run], latest.get(version, started[run]))
        sources.update(
            run
            for some in parts(sorted(latest))
            for version, run, position in ask.producers_of(some)
            if position < latest[version]
        )
    return sources  # type: ignore[return-value]


def _downstream(ask: Ends, begin: Sequence[list[int]], depth: int | None) -> _Reached:
    walk = _Reached()
    runs, versions, deployments = walk.found
    deployments.update(begin[_DEPLOYMENT])
    takers = _Takers(ask, walk)
    named = begin[_VERSION]
    versions.update(named)
    # Of a root it is not asked which production of it was taken.
    onward = {run for some in parts(named) for _, run, _ in takers.of(some)}
    deployments.update(row for some in parts(named) for row in ask.deployments_of(some))
    runs.update(begin[_RUN])
    level, distance = begin[_RUN], 0
    while True:
        made: set[int] = set()
        for some in parts(level):
            onward.update(_uses(ask, takers, some, made))
        fresh = sorted(made - versions)
        versions |= made
        deployments.update(row for some in parts(fresh) for row in ask.deployments_of(some))
        onward -= runs
        if not onward or distance == depth:
            walk.remains = bool(onward)
            return walk
        runs |= onward
        level, onward, distance = sorted(onward), set(), distance + 1


class _Takers:
    """Who took which Versions. One that Runs make again and again is read once or twice, and then kept."""

    def __init__(self, ask: Ends, walk: _Reached) -> None:
        self._ask = ask
        self._walk = walk
        self._asked: set[int] = set()
        self._kept: dict[int, list[tuple[int, int, int | None]]] = {}

    def of(self, versions: Iterable[int]) -> list[tuple[int, int, int | None]]:
        """Version, Run and producer."""
        again = self._asked.intersection(versions)
        found = [row for version in again & self._kept.keys() for row in self._kept[version]]
        fresh = sorted(set(versions) - self._kept.keys())
        rows = self._ask.consumers_of(fresh) if fresh else ()
        self._kept.update((version, []) for version in again - self._kept.keys())
        self._asked.update(fresh)
        for row in rows:
            if again and row[0] in again:
                self._kept[row[0]].append(row)
            elif row[2] is None:
                self._walk.unnamed.append((row[1], row[0]))
        return [*found, *rows]


def _uses(ask: Ends, takers: _Takers, runs: Sequence[int], made: set[int]) -> set[int]:
    """The Runs that took what these made; `made` gains what that is."""
    productions = set(ask.made_by(runs))
    outputs = {version for _, version in productions}
    made.update(outputs)
    uses = set(ask.reuses_of(runs))
    unnamed: list[tuple[int, int]] = []
    for version, run, producer in takers.of(outputs):
        if producer is None:
            unnamed.append((version, run))
        elif (producer, version) in productions:
            uses.add(run)
    if unnamed:
        earliest: dict[int, int] = {}
        for version, maker, position in ask.producers_of(sorted({version for version, _ in unnamed})):
            if (maker, version) in productions:
                earliest[version] = min(position, earliest.get(version, position))
        started = dict(ask.started(sorted({run for _, run in unnamed})))
        uses.update(run for version, run in unnamed if earliest[version] < started[run])
    return uses


def _ambiguous(ask: Ends, unnamed: Sequence[tuple[int, int]]) -> int:
    """How many of these inputs may be of some production that is known."""
    earliest: dict[int, int] = {}
    for some in parts(sorted({version for _, version in unnamed})):
        for version, _, position in ask.producers_of(some):
            earliest[version] = min(position, earliest.get(version, position))
    started: dict[int, int] = {}
    for some in parts(sorted({run for run, _ in unnamed})):
        started.update(ask.started(some))
    return sum(version in earliest and earliest[version] < started[run] for run, version in unnamed)
