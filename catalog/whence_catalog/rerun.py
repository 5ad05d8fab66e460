"""What making Runs again would do, and how what came of it compares with what was there.

A plan is a value that can be printed before anything is done: for each Run what would happen, and why.
Leaves to others: carrying a plan out (`whence.replay`), finding which cache entries are usable
(`sql.catalog`), and reading bytes. Here outputs are compared by digest, and by the metrics recorded
with them.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias, assert_never
from uuid import UUID

from whence_catalog import digest, lineage, model, paths
from whence_catalog.errors import InvalidInput

# ── plans ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Reuse:
    """Its outputs stand as they are: nothing that it depends on changes, and they can be handed out."""


@dataclass(frozen=True, slots=True)
class Execute:
    """It would be run."""

    why: str


@dataclass(frozen=True, slots=True)
class Conditional:
    """It depends on what the Runs `on` turn out to make. `obstacles` is why it could not then be run."""

    on: tuple[UUID, ...]
    obstacles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blocked:
    """It would have to be run, and cannot be."""

    why: tuple[str, ...]


RerunStep: TypeAlias = Reuse | Execute | Conditional | Blocked


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What would happen for one Run."""

    run: UUID
    job: str
    step: RerunStep


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """What making `run` again would do, each Run after those it came from.

    `restored` is what would be as it was, `cannot` what would not. A plan that is not `complete` knows
    only a part of what the Run came from.
    """

    run: UUID
    steps: tuple[PlannedRun, ...]
    restored: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()
    complete: bool = True

    @property
    def is_possible(self) -> bool:
        """Whether nothing in it is blocked."""
        return not any(isinstance(planned.step, Blocked) for planned in self.steps)


def describe(step: RerunStep) -> str:
    """One line for people."""
    match step:
        case Reuse():
            return "reuse"
        case Execute(why):
            return f"execute: {why}"
        case Conditional(on, obstacles):
            names = ", ".join(str(run) for run in on)
            unless = f"; if it has to run, it cannot: {'; '.join(obstacles)}" if obstacles else ""
            return f"depends on what {names} will make{unless}"
        case Blocked(why):
            return f"blocked: {'; '.join(why)}"
        case _:
            assert_never(step)


def plan(record: model.RunRecord, unavailable: AbstractSet[digest.Digest] = frozenset()) -> RerunPlan:
    """What making one Run again, with the inputs it had, would do.

    Args:
        unavailable: Blobs that are known to be gone or altered. What is not in it is taken to be there.
    """
    run = record.run
    why = obstacles(record, unavailable)
    step = Blocked(why) if why else Execute("it was asked for")
    restored, cannot = _restored(record)
    return RerunPlan(run.uid, (PlannedRun(run.uid, run.job, step),), restored, cannot)


def obstacles(
    record: model.RunRecord, unavailable: AbstractSet[digest.Digest] = frozenset()
) -> tuple[str, ...]:
    """All the reasons for which a Run cannot be made again; none if it can."""
    run, captured = record.run, record.run.capture
    if run.state is model.RunState.REUSED:
        return (f"it did not run: what it handed out was made by run {run.origin}; make that one again",)
    why = []
    if run.state is model.RunState.RUNNING:
        why.append("it is still running")
    if not captured.rerunnable:
        why.append(captured.because or "its recording does not say how it could be")
    elif captured.entry is None or captured.bundle is None:
        why.append("its entry point or its source was not recorded")
    elif captured.environment is None:
        why.append("its environment was not recorded")
    for what, kept in (("source", captured.bundle), ("environment", captured.environment)):
        if kept in unavailable:
            why.append(f"its {what} {kept} is missing or altered in the store")
    for taken in record.inputs:
        content = taken.version.content
        named = f"input {taken.role} ({taken.version.ref})"
        if content.strength is not model.Strength.CONTENT:
            why.append(f"{named} is identified by {content.strength} only, so its bytes were not kept")
        elif content.digest in unavailable:
            why.append(f"the bytes of {named}, {content.digest}, are missing or altered in the store")
    return tuple(why)


