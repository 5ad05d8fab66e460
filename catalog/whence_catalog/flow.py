"""How data goes from one Run into another: one step against its flow or along it, for many Runs at once.

The rule is that of `lineage`: an Input is bound to the production that it was taken from; one that does not name it
may be of any production with a lower position than its Run's start; a reused Run came from its origin. Here it is said
of rows alone, for questions about so much of history that nobody wants it as a Graph.

Leaves to others: what is asked of the steps (`closure`, `ways`), and what the rows stand for (`sql`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

# The Version of a hop that has none: a Run was reused.
REUSE = 0

# Run, position of its start, its origin, role, ordinal, Version, producer: an Input. A Run that took nothing has one
# row, without a Version.
Took: TypeAlias = tuple[int, int, int | None, str | None, int | None, int | None, int | None]
# Run, role, Version, position, whether it says what it is derived from: an Output.
Made: TypeAlias = tuple[int, str, int, int, int]
# Run, position of its start, Version, producer: an Input.
Taken: TypeAlias = tuple[int, int, int, int | None]


class Edges(Protocol):
    """The edges as they are recorded, or were known at a position. Each question is about many rows."""

    def taken_by(self, runs: Sequence[int]) -> Sequence[Took]:
        """The inputs of these Runs, and their origins."""
        ...

    def made_by(self, runs: Sequence[int]) -> Sequence[Made]:
        """The outputs of these Runs."""
        ...

    def producers_of(self, versions: Sequence[int]) -> Sequence[Made]:
        """All outputs that are these Versions."""
        ...

    def consumers_of(self, versions: Sequence[int]) -> Sequence[Taken]:
        """All inputs that are these Versions."""
        ...

    def reuses_of(self, runs: Sequence[int]) -> Sequence[int]:
        """The Runs whose origin is one of these."""
        ...


class Hop(NamedTuple):
    """That data went from the Run `source` into the Run `target` as Version `version`, or by reuse (`REUSE`).

    One that `may_be` is of an Input that does not say which production it was.
    """

    source: int
    target: int
    version: int
    may_be: bool = False


class Inflow(NamedTuple):
    """What some Runs took: (Run, Version); of these, those that nobody is known to have made; the hops in order."""

    hops: Sequence[Hop]
    taken: Sequence[tuple[int, int]]
    unmade: Sequence[tuple[int, int]]


class Outflow(NamedTuple):
    """What some Runs made: (Run, Version); and the hops out of them in order."""

    hops: Sequence[Hop]
    made: Sequence[tuple[int, int]]


def into(ask: Edges, runs: Sequence[int]) -> Inflow:
    """What these Runs took, and from which Runs."""
    rows = ask.taken_by(runs)
    hops = {Hop(origin, run, REUSE) for run, _, origin, *_ in rows if origin is not None}
    unnamed: list[tuple[int, int, int]] = []
    for run, started, _, _, _, version, producer in rows:
        if version is None:
            continue
        if producer is None:
            unnamed.append((run, started, version))
        else:
            hops.add(Hop(producer, run, version))
    makers: dict[int, list[tuple[int, int]]] = {}
    for maker, _, version, position, _ in (
        ask.producers_of(sorted({v for *_, v in unnamed})) if unnamed else ()
    ):
        makers.setdefault(version, []).append((maker, position))
    unmade = []
    for run, started, version in unnamed:
        before = [maker for maker, position in makers.get(version, ()) if position < started]
        hops.update(Hop(maker, run, version, may_be=True) for maker in before)
        if not before:
            unmade.append((run, version))
    taken = [(run, version) for run, _, _, _, _, version, _ in rows if version is not None]
    return Inflow(_sure(hops), taken, unmade)


def out_of(ask: Edges, runs: Sequence[int]) -> Outflow:
    """What these Runs made, and into which Runs it went."""
    made = ask.made_by(runs)
    takers: dict[int, list[Taken]] = {}
    for taken in ask.consumers_of(sorted({version for _, _, version, _, _ in made})) if made else ():
        takers.setdefault(taken[2], []).append(taken)
    hops = set(_reuses(ask, runs))
    for run, _, version, position, _ in made:
        for taker, started, _, producer in takers.get(version, ()):
            if producer == run:
                hops.add(Hop(run, taker, version))
            elif producer is None and position < started:
                hops.add(Hop(run, taker, version, may_be=True))
    return Outflow(_sure(hops), [(run, version) for run, _, version, _, _ in made])


def _reuses(ask: Edges, runs: Sequence[int]) -> Iterable[Hop]:
    reused = ask.reuses_of(runs)
    return [Hop(row[2], row[0], REUSE) for row in ask.taken_by(reused) if row[2]] if reused else ()


def _sure(hops: Iterable[Hop]) -> list[Hop]:
    """In order, each once: one that is known does not stand a second time as one that may be."""
    kept: list[Hop] = []
    for hop in sorted(hops):  # what is sure comes first
        if not kept or kept[-1][:3] != hop[:3]:
            kept.append(hop)
    return kept
