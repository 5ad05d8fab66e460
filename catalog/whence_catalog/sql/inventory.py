"""What the cache holds and what it was good for: entries, divergences, sums by job, and what pins an entry.

An entry's hits are the Runs whose origin is its Run: they are counted where they are asked for, and nothing is
written when an entry is hit.
"""

import functools
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, Text, bindparam, func, literal_column, select
from sqlalchemy import cast as cast_as

from whence_catalog import facts, inventory, model, replies
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound
from whence_catalog.inventory import EntryState
from whence_catalog.sql import artifacts, engine, named, pages, reservations, runs, tables, taint
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

_FACT = tables.FACT
_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT
_ENTRY = tables.CACHE_ENTRY
_DIVERGENCE = tables.DIVERGENCE
_ALIAS = tables.ALIAS
_RESERVATION = tables.RESERVATION
_HIT = _RUN.alias("hit")
_ORIGIN = _RUN.alias("origin")

_ZERO: ColumnElement[int] = literal_column("0")

# What look-ups find, be it live or revoked.
STANDING = _ENTRY.c.superseded_at.is_(None) & _ENTRY.c.evicted_at.is_(None)
_STATES: dict[EntryState, ColumnElement[bool]] = {
    EntryState.LIVE: STANDING & _ENTRY.c.revoked_at.is_(None),
    EntryState.REVOKED: STANDING & _ENTRY.c.revoked_at.is_not(None),
    EntryState.SUPERSEDED: _ENTRY.c.superseded_at.is_not(None),
    EntryState.EVICTED: _ENTRY.c.evicted_at.is_not(None),
}


def size_of(run_id: ColumnElement[int]) -> Any:
    """The bytes that a Run made, as far as their sizes are known."""
    total = func.coalesce(func.sum(_VERSION.c.size_bytes), _ZERO)
    made = select(cast_as(total, BigInteger)).join_from(
        _OUTPUT, _VERSION, _VERSION.c.id == _OUTPUT.c.version_id
    )
    return made.where(_OUTPUT.c.run_id == run_id).scalar_subquery()


LAST_USED: Any = (
    select(func.max(_HIT.c.started_at)).where(_HIT.c.origin_id == _ENTRY.c.run_id).scalar_subquery()
)
_hits: Any = (
    select(func.count()).select_from(_HIT).where(_HIT.c.origin_id == _ENTRY.c.run_id).scalar_subquery()
)
_described = Statement(
    select(
        _ENTRY.c.id,
        _ENTRY.c.key,
        _PROJECT.c.name,
        _JOB.c.name,
        _RUN.c.uid,
        _ENTRY.c.created_at,
        _ENTRY.c.validated_at,
        _ENTRY.c.superseded_at,
        _ENTRY.c.revoked_at,
        _ENTRY.c.evicted_at,
        _ENTRY.c.withdrawn,
        _RUN.c.finished_at - _RUN.c.started_at,
        _hits,
        LAST_USED,
        size_of(_ENTRY.c.run_id),
        taint.WORST,
    )
    .select_from(_ENTRY)
    .join(_RUN, _RUN.c.id == _ENTRY.c.run_id)
    .join(_JOB, _JOB.c.id == _ENTRY.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(engine.among(_ENTRY.c.id, "ids"))
)
_said = Statement(select(_FACT.c.id, _FACT.c.canonical).where(engine.among(_FACT.c.id, "ids")))


def jobs_asked(by_project: bool, by_job: bool) -> Any:
    """The rows of the jobs that are asked for; None for all."""
    if not by_project and not by_job:
        return None
    jobs = select(_JOB.c.id)
    if by_job:
        jobs = jobs.where(_JOB.c.name == bindparam("job"))
    if by_project:
        projects = select(named.given("projects", name=Text()).c.name)
        jobs = jobs.join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id).where(_PROJECT.c.name.in_(projects))
    return jobs


def among(projects: Collection[str] | None, job: str | None) -> dict[str, Any]:
    """The parameters of `jobs_asked`."""
    return {"projects": named.listed([project] for project in projects or ()), "job": job}


# ── entries ──────────────────────────────────────────────────────────────────────────────────────

_entry_at = Statement(
    select(_ENTRY.c.id)
    .join(_RUN, _RUN.c.id == _ENTRY.c.run_id)
    .join(_FACT, _FACT.c.id == _RUN.c.finish_fact)
    .where(_FACT.c.position == bindparam("position"))
)


