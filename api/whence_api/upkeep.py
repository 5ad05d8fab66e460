"""What a server does by itself: it sweeps, gives facts their positions, and knows whether it is ready."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from whence_api import answers, telemetry
from whence_catalog.errors import Unreachable, WhenceError

log = logging.getLogger("whence.server")

# Whoever asks whether the server is ready gives up soon after.
_PING_SECONDS = 5.0


class Upkeep:
    """The timers of one server, on threads of their own, and what they say of the database."""

    def __init__(
        self,
        *,
        ping: Callable[[], None],
        sweep: Callable[[], Sequence[UUID]],
        sequence: Callable[[], int],
        metrics: telemetry.Metrics,
    ) -> None:
        """The first three are of the catalog."""
        self._ping = ping
        self._sweep = lambda: metrics.swept(len(sweep()))
        self._sequence = lambda: metrics.sequenced(sequence())
        self._timers = ThreadPoolExecutor(2, "whence-upkeep")
        # One look at the database at a time, however many ask.
        self._pings = ThreadPoolExecutor(1, "whence-ping")
        self._is_ending = False

    def end(self) -> None:
        """Be ready no more."""
        self._is_ending = True

    async def check_ready(self) -> None:
        """Return if requests can be served.

        Raises:
            Unreachable, NotReady: the database does not answer, is not as it should be, or the server ends;
                in words for everybody.
        """
        if self._is_ending:
            raise Unreachable("the server is shutting down; ask another one")
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._pings, self._ping)
        except TimeoutError as error:
            raise Unreachable(f"the database did not answer within {_PING_SECONDS:g} s") from error
        except WhenceError as error:
            raise answers.outside(error) from error

    @contextlib.asynccontextmanager
    async def running(self, *, sweep_seconds: float, sequence_seconds: float) -> AsyncIterator[None]:
        """Sweep and sequence every so many seconds (0: never), until this is left."""
        timers = [
            asyncio.create_task(self._repeat(name, seconds, work))
            for name, seconds, work in (
                ("sweep", sweep_seconds, self._sweep),
                ("sequence", sequence_seconds, self._sequence),
            )
            if seconds
        ]
        try:
            yield
        finally:
            self.end()
            for timer in timers:
                timer.cancel()
            await asyncio.gather(*timers, return_exceptions=True)
            for pool in (self._timers, self._pings):
                pool.shutdown(wait=False, cancel_futures=True)

    async def _repeat(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        is_failing = False
        while True:
            try:
                await loop.run_in_executor(self._timers, work)
            except Exception as error:
                # Once an outage: it is tried again all the while.
                if not is_failing:
                    log.error(
                        "%s fails, and is tried again every %g s: %s",
                        name,
                        seconds,
                        error,
                        exc_info=None if isinstance(error, WhenceError) else error,
                    )
                is_failing = True
            else:
                if is_failing:
                    log.warning("%s works again", name)
                is_failing = False
            await asyncio.sleep(seconds)
