"""Recording and asking, beside others who record lineage: MLflow and ML Metadata.

Each of them is in a process and an environment of its own and times itself; see `catalog_peer`, where it stands what
each does. All record the same runs (3 inputs of recent outputs, 2 outputs, 8 parameters, 4 metrics), in SQLite with
FULL synchronous, on the same disk, in turns. Ours is measured at the catalog's own verb, as theirs are. Theirs keep
the rollback journal that they come with and have no setting for, which costs several syncs a commit; the rows ending
in `-wal` tell what they would take if somebody turned their file to WAL from outside.
"""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import beside, environments, grown, history, measure
from tests import servers
from whence import http
from whence_catalog import lineage, model
from whence_catalog.catalog import Catalog
from whence_catalog.sql import catalog

_PEER = Path(__file__).with_name("catalog_peer.py")
_REQUIREMENTS = {"mlflow": environments.MLFLOW, "ml-metadata": environments.ML_METADATA}
# How many runs each catalog holds before the clock runs: enough for 20 levels.
_BEFORE, _LOADED_AT_ONCE = 1_000, 100
# A hop of theirs goes from a run to what it took, or from that to what made it: two are a level of ours.
_DEPTH, _HOPS = 20, 40
_START_SECONDS = 300.0

_Asked: TypeAlias = dict[str, Any]
_Peer: TypeAlias = Callable[[_Asked], tuple[measure.Spent, int]]


def benchmarks() -> list[measure.Benchmark]:
    """All of this module: a ratio is what ours costs of what theirs does."""
    wall = measure.Clock.WALL
    return [
        measure.Benchmark("record-one-mlflow", 1 / 30, wall, partial(_recorded, "mlflow", 1), operations=5),
        measure.Benchmark(
            "record-one-ml-metadata", 1 / 6, wall, partial(_recorded, "ml-metadata", 1), operations=20
        ),
        measure.Benchmark("record-100-ml-metadata", 1 / 3, wall, partial(_recorded, "ml-metadata", 100)),
        measure.Benchmark(
            "record-one-ml-metadata-wal", 1.0, wall, partial(_recorded, "ml-metadata", 1, True), operations=20
        ),
        measure.Benchmark(
            "record-one-mlflow-wal", 1.0, wall, partial(_recorded, "mlflow", 1, True), operations=5
        ),
        measure.Benchmark("lineage-20-ml-metadata", 1 / 12, wall, _asked_for, operations=3),
        measure.Benchmark("record-http-mlflow", 1 / 30, wall, _recorded_over_http, operations=5),
    ]


def are_installed() -> bool:
    """Whether their environments were made on this machine before."""
    return all(environments.is_installed(requirements) for requirements in _REQUIREMENTS.values())


# ── what is measured ─────────────────────────────────────────────────────────────────────────────


@contextmanager
def _recorded(name: str, many: int, in_wal: bool = False) -> Iterator[measure.Contenders]:
    before = 0 if name == "mlflow" else _BEFORE  # it has no edge from a run to the run that made its input
    with _folder() as folder, _embedded(folder) as ours, _started(name, folder) as theirs:
        if in_wal:
            theirs({"journal": "wal"})
        _load(ours, theirs, before)
        yield measure.Contenders(*_recording(ours, theirs, before, many), folder)


@contextmanager
def _recorded_over_http() -> Iterator[measure.Contenders]:
    with _folder() as folder, contextlib.ExitStack() as stack:
        (folder / "ours").mkdir()
        catalog.SqlCatalog.open(folder / "ours" / "catalog.db").close()
        served = stack.enter_context(servers.process(str(folder / "ours"), WHENCE_REQUESTS_PER_SECOND="0"))
        ours = stack.enter_context(contextlib.closing(http.connect(served.url)))
        url = stack.enter_context(_mlflow_server(folder))
        theirs = stack.enter_context(_started("mlflow", folder, url))
        yield measure.Contenders(*_recording(ours, theirs, 0, 1), folder)


