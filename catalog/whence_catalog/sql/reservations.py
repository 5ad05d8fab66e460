"""Cache entries and leases: what is there to reuse, and who may compute what is not.

Leases are exempt from facts. One statement decides who holds one, on the catalog's clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy import cast as cast_as
from sqlalchemy.sql import ClauseElement

from whence_catalog import cache, digest, model
from whence_catalog.sql import engine, tables, taint
from whence_catalog.sql.engine import Record, Statement, Transaction, Value

# A dialect's own `insert`.
Insert: TypeAlias = Callable[..., Any]


_ENTRY = tables.CACHE_ENTRY
_RUN = tables.RUN
_OUTPUT = tables.OUTPUT
_VERSION = tables.VERSION
_DIVERGENCE = tables.DIVERGENCE
_RESERVATION = tables.RESERVATION
_BEAT = tables.BEAT
_BLOB = tables.BLOB

_ASKING = _RUN.alias("asking")
_IS_LIVE = and_(
    _ENTRY.c.key == bindparam("key"), _ENTRY.c.superseded_at.is_(None), _ENTRY.c.evicted_at.is_(None)
)
# One row for each output, since a second statement costs more than to say the entry's own columns again.
_live = Statement(
    select(
        *(_ENTRY.c.id, _ENTRY.c.run_id, _RUN.c.uid),
        *(_ENTRY.c.created_at, _ENTRY.c.validated_at, _ENTRY.c.revoked_at),
        taint.WORST,
        exists().where(_ASKING.c.uid == bindparam("asking")),
        engine.clock(),
        *(_OUTPUT.c.role, _VERSION.c.digest, _BLOB.c.known_at, _VERSION.c.form, _OUTPUT.c.location),
        _VERSION.c.strength,
    )
    .join(_RUN, _RUN.c.id == _ENTRY.c.run_id)
    .outerjoin(_OUTPUT, _OUTPUT.c.run_id == _RUN.c.id)
    .outerjoin(_VERSION, _VERSION.c.id == _OUTPUT.c.version_id)
    .outerjoin(_BLOB, (_BLOB.c.project_id == _RUN.c.project_id) & (_BLOB.c.digest == _VERSION.c.digest))
    .where(_IS_LIVE)
)
_standing = Statement(select(_ENTRY.c.id, _ENTRY.c.run_id).where(_IS_LIVE))
_enter = Statement(
    insert(_ENTRY).from_select(
        ["key", "run_id", "job_id", "created_at", "validated_at"],
        select(
            cast_as(bindparam("key"), Text),
            _RUN.c.id,
            _RUN.c.job_id,
            cast_as(bindparam("created_at"), BigInteger),
            cast_as(bindparam("validated_at"), BigInteger),
        ).where(_RUN.c.id == bindparam("of_run")),
    )
)
_renew = Statement(
    update(_ENTRY).where(_ENTRY.c.id == bindparam("of_id")).values(validated_at=bindparam("moment"))
)
_supersede = Statement(
    update(_ENTRY).where(_ENTRY.c.id == bindparam("of_id")).values(superseded_at=bindparam("moment"))
)
# By a key at a time: which entry is live is for the index to say.
_revoke = Statement(
    update(_ENTRY)
    .where(
        _ENTRY.c.key == bindparam("of_key"), _ENTRY.c.superseded_at.is_(None), _ENTRY.c.evicted_at.is_(None)
    )
    .values(revoked_at=bindparam("moment"), withdrawn=bindparam("fact"))
)
_evict = Statement(
    update(_ENTRY)
    .where(
        _ENTRY.c.key == bindparam("of_key"), _ENTRY.c.superseded_at.is_(None), _ENTRY.c.evicted_at.is_(None)
    )
    .values(evicted_at=bindparam("moment"), withdrawn=bindparam("fact"))
)
_diverge = Statement(insert(_DIVERGENCE))


def _taking(insert: Insert) -> ClauseElement:
    new = insert(_RESERVATION).values(
        {name: bindparam(name) for name in ("key", "owner", "run_uid", "reason", "token", "since", "until")}
    )
    told = {name: new.excluded[name] for name in ("owner", "run_uid", "reason", "since", "until")}
    token = engine.larger(_RESERVATION.c.token + literal_column("1"), new.excluded.token)
    deciding: ClauseElement = new.on_conflict_do_update(
        index_elements=["key"],
        set_={**told, "token": token},
        where=(_RESERVATION.c.owner == new.excluded.owner) | (_RESERVATION.c.until <= new.excluded.since),
    ).returning(_RESERVATION.c.token)
    return deciding


def _beating_on(insert: Insert) -> ClauseElement:
    new = insert(_BEAT).values(run_uid=bindparam("run_uid"), until=bindparam("until"))
    told: ClauseElement = new.on_conflict_do_update(
        index_elements=["run_uid"], set_={"until": new.excluded.until}
    )
    return told


def _knowing(insert: Insert) -> ClauseElement:
    row = select(
        _RUN.c.project_id,
        cast_as(bindparam("digest", type_=LargeBinary), LargeBinary),
        cast_as(bindparam("known_at", type_=BigInteger), BigInteger),
    )
    new = insert(_BLOB).from_select(
        ["project_id", "digest", "known_at"], row.where(_RUN.c.id == bindparam("of_run"))
    )
    told: ClauseElement = new.on_conflict_do_update(
        index_elements=["project_id", "digest"], set_={"known_at": new.excluded.known_at}
    )
    return told


# The one statement that decides. A token only grows: past a lost commit it still exceeds the clock then.
_take = Statement(_taking)
_held = Statement(
    select(
        _RESERVATION.c.owner,
        _RESERVATION.c.token,
        _RESERVATION.c.since,
        _RESERVATION.c.until,
        _RESERVATION.c.reason,
        _RESERVATION.c.run_uid,
    ).where(_RESERVATION.c.key == bindparam("key"))
)
_release = Statement(
    update(_RESERVATION)
    .where(_RESERVATION.c.key == bindparam("of_key"), _RESERVATION.c.run_uid == bindparam("of_run"))
    .values(owner="", until=literal_column("0"))
)
_extend = Statement(
    update(_RESERVATION)
    .where(
        _RESERVATION.c.run_uid == bindparam("of_run"),
        _RESERVATION.c.owner != text("''"),
        _RESERVATION.c.until > bindparam("moment"),
    )
    .values(until=bindparam("lasts"))
)
_beating = Statement(
    select(_RUN.c.state, _RUN.c.key, _RUN.c.mode, _RUN.c.presumed).where(_RUN.c.uid == bindparam("uid"))
)
_beat = Statement(_beating_on)
_unbeat = Statement(delete(_BEAT).where(_BEAT.c.run_uid == bindparam("uid")))
_know = Statement(_knowing)
_forget = Statement(
    delete(_BLOB).where(
        _BLOB.c.digest == bindparam("digest"),
        _BLOB.c.project_id
        == select(_RUN.c.project_id).where(_RUN.c.id == bindparam("of_run")).scalar_subquery(),
    )
)
_beat_until = Statement(select(_BEAT.c.until).where(_BEAT.c.run_uid == bindparam("uid")).with_for_update())


class LiveEntry(NamedTuple):
    """The live entry of a key: its row, its Run's row, and what that Run made (`digests`, by role).

    `condemned` is QUARANTINED or TAINTED where one of its outputs is, `is_asking_again` whether the Run that
    asks is recorded already.
    `stored` is what of it is to be in the store, and when each was last seen there; what lies elsewhere is in
    `places`, one for each output. When that was last seen is not remembered.
    """

    id: int
    run_id: int
    entry: cache.CacheEntry
    digests: Mapping[str, digest.Digest]
    stored: Mapping[digest.Digest, int | None]
    trees: frozenset[digest.Digest]
    condemned: cache.Reason | None
    places: tuple[cache.Place, ...]
    is_asking_again: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a key, under which token, and why they compute it."""

    owner: str
    token: int
    since: int
    until: int
    reason: cache.Reason
    run: UUID


