"""Reruns that differ, that cannot be made, or that are ended in the middle: what is said, and what is recorded."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import wheels
from tests.conftest import Project
from tests.journeys.conftest import uv
from whence import applying, calls, due, environments, replay
from whence.client import Client
from whence_catalog import digest, model, plans, wire
from whence_catalog.errors import Conflict

pytestmark = pytest.mark.usefixtures("no_network_and_an_empty_home")


def ran(project: Project, python: object, name: str = "pipeline.py", folder: Path | None = None) -> Client:
    """Run the project, in its folder unless another is given, and delete it; answers the catalog that is left."""
    variables = {"PATH": os.defpath, "HOME": os.environ["HOME"], "WHENCE_URL": str(project.url)}
    done = subprocess.run(
        [str(python), str(project.folder / name)],
        cwd=folder or project.folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project.folder)
    return project.client


def run_of(client: Client, job: str) -> model.Run:
    return next(run for run in client.catalog.runs(limit=100) if run.job == job and run.rerun_of is None)


def command(*arguments: object, python: object = sys.executable) -> list[str]:
    return [str(python), "-m", "whence", "rerun", *map(str, arguments)]


def rerun(
    project: Project, *arguments: object, expect: int = 0, python: object = sys.executable, **more: Any
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command(*arguments, python=python),
        env={**os.environ, "WHENCE_URL": str(project.url)},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert done.returncode == expect, done.stderr + done.stdout
    return done


def refused(project: Project, *arguments: object, **more: Any) -> str:
    """The one line of a rerun that could not be made, in which nothing was recorded."""
    before = len(project.client.catalog.runs(limit=100))
    said = rerun(project, *arguments, "--json", expect=1, **more)
    assert said.stdout == ""
    assert len(project.client.catalog.runs(limit=100)) == before
    assert said.stderr.startswith("whence: ")
    assert "Traceback" not in said.stderr
    return said.stderr


# ── what varies ──────────────────────────────────────────────────────────────────────────────────

FICKLE = """
import random

@whence.step
def fickle(table):
    print("so many rows:", len(table.load()))
    print("and a warning", file=sys.stderr)
    words = {"one", "two", "three", "four", "five", "six", "seven"}
    Path("noisy.csv").write_text("x,y\\n" + "".join(f"{n},{random.random() * 1e-9 + n}\\n" for n in range(5)))
    return {
        "time": time.time_ns(), "random": random.random(), "order": list(words), "count": len(words),
        "noisy": Path("noisy.csv"), "text": b"the same\\n",
    }

if __name__ == "__main__":
    fickle(whence.publish("dataset:table", [[1, 2], [3, 4]]))
