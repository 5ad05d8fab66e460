"""What the catalog holds, as GraphQL shows it: each type reads one value, and asks a loader for what hangs on it."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NewType, TypeAlias, cast

import strawberry
from strawberry.scalars import JSON

from whence_api.graphql import explaining, relay
from whence_api.graphql import lineage as history
from whence_api.graphql.loaders import Info
from whence_api.graphql.relay import After, First, described
from whence_catalog import digest, model, replies, wire
from whence_catalog import lineage as traversal

BigInt = NewType("BigInt", int)
Digest = NewType("Digest", str)
SCALARS: Mapping[object, Any] = {
    BigInt: strawberry.scalar(
        name="BigInt", description="A whole number of up to 64 bits, as a JSON number.", parse_value=int
    ),
    Digest: strawberry.scalar(
        name="Digest",
        description="The SHA-256 of some content, as `sha256:` and 64 hexadecimal digits.",
        parse_value=str,
    ),
}

strawberry.enum(
    model.Strength,
    name="Strength",
    description="How much an identity proves, the strongest first: our own SHA-256 of the content, what a store"
    " says of it, a digest that somebody else computed, a part of the content, nothing.",
)
strawberry.enum(model.Form, name="Form", description="Whether some bytes are one file or a tree of them.")
strawberry.enum(model.Mode, name="CacheMode", description="How a Run treats the cache.")


Standing: TypeAlias = Annotated[
    bool, strawberry.argument(description="Leave out those that mean something else by now.")
]


# ── small values ─────────────────────────────────────────────────────────────────────────────────


@strawberry.type(description="Who or what is responsible.")
class Actor:
    """Who or what is responsible."""

    name: str = strawberry.field(description="The name.")
    authenticated: bool = strawberry.field(description="Whether somebody checked that it is they.")


def actor(value: model.Actor) -> Actor:
    """An Actor as it is shown."""
    return Actor(name=value.name, authenticated=value.authenticated)


@strawberry.type(description="A named unit of work of a project.")
class Job:
    """A named unit of work."""

    project: str = strawberry.field(description="The project that it is of.")
    name: str = strawberry.field(description="Its name.")


@strawberry.type(
    description="A measured value. A metric may be no number, or infinite, which JSON cannot say."
)
class Metric:
    """A measured value."""

    name: str = strawberry.field(description="What was measured.")
    value: float | None = strawberry.field(description="The value; null where it is not finite.")
    text: str = strawberry.field(description="The value as text: a number, NaN, Infinity or -Infinity.")


def metrics(values: Mapping[str, float]) -> list[Metric]:
    """Metrics as they are shown, by name."""
    return [
        Metric(name=name, value=value if math.isfinite(value) else None, text=_as_text(value))
        for name, value in sorted(values.items())
    ]


def _as_text(value: float) -> str:
    return repr(value) if math.isfinite(value) else cast("str", wire.plain(value))


def _json(values: Mapping[str, digest.Framed]) -> JSON:
    return JSON(wire.plain(values))


@strawberry.type(description="A free name and value.")
class Label:
    """A free name and value."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


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

    @described("The project that owns its name.")
    def project(self) -> str:
        """The project."""
        return self.value.project

    @described(
        "What kind of thing it is: `dataset`, `model`, `metrics`, `report`, `file` or a kind of your own."
    )
    def kind(self) -> str:
        """The kind."""
        return self.value.kind

    @described("Its name.")
    def name(self) -> str:
        """The name."""
        return self.value.name

    @described("Its Versions, the highest number first.")
    async def versions(self, info: Info, first: First = 25, after: After = None) -> "VersionConnection":
        """A page of them."""
        page: replies.VersionPage = await info.context.loaders.versions_of.load(self.value, first, after)
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
    ) -> "Version | None":
        """One of them."""
        reference = model.Reference.parse(f"{self.value}@{selector}")
        found = await info.context.loaders.version_if_any(reference)
        return None if found is None else Version(value=found)

    @described("What its aliases meant, from when to when; the newest first.")
    async def aliases(
        self, info: Info, standing: Standing = False, first: First = 25, after: After = None
    ) -> "relay.Connection[Alias]":
        """A page of them."""
        return await _aliases(info, model.Reference(self.value), standing, first, after)


