"""Runs as they were known at a position: one that ended later was running, with what it had logged by then."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, case, literal_column, select

from whence_catalog import facts, lifecycle, model
from whence_catalog.errors import ErrorKind, NotFound
from whence_catalog.sql import artifacts, engine, labels, named, tables
from whence_catalog.sql import runs as recorded
from whence_catalog.sql.engine import Statement, Transaction

_FACT = tables.FACT
_RUN = tables.RUN
_SERIES = tables.SERIES

# The state of a Run as far as was known at `head`. A reused one has no fact that ended it.
STATE: ColumnElement[str] = case(
    (_RUN.c.finish_fact.is_(None) | engine.known(_RUN.c.finish_fact, "head"), _RUN.c.state),
    (engine.known(_RUN.c.presume_fact, "head"), literal_column("'aborted'")),
    else_=literal_column("'running'"),
)
_said_of = Statement(
    select(
        _RUN.c.id,
        _RUN.c.start_fact,
        engine.place(_RUN.c.finish_fact),
        _RUN.c.presume_fact,
        engine.place(_RUN.c.presume_fact),
    ).where(engine.among(_RUN.c.id, "ids"))
)
_known = Statement(
    select(_RUN.c.uid, _RUN.c.id).where(
        engine.among_bytes(_RUN.c.uid, "uids"), engine.known(_RUN.c.start_fact)
    )
)
_place_of = Statement(select(engine.place(_RUN.c.finish_fact)).where(_RUN.c.id == bindparam("id")))
_canonical = Statement(select(_FACT.c.id, _FACT.c.canonical).where(engine.among(_FACT.c.id, "ids")))
_logged = Statement(
    select(_FACT.c.canonical)
    .join(_SERIES, _SERIES.c.fact == _FACT.c.id)
    .where(_SERIES.c.run_id == bindparam("run_id"), engine.known(_SERIES.c.fact))
    .order_by(engine.place(_SERIES.c.fact))
)


def runs(tx: Transaction, ids: Sequence[int], as_of: int) -> dict[int, model.Run]:
    """The Runs in these rows as they were known at a position: one that ended later was running."""
    described = named.runs_with_ids(tx, ids)
    own = labels.of_runs(tx, ids, as_of)
    said = tx.all(_said_of, ids=sorted(ids))
    # Of one that runs points may have been logged since.
    later = [
        row
        for row in said
        if described[row[0]].state is model.RunState.RUNNING or (row[2] is not None and row[2] > as_of)
    ]
    wanted = sorted({fact for row in later for fact in (row[1], row[3]) if fact is not None})
    told = {row[0]: facts.decode(bytes(row[1])) for row in (tx.all(_canonical, ids=wanted) if wanted else ())}
    for row_id, start_fact, _, presume_fact, presumed in later:
        run = _begun(described[row_id], told[start_fact])
        for (canonical,) in tx.all(_logged, run_id=row_id, as_of=as_of):
            fact = facts.decode(bytes(canonical))
            run = lifecycle.log(run, facts.read_log(fact.uid, fact.body))
        if presumed is not None and presumed <= as_of:
            run = lifecycle.presume_aborted(run, told[presume_fact].at)
        described[row_id] = run
    return {row: replace(run, labels=own[row]) for row, run in described.items()}


def _begun(run: model.Run, fact: facts.Fact) -> model.Run:
    call = replace(facts.read_start(fact.body), actor=fact.actor)
    return replace(lifecycle.start(call, fact.at), labels=run.labels)


def unknown(run: UUID | str, as_of: int) -> NotFound:
    """That a Run is recorded, and was not known at a position."""
    return NotFound(f"no run {run} was known at position {as_of}", ErrorKind.NO_SUCH_RUN)


def known(tx: Transaction, uids: Iterable[UUID], as_of: int) -> dict[UUID, int]:
    """The rows of those of these Runs that were known at a position."""
    rows = tx.all(_known, uids=sorted({uid.bytes for uid in uids}), as_of=as_of)
    return {UUID(bytes=bytes(row[0])): row[1] for row in rows}


def named_runs(tx: Transaction, uids: Sequence[UUID], as_of: int) -> dict[UUID, model.Run]:
    """The Runs with these ids that were known at a position, as they were."""
    rows = known(tx, uids, as_of)
    described = runs(tx, list(rows.values()), as_of)
    return {uid: described[rows[uid]] for uid in uids if uid in rows}


def series(tx: Transaction, uid: UUID, as_of: int) -> dict[str, tuple[tuple[int, float], ...]]:
    """All points of a Run's series that were known at a position.

    Raises:
        NotFound: the Run was not known.
    """
    row = recorded.get(tx, uid).id
    if uid not in known(tx, [uid], as_of):
        raise unknown(uid, as_of)
    return recorded.series_of(tx, row, as_of)


def record(tx: Transaction, prefix: str, as_of: int) -> model.RunRecord:
    """A Run as it was known at a position, with all that it was known to have taken and made.

    Raises:
        NotFound: it was not known.
    """
    stored = recorded.get(tx, recorded.prefixed(tx, prefix))
    found = named_runs(tx, [stored.run.uid], as_of).get(stored.run.uid)
    if found is None:
        raise unknown(prefix, as_of)
    executed = stored.id if stored.origin_id is None else stored.origin_id
    inputs = recorded.inputs_of(tx, stored.id, as_of) or recorded.inputs_of(tx, executed, as_of)
    finished = tx.one(_place_of, id=stored.id)
    has_ended = finished is not None and finished[0] is not None and finished[0] <= as_of
    observed = recorded.observed_of(tx, stored.id) if has_ended else None
    return model.RunRecord(found, inputs, artifacts.outputs_of(tx, executed, as_of), observed)
