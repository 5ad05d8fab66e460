"""What is different between two Runs, or two Versions, as GraphQL shows it: part by part."""

from typing import Annotated, TypeAlias

import strawberry
from strawberry.scalars import JSON

from whence_api.graphql import enums, explaining, relay, types
from whence_api.graphql import lineage as history
from whence_api.graphql.refusals import Denied, InvalidInput, NotFound
from whence_api.graphql.relay import First, described
from whence_catalog import cache, difference, model, wire
from whence_catalog import lineage as traversal

enums.describe(
    difference.Verdict,
    "PartVerdict",
    "What is known of a part of two things.",
    SAME="It is the same.",
    CHANGED="It is not.",
    UNKNOWN="Neither can be told: something of it was not recorded, or is known by less than its content.",
)


@strawberry.type(description="What is known of a part of two things.")
class Part:
    """What is known of a part."""

    name: str = strawberry.field(description="Which part: `code`, `data`, `params` …")
    verdict: difference.Verdict = strawberry.field(description="What is known of it.")
    note: str | None = strawberry.field(
        description="Why no more is known; null where there is nothing to say."
    )
    counts: JSON = strawberry.field(description="How many of its items are the same, changed, added …")


@strawberry.type(description="An Input beside the one in the same role and place.")
class InputChange:
    """An Input beside another."""

    value: strawberry.Private[difference.InputChange]

    role: str = relay.reads("The role.", "role")
    ordinal: int = relay.reads("The place among the members of a list in one role.", "ordinal")
    verdict: difference.Verdict = relay.reads("Whether the contents are the same.", "verdict")

    @described("The Version on the left; null for none, or where you may not read it.")
    def before(self) -> types.Version | None:
        """The Version on the left."""
        return _seen(self.value.before)

    @described("The Version on the right; null for none, or where you may not read it.")
    def after(self) -> types.Version | None:
        """The Version on the right."""
        return _seen(self.value.after)


@strawberry.type(description="A metric beside its namesake.")
class MetricChange:
    """A metric beside its namesake."""

    value: strawberry.Private[difference.MetricChange]

    name: str = relay.reads("What was measured.", "name")
    of: str | None = relay.reads("The role of the Output that it is of; null for the Run.", "of")
    change: cache.Change = relay.reads("How the two compare.", "change")
    before: str | None = relay.reads("The value on the left, as text; null for none.", "before", repr)
    after: str | None = relay.reads("The value on the right, as text; null for none.", "after", repr)


@strawberry.type(description="A parameter beside its namesake.")
class ParameterChange:
    """A parameter beside its namesake."""

    value: strawberry.Private[difference.ValueChange]

    name: str = relay.reads("Its name.", "name")
    change: cache.Change = relay.reads("How the two compare.", "change")

    before: JSON | None = relay.reads("The value on the left.", "before", wire.plain)

    after: JSON | None = relay.reads("The value on the right.", "after", wire.plain)


@strawberry.type(
    description="What changed from one Run or Version to another. Lists hold what changed first."
)
class Difference:
    """What changed from one to another."""

    value: strawberry.Private[difference.Difference]

    @described("The Run on the left; of a Version, the one of its newest production.")
    def left(self) -> types.Run:
        """The Run on the left."""
        return types.Run(value=self.value.left.run)

    @described("The Run on the right; of a Version, the one of its newest production.")
    def right(self) -> types.Run:
        """The Run on the right."""
        return types.Run(value=self.value.right.run)

    @described("Each part, and what is known of it.")
    def parts(self) -> list[Part]:
        """The parts."""
        return [
            Part(name=name, verdict=part.verdict, note=part.note, counts=JSON(dict(part.counts)))
            for name, part in self.value.parts.items()
        ]

    @described("The Inputs beside one another.")
    def inputs(self, first: First = 25) -> list[InputChange]:
        """The first of them."""
        return [InputChange(value=change) for change in self.value.inputs[:first]]

    @described("The parts of the code beside one another.")
    def components(self, first: First = 25) -> list[explaining.ComponentVerdict]:
        """The first of them."""
        return explaining.verdicts(self.value.components[:first])

    @described("The parameters beside one another.")
    def params(self, first: First = 25) -> list[ParameterChange]:
        """The first of them."""
        return [ParameterChange(value=change) for change in self.value.param_changes[:first]]

    @described("The metrics beside one another.")
    def metrics(self, first: First = 25) -> list[MetricChange]:
        """The first of them."""
        return [MetricChange(value=change) for change in self.value.metric_changes[:first]]

    @described("The first of the nodes that are upstream of the left alone.")
    def upstream_left(self, first: First = 25) -> list[history.LineageNode]:
        """The first of them."""
        return list(history.nodes(self.value.upstream.left.nodes[:first]))

    @described("The first of the nodes that are upstream of the right alone.")
    def upstream_right(self, first: First = 25) -> list[history.LineageNode]:
        """The first of them."""
        return list(history.nodes(self.value.upstream.right.nodes[:first]))

    masked: int = relay.reads("How much of it you may not see.", "masked")

    @described("Whether all that is upstream was looked at.")
    def completeness(self) -> history.Completeness:
        """Whether it is all."""
        return history.completeness(self.value.upstream.completeness)


def _seen(version: model.Version | None) -> types.Version | None:
    if version is None or version.artifact.project == traversal.MASKED:
        return None
    return types.Version(value=version)


DifferenceResult: TypeAlias = Annotated[
    Difference | NotFound | InvalidInput | Denied,
    strawberry.union("DifferenceResult", description="What changed, or why there is no answer."),
]
