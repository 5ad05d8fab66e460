"""What is known of one key of the cache, as GraphQL shows it."""

import strawberry

from whence_api.graphql import relay, told, types
from whence_api.graphql.relay import First, described
from whence_catalog import inventory


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
    def job(self) -> types.Job:
        """The Job."""
        return types.Job(project=self.value.project, name=self.value.job)

    @described("What a look-up finds; null for nothing.")
    def entry(self) -> types.CacheEntry | None:
        """What a look-up finds."""
        return None if self.value.entry is None else types.CacheEntry(value=self.value.entry)

    @described("Its entries, the newest first: the first so many.")
    def history(self, first: First = 25) -> list[types.CacheEntry]:
        """The first of them."""
        return [types.CacheEntry(value=entry) for entry in self.value.history[:first]]

    @described("How many entries it had.")
    def history_count(self) -> int:
        """How many."""
        return len(self.value.history) + self.value.more.get("history", 0)

    @described("Where it gave other bytes, the newest first: the first so many.")
    def divergences(self, first: First = 25) -> list[types.Divergence]:
        """The first of them."""
        return [types.Divergence(value=parted) for parted in self.value.divergences[:first]]

    @described("How often it gave other bytes.")
    def divergence_count(self) -> int:
        """How many."""
        return len(self.value.divergences) + self.value.more.get("divergences", 0)
