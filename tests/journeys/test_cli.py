"""Every command, with and without --json, on a small catalog: exit codes, JSON, near names, one-line errors."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import whence
from whence import connecting
from whence.cli import app
from whence.client import Client


@dataclass
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Said]


@whence.step(version="1")
def double(numbers: whence.Dataset, rate: float) -> whence.Model:
    whence.log(loss=0.25)
    return whence.model("line", json.dumps([n * rate for n in numbers.load()]).encode())  # type: ignore[attr-defined]


@pytest.fixture
def catalog(client: Client) -> Client:
    """Data from outside, a model trained twice and once reused, an alias, a run that failed."""
    numbers = client.publish("dataset:numbers", [1, 2, 3], description="counted by hand")
    double(numbers, 1.0)  # type: ignore[arg-type]
    double(numbers, 2.0)  # type: ignore[arg-type]
    double(numbers, 2.0)  # type: ignore[arg-type]
    client.alias("model:line@2", "prod", reason="it is steeper")
    with pytest.raises(ValueError, match="too steep"), whence.run("broken", params={"rate": 9.0}):
        raise ValueError("too steep")
    return client


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command in this process, by its own entry point."""

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["whence", *arguments])
        code = 0
        try:
            app.run()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


def both(cli: Cli, *arguments: str) -> tuple[str, Any]:
    """What a command says to people, and to programs; it succeeds with both."""
    text, data = cli(*arguments), cli(*arguments, "--json")
    assert (text.code, text.err, data.code, data.err) == (0, "", 0, "")
    return text.out, data.json


def run_of(catalog: Client, job: str, state: str = "complete") -> str:
    return next(
        str(run.uid) for run in catalog.catalog.runs() if run.job.endswith(job) and run.state == state
    )


def test_init_makes_a_catalog_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, first = both(cli, "init")
    assert (tmp_path / ".whence" / "catalog.db").exists()
    assert str(tmp_path / ".whence") in text
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert cli("init", "--json").json == first


def test_ls_lists_artifacts_with_their_newest_version_and_aliases(catalog: Client, cli: Cli) -> None:
    text, found = both(cli, "ls")
    assert "model:line" in text
    assert "prod" in text
    assert {each["artifact"] for each in found} == {"dataset:numbers", "model:line"}
    _, models = both(cli, "ls", "--kind", "model")
    assert [(each["artifact"], each["versions"]) for each in models] == [("model:line", 2)]
    assert both(cli, "ls", "--project", "elsewhere")[1] == []


def test_show_tells_of_a_version_and_of_a_run(catalog: Client, cli: Cli) -> None:
    text, version = both(cli, "show", "model:line@prod")
    assert "model:line@2" in text
    assert "it is steeper" in text
    assert version["output"]["version"]["ref"] == "model:line@2"
    text, run = both(cli, "show", run_of(catalog, "double"))
    assert "dataset:numbers@1 as numbers" in text
    assert "loss: 1 points" in text
    assert run["record"]["run"]["params"] == {"rate": 2.0}
    text, failed = both(cli, "show", run_of(catalog, "broken", "failed"))
    assert "ValueError: too steep" in text
    assert failed["record"]["run"]["state"] == "failed"


def test_env_tells_what_a_run_ran_in_and_writes_it_as_a_lock(catalog: Client, cli: Cli) -> None:
    run = run_of(catalog, "double", "complete")
    text, said = both(cli, "env", run)
    assert said["python"] in text
    found = {each["name"]: each["version"] for each in said["distributions"]}
    assert found["msgspec"] == metadata.version("msgspec")
    assert re.search(rf"^msgspec +{re.escape(found['msgspec'])}", text, re.MULTILINE)
    lock = cli("env", run, "--pylock")
    named = {each["name"] for each in tomllib.loads(lock.out)["packages"]}
    told = set(re.findall(r"^whence: (\S+) is not in the lock: ", lock.err, re.MULTILINE))
    assert (lock.code, named | told, named & told) == (0, set(found), set())


def test_log_lists_runs_newest_first(catalog: Client, cli: Cli) -> None:
    text, runs = both(cli, "log")
    assert [run["state"] for run in runs] == ["failed", "reused", "complete", "complete", "complete"]
    assert "broken" in text
    assert [run["job"] for run in both(cli, "log", "--state", "failed", "-n", "1")[1]] == ["broken"]
    text, none = both(cli, "log", "--job", "nobody")
    assert (text.strip(), none) == ("no such run is recorded", [])