"""


def test_what_varies_is_named_by_making_it_several_times_and_what_is_near_is_told_apart(
    project: Project, venv: Path
) -> None:
    project.write(FICKLE)
    (elsewhere := project.url.parent / "elsewhere").mkdir()
    client = ran(project, venv / "bin" / "python", folder=elsewhere)
    run = run_of(client, "pipeline.fickle")
    done = rerun(project, run.uid, "--env", "current", "--times", 3, "--atol", 1e-6, "--json", expect=2)
    said = json.loads(done.stdout)
    assert len(set(said["runs"])) == 3
    found = {output["role"].removeprefix("return."): output for output in said["outputs"]}
    assert {n for n, output in found.items() if output["varies"]} == {"time", "random", "order", "noisy"}
    likeness = {name: output["likeness"] for name, output in found.items()}
    assert likeness["count"] == likeness["text"] == {"type": "identical"}
    assert likeness["noisy"]["type"] == "withintolerance"
    assert likeness["noisy"]["how"][0].startswith("column y: 5 of 5 values differ, by at most ")
    assert {likeness[name]["type"] for name in ("time", "random", "order")} == {"different"}
    assert any(line.startswith("input table: dataset:table@1 sha256:") for line in said["restored"])
    assert any(line.startswith("source sha256:") for line in said["captured"])
    assert "hash seed: was random, and not recorded" in said["could_not_restore"]
    stood = f"working folder: was {elsewhere}, which is outside of the project; it is the project's root"
    assert stood in said["could_not_restore"]
    assert done.stderr.count("so many rows: 2\n") == done.stderr.count("and a warning\n") == 3

    room = project.url.parent / "room"
    told = rerun(project, run.uid, "--env", "current", "--quiet", "--times", 2, "--keep", room, expect=2)
    assert "so many rows" not in told.stderr
    assert (room / "stdout").read_text() == "so many rows: 2\n"
    assert "not the same each time: return.noisy, return.order, return.random, return.time" in told.stdout


# ── environments ─────────────────────────────────────────────────────────────────────────────────


def test_a_package_at_another_version_a_version_that_is_gone_and_one_that_is_nowhere(
    project: Project, venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    made = {
        v: wheels.small(index, "whence_tiny", v, f"SAYS = {v!r}\n") for v in ("1.0", "1.0.1", "1.1", "2.0")
    }
    monkeypatch.setenv("UV_FIND_LINKS", str(index))
    pythons = {}
    for name, version in (("theirs", "1.0"), ("ours", "2.0")):
        # Copies of the one with whence; what is installed there without a cache was never in one.
        pythons[name] = tmp_path / name
        shutil.copytree(venv, pythons[name], symlinks=True)
        python = pythons[name] / "bin" / "python"
        uv(
            "pip",
            "install",
            "--offline",
            "--no-cache",
            "--no-deps",
            "--python",
            str(python),
            f"whence-tiny=={version}",
        )
    project.write(
        """
        import whence_tiny

        @whence.step
        def said(word: str):
            return whence.dataset("said", f"{whence_tiny.SAYS} {word}".encode())

        @whence.step
        def after(said: whence.Handle):
            return whence.report("after", said.path.read_bytes() + b"!")

        if __name__ == "__main__":
            after(said("one"))
        """
    )
    client = ran(project, pythons["theirs"] / "bin" / "python")
    run = run_of(client, "pipeline.said")
    request = plans.PlanRequest(calls.new_uid(), ("report:after@1",), params={run.job: {"word": "two"}})
    plan = client.catalog.plan(request)

    gone = made["1.0"].rename(tmp_path / made["1.0"].name)
    nowhere, waits = applied(client, plan)
    assert [nowhere.end, waits.end] == [due.End.FAILED, due.End.BLOCKED]
    assert nowhere.run is None, "nothing began"
    assert "cannot install whence-tiny 1.0; --nearest takes the nearest version there is" in str(nowhere.why)
    assert waits.why == f"it takes what run {run.uid} (pipeline.said) was to make"
    why = refused(project, run.uid)
    assert "cannot install whence-tiny 1.0; --nearest takes the nearest version there is; uv says:" in why
    nearest = json.loads(rerun(project, run.uid, "--nearest", "--json", expect=2).stdout)
    replaced = "whence-tiny: was 1.0, which could not be installed; 1.0.1 is the nearest there is"
    assert replaced in nearest["could_not_restore"]
    recorded = client.catalog.run(nearest["run"])
    assert f"could not be restored: {replaced}" in recorded.run.warnings
    other = dataclasses.replace(request, uid=calls.new_uid(), params={run.job: {"word": "three"}})
    near, _ = applied(client, client.catalog.plan(other), environments.Options(nearest=True))
    assert client.get("dataset:said@latest").path.read_bytes() == b"1.0.1 three"
    assert "whence-tiny 1.0.1 in place of 1.0" in str(client.catalog.run(str(near.run)).run.outcome)
    again = client.catalog.plan(dataclasses.replace(other, uid=calls.new_uid()))
    assert plans.name(again.steps[0].step) == "execute", "what another version made is handed to nobody"

    gone.rename(made["1.0"])
    same = json.loads(rerun(project, run.uid, "--json").stdout)
    assert same["likeness"] == {"type": "identical"}
    assert not any("whence-tiny" in line for line in same["could_not_restore"])

    # The plan goes on where it stood, in the environment that was recorded: here there is no such package.
    here, behind = applied(client, plan)
    assert [here.end, behind.end] == [due.End.EXECUTED] * 2
    again, last = client.catalog.run(str(here.run)), client.catalog.run(str(behind.run))
    assert client.get("dataset:said@latest").path.read_bytes() == b"1.0 two"
    assert client.get("report:after@latest").path.read_bytes() == b"1.0 two!"
    assert (again.run.rerun_of, again.run.outcome, again.run.params) == (run.uid, "entered", {"word": "two"})
    assert again.run.capture.environment != run.capture.environment, "it is another machine's, or may be"
    assert [(used.version, used.producer) for used in last.inputs] == [(again.outputs[0].version, here.run)]
    for python, expected in (
        (pythons["ours"], [False, ["whence-tiny: was 1.0, is 2.0"]]),
        (
            venv,
            [
                "its entry point pipeline:said could not be reached any more",
                "ModuleNotFoundError: No module named 'whence_tiny'",
            ],
        ),
    ):
        done = subprocess.run(
            [python / "bin" / "python", "-c", IN_THIS_ENVIRONMENT, str(project.url), str(run.uid)],
            env={**os.environ, "WHENCE_URL": str(project.url)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told if isinstance(told, list) else [each for each in expected if each in told]) == expected


def applied(
    client: Client, plan: plans.RerunPlan, options: environments.Options = environments.AS_RECORDED
) -> tuple[due.Done, ...]:
    """How each Run of a plan ended, carried out in environments that are made again."""
    here = applying.Here(client, 1, due.InRoom(options))
    try:
        return applying.apply(client, plan, here).done
    finally:
        here.close()


IN_THIS_ENVIRONMENT = """
import json, sys
from whence import connecting, environments, replay
from whence_catalog.errors import Conflict

