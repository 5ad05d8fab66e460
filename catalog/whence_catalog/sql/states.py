"""Where Versions stand: whether a quarantine names them, or reaches one of their productions."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from whence_catalog import catalog, model
from whence_catalog.errors import WhenceError
from whence_catalog.sql import engine, named, tables
from whence_catalog.sql.engine import Statement, Transaction

_QUARANTINE = tables.QUARANTINE
_TAINT = tables.TAINT

_quarantined = Statement(
    select(_QUARANTINE.c.version_id).where(
        engine.among(_QUARANTINE.c.version_id, "ids"), _QUARANTINE.c.until.is_(None)
    )
)
_tainted = Statement(select(_TAINT.c.version_id).where(engine.among(_TAINT.c.version_id, "ids")).distinct())


def in_rows(tx: Transaction, ids: Iterable[int]) -> Mapping[int, model.VersionState]:
    """The states of the Versions in these rows, but for those that are live."""
    rows = sorted(set(ids))
    tainted = dict.fromkeys((row for (row,) in tx.all(_tainted, ids=rows)), model.VersionState.TAINTED)
    # What is declared bad itself is that first: its own productions are tainted too.
    return tainted | dict.fromkeys(
        (row for (row,) in tx.all(_quarantined, ids=rows)), model.VersionState.QUARANTINED
    )


def states(
    tx: Transaction, references: Sequence[model.Reference]
) -> list[catalog.Result[model.VersionState]]:
    """The state of the Version that each reference means."""
    found = named.named_versions(tx, set(references))
    other = in_rows(tx, (result.id for result in found.values() if not isinstance(result, WhenceError)))
    return [
        result if isinstance(result, WhenceError) else other.get(result.id, model.VersionState.LIVE)
        for result in (found[reference] for reference in references)
    ]
