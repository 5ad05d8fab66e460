"""Several processes use one catalog at once: forked, spawned, or strangers to each other."""

import pickle
from pathlib import Path

import pytest

import whence
from tests.conftest import Project
from whence.client import Client
from whence_catalog.model import RunState

POOL = """
import multiprocessing
import worker

if __name__ == "__main__":
    whence.connect(sys.argv[2])
    data = whence.publish("dataset:d", [1, 2, 3])
    with whence.run("outer") as run, multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        answers = pool.starmap(worker.total, [(data, n % 3) for n in range(6)])
        show([handle.load() for handle in answers])
"""
WORKER = """
@whence.step
def total(data, plus):
    mark(f"{plus}")
    return whence.metrics("total", {"sum": float(sum(data.load()) + plus)})
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_steps_run_in_a_pool_of_processes_and_handles_travel(project: Project, method: str) -> None:
    project.write(POOL)
    project.write(WORKER, "worker.py")
    # Only the parent is told which catalog it is; what it starts finds the same one.
    answers = project.run(method, str(project.url), WHENCE_URL="")
    assert [answer["sum"] for answer in answers] == [6.0, 7.0, 8.0] * 2
    assert sorted(project.executed()) == ["0", "1", "2"]
    totals = [run for run in project.client.catalog.runs() if run.job == "worker.total"]
    assert sorted(run.state for run in totals) == [RunState.COMPLETE] * 3 + [RunState.REUSED] * 3
    (outer,) = [run for run in project.client.catalog.runs() if run.job == "outer"]
    assert outer.state is RunState.COMPLETE
    if method == "fork":
        assert {run.parent for run in totals} == {outer.uid}
    assert project.client.catalog.check().problems == ()
    assert not (project.folder / ".whence").exists()


def test_a_forked_child_ends_at_sigterm_at_once_unless_a_step_of_its_own_runs(project: Project) -> None:
    project.write(
        """
        import signal

        @whence.step
        def inner(n):
            mark("handled" if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL else "not handled")
            return n

        def child():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            inner(1)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

        if __name__ == "__main__":
            with whence.run("outer"):
                assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
                show(apart(child))
                assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        """
    )
    assert (project.run(), project.executed()) == (0, ["handled"])


def test_a_handle_pickles_without_its_connection_and_a_draft_with_its_content(client: Client) -> None:
    handle = client.publish("dataset:d", [1, 2, 3], metrics={"rows": 3.0})
    assert handle.path.exists()
    copy = pickle.loads(pickle.dumps(handle))
    assert (copy.ref, copy.digest, copy.run, copy.metrics) == (
        handle.ref,
        handle.digest,
        handle.run,
        {"rows": 3.0},
    )
    assert copy.load() == [1, 2, 3]
    assert pickle.loads(pickle.dumps(whence.model("m", b"x"))).load() == b"x"


def test_a_script_is_one_job_whether_it_runs_or_is_imported(project: Project) -> None:
    project.write(
        """
        import dataclasses
        @dataclasses.dataclass
        class Result:
            model: whence.Model
            score: float
        @whence.step
        def fit(n, like=None):
            mark("fit")
            return Result(whence.model("m", b"x"), 0.5)
        if __name__ == "__main__":
            result = fit(1)
            show([type(result) is Result, result.model.ref, result.score, fit(2, result.score).score])
        """
    )
    project.write(
        "import pipeline\nresult = pipeline.fit(1)\nshow(type(result) is pipeline.Result)\n", "other.py"
    )
    assert project.run() == [True, "model:m@1", 0.5, 0.5]
    assert project.run() == [True, "model:m@1", 0.5, 0.5]
    assert project.end(project.start(script="other.py")) is True
    assert project.executed() == ["fit", "fit"]


SLOW = """
@whence.step(version="1", max_wait=float(sys.argv[1]) if sys.argv[1:] else None)
def slow():
    mark("in")
    while not Path("go").exists(): time.sleep(0.01)
    return os.getpid()
whence.current()
mark("asking")
show(slow())
"""


def test_of_two_processes_that_want_the_same_one_executes_and_the_other_waits_and_reuses(
    project: Project,
) -> None:
    project.write(SLOW)
    first = project.start()
    project.wait_for_mark(first, "in")
    others = [project.start(), project.start()]
    while project.marks.read_text().split().count("asking") < 3:
        assert all(process.poll() is None for process in others)
    (project.folder / "go").touch()
    assert {project.end(process) for process in (first, *others)} == {first.pid}
    assert project.executed().count("in") == 1
    states = sorted(run.state for run in project.client.catalog.runs())
    assert states == [RunState.COMPLETE, RunState.REUSED, RunState.REUSED]


def test_who_has_waited_long_enough_executes_too_and_says_whom_it_waited_for(project: Project) -> None:
    project.write(SLOW)
    first = project.start()
    project.wait_for_mark(first, "in")
    second = project.start("0.2")
    while project.marks.read_text().split().count("in") < 2:
        assert second.poll() is None, second.communicate()
    (project.folder / "go").touch()
    assert project.end(first) == first.pid
    assert project.end(second) == second.pid
    waited, held = project.client.catalog.runs()
    assert held.outcome == "entered"
    assert waited.outcome == "none"
    assert waited.warnings[0].startswith("waited 0 s for ")
    assert f"pid {first.pid} run {held.uid}" in waited.warnings[0]


def test_processes_that_meet_a_new_catalog_at_once_all_record(project: Project) -> None:
    project.write('show(whence.publish("dataset:d", [int(sys.argv[1])]).number)\n')
    started = [project.start(str(n)) for n in range(4)]
    assert sorted(project.end(process) for process in started) == [1, 2, 3, 4]
    assert project.client.catalog.check().problems == ()


def test_the_nearest_catalog_upwards_is_used_and_else_one_is_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    whence.publish("dataset:d", [1])
    whence.current().close()
    monkeypatch.setattr("whence.connecting._default", None)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert whence.get("dataset:d").load() == [1]
    assert (tmp_path / ".whence" / ".gitignore").read_text().splitlines()[-1] == "*"
    assert not (tmp_path / "deep" / ".whence").exists()
