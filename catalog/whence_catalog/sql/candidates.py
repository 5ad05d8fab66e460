"""Runs and Versions that may be what is looked for, as an index gives them, and whether they are.

A search for labels, metrics or times follows one index, that of the most telling thing asked for: a
digest, else the first metric range (the highest value first), else a label, else the time of recording
(the newest first). What it gives is looked at some at a time, and whatever else is asked for is checked
on it. So a look at so many candidates costs the same however large the catalog is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, bindparam, literal_column, select, tuple_

from whence_catalog import digest, model
from whence_catalog.sql import engine, labels, metrics, pages, tables
from whence_catalog.sql.engine import Statement, Transaction

_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ARTIFACT = tables.ARTIFACT
_VERSION = tables.VERSION
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT
_LABEL = tables.LABEL
_RUN_METRIC = tables.RUN_METRIC
_OUTPUT_METRIC = tables.OUTPUT_METRIC

# Before every candidate; numbers of rows and microseconds are far below.
_HIGHEST = 2**62


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Run or a Version must be. `projects` None and `kinds` empty: any; `text` is in its name."""

    text: str
    digest: digest.Digest | None
    projects: frozenset[str] | None
    kinds: frozenset[str]
    labels: frozenset[tuple[str, str]]
    metrics: tuple[model.MetricRange, ...]
    since: datetime | None
    until: datetime | None

    @property
    def is_narrow(self) -> bool:
        """Whether it asks for what only Runs and Versions have."""
        return bool(self.labels or self.metrics or self.since or self.until)


class Place(NamedTuple):
    """Where a candidate stands in the order of the index that is followed: a value or a time, and its row."""

    value: float
    row: int


# Before the first of all.
START = Place(math.inf, _HIGHEST)


# ── what an index gives ──────────────────────────────────────────────────────────────────────────


def _by_value(value: ColumnElement[Any], row: ColumnElement[Any], *where: Any) -> Statement:
    """Behind a place, the greatest first."""
    found = (
        select(value, row)
        .where(*where, tuple_(value, row) < tuple_(bindparam("value"), bindparam("row")))
        .order_by(value.desc(), row.desc())
        .limit(bindparam("many"))
    )
    return Statement(found)


def _by_row(row: ColumnElement[Any], *where: Any) -> Statement:
    """Behind a place, the newest row first."""
    found = (
        select(literal_column("0"), row)
        .where(*where, row < bindparam("row"))
        .order_by(row.desc())
        .limit(bindparam("many"))
        .distinct()
    )
    return Statement(found)


def _in_range(table: Any) -> tuple[Any, ...]:
    return (
        table.c.mark == bindparam("mark"),
        table.c.value >= bindparam("low"),
        table.c.value <= bindparam("high"),
    )


_runs_measured = _by_value(_RUN_METRIC.c.value, _RUN_METRIC.c.run_id, *_in_range(_RUN_METRIC))
_versions_measured = _by_value(
    _OUTPUT_METRIC.c.value, _OUTPUT_METRIC.c.version_id, *_in_range(_OUTPUT_METRIC)
)
_runs_labelled = _by_row(_LABEL.c.run_id, _LABEL.c.mark == bindparam("mark"))
_versions_labelled = _by_row(_LABEL.c.version_id, _LABEL.c.mark == bindparam("mark"))
_runs_by_time = _by_value(_RUN.c.started_at, _RUN.c.id, _RUN.c.started_at >= bindparam("low"))
_versions_by_time = _by_value(_VERSION.c.created_at, _VERSION.c.id, _VERSION.c.created_at >= bindparam("low"))
_versions_of_content = _by_row(_VERSION.c.id, _VERSION.c.digest == bindparam("digest"))


def _next(tx: Transaction, wanted: Wanted, after: Place, many: int, of: "_Subject") -> list[Place]:
    if wanted.digest is not None:
        rows = tx.all(_versions_of_content, digest=wanted.digest.raw, row=after.row, many=many)
    elif wanted.metrics:
        first = wanted.metrics[0]
        rows = tx.all(
            of.measured,
            mark=metrics.mark(first.name),
            low=-math.inf if first.low is None else first.low,
            high=math.inf if first.high is None else first.high,
            value=after.value,
            row=after.row,
            many=many,
        )
    elif wanted.labels:
        rows = tx.all(of.labelled, mark=labels.mark(*min(wanted.labels)), row=after.row, many=many)
    else:
        latest = _HIGHEST if wanted.until is None else model.microseconds(wanted.until)
        bound, row = (latest, 0) if after == START else (int(after.value), after.row)
        low = -_HIGHEST if wanted.since is None else model.microseconds(wanted.since)
        rows = tx.all(of.by_time, low=low, value=bound, row=row, many=many)
    return [Place(*row) for row in rows]


# ── whether they are what is looked for ──────────────────────────────────────────────────────────

