"""What only PostgreSQL can do to a catalog: writers side by side, connections that drop, a server that restarts."""

import itertools
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from tests import postgres, simulator
from tests.simulator import World, claim
from whence_catalog import cache, catalog, model, replies
from whence_catalog.errors import ErrorKind, InvalidInput, NotReady, Unreachable, WhenceError
from whence_catalog.sql import recording
from whence_catalog.sql.catalog import SqlCatalog, open_url
from whence_catalog.sql.postgres import PostgresEngine

# What a process of many does: (url, which one, how many, the answers).
fork = multiprocessing.get_context("fork")


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.shared().database() as made:
        yield made


@pytest.fixture
def world(url: str) -> Iterator[World]:
    with closing(SqlCatalog.connect(url, timeout_seconds=20)) as opened:
        yield World(opened)
        assert opened.check().problems == ()


def side_by_side(count: int, work: "object", *arguments: object) -> list[object]:
    """What `work(place, *arguments)` answered in each of `count` processes that began together."""
    answers = fork.Queue()
    barrier = fork.Barrier(count)

    def begin(place: int) -> None:
        barrier.wait()
        answers.put(work(place, *arguments))  # type: ignore[operator]

    processes = [fork.Process(target=begin, args=(place,)) for place in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return found


def _publish_many(place: int, url: str, each: int) -> list[int]:
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        return [
            world.note("make", {"model:m": f"{place} {n}".encode()}).outputs[0].version.number
            for n in range(each)
        ]


def test_numbers_rise_by_one_under_sixteen_writers_to_one_artifact(world: World, url: str) -> None:
    numbers = itertools.chain.from_iterable(side_by_side(16, _publish_many, url, 20))  # type: ignore[arg-type]
    assert sorted(numbers) == list(range(1, 321))
    assert [stored.position for stored in world.catalog.facts()] == list(range(1, 321))


def _publish_crosswise(place: int, url: str, each: int) -> int:
    names = [f"dataset:{letter}" for letter in "abcd"]
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        pairs = []
        for n in range(each):
            turned = names[place % 4 :] + names[: place % 4]
            calls = [world.plain_call(f"job {place % 3}") for _ in turned]
            pairs += [
                (call, world.report(call, {name: f"{n} {name}".encode(), turned[0]: f"{place} {n}".encode()}))
                for call, name in zip(calls, turned, strict=True)
                if name != turned[0]
            ]
        results = opened.record_runs(pairs)
        return sum(isinstance(result, WhenceError) for result in results)


def test_batches_that_name_the_same_things_in_other_orders_do_not_deadlock(world: World, url: str) -> None:
    assert side_by_side(8, _publish_crosswise, url, 4) == [0] * 8
    found = world.catalog.artifacts()
    assert [summary.artifact.name for summary in found] == ["a", "b", "c", "d"]
    assert _deadlocks(url) == 0


def _say_the_same(place: int, url: str, call: model.Call, report: model.Report) -> object:
    with closing(SqlCatalog.connect(url)) as opened:
        return simulator.one(opened.record_runs([(call, report)])).outputs


def test_the_same_record_said_by_many_at_once_is_one_fact(world: World, url: str) -> None:
    call = world.plain_call(labels={"team": "perception"})
    report = world.report(call, {"model:m": b"M"})
    said = side_by_side(8, _say_the_same, url, call, report)
    assert all(outputs == said[0] for outputs in said)
    assert len(world.catalog.facts()) == 1


def _compute(place: int, url: str, keys: int) -> list[int]:
    executed = []
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        for c in [(place + n) % keys for n in range(keys)]:
            call = world.call(c=c)
            while not isinstance(answer := world.ask(call), cache.Reuse):
                if isinstance(answer, cache.Execute):
                    executed.append(c)
                    world.finish(world.report(call, {"model:m": f"{c}".encode()}, answer.token))
                    break
                time.sleep(0.005)
    return executed


def test_processes_that_want_the_same_keys_compute_each_once(world: World, url: str) -> None:
    executed = itertools.chain.from_iterable(side_by_side(8, _compute, url, 10))  # type: ignore[arg-type]
    assert sorted(executed) == list(range(10))


def _reserve_all(place: int, url: str, each: int) -> int:
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        order = range(each) if place % 2 else reversed(range(each))
        answers = opened.reserve([world.call(c=c) for c in order])
        return sum(isinstance(answer, cache.Execute) for answer in answers)


def test_batches_of_reservations_in_other_orders_grant_each_key_once(world: World, url: str) -> None:
    assert sum(side_by_side(6, _reserve_all, url, 60)) == 60  # type: ignore[arg-type]


def _finish_alike(place: int, url: str, contents: int) -> float:
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened, project=f"p{place}")
        for _ in range(4):
            pairs = []
            for n in range(20):
                call = world.plain_call()
                made = {"model:m": f"{(n * (place + 1)) % contents}".encode()}
                pairs.append((call, world.report(call, made)))
            assert not any(isinstance(result, WhenceError) for result in opened.record_runs(pairs))
    return 0.0


