"""Plans as GraphQL shows them: what bringing Runs up to date would do. Nothing is recorded, and nothing run.

Decides how many Runs one plan looks at, and how what people name is put in the catalog's words. A plan that is to be
carried out is made by who carries it out: it says more than is shown here.
"""

import asyncio
import dataclasses
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, TypeAlias, assert_never, cast

import strawberry
from strawberry.scalars import JSON

from whence_api.graphql import enums, refusals, relay, types, values
from whence_api.graphql.loaders import Info
from whence_api.graphql.refusals import Denied, InvalidInput, NotFound
from whence_api.graphql.relay import After, First, described
from whence_catalog import digest, errors, lineage, model, plans, wire
from whence_catalog.errors import WhenceError


class Step(StrEnum):
    """What can become of a Run, by the names of `plans.name`."""

    REUSE = "reuse"
    EXECUTE = "execute"
    CONDITIONAL = "conditional"
    BLOCKED = "blocked"


enums.describe(
    Step,
    "PlanStep",
    "What becomes of a Run.",
    REUSE="Nothing is run: what it would make is there.",
    EXECUTE="It is run.",
    CONDITIONAL="What it takes is made first: then its result is known, or it is run.",
    BLOCKED="It would have to be run, and cannot be.",
)
enums.describe(
    plans.ReadType,
    "PlanReadType",
    "What a plan can rest on.",
    ENTRY="What the cache has under a key.",
    ALIAS="What an alias means.",
    STATE="Where a Version stands.",
)


# ── what is asked for ────────────────────────────────────────────────────────────────────────────


@strawberry.input(description="What is taken in the place of something else.")
class ReplacementInput:
    """What is taken in the place of something else."""

    instead_of: strawberry.ID = strawberry.field(
        description="A Version, or an Artifact for every Version of it: its id, or `[project/]kind:name[@selector]`."
    )
    take: strawberry.ID = strawberry.field(
        description="The Version that is taken, of the newest production of it: its id, or its reference."
    )


@strawberry.input(description="Another value of a parameter, for all Runs of a Job.")
class ParameterInput:
    """Another value of a parameter."""

    job: str = strawberry.field(description="The name of the Job.")
    name: str = strawberry.field(description="The name of the parameter.")
    value: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="The value; null stands for None. A whole number stands for a float where a float was recorded.",
    )


@strawberry.input(
    description="What is to be brought up to date, and with what changed. Name targets, or what to follow downstream, or"
    " both: then what lies between is planned."
)
class PlanInput:
    """What is to be brought up to date, and with what changed."""

    targets: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="Versions and Runs, by ids, references or uids: they, and all that they came from.",
    )
    downstream_of: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Versions, by ids or references: all that came of them."
    )
    inputs: list[ReplacementInput] | None = strawberry.field(
        default=None, description="What is taken in the place of what."
    )
    params: list[ParameterInput] | None = strawberry.field(
        default=None, description="Other values of parameters."
    )
    as_of: values.AsOf | None = strawberry.field(
        default=None,
        description="Look at the Runs that were known then. What the cache would answer, and what aliases mean, is always"
        " that of now.",
    )
    max_runs: int = strawberry.field(
        default=relay.NODES,
        description="How many Runs to look at at most; what is farther away is taken as it stands, and the plan says so.",
    )


# ── what is answered ─────────────────────────────────────────────────────────────────────────────


@strawberry.type(description="What running something may take, by the last Runs of its Job.")
class Expectation:
    """What running something may take."""

    value: strawberry.Private[plans.Expected]

    seconds: float | None = relay.reads("How many seconds of work; null where that is not known.", "seconds")
    size_bytes: values.BigInt | None = relay.reads(
        "How large what it makes may be; null where that is not known.", "size_bytes"
    )
    runs: int = relay.reads(
        "From how many Runs that is known; of a whole plan, of how many of its steps it is.", "runs"
    )


