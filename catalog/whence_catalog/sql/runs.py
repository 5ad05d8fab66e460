"""Runs, their inputs, the components of their keys and their metric series."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import Select, bindparam, insert, select, update

from whence_catalog import digest, facts, model
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.sql import artifacts, engine, grams, labels, productions, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Asked, Filling, Given, Record, Statement, Transaction, Value

_RUN = tables.RUN
_JOB = tables.JOB
_ACTOR = tables.ACTOR
_PROJECT = tables.PROJECT
_INPUT = tables.INPUT
_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_COMPONENT = tables.COMPONENT
_OBSERVED = tables.OBSERVED
_SERIES = tables.SERIES
_BEAT = tables.BEAT
_ORIGIN = _RUN.alias("origin")
_PRODUCER = _RUN.alias("producer")

_find_names = Statement(
    select(_PROJECT.c.id, _JOB.c.id, _ACTOR.c.id)
    .select_from(_PROJECT)
    .join(_JOB, (_JOB.c.project_id == _PROJECT.c.id) & (_JOB.c.name == bindparam("job")))
    .join(
        _ACTOR,
        (_ACTOR.c.name == bindparam("actor")) & (_ACTOR.c.authenticated == bindparam("authenticated")),
    )
    .where(_PROJECT.c.name == bindparam("project"))
)
_find_job = Statement(
    select(_JOB.c.id).where(_JOB.c.project_id == bindparam("project_id"), _JOB.c.name == bindparam("name"))
)
_make_job = Statement(
    insert(_JOB).values(project_id=bindparam("project_id"), name=bindparam("name")).returning(_JOB.c.id)
)
_find_actor = Statement(
    select(_ACTOR.c.id).where(
        _ACTOR.c.name == bindparam("name"), _ACTOR.c.authenticated == bindparam("authenticated")
    )
)
_make_actor = Statement(
    insert(_ACTOR)
    .values(name=bindparam("name"), authenticated=bindparam("authenticated"))
    .returning(_ACTOR.c.id)
)
_RUNS = Filling(
    _RUN,
    "id",
    "uid",
    "project_id",
    "job_id",
    "actor_id",
    "state",
    "mode",
    "key",
    "origin_id",
    "parent",
    "retry_of",
    "rerun_of",
    "started_at",
    "finished_at",
    "presumed",
    "outcome",
    "params",
    "metrics",
    "warnings",
    "capture",
    "start_fact",
    "finish_fact",
    "reason",
)
_finish = Statement(
    update(_RUN)
    .where(_RUN.c.id == bindparam("of_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "key",
                "state",
                "finished_at",
                "presumed",
                "outcome",
                "metrics",
                "warnings",
                "finish_fact",
            )
        }
    )
)
_presume = Statement(
    update(_RUN).where(_RUN.c.id == bindparam("of_id")).values(presume_fact=bindparam("by_fact"))
)
_measure = Statement(
    update(_RUN).where(_RUN.c.id == bindparam("of_id")).values(metrics=bindparam("new_metrics"))
)
_COLUMNS = (
    _RUN.c.id,
    _RUN.c.uid,
    _PROJECT.c.name,
    _JOB.c.name,
    _ACTOR.c.name,
    _ACTOR.c.authenticated,
    _RUN.c.state,
    _RUN.c.mode,
    _RUN.c.key,
    _RUN.c.outcome,
    _ORIGIN.c.uid,
    _RUN.c.parent,
    _RUN.c.retry_of,
    _RUN.c.rerun_of,
    _RUN.c.started_at,
    _RUN.c.finished_at,
    _RUN.c.presumed,
    _RUN.c.params,
    _RUN.c.metrics,
    _RUN.c.warnings,
    _RUN.c.capture,
    _RUN.c.start_fact,
    _RUN.c.finish_fact,
    _RUN.c.origin_id,
    _RUN.c.job_id,
    _RUN.c.reason,
)


def select_runs() -> Select[tuple[object, ...]]:
    """A query of Runs, whose rows `stored_of` reads."""
    return (
        select(*_COLUMNS)
        .select_from(_RUN)
        .join(_JOB, _JOB.c.id == _RUN.c.job_id)
        .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
        .join(_ACTOR, _ACTOR.c.id == _RUN.c.actor_id)
        .outerjoin(_ORIGIN, _ORIGIN.c.id == _RUN.c.origin_id)
    )


_get = Statement(select_runs().where(_RUN.c.uid == bindparam("uid")))
_between = Statement(
    select(_RUN.c.uid)
    .where(_RUN.c.uid >= bindparam("low"), _RUN.c.uid <= bindparam("high"))
    .order_by(_RUN.c.uid.desc())
    .limit(bindparam("many"))
)
_id_of = Statement(select(_RUN.c.id).where(_RUN.c.uid == bindparam("uid")))
_projects_of = Statement(
    select(_RUN.c.uid, _PROJECT.c.name)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(engine.among_bytes(_RUN.c.uid, "uids"))
)
_listed = Statement(
    select_runs()
    .where(
        _RUN.c.id < bindparam("below"),
        (bindparam("any_project") == 1) | (_PROJECT.c.name == bindparam("project")),
        (bindparam("any_job") == 1) | (_JOB.c.name == bindparam("job")),
    )
    .order_by(_RUN.c.id.desc())
    .limit(bindparam("many"))
)
INPUTS = Filling(_INPUT, "run_id", "role", "ordinal", "version_id", "producer_run_id", "fact")
_taking = (
    select(*artifacts.VERSION_COLUMNS, _INPUT.c.role, _INPUT.c.ordinal, _PRODUCER.c.uid)
    .select_from(_INPUT)
    .join(_VERSION, _VERSION.c.id == _INPUT.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_PRODUCER, _PRODUCER.c.id == _INPUT.c.producer_run_id)
    .where(_INPUT.c.run_id == bindparam("run_id"))
    .order_by(_INPUT.c.role, _INPUT.c.ordinal)
)
_inputs_of = Statement(_taking)
_inputs_known = Statement(_taking.where(engine.known(_INPUT.c.fact)))
_input_ids = Statement(
    select(_INPUT.c.role, _INPUT.c.ordinal, _INPUT.c.version_id, _INPUT.c.producer_run_id).where(
        _INPUT.c.run_id == bindparam("run_id")
    )
)
_inputs_named = Statement(
    select(
        _INPUT.c.role,
        _INPUT.c.ordinal,
        _PROJECT.c.name,
        _ARTIFACT.c.kind,
        _ARTIFACT.c.name,
        _VERSION.c.digest,
        _PRODUCER.c.uid,
    )
    .select_from(_INPUT)
    .join(_VERSION, _VERSION.c.id == _INPUT.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .outerjoin(_PRODUCER, _PRODUCER.c.id == _INPUT.c.producer_run_id)
    .where(_INPUT.c.run_id == bindparam("run_id"))
)
COMPONENTS = Filling(_COMPONENT, "run_id", "place", "name", "kind", "digest", "ignored")
_components_of = Statement(
    select(
        _COMPONENT.c.place, _COMPONENT.c.name, _COMPONENT.c.kind, _COMPONENT.c.digest, _COMPONENT.c.ignored
    )
    .where(_COMPONENT.c.run_id == bindparam("run_id"))
    .order_by(_COMPONENT.c.place)
)
_put_observed = Statement(insert(_OBSERVED))
_observed_of = Statement(select(_OBSERVED.c.seen).where(_OBSERVED.c.run_id == bindparam("run_id")))
_put_series = Statement(insert(_SERIES))
_series_of = Statement(
    select(_SERIES.c.points)
    .where(_SERIES.c.run_id == bindparam("run_id"), engine.known(_SERIES.c.fact))
    .order_by(engine.place(_SERIES.c.fact))
)
_silent = Statement(
    select(_RUN.c.uid)
    .outerjoin(_BEAT, _BEAT.c.run_uid == _RUN.c.uid)
    .where(
        _RUN.c.state == bindparam("running"),
        (_BEAT.c.until < bindparam("moment"))
        | (_BEAT.c.until.is_(None) & (_RUN.c.started_at < bindparam("started_before"))),
    )
)

MINIMUM_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """A Run with where it lies. Its labels, and what its error says, lie elsewhere."""

    id: int
    run: model.Run
    start_fact: int
    finish_fact: int | None
    origin_id: int | None
    job_id: int


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def find_actor(tx: Transaction, actor: model.Actor) -> int | None:
    """The Actor's row."""
    row = tx.one(_find_actor, name=actor.name, authenticated=int(actor.authenticated))
    return None if row is None else row[0]