@strawberry.type(description="One immutable content of an Artifact.")
class Version(relay.Node):
    """One immutable content of an Artifact."""

    value: strawberry.Private[model.Version]

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Version` and `kind:name@N`: numbers are never given again, and lineage names Versions so."""
        return relay.id_of(relay.NodeType.VERSION, self.value.ref)

    @described("How people write it: `[project/]kind:name@N`.")
    def ref(self) -> str:
        """Its reference by number."""
        return self.value.ref

    @described("The Artifact whose content it is.")
    def artifact(self) -> Artifact:
        """The Artifact."""
        return Artifact(value=self.value.artifact)

    @described("Its number: they rise by one in the order in which contents were first published.")
    def number(self) -> int:
        """The number."""
        return self.value.number

    @described("The digest of its content.")
    def digest(self) -> Digest:
        """The digest."""
        return Digest(self.value.digest.text)

    @described("How much that digest proves.")
    def strength(self) -> model.Strength:
        """The strength."""
        return self.value.content.strength

    @described("Whether it is one file or a tree of them.")
    def form(self) -> model.Form:
        """The form."""
        return self.value.content.form

    @described("How large it is; null where that is not known.")
    def size_bytes(self) -> BigInt | None:
        """The size."""
        size = self.value.content.size_bytes
        return None if size is None else BigInt(size)

    @described("When it was first recorded.")
    def created_at(self) -> datetime:
        """The time."""
        return self.value.created_at

    @described("How it came to be: one production for each Run that made it, the newest first.")
    async def productions(
        self, info: Info, first: First = 25, after: After = None
    ) -> "relay.Connection[Production]":
        """A page of them."""
        loader = info.context.loaders.productions_of
        page: replies.ProductionPage = await loader.load(_exactly(self.value), first, after)
        return relay.connection(page, page.items, lambda made: Production(value=made), after)

    @described("The Runs that took it, from whatever production; the newest first.")
    async def consumers(self, info: Info, first: First = 25, after: After = None) -> "relay.Connection[Run]":
        """A page of them."""
        page = await info.context.loaders.consumers_of.load(_exactly(self.value), first, after)
        return _runs(page, after)

    @described("The aliases that meant it, from when to when; the newest first.")
    async def aliases(
        self, info: Info, standing: Standing = False, first: First = 25, after: After = None
    ) -> "relay.Connection[Alias]":
        """A page of them."""
        return await _aliases(info, _exactly(self.value), standing, first, after)

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
    ) -> history.Lineage:
        """Its lineage."""
        return await history.find(info, history.Sought([self.value.ref], direction, bounds, filter, frontier))


def _exactly(version: model.Version) -> model.Reference:
    return model.Reference(version.artifact, str(version.number))


@strawberry.type(description="A page of an Artifact's Versions.")
class VersionConnection(relay.Connection[Version]):
    """A page of an Artifact's Versions."""

    total_count: int = strawberry.field(description="How many Versions the Artifact has.")


@strawberry.type(description="What an alias meant over an interval: who moved it there, when, and why.")
class Alias:
    """What an alias meant over an interval."""

    value: strawberry.Private[model.Alias]

    @described("The alias, such as `prod`.")
    def name(self) -> str:
        """The name."""
        return self.value.name

    @described("The Version that it meant.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)

    @described("Since when.")
    def since(self) -> datetime:
        """The beginning."""
        return self.value.since

    @described("Until when; null while it stands.")
    def until(self) -> datetime | None:
        """The end."""
        return self.value.until

    @described("Who moved it there.")
    def actor(self) -> Actor:
        """The Actor."""
        return actor(self.value.actor)

    @described("Why; null where nobody said, or it was erased.")
    def reason(self) -> str | None:
        """The reason."""
        return self.value.reason

    @described("The number of the Version that it meant before; null for none.")
    def replaced(self) -> int | None:
        """The number before."""
        return self.value.replaced


async def _aliases(
    info: Info, subject: model.Reference, standing: bool, first: int, after: str | None
) -> "relay.Connection[Alias]":
    page: replies.AliasPage = await info.context.loaders.aliases_of.load(
        subject, first, after, standing=standing
    )
    return relay.connection(page, page.items, lambda moved: Alias(value=moved), after)


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────


@strawberry.type(
    description="One Output of one Run: how a Version came to be. Whatever describes that stands here."
)
class Production:
    """One Output of one Run."""

    value: strawberry.Private[model.Output]

    @described("The role that the Run gave it.")
    def role(self) -> str:
        """The role."""
        return self.value.role

    @described("The Version that was made.")
    def version(self) -> Version:
        """The Version."""
        return Version(value=self.value.version)

    @described("The Run that made it; null where you may not read it.")
    async def run(self, info: Info) -> "Run | None":
        """The Run."""
        return _run(await info.context.loaders.run(self.value.run))

    @described("The name of the file that it was.")
    def filename(self) -> str | None:
        """The file name."""
        return self.value.filename

    @described("The form in which it was written, such as `parquet`.")
    def format(self) -> str | None:
        """The format."""
        return self.value.format

    @described("Where the bytes are, if not in the Blob store.")
    def location(self) -> str | None:
        """The location."""
        return self.value.location

    @described("What the Run said of it in free words.")
    def description(self) -> str | None:
        """The description."""
        return self.value.description

    @described("What the Run said of it, as named values. What JSON has not is written as text.")
    def metadata(self) -> JSON:
        """The metadata."""
        return _json(self.value.metadata)

    @described("What was measured of it.")
    def metrics(self) -> list[Metric]:
        """The metrics."""
        return metrics(self.value.metrics)

    @described("How many of the Run's Inputs it says it came from; null where it does not say.")
    def derived_from_count(self) -> int | None:
        """How many."""
        return None if self.value.derived_from is None else len(self.value.derived_from)

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
class Input:
    """A Version that a Run took."""

    value: strawberry.Private[model.Input]

    @described("The role in which it was taken.")
    def role(self) -> str:
        """The role."""
        return self.value.role

    @described("Its place among the members of a list in one role.")
    def ordinal(self) -> int:
        """The place."""
        return self.value.ordinal

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

    @described("Whether nobody said which production it was taken from, so that any earlier one stands in.")
    def ambiguous(self) -> bool:
        """Whether it is."""
        return self.value.producer is None


@strawberry.type(description="The code that a Run ran, and whether it can be made again.")
class Code:
    """The code that a Run ran."""

    entry: str | None = strawberry.field(description="What was called, as `module:qualified.name`.")
    bundle: Digest | None = strawberry.field(description="The Manifest of its source.")
    python: str | None = strawberry.field(description="The version of Python.")
    environment: Digest | None = strawberry.field(description="The Blob of its Environment.")
    git: JSON = strawberry.field(description="What git said: remote, commit, whether anything was changed.")
    argv: list[str] = strawberry.field(description="The command line.")
    rerunnable: bool = strawberry.field(description="Whether the Run can be made again.")
    because: str | None = strawberry.field(description="Why it cannot.")
    blind_spots: list[str] = strawberry.field(description="What of it could not be seen.")


def _code(capture: model.Capture) -> Code:
    return Code(
        entry=capture.entry,
        bundle=None if capture.bundle is None else Digest(capture.bundle.text),
        python=capture.python,
        environment=None if capture.environment is None else Digest(capture.environment.text),
        git=JSON(dict(capture.git)),
        argv=list(capture.argv),
        rerunnable=capture.rerunnable,
        because=capture.because,
        blind_spots=list(capture.blind_spots),
    )


@strawberry.type(description="What the cache had to do with a Run.")
class CacheOutcome:
    """What the cache had to do with a Run."""

    value: strawberry.Private[model.Run]

    @described("How the Run was to treat the cache.")
    def mode(self) -> model.Mode:
        """The mode."""
        return self.value.mode

    @described("What must be equal for a result to be used again; null where there is no such key.")
    def key(self) -> str | None:
        """The key."""
        return self.value.key

    @described("What the cache decided: to reuse, or to execute.")
    def decision(self) -> explaining.Decision:
        """The decision."""
        return explaining.Decision.REUSE if self.reused() else explaining.Decision.EXECUTE

    @described("Whether the result of another Run was used, instead of executing.")
    def reused(self) -> bool:
        """Whether it was."""
        return self.value.state is model.RunState.REUSED

    @described(
        "What became of its own result: `entered`, `renewed`, `superseded`, `diverged`, `refused`, `none`."
    )
    def outcome(self) -> str | None:
        """The outcome."""
        return None if self.value.outcome is None else self.value.outcome.partition(": ")[0]

    @described("Why that became of it; null where there is nothing to say.")
    def reason(self) -> str | None:
        """The reason."""
        return None if self.value.outcome is None else self.value.outcome.partition(": ")[2] or None

    @described(
        "Why it executed: `no entry`, `expired`, `output missing`, `refreshed`, `waited` …; null where it was reused."
    )
    def executed_because(self) -> str | None:
        """The reason to execute."""
        return self.value.reason

    @described("Why the key is what it is. Of one Run at a time: not inside a list.", alone=True)
    async def explanation(self, info: Info) -> explaining.Explanation:
        """The explanation."""
        return explaining.explanation(await info.context.loaders.ask("explain", run=str(self.value.uid)))


@strawberry.type(description="One execution of a Job, or the standing-in of another's result for one.")
class Run(relay.Node):
    """One execution of a Job."""

    value: strawberry.Private[model.Run]

    @described("A global id: opaque, and the same for good.")
    def id(self) -> strawberry.ID:
        """`Run` and its uid."""
        return relay.id_of(relay.NodeType.RUN, self.value.uid)

    @described("The id that its client made, as people write it.")
    def uid(self) -> strawberry.ID:
        """The uid."""
        return strawberry.ID(str(self.value.uid))

    @described("The project that it is of.")
    def project(self) -> str:
        """The project."""
        return self.value.project

    @described("The Job that it is an execution of.")
    def job(self) -> Job:
        """The Job."""
        return Job(project=self.value.project, name=self.value.job)

    @described("Where it stands.")
    def state(self) -> model.RunState:
        """The state."""
        return self.value.state

    @described("Whether it was not heard of, and is taken to have been aborted, until it says otherwise.")
    def presumed(self) -> bool:
        """Whether its end is presumed."""
        return self.value.presumed

    @described("Who or what is responsible.")
    def actor(self) -> Actor:
        """The Actor."""
        return actor(self.value.actor)

    @described("When it was recorded to have begun.")
    def started_at(self) -> datetime:
        """The beginning."""
        return self.value.started_at

    @described("When it was recorded to have ended; null while it runs.")
    def finished_at(self) -> datetime | None:
        """The end."""
        return self.value.finished_at

    @described("How long it took; null while it runs.")
    def seconds(self) -> float | None:
        """How long."""
        ended = self.value.finished_at
        return None if ended is None else (ended - self.value.started_at).total_seconds()

    @described("The parameters, by name. What JSON has not is written as text.")
    def params(self) -> JSON:
        """The parameters."""
        return _json(self.value.params)

    @described("What it measured: of a series, the last value.")
    def metrics(self) -> list[Metric]:
        """The metrics."""
        return metrics(self.value.metrics)

    @described("Free names and values. Those that were erased are absent.")
    def labels(self) -> list[Label]:
        """The labels."""
        return [Label(name=name, value=value) for name, value in sorted(self.value.labels.items())]

    @described("What was found wrong while it ran.")
    def warnings(self) -> list[str]:
        """The warnings."""
        return list(self.value.warnings)

    @described("Why it failed; null where it did not, or it was erased.")
    def error(self) -> str | None:
        """The error."""
        return self.value.error

    @described("The code that it ran.")
    def code(self) -> Code:
        """The code."""
        return _code(self.value.capture)

    @described("What the cache had to do with it.")
    def cache(self) -> CacheOutcome:
        """The cache's part."""
        return CacheOutcome(value=self.value)

    @described("The Run whose result stands in for its own; null where it executed, or you may not read it.")
    async def origin(self, info: Info) -> "Run | None":
        """The origin."""
        return _run(await info.context.loaders.run(self.value.origin))

    @described("The Run that it is a part of; null for none, or where you may not read it.")
    async def parent(self, info: Info) -> "Run | None":
        """The parent."""
        return _run(await info.context.loaders.run(self.value.parent))

    @described("The Run that it is another attempt of; null for none, or where you may not read it.")
    async def retry_of(self, info: Info) -> "Run | None":
        """The earlier attempt."""
        return _run(await info.context.loaders.run(self.value.retry_of))

    @described("The Run that it made again; null for none, or where you may not read it.")
    async def rerun_of(self, info: Info) -> "Run | None":
        """The original."""
        return _run(await info.context.loaders.run(self.value.rerun_of))

    @described("The Runs that are a part of it, the newest first.")
    async def children(self, info: Info, first: First = 25, after: After = None) -> "relay.Connection[Run]":
        """A page of them."""
        return _runs(await info.context.loaders.children_of.load(self.value.uid, first, after), after)

    @described("What it took, by role; of a reused Run that took nothing itself, what its origin took.")
    async def inputs(self, info: Info, first: First = 25, after: After = None) -> relay.Connection[Input]:
        """A page of them."""
        page: replies.InputPage = await info.context.loaders.inputs_of.load(self.value.uid, first, after)
        return relay.connection(page, page.items, lambda taken: Input(value=taken), after)

    @described("What it made, in the order in which it said so; of a reused Run, what its origin made.")
    async def outputs(
        self, info: Info, first: First = 25, after: After = None
    ) -> relay.Connection[Production]:
        """A page of them."""
        loader = info.context.loaders.outputs_of
        page: replies.ProductionPage = await loader.load(self.value.uid, first, after)
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
    ) -> history.Lineage:
        """Its lineage."""
        return await history.find(
            info, history.Sought([str(self.value.uid)], direction, bounds, filter, frontier)
        )


def _run(found: model.Run | None) -> Run | None:
    return None if found is None else Run(value=found)


def _runs(page: replies.RunPage, after: str | None) -> relay.Connection[Run]:
    return relay.connection(page, page.items, lambda run: Run(value=run), after)
