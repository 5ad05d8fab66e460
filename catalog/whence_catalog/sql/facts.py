"""The log of facts: appended once, read in position order, never changed."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, text

from whence_catalog import digest, facts, model
from whence_catalog.errors import Conflict, ErrorKind
from whence_catalog.sql import engine, tables
from whence_catalog.sql.engine import Filling, Given, Statement, Transaction, Value

_FACT = tables.FACT.c
_REDACTABLE = tables.REDACTABLE.c

_find = Statement(select(_FACT.id, _FACT.canonical, _FACT.verb).where(_FACT.uid == bindparam("uid")))
_find_any = Statement(select(_FACT.id).where(engine.among_bytes(_FACT.uid, "uids")).limit(1))
_head = Statement(
    select(_FACT.position, _FACT.sequenced_at)
    .where(_FACT.position.is_not(None))
    .order_by(_FACT.position.desc())
    .limit(1)
)
_APPENDED = ("id", "uid", "verb", "canonical", "leaf")
_append = Statement(
    insert(tables.FACT).values({name: bindparam(name) for name in (*_APPENDED, "position", "sequenced_at")})
)
_logged = select(
    _FACT.position,
    _FACT.uid,
    _FACT.verb,
    _FACT.canonical,
    _FACT.id,
    _FACT.ordinal,
    _FACT.sequenced_at,
    _FACT.leaf,
)
_page = Statement(
    _logged.where(_FACT.position > bindparam("after")).order_by(_FACT.position).limit(bindparam("many"))
)
_page_unsequenced = Statement(
    _logged.where(_FACT.position.is_(None), _FACT.ordinal > bindparam("after"))
    .order_by(_FACT.ordinal)
    .limit(bindparam("many"))
)
_FACTS = Filling(tables.FACT, *_APPENDED, "position", "sequenced_at")
_UNSEQUENCED = Filling(tables.FACT, *_APPENDED, numbered=("ordinal", tables.FACT_ORDINAL.name))
_SALTS = Filling(tables.REDACTABLE, "fact", "path", "salt", "value")
_keep_salt = Statement(insert(tables.REDACTABLE))
_salts = Statement(
    select(_REDACTABLE.path, _REDACTABLE.salt, _REDACTABLE.value).where(_REDACTABLE.fact == bindparam("fact"))
)
_redactable = Statement(select(func.count()).select_from(tables.REDACTABLE))

# Whoever holds this lock gives positions to facts ("whence", as a number).
_SEQUENCER = 0x7768656E6365
_wait_to_sequence = Statement(select(func.pg_advisory_xact_lock(bindparam("key"))))
_try_to_sequence = Statement(select(func.pg_try_advisory_xact_lock(bindparam("key"))))
_sequence = Statement(
    text(
        "UPDATE fact SET position = :base + due.n, sequenced_at = :moment"
        " FROM (SELECT id, row_number() OVER (ORDER BY ordinal) AS n FROM fact WHERE position IS NULL"
        " ORDER BY ordinal LIMIT :many) AS due WHERE fact.id = due.id"
    ).bindparams(bindparam("base"), bindparam("moment"), bindparam("many"))
)
_SEQUENCED_AT_ONCE = 5000
_set_number = Statement(select(func.setval("fact_number", bindparam("beyond"))))

BodyOf = Callable[[facts.Redactor], facts.Body]


class Logged(NamedTuple):
    """A fact as it lies in the log. It has an `ordinal` on PostgreSQL, and there no position until a moment later."""

    position: int | None
    uid: UUID
    verb: str
    canonical: bytes
    id: int
    ordinal: int | None
    sequenced_at: int | None
    leaf: bytes


class Stored(NamedTuple):
    """A fact that was said before: its number and its canonical bytes."""

    id: int
    canonical: bytes


class Said(NamedTuple):
    """What a verb says, to be written as a fact."""

    verb: str
    uid: UUID
    actor: model.Actor
    body_of: BodyOf


def append(tx: Transaction, verb: str, uid: UUID, actor: model.Actor, body_of: BodyOf) -> int:
    """Write one fact; answers its number.

    Where writers work side by side its row is written last of all of its item: what comes after in the
    order of facts may then have seen it, and what it saw comes before.
    """
    (number,) = append_all(tx, [Said(verb, uid, actor, body_of)])
    return number


def append_all(tx: Transaction, all_said: Sequence[Said]) -> Sequence[int]:
    """As `append`, of several in that order."""
    rows: list[tuple[Value, ...]] = []
    salts: list[tuple[Value, ...]] = []
    if tx.is_sequencing:
        last, sequenced_at = tx.one(_head) or (0, 0)
        numbers: Sequence[int] = range(last + 1, last + 1 + len(all_said))
        # A clock that was set back must not make a later fact look earlier.
        moment = max(tx.micros, sequenced_at)
    else:
        numbers = [tx.next_fact() for _ in all_said]
        moment = None
    for number, (verb, uid, actor, body_of) in zip(numbers, all_said, strict=True):
        redactor = facts.Redactor(lambda _: os.urandom(16))
        canonical = facts.encode(verb, uid, tx.at, actor, body_of(redactor))
        rows.append((number, uid.bytes, verb, canonical, facts.leaf(canonical), number, moment))
        salts += [(number, *opened) for opened in redactor.opened]
    if tx.is_sequencing:
        tx.fill((_FACTS, rows), (_SALTS, salts))
    else:
        tx.fill_at_the_end(_UNSEQUENCED, [row[: len(_APPENDED)] for row in rows])
        tx.fill((_SALTS, salts))
    return numbers


def put(tx: Transaction, logged: Logged, opened: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Write a fact of another catalog, with its position for its number, and what opens its commitments."""
    tx.run(
        _append,
        id=logged.position,
        uid=logged.uid.bytes,
        verb=logged.verb,
        canonical=logged.canonical,
        leaf=logged.leaf,
        position=logged.position,
        sequenced_at=logged.sequenced_at,
    )
    for path, (salt, value) in opened.items():
        tx.run(_keep_salt, fact=logged.position, path=path, salt=salt, value=value)


