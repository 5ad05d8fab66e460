"""What each writing verb does with one item: reads, asks the core, writes."""

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import UUID

from whence_catalog import cache, facts, inventory, judging, later, lifecycle, model, replies
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound
from whence_catalog.sql import (
    artifacts,
    locks,
    places,
    projections,
    reservations,
    runs,
    taint,
    traces,
    whole,
)
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Asked, Transaction

if TYPE_CHECKING:
    from whence_catalog.sql import eviction
else:
    (eviction,) = later.modules("whence_catalog.sql", "eviction")


def _decide(
    tx: Transaction, call: model.Call
) -> tuple[cache.Reuse | cache.Verify | cache.Execute, reservations.LiveEntry | None]:
    assert call.key is not None
    found = traces.live(tx, call)
    if call.mode is model.Mode.REFRESH:
        return cache.Execute(cache.Reason.REFRESHED), found
    seen = dataclasses.replace(
        reservations.presence(tx, found, call), overwritten=places.overwritten(tx, found)
    )
    sampled = cache.is_sampled(call.run, call.verify_rate)
    entry, condemned = (None, None) if found is None else (found.entry, found.condemned)
    decision = cache.decide(entry, seen, tx.at, call.max_age, sampled, condemned)
    if isinstance(decision, cache.Verify) and found is not None:
        return dataclasses.replace(decision, trees=decision.unknown & found.trees), found
    return decision, found


def _decide_begin(
    tx: Transaction, call: model.Call
) -> tuple[cache.Reuse | cache.Verify | cache.Execute, reservations.LiveEntry | None]:
    """As `_decide`. Who tracks may be handed what was made of other inputs, so its own are judged beside."""
    decision, found = _decide(tx, call)
    if call.base is not None and not isinstance(decision, cache.Execute):
        condemned = taint.of_inputs(tx, call.inputs)
        if condemned is not None:
            return cache.Execute(condemned), found
    return decision, found


def may_be_advised(call: model.Call) -> bool:
    """Whether the answer may be Verify or Wait: these record nothing, so nobody need queue to write for them."""
    told = call.present or call.missing or call.altered or call.sightings
    return cache.wants_key(call) and call.presence_age is not None and not told


def advice(tx: Transaction, call: model.Call) -> cache.Answer | None:
    """The answer, where it needs nothing recorded; None for a Run that was begun before, which was answered then."""
    assert call.key is not None
    decision, found = _decide(tx, call)
    match decision:
        case cache.Verify():
            return None if found is None or found.is_asking_again else decision
        case cache.Execute():
            waiting = reservations.waiting(tx, call.key, call.owner)
            return None if waiting is None or runs.is_recorded(tx, call.run) else waiting
        case cache.Reuse():
            return None


def foresee(tx: Transaction, call: model.Call) -> cache.Answer:
    """What `begin` would answer now; nothing is recorded, and nobody's lease is asked for."""
    if not cache.wants_key(call):
        return cache.Execute(cache.asked_reason(call), details=call.uncacheable)
    assert call.key is not None
    decision, found = _decide_begin(tx, call)
    match decision:
        case cache.Execute():
            return reservations.waiting(tx, call.key, call.owner) or decision
        case cache.Reuse(entry):
            assert found is not None
            return cache.Reuse(entry, None, artifacts.outputs_of(tx, found.run_id))
        case cache.Verify():
            return decision


def begin(tx: Transaction, call: model.Call, lease_micros: int) -> cache.Answer:
    """Decide what a call is to do, and begin it."""
    stored = fact_log.find(tx, call.run, "start", "reuse", "record")
    if stored is not None:
        return _begin_again(tx, call, stored, lease_micros)
    if not cache.wants_key(call):
        reason = cache.asked_reason(call)
        return cache.Execute(reason, run=_start(tx, call, reason, lease_micros), details=call.uncacheable)
    assert call.key is not None
    if not call.owner:
        raise InvalidInput("a call that wants its key names an owner; without one, all would be the same")
    decision, found = _decide_begin(tx, call)
    if found is not None:
        # Of the entry's own Blobs alone: nobody's word makes another's hits look missing.
        gone = found.stored.keys() & (call.missing | call.altered)
        seen = (found.stored.keys() & call.present) - gone
        reservations.remember(tx, found.run_id, call.project, seen, gone)
    token: int | None = None
    if isinstance(decision, cache.Execute):
        taken = reservations.take(tx, call.key, call.owner, call.run, decision.reason, lease_micros)
        if isinstance(taken, cache.Wait):
            return taken
        token = taken
        # Whoever held it may have published while we waited for its row: look once more.
        decision, found = (decision, found) if tx.is_sequencing else _decide_begin(tx, call)
        if not isinstance(decision, cache.Execute):
            reservations.release(tx, call.key, call.run)
    match decision:
        case cache.Verify():
            return decision
        case cache.Reuse(entry):
            assert found is not None
            return _reuse(tx, call, entry, found)
        case cache.Execute(reason, digests):
            return cache.Execute(reason, digests, _start(tx, call, reason, lease_micros), token)