@contextmanager
def _asked_for() -> Iterator[measure.Contenders]:
    with _folder() as folder, _embedded(folder) as embedded, _started("ml-metadata", folder) as theirs:
        _load(embedded, theirs, _BEFORE)
        last = str(history.uid(_BEFORE - 1))
        bounds = lineage.Bounds(depth=_DEPTH, max_nodes=None)
        ours = partial(embedded.lineage, [last], lineage.Direction.UP, bounds)
        asked = {"upstream": last, "hops": _HOPS}
        runs = sum(node.type is lineage.NodeType.RUN for node in ours().nodes)
        _, executions = theirs(asked)
        # At the last level the two end differently: ours still names who made what was taken there.
        assert 0 <= runs - executions <= grown.WIDTH, f"{runs} runs, {executions} executions"
        yield measure.Contenders(lambda: ours, lambda: lambda: theirs(asked)[0])


def _recording(
    ours: Any, theirs: _Peer, before: int, many: int
) -> tuple[measure.Contender, measure.Contender]:
    mine, other = itertools.count(before), itertools.count(before)

    def recorded_by_whence() -> Callable[[], object]:
        runs = [grown.whole(place) for place in itertools.islice(mine, many)]

        def operation() -> None:
            for result in ours.record_runs(runs):
                beside.only([result])

        return operation

    def recorded_by_them() -> Callable[[], object]:
        asked = {"runs": [told(*grown.whole(place)) for place in itertools.islice(other, many)]}
        return lambda: theirs(asked)[0]

    return recorded_by_whence, recorded_by_them


def _load(ours: Catalog, theirs: _Peer, runs: int) -> None:
    for first in range(0, runs, _LOADED_AT_ONCE):
        whole = [grown.whole(place) for place in range(first, first + _LOADED_AT_ONCE)]
        for result in ours.record_runs(whole):
            beside.only([result])
        theirs({"runs": [told(*run) for run in whole]})


def told(call: model.Call, report: model.Report) -> _Asked:
    """A run, for those who know nothing of ours."""
    return {
        "uid": str(call.run),
        "job": call.job,
        "params": dict(call.params),
        "metrics": dict(report.metrics),
        "inputs": [
            {"role": claim.role, "digest": claim.source.digest.text, "name": claim.source.artifact.name}
            for claim in call.inputs
        ],
        "outputs": [
            {"role": claim.role, "digest": claim.content.digest.text, "name": claim.artifact.name}
            for claim in report.outputs
        ],
    }


# ── the contenders ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _embedded(folder: Path) -> Iterator[catalog.SqlCatalog]:
    with contextlib.closing(catalog.SqlCatalog.open(folder / "ours.db")) as opened:
        yield opened


@contextmanager
def _started(name: str, folder: Path, url: str = "") -> Iterator[_Peer]:
    """What asks that peer, and answers what it took and how many nodes were found."""
    python = environments.python(_REQUIREMENTS[name])
    with open(folder / "said", "w") as said:
        process = subprocess.Popen(
            [str(python), str(_PEER), name, str(folder), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout

    def ask(asked: _Asked) -> tuple[measure.Spent, int]:
        asking.write(json.dumps(asked) + "\n")
        asking.flush()
        line = answers.readline()
        assert line, f"{name} ended: {(folder / 'said').read_text()[-2000:]}"
        wall, cpu, found = json.loads(line)
        return measure.Spent(wall, cpu), found

    try:
        assert answers.readline() == "ready\n", (
            f"{name} did not begin: {(folder / 'said').read_text()[-2000:]}"
        )
        yield ask
    finally:
        asking.close()  # it ends by itself
        process.wait()
        answers.close()


@contextmanager
def _mlflow_server(folder: Path) -> Iterator[str]:
    """The address of a server of theirs with one worker, on the database in that folder."""
    python = environments.python(environments.MLFLOW)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/mlflow.db"
    command = [
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        f"{folder}/artifacts",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with open(folder / "server", "w") as said:
        process = subprocess.Popen(
            [str(python), *command], stdout=said, stderr=said, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(f"{url}/health", process)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)  # it has workers
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)  # nothing tells of it: it has to be asked again
        else:
            return
    raise AssertionError(f"{url} does not answer")
