"""Plans that are carried out: several at once, what fails, what goes on after a break, and what was declared bad."""

import pickle
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.pipelines import Arithmetic, keyed
from tests.stateful.drawn import Case, Step, World, carried_out, numbers
from whence import applying, calls, due, handing, planned
from whence.client import Client
from whence_catalog import cache, inventory, model, plans
from whence_catalog.errors import Conflict


def test_two_applies_at_once_compute_nothing_twice(client: Client) -> None:
    """Two plans of the same: while the one is at a step, the other waits for it, and takes what it makes."""
    step = Step(("x",), (), True, False, None)
    world = World(client, Case((step, Step((), (0,), True, False, None)), (), frozenset(), 1, {"x": b"9"}))
    world.record(b"0")
    request = world.request()
    first = client.catalog.plan(request)
    second = client.catalog.plan(replace(request, uid=calls.new_uid()))
    begun, other_asked = threading.Event(), threading.Event()
    world.maker.executed.clear()

    def at_work(job: str) -> None:
        begun.set()
        assert other_asked.wait(30)

    world.maker.before = at_work
    here = applying.Here(client, 2, world.maker)
    told: list[str] = []

    def asked(step: plans.PlannedRun, text: str) -> None:
        told.append(text)
        other_asked.set()

    beside = applying.Here(client, 2, world.maker, asked)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(applying.apply, client, first, here)
        assert begun.wait(30)
        two = pool.submit(applying.apply, client, second, beside)
        done, also = one.result(60), two.result(60)
    here.close()
    beside.close()
    assert [each.end for each in done.done] == [due.End.EXECUTED] * 2
    assert also.is_whole
    assert also.done[0].end is due.End.REUSED
    assert "which computes the same" in told[0]
    assert len(world.maker.executed) == 2
    # What it reused, others made: it still goes on, with nothing left to do.
    assert carried_out(world, second).is_whole
    assert len(world.maker.executed) == 2


