"""What making Runs again would do.

A plan is a value that can be printed before anything is done: for each Run what would happen, and why.
Leaves to others: carrying a plan out (`whence.replay`), finding which cache entries are usable
(`sql.catalog`), reading bytes, and how what came of it compares with what was there (`likeness`).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias, assert_never
from uuid import UUID

from whence_catalog import digest, lineage, model, paths


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
    elif (captured.entry is None and not captured.command) or captured.bundle is None:
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


def unfit(taken: model.Input, taints: Sequence[model.Taint]) -> tuple[str, ...]:
    """Why nothing is to be made of what a Run took: the Quarantines that reach it, by `taints` of its Version."""
    named = f"input {taken.role} ({taken.version.ref})"
    reached = (t.quarantine for t in taints if taken.producer in (None, t.run))
    found = {each.uid: each for each in reached if each.until is None}
    return tuple(
        f"{named} {_how_unfit(each, taken.version)} by {each.actor.name}, because {each.reason or 'of what was erased'}"
        for each in sorted(found.values(), key=lambda each: (each.since, str(each.uid)))
    )


def _how_unfit(quarantine: model.Quarantine, version: model.Version) -> str:
    if quarantine.version == version:
        return "is quarantined"
    return f"came from {quarantine.version.ref}, which is quarantined"


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
