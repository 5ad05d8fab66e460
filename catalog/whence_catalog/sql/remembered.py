"""What was found out about a position of the log, for whoever reads on from there.

What was known at a position never changes, so nothing here is ever wrong; it takes memory, and is dropped for what was
asked later. To drop it costs time, never an answer.
"""

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar


class Sized(Protocol):
    """What knows its size."""

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, nearly."""
        ...


T = TypeVar("T", bound=Sized)

# How much is kept by one process of one catalog.
MOST_BYTES = 64 * 1024 * 1024
_MOST = 32


class Remembered:
    """The last answers, by what was asked: so many bytes of them at most.

    It takes no lock, which a fork could find taken: of two that put something at once, one may be forgotten.
    """

    __slots__ = ("_kept", "_most_bytes")

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        # The last used comes first.
        self._kept: tuple[tuple[Hashable, Sized], ...] = ()

    def get(self, asked: Hashable, find: Callable[[], T]) -> T:
        """What was found for it, or is now. `asked` is all that the answer depends on."""
        for key, kept in self._kept:
            if key == asked:
                self._put(asked, kept)
                return kept  # type: ignore[return-value]
        found = find()
        self._put(asked, found)
        return found

    def _put(self, asked: Hashable, found: Sized) -> None:
        left = self._most_bytes - found.size_bytes
        if left < 0:
            return
        kept: list[tuple[Hashable, Sized]] = [(asked, found)]
        for key, other in self._kept:
            if key != asked and len(kept) < _MOST and other.size_bytes <= left:
                kept.append((key, other))
                left -= other.size_bytes
        self._kept = tuple(kept)
