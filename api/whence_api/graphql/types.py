"""How the things of a catalog lead to one another in GraphQL: each asks a loader for what hangs on it.

What each of them tells of itself stands in `told`.
"""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from whence_api.graphql import caching, explaining, reaching, relay, said, told, values
from whence_api.graphql import lineage as history
from whence_api.graphql.loaders import Info
from whence_api.graphql.relay import After, First, described
from whence_catalog import lineage as traversal
from whence_catalog import model, replies

if TYPE_CHECKING:
    from whence_api.graphql.caching import CacheEntry, Divergence
    from whence_api.graphql.reaching import Reach
    from whence_api.graphql.said import Judgements

# Of modules that lead here and that this leads to, as the things do: looked up when the schema is made.
_CacheEntry: TypeAlias = Annotated["CacheEntry", strawberry.lazy("whence_api.graphql.caching")]
_Divergence: TypeAlias = Annotated["Divergence", strawberry.lazy("whence_api.graphql.caching")]
_Judgements: TypeAlias = Annotated["Judgements", strawberry.lazy("whence_api.graphql.said")]
_Reach: TypeAlias = Annotated["Reach", strawberry.lazy("whence_api.graphql.reaching")]

Standing: TypeAlias = Annotated[
    bool, strawberry.argument(description="Leave out those that mean something else by now.")
]


# ── Artifacts ────────────────────────────────────────────────────────────────────────────────────


