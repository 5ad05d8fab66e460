"""What the cache holds, where it gave other bytes, and what is known of one key, as GraphQL shows it."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from whence_api.graphql import relay, told, types
from whence_api.graphql.loaders import Info
from whence_api.graphql.relay import First, described
from whence_catalog import inventory, lineage, model, replies

if TYPE_CHECKING:
    from whence_api.graphql.types import Job, Run, Version

# Of the module that leads here and that this leads to, as the things do: looked up when the schema is made.
_Version: TypeAlias = Annotated["Version", strawberry.lazy("whence_api.graphql.types")]
_Run: TypeAlias = Annotated["Run", strawberry.lazy("whence_api.graphql.types")]
_Job: TypeAlias = Annotated["Job", strawberry.lazy("whence_api.graphql.types")]

EntryStates: TypeAlias = Annotated[
    list[inventory.EntryState] | None,
    strawberry.argument(description="That are in one of these states by now; null or none for any."),
]


@strawberry.type(description="A result that the cache hands out for a key, with what became of it.")
class CacheEntry(told.CacheEntryTold):
    """A result that the cache hands out."""

    @described("The Job whose result it is.")
    def job(self) -> _Job:
        """The Job."""
        return types.Job(project=self.value.project, name=self.value.job)

    @described("The Run whose result it is; null where you may not read it.")
    async def run(self, info: Info) -> _Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))


@strawberry.type(description="An Output that two Runs of one key made differently.")
class OutputDifference:
    """An Output that two Runs made differently."""

    value: strawberry.Private[inventory.Difference]

    role: str = relay.reads("The role of the Output.", "role")

    @described("What the entry had; null for none, or where you may not read it.")
    def before(self) -> _Version | None:
        """What the entry had."""
        return _seen(self.value.before)

    @described("What came out the other time; null for none, or where you may not read it.")
    def after(self) -> _Version | None:
        """What came out."""
        return _seen(self.value.after)


def _seen(version: model.Version | None) -> _Version | None:
    if version is None or version.artifact.project == lineage.MASKED:
        return None
    return types.Version(value=version)


@strawberry.type(description="The same key gave other bytes.")
class Divergence(told.DivergenceTold):
    """The same key gave other bytes."""

    @described("The Job.")
    def job(self) -> _Job:
        """The Job."""
        return types.Job(project=self.value.project, name=self.value.job)

    @described("The Run that made other bytes; null where you may not read it.")
    async def run(self, info: Info) -> _Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))

    @described("The Run whose result the cache had then; null where you may not read it.")
    async def against(self, info: Info) -> _Run | None:
        """The Run of the entry."""
        return types.run_if_any(await info.context.loaders.run(self.value.against))

    @described("What they made differently: the first so many.")
    def differences(self, first: First = 25) -> list[OutputDifference]:
        """The first of them."""
        return [OutputDifference(value=parted) for parted in self.value.differences[:first]]

    @described("How many Outputs they made differently.")
    def difference_count(self) -> int:
        """How many."""
        return len(self.value.differences)


@strawberry.type(
    description="All that is known of one key: of long lists the newest, and how many more there are."
)
class KeyRecord:
    """All that is known of one key."""

    value: strawberry.Private[inventory.KeyRecord]

    key: str = relay.reads("The key.", "key")
    holder: told.Holder | None = relay.reads(
        "Who computes it now; null for nobody.", "holder", lambda holder: told.Holder(value=holder)
    )

    @described("The Job.")
    def job(self) -> _Job:
        """The Job."""
        return types.Job(project=self.value.project, name=self.value.job)

    @described("What a look-up finds; null for nothing.")
    def entry(self) -> CacheEntry | None:
        """What a look-up finds."""
        return None if self.value.entry is None else CacheEntry(value=self.value.entry)

    @described("Its entries, the newest first: the first so many.")
    def history(self, first: First = 25) -> list[CacheEntry]:
        """The first of them."""
        return [CacheEntry(value=entry) for entry in self.value.history[:first]]

    @described("How many entries it had.")
    def history_count(self) -> int:
        """How many."""
        return len(self.value.history) + self.value.more.get("history", 0)

    @described("Where it gave other bytes, the newest first: the first so many.")
    def divergences(self, first: First = 25) -> list[Divergence]:
        """The first of them."""
        return [Divergence(value=parted) for parted in self.value.divergences[:first]]

    @described("How often it gave other bytes.")
    def divergence_count(self) -> int:
        """How many."""
        return len(self.value.divergences) + self.value.more.get("divergences", 0)


async def cache_entries(info: Info, *, after: str | None, **asked: object) -> relay.Connection[CacheEntry]:
    """A page of cache entries."""
    page: replies.EntryPage = await info.context.loaders.ask("cache_entries", after=after, **asked)
    return relay.connection(page, page.items, lambda entry: CacheEntry(value=entry), after)


async def divergences(info: Info, *, after: str | None, **asked: object) -> relay.Connection[Divergence]:
    """A page of Divergences."""
    page: replies.DivergencePage = await info.context.loaders.ask("divergences", after=after, **asked)
    return relay.connection(page, page.items, lambda parted: Divergence(value=parted), after)
