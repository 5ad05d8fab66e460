"""What was true at a time: what an alias meant, and what served."""

from datetime import datetime
from typing import Annotated, TypeAlias

import strawberry

from whence_api.graphql import refusals, relay, said, types, values
from whence_api.graphql.loaders import Info
from whence_api.graphql.refusals import Denied, InvalidInput, NotFound
from whence_api.graphql.relay import After, First, described
from whence_catalog import model, replies
from whence_catalog.errors import WhenceError

AtArgument: TypeAlias = Annotated[
    datetime, strawberry.argument(description="What was true then: a time with its offset from UTC.")
]


@strawberry.type(description="What an alias meant at a time.")
class AliasAt:
    """What an alias meant at a time."""

    alias: types.Alias | None = strawberry.field(
        description="What it meant, since when, who moved it there, why, and what that replaced; null for nothing."
    )


AliasAtResult: TypeAlias = Annotated[
    AliasAt | NotFound | InvalidInput | Denied,
    strawberry.union("AliasAtResult", description="What an alias meant, or why there is no answer."),
]


@strawberry.type
class Moments:
    """The questions about a time, as a part of the root of every query."""

    @described("What an alias meant at a time, who moved it there, why, and what that replaced.")
    async def alias_at(
        self,
        info: Info,
        artifact: Annotated[
            strawberry.ID, strawberry.argument(description="Its id, or `[project/]kind:name`.")
        ],
        alias: Annotated[str, strawberry.argument(description="The alias, such as `prod`.")],
        at: AtArgument,
        as_of: values.AsOfArgument = None,
    ) -> AliasAtResult:
        """What an alias meant."""
        try:
            found: model.Alias | None = await info.context.loaders.ask(
                "alias_at",
                artifact=relay.artifact_of(artifact),
                alias=alias,
                at=model.checked_moment(at),
                as_of=await info.context.position(as_of),
            )
        except WhenceError as error:
            return refusals.of_question(error)
        return AliasAt(alias=None if found is None else types.Alias(value=found))

    @described("What serves, and served, where; the newest first.")
    async def deployments(
        self,
        info: Info,
        projects: Annotated[
            list[str] | None, strawberry.argument(description="In these projects; null or none for any.")
        ] = None,
        target: Annotated[str | None, strawberry.argument(description="At that target.")] = None,
        artifact: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Of that Artifact: its id, or `[project/]kind:name`."),
        ] = None,
        at: Annotated[
            datetime | None,
            strawberry.argument(description="What served then: a time with its offset from UTC."),
        ] = None,
        standing: Annotated[
            bool, strawberry.argument(description="Leave out those that have ended.")
        ] = False,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> relay.Connection[said.Deployment]:
        """A page of Deployments."""
        page: replies.DeploymentPage = await info.context.loaders.ask(
            "deployments",
            projects=frozenset(projects) if projects else None,
            target=target,
            artifact=None if artifact is None else relay.artifact_of(artifact),
            at=None if at is None else model.checked_moment(at),
            as_of=await info.context.position(as_of),
            first=first,
            after=after,
            standing=standing,
        )
        return relay.connection(page, page.items, lambda served: said.Deployment(value=served), after)
