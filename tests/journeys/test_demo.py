"""`whence demo`, run as a user runs it; takes about half a minute."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("WHENCE_")}


def whence(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from whence.cli import main; main()", *arguments]
    ended = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    return ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, dict[str, object]]:
    told: dict[str, dict[str, object]] = json.loads(whence(folder, "demo", "--json").stdout)
    return told


def test_each_pass_executes_what_it_must_and_nothing_else(told: dict[str, dict[str, object]]) -> None:
    counts = {
        name: (told[name]["executed"], told[name]["reused"])
        for name in ("first", "second", "changed", "early_cutoff")
    }
    assert counts == {"first": (4, 0), "second": (0, 4), "changed": (2, 2), "early_cutoff": (1, 3)}
    assert any("params/c was 1.0, is 0.5" in str(why) for why in told["changed"]["why"])  # type: ignore[attr-defined]
    assert any("code changed" in str(why) for why in told["early_cutoff"]["why"])  # type: ignore[attr-defined]


def test_the_rerun_from_the_record_alone_makes_the_same_bytes(told: dict[str, dict[str, object]]) -> None:
    assert told["rerun"]["identical"] is True
    for output in told["rerun"]["outputs"]:  # type: ignore[attr-defined]
        assert output["before"] == output["after"]


def test_the_lineage_is_whole_and_the_audit_says_what_it_does_not_know(
    told: dict[str, dict[str, object]],
) -> None:
    assert told["lineage"]["complete"] is True
    findings = {finding["id"]: finding["verdict"] for finding in told["audit"]["findings"]}  # type: ignore[attr-defined]
    assert (findings["intact"], findings["complete"], findings["code"], findings["remade"]) == ("pass",) * 4
    assert findings["seen"] == "unknown"
    assert told["audit"]["verdict"] == "unknown"


def test_it_leaves_a_catalog_that_the_other_commands_explore(folder: Path, told: dict[str, object]) -> None:
    graph = json.loads(whence(folder, "lineage", "model:digits@latest", "--json").stdout)
    assert {node["name"] for node in graph["nodes"] if node["type"] == "run"} >= {
        "pipeline.ingest",
        "pipeline.train",
    }
    assert json.loads(whence(folder, "check", "--json").stdout)["problems"] == []
    named = {item["artifact"] for item in json.loads(whence(folder, "ls", "--json").stdout)}
    assert {"dataset:digits", "model:digits"} <= named
    runs = json.loads(whence(folder, "log", "--json", "--job", "pipeline.train").stdout)
    (changed,) = [run for run in runs if run["params"] == {"c": 0.5}]
    assert "params/c" in whence(folder, "why", changed["uid"]).stdout
