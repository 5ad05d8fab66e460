"""How data goes from one Run into another: one step against its flow or along it, for many Runs at once.

The rule is that of `lineage`: an Input is bound to the production that it was taken from; one that does not name it
may be of any production with a lower position than its Run's start; a reused Run came from its origin. Here it is said
of rows alone, for questions about so much of history that nobody wants it as a Graph.

Leaves to others: what is asked of the steps (`closure`, `ways`), and what the rows stand for (`sql`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from whence_catalog.lineage import EdgeType, Link, Neighbours

# The Version of a hop that has none: a Run was reused.
REUSE = 0


class Hop(NamedTuple):
    """That data went from the Run `source` into the Run `target` as Version `version`, or by reuse (`REUSE`).

    One that `may_be` is of an Input that does not say which production it was.
    """

    source: int
    target: int
    version: int
    may_be: bool = False


class Inflow(NamedTuple):
    """What some Runs took: the hops into them in order; and Inputs that nobody is known to have made."""

    hops: Sequence[Hop]
    taken: Sequence[Link]
    unmade: Sequence[Link]


class Outflow(NamedTuple):
    """What some Runs made, and the hops out of them in order."""

    hops: Sequence[Hop]
    made: Sequence[Link]


def into(ask: Neighbours, runs: Sequence[int]) -> Inflow:
    """What these Runs took, and from which Runs."""
    links = list(ask.edges_of(runs))
    taken = [link for link in links if link.type is EdgeType.INPUT]
    hops = {Hop(link.other, link.run, REUSE) for link in links if link.type is EdgeType.REUSED}
    hops.update(Hop(link.producer, link.run, link.other) for link in taken if link.producer is not None)
    unnamed = [link for link in taken if link.producer is None]
    makers = _by_version(ask.producers_of(sorted({link.other for link in unnamed})) if unnamed else ())
    unmade = []
    for link in unnamed:
        before = [made.run for made in makers.get(link.other, ()) if made.position < link.position]
        hops.update(Hop(run, link.run, link.other, may_be=True) for run in before)
        if not before:
            unmade.append(link)
    return Inflow(_sure(hops), taken, unmade)


def out_of(ask: Neighbours, runs: Sequence[int]) -> Outflow:
    """What these Runs made, and into which Runs it went."""
    made = [link for link in ask.edges_of(runs) if link.type is EdgeType.OUTPUT]
    takers = _by_version(ask.consumers_of(sorted({link.other for link in made})) if made else ())
    hops = {Hop(link.other, link.run, REUSE) for link in ask.reuses_of(runs)}
    for link in made:
        for taken in takers.get(link.other, ()):
            if taken.producer == link.run:
                hops.add(Hop(link.run, taken.run, link.other))
            elif taken.producer is None and link.position < taken.position:
                hops.add(Hop(link.run, taken.run, link.other, may_be=True))
    return Outflow(_sure(hops), made)


def _by_version(links: Iterable[Link]) -> Mapping[int, Sequence[Link]]:
    found: dict[int, list[Link]] = {}
    for link in links:
        found.setdefault(link.other, []).append(link)
    return found


def _sure(hops: Iterable[Hop]) -> list[Hop]:
    """In order, each once: one that is known does not stand a second time as one that may be."""
    kept: list[Hop] = []
    for hop in sorted(hops):  # what is sure comes first
        if not kept or kept[-1][:3] != hop[:3]:
            kept.append(hop)
    return kept
