"""Questions about lineage whose answers are few: ways, beginnings, what is common, and what came of something.

Each looks at all of the lineage that it is about, and is asked once at a time.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

import strawberry

from whence_api.graphql import differing, refusals, relay, said, types, values
from whence_api.graphql import lineage as history
from whence_api.graphql.loaders import Info
from whence_api.graphql.refusals import Denied, InvalidInput, NotFound
from whence_api.graphql.relay import After, First, described
from whence_catalog import lineage, paths, replies
from whence_catalog.errors import WhenceError

_NAMED = "Its id; or a Version's reference, or a Run's uid."
Subject: TypeAlias = Annotated[strawberry.ID, strawberry.argument(description=_NAMED)]
Subjects: TypeAlias = Annotated[
    list[strawberry.ID],
    strawberry.argument(description="Versions, Runs and Deployments: their ids, references or uids."),
]


# ── what is answered ─────────────────────────────────────────────────────────────────────────────


@strawberry.type(description="A way in which data went.")
class Path:
    """A way in which data went."""

    value: strawberry.Private[Sequence[lineage.Node]]

    @described("How many nodes it has, both ends counted.")
    def length(self) -> int:
        """How many."""
        return len(self.value)

    @described("The first of its nodes, in the order in which data went.")
    def nodes(self, first: First = 25) -> Sequence[history.LineageNode]:
        """The first of them."""
        return history.nodes(self.value[:first])


@strawberry.type(description="Ways in which data went from one thing to another, the shortest first.")
class Paths:
    """Ways in which data went."""

    paths: list[Path] = strawberry.field(description="The ways; none where there is none.")
    completeness: history.Completeness = strawberry.field(
        description="Whether these are all ways that there are."
    )


@strawberry.type(description="A page of Versions and Runs, the nearest first.")
class LineageNodeConnection(relay.Connection[history.LineageNode]):
    """A page of Versions and Runs."""

    total_count: int = strawberry.field(
        description="How many there are, those that you may not see among them."
    )
    completeness: history.Completeness = strawberry.field(
        description="Whether all of the lineage was looked at, and how sure it is."
    )


@strawberry.type(description="How many Versions of a kind there are.")
class KindCount:
    """How many Versions of a kind there are."""

    kind: str = strawberry.field(description="The kind.")
    count: int = strawberry.field(description="How many.")


@strawberry.type(description="Something that came of the subject, or hands it on, and a shortest way there.")
class Impacted:
    """Something that came of the subject."""

    value: strawberry.Private[replies.Impacted]

    type: replies.ImpactType = relay.reads("What it tells of.", "type")

    @described("The Version that came of the subject, or is it.")
    def version(self) -> history.LineageNode:
        """The Version."""
        return history.nodes([self.value.version])[0]

    @described("A shortest way from the subject to that Version.")
    def path(self) -> Path:
        """A way."""
        return Path(value=self.value.path)

    @described("The Deployment in which it serves; null for none, or where you may not see it.")
    def deployment(self) -> said.Deployment | None:
        """The Deployment."""
        found = self.value.deployment
        return None if found is None else said.Deployment(value=found)

    @described("The alias that means it; null for none, or where you may not see it.")
    def alias(self) -> types.Alias | None:
        """The alias."""
        return None if self.value.alias is None else types.Alias(value=self.value.alias)


@strawberry.type(
    description="What came of a Version or a Run, and where it is used now: counts of all of it, and a page of"
    " Deployments, then aliases, then Versions, each the nearest first."
)
class ImpactConnection(relay.Connection[Impacted]):
    """What came of a Version or a Run."""

    subject: history.LineageNode = strawberry.field(description="What it is of.")
    deployment_count: int = strawberry.field(description="In how many Deployments it serves.")
    alias_count: int = strawberry.field(description="How many aliases stand on it.")
    version_count: int = strawberry.field(description="How many Versions came of it.")
    run_count: int = strawberry.field(description="How many Runs took it, or something that came of it.")
    kinds: list[KindCount] = strawberry.field(description="How many Versions of each kind came of it.")
    position: values.BigInt = strawberry.field(description="Up to which position of the log all pages look.")
    completeness: history.Completeness = strawberry.field(
        description="Whether all of the lineage was looked at, and how sure it is."
    )


@strawberry.type(description="How many there are of one type, kind, project or state.")
class Count:
    """How many there are of one type, kind, project or state."""

    name: str = strawberry.field(
        description="Which: `version`, `run` or `deployment`, a kind, a project, a state."
    )
    count: int = strawberry.field(description="How many.")


@strawberry.type(
    description="How much there is in a lineage: of all nodes, by their type, and by what those of a type have. What you"
    " may not see has neither kind nor project, and is in the state `masked`."
)
class LineageCounts:
    """How much there is in a lineage."""

    value: strawberry.Private[paths.Counts]

    total: int = relay.reads("How many nodes there are, the roots among them.", "total")
    completeness: history.Completeness = relay.reads(
        "Whether all of it was counted, and how sure that is.", "completeness", history.completeness
    )

    @described("By type.")
    def by_type(self, first: First = 25) -> list[Count]:
        """The most first."""
        return _counts(self.value.by_type, first)

    @described("By kind of Artifact: the most first, and so many.")
    def by_kind(self, first: First = 25) -> list[Count]:
        """The most first."""
        return _counts(self.value.by_kind, first)

    @described("By project: the most first, and so many.")
    def by_project(self, first: First = 25) -> list[Count]:
        """The most first."""
        return _counts(self.value.by_project, first)

    @described("By state, of Versions, Runs and Deployments together: the most first.")
    def by_state(self, first: First = 25) -> list[Count]:
        """The most first."""
        return _counts(self.value.by_state, first)


def _counts(found: Mapping[str, int], first: int) -> list[Count]:
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [Count(name=name, count=count) for name, count in ranked[:first]]


LineageCountsResult: TypeAlias = Annotated[
    LineageCounts | NotFound | InvalidInput | Denied,
    strawberry.union("LineageCountsResult", description="Counts, or why there is no answer."),
]
PathsResult: TypeAlias = Annotated[
    Paths | NotFound | InvalidInput | Denied,
    strawberry.union("PathsResult", description="Ways, or why there is no answer."),
]
LineageNodesResult: TypeAlias = Annotated[
    LineageNodeConnection | NotFound | InvalidInput | Denied,
    strawberry.union("LineageNodesResult", description="A page of nodes, or why there is no answer."),
]
ImpactResult: TypeAlias = Annotated[
    ImpactConnection | NotFound | InvalidInput | Denied,
    strawberry.union("ImpactResult", description="An impact, or why there is no answer."),
]


# ── the questions ────────────────────────────────────────────────────────────────────────────────


@strawberry.type
class Questions:
    """The questions, as a part of the root of every query."""

    @described(
        "How much there is in all that these came from, or that came from them. No bounds cut it.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def lineage_counts(
        self,
        info: Info,
        roots: Subjects,
        direction: history.DirectionArgument,
        filter: history.FilterArgument = None,
        as_of: values.AsOfArgument = None,
    ) -> LineageCountsResult:
        """How much there is."""
        try:
            found: paths.Counts = await info.context.loaders.ask(
                "lineage_counts",
                roots=[relay.subject_of(root) for root in roots],
                direction=direction,
                filter=history.filter_of(filter),
                as_of=await info.context.position(as_of),
            )
        except WhenceError as error:
            return refusals.of_question(error)
        return LineageCounts(value=found)

    @described(
        "The ways in which data went from one thing to another, the shortest first.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def paths(
        self,
        info: Info,
        start: Annotated[strawberry.ID, strawberry.argument(name="from", description=_NAMED)],
        end: Annotated[strawberry.ID, strawberry.argument(name="to", description=_NAMED)],
        max: Annotated[int, strawberry.argument(description="How many ways at most.")] = 5,
        as_of: values.AsOfArgument = None,
    ) -> PathsResult:
        """Ways from one thing to another."""
        try:
            found: replies.Paths = await info.context.loaders.ask(
                "paths",
                start=relay.subject_of(start),
                end=relay.subject_of(end),
                limit=max,
                as_of=await info.context.position(as_of),
            )
        except WhenceError as error:
            return refusals.of_question(error)
        ways = [Path(value=way) for way in found.paths]
        return Paths(paths=ways, completeness=history.completeness(found.completeness))

    @described(
        "The Versions where the data begins that these came from, the nearest first.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def roots(
        self,
        info: Info,
        of: Subjects,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> LineageNodesResult:
        """Where the data begins."""
        return await _nodes(info, "roots_of", of, as_of, first, after)

    @described(
        "The Versions and Runs that all of these came from, themselves counted, the nearest first.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def common_ancestors(
        self,
        info: Info,
        of: Subjects,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> LineageNodesResult:
        """What is common."""
        return await _nodes(info, "common_ancestors", of, as_of, first, after)

    @described(
        "What came of a Version or a Run, and where it is used now: models, aliases and Deployments, each with a way"
        " there.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def impact(
        self,
        info: Info,
        of: Subject,
        kinds: Annotated[
            list[str] | None,
            strawberry.argument(
                description="Which Versions are listed behind what serves them: `model` if nothing is said; none for"
                " any."
            ),
        ] = None,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> ImpactResult:
        """What came of it."""
        try:
            found: replies.Impact = await info.context.loaders.ask(
                "impact",
                of=relay.subject_of(of),
                kinds=("model",) if kinds is None else tuple(kinds),
                as_of=await info.context.position(as_of),
                first=first,
                after=after,
            )
        except WhenceError as error:
            return refusals.of_question(error)
        page = relay.connection(found, found.items, lambda item: Impacted(value=item), after)
        counts = found.counts
        return ImpactConnection(
            page_info=page.page_info,
            edges=page.edges,
            nodes=page.nodes,
            masked=page.masked,
            subject=history.nodes([found.subject])[0],
            deployment_count=counts.get("deployments", 0),
            alias_count=counts.get("aliases", 0),
            version_count=counts.get("versions", 0),
            run_count=counts.get("runs", 0),
            kinds=[KindCount(kind=kind, count=count) for kind, count in sorted(found.kinds.items())],
            position=values.BigInt(found.position),
            completeness=history.completeness(found.completeness),
        )

    @described(
        "What changed from one Version to another, or from one Run to another, part by part.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def difference(self, info: Info, left: Subject, right: Subject) -> differing.DifferenceResult:
        """What changed."""
        try:
            found = await info.context.loaders.ask(
                "difference", left=relay.subject_of(left), right=relay.subject_of(right)
            )
        except WhenceError as error:
            return refusals.of_question(error)
        return differing.Difference(value=found)


async def _nodes(
    info: Info, verb: str, of: Sequence[str], as_of: object, first: int, after: str | None
) -> LineageNodeConnection | NotFound | InvalidInput | Denied:
    try:
        found: replies.NodePage = await info.context.loaders.ask(
            verb,
            of=[relay.subject_of(named) for named in of],
            as_of=await info.context.position(as_of),
            first=first,
            after=after,
        )
    except WhenceError as error:
        return refusals.of_question(error)
    shown = list(history.nodes(found.items))
    return LineageNodeConnection(
        page_info=relay.page_info(found, after),
        edges=[relay.Edge(cursor=c, node=node) for c, node in zip(found.cursors, shown, strict=True)],
        nodes=shown,
        masked=found.masked,
        total_count=found.total,
        completeness=history.completeness(found.completeness),
    )
