"""`whence cache …` and `whence why`: what people see of the cache, on a real pipeline."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import whence
from tests.journeys import test_cli
from tests.journeys.test_cli import Cli, both
from whence import changes, client
from whence_catalog import cache, inventory
from whence_catalog.errors import InvalidInput, NotFound

cli = test_cli.cli

PIPELINE = """\
import whence


def scaled(c: float) -> float:
    return c * {factor}


def unrelated() -> int:
    return {factor}


@whence.step
def load(day: int) -> whence.Dataset:
    return whence.dataset("raw", str(day).encode())


@whence.step
def train(raw: whence.Dataset, c: float) -> whence.Model:
    return whence.model("net", f"{{raw.path.read_text()}} {{scaled(c)}}".encode())


if __name__ == "__main__":
    train(load({day}), c=1.0)
"""


class Pipeline:
    """A script in a folder of its own, under a name that no other test imports."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        (folder / "pyproject.toml").write_text("[project]\nname = 'p'\n")

    def write(self, factor: int, day: int = 1) -> None:
        (self.folder / f"{self.name}.py").write_text(PIPELINE.format(factor=factor, day=day))

    def run(self, factor: int = 2, day: int = 1) -> None:
        self.write(factor, day)
        subprocess.run([sys.executable, f"{self.name}.py"], cwd=self.folder, check=True)

    def newest(self, of: client.Client, job: str = "train") -> str:
        return str(of.catalog.runs(job=f"{self.name}.{job}", limit=1)[0].uid)