def _start(tx: Transaction, call: model.Call, reason: cache.Reason, lease_micros: int) -> model.Run:
    call = dataclasses.replace(call, reason=reason.value)
    run = lifecycle.start(call, tx.at)
    fact = fact_log.append(tx, "start", call.run, call.actor, lambda r: facts.start(call, r))
    projections.start(tx, fact, run, call)
    reservations.begin_beat(tx, call.run, lease_micros)
    return run


def _reuse(
    tx: Transaction, call: model.Call, entry: cache.CacheEntry, found: reservations.LiveEntry
) -> cache.Reuse:
    run = lifecycle.reuse(call, entry.run, tx.at)
    fact = fact_log.append(tx, "reuse", call.run, call.actor, lambda r: facts.reuse(call, entry.run, r))
    projections.reuse(tx, fact, run, call, found.run_id)
    return cache.Reuse(entry, run, artifacts.outputs_of(tx, found.run_id))


def _begin_again(
    tx: Transaction, call: model.Call, stored: fact_log.Stored, lease_micros: int
) -> cache.Answer:
    """The same call said twice: the answer of the first time, and its lease while the Run still runs."""
    verb = facts.decode(stored.canonical).verb
    known = runs.get(tx, call.run)
    run = runs.with_texts(tx, known)
    if verb == "reuse" and known.run.origin is not None:
        origin = known.run.origin
        fact_log.reject_other(tx, stored, verb, call.actor, lambda r: facts.reuse(call, origin, r))
        assert known.origin_id is not None
        assert known.run.key is not None
        entry = cache.CacheEntry(known.run.key, origin, known.run.started_at, known.run.started_at)
        return cache.Reuse(entry, run, artifacts.outputs_of(tx, known.origin_id))
    told = dataclasses.replace(call, reason=known.run.reason)
    fact_log.reject_other(tx, stored, "start", call.actor, lambda r: facts.start(told, r))
    if known.run.is_final:
        raise Conflict(f"run {call.run} is already {known.run.state}; start a new run", ErrorKind.WRONG_STATE)
    if not cache.wants_key(call):
        return cache.Execute(
            cache.Reason(known.run.reason or cache.Reason.NOT_ASKED), run=run, details=call.uncacheable
        )
    assert call.key is not None
    locks.hold_keys(tx, [call.key])
    reason = _reason_of_old(tx, call, call.key)
    token = reservations.take(tx, call.key, call.owner, call.run, reason, lease_micros)
    if isinstance(token, cache.Wait):
        return token
    if known.run.state is model.RunState.RUNNING:
        # It lives as long as its lease, or a sweep would take that away.
        reservations.begin_beat(tx, call.run, lease_micros)
    return cache.Execute(reason, run=run, token=token)


def _reason_of_old(tx: Transaction, call: model.Call, key: str) -> cache.Reason:
    """Why a Run that has begun executes: as it was told, unless somebody else held its lease since."""
    held = reservations.lease(tx, key)
    if held is not None and held.run == call.run:
        return held.reason
    # What the other one was told would let this Run displace what that published.
    decision, _ = _decide_begin(tx, call)
    return decision.reason if isinstance(decision, cache.Execute) else cache.Reason.LEASE_LOST


