"""One of those who record lineage too, in a process of its own: `python catalog_peer.py NAME FOLDER [URL]`.

Run as a file, by a Python that has it installed; nothing of whence is imported. Each line in is one request, as
`catalogs` tells it; each line out is what that took, by the clock on the wall and of CPU, and how many nodes were
found. What is recorded is made into the library's own values before the clock runs, as ours is.

Their databases are SQLite with FULL synchronous, as they come, until a request asks for WAL.
"""

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = dict[str, Any]
Answer = Callable[[dict[str, Any]], Callable[[], int]]


def ml_metadata(folder: Path, _: str) -> Answer:
    """One execution in `put_execution`; many in `put_lineage_subgraph`; `get_lineage_subgraph` of one."""
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as proto

    config = proto.ConnectionConfig()
    config.sqlite.filename_uri = str(folder / "metadata.db")
    config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    step = store.put_execution_type(proto.ExecutionType(name="step"))
    thing = store.put_artifact_type(proto.ArtifactType(name="thing"))
    kept: dict[str, Any] = {}  # what was made, as the store gave it back
    executions: dict[str, int] = {}

    def value(given: object) -> Any:
        if isinstance(given, str):
            return proto.Value(string_value=given)
        return proto.Value(double_value=given) if isinstance(given, float) else proto.Value(int_value=given)

    def execution(run: Run) -> Any:
        properties = {"job": run["job"], **run["params"], **run["metrics"]}
        made = proto.Execution(type_id=step, name=run["uid"], last_known_state=proto.Execution.COMPLETE)
        for name, given in properties.items():
            made.custom_properties[name].CopyFrom(value(given))
        return made

    def event(type: Any, role: str, artifact: int | None = None) -> Any:
        made = proto.Event(type=type, artifact_id=artifact)
        made.path.steps.add().key = role
        return made

    def output(of: dict[str, Any]) -> Any:
        made = proto.Artifact(type_id=thing, uri=of["digest"], state=proto.Artifact.LIVE)
        made.custom_properties["name"].string_value = of["name"]
        return made

    def one(run: Run) -> Callable[[], int]:
        made = [output(of) for of in run["outputs"]]
        pairs = [(kept[i["digest"]], event(proto.Event.INPUT, i["role"])) for i in run["inputs"]]
        pairs += [
            (a, event(proto.Event.OUTPUT, of["role"])) for a, of in zip(made, run["outputs"], strict=True)
        ]
        whole = execution(run)

        def put() -> int:
            executions[run["uid"]], artifacts, _ = store.put_execution(whole, pairs, [])
            for artifact, number in zip(made, artifacts[-len(made) :], strict=True):
                artifact.id = number
                kept[artifact.uri] = artifact
            return 1

        return put

    def many(runs: list[Run]) -> Callable[[], int]:
        whole = [execution(run) for run in runs]
        made: list[Any] = []
        places: dict[str, int] = {}
        edges: list[tuple[int | None, int | None, Any]] = []
        for place, run in enumerate(runs):
            for of in run["outputs"]:
                edges.append((place, len(made), event(proto.Event.OUTPUT, of["role"])))
                places[of["digest"]] = len(made)
                made.append(output(of))
        for place, run in enumerate(runs):
            for i in run["inputs"]:
                here = places.get(i["digest"])
                known = None if here is not None else kept[i["digest"]].id
                edges.append((place, here, event(proto.Event.INPUT, i["role"], known)))

        def put() -> int:
            numbers, artifacts, _ = store.put_lineage_subgraph(whole, made, [], edges)
            executions.update(zip((run["uid"] for run in runs), numbers, strict=True))
            for artifact, number in zip(made, artifacts, strict=True):
                artifact.id = number
                kept[artifact.uri] = artifact
            return len(numbers)

        return put

    def upstream(uid: str, hops: int) -> Callable[[], int]:
        options = proto.LineageSubgraphQueryOptions(
            starting_executions=proto.LineageSubgraphQueryOptions.StartingNodes(
                filter_query=f"id = {executions[uid]}"
            ),
            max_num_hops=hops,
            direction=proto.LineageSubgraphQueryOptions.UPSTREAM,
        )

        def get() -> int:
            return len(store.get_lineage_subgraph(options, ["artifacts", "executions", "events"]).executions)

        return get

    def answer(asked: dict[str, Any]) -> Callable[[], int]:
        if "journal" in asked:
            return lambda: in_wal(folder / "metadata.db")
        if "upstream" in asked:
            return upstream(asked["upstream"], asked["hops"])
        return one(asked["runs"][0]) if len(asked["runs"]) == 1 else many(asked["runs"])

    return answer


def mlflow(folder: Path, url: str) -> Answer:
    """A run with its parameters and metrics in `log_batch`, its inputs in `log_inputs`; its outputs are tags.

    A run of MLflow has no datasets that it made; to make them logged models would take it longer.
    """
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    }
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    client = MlflowClient(url or f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("bench", artifact_location=f"{folder}/artifacts")

    def answer(asked: dict[str, Any]) -> Callable[[], int]:
        if "journal" in asked:
            return lambda: in_wal(folder / "mlflow.db")
        (run,) = asked["runs"]
        params = [Param(name, str(given)) for name, given in run["params"].items()]
        metrics = [Metric(name, given, 0, 0) for name, given in run["metrics"].items()]
        inputs = [
            DatasetInput(
                Dataset(i["name"], i["digest"][7:43], "code", "{}"),
                [InputTag("mlflow.data.context", i["role"])],
            )
            for i in run["inputs"]
        ]
        tags = {f"output.{of['role']}": of["digest"] for of in run["outputs"]}

        def record() -> int:
            begun = client.create_run(experiment, tags=tags, run_name=run["job"])
            client.log_batch(begun.info.run_id, metrics, params)
            client.log_inputs(begun.info.run_id, inputs)
            client.set_terminated(begun.info.run_id)
            return 1

        return record

    return answer


def in_wal(database: Path) -> int:
    """Have commits appended to a log, as ours are, so that each syncs once; a database remembers it."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    return 0


def serve(answer: Answer, told: Any) -> None:
    """Answer each line."""
    print("ready", file=told, flush=True)
    for line in sys.stdin:
        operation = answer(json.loads(line))
        wall, cpu = time.perf_counter(), time.process_time()
        found = operation()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps([wall, cpu, found]), file=told, flush=True)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: what is imported by these names lies elsewhere
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print
    named = {"ml-metadata": ml_metadata, "mlflow": mlflow}
    serve(named[sys.argv[1]](Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""), own)