@pytest.fixture
def pipeline(
    client: client.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Pipeline:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Pipeline(folder, f"pipe_{request.node.name.replace('[', '_').strip(']')[-40:]}")


def keys(client: client.Client, **filters: object) -> list[str]:
    return [entry.key for entry in client.catalog.cache_entries(**filters).items]  # type: ignore[arg-type]


def test_the_cache_is_listed_shown_and_summed(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
) -> None:
    assert "no such entry" in cli("cache", "ls").out
    assert "not asked for anything" in cli("cache", "stats").out
    pipeline.run()
    pipeline.run()
    text, page = both(cli, "cache", "ls", "--job", f"{pipeline.name}.train")
    (entry,) = page["items"]
    assert (entry["hits"], entry["state"]) == (1, "live")
    assert entry["key"][:20] in text
    text, record = both(cli, "cache", "show", entry["key"][:14])
    assert record["key"] == entry["key"]
    assert "params/c" in text
    text, found = both(cli, "cache", "stats", "--since", "1h")
    assert {job["job"]: job["hits"] for job in found["jobs"]} == {
        f"{pipeline.name}.{step}": 1 for step in ("load", "train")
    }
    assert "no entry 1" in text
    assert cli("cache", "ls", "--older", "1d", "--json").json["items"] == []


def test_what_is_given_to_the_cache_commands_in_a_wrong_form_is_refused_in_one_line(cli: Cli) -> None:
    for arguments in (
        ("cache", "ls", "--older", "soon"),
        ("cache", "evict"),
        ("cache", "evict", "--max-size", "much"),
        ("cache", "show", "wk1:1"),
        ("cache", "show", "wk1:0000000000"),
        ("cache", "stats", "--since", "1y"),
        ("cache", "stats", "--since", "99999w"),
        ("cache", "stats", "--since", "999999w"),
        ("why", "--dry", "nowhere"),
        ("why", "--dry", "no_such_module_at_all:train"),
        ("why", "--dry", "json:loads", "s"),
    ):
        said = cli(*arguments)
        assert (said.code, said.out) == (1, "")
        assert said.err.count("\n") == 1
    assert "no step no_such:x:" in cli("why", "--dry", "no_such:x").err  # not an emoji


def test_a_revoked_result_is_made_again(client: client.Client, pipeline: Pipeline, cli: Cli) -> None:
    pipeline.run()
    first = pipeline.newest(client)
    (key,) = keys(client, job=f"{pipeline.name}.train")
    text, _ = both(cli, "cache", "revoke", key[:18], "--reason", "a broken GPU")
    assert "revoked" in text
    assert "it would execute" in cli("cache", "explain", key).out
    pipeline.run()
    again = pipeline.newest(client)
    assert again != first
    assert "executed because: revoked" in cli("why", again).out
    text, record = both(cli, "cache", "show", key)
    assert [entry["state"] for entry in record["history"]] == ["live", "superseded"]
    assert f"revoked by {client.actor.name}: a broken GPU" in text


def test_an_entry_that_is_tainted_is_shown_so_though_it_is_live(
    client: client.Client, pipeline: Pipeline, cli: Cli
) -> None:
    pipeline.run()
    client.quarantine("model:net@1", reason="it is wrong")
    text, page = both(cli, "cache", "ls", "--job", f"{pipeline.name}.train")
    assert [(entry["state"], entry["condemned"]) for entry in page["items"]] == [("live", "quarantined")]
    assert "live, quarantined" in text


def test_an_eviction_is_shown_before_it_is_done_and_keeps_what_an_alias_needs(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
) -> None:
    pipeline.run()
    client.alias("model:net@1", "prod")
    text, planned = both(cli, "cache", "evict", "--unused", "0s")
    assert "would go" in text
    assert "--yes" in text
    assert len(planned["gone"]) == 1
    assert len(keys(client, states=[inventory.EntryState.LIVE])) == 2
    done = cli("cache", "evict", "--unused", "0s", "--reason", "room", "--yes")
    assert done.code == 0
    assert "needed by alias prod of model:net" in done.out
    assert keys(client, states=[inventory.EntryState.LIVE]) == keys(client, job=f"{pipeline.name}.train")


def test_divergences_are_shown(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no key gave other bytes" in cli("cache", "divergences").out
    state = pipeline.folder / "state.txt"
    for text in ("a", "b"):
        state.write_text(text)
        _drifting(str(state))
        monkeypatch.setenv("WHENCE_CACHE", "refresh")
    shown, page = both(cli, "cache", "divergences", "--job", "drifting")
    assert "refreshed; other bytes for return" in shown
    (difference,) = page["items"][0]["differences"]
    assert difference["role"] == "return"


@whence.step(version="1", name="drifting")
def _drifting(named: str) -> whence.Model:
    # A file that is read from a place that nobody sees.
    return whence.model("drift", Path(named[: len(named)]).read_bytes())


# ── why ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_of_the_code_is_shown_as_a_diff_of_the_source(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
) -> None:
    pipeline.run(factor=2)
    pipeline.run(factor=3)
    text, explained = both(cli, "why", pipeline.newest(client), "--diff")
    assert "-    return c * 2" in text
    assert "+    return c * 3" in text
    (file,) = explained["source"]["files"]
    assert (file["path"], file["symbols"]) == (f"{pipeline.name}.py", [f"{pipeline.name}:scaled"])
    bundle = client.catalog.run(pipeline.newest(client)).run.capture.bundle
    assert bundle is not None
    client.blobs.delete(bundle)
    assert "is gone" in cli("why", pipeline.newest(client)).out


def test_a_call_that_is_not_made_is_explained_with_the_source_as_it_is_now(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
) -> None:
    pipeline.run(factor=2)
    pipeline.write(factor=5)
    facts = len(client.catalog.facts())
    call = ("why", "--dry", f"{pipeline.name}:train", "raw=dataset:raw@latest", "c=1.0")
    text, explained = both(cli, *call)
    assert "it would execute: no entry" in text
    assert "+    return c * 5" in text
    assert [v["name"] for v in explained["verdicts"] if v["change"] == "changed"] == ["code"]
    assert len(client.catalog.facts()) == facts


def test_a_call_that_would_be_reused_says_so(client: client.Client, pipeline: Pipeline, cli: Cli) -> None:
    pipeline.run(factor=2)
    call = ("why", "--dry", f"{pipeline.name}.py:train", "raw=dataset:raw@latest", "c=1.0")
    assert "it would be reused" in cli(*call).out
    assert "cannot be called so" in cli(*call, "d=1").err
    assert "not an argument" in cli("why", "--dry", f"{pipeline.name}:train", "c").err


def test_the_run_upstream_that_began_it_is_named(
    client: client.Client,
    pipeline: Pipeline,
    cli: Cli,
) -> None:
    pipeline.run(day=1)
    pipeline.run(day=2)
    text, explained = both(cli, "why", pipeline.newest(client))
    (cause,) = explained["causes"]
    assert cause["run"] == pipeline.newest(client, "load")
    assert [(v["name"], v["before"], v["after"]) for v in cause["verdicts"]] == [("params/day", "1", "2")]
    assert "inputs/raw began to differ with" in text


@whence.step(version="1", name="explained")
def _explained(numbers: whence.Dataset, rate: float) -> whence.Model:
    return whence.model("line", json.dumps([n * rate for n in numbers.load()]).encode())  # type: ignore[attr-defined]


def test_python_explains_a_call_a_run_and_a_key(client: client.Client) -> None:
    draft = whence.dataset("numbers", [1, 2, 3])
    facts = len(client.catalog.facts())
    before = whence.why(_explained, draft, rate=1.0)
    assert len(client.catalog.facts()) == facts
    assert before.explanation.answer == cache.Execute(cache.Reason.NO_ENTRY)
    _explained(draft, rate=1.0)
    why = client.explain_call(_explained, draft, rate=1.0)
    assert isinstance(why.explanation.answer, cache.Reuse | cache.Verify)
    (entry,) = client.catalog.cache_entries().items
    assert why.explanation.key == entry.key == before.explanation.key
    assert client.explain(str(entry.run)).explanation.key == entry.key
    assert client.explain(entry.key).explanation.run == entry.run
    assert isinstance(why, changes.Why)


def test_what_cannot_be_explained_is_refused(client: client.Client) -> None:
    refused: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: client.explain_call(json.loads, "1"), InvalidInput),
        (lambda: client.explain("wk1:00000000"), NotFound),
        (lambda: client.explain("00000000"), NotFound),
    ]
    for ask, error in refused:
        with pytest.raises(error):
            ask()