def test_batches_that_make_the_same_bytes_do_not_deadlock(world: World, url: str) -> None:
    side_by_side(8, _finish_alike, url, 4)
    assert _deadlocks(url) == 0


def _beat_for(url: str, runs: list[UUID], seconds: float) -> None:
    with closing(SqlCatalog.connect(url)) as opened:
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            opened.beat(runs, catalog.LEASE)


def test_beats_and_finishes_of_the_same_runs_do_not_deadlock(world: World, url: str) -> None:
    calls = [world.call(c=c) for c in range(40)]
    answers = world.catalog.reserve(calls)
    beating = fork.Process(target=_beat_for, args=(url, [call.run for call in calls[::-1]], 2.0))
    beating.start()
    for place in range(0, 40, 10):
        reports = [
            world.report(call, {"model:m": b"M"}, answer.token)  # type: ignore[union-attr]
            for call, answer in zip(calls[place : place + 10], answers[place : place + 10], strict=True)
        ]
        assert not any(isinstance(result, WhenceError) for result in world.catalog.finish_runs(reports))
    beating.join()
    assert beating.exitcode == 0
    assert _deadlocks(url) == 0


def _deadlocks(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_text_that_no_index_holds_is_refused_and_harms_no_other_item(world: World) -> None:
    long = "".join(f"{n:x}" for n in range(9000))
    good, bad = world.plain_call(), world.plain_call()
    pairs = [
        (good, world.report(good, {"model:m": b"M"})),
        (
            bad,
            model.Report(
                simulator.uid(),
                bad.run,
                model.RunState.COMPLETE,
                simulator.ACTOR,
                outputs=(claim("model:m", b"N", role=long),),
            ),
        ),
    ]
    first, second = world.catalog.record_runs(pairs)
    assert isinstance(first, replies.Finished)
    assert isinstance(second, InvalidInput)


def test_a_read_that_takes_longer_than_it_may_is_given_up_and_the_next_one_is_answered(url: str) -> None:
    with closing(PostgresEngine(url, read_seconds=0.05)) as engine:
        with pytest.raises(Unreachable, match="not read within the time"):
            engine.read(lambda tx: tx.script(simulator.ENDLESS))
        with pytest.raises(Unreachable, match="not read within the time"):
            engine.glance(lambda tx: tx.script(simulator.ENDLESS))
        assert engine.read(lambda tx: tx.script("SELECT 1")) == [(1,)]
        assert engine.glance(lambda tx: tx.script("SELECT 1")) == [(1,)]
        assert engine.write(lambda tx: tx.script("SHOW statement_timeout")) == [("0",)]


# ── order ────────────────────────────────────────────────────────────────────────────────────────


def test_a_fact_that_commits_late_changes_nothing_that_was_answered(url: str) -> None:
    with closing(SqlCatalog.connect(url)) as opened, closing(PostgresEngine(url)) as slow:
        world = World(opened)
        first = world.note(
            "late"
        ).run.uid  # whose names are there from now on, so that nobody waits to make them
        late = world.plain_call("late")
        with slow.writing() as tx:
            recording.begin(tx, late, 60_000_000)
            tx.settle()  # its fact is written, and its transaction goes on
            early = world.note("early", {"model:m": b"M"}).run.uid
            seen = opened.facts()
            assert [stored.fact.uid for stored in seen] == [first, early]
        assert opened.run(str(late.run)).run.job == "late"
        assert opened.facts()[: len(seen)] == seen
        assert [stored.fact.uid for stored in opened.facts()] == [first, early, late.run]
        assert opened.check().problems == ()


def test_only_one_sequences_at_a_time(world: World, url: str) -> None:
    with closing(SqlCatalog.connect(url)) as other:
        for n in range(50):
            world.note("make", {"model:m": b"%d" % n})
        threads = [threading.Thread(target=target.sequence) for target in (world.catalog, other) * 4]  # type: ignore[attr-defined]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [stored.position for stored in world.catalog.facts()] == list(range(1, 51))


def test_check_finds_what_was_changed_behind_its_back(url: str) -> None:
    with closing(SqlCatalog.connect(url)) as opened:
        World(opened).note("make", {"model:m": b"M"})
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE version SET number = 7")
        assert any("table version" in problem for problem in opened.check().problems)


# ── what is cut short ────────────────────────────────────────────────────────────────────────────


def test_a_serialisation_failure_is_carried_out_again(url: str) -> None:
    with closing(PostgresEngine(url)) as database, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE counter (n int)")
        connection.execute("INSERT INTO counter VALUES (0), (0)")
        tried: list[int] = []

        def swap(mine: int) -> None:
            def work(tx: object) -> None:
                tried.append(mine)
                tx.script("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")  # type: ignore[attr-defined]
                total = tx.script("SELECT sum(n) FROM counter")[0][0]  # type: ignore[attr-defined]
                if len(tried) < 3:
                    barrier.wait()
                tx.script(f"INSERT INTO counter VALUES ({total} + 1)")  # type: ignore[attr-defined]

            database.write(work)

        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=swap, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tried) == 3
        assert connection.execute("SELECT n FROM counter ORDER BY n").fetchall() == [(0,), (0,), (1,), (2,)]


