"""A whole ancestry is made again, from the data where it begins."""

import textwrap
from pathlib import Path

import pytest

from tests.conftest import Project
from whence import ancestry, environments
from whence.client import Client
from whence_catalog import likeness

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


def test_a_difference_goes_on_to_whoever_comes_of_it(project: Project) -> None:
    client = pipeline(project, "import os; noise = os.urandom(8).hex()")
    made = ancestry.rerun(client, "report:verdict", options=_HERE)
    *before, fit, judge = made.steps
    assert all(isinstance(step.likeness, likeness.Identical) for step in before)
    assert isinstance(fit.likeness, likeness.Different)
    assert (fit.given_others, judge.given_others) == ((), ("model",))
    assert isinstance(judge.likeness, likeness.Identical), "it counts bytes, and there are as many"
    assert isinstance(made.likeness, likeness.Different)


def test_what_cannot_be_made_again_stands_as_it_was_recorded(project: Project) -> None:
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


def test_what_was_handed_in_has_nothing_to_be_made_again(client: Client, tmp_path: Path) -> None:
    client.publish("dataset:raw", b"abc")
    made = ancestry.rerun(client, "dataset:raw@1")
    assert (made.steps, made.roots) == ((), ("dataset:raw@1",))
    assert isinstance(made.likeness, likeness.NotComparable)
