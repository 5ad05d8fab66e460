"""What was true when, and what was known when."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests import simulator
from tests.simulator import ACTOR, World, artifact, uid
from whence_catalog import digest, model
from whence_catalog.errors import Conflict, InvalidInput

# ── positions and times ──────────────────────────────────────────────────────────────────────────


def test_a_time_is_the_last_position_of_the_log_then(world: World) -> None:
    assert world.catalog.position_at(datetime(2020, 1, 1, tzinfo=UTC)) == 0
    for n in range(9):
        world.note("make", {"model:m": b"%d" % n})
    told = world.catalog.facts()
    for before, stored in zip([None, *told], told, strict=False):
        just_before = stored.sequenced_at - timedelta(microseconds=1)
        same = [other.position for other in told if other.sequenced_at == stored.sequenced_at]
        assert world.catalog.position_at(stored.sequenced_at) == max(same)
        earlier = [other.position for other in told if other.sequenced_at <= just_before]
        assert world.catalog.position_at(just_before) == max(earlier, default=0), before
    assert world.catalog.position_at(datetime(2999, 1, 1, tzinfo=UTC)) == 9


# ── since when something is true ─────────────────────────────────────────────────────────────────

HOUR = timedelta(hours=1)
MODEL = artifact("model:m")


def made(world: World, content: bytes) -> digest.Digest:
    """A Version of `model:m`."""
    return world.note("make", {"model:m": content}).outputs[0].version.digest


def move(world: World, content: bytes, since: datetime | None = None, name: str = "prod") -> model.Alias:
    """Have an alias point at the Version of that content."""
    asked = model.AliasMove(uid(), MODEL, name, simulator.digest_of(content), ACTOR, "why", since=since)
    moved: model.Alias = simulator.one(world.catalog.move_aliases([asked]))
    return moved


def deploy(
    world: World, content: bytes | None, since: datetime | None = None, target: str = "shop"
) -> model.Deployment:
    """Have the Version of that content serve at a target, or nothing."""
    named = None if content is None else simulator.digest_of(content)
    asked = model.DeploymentClaim(uid(), MODEL, named, target, ACTOR, "why", since)
    said: model.Deployment = simulator.one(world.catalog.deploy([asked]))
    return said


def test_what_is_recorded_late_is_true_since_it_was(world: World) -> None:
    for content in (b"1", b"2", b"3"):
        made(world, content)
    now = datetime.now(UTC)
    move(world, b"1", now - 3 * HOUR)
    moved = move(world, b"2", now - 2 * HOUR)
    assert (moved.since, moved.until, moved.replaced) == (now - 2 * HOUR, None, 1)
    newest, first = world.catalog.aliases(MODEL)
    assert (newest, first.until) == (moved, now - 2 * HOUR)
    deploy(world, b"1", now - 3 * HOUR)
    ended = deploy(world, None, now - 2 * HOUR)
    assert (ended.since, ended.until) == (now - 3 * HOUR, now - 2 * HOUR)
    assert deploy(world, b"3", now - HOUR).since == now - HOUR


@pytest.mark.parametrize("change", [move, deploy])
def test_what_was_before_the_last_change_stays(
    world: World, change: Callable[..., model.Alias | model.Deployment]
) -> None:
    made(world, b"1")
    now = datetime.now(UTC)
    change(world, b"1", now - HOUR)
    before = len(world.catalog.facts())
    with pytest.raises(Conflict, match="cannot be changed"):
        change(world, b"1", now - 2 * HOUR)
    with pytest.raises(InvalidInput, match="to come"):
        change(world, b"1", now + HOUR)
    assert len(world.catalog.facts()) == before


def test_what_ended_is_not_begun_before_it_did(world: World) -> None:
    made(world, b"1")
    now = datetime.now(UTC)
    deploy(world, b"1", now - 3 * HOUR)
    deploy(world, None, now - HOUR)
    with pytest.raises(Conflict):
        deploy(world, b"1", now - 2 * HOUR)


def test_a_late_word_said_again_is_one_fact(world: World) -> None:
    made(world, b"1")
    asked = model.AliasMove(
        uid(), MODEL, "prod", simulator.digest_of(b"1"), ACTOR, since=datetime.now(UTC) - HOUR
    )
    first = simulator.one(world.catalog.move_aliases([asked]))
    assert simulator.one(world.catalog.move_aliases([asked])) == first
    assert len(world.catalog.facts()) == 2
