"""Processes that want the same keys, each in an order of its own: `python -m tests.faults.worker '{…}'`."""

import random
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from tests.faults import crowd
from tests.faults.history import Witness
from tests.simulator import World
from whence import beater
from whence.http import HttpCatalog
from whence_catalog import cache, catalog, model
from whence_catalog.sql.catalog import SqlCatalog


@dataclass(frozen=True, slots=True)
class Task:
    """What one process is to do.

    `lingering` is the share of its computations in which it goes on until a file named after the Run is there.
    """

    name: str
    catalog: str
    folder: str
    keys: int
    lease: float
    seed: int
    lingering: float


def open_catalog(url: str, lease: timedelta) -> catalog.Catalog:
    """A client of a server, of a database, or of a file."""
    if url.startswith("http"):
        return HttpCatalog(url, timeout_seconds=60)  # type: ignore[return-value]
    if "://" in url:
        return SqlCatalog.connect(url, lease=lease)
    return SqlCatalog.open(Path(url), synchronous="NORMAL", lease=lease)


class Worker:
    """Goes through all keys: reuses what is there, waits for whoever computes it, or computes it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.lease = timedelta(seconds=task.lease)
        self.catalog = open_catalog(task.catalog, self.lease)
        self.witness = Witness(self.catalog, Path(task.folder), task.name)
        self.beater = beater.Beater(self.witness, self.lease)  # type: ignore[arg-type]
        self.world = World(self.catalog)
        self.dice = random.Random(task.seed)

    def run(self) -> None:
        order = list(range(self.task.keys))
        self.dice.shuffle(order)
        for key in order:
            self.obtain(f"k{key}")
        self.beater.close()
        self.catalog.close()

    def obtain(self, key: str) -> None:
        call = self.world.call(key, presence_age=timedelta(hours=1))
        began = time.monotonic()
        while True:
            lingers = self.dice.random() < self.task.lingering
            answer = self.witness.reserve(key, call, lingers=lingers)
            match answer:
                case cache.Reuse():
                    return
                case cache.Verify(_, unknown, _):
                    call = replace(call, present=call.present | unknown)
                case cache.Wait():
                    if self.dice.random() < 0.1:
                        self.catalog.sweep()
                    time.sleep(min(0.02 + (time.monotonic() - began) / 10, 0.2))
                case cache.Execute(token=token):
                    self.compute(key, call, token, lingers)
                    return

    def compute(self, key: str, call: model.Call, token: int | None, lingers: bool) -> None:
        self.beater.add(call.run, lambda: None)
        go_on = Path(self.task.folder) / f"{call.run}.go"
        time.sleep(self.dice.uniform(0, 0.005))
        while lingers and not go_on.exists():
            time.sleep(0.005)
        # What is made differs each time, so that whose it is can be told.
        made = {f"model:{key}": f"{key} by {call.run}".encode()}
        self.witness.finish(key, self.world.report(call, made, token))
        self.beater.remove(call.run)


if __name__ == "__main__":
    crowd.fork([Task(**one) for one in crowd.told()], lambda task: Worker(task).run())
