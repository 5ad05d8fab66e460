"""What is carried out of a plan, beside brute force: the set that is executed is minimal and sufficient."""

import itertools
import pickle
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipelines import Arithmetic, Called, keyed, made_of
from whence import applying, calls, connecting, due, replay
from whence.client import Client
from whence_catalog import cache, inventory, model, plans
from whence_catalog.errors import Conflict, WhenceError

_ROOTS = ("x", "y")
_numbers = itertools.count()


@dataclass(frozen=True)
class Step:
    """A step takes roots, by name, and what steps before it made, by their place."""

    roots: tuple[str, ...]
    before: tuple[int, ...]
    has_key: bool
    is_coarse: bool
    # The place of a step whose job it shares: the same function, called again.
    like: int | None


@dataclass(frozen=True)
class Case:
    """A pipeline, what was run before of it, what the cache has lost, and what is changed."""

    steps: tuple[Step, ...]
    earlier: tuple[bytes, ...]
    revoked: frozenset[int]
    target: int
    now: dict[str, bytes]
    c: dict[int, int] = field(default_factory=dict)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # Drawn so that chains are long, and data changes at their beginnings: that is where it matters.
    count = draw(st.integers(2, 7))
    steps = []
    for place in range(count):
        least = int(place > 0 and draw(st.integers(0, 3)) > 0)
        nearest = st.sets(st.integers(max(0, place - 3), place - 1), min_size=least, max_size=3)
        before = tuple(sorted(draw(nearest))) if place else ()
        roots = tuple(sorted(draw(st.sets(st.sampled_from(_ROOTS), min_size=not before, max_size=2))))
        twins = [
            at for at in range(place) if (steps[at].roots, len(steps[at].before)) == (roots, len(before))
        ]
        like = draw(st.sampled_from([None, None, *twins])) if twins else None
        has_key = steps[like].has_key if like is not None else draw(st.integers(0, 5)) > 0
        is_coarse = steps[like].is_coarse if like is not None else draw(st.booleans())
        steps.append(Step(roots, before, has_key, is_coarse, like))
    contents = st.sampled_from([b"0", b"1", b"2"])
    return Case(
        tuple(steps),
        tuple(draw(st.lists(contents, max_size=2))),
        frozenset(draw(st.sets(st.integers(0, count - 1), max_size=2))),
        count - 1 - draw(st.integers(0, min(2, count - 1))),
        {root: draw(contents) for root in draw(st.sets(st.sampled_from(_ROOTS), min_size=1))},
        draw(st.dictionaries(st.integers(0, count - 1), st.integers(0, 2), max_size=2)),
    )


@dataclass(frozen=True)
class Ran:
    """What was executed, once: the place of its step, what it took, and what it made."""

    at: int
    taken: tuple[model.Output, ...]
    output: model.Output