def live(tx: Transaction, key: str, asking: UUID | None = None) -> LiveEntry | None:
    """The entry that a look-up of `key` finds, for the Run that asks."""
    rows = tx.all(_live, key=key, asking=b"" if asking is None else asking.bytes)
    if not rows:
        return None
    entry_id, run_id, uid, created_at, validated_at, revoked_at, worst, is_asking_again, clock = rows[0][:9]
    tx.hear(clock)
    entry = cache.CacheEntry(
        key,
        UUID(bytes=uid),
        model.moment(created_at),
        model.moment(validated_at),
        None if revoked_at is None else model.moment(revoked_at),
    )
    digests: dict[str, digest.Digest] = {}
    stored: dict[digest.Digest, int | None] = {}
    trees: list[digest.Digest] = []
    places: list[cache.Place] = []
    for role, raw, known_at, form, location, strength in [row[9:] for row in rows if row[9] is not None]:
        named = digests[role] = digest.Digest.of(raw)
        if location is not None:
            places.append(cache.Place(named, location, model.Strength(strength)))
            continue
        stored[named] = known_at
        if form == model.Form.TREE:
            trees.append(named)
    return LiveEntry(
        *(entry_id, run_id, entry, digests, stored, frozenset(trees)),
        *(taint.condemned(worst), tuple(places), bool(is_asking_again)),
    )


def presence(tx: Transaction, found: LiveEntry | None, call: model.Call) -> cache.Presence:
    """What is known of the entry's outputs: by the caller's own word, and of Blobs by the catalog's memory."""
    if found is None:
        return cache.Presence()
    age = call.presence_age
    fresh_since = float("-inf") if age is None else tx.micros - age.total_seconds() * 1e6
    believed = {
        named: age is None or (known_at is not None and known_at > fresh_since)
        for named, known_at in found.stored.items()
    }
    return cache.presence(believed, found.places, call)