def are_named(
    tx: Transaction, calls: Sequence[tuple[str, str, model.Actor]]
) -> dict[tuple[str, str, model.Actor], bool]:
    """Whether project, job and Actor are all there; they are not looked up again in this transaction."""
    found = tx.each(*asked_names(calls))
    tx.found.setdefault("names", {}).update(
        {named: rows[0] for named, rows in zip(calls, found, strict=True) if rows}
    )
    return {named: bool(rows) for named, rows in zip(calls, found, strict=True)}


def asked_names(calls: Sequence[tuple[str, str, model.Actor]]) -> Asked:
    """What `are_named` asks."""
    return _find_names, [_named(*named) for named in calls]


def _named(project: str, job: str, actor: model.Actor) -> dict[str, Given]:
    return {
        "project": project,
        "job": job,
        "actor": actor.name,
        "authenticated": int(actor.authenticated),
    }


def actor_id(tx: Transaction, actor: model.Actor) -> int:
    """The Actor's row, made if need be."""
    named: dict[str, Value] = {"name": actor.name, "authenticated": int(actor.authenticated)}
    row = tx.one(_find_actor, **named) or tx.one(_make_actor, **named)
    return cast("Record", row)[0]  # type: ignore[no-any-return]


def _names(tx: Transaction, run: model.Run) -> Record:
    """The rows of a Run's project, job and Actor, made if need be."""
    known: Record | None = tx.found.get("names", {}).get((run.project, run.job, run.actor))
    row = known or tx.one(_find_names, **_named(run.project, run.job, run.actor))
    if row is not None:
        return row
    project_id = artifacts.project_id(tx, run.project)
    job: dict[str, Value] = {"project_id": project_id, "name": run.job}
    found = tx.one(_find_job, **job)
    if found is None:
        found = cast("Record", tx.one(_make_job, **job))
        tx.fill((grams.OF_JOBS, grams.rows(run.job, project_id, found[0])))
    return project_id, found[0], actor_id(tx, run.actor)