class World:
    """One pipeline in a catalog that others are in too; beside it, what a perfect memory would hold."""

    def __init__(self, client: Client, case: Case) -> None:
        self.client = client
        self.case = case
        self.prefix = f"p{next(_numbers)}"
        self.coarse = frozenset(self.job(at) for at, step in enumerate(case.steps) if step.is_coarse)
        self.maker = Arithmetic(self.coarse)
        # Of each call that has an entry, what it made: kept here, by hand.
        self.memory: dict[Called, bytes] = {}
        self.made: list[model.Output] = []
        self.roots: dict[str, model.Output] = {}
        self.ran: dict[uuid.UUID, Ran] = {}

    def job(self, at: int) -> str:
        like = self.case.steps[at].like
        return self.job(like) if like is not None else f"{self.prefix}.s{at}"

    def roles(self, at: int) -> list[str]:
        step = self.case.steps[at]
        # In the order in which a Run lists what it took.
        return [*(f"a{root}" for root in step.roots), *(f"in{n}" for n in range(len(step.before)))]

    def publish(self, root: str, content: bytes) -> model.Output:
        handle = self.client.publish(f"dataset:{self.prefix}{root}", content)
        self.roots[root] = handle.output
        return handle.output

    def record(self, x: bytes) -> None:
        """Run the whole pipeline as whoever calls its steps does."""
        self.publish("x", x)
        self.publish("y", b"0")
        self.made = []
        for at, step in enumerate(self.case.steps):
            taken = [
                *(self.roots[root] for root in step.roots),
                *(self.made[before] for before in step.before),
            ]
            named = [
                (role, model.Source(o.version.artifact, o.version.digest, o.run))
                for role, o in zip(self.roles(at), taken, strict=True)
            ]
            key = keyed(self.client, self.job(at), 0, named) if step.has_key else None
            executed = self.maker.call(self.client, self.job(at), 0, named, key)
            (output,) = executed.outputs
            self.made.append(output)
            if not executed.reused:
                self.ran[output.run] = Ran(at, tuple(taken), output)
                if key is not None:
                    self.memory[self.called(at, 0, map(self.read, taken))] = self.read(output)

    def called(self, at: int, c: int, contents: Iterable[bytes]) -> Called:
        return self.job(at), c, tuple(contents)

    def read(self, output: model.Output) -> bytes:
        return self.client.blobs.read_bytes(output.version.digest)

    def revoke(self, at: int) -> None:
        """Let nobody reuse what a step made."""
        ran = self.ran[self.made[at].run]
        if not self.case.steps[at].has_key:
            return
        key = self.client.catalog.run(str(ran.output.run)).run.key
        assert key is not None
        revocation = inventory.Revocation(
            calls.new_uid(), self.client.project, (key,), self.client.actor, "it is wrong"
        )
        (result,) = self.client.catalog.revoke_entries([revocation])
        assert not isinstance(result, WhenceError), result
        self.memory.pop(self.called(ran.at, 0, map(self.read, ran.taken)), None)

    @property
    def ancestry(self) -> dict[uuid.UUID, Ran]:
        """The Runs behind the target, each after those that it took something from: what was reused ran once."""
        found: dict[uuid.UUID, Ran] = {}

        def visit(run: uuid.UUID) -> None:
            if run in self.ran and run not in found:
                for output in self.ran[run].taken:
                    visit(output.run)
                found[run] = self.ran[run]

        visit(self.made[self.case.target].run)
        return found

    def changed(self) -> dict[str, int]:
        """The parameters that are changed, of the jobs that there are."""
        jobs = {self.job(ran.at) for ran in self.ancestry.values()}
        return {self.job(at): c for at, c in self.case.c.items() if self.job(at) in jobs}

    def expected(self) -> tuple[list[Called], bytes]:
        """By brute force: what has to be executed for the target, and what it then is."""
        now: dict[uuid.UUID, bytes] = {}
        changed, executed = self.changed(), []
        for run, ran in self.ancestry.items():
            taken = [now.get(o.run, self.of_root(o)) for o in ran.taken]
            called = self.called(ran.at, changed.get(self.job(ran.at), 0), taken)
            has_key = self.case.steps[ran.at].has_key
            is_as_it_was = taken == [self.read(o) for o in ran.taken] and self.job(ran.at) not in changed
            if has_key and called in self.memory:
                now[run] = self.memory[called]
            elif not has_key and is_as_it_was:
                now[run] = self.read(ran.output)
            else:
                executed.append(called)
                now[run] = made_of(called, self.job(ran.at) in self.coarse)
                if has_key:
                    self.memory[called] = now[run]
        return executed, now[self.made[self.case.target].run]

    def of_root(self, output: model.Output) -> bytes:
        """What stands in the place of what a root had."""
        name = output.version.artifact.name.removeprefix(self.prefix)
        return self.case.now.get(name, self.read(output))

    def request(self) -> plans.PlanRequest:
        """What the case changes, asked of the catalog."""
        used = {o.version.artifact.name for ran in self.ancestry.values() for o in ran.taken}
        inputs = {}
        for root, content in self.case.now.items():
            if f"{self.prefix}{root}" in used:
                other = self.publish(root, content)
                inputs[f"dataset:{self.prefix}{root}"] = plans.Replacement(
                    other.version.artifact, other.version.content, other.run
                )
        return plans.PlanRequest(
            calls.new_uid(),
            (str(self.made[self.case.target].run),),
            inputs=inputs,
            params={job: {"c": c} for job, c in self.changed().items()},
        )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    opened = connecting.open_client(tmp_path_factory.mktemp("pipelines") / ".whence")
    yield opened
    assert opened.catalog.check().problems == ()
    opened.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(case=cases(), jobs=st.integers(1, 2))