_runs = Statement(
    select(_RUN.c.id, _PROJECT.c.name, _JOB.c.name, _RUN.c.started_at, _RUN.c.metrics)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(engine.among(_RUN.c.id, "ids"), pages.sequenced(_RUN.c.start_fact))
)
_versions = Statement(
    select(
        _VERSION.c.id,
        _PROJECT.c.name,
        _ARTIFACT.c.name,
        _VERSION.c.created_at,
        _ARTIFACT.c.kind,
        _VERSION.c.digest,
    )
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_VERSION.c.id, "ids"))
)
_made = Statement(
    select(_OUTPUT.c.version_id, _OUTPUT.c.described).where(
        engine.among(_OUTPUT.c.version_id, "ids"), pages.sequenced(_OUTPUT.c.fact)
    )
)


def _is_named(wanted: Wanted, project: str, name: str, at: int) -> bool:
    moment = model.moment(at)
    return (
        (wanted.projects is None or project in wanted.projects)
        and (wanted.digest is not None or wanted.text.casefold() in name.casefold())
        and (wanted.since is None or moment >= wanted.since)
        and (wanted.until is None or moment < wanted.until)
    )


def _is_measured(wanted: Wanted, measured: Mapping[str, float]) -> bool:
    return all(asked.holds(measured.get(asked.name)) for asked in wanted.metrics)


def _passing_runs(tx: Transaction, wanted: Wanted, head: int, places: Sequence[Place]) -> list[Place]:
    rows = tx.all(_runs, ids=sorted({place.row for place in places}), head=head)
    passing: dict[int, float] = {}
    for row, project, job, started_at, raw in rows:
        if _is_named(wanted, project, job, started_at):
            measured = cast("Mapping[str, float]", digest.unframe_own(raw)) if wanted.metrics else {}
            if _is_measured(wanted, measured):
                passing[row] = measured[wanted.metrics[0].name] if wanted.metrics else 0.0
    kept = _labelled(wanted, labels.of_runs(tx, list(passing), head) if wanted.labels else {}, passing)
    # A row of the index may be of another metric of the same mark.
    return [p for p in places if p.row in kept and (not wanted.metrics or passing[p.row] == p.value)]


def _passing_versions(tx: Transaction, wanted: Wanted, head: int, places: Sequence[Place]) -> list[Place]:
    ids = sorted({place.row for place in places})
    named = [
        row
        for row, project, name, created_at, kind, raw in tx.all(_versions, ids=ids)
        if _is_named(wanted, project, name, created_at)
        and (not wanted.kinds or kind in wanted.kinds)
        and (wanted.digest is None or raw == wanted.digest.raw)
    ]
    passing: dict[int, float] = {}
    for row, raw in tx.all(_made, ids=named, head=head):
        measured: Mapping[str, float] = {}
        if wanted.metrics:
            described = cast("Mapping[str, Mapping[str, float]]", digest.unframe_own(raw))
            measured = described["metrics"]
        if _is_measured(wanted, measured):
            value = measured[wanted.metrics[0].name] if wanted.metrics else 0.0
            # One that was made several times stands where its highest value does.
            passing[row] = max(value, passing.get(row, value))
    kept = _labelled(wanted, labels.of_versions(tx, list(passing), head) if wanted.labels else {}, passing)
    is_by_value = bool(wanted.metrics) and wanted.digest is None
    found = [p for p in places if p.row in kept and (not is_by_value or passing[p.row] == p.value)]
    return list(dict.fromkeys(found))


def _labelled(wanted: Wanted, known: Mapping[int, Mapping[str, str]], rows: Mapping[int, float]) -> set[int]:
    return {row for row in rows if not wanted.labels or wanted.labels <= known[row].items()}


# ── a page ───────────────────────────────────────────────────────────────────────────────────────


class _Subject(NamedTuple):
    measured: Statement
    labelled: Statement
    by_time: Statement
    passing: Callable[[Transaction, Wanted, int, Sequence[Place]], list[Place]]


RUNS = _Subject(_runs_measured, _runs_labelled, _runs_by_time, _passing_runs)
VERSIONS = _Subject(_versions_measured, _versions_labelled, _versions_by_time, _passing_versions)

# How many candidates are looked at for one page, and how many at once at first.
MOST_LOOKED_AT = 5000
_AT_ONCE = 100


class Looked(NamedTuple):
    """What a look found, and from where the next goes on; None where there are no more candidates."""

    found: list[Place]
    onward: Place | None


def look(tx: Transaction, of: _Subject, wanted: Wanted, head: int, after: Place, many: int) -> Looked:
    """The next of what is looked for, `many` at most, among so many candidates behind `after`."""
    found: list[Place] = []
    left, size = MOST_LOOKED_AT, max(many, _AT_ONCE)
    while left:
        places = _next(tx, wanted, after, min(size, left), of)
        found += of.passing(tx, wanted, head, places)
        if len(found) >= many:
            return Looked(found[:many], found[many - 1])
        if len(places) < min(size, left):
            return Looked(found, None)
        left -= len(places)
        after, size = places[-1], size * 2
    return Looked(found, after)