def test_lineage_goes_up_and_down(catalog: Client, cli: Cli) -> None:
    text, up = both(cli, "lineage", "model:line@prod")
    assert "dataset:numbers@1" in text
    assert "complete" in text
    assert up["completeness"]["complete"] is True
    text, _ = both(cli, "lineage", "dataset:numbers", "--down")
    assert "model:line@1" in text
    said = cli("lineage", "dataset:numbers", "--down", "--max-nodes", "2")
    assert "not complete" in said.out
    assert "not complete: 2 nodes reached; go on with --after " in said.err
    cut = cli("lineage", "dataset:numbers", "--down", "--max-nodes", "2", "--json").json
    assert cli("lineage", "dataset:numbers", "--down", "--after", cut["completeness"]["frontier"]).code == 0


def test_lineage_is_written_in_the_form_that_is_asked_for(catalog: Client, cli: Cli, tmp_path: Path) -> None:
    asked = ("lineage", "model:line@1", "model:line@2", "--both", "--whole", "--format")
    begins = {
        "tree": "model:line@1",
        "table": "depth",
        "mermaid": "flowchart",
        "dot": "digraph",
        "jsonl": '{"node"',
    }
    for form, head in (begins | {"graphml": "<?xml", "json": "{"}).items():
        said = cli(*asked, form)
        assert (said.code, said.err) == (0, ""), form
        assert said.out.startswith(head), form
        written = tmp_path / form
        assert cli(*asked, form, "--out", str(written)) == Said(0, "", "")
        assert written.read_text() == said.out
    assert "cannot be written" in cli(*asked, "dot", "--out", str(tmp_path / "no" / "folder")).err
    before = (tmp_path / "dot").read_text()
    assert cli(*asked, "dot", "--as-of", "999999", "--out", str(tmp_path / "dot")).code == 1
    assert (tmp_path / "dot").read_text() == before


def test_why_names_what_changed(catalog: Client, cli: Cli) -> None:
    text, explained = both(cli, "why", run_of(catalog, "double"))
    assert "params/rate" in text
    changed = {
        v["name"]: (v["before"], v["after"]) for v in explained["verdicts"] if v["change"] == "changed"
    }
    assert changed == {"params/rate": ("1.0", "2.0")}
    assert "it has no key" in both(cli, "why", run_of(catalog, "broken", "failed"))[0]


def test_audit_says_its_verdict_by_its_exit_code(catalog: Client, cli: Cli, tmp_path: Path) -> None:
    text, data = cli("audit", "model:line@prod"), cli("audit", "model:line@prod", "--json")
    assert text.code == data.code == {"pass": 0, "fail": 2, "unknown": 3}[data.json["verdict"]]
    assert f"verdict of the policy {data.json['policy']}" in text.out
    absent = cli("audit", "model:line@prod", "--policy", str(tmp_path / "none.toml"))
    assert (absent.code, absent.out) == (1, "")
    (tmp_path / "bad.toml").write_text("= no toml")
    assert "is not TOML" in cli("audit", "model:line", "--policy", str(tmp_path / "bad.toml")).err


def test_alias_moves_and_refuses_what_was_not_expected(catalog: Client, cli: Cli) -> None:
    text, moved = both(cli, "alias", "model:line@1", "prod", "--reason", "back")
    assert "model:line@1" in text
    assert (moved["version"]["number"], moved["reason"]) == (1, "back")
    refused = cli("alias", "model:line@2", "prod", "--expected", "2")
    assert (refused.code, refused.out) == (1, "")
    assert len(refused.err.splitlines()) == 1


def test_publish_and_get_are_there_and_back(
    catalog: Client, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"png")
    text, published = both(cli, "publish", "images", "--as", "dataset:images", "--description", "by hand")
    assert "dataset:images@1" in text
    assert published["version"]["form"] == "tree"
    assert both(cli, "publish", "images/a.png")[1]["version"]["ref"] == "file:a.png@1"
    assert cli("get", "dataset:images", "copy").code == 0
    assert (tmp_path / "copy" / "a.png").read_bytes() == b"png"
    assert cli("get", "file:a.png", "--json").json["path"] == "a.png"
    assert (tmp_path / "a.png").read_bytes() == b"png"
    again = cli("get", "file:a.png")
    assert again.code == 1
    assert "a.png" in again.err
    absent = cli("publish", "nothing-there")
    assert (absent.code, absent.out) == (1, "")
    assert "no file nothing-there" in absent.err


def test_check_and_migrate_find_nothing_to_do(catalog: Client, cli: Cli) -> None:
    text, report = both(cli, "check")
    assert "they agree" in text
    assert report["problems"] == []
    text, done = both(cli, "migrate")
    assert "nothing to do" in text
    assert done["before"] == done["after"]


