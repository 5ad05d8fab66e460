"""The log as events: facts behind a position, each with what it was of."""

from collections.abc import Collection
from uuid import UUID

from whence_catalog import changes, facts, replies
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import named
from whence_catalog.sql.engine import Transaction


def page(tx: Transaction, after: int, first: int, projects: Collection[str] | None) -> replies.ChangePage:
    """What the facts behind position `after` changed, at most `first` of them."""
    logged = fact_log.page(tx, after, first)
    told = [(one.position or 0, facts.decode(one.canonical)) for one in logged]
    asked = [changes.subject_of(fact) for _, fact in told]
    runs = named.named_runs(tx, list({run for run, _ in asked if run is not None}))
    judged = {of: _fact(tx, of) for of in {of for _, of in asked if of is not None}}
    found = [changes.read(position, fact, runs, judged) for position, fact in told]
    kept = tuple(change for change in found if projects is None or change.is_of(projects))
    return replies.ChangePage(
        items=kept,
        end=told[-1][0] if told else after,
        last=fact_log.last_position(tx),
        masked=0,
    )


def _fact(tx: Transaction, uid: UUID) -> facts.Fact:
    stored = fact_log.find(tx, uid, "quarantine", "hold")
    assert stored is not None, "a release names what was recorded before it"
    return facts.decode(stored.canonical)
