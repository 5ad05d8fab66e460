"""Where calls of the catalog are carried out: they block, and the loop that serves everybody must not.

Writes and reads have threads of their own: a reader of a large graph never keeps a heartbeat waiting.
"""

import asyncio
import contextvars
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from whence_catalog.errors import Unreachable

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Carries out blocking calls side by side, `count` writes and `count` reads, each for at most `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds = seconds
        self._writes = ThreadPoolExecutor(count, "whence-write")
        self._reads = ThreadPoolExecutor(count, "whence-read")
        self._running: set[Future[object]] = set()

    async def write(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What `function` answers, of the threads that write.

        Raises:
            Unreachable: it was not done in time. If it had begun, it is carried out yet.
        """
        return await self._of(self._writes, functools.partial(function, *arguments, **named))

    async def read(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """As `write`, of the threads that read."""
        return await self._of(self._reads, functools.partial(function, *arguments, **named))

    async def _of(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        # With this request's context: what is traced inside belongs to it.
        begun: Future[T] = pool.submit(contextvars.copy_context().run, work)
        self._running.add(begun)  # type: ignore[arg-type]
        begun.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(begun)
        except TimeoutError as error:
            raise Unreachable(
                f"this was not done within {self._seconds:g} s; send it again: what is recorded, is recorded once"
            ) from error

    def close(self, seconds: float) -> bool:
        """Begin nothing more, and let what runs end; whether it did, within that time."""
        give_up_at = time.monotonic() + seconds
        for pool in (self._writes, self._reads):
            pool.shutdown(wait=False, cancel_futures=True)
        return not wait(tuple(self._running), max(0.0, give_up_at - time.monotonic())).not_done
