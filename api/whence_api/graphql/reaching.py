"""What a Quarantine of a Version reaches, or would: how each thing is reached, and what hands it on.

Each list is cut where the question says; the counts are of all.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from whence_api.graphql import relay, said, types
from whence_api.graphql.loaders import Info
from whence_api.graphql.relay import First, described
from whence_catalog import cache, lineage, model, replies
from whence_catalog.errors import WhenceError

if TYPE_CHECKING:
    from whence_api.graphql.said import Deployment
    from whence_api.graphql.types import Alias, Run, Version

# Of the modules that lead here and that this leads to, as the things do: looked up when the schema is made.
_Version: TypeAlias = Annotated["Version", strawberry.lazy("whence_api.graphql.types")]
_Run: TypeAlias = Annotated["Run", strawberry.lazy("whence_api.graphql.types")]
_Alias: TypeAlias = Annotated["Alias", strawberry.lazy("whence_api.graphql.types")]
_Deployment: TypeAlias = Annotated["Deployment", strawberry.lazy("whence_api.graphql.said")]


def _unless_masked(told: str) -> str | None:
    return None if told == lineage.MASKED else told


@strawberry.type(description="One production on a way: a Run, and the Version that it made.")
class ReachStep:
    """One production on a way."""

    value: strawberry.Private[replies.Step]

    ref: str | None = relay.reads(
        "The reference of the Version that was made; null where you may not read it.", "ref", _unless_masked
    )
    job: str | None = relay.reads(
        "The name of the Job of the Run; null where you may not read it.", "job", _unless_masked
    )

    @described("The Run; null where you may not read it.")
    async def run(self, info: Info) -> _Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))


@strawberry.type(description="A production that is reached, and a shortest way to it.")
class ReachedProduction:
    """A production that is reached."""

    value: strawberry.Private[replies.Reached]

    @described("The Version that was made.")
    def version(self) -> _Version:
        """The Version."""
        return types.Version(value=self.value.version)

    length: int = relay.reads("How many productions the way has, this one counted.", "path", len)

    @described("The first of them, in the order in which data went; the last of all is this production.")
    def path(self, first: First = 25) -> list[ReachStep]:
        """The first of them."""
        return [ReachStep(value=step) for step in self.value.path[:first]]


@strawberry.type(description="A result of a Run that is reached, which the cache has under its key.")
class ReachedEntry:
    """A cache entry that is reached."""

    value: strawberry.Private[cache.CacheEntry]

    key: str = relay.reads("The key under which it is looked up.", "key")
    created_at: datetime = relay.reads("When it was entered.", "created_at")
    validated_at: datetime = relay.reads("When the same result was last entered.", "validated_at")

    @described("The Run whose result it is; null where you may not read it.")
    async def run(self, info: Info) -> _Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))


@strawberry.type(
    description="What a Quarantine of a Version reaches, or would: counts of all of it, also of what you may not see, and"
    " the first of each."
)
class Reach:
    """What a Quarantine of a Version reaches."""

    value: strawberry.Private[replies.Reach]

    production_count: int = relay.reads(
        "How many productions, those of the Version itself among them.", "counts", lambda c: c["productions"]
    )
    version_count: int = relay.reads(
        "How many Versions they are of.", "counts", lambda counts: counts["versions"]
    )
    run_count: int = relay.reads("How many Runs made them.", "counts", lambda counts: counts["runs"])
    alias_count: int = relay.reads(
        "How many aliases stand on these Versions.", "counts", lambda counts: counts["aliases"]
    )
    deployment_count: int = relay.reads(
        "In how many Deployments they serve now.", "counts", lambda counts: counts["deployments"]
    )
    entry_count: int = relay.reads(
        "How many live cache entries have their Runs' results.", "counts", lambda counts: counts["entries"]
    )
    masked: int = relay.reads("How much of these lists you may not see; it is left out.", "masked")

    @described("The first of the productions, the nearest first.")
    def productions(self) -> list[ReachedProduction]:
        """The first of them."""
        return [ReachedProduction(value=reached) for reached in self.value.productions]

    @described("The first of the aliases.")
    def aliases(self) -> list[_Alias]:
        """The first of them."""
        return [types.Alias(value=alias) for alias in self.value.aliases]

    @described("The first of the Deployments.")
    def deployments(self) -> list[_Deployment]:
        """The first of them."""
        return [said.Deployment(value=deployment) for deployment in self.value.deployments]

    @described("The first of the cache entries.")
    def entries(self) -> list[ReachedEntry]:
        """The first of them."""
        return [ReachedEntry(value=entry) for entry in self.value.entries]


async def find(info: Info, version: model.Reference, first: int) -> Reach:
    """What a Quarantine of that Version reaches; of each kind the first so many.

    Raises:
        WhenceError: there is no such Version, or it may not be read.
    """
    (found,) = await info.context.loaders.ask("reach", references=[version], first=first)
    if isinstance(found, WhenceError):
        raise found
    return Reach(value=found)