def names_of(tx: Transaction, all_runs: Iterable[model.Run]) -> list[Record]:
    """The rows of each Run's project, job and Actor, made if need be."""
    known: dict[tuple[str, str, str, bool], Record] = {}
    rows: list[Record] = []
    for run in all_runs:
        named = run.project, run.job, run.actor.name, run.actor.authenticated
        row = known.get(named)
        if row is None:
            row = known[named] = _names(tx, run)
        rows.append(row)
    return rows


def insert_run(
    tx: Transaction, run: model.Run, fact: int, finish_fact: int | None, origin_id: int | None
) -> int:
    """Record a new Run, which may have ended already; answers its row."""
    names = _names(tx, run)
    (run_id,) = tx.numbers("run", 1)
    tx.fill(filled([row_of(run_id, run, names, fact, finish_fact, origin_id)]))
    return run_id


def filled(rows: Sequence[tuple[Value, ...]]) -> tuple[Filling, Sequence[tuple[Value, ...]]]:
    """Rows of new Runs, to be written."""
    return _RUNS, rows


def row_of(
    run_id: int, run: model.Run, names: Record, fact: int, finish_fact: int | None, origin_id: int | None
) -> tuple[Value, ...]:
    """The row of a Run whose project, job and Actor have those of `names`."""
    return (
        run_id,
        run.uid.bytes,
        *names,
        run.state.value,
        run.mode.value,
        run.key,
        origin_id,
        None if run.parent is None else run.parent.bytes,
        None if run.retry_of is None else run.retry_of.bytes,
        None if run.rerun_of is None else run.rerun_of.bytes,
        model.microseconds(run.started_at),
        None if run.finished_at is None else model.microseconds(run.finished_at),
        int(run.presumed),
        run.outcome,
        digest.frame(dict(run.params)),
        digest.frame(dict(run.metrics)),
        digest.frame(list(run.warnings)),
        digest.frame(facts.capture(run.capture)),
        fact,
        finish_fact,
        run.reason,
    )


