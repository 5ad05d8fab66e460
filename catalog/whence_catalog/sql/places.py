"""Places outside the store: which Run of a project was the last to write each, and what it left there."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import LargeBinary, Text, bindparam, cast, select
from sqlalchemy.sql import ClauseElement

from whence_catalog import cache, digest, model
from whence_catalog.sql import reservations, tables
from whence_catalog.sql.engine import Statement, Transaction

_PLACE = tables.PLACE
_RUN = tables.RUN
_VERSION = tables.VERSION
_OUTPUT = tables.OUTPUT


def _writing(insert: Callable[..., Any]) -> ClauseElement:
    row = select(
        _RUN.c.project_id,
        cast(bindparam("location"), Text),
        _RUN.c.id,
        cast(bindparam("digest"), LargeBinary),
    )
    new = insert(_PLACE).from_select(
        ["project_id", "location", "run_id", "digest"], row.where(_RUN.c.id == bindparam("of_run"))
    )
    written: ClauseElement = new.on_conflict_do_update(
        index_elements=["project_id", "location"],
        set_={"run_id": new.excluded.run_id, "digest": new.excluded.digest},
    )
    return written


_write = Statement(_writing)
_latest = Statement(
    select(_PLACE.c.location, _PLACE.c.digest)
    .join(_RUN, _RUN.c.project_id == _PLACE.c.project_id)
    .join(_OUTPUT, (_OUTPUT.c.run_id == _RUN.c.id) & (_OUTPUT.c.location == _PLACE.c.location))
    .where(_RUN.c.id == bindparam("run_id"))
)


def put(tx: Transaction, run_id: int, claims: Sequence[model.OutputClaim]) -> None:
    """Record what a Run wrote where; what it only hands on, it did not write."""
    for claim in claims:
        if claim.location is not None and not cache.is_handed_on(claim):
            tx.run(_write, of_run=run_id, location=claim.location, digest=claim.content.digest.raw)


def overwritten(tx: Transaction, found: reservations.LiveEntry | None) -> frozenset[digest.Digest]:
    """What of an entry was since written over by another Run; asks nothing where all of it lies in the store."""
    if found is None or not found.places:
        return frozenset()
    latest = {location: digest.Digest.of(raw) for location, raw in tx.all(_latest, run_id=found.run_id)}
    return cache.overwritten(found.places, latest)
