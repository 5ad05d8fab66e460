"""What must be true of a history of processes that wanted the same keys; decides from what it is given.

Each rule errs on the side of the catalog: what the history leaves open (an answer that nobody heard, a beat
that was on its way) counts as allowed. So a violation is one, whatever the machine was doing.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.history import Beat, Fact, Finish, History, Reserve

ACCEPTED = frozenset({"entered", "renewed", "diverged", "superseded"})
FOREVER = 2**63


class Rule(StrEnum):
    """What a history may break."""

    ONE_ENTRY = "each key has exactly one live entry, and what follows it does as the entry is"
    STALE = "no publish is accepted after the key was granted to another"
    LAPSED = "no publish is accepted after the lease has lapsed"
    TOKENS = "tokens of a key are all different, and only grow"
    OVERLAP = "nobody is granted a key while its holder lives and beats"
    AGAIN = "nobody computes, for want of an entry, what was published before"
    REFUSED = "whoever holds the key can publish under it"
    REUSE = "a reuse hands out what the live entry's run made"
    ACKNOWLEDGED = "what was acknowledged is in the facts, as it was acknowledged"
    ANSWERED = "every process that lives gets an answer for every key"


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    key: str
    what: str


def check(
    history: History,
    lease_micros: int,
    wanted: Sequence[str] = (),
    survivors: Sequence[str] = (),
) -> list[Violation]:
    """Every violation.

    Args:
        lease_micros: how long a lease lasts.
        wanted: keys that each of the `survivors`, processes that nobody ended, went through.
    """
    found = [*_in_facts(history.facts), *_acknowledged(history)]
    grants = defaultdict(list)
    for reserve in history.reserves:
        if reserve.token is not None:
            grants[reserve.key].append(reserve)
    for key, of_key in grants.items():
        leases = [_lease(grant, history, lease_micros) for grant in of_key]
        found += _of_key(key, sorted(leases, key=lambda lease: lease.token), history)
    found += _unanswered(history, wanted, survivors)
    return found


# ── the catalog's facts by themselves ────────────────────────────────────────────────────────────


def _in_facts(facts: Sequence[Fact]) -> Iterator[Violation]:
    live: dict[str, str] = {}
    made: dict[str, tuple[str, ...]] = {}
    keys = {fact.key for fact in facts}
    for fact in facts:
        made[fact.run] = fact.outputs
        entry = live.get(fact.key)
        match (fact.verb, fact.outcome):
            case ("reuse", _):
                if fact.origin != entry:
                    yield Violation(Rule.REUSE, fact.key, f"run {fact.run} reused {fact.origin}, not {entry}")
            case ("finish", "entered"):
                if entry is not None:
                    yield Violation(Rule.ONE_ENTRY, fact.key, f"{fact.run} entered beside {entry}")
                live[fact.key] = fact.run
            case ("finish", "superseded"):
                if entry is None:
                    yield Violation(Rule.ONE_ENTRY, fact.key, f"{fact.run} superseded nothing")
                live[fact.key] = fact.run
            case ("finish", "renewed" | "diverged"):
                same = entry is not None and made[entry] == fact.outputs
                if entry is None or same != (fact.outcome == "renewed"):
                    yield Violation(Rule.ONE_ENTRY, fact.key, f"{fact.run} {fact.outcome} beside {entry}")
            case _:
                pass
    for key in sorted(keys - live.keys()):
        yield Violation(Rule.ONE_ENTRY, key, "nothing was entered")


def _acknowledged(history: History) -> Iterator[Violation]:
    said = {(fact.verb, fact.run): fact for fact in history.facts}
    if not said:
        return
    for finish in history.finishes:
        fact = said.get(("finish", finish.run))
        if finish.outcome is None:
            continue
        if fact is None or (fact.outcome, fact.outputs) != (finish.outcome, finish.outputs):
            yield Violation(Rule.ACKNOWLEDGED, finish.key, f"{finish} is {fact}")
    for reserve in history.reserves:
        if reserve.token is not None and ("start", reserve.run) not in said:
            yield Violation(Rule.ACKNOWLEDGED, reserve.key, f"run {reserve.run} was begun and is not there")
        if reserve.origin is None:
            continue
        fact = said.get(("reuse", reserve.run))
        if fact is None or fact.origin != reserve.origin:
            yield Violation(Rule.ACKNOWLEDGED, reserve.key, f"{reserve} is {fact}")
        made = said.get(("finish", reserve.origin))
        if made is None or made.outputs != reserve.outputs:
            yield Violation(Rule.REUSE, reserve.key, f"{reserve} was handed what is not of {made}")


# ── what the processes heard ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Lease:
    """A grant, and what is known of how long it lasted: at least, and at most, by the catalog's clock."""

    grant: Reserve
    token: int
    at_least: int
    at_most: int
    finish: Finish | None
    outcome: str | None

    @property
    def is_accepted(self) -> bool:
        return self.outcome in ACCEPTED