@functools.cache
def _entries_listed(
    by_project: bool, by_job: bool, states: tuple[EntryState, ...], by_age: bool
) -> Statement:
    # A statement for each set of filters: one that has them all, and says which count, finds no index.
    listed = (
        select(_ENTRY.c.id, engine.place(_RUN.c.finish_fact))
        .join(_RUN, _RUN.c.id == _ENTRY.c.run_id)
        .where(_ENTRY.c.id < bindparam("bound"), pages.sequenced(_RUN.c.finish_fact))
    )
    if (jobs := jobs_asked(by_project, by_job)) is not None:
        listed = listed.where(_ENTRY.c.job_id.in_(jobs))
    if states:
        any_of = _STATES[states[0]]
        for state in states[1:]:
            any_of |= _STATES[state]
        listed = listed.where(any_of)
    if by_age:
        listed = listed.where(_ENTRY.c.created_at <= bindparam("before"))
    return Statement(listed.order_by(_ENTRY.c.id.desc()).limit(bindparam("many")))


def entries(
    tx: Transaction,
    projects: frozenset[str] | None,
    job: str | None,
    states: frozenset[EntryState],
    older_than: timedelta | None,
    first: int,
    after: str | None,
) -> replies.EntryPage:
    """Cache entries, the newest first."""
    wanted = tuple(sorted(states))
    shown = (None if projects is None else sorted(projects), job, wanted, older_than)
    asked = pages.List("cache entries", repr(shown), first, after)
    head, key = asked.place(fact_log.head(tx), int)
    before = 0 if older_than is None else tx.micros - older_than // timedelta(microseconds=1)
    rows = tx.all(
        _entries_listed(projects is not None, job is not None, wanted, older_than is not None),
        head=head,
        bound=pages.HIGHEST if key is None else _row_at(tx, _entry_at, cast("int", key[0])),
        many=first + 1,
        before=before,
        **among(projects, job),
    )
    described = described_entries(tx, [row[0] for row in rows[:first]])
    cursors = tuple(asked.cursor(head, (row[1],)) for row in rows[:first])
    return replies.EntryPage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(described[row[0]] for row in rows[:first]),
    )


def _row_at(tx: Transaction, statement: Statement, position: int) -> int:
    row = tx.one(statement, position=position)
    if row is None:
        raise InvalidInput("not a cursor of this catalog; ask for the first page again")
    return cast("int", row[0])


def described_entries(tx: Transaction, ids: Sequence[int]) -> dict[int, inventory.Entry]:
    """The entries in these rows, each by its own."""
    rows = tx.all(_described, ids=list(ids)) if ids else []
    withdrawn = sorted({row[10] for row in rows if row[10] is not None})
    clear = named.texts_of(tx, withdrawn)
    # Each once, whatever it took: the fact of an eviction is long.
    said = tx.all(_said, ids=withdrawn) if withdrawn else []
    by = {fact: facts.decode(bytes(canonical)).actor for fact, canonical in said}
    return {row[0]: _entry(row, by.get(row[10]), clear.get(row[10], {}).get("reason")) for row in rows}


def _entry(row: Record, by: model.Actor | None, because: str | None) -> inventory.Entry:
    superseded_at, revoked_at, evicted_at = row[7:10]
    if evicted_at is not None:
        state, until = EntryState.EVICTED, evicted_at
    elif superseded_at is not None:
        state, until = EntryState.SUPERSEDED, superseded_at
    elif revoked_at is not None:
        state, until = EntryState.REVOKED, revoked_at
    else:
        state, until = EntryState.LIVE, None
    return inventory.Entry(
        key=row[1],
        project=row[2],
        job=row[3],
        run=UUID(bytes=row[4]),
        state=state,
        created_at=model.moment(row[5]),
        validated_at=model.moment(row[6]),
        until=None if until is None else model.moment(until),
        by=by,
        because=because,
        condemned=taint.condemned(row[15]),
        hits=row[12],
        last_used_at=None if row[13] is None else model.moment(row[13]),
        seconds=(row[11] or 0) / 1e6,
        size_bytes=row[14],
    )


# ── one key ──────────────────────────────────────────────────────────────────────────────────────

MINIMUM_PREFIX = 8
_MOST_OF_A_KEY = 100
_PREFIX = "wk1:"

