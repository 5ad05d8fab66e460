"""Who may compute a key, and whose result is entered: what holds for whoever asks, and however late."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests import simulator
from tests.simulator import World
from whence_catalog import cache, catalog, model
from whence_catalog.errors import ErrorKind, InvalidInput
from whence_catalog.sql import catalog as sql_catalog
from whence_catalog.sql.catalog import SqlCatalog

HOUR = timedelta(hours=1)


def let_a_lease_pass(world: World, *calls: model.Call) -> None:
    world.catalog.beat([call.run for call in calls], timedelta(microseconds=-1))


def test_a_holder_that_was_presumed_aborted_is_told_that_its_lease_is_lost(world: World) -> None:
    call = world.call()
    world.begin(call)
    let_a_lease_pass(world, call)
    assert world.catalog.sweep() == [call.run]
    assert world.catalog.beat([call.run], catalog.LEASE) == {call.run}
    assert world.begin(world.call()).token is not None, "nor does its beat take the key from others"


def test_a_run_that_has_ended_by_its_own_word_has_no_lease_to_lose(world: World) -> None:
    finished = world.run(outputs={"model:m": b"M"})
    assert world.catalog.beat([finished.run.uid], catalog.LEASE) == frozenset()


def test_a_sweep_between_two_begins_of_a_run_takes_no_lease_from_it(world: World) -> None:
    call = world.call()
    world.begin(call)
    let_a_lease_pass(world, call)
    again = world.begin(call)  # its answer was lost, and it asked late
    assert world.catalog.sweep() == []
    assert isinstance(world.ask(world.call()), cache.Wait)
    finished = world.finish(world.report(call, {"model:m": b"M"}, again.token))
    assert finished.publication.outcome is model.Outcome.ENTERED


def test_a_presumed_run_that_begins_after_all_keeps_its_lease_by_beating(world: World) -> None:
    call = world.call()
    world.begin(call)
    let_a_lease_pass(world, call)
    world.catalog.sweep()
    again = world.begin(call)
    assert world.catalog.beat([call.run], catalog.LEASE) == frozenset()
    finished = world.finish(world.report(call, {"model:m": b"M"}, again.token))
    assert finished.publication.outcome is model.Outcome.ENTERED


def test_who_begins_again_after_a_refresh_by_another_does_not_displace_what_that_published(
    world: World,
) -> None:
    slow, fresh = world.call(), world.call(mode=model.Mode.REFRESH)
    world.begin(slow)
    let_a_lease_pass(world, slow)
    world.finish(world.report(fresh, {"model:m": b"M"}, world.begin(fresh).token))
    again = world.begin(slow)
    assert again.reason is cache.Reason.LEASE_LOST
    late = world.finish(world.report(slow, {"model:m": b"N"}, again.token))
    assert late.publication.outcome is model.Outcome.DIVERGED
    answer = world.ask(world.call())
    assert isinstance(answer, cache.Reuse)
    assert answer.entry.run == fresh.run


def test_who_begins_again_executes_for_the_reason_that_it_was_told(world: World) -> None:
    world.run(outputs={"model:m": b"M"})
    call = world.call(mode=model.Mode.REFRESH)
    begun = world.begin(call)
    assert (world.begin(call).reason, begun.reason) == (cache.Reason.REFRESHED, cache.Reason.REFRESHED)


def test_without_an_owner_nobody_is_given_a_key(world: World) -> None:
    with pytest.raises(InvalidInput, match="names an owner"):
        world.ask(world.call(owner=""))


def test_another_owner_waits_and_is_told_who_holds_it_since_when_and_until_when(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    for age in (None, HOUR):
        answer = world.ask(world.call(presence_age=age))
        assert isinstance(answer, cache.Wait)
        assert answer.holder == call.owner
        assert begun.run is not None
        assert answer.since == begun.run.started_at
        assert answer.until == answer.since + catalog.LEASE


def test_the_same_owner_is_not_made_to_wait_for_itself(world: World) -> None:
    first = world.call(owner="one")
    second = world.call(owner="one")
    tokens = [world.begin(call).token for call in (first, second)]
    assert tokens[0] is not None
    assert tokens[1] is not None
    assert tokens[0] < tokens[1]
    late = world.finish(world.report(first, {"model:m": b"M"}, tokens[0]))
    assert late.publication.outcome is model.Outcome.REFUSED, "its token is the old one"
    assert world.finish(world.report(second, {"model:m": b"M"}, tokens[1])).publication.outcome is (
        model.Outcome.ENTERED
    )


def test_the_token_of_another_owner_publishes_nothing(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    report = replace(world.report(call, {"model:m": b"M"}, begun.token), owner="somebody else")
    assert world.finish(report).publication.outcome is model.Outcome.REFUSED


def test_a_lease_that_has_lapsed_publishes_nothing_though_nobody_took_it(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    let_a_lease_pass(world, call)
    late = world.finish(world.report(call, {"model:m": b"M"}, begun.token))
    assert late.publication == model.Publication(model.Outcome.REFUSED, "lease lost")


@pytest.mark.parametrize("state", [model.RunState.FAILED, model.RunState.ABORTED])
def test_whoever_ends_badly_lets_the_next_one_in_at_once(world: World, state: model.RunState) -> None:
    call = world.call()
    begun = world.begin(call)
    report = world.report(call, token=begun.token, state=state)
    for _ in range(2):  # said twice, it is the same
        world.finish(report)
        assert begun.token is not None
    then = world.begin(world.call())
    assert then.token is not None
    assert then.token > begun.token
    world.finish(report)
    assert isinstance(world.ask(world.call()), cache.Wait), "nor does it let go of another's lease"


def test_who_was_late_does_not_let_go_of_the_lease_that_another_has_by_now(world: World) -> None:
    slow, quick = world.call(), world.call()
    begun = world.begin(slow)
    let_a_lease_pass(world, slow)
    now = world.begin(quick)
    world.finish(world.report(slow, {"model:m": b"M"}, begun.token))
    assert isinstance(world.ask(world.call()), cache.Wait)
    finished = world.finish(world.report(quick, {"model:m": b"M"}, now.token))
    assert finished.publication.outcome is model.Outcome.ENTERED


def test_a_beat_holds_a_key_for_no_longer_than_a_lease_of_the_catalog(world: World) -> None:
    call = world.call()
    begun = world.begin(call)
    assert begun.run is not None
    world.catalog.beat([call.run], timedelta(days=365))
    answer = world.ask(world.call())
    assert isinstance(answer, cache.Wait)
    assert answer.until - begun.run.started_at < HOUR


# ── the clock, and the length of a lease ─────────────────────────────────────────────────────────


def test_a_catalog_may_be_told_how_long_a_lease_is(tmp_path: Path) -> None:
    lease = timedelta(seconds=5)
    with closing(SqlCatalog.open(tmp_path / "catalog.db", lease=lease)) as opened:
        world = World(opened)
        begun = world.begin(world.call())
        answer = world.ask(world.call())
        assert isinstance(answer, cache.Wait)
        assert begun.run is not None
        assert answer.until == begun.run.started_at + lease


@pytest.mark.parametrize("lease", [timedelta(0), timedelta(seconds=-1)])
def test_a_lease_of_no_time_is_refused(tmp_path: Path, lease: timedelta) -> None:
    with pytest.raises(InvalidInput) as caught:
        sql_catalog.open_url(str(tmp_path / "catalog.db"), lease=lease)
    assert caught.value.kind is ErrorKind.BAD_SETTING


def test_a_clock_that_was_set_back_gives_no_token_twice_and_takes_no_key_from_its_holder(
    tmp_path: Path,
) -> None:
    hour = HOUR // timedelta(microseconds=1)
    with closing(SqlCatalog.open(tmp_path / "catalog.db")) as opened:
        world = World(opened)
        call = world.call()
        begun = world.begin(call)
        assert begun.token is not None
        with opened._database.writing() as tx:  # as if it had been taken by a clock that was an hour ahead
            tx.script(
                f"UPDATE reservation SET token = token + {hour}, since = since + {hour}, until = until + {hour}"
            )
        assert isinstance(world.ask(world.call()), cache.Wait)
        held = begun.token + hour
        failed = world.report(call, token=held, state=model.RunState.FAILED)
        world.finish(failed)
        after = world.begin(other := world.call())
        assert after.token == held + 1
        finished = world.finish(world.report(other, {"model:m": b"M"}, after.token))
        assert finished.publication.outcome is model.Outcome.ENTERED


def test_a_beat_after_the_clock_was_set_back_holds_the_key_for_a_lease_from_now(tmp_path: Path) -> None:
    hour = HOUR // timedelta(microseconds=1)
    with closing(SqlCatalog.open(tmp_path / "catalog.db")) as opened:
        world = World(opened)
        call = world.call()
        begun = world.begin(call)
        with opened._database.writing() as tx:
            tx.script(f"UPDATE reservation SET since = since + {hour}, until = until + {hour}")
        assert opened.beat([call.run]) == frozenset()
        answer = world.ask(world.call())
        assert isinstance(answer, cache.Wait)
        assert begun.run is not None
        assert answer.until < begun.run.started_at + HOUR
        assert simulator.one(
            opened.finish_runs([world.report(call, {"model:m": b"M"}, begun.token)])
        ).publication
