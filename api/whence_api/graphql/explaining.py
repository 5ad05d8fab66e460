"""Why a Run has its key, as GraphQL shows it."""

from uuid import UUID

import strawberry

from whence_api.graphql import relay
from whence_catalog import cache

strawberry.enum(
    cache.Change, name="Change", description="How a part of a key compares with its namesake in another key."
)


@strawberry.type(description="A part of a key beside its namesake in another.")
class ComponentVerdict:
    """A part of a key beside its namesake."""

    name: str = strawberry.field(description="Its name, such as `code` or `params/lr`.")
    change: cache.Change = strawberry.field(description="How the two compare.")
    before: str | None = strawberry.field(
        description="What it was; null for nothing, or nothing to be shown."
    )
    after: str | None = strawberry.field(description="What it is; null for nothing, or nothing to be shown.")
    made_by: strawberry.ID | None = strawberry.field(
        description="The id of the Run that made the Input that differs."
    )


@strawberry.type(description="Why a Run has the key that it has, beside the nearest earlier key of its job.")
class Explanation:
    """Why a Run has its key."""

    key: str | None = strawberry.field(description="The key; null where it has none.")
    against: strawberry.ID | None = strawberry.field(
        description="The id of the Run whose key it is compared with; null for none."
    )
    components: list[ComponentVerdict] = strawberry.field(description="Every part, by name.")
    note: str | None = strawberry.field(description="What else there is to say.")


def explanation(found: cache.Explanation) -> Explanation:
    """An Explanation, as it is shown."""
    return Explanation(
        key=found.key,
        against=run_id(found.against),
        components=[
            ComponentVerdict(
                name=verdict.name,
                change=verdict.change,
                before=verdict.before,
                after=verdict.after,
                made_by=run_id(verdict.made_by),
            )
            for verdict in found.verdicts
        ],
        note=found.note,
    )


def run_id(uid: UUID | None) -> strawberry.ID | None:
    """The global id of a Run."""
    return None if uid is None else relay.id_of(relay.NodeType.RUN, uid)
