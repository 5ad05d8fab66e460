"""What making Runs again would do, and how what was made again compares with what was.

A plan is a value: which Runs are reused, executed, executed only if something before them makes other
bytes, or cannot be made, and why. Leaves carrying it out to others.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never
from uuid import UUID

from whence_catalog import digest, model

# ── plans ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Reuse:
    """Nothing that it depends on changes, and its results are there."""


@dataclass(frozen=True, slots=True)
class Execute:
    """It is made again."""

    because: str


@dataclass(frozen=True, slots=True)
class Conditional:
    """It is made again only if one of these Runs, made again, makes other bytes."""

    on: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """It cannot be made again."""

    reasons: tuple[str, ...]


Action: TypeAlias = Reuse | Execute | Conditional | Blocked


@dataclass(frozen=True, slots=True)
class Step:
    """What a plan does with one Run."""

    run: UUID
    job: str
    action: Action


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """The steps, each after those that it depends on."""

    steps: tuple[Step, ...]

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why it cannot be carried out; empty if it can."""
        return tuple(why for step in self.steps for why in _reasons(step.action))


def _reasons(action: Action) -> tuple[str, ...]:
    match action:
        case Blocked(reasons):
            return reasons
        case Reuse() | Execute() | Conditional():
            return ()
        case _:
            assert_never(action)


def obstacles(record: model.RunRecord, unavailable: frozenset[digest.Digest]) -> tuple[str, ...]:
    """Why a Run cannot be made again; `unavailable` are the Blobs that are known to be gone."""
    capture = record.run.capture
    found = []
    if not capture.rerunnable:
        found.append(capture.because or "it was not recorded whether it can be made again")
    if capture.bundle in unavailable:
        found.append("its source is no longer in the store")
    if capture.environment in unavailable:
        found.append("the record of its environment is no longer in the store")
    found += [
        f"its input {taken.role} ({taken.version.ref}) is no longer in the store"
        for taken in record.inputs
        if taken.version.digest in unavailable
    ]
    found += [
        f"its input {taken.role} ({taken.version.ref}) is known by {taken.version.content.strength} identity only"
        for taken in record.inputs
        if taken.version.content.strength is not model.Strength.CONTENT
    ]
    return tuple(found)


def plan(record: model.RunRecord, unavailable: frozenset[digest.Digest]) -> RerunPlan:
    """Making this one Run again, exactly."""
    reasons = obstacles(record, unavailable)
    action: Action = Blocked(reasons) if reasons else Execute("asked for")
    return RerunPlan((Step(record.run.uid, record.run.job, action),))


def plan_chain(
    records: Sequence[model.RunRecord],
    changed: Mapping[UUID, str],
    unavailable: frozenset[digest.Digest],
) -> RerunPlan:
    """The fewest Runs that a change requires.

    Args:
        records: the Runs, each after those whose productions it took.
        changed: the Runs that must be made again whatever happens, and why.
        unavailable: Blobs that are known to be gone.
    """
    actions: dict[UUID, Action] = {}
    for record in records:
        actions[record.run.uid] = _action(record, changed, actions, unavailable)
    return RerunPlan(tuple(Step(r.run.uid, r.run.job, actions[r.run.uid]) for r in records))


def _action(
    record: model.RunRecord,
    changed: Mapping[UUID, str],
    before: Mapping[UUID, Action],
    unavailable: frozenset[digest.Digest],
) -> Action:
    behind = [(taken.producer, before[taken.producer]) for taken in record.inputs if taken.producer in before]
    stuck = [run for run, action in behind if isinstance(action, Blocked)]
    unsure = tuple(dict.fromkeys(run for run, action in behind if isinstance(action, Execute | Conditional)))
    why = changed.get(record.run.uid)
    if why is None and not unsure and not stuck:
        return Reuse()
    # What is gone but will be made again by then is no obstacle.
    made_anew = {taken.version.digest for taken in record.inputs if taken.producer in unsure}
    reasons = obstacles(record, unavailable - made_anew)
    reasons += tuple(f"run {run}, which it depends on, cannot be made again" for run in dict.fromkeys(stuck))
    if reasons:
        return Blocked(reasons)
    return Execute(why) if why is not None else Conditional(unsure)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two numbers may be and still count as equal, as in `math.isclose`."""

    relative: float = 1e-9
    absolute: float = 0.0


@dataclass(frozen=True, slots=True)
class Identical:
    """The same bytes, and the same metrics to the bit."""


@dataclass(frozen=True, slots=True)
class WithinTolerance:
    """The same bytes; the metrics named are close, not equal."""

    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Different:
    """Not the same."""

    how: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotComparable:
    """It cannot be said."""

    why: str


Verdict: TypeAlias = Identical | WithinTolerance | Different | NotComparable


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output beside the same one made again; a digest is None where there was no such output."""

    role: str
    ref: str
    before: digest.Digest | None
    after: digest.Digest | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every output of a Run beside those of the Run that made it again."""

    outputs: tuple[OutputComparison, ...]

    @property
    def identical(self) -> bool:
        """Whether all is the same, to the bit."""
        return all(isinstance(output.verdict, Identical) for output in self.outputs)


def compare(
    original: Iterable[model.Output],
    again: Iterable[model.OutputClaim],
    tolerance: Tolerance = Tolerance(),
) -> Comparison:
    """Compare output by output, by role."""
    old = {output.role: output for output in original}
    new = {claim.role: claim for claim in again}
    return Comparison(
        tuple(
            _compared(role, old.get(role), new.get(role), tolerance)
            for role in sorted(old.keys() | new.keys())
        )
    )


def _compared(
    role: str, old: model.Output | None, new: model.OutputClaim | None, tolerance: Tolerance
) -> OutputComparison:
    if old is None:
        assert new is not None
        only = Different(("the original made no such output",))
        return OutputComparison(role, str(new.artifact), None, new.content.digest, only)
    if new is None:
        only = Different(("it was not made again",))
        return OutputComparison(role, old.version.ref, old.version.digest, None, only)
    verdict = _verdict(old, new, tolerance)
    return OutputComparison(role, old.version.ref, old.version.digest, new.content.digest, verdict)


def _verdict(old: model.Output, new: model.OutputClaim, tolerance: Tolerance) -> Verdict:
    strengths = {old.version.content.strength, new.content.strength}
    if strengths != {model.Strength.CONTENT}:
        return NotComparable("it is not identified by its content")
    how = []
    if old.version.content.form is not new.content.form:
        how.append(f"a {old.version.content.form} became a {new.content.form}")
    elif old.version.digest != new.content.digest:
        how.append("other bytes")
    near = []
    for name in sorted(old.metrics.keys() | new.metrics.keys()):
        before, after = old.metrics.get(name), new.metrics.get(name)
        if before is None or after is None:
            how.append(f"metric {name} is there only {'after' if before is None else 'before'}")
        elif not _is_same(before, after):
            if math.isclose(before, after, rel_tol=tolerance.relative, abs_tol=tolerance.absolute):
                near.append(name)
            else:
                how.append(f"metric {name} was {before!r} and is {after!r}")
    if how:
        return Different(tuple(how))
    return WithinTolerance(tuple(near)) if near else Identical()


def _is_same(before: float, after: float) -> bool:
    return before == after or (math.isnan(before) and math.isnan(after))
