"""The rule of taint, beside a second statement of it that knows no levels; and what the cache makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_lineage import History
from whence_catalog import cache, digest, model, taint
from whence_catalog.lineage import EdgeType, Link
from whence_catalog.taint import Production


@dataclass
class Edges:
    """`taint.Edges` over a History, which may be asked for what was known at some point."""

    links: Sequence[Link]

    def outputs_of(self, runs: Sequence[int]) -> Iterator[Link]:
        return (link for link in self.links if link.type is EdgeType.OUTPUT and link.run in runs)

    def producers_of(self, versions: Sequence[int]) -> Iterator[Link]:
        return (link for link in self.links if link.type is EdgeType.OUTPUT and link.other in versions)

    def consumers_of(self, versions: Sequence[int]) -> Iterator[Link]:
        return (link for link in self.links if link.type is EdgeType.INPUT and link.other in versions)


def made_in(links: Sequence[Link]) -> dict[Production, int]:
    """Every production, and when it was recorded first."""
    found: dict[Production, int] = {}
    for link in links:
        if link.type is EdgeType.OUTPUT:
            production = Production(link.run, link.other)
            found[production] = min(link.position, found.get(production, link.position))
    return found


def brute_force(links: Sequence[Link], version: int) -> set[Production]:
    """All that a quarantine of `version` reaches, by adding whatever the definition adds until nothing is."""
    made = made_in(links)
    reached = {production for production in made if production.version == version}
    while True:
        touched = {
            link.run
            for link in links
            if link.type is EdgeType.INPUT
            and (
                link.other == version
                or (link.producer is not None and Production(link.producer, link.other) in reached)
                or (
                    link.producer is None
                    and any(p.version == link.other and made[p] < link.position for p in reached)
                )
            )
        }
        more = {production for production in made if production.run in touched} - reached
        if not more:
            return reached
        reached |= more


def random_history(seed: int, acts: int) -> History:
    """Runs that start, take, make, add and take more later, in any order; some do not say whose it was."""
    random, history = Random(seed), History()
    for _ in range(acts):
        open_runs = list(history.started)
        match random.choice(["start", "start", "make", "make", "take"]):
            case "make" if open_runs:
                run = random.choice(open_runs)
                fresh = set(random.sample(range(1, 7), random.randint(1, 2)))
                fresh -= {p.version for p in made_in(history.links) if p.run == run}
                history.make(run, *sorted(fresh))
            case "take" if open_runs:
                history.take(random.choice(open_runs), *taken_in(random, history))
            case _:
                history.start(*taken_in(random, history))
    return history


def taken_in(random: Random, history: History) -> list[tuple[int, int | None]]:
    made = sorted(made_in(history.links))
    chosen = random.sample(made, min(len(made), random.randint(0, 2)))
    return [(p.version, random.choice([p.run, p.run, None])) for p in chosen]


histories = st.builds(random_history, st.integers(0, 2**32), st.integers(1, 24))


@settings(deadline=None, max_examples=500)
@given(histories, st.integers(1, 6))
def test_a_quarantine_reaches_what_the_definition_says(history: History, version: int) -> None:
    assert set(taint.reach(Edges(history.links), version)) == brute_force(history.links, version)


@settings(deadline=None, max_examples=300)
@given(histories, st.integers(1, 6))
def test_each_way_leads_from_the_quarantined_version_through_what_was_taken(
    history: History, version: int
) -> None:
    reached = taint.reach(Edges(history.links), version)
    made = made_in(history.links)
    for production, via in reached.items():
        took = [link for link in history.links if link.type is EdgeType.INPUT and link.run == production.run]
        if via is not None:
            assert list(reached).index(via) < list(reached).index(production)
            assert any(
                link.other == via.version
                and (link.producer == via.run or (link.producer is None and made[via] < link.position))
                for link in took
            )
        else:
            assert production.version == version or any(link.other == version for link in took)


@settings(deadline=None, max_examples=300)
@given(histories, st.integers(1, 6), st.integers(0, 24))
def test_an_index_kept_with_every_fact_is_what_the_definition_says_at_the_end(
    history: History, version: int, since: int
) -> None:
    """Quarantined at any moment, and inherited from then on, run by run, as what they took and made is said."""
    index: set[Production] = set()
    for end in range(len(history.links) + 1):
        links = history.links[:end]
        edges = Edges(links)
        if end < min(since, len(history.links)):
            continue
        if end == min(since, len(history.links)):
            index = set(taint.reach(edges, version))
            continue
        run = links[-1].run
        own = {p for p in made_in(links) if p.run == run and p.version == version}
        index |= own
        took = [link for link in links if link.type is EdgeType.INPUT and link.run == run]
        marks = [taint.Mark(p, 1, made_at) for p, made_at in made_in(links).items() if p in index]
        through = taint.touching(took, {version: [1]}, marks)
        if through:
            index |= set(taint.spread(edges, version, {run: through[1]}, index.intersection))
    assert index == brute_force(history.links, version)


# ── what the cache makes of it ───────────────────────────────────────────────────────────────────

NOW = datetime(2026, 5, 3, tzinfo=UTC)
ENTRY = cache.CacheEntry("wk1:" + "0" * 64, UUID(int=1), NOW, NOW)
ACTOR = model.Actor("tester")
M, N = digest.digest_of_bytes(b"M"), digest.digest_of_bytes(b"N")


@pytest.mark.parametrize("reason", sorted(cache.CONDEMNING))
def test_a_condemned_entry_executes_whatever_else_is_known_of_it(reason: cache.Reason) -> None:
    gone = cache.Presence(missing=frozenset({M}))
    for presence in (cache.Presence(), gone, cache.Presence(unknown=frozenset({M}))):
        assert cache.decide(ENTRY, presence, NOW, None, condemned=reason) == cache.Execute(reason)


@pytest.mark.parametrize("reason", sorted(cache.CONDEMNING))
@pytest.mark.parametrize("made", [M, N])
def test_what_replaces_a_condemned_entry_supersedes_it_even_with_the_same_bytes(
    reason: cache.Reason, made: digest.Digest
) -> None:
    done = cache.publish({"m": M}, {"m": made}, reason)
    assert (done.outcome, done.is_divergence) == (model.Outcome.SUPERSEDED, made != M)


@pytest.mark.parametrize("reason", sorted(cache.CONDEMNING))
def test_what_is_condemned_is_published_under_no_key(reason: cache.Reason) -> None:
    run = model.Run(
        UUID(int=2), "p", "j", model.RunState.RUNNING, ACTOR, NOW, mode=model.Mode.REUSE, key=ENTRY.key
    )
    report = model.Report(UUID(int=3), run.uid, model.RunState.COMPLETE, ACTOR)
    done = cache.settle(run, report, None, {"m": M}, cache.Reason.NO_ENTRY, reason)
    assert done == model.Publication(model.Outcome.REFUSED, reason.value)