def replace_run(tx: Transaction, run_id: int, after: model.Run, fact: int) -> None:
    """Record what a Run has become."""
    tx.run(
        _finish,
        of_id=run_id,
        new_key=after.key,
        new_state=after.state.value,
        new_finished_at=None if after.finished_at is None else model.microseconds(after.finished_at),
        new_presumed=int(after.presumed),
        new_outcome=after.outcome,
        new_metrics=digest.frame(dict(after.metrics)),
        new_warnings=digest.frame(list(after.warnings)),
        new_finish_fact=fact,
    )


def put_presumption(tx: Transaction, run_id: int, fact: int) -> None:
    """Keep which fact presumed it aborted, whatever it says itself later."""
    tx.run(_presume, of_id=run_id, by_fact=fact)


def replace_metrics(tx: Transaction, run_id: int, after: model.Run) -> None:
    """Record a Run's metrics as they are now."""
    tx.run(_measure, of_id=run_id, new_metrics=digest.frame(dict(after.metrics)))


def begin_inputs(tx: Transaction, run_id: int, fact: int, claims: Sequence[model.InputClaim]) -> None:
    """Record what a Run took, of which nothing is recorded yet; raises as `put_inputs` does."""
    if claims:
        ids = productions.sources_ids(tx, [claim.source for claim in claims])
        tx.fill((INPUTS, input_rows(run_id, fact, claims, ids, {})))


def put_inputs(tx: Transaction, run_id: int, fact: int, claims: Sequence[model.InputClaim]) -> None:
    """Record what a Run took, as a fact says it. The same input in the same role said again changes nothing.

    Raises:
        NotFound: a Version, or the Run it is said to come from, is not recorded.
        InvalidInput: two inputs have the same role and ordinal.
    """
    if not claims:
        return
    taken = {(row[0], row[1]): tuple(row[2:]) for row in tx.all(_input_ids, run_id=run_id)}
    ids = productions.sources_ids(tx, [claim.source for claim in claims])
    tx.fill((INPUTS, input_rows(run_id, fact, claims, ids, taken)))


def input_rows(
    run_id: int,
    fact: int,
    claims: Sequence[model.InputClaim],
    ids: Sequence[productions.SourceIds],
    taken: dict[tuple[str, int], tuple[int, int | None]],
) -> list[tuple[Value, ...]]:
    """The rows of what a Run took beside `taken`, to which they are added; `ids` are those of the sources.

    Raises:
        InvalidInput: two inputs have the same role and ordinal.
    """
    rows: list[tuple[Value, ...]] = []
    for claim, what in zip(claims, ids, strict=True):
        place = claim.role, claim.ordinal
        if place in taken:
            if taken[place] != what:
                raise InvalidInput(
                    f"the run already has another input {claim.role!r}; give this one another role"
                )
            continue
        taken[place] = what
        rows.append((run_id, *place, *what, fact))
    return rows


def takes_the_same(tx: Transaction, run_id: int, claims: Sequence[model.InputClaim]) -> bool:
    """Whether a Run's recorded inputs are exactly these, to the production."""
    mine = {
        (
            claim.role,
            claim.ordinal,
            claim.source.artifact.project,
            claim.source.artifact.kind,
            claim.source.artifact.name,
            claim.source.digest.raw,
            None if claim.source.producer is None else claim.source.producer.bytes,
        )
        for claim in claims
    }
    return mine == {tuple(row) for row in tx.all(_inputs_named, run_id=run_id)}


def put_components(
    tx: Transaction, run_id: int, components: Sequence[model.Component], first: int = 0
) -> None:
    """Record parts of a Run's key, the first of them in place `first`."""
    tx.fill((COMPONENTS, component_rows(run_id, components, first)))


def component_rows(
    run_id: int, components: Sequence[model.Component], first: int = 0
) -> list[tuple[Value, ...]]:
    """The rows of parts of a Run's key, the first of them in place `first`."""
    return [
        (run_id, place, part.name, part.kind, part.digest, int(part.ignored))
        for place, part in enumerate(components, first)
    ]


