"""Which recorded Runs a plan looks at, and in which order: what its targets came from, and what came of what it follows.

Leaves to others: what is recorded (`flow.Edges`), and what becomes of each Run (`planning`).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from whence_catalog import flow

# Run, position of the start of who took it, role, ordinal, Version, producer.
_Take: TypeAlias = tuple[int, int, str, int, int, int | None]


@dataclass(slots=True)
class Gathered:
    """Rows of Runs, and what each took: (Run, role, ordinal, Version, producers, whether these are a guess).

    `reasons` say what was left out. Of each Run, `unmade` are the inputs that nobody is known to have made, and
    `ambiguous` those that several may have.
    """

    runs: dict[int, None] = field(default_factory=dict)
    started: dict[int, int] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    takes: dict[int, list[tuple[str, int, int, tuple[int, ...], bool]]] = field(default_factory=dict)
    ambiguous: Counter[int] = field(default_factory=Counter)
    unmade: Counter[int] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)


def gather(
    ask: flow.Edges,
    targets: Iterable[int],
    roots: Iterable[int],
    replaced: AbstractSet[int],
    most: int,
) -> Gathered:
    """The Runs that `targets` came from, and those that came of the Versions `roots`; of both, what lies between.

    What is replaced is followed no further up.

    Args:
        targets: rows of Runs; `roots`, `replaced`: rows of Versions.
        most: how many Runs at most.
    """
    targets, roots = list(targets), list(roots)
    up = _upstream(ask, targets, replaced, most) if targets or not roots else None
    if not roots:
        assert up is not None
        return up
    wanted = _downstream(ask, roots, most)
    if up is not None:
        between = Gathered(reasons=[*up.reasons, *wanted.reasons])
        between.runs = {run: None for run in up.runs if run in wanted.runs}
        wanted = between
    _look(ask, wanted, list(wanted.runs), replaced)
    return wanted


def _upstream(ask: flow.Edges, targets: Sequence[int], replaced: AbstractSet[int], most: int) -> Gathered:
    found = Gathered()
    level = list(dict.fromkeys(targets))
    while level:
        if len(found.runs) + len(level) > most:
            found.reasons.append(f"of more than {most:,} runs upstream only the nearest were looked at")
            level = level[: max(0, most - len(found.runs))]
        found.runs.update(dict.fromkeys(level))
        reached = _look(ask, found, level, replaced)
        if found.reasons:
            break
        level = [run for run in reached if run not in found.runs]
    return found


def _downstream(ask: flow.Edges, roots: Sequence[int], most: int) -> Gathered:
    found = Gathered()
    versions = list(roots)
    level = sorted({run for run, *_ in ask.consumers_of(versions)})
    while level:
        if len(found.runs) + len(level) > most:
            found.reasons.append(f"of more than {most:,} runs downstream only the nearest were looked at")
            level = level[: max(0, most - len(found.runs))]
        found.runs.update(dict.fromkeys(level))
        if found.reasons:
            break
        out = flow.out_of(ask, level)
        level = sorted({hop.target for hop in out.hops if hop.target not in found.runs})
    return found


def _look(ask: flow.Edges, found: Gathered, runs: Sequence[int], replaced: AbstractSet[int]) -> Sequence[int]:
    """Note what these Runs took; answers the rows of those that made it, each once."""
    if not runs:
        return ()
    rows = list(ask.taken_by(runs))
    for run, started, origin, *_ in rows:
        found.started[run] = started
        if origin is not None:
            found.origins[run] = origin
    taken = _taken(ask, rows)
    unnamed = sorted({version for *_, version, producer in taken if producer is None} - replaced)
    makers: dict[int, list[tuple[int, int]]] = {}
    for maker, _, version, position, _ in ask.producers_of(unnamed) if unnamed else ():
        makers.setdefault(version, []).append((position, maker))
    reached: dict[int, None] = {}
    for run, started, role, ordinal, version, producer in sorted(taken):
        producers: tuple[int, ...] = ()
        if version in replaced:
            pass
        elif producer is not None:
            producers = (producer,)
        else:
            before = sorted((place for place in makers.get(version, ()) if place[0] < started), reverse=True)
            producers = tuple(maker for _, maker in before)
            found.ambiguous[run] += len(before) > 1
            found.unmade[run] += not before
        found.takes.setdefault(run, []).append(
            (role, ordinal, version, producers, producer is None and len(producers) > 1)
        )
        reached.update(dict.fromkeys(producers[:1]))
    return list(reached)


def _taken(ask: flow.Edges, rows: Iterable[flow.Took]) -> list[_Take]:
    """What Runs took. A reused Run took what its origin did, unless it says what it took itself."""
    rows = list(rows)
    bare = {run: origin for run, _, origin, role, *_ in rows if origin is not None and role is None}
    taken: list[_Take] = []
    for run, started, _, role, ordinal, version, producer in rows:
        if role is not None and ordinal is not None and version is not None:
            taken.append((run, started, role, ordinal, version, producer))
    of_origin: dict[int, list[flow.Took]] = {}
    for row in ask.taken_by(sorted(set(bare.values()))) if bare else ():
        of_origin.setdefault(row[0], []).append(row)
    for run, origin in bare.items():
        for _, started, _, role, ordinal, version, producer in of_origin.get(origin, ()):
            if role is not None and ordinal is not None and version is not None:
                taken.append((run, started, role, ordinal, version, producer))
    return taken


def superfluous(
    found: Gathered, targets: AbstractSet[int], failed: AbstractSet[int], same_as: Mapping[int, int]
) -> set[int]:
    """Those Runs that are no part of what came of something: attempts that came to nothing, and what was run once
    more as it is here already. One from which another takes something is a part.

    Args:
        targets: are parts, whatever they are.
        same_as: of a Run, another of which it is a repetition: of the same code, with the same inputs and parameters.
    """
    takers: dict[int, set[int]] = {}
    for run, takes in found.takes.items():
        for _, _, _, producers, _ in takes:
            for producer in producers[:1]:
                takers.setdefault(producer, set()).add(run)
    may_go = {
        run
        for run in found.runs
        if run in failed or (same_as.get(run) in found.runs and same_as[run] not in failed)
    } - targets
    gone: set[int] = set()
    while more := {run for run in may_go - gone if takers.get(run, set()) <= gone}:
        gone |= more
    return gone


# ── in which order ───────────────────────────────────────────────────────────────────────────────

R = TypeVar("R", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Ordered(Generic[R]):
    """Runs in levels: each after all that it takes something from; within one in the order given.

    One that handed something on while it ran, and then took what was made of that, is after what was made of it: what
    it had handed on by then is not followed. Those are `around`.
    """

    levels: list[list[R]]
    around: list[R]


def in_order(before: Mapping[R, AbstractSet[R]], began: Callable[[R], Any]) -> Ordered[R]:
    """Runs in the order in which data goes.

    Args:
        before: of each Run, those of the others that it takes something from.
        began: what orders Runs by when they began.
    """
    after: dict[R, list[R]] = {}
    for run, sources in before.items():
        for source in sources:
            after.setdefault(source, []).append(run)
    left = {run: len(sources) for run, sources in before.items()}
    level = [run for run in before if not left[run]]
    ordered: Ordered[R] = Ordered([], [])
    placed = 0
    while placed < len(before):
        if level:
            ordered.levels.append(level)
            placed += len(level)
            gone = [(run, after.get(run, [])) for run in level]
        else:
            first, back = _first_around([run for run in before if left[run]], after, began)
            ordered.around.append(first)
            gone = [(first, back)]
            after[first] = [run for run in after[first] if run not in back]
        reached: dict[R, None] = {}
        for _, targets in gone:
            for target in targets:
                left[target] -= 1
                if not left[target]:
                    reached[target] = None
        level = list(reached)
    return ordered


def _first_around(
    stuck: Sequence[R], after: Mapping[R, Sequence[R]], began: Callable[[R], Any]
) -> tuple[R, list[R]]:
    """Of Runs that take from each other, that which began first; and those that took from it what comes back to it."""
    sources: dict[R, list[R]] = {}
    for source in stuck:
        for target in after.get(source, ()):
            sources.setdefault(target, []).append(source)
    for first in sorted(stuck, key=began):
        found, pending = {first}, [first]
        while pending:
            for source in sources.get(pending.pop(), ()):
                if source not in found:
                    found.add(source)
                    pending.append(source)
        if back := [run for run in after.get(first, ()) if run in found]:
            return first, back
    raise AssertionError("what waits for nothing is in no level")