@strawberry.type(description="What a Run would take.")
class PlannedInput:
    """What a Run would take."""

    value: strawberry.Private[plans.Taken]

    role: str = relay.reads("The role in which it is taken.", "role")
    ordinal: int = relay.reads("The place among the members of a list in one role.", "ordinal")
    output: str | None = relay.reads(
        "The role of the Output of that Run of this plan; null where it is made by none.", "output"
    )
    ambiguous: bool = relay.reads(
        "Whether nobody said which production it was taken from, and the newest that it can have been stands in.",
        "may_be",
    )

    @described("The Artifact that it is of; null where you may not read it.")
    def artifact(self) -> types.Artifact | None:
        """The Artifact."""
        return None if _is_masked(self.value.artifact) else types.Artifact(value=self.value.artifact)

    @described("The Version; null where it is still to be made, or you may not read it.")
    async def version(self, info: Info) -> types.Version | None:
        """The Version."""
        return await _version(info, self.value.artifact, self.value.content)

    @described("The Run that made that Version; null for none, or where you may not read it.")
    async def producer(self, info: Info) -> types.Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.producer))

    @described("The Run of this plan that makes it; null where what is recorded is taken as it is.")
    async def made_by(self, info: Info) -> types.Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.step))


@strawberry.type(description="What is there already of what a Run would make.")
class ReusedOutput:
    """What is there already."""

    value: strawberry.Private[plans.Made]

    role: str = relay.reads("The role of the Output.", "role")

    @described("The Version; null where you may not read it.")
    async def version(self, info: Info) -> types.Version | None:
        """The Version."""
        return await _version(info, self.value.artifact, self.value.content)


@strawberry.type(description="What becomes of one Run.")
class PlannedRun:
    """What becomes of one Run."""

    value: strawberry.Private[plans.PlannedRun]

    step: Step = relay.reads("What becomes of it.", "step", lambda step: Step(plans.name(step)))
    key: str | None = relay.reads(
        "The key that it would have; null where it has none, or that is known only when other Runs have ended.",
        "key",
    )
    stands: bool = relay.reads(
        "Whether it has no key, and need not be run if all that it takes comes out as it was.", "stands"
    )
    expected: Expectation | None = relay.reads(
        "What running it may take; null where it is not to be run.",
        "expected",
        lambda expected: Expectation(value=expected),
    )

    @described("The Run.")
    async def run(self, info: Info) -> types.Run | None:
        """The Run."""
        return types.run_if_any(await info.context.loaders.run(self.value.run))

    @described(
        "The Run whose parameters, code and environment it has: itself, or its origin where it was reused."
    )
    async def recipe(self, info: Info) -> types.Run | None:
        """The Run that executed."""
        return types.run_if_any(await info.context.loaders.run(self.value.recipe))

    @described("The Job.")
    def job(self) -> types.Job:
        """The Job."""
        return types.Job(project=self.value.project, name=self.value.job)

    @described(
        "Why: the reason for which it is reused or executed; all that blocks it; of a conditional one, why it could not"
        " then be run, and nothing where it could."
    )
    def reasons(self, first: First = 25) -> list[str]:
        """The first of them."""
        match self.value.step:
            case plans.Reuse(why=why) | plans.Execute(why=why):
                return [why]
            case plans.Conditional(obstacles=whys) | plans.Blocked(why=whys):
                return list(whys[:first])
            case _:
                assert_never(self.value.step)

    @described("The first of the Runs that it waits for, where it is conditional.")
    async def on(self, info: Info, first: First = 25) -> list[types.Run | None]:
        """The first of them."""
        step = self.value.step
        return await _runs(info, step.on[:first]) if isinstance(step, plans.Conditional) else []

    @described(
        "The Run whose result stands for its own; null where it is not reused, or you may not read it."
    )
    async def reused(self, info: Info) -> types.Run | None:
        """The Run."""
        step = self.value.step
        return types.run_if_any(
            await info.context.loaders.run(step.run if isinstance(step, plans.Reuse) else None)
        )

    @described("What that result is: the first of its Outputs.")
    def outputs(self, first: First = 25) -> list[ReusedOutput]:
        """The first of them."""
        step = self.value.step
        made = step.outputs[:first] if isinstance(step, plans.Reuse) else ()
        return [ReusedOutput(value=each) for each in made]

    @described("What it would take: the first so many.")
    def takes(self, first: First = 25) -> list[PlannedInput]:
        """The first of them."""
        return [PlannedInput(value=taken) for taken in self.value.takes[:first]]

    @described("How many Versions it would take.")
    def take_count(self) -> int:
        """How many."""
        return len(self.value.takes)

    @described(
        "The parts of its key that are no longer as they were, such as `params/lr`: the first so many."
    )
    def changed(self, first: First = 25) -> list[str]:
        """The first of them."""
        return list(self.value.changed[:first])


