"""Tells of every environment variable that is read, while somebody wants to hear of it.

`os.environ` is the same object all along: other modules hold it. Only its class changes, to one that
does what its own does and tells of it, and back.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from whence_catalog import observation

_guard = threading.Lock()
_listeners = 0


def _nobody(name: str) -> None:
    """Nobody wants to hear of it."""


_read: Callable[[str], None] = _nobody
_wrote: Callable[[str], None] = _nobody


def tell(read: Callable[[str], None], wrote: Callable[[str], None]) -> None:
    """Who is told of a variable that is read, and of one that is set or removed. Neither may raise."""
    global _read, _wrote
    _read, _wrote = read, wrote


class _Telling(os._Environ[str]):
    """As its base in all that it answers."""

    def __getitem__(self, key: str) -> str:
        _read(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: str) -> None:
        super().__setitem__(key, value)
        _wrote(key)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        _wrote(key)

    def __iter__(self) -> Iterator[str]:
        _read(observation.ALL_VARIABLES)
        return super().__iter__()

    def __repr__(self) -> str:
        _read(observation.ALL_VARIABLES)
        return super().__repr__()


class _TellingBytes(os._Environ[bytes]):
    """The same of `os.environb`."""

    def __getitem__(self, key: bytes) -> bytes:
        _read(_text(key))
        return super().__getitem__(key)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        super().__setitem__(key, value)
        _wrote(_text(key))

    def __delitem__(self, key: bytes) -> None:
        super().__delitem__(key)
        _wrote(_text(key))

    def __iter__(self) -> Iterator[bytes]:
        _read(observation.ALL_VARIABLES)
        return super().__iter__()

    def __repr__(self) -> str:
        _read(observation.ALL_VARIABLES)
        return super().__repr__()


def raw() -> Mapping[object, object]:
    """What `os.environ` holds them in: to see whether any is another one than before."""
    return cast("Mapping[object, object]", vars(os.environ)["_data"])


def untold() -> dict[str, str]:
    """All variables, of which nobody is told that they were read."""
    base = os._Environ
    return {name: base.__getitem__(os.environ, name) for name in base.__iter__(os.environ)}


def _text(key: object) -> str:
    return os.fsdecode(key) if isinstance(key, bytes) else str(key)


# They look like what they stand in for, to whoever prints the type.
for _class in (_Telling, _TellingBytes):
    _class.__name__, _class.__qualname__, _class.__module__ = "_Environ", "_Environ", "os"


def begin() -> bool:
    """Have the reads told until `end`. Whether they are: another may have put its own in place of `os.environ`."""
    global _listeners
    with _guard:
        _listeners += 1
        _change(os._Environ, _Telling, _TellingBytes)
        return type(os.environ) is _Telling


def end() -> None:
    """Undo one `begin`."""
    global _listeners
    with _guard:
        _listeners -= 1
        if not _listeners:
            for mapping in _mappings():
                if type(mapping) in (_Telling, _TellingBytes):
                    object.__setattr__(mapping, "__class__", os._Environ)


def _change(base: type, text: type, raw: type) -> None:
    for mapping, telling in zip(_mappings(), (text, raw), strict=False):
        if type(mapping) is base:
            object.__setattr__(mapping, "__class__", telling)


def _mappings() -> tuple[object, ...]:
    return (os.environ, os.environb) if os.supports_bytes_environ else (os.environ,)


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
