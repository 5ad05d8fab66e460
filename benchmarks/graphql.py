"""What GraphQL costs over HTTP: beside a handler of the same server that sends the same bytes, beside one that sends
nothing, and beside Strawberry as it comes.

Each server is a process of its own on 127.0.0.1, asked over a connection that stays; it tells what of the processor
it has spent, so that what the asking costs is not in the figures.
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import history, measure
from whence_api.graphql import relay

# 10,000 nodes, and some 17,500 edges between them.
_LINEAGE = """query($roots: [ID!]!) { lineage(roots: $roots, direction: UP, bounds: {maxNodes: 10000, seconds: 20}) {
  ... on Lineage { roots nodes { id type masked ref name kind project state at depth }
  edges { source target type role } completeness { complete reasons frontier masked filtered } } } }"""
_SMALL = "query($id: ID!) { node(id: $id) { ... on Run { id state startedAt finishedAt job { name } } } }"


def benchmarks(runs: int) -> list[measure.Benchmark]:
    """All of this module, in a history of that many runs."""
    cpu = measure.Clock.CPU
    return [
        # The Graph is at hand: what is measured is GraphQL.
        measure.Benchmark("graphql-lineage", 2.5, cpu, partial(_lineage, runs), stretch=2.0),
        measure.Benchmark("graphql-stock", 1 / 12, cpu, partial(_stock, runs)),
        measure.Benchmark("graphql-small", 3.0, cpu, partial(_small, runs), operations=100),
    ]


class Asked:
    """A server, over one connection."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port))
        self._connection.connect()

    def post(self, path: str, body: bytes) -> bytes:
        """What it answers."""
        self._connection.request("POST", path, body, {"content-type": "application/json"})
        with self._connection.getresponse() as response:
            answer = response.read()
            assert response.status == 200, answer[:300]
            return answer

    def cost(self, path: str, body: bytes) -> measure.Spent:
        """What it took to be answered once."""
        before, began = self._spent(), time.perf_counter()
        self.post(path, body)
        wall = time.perf_counter() - began
        return measure.Spent(wall, self._spent() - before)

    def _spent(self) -> float:
        self._connection.request("GET", "/bench/spent")
        with self._connection.getresponse() as response:
            return float(response.read())

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _served(name: str, file: Path) -> Iterator[Asked]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.graphql_served", name, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        url = process.stdout.readline().strip()
        assert url, "the server did not begin"
        asked = Asked(url)
        try:
            yield asked
        finally:
            asked.close()
            process.stdin.close()  # it ends by itself
            process.wait()


def _question(query: str, **variables: object) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()


def _of_last(runs: int) -> bytes:
    return _question(_LINEAGE, roots=[relay.id_of(relay.NodeType.RUN, history.uid(runs - 1))])


@contextmanager
def _lineage(runs: int) -> Iterator[measure.Contenders]:
    asked_for = _of_last(runs)
    with _served("kept", history.file(runs)) as server:
        answer = server.post("/graphql", asked_for)
        _check(answer)
        server.post("/bench/keep", answer)
        assert server.post("/bench/orjson", b"") == answer
        yield _contenders(
            partial(server.cost, "/graphql", asked_for), partial(server.cost, "/bench/orjson", b"")
        )


@contextmanager
def _stock(runs: int) -> Iterator[measure.Contenders]:
    asked_for = _of_last(runs)
    with ExitStack() as ending:
        file = history.file(runs)
        ours, stock = (ending.enter_context(_served(name, file)) for name in ("kept", "stock"))
        assert json.loads(ours.post("/graphql", asked_for)) == json.loads(stock.post("/graphql", asked_for))
        yield _contenders(
            partial(ours.cost, "/graphql", asked_for), partial(stock.cost, "/graphql", asked_for)
        )


@contextmanager
def _small(runs: int) -> Iterator[measure.Contenders]:
    asked_for = _question(_SMALL, id=relay.id_of(relay.NodeType.RUN, history.uid(runs - 1)))
    with _served("sql", history.file(runs)) as server:
        assert json.loads(server.post("/graphql", asked_for))["data"]["node"]["state"] == "COMPLETE"
        yield _contenders(
            partial(server.cost, "/graphql", asked_for), partial(server.cost, "/bench/empty", asked_for)
        )


def _check(answer: bytes) -> None:
    found = json.loads(answer)["data"]["lineage"]
    assert len(found["nodes"]) == 10_000
    assert len(found["edges"]) > 16_700


def _contenders(ours: Callable[[], object], floor: Callable[[], object]) -> measure.Contenders:
    return measure.Contenders(lambda: ours, lambda: floor)
