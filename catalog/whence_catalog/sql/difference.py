"""What is recorded of two Runs, or of two Versions, that are compared. Leaves the comparing to `difference`."""

import heapq
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from whence_catalog import closure, difference, lineage, model
from whence_catalog.closure import Closure, Start
from whence_catalog.errors import InvalidInput
from whence_catalog.lineage import NodeKey
from whence_catalog.sql import artifacts, engine, questions, runs, tables
from whence_catalog.sql.engine import Statement, Transaction

_RUN = tables.RUN
_JOB = tables.JOB
_PROJECT = tables.PROJECT

_jobs_of = Statement(
    select(_PROJECT.c.name, _JOB.c.name)
    .select_from(_JOB)
    .join(_PROJECT, _PROJECT.c.id == _JOB.c.project_id)
    .where(_JOB.c.id.in_(select(_RUN.c.job_id).where(engine.among(_RUN.c.id, "ids")).distinct()))
    .order_by(_PROJECT.c.name, _JOB.c.name)
)


def difference_of(tx: Transaction, left: str, right: str, first: int) -> difference.Difference:
    """What changed from one to the other.

    Raises:
        NotFound: one of them is not recorded.
        InvalidInput: they are not two Versions, or two Runs.
    """
    if (":" in left) != (":" in right):
        version, run = (left, right) if ":" in left else (right, left)
        raise InvalidInput(f"{version} is a version, and {run} a run; compare two versions, or two runs")
    sides = [_evidence(tx, text) for text in (left, right)]
    rows = [runs.get(tx, side.compared.run.uid).id for side in sides]
    return difference.compare(sides[0], sides[1], _upstream(tx, rows, first), first)


def _evidence(tx: Transaction, text: str) -> difference.Evidence:
    made: model.Output | None = None
    if ":" in text:
        # As its newest production says it: by another Run, that Run is to be named.
        made = artifacts.resolve(tx, model.Reference.parse(text))
        stored = runs.get(tx, made.run)
    else:
        stored = runs.get(tx, runs.prefixed(tx, text))
    record = runs.record(tx, stored)
    executed = record.run
    if executed.origin is not None:
        executed = runs.with_texts(tx, runs.get(tx, executed.origin))
    of_version = () if made is None else (made.version, made.role)
    return difference.Evidence(
        difference.Compared(record.run, executed, *of_version),
        record.inputs,
        record.outputs,
        runs.components_of(tx, stored),
    )


def _upstream(tx: Transaction, rows: Sequence[int], first: int) -> difference.Upstream:
    ask = questions.edges(tx, engine.NOW)
    left, right = (closure.upstream(ask, Start(run=row)) for row in rows)
    runs_of = [set(found.runs[1:]) for found in (left, right)]
    versions_of = [found.versions.keys() for found in (left, right)]
    jobs = [tx.all(_jobs_of, ids=sorted(some)) for some in runs_of]
    only = [
        difference.Only(
            runs=len(runs_of[side] - runs_of[1 - side]),
            versions=len(versions_of[side] - versions_of[1 - side]),
            jobs=len(set(jobs[side]) - set(jobs[1 - side])),
            nodes=_nearest(tx, found, runs_of[1 - side], versions_of[1 - side], first),
            job_names=tuple(difference.JobName(*job) for job in jobs[side] if job not in set(jobs[1 - side]))[
                :first
            ],
        )
        for side, found in enumerate((left, right))
    ]
    whole = questions.completeness([left, right])
    return difference.Upstream(
        part=difference.upstream_part(sum(some.runs + some.versions for some in only), whole),
        shared_runs=len(runs_of[0] & runs_of[1]),
        shared_versions=len(versions_of[0] & versions_of[1]),
        left=only[0],
        right=only[1],
        completeness=whole,
    )


def _nearest(
    tx: Transaction,
    found: Closure,
    other_runs: Iterable[int],
    other_versions: Iterable[int],
    first: int,
) -> tuple[lineage.Node, ...]:
    """What is in this closure alone, and is not where it started; the nearest of it."""
    elsewhere: set[NodeKey] = {*map(lineage.run_key, other_runs), *map(lineage.version_key, other_versions)}
    own = ((d, key) for d, key in ((d, key) for key, d in found.depths()) if key not in elsewhere)
    shown = heapq.nsmallest(first, (item for item in own if item[1] != found.start.key))
    nodes = questions.nodes(tx, [key for _, key in shown])
    return tuple(nodes[key]._replace(depth=depth) for depth, key in shown)
