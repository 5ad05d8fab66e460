"""`whence apply --on ray`: the same plan, carried out by a real Ray on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from tests import servers
from tests.conftest import Project
from whence import applying, connecting, due, environments, planned
from whence.adapters import ray as on_ray
from whence.client import Client
from whence_catalog import model, plans, wire
from whence_catalog.errors import Conflict, ErrorKind, NotReady
from whence_catalog.sql.catalog import SqlCatalog

# Bodies leave marks in a file whose path is a parameter, and wait for another: a room has no variables of ours.
PIPELINE = """
    def held(marks, name):
        with open(marks, "a") as file:
            file.write(name + "\\n")
        # What made this room.
        Path(marks + ".new").write_text(str(os.getppid()))
        os.rename(marks + ".new", marks + ".worker")
        while not Path(marks).with_name("go").exists():
            time.sleep(0.01)

    @whence.step
    def part(data: whence.Handle, marks: str, n: int) -> whence.Handle:
        held(marks, f"part{n}")
        return whence.dataset(f"part{n}", data.path.read_text().upper().encode() + str(n).encode())

    @whence.step
    def joined(a: whence.Handle, b: whence.Handle, c: whence.Handle, marks: str) -> whence.Handle:
        held(marks, "joined")
        return whence.report("joined", b" ".join(each.path.read_bytes() for each in (a, b, c)))

    @whence.step
    def alone(data: whence.Handle, marks: str) -> whence.Handle:
        held(marks, "alone")
        return whence.report("alone", data.path.read_bytes())

    if __name__ == "__main__":
        marks = os.environ["MARKS"]
        data = whence.publish("dataset:x", Path("x.txt"))
        joined(*[part(data, marks, n) for n in range(3)], marks)
        alone(data, marks)
"""
MAKE = due.InRoom(environments.Options("current"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the Ray is that these tests share: this process is connected to it."""
    others = processes()
    with on_ray._connected(2, lambda text: None):
        import ray

        before = [each for each in processes() if each not in others]
        yield ray.get_runtime_context().gcs_address
    psutil.wait_procs(before, timeout=30)
    assert [each for each in before if each.is_running()] == []


def processes(of: int | None = None) -> list[psutil.Process]:
    return psutil.Process(of).children(recursive=True)


@pytest.fixture
def ran(project: Project, address: str) -> Project:
    """The pipeline ran once."""
    project.write(PIPELINE)
    (project.folder / "x.txt").write_text("hello")
    (project.folder / "other.txt").write_text("other")
    go(project).touch()
    project.run()
    assert project.executed() == ["part0", "part1", "part2", "joined", "alone"]
    go(project).unlink()
    worker_file(project).unlink()
    return project


def go(project: Project) -> Path:
    return project.marks.with_name("go")


def worker_file(project: Project) -> Path:
    return Path(f"{project.marks}.worker")


def planned_for(project: Project, target: str, client: Client | None = None) -> plans.RerunPlan:
    other = {"dataset:x": str(project.folder / "other.txt")}
    return planned.plan(client or project.client, [target], (), other)


def written(project: Project, plan: plans.RerunPlan) -> str:
    (project.folder / "plan.json").write_bytes(wire.encode(plan))
    return "plan.json"


class Applying:
    """A plan that is carried out on Ray, while the test goes on."""

    def __init__(self, client: Client, plan: plans.RerunPlan) -> None:
        self.stop = threading.Event()
        self.heard: list[str] = []
        self.done: Future[applying.Applied] = Future()
        # What a test that fails leaves waiting keeps nobody from ending.
        threading.Thread(target=self._carry_out, args=(client, plan), daemon=True).start()

    def _carry_out(self, client: Client, plan: plans.RerunPlan) -> None:
        try:
            with on_ray.opened(client, MAKE, 2) as executor:
                self.done.set_result(applying.apply(client, plan, executor, self._hear, self.stop))
        except BaseException as error:
            self.done.set_exception(error)

    def _hear(self, event: applying.Event) -> None:
        self.heard.append(event.what)

    def ends(self) -> dict[str, int]:
        return {end: count for end, count in self.done.result(timeout=120).counts.items() if count}


