"""`whence exec`: any command as a run, in real processes.

`whence` itself runs in this process, which has loaded it already, wherever it is not to be signalled or killed.
"""

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from whence import child, commands, counted, environments, handing, replay
from whence.cli import app, session
from whence_catalog import cache, likeness, model

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
    capture: "pytest.CaptureFixture[str]"

    def start(
        self, *arguments: str, whence: tuple[str, ...] = ("exec",), **variables: str
    ) -> "subprocess.Popen[str]":
        project = self.project
        process = subprocess.Popen(
            [_WHENCE, *whence, *arguments],
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

    def apart(self, *arguments: str, said: str | None = None, whence: tuple[str, ...] = ("exec",)) -> Said:
        """In a process of its own, to its end."""
        process = self.start(*arguments, whence=whence)
        out, err = process.communicate(said, timeout=60)
        return Said(process.returncode, out, err)

    def __call__(self, *arguments: str, **variables: str) -> Said:
        project = self.project
        known = {"PATH": _PATH, "WHENCE_URL": str(project.url), "MARKS": str(project.marks), **variables}
        with pytest.MonkeyPatch.context() as here:
            here.chdir(project.folder)
            here.setattr(sys, "argv", ["whence", "exec", *arguments])
            for name, value in known.items():
                here.setenv(name, value)
            self.capture.readouterr()
            try:
                app.run()
            except SystemExit as ended:
                code = ended.code
            finally:
                session.scope.close()
        out, err = self.capture.readouterr()
        assert isinstance(code, int)
        return Said(code, out, err)


@pytest.fixture
def shell(project: Project, capfd: "pytest.CaptureFixture[str]") -> Shell:
    (project.folder / "rows.csv").write_text("1\n2\n")
    (project.folder / "total.py").write_text(_SUM)
    return Shell(project, capfd)


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


def test_it_runs_again_when_what_it_depends_on_changed(shell: Shell) -> None:
    folder = shell.project.folder
    assert shell(*_COMMAND, "--", *_ARGV).code == 0
    for name, content in (("rows.csv", "3\n"), ("total.py", _SUM + "# mended\n"), ("other.py", "x = 1\n")):
        shell.project.executed()
        (folder / name).write_text(content)
        assert shell(*_COMMAND, "--", *_ARGV).code == 0
        assert shell.project.executed() == ["sum"], name
    assert shell(*_COMMAND, "--", *_ARGV).code == 0
    assert shell.project.executed() == []


def test_it_runs_again_for_another_parameter_or_variable_and_not_for_other_places(shell: Shell) -> None:
    same = ("--in", "rows=rows.csv", "--out", "total=elsewhere.txt", "--param", "factor=2", "--env", "SEED")
    assert shell(*_COMMAND, "--env", "SEED", "--", *_ARGV).code == 0
    assert shell(*same, "--", *_ARGV).code == 0
    assert (shell.project.folder / "elsewhere.txt").read_text() == "6.0"
    absolute = ("--in", f"rows={shell.project.folder / 'rows.csv'}", *same[2:])
    assert shell(*absolute, "--", *_ARGV).code == 0, "an input is none of the source, however it is named"
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
    killed = shell.apart("--json", "--", "sh", "-c", "kill -SEGV $$")
    assert (killed.code, killed.told["state"]) == (-signal.SIGSEGV, "failed")
    nameless = shell.apart("--json", "--", "sh", "-c", f"kill -{signal.SIGRTMIN + 1} $$")
    assert (nameless.code, nameless.told["state"]) == (-(signal.SIGRTMIN + 1), "failed")
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


def test_what_ends_whence_while_outputs_are_stored_is_recorded(shell: Shell) -> None:
    process = shell.start("--metrics", "m.json", "--", "mkfifo", "m.json")
    give_up_at = time.monotonic() + 30
    while True:  # until whence reads the metrics, and so is behind the command
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up_at
        try:
            held = os.open(shell.project.folder / "m.json", os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    os.close(held)
    assert process.returncode == 128 + signal.SIGTERM
    (run,) = shell.project.client.catalog.runs(job="mkfifo")
    assert (run.state, run.error) == (model.RunState.ABORTED, "preempted: SIGTERM")


def test_a_full_disk_cuts_the_log_and_not_what_runs(
    tmp_path: Path, capfdbinary: "pytest.CaptureFixture[bytes]"
) -> None:
    says = child.Program(
        argv=["/bin/sh", "-c", "head -c 200000 /dev/zero; echo done >&2"],
        folder=tmp_path,
        variables={"PATH": os.defpath},
        stdout=Path("/dev/full"),
        stderr=tmp_path / "stderr",
    )
    assert child.run(says) == child.Ended(0, is_cut=True)
    assert capfdbinary.readouterr() == (b"\0" * 200000, b"done\n")
    assert (tmp_path / "stderr").read_text() == "done\n"


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
    (shell.project.folder / "m.json").unlink()
    large = shell("--metrics", "m.json", "--", "sh", "-c", f"echo '{{\"n\": 1{'0' * 400}}}' > m.json")
    assert (large.code, "a number that is too large" in large.err) == (1, True), large.err


def test_standard_input_is_the_commands_only_where_that_is_said(shell: Shell) -> None:
    assert shell.apart("--", "cat", said="hidden").out == ""
    with pytest.MonkeyPatch.context() as here:
        here.setenv("WHENCE_CACHE", "reuse")  # which overrules modes, and not what has no identity
        first, second = (shell.apart("--json", "--stdin", "--", "cat", said=text) for text in ("a", "b"))
    assert (first.out, second.out, second.told["state"]) == ("a", "b", "complete")
    capture = shell.project.client.catalog.run(first.told["run"]).run.capture
    assert (capture.rerunnable, capture.because) == (
        False,
        "what it read from its standard input was not kept",
    )


def test_the_same_words_in_another_folder_are_another_command(shell: Shell) -> None:
    for name in ("a", "b"):
        (shell.project.folder / name).mkdir()
        (shell.project.folder / name / "v.txt").write_text(name)
        made = subprocess.run(
            [_WHENCE, "exec", "--out", "o=o.txt", "--", "sh", "-c", "cat v.txt > o.txt"],
            cwd=shell.project.folder / name,
            env={**os.environ, "WHENCE_URL": str(shell.project.url)},
            capture_output=True,
            timeout=60,
        )
        assert made.returncode == 0, made.stderr
        assert (shell.project.folder / name / "o.txt").read_text() == name


def test_a_file_that_a_command_names_counts_be_it_source_or_not(shell: Shell) -> None:
    made = shell.project.folder / "dist/made.data"
    made.parent.mkdir()
    for content in ("first", "second"):
        made.write_text(content)
        said = shell(
            "--json", "--out", "o=o.txt", "--", "sh", "-c", 'cat "$1" > o.txt || :', "sh", "dist/made.data"
        )
        assert said.told["state"] == "complete"
        assert (shell.project.folder / "o.txt").read_text() == content
    client = shell.project.client
    record = client.catalog.run(said.told["run"])
    parts = tuple(cache.component("extra", name, f"extra/{name}") for name in counted.UNKEPT)
    again = replay.execute(
        client,
        record,
        keyed=handing.Keyed(cache.key(parts), parts),
        options=environments.Options(env="current"),
    )
    outcome = str(client.catalog.run(str(again.run.uid)).run.outcome)
    assert outcome.startswith("refused"), "what it counts and nobody kept may be another one there"
    assert all(f"{what} count, and were not kept" in outcome for what in counted.UNKEPT.values()), outcome


def test_an_output_whose_bytes_the_store_has_lost_is_the_last_there_is(shell: Shell) -> None:
    assert shell(*_COMMAND, "--", *_ARGV).code == 0
    lost = shell.project.client.get("file:out/total.txt").version.digest
    shell.project.client.blobs.delete(lost)
    refused = shell(*_COMMAND, "--", *_ARGV)
    assert (refused.code, (shell.project.folder / "out/total.txt").read_text()) == (1, "6.0")
    assert "kept nowhere else" in refused.err


def test_a_command_that_names_its_project_by_an_absolute_path_says_that_it_cannot_be_made_again(
    shell: Shell,
) -> None:
    script = str(shell.project.folder / "total.py")
    told = shell("--json", *_COMMAND, "--", "python", script, *_ARGV[2:]).told
    capture = shell.project.client.catalog.run(told["run"]).run.capture
    assert not capture.rerunnable
    assert "by its place on this machine" in str(capture.because)


def test_a_word_that_looks_secret_counts_and_is_recorded_nowhere(shell: Shell) -> None:
    told = []
    for secret in ("hunter2", "hunter3", "hunter3"):
        words = ("--", "sh", "-c", "echo $2 >> $MARKS", "sh", "--password", secret, "sh.key=hunter4-of-9")
        told.append(shell("--json", *words, API_KEY="hunter4-of-9").told)
    assert [each["state"] for each in told] == ["complete", "complete", "reused"]
    assert shell.project.executed() == ["hunter2", "hunter3"]
    capture = shell.project.client.catalog.run(told[0]["run"]).run.capture
    assert capture.command == capture.argv
    assert capture.argv[-3:] == ("--password", "***", "sh.key=***")
    assert "a word of it looks secret" in str(capture.because)
    stored = [file for file in shell.project.url.rglob("*") if file.is_file()]
    assert stored
    assert not any(b"hunter" in file.read_bytes() for file in stored), "nor anywhere else in the catalog"
    refused = shell("--param", "password=hunter5", "--", "true")
    assert (refused.code, "hunter5" in refused.err) == (1, False)
    assert "the parameter password looks secret" in refused.err


def test_a_python_command_can_say_more_of_its_run(shell: Shell) -> None:
    (shell.project.folder / "more.py").write_text(
        "import whence\nwith whence.attach() as run:\n    run.log(loss=0.25)\n    run.publish('model:m', b'weights')\n"
    )
    told = shell("--json", "--", sys.executable, "more.py").told
    record = shell.project.client.catalog.run(told["run"])
    assert record.run.metrics == {"loss": 0.25}
    assert {output.role for output in record.outputs} == {"m"}
    client = shell.project.client
    again = replay.execute(client, record, options=environments.Options(env="current"))
    assert again.comparison is not None
    assert isinstance(again.comparison.overall, likeness.Identical), (
        "in a room it adds to that run, and no other"
    )
    assert [output.version.ref for output in again.outputs] == ["model:m@1"]
    assert client.catalog.run(told["run"]).outputs == record.outputs


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
    assert shell.apart("--trace", "--", "sh", "-c", "kill -USR1 $$").code == -signal.SIGUSR1
    script = "trap 'exit 4' TERM; echo traced >> $MARKS; while :; do sleep 0.05; done"
    process = shell.start("--trace", "--", "sh", "-c", script)
    shell.project.wait_for_mark(process, "traced")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 4


def test_a_trace_waits_for_no_other_child_of_who_asks_for_it(shell: Shell) -> None:
    with subprocess.Popen(["sh", "-c", "exit 3"]) as other:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert shell("--trace", "--", "true").code == 0
        assert other.wait() == 3, "how it ended was not taken from whoever started it"


def test_in_a_sandbox_only_what_was_declared_is_there(shell: Shell) -> None:
    (shell.project.folder / "hidden.txt").write_text("1\n")
    script = "cat {rows} > {total} && touch $TMPDIR/x && cat hidden.txt"
    said = shell("--json", "--sandbox", "--trace", *_COMMAND[:4], "--", "sh", "-c", script)
    assert (said.code, said.told["state"]) == (1, "failed")
    assert "Permission denied" in said.err
    record = shell.project.client.catalog.run(said.told["run"])
    assert "it was not allowed to read hidden.txt, which is none of its inputs" in record.run.warnings
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
        (("--in", "a.b=rows.csv", "--in", "a_b=total.py", "--", "true"), "a.b and a_b would be one variable"),
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


def test_the_same_command_at_the_same_time_is_waited_for_and_reused(shell: Shell) -> None:
    project = shell.project
    os.mkfifo(project.folder / "gate")
    slow = ("--out", "o=o.txt", "--", "sh", "-c", "echo half > o.txt; echo half >> $MARKS; cat gate >> o.txt")
    first = shell.start("--json", *slow)
    project.wait_for_mark(first, "half")
    second = shell.start(*slow)
    assert second.stderr is not None
    assert "waiting for" in (waits := second.stderr.readline())
    with (project.folder / "gate").open("w") as gate:
        gate.write("whole\n")
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, ""), err
    assert "reused what run" in err
    assert (first.wait(60), (project.folder / "o.txt").read_text()) == (0, "half\nwhole\n")
    assert "waiting for" not in err, f"it was said: {waits}"
    assert project.executed() == ["half"]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of others ends")
def test_what_a_command_started_does_not_outlive_the_whence_that_started_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (kept := temporary / "whence-rerun-mine").mkdir()
    stays = "sleep 60 & echo $! > {pid}; echo up > {ready}; wait; true"
    named = ("--param", f"pid={tmp_path / 'pid'}", "--param", f"ready={tmp_path / 'ready'}")
    once = f"case $HOME in *whence-rerun-*) {stays} ;; esac"
    made = shell("--json", *named, "--", "sh", "-c", once).told
    for whence, arguments in (
        (("exec",), ("--stdin", *named, "--", "sh", "-c", stays)),
        (("rerun",), (made["run"], "--env", "current")),
    ):
        process = shell.start(*arguments, whence=whence)
        until_there(process, tmp_path / "ready")
        left = os.pidfd_open(int((tmp_path / "pid").read_text()))
        shell.project.kill(process)
        assert select.select([left], [], [], 30)[0], f"it is gone after {whence[0]}"
        os.close(left)
        (tmp_path / "ready").unlink()
    kinds = {each.name.rpartition("-")[0] for each in temporary.iterdir()}
    assert kinds == {"whence-rerun", "whence-results", "whence-exec"}
    made = shell("--json", "--", "true").told
    client = shell.project.client
    replay.execute(client, client.catalog.run(made["run"]), options=environments.Options(env="current"))
    assert list(temporary.iterdir()) == [kept], "what the killed left goes with the next of its kind"


def until_there(process: "subprocess.Popen[str]", path: Path) -> None:
    give_up_at = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_what_was_a_program_is_one_again(shell: Shell) -> None:
    folder = shell.project.folder
    script = "mkdir d; for f in tool d/tool; do printf '#!/bin/sh\necho hi\n' > $f; chmod +x $f; done; echo > d/data"
    made = ("--json", "--out", "tool=tool", "--out", "d=d", "--", "sh", "-c", script)
    assert shell(*made).told["state"] == "complete"
    commands.in_place.remove(folder / "d")
    (folder / "tool").chmod(0o644)
    assert shell(*made).told["state"] == "reused"
    programs = {path for path in ("tool", "d/tool", "d/data") if os.access(folder / path, os.X_OK)}
    assert programs == {"tool", "d/tool"}
    taken = shell("--json", "--in", "tool=tool", "--", "./tool").told
    client = shell.project.client
    again = replay.execute(
        client, client.catalog.run(taken["run"]), options=environments.Options(env="current")
    )
    state = client.catalog.run(str(again.run.uid)).run.state
    assert state is model.RunState.COMPLETE, "where it is made again it is a program, too"


def test_a_name_that_is_said_for_an_input_is_its_name(shell: Shell) -> None:
    shell(*_COMMAND, "--", *_ARGV)
    named = ("--json", "--in", "t=out/total.txt", "--as", "t=dataset:mine", "--", "cat", "{t}")
    first, second = (shell.project.client.catalog.run(shell(*named).told["run"]).inputs for _ in range(2))
    assert [used.version.ref for used in (*first, *second)] == ["dataset:mine@1"] * 2
    (output,) = shell.project.client.catalog.productions(first[0].version.artifact)
    assert output.derived_from is not None, "and it is the output that it was"
    assert output.derived_from[0].artifact.name == "out/total.txt"


def test_in_a_git_repository_its_code_is_what_git_lists_and_what_is_new(shell: Shell) -> None:
    folder = shell.project.folder

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)

    def ran() -> bool:
        assert shell("--out", "o=o.txt", "--", "./run.sh").code == 0
        return bool(shell.project.executed())

    (folder / "run.sh").write_text("#!/bin/sh\necho ran >> $MARKS; ./tool > o.txt\n")
    (folder / "tool").write_text("#!/bin/sh\ncat lib.sh table\n")
    for name, content in ((".gitignore", "/tool\n"), ("table", "a"), ("lib.sh", "a"), ("data.bin", "a")):
        (folder / name).write_text(content)
    for name in ("run.sh", "tool"):
        (folder / name).chmod(0o755)
    git("init")
    git("add", "run.sh", "table", ".gitignore")
    git("commit", "-m", "first")
    assert [ran(), ran()] == [True, False]
    (folder / "table").write_text("dirty")
    assert [ran(), ran()] == [True, False]
    (folder / "lib.sh").write_text("new, and changed")
    assert [ran(), ran()] == [True, False]
    (folder / "tool").write_text("#!/bin/sh\ncat lib.sh table # what git ignores, and the script starts\n")
    assert [ran(), ran()] == [True, False]
    (folder / "data.bin").write_text("data, which has to be an input to count")
    assert not ran()
    (folder / "pyproject.toml").write_text("[tool.whence.bundle]\nlimit_bytes = 10\n")
    assert ran()
    (folder / "lib.sh").write_text("too much to be kept, and known all the same")
    assert ran()
    (run, *_) = shell.project.client.catalog.runs(job="run")
    assert "more than the limit of 10; name its code with --code" in str(run.capture.because)
    assert shell("--", "./tool").code == 0
    (folder / "tool").write_text("#!/bin/sh\necho ran >> $MARKS\n")
    assert shell("--", "./tool").code == 0
    assert shell.project.executed() == ["ran"], "a program that is no source is known by its bytes"


