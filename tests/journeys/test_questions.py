"""What changed, where data went, where it begins and what came of it: from the command line, and in the SDK."""

import json
import re
from pathlib import Path

import pytest

from tests.journeys.test_cli import Cli, both, cli
from whence.cli import questions
from whence.client import Client

__all__ = ["cli"]


@pytest.fixture
def pipeline(client: Client, tmp_path: Path) -> Client:
    """Two models of one dataset, whose files changed in between; the second one serves, and is called prod."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    for c in (0.5, 1.0):
        data = client.publish("dataset:images", folder)
        with client.run("train", params={"c": c}) as run:
            run.use(data, role="data")
            run.log(accuracy=c / 2)
            run.publish("model:digits", f"weights {c}".encode())
        (folder / "b.txt").write_text("two and a half")
        (folder / "c.txt").write_text("three")
    client.alias("model:digits", "prod", reason="better")
    client.deploy("model:digits", "shop/eu")
    with client.run("grade") as run:
        run.use(client.get("model:digits@1"), role="old")
        run.use(client.get("model:digits@2"), role="new")
        run.publish("report:grade", b"better")
    return client


def test_a_difference_tells_data_params_metrics_and_files(pipeline: Client, cli: Cli) -> None:
    text, found = both(cli, "diff", "model:digits@1", "model:digits@2")
    for told in (
        "content     changed",
        "data: dataset:images@1 → dataset:images@2",
        "c: 0.5 → 1.0",
        "accuracy: 0.25 → 0.5  (+0.25)",
        "job         same",
        "code        same",
        "upstream    changed",
    ):
        assert told in text, (told, text)
    assert found["recorded"]["params"]["verdict"] == "changed"
    tree, _ = both(cli, "diff", "dataset:images@1", "dataset:images@2")
    assert "b.txt  3 B → 14 B" in tree
    assert "c.txt  nothing → 5 B" in tree
    assert "a.txt" not in tree
    same, _ = both(cli, "diff", "model:digits@2", "model:digits@prod")
    assert "changed" not in same


def test_paths_are_lines_or_drawings(pipeline: Client, cli: Cli) -> None:
    text, found = both(cli, "paths", "dataset:images@1", "report:grade")
    assert text.startswith("dataset:images@1 → train ")
    assert text.rstrip().endswith("1 way; complete")
    assert [len(way) for way in found["paths"]] == [5]
    assert cli("paths", "dataset:images@1", "report:grade", "--format", "mermaid").out.startswith("flowchart")
    assert "digraph" in cli("paths", "dataset:images@1", "report:grade", "--format", "dot").out
    assert "no way; complete" in cli("paths", "report:grade", "dataset:images@1").out


def test_roots_and_what_is_common(pipeline: Client, cli: Cli) -> None:
    text, found = both(cli, "roots", "report:grade")
    assert "dataset:images@1  2 runs away" in text
    assert "2 roots" in text
    assert found["total"] == 2
    text, _ = both(cli, "roots", "model:digits@1", "report:grade", "--common")
    assert "dataset:images@1" in text
    assert "dataset:images@2" not in text
    assert "common ancestors" in text


def test_an_impact_tells_first_where_it_is_used(pipeline: Client, cli: Cli) -> None:
    text, found = both(cli, "impact", "dataset:images@2")
    lines = text.splitlines()
    assert "went into 2 runs and 2 versions (1 model, 1 report)" in lines[0]
    assert lines[1:4] == ["deployments: 1, aliases: 1", "serving:", "  shop/eu serves model:digits@2"]
    assert lines[4].startswith("    by train ")
    assert max(map(len, lines)) <= 100
    assert "prod means model:digits@2" in text
    assert found["counts"]["deployments"] == 1
    assert [item["type"] for item in found["items"]] == ["deployment", "alias", "version"]
    every = json.loads(cli("impact", "dataset:images@2", "--kind", "any", "--json").out)
    assert len(every["items"]) == 4
    drawn = cli("impact", "dataset:images@2", "--format", "dot").out
    assert "shop/eu" in drawn
    assert "serves" in cli("impact", "model:digits@2").out


def test_a_long_way_is_folded_between_its_steps() -> None:
    steps = [f"step {n} of a long way" for n in range(9)]
    lines = list(questions.folded(steps, "  by ", "   → "))
    assert len(lines) > 1
    assert max(map(len, lines)) <= 98
    assert " → ".join(re.split(r"^(?:  by |   → )", line)[1] for line in lines) == " → ".join(steps)
    assert list(questions.folded([], "  by ", "   → ")) == []


def test_an_option_that_is_nothing_is_refused_in_plain_words(cli: Cli) -> None:
    for command in (["lineage", "model:m"], ["impact", "model:m"], ["paths", "model:m", "model:m"]):
        ended = cli(*command, "--format", "nope")
        assert ended.code == 2
        assert "'nope' is not one of" in re.sub(r"[│\s]+", " ", ended.err)
        assert "Value error" not in ended.err


def test_what_was_known_then(pipeline: Client, cli: Cli) -> None:
    head = len(pipeline.catalog.facts())
    pipeline.withdraw("model:digits", "shop/eu", reason="closed")
    assert "serving:" not in cli("impact", "dataset:images@2").out
    assert "serving:" in cli("impact", "dataset:images@2", "--as-of", str(head)).out
    assert "serving:" not in cli("impact", "dataset:images@2", "--as-of", "2100-01-01T00:00Z").out
    early = cli("paths", "dataset:images", "model:digits", "--as-of", "2001-01-01T00:00:00Z")
    assert (early.code, len(early.err.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["paths", "dataset:images", "model:nothing"], "no artifact model:nothing"),
        (["paths", "dataset:images@77", "model:digits"], "dataset:images"),
        (["paths", "dataset:images", "00000000-0000-7000-8000-000000000000"], "no run"),
        (["paths", "dataset:images", "x"], "at least 8"),
        (["paths", "nonsense:", "model:digits"], "nonsense:"),
        (["paths", "deployment/x", "model:digits"], "not a deployment"),
        (["roots", "model:digits", "--common"], "two or more"),
        (["roots", "a:b:c"], "a:b:c"),
        (["impact", "deployment/00000000-0000-7000-8000-000000000000"], "no deployment/"),
        (["impact", "dataset:images", "--as-of", "tomorrow"], "not a position or a time"),
        (["impact", "dataset:images", "--as-of", "999999"], "position"),
        (["diff", "model:digits@1", "model:digits@9"], "model:digits"),
        (["diff", "model:digits", "dataset:images/x"], "dataset:images/x"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    pipeline: Client, cli: Cli, arguments: list[str], told: str
) -> None:
    refused = cli(*arguments)
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert told in refused.err
    assert refused.out == ""


def test_a_version_and_a_run_are_not_compared(pipeline: Client, cli: Cli) -> None:
    run = str(pipeline.get("model:digits").run)
    assert "compare two versions, or two runs" in cli("diff", "model:digits", run).err
    assert cli("diff", run, run).code == 0


def test_a_client_goes_on_until_all_is_told(pipeline: Client) -> None:
    for place in range(3):
        with pipeline.run("more") as run:
            run.use(pipeline.get("dataset:images"), role="data")
            run.publish(f"model:m{place}", f"{place}".encode())
    found = pipeline.impact("dataset:images")
    assert found.first.kinds["model"] == 4
    models = [item.version.id for item in found if item.type == "version"]
    assert sorted(models) == ["model:digits@2", "model:m0@1", "model:m1@1", "model:m2@1"]
    assert len(pipeline.paths("dataset:images", "model:m1").paths) == 1
    assert [node.id for page in pipeline.roots(["model:m1"]) for node in page.items] == ["dataset:images@2"]
    assert pipeline.difference("model:m1", "model:m1").recorded.data.verdict == "same"