def until(true: Callable[[], bool], going_on: Callable[[], bool] = lambda: True) -> None:
    """Wait for what another process does."""
    give_up_at = time.monotonic() + 60
    while not true():
        assert going_on(), "it ended"
        assert time.monotonic() < give_up_at, "it took too long"
        time.sleep(0.01)


def marked(project: Project) -> list[str]:
    return project.marks.read_text().split() if project.marks.exists() else []


def cli(project: Project, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "whence", "apply", *arguments, "--env", "current", "--on", "ray"],
        cwd=project.folder,
        env={**os.environ, "WHENCE_URL": str(project.url), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    project.started.append(process)
    return process


def test_a_plan_is_carried_out_by_tasks_of_ray_and_recorded_as_it_is_here(ran: Project) -> None:
    go(ran).touch()
    plan = planned_for(ran, "report:joined")
    assert Applying(ran.client, plan).ends() == {"executed": 4}
    assert sorted(ran.executed()) == ["joined", "part0", "part1", "part2"]
    assert ran.client.get("report:joined").path.read_text() == "OTHER0 OTHER1 OTHER2"
    record = ran.client.catalog.run(str(plan.uid)).run
    assert (record.job, record.state) == ("whence.apply", model.RunState.COMPLETE)
    made = [run for run in applying.children(ran.client, [plan.uid]) if run.rerun_of is not None]
    assert len(made) == 4
    # Under their keys, so that what was made there is found here.
    (ran.folder / "x.txt").write_text("other")
    ran.run()
    assert ran.executed() == ["alone"]


def test_over_a_server_a_task_needs_nothing_but_its_address(ran: Project) -> None:
    go(ran).touch()
    opened = SqlCatalog.open(ran.url / "catalog.db")
    try:
        with servers.in_thread(opened) as url:
            client = connecting.open_client(url, blobs_url=ran.client.blobs.url)
            plan = planned_for(ran, "report:alone", client)
            assert Applying(client, plan).ends() == {"executed": 1}
            client.close()
    finally:
        opened.close()
    assert ran.executed() == ["alone"]


def test_told_to_stop_it_takes_back_what_ray_has_not_begun_and_lets_the_rest_end(ran: Project) -> None:
    plan = planned_for(ran, "report:joined")
    carried = Applying(ran.client, plan)
    # Two at a time: the third is with Ray, and waits for room.
    until(lambda: len(marked(ran)) == 2, lambda: not carried.done.done())
    carried.stop.set()
    until(lambda: "stopped" in carried.heard, lambda: not carried.done.done())
    go(ran).touch()
    assert carried.ends() == {"executed": 2, "stopped": 2}
    assert len(ran.executed()) == 2
    assert ran.client.catalog.run(str(plan.uid)).run.state is model.RunState.ABORTED
    assert Applying(ran.client, plan).ends() == {"executed": 4}
    assert len(ran.executed()) == 2


def kill_worker(project: Project) -> None:
    """End the worker of Ray that makes a Run, and let its lease lapse: that of no other."""
    until(lambda: worker_file(project).exists())
    worker = psutil.Process(int(worker_file(project).read_text()))
    worker_file(project).unlink()
    dead = max(
        (run for run in project.client.catalog.runs(None, "pipeline.alone") if run.rerun_of is not None),
        key=lambda run: run.started_at,
    )
    worker.kill()
    psutil.wait_procs([worker], timeout=30)
    for table in ("beat", "reservation"):
        project.sql(f"UPDATE {table} SET until = 1 WHERE run_uid = ?", dead.uid.bytes)


def states(project: Project) -> list[str]:
    """How the Runs ended that `alone` was made again in, seen by whoever opens the catalog next."""
    client = connecting.open_client(project.url)
    runs = [run for run in client.catalog.runs(None, "pipeline.alone") if run.rerun_of is not None]
    client.close()
    return sorted(run.state.value for run in runs)


def test_what_a_worker_was_at_that_died_is_aborted_and_made_once_more_as_another_run(ran: Project) -> None:
    carried = Applying(ran.client, planned_for(ran, "report:alone"))
    kill_worker(ran)
    until(lambda: worker_file(ran).exists(), lambda: not carried.done.done())
    go(ran).touch()
    assert carried.ends() == {"executed": 1}
    assert ran.executed() == ["alone", "alone"]
    assert states(ran) == ["aborted", "complete"]


def test_what_kills_its_worker_twice_is_told_as_failed(ran: Project) -> None:
    carried = Applying(ran.client, planned_for(ran, "report:alone"))
    kill_worker(ran)
    kill_worker(ran)
    assert carried.ends() == {"failed": 1}
    (done,) = carried.done.result().done
    assert "died, 2 times" in (done.why or "")
    assert states(ran) == ["aborted", "aborted"]


def test_after_kill_9_of_the_driver_the_same_plan_goes_on(ran: Project, address: str) -> None:
    plan = planned_for(ran, "report:joined")
    process = cli(ran, written(ran, plan), RAY_ADDRESS=address)
    until(lambda: len(marked(ran)) == 2, lambda: process.poll() is None)
    until(lambda: worker_file(ran).exists())
    worker = psutil.Process(int(worker_file(ran).read_text()))
    ran.kill(process)
    # Its tasks end with it.
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running()
    assert len(ran.executed()) == 2
    ran.let_a_minute_pass()
    go(ran).touch()
    assert Applying(ran.client, plan).ends() == {"executed": 4}
    assert sorted(ran.executed()) == ["joined", "part0", "part1", "part2"]


def test_a_ray_of_its_own_ends_with_the_command_also_when_a_terminal_interrupts_both(ran: Project) -> None:
    folder = tempfile.mkdtemp(prefix="w", dir="/tmp")
    try:
        plan = written(ran, planned_for(ran, "report:joined"))
        process = cli(ran, plan, "-j", "1", "--json", RAY_TMPDIR=folder)
        until(lambda: len(marked(ran)) == 1, lambda: process.poll() is None)
        theirs = processes(process.pid)
        assert [each for each in theirs if each.name() == "raylet"]
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        # Nothing is between the lines, whatever Ray has to say.
        events = [json.loads(process.stdout.readline())]
        while events[-1]["what"] != "stopped":
            events.append(json.loads(process.stdout.readline()))
        go(ran).touch()
        *_, last = [json.loads(line) for line in process.stdout]
        assert process.wait() == 130
        assert events[0]["what"] == "started"
        # What was begun when the word came ends.
        assert {each["end"] for each in last["done"]} == {"executed", "stopped"}
        assert len(ran.executed()) == 1
        psutil.wait_procs(theirs, timeout=30)
        assert [each for each in theirs if each.is_running()] == []
        assert list(Path(folder).iterdir()) == []
    finally:
        shutil.rmtree(folder)


def test_without_ray_it_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(NotReady, match=r"pip install 'whence\[ray\]'") as raised,
        on_ray.opened(client, MAKE, 1),
    ):
        pass
    assert raised.value.kind is ErrorKind.EXTRA_MISSING


def test_a_catalog_in_a_folder_is_not_for_tasks_on_another_machine(address: str) -> None:
    import ray

    (here,) = ray.nodes()  # type: ignore[no-untyped-call]
    there = {**here, "NodeManagerHostname": "another"}
    on_ray.refuse_out_of_reach("/a/catalog", [here])
    on_ray.refuse_out_of_reach("https://catalog.example", [here, there])
    on_ray.refuse_out_of_reach("/a/catalog", [here, {**there, "Alive": False}])
    on_ray.refuse_out_of_reach("/a/catalog", [here, {**there, "Resources": {}}])
    with pytest.raises(Conflict, match="Ray runs tasks on another, too: serve it"):
        on_ray.refuse_out_of_reach("/a/catalog", [here, there])
