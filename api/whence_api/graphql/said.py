"""What people said of Versions, and what follows from it: quarantines, holds, decisions, where they serve, taints.

What each of them tells of itself stands in `told`.
"""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from whence_api.graphql import lineage as history
from whence_api.graphql import relay, told, types, values
from whence_api.graphql.loaders import Info
from whence_api.graphql.relay import After, First, described
from whence_catalog import lineage as traversal
from whence_catalog import model, replies

if TYPE_CHECKING:
    from whence_api.graphql.types import Run, Version

# Of the module that leads here and that this leads to, as the things do: looked up when the schema is made.
_Version: TypeAlias = Annotated["Version", strawberry.lazy("whence_api.graphql.types")]
_Run: TypeAlias = Annotated["Run", strawberry.lazy("whence_api.graphql.types")]


@strawberry.type(
    description="A Version declared bad over an interval: all its productions, and all that was made of them."
)
class Quarantine(told.QuarantineTold):
    """A Version declared bad over an interval."""

    @described("The Version.")
    def version(self) -> _Version:
        """The Version."""
        return types.Version(value=self.value.version)


@strawberry.type(description="A Version that must be kept, over an interval, whatever retention says.")
class Hold(told.HoldTold):
    """A Version that must be kept."""

    @described("The Version.")
    def version(self) -> _Version:
        """The Version."""
        return types.Version(value=self.value.version)


@strawberry.type(description="Somebody's decision on a Version.")
class Approval(told.ApprovalTold):
    """Somebody's decision on a Version."""

    @described("The Version.")
    def version(self) -> _Version:
        """The Version."""
        return types.Version(value=self.value.version)


@strawberry.type(description="A Version that serves at a target over an interval.")
class Deployment(told.DeploymentTold, relay.Node):
    """A Version that serves at a target."""

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Deployment` and its uid."""
        return relay.id_of(relay.NodeType.DEPLOYMENT, self.value.uid)

    @described("The Version that serves, or served.")
    def version(self) -> _Version:
        """The Version."""
        return types.Version(value=self.value.version)

    @described("The Version that served there until then; null for none.")
    def replaced(self) -> _Version | None:
        """The Version before."""
        return None if self.value.replaced is None else types.Version(value=self.value.replaced)

    @described("What it came from. Of one Deployment at a time: not inside a list.", alone=True)
    async def lineage(
        self,
        info: Info,
        bounds: history.BoundsArgument = None,
        filter: history.FilterArgument = None,
        frontier: history.FrontierArgument = None,
        as_of: values.AsOfArgument = None,
    ) -> history.Lineage:
        """Its lineage."""
        sought = history.Sought(
            [f"deployment/{self.value.uid}"], traversal.Direction.UP, bounds, filter, frontier, as_of
        )
        return await history.find(info, sought)


@strawberry.type(
    description="What makes a production unfit: a Quarantine that stands, of the Version itself or of something that"
    " it was made of."
)
class Taint:
    """What makes a production unfit."""

    value: strawberry.Private[model.Taint]

    @described("The Run whose production it is; null where you may not read it.")
    async def run(self, info: Info) -> _Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))

    @described("The Quarantine; null where it is of a Version that you may not read.")
    def quarantine(self) -> Quarantine | None:
        """The Quarantine."""
        is_masked = self.value.quarantine.version.artifact.project == traversal.MASKED
        return None if is_masked else Quarantine(value=self.value.quarantine)


@strawberry.type(description="What people said of a Version, the newest first, and what taints it now.")
class Judgements:
    """What people said of a Version."""

    value: strawberry.Private[replies.Judgements]
    known: strawberry.Private[int | None] = None

    def _of(self) -> str:
        """Whose lists these are, so that no cursor of one is taken for one of another position."""
        of = self.value.version.ref
        return of if self.known is None else f"{of} as of {self.known}"

    labels: list[values.Label] = relay.reads("The labels that it has now, by name.", "labels", values.labels)

    @described("The Quarantines of it, those that were released among them.")
    def quarantines(self, first: First = 25, after: After = None) -> relay.Connection[Quarantine]:
        """A page of them."""
        whole = relay.Whole("quarantines", self._of(), self.value.quarantines, _uid_of)
        return whole.page(lambda said: Quarantine(value=said), first, after)

    @described("The decisions on it.")
    def approvals(self, first: First = 25, after: After = None) -> relay.Connection[Approval]:
        """A page of them."""
        whole = relay.Whole("approvals", self._of(), self.value.approvals, _uid_of)
        return whole.page(lambda said: Approval(value=said), first, after)

    @described("The holds on it, those that were released among them.")
    def holds(self, first: First = 25, after: After = None) -> relay.Connection[Hold]:
        """A page of them."""
        whole = relay.Whole("holds", self._of(), self.value.holds, _uid_of)
        return whole.page(lambda said: Hold(value=said), first, after)

    @described("Where it serves, and served.")
    def deployments(self, first: First = 25, after: After = None) -> relay.Connection[Deployment]:
        """A page of them."""
        whole = relay.Whole("deployments", self._of(), self.value.deployments, _uid_of)
        return whole.page(lambda said: Deployment(value=said), first, after)

    @described("What taints its productions.")
    def taints(self, first: First = 25, after: After = None) -> relay.Connection[Taint]:
        """A page of them."""
        # A Quarantine that may not be seen has an id of this answer alone: each is known by its place.
        whole = relay.Whole(
            "taints", self._of(), tuple(enumerate(self.value.taints)), lambda item: str(item[0])
        )
        return whole.page(lambda item: Taint(value=item[1]), first, after)


def _uid_of(said: model.Quarantine | model.Approval | model.Hold | model.Deployment) -> str:
    return str(said.uid)
