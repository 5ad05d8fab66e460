"""Bearer tokens: exempt from facts, since they say who may come in, and nothing of what happened."""

from typing import cast
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update

from whence_catalog import access, digest, model
from whence_catalog.errors import Conflict, ErrorKind, NotFound
from whence_catalog.sql import tables
from whence_catalog.sql.engine import Record, Statement, Transaction

_TOKEN = tables.TOKEN
_COLUMNS = (
    _TOKEN.c.uid,
    _TOKEN.c.name,
    _TOKEN.c.actor,
    _TOKEN.c.hash,
    _TOKEN.c.grants,
    _TOKEN.c.created_at,
    _TOKEN.c.expires_at,
    _TOKEN.c.revoked_at,
)
_put = Statement(insert(_TOKEN))
_by_uid = Statement(select(*_COLUMNS).where(_TOKEN.c.uid == bindparam("uid")))
_by_hash = Statement(select(*_COLUMNS).where(_TOKEN.c.hash == bindparam("hash")))
_every = Statement(select(*_COLUMNS).order_by(_TOKEN.c.created_at.desc(), _TOKEN.c.uid.desc()))
_revoke = Statement(
    update(_TOKEN)
    .where(_TOKEN.c.uid == bindparam("of_uid"), _TOKEN.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("moment"))
)


def add(tx: Transaction, token: access.Token) -> access.Token:
    """Keep a token; it was made now, by the catalog's clock. The same said twice is one.

    Raises:
        Conflict: its uid, or its secret, is another token's.
    """
    row = tx.one(_by_uid, uid=token.uid.bytes) or tx.one(_by_hash, hash=token.hash)
    if row is not None:
        known = _token(row)
        same = (known.uid, known.name, known.actor, known.hash, known.grants, known.expires_at)
        if same != (token.uid, token.name, token.actor, token.hash, token.grants, token.expires_at):
            raise Conflict(
                "that token's id or secret is another token's; make a new one", ErrorKind.OTHER_CONTENT
            )
        return known
    grants = {project: sorted(given) for project, given in token.grants.by_project.items()}
    tx.run(
        _put,
        uid=token.uid.bytes,
        name=token.name,
        actor=token.actor,
        hash=token.hash,
        grants=digest.frame({project: [str(g) for g in given] for project, given in grants.items()}),
        created_at=tx.micros,
        expires_at=None if token.expires_at is None else model.microseconds(token.expires_at),
        revoked_at=None,
    )
    return _token(cast("Record", tx.one(_by_uid, uid=token.uid.bytes)))


def every(tx: Transaction) -> tuple[access.Token, ...]:
    """All tokens, the newest first."""
    return tuple(_token(row) for row in tx.all(_every))


def revoke(tx: Transaction, uid: UUID) -> access.Token:
    """Let its holder in no more.

    Raises:
        NotFound: no such token.
    """
    tx.run(_revoke, of_uid=uid.bytes, moment=tx.micros)
    row = tx.one(_by_uid, uid=uid.bytes)
    if row is None:
        raise NotFound(f"no token {uid}; `whence token ls` lists them", ErrorKind.NO_SUCH_TOKEN)
    return _token(row)


def find(tx: Transaction, hash: bytes) -> access.Token | None:
    """The token whose secret has that SHA-256."""
    row = tx.one(_by_hash, hash=hash)
    return None if row is None else _token(row)


def _token(row: Record) -> access.Token:
    uid, name, actor, hash, grants, created_at, expires_at, revoked_at = row
    by_project = cast("dict[str, list[str]]", digest.unframe_own(grants))
    return access.Token(
        uid=UUID(bytes=uid),
        name=name,
        actor=actor,
        hash=hash,
        grants=access.Grants(
            {project: frozenset(map(access.Grant, given)) for project, given in by_project.items()}
        ),
        created_at=model.moment(created_at),
        expires_at=None if expires_at is None else model.moment(expires_at),
        revoked_at=None if revoked_at is None else model.moment(revoked_at),
    )
