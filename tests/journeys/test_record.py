"""Runs are recorded by either form: a step, or a block of code."""

import asyncio
import dataclasses
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import whence
from tests.conftest import Project
from whence import Dataset, Model
from whence.client import Client
from whence_catalog import digest, model
from whence_catalog.errors import Conflict, InvalidInput
from whence_catalog.model import RunState


@dataclasses.dataclass
class Fitted:
    weights: Model
    accuracy: float


@whence.step
def collect(count: int) -> Dataset:
    return whence.dataset("numbers", list(range(count)))


@whence.step
def fit(numbers: Dataset, rate: float = 0.5) -> Fitted:
    assert isinstance(numbers.load(), list)
    return Fitted(whence.model("line", b"weights", metrics={"r2": 0.9}), rate)


def only(client: Client, job: str) -> model.RunRecord:
    (run,) = [run for run in client.catalog.runs(limit=100) if run.job.endswith(job)]
    return client.catalog.run(str(run.uid))


def runs(client: Client, job: str) -> list[model.Run]:
    return [run for run in client.catalog.runs(limit=100) if run.job.endswith(job)]


def test_a_step_records_what_it_took_what_it_was_told_and_what_it_made(client: Client) -> None:
    numbers = collect(3)
    fitted = fit(numbers)
    assert (numbers.ref, fitted.weights.ref, fitted.accuracy) == ("dataset:numbers@1", "model:line@1", 0.5)
    record = only(client, "test_record.fit")
    assert record.run.state is RunState.COMPLETE
    assert record.run.params == {"rate": 0.5}
    assert [(i.role, i.version.ref, i.producer) for i in record.inputs] == [
        ("numbers", "dataset:numbers@1", numbers.run)
    ]
    assert [(o.role, o.version.ref, o.metrics) for o in record.outputs] == [
        ("return.weights", "model:line@1", {"r2": 0.9}),
        ("return.accuracy", "file:tests.journeys.test_record.fit.accuracy@1", {}),
    ]
    assert client.catalog.check().problems == ()


def test_a_block_records_what_it_used_logged_and_published(client: Client) -> None:
    collect(3)
    with whence.run("train", params={"c": 1.0, "when": None}, labels={"team": "red"}) as run:
        numbers = run.use("dataset:numbers@latest")
        assert run.use("dataset:numbers@1").ref == numbers.ref, "taking it again is taking it"
        for epoch in range(3):
            run.log(loss=1 / (epoch + 1))
        made = run.publish("model:line", b"weights", metrics={"r2": 0.9}, derived_from=[numbers])
        run.publish(whence.report("summary", {"epochs": 3}))
    record = only(client, "train")
    assert (record.run.state, record.run.params, record.run.labels) == (
        RunState.COMPLETE,
        {"c": 1.0, "when": None},
        {"team": "red"},
    )
    assert [i.version.ref for i in record.inputs] == ["dataset:numbers@1"]
    assert [o.version.ref for o in record.outputs] == [made.ref, "report:summary@1"]
    assert record.outputs[0].derived_from == (numbers.source,)
    assert record.run.metrics == {"loss": 1 / 3}
    assert client.catalog.series(run.uid) == {"loss": ((0, 1.0), (1, 0.5), (2, 1 / 3))}


def test_handles_in_lists_and_dicts_are_inputs_in_their_order(client: Client) -> None:
    @whence.step(version="1")
    def join(parts: list[Dataset], named: dict[str, Dataset | int], *more: Dataset) -> int:
        return len(parts) + len(named) + len(more)

    one, two, three = (client.publish(f"dataset:part{n}", [n]) for n in range(3))
    assert join([one, two], {"third": three, "n": 1}, two) == 5  # type: ignore[arg-type, dict-item]
    record = only(client, "join")
    assert [(i.role, i.ordinal, i.version.ref) for i in record.inputs] == [
        ("more", 0, "dataset:part1@1"),
        ("named.third", 0, "dataset:part2@1"),
        ("parts", 0, "dataset:part0@1"),
        ("parts", 1, "dataset:part1@1"),
    ]


