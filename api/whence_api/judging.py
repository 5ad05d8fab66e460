"""What each verb that judges Versions, or tells what was judged, needs of its caller."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast
from uuid import UUID

from whence_api.admission import Admission
from whence_api.masks import Mask
from whence_catalog import catalog, model
from whence_catalog.access import EVERY_PROJECT, Grant
from whence_catalog.errors import ErrorKind, NotFound

_Claim = TypeVar("_Claim", model.QuarantineClaim, model.ApprovalClaim, model.HoldClaim, model.DeploymentClaim)


def _admitted(asked: Admission, grant: Grant, claim: _Claim) -> _Claim:
    asked.require_artifact(claim.artifact)
    asked.require(grant, claim.artifact.project)
    return asked.signed(claim)


def quarantine(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Approve in the project of each version."""
    claims = cast("Sequence[model.QuarantineClaim]", arguments["claims"])
    return asked.each(claims, lambda c: _admitted(asked, Grant.APPROVE, c), asked.catalog.quarantine)


def release(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Approve in the project of each version that is quarantined or held."""
    releases = cast("Sequence[model.Release]", arguments["releases"])
    of_version: Mapping[UUID, model.Version] = {}
    if not asked.viewer.may(Grant.APPROVE, EVERY_PROJECT):
        of_version = asked.catalog.judged([said.of for said in releases])

    def admit(said: model.Release) -> model.Release:
        if asked.viewer.may(Grant.APPROVE, EVERY_PROJECT):
            return asked.signed(said)  # if there is none, the catalog will say so
        version = of_version.get(said.of)
        if version is None or not asked.may_read(version.artifact.project):
            raise NotFound(
                f"no quarantine or hold {said.of}; `whence show` of a version tells those of it",
                ErrorKind.NO_SUCH_JUDGEMENT,
            )
        asked.require(Grant.APPROVE, version.artifact.project)
        return asked.signed(said)

    return asked.each(releases, admit, asked.catalog.release)


def approve(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Approve in the project of each version."""
    claims = cast("Sequence[model.ApprovalClaim]", arguments["claims"])
    return asked.each(claims, lambda c: _admitted(asked, Grant.APPROVE, c), asked.catalog.approve)


def hold(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Approve in the project of each version."""
    claims = cast("Sequence[model.HoldClaim]", arguments["claims"])
    return asked.each(claims, lambda c: _admitted(asked, Grant.APPROVE, c), asked.catalog.hold)


def deploy(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Promote in the project of each version."""
    claims = cast("Sequence[model.DeploymentClaim]", arguments["claims"])
    return asked.each(claims, lambda c: _admitted(asked, Grant.PROMOTE, c), asked.catalog.deploy)


def judgements(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact; of a quarantine elsewhere, only that there is one is told."""
    references = cast("Sequence[model.Reference]", arguments["references"])

    def admit(reference: model.Reference) -> model.Reference:
        asked.require_artifact(reference.artifact)
        return reference

    found = asked.each(references, admit, asked.catalog.judgements)
    if asked.sees_all:
        return found
    mask = asked.mask(None)
    return [_seen(mask, item) if isinstance(item, catalog.Judgements) else item for item in found]


def _seen(mask: Mask, told: catalog.Judgements) -> catalog.Judgements:
    return dataclasses.replace(told, taints=tuple(mask.taint(taint) for taint in told.taints))


def judged(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of versions that may not be read are absent."""
    found = asked.catalog.judged(cast("Sequence[UUID]", arguments["uids"]))
    return {uid: version for uid, version in found.items() if asked.may_read(version.artifact.project)}