def test_its_code_may_be_named_and_lie_elsewhere(shell: Shell) -> None:
    folder, outside = shell.project.folder, shell.project.folder.parent / "lib"
    for name in ("one/x.sh", "two/x.sh", "secrets.yaml", "a/x.txt"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("1")
    (folder / "secrets.yaml").write_text("hunter2")

    def ran(*code: str) -> bool:
        said = shell(
            *(word for each in code for word in ("--code", each)), "--", "sh", "-c", "echo ran >> $MARKS"
        )
        assert said.code == 0, said.err
        return bool(shell.project.executed())

    assert [ran("../lib", "total.py"), ran("../lib", "total.py")] == [True, False]
    (folder / "other.py").write_text("2")
    assert not ran("../lib", "total.py")
    (outside / "two/x.sh").write_text("2")
    assert ran("../lib", "total.py"), "of two files with one name each is known"
    refused = shell("--code", "../lib/one/x.sh", "--code", "../lib/two/x.sh", "--", "true")
    assert (refused.code, "name a folder around them" in refused.err) == (1, True)
    assert ran(), "all of the project"
    (run, *_) = shell.project.client.catalog.runs(job="sh")
    assert "secrets.yaml left out: their names say that they hold secrets" in run.capture.blind_spots


def test_a_command_of_the_project_itself_can_be_made_again_where_the_source_says_what_it_is(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands_, about = tmp_path / "bin", tmp_path / "installed/own_thing-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: Own.Thing\nVersion: 1\n")
    (about / "RECORD").write_text("own_thing-1.dist-info/METADATA,,\n")
    (about / "entry_points.txt").write_text("[console_scripts]\nown-tool = own_thing:main\n")
    where = {"url": shell.project.folder.as_uri(), "dir_info": {"editable": True}}
    (about / "direct_url.json").write_text(json.dumps(where))
    commands_.mkdir()
    (commands_ / "python").symlink_to(os.path.realpath(sys.executable))
    (commands_ / "own-tool").write_text(f"#!{commands_}/python\nprint('mine')\n")
    (commands_ / "own-tool").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(commands_ / "python"))
    monkeypatch.syspath_prepend(about.parent)

    def captured() -> model.Capture:
        said = shell("--json", "--", "own-tool", PATH=f"{commands_}{os.pathsep}{os.defpath}")
        assert said.out == "mine\n"
        return shell.project.client.catalog.run(said.told["run"]).run.capture

    assert "own-tool is a command of own-thing" in str(captured().because)
    declared = '[project]\nname = "own.thing"\nversion = "1"\nscripts.own-tool = "own_thing:main"\n'
    (shell.project.folder / "pyproject.toml").write_text(declared)
    now = captured()
    assert (now.rerunnable, now.command) == (True, ("own-tool",)), now.because


