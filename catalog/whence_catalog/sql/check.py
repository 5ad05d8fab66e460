"""Rebuilds every projection from the facts, beside the real one, and compares them row by row."""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table, select

from whence_catalog import digest, facts, replies
from whence_catalog.errors import WhenceError
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import projections, schema, tables
from whence_catalog.sql.engine import Engine, Record, Statement, Transaction, Value
from whence_catalog.sql.sqlite import SqliteEngine

_SHOWN = 5


def check(database: Engine[Any]) -> replies.CheckReport:
    """What the facts say, beside what the tables hold. Needs memory for a copy of the projections."""
    rebuilt = SqliteEngine(None)
    problems: list[str] = []
    try:
        with database.reading() as tx, rebuilt.writing() as copy:
            schema.create_tables(copy)
            replayed = _replay(tx, copy, problems)
            strays = fact_log.count_redactable(tx) - replayed.opened
            if strays:
                problems.append(f"{strays} redactable values belong to no fact")
            rows = 0
            for table in tables.PROJECTIONS:
                real = by_natural_key(tx, table, replayed.places)
                problems += _differences(table, real, by_natural_key(copy, table))
                rows += real.total()
    finally:
        rebuilt.close()
    exempt = tuple(str(table.name) for table in tables.EXEMPT)
    return replies.CheckReport(replayed.facts, rows, replayed.unopened, tuple(problems), exempt)


@dataclass(frozen=True, slots=True)
class _Replayed:
    """How many facts there were, and the place of each by its number; of their commitments, how many are opened
    and how many are not."""

    facts: int
    places: Mapping[Value, Value]
    opened: int
    unopened: int


def _replay(tx: Transaction, copy: Transaction, problems: list[str]) -> _Replayed:
    count, sequenced_before, opened, committed = 0, 0, 0, 0
    places: dict[Value, Value] = {}
    for logged in fact_log.every(tx):
        count += 1
        where = f"fact {count}"
        if logged.position is not None and logged.position != count:
            where = f"fact {logged.position}"
            problems.append(f"{where}: expected position {count}; facts are missing")
            count = logged.position
        if logged.sequenced_at is not None:
            if logged.sequenced_at < sequenced_before:
                problems.append(f"{where}: was sequenced before the one in front of it")
            sequenced_before = logged.sequenced_at
        places[logged.id] = count
        if logged.leaf != facts.leaf(logged.canonical):
            problems.append(f"{where}: its bytes are not those that its leaf was made of")
        try:
            fact = facts.decode(logged.canonical)
            if fact.uid != logged.uid or fact.verb != logged.verb:
                problems.append(f"{where}: its uid or verb beside it is not the one inside it")
            salts = fact_log.salts(tx, logged.id)
            opened, committed = opened + len(salts), committed + len(facts.commitments(fact.body))
            problems += [f"{where}: {why}" for why in _wrong_openings(fact, salts)]
            with copy.savepoint():
                projections.replay(copy, count, fact, fact_log.labels(salts))
        except (WhenceError, AssertionError, LookupError, TypeError, ValueError) as error:
            problems.append(f"{where}: cannot be replayed: {error}")
    return _Replayed(count, places, opened, committed - opened)


def _wrong_openings(fact: facts.Fact, salts: Mapping[str, tuple[bytes, bytes]]) -> list[str]:
    made = facts.commitments(fact.body)
    wrong = [f"{path} is kept, but nothing in it commits to that" for path in salts.keys() - made.keys()]
    for path in salts.keys() & made.keys():
        salt, value = salts[path]
        state = hashlib.sha256(digest.frame(facts.COMMITMENT_DOMAIN) + digest.frame(salt) + value).digest()
        if made[path] != digest.Record("whence.commitment", state):
            wrong.append(f"the value kept for {path} is not the one it commits to")
    return wrong


def by_natural_key(
    tx: Transaction, table: Table, places: Mapping[Value, Value] | None = None
) -> "Counter[Record]":
    """Every row, with each row number replaced by what it stands for, so that numbering may differ.

    `places` are those of facts in the order of all, by their numbers; in the copy the two are equal.
    """
    columns, rows = _rows(table)
    names: dict[str, Mapping[Value, object]] = {}
    for column in columns:
        if column.name in tables.FACT_COLUMNS and places is not None:
            names[column.name] = places
        for key in column.foreign_keys:
            names[column.name] = _names(tx, key.column.table)
    return Counter(
        tuple(
            names[column.name].get(value, ("no such row", value))
            if column.name in names and value is not None
            else value
            for column, value in zip(columns, row, strict=True)
        )
        for row in tx.all(rows)
    )


@functools.cache
def _rows(table: Table) -> tuple[Sequence[Column[Any]], Statement]:
    """The columns that say something, and the statement that reads them: compiled once, however often it checks."""
    own_number = {
        column.name for column in table.primary_key if column.autoincrement is True or column.name == "id"
    }
    columns = [column for column in table.c if column.name not in own_number]
    return columns, Statement(select(*columns))


_NATURAL = {
    "project": "name",
    "actor": "name, authenticated",
    "job": "project_id, name",
    "artifact": "project_id, kind, name",
    "version": "artifact_id, digest",
    "run": "uid",
    "quarantine": "uid",
}


@functools.cache
def _named(table: Table) -> Statement:
    return Statement(select(table.c.id, *[table.c[name] for name in _NATURAL[table.name].split(", ")]))


def _names(tx: Transaction, table: Table) -> Mapping[Value, Record]:
    columns = _NATURAL[table.name].split(", ")
    outer = {
        name: _names(tx, next(iter(table.c[name].foreign_keys)).column.table)
        for name in columns
        if table.c[name].foreign_keys
    }
    rows = tx.all(_named(table))
    return {
        row[0]: tuple(
            outer[name].get(value) if name in outer else value
            for name, value in zip(columns, row[1:], strict=True)
        )
        for row in rows
    }


def _differences(table: Table, real: "Counter[Record]", rebuilt: "Counter[Record]") -> list[str]:
    problems = [f"table {table.name}: no fact says {_shown(row)}" for row in (real - rebuilt)]
    problems += [
        f"table {table.name}: a fact says {_shown(row)}, it is not there" for row in (rebuilt - real)
    ]
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"table {table.name}: and {len(problems) - _SHOWN} more"]
    return problems


def _shown(row: Record) -> str:
    return ", ".join(value.hex()[:16] if isinstance(value, bytes) else str(value) for value in row)[:200]
