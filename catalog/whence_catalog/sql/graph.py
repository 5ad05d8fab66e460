"""Lineage over SQL: one query for each question of `lineage.Neighbours`, whatever the number of ids."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from sqlalchemy import bindparam, select

from whence_catalog import audit, digest, lineage, model
from whence_catalog.sql import artifacts, engine, judgements, runs, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

_RUN = tables.table(tables.RunRow)
_JOB = tables.table(tables.JobRow)
_INPUT = tables.table(tables.InputRow)
_OUTPUT = tables.table(tables.OutputRow)
_DERIVED = tables.table(tables.DerivedRow)
_VERSION = tables.table(tables.VersionRow)
_ARTIFACT = tables.table(tables.ArtifactRow)
_PROJECT = tables.table(tables.ProjectRow)


_TAKEN = (
    _INPUT.c.run_id,
    _INPUT.c.version_id,
    _INPUT.c.role,
    _INPUT.c.ordinal,
    _INPUT.c.producer_run_id,
    engine.place(_RUN.c.start_fact),
)
_MADE = (_OUTPUT.c.run_id, _OUTPUT.c.version_id, _OUTPUT.c.role, engine.place(_OUTPUT.c.fact))
_REUSED = (_RUN.c.id, _RUN.c.origin_id, engine.place(_RUN.c.start_fact))

_taken = select(*_TAKEN).join(_RUN, _RUN.c.id == _INPUT.c.run_id)
_inputs_of = Statement(_taken.where(engine.among(_INPUT.c.run_id, "ids")))
_consumers_of = Statement(_taken.where(engine.among(_INPUT.c.version_id, "ids")))
_outputs_of = Statement(select(*_MADE).where(engine.among(_OUTPUT.c.run_id, "ids")))
_producers_of = Statement(select(*_MADE).where(engine.among(_OUTPUT.c.version_id, "ids")))
_origins_of = Statement(select(*_REUSED).where(engine.among(_RUN.c.id, "ids"), _RUN.c.origin_id.is_not(None)))
_reuses_of = Statement(select(*_REUSED).where(engine.among(_RUN.c.origin_id, "ids")))
_derivations_of = Statement(
    select(_DERIVED.c.run_id, _DERIVED.c.role, _DERIVED.c.ordinal, _DERIVED.c.version_id).where(
        engine.among(_DERIVED.c.run_id, "ids")
    )
)
_versions = Statement(
    select(
        _VERSION.c.id,
        _PROJECT.c.name,
        _ARTIFACT.c.kind,
        _ARTIFACT.c.name,
        _VERSION.c.number,
        _VERSION.c.created_at,
    )
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_VERSION.c.id, "ids"))
)
_runs = Statement(
    select(_RUN.c.id, _RUN.c.uid, _JOB.c.name, _RUN.c.state, _RUN.c.started_at, _PROJECT.c.name)
    .join(_JOB, _JOB.c.id == _RUN.c.job_id)
    .join(_PROJECT, _PROJECT.c.id == _RUN.c.project_id)
    .where(engine.among(_RUN.c.id, "ids"))
)
_reruns_of = Statement(
    select(_RUN.c.uid).where(_RUN.c.rerun_of == bindparam("original"), _RUN.c.state == bindparam("complete"))
)


class SqlNeighbours:
    """`lineage.Neighbours` in one transaction: one query for each kind of edge."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def _ask(self, statement: Statement, ids: Sequence[int]) -> list[Record]:
        return self._tx.all(statement, ids=list(ids))

    def edges_of(self, runs: Sequence[int]) -> Iterator[lineage.Link]:
        yield from _inputs(self._ask(_inputs_of, runs))
        yield from _outputs(self._ask(_outputs_of, runs))
        yield from _reused(self._ask(_origins_of, runs))
        for run, role, ordinal, source in self._ask(_derivations_of, runs):
            yield lineage.Link(lineage.EdgeType.DERIVED, run, source, role, ordinal)

    def producers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._ask(_producers_of, versions))

    def consumers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _inputs(self._ask(_consumers_of, versions))

    def reuses_of(self, runs: Sequence[int]) -> Iterator[lineage.Link]:
        return _reused(self._ask(_reuses_of, runs))

    def versions(self, rows: Sequence[int]) -> Mapping[int, lineage.Node]:
        described = {}
        names: dict[tuple[str, str, str], str] = {}  # many Versions are of few Artifacts
        for row, project, kind, name, number, at in self._ask(_versions, rows):
            named = (project, kind, name)
            artifact = names.get(named) or names.setdefault(named, str(model.Artifact(*named)))
            described[row] = lineage.Node(
                f"{artifact}@{number}",
                lineage.NodeType.VERSION,
                artifact,
                "live",
                model.moment(at),
                kind,
                project=project,
            )
        return described

    def runs(self, rows: Sequence[int]) -> Mapping[int, lineage.Node]:
        return {
            row: lineage.Node(
                str(UUID(bytes=uid)), lineage.NodeType.RUN, job, state, model.moment(at), project=project
            )
            for row, uid, job, state, at, project in self._ask(_runs, rows)
        }


