"""Pipelines that are drawn, what was run of them, and by brute force what has to be executed once something changes."""

import itertools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import HealthCheck
from hypothesis import strategies as st

from tests.pipelines import Arithmetic, Called, keyed, made_of
from whence import applying, calls
from whence.client import Client
from whence_catalog import inventory, model, plans
from whence_catalog.errors import WhenceError

_ROOTS = ("x", "y")
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
numbers = itertools.count()


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
    # What is made once more without a key each time, as `whence rerun` does: what comes after takes that.
    repeated: frozenset[int] = frozenset()


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
        frozenset(draw(st.sets(st.integers(0, count - 1), max_size=2))),
    )


@dataclass(frozen=True)
class Ran:
    """What was executed, once: the place of its step, what it took, and what it made; and which Run it repeats."""

    at: int
    taken: tuple[model.Output, ...]
    output: model.Output
    first: uuid.UUID | None = None


class World:
    """One pipeline in a catalog that others are in too; beside it, what a perfect memory would hold."""

    def __init__(self, client: Client, case: Case) -> None:
        self.client = client
        self.case = case
        self.prefix = f"p{next(numbers)}"
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
            if at in self.case.repeated:
                first = self.ran[output.run]
                named = [
                    (role, model.Source(o.version.artifact, o.version.digest, o.run))
                    for role, o in zip(self.roles(at), first.taken, strict=True)
                ]
                (again,) = self.maker.call(
                    self.client, self.job(at), 0, named, None, rerun_of=output.run
                ).outputs
                self.made[at] = again
                self.ran[again.run] = Ran(at, first.taken, again, output.run)

    def called(self, at: int, c: int, contents: Iterable[bytes]) -> Called:
        return self.job(at), c, tuple(contents)

    def read(self, output: model.Output) -> bytes:
        return self.client.blobs.read_bytes(output.version.digest)

    def revoke(self, at: int) -> None:
        """Let nobody reuse what a step made."""
        ran = self.ran[self.made[at].run]
        if not self.case.steps[at].has_key:
            return
        first = ran.output if ran.first is None else self.ran[ran.first].output
        self.revoke_entry_of(first)
        self.memory.pop(self.called(ran.at, 0, map(self.read, ran.taken)), None)

    def revoke_entry_of(self, made: model.Output) -> None:
        """Let nobody reuse what that Run made; nothing, if it has no key."""
        key = self.client.catalog.run(str(made.run)).run.key
        if key is None:
            return
        revocation = inventory.Revocation(
            calls.new_uid(), self.client.project, (key,), self.client.actor, "it is wrong"
        )
        (result,) = self.client.catalog.revoke_entries([revocation])
        assert not isinstance(result, WhenceError), result

    def declare_bad(self, made: model.Output) -> None:
        """Quarantine a Version."""
        claim = model.QuarantineClaim(
            calls.new_uid(),
            made.version.artifact,
            made.version.digest,
            self.client.actor,
            "it is mislabelled",
        )
        (result,) = self.client.catalog.quarantine([claim])
        assert not isinstance(result, WhenceError), result

    def has_key(self, job: str) -> bool:
        """Whether calls of that job have keys."""
        return any(step.has_key for at, step in enumerate(self.case.steps) if self.job(at) == job)

    def call_of(self, output: model.Output) -> Called:
        """What was called when that was made."""
        record = self.client.catalog.run(str(output.run))
        contents = (self.client.blobs.read_bytes(used.version.digest) for used in record.inputs)
        c = record.run.params["c"]
        assert isinstance(c, int)
        return record.run.job, c, tuple(contents)

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


def carried_out(world: World, plan: plans.RerunPlan, jobs: int = 1) -> applying.Applied:
    """What came of the plan, with so many at a time."""
    here = applying.Here(world.client, jobs, world.maker)
    try:
        return applying.apply(world.client, plan, here)
    finally:
        here.close()


def target_of(client: Client, plan: plans.RerunPlan, applied: applying.Applied) -> bytes:
    """What the one target of a plan is, once it was carried out."""
    (target,) = plan.targets
    step = next(each.step for each in plan.steps if each.run == target)
    if isinstance(step, plans.Reuse):
        return client.blobs.read_bytes(step.outputs[0].content.digest)
    (output,) = next(each.outputs for each in applied.done if each.step == target)
    return client.blobs.read_bytes(output.version.digest)
