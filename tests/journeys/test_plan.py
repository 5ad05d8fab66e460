"""`whence plan`, `recover` and `apply`: what is made again of a real pipeline, in rooms, and goes on after kill -9."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, cast

import pytest

from tests.conftest import Project
from whence import environment
from whence_catalog import model, plans, wire

# Each body leaves a mark in a file whose path is a parameter: a room has no variables of ours.
PIPELINE = """
    def left(marks, name):
        with open(marks, "a") as file:
            file.write(name + "\\n")

    @whence.step
    def clean(data: whence.Handle, marks: str) -> whence.Handle:
        left(marks, "clean")
        return whence.dataset("clean", data.path.read_text().strip().lower().encode())

    @whence.step(cache="off")
    def noted(data: whence.Handle, marks: str) -> whence.Handle:
        left(marks, "noted")
        return whence.dataset("noted", data.path.read_text().encode())

    @whence.step
    def train(clean: whence.Handle, noted: whence.Handle, marks: str, c: float = 0.5) -> whence.Handle:
        left(marks, "train")
        while not Path(marks).with_name("go").exists():
            time.sleep(0.01)
        if c > 8:
            raise ValueError("c is too much")
        return whence.model("net", f"{clean.path.read_text()} {noted.path.read_text()} {c}".encode())

    @whence.step
    def score(net: whence.Handle, marks: str) -> whence.Handle:
        left(marks, "score")
        return whence.report("score", str(len(net.path.read_text())).encode())

    @whence.step
    def beside(clean: whence.Handle, marks: str) -> whence.Handle:
        left(marks, "beside")
        return whence.report("beside", clean.path.read_bytes() + b"!")

    if __name__ == "__main__":
        marks = os.environ["MARKS"]
        data = whence.publish("dataset:x", Path("x.txt"))
        cleaned = clean(data, marks)
        score(train(cleaned, noted(data, marks), marks, c=float(sys.argv[1])), marks)
        beside(cleaned, marks)