def test_what_cannot_be_started_is_one_line(shell: Shell) -> None:
    for name, text in (("bad.sh", "#!/no/such\n"), ("bare.sh", "echo hi\n")):
        (shell.project.folder / name).write_text(text)
        (shell.project.folder / name).chmod(0o755)
    for name, expected in (
        ("./bad.sh", "an interpreter that is not there"),
        ("./bare.sh", "such as #!/bin/sh"),
    ):
        said = shell("--", name)
        assert (said.code, expected in said.err.splitlines()[-1]) == (1, True), said.err
    elsewhere = shell.project.folder.parent / "tool"
    elsewhere.write_text("#!/bin/sh\necho from elsewhere\n")
    elsewhere.chmod(0o755)
    assert shell("--sandbox", "--", "../tool").out == "from elsewhere\n", "a program may be read in a sandbox"


def test_a_python_script_that_is_a_program_is_made_again(shell: Shell) -> None:
    client = shell.project.client
    # That of this machine is another one elsewhere: what has its name there runs it.
    for first in ("/usr/bin/env python", f"{sys.executable} -u"):
        (shell.project.folder / "made.py").write_text(f"#!{first}\nopen('o.txt', 'w').write('1')\n")
        (shell.project.folder / "made.py").chmod(0o755)
        path = f"{shell.project.folder}{os.pathsep}{_PATH}"
        made = shell("--json", "--out", "o=o.txt", "--", "made.py", PATH=path).told
        again = replay.execute(
            client, client.catalog.run(made["run"]), options=environments.Options(env="current")
        )
        assert again.comparison is not None
        assert isinstance(again.comparison.overall, likeness.Identical)
    assert client.catalog.run(made["run"]).run.capture.command == ("python", "-u", "./made.py")


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
