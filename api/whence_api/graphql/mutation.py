"""What people change: the root of every mutation. Recording is no part of it: that is what `/v1` is for.

Each field makes one claim, in the name of whoever asks, and has it carried out. What cannot be is a typed error of
the answer; nothing was changed then. A claim with a `uid` of the client's own may be sent again: it is recorded once.
"""

import uuid
from typing import Annotated, TypeAlias

import strawberry

from whence_api.graphql import refusals, relay, said, types, values
from whence_api.graphql.loaders import Info
from whence_api.graphql.refusals import Conflict, Denied, InvalidInput, NotFound
from whence_api.graphql.relay import changing
from whence_catalog import errors, model
from whence_catalog.errors import ErrorKind, WhenceError

_UID = "A UUID of your own: sent again with the same, it is recorded once. Without it, each is one more."
_VERSION = "The Version: its id, or `[project/]kind:name@selector`, such as `model:detector@3`."
_REASON = "Why, in words for people. It can be erased later."
_INPUT = strawberry.argument(description="What is to change.")


# ── what is asked for ────────────────────────────────────────────────────────────────────────────


@strawberry.input(description="Where an alias is to point.")
class SetAliasInput:
    """Where an alias is to point."""

    version: str = strawberry.field(description=_VERSION)
    alias: str = strawberry.field(description="The alias, such as `prod`.")
    expected: int | None = strawberry.field(
        default=None,
        description="The number of the Version that it means now, 0 for none: if it means another, nothing is"
        " changed. Null: whatever it means.",
    )
    reason: str | None = strawberry.field(default=None, description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="What is to serve at a target, in place of what does.")
class DeployInput:
    """What is to serve at a target."""

    version: str = strawberry.field(description=_VERSION)
    target: str = strawberry.field(
        description="Where, such as `eu-west/api`: a name in the Version's project."
    )
    reason: str | None = strawberry.field(default=None, description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="Where nothing is to serve any more.")
class WithdrawInput:
    """Where nothing is to serve any more."""

    artifact: str = strawberry.field(
        description="The Artifact that serves there: its id, or `[project/]kind:name`."
    )
    target: str = strawberry.field(description="Where, such as `eu-west/api`.")
    reason: str | None = strawberry.field(default=None, description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="What is decided on a Version.")
class ApproveInput:
    """What is decided on a Version."""

    version: str = strawberry.field(description=_VERSION)
    decision: model.Decision = strawberry.field(
        default=model.Decision.APPROVED, description="What is decided."
    )
    reason: str | None = strawberry.field(default=None, description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="Which Version is bad, and why.")
class QuarantineInput:
    """Which Version is bad."""

    version: str = strawberry.field(description=_VERSION)
    reason: str = strawberry.field(description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="Which Version is to be kept, and why.")
class HoldInput:
    """Which Version is to be kept."""

    version: str = strawberry.field(description=_VERSION)
    reason: str = strawberry.field(description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="Which Quarantine or hold is to end, and why.")
class ReleaseInput:
    """Which Quarantine or hold is to end."""

    of: strawberry.ID = strawberry.field(description="The uid of the Quarantine or the hold.")
    reason: str = strawberry.field(description=_REASON)
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


@strawberry.input(description="Which labels a Run or a Version is to have, and which it is not.")
class SetLabelsInput:
    """Which labels a Run or a Version is to have."""

    subject: strawberry.ID = strawberry.field(
        description="The Run or the Version: its id; or a Run's uid, or a Version's reference."
    )
    set: list[values.LabelInput] | None = strawberry.field(
        default=None, description="Those that it has from now on, whatever their values were."
    )
    remove: list[str] | None = strawberry.field(
        default=None, description="The names of those that it has no more."
    )
    uid: strawberry.ID | None = strawberry.field(default=None, description=_UID)


# ── what is answered ─────────────────────────────────────────────────────────────────────────────


@strawberry.type(description="All labels that a Run or a Version has now.")
class Labelled:
    """All labels that a Run or a Version has now."""

    id: strawberry.ID = strawberry.field(description="The global id of the Run or the Version.")
    labels: list[values.Label] = strawberry.field(description="Its labels, by name.")


LabelResult: TypeAlias = Annotated[
    Labelled | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("LabelResult", description="All labels that it has now, or why nothing was changed."),
]
AliasResult: TypeAlias = Annotated[
    types.Alias | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("AliasResult", description="What the alias means now, or why nothing was changed."),
]
DeployResult: TypeAlias = Annotated[
    said.Deployment | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("DeployResult", description="The Deployment, or why nothing was changed."),
]
ApprovalResult: TypeAlias = Annotated[
    said.Approval | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("ApprovalResult", description="The decision, or why nothing was changed."),
]
QuarantineResult: TypeAlias = Annotated[
    said.Quarantine | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("QuarantineResult", description="The Quarantine, or why nothing was changed."),
]
HoldResult: TypeAlias = Annotated[
    said.Hold | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("HoldResult", description="The hold, or why nothing was changed."),
]
ReleaseResult: TypeAlias = Annotated[
    said.Quarantine | said.Hold | NotFound | Conflict | InvalidInput | Denied,
    strawberry.union("ReleaseResult", description="What was released, or why nothing was changed."),
]


# ── the root ─────────────────────────────────────────────────────────────────────────────────────


