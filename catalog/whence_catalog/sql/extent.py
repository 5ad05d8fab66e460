"""`extent.Ends` over SQL, and what the rows that it finds are called."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from whence_catalog import extent, lineage, replies
from whence_catalog.lineage import NodeType
from whence_catalog.sql import engine, graph, tables
from whence_catalog.sql.engine import Record, Statement, Transaction

_RUN = tables.RUN
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_DEPLOYMENT = tables.DEPLOYMENT

_taken_by = graph.Twice(
    lambda known: select(_INPUT.c.version_id, _INPUT.c.producer_run_id).where(
        engine.among(_INPUT.c.run_id, "ids"), known(_INPUT.c.fact)
    )
)
_unnamed_by = graph.Twice(
    lambda known: select(_INPUT.c.run_id, _INPUT.c.version_id).where(
        engine.among(_INPUT.c.run_id, "ids"), _INPUT.c.producer_run_id.is_(None), known(_INPUT.c.fact)
    )
)
_origins_of = Statement(
    select(_RUN.c.origin_id).where(engine.among(_RUN.c.id, "ids"), _RUN.c.origin_id.is_not(None))
)
_reused = Statement(select(_RUN.c.id).where(_RUN.c.origin_id.is_not(None)).limit(1))
_started = Statement(select(_RUN.c.id, engine.place(_RUN.c.start_fact)).where(engine.among(_RUN.c.id, "ids")))
_made_by = graph.Twice(
    lambda known: select(_OUTPUT.c.run_id, _OUTPUT.c.version_id).where(
        engine.among(_OUTPUT.c.run_id, "ids"), known(_OUTPUT.c.fact)
    )
)
_producers_of = graph.Twice(
    lambda known: select(_OUTPUT.c.version_id, _OUTPUT.c.run_id, engine.place(_OUTPUT.c.fact)).where(
        engine.among(_OUTPUT.c.version_id, "ids"), known(_OUTPUT.c.fact)
    )
)
_consumers_of = graph.Twice(
    lambda known: select(_INPUT.c.version_id, _INPUT.c.run_id, _INPUT.c.producer_run_id).where(
        engine.among(_INPUT.c.version_id, "ids"), known(_INPUT.c.fact)
    )
)
_served_by = Statement(select(_DEPLOYMENT.c.version_id).where(engine.among(_DEPLOYMENT.c.id, "ids")))


class SqlEnds:
    """`extent.Ends` in one transaction, as of a position, or as all that it sees."""

    def __init__(self, tx: Transaction, as_of: int | None) -> None:
        self._tx = tx
        self._as_of = as_of
        self._any_reused: bool | None = None

    def _put(self, question: graph.Twice, ids: Sequence[int]) -> list[Record]:
        if self._as_of is None:
            return self._tx.all(question.now, ids=list(ids))
        return self._tx.all(question.then, ids=list(ids), as_of=self._as_of)

    def taken_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int | None]]:
        return self._put(_taken_by, runs)

    def unnamed_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        return self._put(_unnamed_by, runs)

    def origins_of(self, runs: Sequence[int]) -> Iterable[int]:
        if self._any_reused is None:
            self._any_reused = self._tx.one(_reused) is not None
        return [row[0] for row in self._tx.all(_origins_of, ids=list(runs))] if self._any_reused else ()

    def started(self, runs: Sequence[int]) -> Iterable[tuple[int, int]]:
        return self._tx.all(_started, ids=list(runs))

    def made_by(self, runs: Sequence[int]) -> Sequence[tuple[int, int]]:
        return self._put(_made_by, runs)

    def producers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int]]:
        return self._put(_producers_of, versions)

    def consumers_of(self, versions: Sequence[int]) -> Sequence[tuple[int, int, int | None]]:
        return self._put(_consumers_of, versions)

    def reuses_of(self, runs: Sequence[int]) -> Iterable[int]:
        return [row[0] for row in self._put(graph.reuses, runs)]

    def deployments_of(self, versions: Sequence[int]) -> Iterable[int]:
        return [row[0] for row in self._put(graph.deployments, versions)]

    def served_by(self, deployments: Sequence[int]) -> Iterable[int]:
        return [row[0] for row in self._tx.all(_served_by, ids=list(deployments))]


def closure(
    tx: Transaction,
    roots: Sequence[lineage.NodeKey],
    direction: lineage.Direction,
    depth: int | None,
    as_of: int | None,
) -> replies.Closure:
    """The ids of all that the roots came from, or that came from them."""
    _, known = graph.known(tx, as_of)
    found = extent.find(SqlEnds(tx, known), roots, direction, depth)
    named = graph.SqlNeighbours(tx, known)
    return replies.Closure(
        named.ids(NodeType.RUN, found.runs),
        named.ids(NodeType.VERSION, found.versions),
        named.ids(NodeType.DEPLOYMENT, found.deployments),
        found.completeness,
    )