@strawberry.type(description="A named thing with a kind, in a project: a dataset, a model, a report.")
class Artifact(relay.Node):
    """A named thing with a kind."""

    value: strawberry.Private[model.Artifact]

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Artifact` and its text form."""
        return relay.id_of(relay.NodeType.ARTIFACT, self.value)

    @described("How people write it: `[project/]kind:name`.")
    def ref(self) -> str:
        """Its text form."""
        return str(self.value)

    project: str = relay.reads("The project that owns its name.", "project")
    kind: str = relay.reads(
        "What kind of thing it is: `dataset`, `model`, `metrics`, `report`, `file` or a kind of your own.",
        "kind",
    )
    name: str = relay.reads("Its name.", "name")

    @described("Its Versions, the highest number first.")
    async def versions(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "VersionConnection":
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.versions_of
        page: replies.VersionPage = await loader.load(self.value, first, after, as_of=known)
        nodes = [Version(value=version) for version in page.items]
        return VersionConnection(
            page_info=relay.page_info(page, after),
            edges=[relay.Edge(cursor=c, node=node) for c, node in zip(page.cursors, nodes, strict=True)],
            nodes=nodes,
            masked=page.masked,
            total_count=page.total,
        )

    @described("The Version that a selector means; null where there is none.")
    async def version(
        self,
        info: Info,
        selector: Annotated[
            str, strawberry.argument(description="A number, an alias, `latest`, or `sha256:…`.")
        ] = "latest",
        as_of: values.AsOfArgument = None,
    ) -> "Version | None":
        """One of them."""
        reference = model.Reference.parse(f"{self.value}@{selector}")
        known = await info.context.position(as_of)
        found = await info.context.loaders.version_if_any(reference, known)
        return None if found is None else Version(value=found)

    @described("What its aliases meant, from when to when; the newest first.")
    async def aliases(
        self,
        info: Info,
        standing: Standing = False,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> "relay.Connection[Alias]":
        """A page of them."""
        return await _aliases(info, model.Reference(self.value), standing, as_of, first, after)

    @described(
        "All that happened to it, the newest first. Of one Artifact at a time: not inside a list.", alone=True
    )
    async def timeline(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "relay.Connection[Event]":
        """A page of it."""
        return await _timeline(info, model.Reference(self.value), as_of, first, after)


@strawberry.type(description="One immutable content of an Artifact.")
class Version(told.VersionTold, relay.Node):
    """One immutable content of an Artifact."""

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Version` and `kind:name@N`: numbers are never given again, and lineage names Versions so."""
        return relay.id_of(relay.NodeType.VERSION, self.value.ref)

    @described("The Artifact whose content it is.")
    def artifact(self) -> Artifact:
        """The Artifact."""
        return Artifact(value=self.value.artifact)

    @described("Where it stands now.")
    async def state(self, info: Info) -> model.VersionState:
        """Its state."""
        return await info.context.loaders.state(_exactly(self.value))

    @described("How it came to be: one production for each Run that made it, the newest first.")
    async def productions(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "relay.Connection[Production]":
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.productions_of
        page: replies.ProductionPage = await loader.load(_exactly(self.value), first, after, as_of=known)
        return relay.connection(page, page.items, lambda made: Production(value=made), after)

    @described("The Runs that took it, from whatever production; the newest first.")
    async def consumers(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "relay.Connection[Run]":
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.consumers_of
        page = await loader.load(_exactly(self.value), first, after, as_of=known)
        return run_page(page, after)

    @described("The aliases that meant it, from when to when; the newest first.")
    async def aliases(
        self,
        info: Info,
        standing: Standing = False,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> "relay.Connection[Alias]":
        """A page of them."""
        return await _aliases(info, _exactly(self.value), standing, as_of, first, after)

    @described(
        "All that happened to it, the newest first. Of one Version at a time: not inside a list.", alone=True
    )
    async def timeline(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "relay.Connection[Event]":
        """A page of it."""
        return await _timeline(info, _exactly(self.value), as_of, first, after)

    @described(
        "What people said of it, and what taints it. Of one Version at a time: not inside a list.", alone=True
    )
    async def judgements(self, info: Info, as_of: values.AsOfArgument = None) -> _Judgements:
        """What was said of it."""
        known = await info.context.position(as_of)
        found = await info.context.loaders.judgements(_exactly(self.value), known)
        return said.Judgements(value=found, known=known)

    @described(
        "What a Quarantine of it reaches, or would: of each kind the first so many, and counts of all."
        " Of one Version at a time: not inside a list.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def reach(self, info: Info, first: First = 25) -> _Reach:
        """What is reached."""
        return await reaching.find(info, _exactly(self.value), first)

    @described(
        "What it came from, or what came from it. Of one Version at a time: not inside a list.", alone=True
    )
    async def lineage(
        self,
        info: Info,
        direction: history.DirectionArgument,
        bounds: history.BoundsArgument = None,
        filter: history.FilterArgument = None,
        frontier: history.FrontierArgument = None,
        as_of: values.AsOfArgument = None,
    ) -> history.Lineage:
        """Its lineage."""
        return await history.find(
            info, history.Sought([self.value.ref], direction, bounds, filter, frontier, as_of)
        )


def _exactly(version: model.Version) -> model.Reference:
    return model.Reference(version.artifact, str(version.number))


@strawberry.type(description="A page of an Artifact's Versions.")
class VersionConnection(relay.Connection[Version]):
    """A page of an Artifact's Versions."""

    total_count: int = strawberry.field(description="How many Versions the Artifact has.")