client = connecting.open_client(sys.argv[1])
try:
    done = replay.rerun(client, sys.argv[2], options=environments.Options("current"), progress=lambda text: None)
    told = [done.identical, [line for line in done.could_not_restore if "tiny" in line]]
except Conflict as error:
    told = str(error)
print(json.dumps(told))
"""


# ── what is gone, and what is condemned ──────────────────────────────────────────────────────────

DOUBLE = """
import numbers_of

@whence.step
def double(data, more):
    return [numbers_of.TWO * n + more for n in data.load()]

if __name__ == "__main__":
    double(whence.publish("dataset:d", [1, 2]), 0)
"""


def test_lost_source_a_lost_input_and_a_quarantined_one_keep_a_run_from_being_made_and_are_named(
    project: Project, venv: Path
) -> None:
    project.write(DOUBLE)
    project.write("TWO = 2\n", "numbers_of.py")
    client = ran(project, venv / "bin" / "python")
    run = run_of(client, "pipeline.double")
    assert run.capture.bundle is not None
    assert run.capture.environment is not None

    request = plans.PlanRequest(calls.new_uid(), (str(run.uid),), params={run.job: {"more": 1}})
    plan = client.catalog.plan(request)

    def without(named: digest.Digest) -> str:
        kept = client.blobs.read_bytes(named)
        client.blobs.delete(named)
        try:
            with pytest.raises(Conflict, match="cannot be made again: ") as why:
                replay.rerun(client, str(run.uid), progress=lambda text: None)
            said = str(why.value)
            # What goes after it was planned is found when it is carried out, and is said in the same words.
            (done,) = applied(client, plan, environments.Options("current"))
            assert (done.end, done.run) == (due.End.BLOCKED, None), done
            assert str(done.why) in said
            return said
        finally:
            client.blobs.put_bytes(kept)

    files = client.blobs.digests_of_tree(run.capture.bundle) - {run.capture.bundle}
    lost = f"its source {run.capture.bundle} is missing or altered in the store"
    assert lost in without(run.capture.bundle)
    for file in files:
        assert lost in without(file)
    assert f"its environment {run.capture.environment} is missing" in without(run.capture.environment)
    data = client.get("dataset:d@1").version.digest
    assert f"the bytes of input data (dataset:d@1), {data}, are missing" in without(data)
    assert len(client.catalog.runs(limit=100)) == 2 + len(files) + 3, "with the applies, and nothing else"
    # What looks as it did is read where it is used.
    (stored,) = (project.url / "blobs").rglob(data.hex[2:])
    as_it_was, times = stored.read_bytes(), (stored.stat().st_atime_ns, stored.stat().st_mtime_ns)
    stored.chmod(0o644)
    stored.write_bytes(as_it_was[::-1])
    os.utime(stored, ns=times)
    shutil.rmtree(project.url / "cache", ignore_errors=True)
    with pytest.raises(
        Conflict, match=r"cannot be made again: the bytes of input data .* missing or altered"
    ):
        replay.rerun(
            client, str(run.uid), options=environments.Options("current"), progress=lambda text: None
        )
    (done,) = applied(client, plan, environments.Options("current"))
    assert done.end is due.End.BLOCKED
    assert f"the bytes of input data (dataset:d@1), {data}, are missing or altered" in str(done.why)
    stored.write_bytes(as_it_was)

    client.quarantine("dataset:d@1", reason="a child is in it")
    assert "input data (dataset:d@1) is quarantined by " in (said := refused(project, run.uid))
    assert "because a child is in it" in said
    client.release("dataset:d@1", reason="it was none")
    rerun(project, run.uid, "--env", "current", "--quiet")


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────

LARGEST_BYTES = 6 << 20
WRITES = """
import padding