def test_a_draft_that_is_handed_in_is_recorded_first(client: Client) -> None:
    fitted = fit(whence.dataset("numbers", [1]))  # type: ignore[arg-type]
    assert fitted.accuracy == 0.5
    (taken,) = only(client, "test_record.fit").inputs
    assert taken.version.ref == "dataset:numbers@1"
    assert only(client, "whence.publish").outputs[0].version == taken.version


def test_a_step_inside_a_run_is_its_child_also_from_a_thread(client: Client) -> None:
    @whence.step(version="1")
    def outer(count: int) -> int:
        collect(count)
        with ThreadPoolExecutor(2) as pool:
            return len(list(pool.map(collect, [count + 1, count + 2])))

    with whence.run("night") as night:
        outer(1)
    assert only(client, "outer").run.parent == night.uid
    parents = {run.parent for run in runs(client, "test_record.collect")}
    assert parents == {only(client, "outer").run.uid}


def test_a_thread_beside_several_runs_at_once_belongs_to_none(client: Client) -> None:
    async def both() -> None:
        @whence.step(version="1")
        async def beside(n: int) -> int:
            both_run.append(n)
            while len(both_run) < 2:
                await asyncio.sleep(0.01)
            thread = threading.Thread(target=collect, args=(n,))
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0.01)
            return n

        both_run: list[int] = []
        await asyncio.gather(beside(1), beside(2))

    asyncio.run(both())
    assert {run.parent for run in runs(client, "test_record.collect")} == {None}


def test_async_steps_run_at_once_and_more_of_them_than_threads_do_not_block_each_other(
    client: Client,
) -> None:
    running: list[int] = []

    @whence.step(version="1")
    async def sleepy(n: int) -> int:
        running.append(n)
        await asyncio.sleep(0.1)
        return n * 2

    async def many() -> list[int]:
        return await asyncio.gather(*[sleepy(n % 2) for n in range(24)])

    assert asyncio.run(many()) == [0, 2] * 12
    assert sorted(running) == [0, 1], "one executes, the others wait and reuse"
    states = sorted(run.state for run in runs(client, "sleepy"))
    assert states == [RunState.COMPLETE] * 2 + [RunState.REUSED] * 22


def test_a_cancelled_async_step_is_aborted_and_holds_nobody_up(client: Client) -> None:
    @whence.step(version="1")
    async def patient() -> int:
        if not started.is_set():
            started.set()
            await asyncio.sleep(1000)
        return 1

    started = asyncio.Event()

    async def impatient() -> None:
        going = asyncio.create_task(patient())
        await started.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert await patient() == 1

    asyncio.run(impatient())
    assert sorted(run.state for run in runs(client, "patient")) == [RunState.ABORTED, RunState.COMPLETE]


def test_cancelled_while_it_asks_leaves_no_run_behind(client: Client) -> None:
    @whence.step(version="1")
    async def hasty() -> int:
        await asyncio.sleep(10)
        return 1

    async def cancel_at_once() -> None:
        going = asyncio.create_task(hasty())
        await asyncio.sleep(0)  # it has begun to ask, in a thread
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(cancel_at_once())
    assert [run.state for run in runs(client, "hasty")] == [RunState.ABORTED]


def test_what_a_step_raises_comes_out_unchanged_and_is_in_the_record(client: Client) -> None:
    error = ValueError("the loss is NaN\nat epoch 3")

    @whence.step(version="1")
    def explode() -> None:
        raise error

    with pytest.raises(ValueError) as raised:
        explode()
    assert raised.value is error
    assert not hasattr(error, "__notes__")
    run = only(client, "explode").run
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.startswith("ValueError: the loss is NaN\nat epoch 3\n  at test_record.py:")


def test_a_failed_call_is_not_reused_and_can_be_made_again(client: Client) -> None:
    @whence.step(version="1")
    def flaky() -> int:
        if tries.pop():
            raise OSError("not yet")
        return 7

    tries = [False, True]
    with pytest.raises(OSError, match="not yet"):
        flaky()
    assert flaky() == 7
    assert [run.state for run in runs(client, "flaky")] == [RunState.COMPLETE, RunState.FAILED]


