"""Why a Run, a key or a call that was not made yet has the key that it has: what `cache` compares is read here.

The nearest earlier key is sought among the last `LOOKED_AT` Runs of the job that executed with a key.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import bindparam, select

from whence_catalog import cache, digest, model
from whence_catalog.errors import WhenceError
from whence_catalog.sql import engine, recording, reservations, runs, tables, traces
from whence_catalog.sql import inventory as inventories
from whence_catalog.sql.engine import Statement, Transaction

LOOKED_AT = 100

_RUN = tables.RUN
_JOB = tables.JOB
_PROJECT = tables.PROJECT
_COMPONENT = tables.COMPONENT

_job_id = Statement(
    select(_JOB.c.id)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(_PROJECT.c.name == bindparam("project"), _JOB.c.name == bindparam("job"))
)
_executed = Statement(
    select(_RUN.c.id, _RUN.c.uid)
    .where(
        _RUN.c.job_id == bindparam("job_id"),
        _RUN.c.id < bindparam("below"),
        _RUN.c.key.is_not(None),
        _RUN.c.origin_id.is_(None),
    )
    .order_by(_RUN.c.id.desc())
    .limit(bindparam("many"))
)
# Without previews: those of the one that is nearest are read alone.
_components = Statement(
    select(
        _COMPONENT.c.run_id, _COMPONENT.c.name, _COMPONENT.c.kind, _COMPONENT.c.digest, _COMPONENT.c.ignored
    ).where(engine.among(_COMPONENT.c.run_id, "ids"))
)
_BEHIND_ALL = 2**62


def run(tx: Transaction, prefix: str, against: str | None) -> cache.Explanation:
    """Why a Run has its key."""
    stored = runs.get(tx, runs.prefixed(tx, prefix))
    mine = stored.run
    if mine.key is None:
        why = "; ".join(mine.warnings) or f"it ran in mode {mine.mode}"
        return cache.Explanation(
            mine.uid, None, None, (), f"it has no key: {why}", job=mine.job, reason=mine.reason
        )
    known = _Known(tx)
    subject = known(mine.uid)
    place = (stored.job_id, stored.id)
    if against is None and mine.origin is not None:
        found = _Neighbour(mine.origin, 1, True)
    else:
        found = _neighbour(tx, place, subject.components, against, but=mine.uid)
    explained = _beside(known, subject, found)
    note = "reused: every component is the same" if mine.origin == found.run else explained.note
    return dataclasses.replace(explained, reason=mine.reason, note=note)


def call(tx: Transaction, asked: model.Call, against: str | None = None) -> cache.Explanation:
    """Why a call would have its key, and what it would be answered. Nothing is recorded."""
    answer = recording.foresee(tx, asked)
    if asked.key is None:
        why = "; ".join(asked.uncacheable) or f"it is in mode {asked.mode}"
        return cache.Explanation(
            None, None, None, (), f"it would have no key: {why}", job=asked.job, answer=answer
        )
    took: dict[str, list[tuple[digest.Digest, UUID | None]]] = {}
    for claim in sorted(asked.inputs, key=lambda claim: claim.ordinal):
        took.setdefault(claim.role, []).append((claim.source.digest, claim.source.producer))
    subject = cache.Taker(
        None, asked.job, asked.key, asked.components, {role: tuple(members) for role, members in took.items()}
    )
    entered = reservations.live(tx, asked.key) if against is None else None
    if entered is not None:
        found = _Neighbour(entered.entry.run, 1, True)
    else:
        row = tx.one(_job_id, project=asked.project, job=asked.job)
        place = (0 if row is None else row[0], _BEHIND_ALL)
        found = _neighbour(tx, place, asked.components, against)
    return dataclasses.replace(_beside(_Known(tx), subject, found), answer=answer)


def key(
    tx: Transaction, prefix: str, projects: frozenset[str] | None, against: str | None
) -> cache.Explanation:
    """Why the newest Run under a key has it, and what a call with that key would be answered."""
    record = inventories.key_record(tx, prefix, projects)
    uid = record.history[0].run if record.history else None
    if uid is None and record.holder is not None:
        uid = record.holder.run
    asked = model.Call(
        UUID(int=0), record.project, record.job, model.Actor(""), model.Mode.REUSE, key=record.key
    )
    answer = recording.foresee(tx, asked)
    if uid is None:
        note = "nobody entered or computes it: it was computed, and not published"
        return cache.Explanation(None, record.key, None, (), note, job=record.job, answer=answer)
    return dataclasses.replace(run(tx, str(uid), against), answer=answer)


# ── the other key ────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True, slots=True)
class _Neighbour:
    """The Run beside which a key is put; among how many it was the nearest, and whether there are no more."""

    run: UUID | None
    looked_at: int
    is_nearest_of_all: bool


def _neighbour(
    tx: Transaction,
    place: tuple[int, int],
    components: Sequence[model.Component],
    against: str | None,
    but: UUID | None = None,
) -> _Neighbour:
    if against is not None:
        return _Neighbour(runs.prefixed(tx, against), 1, True)
    job_id, below = place
    rows = tx.all(_executed, job_id=job_id, below=below, many=LOOKED_AT + 1)
    looked_at = rows[:LOOKED_AT]
    parts: dict[int, list[model.Component]] = {row_id: [] for row_id, _ in looked_at}
    for row_id, name, kind, raw, ignored in tx.all(_components, ids=list(parts)) if parts else ():
        parts[row_id].append(model.Component(name, kind, raw, None, bool(ignored)))
    earlier = {UUID(bytes=uid): parts[row_id] for row_id, uid in looked_at if uid != (but and but.bytes)}
    return _Neighbour(cache.nearest(components, earlier), len(earlier), len(rows) <= LOOKED_AT)


def _beside(
    known: Callable[[UUID], cache.Taker], subject: cache.Taker, found: _Neighbour
) -> cache.Explanation:
    """The subject's key beside the other's, and where the inputs that differ began to."""
    before = None if found.run is None else known(found.run)
    verdicts = cache.compare_components(() if before is None else before.components, subject.components)
    if before is None:
        note: str | None = "no earlier run of this job has a key"
    elif subject.key == before.key:
        note = "the nearest earlier key is the same"
    else:
        note = None
    causes: list[cache.Cause] = []
    for verdict in cache.changed(verdicts) if before is not None else ():
        role = verdict.name.removeprefix("inputs/")
        if before is not None and role != verdict.name and verdict.change is cache.Change.CHANGED:
            causes.append(cache.cause(role, before, subject, known))
    made_by = {role: members[0][1] for role, members in subject.took.items() if members}
    return cache.Explanation(
        run=subject.run,
        key=subject.key,
        against=found.run,
        verdicts=tuple(_made_by(verdict, made_by) for verdict in verdicts),
        note=note,
        job=subject.job,
        causes=tuple(causes),
        looked_at=found.looked_at,
        is_nearest_of_all=found.is_nearest_of_all,
    )


def _made_by(verdict: cache.ComponentVerdict, made_by: Mapping[str, UUID | None]) -> cache.ComponentVerdict:
    role = verdict.name.removeprefix("inputs/")
    if role == verdict.name or verdict.change is cache.Change.SAME:
        return verdict
    return dataclasses.replace(verdict, made_by=made_by.get(role))


class _Known:
    """Runs as they explain others, each read once."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._found: dict[UUID, cache.Taker] = {}

    def __call__(self, uid: UUID) -> cache.Taker:
        if uid not in self._found:
            self._found[uid] = self._read(uid)
        return self._found[uid]

    def _read(self, uid: UUID) -> cache.Taker:
        try:
            stored = runs.get(self._tx, uid)
        except WhenceError:
            return cache.Taker(uid, "", None, (), {})  # it is on its way, in somebody's outbox
        taken = runs.inputs_of(self._tx, stored.id)
        if not taken and stored.origin_id is not None:
            taken = runs.inputs_of(self._tx, stored.origin_id)
        took: dict[str, tuple[tuple[digest.Digest, UUID | None], ...]] = {}
        for item in taken:
            took[item.role] = (*took.get(item.role, ()), (item.version.digest, item.producer))
        parts = runs.components_of(self._tx, stored)
        if any(part.kind == "reads" for part in parts):
            trace = traces.of_run(self._tx, stored.origin_id or stored.id)
            parts = parts if trace is None else cache.shown(parts, trace)
        return cache.Taker(uid, stored.run.job, stored.run.key, parts, took)
