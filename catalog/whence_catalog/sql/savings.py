"""What the cache saved, by job: hits are the Runs that reused, misses those that executed."""

import functools
from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, case, func, literal_column, select
from sqlalchemy import cast as cast_as

from whence_catalog import cache, inventory, model
from whence_catalog.sql import engine, tables
from whence_catalog.sql import inventory as entries
from whence_catalog.sql.engine import Statement, Transaction

_PROJECT = tables.PROJECT
_JOB = tables.JOB
_VERSION = tables.VERSION
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT
_ENTRY = tables.CACHE_ENTRY
_DIVERGENCE = tables.DIVERGENCE
_HIT = _RUN.alias("hit")
_ORIGIN = _RUN.alias("origin")

_ZERO: ColumnElement[int] = literal_column("0")

_named_jobs = Statement(
    select(_JOB.c.id, _PROJECT.c.name, _JOB.c.name)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(engine.among(_JOB.c.id, "ids"))
)


@functools.cache
def _sums(by_project: bool, by_job: bool) -> tuple[Statement, ...]:
    """(job, …) of live entries; of hits, with what they saved; of misses, by reason; of divergences."""
    jobs = entries.jobs_asked(by_project, by_job)

    def of_jobs(found: Select[Any], job_id: Any) -> Select[Any]:
        return found if jobs is None else found.where(job_id.in_(jobs))

    def spanned(found: Select[Any], at: Any) -> Select[Any]:
        return found.where(at >= bindparam("since"), at < bindparam("until"))

    live = select(_ENTRY.c.job_id, func.count()).where(entries.STANDING).group_by(_ENTRY.c.job_id)
    hit = (
        spanned(
            of_jobs(
                select(_HIT.c.job_id, _HIT.c.origin_id, func.count().label("times")).where(
                    _HIT.c.origin_id.is_not(None)
                ),
                _HIT.c.job_id,
            ),
            _HIT.c.started_at,
        )
        .group_by(_HIT.c.job_id, _HIT.c.origin_id)
        .subquery("hits")
    )
    unsized = (
        select(func.count())
        .join_from(_OUTPUT, _VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
        .where(_OUTPUT.c.run_id == _ORIGIN.c.id, _VERSION.c.size_bytes.is_(None))
        .scalar_subquery()
    )

    def total(amount: Any) -> Any:
        return cast_as(func.sum(amount), BigInteger)

    hits = (
        select(
            hit.c.job_id,
            total(hit.c.times),
            total(hit.c.times * (_ORIGIN.c.finished_at - _ORIGIN.c.started_at)),
            total(hit.c.times * entries.size_of(_ORIGIN.c.id)),
            total(case((unsized > _ZERO, hit.c.times), else_=_ZERO)),
        )
        .join(_ORIGIN, _ORIGIN.c.id == hit.c.origin_id)
        .group_by(hit.c.job_id)
    )
    missed = select(_RUN.c.job_id, _RUN.c.reason, func.count()).where(
        _RUN.c.reason != literal_column(f"'{cache.Reason.NOT_ASKED}'")
    )
    diverged = select(_RUN.c.job_id, func.count()).join_from(
        _DIVERGENCE, _RUN, _RUN.c.id == _DIVERGENCE.c.run_id
    )
    return (
        Statement(of_jobs(live, _ENTRY.c.job_id)),
        Statement(hits),
        Statement(
            spanned(of_jobs(missed, _RUN.c.job_id), _RUN.c.started_at).group_by(_RUN.c.job_id, _RUN.c.reason)
        ),
        Statement(spanned(of_jobs(diverged, _RUN.c.job_id), _DIVERGENCE.c.at).group_by(_RUN.c.job_id)),
    )


def statistics(
    tx: Transaction,
    projects: frozenset[str] | None,
    job: str | None,
    since: datetime | None,
    until: datetime | None,
) -> inventory.Statistics:
    """What the cache did in a span of time, by job."""
    ended = until or tx.at
    span = {
        "since": 0 if since is None else model.microseconds(since),
        "until": model.microseconds(ended) + (until is None),
    }
    given = {**entries.among(projects, job), **span}
    live, hits, missed, diverged = (
        tx.all(sum_, **given) for sum_ in _sums(projects is not None, job is not None)
    )
    live_now = dict(cast("list[tuple[int, int]]", live))
    saved = {row[0]: row[1:] for row in hits}
    misses: dict[int, dict[str, int]] = {}
    for job_id, reason, times in missed:
        misses.setdefault(job_id, {})[reason] = times
    parted = dict(cast("list[tuple[int, int]]", diverged))
    asked = sorted(live_now.keys() | saved.keys() | misses.keys() | parted.keys())
    jobs = []
    for job_id, project, name in tx.all(_named_jobs, ids=asked) if asked else ():
        times, micros, size_bytes, unsized = saved.get(job_id, (0, 0, 0, 0))
        jobs.append(
            inventory.JobStatistics(
                project=project,
                job=name,
                entries=live_now.get(job_id, 0),
                hits=times,
                seconds=(micros or 0) / 1e6,
                size_bytes=size_bytes,
                unsized=unsized,
                misses=dict(sorted(misses.get(job_id, {}).items())),
                divergences=parted.get(job_id, 0),
            )
        )
    return inventory.statistics(jobs, since, ended)