def test_a_connection_that_was_dropped_is_opened_again(world: World, url: str) -> None:
    world.note("make", {"model:m": b"A"})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
    assert world.note("make", {"model:m": b"B"}).outputs[0].version.number == 2


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_restart_under_load_loses_nothing_that_was_acknowledged(mode: str) -> None:
    with postgres.server() as server, ExitStack() as stack:
        server.prepare()
        url = stack.enter_context(server.database())
        acknowledged: list[UUID] = []
        stop = threading.Event()

        def load(opened: catalog.Catalog) -> None:
            world = World(opened)
            while not stop.is_set():
                acknowledged.append(world.note("make", {"model:m": os.urandom(8)}).run.uid)

        opened = stack.enter_context(closing(SqlCatalog.connect(url, timeout_seconds=60)))
        threads = [threading.Thread(target=load, args=(opened,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = len(acknowledged)
            while len(acknowledged) < before + 50:
                time.sleep(0.01)
            server.stop(mode)
            server.start()
        stop.set()
        for thread in threads:
            thread.join()
        facts = opened.facts(limit=100_000)
        assert {stored.fact.uid for stored in facts} == set(acknowledged)
        assert [stored.position for stored in facts] == list(range(1, len(facts) + 1))
        assert opened.check().problems == ()


def test_a_database_that_is_away_is_unreachable_in_bounded_time_and_no_secret_is_told() -> None:
    with pytest.raises(Unreachable) as refused:
        open_url(f"postgresql://me:hunter2@127.0.0.1:{_free_port()}/catalog", timeout_seconds=1)
    assert "hunter2" not in str(refused.value)
    assert "127.0.0.1" in str(refused.value)


def test_a_database_that_is_not_there_is_told_at_once(url: str) -> None:
    with pytest.raises(NotReady) as refused:
        open_url(url.replace("/t_", "/absent_"), timeout_seconds=60)
    assert refused.value.kind is ErrorKind.BAD_SETTING


@pytest.mark.parametrize("text", ["mysql://h/d", "postgresql://h:port:port/x?y"])
def test_an_address_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        open_url(text)


def test_a_value_that_cannot_be_kept_is_refused_without_sql(world: World) -> None:
    call = world.plain_call()
    odd = claim("model:m", b"M", filename="a\0b")
    report = model.Report(simulator.uid(), call.run, model.RunState.COMPLETE, simulator.ACTOR, outputs=(odd,))
    with pytest.raises(InvalidInput) as refused:
        simulator.one(world.catalog.record_runs([(call, report)]))
    assert "INSERT" not in str(refused.value)


def test_a_number_or_a_text_that_no_column_holds_is_refused_and_harms_no_other_item(world: World) -> None:
    (output,) = world.note("make", {"model:m": b"M"}).outputs
    calls = [
        world.plain_call(),
        world.plain_call(inputs=[replace(simulator.taken(output), ordinal=2**63)]),
        world.plain_call("\udcff"),
    ]
    results = world.catalog.record_runs([(call, world.report(call)) for call in calls])
    assert [type(result) for result in results] == [replies.Finished, InvalidInput, InvalidInput]
    with pytest.raises(InvalidInput):
        world.catalog.changes(2**63, 1)


def test_a_forked_child_has_connections_of_its_own(world: World, url: str) -> None:
    world.note("make", {"model:m": b"A"})
    child = os.fork()
    if not child:
        try:
            World(world.catalog).note("make", {"model:m": b"B"})
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(20):
        world.note("make", {"model:m": b"A"})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert world.note("make", {"model:m": b"C"}).outputs[0].version.number == 3


def _record_until_killed(url: str, said: "multiprocessing.SimpleQueue[bytes]") -> None:
    with closing(SqlCatalog.connect(url)) as opened:
        world = World(opened)
        while True:
            said.put(world.note("make", {"model:m": os.urandom(8)}).run.uid.bytes)


def test_kill_nine_loses_nothing_that_was_acknowledged(world: World, url: str) -> None:
    said = fork.SimpleQueue()
    process = fork.Process(target=_record_until_killed, args=(url, said))
    process.start()
    acknowledged = [said.get() for _ in range(20)]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    recorded = {stored.fact.uid.bytes for stored in world.catalog.facts()}
    assert set(acknowledged) <= recorded
