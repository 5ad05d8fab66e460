"""Watches what a Run touches while it runs: files, sockets, subprocesses, environment variables."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from whence_catalog import model


class Watch:
    """What is seen of one Run."""

    def __init__(self, watching: model.Watching, root: Path) -> None:
        self._watching = watching
        self._root = root

    def seen(self) -> model.Observed:
        """What it was seen to touch so far, and what of that was out of sight."""
        return model.Observed(self._watching)

    def uncacheable(self) -> tuple[str, ...]:
        """The reasons for which what was seen must not be reused."""
        return ()


@contextlib.contextmanager
def watched(watching: model.Watching, root: Path) -> Iterator[Watch]:
    """Around the code of a Run alone: what it touches is noted."""
    yield Watch(watching, root)
