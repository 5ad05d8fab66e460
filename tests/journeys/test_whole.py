"""A whole ancestry is made again, from the data where it begins."""

import json
import sys
import textwrap
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import Project
from whence import ancestry, calls, environments
from whence.cli import app, rerunning
from whence.client import Client
from whence_catalog import likeness, model
from whence_catalog.errors import Conflict

_HERE = environments.Options(env="current")
_PIPELINE = """
    @whence.step
    def clean(raw: whence.Dataset):
        return whence.dataset("clean", raw.path.read_bytes().upper())

    @whence.step
    def split(rows: whence.Handle, share: float):
        lines = rows.path.read_text().split()
        cut = int(len(lines) * share)
        return whence.dataset("train", "\\n".join(lines[:cut]).encode()), whence.dataset("test", "\\n".join(lines[cut:]).encode())

    @whence.step
    def fit(train: whence.Dataset, seed: int):
        {random}
        return whence.model("words", (train.path.read_bytes() + str(noise).encode()))

    @whence.step
    def judge(model: whence.Model, test: whence.Dataset):
        return whence.report("verdict", str(len(model.path.read_bytes()) + len(test.path.read_bytes())).encode())

    if __name__ == "__main__":
        raw = whence.publish("dataset:raw", b"a b c d e f")
        train, test = split(clean(raw), share=0.5)
        judge(fit(train, seed=3), test)
"""


def pipeline(project: Project, random: str) -> Client:
    project.write(textwrap.dedent(_PIPELINE).replace("{random}", random))
    project.run()
    return project.client


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_step_is_made_again_after_those_that_it_takes_something_of(project: Project, jobs: int) -> None:
    client = pipeline(project, "noise = seed")
    project.folder.rename(project.folder.with_name("gone"))
    made = ancestry.rerun(client, "report:verdict", options=_HERE, jobs=jobs)
    assert [step.job.rpartition(".")[2] for step in made.steps] == ["clean", "split", "fit", "judge"]
    assert isinstance(made.likeness, likeness.Identical), made
    assert made.roots == ("dataset:raw@1",)
    assert made.unknown == ()
    of = {step.original: step for step in made.steps}
    for step in made.steps:
        again = client.catalog.run(str(step.run))
        assert (str(again.run.rerun_of), str(again.run.parent)) == (step.original, made.run)
        for used in again.inputs:
            if used.version.ref != "dataset:raw@1":
                assert str(used.producer) in {str(each.run) for each in of.values()}, (
                    "made this time, not the first"
                )
    assert client.catalog.check().problems == ()


def test_a_difference_goes_on_to_whoever_comes_of_it(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    client = pipeline(project, "import os; noise = os.urandom(8).hex()")
    # What it takes is the one that is made this time, so that it does not miss the first.
    client.blobs.delete(client.get("model:words").version.digest)
    made = ancestry.rerun(client, "report:verdict", options=_HERE)
    *before, fit, judge = made.steps
    assert all(isinstance(step.likeness, likeness.Identical) for step in before)
    assert isinstance(fit.likeness, likeness.Different)
    assert (fit.given_others, judge.given_others) == ((), ("model",))
    assert isinstance(judge.likeness, likeness.Identical), "it counts bytes, and there are as many"
    assert isinstance(made.likeness, likeness.Different)
    rerunning.show_whole(made)
    told = capsys.readouterr().out
    assert told.startswith(f"report:verdict: 4 of 4 runs were made again, as run {made.run}\n")
    assert all(step.original[:18] in told and str(step.run)[:18] in told for step in made.steps)
    assert "pipeline.judge\n  · model was other than the original's\n" in told
    assert "it begins with\n  · dataset:raw@1\n" in told
    assert told.endswith("all in all: different\n")


def test_what_cannot_be_made_again_stands_as_it_was_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("""
        def outer(raw):
            @whence.step(version="1", name="inner")
            def inner(data: whence.Dataset):
                import threading
                lock
                return whence.dataset("cleaned", data.path.read_bytes().upper())
            lock = threading_lock
            return inner(raw)

        import threading
        threading_lock = threading.Lock()

        @whence.step(version="1", name="count")
        def count(data: whence.Dataset):
            return whence.report("count", str(len(data.path.read_bytes())).encode())

        if __name__ == "__main__":
            count(outer(whence.publish("dataset:raw", b"abc")))
    """)
    project.run()
    made = ancestry.rerun(project.client, "report:count", options=_HERE)
    inner, count = made.steps
    assert (inner.run, inner.likeness) == (None, None)
    assert inner.why
    assert isinstance(count.likeness, likeness.Identical)
    assert count.given_recorded == ("data",)
    assert isinstance(made.likeness, likeness.NotComparable), (
        "never identical where a step was not made again"
    )
    project.client.quarantine("dataset:raw@1", reason="it is mislabelled")
    monkeypatch.setenv("WHENCE_URL", str(project.url))
    monkeypatch.setattr(
        sys, "argv", ["whence", "rerun", "report:count@1", "--whole", "--env", "current", "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        app.run()
    assert ended.value.code == 3, "it is not known whether it would be the same"
    *_, last = json.loads(capsys.readouterr().out)["steps"]
    assert (last["job"], last["run"]) == ("count", None)
    assert "input data (dataset:cleaned@1) came from dataset:raw@1, which is quarantined by" in last["why"]


def test_what_was_handed_in_has_nothing_to_be_made_again(client: Client, tmp_path: Path) -> None:
    client.publish("dataset:raw", b"abc")
    made = ancestry.rerun(client, "dataset:raw@1")
    assert (made.steps, made.roots) == ((), ("dataset:raw@1",))
    assert isinstance(made.likeness, likeness.NotComparable)


def test_where_nobody_said_who_made_an_input_it_was_made_before_and_a_circle_of_runs_is_told(
    client: Client,
) -> None:
    def made(job: str, what: str, of: str | None = None, by: UUID | None = None) -> UUID:
        with client.run(job) as run:
            if of is not None:
                taken = client.get(of)
                source = model.Source(taken.version.artifact, taken.version.digest, by)
                claim = model.InputClaim("taken", source)
                client.writer.add(model.Addition(calls.new_uid(), run.uid, client.actor, inputs=(claim,)))
            run.publish(f"dataset:{what}", what.encode())
            return run.uid

    first, last = made("first", "x"), made("last", "x")
    maker = made("maker", "y", of="dataset:x@1")
    made("later", "x", of="dataset:y@1", by=maker)
    found = ancestry.behind(client, "dataset:y@1")
    assert found.order == (last, maker)
    assert len(found.unknown) == 1
    assert first not in found.records

    with client.run("outer") as outer:
        early = outer.publish("dataset:early", b"1")
        within = made("inner", "within", of="dataset:early@1", by=outer.uid)
        outer.use("dataset:within@1")
        outer.publish("dataset:late", b"2")
    assert early.run == outer.uid
    with pytest.raises(Conflict, match="took something of each other while they ran") as refused:
        ancestry.behind(client, "dataset:late@1")
    assert {str(outer.uid)[:18], str(within)[:18]} <= set(str(refused.value).replace(",", "").split())