def _restored(record: model.RunRecord) -> tuple[tuple[str, ...], tuple[str, ...]]:
    captured = record.run.capture
    restored = []
    if captured.bundle is not None:
        restored.append(f"source {captured.bundle}")
    if captured.environment is not None:
        restored.append(f"environment {captured.environment}")
    restored += [f"input {taken.role}: {taken.version.ref} {taken.version.digest}" for taken in record.inputs]
    if record.run.params:
        restored.append(f"parameters {', '.join(sorted(record.run.params))}")
    return tuple(restored), captured.blind_spots


def plan_chain(
    graph: lineage.Graph,
    run: UUID,
    usable: AbstractSet[UUID],
    changed: Mapping[UUID, str],
    obstacles: Mapping[UUID, tuple[str, ...]],
) -> RerunPlan:
    """What bringing `run` up to date would do, for it and for every Run in `graph` that it came from.

    Args:
        graph: upstream of `run`.
        usable: Runs whose outputs the cache can hand out for the inputs they had. For a reused Run, here
            and in `obstacles`, its origin answers.
        changed: Runs whose own code, parameters or environment are no longer as they were, and how.
        obstacles: Runs that cannot be made again, and why.

    Raises:
        NotFound: `run` is not in `graph`.
    """
    wanted = {node.id for node in paths.upstream(graph, str(run))} | {str(run)}
    came_from = paths.sources(graph)
    origins = {e.target: e.source for e in graph.edges if e.type is lineage.EdgeType.REUSED}
    steps: dict[str, PlannedRun] = {}
    for node in paths.order(graph):
        if node.id in wanted:
            uid, maker = UUID(node.id), UUID(origins.get(node.id, node.id))
            before = [steps[source] for source in came_from[node.id] if source in steps]
            step = _step(before, maker in usable, changed.get(uid), obstacles.get(maker, ()))
            steps[node.id] = PlannedRun(uid, node.name, step)
    completeness = graph.completeness
    sure = completeness.complete and not completeness.ambiguous and not completeness.unknown_producers
    return RerunPlan(
        run, tuple(steps.values()), cannot=() if sure else (_unsure(completeness),), complete=sure
    )


def _step(
    before: Sequence[PlannedRun], is_usable: bool, change: str | None, why_not: tuple[str, ...]
) -> RerunStep:
    pending, lost = [], []
    for planned in before:
        match planned.step:
            case Reuse():
                pass
            case Execute() | Conditional():
                pending.append(planned.run)
            case Blocked():
                lost.append(planned.run)
            case _:
                assert_never(planned.step)
    if lost:
        return Blocked(tuple(f"it takes what run {source} made, which is blocked" for source in lost))
    # The key depends on bytes that do not exist yet; if they come out as they were, it is a hit.
    if pending:
        return Conditional(tuple(pending), why_not)
    if is_usable and change is None:
        return Reuse()
    if why_not:
        return Blocked(why_not)
    return Execute(change or "its outputs cannot be handed out from the cache")


def _unsure(completeness: lineage.Completeness) -> str:
    parts = [*completeness.reasons]
    if completeness.ambiguous:
        parts.append(f"{completeness.ambiguous} inputs may be of several productions")
    if completeness.unknown_producers:
        parts.append(f"{completeness.unknown_producers} inputs were made by nobody known")
    return "not all that it came from is known: " + "; ".join(parts)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a metric may be from what it was: `atol + rtol × |what it was|`."""

    rtol: float = 0.0
    atol: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.rtol < math.inf and 0 <= self.atol < math.inf):
            raise InvalidInput(f"rtol {self.rtol} and atol {self.atol}: expected finite numbers from 0")

    def allows(self, before: float, after: float) -> bool:
        """Whether `after` is near enough. NaN is near NaN, and an infinity near itself alone."""
        if math.isnan(before) or math.isnan(after):
            return math.isnan(before) and math.isnan(after)
        if math.isinf(before) or math.isinf(after):
            return before == after
        return abs(after - before) <= self.atol + self.rtol * abs(before)


EXACT = Tolerance()


@dataclass(frozen=True, slots=True)
class Identical:
    """The same bytes, and the same metrics to the last bit."""


@dataclass(frozen=True, slots=True)
class WithinTolerance:
    """Not the same, but as near as was asked for."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Different:
    """Not the same."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Nothing can be said."""

    why: str


