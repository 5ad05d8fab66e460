"""Copies a catalog into an empty one, from any database into any: facts as they are, the rest made from them.

So a copy is checked while it is made, and a backup of a PostgreSQL catalog is an embedded catalog in one
file, which can be opened, checked and asked like any other.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table, bindparam, insert, select

from whence_catalog import facts, replies
from whence_catalog.errors import Conflict, Damaged, ErrorKind
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import projections, tables
from whence_catalog.sql.engine import Engine, Gate, Statement, Transaction

_AT_ONCE = 1000

# What a copy of the facts does not make anew. Leases and heartbeats are of processes that know the original.
_CARRIED = (tables.CATALOG, tables.BLOB, tables.TOKEN)


def copy(
    source: Engine[Any], target: Engine[Any], progress: Callable[[int, int], None] = lambda done, of: None
) -> replies.Checkpoint:
    """Make `target`, which has tables and nothing in them, what `source` was at its last position.

    All of it or, should anything fail, nothing of it. Facts that have no position yet are not in it.

    Args:
        progress: told how many facts are copied, of how many.

    Raises:
        Conflict: something was recorded in the target already.
        Damaged: a fact of the source is not what its leaf says; `whence check` tells more.
    """
    # What is replayed has its place in the order of facts: nobody else may record meanwhile.
    with source.reading() as tx, target.writing(gate=Gate.CLOSED) as into:
        if fact_log.head(into) or fact_log.count_redactable(into):
            raise Conflict(
                f"{target.url} holds a catalog already; name an empty place", ErrorKind.OTHER_CONTENT
            )
        last = fact_log.head(tx)
        leaf = b""
        done = 0
        while rows := fact_log.page(tx, done, _AT_ONCE):
            for logged in rows:
                _copy_fact(tx, into, logged)
                leaf = logged.leaf
            done = rows[-1].position or 0
            progress(done, last)
        for table in _CARRIED:
            _carry(tx, into, table)
        fact_log.number_from(into, done)
        return replies.Checkpoint(done, leaf)


def _copy_fact(tx: Transaction, into: Transaction, logged: fact_log.Logged) -> None:
    position = logged.position or 0
    if facts.leaf(logged.canonical) != logged.leaf:
        raise Damaged(
            f"fact {position} is not what it was when it was recorded; see `whence check`",
            ErrorKind.FACT_ALTERED,
        )
    salts = fact_log.salts(tx, logged.id)
    fact_log.put(into, logged, salts)
    projections.replay(into, position, facts.decode(logged.canonical), fact_log.labels(salts))


def _carry(tx: Transaction, into: Transaction, table: Table) -> None:
    names = [column.name for column in table.c]
    found = tx.all(Statement(select(*table.c)))
    into.run(Statement(table.delete()))
    put = Statement(insert(table).values({name: bindparam(name) for name in names}))
    into.many(put, [dict(zip(names, values, strict=True)) for values in found])
