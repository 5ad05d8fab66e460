"""One follower reads the log for all who listen, who are cut off where they can go on from."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from whence_api import feed
from whence_catalog import replies
from whence_catalog.changes import Change
from whence_catalog.errors import InvalidInput, Unreachable


class Log:
    """A log in memory."""

    def __init__(self, positions: int = 0) -> None:
        self.last = positions
        self.reads = 0

    async def read(self, after: int) -> replies.ChangePage:
        self.reads += 1
        end = min(self.last, after + 3)
        now = datetime.now(UTC)
        items = tuple(Change(n, now, "log", "default") for n in range(after + 1, end + 1))
        return replies.ChangePage(items, end, self.last)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def take(told: Any, many: int) -> list[int]:
    found: list[int] = []
    while len(found) < many:
        change = await anext(told)
        if change is not None:
            found.append(change.position)
    return found


def test_who_begins_behind_the_end_is_told_what_was_and_what_comes() -> None:
    async def work() -> None:
        log = Log(5)
        followed = feed.Feed(log.read, poll_seconds=0.001)
        told = followed.follow(2)
        assert await take(told, 3) == [3, 4, 5]
        log.last = 9
        assert await take(told, 4) == [6, 7, 8, 9]
        await told.aclose()

    run(work())


def test_the_log_is_read_once_for_all_and_only_while_somebody_listens() -> None:
    async def work() -> None:
        log = Log()
        followed = feed.Feed(log.read, poll_seconds=0.001)
        assert not followed.is_following
        several = [followed.follow(0) for _ in range(5)]
        waiting = [asyncio.create_task(take(told, 3)) for told in several]
        while followed.listening < 5:
            await asyncio.sleep(0)
        log.last = 3
        assert await asyncio.gather(*waiting) == [[1, 2, 3]] * 5
        for told in several:
            await told.aclose()
        assert (followed.listening, followed.is_following) == (0, False)
        before = log.reads
        await asyncio.sleep(0.02)
        assert log.reads == before

    run(work())


def test_a_listener_that_is_too_slow_is_cut_off_where_it_can_go_on() -> None:
    async def work() -> None:
        log = Log(1)
        followed = feed.Feed(log.read, poll_seconds=0.001, held=4)
        slow, quick = followed.follow(0), followed.follow(0)
        assert await take(slow, 1) == [1]
        log.last = 2
        assert await take(slow, 1) == [2]
        for end in range(3, 12):
            log.last = end
            if end == 3:
                assert await take(quick, 3) == [1, 2, 3]
            else:
                assert await take(quick, 1) == [end]
        with pytest.raises(feed.CutOff) as cut:
            await take(slow, 9)
        assert cut.value.position == 2
        assert await take(followed.follow(cut.value.position), 9) == list(range(3, 12))
        await quick.aclose()

    run(work())


def test_who_resumes_from_far_behind_is_not_cut_off_by_what_it_missed() -> None:
    async def work() -> None:
        log = Log(200)
        followed = feed.Feed(log.read, poll_seconds=0.001, held=4)
        resumed = followed.follow(0)
        for position in range(1, 201):
            assert await take(resumed, 1) == [position]
            await asyncio.sleep(0)
        await resumed.aclose()

    run(work())


def test_when_the_feed_ends_all_are_told_where_they_can_go_on() -> None:
    async def work() -> None:
        log = Log(2)
        followed = feed.Feed(log.read, poll_seconds=0.001)
        told = followed.follow(0)
        assert await take(told, 2) == [1, 2]
        waiting = asyncio.create_task(take(told, 1))
        await asyncio.sleep(0)
        followed.end()
        with pytest.raises(feed.CutOff) as cut:
            await waiting
        assert cut.value.position == 2

    run(work())


def test_more_than_may_are_not_let_in_and_no_position_is_that_was_not_reached() -> None:
    async def work() -> None:
        log = Log(2)
        followed = feed.Feed(log.read, poll_seconds=0.001, most=1)
        for beyond in (3, -1):
            with pytest.raises(InvalidInput):
                await anext(followed.follow(beyond))
        told = followed.follow(0)
        await take(told, 1)
        with pytest.raises(Unreachable):
            await anext(followed.follow(0))
        await told.aclose()
        assert followed.listening == 0

    run(work())
