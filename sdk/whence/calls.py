"""Single forms of the catalog's batched verbs; ids and numbers for what a client says."""

import os
import time
import uuid
from collections.abc import Sequence
from typing import TypeVar

from whence_catalog import catalog
from whence_catalog.errors import InvalidInput, WhenceError

T = TypeVar("T")


def one(results: Sequence[catalog.Result[T]]) -> T:
    """The result of a batch of one, or its error raised."""
    (result,) = results
    if isinstance(result, WhenceError):
        raise result
    return result


def new_uid() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): its head is the time, so that ids sort as they are made."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    head = (millis & (2**48 - 1)) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    return uuid.UUID(int=head | 0b10 << 62 | random & (2**62 - 1))


def number(name: str, value: object) -> float:
    """A metric as a float.

    Raises:
        InvalidInput: it is not a number. NaN and infinities are.
    """
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"metric {name!r} is {value!r}, not a number") from error
