"""Processes die at the worst moments; nothing that was said is lost, and nothing half said is there."""

import signal
import textwrap
import time
from uuid import UUID

from tests.conftest import Project
from whence_catalog import model
from whence_catalog.errors import Conflict
from whence_catalog.model import RunState

# In a child process: ends it for good where a name of the library is reached, as a power cut would.
DIE_AT = """
from whence_catalog import blobs
from whence_catalog.blobs import shelf
from whence_catalog.sql import catalog as sql_catalog

PLACES = {
    "staging": (shelf.Folder, "stage"), "settling": (shelf.Folder, "settle"),
    "storing": (blobs.BlobStore, "put_bytes"), "finishing": (sql_catalog.SqlCatalog, "finish_runs"),
    "adding": (sql_catalog.SqlCatalog, "add"), "reserving": (sql_catalog.SqlCatalog, "reserve"),
    "recording": (sql_catalog.SqlCatalog, "record_runs"),
}

def die(place, when):
    where, name = PLACES[place]
    real = getattr(where, name)
    def fatal(*args, **kwargs):
        if when == "after": real(*args, **kwargs)
        os.kill(os.getpid(), 9)
    setattr(where, name, fatal)
"""


def sound(project: Project) -> None:
    """The facts and the tables agree, and every Version that a fact names has its bytes."""
    catalog = project.client.catalog
    assert catalog.check().problems == ()
    named = {
        output.version.content for a in catalog.artifacts() for output in catalog.productions(a.artifact)
    }
    digests = frozenset(content.digest for content in named)
    trees = frozenset(content.digest for content in named if content.form is model.Form.TREE)
    present, missing, altered = project.client.look(digests, trees)
    assert (present, missing, altered) == (digests, frozenset(), frozenset())


def test_killed_anywhere_in_a_step_leaves_whole_facts_and_another_process_can_execute(
    project: Project,
) -> None:
    project.write(
        DIE_AT
        + textwrap.dedent("""
        DEATHS = [
            ("storing", "before"), ("staging", "after"), ("settling", "before"), ("settling", "after"),
            ("finishing", "before"), ("finishing", "after"), ("reserving", "after"),
        ]

        @whence.step(version="1")
        def make(place, when):
            mark(f"{place}-{when}")
            out = Path(f"out-{place}-{when}")
            out.mkdir(exist_ok=True)
            for n in range(20): (out / f"{n}.txt").write_text(str(n) * 100)
            if fatal: die(place, when)
            return out, whence.model(f"{place}-{when}", b"weights")

        def deadly(place, when):
            whence.current()
            if place == "reserving": die(place, when)
            make(place, when)

        fatal = sys.argv[1] == "die"
        if fatal:
            show([apart(deadly, *death) for death in DEATHS])
        else:
            show([len(list(make(*death)[0].iterdir())) for death in DEATHS])
        """)
    )
    assert project.run("die") == [-signal.SIGKILL] * 7
    sound(project)
    catalog = project.client.catalog
    killed = {run.uid: run for run in catalog.runs()}
    whole = [uid for uid, run in killed.items() if run.state is RunState.COMPLETE]
    assert len(whole) == 1, "only the one that died after its finish was acknowledged"
    assert {run.state for uid, run in killed.items() if uid not in whole} == {RunState.RUNNING}
    assert {output.run for a in catalog.artifacts() for output in catalog.productions(a.artifact)} == set(
        whole
    )

    project.executed()
    project.let_a_minute_pass()
    assert set(catalog.sweep()) == killed.keys() - set(whole)
    assert project.run("live") == [20] * 7
    assert len(project.executed()) == 6
    for uid in killed.keys() - set(whole):
        swept = catalog.run(str(uid)).run
        assert (swept.state, swept.presumed) == (RunState.ABORTED, True)
    sound(project)


def test_killed_in_a_publish_leaves_the_version_whole_or_not_at_all(project: Project) -> None:
    project.write(
        DIE_AT
        + textwrap.dedent("""
        def in_a_run(place, when):
            with whence.run(f"{place} {when}") as run:
                run.log(loss=0.5)
                run.flush()
                die(place, when)
                run.publish(f"model:{place}-{when}", b"weights")

        def without_a_run(place, when):
            whence.current()
            die(place, when)
            whence.publish(f"model:{place}-{when}", b"weights")

        IN = [("staging", "after"), ("settling", "after"), ("adding", "before"), ("adding", "after")]
        OUT = [("settling", "after"), ("recording", "before"), ("recording", "after")]
        show([apart(in_a_run, *death) for death in IN] + [apart(without_a_run, *death) for death in OUT])
        """)
    )
    assert project.run() == [-signal.SIGKILL] * 7
    sound(project)
    catalog = project.client.catalog
    assert {found.artifact.name for found in catalog.artifacts()} == {"adding-after", "recording-after"}
    begun = [run for run in catalog.runs() if run.job != "whence.publish"]
    assert {run.state for run in begun} == {RunState.RUNNING}
    assert all(catalog.series(run.uid) == {"loss": ((0, 0.5),)} for run in begun)
    assert [run.state for run in catalog.runs() if run.job == "whence.publish"] == [RunState.COMPLETE]