_of_key = Statement(
    select(_ENTRY.c.id)
    .where(_ENTRY.c.key == bindparam("key"))
    .order_by(_ENTRY.c.id.desc())
    .limit(bindparam("many"))
)
_count_of_key = Statement(select(func.count()).select_from(_ENTRY).where(_ENTRY.c.key == bindparam("key")))
_divergences_of_key = Statement(
    select(_DIVERGENCE.c.run_id)
    .where(_DIVERGENCE.c.key == bindparam("key"))
    .order_by(_DIVERGENCE.c.run_id.desc())
    .limit(bindparam("many"))
)
_count_divergences_of_key = Statement(
    select(func.count()).select_from(_DIVERGENCE).where(_DIVERGENCE.c.key == bindparam("key"))
)


@functools.cache
def _keys_between(by_project: bool) -> Statement:
    """Keys that were entered, or are being computed, of Runs of these projects."""

    def keys(found: Select[Any]) -> Select[Any]:
        if not by_project:
            return found
        projects = select(named.given("projects", name=Text()).c.name)
        return found.join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id).where(_PROJECT.c.name.in_(projects))

    entered = keys(select(_ENTRY.c.key).join(_RUN, _RUN.c.id == _ENTRY.c.run_id)).where(
        _ENTRY.c.key >= bindparam("low"), _ENTRY.c.key < bindparam("high")
    )
    computed = keys(select(_RESERVATION.c.key).join(_RUN, _RUN.c.uid == _RESERVATION.c.run_uid)).where(
        _RESERVATION.c.key >= bindparam("low"), _RESERVATION.c.key < bindparam("high")
    )
    both = entered.union(computed).subquery("both")
    return Statement(select(both.c.key).order_by(both.c.key).limit(bindparam("many")))


def named_key(tx: Transaction, prefix: str, projects: frozenset[str] | None) -> str:
    """The one key that begins so, of those that were entered or computed in these projects.

    Raises:
        InvalidInput: not a prefix of a key, too short, or not unique.
        NotFound: there is none.
    """
    digits = prefix.removeprefix(_PREFIX).lower()
    if not MINIMUM_PREFIX <= len(digits) <= 64 or any(c not in "0123456789abcdef" for c in digits):
        raise InvalidInput(
            f"not a cache key: {prefix[:80]!r}; give `wk1:` and 64 hexadecimal digits, or at least"
            f" {MINIMUM_PREFIX} of the first of them",
            ErrorKind.BAD_REFERENCE,
        )
    low = _PREFIX + digits
    rows = tx.all(
        _keys_between(projects is not None), low=low, high=f"{low}g", many=4, **among(projects, None)
    )
    if not rows:
        raise NotFound(
            f"no cache key {prefix} was entered or is computed; `whence cache ls` lists them",
            ErrorKind.NO_SUCH_KEY,
        )
    if len(rows) > 1:
        shown = ", ".join(row[0] for row in rows[:3])
        raise InvalidInput(
            f"several cache keys begin with {prefix}: {shown}{' …' if len(rows) > 3 else ''}; give more of it",
            ErrorKind.AMBIGUOUS_KEY,
        )
    return cast("str", rows[0][0])


def key_record(tx: Transaction, prefix: str, projects: frozenset[str] | None) -> inventory.KeyRecord:
    """All that is known of a key."""
    key = named_key(tx, prefix, projects)
    ids = [row[0] for row in tx.all(_of_key, key=key, many=_MOST_OF_A_KEY)]
    history = described_entries(tx, ids)
    diverged = [row[0] for row in tx.all(_divergences_of_key, key=key, many=_MOST_OF_A_KEY)]
    divergences = _described_divergences(tx, diverged)
    lease = reservations.lease(tx, key)
    is_held = lease is not None and bool(lease.owner) and lease.until > tx.micros
    uid = history[ids[0]].run if ids else cast("reservations.Lease", lease).run
    stored = runs.get(tx, uid)
    more = {
        name: counted - len(shown)
        for name, statement, shown in (
            ("history", _count_of_key, ids),
            ("divergences", _count_divergences_of_key, diverged),
        )
        if (counted := cast("Record", tx.one(statement, key=key))[0]) > len(shown)
    }
    return inventory.KeyRecord(
        key=key,
        project=stored.run.project,
        job=stored.run.job,
        components=runs.components_of(tx, stored),
        history=tuple(history[row] for row in ids),
        divergences=tuple(divergences[row] for row in diverged),
        holder=_holder(lease) if lease is not None and is_held else None,
        more=more,
    )