"""


@pytest.fixture
def ran(project: Project) -> Project:
    """The pipeline ran once, of data that says Hello."""
    project.write(PIPELINE)
    (project.folder / "x.txt").write_text("Hello\n")
    (project.folder / "other.txt").write_text("Other\n")
    (project.folder / "same.txt").write_text("HELLO \n")
    go(project).touch()
    project.run("0.5")
    assert project.executed() == ["clean", "noted", "train", "score", "beside"]
    return project


def go(project: Project) -> Path:
    return project.marks.with_name("go")


def whence(project: Project, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "whence", *arguments],
        cwd=project.folder,
        env={**os.environ, "WHENCE_URL": str(project.url), "COLUMNS": "150", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.started.append(process)
    return process


def said(project: Project, *arguments: str, expect: int = 0, **variables: str) -> str:
    process = whence(project, *arguments, **variables)
    out, err = process.communicate(timeout=120)
    assert process.returncode == expect, (out, err)
    return out + err


def planned(
    project: Project, *arguments: str, name: str = "plan.json", expect: int = 0, **variables: str
) -> dict[str, str]:
    """Plan, keep it in a file; answers what each job comes to."""
    said(project, "plan", *arguments, "-o", name, expect=expect, **variables)
    return {step.job: plans.name(step.step) for step in kept(project, name).steps}


def kept(project: Project, name: str = "plan.json") -> plans.RerunPlan:
    found: plans.RerunPlan = wire.decode_as(wire.codec(plans.RerunPlan), (project.folder / name).read_bytes())
    return found


def applied(project: Project, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """Carry the plan out in this environment; answers what it came to."""
    out = said(project, "apply", "plan.json", "--env", "current", "--json", *arguments, expect=expect)
    found: dict[str, Any] = json.loads([line for line in out.splitlines() if line.startswith('{"run"')][-1])
    return found


def ends(found: dict[str, Any]) -> dict[str, str]:
    return {each["job"].rpartition(".")[2]: each["end"] for each in found["done"]}


def test_other_data_is_planned_and_then_carried_out_without_the_project(ran: Project) -> None:
    facts = ran.client.catalog.facts(0, 1000)
    other = ["--with", "dataset:x=other.txt", "--for", "report:score"]
    assert planned(ran, *other) == {
        "pipeline.clean": "execute",
        "pipeline.noted": "execute",
        "pipeline.train": "conditional",
        "pipeline.score": "conditional",
    }
    # A plan records nothing.
    assert len(ran.client.catalog.facts(0, 1000)) == len(facts)
    table = said(ran, "plan", *other)
    assert "inputs/data changed" in table
    assert "as #1, #2 turns out" in table
    assert "2 execute, 2 conditional" in table
    assert said(ran, "plan", *other, "--mermaid").startswith("flowchart LR")
    (ran.folder / "pipeline.py").unlink()
    found = applied(ran, "-j", "2")
    assert ends(found) == dict.fromkeys(("clean", "noted", "train", "score"), "executed")
    assert sorted(ran.executed()) == ["clean", "noted", "score", "train"]
    net = ran.client.get("model:net")
    assert net.path.read_text() == "other Other\n 0.5"
    # It is a Run, whose parts are its children; what was published is, too.
    record = ran.client.catalog.run(found["run"]).run
    assert (record.job, record.state) == ("whence.apply", model.RunState.COMPLETE)
    (page,) = ran.client.catalog.children_of([record.uid])
    assert not isinstance(page, Exception)
    assert len(page.items) == 5
    # What was made under its keys is what an ordinary run finds.
    ran.write(PIPELINE)
    (ran.folder / "x.txt").write_text("Other\n")
    ran.run("0.5")
    assert ran.executed() == ["noted", "beside"]


def test_what_comes_out_as_it_was_ends_the_change(ran: Project) -> None:
    words = planned(ran, "--with", "dataset:x=same.txt", "--downstream-of", "dataset:x@1")
    assert words["pipeline.beside"] == "conditional"
    found = applied(ran)
    assert ends(found) == {
        "clean": "executed",
        "noted": "executed",
        "train": "executed",
        "score": "executed",
        "beside": "reused",
    }


def test_after_kill_9_the_same_plan_goes_on_and_nothing_that_was_done_is_done_again(ran: Project) -> None:
    planned(ran, "--with", "dataset:x=other.txt", "--for", "report:score", "--param", "pipeline.train.c=2")
    go(ran).unlink()
    killed = whence(ran, "apply", "plan.json", "--env", "current", "-j", "2")
    ran.wait_for_mark(killed, "train")
    ran.kill(killed, signal.SIGKILL)
    assert sorted(ran.executed()) == ["clean", "noted", "train"]
    go(ran).touch()
    # Whoever goes on at once is told who is believed to be at it, and goes on once nobody can be.
    process = whence(ran, "apply", "plan.json", "--env", "current", "--json")
    waiting = json.loads(cast("IO[str]", process.stdout).readline())
    assert (waiting["what"], waiting["step"]) == ("waiting", str(kept(ran).uid))
    assert f"pid {killed.pid}" in waiting["text"]
    ran.let_a_minute_pass()
    found = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
    assert ends(found) == dict.fromkeys(("clean", "noted", "train", "score"), "executed")
    # What it was at when it was killed is begun again; the rest was done, that without a key too.
    assert ran.executed() == ["train", "score"]
    assert ran.client.get("model:net").path.read_text() == "other Other\n 2.0"
    assert applied(ran)["done"]
    assert ran.executed() == []


def test_an_interrupt_lets_what_runs_end_and_begins_nothing_more(ran: Project) -> None:
    planned(ran, "--param", "pipeline.train.c=3", "--for", "report:score")
    go(ran).unlink()
    process = whence(ran, "apply", "plan.json", "--env", "current")
    ran.wait_for_mark(process, "train")
    process.send_signal(signal.SIGINT)
    go(ran).touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, (out, err)
    assert "it was told to stop" in out
    assert ran.executed() == ["train"]
    assert ends(applied(ran)) == {"train": "executed", "score": "executed"}
    assert ran.executed() == ["score"]


def test_a_run_that_fails_stops_what_needs_it_and_is_recovered(ran: Project) -> None:
    both = ["--with", "dataset:x=other.txt", "--for", "report:score", "--for", "report:beside"]
    planned(ran, *both, "--param", "pipeline.train.c=9")
    found = applied(ran, expect=2)
    assert ends(found) == {
        "clean": "executed",
        "noted": "executed",
        "train": "failed",
        "score": "blocked",
        "beside": "executed",
    }
    (failed,) = [each for each in found["done"] if each["end"] == "failed"]
    assert "c is too much" in failed["why"]
    assert ran.client.catalog.run(found["run"]).run.state is model.RunState.FAILED
    # What failed, by itself, or as a part of the apply, is a plan again.
    (train,) = [
        run for run in ran.client.catalog.runs(None, "pipeline.train") if run.state is model.RunState.FAILED
    ]
    text = said(ran, "recover", str(train.uid))
    assert "pipeline.train" in text
    assert "1 execute" in text
    # An apply is brought to its end by its plan: what was made of that is there.
    said(ran, "recover", found["run"], "-o", "rest.json")
    assert kept(ran, "rest.json") == kept(ran)
    assert "nothing to recover" in said(
        ran, "recover", str(ran.client.get("model:net@1").output.run), expect=1
    )


def test_a_plan_that_no_longer_stands_is_refused_and_made_anew_where_that_is_asked(ran: Project) -> None:
    planned(ran, "--param", "pipeline.train.c=4", "--for", "report:score")
    ran.run("4")
    assert ran.executed() == ["noted", "train", "score"]
    refused = said(ran, "apply", "plan.json", "--env", "current", expect=1)
    assert "no longer stands" in refused
    assert "was none, is run" in refused
    assert applied(ran, "--anew")["done"] == []
    assert ran.executed() == []


def test_data_that_is_other_data_by_now_is_refused(ran: Project) -> None:
    planned(ran, "--with", "dataset:x=other.txt", "--for", "report:score")
    (ran.folder / "other.txt").write_text("Something else\n")
    assert "no longer what it was" in said(ran, "apply", "plan.json", "--env", "current", expect=1)
    assert ran.executed() == []
    before = kept(ran)
    assert ends(applied(ran, "--anew"))["clean"] == "executed"
    assert ran.client.get("dataset:clean").path.read_bytes() == b"something else"
    # What was carried out is in the file, and is what goes on.
    assert kept(ran).uid != before.uid
    ran.executed()
    assert applied(ran)["plan"] == str(kept(ran).uid)
    assert ran.executed() == []


def test_code_as_it_is_now_is_planned_and_run(ran: Project) -> None:
    assert planned(ran, "--code", "now", "--for", "report:score")["pipeline.score"] == "reuse"
    ran.write(PIPELINE.replace("str(len(", "str(1000 + len("))
    words = planned(ran, "--code", "now", "--for", "report:score")
    assert kept(ran).reasons == (
        "with the code that it had, pipeline.noted: it has no key, so that nothing says whether that changed",
    )
    assert not kept(ran).complete
    assert words["pipeline.train"] == "reuse"
    assert words["pipeline.score"] == "execute"
    applied(ran)
    assert ran.executed() == ["score"]
    assert ran.client.get("report:score").path.read_text().startswith("10")
    # It has the key that an ordinary call has.
    ran.run("0.5")
    assert ran.executed() == ["noted"]
    # Code is described where the command is: its key, and the room, are of that environment.
    elsewhere = f"sha256:{'1' * 64}"
    words = planned(ran, "--code", "now", "--for", "report:score", WHENCE_IMAGE_DIGEST=elsewhere)
    assert words["pipeline.score"] == "conditional"
    plan = kept(ran)
    (clean,) = [step for step in plan.steps if step.job == "pipeline.clean"]
    assert clean.changed == ("environment",)
    room = plan.request.code["pipeline.clean"].capture.environment
    assert room is not None
    assert environment.decode(ran.client.blobs.read_bytes(room)).image == elsewhere


def test_what_is_named_and_not_there_is_one_line(ran: Project) -> None:
    for arguments, words in (
        (["--for", "report:nothing"], "report:nothing"),
        (["--with", "dataset:y=other.txt", "--for", "report:score"], "dataset:y"),
        (["--with", "dataset:x=nowhere.txt", "--for", "report:score"], "nowhere.txt"),
        (["--param", "pipeline.train.d=1", "--for", "report:score"], "it has c, marks"),
        (["--param", "train.c=1", "--for", "report:score"], "pipeline.train"),
        ([], "nothing"),
    ):
        text = said(ran, "plan", *arguments, expect=1)
        assert words in text, text
        assert len(text.strip().splitlines()) == 1, text
    (ran.folder / "no.json").write_text("{}")
    assert "is no plan" in said(ran, "apply", "no.json", expect=1)


def test_what_a_room_makes_with_other_values_than_the_key_stands_for_is_handed_to_nobody(
    project: Project,
) -> None:
    project.write(
        """
        RATE = 1
        @whence.step
        def made(n: int):
            return whence.dataset("out", [RATE, n])
        """,
        "steps.py",
    )
    project.write(
        """
        import steps
        if __name__ == "__main__":
            steps.RATE = 5
            show(steps.made(int(sys.argv[1])).load())
        """
    )
    assert project.run("7") == [5, 7]
    planned(project, "--param", "steps.made.n=8", "--for", "dataset:out")
    applied(project)
    (again,) = [run for run in project.client.catalog.runs(job="steps.made") if run.rerun_of is not None]
    assert "set by who ran it" in str(again.outcome)
    assert project.run("8") == [5, 8], "and not what the room made of the file"
