"""The run state machine: what may follow what.

    (nothing) ──start──▶ running ──finish──▶ complete | failed | aborted
    (nothing) ──reuse──▶ reused
    running ──presume──▶ aborted (presumed) ──finish──▶ whatever the Run itself reports

Every other final state is final. Leaves the cache's consequences of a finish to `cache`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from whence_catalog import model
from whence_catalog.errors import Conflict, ErrorKind, InvalidInput

_NO_METRICS: Mapping[str, float] = {}
_ENDS = frozenset({model.RunState.COMPLETE, model.RunState.FAILED, model.RunState.ABORTED})


def start(call: model.Call, at: datetime) -> model.Run:
    """The Run that `call` begins.

    Raises:
        InvalidInput: where two of its inputs share a role and an ordinal, or its job has no name.
    """
    _refuse_call(call)
    return _run(call, at, model.RunState.RUNNING)


def _refuse_call(call: model.Call) -> None:
    model.checked_job(call.job)
    _reject_doubles([(claim.role, claim.ordinal) for claim in call.inputs], "input")


def _run(
    call: model.Call,
    at: datetime,
    state: model.RunState,
    finished_at: datetime | None = None,
    outcome: str | None = None,
    metrics: Mapping[str, float] = _NO_METRICS,
    warnings: tuple[str, ...] = (),
    error: str | None = None,
) -> model.Run:
    return model.Run(
        uid=call.run,
        project=call.project,
        job=call.job,
        state=state,
        actor=call.actor,
        started_at=at,
        finished_at=finished_at,
        mode=call.mode,
        key=call.key,
        outcome=outcome,
        parent=call.parent,
        retry_of=call.retry_of,
        rerun_of=call.rerun_of,
        params=call.params,
        metrics=metrics,
        labels=call.labels,
        warnings=(*call.uncacheable, *call.trusted, *warnings),
        error=error,
        capture=call.capture,
        reason=call.reason,
    )


def reuse(call: model.Call, origin: UUID, at: datetime) -> model.Run:
    """The Run that stands for not running: it took what `call` names and hands out what `origin` made.

    How to make that again is the origin's to say.
    """
    return replace(
        start(call, at),
        state=model.RunState.REUSED,
        finished_at=at,
        origin=origin,
        warnings=call.trusted,
        reason=None,
        capture=model.Capture(because="it is made again by making its origin again"),
    )


def finish(before: model.Run, report: model.Report, outcome: str, at: datetime) -> model.Run:
    """The Run after `report`; `outcome` is what that did to the cache, in words.

    Raises:
        Conflict: where it has already ended by its own word.
        InvalidInput: where the report's state is no end, or two outputs share a role.
    """
    _refuse_no_end(report)
    if before.is_final:
        raise Conflict(
            f"run {before.uid} is already {before.state}; start a new run to record more outputs",
            ErrorKind.WRONG_STATE,
        )
    _refuse_roles_twice(report)
    return replace(
        before,
        state=report.state,
        key=before.key if report.trace is None else report.trace.key,
        finished_at=at,
        presumed=False,
        metrics={**before.metrics, **model.floats(report.metrics)},
        warnings=before.warnings + report.warnings,
        error=report.error,
        outcome=outcome,
    )


def _refuse_no_end(report: model.Report) -> None:
    if report.state not in _ENDS:
        raise InvalidInput(f"a run ends complete, failed or aborted, not {report.state}")


def _refuse_roles_twice(report: model.Report) -> None:
    _reject_doubles([(claim.role, 0) for claim in report.outputs], "output")


def record(call: model.Call, report: model.Report, outcome: str, at: datetime) -> model.Run:
    """The Run that began and ended at once, without a trace: what `finish` makes of what `start` does."""
    _refuse_call(call)
    _refuse_no_end(report)
    _refuse_roles_twice(report)
    return _run(
        call, at, report.state, at, outcome, model.floats(report.metrics), report.warnings, report.error
    )


def refuse_additions(to: model.Run) -> None:
    """Nothing, as long as inputs, outputs and points may be added to the Run.

    Raises:
        Conflict: where it has ended.
    """
    if to.state is not model.RunState.RUNNING:
        raise Conflict(
            f"run {to.uid} is already {to.state}; nothing can be added to it", ErrorKind.WRONG_STATE
        )


def refuse_roles_again(made: Iterable[str], outputs: Iterable[model.OutputClaim], run: UUID) -> None:
    """Nothing, as long as the Run made nothing yet in the roles of `outputs`.

    Raises:
        Conflict: it did.
    """
    known = set(made)
    for claim in outputs:
        if claim.role in known:
            raise Conflict(
                f"run {run} already made an output as {claim.role!r}; give this one another role",
                ErrorKind.OTHER_CONTENT,
            )
        known.add(claim.role)


def log(before: model.Run, series: model.Series) -> model.Run:
    """The Run after points were logged: the last value of each series is one of its metrics.

    Raises:
        Conflict: where it has ended.
    """
    refuse_additions(before)
    last = {name: float(points[-1][1]) for name, points in series.points.items() if points}
    return replace(before, metrics={**before.metrics, **last})


def presume_aborted(before: model.Run, at: datetime) -> model.Run:
    """The Run after its process was not heard of: presumed, so that its own later report stands."""
    if before.state is not model.RunState.RUNNING:
        raise Conflict(f"run {before.uid} is already {before.state}", ErrorKind.WRONG_STATE)
    return replace(before, state=model.RunState.ABORTED, finished_at=at, presumed=True)


def _reject_doubles(roles: list[tuple[str, int]], what: str) -> None:
    seen: set[tuple[str, int]] = set()
    for role in roles:
        if role in seen:
            raise InvalidInput(f"two {what}s have the role {role[0]!r}; give each a role of its own")
        seen.add(role)