def put_observed(tx: Transaction, run_id: int, seen: model.Observed | None) -> None:
    """Record what a Run was seen to touch, if anything was said of that."""
    if seen is not None:
        tx.run(_put_observed, run_id=run_id, seen=digest.frame(facts.observed(seen)))


def put_series(tx: Transaction, run_id: int, series: model.Series, fact: int) -> None:
    """Record the points of one flush."""
    points = cast("facts.Body", facts.log(series)["points"])
    tx.run(_put_series, run_id=run_id, fact=fact, points=digest.frame(points))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def is_recorded(tx: Transaction, uid: UUID) -> bool:
    """Whether there is a Run of that id."""
    return tx.one(_id_of, uid=uid.bytes) is not None


def find(tx: Transaction, uid: UUID) -> Stored | None:
    """The Run of that id."""
    row = tx.one(_get, uid=uid.bytes)
    return None if row is None else stored_of(row)


def get(tx: Transaction, uid: UUID) -> Stored:
    """The Run of that id.

    Raises:
        NotFound: it is not recorded.
    """
    stored = find(tx, uid)
    if stored is None:
        raise NotFound(f"no run {uid} is recorded", ErrorKind.NO_SUCH_RUN)
    return stored


def stored_of(row: Record) -> Stored:
    """The Run in a row of `select_runs`."""
    optional = [None if raw is None else UUID(bytes=raw) for raw in row[10:14]]
    run = model.Run(
        uid=UUID(bytes=row[1]),
        project=row[2],
        job=row[3],
        actor=model.Actor(row[4], bool(row[5])),
        state=model.RunState(row[6]),
        mode=model.Mode(row[7]),
        key=row[8],
        outcome=row[9],
        origin=optional[0],
        parent=optional[1],
        retry_of=optional[2],
        rerun_of=optional[3],
        started_at=model.moment(row[14]),
        finished_at=None if row[15] is None else model.moment(row[15]),
        presumed=bool(row[16]),
        params=cast("facts.Body", digest.unframe_own(row[17])),
        metrics=cast("Mapping[str, float]", digest.unframe_own(row[18])),
        warnings=tuple(cast("Sequence[str]", digest.unframe_own(row[19]))),
        capture=facts.read_capture(cast("facts.Body", digest.unframe_own(row[20]))),
        reason=row[25],
    )
    return Stored(row[0], run, row[21], row[22], row[23], row[24])


def prefixed(tx: Transaction, prefix: str) -> UUID:
    """The id of the one Run whose id begins so.

    Raises:
        InvalidInput: not a prefix of an id, too short, or not unique.
        NotFound: there is none.
    """
    digits = prefix.replace("-", "").lower()
    if len(digits) < MINIMUM_PREFIX or len(digits) > 32 or any(c not in "0123456789abcdef" for c in digits):
        raise InvalidInput(
            f"not a run: {prefix!r}; give its id, or at least {MINIMUM_PREFIX} characters of the start of it",
            ErrorKind.BAD_REFERENCE,
        )
    low, high = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    rows = tx.all(_between, low=low, high=high, many=4)
    if not rows:
        raise NotFound(f"no run {prefix} is recorded; `whence log` lists them", ErrorKind.NO_SUCH_RUN)
    if len(rows) > 1:
        shown = ", ".join(str(UUID(bytes=row[0])) for row in rows[:3])
        raise InvalidInput(
            f"several runs begin with {prefix}: {shown}{' …' if len(rows) > 3 else ''}; give more of it",
            ErrorKind.AMBIGUOUS_RUN,
        )
    return UUID(bytes=rows[0][0])


def record(tx: Transaction, stored: Stored) -> model.RunRecord:
    """The Run with all that it took and made, and its redactable texts. A reused Run's are its origin's,
    but for the inputs that it took itself.
    """
    inputs = inputs_of(tx, stored.id)
    made_by = stored.id
    run = with_texts(tx, stored)
    if stored.origin_id is not None:
        made_by = stored.origin_id
        inputs = inputs or inputs_of(tx, stored.origin_id)
    return model.RunRecord(run, inputs, artifacts.outputs_of(tx, made_by), observed_of(tx, stored.id))


