"""What a client is told as it is recorded: each event with its position in the log, behind which it can go on."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import strawberry
from graphql import GraphQLError

from whence_api import feed
from whence_api.graphql import columns, grown, relay, rows, values
from whence_api.graphql import lineage as history
from whence_api.graphql.loaders import Info
from whence_api.graphql.types import Artifact, Run, Version
from whence_catalog import changes, digest, model
from whence_catalog.access import Grant, Viewer

F = TypeVar("F", bound=Callable[..., Any])

# How long somebody who was let in is taken to be, while events come one after another.
_LET_IN_SECONDS = 1.0

After: TypeAlias = Annotated[
    values.BigInt | None,
    strawberry.argument(
        description="Go on behind this position: with that of the last event, none is lost and none is repeated, on"
        " any server of this catalog. From now on without it."
    ),
]
ArtifactArgument: TypeAlias = Annotated[
    str | None,
    strawberry.argument(description="Of this Artifact, by its global id or `kind:name`; else of any."),
]
ProjectsArgument: TypeAlias = Annotated[
    list[str] | None, strawberry.argument(description="Of these projects; null or none for any.")
]


@strawberry.type(description="That something was recorded.")
class Event:
    """That something was recorded."""

    position: values.BigInt = strawberry.field(
        description="Its position in the log; give that of the last event as `after` to go on behind it."
    )
    at: datetime = strawberry.field(description="When it was recorded.")


@strawberry.type(description="That a Run began, went on, or ended.")
class RunEvent(Event):
    """That a Run began, went on, or ended."""

    verb: str = strawberry.field(
        description="What was recorded: `start`, `reuse`, `finish`, `record`, `presume`, `add`, `log` or `label`."
    )
    state: model.RunState | None = strawberry.field(
        description="The state that the Run came to by it; null where it stayed in its own."
    )
    run: Run = strawberry.field(description="The Run, as it is by now.")


@strawberry.type(description="That a Version was made: for the first time, or again.")
class VersionEvent(Event):
    """That a Version was made."""

    role: str = strawberry.field(description="The role in which its Run made it.")
    version: Version = strawberry.field(description="The Version.")
    run: Run | None = strawberry.field(description="The Run that made it; null if you may not see it.")


@strawberry.type(description="That an alias was moved to a Version.")
class AliasEvent(Event):
    """That an alias was moved."""

    alias: str = strawberry.field(description="The name of the alias.")
    artifact: Artifact = strawberry.field(description="The Artifact that it is a name in.")
    version: Version = strawberry.field(description="The Version that it means from then on.")
    actor: values.Actor | None = strawberry.field(description="Who moved it.")


@strawberry.type(description="That a Version was quarantined, or released.")
class QuarantineEvent(Event):
    """That a Version was quarantined, or released."""

    released: bool = strawberry.field(description="Whether it was released by it.")
    quarantine: strawberry.ID = strawberry.field(description="The uid of the Quarantine.")
    version: Version = strawberry.field(description="The Version.")
    actor: values.Actor | None = strawberry.field(description="Who said so.")


@strawberry.type(description="That a target serves another Version from then on, or none.")
class DeploymentEvent(Event):
    """That a target serves another Version, or none."""

    target: str = strawberry.field(description="The target.")
    artifact: Artifact = strawberry.field(description="The Artifact whose Version serves there, or did.")
    version: Version | None = strawberry.field(description="The Version; null where none serves any more.")
    actor: values.Actor | None = strawberry.field(description="Who said so.")


@strawberry.type(
    description="What came to a lineage: each node and each edge is told once. What you may not see is left out."
)
class LineageDelta(Event):
    """What came to a lineage."""

    root: strawberry.ID = strawberry.field(description="The id of the root.")
    nodes: list[history.LineageNode] = strawberry.field(description="The nodes that came to it.")
    edges: list[history.LineageEdge] = strawberry.field(
        description="The edges that came to it, between these nodes and those that it had."
    )
    complete: bool = strawberry.field(
        description="Whether the lineage was looked at whole; else it has more nodes than are looked at, and what"
        " comes beyond them is not told."
    )


def _subscribed(text: str) -> Callable[[F], F]:
    """A subscription that a method answers. Typed, as `strawberry.subscription` is not."""
    return cast("Callable[[F], F]", strawberry.subscription(description=text))


async def _heard(info: Info, after: int | None) -> AsyncGenerator[changes.Change, None]:
    """The changes of which whoever listens may hear, for as long as they may.

    Raises:
        WhenceError: they are not let in any more, or the feed cuts them off.
    """
    following = info.context.following
    assert following is not None
    clock = asyncio.get_running_loop().time
    viewer, looked_at = await following.viewer(), clock()
    try:
        async with aclosing(following.feed.follow(after)) as told:
            async for change in told:
                if clock() - looked_at >= _LET_IN_SECONDS:
                    viewer, looked_at = await following.viewer(), clock()
                heard = change and changes.heard(change, _reading(viewer))
                if heard:
                    info.context.forget()
                    yield heard
    except feed.CutOff as error:
        told_more = {"code": error.kind.value, "type": "Unreachable", "position": error.position}
        raise GraphQLError(str(error), extensions=told_more) from None


def _reading(viewer: Viewer) -> Callable[[str], bool]:
    return lambda project: viewer.may(Grant.READ, project)


async def _version(info: Info, artifact: model.Artifact, content: digest.Digest) -> Version | None:
    found = await info.context.loaders.version_if_any(model.Reference(artifact, str(content)))
    return None if found is None else Version(value=found)


async def _run(info: Info, change: changes.Change) -> Run | None:
    found = await info.context.loaders.run(change.run)
    return None if found is None else Run(value=found)


def _named(text: str | None) -> model.Artifact | None:
    return None if text is None else relay.artifact_of(text)


def _actor(change: changes.Change) -> values.Actor | None:
    return None if change.actor is None else values.actor(change.actor)


@strawberry.type(description="What a client is told as it is recorded.")
class Subscription:
    """What a client is told as it is recorded."""

    @_subscribed("Runs, as they begin, go on and end.")
    async def runs(
        self,
        info: Info,
        job: Annotated[str | None, strawberry.argument(description="Of the Job of that name.")] = None,
        projects: ProjectsArgument = None,
        states: Annotated[
            list[model.RunState] | None,
            strawberry.argument(
                description="That came to one of these states; null or none for whatever happens."
            ),
        ] = None,
        after: After = None,
    ) -> AsyncGenerator[RunEvent, None]:
        """Runs."""
        async with aclosing(_heard(info, after)) as heard:
            async for change in heard:
                is_other = (
                    change.run is None
                    or (job is not None and change.job != job)
                    or bool(projects and change.project not in projects)
                    or bool(states and change.state not in states)
                )
                if is_other or (run := await _run(info, change)) is None:
                    continue
                yield RunEvent(
                    position=values.BigInt(change.position),
                    at=change.at,
                    verb=change.verb,
                    state=change.state,
                    run=run,
                )

    @_subscribed("Versions, whenever they are made, also if they are made again.")
    async def versions(
        self, info: Info, artifact: ArtifactArgument = None, after: After = None
    ) -> AsyncGenerator[VersionEvent, None]:
        """Versions."""
        wanted = _named(artifact)
        async with aclosing(_heard(info, after)) as heard:
            async for change in heard:
                for made in change.made:
                    if wanted not in (None, made.artifact):
                        continue
                    version = await _version(info, made.artifact, made.content)
                    if version is not None:
                        yield VersionEvent(
                            position=values.BigInt(change.position),
                            at=change.at,
                            role=made.role,
                            version=version,
                            run=await _run(info, change),
                        )

    @_subscribed("Aliases, as they are moved.")
    async def alias_moves(
        self, info: Info, artifact: ArtifactArgument = None, after: After = None
    ) -> AsyncGenerator[AliasEvent, None]:
        """Moves of aliases."""
        wanted = _named(artifact)
        async with aclosing(_heard(info, after)) as heard:
            async for change in heard:
                subject, content = change.subject, change.content
                if (
                    change.verb != "alias"
                    or subject is None
                    or content is None
                    or wanted not in (None, subject)
                ):
                    continue
                version = await _version(info, subject, content)
                if version is not None:
                    yield AliasEvent(
                        position=values.BigInt(change.position),
                        at=change.at,
                        alias=change.name or "",
                        artifact=Artifact(value=subject),
                        version=version,
                        actor=_actor(change),
                    )

    @_subscribed("Versions that are quarantined, and released.")
    async def quarantines(
        self, info: Info, projects: ProjectsArgument = None, after: After = None
    ) -> AsyncGenerator[QuarantineEvent, None]:
        """Quarantines and releases."""
        async with aclosing(_heard(info, after)) as heard:
            async for change in heard:
                subject, content = change.subject, change.content
                is_other = change.verb not in ("quarantine", "release-quarantine")
                if (
                    is_other
                    or subject is None
                    or content is None
                    or (projects and change.project not in projects)
                ):
                    continue
                version = await _version(info, subject, content)
                if version is not None:
                    yield QuarantineEvent(
                        position=values.BigInt(change.position),
                        at=change.at,
                        released=change.verb != "quarantine",
                        quarantine=strawberry.ID(str(change.judgement)),
                        version=version,
                        actor=_actor(change),
                    )

    @_subscribed("What serves where, as it changes.")
    async def deployments(
        self, info: Info, projects: ProjectsArgument = None, after: After = None
    ) -> AsyncGenerator[DeploymentEvent, None]:
        """Deployments."""
        async with aclosing(_heard(info, after)) as heard:
            async for change in heard:
                subject = change.subject
                if (
                    change.verb != "deploy"
                    or subject is None
                    or (projects and change.project not in projects)
                ):
                    continue
                yield DeploymentEvent(
                    position=values.BigInt(change.position),
                    at=change.at,
                    target=change.name or "",
                    artifact=Artifact(value=subject),
                    version=None if change.content is None else await _version(info, subject, change.content),
                    actor=_actor(change),
                )

    @_subscribed("What comes to the lineage of a root.")
    async def lineage_changed(
        self,
        info: Info,
        # Strawberry takes a parameter `root` for what a field is of.
        of: Annotated[
            strawberry.ID,
            strawberry.argument(
                name="root",
                description="A Version, a Run or a Deployment: its id, reference or uid. A reference is what it meant"
                " when this began.",
            ),
        ],
        direction: history.DirectionArgument,
        depth: Annotated[
            int, strawberry.argument(description="How many Runs away from the root: 1 to 10.")
        ] = 3,
        after: After = None,
    ) -> AsyncGenerator[LineageDelta, None]:
        """What comes to a lineage."""
        followed = grown.Followed(relay.subject_of(of), direction, depth)
        async with aclosing(grown.follow(info, followed, after, _heard(info, after))) as told:
            async for came in told:
                names = columns.Names(())
                yield LineageDelta(
                    position=values.BigInt(came.change.position),
                    at=came.change.at,
                    root=names.of([came.root])[0],
                    nodes=history.nodes(came.nodes),  # type: ignore[arg-type]
                    edges=rows.Table(
                        len(came.edges), history.LineageEdge, columns.of_edges(came.edges, names)
                    ),  # type: ignore[arg-type]
                    complete=came.complete,
                )
