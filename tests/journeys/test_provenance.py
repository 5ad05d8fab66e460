"""Where something came from is found, however the code that made it is nested; and an audit looks for itself."""

import os
from pathlib import Path

import pytest

import whence
from whence import Dataset, Metrics
from whence.client import Client
from whence_catalog import audit, lineage
from whence_catalog.errors import NotFound
from whence_catalog.model import RunState

WHOLE = lineage.Bounds(max_nodes=None)


@whence.step
def ingest(text: str = "source") -> Dataset:
    return whence.dataset("raw", text.encode())


@whence.step
def clean(raw: Dataset) -> Dataset:
    return whence.dataset("clean", raw.path.read_bytes().upper())


@whence.step
def prepared() -> Dataset:
    """Hands out what another step made."""
    return clean(ingest())


@whence.step
def evaluate(data: Dataset) -> Metrics:
    return whence.metrics("quality", {"bytes": len(data.path.read_bytes())})


@whence.step
def reads_what_is_newest() -> bytes:
    return whence.get("dataset:live@latest").path.read_bytes()


@whence.step
def sizes(count: int) -> int:
    return sum(evaluate(whence.dataset("part", b"x" * (n + 1))).number for n in range(count))


def above(client: Client, ref: str) -> set[str]:
    graph = client.catalog.lineage([ref], lineage.Direction.UP, WHOLE)
    assert graph.completeness == lineage.Completeness(complete=True)
    return {node.name for node in graph.nodes}


def test_what_an_inner_step_made_and_an_outer_one_hands_out_leads_to_the_inner_one(client: Client) -> None:
    evaluate(prepared())
    assert {"dataset:raw", "dataset:clean"} <= above(client, "metrics:quality")
    down = client.catalog.lineage(["dataset:raw"], lineage.Direction.DOWN, WHOLE)
    assert "metrics:quality" in {node.name for node in down.nodes}


def test_what_an_output_is_said_to_come_from_is_an_input(client: Client) -> None:
    source = whence.publish("dataset:source", b"source")
    with whence.run("train") as run:
        run.publish("model:m", b"model", derived_from=[source])
    assert "dataset:source" in above(client, "model:m")


def test_what_is_brought_in_may_say_what_it_comes_from(client: Client) -> None:
    source = whence.publish("dataset:source", b"source")
    whence.publish("dataset:shrunk", b"s", derived_from=[source])
    assert "dataset:source" in above(client, "dataset:shrunk")


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="metric"):
        whence.model("m", b"model", metric={"r2": 1.0})  # type: ignore[call-arg]


def test_a_version_that_a_step_gets_while_it_runs_is_an_input_and_the_step_is_not_cached(
    client: Client,
) -> None:
    whence.publish("dataset:live", b"one")
    assert reads_what_is_newest() == b"one"
    whence.publish("dataset:live", b"two")
    assert reads_what_is_newest() == b"two"
    newest = client.catalog.run(str(client.catalog.runs(limit=1)[0].uid))
    assert [taken.version.ref for taken in newest.inputs] == ["dataset:live@2"]
    assert "hand it in as an argument" in newest.run.warnings[0]


def test_drafts_of_one_name_on_their_way_to_steps_have_roles_of_their_own(client: Client) -> None:
    assert sizes(3) == 6
    outer = next(run for run in client.catalog.runs() if run.job.endswith("sizes"))
    assert len(client.catalog.run(str(outer.uid)).outputs) == 4  # three parts and the sum


def test_an_input_of_another_catalog_is_refused_and_the_end_of_the_run_is_not_lost(
    client: Client, tmp_path: Path
) -> None:
    elsewhere = whence.connecting.open_client(tmp_path / "elsewhere")
    foreign = elsewhere.publish("dataset:foreign", b"foreign")
    elsewhere.close()
    with pytest.raises(NotFound), whence.run("train") as run:
        run.use(foreign)
    (ended,) = client.catalog.runs()
    assert ended.state is RunState.FAILED


def test_an_audit_finds_what_a_quick_look_would_not(client: Client) -> None:
    made = evaluate(ingest())
    policy = audit.Policy.default()

    def intact() -> audit.Verdict:
        return next(f.verdict for f in client.audit(made.ref, policy).findings if f.id == "intact")

    assert intact() is audit.Verdict.PASS
    digits = whence.get("dataset:raw").digest.removeprefix("sha256:")
    blob = Path(client.url) / "blobs" / "sha256" / digits[:2] / digits[2:]
    before = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(b"Source")
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk would leave it
    assert intact() is audit.Verdict.FAIL
