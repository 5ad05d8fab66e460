"""`whence exec`: any command as a run, from a shell, in real processes."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from whence import environments, replay
from whence_catalog import likeness, model

_WHENCE = Path(sysconfig.get_path("scripts")) / "whence"
_PATH = f"{_WHENCE.parent}{os.pathsep}{os.environ['PATH']}"
# Sums a column; tells that it ran.
_SUM = """
import json, os, sys
rows = [float(line) for line in open(sys.argv[1])]
with open(os.environ["MARKS"], "a") as file: file.write("sum\\n")
print("summing", len(rows))
print("careful", file=sys.stderr)
open(sys.argv[2], "w").write(str(sum(rows) * float(sys.argv[3])))
"""
_COMMAND = ("--in", "rows=rows.csv", "--out", "total=out/total.txt", "--param", "factor=2")
_ARGV = ("python", "total.py", "{rows}", "{total}", "{factor}")


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        """What `--json` told, behind what the command said itself."""
        return json.loads(self.err[self.err.index("{") :])


@dataclass(frozen=True, slots=True)
class Shell:
    project: Project

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        project = self.project
        process = subprocess.Popen(
            [_WHENCE, "exec", *arguments],
            cwd=project.folder,
            env={
                **os.environ,
                "PATH": _PATH,
                "WHENCE_URL": str(project.url),
                "MARKS": str(project.marks),
                **variables,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        project.started.append(process)
        return process

    def __call__(self, *arguments: str, said: str | None = None, **variables: str) -> Said:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(said, timeout=60)
        return Said(process.returncode, out, err)


@pytest.fixture
def shell(project: Project) -> Shell:
    (project.folder / "rows.csv").write_text("1\n2\n")
    (project.folder / "total.py").write_text(_SUM)
    return Shell(project)


def test_a_command_is_run_once_and_its_outputs_and_words_come_back(shell: Shell) -> None:
    project, total = shell.project, shell.project.folder / "out/total.txt"
    first = shell("--json", *_COMMAND, "--", *_ARGV)
    assert (first.code, first.out, total.read_text()) == (0, "summing 2\n", "6.0"), first.err
    assert first.told["state"] == "complete"
    assert first.told["outputs"]["total"] == "file:out/total.txt@1"
    assert project.executed() == ["sum"]

    total.unlink()
    again = shell("--json", *_COMMAND, "--", *_ARGV)
    assert (again.code, again.out, total.read_text()) == (0, "summing 2\n", "6.0"), again.err
    assert again.err.startswith("careful\n")
    assert (again.told["state"], again.told["origin"]) == ("reused", first.told["run"])
    assert project.executed() == [], "the command was not started"
    assert os.access(total, os.W_OK), "it is the user's own file"

    record = project.client.catalog.run(first.told["run"])
    assert [(used.role, used.version.ref) for used in record.inputs] == [("rows", "file:rows.csv@1")]
    assert record.run.params == {"factor": 2}
    assert record.run.capture.command == _ARGV
    assert dict(record.run.capture.places) == {"rows": "rows.csv", "total": "out/total.txt"}
    assert (record.run.job, record.run.capture.rerunnable) == ("total", True)
    log = project.client.get("report:total.log").path
    assert ((log / "stdout").read_text(), (log / "stderr").read_text()) == ("summing 2\n", "careful\n")
    assert project.client.catalog.check().problems == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "rows.csv").write_text("3\n"), id="an input"),
        pytest.param(lambda folder: (folder / "total.py").write_text(_SUM + "\n# mended\n"), id="its script"),
        pytest.param(
            lambda folder: (folder / "other.py").write_text("x = 1\n"), id="other source of the project"
        ),
    ],
)
def test_it_runs_again_when_what_it_depends_on_changed(shell: Shell, change: Any) -> None:
    assert shell(*_COMMAND, "--", *_ARGV).code == 0
    change(shell.project.folder)
    assert shell(*_COMMAND, "--", *_ARGV).code == 0
    assert shell.project.executed() == ["sum", "sum"]


def test_it_runs_again_for_another_parameter_or_variable_and_not_for_other_places(shell: Shell) -> None:
    same = ("--in", "rows=rows.csv", "--out", "total=elsewhere.txt", "--param", "factor=2", "--env", "SEED")
    assert shell(*_COMMAND, "--env", "SEED", "--", *_ARGV).code == 0
    assert shell(*same, "--", *_ARGV).code == 0
    assert (shell.project.folder / "elsewhere.txt").read_text() == "6.0"
    assert shell.project.executed() == ["sum"]
    assert shell(*same, "--", *_ARGV, SEED="1").code == 0
    assert shell(*_COMMAND[:-1], "factor=3", "--env", "SEED", "--overwrite", "--", *_ARGV).code == 0
    assert shell.project.executed() == ["sum", "sum"]


def test_what_one_command_leaves_and_another_takes_is_one_lineage(shell: Shell) -> None:
    made = shell("--json", *_COMMAND, "--as", "total=dataset:total", "--", *_ARGV).told
    taken = shell(
        "--json", "--in", "total=out/total.txt", "--out", "copy=copy.txt", "--", "cp", "{total}", "{copy}"
    ).told
    (used,) = shell.project.client.catalog.run(taken["run"]).inputs
    assert (used.version.ref, str(used.producer)) == ("dataset:total@1", made["run"])
    by_name = shell(
        "--json",
        "--in",
        "total=dataset:total@1",
        "--out",
        "other=other.txt",
        "--",
        "cp",
        "{total}",
        "{other}",
    )
    assert by_name.told["state"] == "complete", "the words of the command have another output"
    assert (shell.project.folder / "other.txt").read_text() == "6.0"


def test_a_command_that_fails_says_so_in_its_own_way(shell: Shell) -> None:
    failed = shell(
        "--json", "--out", "x=x.txt", "--", "sh", "-c", "echo nearly > x.txt; echo oops >&2; exit 7"
    )
    assert (failed.code, failed.told["state"]) == (7, "failed")
    record = shell.project.client.catalog.run(failed.told["run"])
    assert record.run.error == "it ended with exit code 7\noops"
    assert [output.role for output in record.outputs] == ["log"], "what it left half made is no output"
    killed = shell("--json", "--", "sh", "-c", "kill -SEGV $$")
    assert (killed.code, killed.told["state"]) == (-signal.SIGSEGV, "failed")
    missing = shell("--json", "--out", "x=y.txt", "--", "true")
    assert (missing.code, missing.told["state"]) == (1, "failed")
    assert "left no y.txt" in missing.told["error"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_through_to_the_command_and_the_run_is_aborted(
    shell: Shell, sent: signal.Signals
) -> None:
    script = "trap 'echo last words; exit 3' TERM INT; echo ready >> $MARKS; while :; do sleep 0.05; done"
    process = shell.start("--json", "--job", "slow", "--", "sh", "-c", script)
    shell.project.wait_for_mark(process, "ready")
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    told = Said(process.returncode, out, err).told
    assert (process.returncode, out, told["state"]) == (3, "last words\n", "aborted")
    unheard = shell.start("--job", "deaf", "--", "sh", "-c", "echo deaf >> $MARKS; exec sleep 60")
    shell.project.wait_for_mark(unheard, "deaf")
    unheard.send_signal(sent)
    unheard.communicate(timeout=60)
    assert unheard.returncode == -sent, "whoever started it sees how it ended"
    (run,) = shell.project.client.catalog.runs(job="deaf")
    assert (run.state, run.error) == (model.RunState.ABORTED, f"it was ended by {sent.name}")


def test_nothing_is_overwritten_that_is_recorded_nowhere(shell: Shell) -> None:
    (shell.project.folder / "out").mkdir()
    mine = shell.project.folder / "out/total.txt"
    mine.write_text("my own notes")
    refused = shell(*_COMMAND, "--", *_ARGV)
    assert (refused.code, mine.read_text(), shell.project.executed()) == (1, "my own notes", [])
    assert "--overwrite" in refused.err.splitlines()[-1]
    assert shell("--overwrite", *_COMMAND, "--", *_ARGV).code == 0
    assert mine.read_text() == "6.0"
    assert shell(*_COMMAND[:-1], "factor=3", "--", *_ARGV).code == 0, "its own output, which is recorded"
    assert mine.read_text() == "9.0"


def test_metrics_are_read_from_the_file_that_it_leaves(shell: Shell) -> None:
    script = 'echo \'{"loss": 0.5, "n": 3}\' > m.json'
    told = shell("--json", "--metrics", "m.json", "--", "sh", "-c", script).told
    assert shell.project.client.catalog.run(told["run"]).run.metrics == {"loss": 0.5, "n": 3.0}
    assert told["outputs"]["metrics"] == "metrics:m.json@1"
    bad = shell("--metrics", "m.json", "--", "sh", "-c", "echo '[1]' > m.json")
    assert bad.code == 1
    assert "not a JSON object of numbers" in bad.err


def test_standard_input_is_the_commands_only_where_that_is_said(shell: Shell) -> None:
    assert shell("--", "cat", said="hidden").out == ""
    first, second = (shell("--json", "--stdin", "--", "cat", said=text) for text in ("a", "b"))
    assert (first.out, second.out, second.told["state"]) == ("a", "b", "complete")
    capture = shell.project.client.catalog.run(first.told["run"]).run.capture
    assert (capture.rerunnable, capture.because) == (
        False,
        "what it read from its standard input was not kept",
    )


def test_a_python_command_can_say_more_of_its_run(shell: Shell) -> None:
    (shell.project.folder / "more.py").write_text(
        "import whence\nwith whence.attach() as run:\n    run.log(loss=0.25)\n    run.publish('model:m', b'weights')\n"
    )
    told = shell("--json", "--", sys.executable, "more.py").told
    record = shell.project.client.catalog.run(told["run"])
    assert record.run.metrics == {"loss": 0.25}
    assert {output.role for output in record.outputs} == {"m"}


def test_what_it_reads_undeclared_is_seen_in_any_language(shell: Shell) -> None:
    (shell.project.folder / "hidden.txt").write_text("1\n")
    script = "cat hidden.txt >&2; cat {rows} > {total}; (sh -c 'cat < /dev/null; cat nothing.txt' || true)"
    told = shell("--json", "--trace", *_COMMAND[:4], "--", "sh", "-c", script).told
    observed = shell.project.client.catalog.run(told["run"]).observed
    assert observed is not None
    assert observed.files == ("hidden.txt",), (
        "and no input, nothing that is not there, nothing of the machine"
    )
    traced = shell("--json", "--trace", *_COMMAND, "--cache", "refresh", "--overwrite", "--", *_ARGV).told
    seen = shell.project.client.catalog.run(traced["run"]).observed
    assert seen is not None
    assert seen.files == (), "the script is its code, the rows its input"


def test_a_traced_command_ends_as_it_would_untraced(shell: Shell) -> None:
    threads = "import threading as t, os; [t.Thread(target=lambda: open('total.py').read()).start() for _ in range(8)]"
    assert shell("--trace", "--", sys.executable, "-c", threads + "; os._exit(5)").code == 5
    assert shell("--trace", "--", "sh", "-c", "kill -USR1 $$").code == -signal.SIGUSR1
    script = "trap 'exit 4' TERM; echo traced >> $MARKS; while :; do sleep 0.05; done"
    process = shell.start("--trace", "--", "sh", "-c", script)
    shell.project.wait_for_mark(process, "traced")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 4


def test_in_a_sandbox_only_what_was_declared_is_there(shell: Shell) -> None:
    (shell.project.folder / "hidden.txt").write_text("1\n")
    script = "cat {rows} > {total} && touch $TMPDIR/x && cat hidden.txt"
    said = shell("--json", "--sandbox", "--trace", *_COMMAND[:4], "--", "sh", "-c", script)
    assert (said.code, said.told["state"]) == (1, "failed")
    assert "Permission denied" in said.err
    record = shell.project.client.catalog.run(said.told["run"])
    assert "it was not allowed to read hidden.txt, which is none of its inputs" in record.run.warnings
    assert not (shell.project.folder / "elsewhere").exists()
    wrote = shell(
        "--sandbox", *_COMMAND[:4], "--overwrite", "--", "sh", "-c", "echo > {total}; echo > elsewhere"
    )
    assert wrote.code != 0
    assert not (shell.project.folder / "elsewhere").exists()
    quiet = "import sys, json\nopen(sys.argv[2], 'w').write(json.dumps(open(sys.argv[1]).read()))\n"
    (shell.project.folder / "total.py").write_text(quiet)
    in_python = shell("--sandbox", *_COMMAND, "--overwrite", "--", *_ARGV)
    assert in_python.code == 0, in_python.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--in", "a=nothing", "--", "true"), "no file nothing for the input a"),
        (("--in", "a=dataset:nothing@3", "--", "true"), "no artifact"),
        (("--in", "a", "--", "true"), "not a name of an input: 'a'"),
        (("--in", "1a=rows.csv", "--", "true"), "not a name: '1a'"),
        (("--in", "a=rows.csv", "--out", "a=x", "--", "true"), "a names two things"),
        (("--in", "a=rows.csv", "--out", "b=rows.csv", "--", "true"), "the input a and the output b"),
        (("--out", "a=x", "--out", "b=x/y", "--", "true"), "lie in one another"),
        (("--out", "a=.", "--", "true"), "which this command runs in"),
        (("--out", "log=x", "--", "true"), "nothing can be called log"),
        (("--as", "a=file:x", "--", "true"), "neither an input nor an output"),
        (("--code", "nothing.py", "--", "true"), "no file"),
        (("--cache", "maybe", "--", "true"), "--cache is 'maybe'"),
        (("--", "no-such-program"), "no program no-such-program"),
        (("--", "./rows.csv"), "may not be executed"),
    ],
)
def test_what_cannot_be_meant_is_one_line(shell: Shell, arguments: tuple[str, ...], expected: str) -> None:
    said = shell(*arguments)
    assert (said.code, said.out) == (1, "")
    assert expected in said.err.splitlines()[-1]
    assert shell.project.client.catalog.runs(job="true") == []


def test_a_command_is_made_again_from_its_record_alone(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shell.project
    (project.folder / "steps").mkdir()
    (project.folder / "total.py").rename(project.folder / "steps/total.py")
    (project.folder / "steps/total.py").write_text(
        "import pathlib, random, sys\n"
        "rows = [float(line) for line in open(sys.argv[1])]\n"
        "print('at', random.random())\n"
        "pathlib.Path(sys.argv[2]).write_text(str(sum(rows) * float(sys.argv[3])))\n"
    )
    argv = ("python", "steps/total.py", *_ARGV[2:])
    made = shell("--json", *_COMMAND, "--as", "total=dataset:total", "--", *argv).told
    project.folder.rename(tmp_path / "gone")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    client = project.client
    again = replay.execute(
        client, client.catalog.run(made["run"]), options=environments.Options(env="current")
    )
    assert again.comparison is not None
    assert isinstance(again.comparison.overall, likeness.Identical)
    assert [output.role for output in again.comparison.outputs] == ["total"]
    assert str(again.run.rerun_of) == made["run"]
    refs = {output.role: output.version.ref for output in again.outputs}
    assert refs == {"total": "dataset:total@1", "log": "report:steps.total.log@2"}, (
        "the log differs, and is no result"
    )