Likeness: TypeAlias = Identical | WithinTolerance | Different | NotComparable


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output beside its namesake."""

    role: str
    likeness: Likeness


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rerun beside its original, output by output, in the order of their roles.

    `missing` are roles that only the original has, `extra` those that only the rerun has.
    """

    outputs: tuple[OutputComparison, ...]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def overall(self) -> Likeness:
        """The judgement of all of it: a difference outweighs what cannot be compared, and that a nearness."""
        near: list[str] = []
        different = [f"{role}: only the original made it" for role in self.missing]
        different += [f"{role}: only the rerun made it" for role in self.extra]
        unknown: list[str] = []
        for output in self.outputs:
            match output.likeness:
                case Identical():
                    pass
                case WithinTolerance(how):
                    near += [f"{output.role}: {text}" for text in how]
                case Different(how):
                    different += [f"{output.role}: {text}" for text in how]
                case NotComparable(why):
                    unknown.append(f"{output.role}: {why}")
                case _:
                    assert_never(output.likeness)
        if different:
            return Different(tuple(different))
        if unknown:
            return NotComparable("; ".join(unknown))
        if not self.outputs:
            return NotComparable("neither made any output")
        return WithinTolerance(tuple(near)) if near else Identical()


def compare(
    original: Sequence[model.Output],
    again: Sequence[model.OutputClaim],
    tolerance: Tolerance = EXACT,
) -> Comparison:
    """What a rerun made, beside what the Run had made.

    Bytes are the same or not; where a tolerance is asked for, the metrics recorded with an output may
    stand for it.
    """
    before = {output.role: output for output in original}
    after = {claim.role: claim for claim in again}
    return Comparison(
        tuple(
            OutputComparison(role, _compare(before[role], after[role], tolerance))
            for role in sorted(before.keys() & after.keys())
        ),
        missing=tuple(sorted(before.keys() - after.keys())),
        extra=tuple(sorted(after.keys() - before.keys())),
    )


def compare_metrics(
    before: Mapping[str, float], after: Mapping[str, float], tolerance: Tolerance
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(What differs within the tolerance, what differs by more), one line for each such metric."""
    near: list[str] = []
    far: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            far.append(f"metric {name} was {before[name]!r} and is not there")
        elif name not in before:
            far.append(f"metric {name} is {after[name]!r} and was not there")
        elif digest.frame(float(before[name])) != digest.frame(float(after[name])):
            found = near if tolerance.allows(before[name], after[name]) else far
            found.append(f"metric {name} was {before[name]!r} and is {after[name]!r}")
    return tuple(near), tuple(far)


def _compare(before: model.Output, after: model.OutputClaim, tolerance: Tolerance) -> Likeness:
    old, new = before.version.content, after.content
    # A weaker identity than our own digest cannot say that bytes are the same, nor that they are not.
    for whose, content in (("the original", old), ("the rerun", new)):
        if content.strength is not model.Strength.CONTENT:
            return NotComparable(f"{whose} is identified by {content.strength} only")
    if old.form is not new.form:
        return Different((f"it was a {old.form} and is a {new.form}",))
    near, far = compare_metrics(before.metrics, after.metrics, tolerance)
    if old.digest == new.digest:
        if far:
            return Different(("the same bytes", *far))
        return WithinTolerance(("the same bytes", *near)) if near else Identical()
    how = (f"other bytes: {old.digest} became {new.digest}", *far, *near)
    if far or not before.metrics:
        return Different(how)
    count = len(before.metrics)
    if tolerance == EXACT:
        return Different((*how, f"all its metrics ({count}) are as they were"))
    # Bytes cannot be near; what was measured on them can.
    return WithinTolerance((*how, f"all its metrics ({count}) are within the tolerance"))
