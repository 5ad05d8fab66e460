"""`flow.Edges` over SQL, as far as they were known at a position: one query for each question."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select

from whence_catalog import flow
from whence_catalog.sql import engine, tables
from whence_catalog.sql.engine import Statement, Transaction

_RUN = tables.RUN
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT

_taken_by = Statement(
    select(
        _RUN.c.id,
        engine.place(_RUN.c.start_fact),
        _RUN.c.origin_id,
        _INPUT.c.role,
        _INPUT.c.ordinal,
        _INPUT.c.version_id,
        _INPUT.c.producer_run_id,
    )
    .select_from(_RUN.outerjoin(_INPUT, (_INPUT.c.run_id == _RUN.c.id) & engine.known(_INPUT.c.fact)))
    .where(engine.among(_RUN.c.id, "ids"))
)


def _made() -> Select[Any]:
    return select(
        _OUTPUT.c.run_id,
        _OUTPUT.c.role,
        _OUTPUT.c.version_id,
        engine.place(_OUTPUT.c.fact),
        _OUTPUT.c.derives,
    ).where(engine.known(_OUTPUT.c.fact))


_made_by = Statement(_made().where(engine.among(_OUTPUT.c.run_id, "ids")))
_producers_of = Statement(_made().where(engine.among(_OUTPUT.c.version_id, "ids")))
_consumers_of = Statement(
    select(_INPUT.c.run_id, engine.place(_RUN.c.start_fact), _INPUT.c.version_id, _INPUT.c.producer_run_id)
    .join(_RUN, _RUN.c.id == _INPUT.c.run_id)
    .where(engine.among(_INPUT.c.version_id, "ids"), engine.known(_INPUT.c.fact))
)
_reuses_of = Statement(
    select(_RUN.c.id).where(engine.among(_RUN.c.origin_id, "ids"), engine.known(_RUN.c.start_fact))
)


class SqlEdges:
    """`flow.Edges` in one transaction, as of a position; `engine.NOW` is no bound."""

    def __init__(self, tx: Transaction, as_of: int) -> None:
        self._tx = tx
        self._as_of = as_of

    def _ask(self, statement: Statement, ids: Sequence[int]) -> list[Any]:
        return self._tx.all(statement, ids=list(ids), as_of=self._as_of)

    def taken_by(self, runs: Sequence[int]) -> Sequence[flow.Took]:
        return self._ask(_taken_by, runs)

    def made_by(self, runs: Sequence[int]) -> Sequence[flow.Made]:
        return self._ask(_made_by, runs)

    def producers_of(self, versions: Sequence[int]) -> Sequence[flow.Made]:
        return self._ask(_producers_of, versions)

    def consumers_of(self, versions: Sequence[int]) -> Sequence[flow.Taken]:
        return self._ask(_consumers_of, versions)

    def reuses_of(self, runs: Sequence[int]) -> Sequence[int]:
        return [row[0] for row in self._ask(_reuses_of, runs)]
