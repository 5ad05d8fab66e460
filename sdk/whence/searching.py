"""Search as a client asks it: pages followed as far as is wanted."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

from whence_catalog import model, replies

if TYPE_CHECKING:
    from whence.client import Client

_PAGE = 100


class Asked(TypedDict, total=False):
    """What to look for, as in `Catalog.search`; and `limit`, how much of it (25)."""

    types: Iterable[replies.HitType]
    kinds: Iterable[str]
    projects: Iterable[str] | None
    labels: Iterable[tuple[str, str]]
    metrics: Iterable[model.MetricRange]
    since: datetime | None
    until: datetime | None
    limit: int


def search(opened: "Client", text: str = "", **asked: Unpack[Asked]) -> tuple[replies.Hit, ...]:
    """The first `limit` of what is found. Pages that hold little are followed to the next."""
    limit = asked.get("limit", 25)
    types, kinds = frozenset(asked.get("types", ())), frozenset(asked.get("kinds", ()))
    labels, metrics = frozenset(asked.get("labels", ())), tuple(asked.get("metrics", ()))
    named = asked.get("projects")
    projects = None if named is None else frozenset(named)
    found: list[replies.Hit] = []
    after: str | None = None
    while True:
        page = opened.catalog.search(
            text,
            types=types,
            projects=projects,
            kinds=kinds,
            first=min(_PAGE, limit - len(found)),
            after=after,
            labels=labels,
            metrics=metrics,
            since=asked.get("since"),
            until=asked.get("until"),
        )
        found += page.items
        after = page.end
        if after is None or len(found) >= limit:
            return tuple(found)