def test_a_run_that_is_interrupted_is_aborted(project: Project) -> None:
    project.write(
        """
        import asyncio, signal
        @whence.step
        def step(number):
            ready(number); time.sleep(30)
        @whence.step
        async def nap(number):
            ready(number); await asyncio.sleep(30)
        def block(number):
            with whence.run("block") as run:
                run.log(loss=1.0)
                ready(number); time.sleep(30)
        def ready(number):
            Path(str(number)).touch()
        def interrupted(number, function, sign):
            child = os.fork()
            if not child:
                try: function(number)
                except BaseException as error: os._exit(100 if type(error) is KeyboardInterrupt else error.code)
            while not Path(str(number)).exists(): time.sleep(0.01)
            os.kill(child, sign)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        import whence_catalog.sql.catalog
        # A shell has those that it starts in the background ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        forms = [step, block, lambda number: asyncio.run(nap(number))]
        signs = [signal.SIGINT, signal.SIGTERM]
        show([interrupted(2 * n + m, form, sign) for n, form in enumerate(forms) for m, sign in enumerate(signs)])
        """
    )
    assert project.run() == [100, 143] * 3
    catalog = project.client.catalog
    ended = catalog.runs()
    assert {(run.state, run.presumed) for run in ended} == {(RunState.ABORTED, False)}
    said = sorted(str(catalog.run(str(run.uid)).run.error).splitlines()[0] for run in ended)
    # SIGTERM reaches what sleeps in a loop by way of the loop, unless it comes before that sleeps.
    for by_loop in (1, 2):
        told = ["KeyboardInterrupt"] * 2 + ["asyncio.exceptions.CancelledError"] * by_loop
        if said == told + ["preempted: SIGTERM"] * (4 - by_loop):
            break
    else:
        pytest.fail(str(said))
    assert [run.metrics for run in ended if run.job == "block"] == [{"loss": 1.0}] * 2


def test_the_programs_own_way_to_end_on_sigterm_is_left_alone(client: Client) -> None:
    def own(number: int, frame: object) -> None:
        caught.append(number)

    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, own)
    try:
        with whence.run("served"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]
    assert only(client, "served").run.state is RunState.COMPLETE


def test_a_forked_child_that_runs_out_of_the_block_does_not_end_its_parents_run(project: Project) -> None:
    project.write(
        """
        with whence.run("parent") as run:
            child = os.fork()
            if child:
                _, status = os.waitpid(child, 0)
                show({"child": os.waitstatus_to_exitcode(status)})
                run.log(loss=0.5)
            else:
                raise KeyError("the child's own")
        """
    )
    assert project.run() == {"child": 1}
    (run,) = project.client.catalog.runs()
    assert (run.state, run.metrics) == (RunState.COMPLETE, {"loss": 0.5})


def test_a_finished_run_takes_nothing_more(client: Client) -> None:
    with whence.run("done") as run:
        pass
    with pytest.raises(RuntimeError, match="boom"), whence.run("failed") as failed:
        raise RuntimeError("boom")
    for late, state in ((run, "complete"), (failed, "failed")):
        for more in (
            lambda late=late: late.publish("model:m", b"x"),
            lambda late=late: late.log(loss=1.0),
            lambda late=late: late.use("model:m"),
        ):
            with pytest.raises(Conflict, match=f"already {state}; start a new run"):
                more()
    assert not client.catalog.artifacts()


def test_another_process_attaches_adds_and_leaves_the_end_to_the_owner(project: Project) -> None:
    project.write(
        """
        with whence.attach() as run:
            run.use("dataset:shard", role="shard " + sys.argv[1])
            run.log(loss=float(sys.argv[1]))
            run.publish("model:part", sys.argv[1].encode(), role="part " + sys.argv[1])
        """,
        "worker.py",
    )
    project.write(
        """
        import subprocess
        whence.publish("dataset:shard", [1, 2])
        with whence.run("distributed") as run:
            workers = [
                subprocess.Popen([sys.executable, "worker.py", str(n)], env={**os.environ, **run.env}) for n in (1, 2)
            ]
            assert [worker.wait() for worker in workers] == [0, 0]
            run.publish("model:whole", b"12")
        late = subprocess.run([sys.executable, "worker.py", "3"], env={**os.environ, **run.env}, stderr=subprocess.PIPE)
        show(late.stderr.decode().splitlines()[-1])
        """
    )
    assert "is already complete; nothing can be added" in project.run()
    (run,) = [run for run in project.client.catalog.runs() if run.job == "distributed"]
    record = project.client.catalog.run(str(run.uid))
    assert run.state is RunState.COMPLETE
    assert {i.role for i in record.inputs} == {"shard 1", "shard 2"}
    assert {o.role for o in record.outputs} == {"part 1", "part 2", "whole"}
    assert sorted(project.client.catalog.series(run.uid)["loss"]) == [(0, 1.0), (0, 2.0)]
    assert project.client.catalog.check().problems == ()