def _holder(lease: reservations.Lease) -> inventory.Holder:
    since, until = model.moment(lease.since), model.moment(lease.until)
    return inventory.Holder(lease.owner, lease.run, lease.reason, since, until)


# ── divergences ──────────────────────────────────────────────────────────────────────────────────

_divergences = Statement(
    select(
        _DIVERGENCE.c.run_id,
        _DIVERGENCE.c.entry_run_id,
        _DIVERGENCE.c.key,
        _PROJECT.c.name,
        _JOB.c.name,
        _RUN.c.uid,
        _ORIGIN.c.uid,
        _DIVERGENCE.c.cause,
        _DIVERGENCE.c.at,
    )
    .select_from(_DIVERGENCE)
    .join(_RUN, _RUN.c.id == _DIVERGENCE.c.run_id)
    .join(_ORIGIN, _ORIGIN.c.id == _DIVERGENCE.c.entry_run_id)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(engine.among(_DIVERGENCE.c.run_id, "ids"))
)
_made_by = Statement(
    select(*artifacts.VERSION_COLUMNS, _OUTPUT.c.run_id, _OUTPUT.c.role)
    .select_from(_OUTPUT)
    .join(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_OUTPUT.c.run_id, "ids"))
)


@functools.cache
def _divergences_listed(by_project: bool, by_job: bool) -> Statement:
    listed = (
        select(_DIVERGENCE.c.run_id, engine.place(_RUN.c.start_fact))
        .join(_RUN, _RUN.c.id == _DIVERGENCE.c.run_id)
        .where(_DIVERGENCE.c.run_id < bindparam("bound"), pages.sequenced(_RUN.c.finish_fact))
    )
    if (jobs := jobs_asked(by_project, by_job)) is not None:
        listed = listed.where(_RUN.c.job_id.in_(jobs))
    return Statement(listed.order_by(_DIVERGENCE.c.run_id.desc()).limit(bindparam("many")))


def divergences(
    tx: Transaction, projects: frozenset[str] | None, job: str | None, first: int, after: str | None
) -> replies.DivergencePage:
    """Divergences, those of the newest Runs first."""
    shown = (None if projects is None else sorted(projects), job)
    asked = pages.List("divergences", repr(shown), first, after)
    head, key = asked.place(fact_log.head(tx), int)
    rows = tx.all(
        _divergences_listed(projects is not None, job is not None),
        head=head,
        bound=pages.HIGHEST if key is None else pages.run_row(tx, cast("int", key[0])),
        many=first + 1,
        **among(projects, job),
    )
    described = _described_divergences(tx, [row[0] for row in rows[:first]])
    cursors = tuple(asked.cursor(head, (row[1],)) for row in rows[:first])
    return replies.DivergencePage(
        cursors=cursors,
        end=cursors[-1] if len(rows) > first else None,
        masked=0,
        items=tuple(described[row[0]] for row in rows[:first]),
    )


def _described_divergences(tx: Transaction, ids: Sequence[int]) -> dict[int, inventory.Divergence]:
    rows = tx.all(_divergences, ids=list(ids)) if ids else []
    made: dict[int, dict[str, model.Version]] = {}
    for row in tx.all(_made_by, ids=sorted({run for one in rows for run in one[:2]})) if rows else ():
        made.setdefault(row[9], {})[row[10]] = artifacts.version_of(row)
    return {
        row[0]: inventory.Divergence(
            key=row[2],
            project=row[3],
            job=row[4],
            run=UUID(bytes=row[5]),
            against=UUID(bytes=row[6]),
            cause=row[7],
            at=model.moment(row[8]),
            differences=_differences(made.get(row[1], {}), made.get(row[0], {})),
        )
        for row in rows
    }


def _differences(
    before: dict[str, model.Version], after: dict[str, model.Version]
) -> tuple[inventory.Difference, ...]:
    return tuple(
        inventory.Difference(role, before.get(role), after.get(role))
        for role in sorted(before.keys() | after.keys())
        if _raw(before.get(role)) != _raw(after.get(role))
    )


def _raw(version: model.Version | None) -> bytes | None:
    return None if version is None else version.digest.raw
