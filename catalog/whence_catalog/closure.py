"""All that some things came from, or that came from them, each with the nearest way there.

A million Runs are ordinary, so each is held as three numbers: its row, the Run through which it was found, and the
Version that went from one into the other. A way is read off backwards, whenever somebody wants it.

Leaves to others: which Runs lie next to which (`flow`), ways beside the nearest one (`ways`), and names (`sql`).
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from whence_catalog import flow
from whence_catalog.lineage import NodeKey, run_key, version_key


class Start(NamedTuple):
    """Where a question begins: the Version in that row, or the Run; one of them is 0."""

    version: int = 0
    run: int = 0

    @classmethod
    def at(cls, key: NodeKey) -> "Start":
        """What that Version or Run is."""
        return cls(run=key // 3) if not key % 3 else cls(version=key // 3)

    @property
    def key(self) -> NodeKey:
        """As traversals name it."""
        return version_key(self.version) if self.version else run_key(self.run)


# Rows of Versions and Runs, in turn, in the direction in which data went.
Way: TypeAlias = tuple[NodeKey, ...]

# What is asked of closures: (depth, node), in order.
Listed: TypeAlias = Sequence[tuple[int, NodeKey]]
Listing: TypeAlias = Callable[[Sequence["Closure"]], Listed]

_DIRECT = -1
# How many Runs are asked about at once: what is known of a wide level is never all in memory.
_STRIDE = 10_000


@dataclass(slots=True)
class Closure:
    """What was found from `start`, the nearest first, in an order that is always the same.

    `depth` counts Runs: those that took or made the start itself are at 1; the start is at 0, if it is a Run too.
    A Version is as deep as the nearest Run that took it (upstream) or made it (downstream).
    """

    start: Start
    is_upstream: bool
    runs: "array[int]" = field(default_factory=lambda: array("q"))
    versions: dict[int, int] = field(default_factory=dict)  # Version → place of the Run nearest to it
    before: "array[int]" = field(default_factory=lambda: array("q"))  # the place of a Run, or `_DIRECT`
    through: "array[int]" = field(default_factory=lambda: array("q"))  # a Version, or `flow.REUSE`
    levels: list[int] = field(default_factory=list)  # where each depth begins in `runs`
    roots: set[int] = field(default_factory=set)  # Versions where the flow begins; upstream only
    ambiguous: int = 0
    unmade: int = 0
    _place: dict[int, int] = field(default_factory=dict)

    def depth(self, place: int) -> int:
        """How many Runs away from the start the Run at that place is."""
        return bisect_right(self.levels, place) - (1 if self.start.run else 0)

    def depths(self) -> Iterator[tuple[NodeKey, int]]:
        """All that was found, the start included, each with its depth."""
        if self.start.version:
            yield self.start.key, 0
        for place, run in enumerate(self.runs):
            yield run_key(run), self.depth(place)
        for version, place in self.versions.items():
            if version != self.start.version:
                yield version_key(version), self.depth(place)

    def ways(self) -> "Ways":
        """What is read of it afterwards."""
        others = [item for item in self.versions.items() if item[0] != self.start.version]
        versions, places = zip(*others, strict=True) if others else ((), ())
        return Ways(
            self.start,
            self.is_upstream,
            array("q", versions),
            array("q", places),
            self.runs,
            self.before,
            self.through,
        )

    def _reach(self, run: int, before: int, through: int) -> None:
        if run not in self._place:
            self._place[run] = len(self.runs)
            self.runs.append(run)
            self.before.append(before)
            self.through.append(through)

    def _levels(self) -> Iterator[Sequence[int]]:
        """The Runs of each depth in turn, some at a time: those that were reached meanwhile are the next."""
        begun = 0
        while begun < len(self.runs):
            self.levels.append(begun)
            level, begun = sorted(self.runs[begun:]), len(self.runs)
            yield from (level[at : at + _STRIDE] for at in range(0, len(level), _STRIDE))

    def _pass(self, hops: Iterable[flow.Hop]) -> None:
        for source, target, version, _ in hops:
            if self.is_upstream:
                self._reach(source, self._place[target], version)
            else:
                self._reach(target, self._place[source], version)


@dataclass(frozen=True, slots=True)
class Ways:
    """The Versions that were found beside the start, the nearest first, and the nearest way to each.

    All of it is numbers of eight bytes: who reads a great closure page by page keeps it in between.
    """

    start: Start
    is_upstream: bool
    versions: "array[int]"
    _places: "array[int]"
    _runs: "array[int]"
    _before: "array[int]"
    _through: "array[int]"

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, nearly."""
        return 8 * (2 * len(self.versions) + 3 * len(self._runs))

    def way(self, number: int) -> Way:
        """The nearest way between the start and that one of `versions`, in the direction of the flow."""
        steps: list[NodeKey] = [version_key(self.versions[number])]
        place = self._places[number]
        while place != _DIRECT:
            steps.append(run_key(self._runs[place]))
            if self._through[place] != flow.REUSE:
                steps.append(version_key(self._through[place]))
            place = self._before[place]
        return tuple(steps if self.is_upstream else reversed(steps))


