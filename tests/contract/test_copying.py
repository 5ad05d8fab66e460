"""A copy of a catalog is the same catalog, whichever database each is in."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests import postgres, simulator
from tests.contract import test_places
from tests.simulator import World, taken
from whence_catalog import cache, digest, model
from whence_catalog.errors import Conflict, Damaged, ErrorKind
from whence_catalog.sql.catalog import SqlCatalog, open_url
from whence_catalog.sql.sqlite import SqliteEngine


def history(world: World) -> None:
    data = world.note("load", {"dataset:d": b"D"}).outputs[0]
    world.run("train", {"model:m": b"M"}, inputs=[taken(data)], labels={"team": "perception"})
    made = world.produced["model:m"].version
    move = model.AliasMove(simulator.uid(), made.artifact, "prod", made.digest, simulator.ACTOR, "good")
    simulator.one(world.catalog.move_aliases([move]))
    world.begin(world.plain_call("still running"))
    judge(world, data, made)


def judge(world: World, data: model.Output, made: model.Version) -> None:
    """Everything that can be said of a Version: 6 facts. The model stays tainted."""
    of, on = (data.version.artifact, data.version.digest), (made.artifact, made.digest)
    first, second = (
        model.QuarantineClaim(simulator.uid(), *of, simulator.ACTOR, reason) for reason in ("wrong", "worse")
    )
    world.catalog.quarantine([first, second])
    world.catalog.release([model.Release(simulator.uid(), first.uid, simulator.ACTOR, "not so wrong")])
    decided = model.ApprovalClaim(simulator.uid(), *on, simulator.ACTOR, model.Decision.REJECTED, "tainted")
    world.catalog.approve([decided])
    world.catalog.hold([model.HoldClaim(simulator.uid(), *on, simulator.ACTOR, "evidence")])
    world.catalog.deploy([model.DeploymentClaim(simulator.uid(), *on, "shop", simulator.ACTOR)])


@pytest.mark.parametrize("way", ["sqlite postgresql sqlite", "postgresql sqlite postgresql"])
def test_a_copy_of_a_copy_is_the_same_catalog(tmp_path: Path, way: str) -> None:
    with ExitStack() as stack:
        catalogs = []
        for place, kind in enumerate(way.split()):
            shared = kind == "postgresql"
            url = stack.enter_context(postgres.shared().database()) if shared else f"{tmp_path}/{place}.db"
            catalogs.append(stack.enter_context(closing(open_url(url))))
        first, second, third = catalogs
        history(World(first))
        told: list[tuple[int, int]] = []
        checkpoint = first.copy_into(second, lambda done, of: told.append((done, of)))
        assert second.copy_into(third) == checkpoint
        assert (checkpoint.position, told) == (11, [(11, 11)])
        for copied in (second, third):
            assert copied.check().problems == ()
            assert copied.facts() == first.facts()
            assert (copied.identity().uid, copied.identity().key) == (
                first.identity().uid,
                first.identity().key,
            )
            assert copied.artifacts() == first.artifacts()
            assert [run.labels for run in copied.runs()] == [run.labels for run in first.runs()]
            assert copied.aliases(simulator.artifact("model:m"))[0].reason == "good"
            for name in ("dataset:d", "model:m"):
                asked = [model.Reference.parse(name)]
                assert copied.judgements(asked) == first.judgements(asked)
        # And it goes on: what was cached is still found, numbers and positions rise from where they were.
        world = World(third)
        assert isinstance(world.ask(world.call("load", c=7.0)), cache.Execute)
        assert world.note("load", {"dataset:d": b"E"}).outputs[0].version.number == 2
        assert [stored.position for stored in third.facts()] == list(range(1, 14))
        assert third.check().problems == ()


@pytest.mark.parametrize("way", ["sqlite postgresql", "postgresql sqlite"])
def test_a_copy_finds_what_was_really_read_and_what_lies_at_a_place(tmp_path: Path, way: str) -> None:
    with ExitStack() as stack:
        catalogs = []
        for place, kind in enumerate(way.split()):
            url = (
                stack.enter_context(postgres.shared().database())
                if kind == "postgresql"
                else f"{tmp_path}/{place}.db"
            )
            catalogs.append(stack.enter_context(closing(open_url(url))))
        first, second = catalogs
        before = World(first)
        state: dict[str, digest.Framed] = {"a": 1, "b": 1}
        call = before.tracking_call("train", state)
        read = before.read(call, state, "a")
        before.finish(before.report(call, {"model:m": b"M"}, before.begin(call).token, trace=read))
        written = test_places.wrote(before, "fill", b"1")
        test_places.wrote(before, "fill again", b"2")
        first.copy_into(second)
        assert second.check().problems == ()
        for world in (before, World(second)):
            assert call.base is not None
            assert world.catalog.traces(world.project, [call.base]) == [(read,)]
            other = world.tracking_call("train", {**state, "b": 2})
            answer = world.ask(world.as_traced(other, read))
            assert isinstance(answer, cache.Reuse)
            assert answer.entry.run == call.run
            assert isinstance(world.ask(world.tracking_call("train", state)), cache.Reuse)
            overwritten = world.begin(world.call("fill", owner=f"another than of {written.run}"))
            assert overwritten.reason is cache.Reason.OVERWRITTEN
            assert isinstance(test_places.looked(world, world.call("fill again"), b"2"), cache.Reuse)


def test_a_place_that_holds_something_is_not_copied_into(tmp_path: Path) -> None:
    with (
        closing(SqlCatalog.open(tmp_path / "a.db")) as source,
        closing(SqlCatalog.open(tmp_path / "b.db")) as target,
    ):
        history(World(source))
        World(target).note("mine", {"model:m": b"X"})
        before = target.facts()
        with pytest.raises(Conflict, match="empty place"):
            source.copy_into(target)
        assert target.facts() == before


def test_a_damaged_fact_is_not_copied_and_nothing_of_the_rest_is(tmp_path: Path) -> None:
    with (
        closing(SqlCatalog.open(tmp_path / "a.db")) as source,
        closing(SqlCatalog.open(tmp_path / "b.db")) as target,
    ):
        history(World(source))
        with closing(SqliteEngine(tmp_path / "a.db")) as database, database.writing() as tx:
            tx.script("UPDATE fact SET canonical = x'00' WHERE position = 3")
        with pytest.raises(Damaged) as refused:
            source.copy_into(target)
        assert refused.value.kind is ErrorKind.FACT_ALTERED
        assert target.facts() == []
        assert target.artifacts() == ()