def finish(tx: Transaction, report: model.Report) -> replies.Finished:
    """End a Run, with what it made; publish it under its key where it may."""
    before = runs.get(tx, report.run)
    stored = fact_log.find(tx, report.uid, "finish")
    if stored is not None:
        _, publication = facts.read_finish(report.uid, facts.decode(stored.canonical).body)
        fact_log.reject_other(
            tx, stored, "finish", report.actor, lambda r: facts.finish(report, publication, r)
        )
        said = dataclasses.replace(before.run, error=report.error)
        return replies.Finished(said, artifacts.outputs_of(tx, before.id), publication)
    earlier = artifacts.outputs_of(tx, before.id)
    if before.run.is_final and _was_recorded_whole(tx, report):
        return replies.Finished(before.run, earlier, model.Publication(model.Outcome.NONE))
    lifecycle.refuse_roles_again([output.role for output in earlier], report.outputs, report.run)
    if report.trace is not None:
        cache.refuse_other_trace(
            [part for _, part in runs.placed_components(tx, before.id)], before.run, report.trace
        )
    publication = _publication(tx, before, earlier, report)
    after = lifecycle.finish(before.run, report, str(publication), tx.at)
    fact = fact_log.append(
        tx, "finish", report.uid, report.actor, lambda r: facts.finish(report, publication, r)
    )
    made = projections.finish(tx, fact, tx.at, before.id, before.run, after, report, publication)
    reservations.end_beat(tx, after.uid)
    if before.run.key is not None:
        reservations.release(tx, before.run.key, after.uid)
    _remember(tx, before.id, after.project, report)
    return replies.Finished(after, (*earlier, *made), publication)


def _was_recorded_whole(tx: Transaction, report: model.Report) -> bool:
    """Whether this very report came before, with the start, in one fact: who opened a call and who completed
    it may each have kept what they said, and the copies of both have come together elsewhere.
    """
    stored = fact_log.find(tx, report.run, "start", "reuse", "record")
    if stored is None or (known := facts.decode(stored.canonical)).verb != "record":
        return False
    nothing = model.Publication(model.Outcome.NONE)
    began = cast("facts.Body", known.body["start"])
    try:
        fact_log.reject_other(
            tx, stored, "record", known.actor, lambda r: facts.record(began, facts.finish(report, nothing, r))
        )
    except Conflict:
        return False  # what it says then is refused as of any Run that has ended
    return True


def _remember(tx: Transaction, run_id: int, project: str, report: model.Report) -> None:
    """The Blobs of these outputs are in the store: they were put there before this was said."""
    stored = frozenset(
        claim.content.digest
        for claim in report.outputs
        if claim.content.strength is model.Strength.CONTENT and claim.location is None
    )
    reservations.remember(tx, run_id, project, stored, ())


def _publication(
    tx: Transaction, before: runs.Stored, earlier: Sequence[model.Output], report: model.Report
) -> model.Publication:
    run = before.run
    if run.key is None:
        return model.Publication(model.Outcome.NONE)
    made = {output.role: output.version.digest for output in earlier}
    made |= {claim.role: claim.content.digest for claim in report.outputs}
    found = reservations.live(tx, run.key if report.trace is None else report.trace.key)
    held = reservations.lease(tx, run.key)
    is_fenced = (
        held is not None
        and (held.owner, held.token) == (report.owner, report.token)
        and held.until > tx.micros
    )
    fenced = cache.reason_to_publish(run, report, held.reason) if held is not None and is_fenced else None
    if fenced is not None and found is not None:
        # It may have become so since the step was told why to run.
        revoked = None if found.entry.revoked_at is None else cache.Reason.REVOKED
        fenced = found.condemned or revoked or fenced
    condemned = taint.foresee(tx, before.id, report.inputs, report.outputs)
    outputs: tuple[model.Output | model.OutputClaim, ...] = (*earlier, *report.outputs)
    live = None if found is None else cache.results(found.digests, outputs)
    results = cache.results(made, outputs)
    return cache.settle(run, report, live, results, fenced, condemned, cache.placed(outputs))


Item: TypeAlias = tuple[model.Call, model.Report]
_NOTHING = model.Publication(model.Outcome.NONE)


class OneByOne(Exception):
    """Something about one of several Runs is not for all of them together to do."""


