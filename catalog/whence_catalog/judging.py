"""What facts say that judge: Versions by quarantine, approval, hold and deployment; cache entries by withdrawal.

Writing and reading stand side by side here too; see `facts`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from uuid import UUID

from whence_catalog import digest, facts, model

# Why entries were withdrawn.
REVOKED, EVICTED = "revoked", "evicted"


def _judged(artifact: model.Artifact, named: digest.Digest | None) -> facts.Body:
    raw = None if named is None else named.raw
    return facts.present(project=artifact.project, kind=artifact.kind, name=artifact.name, digest=raw)


def _reason(reason: str | None, redactor: facts.Redactor) -> facts.Body:
    return {} if reason is None else {"reason": redactor.commit("reason", reason)}


def quarantine(claim: model.QuarantineClaim, redactor: facts.Redactor) -> facts.Body:
    """What `quarantine` says."""
    return _judged(claim.artifact, claim.digest) | _reason(claim.reason, redactor)


def read_quarantine(uid: UUID, body: facts.Body) -> model.QuarantineClaim:
    """The claim that a `quarantine` body says; the reason is left out."""
    named = digest.Digest.of(cast("bytes", body["digest"]))
    return model.QuarantineClaim(uid, facts.read_artifact(body), named, model.Actor(""), "")


def release(said: model.Release, redactor: facts.Redactor) -> facts.Body:
    """What `release` says."""
    return {"of": said.of.bytes} | _reason(said.reason, redactor)


def read_release(uid: UUID, body: facts.Body) -> model.Release:
    """The release that a `release` body says; the reason is left out."""
    return model.Release(uid, UUID(bytes=cast("bytes", body["of"])), model.Actor(""), "")


def approve(claim: model.ApprovalClaim, redactor: facts.Redactor) -> facts.Body:
    """What `approve` says."""
    body = _judged(claim.artifact, claim.digest) | _reason(claim.reason, redactor)
    return body | {"decision": claim.decision.value}


def read_approve(uid: UUID, body: facts.Body) -> model.ApprovalClaim:
    """The decision that an `approve` body says; the reason is left out."""
    named = digest.Digest.of(cast("bytes", body["digest"]))
    decision = model.Decision(cast("str", body["decision"]))
    return model.ApprovalClaim(uid, facts.read_artifact(body), named, model.Actor(""), decision)


def hold(claim: model.HoldClaim, redactor: facts.Redactor) -> facts.Body:
    """What `hold` says."""
    return _judged(claim.artifact, claim.digest) | _reason(claim.reason, redactor)


def read_hold(uid: UUID, body: facts.Body) -> model.HoldClaim:
    """The claim that a `hold` body says; the reason is left out."""
    named = digest.Digest.of(cast("bytes", body["digest"]))
    return model.HoldClaim(uid, facts.read_artifact(body), named, model.Actor(""), "")


def deploy(claim: model.DeploymentClaim, redactor: facts.Redactor) -> facts.Body:
    """What `deploy` says; without a digest, that nothing serves there any more."""
    body = _judged(claim.artifact, claim.digest) | _reason(claim.reason, redactor)
    return body | {"target": claim.target}


def read_deploy(uid: UUID, body: facts.Body) -> model.DeploymentClaim:
    """The claim that a `deploy` body says; the reason is left out."""
    named = facts.read_digest(body.get("digest"))
    return model.DeploymentClaim(
        uid, facts.read_artifact(body), named, cast("str", body["target"]), model.Actor("")
    )


class Withdrawal(NamedTuple):
    """What a `withdraw` body says: the live entries of these keys are revoked, or evicted."""

    keys: tuple[str, ...]
    cause: str


def withdraw(
    said: Withdrawal,
    project: str,
    job: str | None,
    limits: Mapping[str, int | None],
    reason: str | None,
    redactor: facts.Redactor,
) -> facts.Body:
    """What `withdraw` says: whose entries went, why, and what was asked for."""
    asked = facts.present(project=project, job=job, limits=facts.present(**limits))
    return facts.present(cause=said.cause, keys=list(said.keys)) | asked | _reason(reason, redactor)


def read_withdrawal(body: facts.Body) -> Withdrawal:
    """The withdrawal that a `withdraw` body says; the reason is left out."""
    keys = tuple(cast("Sequence[str]", body.get("keys", [])))
    return Withdrawal(keys, cast("str", body["cause"]))
