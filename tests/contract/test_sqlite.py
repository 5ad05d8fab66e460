"""What is SQLite's own: tampering found, processes side by side, forks, kills, places it refuses."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests import simulator
from tests.simulator import World, taken
from whence_catalog import lineage, model
from whence_catalog.errors import ErrorKind, NotReady, Unreachable
from whence_catalog.sql import schema, sqlite
from whence_catalog.sql.catalog import SqlCatalog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def world(path: Path) -> Iterator[World]:
    with closing(SqlCatalog.open(path, synchronous="NORMAL", timeout_seconds=20)) as opened:
        yield World(opened)


def history(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.run("train", {"model:m": b"M"}, inputs=[taken(data)], labels={"team": "x"})
    made = world.produced["model:m"].version
    move = model.AliasMove(simulator.uid(), made.artifact, "prod", made.digest, simulator.ACTOR, "good")
    simulator.one(world.catalog.move_aliases([move]))


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE version SET number = 7", "table version"),
        ("UPDATE run SET state = 'failed' WHERE origin_id IS NULL", "table run"),
        ("DELETE FROM input", "table input"),
        ("UPDATE alias SET version_id = (SELECT min(id) FROM version)", "table alias"),
        ("INSERT INTO divergence VALUES (1, 1, 'k', 'c', 0)", "table divergence"),
        ("UPDATE cache_entry SET superseded_at = 1", "table cache_entry"),
        ("UPDATE output SET filename = 'other'", "table output"),
        ("UPDATE component SET digest = x'00' WHERE place = 0", "table component"),
        ("UPDATE redactable SET fact = 77 WHERE path = 'labels/team'", "belong to no fact"),
        ("DELETE FROM fact WHERE position = 2", "facts are missing"),
        ("UPDATE fact SET canonical = x'00' WHERE position = 1", "its bytes are not those"),
        ("UPDATE fact SET verb = 'reuse' WHERE position = 1", "its uid or verb"),
        ("UPDATE fact SET sequenced_at = 0 WHERE position = 2", "sequenced before"),
        ("UPDATE redactable SET value = x'53000000000000000161' WHERE path = 'labels/team'", "is not the one it commits to"),
        ("INSERT INTO redactable SELECT fact, 'labels/b', salt, value FROM redactable WHERE path = 'labels/team'", "nothing in it commits"),
    ],
)  # fmt: skip
def test_check_finds_every_kind_of_tampering(world: World, path: Path, statement: str, found: str) -> None:
    history(world)
    assert world.catalog.check().problems == ()
    tamper(path, statement)
    problems = world.catalog.check().problems
    assert any(found in problem for problem in problems), problems


def test_what_is_exempt_may_be_lost(world: World, path: Path) -> None:
    history(world)
    begun = world.begin(world.call("other"))
    assert begun.token is not None
    tamper(path, "DELETE FROM reservation", "DELETE FROM beat", "DELETE FROM blob")
    assert world.catalog.check().problems == ()


def test_erased_text_breaks_nothing(world: World, path: Path) -> None:
    call = world.plain_call(labels={"team": "x", "who": "y"})
    world.begin(call)
    tamper(path, "DELETE FROM redactable WHERE path = 'labels/team'")
    # Where it can be searched for it must go as well: check tells that it was left there.
    assert [problem.partition(":")[0] for problem in world.catalog.check().problems] == ["table label"]
    tamper(path, "DELETE FROM label WHERE name = 'team'")
    checked = world.catalog.check()
    assert (checked.problems, checked.unopened) == ((), 1)
    assert world.catalog.run(str(call.run)).run.labels == {"who": "y"}
    world.begin(call)  # said again: where the salt is gone, the rest decides


def _write(path: Path, project: str, count: int) -> None:
    with closing(SqlCatalog.open(path, synchronous="NORMAL", timeout_seconds=60)) as opened:
        world = World(opened, project)
        for n in range(count):
            world.note("make", {"model:shared": f"{project} {n}".encode()})


def test_processes_that_write_at_once_lose_nothing_and_leave_no_gap(path: Path) -> None:
    writers = [
        multiprocessing.get_context("spawn").Process(target=_write, args=(path, f"p{n}", 25))
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with closing(SqlCatalog.open(path)) as opened:
        outputs = opened.productions(simulator.artifact("model:shared"))
        assert sorted(output.version.number for output in outputs) == list(range(1, 101))
        assert opened.check().problems == ()


def test_a_forked_child_has_connections_of_its_own(world: World) -> None:
    history(world)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            world.note("in the child", {"model:m": b"child"})
            code = 0
        finally:
            os._exit(code)
    world.note("in the parent", {"model:m": b"parent"})
    assert os.waitpid(child, 0)[1] == 0
    assert {"in the child", "in the parent"} <= {run.job for run in world.catalog.runs()}
    assert world.catalog.check().problems == ()


WRITER = """
import sys
from pathlib import Path
from tests.simulator import World
from whence_catalog.sql.catalog import SqlCatalog

