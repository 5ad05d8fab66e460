"""Which productions a quarantine reaches: the rule of taint.

A quarantine names a Version, hence each of its productions. From there it follows whatever a Run took,
never only what an Output says that it is derived from: a Run that took a reached production taints all that
it makes. An Input that does not say which production it took counts if any that it can have been is reached,
that is, one recorded before the Run started; an Input of the quarantined Version itself always counts. A
reused Run makes nothing: what was made of its outputs names its origin's productions.

A Version is tainted as soon as one of its productions is.

The edges lie in a database, which is passed in as `Edges` and asked by levels. Leaves to others: keeping the
answers (`sql.taint`), and what a reached production means for reuse (`cache`) and for trust (`audit`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from whence_catalog.lineage import Link


class Production(NamedTuple):
    """What the Run in one row made of the Version in another."""

    run: int
    version: int


class Mark(NamedTuple):
    """A production that a quarantine reaches; `made_at` is the position at which it was recorded."""

    production: Production
    quarantine: int
    made_at: int


class Edges(Protocol):
    """The edges as they are recorded. Each question is about many rows, and asked once a level."""

    def outputs_of(self, runs: Sequence[int]) -> Iterable[Link]:
        """All outputs of these Runs."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Iterable[Link]:
        """All outputs that are these Versions."""
        ...

    def consumers_of(self, versions: Sequence[int]) -> Iterable[Link]:
        """All inputs that are these Versions."""
        ...


class Origins(Protocol):
    """The edges as they were known at some position, upwards. Each question is about many rows."""

    def inputs_of(self, runs: Sequence[int]) -> Iterable[Link]:
        """All inputs of these Runs."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Iterable[Link]:
        """All outputs that are these Versions."""
        ...


# A reached production, and the one through which it was reached; None: its Run took the quarantined Version
# itself, or it is a production of that.
Reach = Mapping[Production, Production | None]


def touching(
    taken: Iterable[Link], standing: Mapping[int, Iterable[int]], marks: Iterable[Mark]
) -> dict[int, Production | None]:
    """The quarantines that reach a Run through what it took, each with the production that it took.

    Args:
        standing: Version → the quarantines that name it. Through these it is None.
        marks: on productions of the Versions that it took.
    """
    found: dict[int, Production | None] = {}
    of_version: dict[int, list[Mark]] = {}
    for mark in marks:
        of_version.setdefault(mark.production.version, []).append(mark)
    for link in taken:
        found |= dict.fromkeys(standing.get(link.other, ()))
        for mark in of_version.get(link.other, ()):
            if _counts(link, mark.production.run, mark.made_at):
                found.setdefault(mark.quarantine, mark.production)
    return found


def _counts(taken: Link, run: int, made_at: int) -> bool:
    """Whether an Input is, or may be, what that Run made, which was recorded at `made_at`."""
    return taken.producer == run if taken.producer is not None else made_at < taken.position


def reach(edges: Edges, version: int) -> Reach:
    """All productions that a quarantine of `version` reaches, nearest first."""
    found = {Production(made.run, version): None for made in edges.producers_of([version])}
    consumers = {taken.run: None for taken in edges.consumers_of([version])}
    return {**found, **spread(edges, version, consumers, lambda some: some & found.keys())}


def spread(
    edges: Edges,
    version: int,
    runs: Mapping[int, Production | None],
    known: Callable[[AbstractSet[Production]], AbstractSet[Production]],
) -> Reach:
    """What a quarantine of `version` reaches through these Runs, which took what it reaches; nearest first.

    Args:
        runs: Run → the reached production that it took; None: the quarantined Version itself.
        known: which of these productions were reached before. Nothing is followed through them again.
    """
    found: dict[Production, Production | None] = {}
    waiting = dict(runs)
    while waiting:
        made = list(edges.outputs_of(sorted(waiting)))
        fresh = {Production(link.run, link.other): waiting[link.run] for link in made}
        old = known(fresh.keys()) | (fresh.keys() & found.keys())
        fresh = {production: via for production, via in sorted(fresh.items()) if production not in old}
        found |= fresh
        waiting = _takers(edges, version, fresh.keys(), made)
    return found


def _takers(
    edges: Edges, version: int, fresh: AbstractSet[Production], made: Sequence[Link]
) -> dict[int, Production | None]:
    """The Runs that took one of these productions, and which."""
    first: dict[Production, int] = {}
    earliest: dict[int, Production] = {}
    for link in made:
        production = Production(link.run, link.other)
        # Whoever took the quarantined Version was reached by that.
        if production in fresh and link.other != version:
            first[production] = min(link.position, first.get(production, link.position))
            other = earliest.setdefault(link.other, production)
            if first[production] < first[other]:
                earliest[link.other] = production
    takers: dict[int, Production | None] = {}
    for taken in edges.consumers_of(sorted(earliest)) if earliest else ():
        named = earliest[taken.other] if taken.producer is None else Production(taken.producer, taken.other)
        if named in first and _counts(taken, named.run, first[named]):
            takers.setdefault(taken.run, named)
    return takers


def reaching(edges: Origins, run: int, standing: Mapping[int, Iterable[int]]) -> set[int]:
    """The quarantines that reach what a Run made through what it took: as `reach`, asked from the other end.

    Args:
        standing: Version → the quarantines that name it.
    """
    found: set[int] = set()
    seen, waiting = {run}, {run}
    while waiting and standing:
        taken = list(edges.inputs_of(sorted(waiting)))
        versions = {link.other for link in taken}
        found |= {quarantine for version in versions for quarantine in standing.get(version, ())}
        made: dict[int, list[Link]] = {}
        for link in edges.producers_of(sorted(versions)):
            made.setdefault(link.other, []).append(link)
        above = {
            other.run
            for link in taken
            for other in made.get(link.other, ())
            if _counts(link, other.run, other.position)
        }
        waiting = above - seen
        seen |= waiting
    return found


def path(found: Reach, production: Production) -> tuple[Production, ...]:
    """The productions through which one was reached, itself last; the first is, or took, the quarantined Version."""
    steps = [production]
    while (via := found[steps[-1]]) is not None:
        steps.append(via)
    return tuple(reversed(steps))