@strawberry.type(
    description="What people change. The fields of one request are carried out one after another, each by itself: one"
    " that is refused leaves the others."
)
class Mutation:
    """The root of every mutation."""

    @changing(
        "Have an alias mean a Version from now on; what it meant is kept. Who says what they `expected` overtakes nobody."
    )
    async def set_alias(self, info: Info, input: Annotated[SetAliasInput, _INPUT]) -> AliasResult:
        """An alias moves."""
        try:
            version = await _version(info, input.version)
            claim = model.AliasMove(
                uid=_uid(input.uid),
                artifact=version.artifact,
                digest=version.digest,
                actor=info.context.actor,
                name=input.alias,
                reason=input.reason,
                expected=input.expected,
            )
            return types.Alias(value=await info.context.write("move_aliases", "moves", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("Say that a Version serves at a target from now on, in place of what did.")
    async def deploy(self, info: Info, input: Annotated[DeployInput, _INPUT]) -> DeployResult:
        """A Version serves."""
        try:
            version = await _version(info, input.version)
            claim = model.DeploymentClaim(
                uid=_uid(input.uid),
                artifact=version.artifact,
                digest=version.digest,
                actor=info.context.actor,
                target=input.target,
                reason=input.reason,
            )
            return said.Deployment(value=await info.context.write("deploy", "claims", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("Say that nothing serves at a target any more; answers the Deployment that ended.")
    async def withdraw(self, info: Info, input: Annotated[WithdrawInput, _INPUT]) -> DeployResult:
        """Nothing serves."""
        try:
            claim = model.DeploymentClaim(
                uid=_uid(input.uid),
                artifact=relay.artifact_of(input.artifact),
                digest=None,
                actor=info.context.actor,
                target=input.target,
                reason=input.reason,
            )
            return said.Deployment(value=await info.context.write("deploy", "claims", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("Record a decision on a Version: that it is approved, or rejected.")
    async def approve(self, info: Info, input: Annotated[ApproveInput, _INPUT]) -> ApprovalResult:
        """A Version is decided on."""
        try:
            version = await _version(info, input.version)
            claim = model.ApprovalClaim(
                uid=_uid(input.uid),
                artifact=version.artifact,
                digest=version.digest,
                actor=info.context.actor,
                decision=input.decision,
                reason=input.reason,
            )
            return said.Approval(value=await info.context.write("approve", "claims", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing(
        "Declare a Version bad. From then on nothing that was made of it is handed out of the cache, or entered into it."
    )
    async def quarantine(self, info: Info, input: Annotated[QuarantineInput, _INPUT]) -> QuarantineResult:
        """A Version is declared bad."""
        try:
            version = await _version(info, input.version)
            claim = model.QuarantineClaim(
                uid=_uid(input.uid),
                artifact=version.artifact,
                digest=version.digest,
                actor=info.context.actor,
                reason=input.reason,
            )
            return said.Quarantine(value=await info.context.write("quarantine", "claims", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("Have a Version kept until it is released, whatever retention says.")
    async def hold(self, info: Info, input: Annotated[HoldInput, _INPUT]) -> HoldResult:
        """A Version is kept."""
        try:
            version = await _version(info, input.version)
            claim = model.HoldClaim(
                uid=_uid(input.uid),
                artifact=version.artifact,
                digest=version.digest,
                actor=info.context.actor,
                reason=input.reason,
            )
            return said.Hold(value=await info.context.write("hold", "claims", claim))
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("End a Quarantine or a hold; others may outlast it.")
    async def release(self, info: Info, input: Annotated[ReleaseInput, _INPUT]) -> ReleaseResult:
        """A Quarantine or a hold ends."""
        try:
            of = _parsed(input.of, "of")
            claim = model.Release(_uid(input.uid), of, info.context.actor, input.reason)
            found = await info.context.write("release", "releases", claim)
            return said.Hold(value=found) if isinstance(found, model.Hold) else said.Quarantine(value=found)
        except WhenceError as error:
            return refusals.of_change(error)

    @changing("Set and remove labels of a Run or a Version.")
    async def label(self, info: Info, input: Annotated[SetLabelsInput, _INPUT]) -> LabelResult:
        """Labels are set and removed."""
        try:
            id, subject = await _labelled(info, relay.subject_of(input.subject))
            claim = model.LabelClaim(
                uid=_uid(input.uid),
                subject=subject,
                actor=info.context.actor,
                set={label.name: label.value for label in input.set or ()},
                remove=frozenset(input.remove or ()),
            )
            found = await info.context.write("label", "claims", claim)
            return Labelled(id=id, labels=values.labels(found))
        except WhenceError as error:
            return refusals.of_change(error)


async def _labelled(info: Info, subject: str) -> tuple[strawberry.ID, str]:
    """The id of a Run or a Version, and its name for ever."""
    if ":" not in subject:
        return relay.id_of(relay.NodeType.RUN, subject), subject
    version = await _version(info, subject)
    return relay.id_of(relay.NodeType.VERSION, version.ref), version.ref


async def _version(info: Info, text: str) -> model.Version:
    return await info.context.loaders.version(relay.reference_of(text))


def _uid(given: str | None) -> uuid.UUID:
    return uuid.uuid4() if given is None else _parsed(given, "uid")


def _parsed(given: str, name: str) -> uuid.UUID:
    try:
        return uuid.UUID(given)
    except ValueError:
        raise errors.InvalidInput(
            f"{name} is {given[:40]!r}; expected a UUID, such as {uuid.UUID(int=0)}", ErrorKind.BAD_REFERENCE
        ) from None
