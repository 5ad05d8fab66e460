"""What facts say that judge: Versions by quarantine, approval, hold and deployment; cache entries by withdrawal;
and, of Runs and Versions, by labels.

Writing and reading stand side by side here too; see `facts`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast
from uuid import UUID

from whence_catalog import digest, facts, model
from whence_catalog.errors import ErrorKind, InvalidInput

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
    return body | facts.present(target=claim.target, since=facts.time(claim.since))


def read_deploy(uid: UUID, body: facts.Body) -> model.DeploymentClaim:
    """The claim that a `deploy` body says; the reason is left out."""
    named = facts.read_digest(body.get("digest"))
    return model.DeploymentClaim(
        uid,
        facts.read_artifact(body),
        named,
        cast("str", body["target"]),
        model.Actor(""),
        since=facts.read_time(body.get("since")),
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


def labelled(subject: str) -> UUID | model.Reference:
    """The Run, or the one Version for ever, that the subject of a LabelClaim names.

    Raises:
        InvalidInput: it names neither.
    """
    if ":" in subject:
        reference = model.Reference.parse(subject)
        if reference.number is None and reference.digest is None:
            raise InvalidInput(
                f"{subject} may mean another version tomorrow; label one by its number or its digest",
                ErrorKind.BAD_REFERENCE,
            )
        return reference
    try:
        return UUID(subject)
    except ValueError as error:
        raise InvalidInput(
            f"not what can be labelled: {subject!r}; give a run's id, or a version as in model:detector@3",
            ErrorKind.BAD_REFERENCE,
        ) from error


def refuse_labels(claim: model.LabelClaim) -> None:
    """Nothing, if the claim sets or removes what can be labels.

    Raises:
        InvalidInput: it does not.
    """
    for name, value in claim.set.items():
        model.checked_label(name, value)
    both = sorted(claim.set.keys() & claim.remove)
    if both:
        raise InvalidInput(f"the label {both[0]!r} is set and removed; say one of the two")
    if not claim.set and not claim.remove:
        raise InvalidInput("no label is set or removed; give one")


class Labelled(NamedTuple):
    """Of what a `label` body speaks, and which labels are gone: of a Run, or of a Version by its content.

    Their values are redactable, and not in it.
    """

    subject: UUID | model.Source
    names: frozenset[str]
    removed: frozenset[str]


def label(claim: model.LabelClaim, subject: UUID | model.Source, redactor: facts.Redactor) -> facts.Body:
    """What `label` says of `subject`, which is what the claim's text means."""
    named: facts.Body = (
        {"run": subject.bytes} if isinstance(subject, UUID) else _judged(subject.artifact, subject.digest)
    )
    given: facts.Body = {
        name: redactor.commit(facts.LABELS + name, value) for name, value in sorted(claim.set.items())
    }
    return named | facts.present(labels=given, removed=[*sorted(claim.remove)])


def read_label(body: facts.Body) -> Labelled:
    """What a `label` body says; the values are left out."""
    subject: UUID | model.Source
    if "run" in body:
        subject = UUID(bytes=cast("bytes", body["run"]))
    else:
        named = digest.Digest.of(cast("bytes", body["digest"]))
        subject = model.Source(facts.read_artifact(body), named)
    given = cast("Mapping[str, digest.Framed]", body.get("labels", {}))
    gone = cast("Sequence[str]", body.get("removed", []))
    return Labelled(subject, frozenset(given), frozenset(gone))