def number_from(tx: Transaction, last: int) -> None:
    """Let the facts that come after have numbers beyond `last`."""
    if not tx.is_sequencing:
        tx.one(_set_number, beyond=last + 1)


def sequence(tx: Transaction) -> int:
    """Give the next positions to facts that have none, unless somebody else is at it; answers to how many.

    In the order in which they were written: a fact that another one saw was committed before that one was
    written, so it comes before it. Times never decrease.
    """
    is_ours = cast("tuple[bool]", tx.one(_try_to_sequence, key=_SEQUENCER))[0]
    return _give_positions(tx) if is_ours else 0


def sequence_after(tx: Transaction) -> int:
    """As `sequence`, once whoever else is at it is done: then all that was committed before has a position."""
    tx.one(_wait_to_sequence, key=_SEQUENCER)
    return _give_positions(tx)


def _give_positions(tx: Transaction) -> int:
    base, sequenced_at = tx.one(_head) or (0, 0)
    return tx.run(_sequence, base=base, moment=max(tx.micros, sequenced_at), many=_SEQUENCED_AT_ONCE)


def find(tx: Transaction, uid: UUID, *verbs: str) -> Stored | None:
    """The fact with that uid.

    Raises:
        Conflict: it is there, and says none of `verbs`.
    """
    row = tx.one(_find, uid=uid.bytes)
    if row is None:
        return None
    number, canonical, verb = row
    if verb not in verbs:
        raise Conflict(f"{uid} was already used for a {verb}; use a new id", ErrorKind.OTHER_CONTENT)
    return Stored(number, bytes(canonical))


def asked(uid: UUID) -> tuple[Statement, Sequence[Mapping[str, Given]]]:
    """What `find` asks."""
    return _find, [{"uid": uid.bytes}]


def are_any_said(tx: Transaction, uids: Sequence[UUID]) -> bool:
    """Whether there is a fact with one of these uids."""
    return tx.one(_find_any, uids=[uid.bytes for uid in uids]) is not None


def reject_other(
    tx: Transaction, stored: Stored, verb: str, actor: model.Actor, body_of: BodyOf
) -> facts.Fact:
    """The stored fact, if saying it again says the same.

    Raises:
        Conflict: it says something else under the same uid.
    """
    known = facts.decode(stored.canonical)
    salts = {path: salt for path, salt, _ in tx.all(_salts, fact=stored.id)}
    # Where a salt was erased the commitment cannot be made again: the rest decides.
    erased = {path: c for path, c in facts.commitments(known.body).items() if path not in salts}
    redactor = facts.Redactor(lambda path: salts.get(path, b""), erased)
    if facts.encode(verb, known.uid, known.at, actor, body_of(redactor)) != stored.canonical:
        raise Conflict(
            f"{known.uid} was already used for a {known.verb} with other content; use a new id",
            ErrorKind.OTHER_CONTENT,
        )
    return known


def last_position(tx: Transaction) -> int:
    """The position of the last fact that has one; 0 before all."""
    position, _ = tx.one(_head) or (0, 0)
    return cast("int", position)


def page(tx: Transaction, after: int, limit: int) -> list[Logged]:
    """Facts behind position `after`, in order."""
    return _logged_of(tx.all(_page, after=after, many=limit))


def every(tx: Transaction) -> Iterator[Logged]:
    """All facts in order, in pages; those without a position last."""
    after = 0
    while rows := page(tx, after, 1000):
        yield from rows
        after = rows[-1].position or 0
    after = 0
    while rows := _logged_of(tx.all(_page_unsequenced, after=after, many=1000)):
        yield from rows
        after = rows[-1].ordinal or 0


def _logged_of(rows: list[tuple[object, ...]]) -> list[Logged]:
    return [Logged(row[0], UUID(bytes=row[1]), *row[2:]) for row in rows]  # type: ignore[arg-type]


def opened(tx: Transaction, fact: int | None) -> dict[str, str]:
    """What the commitments of the fact with that number stand for, by path; what was erased is absent."""
    rows = [] if fact is None else tx.all(_salts, fact=fact)
    return {path: str(digest.unframe_own(value)) for path, _, value in rows}


def salts(tx: Transaction, fact: int) -> dict[str, tuple[bytes, bytes]]:
    """(salt, framed value) by path."""
    return {path: (salt, value) for path, salt, value in tx.all(_salts, fact=fact)}


def labels(salts: Mapping[str, tuple[bytes, bytes]]) -> dict[str, str]:
    """The labels among what opens the commitments of a fact, as `salts` gives it."""
    return {
        path.removeprefix(facts.LABELS): str(digest.unframe_own(value))
        for path, (_, value) in salts.items()
        if path.startswith(facts.LABELS)
    }


def count_redactable(tx: Transaction) -> int:
    """How many values open a commitment."""
    row = tx.one(_redactable)
    return 0 if row is None else row[0]


def head(tx: Transaction) -> int:
    """The last position; 0 for an empty log."""
    row = tx.one(_head)
    return 0 if row is None else row[0]
