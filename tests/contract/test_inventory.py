"""What the cache holds, what may go and what it saved, whatever catalog is asked."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, artifact, claim, digest_of, one, taken
from whence_catalog import cache, catalog, inventory, model
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput, NotFound
from whence_catalog.inventory import EntryState

AT_ONCE = timedelta(0)


def revocation(*keys: str, **fields: Any) -> inventory.Revocation:
    return replace(inventory.Revocation(simulator.uid(), "default", keys, ACTOR, "a broken GPU"), **fields)


def eviction(project: str = "default", job: str | None = None, **limits: Any) -> inventory.Eviction:
    return inventory.Eviction(simulator.uid(), project, inventory.Limits(**limits), ACTOR, job, "room")


def revoke(world: World, *keys: str) -> tuple[inventory.Entry, ...]:
    return one(world.catalog.revoke_entries([revocation(*keys)]))  # type: ignore[no-any-return]


def evict(world: World, **limits: Any) -> inventory.Evicted:
    return one(world.catalog.evict_entries([eviction(**limits)]))  # type: ignore[no-any-return]


def entered(world: World, c: float = 1.0, content: bytes = b"M", job: str = "train") -> str:
    """The key of a call that was computed and entered."""
    return str(world.run(job, {"model:m": content}, c=c).run.key)


def hit(world: World, c: float = 1.0, job: str = "train") -> cache.Reuse:
    answer = world.ask(world.call(job, c))
    assert isinstance(answer, cache.Reuse), answer
    return answer


def listed(world: World, **filters: Any) -> list[inventory.Entry]:
    return list(world.catalog.cache_entries(**filters).items)


def key_of(world: World, c: float = 1.0, job: str = "train") -> str:
    return str(world.call(job, c).key)


# ── entries ──────────────────────────────────────────────────────────────────────────────────────


def test_entries_are_listed_newest_first_with_what_they_were_good_for(world: World) -> None:
    entered(world, 1.0, b"12345")
    entered(world, 2.0)
    for _ in range(3):
        last = hit(world, 1.0)
    newest, first = listed(world)
    assert [newest.key, first.key] == [key_of(world, 2.0), key_of(world, 1.0)]
    assert (newest.hits, newest.last_used_at, first.hits) == (0, None, 3)
    assert last.run is not None
    assert first.last_used_at == last.run.started_at
    assert (first.project, first.job, first.state, first.size_bytes) == (
        "default",
        "train",
        EntryState.LIVE,
        5,
    )
    made_by = world.catalog.run(str(first.run)).run
    assert first.seconds == ((made_by.finished_at or made_by.started_at) - made_by.started_at).total_seconds()


def test_entries_are_listed_by_project_job_state_and_age(world: World) -> None:
    elsewhere = World(world.catalog, project="other")
    first = entered(world)
    entered(world, job="score")
    elsewhere.run("train", {"other/model:m": b"M"})
    revoke(world, first)
    assert {(e.project, e.job) for e in listed(world, job="train")} == {
        ("default", "train"),
        ("other", "train"),
    }
    assert [e.project for e in listed(world, projects=["other"])] == ["other"]
    assert [e.key for e in listed(world, states=[EntryState.REVOKED])] == [first]
    assert len(listed(world, states=[EntryState.REVOKED, EntryState.LIVE])) == 3
    assert len(listed(world, older_than=AT_ONCE)) == 3
    assert listed(world, older_than=timedelta(hours=1)) == listed(world, projects=[]) == []


def test_pages_of_entries_do_not_shift_while_more_are_entered(world: World) -> None:
    keys = [entered(world, float(c)) for c in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = world.catalog.cache_entries(first=2, after=after)
        seen += [entry.key for entry in page.items]
        entered(world, 100.0 + len(seen))
        if (after := page.end) is None:
            break
    assert seen == keys[::-1]


def test_a_key_is_shown_with_its_parts_its_history_and_who_computes_it(world: World) -> None:
    key = entered(world, content=b"A")
    first = listed(world)[0].run
    call = world.call(mode=model.Mode.REFRESH)
    begun = world.begin(call)
    record = world.catalog.cache_key(key[:16])
    assert record.key == key
    assert {part.name: part.preview for part in record.components}["params/c"] == "1.0"
    assert record.holder is not None
    assert (record.holder.owner, record.holder.run) == (call.owner, call.run)
    assert record.holder.reason is cache.Reason.REFRESHED
    world.finish(world.report(call, {"model:m": b"B"}, begun.token))
    record = world.catalog.cache_key(key)
    assert record.holder is None
    assert [(entry.run, entry.state) for entry in record.history] == [
        (call.run, EntryState.LIVE),
        (first, EntryState.SUPERSEDED),
    ]
    assert record.entry == record.history[0]
    (diverged,) = record.divergences
    assert (diverged.run, diverged.against) == (call.run, first)


def test_a_key_that_is_computed_for_the_first_time_is_shown_too(world: World) -> None:
    call = world.call()
    world.begin(call)
    record = world.catalog.cache_key(str(call.key))
    assert (record.entry, record.history, record.job) == (None, (), "train")
    assert record.holder is not None


def test_what_is_no_key_or_not_recorded_or_not_of_these_projects_is_refused(world: World) -> None:
    key = entered(world)
    for text, error in (("wk1:0000000000", NotFound), ("wk1:12", InvalidInput), ("zz" * 10, InvalidInput)):
        with pytest.raises(error):
            world.catalog.cache_key(text)
    with pytest.raises(NotFound) as refused:
        world.catalog.cache_key(key, ["other"])
    assert refused.value.kind is ErrorKind.NO_SUCH_KEY


# ── revoking ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("content", "diverges"), [(b"M", False), (b"other", True)])
def test_what_was_revoked_is_made_again_and_superseded(world: World, content: bytes, diverges: bool) -> None:
    key = entered(world)
    (entry,) = revoke(world, key)
    assert (entry.state, entry.because) == (EntryState.REVOKED, "a broken GPU")
    call = world.call()
    begun = world.begin(call)
    assert begun.reason is cache.Reason.REVOKED
    assert begun.run is not None
    assert begun.run.reason == "revoked"
    finished = world.finish(world.report(call, {"model:m": content}, begun.token))
    assert finished.publication.outcome is model.Outcome.SUPERSEDED
    assert finished.publication.is_divergence is diverges
    assert hit(world).entry.run == call.run
    parted = world.catalog.divergences().items
    assert [d.cause for d in parted] == (["revoked; other bytes for model:m"] if diverges else [])


def test_what_was_revoked_while_it_was_computed_again_is_superseded(world: World) -> None:
    key = entered(world)
    call = world.call(mode=model.Mode.REFRESH)
    begun = world.begin(call)
    revoke(world, key)
    world.finish(world.report(call, {"model:m": b"M"}, begun.token))
    assert hit(world).entry.run == call.run


def test_a_revocation_said_twice_is_one_fact_and_said_otherwise_a_conflict(world: World) -> None:
    key = entered(world)
    asked = revocation(key)
    first = one(world.catalog.revoke_entries([asked]))
    assert one(world.catalog.revoke_entries([asked])) == first
    assert len(world.catalog.facts()) == 3
    with pytest.raises(Conflict):
        one(world.catalog.revoke_entries([replace(asked, reason="another")]))


def test_an_entry_tells_who_withdrew_it_and_why_also_once_it_is_superseded(world: World) -> None:
    key = entered(world)
    world.run("train", {"model:m": b"M"}, mode=model.Mode.REFRESH)
    assert [entry.by for entry in listed(world)] == [None]
    revoke(world, key)
    world.run("train", {"model:m": b"other"})
    evict(world, entries=0)
    after, before = world.catalog.cache_key(key).history
    assert (after.state, after.by, after.because) == (EntryState.EVICTED, ACTOR, "room")
    assert (before.state, before.by, before.because) == (EntryState.SUPERSEDED, ACTOR, "a broken GPU")


def test_an_entry_whose_outputs_are_quarantined_or_tainted_is_shown_as_that_until_they_are_not(
    world: World,
) -> None:
    (raw,) = world.run("load", {"dataset:raw": b"raw"}).outputs
    world.run("train", {"model:m": b"M"}, inputs=[taken(raw)])
    bad = raw.version
    said = model.QuarantineClaim(simulator.uid(), bad.artifact, bad.digest, ACTOR, "shifted")
    one(world.catalog.quarantine([said]))
    shown = {entry.job: (entry.state, entry.condemned) for entry in listed(world)}
    assert shown == {
        "load": (EntryState.LIVE, cache.Reason.QUARANTINED),
        "train": (EntryState.LIVE, cache.Reason.TAINTED),
    }
    one(world.catalog.release([model.Release(simulator.uid(), said.uid, ACTOR, "it was right")]))
    assert {entry.condemned for entry in listed(world)} == {None}


def test_all_keys_of_a_revocation_are_revoked_or_none(world: World) -> None:
    key = entered(world)
    for keys in ((key, "wk1:" + "0" * 64), ()):
        (result,) = world.catalog.revoke_entries([revocation(*keys)])
        assert isinstance(result, NotFound | InvalidInput)
    (result,) = world.catalog.revoke_entries([revocation(key, project="other")])
    assert isinstance(result, NotFound)
    assert hit(world)


# ── evicting ─────────────────────────────────────────────────────────────────────────────────────


def test_what_was_evicted_is_no_entry_any_more_and_can_be_entered_again(world: World) -> None:
    key = entered(world)
    found = evict(world, older_than=AT_ONCE)
    assert ([g.key for g in found.gone], found.entries, found.is_enough) == ([key], 0, True)
    (entry,) = listed(world)
    assert (entry.state, entry.because) == (EntryState.EVICTED, "room")
    call = world.call()
    begun = world.begin(call)
    assert begun.reason is cache.Reason.NO_ENTRY
    finished = world.finish(world.report(call, {"model:m": b"other"}, begun.token))
    assert finished.publication == model.Publication(model.Outcome.ENTERED)
    assert [e.state for e in world.catalog.cache_key(key).history] == [EntryState.LIVE, EntryState.EVICTED]


def test_the_entry_that_was_used_least_recently_goes_first(world: World) -> None:
    keys = [entered(world, float(c)) for c in range(3)]
    hit(world, 0.0)
    assert [g.key for g in evict(world, entries=2).gone] == [keys[1]]
    assert {e.key for e in listed(world, states=[EntryState.LIVE])} == {keys[0], keys[2]}


def test_an_entry_whose_output_has_an_alias_stays_and_it_is_said_why(world: World) -> None:
    key, other = entered(world, 1.0, b"A"), entered(world, 2.0, b"B")
    move = model.AliasMove(simulator.uid(), artifact("model:m"), "prod", digest_of(b"A"), ACTOR)
    one(world.catalog.move_aliases([move]))
    found = evict(world, older_than=AT_ONCE)
    assert [g.key for g in found.gone] == [other]
    assert [(k.key, [str(pin) for pin in k.pins]) for k in found.kept] == [(key, ["alias prod of model:m"])]
    assert not found.is_enough
    one(world.catalog.move_aliases([replace(move, uid=simulator.uid(), digest=digest_of(b"B"))]))
    assert [g.key for g in evict(world, older_than=AT_ONCE).gone] == [key]


def test_what_is_held_or_deployed_stays_until_it_is_not(world: World) -> None:
    held, serving = entered(world, 1.0, b"A"), entered(world, 2.0, b"B")
    named = artifact("model:m")
    hold = model.HoldClaim(simulator.uid(), named, digest_of(b"A"), ACTOR, "a dispute")
    one(world.catalog.hold([hold]))
    deployed = model.DeploymentClaim(simulator.uid(), named, digest_of(b"B"), "eu", ACTOR)
    one(world.catalog.deploy([deployed]))
    found = evict(world, entries=0)
    assert {kept.key: [str(pin) for pin in kept.pins] for kept in found.kept} == {
        held: ["a hold of model:m"],
        serving: ["deployment eu of model:m"],
    }
    one(world.catalog.release([model.Release(simulator.uid(), hold.uid, ACTOR, "settled")]))
    one(world.catalog.deploy([replace(deployed, uid=simulator.uid(), digest=None)]))
    assert len(evict(world, entries=0).gone) == 2


def test_an_eviction_is_of_one_project_and_of_one_job_of_it(world: World) -> None:
    elsewhere = World(world.catalog, project="other")
    entered(world)
    score = entered(world, job="score")
    elsewhere.run("train", {"other/model:m": b"M"})
    found = one(world.catalog.evict_entries([eviction(job="score", older_than=AT_ONCE)]))
    assert [g.key for g in found.gone] == [score]
    assert evict(world, entries=0).entries == 0
    assert [e.project for e in listed(world, states=[EntryState.LIVE])] == ["other"]
    nowhere = one(world.catalog.evict_entries([eviction("nowhere", entries=0)]))
    assert (nowhere.gone, nowhere.is_enough) == ((), True)


def test_what_may_go_is_told_without_taking_it(world: World) -> None:
    key = entered(world)
    asked = eviction(older_than=AT_ONCE)
    planned = world.catalog.evictable(asked)
    assert [g.key for g in planned.gone] == [key]
    assert hit(world)
    assert [g.key for g in one(world.catalog.evict_entries([asked])).gone] == [key]


def test_an_eviction_said_twice_takes_what_it_took(world: World) -> None:
    key = entered(world)
    asked = eviction(entries=0)
    one(world.catalog.evict_entries([asked]))
    again = entered(world)
    assert again == key
    assert [g.key for g in one(world.catalog.evict_entries([asked])).gone] == [key]
    assert hit(world)
    with pytest.raises(Conflict):
        one(world.catalog.evict_entries([replace(asked, limits=inventory.Limits(entries=1))]))


def test_a_revoked_entry_may_go_too(world: World) -> None:
    key = entered(world)
    revoke(world, key)
    assert [g.key for g in evict(world, entries=0).gone] == [key]
    assert world.begin(world.call()).reason is cache.Reason.NO_ENTRY


# ── divergences ──────────────────────────────────────────────────────────────────────────────────


def diverge(world: World, c: float = 1.0, job: str = "train") -> tuple[UUID, UUID]:
    """Two Runs of one key that made different bytes."""
    before = world.run(job, {"model:m": b"A", "report:r": b"R"}, c=c)
    call = world.call(job, c, mode=model.Mode.REFRESH)
    begun = world.begin(call)
    world.finish(world.report(call, {"model:m": b"B", "report:r": b"R"}, begun.token))
    return before.run.uid, call.run


def test_a_divergence_shows_both_sides_and_its_cause(world: World) -> None:
    before, after = diverge(world)
    (found,) = world.catalog.divergences().items
    assert (found.run, found.against, found.key, found.job) == (after, before, key_of(world), "train")
    assert found.cause == "refreshed; other bytes for model:m"
    (difference,) = found.differences
    assert difference.before is not None
    assert difference.after is not None
    assert difference.role == "model:m"
    assert (difference.before.digest, difference.after.digest) == (digest_of(b"A"), digest_of(b"B"))
    assert found.at == world.catalog.run(str(after)).run.finished_at


def test_divergences_are_listed_by_project_and_job_in_pages(world: World) -> None:
    runs = [diverge(world, float(c))[1] for c in range(3)]
    diverge(world, job="score")
    assert world.catalog.divergences().items[0].job == "score"
    seen: list[UUID] = []
    after = None
    while True:
        page = world.catalog.divergences(job="train", first=2, after=after)
        seen += [found.run for found in page.items]
        if (after := page.end) is None:
            break
    assert seen == runs[::-1]
    assert world.catalog.divergences(projects=["other"]).items == ()


# ── statistics ───────────────────────────────────────────────────────────────────────────────────


def test_what_a_job_saved_is_its_origins_time_and_bytes_for_each_hit(world: World) -> None:
    entered(world, 1.0, b"12345")
    entered(world, 2.0, b"1")
    hits = [hit(world, c) for c in (1.0, 1.0, 2.0)]
    seconds = sum(
        ((ran.finished_at or ran.started_at) - ran.started_at).total_seconds()
        for ran in (world.catalog.run(str(found.entry.run)).run for found in hits)
    )
    found = world.catalog.cache_statistics()
    (job,) = found.jobs
    assert (job.project, job.job, job.entries, job.hits, job.size_bytes) == ("default", "train", 2, 3, 11)
    assert job.seconds == pytest.approx(seconds)
    assert (job.misses, job.divergences, job.unsized) == ({"no entry": 2}, 0, 0)
    assert found.total.hits == 3


def test_misses_are_counted_by_reason(world: World) -> None:
    diverge(world)
    world.begin(world.call(key=None, components=(), uncacheable=("it is opaque",)))
    world.begin(world.call(c=5.0, mode=model.Mode.RECORD))
    (job,) = world.catalog.cache_statistics(job="train").jobs
    assert job.misses == {"no entry": 1, "refreshed": 1, "uncacheable": 1}
    assert job.divergences == 1


def test_an_output_of_unknown_size_is_said(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    made = replace(claim("model:m", b"M"), content=model.Content(digest_of(b"M")))
    world.finish(replace(world.report(call, token=begun.token), outputs=(made,)))
    hit(world)
    (job,) = world.catalog.cache_statistics().jobs
    assert (job.size_bytes, job.unsized) == (0, 1)


def test_statistics_are_of_a_span_of_time_and_of_projects_and_jobs(world: World) -> None:
    entered(world)
    before = hit(world)
    after = hit(world)
    assert before.run is not None
    assert after.run is not None

    def hits(**span: datetime) -> int:
        return world.catalog.cache_statistics(job="train", **span).total.hits

    assert hits() == 2
    assert hits(since=after.run.started_at) == hits(until=after.run.started_at) == 1
    assert hits(since=before.run.started_at, until=before.run.started_at) == 0
    assert world.catalog.cache_statistics(projects=["other"]).jobs == ()
    assert world.catalog.cache_statistics(job="none").jobs == ()


# ── why a run executed ───────────────────────────────────────────────────────────────────────────


def test_a_run_says_why_it_executed_and_one_that_was_reused_says_nothing(world: World) -> None:
    first = world.run("train", {"model:m": b"M"}).run
    assert first.reason == "no entry"
    assert world.catalog.run(str(first.uid)).run.reason == "no entry"
    reused = hit(world).run
    assert reused is not None
    assert reused.reason is None


def test_a_start_said_again_is_answered_for_the_reason_of_the_first_time(world: World) -> None:
    entered(world)
    call = world.call(mode=model.Mode.REFRESH)
    first, second = world.begin(call), world.begin(call)
    assert first.reason is second.reason is cache.Reason.REFRESHED
    assert first.run == second.run


@pytest.mark.parametrize(
    "ask",
    [
        lambda found, first, after: found.cache_entries(first=first, after=after),
        lambda found, first, after: found.divergences(first=first, after=after),
    ],
)
def test_pages_that_cannot_be_are_refused(
    world: World, ask: Callable[[catalog.Catalog, int, str | None], object]
) -> None:
    foreign = world.note("make", {"model:m": b"M"}) and world.catalog.list_runs().cursors[0]
    for first, after in ((0, None), (catalog.MOST_AT_ONCE + 1, None), (5, "x"), (5, foreign)):
        with pytest.raises(InvalidInput):
            ask(world.catalog, first, after)
