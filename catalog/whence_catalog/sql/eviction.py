"""What may go from the cache, and what needs to stay: the facts from which `inventory.evict` decides."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, bindparam, func, literal_column, select

from whence_catalog import inventory, model
from whence_catalog.sql import inventory as entries
from whence_catalog.sql import named, tables
from whence_catalog.sql.engine import Statement, Transaction

_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_OUTPUT = tables.OUTPUT
_ENTRY = tables.CACHE_ENTRY
_ALIAS = tables.ALIAS
_HOLD = tables.HOLD
_DEPLOYMENT = tables.DEPLOYMENT

_ZERO: ColumnElement[int] = literal_column("0")
# What needs a Version while it stands, and what it is called.
_NEEDING: tuple[tuple[Table, ColumnElement[str]], ...] = (
    (_ALIAS, literal_column("'alias '").op("||")(_ALIAS.c.name)),
    (_HOLD, literal_column("'a hold'")),
    (_DEPLOYMENT, literal_column("'deployment '").op("||")(_DEPLOYMENT.c.target)),
)


@functools.cache
def _candidates(by_job: bool) -> tuple[Statement, ...]:
    """(run, …) of the entries that look-ups find: themselves, what they hand out, and what needs that."""
    found: Any = _ENTRY.c.job_id.in_(entries.jobs_asked(True, by_job)) & entries.STANDING
    return (
        Statement(
            select(_ENTRY.c.run_id, _ENTRY.c.key, _ENTRY.c.validated_at, entries.LAST_USED).where(found)
        ),
        Statement(
            select(_ENTRY.c.run_id, _VERSION.c.digest, func.coalesce(_VERSION.c.size_bytes, _ZERO))
            .join_from(_ENTRY, _OUTPUT, _OUTPUT.c.run_id == _ENTRY.c.run_id)
            .join(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
            .where(found)
        ),
        *(
            Statement(
                select(_ENTRY.c.run_id, _PROJECT.c.name, _ARTIFACT.c.kind, _ARTIFACT.c.name, what)
                .join_from(_ENTRY, _OUTPUT, _OUTPUT.c.run_id == _ENTRY.c.run_id)
                .join(needing, (needing.c.version_id == _OUTPUT.c.version_id) & needing.c.until.is_(None))
                .join(_ARTIFACT, _ARTIFACT.c.id == _OUTPUT.c.artifact_id)
                .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
                .where(found)
            )
            for needing, what in _NEEDING
        ),
    )


def evictable(tx: Transaction, asked: inventory.Eviction) -> inventory.Evicted:
    """What an eviction would take now, and what it would have to keep."""
    found, contents, *needed = (
        tx.all(statement, **entries.among([asked.project], asked.job))
        for statement in _candidates(asked.job is not None)
    )
    handed_out: dict[int, dict[bytes, int]] = {}
    for run_id, raw, size_bytes in contents:
        handed_out.setdefault(run_id, {})[bytes(raw)] = size_bytes
    pins: dict[int, set[inventory.Pin]] = {}
    for run_id, project, kind, name, what in (row for rows in needed for row in rows):
        pins.setdefault(run_id, set()).add(inventory.Pin(what, model.Artifact(project, kind, name)))
    candidates = (
        inventory.Candidate(
            key,
            model.moment(validated_at),
            model.moment(max(validated_at, used_at or 0)),
            handed_out.get(run_id, {}),
            tuple(sorted(pins.get(run_id, ()), key=str)),
        )
        for run_id, key, validated_at, used_at in found
    )
    return inventory.evict(candidates, asked.limits, tx.at)


_keys = named.given("keys", key=Text())
_standing_of_project = Statement(
    select(_ENTRY.c.key, _ENTRY.c.id)
    .join_from(_keys, _ENTRY, _ENTRY.c.key == _keys.c.key)
    .join(_JOB, _JOB.c.id == _ENTRY.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(entries.STANDING, _PROJECT.c.name == bindparam("project"))
)
_newest_of_keys = Statement(
    select(_keys.c.key, select(func.max(_ENTRY.c.id)).where(_ENTRY.c.key == _keys.c.key).scalar_subquery())
)


def standing(tx: Transaction, project: str, keys: Iterable[str]) -> dict[str, int]:
    """The row of the entry that a look-up finds under each of these keys, where it is of that project."""
    rows = tx.all(_standing_of_project, keys=named.listed([key] for key in keys), project=project)
    return dict(rows)


def newest(tx: Transaction, keys: Sequence[str]) -> tuple[inventory.Entry, ...]:
    """The newest entry of each key."""
    rows = tx.all(_newest_of_keys, keys=named.listed([key] for key in keys))
    by_key = {key: row for key, row in rows if row is not None}
    described = entries.described_entries(tx, sorted(by_key.values()))
    return tuple(described[by_key[key]] for key in keys if key in by_key)
