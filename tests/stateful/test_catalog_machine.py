"""Random histories against a catalog of plain dicts: bytes made again, self-loops, reverts, reuse."""

import tempfile
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tests import simulator
from tests.simulator import World, claim, taken
from whence_catalog import cache, lineage, model
from whence_catalog.errors import NotFound
from whence_catalog.sql.catalog import SqlCatalog

NAMES = st.sampled_from(["dataset:a", "dataset:b", "model:m"])
CONTENTS = st.sampled_from([b"A", b"B", b"C"])


@dataclass
class Plain:
    """The same catalog, as simply as it can be said."""

    versions: dict[str, list[bytes]] = field(default_factory=dict)
    newest: dict[str, bytes] = field(default_factory=dict)
    aliases: dict[str, bytes] = field(default_factory=dict)
    took: dict[UUID, set[UUID]] = field(default_factory=dict)
    made: dict[UUID, dict[str, bytes]] = field(default_factory=dict)
    entries: dict[tuple[object, ...], UUID] = field(default_factory=dict)

    def produce(self, run: UUID, outputs: dict[str, bytes], producers: set[UUID]) -> None:
        self.took[run], self.made[run] = producers, outputs
        for name, content in outputs.items():
            known = self.versions.setdefault(name, [])
            if content not in known:
                known.append(content)
            self.newest[name] = content

    def upstream(self, run: UUID) -> set[UUID]:
        reached, waiting = {run}, [run]
        while waiting:
            fresh = self.took[waiting.pop()] - reached
            reached |= fresh
            waiting += fresh
        return reached


class CatalogMachine(RuleBasedStateMachine):
    outputs = Bundle("outputs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.catalog = SqlCatalog.open(Path(self.folder.name) / "catalog.db", synchronous="OFF")
        self.world = World(self.catalog)
        self.plain = Plain()

    def teardown(self) -> None:
        try:
            assert self.catalog.check().problems == ()
        finally:
            self.catalog.close()
            self.folder.cleanup()

    @rule(target=outputs, name=NAMES, content=CONTENTS)
    def bring_in(self, name: str, content: bytes) -> model.Output:
        finished = self.world.note("bring in", {name: content})
        self.plain.produce(finished.run.uid, {name: content}, set())
        return finished.outputs[0]

    @rule(target=outputs, source=outputs, other=outputs, name=NAMES, content=CONTENTS)
    def derive(self, source: model.Output, other: model.Output, name: str, content: bytes) -> model.Output:
        """Takes two, and says which of them it comes from; may make the very Version that it takes."""
        call = self.world.plain_call("derive", [taken(source, "in"), taken(other, "also")])
        made = claim(name, content, derived_from=(taken(source).source,))
        report = replace(self.world.report(call), outputs=(made,))
        finished = simulator.one(self.catalog.record_runs([(call, report)]))
        self.plain.produce(call.run, {name: content}, {source.run, other.run})
        assert finished.outputs[0].derived_from == made.derived_from
        return finished.outputs[0]

    @rule(target=outputs, source=outputs, name=NAMES, content=CONTENTS, again=st.booleans())
    def add_as_it_runs(self, source: model.Output, name: str, content: bytes, again: bool) -> model.Output:
        """Publishes while it runs, says so twice, or is not heard of and reports after all."""
        call = self.world.plain_call("add")
        self.world.begin(call)
        addition = model.Addition(
            simulator.uid(), call.run, simulator.ACTOR, (taken(source, "in"),), (claim(name, content),)
        )
        added = [simulator.one(self.catalog.add([addition])) for _ in range(2 if again else 1)]
        if again:
            self.catalog.beat([call.run], timedelta(microseconds=-1))
            assert self.catalog.sweep() == [call.run]
        self.world.finish(self.world.report(call))
        self.plain.produce(call.run, {name: content}, {source.run})
        return added[-1][0]

    @rule(
        target=outputs, source=outputs, c=st.sampled_from([1, 1.0, True, "1"]), name=NAMES, content=CONTENTS
    )
    def step(self, source: model.Output, c: object, name: str, content: bytes) -> model.Output:
        """A keyed step: executes once for the same job, parameter and input bytes, whatever made those."""
        call = self.world.call(f"step to {name}", c, [taken(source, "in")])
        key = (name, type(c), c, source.version.digest)
        answer = self.world.ask(call)
        if key in self.plain.entries:
            assert isinstance(answer, cache.Reuse)
            assert answer.entry.run == self.plain.entries[key]
            return answer.outputs[0]
        assert isinstance(answer, cache.Execute)
        finished = self.world.finish(self.world.report(call, {name: content}, answer.token))
        assert finished.publication.outcome is model.Outcome.ENTERED
        self.plain.entries[key] = call.run
        self.plain.produce(call.run, {name: content}, {source.run})
        return finished.outputs[0]

    @rule(source=outputs)
    def fail(self, source: model.Output) -> None:
        call = self.world.call("fails", 1, [taken(source, "in")])
        begun = self.world.begin(call)
        failed = self.world.report(call, {}, begun.token, model.RunState.FAILED, error="no")
        assert self.world.finish(failed).publication.outcome is model.Outcome.NONE

    @rule(target_output=outputs, name=st.sampled_from(["prod", "stage"]))
    def move_alias(self, target_output: model.Output, name: str) -> None:
        version = target_output.version
        move = model.AliasMove(simulator.uid(), version.artifact, name, version.digest, simulator.ACTOR)
        simulator.one(self.catalog.move_aliases([move]))
        self.plain.aliases[f"{version.artifact}@{name}"] = self.plain.made[target_output.run][
            next(
                role
                for role, content in self.plain.made[target_output.run].items()
                if simulator.digest_of(content) == version.digest
            )
        ]

    @rule(output=outputs)
    def ask_where_from(self, output: model.Output) -> None:
        graph = self.catalog.lineage([str(output.run)], lineage.Direction.UP, lineage.Bounds(max_nodes=None))
        assert graph.completeness == lineage.Completeness(complete=True)
        assert {UUID(node.id) for node in graph.nodes if node.type == "run"} == self.plain.upstream(
            output.run
        )

    @rule(output=outputs)
    def ask_what_came_of_it(self, output: model.Output) -> None:
        graph = self.catalog.lineage(
            [str(output.run)], lineage.Direction.DOWN, lineage.Bounds(max_nodes=None)
        )
        executed = {UUID(n.id) for n in graph.nodes if n.type == "run" and n.state == "complete"}
        assert executed == {run for run in self.plain.took if output.run in self.plain.upstream(run)}

    @invariant()
    def versions_agree(self) -> None:
        for name, contents in self.plain.versions.items():
            for number, content in enumerate(contents, start=1):
                assert self.resolved(f"{name}@{number}").digest == simulator.digest_of(content)
            assert self.resolved(name).digest == simulator.digest_of(self.plain.newest[name])
            (missing,) = self.catalog.resolve([model.Reference.parse(f"{name}@{len(contents) + 1}")])
            assert isinstance(missing, NotFound)

    @invariant()
    def aliases_agree(self) -> None:
        for reference, content in self.plain.aliases.items():
            assert self.resolved(reference).digest == simulator.digest_of(content)

    def resolved(self, reference: str) -> model.Version:
        found: model.Output = simulator.one(self.catalog.resolve([model.Reference.parse(reference)]))
        return found.version


TestCatalogMachine = CatalogMachine.TestCase
TestCatalogMachine.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