def downstream(ask: flow.Edges, start: Start) -> Closure:
    """All Runs and Versions that came from `start`, by whatever production."""
    found = Closure(start, is_upstream=False)
    if start.run:
        found._reach(start.run, _DIRECT, flow.REUSE)
    else:
        for run in sorted({run for run, *_ in ask.consumers_of([start.version])}):
            found._reach(run, _DIRECT, start.version)
    for level in found._levels():
        out = flow.out_of(ask, level)
        for version, place in sorted((version, found._place[run]) for run, version in out.made):
            found.versions.setdefault(version, place)
        found.ambiguous += len({(hop.target, hop.version) for hop in out.hops if hop.may_be})
        found._pass(out.hops)
    return found


def upstream(ask: flow.Edges, start: Start) -> Closure:
    """All Runs and Versions that `start` came from, by the productions that were taken."""
    found = Closure(start, is_upstream=True)
    fed: set[int] = set()
    taken_from = (array("q"), array("q"))  # Version, Run that made it: the productions that were taken
    if start.run:
        found._reach(start.run, _DIRECT, flow.REUSE)
    else:
        makers = sorted({run for run, *_ in ask.producers_of([start.version])})
        for run in makers:
            found._reach(run, _DIRECT, start.version)
            _note(taken_from, start.version, run)
        if not makers:
            found.roots.add(start.version)
            found.unmade += 1
    for level in found._levels():
        flowing = flow.into(ask, level)
        for version, place in sorted((version, found._place[run]) for run, version in flowing.taken):
            found.versions.setdefault(version, place)
        fed.update(run for run, _ in flowing.taken)
        fed.update(hop.target for hop in flowing.hops)
        for hop in flowing.hops:
            if hop.version != flow.REUSE:
                _note(taken_from, hop.version, hop.source)
        found.roots.update(version for _, version in flowing.unmade)
        found.unmade += len(flowing.unmade)
        found.ambiguous += len({(hop.target, hop.version) for hop in flowing.hops if hop.may_be})
        found._pass(sorted(flowing.hops, key=lambda hop: (hop.target, hop.source, hop.version)))
    found.roots.update(v for v, run in zip(*taken_from, strict=True) if run not in fed)
    return found


def _note(pairs: "tuple[array[int], array[int]]", version: int, run: int) -> None:
    pairs[0].append(version)
    pairs[1].append(run)


def roots(closures: Sequence[Closure]) -> Listed:
    """The Versions where the flow into these begins, the nearest first: (depth, Version).

    One is a root if nobody is known to have made it, or if it was taken from a Run that took nothing.
    """
    found: dict[NodeKey, int] = {}
    for closure in closures:
        for version in closure.roots:
            place = closure.versions.get(version)
            is_start = version == closure.start.version
            depth = 0 if is_start or place is None else closure.depth(place)
            key = version_key(version)
            found[key] = min(depth, found.get(key, depth))
    return sorted((depth, key) for key, depth in found.items())


def common(closures: Sequence[Closure]) -> Listed:
    """What all of these came from, themselves counted, the nearest first: (depth, Version or Run).

    The depth is that from the start which is farthest.
    """
    first, *others = closures
    shared: Mapping[NodeKey, int] = dict(first.depths())
    for closure in others:
        shared = {key: max(depth, shared[key]) for key, depth in closure.depths() if key in shared}
    return sorted((depth, key) for key, depth in shared.items())
