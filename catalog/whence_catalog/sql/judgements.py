"""What people said of Versions: quarantines, holds, approvals and deployments, with who, when and why."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Insert, Select, Table, bindparam, insert, select, update

from whence_catalog import intervals, model, replies
from whence_catalog.errors import Conflict, ErrorKind, NotFound
from whence_catalog.sql import artifacts, engine, labels, runs, tables, taint
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql.engine import Given, Record, Statement, Transaction, Value

_QUARANTINE = tables.QUARANTINE
_TAINT = tables.TAINT
_HOLD = tables.HOLD
_APPROVAL = tables.APPROVAL
_DEPLOYMENT = tables.DEPLOYMENT
_VERSION = tables.VERSION
_ARTIFACT = tables.ARTIFACT
_PROJECT = tables.PROJECT
_RUN = tables.RUN
_ACTOR = tables.ACTOR
_ENDER = _ACTOR.alias("ender")

_SAID = ("uid", "fact", "actor_id", "version_id")


def _put(table: Table, *more: str) -> Insert:
    artifact = select(_VERSION.c.artifact_id).where(_VERSION.c.id == bindparam("version_id"))
    values: dict[str, Any] = {name: bindparam(name) for name in (*_SAID, *more)}
    return insert(table).values(**values, artifact_id=artifact.scalar_subquery())


_put_quarantine = Statement(_put(_QUARANTINE, "since").returning(_QUARANTINE.c.id))
_put_hold = Statement(_put(_HOLD, "since"))
_put_approval = Statement(_put(_APPROVAL, "at", "decision"))
_put_deployment = Statement(_put(_DEPLOYMENT, "since", "project_id", "target", "replaced_id"))


def _ending(table: Table) -> Statement:
    return Statement(
        update(table)
        .where(table.c.uid == bindparam("of_uid"), table.c.until.is_(None))
        .values(until=bindparam("ended"), end_fact=bindparam("by_fact"), end_actor_id=bindparam("by_actor"))
        .returning(table.c.id)
    )


_end_quarantine = _ending(_QUARANTINE)
_end_hold = _ending(_HOLD)
_end_deployment = _ending(_DEPLOYMENT)
_newest_at = Statement(
    select(
        _DEPLOYMENT.c.uid,
        _DEPLOYMENT.c.version_id,
        _VERSION.c.artifact_id,
        _DEPLOYMENT.c.since,
        _DEPLOYMENT.c.until,
    )
    .join(_VERSION, _VERSION.c.id == _DEPLOYMENT.c.version_id)
    .where(_DEPLOYMENT.c.project_id == bindparam("project_id"), _DEPLOYMENT.c.target == bindparam("target"))
    # Who deploys to one project takes turns: rows come in the order of facts.
    .order_by(_DEPLOYMENT.c.id.desc())
    .limit(1)
)


def _select_intervals(table: Table) -> Select[tuple[object, ...]]:
    """Rows that `_interval_of` reads, the newest first."""
    return (
        select(
            table.c.id,
            table.c.uid,
            table.c.version_id,
            table.c.since,
            table.c.until,
            table.c.fact,
            _ACTOR.c.name,
            _ACTOR.c.authenticated,
            table.c.end_fact,
            _ENDER.c.name,
            _ENDER.c.authenticated,
            engine.place(table.c.fact),
            engine.place(table.c.end_fact),
        )
        .join(_ACTOR, _ACTOR.c.id == table.c.actor_id)
        .outerjoin(_ENDER, _ENDER.c.id == table.c.end_actor_id)
        .order_by(engine.place(table.c.fact).desc())
    )


_quarantines = _select_intervals(_QUARANTINE)
_quarantines_of = Statement(_quarantines.where(_QUARANTINE.c.version_id == bindparam("version_id")))
_quarantines_by_id = Statement(_quarantines.where(engine.among(_QUARANTINE.c.id, "ids")))
_quarantine_named = Statement(_quarantines.where(_QUARANTINE.c.uid == bindparam("uid")))
_holds = _select_intervals(_HOLD)
_holds_by_id = Statement(_holds.where(engine.among(_HOLD.c.id, "ids")))
_holds_of = Statement(_holds.where(_HOLD.c.version_id == bindparam("version_id")))
_hold_named = Statement(_holds.where(_HOLD.c.uid == bindparam("uid")))
_deployments = _select_intervals(_DEPLOYMENT).add_columns(_DEPLOYMENT.c.target, _DEPLOYMENT.c.replaced_id)
_deployments_of = Statement(_deployments.where(_DEPLOYMENT.c.version_id == bindparam("version_id")))
_serving_of = Statement(
    _deployments.where(engine.among(_DEPLOYMENT.c.version_id, "ids"), _DEPLOYMENT.c.until.is_(None))
)
_deployments_by_id = Statement(_deployments.where(engine.among(_DEPLOYMENT.c.id, "ids")))
_deployment_named = Statement(_deployments.where(_DEPLOYMENT.c.uid == bindparam("uid")))
_deployment_ended_by = Statement(_deployments.where(_DEPLOYMENT.c.end_fact == bindparam("fact")))
_approvals = (
    select(
        _APPROVAL.c.uid,
        _APPROVAL.c.version_id,
        _APPROVAL.c.at,
        _APPROVAL.c.fact,
        _ACTOR.c.name,
        _ACTOR.c.authenticated,
        _APPROVAL.c.decision,
        engine.place(_APPROVAL.c.fact),
        _APPROVAL.c.id,
    )
    .join(_ACTOR, _ACTOR.c.id == _APPROVAL.c.actor_id)
    .order_by(engine.place(_APPROVAL.c.fact).desc())
)
_approvals_by_id = Statement(_approvals.where(engine.among(_APPROVAL.c.id, "ids")))
_approvals_of = Statement(_approvals.where(_APPROVAL.c.version_id == bindparam("version_id")))
_approval_named = Statement(_approvals.where(_APPROVAL.c.uid == bindparam("uid")))
_taints_of = Statement(
    select(_RUN.c.uid, _TAINT.c.version_id, _TAINT.c.quarantine_id)
    .join(_RUN, _RUN.c.id == _TAINT.c.run_id)
    .where(_TAINT.c.version_id == bindparam("version_id"))
    .order_by(_TAINT.c.run_id, _TAINT.c.quarantine_id)
)
_uids_of = Statement(select(_RUN.c.id, _RUN.c.uid).where(engine.among(_RUN.c.id, "ids")))
_versions = Statement(
    select(*artifacts.VERSION_COLUMNS, _VERSION.c.id)
    .select_from(_VERSION)
    .join(_ARTIFACT, _ARTIFACT.c.id == _VERSION.c.artifact_id)
    .join(_PROJECT, _PROJECT.c.id == _ARTIFACT.c.project_id)
    .where(engine.among(_VERSION.c.id, "ids"))
)
_judged = Statement(
    select(_QUARANTINE.c.uid, _QUARANTINE.c.version_id)
    .where(engine.among_bytes(_QUARANTINE.c.uid, "uids"))
    .union_all(
        select(_HOLD.c.uid, _HOLD.c.version_id).where(engine.among_bytes(_HOLD.c.uid, "uids")),
        select(_DEPLOYMENT.c.uid, _DEPLOYMENT.c.version_id).where(
            engine.among_bytes(_DEPLOYMENT.c.uid, "uids")
        ),
    )
)


class Said(NamedTuple):
    """By which fact something was said, when, and by whom."""

    fact: int
    at: datetime
    actor: model.Actor


# ── writing (projections: only what a fact says) ─────────────────────────────────────────────────


def put_quarantine(tx: Transaction, uid: UUID, version_id: int, said: Said) -> int:
    """A quarantine begins; answers its row."""
    row = tx.one(_put_quarantine, **_begun(tx, uid, version_id, said), since=model.microseconds(said.at))
    return cast("Record", row)[0]  # type: ignore[no-any-return]


def put_hold(tx: Transaction, uid: UUID, version_id: int, said: Said) -> None:
    """A hold begins."""
    tx.run(_put_hold, **_begun(tx, uid, version_id, said), since=model.microseconds(said.at))


def put_approval(tx: Transaction, claim: model.ApprovalClaim, version_id: int, said: Said) -> None:
    """A decision on a Version."""
    given = _begun(tx, claim.uid, version_id, said)
    tx.run(_put_approval, **given, at=model.microseconds(said.at), decision=claim.decision.value)


def _begun(tx: Transaction, uid: UUID, version_id: int, said: Said) -> dict[str, Value]:
    actor_id = runs.actor_id(tx, said.actor)
    return {"uid": uid.bytes, "fact": said.fact, "actor_id": actor_id, "version_id": version_id}


def _ended(tx: Transaction, statement: Statement, uid: bytes, said: Said) -> int | None:
    row = tx.one(
        statement,
        of_uid=uid,
        ended=model.microseconds(said.at),
        by_fact=said.fact,
        by_actor=runs.actor_id(tx, said.actor),
    )
    return None if row is None else row[0]


def end(tx: Transaction, of: UUID, said: Said) -> int | None:
    """A quarantine or a hold ends; answers the row of the quarantine, if it is one.

    Raises:
        NotFound: there is neither of that id.
        Conflict: it ended before.
    """
    found = find_ending(tx, of)
    if found.until is not None:
        raise Conflict(
            f"{of} was released already, on {found.until:%Y-%m-%d} by {_name(found.released_by)}",
            ErrorKind.WRONG_STATE,
        )
    if isinstance(found, model.Hold):
        _ended(tx, _end_hold, of.bytes, said)
        return None
    return _ended(tx, _end_quarantine, of.bytes, said)


def _name(actor: model.Actor | None) -> str:
    return "nobody known" if actor is None else actor.name


def put_deployment(tx: Transaction, claim: model.DeploymentClaim, said: Said) -> None:
    """What serves at a target ends; what is claimed begins, if anything is.

    Raises:
        NotFound: the Artifact has no such Version.
        Conflict: nothing is to serve there any more, and nothing of that Artifact does; or something changed
            there after it is said to begin.
        InvalidInput: it is said to begin later than it is said.
    """
    project_id = artifacts.project_id(tx, claim.artifact.project)
    version_id = None if claim.digest is None else artifacts.known(tx, claim.artifact, claim.digest)
    newest = tx.one(_newest_at, project_id=project_id, target=claim.target)
    standing = None if newest is None or newest[4] is not None else newest
    if version_id is None and (standing is None or standing[2] != artifacts.find(tx, claim.artifact)):
        raise Conflict(f"no version of {claim.artifact} serves at {claim.target!r}", ErrorKind.WRONG_STATE)
    before = None if newest is None else model.moment(newest[3] if newest[4] is None else newest[4])
    said = said._replace(at=intervals.begin(claim.since, said.at, before))
    if standing is not None:
        _ended(tx, _end_deployment, standing[0], said)
    if version_id is None:
        return
    tx.run(
        _put_deployment,
        **_begun(tx, claim.uid, version_id, said),
        since=model.microseconds(said.at),
        project_id=project_id,
        target=claim.target,
        replaced_id=None if standing is None else standing[1],
    )


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def versions(tx: Transaction, ids: Iterable[int]) -> Mapping[int, model.Version]:
    """These Versions, by their rows."""
    rows = tx.all(_versions, ids=sorted(set(ids)))
    return {row[9]: artifacts.version_of(row) for row in rows}


def _as_known(rows: Sequence[Record], up_to: int | None) -> Sequence[Record]:
    """These rows of `_select_intervals` as they were known at a position: not ended by what came after."""
    if up_to is None:
        return rows
    return [
        row
        if row[12] is None or row[12] <= up_to
        else (*row[:4], None, *row[5:8], None, None, None, *row[11:])
        for row in rows
        if row[11] <= up_to
    ]


class _Interval(NamedTuple):
    uid: UUID
    version: model.Version
    since: datetime
    until: datetime | None
    actor: model.Actor
    reason: str | None
    ended_by: model.Actor | None
    ended_because: str | None


def _interval_of(tx: Transaction, row: Record, named: Mapping[int, model.Version]) -> _Interval:
    _, uid, version_id, since, until, fact, actor, checked, end_fact, ender, ender_checked = row[:11]
    return _Interval(
        UUID(bytes=uid),
        named[version_id],
        model.moment(since),
        None if until is None else model.moment(until),
        model.Actor(actor, bool(checked)),
        fact_log.opened(tx, fact).get("reason"),
        None if ender is None else model.Actor(ender, bool(ender_checked)),
        fact_log.opened(tx, end_fact).get("reason"),
    )


def _quarantines_in(tx: Transaction, rows: Sequence[Record]) -> dict[int, model.Quarantine]:
    named = versions(tx, (row[2] for row in rows))
    return {row[0]: model.Quarantine(*_interval_of(tx, row, named)) for row in rows}


def _holds_in(tx: Transaction, rows: Sequence[Record]) -> tuple[model.Hold, ...]:
    named = versions(tx, (row[2] for row in rows))
    return tuple(model.Hold(*_interval_of(tx, row, named)) for row in rows)


def _deployments_in(tx: Transaction, rows: Sequence[Record]) -> tuple[model.Deployment, ...]:
    named = versions(tx, (version for row in rows for version in (row[2], row[14]) if version is not None))
    found = []
    for row in rows:
        said = _interval_of(tx, row, named)
        found.append(
            model.Deployment(
                uid=said.uid,
                version=said.version,
                target=row[13],
                since=said.since,
                until=said.until,
                actor=said.actor,
                reason=said.reason,
                replaced=None if row[14] is None else named[row[14]],
                ended_by=said.ended_by,
                ended_because=said.ended_because,
            )
        )
    return tuple(found)


def _approvals_in(tx: Transaction, rows: Sequence[Record]) -> tuple[model.Approval, ...]:
    named = versions(tx, (row[1] for row in rows))
    return tuple(
        model.Approval(
            UUID(bytes=uid),
            named[version_id],
            model.moment(at),
            model.Actor(actor, bool(checked)),
            model.Decision(decision),
            fact_log.opened(tx, fact).get("reason"),
        )
        for uid, version_id, at, fact, actor, checked, decision, *_ in rows
    )


def quarantine(tx: Transaction, uid: UUID) -> model.Quarantine:
    """The quarantine of that id, which is there."""
    (found,) = _quarantines_in(tx, tx.all(_quarantine_named, uid=uid.bytes)).values()
    return found


def hold(tx: Transaction, uid: UUID) -> model.Hold:
    """The hold of that id, which is there."""
    (found,) = _holds_in(tx, tx.all(_hold_named, uid=uid.bytes))
    return found


def approval(tx: Transaction, uid: UUID) -> model.Approval:
    """The decision of that id, which is there."""
    (found,) = _approvals_in(tx, tx.all(_approval_named, uid=uid.bytes))
    return found


def deployment(tx: Transaction, uid: UUID, fact: int) -> model.Deployment:
    """The deployment of that id; else the one that the fact ended."""
    rows = tx.all(_deployment_named, uid=uid.bytes) or tx.all(_deployment_ended_by, fact=fact)
    (found,) = _deployments_in(tx, rows)
    return found


def find_ending(tx: Transaction, of: UUID) -> model.Quarantine | model.Hold:
    """The quarantine or hold that a release names.

    Raises:
        NotFound: there is neither of that id.
    """
    quarantines = tx.all(_quarantine_named, uid=of.bytes)
    if quarantines:
        return next(iter(_quarantines_in(tx, quarantines).values()))
    holds = _holds_in(tx, tx.all(_hold_named, uid=of.bytes))
    if not holds:
        raise NotFound(
            f"no quarantine or hold {of}; `whence show` of a version tells those of it",
            ErrorKind.NO_SUCH_JUDGEMENT,
        )
    return holds[0]


def of_version(tx: Transaction, version_id: int, as_of: int | None = None) -> replies.Judgements:
    """All that was said of a Version, and what taints its productions; or did, as far as was known at a position."""
    marks = (
        [(uid, which) for uid, _, which in tx.all(_taints_of, version_id=version_id)]
        if as_of is None
        else _marks_at(tx, version_id, as_of)
    )

    def told(statement: Statement, **of: Given) -> Sequence[Record]:
        return _as_known(tx.all(statement, **of), as_of)

    by_id = _quarantines_in(tx, told(_quarantines_by_id, ids=sorted({which for _, which in marks})))
    version = versions(tx, [version_id])[version_id]
    approvals = tx.all(_approvals_of, version_id=version_id)
    return replies.Judgements(
        version=version,
        quarantines=tuple(_quarantines_in(tx, told(_quarantines_of, version_id=version_id)).values()),
        approvals=_approvals_in(tx, [row for row in approvals if as_of is None or row[7] <= as_of]),
        holds=_holds_in(tx, told(_holds_of, version_id=version_id)),
        deployments=_deployments_in(tx, told(_deployments_of, version_id=version_id)),
        taints=tuple(model.Taint(UUID(bytes=uid), version, by_id[which]) for uid, which in marks),
        labels=labels.of_versions(tx, [version_id], as_of)[version_id],
    )


def _marks_at(tx: Transaction, version_id: int, as_of: int) -> list[tuple[bytes, int]]:
    marks = taint.marks_at(tx, version_id, as_of)
    uids = {row[0]: row[1] for row in tx.all(_uids_of, ids=sorted({run for run, _ in marks}))}
    return [(uids[run], quarantine) for run, quarantine in marks]


def quarantines_with_ids(tx: Transaction, ids: Iterable[int]) -> dict[int, model.Quarantine]:
    """The quarantines in these rows, each by its own."""
    return _quarantines_in(tx, tx.all(_quarantines_by_id, ids=sorted(set(ids))))


def holds_with_ids(tx: Transaction, ids: Iterable[int]) -> dict[int, model.Hold]:
    """The holds in these rows, each by its own."""
    rows = tx.all(_holds_by_id, ids=sorted(set(ids)))
    return {row[0]: hold for row, hold in zip(rows, _holds_in(tx, rows), strict=True)}


def approvals_with_ids(tx: Transaction, ids: Iterable[int]) -> dict[int, model.Approval]:
    """The decisions in these rows, each by its own."""
    rows = tx.all(_approvals_by_id, ids=sorted(set(ids)))
    return {row[8]: approval for row, approval in zip(rows, _approvals_in(tx, rows), strict=True)}


def deployments_with_ids(
    tx: Transaction, ids: Iterable[int], up_to: int | None = None
) -> dict[int, model.Deployment]:
    """The deployments in these rows, each by its own; or as they were known at a position."""
    rows = _as_known(tx.all(_deployments_by_id, ids=sorted(set(ids))), up_to)
    return {row[0]: found for row, found in zip(rows, _deployments_in(tx, rows), strict=True)}


def serving(tx: Transaction, version_ids: Sequence[int]) -> tuple[model.Deployment, ...]:
    """The deployments of these Versions that stand."""
    return _deployments_in(tx, tx.all(_serving_of, ids=list(version_ids)))


def judged(tx: Transaction, uids: Sequence[UUID]) -> dict[UUID, model.Version]:
    """The Version that each of these quarantines, holds and deployments is of."""
    rows = tx.all(_judged, uids=[uid.bytes for uid in uids])
    named = versions(tx, (version_id for _, version_id in rows))
    return {UUID(bytes=uid): named[version_id] for uid, version_id in rows}