def test_one_plan_is_carried_out_by_one_at_a_time_and_the_other_is_told_who_does(client: Client) -> None:
    """Steps without a key could else be made twice, and who ended last would have worked for nothing."""
    steps = (Step(("x",), (), False, False, None), Step((), (0,), False, False, None))
    world = World(client, Case(steps, (), frozenset(), 1, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    begun, other_asked = threading.Event(), threading.Event()
    world.maker.executed.clear()

    def at_work(job: str) -> None:
        begun.set()
        assert other_asked.wait(30)

    world.maker.before = at_work
    told: list[applying.Event] = []

    def heard(event: applying.Event) -> None:
        told.append(event)
        other_asked.set()

    here = applying.Here(client, 2, world.maker)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(applying.apply, client, plan, here)
        assert begun.wait(30)
        two = pool.submit(applying.apply, client, plan, here, heard)
        done, also = one.result(60), two.result(60)
    here.close()
    assert [each.end for each in done.done] == [due.End.EXECUTED] * 2
    assert told[0].what == "waiting"
    assert f"run {done.run}" in str(told[0].text)
    assert also.is_whole
    assert [each.run for each in also.done] == [each.run for each in done.done]
    assert len(world.maker.executed) == 2
    for each in (done, also):
        record = client.catalog.run(str(each.run))
        assert record.run.state is model.RunState.COMPLETE
        assert not record.run.warnings
        assert record.run.outcome == "refused: it is the making of others"
    assert done.run != also.run


def test_who_waits_for_another_to_carry_a_plan_out_can_be_told_to_stop(client: Client) -> None:
    world = World(client, Case((Step(("x",), (), True, False, None),), (), frozenset(), 0, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    stop = threading.Event()
    others: list[applying.Applied] = []
    here = applying.Here(client, 1, world.maker)

    def at_work(job: str) -> None:
        others.append(applying.apply(client, plan, here, lambda event: stop.set(), stop))

    world.maker.before = at_work
    assert applying.apply(client, plan, here).is_whole
    here.close()
    (other,) = others
    assert other.was_stopped
    assert [each.end for each in other.done] == [due.End.STOPPED]


def test_who_lost_their_lease_begins_nothing_more(client: Client) -> None:
    steps = (Step(("x",), (), False, False, None), Step((), (0,), False, False, None))
    world = World(client, Case(steps, (), frozenset(), 1, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    world.maker.executed.clear()
    world.maker.before = lambda job: client.beater._runs[plan.uid]()
    done = carried_out(world, plan)
    assert [each.end for each in done.done] == [due.End.EXECUTED, due.End.STOPPED]
    assert "another process" in str(client.catalog.run(str(done.run)).run.error)
    world.maker.before = lambda job: None
    assert carried_out(world, plan).is_whole
    assert len(world.maker.executed) == 2


def test_what_fails_stops_what_takes_from_it_and_nothing_else(client: Client) -> None:
    steps = (
        Step(("x",), (), True, False, None),
        Step((), (0,), True, False, None),
        Step(("x",), (), True, False, None),
        Step((), (1, 2), True, False, None),
    )
    world = World(client, Case(steps, (), frozenset(), 3, {"x": b"8"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    world.maker.wrong = frozenset({world.job(0)})
    here = applying.Here(client, 1, world.maker)
    done = applying.apply(client, plan, here)
    ends = {each.job: each.end for each in done.done}
    assert ends == {
        world.job(0): due.End.FAILED,
        world.job(1): due.End.BLOCKED,
        world.job(2): due.End.EXECUTED,
        world.job(3): due.End.BLOCKED,
    }
    # Once it is right, the same plan goes on with what is left.
    world.maker.wrong = frozenset()
    world.maker.executed.clear()
    assert applying.apply(client, plan, here).is_whole
    here.close()
    assert [job for job, _, _ in world.maker.executed] == [world.job(0), world.job(1), world.job(3)]


def test_of_two_that_are_the_same_call_the_second_says_that_the_first_was_not_made(client: Client) -> None:
    world = World(client, Case((Step(("x",), (), True, False, None),), (), frozenset(), 0, {"x": b"6"}))
    world.record(b"0")
    world.record(b"0")
    both = tuple(str(run.uid) for run in client.catalog.runs(job=world.job(0)))
    world.maker.wrong = frozenset({world.job(0)})
    done = carried_out(world, client.catalog.plan(replace(world.request(), targets=both))).done
    assert [each.end for each in done] == [due.End.FAILED, due.End.BLOCKED]
    assert done[1].why == f"run {done[0].step} ({done[0].job}) is the same call, and was not made"


def test_what_raises_anything_at_all_stops_what_takes_from_it_and_nothing_else(client: Client) -> None:
    steps = (
        Step(("x",), (), False, False, None),
        Step((), (0,), True, False, None),
        Step(("x",), (), True, False, None),
        Step((), (1, 2), True, False, None),
    )
    world = World(client, Case(steps, (), frozenset(), 3, {"x": b"8"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())

    def out_of_space(job: str) -> None:
        if job == world.job(0):
            raise OSError(28, "No space left on device")

    world.maker.before = out_of_space
    done = carried_out(world, plan)
    ends = {each.job: each.end for each in done.done}
    assert [ends[world.job(at)] for at in range(4)] == [
        *(due.End.FAILED, due.End.BLOCKED, due.End.EXECUTED, due.End.BLOCKED)
    ]
    (why,) = [str(each.why) for each in done.done if each.end is due.End.FAILED]
    assert why.startswith("OSError: [Errno 28] No space left on device")
    # The apply keeps the whole of it.
    assert f"whence show {done.run}" in why
    (kept,) = client.catalog.run(str(done.run)).run.warnings
    assert kept.startswith(f"{world.job(0)}: Traceback")
    assert ", in out_of_space" in kept


def test_a_reused_run_is_made_again_of_what_it_took_itself(client: Client) -> None:
    """What an ignored argument holds is in no key: who was reused may have taken more than who ran."""
    job = f"p{next(numbers)}.ignoring"
    given = {name: client.publish(f"dataset:{job}.{name}", name.encode()).output for name in ("x", "z", "e")}
    sources = {name: model.Source(o.version.artifact, o.version.digest, o.run) for name, o in given.items()}
    maker = Arithmetic()

    def called(*more: tuple[str, model.Source]) -> uuid.UUID:
        plain = keyed(client, job, 0, [("data", sources["x"])])
        components = (*plain.components, cache.component("inputs", [], "inputs/extra", ignored=True))
        key = handing.Keyed(cache.key(components), components)
        return maker.call(client, job, 0, [("data", sources["x"]), *more], key).run.uid

    called()
    reused = called(("extra", sources["e"]))
    other = given["z"]
    plan = client.catalog.plan(
        plans.PlanRequest(
            calls.new_uid(),
            (str(reused),),
            inputs={
                f"dataset:{job}.x": plans.Replacement(
                    other.version.artifact, other.version.content, other.run
                )
            },
        )
    )
    maker.executed.clear()
    here = applying.Here(client, 1, maker)
    assert applying.apply(client, plan, here).is_whole
    here.close()
    assert maker.executed == [(job, 0, (b"z", b"e"))]


def half_done(client: Client) -> tuple[World, plans.RerunPlan, model.Output]:
    """A plan of two steps whose second one failed, and what the first one made."""
    first, second = Step(("x",), (), True, False, None), Step((), (0,), True, False, None)
    world = World(client, Case((first, second), (), frozenset(), 1, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    world.maker.wrong = frozenset({world.job(1)})
    (made,) = carried_out(world, plan).done[0].outputs
    world.maker.wrong = frozenset()
    world.maker.executed.clear()
    return world, plan, made


def test_what_was_revoked_or_declared_bad_since_is_not_gone_on_with(client: Client) -> None:
    world, plan, made = half_done(client)
    key = client.catalog.run(str(made.run)).run.key
    assert key is not None
    revocation = inventory.Revocation(calls.new_uid(), client.project, (key,), client.actor, "wrong")
    client.catalog.revoke_entries([revocation])
    with pytest.raises(Conflict, match="revoked"):
        carried_out(world, plan)
    assert world.maker.executed == []


def test_what_was_quarantined_since_is_not_gone_on_with(client: Client) -> None:
    world, plan, made = half_done(client)
    world.declare_bad(made)
    with pytest.raises(Conflict, match="quarantined"):
        carried_out(world, plan)
    assert world.maker.executed == []


@pytest.mark.parametrize("has_key", [True, False])
def test_data_that_was_declared_bad_since_it_was_planned_stops_the_plan(
    client: Client, has_key: bool
) -> None:
    world = World(
        client, Case((Step(("x", "y"), (), has_key, False, None),), (), frozenset(), 0, {"x": b"9"})
    )
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    world.declare_bad(world.roots["y"])
    world.maker.executed.clear()
    with pytest.raises(Conflict, match=f"{world.prefix}y@.* was live, is quarantined"):
        carried_out(world, plan)
    assert world.maker.executed == []


def test_data_that_is_declared_bad_while_a_plan_is_carried_out_blocks_what_takes_it(client: Client) -> None:
    """What was begun goes on; what would take it is not begun, whether it has a key or none."""
    steps = (
        Step(("x",), (), True, False, None),
        Step(("y",), (0,), True, False, None),
        Step(("y",), (0,), False, False, None),
        Step((), (0,), True, False, None),
        Step((), (1, 2, 3), True, False, None),
    )
    world = World(client, Case(steps, (), frozenset(), 4, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())

    def begun(job: str) -> None:
        if job == world.job(0):
            world.declare_bad(world.roots["y"])

    world.maker.before = begun
    done = {each.job: each for each in carried_out(world, plan).done}
    assert [done[world.job(at)].end for at in range(5)] == [
        *(due.End.EXECUTED, due.End.BLOCKED, due.End.BLOCKED, due.End.EXECUTED, due.End.BLOCKED)
    ]
    for at in (1, 2):
        said = f"input ay (dataset:{world.prefix}y@1) is quarantined by {client.actor.name}, because it is mislabelled"
        assert done[world.job(at)].why == said


def test_data_that_was_lost_since_it_was_planned_blocks_what_takes_it_and_is_named(client: Client) -> None:
    steps = (Step(("x", "y"), (), True, False, None), Step((), (0,), True, False, None))
    world = World(client, Case(steps, (), frozenset(), 1, {"x": b"9"}))
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    lost = world.roots["y"].version
    client.blobs.delete(lost.digest)
    done, behind = carried_out(world, plan).done
    assert [done.end, behind.end] == [due.End.BLOCKED] * 2
    assert f"the bytes of input ay ({lost.ref}), {lost.digest}, are missing" in str(done.why)
    assert behind.why == f"it takes what run {done.step} ({done.job}) was to make"


def test_what_was_lost_since_is_made_once_more(client: Client) -> None:
    world, plan, made = half_done(client)
    client.blobs.delete(made.version.digest)
    assert carried_out(world, plan).is_whole
    assert [job for job, _, _ in world.maker.executed] == [world.job(0), world.job(1)]


def test_what_takes_the_place_of_data_is_taken_though_the_plan_does_not_say_who_made_it(
    client: Client,
) -> None:
    world = World(client, Case((Step(("x",), (), True, False, None),), (), frozenset(), 0, {"x": b"5"}))
    world.record(b"0")
    request = world.request()
    unnamed = {name: replace(each, producer=None) for name, each in request.inputs.items()}
    world.maker.executed.clear()
    (done,) = carried_out(world, client.catalog.plan(replace(request, inputs=unnamed))).done
    assert world.maker.executed == [(world.job(0), 0, (b"5",))]
    (taken,) = client.catalog.run(str(done.run)).inputs
    assert taken.producer == world.roots["x"].run


def test_what_is_due_is_small_and_can_be_sent(client: Client) -> None:
    world = World(client, Case((Step(("x",), (), True, False, None),), (), frozenset(), 0, {"x": b"7"}))
    world.record(b"0")
    sent: list[bytes] = []

    class Sending:
        """Sends each to whoever reads it, and carries it out there."""

        def submit(self, one: due.Due) -> "Future[due.Done]":
            sent.append(pickle.dumps(one))
            done: Future[due.Done] = Future()
            done.set_result(due.perform(client, pickle.loads(sent[-1]), world.maker, lambda text: None))
            return done

    done = applying.apply(client, client.catalog.plan(world.request()), Sending())
    assert done.is_whole
    assert len(sent[0]) < 5000
    assert pickle.loads(pickle.dumps(done)) == done


def test_an_apply_that_failed_or_was_stopped_is_brought_to_its_end_by_its_plan(client: Client) -> None:
    world, plan, _ = half_done(client)
    first = client.catalog.run(str(plan.uid)).run
    assert first.state is model.RunState.FAILED
    rest = planned.recover(client, str(first.uid))
    assert rest == plan
    stopped = threading.Event()
    stopped.set()
    here = applying.Here(client, 1, world.maker)
    second = applying.apply(client, rest, here, stop=stopped)
    here.close()
    assert carried_out(world, planned.recover(client, str(first.uid))).is_whole
    assert [job for job, _, _ in world.maker.executed] == [world.job(1)]
    assert second.was_stopped


def test_of_a_run_with_parts_those_are_recovered_that_failed_and_were_not_mended(client: Client) -> None:
    world = World(client, Case((Step(("x",), (), False, False, None),), (), frozenset(), 0, {}))
    world.record(b"0")
    x, parent = world.roots["x"], world.made[0].run
    taken = [("ax", model.Source(x.version.artifact, x.version.digest, x.run))]
    mended, lost = f"{world.prefix}.mended", f"{world.prefix}.lost"
    world.maker.wrong = frozenset({mended, lost})
    for job in (mended, lost):
        with pytest.raises(Conflict, match="is wrong"):
            world.maker.call(client, job, 0, taken, None, parent)
    (tried,) = client.catalog.runs(job=mended)
    world.maker.wrong = frozenset()
    world.maker.call(client, mended, 0, taken, None, parent, retry_of=tried.uid)
    world.maker.call(client, lost, 1, taken, None, parent)  # another, and no retry of that
    found = planned.recover(client, str(parent))
    assert [step.job for step in found.steps if not isinstance(step.step, plans.Reuse)] == [lost]
