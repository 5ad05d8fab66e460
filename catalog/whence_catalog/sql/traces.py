"""Traces: what Runs really read of their tracked arguments, and which of them a new call may try."""

from typing import cast

from sqlalchemy import bindparam, delete, insert, select

from whence_catalog import cache, digest, facts, model, traces
from whence_catalog.sql import reservations, runs, tables
from whence_catalog.sql.engine import Statement, Transaction

_TRACE = tables.TRACE
_ENTRY = tables.CACHE_ENTRY
_RUN = tables.RUN
_PROJECT = tables.PROJECT
_COMPONENT = tables.COMPONENT

_STANDING = _ENTRY.c.superseded_at.is_(None) & _ENTRY.c.evicted_at.is_(None)
_put = Statement(insert(_TRACE))
_began_as = Statement(select(_RUN.c.key).where(_RUN.c.id == bindparam("run_id")))
_drop_component = Statement(
    delete(_COMPONENT).where(
        _COMPONENT.c.run_id == bindparam("of_run"), _COMPONENT.c.place == bindparam("of_place")
    )
)
_of_base = Statement(
    select(_TRACE.c.base, _TRACE.c.key, _TRACE.c.arguments, _TRACE.c.observations)
    .join(_ENTRY, (_ENTRY.c.key == _TRACE.c.key) & (_ENTRY.c.run_id == _TRACE.c.run_id))
    .join(_RUN, _RUN.c.id == _TRACE.c.run_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(
        _TRACE.c.base == bindparam("base"),
        _STANDING,
        _PROJECT.c.name == bindparam("project"),
    )
    .order_by(_ENTRY.c.id.desc())
    .limit(bindparam("many"))
)
_key_of_whole = Statement(
    select(_TRACE.c.key)
    .join(_ENTRY, _ENTRY.c.key == _TRACE.c.key)
    .where(_TRACE.c.whole == bindparam("whole"), _STANDING)
    .order_by(_TRACE.c.run_id.desc())
    .limit(1)
)
_of_run = Statement(
    select(_TRACE.c.base, _TRACE.c.key, _TRACE.c.arguments, _TRACE.c.observations).where(
        _TRACE.c.run_id == bindparam("run_id")
    )
)


def put(tx: Transaction, run_id: int, trace: traces.Trace | None) -> None:
    """Record what a Run that ends really read: that takes the place of the whole values among its components.

    To be called while the Run still has the key under which it began.
    """
    if trace is None:
        return
    (whole,) = cast("tuple[str | None]", tx.one(_began_as, run_id=run_id))
    tx.run(
        _put,
        run_id=run_id,
        base=trace.base,
        key=trace.key,
        whole=whole,
        arguments=digest.frame(list(trace.arguments)),
        observations=digest.frame(facts.observations(trace.observations)),
    )
    before = runs.placed_components(tx, run_id)
    kept = cache.base([part for _, part in before], trace.arguments)
    tx.many(
        _drop_component,
        [{"of_run": run_id, "of_place": place} for place, part in before if part not in kept],
    )
    reads = cache.traced(kept, trace)[len(kept) :]
    runs.put_components(tx, run_id, reads, first=max((place for place, _ in before), default=-1) + 1)


def of_base(tx: Transaction, project: str, base: str) -> tuple[traces.Trace, ...]:
    """The traces of the live entries of that base, the newest first; at most `traces.MOST_TRACES`."""
    rows = tx.all(_of_base, project=project, base=base, many=traces.MOST_TRACES)
    return tuple(_trace(*row) for row in rows)


def of_run(tx: Transaction, run_id: int) -> traces.Trace | None:
    """What a Run really read of its tracked arguments, if it had some."""
    row = tx.one(_of_run, run_id=run_id)
    return None if row is None else _trace(*row)


def live(tx: Transaction, call: model.Call) -> reservations.LiveEntry | None:
    """The entry that a look-up finds: under the call's key; else under what a call with the same key really read."""
    assert call.key is not None
    found = reservations.live(tx, call.key, call.run)
    if found is not None or call.base is None:
        return found
    row = tx.one(_key_of_whole, whole=call.key)
    return None if row is None else reservations.live(tx, row[0], call.run)


def _trace(base: str, key: str, arguments: bytes, observations: bytes) -> traces.Trace:
    return traces.Trace(
        base,
        key,
        tuple(cast("list[str]", digest.unframe_own(arguments))),
        facts.read_observations(digest.unframe_own(observations)),
    )
