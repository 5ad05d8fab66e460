"""What a writer holds on to before it looks, where writers work side by side.

Whoever decides from what it read must be the only one to change that until its commit. Locks are taken
in one order by everybody, so that no two wait for each other: Runs, names that are about to be made,
Artifacts that are about to get a Version or an alias, places, keys, pins; and within each by number. SQLite has
one writer at a time and needs none.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, func, literal_column, select
from sqlalchemy.sql import ClauseElement

from whence_catalog import model
from whence_catalog.sql import artifacts, engine, named, runs, tables
from whence_catalog.sql.engine import Asked, Statement, Transaction

_PROJECT = tables.PROJECT
_JOB = tables.JOB
_ACTOR = tables.ACTOR
_VERSION = tables.VERSION
_RUN = tables.RUN
_ARTIFACT = tables.ARTIFACT
_RESERVATION = tables.RESERVATION

_lock_runs = Statement(
    select(_RUN.c.id, _RUN.c.key)
    .where(engine.among_bytes(_RUN.c.uid, "uids"))
    .order_by(_RUN.c.id)
    .with_for_update(key_share=True)
)
_lock_artifacts = Statement(
    select(_ARTIFACT.c.id)
    .where(engine.among(_ARTIFACT.c.id, "ids"))
    .order_by(_ARTIFACT.c.id)
    .with_for_update(key_share=True)
)
_made = named.given("made", project=Text(), kind=Text(), name=Text(), digest=Text())
_artifacts_made = _made.join(_PROJECT, _PROJECT.c.name == _made.c.project).join(
    _ARTIFACT,
    (_ARTIFACT.c.project_id == _PROJECT.c.id)
    & (_ARTIFACT.c.kind == _made.c.kind)
    & (_ARTIFACT.c.name == _made.c.name),
)
_called = named.given("called", project=Text(), job=Text(), actor=Text(), authenticated=BigInteger())
_calls_named = (
    _called.join(_PROJECT, _PROJECT.c.name == _called.c.project)
    .join(_JOB, (_JOB.c.project_id == _PROJECT.c.id) & (_JOB.c.name == _called.c.job))
    .join(_ACTOR, (_ACTOR.c.name == _called.c.actor) & (_ACTOR.c.authenticated == _called.c.authenticated))
)
_count = select(func.count())
# The Artifacts that lack these Versions; none at all unless every name is there.
_lock_named = Statement(
    select(_ARTIFACT.c.id)
    .select_from(_artifacts_made)
    .where(
        ~select(_VERSION.c.id)
        .where(
            _VERSION.c.artifact_id == _ARTIFACT.c.id,
            _VERSION.c.digest == func.decode(_made.c.digest, literal_column("'hex'")),
        )
        .exists(),
        _count.select_from(_artifacts_made).correlate(None).scalar_subquery()
        == bindparam("many_made", type_=BigInteger),
        _count.select_from(_calls_named).correlate(None).scalar_subquery()
        == bindparam("many_called", type_=BigInteger),
    )
    .order_by(_ARTIFACT.c.id)
    .with_for_update(key_share=True, of=_ARTIFACT)
)
_lock_key = Statement(
    select(_RESERVATION.c.token).where(_RESERVATION.c.key == bindparam("key")).with_for_update(key_share=True)
)
_given_keys = named.given("keys", key=Text())
_lock_keys = Statement(
    select(_RESERVATION.c.token)
    .join(_given_keys, _given_keys.c.key == _RESERVATION.c.key)
    .order_by(_RESERVATION.c.key)
    .with_for_update(key_share=True, of=_RESERVATION)
)


def _freeing(insert: Callable[..., Any]) -> ClauseElement:
    nobody = {"owner": "", "run_uid": b"", "reason": "", "token": 0, "since": 0, "until": 0}
    free: ClauseElement = insert(_RESERVATION).values(key=bindparam("key"), **nobody).on_conflict_do_nothing()
    return free


_make_free = Statement(_freeing)
_lock_name = Statement(select(func.pg_advisory_xact_lock(bindparam("number"))))
_lock_name_together = Statement(select(func.pg_advisory_xact_lock_shared(bindparam("number"))))
_PINS = "pins"


def hold_runs(tx: Transaction, uids: Iterable[UUID]) -> list[str]:
    """Let nobody else change these Runs; answers their keys."""
    if tx.is_sequencing:
        return []
    rows = tx.all(_lock_runs, uids=sorted({uid.bytes for uid in uids}))
    return [key for _, key in rows if key is not None]


def hold_names(
    tx: Transaction,
    calls: Iterable[tuple[str, str, model.Actor]] = (),
    actors: Iterable[model.Actor] = (),
    made: Sequence[tuple[model.Artifact, bytes | None]] = (),
) -> None:
    """Let nobody else make the names among these that do not exist yet, nor Versions of these Artifacts.

    Args:
        calls: (project, job, who) of Runs that are about to begin.
        actors: who else is named.
        made: (Artifact, digest of a Version that will be there); without a digest its aliases move.
    """
    if tx.is_sequencing:
        return
    wanted = sorted(set(made), key=lambda item: (item[0], item[1] or b""))
    called = sorted(set(calls), key=repr)
    tx.foresee({}, runs.asked_names(called), artifacts.asked_versions(wanted))
    absent = {f"actor {actor}" for actor in set(actors) if runs.find_actor(tx, actor) is None}
    for (project, job, actor), is_there in runs.are_named(tx, called).items():
        if not is_there:
            absent |= {f"project {project}", f"job {project} {job}", f"actor {actor}"}
    found = artifacts.find_versions(tx, wanted)
    for artifact, artifact_id, _ in found:
        if artifact_id is None:
            absent.add(f"artifact {artifact}")
            if artifacts.find_project(tx, artifact.project) is None:
                absent.add(f"project {artifact.project}")
    if absent:
        for number in sorted(map(_number, absent)):
            tx.one(_lock_name, number=number)
        # While we waited somebody may have made them.
        found = artifacts.find_versions(tx, wanted)
    changing = {artifact_id for _, artifact_id, is_there in found if artifact_id is not None and not is_there}
    if changing:
        tx.hold(_lock_artifacts, ids=sorted(changing))


def hold_named(
    tx: Transaction,
    calls: Iterable[tuple[str, str, model.Actor]],
    made: Iterable[tuple[model.Artifact, bytes | None]],
    rows: Mapping[str, int],
    *asked: Asked,
) -> None:
    """As `hold_names`, with the answers to what is `asked` foreseen, and numbers for `rows`.

    Where all that is named is there, as it nearly always is, that is one message.
    """
    if tx.is_sequencing:
        return
    called = sorted(set(calls), key=repr)
    wanted = sorted(set(made), key=lambda item: (item[0], item[1] or b""))
    locking: Mapping[str, int | str] = {
        "made": named.listed(
            (artifact.project, artifact.kind, artifact.name, (raw or b"").hex()) for artifact, raw in wanted
        ),
        "called": named.listed(
            (project, job, actor.name, int(actor.authenticated)) for project, job, actor in called
        ),
        "many_made": len(wanted),
        "many_called": len(called),
    }
    tx.foresee(rows, (_lock_named, [locking]), runs.asked_names(called), *asked)
    # What is there stays there. So whoever locked some has locked all that is to change, before anything was looked up.
    is_held = bool(tx.all(_lock_named, **locking))
    if all(runs.are_named(tx, called).values()) and (is_held or not wanted):
        return
    tx.forget()
    hold_names(tx, called, made=wanted)
    tx.foresee(rows, *asked)


def hold_places(tx: Transaction, claims: Iterable[model.OutputClaim]) -> None:
    """Let nobody else write where these lie: who is the last to write there is then the last in the log too."""
    if tx.is_sequencing:
        return
    for number in sorted(
        {_number(f"place {claim.location}") for claim in claims if claim.location is not None}
    ):
        tx.one(_lock_name, number=number)


def hold_keys(tx: Transaction, keys: Iterable[str], unreserved: Iterable[str] = ()) -> None:
    """Let nobody else take, publish under or release these keys; `unreserved` ones may never have been taken."""
    if tx.is_sequencing:
        return
    bare = set(unreserved)
    for key in sorted({*keys, *bare}):
        if key in bare:
            tx.run(_make_free, key=key)
        tx.one(_lock_key, key=key)


def hold_many_keys(tx: Transaction, keys: Iterable[str]) -> None:
    """As `hold_keys`, in one statement, of any number of them."""
    if not tx.is_sequencing:
        tx.all(_lock_keys, keys=named.listed([key] for key in keys))


def pass_pins(tx: Transaction) -> None:
    """Let nobody evict until this is done: an alias, a hold or a deployment is about to need a Version."""
    if not tx.is_sequencing:
        tx.one(_lock_name_together, number=_number(_PINS))


def hold_pins(tx: Transaction) -> None:
    """Let no alias, hold or deployment need a Version from now on: what is looked up then stays so."""
    if not tx.is_sequencing:
        tx.one(_lock_name, number=_number(_PINS))


def _number(name: str) -> int:
    """A name as the 64 bits that an advisory lock has. Two that meet wait for each other, no more."""
    return int.from_bytes(hashlib.sha256(f"whence {name}".encode()).digest()[:8], signed=True)