def test_what_is_executed_is_minimal_and_sufficient(client: Client, case: Case, jobs: int) -> None:
    world = World(client, case)
    for content in (*case.earlier, b"0"):
        world.record(content)
    for at in sorted(case.revoked):
        world.revoke(at)
    plan = client.catalog.plan(world.request())
    expected, content = world.expected()
    world.maker.executed.clear()
    here = applying.Here(client, jobs, world.maker)
    applied = applying.apply(client, plan, here)
    here.close()
    assert applied.is_whole, applied
    assert sorted(world.maker.executed) == sorted(expected)
    assert {each.run for each in plan.pending} == {each.step for each in applied.done}
    assert _target(plan, applied, client) == content
    # What is asked for again is there: nothing is left to do, and nothing is done.
    again = applying.Here(client, jobs, world.maker)
    applying.apply(client, plan, again)
    again.close()
    assert sorted(world.maker.executed) == sorted(expected)


def _target(plan: plans.RerunPlan, applied: applying.Applied, client: Client) -> bytes:
    (target,) = plan.targets
    step = next(each.step for each in plan.steps if each.run == target)
    if isinstance(step, plans.Reuse):
        return client.blobs.read_bytes(step.outputs[0].content.digest)
    (output,) = next(each.outputs for each in applied.done if each.step == target)
    return client.blobs.read_bytes(output.version.digest)


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
    job = f"p{next(_numbers)}.ignoring"
    given = {name: client.publish(f"dataset:{job}.{name}", name.encode()).output for name in ("x", "z", "e")}
    sources = {name: model.Source(o.version.artifact, o.version.digest, o.run) for name, o in given.items()}
    maker = Arithmetic()

    def called(*more: tuple[str, model.Source]) -> uuid.UUID:
        plain = keyed(client, job, 0, [("data", sources["x"])])
        components = (*plain.components, cache.component("inputs", [], "inputs/extra", ignored=True))
        key = replay.Keyed(cache.key(components), components)
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


def carried_out(world: World, plan: plans.RerunPlan) -> applying.Applied:
    here = applying.Here(world.client, 1, world.maker)
    try:
        return applying.apply(world.client, plan, here)
    finally:
        here.close()


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
    declare_bad(client, made)
    with pytest.raises(Conflict, match="quarantined"):
        carried_out(world, plan)
    assert world.maker.executed == []


def declare_bad(client: Client, made: model.Output) -> None:
    claim = model.QuarantineClaim(
        calls.new_uid(), made.version.artifact, made.version.digest, client.actor, "it is mislabelled"
    )
    (result,) = client.catalog.quarantine([claim])
    assert not isinstance(result, WhenceError), result


@pytest.mark.parametrize("has_key", [True, False])
def test_data_that_was_declared_bad_since_it_was_planned_stops_the_plan(
    client: Client, has_key: bool
) -> None:
    world = World(
        client, Case((Step(("x", "y"), (), has_key, False, None),), (), frozenset(), 0, {"x": b"9"})
    )
    world.record(b"0")
    plan = client.catalog.plan(world.request())
    declare_bad(client, world.roots["y"])
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
            declare_bad(client, world.roots["y"])

    world.maker.before = begun
    done = {each.job: each for each in carried_out(world, plan).done}
    assert [done[world.job(at)].end for at in range(5)] == [
        *(due.End.EXECUTED, due.End.BLOCKED, due.End.BLOCKED, due.End.EXECUTED, due.End.BLOCKED)
    ]
    for at in (1, 2):
        said = f"input ay (dataset:{world.prefix}y@1) is quarantined by {client.actor.name}, because it is mislabelled"
        assert done[world.job(at)].why == said


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