def test_attaching_to_nothing_says_how_it_is_done(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"start this process with env=run\.env"), whence.attach():
        pass
    monkeypatch.setenv("WHENCE_RUN", "yesterday's")
    with pytest.raises(InvalidInput, match="not a run"), whence.attach():
        pass


def test_a_parameter_above_64_kib_is_kept_as_a_blob(client: Client) -> None:
    @whence.step(version="1")
    def wide(table: list[int]) -> int:
        return sum(table)

    table = list(range(20_000))
    assert wide(table) == wide(table) == sum(table)
    with whence.run("block", params={"table": table}):
        pass
    executed, reused = sorted(runs(client, "wide"), key=lambda run: run.state)
    assert (executed.state, reused.state) == (RunState.COMPLETE, RunState.REUSED)
    for run in (executed, only(client, "block").run):
        kept = run.params["table"]
        assert isinstance(kept, digest.Record)
        assert kept.name == "whence.blob"


def test_metrics_may_be_no_numbers_and_may_be_endless(client: Client) -> None:
    with whence.run("odd") as run:
        run.log(step=5, loss=float("nan"), best=float("-inf"))
        run.log(loss=float("inf"))
        with pytest.raises(InvalidInput, match="metric 'loss' is 'low', not a number"):
            run.log(loss="low")  # type: ignore[arg-type]
    series = client.catalog.series(run.uid)
    assert str(series["loss"]) == "((5, nan), (6, inf))"
    assert series["best"] == ((5, float("-inf")),)
    assert only(client, "odd").run.metrics["loss"] == float("inf")


def test_log_outside_of_a_run_is_nothing_and_inside_a_step_is_its_series(client: Client) -> None:
    @whence.step(version="1")
    def learn() -> None:
        for n in range(2500):
            whence.log(loss=float(n))

    whence.log(loss=1.0)
    learn()
    run = only(client, "learn").run
    assert len(client.catalog.series(run.uid)["loss"]) == 2500
    assert run.metrics == {"loss": 2499.0}


def test_what_cannot_be_a_step_is_refused_where_it_is_written() -> None:
    def numbers():  # type: ignore[no-untyped-def]
        yield 1

    for wrong in (numbers, 3, Fitted):
        with pytest.raises(InvalidInput, match="cannot be a step"):
            whence.step(wrong)  # type: ignore[call-overload]
    for options in ({"cache": "always"}, {"max_age": -1}, {"max_wait": "1h"}, {"max_age": float("nan")}):
        with pytest.raises(InvalidInput, match=f"{next(iter(options))} is"):
            whence.step(**options)  # type: ignore[call-overload]


def test_publish_takes_a_name_with_content_or_a_handle(client: Client) -> None:
    with whence.run("odd calls") as run:
        for call in (
            lambda: run.publish("model:m"),
            lambda: run.publish(whence.model("m", b"x"), b"y"),
        ):
            with pytest.raises(InvalidInput, match="a name and content, or a handle and nothing else"):
                call()
        with pytest.raises(InvalidInput, match="selects a version"):
            run.publish("model:m@3", b"x")
        first = run.publish("other/model:m", b"x")
        assert str(first.version.artifact) == "other/model:m"
        with pytest.raises(InvalidInput, match="already made an output as 'm'; give this one role="):
            run.publish("model:m", b"y")
        assert run.publish("model:m", b"y", role="second").number == 1


def test_a_publish_that_fails_leaves_its_role_free(client: Client, tmp_path: Path) -> None:
    with whence.run("twice") as run:
        with pytest.raises(whence.NotFound, match="no such file"):
            run.publish("model:m", tmp_path / "absent")
        (tmp_path / "absent").write_bytes(b"now it is there")
        run.publish("model:m", tmp_path / "absent")
    assert [o.role for o in only(client, "twice").outputs] == ["m"]
