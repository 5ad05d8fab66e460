"""The index of tainted productions: (production, quarantine), kept in the transaction of every write.

It changes only behind a closed gate (`engine.Gate`): while somebody quarantines, releases, or records what is
tainted, nobody else records or hands out a production. All others pass the gate together. So whoever finds
nothing to mark knows that nothing will be, until its commit; whoever finds something begins again behind it.

Leaves to others: the rule (`whence_catalog.taint`), and what quarantines there are (`judgements`).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy import cast as cast_as

from whence_catalog import cache, lineage, model, taint
from whence_catalog.errors import NotFound
from whence_catalog.sql import artifacts, engine, productions, tables
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Record, Statement, Transaction

_RUN = tables.RUN
_INPUT = tables.INPUT
_OUTPUT = tables.OUTPUT
_QUARANTINE = tables.QUARANTINE
_TAINT = tables.TAINT

# A fact that is still to be written comes after all that are.
_LAST = 2**62 + 2**61


def _place(fact: ColumnElement[Any]) -> ColumnElement[int]:
    return func.coalesce(engine.place(fact), literal_column(str(_LAST)))


_made = select(_OUTPUT.c.run_id, _OUTPUT.c.version_id, _place(_OUTPUT.c.fact))
_taken = select(
    _INPUT.c.run_id, _INPUT.c.version_id, _INPUT.c.producer_run_id, _place(_RUN.c.start_fact)
).join(_RUN, _RUN.c.id == _INPUT.c.run_id)
_outputs_of = Statement(_made.where(engine.among(_OUTPUT.c.run_id, "ids")))
_producers_of = Statement(_made.where(engine.among(_OUTPUT.c.version_id, "ids")))
_consumers_of = Statement(_taken.where(engine.among(_INPUT.c.version_id, "ids")))
_known_inputs_of = Statement(_taken.where(engine.among(_INPUT.c.run_id, "ids"), engine.known(_INPUT.c.fact)))
_known_producers_of = Statement(
    _made.where(engine.among(_OUTPUT.c.version_id, "ids"), engine.known(_OUTPUT.c.fact))
)
_stood = Statement(
    select(_QUARANTINE.c.id, _QUARANTINE.c.version_id).where(
        engine.known(_QUARANTINE.c.fact), engine.unknown(_QUARANTINE.c.end_fact)
    )
)
_inputs_of = Statement(_taken.where(_INPUT.c.run_id == bindparam("run_id")))
_start_of = Statement(select(_place(_RUN.c.start_fact)).where(_RUN.c.id == bindparam("run_id")))
_versions_made = Statement(select(_OUTPUT.c.version_id).where(_OUTPUT.c.run_id == bindparam("run_id")))
_standing = Statement(select(_QUARANTINE.c.id, _QUARANTINE.c.version_id).where(_QUARANTINE.c.until.is_(None)))
_marks_on = Statement(
    select(_TAINT.c.run_id, _TAINT.c.version_id, _TAINT.c.quarantine_id, func.min(_place(_OUTPUT.c.fact)))
    .join(_OUTPUT, (_OUTPUT.c.run_id == _TAINT.c.run_id) & (_OUTPUT.c.version_id == _TAINT.c.version_id))
    .where(engine.among(_TAINT.c.version_id, "ids"))
    .group_by(_TAINT.c.run_id, _TAINT.c.version_id, _TAINT.c.quarantine_id)
)
_marked_runs = Statement(
    select(_TAINT.c.run_id, _TAINT.c.version_id).where(
        engine.among(_TAINT.c.run_id, "ids"), _TAINT.c.quarantine_id == bindparam("quarantine_id")
    )
)
_put = Statement(insert(_TAINT))


def _marking(productions: ColumnElement[bool]) -> Statement:
    which = cast_as(bindparam("quarantine_id"), BigInteger)
    made = select(_OUTPUT.c.run_id, _OUTPUT.c.version_id, which).where(productions).distinct()
    return Statement(insert(_TAINT).from_select(["run_id", "version_id", "quarantine_id"], made))


_mark_runs = _marking(engine.among(_OUTPUT.c.run_id, "ids"))
_mark_version = _marking(
    (_OUTPUT.c.version_id == bindparam("version")) & ~engine.among(_OUTPUT.c.run_id, "ids")
)
_lift = Statement(delete(_TAINT).where(_TAINT.c.quarantine_id == bindparam("quarantine_id")))

# Of a Run whose row is `_RUN`: 2 where a Version that it made is quarantined, 1 where one is tainted, else NULL.
WORST = (
    select(
        func.max(
            case(
                (_TAINT.c.version_id == _QUARANTINE.c.version_id, literal_column("2")),
                else_=literal_column("1"),
            )
        )
    )
    .select_from(_TAINT)
    .join(_QUARANTINE, _QUARANTINE.c.id == _TAINT.c.quarantine_id)
    .where(_TAINT.c.run_id == _RUN.c.id)
    .correlate(_RUN)
    .scalar_subquery()
)


def condemned(worst: int | None) -> cache.Reason | None:
    """What a value of `WORST` says of the Run's outputs."""
    if worst is None:
        return None
    return cache.Reason.QUARANTINED if worst == 2 else cache.Reason.TAINTED