world = World(SqlCatalog.open(Path(sys.argv[1]), synchronous="NORMAL"))
n = 0
while True:
    made = world.note("make", {f"model:m{k}": f"{n} {k}".encode() for k in range(20)})
    print(made.run.uid, flush=True)
    n += 1
"""


def test_a_writer_killed_at_any_moment_leaves_no_half_fact_and_loses_nothing_acknowledged(path: Path) -> None:
    for wait in (0.02, 0.05, 0.11):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip()]
        threading.Event().wait(wait)
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        with closing(SqlCatalog.open(path)) as opened:
            for run in said:
                assert len(opened.run(run).outputs) == 20
            assert opened.check().problems == ()


def test_a_database_that_another_process_holds_is_named_with_what_to_do(path: Path) -> None:
    with (
        closing(SqlCatalog.open(path, timeout_seconds=0.2)) as opened,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unreachable) as refused:
            World(opened).note("make")
        assert refused.value.kind is ErrorKind.LOCKED
        assert "fuser" in str(refused.value)
        other.execute("ROLLBACK")
        World(opened).note("make")


def test_a_read_that_takes_longer_than_it_may_is_given_up_and_the_next_one_is_answered(path: Path) -> None:
    SqlCatalog.open(path).close()
    with closing(sqlite.SqliteEngine(path, read_seconds=0.05)) as engine:
        with pytest.raises(Unreachable, match="not read within the time"), engine.reading() as tx:
            tx.script(simulator.ENDLESS)
        with pytest.raises(Unreachable, match="not read within the time"):
            engine.glance(lambda tx: tx.script(simulator.ENDLESS))
        with engine.reading() as tx:
            assert tx.script("SELECT 1") == [(1,)]
        assert engine.glance(lambda tx: tx.script("SELECT 1")) == [(1,)]
        with engine.writing() as tx:
            assert tx.script("SELECT 1") == [(1,)]


def test_a_closed_catalog_says_so(path: Path) -> None:
    opened = SqlCatalog.open(path)
    opened.close()
    opened.close()
    with pytest.raises(Unreachable, match="connect again"):
        opened.runs()


MOUNTS = r"""22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /mnt/team rw - nfs4 filer:/team rw
31 30 0:41 / /mnt/team/local\040disk rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/te rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [("/home/x", "ext4"), ("/mnt/team/p/.whence", "nfs4"), ("/mnt/team/local disk/.whence", "xfs"), ("/mnt/tea", "ext4"), ("/mnt/te", "tmpfs")],
)  # fmt: skip
def test_a_place_is_on_the_nearest_mount(place: str, kind: str) -> None:
    assert sqlite.filesystem_type(Path(place), MOUNTS) == kind


def test_a_network_filesystem_is_refused_with_what_to_do(path: Path) -> None:
    # None is mounted here: the type of this machine's own filesystem stands in for one.
    own = frozenset({sqlite.filesystem_type(path.parent)})
    with pytest.raises(NotReady) as refused:
        schema.refuse_network_filesystem(path, own)
    assert refused.value.kind is ErrorKind.NETWORK_FILESYSTEM
    assert "WHENCE_URL" in str(refused.value)


def test_a_presumption_is_known_at_its_position_whatever_superseded_it(tmp_path: Path) -> None:
    with closing(SqlCatalog.open(tmp_path / "catalog.db", lease=timedelta(milliseconds=1))) as made:
        world = World(made)
        call = world.plain_call("train")
        world.begin(call)
        while not made.sweep():
            pass
        then = len(made.facts())
        world.finish(world.report(call, {"model:m": b"M"}))

        def state(as_of: int | None) -> str:
            found = made.lineage([str(call.run)], lineage.Direction.UP, lineage.Bounds(), as_of=as_of)
            return found.nodes[0].state

        assert [state(then - 1), state(then), state(None)] == ["running", "aborted", "complete"]


def test_a_whole_number_is_a_metric_like_any_other(world: World) -> None:
    call, other = world.plain_call("train"), world.plain_call("whole")
    world.begin(call)
    points = {"epoch": ((1, 2),)}
    world.catalog.log([model.Series(simulator.uid(), call.run, simulator.ACTOR, points)])
    world.finish(world.report(call, {"model:m": b"M"}, metrics={"epochs": 5}))
    simulator.one(world.catalog.record_runs([(other, world.report(other, metrics={"n": 3}))]))
    assert world.catalog.check().problems == ()