def record(tx: Transaction, item: Item) -> replies.Finished:
    """Record a whole Run in one fact."""
    call, report = item
    _refuse_other_run(call, report)
    stored = fact_log.find(tx, call.run, "record", "start", "reuse")
    if stored is None:
        return _record_new(tx, [item])[0]
    fact_log.reject_other(tx, stored, "record", call.actor, _saying(item))
    known = runs.get(tx, call.run)
    return replies.Finished(known.run, artifacts.outputs_of(tx, known.id), _NOTHING)


def record_together(tx: Transaction, items: Sequence[Item]) -> Sequence[replies.Finished]:
    """As `record`, of several new Runs; later ones may take what earlier ones made.

    Raises:
        OneByOne: one is recorded already, or named twice, or a quarantine reaches one.
        WhenceError: one of them is refused.
    """
    for call, report in items:
        _refuse_other_run(call, report)
    uids = [call.run for call, _ in items]
    if len(set(uids)) < len(uids) or fact_log.are_any_said(tx, uids):
        raise OneByOne
    try:
        return _record_new(tx, items)
    except taint.Reached:
        raise OneByOne from None


def asked_of_recorded(items: Sequence[Item]) -> tuple[Mapping[str, int], Sequence[Asked]]:
    """How many rows of which tables these make, and what they ask once all is held that they need."""
    rows, asked = whole.asked(items)
    return rows, [*asked, *(fact_log.asked(call.run) for call, _ in items if len(items) == 1)]


def _record_new(tx: Transaction, items: Sequence[Item]) -> list[replies.Finished]:
    after = [lifecycle.record(call, report, str(_NOTHING), tx.at) for call, report in items]
    numbers = fact_log.append_all(
        tx, [fact_log.Said("record", item[0].run, item[0].actor, _saying(item)) for item in items]
    )
    wholes = [
        whole.Whole(number, tx.at, run, *item)
        for number, run, item in zip(numbers, after, items, strict=True)
    ]
    recorded = whole.put(tx, wholes)
    for (run_id, _), (call, report) in zip(recorded, items, strict=True):
        _remember(tx, run_id, call.project, report)
    return [replies.Finished(run, made, _NOTHING) for run, (_, made) in zip(after, recorded, strict=True)]


def _saying(item: Item) -> fact_log.BodyOf:
    call, report = item
    return lambda redactor: facts.record(
        facts.start(call, redactor), facts.finish(report, _NOTHING, redactor)
    )


def _refuse_other_run(call: model.Call, report: model.Report) -> None:
    if call.run != report.run:
        raise InvalidInput(f"the call is of run {call.run}, the report of run {report.run}")
    if report.trace is not None:
        raise InvalidInput("a run that is recorded whole is published under no key, so it has no trace")


def add(tx: Transaction, addition: model.Addition) -> tuple[model.Output, ...]:
    """Add what was taken and made to a Run that goes on."""
    before = runs.get(tx, addition.run)

    def body(redactor: facts.Redactor) -> facts.Body:
        return facts.add(addition, redactor)

    stored = fact_log.find(tx, addition.uid, "add")
    if stored is not None:
        fact_log.reject_other(tx, stored, "add", addition.actor, body)
    else:
        lifecycle.refuse_additions(before.run)
        made = [output.role for output in artifacts.outputs_of(tx, before.id)]
        lifecycle.refuse_roles_again(made, addition.outputs, addition.run)
        fact = fact_log.append(tx, "add", addition.uid, addition.actor, body)
        projections.add(tx, fact, tx.at, before.id, addition)
    mine = {claim.role for claim in addition.outputs}
    return tuple(output for output in artifacts.outputs_of(tx, before.id) if output.role in mine)


def log(tx: Transaction, series: model.Series) -> None:
    """Append points to a Run's series."""
    before = runs.get(tx, series.run)
    stored = fact_log.find(tx, series.uid, "log")
    if stored is not None:
        fact_log.reject_other(tx, stored, "log", series.actor, lambda _: facts.log(series))
        return
    after = lifecycle.log(before.run, series)
    fact = fact_log.append(tx, "log", series.uid, series.actor, lambda _: facts.log(series))
    projections.log(tx, fact, before.id, before.run, after, series)