def remember(
    tx: Transaction,
    run_id: int,
    project: str,
    present: Iterable[digest.Digest],
    gone: Iterable[digest.Digest],
) -> None:
    """Keep what somebody of this Run's project just saw of these Blobs."""
    for named in present:
        tx.before_commit((project, named.text), _know, digest=named.raw, known_at=tx.micros, of_run=run_id)
    for named in gone:
        tx.before_commit((project, named.text), _forget, digest=named.raw, of_run=run_id)


def take(
    tx: Transaction, key: str, owner: str, run: UUID, reason: cache.Reason, lasting_micros: int
) -> int | cache.Wait:
    """The fencing token, if the lease is free, lapsed or already the owner's; else who holds it."""
    row = tx.one(
        _take,
        key=key,
        owner=owner,
        run_uid=run.bytes,
        reason=reason.value,
        token=tx.micros,
        since=tx.micros,
        until=tx.micros + lasting_micros,
    )
    if row is not None:
        return row[0]  # type: ignore[no-any-return]
    held = lease(tx, key)
    assert held is not None, "a lease that could not be taken is held"
    return cache.Wait(held.owner, model.moment(held.since), model.moment(held.until))


def waiting(tx: Transaction, key: str, owner: str) -> cache.Wait | None:
    """Who else holds a live lease on `key`, without asking for it."""
    held = lease(tx, key)
    if held is None or held.owner in ("", owner) or held.until <= tx.micros:
        return None
    return cache.Wait(held.owner, model.moment(held.since), model.moment(held.until))


def lease(tx: Transaction, key: str) -> Lease | None:
    """The lease on `key`, live or lapsed."""
    row = tx.one(_held, key=key)
    if row is None or not row[4]:  # a row that was only locked says no reason: nobody ever took it
        return None
    owner, token, since, until, reason, run = row
    return Lease(owner, token, since, until, cache.Reason(reason), UUID(bytes=run))


def release(tx: Transaction, key: str, run: UUID) -> None:
    """Let go of a lease that `run` holds, or not."""
    tx.run(_release, of_key=key, of_run=run.bytes)


def beat(tx: Transaction, run: UUID, lasting_micros: int) -> bool:
    """Extend a Run's life and its lease; False if it should hold a lease and no longer does."""
    row = tx.one(_beating, uid=run.bytes)
    if row is None:
        return True
    state, key, mode, presumed = row
    if state != model.RunState.RUNNING and not presumed:
        return True  # it ended since: nobody listens for it any more
    until = tx.micros + lasting_micros
    if not presumed:
        tx.run(_beat, run_uid=run.bytes, until=until)
    extended = tx.run(_extend, of_run=run.bytes, moment=tx.micros, lasts=until)
    return extended > 0 or key is None or mode not in (model.Mode.REUSE, model.Mode.REFRESH)


def is_alive(tx: Transaction, run: UUID) -> bool:
    """Whether a Run was heard of lately; it cannot be heard of until this transaction ends."""
    row = tx.one(_beat_until, uid=run.bytes)
    return row is not None and row[0] >= tx.micros


def begin_beat(tx: Transaction, run: UUID, lasting_micros: int) -> None:
    """A Run has begun."""
    tx.run(_beat, run_uid=run.bytes, until=tx.micros + lasting_micros)


def end_beat(tx: Transaction, run: UUID) -> None:
    """A Run has ended: nobody listens for it any more."""
    tx.run(_unbeat, uid=run.bytes)


# ── projections ──────────────────────────────────────────────────────────────────────────────────


def put_publication(tx: Transaction, run_id: int, key: str, publication: model.Publication, at: int) -> None:
    """Do to the entries what the publication says."""
    row = tx.one(_standing, key=key)
    if publication.is_divergence:
        cause = publication.why or ""
        tx.run(_diverge, run_id=run_id, entry_run_id=cast("Record", row)[1], key=key, cause=cause, at=at)
    match publication.outcome:
        case model.Outcome.RENEWED:
            tx.run(_renew, of_id=cast("Record", row)[0], moment=at)
        case model.Outcome.ENTERED | model.Outcome.SUPERSEDED:
            if row is not None:
                tx.run(_supersede, of_id=row[0], moment=at)
            tx.run(_enter, key=key, of_run=run_id, created_at=at, validated_at=at)
        case model.Outcome.DIVERGED | model.Outcome.REFUSED | model.Outcome.NONE:
            pass


def withdraw(tx: Transaction, keys: Iterable[str], evicting: bool, fact: int, at: int) -> None:
    """Let the live entries of these keys be looked up no more; or be found revoked."""
    rows: list[dict[str, Value]] = [{"of_key": key, "moment": at, "fact": fact} for key in keys]
    tx.many(_evict if evicting else _revoke, rows)