def observed_of(tx: Transaction, run_id: int) -> model.Observed | None:
    """What a Run was seen to touch; None where nothing was said of that."""
    row = tx.one(_observed_of, run_id=run_id)
    return None if row is None else facts.read_observed(cast("facts.Body", digest.unframe_own(row[0])))


def with_texts(tx: Transaction, stored: Stored) -> model.Run:
    """The Run with its labels and its error in clear, where they were not erased."""
    ended = fact_log.opened(tx, stored.finish_fact)
    own = labels.of_runs(tx, [stored.id])[stored.id]
    return dataclasses.replace(stored.run, labels=own, error=ended.get("error"))


def inputs_of(tx: Transaction, run_id: int, as_of: int | None = None) -> tuple[model.Input, ...]:
    """What a Run took, or was known to have taken at a position, by role and ordinal."""
    rows = (
        tx.all(_inputs_of, run_id=run_id)
        if as_of is None
        else tx.all(_inputs_known, run_id=run_id, as_of=as_of)
    )
    return tuple(
        model.Input(
            role=row[9],
            version=artifacts.version_of(row),
            producer=None if row[11] is None else UUID(bytes=row[11]),
            ordinal=row[10],
        )
        for row in rows
    )


def components_of(tx: Transaction, stored: Stored) -> tuple[model.Component, ...]:
    """The parts of a Run's key, with their previews; a reused Run's are its origin's."""
    run_id, fact = stored.id, stored.start_fact
    if stored.run.origin is not None:
        origin = get(tx, stored.run.origin)
        run_id, fact = origin.id, origin.start_fact
    clear = fact_log.opened(tx, fact)
    return tuple(
        dataclasses.replace(part, preview=clear.get(f"components/{place}/preview"))
        for place, part in placed_components(tx, run_id)
    )


def placed_components(tx: Transaction, run_id: int) -> list[tuple[int, model.Component]]:
    """(place, part) of the key of a Run that executed, without previews."""
    return [
        (place, model.Component(name, kind, raw, None, bool(ignored)))
        for place, name, kind, raw, ignored in tx.all(_components_of, run_id=run_id)
    ]


def listed(
    tx: Transaction,
    project: str | None,
    job: str | None,
    states: frozenset[model.RunState],
    limit: int,
    before: UUID | None,
) -> list[model.Run]:
    """Runs, newest first, from before that one."""
    below = 2**62 if before is None else get(tx, before).id
    found: list[model.Run] = []
    while len(found) < limit:
        rows = tx.all(
            _listed,
            below=below,
            any_project=int(project is None),
            project=project or "",
            any_job=int(job is None),
            job=job or "",
            many=limit,
        )
        kept = [stored_of(row) for row in rows]
        found += [with_texts(tx, item) for item in kept if not states or item.run.state in states]
        if len(rows) < limit:
            break
        below = rows[-1][0]
    return found[:limit]


def series_of(
    tx: Transaction, run_id: int, as_of: int = engine.NOW
) -> dict[str, tuple[tuple[int, float], ...]]:
    """All points of a Run's series that were known at a position, in the order they were logged."""
    series: dict[str, list[tuple[int, float]]] = {}
    for (raw,) in tx.all(_series_of, run_id=run_id, as_of=as_of):
        flush = cast("Mapping[str, Sequence[Sequence[float]]]", digest.unframe_own(raw))
        for name, points in flush.items():
            series.setdefault(name, []).extend((int(step), value) for step, value in points)
    return {name: tuple(points) for name, points in series.items()}


def projects_of(tx: Transaction, uids: Sequence[UUID]) -> dict[UUID, str]:
    """The project of each of these Runs that is recorded."""
    rows = tx.all(_projects_of, uids=[uid.bytes for uid in uids])
    return {UUID(bytes=uid): project for uid, project in rows}


def silent(tx: Transaction, grace_micros: int) -> list[UUID]:
    """Running Runs whose last beat has lapsed."""
    rows = tx.all(
        _silent,
        running=model.RunState.RUNNING.value,
        moment=tx.micros,
        started_before=tx.micros - grace_micros,
    )
    return [UUID(bytes=row[0]) for row in rows]
