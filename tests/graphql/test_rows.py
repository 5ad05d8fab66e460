"""Lists that are written out by column are what graphql-core makes of them, to the letter."""

import asyncio
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Any

import pytest
import strawberry
from graphql import ExecutionContext
from hypothesis import given
from hypothesis import strategies as st

from whence_api.graphql import rows


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@strawberry.type
class Flat:
    id: strawberry.ID
    name: str
    size: int
    share: float
    good: bool
    colour: Colour
    at: datetime
    note: str | None = None
    many: list[str] = strawberry.field(default_factory=list)

    @strawberry.field
    def shout(self) -> str:
        return self.name.upper()


@strawberry.type
class Other:
    name: str


def flat(n: int, **fields: Any) -> Flat:
    given: dict[str, Any] = {
        "id": strawberry.ID(str(n)),
        "name": f"n{n}",
        "size": n,
        "share": n / 3,
        "good": n % 2 == 0,
        "colour": Colour.RED if n % 2 else Colour.BLUE,
        "at": datetime(2026, 5, 3, n % 24, tzinfo=UTC),
        "note": None if n % 3 else "third",
    }
    return Flat(**{**given, **fields})


ITEMS: dict[str, list[Any]] = {
    "many": [flat(n) for n in range(20)],
    "none": [],
    "null": [flat(1), None],
    "null inside": [flat(1), flat(2, name=None)],
    "no text": [flat(1), flat(2, name=5)],
    "no number": [flat(1), flat(2, size="x")],
    "large": [flat(1), flat(2, size=2**31)],
    "true": [flat(1), flat(2, size=True)],
    "not finite": [flat(1), flat(2, share=float("nan"))],
    "no colour": [flat(1), flat(2, colour="green")],
    "no time": [flat(1), flat(2, at="yesterday")],
    "other": [flat(1), Other(name="x")],
}
CHOSEN: list[Any] = []


@strawberry.type
class Query:
    @strawberry.field
    def items(self) -> list[Flat]:
        return CHOSEN

    @strawberry.field
    def some(self) -> list[Flat | None]:
        return CHOSEN


PLAIN = strawberry.Schema(Query, execution_context_class=ExecutionContext)
BY_COLUMN = strawberry.Schema(Query, execution_context_class=rows.CONTEXT)

QUERIES = [
    "{ items { id name size share good colour at note } }",
    "{ some { name size } items { name } }",
    "{ some { share } }",
    "{ some { colour } }",
    "{ some { at } }",
    "{ items { __typename a: name b: name type: __typename } }",
    "query($yes: Boolean = true) { items { name @skip(if: $yes) size @include(if: $yes) } }",
    "query($yes: Boolean = false) { items { name @skip(if: $yes) size @include(if: $yes) } }",
    "{ items { ...F ... on Flat { size } name } } fragment F on Flat { name note }",
    "{ items { name shout } }",
    "{ items { name many } }",
    "{ some { __typename } }",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("items", ITEMS)
def test_a_list_is_what_graphql_core_makes_of_it(query: str, items: str) -> None:
    CHOSEN[:] = ITEMS[items]
    plain, by_column = (asyncio.run(schema.execute(query)) for schema in (PLAIN, BY_COLUMN))
    assert by_column.data == plain.data
    assert rows.encode(by_column.data) == rows.encode(plain.data)
    assert [error.formatted for error in by_column.errors or ()] == [
        error.formatted for error in plain.errors or ()
    ]


def test_what_is_chosen_by_a_variable_is_chosen_anew_each_time() -> None:
    CHOSEN[:] = ITEMS["many"]
    query = "query($yes: Boolean!) { items { name @skip(if: $yes) size @include(if: $yes) } }"
    for yes, expected in ((True, {"size": 0}), (False, {"name": "n0"}), (True, {"size": 0})):
        assert asyncio.run(BY_COLUMN.execute(query, {"yes": yes})).data["items"][0] == expected  # type: ignore[index]


def table() -> rows.Table[Flat]:
    """The same as the many, by column."""
    names = ("id", "name", "size", "share", "good", "colour", "at", "note", "many")
    columns = {name: [getattr(item, name) for item in ITEMS["many"]] for name in names}
    return rows.Table(
        len(ITEMS["many"]), Flat, {name: partial(columns.__getitem__, name) for name in columns}
    )


@strawberry.type
class Kept:
    @strawberry.field
    def items(self) -> list[Flat]:
        return table()  # type: ignore[return-value]


KEPT = strawberry.Schema(Kept, execution_context_class=rows.CONTEXT)


@pytest.mark.parametrize("query", [query for query in QUERIES if "some" not in query])
def test_a_table_is_what_a_list_of_its_rows_is_to_the_byte(query: str) -> None:
    CHOSEN[:] = ITEMS["many"]
    plain, kept = asyncio.run(PLAIN.execute(query)), asyncio.run(KEPT.execute(query))
    assert (plain.errors, kept.errors) == (None, None)
    assert rows.encode(kept.data) == rows.encode(plain.data)


LEAVES = ("id", "name", "size", "share", "good", "colour", "at", "note", "__typename", "shout", "many")


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(LEAVES), st.booleans()), min_size=1, max_size=8
    )
)
def test_any_selection_is_what_graphql_core_makes_of_it_to_the_byte(
    chosen: list[tuple[str, str, bool]],
) -> None:
    CHOSEN[:] = ITEMS["many"]
    fields = " ".join(
        f"{alias}{n}: {leaf} @include(if: $yes)" if varies else f"{alias}{n}: {leaf}"
        for n, (alias, leaf, varies) in enumerate(chosen)
    )
    for yes in (True, False):
        query = f"query($yes: Boolean = false) {{ items {{ ...F id @skip(if: $yes) }} }} fragment F on Flat {{ {fields} }}"
        plain, by_column, kept = (
            asyncio.run(schema.execute(query, {"yes": yes})) for schema in (PLAIN, BY_COLUMN, KEPT)
        )
        assert [error.message for error in plain.errors or ()] == [e.message for e in kept.errors or ()]
        assert rows.encode(by_column.data) == rows.encode(plain.data) == rows.encode(kept.data)