def _lease(grant: Reserve, history: History, lasting: int) -> _Lease:
    assert grant.token is not None
    heard = grant.span.ended
    assert heard is not None
    finish = next((finish for finish in history.finishes if finish.run == grant.run), None)
    # It was granted no earlier than its Run was first begun, and no later than that was heard.
    at_least, at_most = grant.since + lasting, heard.wall + lasting
    for beat in history.beats:
        if grant.run in beat.runs:
            less, at_most = _extended(beat, grant.run, at_least, at_most)
            # A Run that has ended is told of no loss: what was heard after that says nothing of its lease.
            if finish is None or (
                beat.span.ended is not None and beat.span.ended.mono < finish.span.began.mono
            ):
                at_least = less
    outcome = None if finish is None else finish.outcome
    if outcome is None:
        outcome = next((f.outcome for f in history.facts if f.verb == "finish" and f.run == grant.run), None)
    return _Lease(grant, grant.token, at_least, at_most, finish, outcome)


def _extended(beat: Beat, run: str, at_least: int, at_most: int) -> tuple[int, int]:
    if beat.lost is None or beat.span.ended is None:
        return at_least, FOREVER
    if run in beat.lost:
        return at_least, at_most
    if beat.lasting < 0:  # let go of on purpose
        return beat.span.began.wall + beat.lasting, beat.span.ended.wall + beat.lasting
    return max(at_least, beat.span.began.wall + beat.lasting), max(
        at_most, beat.span.ended.wall + beat.lasting
    )


def _of_key(key: str, leases: Sequence[_Lease], history: History) -> Iterator[Violation]:
    for lease in leases:
        if lease.is_accepted and lease.finish is not None and lease.finish.span.began.wall > lease.at_most:
            yield Violation(Rule.LAPSED, key, f"{lease.grant.run} was {lease.outcome} after {lease.at_most}")
    for earlier, later in itertools.combinations(leases, 2):
        if earlier.token == later.token or _is_before(later.grant, earlier.grant):
            yield Violation(
                Rule.TOKENS, key, f"{earlier.token} of {earlier.grant}, {later.token} of {later.grant}"
            )
            continue
        finish = earlier.finish
        heard = later.grant.span.ended
        assert heard is not None
        is_over = finish is not None and finish.span.began.mono < heard.mono
        if later.token < earlier.at_least and not is_over:
            yield Violation(
                Rule.OVERLAP,
                key,
                f"{later.grant.run} was granted {earlier.at_least - later.token} µs before {earlier.grant.run} lapsed",
            )
        if earlier.is_accepted and finish is not None and heard.mono < finish.span.began.mono:
            yield Violation(
                Rule.STALE, key, f"{earlier.grant.run} was {earlier.outcome} past {later.grant.run}"
            )
        if earlier.is_accepted and later.grant.reason == "no entry":
            yield Violation(
                Rule.AGAIN, key, f"{later.grant.run} computes what {earlier.grant.run} had published"
            )
    for lease in leases[-1:]:
        # Nobody else was ever granted it after: the last one that was heard of.
        finish = lease.finish
        if finish is None or finish.state != "complete" or lease.outcome != "refused":
            continue
        if finish.span.ended is not None and finish.span.ended.wall < lease.at_least:
            unheard = {r.run for r in history.reserves if r.key == key and r.span.ended is None}
            if not unheard:
                yield Violation(Rule.REFUSED, key, f"{lease.grant.run} was refused while it held the key")


def _is_before(one: Reserve, other: Reserve) -> bool:
    return one.span.ended is not None and one.span.ended.mono < other.span.began.mono


def _unanswered(history: History, wanted: Sequence[str], survivors: Sequence[str]) -> Iterator[Violation]:
    got: Mapping[str, set[str]] = defaultdict(set)
    for reserve in history.reserves:
        if reserve.origin is not None:
            got[reserve.process].add(reserve.key)
    for finish in history.finishes:
        if finish.outcome is not None and finish.state == "complete":
            got[finish.process].add(finish.key)
    for process in survivors:
        for key in sorted(set(wanted) - got[process]):
            yield Violation(Rule.ANSWERED, key, f"{process} got no answer")
