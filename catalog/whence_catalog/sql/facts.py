"""The log of facts: appended once, read in position order, never changed."""

import os
from collections.abc import Callable, Iterator
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlmodel import insert

from whence_catalog import digest, facts, model
from whence_catalog.errors import Conflict, ErrorKind
from whence_catalog.sql import tables
from whence_catalog.sql.engine import Statement, Transaction

_FACT = tables.table(tables.FactRow).c
_REDACTABLE = tables.table(tables.RedactableRow).c

_find = Statement(select(_FACT.canonical, _FACT.position, _FACT.verb).where(_FACT.uid == bindparam("uid")))
_head = Statement(select(_FACT.position, _FACT.sequenced_at).order_by(_FACT.position.desc()).limit(1))
_append = Statement(insert(tables.table(tables.FactRow)))
_page = Statement(
    select(_FACT.position, _FACT.uid, _FACT.sequenced_at, _FACT.verb, _FACT.canonical, _FACT.leaf)
    .where(_FACT.position > bindparam("after"))
    .order_by(_FACT.position)
    .limit(bindparam("many"))
)
_keep_salt = Statement(insert(tables.table(tables.RedactableRow)))
_salts = Statement(
    select(_REDACTABLE.path, _REDACTABLE.salt, _REDACTABLE.value).where(
        _REDACTABLE.fact_uid == bindparam("fact_uid")
    )
)
_opened_at = Statement(
    select(_REDACTABLE.path, _REDACTABLE.value)
    .join(tables.table(tables.FactRow), _FACT.uid == _REDACTABLE.fact_uid)
    .where(_FACT.position == bindparam("position"))
)

_redactable = Statement(select(func.count()).select_from(tables.table(tables.RedactableRow)))

BodyOf = Callable[[facts.Redactor], facts.Body]


def append(tx: Transaction, verb: str, uid: UUID, actor: model.Actor, body_of: BodyOf) -> int:
    """Write one fact at the next position; answers the position."""
    redactor = facts.Redactor(lambda _: os.urandom(16))
    canonical = facts.encode(verb, uid, tx.at, actor, body_of(redactor))
    last, sequenced_at = tx.one(_head) or (0, 0)
    position: int = last + 1
    tx.run(
        _append,
        position=position,
        uid=uid.bytes,
        # A clock that was set back must not make a later fact look earlier.
        sequenced_at=max(tx.micros, sequenced_at),
        verb=verb,
        canonical=canonical,
        leaf=facts.leaf(canonical),
    )
    for path, salt, value in redactor.opened:
        tx.run(_keep_salt, fact_uid=uid.bytes, path=path, salt=salt, value=value)
    return position


def find(tx: Transaction, uid: UUID, *verbs: str) -> bytes | None:
    """The canonical bytes of the fact with that uid.

    Raises:
        Conflict: it is there, and says none of `verbs`.
    """
    row = tx.one(_find, uid=uid.bytes)
    if row is None:
        return None
    canonical, _, verb = row
    if verb not in verbs:
        raise Conflict(f"{uid} was already used for a {verb}; use a new id", ErrorKind.OTHER_CONTENT)
    return bytes(canonical)


def reject_other(
    tx: Transaction, stored: bytes, verb: str, actor: model.Actor, body_of: BodyOf
) -> facts.Fact:
    """The stored fact, if saying it again says the same.

    Raises:
        Conflict: it says something else under the same uid.
    """
    known = facts.decode(stored)
    salts = {path: salt for path, salt, _ in tx.all(_salts, fact_uid=known.uid.bytes)}
    # Where a salt was erased the commitment cannot be made again: the rest decides.
    erased = {path: c for path, c in facts.commitments(known.body).items() if path not in salts}
    redactor = facts.Redactor(lambda path: salts.get(path, b""), erased)
    if facts.encode(verb, known.uid, known.at, actor, body_of(redactor)) != stored:
        raise Conflict(
            f"{known.uid} was already used for a {known.verb} with other content; use a new id",
            ErrorKind.OTHER_CONTENT,
        )
    return known


def page(tx: Transaction, after: int, limit: int) -> list[tuple[int, UUID, int, str, bytes, bytes]]:
    """(position, uid, sequenced_at, verb, canonical bytes, leaf) of facts behind `after`, in order."""
    rows = tx.all(_page, after=after, many=limit)
    return [(row[0], UUID(bytes=row[1]), row[2], row[3], row[4], row[5]) for row in rows]


def every(tx: Transaction) -> Iterator[tuple[int, UUID, int, str, bytes, bytes]]:
    """All facts in position order, in pages."""
    after = 0
    while rows := page(tx, after, 1000):
        yield from rows
        after = rows[-1][0]


def opened_at(tx: Transaction, position: int | None) -> dict[str, str]:
    """What the commitments of the fact at a position stand for, by path; what was erased is absent."""
    rows = [] if position is None else tx.all(_opened_at, position=position)
    return {path: str(digest.unframe_own(value)) for path, value in rows}


def salts(tx: Transaction, uid: UUID) -> dict[str, tuple[bytes, bytes]]:
    """(salt, framed value) by path."""
    return {path: (salt, value) for path, salt, value in tx.all(_salts, fact_uid=uid.bytes)}


def count_redactable(tx: Transaction) -> int:
    """How many values open a commitment."""
    row = tx.one(_redactable)
    return 0 if row is None else row[0]


def head(tx: Transaction) -> int:
    """The last position; 0 for an empty log."""
    row = tx.one(_head)
    return 0 if row is None else row[0]