def _inputs(rows: Iterable[Record]) -> Iterator[lineage.Link]:
    for run, version, role, ordinal, producer, started in rows:
        yield lineage.Link(lineage.EdgeType.INPUT, run, version, role, ordinal, producer, started)


def _outputs(rows: Iterable[Record]) -> Iterator[lineage.Link]:
    for run, version, role, position in rows:
        yield lineage.Link(lineage.EdgeType.OUTPUT, run, version, role, position=position)


def _reused(rows: Iterable[Record]) -> Iterator[lineage.Link]:
    for run, origin, started in rows:
        yield lineage.Link(lineage.EdgeType.REUSED, run, origin, position=started)


def walk(
    tx: Transaction,
    roots: Sequence[lineage.NodeKey],
    direction: lineage.Direction,
    bounds: lineage.Bounds,
    frontier: str | None = None,
) -> lineage.Graph:
    """The part of history that hangs on `roots`."""
    return lineage.traverse(SqlNeighbours(tx), roots, direction, bounds, time.monotonic, frontier)


def evidence(
    tx: Transaction, reference: model.Reference, presence: Mapping[digest.Digest, audit.Presence]
) -> audit.Evidence:
    """All that the catalog holds about the Version that `reference` means."""
    output = artifacts.resolve(tx, reference)
    row = artifacts.version_id(tx, reference)
    root = lineage.version_key(row)
    told = judgements.of_version(tx, row)
    graph = walk(tx, [root], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
    upstream = [UUID(node.id) for node in graph.nodes if node.type is lineage.NodeType.RUN]
    records = [runs.record(tx, runs.get(tx, uid)) for uid in upstream]
    identical, other = _reruns(tx, output.version)
    return audit.Evidence(
        subject=output.version,
        graph=graph,
        runs=records,
        aliases=artifacts.aliases(tx, reference.artifact),
        approvals=told.approvals,
        taints=told.taints,
        presence=presence,
        as_of=fact_log.head(tx),
        identical_reruns=identical,
        other_reruns=other,
    )


def _reruns(tx: Transaction, subject: model.Version) -> tuple[int, int]:
    """How many reruns of the Runs that made `subject` made the same bytes in the same role, and how many not."""
    identical = other = 0
    for output in artifacts.productions(tx, subject.artifact):
        if output.version != subject:
            continue
        for (uid,) in tx.all(_reruns_of, original=output.run.bytes, complete=model.RunState.COMPLETE.value):
            again = artifacts.outputs_of(tx, runs.get(tx, UUID(bytes=uid)).id)
            same = any(o.role == output.role and o.version.digest == subject.digest for o in again)
            identical, other = identical + same, other + (not same)
    return identical, other
