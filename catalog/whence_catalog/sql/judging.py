"""What each verb that judges a Version does with one item: reads, asks the core, writes."""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from whence_catalog import facts, judging, model
from whence_catalog.sql import facts as fact_log
from whence_catalog.sql import judgements, projections
from whence_catalog.sql.engine import Transaction

_Claim = TypeVar(
    "_Claim",
    model.QuarantineClaim,
    model.Release,
    model.ApprovalClaim,
    model.HoldClaim,
    model.DeploymentClaim,
)
_Body: TypeAlias = Callable[[_Claim, facts.Redactor], facts.Body]


def _say(tx: Transaction, verb: str, claim: _Claim, body: _Body[_Claim]) -> tuple[int, bool]:
    """The number of the fact that says it, and whether it was said just now."""
    stored = fact_log.find(tx, claim.uid, verb)
    if stored is not None:
        fact_log.reject_other(tx, stored, verb, claim.actor, lambda r: body(claim, r))
        return stored.id, False
    return fact_log.append(tx, verb, claim.uid, claim.actor, lambda r: body(claim, r)), True


def quarantine(tx: Transaction, claim: model.QuarantineClaim) -> model.Quarantine:
    """Declare a Version bad."""
    model.checked_reason(claim.reason)
    fact, is_new = _say(tx, "quarantine", claim, judging.quarantine)
    if is_new:
        projections.quarantine(tx, fact, tx.at, claim.actor, claim)
    return judgements.quarantine(tx, claim.uid)


def release(tx: Transaction, said: model.Release) -> model.Quarantine | model.Hold:
    """End a quarantine or a hold."""
    model.checked_reason(said.reason)
    fact, is_new = _say(tx, "release", said, judging.release)
    if is_new:
        projections.release(tx, fact, tx.at, said.actor, said)
    return judgements.find_ending(tx, said.of)


def approve(tx: Transaction, claim: model.ApprovalClaim) -> model.Approval:
    """Record a decision on a Version."""
    fact, is_new = _say(tx, "approve", claim, judging.approve)
    if is_new:
        projections.approve(tx, fact, tx.at, claim.actor, claim)
    return judgements.approval(tx, claim.uid)


def hold(tx: Transaction, claim: model.HoldClaim) -> model.Hold:
    """Keep a Version."""
    model.checked_reason(claim.reason)
    fact, is_new = _say(tx, "hold", claim, judging.hold)
    if is_new:
        projections.hold(tx, fact, tx.at, claim.actor, claim)
    return judgements.hold(tx, claim.uid)


def deploy(tx: Transaction, claim: model.DeploymentClaim) -> model.Deployment:
    """Let a Version serve at a target, or nothing any more."""
    model.checked_target(claim.target)
    fact, is_new = _say(tx, "deploy", claim, judging.deploy)
    if is_new:
        projections.deploy(tx, fact, tx.at, claim.actor, claim)
    return judgements.deployment(tx, claim.uid, fact)