@whence.step
def writes(count):
    Path("out.bin").write_bytes(b"0" * count)
    return Path("out.bin")

if __name__ == "__main__":
    writes(9_000_000)
"""


def no_room() -> None:
    """From here on no file may be larger, as if the disk was full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_BYTES, LARGEST_BYTES))


def test_a_full_disk_is_told_in_a_line_and_nothing_is_recorded_by_halves(
    project: Project, venv: Path
) -> None:
    project.write(WRITES)
    project.write("TEXT = 1\n# " + "x" * 8_000_000 + "\n", "padding.py")
    client = ran(project, venv / "bin" / "python")
    large = run_of(client, "pipeline.writes")
    said = refused(project, large.uid, "--env", "current", preexec_fn=no_room)
    assert "the disk is full at " in said
    assert "nothing was recorded" in said
    request = plans.PlanRequest(calls.new_uid(), (str(large.uid),), params={large.job: {"count": 1}})
    made = wire.encode_as(wire.codec(plans.RerunPlan), client.catalog.plan(request))
    done = subprocess.run(
        [sys.executable, "-m", "whence", "apply", "-", "--env", "current"],
        env={**os.environ, "WHENCE_URL": str(project.url)},
        input=made,
        capture_output=True,
        check=False,
        preexec_fn=no_room,
    )
    assert done.returncode == 2, done.stderr
    assert b"failed pipeline.writes: the disk is full at " in done.stdout
    assert client.catalog.runs(limit=1)[0].state is model.RunState.FAILED, "the apply"
    assert client.catalog.check().problems == ()


