"""Quarantines that race what is recorded and reused, on PostgreSQL: what the facts then say is checked, one by one.

The checker knows no index and no locks: it goes through the facts in their order and asks the definition of taint.
"""

import itertools
import random
from concurrent import futures
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import psycopg

from tests import postgres, simulator
from tests.contract.test_postgres import side_by_side
from tests.core.test_taint import brute_force
from tests.simulator import ACTOR, World, claim, taken
from whence_catalog import cache, facts, judging, model, replies
from whence_catalog.errors import NotFound
from whence_catalog.lineage import EdgeType, Link
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.engine import Gate
from whence_catalog.sql.postgres import PostgresEngine
from whence_catalog.taint import Production

NAMES = ["dataset:a", "dataset:b", "model:c", "model:d"]
WRITERS, EACH = 8, 14


def known(world: World) -> list[model.Output]:
    found: list[model.Output] = []
    for name in NAMES:
        try:
            found += world.catalog.productions(simulator.artifact(name))
        except NotFound:
            continue
    return found


def _write(place: int, url: str) -> int:
    """Steps and notes that take what others made, some without saying from whom; answers how many it reused."""
    if place >= WRITERS:
        return _judge(place, url)
    chance, reused = random.Random(place), 0
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        for _ in range(EACH):
            made = known(world)
            some = chance.sample(made, min(len(made), chance.randint(0, 2)))
            inputs = [
                taken(output, f"in{place}", producer=chance.random() < 0.6)
                for place, output in enumerate(some)
            ]
            outputs = {chance.choice(NAMES): bytes([chance.randint(0, 2)])}
            if chance.random() < 0.3:
                world.note("note", outputs, inputs)
                continue
            job = chance.choice(["one", "two"])
            # The same job makes the same of the same, so that what one entered another reuses.
            call = world.call(job, chance.randint(0, 1), inputs[:1])
            answer = world.ask(call)
            if isinstance(answer, cache.Reuse):
                reused += 1
            if not isinstance(answer, cache.Execute):
                continue
            if chance.random() < 0.3:
                more = tuple(inputs[1:]) if chance.random() < 0.5 else ()
                added = (claim("report:added", bytes([chance.randint(0, 2)])),)
                simulator.one(opened.add([model.Addition(simulator.uid(), call.run, ACTOR, more, added)]))
            world.finish(world.report(call, outputs, answer.token, inputs=tuple(inputs[1:])))
    return reused


def _judge(place: int, url: str) -> int:
    """Quarantines whatever is there, and releases some of it again."""
    chance = random.Random(place)
    with closing(SqlCatalog.connect(url)) as opened:
        world, standing = World(opened), []
        for _ in range(EACH):
            made = known(world)
            if made and (not standing or chance.random() < 0.7):
                version = chance.choice(made).version
                said = model.QuarantineClaim(
                    simulator.uid(), version.artifact, version.digest, ACTOR, "suspicious"
                )
                standing.append(simulator.one(opened.quarantine([said])).uid)
            elif standing:
                of = standing.pop(chance.randrange(len(standing)))
                simulator.one(opened.release([model.Release(simulator.uid(), of, ACTOR, "fine")]))
            opened.sequence()
    return 0


