"""Random histories, recorded for real, and what they must be answered with: a statement of lineage in networkx.

Few Versions and many productions of them, so that everything collides: bytes that are made again, Runs that take and
make the same Version, A, B, A, inputs that do not say what made them, Runs that fork, join, overlap and are reused,
Deployments, labels, and what is said of a Run later.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import networkx

from tests.simulator import ACTOR, World, claim, one, taken, uid
from whence_catalog import cache, catalog, model
from whence_catalog.lineage import DEPLOYMENT, Direction, Filter, Node, NodeType, Which

_NAMES = ("dataset:a", "dataset:b", "model:m")
_CONTENTS = (b"0", b"1")


@dataclass(frozen=True)
class Took:
    position: int
    run: str
    version: str
    producer: str | None


@dataclass(frozen=True)
class Made:
    position: int
    run: str
    version: str


@dataclass
class Told:
    """What was recorded, as whoever recorded it knows it. Runs and Deployments are texts, as lineage names them."""

    catalog: catalog.Catalog
    position: int = 0
    started: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    took: list[Took] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    deployed: dict[str, tuple[int, str]] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, list[tuple[int, int | None]]] = field(default_factory=dict)
    labels: dict[str, list[tuple[int, frozenset[tuple[str, str]]]]] = field(default_factory=dict)

    def nodes(self, as_of: int | None = None) -> list[str]:
        """All that was recorded by then."""
        last = self.position if as_of is None else as_of
        versions = dict.fromkeys(m.version for m in self.made if m.position <= last)
        runs = [run for run, position in self.started.items() if position <= last]
        return [*runs, *versions, *(d for d, (at, _) in self.deployed.items() if at <= last)]

    def labels_of(self, node: str, as_of: int | None = None) -> frozenset[tuple[str, str]]:
        """Those that it had."""
        last = self.position if as_of is None else as_of
        return ([own for at, own in self.labels.get(node, ()) if at <= last] or [frozenset()])[-1]

    def flows(self, as_of: int, halted: AbstractSet[str] = frozenset()) -> "networkx.DiGraph[str]":
        """Which Run came from which, but for by Versions that are halted."""
        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(run for run, position in self.started.items() if position <= as_of)
        graph.add_edges_from((self.origins[run], run) for run in graph if run in self.origins)
        made = [m for m in self.made if m.position <= as_of]
        for t in self.took:
            if t.position <= as_of and t.version not in halted:
                earlier = (m.run for m in made if m.version == t.version and m.position < self.started[t.run])
                graph.add_edges_from(
                    (run, t.run) for run in ([t.producer] if t.producer is not None else earlier)
                )
        return graph

    def reached(
        self,
        root: str,
        direction: Direction,
        as_of: int | None = None,
        halted: AbstractSet[str] = frozenset(),
    ) -> set[str]:
        """All that a root came from, or that came from it, itself included; nothing beyond what is halted."""
        last = self.position if as_of is None else as_of
        if direction is Direction.BOTH:
            ways = (Direction.UP, Direction.DOWN)
            return set().union(*(self.reached(root, way, last, halted) for way in ways))
        up = direction is Direction.UP
        if root in self.deployed:
            version = self.deployed[root][1]
            beyond = self.reached(version, direction, last, halted) if version not in halted else {version}
            return {root} | (beyond if up else set())
        made = {(m.run, m.version) for m in self.made if m.position <= last}
        took = {(t.run, t.version) for t in self.took if t.position <= last}
        first, then = (made, took) if up else (took, made)
        runs = {root} if root in self.started else {run for run, version in first if version == root}
        flows = self.flows(last, halted)
        ends = [edge for edge in flows.edges if edge[1 if up else 0] in halted]
        flows.remove_edges_from(ends)
        onward = networkx.ancestors if up else networkx.descendants
        runs = runs.union(*(onward(flows, run) for run in runs))
        found = {root} | runs | {version for run, version in then if run in runs - halted}
        if up:
            return found
        serving = found - halted
        return found | {d for d, (at, version) in self.deployed.items() if at <= last and version in serving}

    def shown(
        self,
        roots: Sequence[str],
        direction: Direction,
        filter: Filter,
        nodes: Mapping[str, Node],
        as_of: int | None = None,
    ) -> tuple[set[str], set[str]]:
        """What a filter lets lineage reach, and what it shows of that; `nodes` are all of an answer without it."""

        def among(which: Which | None) -> set[str]:
            if which is None:
                return set()
            return {
                id
                for id, node in nodes.items()
                if id not in roots and _is_among(which, node, self.labels_of(id, as_of))
            }

        halted = among(filter.stop_at)
        reached = set().union(*(self.reached(root, direction, as_of, halted) for root in roots))
        hidden = among(filter.pass_through) - halted
        if filter.collapse_reuse:
            hidden |= self.origins.keys() - set(roots)
        return reached, reached & (among(filter.show) | set(roots)) - hidden

    def edges(self, nodes: set[str], as_of: int | None = None) -> set[tuple[str, str, str, str | None]]:
        """Source, target, type and producer of every edge between some nodes."""
        last = self.position if as_of is None else as_of
        found: set[tuple[str, str, str, str | None]] = set()
        found |= {(t.version, t.run, "input", t.producer) for t in self.took if t.position <= last}
        found |= {(m.run, m.version, "output", None) for m in self.made if m.position <= last}
        found |= {
            (origin, run, "reused", None) for run, origin in self.origins.items() if self.started[run] <= last
        }
        found |= {(v, d, "deployed", None) for d, (at, v) in self.deployed.items() if at <= last}
        return {edge for edge in found if {edge[0], edge[1]} <= nodes}

    def ambiguous(self, nodes: set[str], as_of: int | None = None) -> tuple[int, int]:
        """How many of the inputs between some nodes may be of several productions, and how many are of nobody known."""
        last = self.position if as_of is None else as_of
        found = [0, 0]
        for t in self.took:
            if t.position <= last and t.producer is None and {t.version, t.run} <= nodes:
                made = (m for m in self.made if m.version == t.version and m.position <= last)
                found[not any(m.position < self.started[t.run] for m in made)] += 1
        return found[0], found[1]

    def state(self, version: str, as_of: int | None = None) -> str:
        """Of a Version: what the quarantines that stood then made of it."""
        last = self.position if as_of is None else as_of
        standing = {
            v
            for v, spans in self.quarantined.items()
            for since, until in spans
            if since <= last and (until is None or until > last)
        }
        if version in standing:
            return "quarantined"
        for bad in standing:
            took = {t.run for t in self.took if t.version == bad and t.position <= last}
            flows = self.flows(last)
            # A reused Run makes nothing.
            flows.remove_edges_from([(origin, run) for run, origin in self.origins.items()])
            runs = took.union(*(networkx.descendants(flows, run) for run in took))
            if any(m.version == version and m.run in runs and m.position <= last for m in self.made):
                return "tainted"
        return "live"


def _is_among(which: Which, node: Node, labels: AbstractSet[tuple[str, str]]) -> bool:
    """Whether it is, as it would be said of each type of node."""
    if which.types and node.type not in which.types:
        return False
    if which.projects and node.project not in which.projects:
        return False
    match node.type:
        case NodeType.VERSION:
            own = {"live", "quarantined", "tainted", "expired", "erased"}
            if which.kinds and node.kind not in which.kinds:
                return False
        case NodeType.RUN:
            own = {"running", "complete", "failed", "aborted", "reused"}
        case NodeType.DEPLOYMENT:
            own, labels = {"serving", "ended"}, which.labels
    spoken_of = own & which.states
    return (not spoken_of or node.state in spoken_of) and which.labels <= labels


@dataclass
class _Recorder:
    """Records one thing after another, by chance, and tells of it."""

    told: Told
    chance: Random
    outputs: list[model.Output] = field(default_factory=list)
    running: list[model.Call] = field(default_factory=list)
    entered: list[model.Call] = field(default_factory=list)
    bad: dict[UUID, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.told.catalog)

    def some_inputs(self) -> list[model.InputClaim]:
        several = self.chance.choice([0, 1, 1, 2, 3]) if self.outputs else 0
        return [
            taken(
                self.chance.choice(self.outputs),
                f"in-{self.chance.randint(0, 10**9)}-{place}",
                producer=self.chance.random() < 0.7,
            )
            for place in range(several)
        ]

    def some_outputs(self) -> dict[str, bytes]:
        names = self.chance.sample(_NAMES, self.chance.randint(0, 2))
        return {name: self.chance.choice(_CONTENTS) for name in names}

    def settled(self) -> int:
        while facts := self.told.catalog.facts(self.told.position):
            self.told.position = facts[-1].position
        return self.told.position

    def tell_taken(self, run: UUID, inputs: Sequence[model.InputClaim], position: int) -> None:
        by_name = {(str(o.version.artifact), o.version.digest): o.version.ref for o in self.outputs}
        for claimed in inputs:
            source = claimed.source
            producer = None if source.producer is None else str(source.producer)
            ref = by_name[str(source.artifact), source.digest]
            self.told.took.append(Took(position, str(run), ref, producer))

    def tell_made(self, outputs: Sequence[model.Output], position: int) -> None:
        for made in outputs:
            self.told.made.append(Made(position, str(made.run), made.version.ref))
            self.outputs.append(made)

    def begin(self, call: model.Call) -> None:
        self.world.begin(call)
        self.told.started[str(call.run)] = position = self.settled()
        self.tell_taken(call.run, call.inputs, position)

    def record(self) -> None:
        inputs = self.some_inputs()
        finished = self.world.note("note", self.some_outputs(), inputs)
        position = self.settled()
        self.told.started[str(finished.run.uid)] = position
        self.tell_taken(finished.run.uid, inputs, position)
        self.tell_made(finished.outputs, position)

    def execute(self) -> None:
        """A step that enters the cache, if what it took is fit for that."""
        call = self.world.call("train", self.chance.random(), self.some_inputs())
        execute = self.world.begin(call)
        self.told.started[str(call.run)] = position = self.settled()
        self.tell_taken(call.run, call.inputs, position)
        finished = self.world.finish(self.world.report(call, self.some_outputs(), execute.token))
        self.tell_made(finished.outputs, self.settled())
        self.entered.append(call)

    def reuse(self) -> None:
        """The same again: with the very inputs, or with other productions of the same bytes."""
        call = self.chance.choice(self.entered)
        inputs = call.inputs
        if self.chance.random() < 0.5:
            inputs = tuple(
                model.InputClaim(i.role, model.Source(i.source.artifact, i.source.digest), i.ordinal)
                for i in inputs
            )
        again = self.world.call("train", call.params["c"], inputs)
        answer = self.world.ask(again)
        if not isinstance(answer, cache.Reuse | cache.Execute):
            return  # somebody is at it
        position = self.settled()
        self.told.started[str(again.run)] = position
        if isinstance(answer, cache.Reuse):
            self.told.origins[str(again.run)] = str(answer.entry.run)
            origin = next(c for c in self.entered if c.run == answer.entry.run)
            if origin.inputs != inputs:
                self.tell_taken(again.run, inputs, position)
        else:
            self.tell_taken(again.run, inputs, position)

    def start(self) -> None:
        call = self.world.plain_call("slow", self.some_inputs())
        self.begin(call)
        self.running.append(call)

    def add(self) -> None:
        call = self.chance.choice(self.running)
        inputs = self.some_inputs()
        has = {m.role for m in self.outputs if m.run == call.run}
        made = tuple(claim(n, c) for n, c in self.some_outputs().items() if n not in has)
        if not inputs and not made:
            return
        added = one(self.told.catalog.add([model.Addition(uid(), call.run, ACTOR, tuple(inputs), made)]))
        position = self.settled()
        self.tell_taken(call.run, inputs, position)
        self.tell_made(added, position)

    def finish(self) -> None:
        call = self.running.pop(self.chance.randrange(len(self.running)))
        inputs = tuple(self.some_inputs())
        has = {m.role for m in self.outputs if m.run == call.run}
        outputs = {n: c for n, c in self.some_outputs().items() if n not in has}
        finished = self.world.finish(self.world.report(call, outputs, inputs=inputs))
        position = self.settled()
        self.tell_taken(call.run, inputs, position)
        self.tell_made([o for o in finished.outputs if o.role in outputs], position)

    def deploy(self) -> None:
        made, target = self.chance.choice(self.outputs), self.chance.choice(["here", "there"])
        said = model.DeploymentClaim(uid(), made.version.artifact, made.version.digest, target, ACTOR)
        deployment = one(self.told.catalog.deploy([said]))
        self.told.deployed[f"{DEPLOYMENT}{deployment.uid}"] = (self.settled(), made.version.ref)

    def label(self) -> None:
        of = self.chance.choice([*self.told.started, *(o.version.ref for o in self.outputs)])
        value, is_gone = self.chance.choice(["a", "b"]), self.chance.random() < 0.2
        said = model.LabelClaim(
            uid(), of, ACTOR, {} if is_gone else {"team": value}, frozenset(["team"] if is_gone else [])
        )
        own = frozenset(one(self.told.catalog.label([said])).items())
        self.told.labels.setdefault(of, []).append((self.settled(), own))

    def quarantine(self) -> None:
        version = self.chance.choice(self.outputs).version
        claimed = model.QuarantineClaim(uid(), version.artifact, version.digest, ACTOR, "bad")
        one(self.told.catalog.quarantine([claimed]))
        self.told.quarantined.setdefault(version.ref, []).append((self.settled(), None))
        self.bad[claimed.uid] = version.ref

    def release(self) -> None:
        quarantine, ref = self.bad.popitem()
        one(self.told.catalog.release([model.Release(uid(), quarantine, ACTOR, "good")]))
        spans = self.told.quarantined[ref]
        standing = max(place for place, (_, until) in enumerate(spans) if until is None)
        spans[standing] = (spans[standing][0], self.settled())

    def acts(self) -> Iterator[str]:
        yield from ["record", "record", "execute", "start"]
        if self.entered:
            yield "reuse"
        if self.told.started:
            yield "label"
        if self.running:
            yield from ["add", "finish"]
        if self.outputs:
            yield from ["deploy", "quarantine"]
        if self.bad:
            yield "release"


def record(into: catalog.Catalog, seed: int, acts: int) -> Told:
    """So many things, recorded in an empty catalog by a seed."""
    recorder = _Recorder(Told(into), Random(seed))
    for _ in range(acts):
        getattr(recorder, recorder.chance.choice(list(recorder.acts())))()
    return recorder.told


def states(told: Told, as_of: int | None = None) -> Mapping[str, str]:
    """The state of each Version."""
    return {version: told.state(version, as_of) for version in {m.version for m in told.made}}