@strawberry.type(description="What an alias meant over an interval: who moved it there, when, and why.")
class Alias(told.AliasTold):
    """What an alias meant over an interval."""

    @described("The Version that it meant.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)


async def _aliases(
    info: Info, subject: model.Reference, standing: bool, as_of: object, first: int, after: str | None
) -> "relay.Connection[Alias]":
    page: replies.AliasPage = await info.context.loaders.aliases_of.load(
        subject, first, after, standing=standing, as_of=await info.context.position(as_of)
    )
    return relay.connection(page, page.items, lambda moved: Alias(value=moved), after)


@strawberry.type(
    description="One thing that happened to a Version: since when it is true, and when it became known."
)
class Event(told.EventTold):
    """One thing that happened to a Version."""

    @described("The Version that it happened to: of an alias or a Deployment, the one that it means since.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)

    @described("The Version that the alias meant, or that served there, until then; null for none.")
    def replaced(self) -> Version | None:
        """The Version before."""
        return None if self.value.replaced is None else Version(value=self.value.replaced)

    @described("The Run that made it; null where it is of none, or you may not read it.")
    async def run(self, info: Info) -> "Run | None":
        """The Run."""
        return run_if_any(await info.context.loaders.run(self.value.run))


async def _timeline(
    info: Info, subject: model.Reference, as_of: object, first: int, after: str | None
) -> "relay.Connection[Event]":
    page: replies.EventPage = await info.context.loaders.ask(
        "timeline",
        subject=subject,
        as_of=await info.context.position(as_of),
        first=first,
        after=after,
    )
    return relay.connection(page, page.items, lambda event: Event(value=event), after)


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────


@strawberry.type(
    description="One Output of one Run: how a Version came to be. Whatever describes that stands here."
)
class Production(told.ProductionTold):
    """One Output of one Run."""

    @described("The Version that was made.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)

    @described("The Run that made it; null where you may not read it.")
    async def run(self, info: Info) -> "Run | None":
        """The Run."""
        return run_if_any(await info.context.loaders.run(self.value.run))

    @described("The first of the Inputs that it says it came from; null where it does not say.")
    async def derived_from(self, info: Info, first: First = 25) -> "list[Source] | None":
        """The first of them."""
        if self.value.derived_from is None:
            return None
        return [Source(value=source) for source in self.value.derived_from[:first]]


@strawberry.type(description="A Version, as some Run made it.")
class Source:
    """A Version, as some Run made it."""

    value: strawberry.Private[model.Source]

    @described("The Version; null where you may not read it.")
    async def version(self, info: Info) -> Version | None:
        """The Version."""
        if self.value.artifact.project == traversal.MASKED:
            return None
        reference = model.Reference(self.value.artifact, self.value.digest.text)
        found = await info.context.loaders.version_if_any(reference)
        return None if found is None else Version(value=found)

    @described("The production; null where nobody said which, or you may not read it.")
    async def production(self, info: Info) -> Production | None:
        """The production."""
        found = await info.context.loaders.production(self.value)
        return None if found is None else Production(value=found)


@strawberry.type(description="A Version that a Run took.")
class Input(told.InputTold):
    """A Version that a Run took."""

    @described("The Version that was taken.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)

    @described("The production that it was taken from; null where nobody said which, or you may not read it.")
    async def production(self, info: Info) -> Production | None:
        """The production."""
        taken = self.value
        source = model.Source(taken.version.artifact, taken.version.digest, taken.producer)
        found = await info.context.loaders.production(source)
        return None if found is None else Production(value=found)


@strawberry.type(description="A named unit of work of a project.")
class Job:
    """A named unit of work."""

    project: str = strawberry.field(description="The project that it is of.")
    name: str = strawberry.field(description="Its name.")

    @described("Its Runs, the newest first. Of one Job at a time: not inside a list.", alone=True)
    async def runs(
        self,
        info: Info,
        states: values.RunStates = None,
        as_of: values.AsOfArgument = None,
        first: First = 25,
        after: After = None,
    ) -> "relay.Connection[Run]":
        """A page of them."""
        page: replies.RunPage = await info.context.loaders.ask(
            "list_runs",
            projects=frozenset([self.project]),
            job=self.name,
            states=frozenset(states or ()),
            as_of=await info.context.position(as_of),
            first=first,
            after=after,
        )
        return run_page(page, after)

    @described(
        "What the cache holds of it, the newest first. Of one Job at a time: not inside a list.", alone=True
    )
    async def cache_entries(
        self, info: Info, states: caching.EntryStates = None, first: First = 25, after: After = None
    ) -> relay.Connection[_CacheEntry]:
        """A page of them."""
        return await caching.cache_entries(
            info,
            projects=frozenset([self.project]),
            job=self.name,
            states=frozenset(states or ()),
            first=first,
            after=after,
        )

    @described(
        "Where the same key gave other bytes, the newest first. Of one Job at a time: not inside a list.",
        alone=True,
    )
    async def divergences(
        self, info: Info, first: First = 25, after: After = None
    ) -> relay.Connection[_Divergence]:
        """A page of them."""
        projects = frozenset([self.project])
        return await caching.divergences(info, projects=projects, job=self.name, first=first, after=after)


@strawberry.type(description="What the cache had to do with a Run.")
class CacheOutcome(told.CacheOutcomeTold):
    """What the cache had to do with a Run."""

    @described("Why the key is what it is. Of one Run at a time: not inside a list.", alone=True)
    async def explanation(self, info: Info) -> explaining.Explanation:
        """The explanation."""
        return explaining.explanation(await info.context.loaders.ask("explain", run=str(self.value.uid)))


@strawberry.type(description="One execution of a Job, or the standing-in of another's result for one.")
class Run(told.RunTold, relay.Node):
    """One execution of a Job."""

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Run` and its uid."""
        return relay.id_of(relay.NodeType.RUN, self.value.uid)

    @described("The Job that it is an execution of.")
    def job(self) -> Job:
        """The Job."""
        return Job(project=self.value.project, name=self.value.job)

    @described("What the cache had to do with it.")
    def cache(self) -> CacheOutcome:
        """The cache's part."""
        return CacheOutcome(value=self.value)

    @described(
        "What it was seen to touch beside its Inputs; null where nothing was said of that."
        " Of one Run at a time: not inside a list.",
        alone=True,
    )
    async def reads(self, info: Info) -> told.Reads | None:
        """What it touched."""
        record: model.RunRecord = await info.context.loaders.ask("run", prefix=str(self.value.uid))
        return None if record.observed is None else told.Reads(value=record.observed)

    @described("The Run whose result stands in for its own; null where it executed, or you may not read it.")
    async def origin(self, info: Info, as_of: values.AsOfArgument = None) -> "Run | None":
        """The origin."""
        known = await info.context.position(as_of)
        return run_if_any(await info.context.loaders.run(self.value.origin, known))

    @described("The Run that it is a part of; null for none, or where you may not read it.")
    async def parent(self, info: Info, as_of: values.AsOfArgument = None) -> "Run | None":
        """The parent."""
        known = await info.context.position(as_of)
        return run_if_any(await info.context.loaders.run(self.value.parent, known))

    @described("The Run that it is another attempt of; null for none, or where you may not read it.")
    async def retry_of(self, info: Info) -> "Run | None":
        """The earlier attempt."""
        return run_if_any(await info.context.loaders.run(self.value.retry_of))

    @described("The Run that it made again; null for none, or where you may not read it.")
    async def rerun_of(self, info: Info) -> "Run | None":
        """The original."""
        return run_if_any(await info.context.loaders.run(self.value.rerun_of))

    @described("The Runs that are a part of it, the newest first.")
    async def children(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> "relay.Connection[Run]":
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.children_of
        return run_page(await loader.load(self.value.uid, first, after, as_of=known), after)

    @described("What it took, by role; of a reused Run that took nothing itself, what its origin took.")
    async def inputs(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> relay.Connection[Input]:
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.inputs_of
        page: replies.InputPage = await loader.load(self.value.uid, first, after, as_of=known)
        return relay.connection(page, page.items, lambda taken: Input(value=taken), after)

    @described("What it made, in the order in which it said so; of a reused Run, what its origin made.")
    async def outputs(
        self, info: Info, as_of: values.AsOfArgument = None, first: First = 25, after: After = None
    ) -> relay.Connection[Production]:
        """A page of them."""
        known = await info.context.position(as_of)
        loader = info.context.loaders.outputs_of
        page: replies.ProductionPage = await loader.load(self.value.uid, first, after, as_of=known)
        return relay.connection(page, page.items, lambda made: Production(value=made), after)

    @described(
        "What it came from, or what came from it. Of one Run at a time: not inside a list.", alone=True
    )
    async def lineage(
        self,
        info: Info,
        direction: history.DirectionArgument,
        bounds: history.BoundsArgument = None,
        filter: history.FilterArgument = None,
        frontier: history.FrontierArgument = None,
        as_of: values.AsOfArgument = None,
    ) -> history.Lineage:
        """Its lineage."""
        return await history.find(
            info, history.Sought([str(self.value.uid)], direction, bounds, filter, frontier, as_of)
        )


def run_if_any(found: model.Run | None) -> Run | None:
    """A Run, as it is shown."""
    return None if found is None else Run(value=found)


def run_page(page: replies.RunPage, after: str | None) -> relay.Connection[Run]:
    """A page of Runs, as it is shown."""
    return relay.connection(page, page.items, lambda run: Run(value=run), after)
