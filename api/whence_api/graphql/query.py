"""What can be asked: the root of every query.

What a caller names may not be there: those answers are unions of what was asked for and of typed errors. Every
other error stands beside the data, with a code.
"""

import asyncio
from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

import strawberry

from whence_api.graphql import (
    caching,
    explaining,
    moments,
    planning,
    questions,
    refusals,
    relay,
    said,
    types,
    values,
)
from whence_api.graphql import lineage as history
from whence_api.graphql.loaders import Info
from whence_api.graphql.refusals import Denied, InvalidInput, NotFound
from whence_api.graphql.relay import After, First, NodeType, described
from whence_api.graphql.types import Artifact, Job, Run, Version
from whence_catalog import errors, model, replies
from whence_catalog.errors import WhenceError

ArtifactResult: TypeAlias = Annotated[
    Artifact | NotFound | InvalidInput | Denied,
    strawberry.union("ArtifactResult", description="An Artifact, or why there is none."),
]
VersionResult: TypeAlias = Annotated[
    Version | NotFound | InvalidInput | Denied,
    strawberry.union("VersionResult", description="A Version, or why there is none."),
]
RunResult: TypeAlias = Annotated[
    Run | NotFound | InvalidInput | Denied,
    strawberry.union("RunResult", description="A Run, or why there is none."),
]
ExplanationResult: TypeAlias = Annotated[
    explaining.Explanation | NotFound | InvalidInput | Denied,
    strawberry.union("ExplanationResult", description="An Explanation, or why there is none."),
]
CacheKeyResult: TypeAlias = Annotated[
    caching.KeyRecord | NotFound | InvalidInput | Denied,
    strawberry.union("CacheKeyResult", description="What is known of a key, or why that is nothing."),
]
LineageResult: TypeAlias = Annotated[
    history.Lineage | NotFound | InvalidInput | Denied,
    strawberry.union("LineageResult", description="A part of history, or why there is none."),
]


# ── search ───────────────────────────────────────────────────────────────────────────────────────


@strawberry.input(
    description="A range of a metric, both ends included. A value that is no number is in none."
)
class MetricRange:
    """A range of a metric."""

    name: str = strawberry.field(description="What was measured.")
    low: float | None = strawberry.field(default=None, description="From this on; null for no bound.")
    high: float | None = strawberry.field(default=None, description="Up to this; null for no bound.")


@strawberry.input(description="What to look among. What is left out, or empty, stands for any.")
class SearchFilter:
    """What to look among."""

    types: list[replies.HitType] | None = strawberry.field(default=None, description="What to find.")
    projects: list[str] | None = strawberry.field(default=None, description="What is of these projects.")
    kinds: list[str] | None = strawberry.field(
        default=None, description="Artifacts, and their Versions, of these kinds; then no Job is found."
    )
    labels: list[values.LabelInput] | None = strawberry.field(
        default=None, description="Versions and Runs that have all of these labels."
    )
    metrics: list[MetricRange] | None = strawberry.field(
        default=None,
        description="Versions and Runs with a metric in each of these ranges; the highest of the first comes first.",
    )
    since: datetime | None = strawberry.field(
        default=None, description="Versions that were first recorded, and Runs that began, then or later."
    )
    until: datetime | None = strawberry.field(
        default=None, description="Versions that were first recorded, and Runs that began, before that."
    )


SearchHit: TypeAlias = Annotated[
    Version | Artifact | Job | types.Run, strawberry.union("SearchHit", description="What a search finds.")
]


@strawberry.type(description="What was found, and where it stands.")
class SearchEdge:
    """What was found."""

    cursor: str = strawberry.field(description="Where it stands: opaque, and of this search alone.")
    node: SearchHit = strawberry.field(description="What was found.")


@strawberry.type(description="A page of what was found: Versions first, then Artifacts, Jobs, and Runs.")
class SearchConnection:
    """A page of what was found."""

    page_info: relay.PageInfo = strawberry.field(description="Where this page stands.")
    edges: list[SearchEdge] = strawberry.field(description="What was found, with cursors.")
    nodes: list[SearchHit] = strawberry.field(description="What was found, alone.")


def _hit(hit: replies.Hit) -> Version | Artifact | Job | types.Run:
    if hit.run is not None:
        return types.Run(value=hit.run)
    if hit.version is not None:
        return Version(value=hit.version)
    if hit.artifact is not None:
        return Artifact(value=hit.artifact)
    assert hit.job is not None
    return Job(project=hit.job.project, name=hit.job.name)


# ── the root ─────────────────────────────────────────────────────────────────────────────────────

