"""What asyncio says of this code, where the process has it: a process that has not loaded it runs no event loop."""

import sys


def is_running() -> bool:
    """Whether an event loop runs in this thread."""
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


def is_cancellation(error: BaseException) -> bool:
    """Whether a task was cancelled."""
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