def test_check_says_what_does_not_agree(catalog: Client, cli: Cli) -> None:
    import sqlite3

    with sqlite3.connect(Path(catalog.url) / "catalog.db") as database:
        database.execute("UPDATE run SET state = 'complete' WHERE state = 'failed'")
    database.close()
    text, data = cli("check"), cli("check", "--json")
    assert (text.code, data.code) == (2, 2)
    assert "they do not agree" in text.out
    assert data.json["problems"]


def test_rerun_of_what_cannot_be_made_again_says_why(catalog: Client, cli: Cli) -> None:
    for arguments in ((), ("--json",)):
        refused = cli("rerun", run_of(catalog, "broken", "failed"), *arguments)
        assert (refused.code, refused.out) == (1, "")
        assert "cannot be made again" in refused.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "model:lin"], "did you mean model:line"),
        (["get", "model:line@prd"], "prod"),
        (["lineage", "dataset:number"], "dataset:numbers"),
        (["audit", "model:line@9"], "model:line"),
        (["alias", "model:lime@1", "prod"], "model:line"),
        (["show", "nonsense"], "not a run"),
        (["why", "00000000"], "whence log"),
        (["rerun", "ffffffff"], "whence log"),
        (["rerun", "ffffffff", "--keep", "/", "--times", "5"], "a room needs a folder of its own"),
        (["rerun", "model:line", "--whole", "--times", "3"], "--times has no meaning with --whole"),
        (["rerun", "model:line", "--whole", "--keep", "x"], "--keep has no meaning with --whole"),
        (["rerun", "model:line", "--whole", "--quiet"], "--quiet has no meaning with --whole"),
        (["rerun", "ffffffff", "-j", "2"], "--jobs has no meaning without --whole"),
        (["apply", "no.json", "--env", "current", "--offline"], "offline has no meaning"),
        (["plan", "--for", "model:line", "--mermaid", "--json"], "say one of them"),
        (
            ["plan", "--for", "model:line", "--with", "file:x=a", "--with", "file:x=b"],
            "file:x is given twice",
        ),
        (["exec", "--param", "a=1", "--param", "a=2", "--", "true"], "a is given twice"),
        (
            ["rerun", "ffffffff", "--env", "current", "--nearest"],
            "nearest has no meaning in the current environment",
        ),
        (
            ["rerun", "ffffffff", "--env", "current", "--offline"],
            "offline has no meaning in the current environment",
        ),
        (["publish", ".", "--as", "dataset:x@3"], "selects a version"),
        (["lineage", "model:line", "--after", "nonsense"], ""),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_what_is_refused_is_one_line_on_standard_error(
    catalog: Client, cli: Cli, arguments: list[str], says: str, form: list[str]
) -> None:
    said = cli(*arguments, *form)
    assert (said.code, said.out) == (1, "")
    assert says in said.err
    assert said.err.startswith("whence: ")
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err


@pytest.mark.parametrize("arguments", [["nosuch"], ["ls", "--nosuch"], ["show"], ["log", "--limit", "0"]])
def test_a_command_that_is_not_understood_exits_with_2(cli: Cli, arguments: list[str]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


def test_help_has_an_example_for_every_command(cli: Cli) -> None:
    names = [
        command.name or command.callback.__name__
        for command in app.cli.registered_commands
        if command.callback
    ]
    assert len(names) >= 14
    top = cli("--help").out
    for name in names:
        said = cli(name, "--help")
        assert said.code == 0
        assert "Example" in said.out, name
        assert f"whence {name}" in said.out, name
        assert name in top


def whence_command() -> str:
    return str(Path(sys.executable).parent / "whence")


def test_whoever_reads_the_first_line_alone_gets_no_traceback(catalog: Client) -> None:
    for n in range(300):
        if n % 100 == 0:
            catalog.publish(f"dataset:many{n}", [n])
    command = f"{whence_command()} log --json | head -1; echo ${{PIPESTATUS[0]}}"
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True, check=False)
    first, code = done.stdout.splitlines()
    assert first == "["
    assert code in ("0", "141")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full stands there on Linux")
@pytest.mark.parametrize("arguments", [["log"], ["log", "--json"]])
def test_an_answer_that_nothing_has_room_for_is_one_line(catalog: Client, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "whence", *arguments],
            env={**os.environ, "WHENCE_URL": catalog.url},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "whence: there is no room for what it writes: No space left on device; make room and call again\n",
    )


def test_an_unusable_catalog_is_one_line(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHENCE_URL", str(tmp_path))
    (tmp_path / "catalog.db").write_bytes(b"no database " * 100)
    for command in ("ls", "init", "check", "migrate"):
        said = cli(command)
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1), command
    assert connecting._default is None