Reference: TypeAlias = Annotated[
    str, strawberry.argument(description="`[project/]kind:name[@selector]`, such as `model:detector@prod`.")
]
Projects: TypeAlias = Annotated[
    list[str] | None, strawberry.argument(description="Of these projects; null or none for any.")
]
JobName: TypeAlias = Annotated[str | None, strawberry.argument(description="Of the Job of that name.")]


@strawberry.type(description="What can be asked of a catalog.")
class Query(questions.Questions, planning.Plans, moments.Moments):
    """The root of every query."""

    @described("What has that global id; null where there is nothing of it that you may read.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="A global id.")]
    ) -> relay.Node | None:
        """What has that id."""
        return await _node(info, relay.GlobalId.parse(id))

    @described("What has these global ids, in their order, each as `node` answers it.")
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="Global ids.")]
    ) -> list[relay.Node | None]:
        """What has these ids."""
        wanted = [relay.GlobalId.parse(id) for id in ids]
        return await asyncio.gather(*(_node(info, one) for one in wanted))

    @described("The Version that a reference means; without a selector, the one of the newest production.")
    async def resolve(self, info: Info, ref: Reference, as_of: values.AsOfArgument = None) -> VersionResult:
        """The Version that a reference means."""
        try:
            known = await info.context.position(as_of)
            return Version(value=await info.context.loaders.version(model.Reference.parse(ref), known))
        except WhenceError as error:
            return refusals.of_question(error)

    @described("The Artifact of that name.")
    async def artifact(
        self,
        info: Info,
        ref: Annotated[
            str, strawberry.argument(description="`[project/]kind:name`, such as `model:detector`.")
        ],
        as_of: values.AsOfArgument = None,
    ) -> ArtifactResult:
        """The Artifact of that name."""
        try:
            return await _artifact(info, relay.artifact_of(ref), await info.context.position(as_of))
        except WhenceError as error:
            return refusals.of_question(error)

    @described("The Version of an Artifact that has that number.")
    async def version(
        self,
        info: Info,
        artifact: Annotated[str, strawberry.argument(description="`[project/]kind:name`.")],
        number: Annotated[int, strawberry.argument(description="Its number, from 1.")],
    ) -> VersionResult:
        """The Version of that number."""
        try:
            return Version(
                value=await info.context.loaders.version(model.Reference.parse(f"{artifact}@{number}"))
            )
        except WhenceError as error:
            return refusals.of_question(error)

    @described("The Run of that id, or of the start of it, if no other Run's id begins so.")
    async def run(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID,
            strawberry.argument(description="A Run's uid, or at least 8 characters of the start of it."),
        ],
        as_of: values.AsOfArgument = None,
    ) -> RunResult:
        """The Run of that id."""
        try:
            known = await info.context.position(as_of)
            record: model.RunRecord = await info.context.loaders.ask("run", prefix=str(id), as_of=known)
            return Run(value=record.run)
        except WhenceError as error:
            return refusals.of_question(error)

    @described("Why a Run or a key is what it is, and what the cache would answer to the key.", alone=True)
    async def explain(
        self,
        info: Info,
        run: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="A Run's uid, or at least 8 characters of the start of it."),
        ] = None,
        key: Annotated[
            str | None,
            strawberry.argument(description="Instead, a key: `wk1:…`, or at least 8 of its first digits."),
        ] = None,
        against: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="The uid of a Run to put beside it, instead of the nearest."),
        ] = None,
    ) -> ExplanationResult:
        """Why a key is what it is."""
        try:
            if (run is None) == (key is None):
                raise errors.InvalidInput("explain takes a run or a key: give one of the two")
            beside = None if against is None else str(against)
            if key is not None:
                found = await info.context.loaders.ask("explain_key", key=key, against=beside)
            else:
                found = await info.context.loaders.ask("explain", run=str(run), against=beside)
            return explaining.explanation(found)
        except WhenceError as error:
            return refusals.of_question(error)

    @described("Runs, the newest first.")
    async def runs(
        self,
        info: Info,
        projects: Projects = None,
        job: JobName = None,
        states: values.RunStates = None,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> relay.Connection[Run]:
        """A page of Runs."""
        page: replies.RunPage = await info.context.loaders.ask(
            "list_runs",
            projects=_any(projects),
            job=job,
            states=frozenset(states or ()),
            as_of=await info.context.position(as_of),
            first=first,
            after=after,
        )
        return types.run_page(page, after)

    @described("What the cache holds, the newest first.")
    async def cache_entries(
        self,
        info: Info,
        projects: Projects = None,
        job: JobName = None,
        states: caching.EntryStates = None,
        first: First = 25,
        after: After = None,
    ) -> relay.Connection[caching.CacheEntry]:
        """A page of cache entries."""
        return await caching.cache_entries(
            info,
            projects=_any(projects),
            job=job,
            states=frozenset(states or ()),
            first=first,
            after=after,
        )

    @described("All that is known of one key of the cache.", alone=True)
    async def cache_key(
        self,
        info: Info,
        key: Annotated[
            str, strawberry.argument(description="`wk1:…`, or at least 8 of the first digits behind that.")
        ],
        projects: Projects = None,
    ) -> CacheKeyResult:
        """What is known of a key."""
        try:
            found = await info.context.loaders.ask("cache_key", key=key, projects=_any(projects))
            return caching.KeyRecord(value=found)
        except WhenceError as error:
            return refusals.of_question(error)

    @described("Where the same key gave other bytes, the newest first.")
    async def divergences(
        self,
        info: Info,
        projects: Projects = None,
        job: JobName = None,
        first: First = 25,
        after: After = None,
    ) -> relay.Connection[caching.Divergence]:
        """A page of Divergences."""
        return await caching.divergences(info, projects=_any(projects), job=job, first=first, after=after)

    @described(
        "Artifacts and Jobs with that text in their name, in any case; Versions whose digest it is. With labels, metrics or"
        " a time: the Versions and Runs that have them."
    )
    async def search(
        self,
        info: Info,
        text: Annotated[str, strawberry.argument(description="What to look for; empty for everything.")] = "",
        filter: Annotated[SearchFilter | None, strawberry.argument(description="What to look among.")] = None,
        first: First = 25,
        after: After = None,
    ) -> SearchConnection:
        """A page of what was found."""
        among = filter or SearchFilter()
        page: replies.HitPage = await info.context.loaders.ask(
            "search",
            text=text,
            types=frozenset(among.types or ()),
            projects=_any(among.projects),
            kinds=frozenset(among.kinds or ()),
            labels=frozenset((label.name, label.value) for label in among.labels or ()),
            metrics=[model.MetricRange(asked.name, asked.low, asked.high) for asked in among.metrics or ()],
            since=_moment(among.since),
            until=_moment(among.until),
            first=first,
            after=after,
        )
        nodes = [_hit(hit) for hit in page.items]
        edges = [SearchEdge(cursor=c, node=node) for c, node in zip(page.cursors, nodes, strict=True)]
        return SearchConnection(page_info=relay.page_info(page, after), edges=edges, nodes=nodes)

    @described("What several Versions and Runs came from, or what came from them.", alone=True)
    async def lineage(
        self,
        info: Info,
        roots: Annotated[
            list[strawberry.ID],
            strawberry.argument(description="Versions, Runs and Deployments: their ids, references or uids."),
        ],
        direction: history.DirectionArgument,
        bounds: history.BoundsArgument = None,
        filter: history.FilterArgument = None,
        frontier: history.FrontierArgument = None,
        as_of: values.AsOfArgument = None,
    ) -> LineageResult:
        """A part of history."""
        try:
            named = [relay.subject_of(root) for root in roots]
            return await history.find(info, history.Sought(named, direction, bounds, filter, frontier, as_of))
        except WhenceError as error:
            return refusals.of_question(error)


def _moment(given: datetime | None) -> datetime | None:
    return None if given is None else model.checked_moment(given)


def _any(projects: list[str] | None) -> frozenset[str] | None:
    return frozenset(projects) if projects else None


async def _node(info: Info, id: relay.GlobalId) -> relay.Node | None:
    loaders = info.context.loaders
    try:
        match id.type:
            case NodeType.RUN:
                run = await loaders.run(_uid(id))
                return None if run is None else Run(value=run)
            case NodeType.VERSION:
                return Version(value=await loaders.version(model.Reference.parse(id.key)))
            case NodeType.ARTIFACT:
                return await _artifact(info, model.Reference.parse(id.key).artifact)
            case NodeType.DEPLOYMENT:
                found = await loaders.deployment(_uid(id))
                return None if found is None else said.Deployment(value=found)
    except errors.NotFound:
        return None


async def _artifact(info: Info, artifact: model.Artifact, known: int | None = None) -> Artifact:
    # A list of its Versions, which a query is likely to ask for too.
    page: replies.VersionPage = await info.context.loaders.versions_of.load(artifact, 1, None, as_of=known)
    if known is not None and not page.items and not page.masked:
        raise errors.NotFound(
            f"{artifact} has no version at position {known}", errors.ErrorKind.NO_SUCH_ARTIFACT
        )
    return Artifact(value=artifact)


def _uid(id: relay.GlobalId) -> UUID:
    try:
        return UUID(id.key)
    except ValueError:
        raise errors.InvalidInput(
            f"not the id of a {id.type.lower()}: {id.key[:40]!r}", errors.ErrorKind.BAD_REFERENCE
        ) from None
