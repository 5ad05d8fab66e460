"""What is recorded, as it is recorded, for whoever listens: one follower of the log for all of a server.

Decides when the log is read, how far a listener may fall behind, and how all end. Positions are the order: a listener
that was cut off, for whatever reason, goes on behind the last position it was told, on this server or on another.
Leaves to others what of a change somebody hears (`changes.heard`), and how they are told (`graphql.subscription`).

All of it runs on one event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from whence_catalog import replies
from whence_catalog.changes import Change
from whence_catalog.errors import ErrorKind, InvalidInput, Unreachable

log = logging.getLogger("whence.server")

# How long a listener waits for a change until it looks around: at whoever it is for, at the server.
CHECK_SECONDS = 2.0
_FAILED_SECONDS = 2.0


class CutOff(Unreachable):
    """A listener is told no more; `position` is the last that it was told: it may go on behind that."""

    def __init__(self, message: str, position: int, kind: ErrorKind = ErrorKind.UNREACHABLE) -> None:
        super().__init__(f"{message}; go on with after: {position}", kind)
        self.position = position


class _Listener:
    """Changes that a listener was not told yet."""

    def __init__(self) -> None:
        self.waiting: deque[Change] = deque()
        self.stirred = asyncio.Event()
        self.is_behind = False


class Feed:
    """Follows the log while somebody listens.

    Args:
        read: a page of changes behind a position.
        poll_seconds: how long after the end of the log was reached it is read again.
        held: how many changes a listener may fall behind; with more it is cut off.
        most: how many may listen at once.
    """

    def __init__(
        self,
        read: Callable[[int], Awaitable[replies.ChangePage]],
        *,
        poll_seconds: float = 0.2,
        held: int = 1000,
        most: int = 1000,
    ) -> None:
        self._read = read
        self._poll_seconds = poll_seconds
        self._held = held
        self._most = most
        self._listeners: set[_Listener] = set()
        self._listening = 0
        self._head: int | None = None
        self._follower: asyncio.Task[None] | None = None
        self._is_ending = False

    @property
    def listening(self) -> int:
        """How many listen."""
        return self._listening

    @property
    def is_following(self) -> bool:
        """Whether the log is being read."""
        return self._follower is not None

    async def follow(self, after: int | None = None) -> AsyncGenerator[Change | None, None]:
        """Each change behind position `after`, or from now on; None where there was none for CHECK_SECONDS.

        Raises:
            CutOff: the listener was too slow, or the server ends.
            Unreachable: too many listen.
            InvalidInput: there is no such position yet.
        """
        if self._listening >= self._most:
            raise Unreachable("as many listen to this server as may; try again later", ErrorKind.TOO_MANY)
        self._listening += 1
        try:
            # What is behind the end is empty, and says where the end is.
            last = (await self._read(after or 0)).last
            if after is not None and not 0 <= after <= last:
                raise InvalidInput(f"after is {after}; the log goes from 0 to {last}")
            position = last if after is None else after
            # What it has missed it reads itself, at its own pace: the follower would run away from it.
            self._start(last)
            while self._head is not None and position < self._head:
                page = await self._read(position)
                for change in page.items:
                    yield change
                    self._check_ending(change.position)
                position = page.end
            # Nothing was awaited since: what the follower reads from here on is heard.
            async with aclosing(self._listen(position)) as listened:
                async for told in listened:
                    yield told
        finally:
            self._listening -= 1
            if not self._listening:
                self._stop()

    async def _listen(self, position: int) -> AsyncGenerator[Change | None, None]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                self._check_ending(position)
                if listener.is_behind:
                    told = f"more than {self._held} changes waited to be taken"
                    raise CutOff(told, position, ErrorKind.TOO_MANY)
                if not listener.waiting:
                    listener.stirred.clear()
                    try:
                        async with asyncio.timeout(CHECK_SECONDS):
                            await listener.stirred.wait()
                    except TimeoutError:
                        yield None
                    continue
                change = listener.waiting.popleft()
                if change.position > position:
                    yield change
                    position = change.position
        finally:
            self._listeners.discard(listener)

    def end(self) -> None:
        """Cut all off, where they can go on from; nobody listens any more."""
        self._is_ending = True
        for listener in self._listeners:
            listener.stirred.set()

    def _check_ending(self, position: int) -> None:
        if self._is_ending:
            raise CutOff("the server is shutting down", position)

    def _start(self, position: int) -> None:
        if self._follower is None:
            self._head = position
            self._follower = asyncio.create_task(self._follow())

    def _stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            self._follower = self._head = None

    async def _follow(self) -> None:
        is_failing = False
        while True:
            assert self._head is not None
            try:
                page = await self._read(self._head)
            except Exception as error:
                if not is_failing:
                    log.error("the log cannot be followed, and is tried again: %s", error)
                is_failing = True
                await asyncio.sleep(_FAILED_SECONDS)
                continue
            is_failing = False
            for change in page.items:
                for listener in self._listeners:
                    self._give(listener, change)
            self._head = page.end
            if page.end >= page.last:
                await asyncio.sleep(self._poll_seconds)

    def _give(self, listener: _Listener, change: Change) -> None:
        if len(listener.waiting) >= self._held:
            listener.is_behind = True
            listener.waiting.clear()
        if not listener.is_behind:
            listener.waiting.append(change)
        listener.stirred.set()
