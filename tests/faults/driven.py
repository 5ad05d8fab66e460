"""Clients that do one thing at a time, as they are told: `python -m tests.faults.driven <catalog> <folder> <lease>`.

Each line of standard input is JSON, `{"id", "client", "do", …}`; each line of standard output answers one:
`{"id", "answer"}`. Clients work side by side, each on a catalog of its own; one does things in order.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.faults import worker
from tests.faults.history import Witness
from tests.simulator import World
from whence_catalog import cache, model


class Driven:
    """One client, and the Run that it last began for each key."""

    def __init__(self, name: str, url: str, folder: Path, lease: timedelta) -> None:
        self.lease = lease
        self.catalog = worker.open_catalog(url, lease)
        self.witness = Witness(self.catalog, folder, name)
        self.world = World(self.catalog)
        self.calls: dict[str, model.Call] = {}
        self.tokens: dict[str, int | None] = {}

    def reserve(self, key: str, mode: str = "reuse", again: bool = False) -> str:
        if not again:
            # It says nothing of presence, so that it goes for the lease without reading first.
            self.calls[key] = self.world.call(key, mode=model.Mode(mode))
        answer = self.witness.reserve(key, self.calls[key])
        if isinstance(answer, cache.Execute):
            self.tokens[key] = answer.token
        return type(answer).__name__

    def finish(self, key: str, content: str) -> str:
        call = self.calls[key]
        report = self.world.report(call, {f"model:{key}": content.encode()}, self.tokens[key])
        return str(self.witness.finish(key, report).publication.outcome)

    def beat(self, key: str, micros: int | None = None) -> str:
        lasting = self.lease if micros is None else timedelta(microseconds=micros)
        return "lost" if self.witness.beat([self.calls[key].run], lasting) else "kept"

    def sweep(self) -> str:
        return str(len(self.catalog.sweep()))

    def key(self, key: str) -> str:
        return self.world.call(key).key or ""

    def close(self) -> str:
        self.catalog.close()
        return ""


def main() -> None:
    url, folder, lease = sys.argv[1:]
    clients: dict[str, tuple[Driven, ThreadPoolExecutor]] = {}
    speaking = threading.Lock()

    def carry_out(client: Driven, told: dict[str, Any]) -> None:
        given = {name: value for name, value in told.items() if name not in ("id", "client", "do")}
        try:
            answer = getattr(client, told["do"])(**given)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        with speaking:
            print(json.dumps({"id": told["id"], "answer": answer}), flush=True)

    for line in sys.stdin:
        told = json.loads(line)
        if told["client"] not in clients:
            made = Driven(told["client"], url, Path(folder), timedelta(seconds=float(lease)))
            clients[told["client"]] = (made, ThreadPoolExecutor(1))
        client, thread = clients[told["client"]]
        thread.submit(carry_out, client, told)
    for client, thread in clients.values():
        thread.submit(client.close)
        thread.shutdown()


if __name__ == "__main__":
    main()