def move_alias(tx: Transaction, move: model.AliasMove) -> model.Alias:
    """Point an alias at a Version."""
    model.checked_alias(move.name)

    def body(redactor: facts.Redactor) -> facts.Body:
        return facts.alias(move, redactor)

    stored = fact_log.find(tx, move.uid, "alias")
    if stored is not None:
        fact_log.reject_other(tx, stored, "alias", move.actor, body)
    else:
        artifacts.find(tx, move.artifact)
        fact = fact_log.append(tx, "alias", move.uid, move.actor, body)
        projections.alias(tx, fact, tx.at, move.actor, move)
    return next(alias for alias in artifacts.aliases(tx, move.artifact) if alias.name == move.name)


def revoke(tx: Transaction, asked: inventory.Revocation) -> tuple[inventory.Entry, ...]:
    """Let the entries of these keys do no more."""

    said = judging.Withdrawal(asked.keys, judging.REVOKED)

    def body(redactor: facts.Redactor) -> facts.Body:
        return judging.withdraw(said, asked.project, None, {}, asked.reason, redactor)

    if not 0 < len(asked.keys) <= inventory.MOST_EVICTED:
        raise InvalidInput(f"{len(asked.keys)} keys; 1 to {inventory.MOST_EVICTED:,} are revoked at once")
    stored = fact_log.find(tx, asked.uid, "withdraw")
    if stored is not None:
        fact_log.reject_other(tx, stored, "withdraw", asked.actor, body)
        return eviction.newest(tx, asked.keys)
    found = eviction.standing(tx, asked.project, asked.keys)
    absent = [key for key in asked.keys if key not in found]
    if absent:
        raise NotFound(
            f"no cache entry of project {asked.project} is looked up under {', '.join(absent[:3])}"
            f"{' …' if len(absent) > 3 else ''}; `whence cache ls` lists them",
            ErrorKind.NO_SUCH_KEY,
        )
    fact = fact_log.append(tx, "withdraw", asked.uid, asked.actor, body)
    projections.withdraw(tx, fact, tx.at, said)
    # Who asked is read out of the fact, whose row may be written only at the end of the transaction.
    return tuple(dataclasses.replace(entry, by=asked.actor) for entry in eviction.newest(tx, asked.keys))


def evict(tx: Transaction, asked: inventory.Eviction) -> inventory.Evicted:
    """Forget the entries that go beyond the limits."""

    def body(redactor: facts.Redactor) -> facts.Body:
        return judging.withdraw(said, asked.project, asked.job, asked.limits.said, asked.reason, redactor)

    stored = fact_log.find(tx, asked.uid, "withdraw")
    if stored is not None:
        said = judging.read_withdrawal(facts.decode(stored.canonical).body)
        fact_log.reject_other(tx, stored, "withdraw", asked.actor, body)
        found = eviction.evictable(tx, asked)
        gone = tuple(inventory.Gone(key, "this eviction took it") for key in said.keys)
        return dataclasses.replace(found, gone=gone)
    found = eviction.evictable(tx, asked)
    if not tx.is_sequencing:
        held = {one.key for one in found.gone}
        locks.hold_many_keys(tx, held)
        locks.hold_pins(tx)
        # Meanwhile somebody may have published under them, or come to need what they hand out: look once more.
        found = eviction.evictable(tx, asked)
        found = dataclasses.replace(found, gone=tuple(one for one in found.gone if one.key in held))
    if found.gone:
        said = judging.Withdrawal(tuple(one.key for one in found.gone), judging.EVICTED)
        fact = fact_log.append(tx, "withdraw", asked.uid, asked.actor, body)
        projections.withdraw(tx, fact, tx.at, said)
    return found


def presume(tx: Transaction, run: UUID) -> None:
    """Presume aborted a Run that was not heard of."""
    before = runs.get(tx, run)
    if reservations.is_alive(tx, run):
        raise Conflict(f"run {run} has just been heard of", ErrorKind.WRONG_STATE)
    after = lifecycle.presume_aborted(before.run, tx.at)
    fact = fact_log.append(
        tx, "presume", uuid.uuid4(), model.Actor("whence sweep"), lambda _: facts.presume(run)
    )
    projections.presume(tx, fact, before.id, after)
    reservations.end_beat(tx, run)
    if after.key is not None:
        reservations.release(tx, after.key, run)