@strawberry.type(description="One thing that a plan rests on, and what it was.")
class PlanRead:
    """One thing that a plan rests on."""

    value: strawberry.Private[plans.Read]

    type: plans.ReadType = relay.reads("What it is.", "type")
    name: str = relay.reads("Its name: a key, an alias of an Artifact, a Version by its content.", "name")
    said: str = relay.reads("What it was, in words: `none`, for example, of a key.", "said")


@strawberry.type(
    description="What bringing Runs up to date would do. Whether the bytes of what would be reused or taken are still in"
    " the store is not looked at."
)
class RerunPlan:
    """What bringing Runs up to date would do."""

    value: strawberry.Private[plans.RerunPlan]

    position: values.BigInt = relay.reads("Up to which position of the log Runs were looked at.", "position")
    complete: bool = relay.reads("Whether all that there is was looked at, and is sure.", "complete")
    reasons: list[str] = relay.reads(
        "What was not looked at, or is not sure: what the plan says of the rest stands.", "reasons", list
    )
    possible: bool = relay.reads("Whether nothing in it is blocked.", "is_possible")
    reuse_count: int = relay.reads("How many Runs are reused.", "counts", lambda counts: counts["reuse"])
    execute_count: int = relay.reads("How many are executed.", "counts", lambda counts: counts["execute"])
    conditional_count: int = relay.reads(
        "Of how many that is known only when others have ended.",
        "counts",
        lambda counts: counts["conditional"],
    )
    blocked_count: int = relay.reads("How many are blocked.", "counts", lambda counts: counts["blocked"])

    @described("What those take together that are executed, one after the other.")
    def expected(self) -> Expectation:
        """What is sure to be run."""
        return Expectation(value=plans.total(self.value)[0])

    @described("The same, with all that may have to be executed.")
    def at_most(self) -> Expectation:
        """All that may have to be run."""
        return Expectation(value=plans.total(self.value)[1])

    @described("The first of the Runs that were named as targets, or made the Versions that were.")
    async def targets(self, info: Info, first: First = 25) -> list[types.Run | None]:
        """The first of them."""
        return await _runs(info, self.value.targets[:first])

    @described(
        "What becomes of each Run, each after those that it takes something from. To go on behind a page, ask for the"
        " same plan with its `position` as `asOf`."
    )
    async def steps(self, first: First = 25, after: After = None) -> relay.Connection[PlannedRun]:
        """A page of them."""
        whole = relay.Whole("steps", self._name(), self.value.steps, lambda planned: str(planned.run))
        return whole.page(lambda planned: PlannedRun(value=planned), first, after)

    @described("What it rests on: as long as that is so, the plan stands.")
    async def reads(self, first: First = 25, after: After = None) -> relay.Connection[PlanRead]:
        """A page of it."""
        whole = relay.Whole("reads", self._name(), self.value.read, lambda read: f"{read.type} {read.name}")
        return whole.page(lambda read: PlanRead(value=read), first, after)

    def _name(self) -> str:
        """Which plan it is, so that no cursor of one is taken for one of another."""
        asked = dataclasses.replace(self.value.request, uid=_NOBODY, as_of=self.value.position)
        return hashlib.sha256(wire.encode(asked)).hexdigest()[:16]


_NOBODY = uuid.UUID(int=0)


def _is_masked(artifact: model.Artifact) -> bool:
    return artifact.project == lineage.MASKED


