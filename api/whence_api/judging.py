"""What each verb that judges Versions, or tells what was judged, needs of its caller."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast
from uuid import UUID

from whence_api import masks
from whence_api.admission import Admission
from whence_catalog import judging, lineage, model, replies
from whence_catalog.access import EVERY_PROJECT, Grant
from whence_catalog.errors import ErrorKind, InvalidInput, NotFound

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


def label(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Record in the project of each run or version."""
    claims = cast("Sequence[model.LabelClaim]", arguments["claims"])
    named: dict[str, UUID | model.Reference] = {}
    for claim in claims:
        # What names nothing is refused by the catalog, in its own words.
        with contextlib.suppress(InvalidInput):
            named[claim.subject] = judging.labelled(claim.subject)
    if not asked.viewer.may(Grant.RECORD, EVERY_PROJECT):
        asked.know(subject for subject in named.values() if isinstance(subject, UUID))

    def admit(claim: model.LabelClaim) -> model.LabelClaim:
        match named.get(claim.subject):
            case UUID() as run:
                asked.require_run(Grant.RECORD, run)
            case model.Reference(artifact):
                asked.require_artifact(artifact)
                asked.require(Grant.RECORD, artifact.project)
            case None:
                pass
        return asked.signed(claim)

    return asked.each(claims, admit, asked.catalog.label)


def judgements(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact; of a quarantine elsewhere, only that there is one is told."""
    references = cast("Sequence[model.Reference]", arguments["references"])

    def admit(reference: model.Reference) -> model.Reference:
        asked.require_artifact(reference.artifact)
        return reference

    as_of = cast("int | None", arguments.get("as_of"))
    found = asked.each(references, admit, lambda some: asked.catalog.judgements(some, as_of))
    if asked.sees_all:
        return found
    mask = asked.mask(None)
    return [_seen(mask, item) if isinstance(item, replies.Judgements) else item for item in found]


def _seen(mask: masks.Mask, told: replies.Judgements) -> replies.Judgements:
    return dataclasses.replace(told, taints=tuple(mask.taint(taint, masks.new_id) for taint in told.taints))


def reach(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Read in the project of each artifact; what is of other projects is left out, and counted."""
    references = cast("Sequence[model.Reference]", arguments["references"])
    first = cast("int", arguments.get("first", 100))

    def admit(reference: model.Reference) -> model.Reference:
        asked.require_artifact(reference.artifact)
        return reference

    found = asked.each(references, admit, lambda some: asked.catalog.reach(some, first))
    if asked.sees_all:
        return found
    return [_seen_of(asked, item) if isinstance(item, replies.Reach) else item for item in found]


def _seen_of(asked: Admission, told: replies.Reach) -> replies.Reach:
    steps = [step for reached in told.productions for step in reached.path]
    asked.know([step.run for step in steps if step.run] + [entry.run for entry in told.entries])

    def may_see(version: model.Version) -> bool:
        return asked.may_read(version.artifact.project)

    productions = tuple(
        dataclasses.replace(reached, path=tuple(_seen_step(asked, step) for step in reached.path))
        for reached in told.productions
        if may_see(reached.version)
    )
    aliases = tuple(alias for alias in told.aliases if may_see(alias.version))
    deployments = tuple(
        deployment
        for deployment in told.deployments
        if may_see(deployment.version) and (deployment.replaced is None or may_see(deployment.replaced))
    )
    entries = tuple(entry for entry in told.entries if asked.may_read(asked.projects.get(entry.run, "")))
    before = (told.productions, told.aliases, told.deployments, told.entries)
    after = (productions, aliases, deployments, entries)
    masked = sum(map(len, before)) - sum(map(len, after))
    return replies.Reach(told.version, *after, counts=told.counts, masked=masked)


def _seen_step(asked: Admission, step: replies.Step) -> replies.Step:
    is_run_seen = step.run is not None and asked.may_read(asked.projects.get(step.run, ""))
    if asked.may_read(model.Reference.parse(step.ref).artifact.project):
        # Who may read what a Run made is told which Run it was, and no more of it.
        return step if is_run_seen else dataclasses.replace(step, job=lineage.MASKED)
    run, job = (step.run, step.job) if is_run_seen else (None, lineage.MASKED)
    return replies.Step(run, job, lineage.MASKED)


def judged(asked: Admission, arguments: Mapping[str, object]) -> object:
    """Nothing; those of versions that may not be read are absent."""
    found = asked.catalog.judged(cast("Sequence[UUID]", arguments["uids"]))
    return {uid: version for uid, version in found.items() if asked.may_read(version.artifact.project)}
