"""A later page of an impact, of roots or of common ancestors walks over nothing again."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulator import World, taken
from whence_catalog import replies
from whence_catalog.catalog import Catalog
from whence_catalog.sql.catalog import SqlCatalog
from whence_catalog.sql.remembered import Remembered


@dataclass(frozen=True)
class Found:
    name: str
    size_bytes: int


def test_what_was_found_is_found_once_and_the_last_used_is_kept() -> None:
    kept = Remembered(most_bytes=100)
    asked: list[str] = []

    def get(name: str, size_bytes: int = 40) -> str:
        def find() -> Found:
            asked.append(name)
            return Found(name, size_bytes)

        return kept.get(name, find).name

    assert [get(name) for name in "abab"] == list("abab")
    assert asked == ["a", "b"]
    get("a")
    get("c")  # b was used longest ago
    assert [get(name) for name in "aac"] == list("aac")
    assert asked == ["a", "b", "c"]
    get("b")
    assert asked == ["a", "b", "c", "b"]


def test_what_is_too_large_is_never_kept_and_drops_nothing() -> None:
    kept = Remembered(most_bytes=100)
    small, large = Found("small", 60), Found("large", 101)
    kept.get("small", lambda: small)
    assert kept.get("large", lambda: large) is large
    assert kept.get("large", lambda: Found("again", 101)).name == "again"
    assert kept.get("small", lambda: Found("again", 60)) is small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def opened(path: Path) -> Iterator[SqlCatalog]:
    with closing(SqlCatalog.open(path, synchronous="OFF")) as catalog:
        world = World(catalog)
        made = world.note("load", {"model:m": b"0"}).outputs[0]
        for n in range(9):
            made = world.note("fit", {"model:m": b"%d" % (n + 1)}, [taken(made)]).outputs[0]
        world.note("load", {"dataset:other": b"1"})
        yield catalog


Page = replies.NodePage | replies.Impact
ASKED: dict[str, Callable[[Catalog, str | None], Page]] = {
    "impact": lambda catalog, after: catalog.impact("model:m@1", first=3, after=after),
    "roots": lambda catalog, after: catalog.roots_of(["model:m@10", "dataset:other"], first=1, after=after),
    "common ancestors": lambda catalog, after: catalog.common_ancestors(
        ["model:m@10", "model:m@9"], first=3, after=after
    ),
}


def every_page(catalog: Catalog, ask: Callable[[Catalog, str | None], Page], after: str | None) -> list[str]:
    told: list[str] = []
    while True:
        page = ask(catalog, after)
        told += map(repr, page.items)
        if page.end is None:
            return told
        after = page.end


@pytest.mark.parametrize("name", ASKED)
def test_later_pages_need_no_edges(name: str, path: Path, opened: SqlCatalog) -> None:
    ask = ASKED[name]
    whole = every_page(opened, ask, None)
    first = ask(opened, None)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM input")
    assert [*map(repr, first.items), *every_page(opened, ask, first.end)] == whole
    # Who has not walked there yet has to.
    with closing(SqlCatalog.open(path)) as fresh:
        assert every_page(fresh, ask, first.end) != whole[len(first.items) :]


@pytest.mark.parametrize("name", ASKED)
def test_what_was_forgotten_is_found_again(name: str, path: Path, opened: SqlCatalog) -> None:
    first = ASKED[name](opened, None)
    rest = every_page(opened, ASKED[name], first.end)
    with closing(SqlCatalog.open(path)) as fresh:
        assert every_page(fresh, ASKED[name], first.end) == rest
