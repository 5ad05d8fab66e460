"""Labels of Runs and Versions, from when to when: those given at a Run's start, and those of later.

Their texts can be redacted, so they are no part of facts but of what opens them; what was erased is no
row here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from sqlalchemy import bindparam, insert, select, update

from whence_catalog import digest
from whence_catalog.sql import engine, tables
from whence_catalog.sql.engine import Record, Statement, Transaction, Value

LABEL_DOMAIN = "whence.label/1"

_LABEL = tables.LABEL

# The column that names what a label is of.
Subject: TypeAlias = Literal["run_id", "version_id"]

_put = Statement(
    insert(_LABEL).values(
        {name: bindparam(name) for name in ("run_id", "version_id", "name", "value", "mark", "since", "fact")}
    )
)


def _ending(subject: Subject) -> Statement:
    return Statement(
        update(_LABEL)
        .where(
            _LABEL.c[subject] == bindparam("subject"),
            _LABEL.c.name == bindparam("named"),
            _LABEL.c.until.is_(None),
        )
        .values(until=bindparam("ended"), end_fact=bindparam("by_fact"))
    )


_end: Mapping[Subject, Statement] = {"run_id": _ending("run_id"), "version_id": _ending("version_id")}


def _standing(subject: Subject) -> Statement:
    return Statement(
        select(_LABEL.c[subject], _LABEL.c.name, _LABEL.c.value)
        .where(engine.among(_LABEL.c[subject], "ids"), _LABEL.c.until.is_(None))
        .order_by(_LABEL.c[subject], _LABEL.c.name)
    )


def _known(subject: Subject) -> Statement:
    return Statement(
        select(_LABEL.c[subject], _LABEL.c.name, _LABEL.c.value)
        .where(
            engine.among(_LABEL.c[subject], "ids"),
            engine.known(_LABEL.c.fact),
            _LABEL.c.end_fact.is_(None) | (engine.place(_LABEL.c.end_fact) > bindparam("as_of")),
        )
        .order_by(_LABEL.c[subject], _LABEL.c.name)
    )


_standing_of: Mapping[Subject, Statement] = {s: _standing(s) for s in ("run_id", "version_id")}
_known_of: Mapping[Subject, Statement] = {s: _known(s) for s in ("run_id", "version_id")}


def mark(name: str, value: str) -> int:
    """A number by which a label is looked up, whatever its length; another one may have the same."""
    return int.from_bytes(digest.raw_digest_of(LABEL_DOMAIN, name, value)[:8], signed=True)


def begin(tx: Transaction, fact: int, micros: int, run_id: int, given: Mapping[str, str]) -> None:
    """A Run begins with these labels."""
    _insert(tx, "run_id", run_id, fact, micros, given)


def change(
    tx: Transaction,
    fact: int,
    micros: int,
    subject: Subject,
    row: int,
    given: Mapping[str, str],
    ended: Iterable[str],
) -> None:
    """The labels of these names end, and those that are given begin."""
    for name in sorted(ended):
        tx.run(_end[subject], subject=row, named=name, ended=micros, by_fact=fact)
    _insert(tx, subject, row, fact, micros, given)


def _insert(
    tx: Transaction, subject: Subject, row: int, fact: int, micros: int, given: Mapping[str, str]
) -> None:
    if not given:
        return
    of: dict[str, Value] = {"run_id": None, "version_id": None, subject: row}
    tx.many(
        _put,
        [
            {**of, "name": name, "value": value, "mark": mark(name, value), "since": micros, "fact": fact}
            for name, value in sorted(given.items())
        ],
    )


def of_runs(tx: Transaction, ids: Sequence[int], as_of: int | None = None) -> dict[int, dict[str, str]]:
    """The labels of each of these Runs, by its row: those that stand, or that stood at that position."""
    return _of(tx, "run_id", ids, as_of)


def of_versions(tx: Transaction, ids: Sequence[int], as_of: int | None = None) -> dict[int, dict[str, str]]:
    """As `of_runs`, of Versions."""
    return _of(tx, "version_id", ids, as_of)


def _of(
    tx: Transaction, subject: Subject, ids: Sequence[int], as_of: int | None
) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {row: {} for row in ids}
    rows: Iterable[Record] = ()
    if ids:
        asked = sorted(found)
        rows = (
            tx.all(_standing_of[subject], ids=asked)
            if as_of is None
            else tx.all(_known_of[subject], ids=asked, as_of=as_of)
        )
    for row, name, value in rows:
        found[row][name] = value
    return found
