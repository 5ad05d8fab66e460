"""Processes that compute, reuse, quarantine and release at once: `python -m tests.faults.judging '[{…}]'`."""

import random
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from tests import simulator
from tests.faults import crowd, worker
from tests.simulator import ACTOR, World, taken
from whence_catalog import cache, model
from whence_catalog.errors import Conflict, WhenceError

NAMES = [f"dataset:d{n}" for n in range(5)]
CONTENTS = [b"A", b"B", b"C"]


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is to do: so many things, one after another."""

    name: str
    catalog: str
    folder: str
    lease: float
    seed: int
    count: int


class Judge:
    """Does whatever comes up: its dice decide."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.dice = random.Random(task.seed)
        self.quarantines: list[model.Quarantine] = []

    def run(self) -> None:
        lease = timedelta(seconds=self.task.lease)
        with closing(worker.open_catalog(self.task.catalog, lease)) as opened:
            self.world = World(opened)
            with (Path(self.task.folder) / f"{self.task.name}.done").open("a") as done:
                for _ in range(self.task.count):
                    done.write(f"{self.do_something()}\n")
                    done.flush()

    def do_something(self) -> str:
        found = self.world.catalog.resolve([model.Reference.parse(self.dice.choice(NAMES))])[0]
        source = None if isinstance(found, WhenceError) else found
        whims = [self.step] * 13 + [self.note] * 3 + [self.quarantine] * 2 + [self.release] * 2
        return self.dice.choice(whims)(source)

    def step(self, source: model.Output | None) -> str:
        """A keyed call: two processes may want the same."""
        inputs = [] if source is None else [taken(source, "in")]
        name = self.dice.choice(NAMES)
        call = self.world.call(f"to {name}", 1, inputs)
        while True:
            answer = self.world.ask(call)
            match answer:
                case cache.Wait():
                    time.sleep(0.01)
                case cache.Verify(_, unknown, _):
                    call = replace(call, present=call.present | unknown)
                case cache.Reuse():
                    return "reused"
                case cache.Execute(token=token):
                    made = {name: self.dice.choice(CONTENTS)}
                    report = self.world.report(call, made, token, inputs=self._late())
                    return str(self.world.finish(report).publication.outcome)

    def _late(self) -> tuple[model.InputClaim, ...]:
        """What a Run may take while it goes on."""
        found = self.world.catalog.resolve([model.Reference.parse(self.dice.choice(NAMES))])[0]
        if isinstance(found, WhenceError) or self.dice.random() < 0.7:
            return ()
        return (taken(found, "late", producer=self.dice.random() < 0.5),)

    def note(self, source: model.Output | None) -> str:
        """A whole Run, which does not say what made its input."""
        inputs = [] if source is None else [taken(source, "in", producer=False)]
        self.world.note("note", {self.dice.choice(NAMES): self.dice.choice(CONTENTS)}, inputs)
        return "noted"

    def quarantine(self, source: model.Output | None) -> str:
        if source is None:
            return "nothing"
        version = source.version
        said = model.QuarantineClaim(simulator.uid(), version.artifact, version.digest, ACTOR, "bad")
        self.quarantines.append(simulator.one(self.world.catalog.quarantine([said])))
        return "quarantined"

    def release(self, _: model.Output | None) -> str:
        if not self.quarantines:
            return "nothing"
        named = self.quarantines.pop(self.dice.randrange(len(self.quarantines)))
        (answer,) = self.world.catalog.release([model.Release(simulator.uid(), named.uid, ACTOR, "good")])
        assert not isinstance(answer, WhenceError) or isinstance(answer, Conflict), answer
        return "released"


if __name__ == "__main__":
    crowd.fork([Task(**one) for one in crowd.told()], lambda task: Judge(task).run())