async def _version(
    info: Info, artifact: model.Artifact, content: model.Content | None
) -> types.Version | None:
    if content is None or _is_masked(artifact):
        return None
    found = await info.context.loaders.version_if_any(model.Reference(artifact, content.digest.text))
    return None if found is None else types.Version(value=found)


async def _runs(info: Info, uids: Sequence[uuid.UUID]) -> list[types.Run | None]:
    return list(map(types.run_if_any, await asyncio.gather(*map(info.context.loaders.run, uids))))


PlanResult: TypeAlias = Annotated[
    RerunPlan | NotFound | InvalidInput | Denied,
    strawberry.union("PlanResult", description="A plan, or why there is none."),
]


# ── the question ─────────────────────────────────────────────────────────────────────────────────


@strawberry.type
class Plans:
    """What would have to be made again, as a part of the root of every query."""

    @described(
        "What bringing Versions and Runs up to date would do, with other data or other parameters: what of it is there,"
        " what would be run, and why. Nothing is recorded.",
        alone=True,
        weight=relay.WHOLE,
    )
    async def plan(
        self,
        info: Info,
        input: Annotated[PlanInput, strawberry.argument(description="What is to be brought up to date.")],
    ) -> PlanResult:
        """What would be done."""
        try:
            request = await _request(info, input)
            found: plans.RerunPlan = await info.context.loaders.ask("plan", request=request)
            if input.params:
                known = await _params_of(info, found)
                given = [(each.job, each.name, _value(each)) for each in input.params]
                request = dataclasses.replace(request, params=plans.given(given, known))
                found = await info.context.loaders.ask("plan", request=request)
        except WhenceError as error:
            return refusals.of_question(error)
        return RerunPlan(value=found)


async def _request(info: Info, asked: PlanInput) -> plans.PlanRequest:
    """What is asked for, in the catalog's words, without the parameters.

    Raises:
        WhenceError: it is more than this server plans at once, or something is named that cannot be.
    """
    most = info.context.bounds.nodes
    if not 1 <= asked.max_runs <= most:
        raise errors.InvalidInput(f"maxRuns is {asked.max_runs}; this server plans 1 to {most} at once")
    return plans.PlanRequest(
        uuid.uuid4(),
        targets=tuple(map(relay.subject_of, asked.targets or ())),
        downstream_of=tuple(str(relay.reference_of(text)) for text in asked.downstream_of or ()),
        inputs=await _replacements(info, asked.inputs or ()),
        as_of=await info.context.position(asked.as_of),
        max_runs=asked.max_runs,
    )


async def _replacements(info: Info, asked: Sequence[ReplacementInput]) -> Mapping[str, plans.Replacement]:
    named = [str(relay.reference_of(each.instead_of)) for each in asked]
    if twice := [name for name in named if named.count(name) > 1]:
        raise errors.InvalidInput(f"inputs says twice what is taken instead of {twice[0]}")
    taken = [relay.reference_of(each.take) for each in asked]
    outputs = await info.context.loaders.ask("resolve", references=taken) if taken else ()
    found: dict[str, plans.Replacement] = {}
    for name, reference, output in zip(named, taken, outputs, strict=True):
        if isinstance(output, WhenceError):
            raise output
        found[name] = plans.Replacement(
            output.version.artifact, output.version.content, output.run, named=str(reference)
        )
    return found


async def _params_of(info: Info, found: plans.RerunPlan) -> Mapping[str, Mapping[str, digest.Framed]]:
    """The parameters of the last Run of each Job of a plan."""
    last = {step.job: step.recipe for step in found.steps}
    runs = await asyncio.gather(*map(info.context.loaders.run, last.values()))
    return {job: run.params for job, run in zip(last, runs, strict=True) if run is not None}


def _value(asked: ParameterInput) -> digest.Framed:
    if asked.value is strawberry.UNSET:
        raise errors.InvalidInput(f"params gives {asked.job}.{asked.name} no value; say null for None")
    return cast("digest.Framed", asked.value)
