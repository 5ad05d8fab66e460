"""What was true when, and what was known when."""

from datetime import UTC, datetime, timedelta

from tests.simulator import World

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