def test_metrics_survive_up_to_the_last_flush(project: Project) -> None:
    project.write(
        """
        with whence.run("train") as run:
            for n in range(1500): run.log(loss=float(n))
            mark("logged")
            time.sleep(30)
        """
    )
    process = project.start()
    project.wait_for_mark(process, "logged")
    project.kill(process)
    (run,) = project.client.catalog.runs()
    points = project.client.catalog.series(run.uid)["loss"]
    assert points[:2] == ((0, 0.0), (1, 1.0))
    assert len(points) == 1000
    assert project.client.catalog.check().problems == ()


def test_a_run_that_was_presumed_aborted_still_reports_for_itself_but_publishes_nothing(
    project: Project,
) -> None:
    project.write(
        """
        @whence.step(version="1")
        def slow():
            mark("in")
            while not Path("go").exists(): time.sleep(0.01)
            return 1
        slow()
        """
    )
    process = project.start()
    project.wait_for_mark(process, "in")
    catalog = project.client.catalog
    project.let_a_minute_pass()
    (run,) = catalog.sweep()
    assert catalog.run(str(run)).run.state is RunState.ABORTED
    (project.folder / "go").touch()
    project.end(process)
    after = catalog.run(str(run)).run
    assert (after.state, after.presumed, after.outcome) == (RunState.COMPLETE, False, "refused: lease lost")
    assert project.run() is None
    assert project.executed() == ["in", "in"], "what was made without a lease is not reused"
    sound(project)


def test_a_killed_holder_is_waited_for_until_its_lease_lapses(project: Project) -> None:
    project.write(
        """
        @whence.step(version="1")
        def slow():
            mark("in")
            while not Path("go").exists(): time.sleep(0.01)
            return 1
        if sys.argv[1:]:
            whence.current(); mark("asking")
        show(slow())
        """
    )
    first = project.start()
    project.wait_for_mark(first, "in")
    project.kill(first)
    project.executed()
    (project.folder / "go").touch()
    second = project.start("second")
    project.wait_for_mark(second, "asking")
    time.sleep(0.5)
    assert (second.poll(), project.executed()) == (None, ["asking"])
    project.let_a_minute_pass()
    assert project.end(second) == 1
    assert project.executed() == ["in"]


def test_the_same_report_twice_is_one_fact_and_another_is_a_conflict(project: Project) -> None:
    client = project.client
    call = model.Call(run=_uid(1), project="default", job="j", actor=client.actor)
    report = model.Report(_uid(2), _uid(1), RunState.COMPLETE, client.actor)
    assert [type(answer).__name__ for answer in client.catalog.reserve([call, call])] == [
        "Execute",
        "Execute",
    ]
    other = model.Call(run=_uid(1), project="default", job="another", actor=client.actor)
    (refused,) = client.catalog.reserve([other])
    assert isinstance(refused, Conflict)
    first, second = client.catalog.finish_runs([report, report])
    assert first == second
    assert len(client.catalog.facts()) == 2


def _uid(number: int) -> UUID:
    return UUID(int=number)


def test_sigkill_of_a_tree_of_processes_ends_no_run_of_another(project: Project) -> None:
    project.write(
        """
        import multiprocessing
        @whence.step(version="1")
        def part(n):
            if n == 1:
                os.kill(os.getpid(), 9)
            return n
        if __name__ == "__main__":
            with whence.run("outer"):
                workers = [multiprocessing.get_context("fork").Process(target=part, args=(n,)) for n in range(3)]
                for worker in workers: worker.start()
                for worker in workers: worker.join()
                show([worker.exitcode for worker in workers])
        """
    )
    assert project.run() == [0, -signal.SIGKILL, 0]
    states = sorted((run.job.rpartition(".")[2], run.state.value) for run in project.client.catalog.runs())
    assert states == [("outer", "complete"), ("part", "complete"), ("part", "complete"), ("part", "running")]
    sound(project)
