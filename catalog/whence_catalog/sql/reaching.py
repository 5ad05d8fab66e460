"""What a quarantine reaches, or would: the productions, how each is reached, and what points at them."""

from uuid import UUID

from sqlalchemy import select

from whence_catalog import cache, model, replies, taint
from whence_catalog.sql import artifacts, engine, judgements, tables
from whence_catalog.sql import taint as index
from whence_catalog.sql.engine import Statement, Transaction

_RUN = tables.RUN
_JOB = tables.JOB
_ENTRY = tables.CACHE_ENTRY

_runs = Statement(
    select(_RUN.c.id, _RUN.c.uid, _JOB.c.name)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .where(engine.among(_RUN.c.id, "ids"))
)
_live_of = Statement(
    select(_ENTRY.c.key, _RUN.c.uid, _ENTRY.c.created_at, _ENTRY.c.validated_at)
    .select_from(_RUN)
    .join(
        _ENTRY,
        (_ENTRY.c.key == _RUN.c.key)
        & (_ENTRY.c.run_id == _RUN.c.id)
        & _ENTRY.c.superseded_at.is_(None)
        & _ENTRY.c.evicted_at.is_(None),
    )
    .where(engine.among(_RUN.c.id, "ids"))
    .order_by(_RUN.c.id)
)


def reach(tx: Transaction, version_id: int, first: int) -> replies.Reach:
    """What a quarantine of that Version reaches; at most `first` items of each kind."""
    found = taint.reach(index.edges(tx), version_id)
    versions = sorted({production.version for production in found} | {version_id})
    runs = sorted({production.run for production in found})
    aliases = artifacts.standing_aliases(tx, versions)
    deployments = judgements.serving(tx, versions)
    entries = [
        cache.CacheEntry(key, UUID(bytes=uid), model.moment(created), model.moment(validated))
        for key, uid, created, validated in tx.all(_live_of, ids=runs)
    ]
    return replies.Reach(
        version=judgements.versions(tx, [version_id])[version_id],
        productions=_shown(tx, found, first),
        aliases=tuple(aliases[:first]),
        deployments=tuple(deployments[:first]),
        entries=tuple(entries[:first]),
        counts={
            "productions": len(found),
            "versions": len({production.version for production in found}),
            "runs": len(runs),
            "aliases": len(aliases),
            "deployments": len(deployments),
            "entries": len(entries),
        },
    )


def _shown(tx: Transaction, found: taint.Reach, first: int) -> tuple[replies.Reached, ...]:
    paths = [taint.path(found, production) for production in list(found)[:first]]
    versions = judgements.versions(tx, (step.version for path in paths for step in path))
    ids = sorted({step.run for path in paths for step in path})
    runs = {row: (UUID(bytes=uid), job) for row, uid, job in tx.all(_runs, ids=ids)}

    def step(production: taint.Production) -> replies.Step:
        return replies.Step(*runs[production.run], versions[production.version].ref)

    return tuple(replies.Reached(versions[path[-1].version], tuple(map(step, path))) for path in paths)