def test_what_runs_out_of_disk_itself_failed_and_made_nothing(project: Project, venv: Path) -> None:
    project.write(WRITES)
    project.write("", "padding.py")
    client = ran(project, venv / "bin" / "python")
    run = run_of(client, "pipeline.writes")
    done = rerun(project, run.uid, "--env", "current", "--quiet", expect=1, preexec_fn=no_room)
    assert "was started again and failed (exit code 1)" in done.stderr
    assert "File too large" in done.stderr
    again = client.catalog.run(str(client.catalog.runs(limit=1)[0].uid))
    assert (again.run.state, again.run.rerun_of, again.outputs) == (model.RunState.FAILED, run.uid, ())
    assert client.catalog.check().problems == ()


# ── ended in the middle ──────────────────────────────────────────────────────────────────────────

STAYS = """
import subprocess

@whence.step
def stays(marks, is_first):
    if os.environ.get("WHENCE_REPLAY"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(marks, "w") as file:
            file.write(f"{os.getpid()} {child.pid} ready")
        child.wait()
    return b"done"

if __name__ == "__main__":
    stays(sys.argv[1], True)
"""


@pytest.mark.parametrize(
    ("asked", "sign"),
    [
        *(("run", sign) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)),
        ("whole", signal.SIGINT),
        ("apply", signal.SIGINT),
    ],
)
def test_a_rerun_that_is_ended_leaves_nobody_running_and_its_run_ends_aborted(
    project: Project, tmp_path: Path, asked: str, sign: signal.Signals
) -> None:
    project.write(STAYS.replace("sys.argv[1]", repr(str(tmp_path / "there"))))
    project.run()
    run = run_of(project.client, "pipeline.stays")
    variables = {**os.environ, "WHENCE_URL": str(project.url), "WHENCE_LEASE": "3"}
    going = subprocess.Popen(
        asked_for(project, run, asked),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.started.append(going)
    there = tmp_path / "there"
    until(lambda: there.exists() and there.read_text().endswith("ready"))
    pids = [int(word) for word in there.read_text().split()[:2]]
    assert all(is_alive(pid) for pid in pids)
    going.send_signal(sign)
    if asked == "apply":
        # The first lets it end, which it never will.
        assert going.stderr is not None
        assert any("once more to end it at once" in line for line in going.stderr)
        assert all(is_alive(pid) for pid in pids)
        going.send_signal(sign)
    out, err = going.communicate(timeout=60)
    assert going.returncode == (130 if sign is signal.SIGINT else going.returncode) != 0, (out, err)
    until(lambda: not any(is_alive(pid) for pid in pids))
    again = [each for each in project.client.catalog.runs() if each.started_at > run.started_at]
    assert [each.rerun_of for each in again if each.job == run.job] == [run.uid]
    assert len(again) == (1 if asked == "run" else 2), "with the run that it is a part of"
    if sign is signal.SIGKILL:
        # Nobody said how it ended; once its lease is over, whoever connects or looks presumes it.
        def is_presumed() -> bool:
            listed = subprocess.run(
                [sys.executable, "-m", "whence", "ls"], env=variables, capture_output=True, check=False
            )
            return listed.returncode == 0 and project.client.catalog.run(str(again[0].uid)).run.presumed

        until(is_presumed)
    for each in again:
        ended = project.client.catalog.run(str(each.uid))
        assert (ended.run.state, ended.outputs) == (model.RunState.ABORTED, ())
    assert project.client.catalog.check().problems == ()


def asked_for(project: Project, run: model.Run, asked: str) -> list[str]:
    """The command that makes a Run again: by itself, as all that its output came from, or as a plan."""
    if asked == "run":
        return command(run.uid, "--env", "current")
    if asked == "whole":
        (output,) = project.client.catalog.run(str(run.uid)).outputs
        return command(output.version.ref, "--whole", "--env", "current")
    request = plans.PlanRequest(calls.new_uid(), (str(run.uid),), params={run.job: {"is_first": False}})
    plan = project.folder / "plan.json"
    plan.write_bytes(wire.encode_as(wire.codec(plans.RerunPlan), project.client.catalog.plan(request)))
    return [sys.executable, "-m", "whence", "apply", str(plan), "--env", "current"]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
