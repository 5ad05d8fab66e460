"""The ways from one thing to another, the shortest first, without looking at all of history.

Both ends are searched from, by levels, the narrower side first, until one of them has no more, or until the ways that
were found are certainly the shortest: every way of at most as many steps as both sides were searched deep is known.
How many Runs are looked at, and how many steps are tried, is bounded, and a bound that was met is told.

The ways are then listed by their length, which is known beforehand from every Run (the distance to the end), so that
only steps on a way are tried. A way passes each Run once.

Leaves to others: which Runs lie next to which (`flow`), and names (`sql`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from whence_catalog import flow
from whence_catalog.closure import Start, Way
from whence_catalog.lineage import run_key, version_key

# How many Runs are looked at, from both ends together, before a search is given up.
MOST_SEARCHED = 100_000
# How many steps are tried for each way: only where Runs took from one another are there more than are needed.
_MOST_TRIED = 100_000

_Onward: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Ways:
    """Ways in their order. `reasons` say why there may be others; none: these are all. `unsure` counts their steps
    that may have been another production's.
    """

    found: tuple[Way, ...]
    reasons: tuple[str, ...]
    unsure: int = 0


def find(ask: flow.Edges, start: Start, end: Start, limit: int, most: int = MOST_SEARCHED) -> Ways:
    """At most `limit` of the ways in which data went from `start` to `end`, the shortest first.

    Among those of one length the order is always the same. From a thing to itself the shortest is the thing alone.
    """
    search = _Search(ask, start, end)
    alone = [(start.key,)] if start == end and start.version else []
    wanted = limit + 1 - len(alone)
    checked = 0
    while search.advance(most):
        # As often as the search has doubled: to list the ways costs about as much as to search.
        if search.has_met and search.size >= 2 * checked:
            checked = search.size
            listed = search.listed(wanted)
            if len(listed) == wanted and len(listed[-1].runs) - 1 <= search.covered:
                return _answer(search, alone, listed, limit, ())
    gone = f"{search.size:,} runs searched, and there are more"
    return _answer(search, alone, search.listed(wanted), limit, () if search.is_whole else (gone,))


def _answer(
    search: "_Search", alone: Sequence[Way], listed: Sequence["_Route"], limit: int, reasons: tuple[str, ...]
) -> Ways:
    ways = [*alone, *(search.way(route) for route in listed)]
    if len(ways) > limit:
        reasons = (f"limit {limit} reached", *reasons)
    if search.is_given_up:
        reasons = (*reasons, "too many steps go in circles")
    shown = listed[: limit - len(alone)]
    steps = {hop for route in shown for hop in search.hops_of(route)}
    return Ways(tuple(ways[:limit]), reasons, len(steps & search.unsure))


class _Route(NamedTuple):
    """Runs, and the Versions that went from each into the next."""

    runs: tuple[int, ...]
    through: tuple[int, ...]


_Triple: TypeAlias = tuple[int, int, int]


@dataclass(slots=True)
class _Side:
    """A search from one end: `waiting` are the Runs of the next level, `deep` how many levels are done."""

    step: Callable[[Sequence[int]], Iterable[flow.Hop]]
    onward: Callable[[flow.Hop], int]
    waiting: list[int]
    seen: set[int] = field(default_factory=set)
    deep: int = 0

    def __post_init__(self) -> None:
        self.seen.update(self.waiting)

    def advance(self) -> list[flow.Hop]:
        hops = list(self.step(self.waiting))
        self.waiting = sorted({self.onward(hop) for hop in hops} - self.seen)
        self.seen.update(self.waiting)
        self.deep += 1
        return hops


class _Search:
    def __init__(self, ask: flow.Edges, start: Start, end: Start) -> None:
        self._start, self._end = start, end
        self.takers = [start.run] if start.run else _runs(ask.consumers_of([start.version]))
        self.makers = [end.run] if end.run else _runs(ask.producers_of([end.version]))
        self._down = _Side(lambda runs: flow.out_of(ask, runs).hops, lambda hop: hop.target, self.takers)
        self._up = _Side(lambda runs: flow.into(ask, runs).hops, lambda hop: hop.source, self.makers)
        self._hops: set[_Triple] = set()
        self.unsure: set[_Triple] = set()
        self.has_met = not self._down.seen.isdisjoint(self.makers)
        self.is_given_up = False

    @property
    def size(self) -> int:
        """How many Runs were looked at, or are known of."""
        return len(self._down.seen) + len(self._up.seen)

    @property
    def covered(self) -> int:
        """Every way of at most so many hops is known."""
        return self._down.deep + self._up.deep

    @property
    def is_whole(self) -> bool:
        """Whether all ways are known: one side has no more."""
        return not self._down.waiting or not self._up.waiting

    def advance(self, most: int) -> bool:
        """Search one level more, of the narrower side; False, if there is none, or `most` Runs are known."""
        if self.is_whole or self.size >= most:
            return False
        side, other = self._down, self._up
        if len(other.waiting) <= len(side.waiting):
            side, other = other, side
        for hop in side.advance():
            self._hops.add(hop[:3])
            if hop.may_be:
                self.unsure.add(hop[:3])
        self.has_met = self.has_met or not other.seen.isdisjoint(side.waiting)
        return True

    def listed(self, many: int) -> list[_Route]:
        """The `many` shortest of the ways that are known."""
        if many <= 0:
            return []
        onward: dict[int, list[tuple[int, int]]] = {}
        back: dict[int, list[int]] = {}
        for source, target, version in sorted(self._hops):
            onward.setdefault(source, []).append((target, version))
            back.setdefault(target, []).append(source)
        left = _distances(self.makers, back)
        walk = _Walk(onward, left, frozenset(self.makers), many)
        routes = list(walk.routes(run for run in self.takers if run in left))
        self.is_given_up = walk.is_given_up
        return routes

    def hops_of(self, route: _Route) -> Iterator[_Triple]:
        """The hops of a way."""
        return zip(route.runs, route.runs[1:], route.through, strict=False)

    def way(self, route: _Route) -> Way:
        """A way with its ends."""
        first, *others = route.runs
        keys = [version_key(self._start.version)] if self._start.version else []
        keys.append(run_key(first))
        for version, run in zip(route.through, others, strict=True):
            if version != flow.REUSE:
                keys.append(version_key(version))
            keys.append(run_key(run))
        return (*keys, version_key(self._end.version)) if self._end.version else tuple(keys)


def _runs(rows: Iterable[flow.Made] | Iterable[flow.Taken]) -> list[int]:
    return sorted({row[0] for row in rows})


def _distances(ends: Sequence[int], back: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """How many hops each Run is from the nearest of `ends`, where it leads there."""
    left = dict.fromkeys(ends, 0)
    waiting = deque(ends)
    while waiting:
        run = waiting.popleft()
        for source in back.get(run, ()):
            if source not in left:
                left[source] = left[run] + 1
                waiting.append(source)
    return left


class _Step(NamedTuple):
    """A Run at the end of a way that is being tried; `before` is the way up to it."""

    run: int
    version: int
    length: int
    before: "_Step | None"


@dataclass(slots=True)
class _Walk:
    """Lists ways by their length. What is tried is kept by how long it will be at the least."""

    onward: _Onward
    left: Mapping[int, int]
    ends: frozenset[int]
    many: int
    is_given_up: bool = False

    def routes(self, starts: Iterable[int]) -> Iterator[_Route]:
        """The first `many` ways from one of `starts` to one of `ends`."""
        is_looping = _loops(self.onward, self.left)
        tries: dict[int, deque[_Step]] = {}
        for run in starts:
            tries.setdefault(self.left[run], deque()).append(_Step(run, flow.REUSE, 0, None))
        given, tried = 0, 0
        while tries:
            length = min(tries)
            seeds = tries[length]
            # Depth first within a length, from each seed in turn: what is pushed is soon a way.
            stack = [seeds.popleft()]
            while stack:
                step = stack.pop()
                if step.run in self.ends and step.length == length:
                    yield _route(step)
                    given += 1
                    if given == self.many:
                        return
                tried += 1
                if tried > _MOST_TRIED * self.many:
                    self.is_given_up = True
                    return
                for run, version in reversed(self.onward.get(step.run, ())):
                    if run not in self.left or (is_looping and _passes(step, run)):
                        continue
                    least = step.length + 1 + self.left[run]
                    further = _Step(run, version, step.length + 1, step)
                    if least == length:
                        stack.append(further)
                    else:
                        tries.setdefault(least, deque()).append(further)
            if not seeds:
                del tries[length]


def _loops(onward: _Onward, left: Mapping[int, int]) -> bool:
    """Whether Runs took from one another: taken away from the ends, some are never free (Kahn)."""
    within = {run: [t for t, _ in onward.get(run, ()) if t in left] for run in left}
    taken: dict[int, int] = {}
    for targets in within.values():
        for target in targets:
            taken[target] = taken.get(target, 0) + 1
    free = [run for run in within if run not in taken]
    freed = 0
    while free:
        freed += 1
        for target in within[free.pop()]:
            taken[target] -= 1
            if not taken[target]:
                free.append(target)
    return freed < len(within)


def _passes(step: _Step | None, run: int) -> bool:
    while step is not None:
        if step.run == run:
            return True
        step = step.before
    return False


def _route(last: _Step) -> _Route:
    runs, through = [last.run], []
    step = last
    while step.before is not None:
        through.append(step.version)
        step = step.before
        runs.append(step.run)
    return _Route(tuple(reversed(runs)), tuple(reversed(through)))
