"""Where the contenders work: a catalog and a raw connection, on the same history."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from benchmarks import history, raw
from whence_catalog.catalog import Result
from whence_catalog.errors import WhenceError
from whence_catalog.sql import catalog

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Beside:
    """Both, open. What they write is in `folder`."""

    ours: catalog.SqlCatalog
    floor: Connection
    folder: Path


@contextmanager
def writing(original: Path, synchronous: str = "FULL") -> Iterator[Beside]:
    """Each on a copy of its own of that file, in a folder that goes away with them."""
    with tempfile.TemporaryDirectory(prefix="whence-benchmark-") as name:
        folder = Path(name)
        ours, floor = (
            history.copied(original, folder / "ours.db"),
            history.copied(original, folder / "floor.db"),
        )
        with _opened(ours, floor, synchronous) as both:
            yield both


@contextmanager
def reading(file: Path) -> Iterator[Beside]:
    """Both on that one file, which neither of them may write to."""
    with _opened(file, file, "FULL") as both:
        yield both


@contextmanager
def _opened(ours: Path, floor: Path, synchronous: str) -> Iterator[Beside]:
    opened = Beside(
        catalog.SqlCatalog.open(ours, synchronous=synchronous), raw.connect(floor, synchronous), ours.parent
    )
    try:
        yield opened
    finally:
        opened.ours.close()
        opened.floor.close()


def only(results: Sequence[Result[R]]) -> R:
    """The one result of a batch of one, which has to be good: a refusal costs nothing, and proves nothing."""
    (result,) = results
    if isinstance(result, WhenceError):
        raise result
    return result
