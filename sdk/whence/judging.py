"""Judging Versions by their references: quarantine, release, approve, hold, deploy; labels, of Runs too."""

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from whence import calls, times
from whence_catalog import model, replies
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

if TYPE_CHECKING:
    from whence.client import Client


def quarantine(opened: "Client", reference: str, reason: str) -> model.Quarantine:
    """Declare the Version that `reference` means bad."""
    version = opened.get(reference).version
    claim = model.QuarantineClaim(calls.new_uid(), version.artifact, version.digest, opened.actor, reason)
    return calls.one(opened.catalog.quarantine([claim]))


def release(opened: "Client", what: str, reason: str) -> model.Quarantine | model.Hold:
    """End a quarantine or hold, by its id, or by the Version of which it is the only one that stands.

    Raises:
        NotFound: none stands.
        InvalidInput: several do: with their ids.
    """
    of = _standing(opened, what) if ":" in what else _uid(what)
    said = model.Release(calls.new_uid(), of, opened.actor, reason)
    return cast("model.Quarantine | model.Hold", calls.one(opened.catalog.release([said])))


def _uid(what: str) -> uuid.UUID:
    try:
        return uuid.UUID(what)
    except ValueError as error:
        raise InvalidInput(
            f"not the id of a quarantine or hold: {what!r}; `whence show` of a version tells those of it",
            ErrorKind.BAD_REFERENCE,
        ) from error


def _standing(opened: "Client", reference: str) -> uuid.UUID:
    told = judgements(opened, reference)
    said: list[model.Quarantine | model.Hold] = [*told.quarantines, *told.holds]
    standing = [found for found in said if found.until is None]
    if not standing:
        raise NotFound(f"{told.version.ref} is neither quarantined nor held", ErrorKind.NO_SUCH_JUDGEMENT)
    if len(standing) > 1:
        shown = ", ".join(f"{type(found).__name__.lower()} {found.uid}" for found in standing)
        raise InvalidInput(f"several stand on {told.version.ref}: {shown}; give the id of one")
    return standing[0].uid


def approve(opened: "Client", reference: str, decision: model.Decision, reason: str | None) -> model.Approval:
    """Record a decision on the Version that `reference` means."""
    version = opened.get(reference).version
    named = (version.artifact, version.digest, opened.actor)
    claim = model.ApprovalClaim(calls.new_uid(), *named, decision, reason)
    return calls.one(opened.catalog.approve([claim]))


def hold(opened: "Client", reference: str, reason: str) -> model.Hold:
    """Have the Version that `reference` means kept."""
    version = opened.get(reference).version
    claim = model.HoldClaim(calls.new_uid(), version.artifact, version.digest, opened.actor, reason)
    return calls.one(opened.catalog.hold([claim]))


def deploy(
    opened: "Client", reference: str, target: str, reason: str | None, since: times.When | None = None
) -> model.Deployment:
    """Say that the Version that `reference` means serves at `target` from now on."""
    version = opened.get(reference).version
    named = (version.artifact, version.digest)
    began = None if since is None else times.beginning(since)
    claim = model.DeploymentClaim(calls.new_uid(), *named, target, opened.actor, reason, began)
    return calls.one(opened.catalog.deploy([claim]))


def withdraw(
    opened: "Client", artifact: str, target: str, reason: str | None, since: times.When | None = None
) -> model.Deployment:
    """Say that the Artifact serves at `target` no more; answers the Deployment that ended."""
    named = opened.named(artifact)
    ended = None if since is None else times.beginning(since)
    claim = model.DeploymentClaim(calls.new_uid(), named, None, target, opened.actor, reason, ended)
    return calls.one(opened.catalog.deploy([claim]))


def label(opened: "Client", what: str, labels: Mapping[str, str], remove: Iterable[str]) -> Mapping[str, str]:
    """Set and remove labels of the Version that `what` means, or of the Run of that id or prefix of one."""
    subject = opened.get(what).ref if ":" in what else str(opened.catalog.run(what).run.uid)
    claim = model.LabelClaim(calls.new_uid(), subject, opened.actor, dict(labels), frozenset(remove))
    return calls.one(opened.catalog.label([claim]))


def judgements(opened: "Client", reference: str, as_of: times.Known | None = None) -> replies.Judgements:
    """What was said of the Version that `reference` means, and what taints it, as far as was known then."""
    named = model.Reference.parse(reference, opened.project)
    return calls.one(opened.catalog.judgements([named], times.position(opened, as_of)))


def reach(opened: "Client", reference: str, first: int = 100) -> replies.Reach:
    """What a quarantine of the Version that `reference` means reaches, or would."""
    return calls.one(opened.catalog.reach([model.Reference.parse(reference, opened.project)], first))
