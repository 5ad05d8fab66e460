"""Runs and Versions that may be what is looked for, as an index gives them, and whether they are.

A search for labels, metrics or times follows one index, that of the most telling thing asked for: a
digest, else the first metric range (the highest value first), else a label, else the time of recording
(the newest first). What it gives is looked at some at a time, and whatever else is asked for is checked
on it. So a look at so many candidates costs the same however large the catalog is.

Where it is said in which projects to look, the index is followed past what is of others: nothing of those is a
candidate, so that neither a page that holds little nor its cursor tells how much there is of them. The price: in a
catalog that holds little else, a page of few projects costs time for what it passes over.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, cast

from sqlalchemy import ColumnElement, bindparam, literal_column, select, true, tuple_

from whence_catalog import digest, model
from whence_catalog.sql import by_name, engine, labels, metrics, pages, tables
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


class Indexes(NamedTuple):
    """How candidates are come upon: by a range of a metric, a label, the time, or the content."""

    measured: Statement
    labelled: Statement
    by_time: Statement
    of_content: Statement | None = None


# As values, and not as joins or EXISTS, which PostgreSQL makes joins of: then it begins with the projects, and sorts.
def _run_in_projects(row: ColumnElement[Any]) -> ColumnElement[bool]:
    other = _RUN.alias("of_project")
    return engine.among(select(other.c.project_id).where(other.c.id == row).scalar_subquery(), "projects")


def _version_in_projects(row: ColumnElement[Any]) -> ColumnElement[bool]:
    other = _VERSION.alias("of_project")
    found = select(_ARTIFACT.c.project_id).join(other, other.c.artifact_id == _ARTIFACT.c.id)
    return engine.among(found.where(other.c.id == row).scalar_subquery(), "projects")


def _every(_: ColumnElement[Any]) -> ColumnElement[bool]:
    return true()


_Narrow: TypeAlias = Callable[[ColumnElement[Any]], ColumnElement[bool]]


def _runs_by(narrow: _Narrow) -> Indexes:
    of, label, run = _RUN_METRIC.c, _LABEL.c, _RUN.c
    return Indexes(
        _by_value(of.value, of.run_id, *_in_range(_RUN_METRIC), narrow(of.run_id)),
        _by_row(label.run_id, label.mark == bindparam("mark"), narrow(label.run_id)),
        _by_value(run.started_at, run.id, run.started_at >= bindparam("low"), narrow(run.id)),
    )


def _versions_by(narrow: _Narrow) -> Indexes:
    of, label, version = _OUTPUT_METRIC.c, _LABEL.c, _VERSION.c
    return Indexes(
        _by_value(of.value, of.version_id, *_in_range(_OUTPUT_METRIC), narrow(of.version_id)),
        _by_row(label.version_id, label.mark == bindparam("mark"), narrow(label.version_id)),
        _by_value(version.created_at, version.id, version.created_at >= bindparam("low"), narrow(version.id)),
        _by_row(version.id, version.digest == bindparam("digest"), narrow(version.id)),
    )


def _next(
    tx: Transaction, by: Indexes, wanted: Wanted, among: Sequence[int], after: Place, many: int
) -> list[Place]:
    if wanted.digest is not None and by.of_content is not None:
        rows = tx.all(by.of_content, digest=wanted.digest.raw, row=after.row, many=many, projects=among)
    elif wanted.metrics:
        first = wanted.metrics[0]
        rows = tx.all(
            by.measured,
            mark=metrics.mark(first.name),
            low=-math.inf if first.low is None else first.low,
            high=math.inf if first.high is None else first.high,
            value=after.value,
            row=after.row,
            many=many,
            projects=among,
        )
    elif wanted.labels:
        mark = labels.mark(*min(wanted.labels))
        rows = tx.all(by.labelled, mark=mark, row=after.row, many=many, projects=among)
    else:
        latest = _HIGHEST if wanted.until is None else model.microseconds(wanted.until)
        bound, row = (latest, 0) if after == START else (int(after.value), after.row)
        low = -_HIGHEST if wanted.since is None else model.microseconds(wanted.since)
        rows = tx.all(by.by_time, low=low, value=bound, row=row, many=many, projects=among)
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
    everywhere: Indexes
    in_projects: Indexes
    passing: Callable[[Transaction, Wanted, int, Sequence[Place]], list[Place]]


RUNS = _Subject(_runs_by(_every), _runs_by(_run_in_projects), _passing_runs)
VERSIONS = _Subject(_versions_by(_every), _versions_by(_version_in_projects), _passing_versions)

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
    by: Indexes = of.everywhere
    among: Sequence[int] = ()
    if wanted.projects is not None:
        by, among = of.in_projects, by_name.projects_named(tx, wanted.projects)
    while left:
        places = _next(tx, by, wanted, among, after, min(size, left))
        found += of.passing(tx, wanted, head, places)
        if len(found) >= many:
            return Looked(found[:many], found[many - 1])
        if len(places) < min(size, left):
            return Looked(found, None)
        left -= len(places)
        after, size = places[-1], size * 2
    return Looked(found, after)