class _SqlEdges:
    """`taint.Edges` in one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def outputs_of(self, runs: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._tx.all(_outputs_of, ids=list(runs)))

    def producers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._tx.all(_producers_of, ids=list(versions)))

    def consumers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _inputs(self._tx.all(_consumers_of, ids=list(versions)))


def _outputs(rows: Iterable[Record]) -> Iterator[lineage.Link]:
    for run, version, position in rows:
        yield lineage.Link(lineage.EdgeType.OUTPUT, run, version, position=position)


def _inputs(rows: Iterable[Record]) -> Iterator[lineage.Link]:
    for run, version, producer, started in rows:
        yield lineage.Link(lineage.EdgeType.INPUT, run, version, producer=producer, position=started)


class _KnownOrigins:
    """`taint.Origins` of what was known at a position."""

    def __init__(self, tx: Transaction, as_of: int) -> None:
        self._tx, self._as_of = tx, as_of

    def inputs_of(self, runs: Sequence[int]) -> Iterator[lineage.Link]:
        return _inputs(self._tx.all(_known_inputs_of, ids=list(runs), as_of=self._as_of))

    def producers_of(self, versions: Sequence[int]) -> Iterator[lineage.Link]:
        return _outputs(self._tx.all(_known_producers_of, ids=list(versions), as_of=self._as_of))


def marks_at(tx: Transaction, version_id: int, as_of: int) -> list[tuple[int, int]]:
    """(Run, quarantine) of the Version's productions that were tainted as far as was known at a position.

    The index is of now: what it said then is found from the edges.
    """
    standing: dict[int, list[int]] = {}
    for quarantine_id, version in tx.all(_stood, as_of=as_of):
        standing.setdefault(version, []).append(quarantine_id)
    origins = _KnownOrigins(tx, as_of)
    runs = sorted({link.run for link in origins.producers_of([version_id])} if standing else ())
    own = set(standing.get(version_id, ()))
    return [
        (run, quarantine)
        for run in runs
        for quarantine in sorted(own | taint.reaching(origins, run, standing))
    ]


def edges(tx: Transaction) -> taint.Edges:
    """The edges as this transaction sees them."""
    return _SqlEdges(tx)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def mark(tx: Transaction, quarantine_id: int, version_id: int) -> None:
    """A quarantine begins: mark all that it reaches."""
    _settle(tx)
    found = taint.reach(edges(tx), version_id)
    # Whole Runs, in one statement: a Run that took what is reached taints all that it made.
    touched = sorted({production.run for production in found if production.version != version_id})
    tx.run(_mark_runs, ids=touched, quarantine_id=quarantine_id)
    tx.run(_mark_version, ids=touched, version=version_id, quarantine_id=quarantine_id)
    tx.found.pop("standing", None)


def lift(tx: Transaction, quarantine_id: int) -> None:
    """A quarantine ends: of what it reached, nothing is marked by it any more."""
    tx.run(_lift, quarantine_id=quarantine_id)
    tx.found.pop("standing", None)


def inherit(tx: Transaction, run_id: int) -> None:
    """Inputs or outputs of this Run were recorded: mark what is reached by that, down to what was made of it."""
    standing = _standing_quarantines(tx)
    if not standing:
        return
    made = {row[0] for row in tx.all(_versions_made, run_id=run_id)}
    through = _touching(tx, standing, _versions_taken(tx, run_id), lambda: _links_of(tx, run_id), made)
    for version in sorted(made & standing.keys()):
        own = taint.Production(run_id, version)
        for quarantine_id in standing[version]:
            if not _known(tx, quarantine_id, {own}):
                _insert(tx, quarantine_id, {own: None})
    of = {quarantine: version for version, some in standing.items() for quarantine in some}
    for quarantine_id, via in sorted(through.items()):
        known = functools.partial(_known, tx, quarantine_id)
        _insert(tx, quarantine_id, taint.spread(edges(tx), of[quarantine_id], {run_id: via}, known))


# What `inherit_all` asks in any case.
ASKED: tuple[Statement, Sequence[Mapping[str, engine.Given]]] = _standing, [{}]


class Reached(Exception):
    """A quarantine reaches one of several Runs that were recorded together: record them one by one."""


def inherit_all(
    tx: Transaction, run_ids: Sequence[int], taken: AbstractSet[int], made: AbstractSet[int]
) -> None:
    """As `inherit`, of new Runs that took and made these Versions between them.

    Raises:
        Reached: there are several, and one of them is reached.
    """
    standing = _standing_quarantines(tx)
    if not standing:
        return
    if len(run_ids) == 1:
        inherit(tx, run_ids[0])
    elif (taken | made) & standing.keys() or tx.one(_marks_on, ids=sorted(taken)) is not None:
        raise Reached


def _known(tx: Transaction, quarantine_id: int, some: AbstractSet[taint.Production]) -> set[taint.Production]:
    runs = sorted({production.run for production in some})
    rows = tx.all(_marked_runs, ids=runs, quarantine_id=quarantine_id) if runs else []
    return {taint.Production(*row) for row in rows} & some


def _insert(tx: Transaction, quarantine_id: int, reached: taint.Reach) -> None:
    _require_closed(tx)
    rows = [
        {"run_id": production.run, "version_id": production.version, "quarantine_id": quarantine_id}
        for production in reached
    ]
    tx.many(_put, rows)


def _require_closed(tx: Transaction) -> None:
    if tx.gate is not engine.Gate.CLOSED:
        raise engine.Crowded


def _settle(tx: Transaction) -> None:
    """Let all facts have their positions: before, the order of two of them may still change."""
    _require_closed(tx)
    if not tx.is_sequencing:
        while fact_log.sequence_after(tx):
            pass


# ── judging one Run ──────────────────────────────────────────────────────────────────────────────


def _standing_quarantines(tx: Transaction) -> dict[int, list[int]]:
    """Version → the quarantines of it that stand; found once, since none can begin or end meanwhile."""
    if "standing" not in tx.found:
        by_version: dict[int, list[int]] = {}
        for quarantine_id, version_id in tx.all(_standing):
            by_version.setdefault(version_id, []).append(quarantine_id)
        tx.found["standing"] = by_version
    found: dict[int, list[int]] = tx.found["standing"]
    return found


def _versions_taken(tx: Transaction, run_id: int) -> set[int]:
    return {link.other for link in _links_of(tx, run_id)}


def _links_of(tx: Transaction, run_id: int) -> list[lineage.Link]:
    return list(_inputs(tx.all(_inputs_of, run_id=run_id)))


def _touching(
    tx: Transaction,
    standing: Mapping[int, Iterable[int]],
    versions: AbstractSet[int],
    taken: Callable[[], Iterable[lineage.Link]],
    made: AbstractSet[int],
) -> dict[int, taint.Production | None]:
    """The quarantines that reach a Run, and through what.

    `versions` are those that it took; `taken` says how, once all facts have their positions. Where nothing can
    reach it, that is not asked, and the gate may stay open.
    """
    is_marked = bool(versions) and tx.one(_marks_on, ids=sorted(versions)) is not None
    if not (is_marked or (made | versions) & standing.keys()):
        return {}
    _settle(tx)
    marks = [
        taint.Mark(taint.Production(run, version), quarantine, made_at)
        for run, version, quarantine, made_at in tx.all(_marks_on, ids=sorted(versions))
    ]
    return taint.touching(taken(), standing, marks)


def foresee(
    tx: Transaction,
    run_id: int,
    inputs: Sequence[model.InputClaim],
    outputs: Sequence[model.OutputClaim],
) -> cache.Reason | None:
    """What all that a Run made is, as soon as it is said to have taken and made this too.

    QUARANTINED where it took or made a Version that is, TAINTED where it took what is; else None.
    """
    standing = _standing_quarantines(tx)
    if not standing:
        return None
    claimed = [productions.source_ids(tx, claim.source) for claim in inputs]
    made = {row[0] for row in tx.all(_versions_made, run_id=run_id)}
    known = (artifacts.known_version(tx, claim.artifact, claim.content.digest) for claim in outputs)
    made |= {version for version in known if version is not None}
    versions = _versions_taken(tx, run_id) | {version for version, _ in claimed}

    def taken() -> list[lineage.Link]:
        (started,) = tx.one(_start_of, run_id=run_id) or (_LAST,)
        said = [
            lineage.Link(lineage.EdgeType.INPUT, run_id, version, producer=producer, position=started)
            for version, producer in claimed
        ]
        return [*_links_of(tx, run_id), *said]

    through = _touching(tx, standing, versions, taken, made)
    if (made | versions) & standing.keys():
        return cache.Reason.QUARANTINED
    return cache.Reason.TAINTED if through else None


def of_inputs(tx: Transaction, inputs: Sequence[model.InputClaim]) -> cache.Reason | None:
    """What a Run that is about to take these would make, by what it takes: as `foresee`, which also knows what it made."""
    standing = _standing_quarantines(tx) if inputs else {}
    if not standing:
        return None
    taken: list[lineage.Link] = []
    for claim in inputs:
        try:
            version, producer = productions.source_ids(tx, claim.source)
        except NotFound:  # a call that nobody makes may name what nobody recorded
            known = artifacts.known_version(tx, claim.source.artifact, claim.source.digest)
            if known is None:
                continue
            version, producer = known, None
        # It begins after all that is recorded: the order of those does not matter to it.
        taken.append(lineage.Link(lineage.EdgeType.INPUT, 0, version, producer=producer, position=_LAST))
    versions = {link.other for link in taken}
    if versions & standing.keys():
        return cache.Reason.QUARANTINED
    marks = [
        taint.Mark(taint.Production(run, version), quarantine, made_at)
        for run, version, quarantine, made_at in tx.all(_marks_on, ids=sorted(versions))
    ]
    return cache.Reason.TAINTED if taint.touching(taken, standing, marks) else None