@dataclass
class History:
    """What the facts say, up to one of them."""

    links: list[Link] = field(default_factory=list)
    standing: dict[UUID, int] = field(default_factory=dict)
    runs: dict[UUID, int] = field(default_factory=dict)
    versions: dict[tuple[model.Artifact, bytes], int] = field(default_factory=dict)
    started: dict[int, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    reuses: int = 0

    def run(self, uid: UUID) -> int:
        return self.runs.setdefault(uid, len(self.runs) + 1)

    def version(self, artifact: model.Artifact, raw: bytes) -> int:
        return self.versions.setdefault((artifact, raw), len(self.versions) + 1)

    def take(self, run: int, claims: tuple[model.InputClaim, ...]) -> None:
        for said in claims:
            source = said.source
            producer = None if source.producer is None else self.run(source.producer)
            version = self.version(source.artifact, source.digest.raw)
            link = Link(EdgeType.INPUT, run, version, said.role, said.ordinal, producer, self.started[run])
            self.links.append(link)

    def make(self, run: int, claims: tuple[model.OutputClaim, ...], position: int) -> None:
        for said in claims:
            version = self.version(said.artifact, said.content.digest.raw)
            self.links.append(Link(EdgeType.OUTPUT, run, version, said.role, position=position))

    def refuse_tainted(self, run: int, what: str) -> None:
        for version in set(self.standing.values()):
            if any(production.run == run for production in brute_force(self.links, version)):
                self.wrong.append(what)

    def read(self, stored: replies.StoredFact) -> None:
        fact, position = stored.fact, stored.position
        match fact.verb:
            case "start":
                call = facts.read_start(fact.body)
                self.begin(call, position)
            case "reuse":
                origin = self.runs[facts.read_origin(fact.body)]
                self.reuses += 1
                self.refuse_tainted(origin, f"fact {position} reuses what is tainted")
            case "finish":
                report, publication = facts.read_finish(fact.uid, fact.body)
                self.end(self.runs[report.run], report, position)
                if publication.outcome in (
                    model.Outcome.ENTERED,
                    model.Outcome.RENEWED,
                    model.Outcome.SUPERSEDED,
                ):
                    self.refuse_tainted(self.runs[report.run], f"fact {position} enters what is tainted")
            case "record":
                call = facts.read_start(cast("facts.Body", fact.body["start"]))
                self.begin(call, position)
                report, _ = facts.read_finish(fact.uid, cast("facts.Body", fact.body["finish"]))
                self.end(self.runs[call.run], report, position)
            case "add":
                addition = facts.read_add(fact.uid, fact.body)
                run = self.runs[addition.run]
                self.take(run, addition.inputs)
                self.make(run, addition.outputs, position)
            case "quarantine":
                said = judging.read_quarantine(fact.uid, fact.body)
                self.standing[fact.uid] = self.version(said.artifact, said.digest.raw)
            case "release":
                del self.standing[judging.read_release(fact.uid, fact.body).of]
            case verb:
                raise AssertionError(verb)

    def begin(self, call: model.Call, position: int) -> None:
        run = self.run(call.run)
        self.started[run] = position
        self.take(run, call.inputs)

    def end(self, run: int, report: model.Report, position: int) -> None:
        self.take(run, report.inputs)
        self.make(run, report.outputs, position)


_INDEX = (
    "SELECT r.uid, p.name, a.kind, a.name, v.digest, q.uid FROM taint t JOIN run r ON r.id = t.run_id"
    " JOIN version v ON v.id = t.version_id JOIN artifact a ON a.id = v.artifact_id"
    " JOIN project p ON p.id = a.project_id JOIN quarantine q ON q.id = t.quarantine_id"
)


def test_no_finish_and_no_reuse_slips_past_a_quarantine_among_many_writers() -> None:
    with postgres.shared().database() as url:
        with closing(SqlCatalog.connect(url)) as opened:
            for name, content in itertools.product(NAMES, [b"\0", b"\1"]):
                World(opened).note("load", {name: content})
        reused = side_by_side(WRITERS + 2, _write, url)
        history = History()
        with closing(SqlCatalog.connect(url)) as opened:
            for stored in opened.facts(limit=100_000):
                history.read(stored)
            problems = opened.check().problems
        with closing(psycopg.connect(url)) as connection:
            rows = connection.execute(_INDEX).fetchall()
    assert history.wrong == []
    index: dict[UUID, set[Production]] = {uid: set() for uid in history.standing}
    for run, project, kind, name, raw, uid in rows:
        version = history.version(model.Artifact(project, kind, name), bytes(raw))
        index[UUID(bytes=bytes(uid))].add(Production(history.run(UUID(bytes=bytes(run))), version))
    expected = {uid: brute_force(history.links, version) for uid, version in history.standing.items()}
    assert index == expected
    assert problems == ()
    # It was no quiet day: something was tainted by the end, and something was reused.
    assert any(expected.values())
    assert history.reuses == sum(cast("list[int]", reused)) > 0


_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_a_writer_that_is_paused_past_the_gate_holds_up_a_quarantine_and_nobody_else() -> None:
    with (
        postgres.shared().database() as url,
        closing(SqlCatalog.connect(url, timeout_seconds=20)) as opened,
        closing(SqlCatalog.connect(url, timeout_seconds=20)) as another,
        closing(psycopg.connect(url, autocommit=True)) as watching,
        closing(PostgresEngine(url)) as paused,
    ):
        (made,) = World(opened).note("load", {"dataset:d": b"D"}).outputs
        version = made.version
        said = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, "suspicious")
        with futures.ThreadPoolExecutor() as beside:
            with paused.writing(gate=Gate.PASSED):
                waits = beside.submit(opened.quarantine, [said])
                while watching.execute(_WAITING).fetchone() == (0,):
                    assert not waits.done()
                World(another).note("go on", {"report:r": b"R"}, [taken(made)])
                assert not waits.done()
            assert simulator.one(waits.result()).until is None
        (told,) = opened.judgements([model.Reference.parse("report:r")])
        assert isinstance(told, replies.Judgements)
        assert len(told.taints) == 1
